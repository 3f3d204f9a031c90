//! The rebuild: makes a segment consistent again from its rows alone, where damage was found, or a process was killed that
//! was removing every entry one by one.

use std::ops::Deref;

use super::{
    edit::Edit,
    layout::{GROUP, NONE, RINGS, Row, Section, State, sections},
    memory::Memory,
    validate::Bits,
    view::{BUCKETS, Checked, Fault},
};
use crate::value::Kind;

/// What a rebuild found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Entries that are there.
    pub kept: u32,
    /// Rows that claimed to be entries and were not: one that a killed process was changing, or damage.
    pub dropped: u32,
}

/// Rebuilds the segment that an editor has.
pub(super) struct Rebuild<'a, M: Memory>(pub(super) &'a Edit<M>);

impl<M: Memory> Deref for Rebuild<'_, M> {
    type Target = Edit<M>;

    fn deref(&self) -> &Edit<M> {
        self.0
    }
}

impl<M: Memory> Rebuild<'_, M> {
    /// Rebuilds everything from the rows: the index, the order of recency, the free rows and blocks, every count. An
    /// entry that was half written is dropped, and so is what makes no sense. It may be stopped at any point
    /// and begun again.
    ///
    /// # Errors
    /// This process has no memory for it: some 16 bytes an entry, and a bit or two a block.
    pub(super) fn recover(&self) -> Checked<Recovered> {
        let header = self.header();
        // Where it ends early, for want of memory, the segment is left half rebuilt.
        header.damaged.commit(1);
        header.intent.check.set(0);
        self.begin_epoch();
        self.forget_leases();
        let recovered = self.rebuild()?;
        // Damage may have taken much more than there is use for.
        self.shrink();
        header.recoveries.count();
        header
            .dropped
            .set(header.dropped.get().wrapping_add(recovered.dropped));
        header.damaged.set(0);
        Ok(recovered)
    }

    fn rebuild(&self) -> Checked<Recovered> {
        let header = self.header();
        let (rows, blocks) = (self.rows_written().max(1), self.blocks_written().max(1));
        // As far as memory goes, whatever the header says: the checks of single numbers rest on these.
        header.rows_used.set(rows);
        header.blocks_used.set(blocks);

        // Which rows are entries, and which blocks have they? Each block is walked over once at most.
        let mut live: Vec<(u64, u32)> = Vec::new();
        let mut taken = Bits::new(blocks)?;
        let mut contested = Bits::new(blocks)?;
        let mut buffer = Vec::new();
        let mut dropped = 0;
        for at in 1..rows {
            let row = self.row_at(at)?;
            match row.state().is() {
                State::FREE | State::RELEASED => {}
                // A reset has removed it.
                State::LIVE if self.is_dead(at)? => row.state.commit(row.state().become_(State::FREE).0),
                // Entries with extras are dropped: see `tags.rs`.
                State::LIVE
                    if !row.state().has_extras()
                        && !self.is_torn(at)?
                        && self.claim(row, &mut taken, &mut contested)
                        && self.makes_sense(row, &mut buffer)? =>
                {
                    live.try_reserve(1).map_err(|_| Fault::Memory)?;
                    live.push((row.used.get(), at));
                }
                _ => {
                    self.drop_row(row);
                    dropped += 1;
                }
            }
        }
        // A block that two rows claim: nobody knows whose it is.
        let contest = contested.end() > 0;
        if contest {
            live.retain(|(_, at)| {
                let fair = self
                    .row_at(*at)
                    .is_ok_and(|row| !self.any_block(row, |block| contested.has(block)));
                if !fair {
                    self.row_at(*at).inspect(|row| self.drop_row(row)).ok();
                    dropped += 1;
                }
                fair
            });
        }
        live.sort_unstable_by(|a, b| b.cmp(a));

        // The index, from the most recent on; of two rows with one key the newer counts.
        let buckets = self.empty_index(live.len() as u32)?;
        header.buckets.set(buckets);
        let (mut kept, mut slots) = (0, 0);
        let (mut newer, mut last) = (NONE, u64::MAX);
        // Times of use that damage made equal, or too high to go on from.
        let mut renumber = live.first().is_some_and(|(used, _)| *used > u64::MAX / 2);
        header.newest.set(NONE);
        for &(used, at) in &live {
            let row = self.row_at(at)?;
            if self.is_double(row, &mut buffer)? {
                self.drop_row(row);
                dropped += 1;
                continue;
            }
            let bucket = self.bucket(row.hash.get())?;
            row.chain.set(bucket.get());
            bucket.set(at);
            row.newer.set(newer);
            match newer {
                NONE => header.newest.set(at),
                newer => self.row_at(newer)?.older.set(at),
            }
            newer = at;
            kept += 1;
            slots += u32::from(row.state().kind() == Some(Kind::Slot));
            renumber |= used == last;
            last = used;
        }
        header.oldest.set(newer);
        if newer != NONE {
            self.row_at(newer)?.older.set(NONE);
        }
        header.len.set(kept);
        header.slots.set(slots);
        if renumber {
            self.renumber()?;
        } else {
            header.clock.set(live.first().map_or(0, |(used, _)| *used));
        }

        // Blocks and rows that are nobody's.
        if dropped > 0 {
            taken.clear();
            for &(_, at) in &live {
                let row = self.row_at(at)?;
                if row.state().is() == State::LIVE {
                    self.any_block(row, |block| {
                        taken.set(block);
                        false
                    });
                }
            }
        }
        // Whole groups, but for the last one.
        let blocks_used = taken.end().next_multiple_of(GROUP).min(blocks).max(1);
        let written = self.ready_sections(blocks_used)?;
        let count = self.rebuild_free(blocks_used, written, |group| taken.word(group))?;
        header.blocks_free.set(count);
        header.loose_block.set(NONE);
        header.loose_count.set(0);
        header.blocks_used.set(blocks_used);
        header.blocks_ready.set(blocks_used);
        let (mut free, mut released, mut rows_used) = (NONE, NONE, 1);
        for at in (1..rows).rev() {
            let row = self.row_at(at)?;
            let list = match row.state().is() {
                State::RELEASED => &mut released,
                State::FREE if rows_used > 1 => &mut free,
                State::FREE => continue,
                _ => {
                    rows_used = rows_used.max(at + 1);
                    continue;
                }
            };
            rows_used = rows_used.max(at + 1);
            row.chain.set(*list);
            *list = at;
        }
        header.free_row.set(free);
        header.released.set(released);
        header.rows_used.set(rows_used);
        header.rows_ready.set(rows_used);
        // Nobody knows which rings were claimed, if this number is damaged. Those that were not are empty.
        header.rings_used.set(header.rings_used.get().min(RINGS));
        let is_entry = |at| self.row_at(at).is_ok_and(|row| row.state().is() == State::LIVE);
        self.mend_versions(rows_used, is_entry)?;
        // No dead row is left.
        header.floor.set(0.0);
        self.reset_tags();
        Ok(Recovered { kept, dropped })
    }

    /// Whether a change of a row had begun and not ended, and the record of the change is lost: the row may have parts of two
    /// entries. Every other entry has a version.
    fn is_torn(&self, at: u32) -> Checked<bool> {
        Ok(self.version_at(at)?.get() == 0.0)
    }

    /// Whether a row has a version that a reset has ended. Where the floor is damaged, nobody knows, and each has.
    fn is_dead(&self, at: u32) -> Checked<bool> {
        let (version, floor) = (self.version_at(at)?.get(), self.header().floor.get());
        let is_alive = version == 0.0 || version > floor;
        Ok(!is_alive)
    }

    /// Removes every entry row by row, and gives back the memory. A process that is killed meanwhile leaves a segment to be
    /// rebuilt. [`Edit::remove_all_at_once`] is for segments without slots.
    pub(super) fn remove_all(&self) -> Checked<()> {
        self.header().damaged.commit(1);
        self.begin_epoch();
        for at in 1..self.rows_written() {
            let row = self.row_at(at)?;
            let state = row.state();
            if state.is() == State::LIVE {
                let what = if state.kind() == Some(Kind::Slot) {
                    State::RELEASED
                } else {
                    State::FREE
                };
                row.state.commit(state.become_(what).0);
            }
        }
        self.rebuild()?;
        self.shrink();
        self.header().damaged.commit(0);
        Ok(())
    }

    /// Whether the index has the key of a row already.
    fn is_double(&self, row: &Row, buffer: &mut Vec<u8>) -> Checked<bool> {
        let hash = row.hash.get();
        let mut at = self.bucket(hash)?.get();
        for _ in 0..self.longest() {
            if at == NONE {
                break;
            }
            let other = self.row_at(at)?;
            if other.hash.get() == hash {
                let key = self.read(row, row.key_len.get() as usize, buffer)?;
                if self.key_is(other, key)? {
                    return Ok(true);
                }
            }
            at = other.chain.get();
        }
        Ok(false)
    }

    /// Frees a row that is no entry; its blocks are freed by the rebuild.
    fn drop_row(&self, row: &Row) {
        let state = row.state();
        let slot = state.is() == State::LIVE
            && state.kind() == Some(Kind::Slot)
            && u32::try_from(row.inline.get()).is_ok();
        row.state
            .commit(state.become_(if slot { State::RELEASED } else { State::FREE }).0);
    }

    /// Empties the index, with a bucket for each of `entries` if there is memory for it; how many it has.
    fn empty_index(&self, entries: u32) -> Checked<u32> {
        let (header, geometry) = (self.header(), self.geometry);
        let written = self.memory.written(geometry.index_at..geometry.rows_at) / size_of::<u32>();
        header.buckets_ready.set(0);
        let wanted = entries.clamp(BUCKETS, geometry.buckets_max);
        let buckets = match self.grow_index(wanted) {
            Ok(()) => wanted,
            Err(_) => wanted.min(written as u32).max(BUCKETS),
        };
        for bucket in 0..buckets {
            self.bucket_at(bucket)?.set(NONE);
        }
        header.buckets_ready.set(buckets);
        Ok(buckets)
    }

    /// Makes sure that there is memory behind the sections of so many blocks, whatever the header says. Returns the number of
    /// sections that may have been written.
    fn ready_sections(&self, blocks: u32) -> Checked<u32> {
        let (header, geometry) = (self.header(), self.geometry);
        let bytes = self.memory.written(geometry.sections_at..geometry.blocks_at);
        let written = (bytes / size_of::<Section>()).min(sections(geometry.blocks_max) as usize) as u32;
        let needed = sections(blocks);
        header.sections_ready.set(needed.min(written));
        self.grow_sections(blocks)?;
        Ok(written.max(needed))
    }

    /// Gives every entry a new time of use, in order.
    fn renumber(&self) -> Checked<()> {
        let header = self.header();
        let mut at = header.oldest.get();
        let mut clock = 0;
        for _ in 0..header.len.get() {
            let row = self.row_at(at)?;
            clock += 1;
            row.used.set(clock);
            at = row.newer.get();
        }
        header.clock.set(clock);
        Ok(())
    }
}
