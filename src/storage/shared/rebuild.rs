//! Rebuild and validate: the two that read all of a segment.

use std::{collections::HashSet, str};

use super::{
    layout::{Block, FREE_BLOCK, NONE, Row, State},
    memory::Memory,
    segment::{BUCKETS, Fault, Segment, kind},
};

type Result<T> = std::result::Result<T, Fault>;

/// What a rebuild found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Entries that are there.
    pub kept: u32,
    /// Rows that claimed to be entries and were not: an older one of a key that was being replaced, or damage.
    pub dropped: u32,
}

/// A bit for each block, in the memory of this process.
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: u32) -> Result<Self> {
        let mut words = Vec::new();
        let len = count as usize / 64 + 1;
        words.try_reserve_exact(len).map_err(|_| Fault::Memory)?;
        words.resize(len, 0);
        Ok(Self(words))
    }

    fn has(&self, bit: u32) -> bool {
        self.0
            .get(bit as usize / 64)
            .is_some_and(|word| word & 1 << (bit % 64) != 0)
    }

    /// A bit beyond the last was read from a word that somebody writes who must not: whoever looks again sees
    /// something else.
    fn set(&mut self, bit: u32) {
        if let Some(word) = self.0.get_mut(bit as usize / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    /// One more than the highest bit that is set.
    fn end(&self) -> u32 {
        let last = self.0.iter().rposition(|word| *word != 0);
        last.map_or(0, |at| at as u32 * 64 + 64 - self.0[at].leading_zeros())
    }
}

impl<M: Memory> Segment<M> {
    /// Rebuilds everything from the rows: the index, the order of recency, the free lists, every count. An
    /// entry that was half written is dropped, and so is what makes no sense. It may be stopped at any point
    /// and begun again.
    ///
    /// # Errors
    /// This process has no memory for it: some 16 bytes an entry, and a bit or two a block.
    pub fn recover(&self) -> std::result::Result<Recovered, Fault> {
        let header = self.header();
        // Where it ends early, for want of memory, the segment is left half rebuilt.
        header.damaged.set(1);
        header.dirty.commit(1);
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

    /// One more than the highest row that may ever have been written.
    pub(super) fn rows_written(&self) -> u32 {
        let geometry = self.geometry;
        let bytes = self.memory.written(geometry.rows_at..geometry.blocks_at);
        (bytes / size_of::<Row>()).min(geometry.rows_max as usize) as u32
    }

    fn blocks_written(&self) -> u32 {
        let geometry = self.geometry;
        let bytes = self.memory.written(geometry.blocks_at..geometry.len);
        (bytes / size_of::<Block>()).min(geometry.blocks_max as usize) as u32
    }

    pub(super) fn rebuild(&self) -> Result<Recovered> {
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
                State::LIVE
                    if self.claim(row, &mut taken, &mut contested)
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
            slots += u32::from(row.state().kind() == kind::SLOT);
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
        let blocks_used = taken.end().max(1);
        let (mut free, mut count) = (NONE, 0);
        for at in (1..blocks_used).rev().filter(|at| !taken.has(*at)) {
            self.block_at(at)?.link.set(free | FREE_BLOCK);
            free = at;
            count += 1;
        }
        header.free_block.set(free);
        header.blocks_free.set(count);
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
        Ok(Recovered { kept, dropped })
    }

    /// Marks the blocks of a row; `false` where its chain is broken, or touches one that another row has.
    fn claim(&self, row: &Row, taken: &mut Bits, contested: &mut Bits) -> bool {
        let Ok((_, count)) = self.extent(row) else {
            return false;
        };
        let mut at = row.first.get();
        for _ in 0..count {
            let Ok(block) = self.block_at(at) else {
                return false;
            };
            if at >= self.header().blocks_used.get() || block.link.get() & FREE_BLOCK != 0 {
                return false;
            }
            if taken.has(at) {
                contested.set(at);
                return false;
            }
            taken.set(at);
            at = block.link.get();
        }
        at == NONE
    }

    /// Whether a row's key has its hash, and its value is one. Its chain was walked before.
    fn makes_sense(&self, row: &Row, buffer: &mut Vec<u8>) -> Result<bool> {
        let kind = row.state().kind();
        let value_len = row.value_len.get() as usize;
        match kind {
            _ if kind > kind::CLONE => return Ok(false),
            _ if !kind::has_bytes(kind) && value_len > 0 => return Ok(false),
            kind::SLOT if row.inline.get() > u64::from(u32::MAX) => return Ok(false),
            _ => {}
        }
        let key_len = row.key_len.get() as usize;
        let used = if kind == kind::JSON {
            key_len + value_len
        } else {
            key_len
        };
        let bytes = self.read(row, used, buffer)?;
        let (key, value) = bytes.split_at(key_len);
        Ok(self.hash(key) == row.hash.get() && str::from_utf8(value).is_ok())
    }

    /// The first `len` bytes of a row's chain.
    fn read<'a>(&self, row: &Row, len: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        buffer.clear();
        buffer.try_reserve(len).map_err(|_| Fault::Memory)?;
        buffer.resize(len, 0);
        self.copy_out(row.first.get(), 0, buffer)?;
        Ok(buffer)
    }

    /// Whether the index has the key of a row already.
    fn is_double(&self, row: &Row, buffer: &mut Vec<u8>) -> Result<bool> {
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

    fn any_block(&self, row: &Row, mut is: impl FnMut(u32) -> bool) -> bool {
        let Ok((_, count)) = self.extent(row) else {
            return false;
        };
        let mut at = row.first.get();
        for _ in 0..count {
            let Ok(block) = self.block_at(at) else {
                return false;
            };
            if is(at) {
                return true;
            }
            at = block.link.get();
        }
        false
    }

    fn drop_row(&self, row: &Row) {
        let state = row.state();
        let slot = state.is() == State::LIVE
            && state.kind() == kind::SLOT
            && u32::try_from(row.inline.get()).is_ok();
        row.state
            .commit(state.become_(if slot { State::RELEASED } else { State::FREE }).0);
    }

    /// Empties the index, with a bucket for each of `entries` if there is memory for it; how many it has.
    fn empty_index(&self, entries: u32) -> Result<u32> {
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

    /// Gives every entry a new time of use, in order.
    fn renumber(&self) -> Result<()> {
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

    /// Walks every structure and compares each with the others.
    ///
    /// # Errors
    /// Says what does not fit.
    pub fn validate(&self) -> std::result::Result<(), String> {
        let header = self.header();
        let fault = |what: &'static str| move |_: Fault| what.to_owned();
        let check = |holds: bool, what: &dyn Fn() -> String| if holds { Ok(()) } else { Err(what()) };
        let (rows, blocks, len) = (header.rows_used.get(), header.blocks_used.get(), header.len.get());
        check((1..=self.geometry.rows_max).contains(&rows), &|| {
            format!("rows_used {rows}")
        })?;
        check((1..=self.geometry.blocks_max).contains(&blocks), &|| {
            format!("blocks_used {blocks}")
        })?;
        check(rows <= self.rows_written().max(1), &|| {
            format!("no memory behind {rows} rows")
        })?;
        check(blocks <= self.blocks_written().max(1), &|| {
            format!("no memory behind {blocks} blocks")
        })?;
        check(rows <= header.rows_ready.get().max(1), &|| {
            format!("rows_ready below {rows}")
        })?;
        check(blocks <= header.blocks_ready.get().max(1), &|| {
            format!("blocks_ready below {blocks}")
        })?;
        let buckets = header.buckets.get();
        check((BUCKETS..=header.buckets_ready.get()).contains(&buckets), &|| {
            format!("buckets {buckets}")
        })?;

        // Rows.
        let (mut live, mut released, mut free) = (HashSet::new(), HashSet::new(), HashSet::new());
        for at in 1..rows {
            let set = match self.row_at(at).map_err(fault("row"))?.state().is() {
                State::LIVE => &mut live,
                State::RELEASED => &mut released,
                State::FREE => &mut free,
                other => return Err(format!("row {at} is {other}")),
            };
            set.insert(at);
        }
        check(live.len() == len as usize, &|| {
            format!("{} rows are entries, len is {len}", live.len())
        })?;

        let is_slot = |at: &&u32| {
            self.row_at(**at)
                .is_ok_and(|row| row.state().kind() == kind::SLOT)
        };
        check(
            live.iter().filter(is_slot).count() == header.slots.get() as usize,
            &|| format!("{} entries are slots, it says", header.slots.get()),
        )?;

        // The index: each entry once, in its bucket, and no key twice.
        let (mut indexed, mut keys) = (HashSet::new(), HashSet::new());
        let mut buffer = Vec::new();
        for bucket in 0..buckets {
            let mut at = self.bucket_at(bucket).map_err(fault("bucket"))?.get();
            while at != NONE {
                check(live.contains(&at), &|| {
                    format!("row {at} in bucket {bucket} is no entry")
                })?;
                check(indexed.insert(at), &|| format!("row {at} is twice in the index"))?;
                let row = self.row_at(at).map_err(fault("row"))?;
                let hash = row.hash.get();
                check(Self::bucket_of(hash, buckets) == bucket, &|| {
                    format!("row {at} in bucket {bucket}")
                })?;
                check(
                    self.makes_sense(row, &mut buffer).map_err(fault("entry"))?,
                    &|| format!("row {at}"),
                )?;
                let key = self
                    .read(row, row.key_len.get() as usize, &mut buffer)
                    .map_err(fault("key"))?;
                check(keys.insert(key.to_vec()), &|| {
                    format!("row {at} has a key that another has")
                })?;
                at = row.chain.get();
            }
        }
        check(indexed.len() == live.len(), &|| {
            "an entry is not in the index".into()
        })?;

        // Recency, both ways, and rising times of use.
        let (mut newer, mut at, mut count, mut last) = (NONE, header.newest.get(), 0, u64::MAX);
        while at != NONE {
            check(live.contains(&at), &|| {
                format!("row {at} in the order is no entry")
            })?;
            let row = self.row_at(at).map_err(fault("row"))?;
            check(row.newer.get() == newer, &|| {
                format!("row {at} does not lead back")
            })?;
            check(row.used.get() < last, &|| {
                format!("row {at} was used after the one before it")
            })?;
            last = row.used.get();
            count += 1;
            check(count <= len, &|| "the order goes in a circle".into())?;
            (newer, at) = (at, row.older.get());
        }
        check(count == len && header.oldest.get() == newer, &|| {
            "the order has not every entry".into()
        })?;

        // Lists of rows.
        for (name, head, set) in [
            ("free", &header.free_row, &free),
            ("released", &header.released, &released),
        ] {
            let (mut at, mut walked) = (head.get(), HashSet::new());
            while at != NONE {
                check(set.contains(&at) && walked.insert(at), &|| {
                    format!("row {at} on the list of {name} rows")
                })?;
                at = self.row_at(at).map_err(fault("row"))?.chain.get();
            }
            check(walked.len() == set.len(), &|| {
                format!("a {name} row is not on its list")
            })?;
        }

        // Blocks: an entry's or free, one of the two.
        let (mut taken, mut contested) = (
            Bits(vec![0; blocks as usize / 64 + 1]),
            Bits(vec![0; blocks as usize / 64 + 1]),
        );
        for at in &live {
            let row = self.row_at(*at).map_err(fault("row"))?;
            check(self.claim(row, &mut taken, &mut contested), &|| {
                format!("the blocks of row {at}")
            })?;
        }
        let (mut at, mut free) = (header.free_block.get(), 0);
        while at != NONE {
            let block = self.block_at(at).map_err(fault("block"))?;
            let link = block.link.get();
            check(at < blocks && !taken.has(at), &|| {
                format!("block {at} is free and is not")
            })?;
            check(link & FREE_BLOCK != 0, &|| {
                format!("block {at} is free and not marked")
            })?;
            taken.set(at);
            free += 1;
            at = link & !FREE_BLOCK;
        }
        check(free == header.blocks_free.get(), &|| {
            format!("{free} blocks are free, not as counted")
        })?;
        let missing = (1..blocks).find(|at| !taken.has(*at));
        check(missing.is_none(), &|| format!("block {missing:?} is nobody's"))
    }
}
