//! Changes. Each method makes one change or several, each of them whole: see `intent.rs`. A process may be killed at any
//! store.

use std::ops::Deref;

use super::{
    blocks::{Blocks, prefers_fresh},
    head::limits_check,
    intent::Change,
    layout::{
        ALIGN, Block, Float, GROUP, Geometry, INTENT_WORDS, NONE, PAYLOAD, Row, Section, State, Word,
        sections,
    },
    memory::{Memory, OutOfMemory},
    view::{BUCKETS, Checked, Fault, View},
};
use crate::{
    extras::{self, Extras},
    slots::Slots,
    storage::{Limits, Stamp},
    value::{Kind, Value},
};

/// By which part of what it has a region grows. The least and the most, in bytes, bound the memory that is not used yet
/// and the time that it takes under the lock.
const GROWTH: u32 = 16;
const GROWTH_LEAST: usize = 16 * 1024;
const GROWTH_MOST: usize = 1024 * 1024;

/// The most entries that [`Edit::remove_rows`] removes before it stops, and the most rows that it looks at.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) removed: u32,
    pub(super) looked_at: u32,
}

impl Part {
    pub(super) const DEFAULT: Self = Self {
        removed: 256,
        looked_at: 8192,
    };
}

/// Up to here numbers are counted one by one.
const EXACT: f64 = 4_503_599_627_370_496.0;

/// Memory of each region that [`Edit::shrink_part`] gives back at a time, in bytes.
const SHRINK_PART: usize = 256 * 1024;

const _: () = {
    // A reset stores the first buckets, 10 words of the header and the floor.
    assert!(BUCKETS as usize + 12 <= INTENT_WORDS);
};

/// The heads of lists and the counts of the header that a change stores, while it is being written.
#[derive(Clone, Copy)]
struct Lists {
    len: u32,
    slots: u32,
    free_row: u32,
    rows_used: u32,
    released: u32,
}

/// What is stored under a key.
struct New<'a> {
    value: Value<'a>,
    stamp: Stamp,
    has_extras: bool,
    /// What lies behind the key: extras, and the bytes of the value.
    tail: &'a [u8],
}

/// A view that changes what it reads.
pub(super) struct Edit<M: Memory> {
    view: View<M>,
}

impl<M: Memory> Deref for Edit<M> {
    type Target = View<M>;

    fn deref(&self) -> &View<M> {
        &self.view
    }
}

impl<M: Memory> Edit<M> {
    /// An editor of what `view` shows.
    pub(super) fn new(view: View<M>) -> Self {
        Self { view }
    }

    /// The view, to forget copies.
    pub(super) fn view_mut(&mut self) -> &mut View<M> {
        &mut self.view
    }

    /// Stores an entry as the most recent, in place of one under the same key. Returns whether there was one, and the row.
    pub(super) fn store(
        &self,
        key: &[u8],
        value: Value<'_>,
        stamp: Stamp,
        extras: Extras<'_>,
    ) -> Checked<(bool, u32)> {
        let has_extras = !extras.is_none();
        let new = New {
            value,
            stamp,
            has_extras,
            tail: match has_extras {
                true => self.with_extras(value, extras)?,
                false => value.bytes(),
            },
        };
        let bytes = key.len() as u64 + new.tail.len() as u64;
        if bytes > u64::from(u32::MAX) {
            return Err(Fault::Memory);
        }
        let hash = self.hash(key);
        let old = match self.find(key, hash)? {
            Some(at) => Some((at, self.live_row(at)?)),
            None => None,
        };
        let is_slot = |row: &Row| row.state().kind().is_none_or(|kind| kind == Kind::Slot);
        match old {
            // The row of a slot waits until its process has let the slot go.
            Some((at, row)) if value.kind() != Kind::Slot && !is_slot(row) => {
                self.overwrite(at, row, key, &new)?;
                Ok((true, at))
            }
            old => Ok((old.is_some(), self.insert(old, hash, key, &new)?)),
        }
    }

    /// Gives an entry another value and another stamp, and makes it the most recent. The entry keeps its row. Where the value
    /// lies in the row, as the old one did, the blocks, which have the key alone, stay as they are.
    fn overwrite(&self, at: u32, row: &Row, key: &[u8], new: &New<'_>) -> Checked<()> {
        let (value, stamp, tail) = (new.value, new.stamp, new.tail);
        let keeps_blocks = tail.is_empty() && row.value_len.get() == 0;
        let mut change = self.change();
        change.end_version(at);
        change.set(&row.state, row.state().live(value.kind(), new.has_extras).0);
        change.set_halves_if_new(
            row.set_at.halves(),
            row.set_at.get().to_bits(),
            stamp.set_at.to_bits(),
        );
        change.set_halves_if_new(
            row.max_age.halves(),
            row.max_age.get().to_bits(),
            stamp.max_age.to_bits(),
        );
        change.set_halves_if_new(row.inline.halves(), row.inline.get(), value.inline());
        let newest = self.header().newest.get();
        if newest != at {
            self.relink(&mut change, at, row, NONE, newest)?;
            change.set_used(at, self.tick());
        }
        change.begin_version(at, self.next_version());
        if keeps_blocks {
            return change.commit();
        }
        let count = (key.len() as u64 + tail.len() as u64).div_ceil(PAYLOAD as u64);
        self.reserve(0, count)?;
        let mut blocks = self.blocks();
        let (_, old_count) = self.extent(row)?;
        let first = self.fill(&mut blocks, key, tail, count as u32)?;
        self.free_blocks(&mut blocks, row.first.get(), old_count)?;
        change.set(&row.first, first);
        change.set_if_new(&row.value_len, tail.len() as u32);
        self.store_blocks(&mut change, &blocks)?;
        change.commit()?;
        self.or_damaged(self.blocks_stored(&blocks));
        self.or_damaged(self.free_loose());
        Ok(())
    }

    /// Stores an entry in a row of its own, as the most recent, in place of `old`. The new entry is whole before the old one
    /// goes. Returns the row.
    fn insert(&self, old: Option<(u32, &Row)>, hash: u32, key: &[u8], new: &New<'_>) -> Checked<u32> {
        let header = self.header();
        let (value, stamp, tail) = (new.value, new.stamp, new.tail);
        let blocks = (key.len() as u64 + tail.len() as u64).div_ceil(PAYLOAD as u64);
        self.reserve(1, blocks)?;
        let count = blocks as u32;
        let mut blocks = self.blocks();
        let first = self.fill(&mut blocks, key, tail, count)?;

        let mut change = self.change();
        let mut lists = self.lists();
        let (at, row) = self.take_row(&mut lists)?;
        row.hash.set(hash);
        row.key_len.set(key.len() as u32);
        row.value_len.set(tail.len() as u32);
        row.first.set(first);
        row.used.set(self.tick());
        row.set_at.set(stamp.set_at);
        row.max_age.set(stamp.max_age);
        row.inline.set(value.inline());
        change.set(&row.state, row.state().live(value.kind(), new.has_extras).0);
        if value.kind() == Kind::Slot {
            lists.slots = lists.slots.wrapping_add(1);
        }
        let mut newest = header.newest.get();
        let place = match old {
            Some((old_at, old)) => {
                change.end_version(old_at);
                let place = self.place_in_index(old_at, hash)?;
                change.set(&row.chain, old.chain.get());
                if newest == old_at {
                    newest = old.older.get();
                }
                self.unlink_recency(&mut change, old_at, old)?;
                self.discard(&mut change, &mut lists, &mut blocks, old_at, old)?;
                place
            }
            None => {
                let bucket = self.bucket(hash)?;
                change.set(&row.chain, bucket.get());
                lists.len = lists.len.wrapping_add(1);
                bucket
            }
        };
        change.set(place, at);
        row.newer.set(NONE);
        row.older.set(newest);
        self.put_before(&mut change, at, newest)?;
        self.store_lists(&mut change, &lists);
        self.store_blocks(&mut change, &blocks)?;
        change.begin_version(at, self.next_version());
        change.commit()?;
        self.or_damaged(self.blocks_stored(&blocks));
        self.or_damaged(self.free_loose());
        if old.is_none() {
            self.or_damaged(self.add_bucket());
        }
        Ok(at)
    }

    /// The bytes of extras, and those of a value behind them, in the scratch memory.
    #[cold]
    fn with_extras(&self, value: Value<'_>, extras: Extras<'_>) -> Checked<&[u8]> {
        let len = extras.stored_len();
        let tail = self.scratch(len.checked_add(value.bytes().len()).ok_or(Fault::Memory)?)?;
        let since = self.header().tags.count.get();
        extras::write(extras, since, |tag| self.long_hash(tag), &mut tail[..len]);
        tail[len..].copy_from_slice(value.bytes());
        Ok(tail)
    }

    /// Removes an entry.
    pub(super) fn remove_row(&self, at: u32) -> Checked<()> {
        let row = self.live_row(at)?;
        let mut change = self.change();
        let mut lists = self.lists();
        let mut blocks = self.blocks();
        change.end_version(at);
        change.set(self.place_in_index(at, row.hash.get())?, row.chain.get());
        self.unlink_recency(&mut change, at, row)?;
        lists.len = lists.len.checked_sub(1).ok_or(Fault::Damage)?;
        self.discard(&mut change, &mut lists, &mut blocks, at, row)?;
        self.store_lists(&mut change, &lists);
        self.store_blocks(&mut change, &blocks)?;
        change.commit()?;
        self.or_damaged(self.blocks_stored(&blocks));
        self.or_damaged(self.free_loose());
        Ok(())
    }

    /// Removes the entries whose rows `gone` names, from the row `from` on and in the order of their rows: the order of
    /// recency would lead all over the memory. Stops after a part, in a time that does not depend on the number of entries, and
    /// returns the row to go on with; `None` at the end. Ends early where it finds damage, and marks it.
    pub(super) fn remove_rows(
        &self,
        from: u32,
        part: Part,
        mut gone: impl FnMut(&Self, &Row) -> bool,
    ) -> Option<u32> {
        let from = from.max(1);
        let mut removed = 0;
        for at in from..self.longest() {
            if removed >= part.removed || at - from >= part.looked_at {
                return Some(at);
            }
            let Ok(row) = self.row(at) else { break };
            if row.state().is() == State::LIVE && gone(self, row) {
                if self.remove_row(at).is_err() {
                    self.header().damaged.set(1);
                    break;
                }
                removed += 1;
            }
        }
        None
    }

    /// Removes every entry by one change: rows, blocks and buckets are as if they had never been used. What lies there is
    /// dead, since its version is not above the floor, and is overwritten as rows and blocks are used again. The memory is
    /// given back part by part, see [`Edit::shrink_part`]. Returns `false`, and changes nothing, where values are slots:
    /// each of them has to be let go.
    pub(super) fn remove_all_at_once(&self) -> Checked<bool> {
        let header = self.header();
        let by_row = [
            &header.slots,
            &header.released,
            &header.loose_block,
            &header.loose_count,
        ];
        if by_row.iter().any(|word| word.get() != 0) {
            return Ok(false);
        }
        self.begin_epoch();
        let mut change = self.change();
        change.set_halves(header.floor.halves(), header.last_version.get().to_bits());
        for bucket in 0..BUCKETS {
            change.set(self.bucket_at(bucket)?, NONE);
        }
        for (word, value) in [
            (&header.buckets, BUCKETS),
            (&header.len, 0),
            (&header.rows_used, 1),
            (&header.blocks_used, 1),
            (&header.free_row, NONE),
            (&header.blocks_free, 0),
            (&header.newest, NONE),
            (&header.oldest, NONE),
            (&header.excess, 1),
        ] {
            change.set(word, value);
        }
        change.commit()?;
        Ok(true)
    }

    /// Stores the limits and their check number.
    pub(super) fn store_limits(&self, limits: &Limits) -> Checked<()> {
        let header = self.header();
        let mut change = self.change();
        change.set_halves(header.max.halves(), limits.max.to_bits());
        change.set_halves(header.max_size.halves(), limits.max_size.to_bits());
        change.set_halves(header.max_entry_size.halves(), limits.max_entry_size.to_bits());
        change.set_halves(header.max_age.halves(), limits.max_age.to_bits());
        change.set(&header.allow_stale, limits.allow_stale.into());
        change.set_halves(header.limits_check.halves(), limits_check(limits));
        change.commit()
    }

    /// Marks damage that was found after a change was made: the next call mends it. The change is not to be made again.
    fn or_damaged(&self, done: Checked<()>) {
        if done.is_err() {
            self.header().damaged.set(1);
        }
    }

    /// The lists and counts, as they are.
    #[inline(always)]
    fn lists(&self) -> Lists {
        let header = self.header();
        Lists {
            len: header.len.get(),
            slots: header.slots.get(),
            free_row: header.free_row.get(),
            rows_used: header.rows_used.get(),
            released: header.released.get(),
        }
    }

    /// The change stores what is different in the lists and counts `now`.
    #[inline(always)]
    fn store_lists<'a>(&'a self, change: &mut Change<'a, M>, now: &Lists) {
        let header = self.header();
        change.set_if_new(&header.len, now.len);
        change.set_if_new(&header.slots, now.slots);
        change.set_if_new(&header.free_row, now.free_row);
        change.set_if_new(&header.rows_used, now.rows_used);
        change.set_if_new(&header.released, now.released);
    }

    /// Frees a row and its blocks. No list leads to the row any more. Where the value is a slot, the row waits on the list
    /// of released rows for the process that owns the slot.
    #[inline(always)]
    fn discard<'a>(
        &'a self,
        change: &mut Change<'a, M>,
        lists: &mut Lists,
        blocks: &mut Blocks,
        at: u32,
        row: &'a Row,
    ) -> Checked<()> {
        let state = row.state();
        let (_, count) = self.extent(row)?;
        let (what, list) = match state.kind() {
            Some(Kind::Slot) => {
                lists.slots = lists.slots.wrapping_sub(1);
                (State::RELEASED, &mut lists.released)
            }
            _ => (State::FREE, &mut lists.free_row),
        };
        change.set(&row.state, state.become_(what).0);
        change.set(&row.chain, *list);
        *list = at;
        self.free_blocks(blocks, row.first.get(), count)
    }

    /// Frees the slots of released rows, and the rows.
    pub(super) fn drain_released(&self, slots: &Slots) -> Checked<()> {
        let header = self.header();
        for _ in 0..self.longest() {
            let at = header.released.get();
            if at == NONE {
                return Ok(());
            }
            let row = self.row(at)?;
            let state = row.state();
            if state.is() != State::RELEASED {
                return Err(Fault::Damage);
            }
            let slot = row.inline.get() as u32;
            let mut change = self.change();
            change.set(&header.released, row.chain.get());
            change.set(&row.state, state.become_(State::FREE).0);
            change.set(&row.chain, header.free_row.get());
            change.set(&header.free_row, at);
            change.commit()?;
            slots.free(slot);
        }
        if header.released.get() == NONE {
            Ok(())
        } else {
            Err(Fault::Damage)
        }
    }

    /// Makes an entry the most recent.
    pub(super) fn make_newest(&self, at: u32, row: &Row) -> Checked<()> {
        if self.header().newest.get() == at {
            return Ok(());
        }
        self.move_between(at, row, NONE, self.header().newest.get(), self.tick())
    }

    /// Moves an entry between two that are next to each other in the order of recency, neither of them itself, with this time
    /// of use. `NONE` for `newer`: to the front; for `older`: to the end.
    pub(super) fn move_between(&self, at: u32, row: &Row, newer: u32, older: u32, used: u64) -> Checked<()> {
        let mut change = self.change();
        self.relink(&mut change, at, row, newer, older)?;
        change.set_used(at, used);
        change.commit()
    }

    /// Makes an entry the most recent and gives it another stamp and a new version, by one change: a process that reads without
    /// the lock, and one that is killed, finds the entry as before or as after.
    pub(super) fn restamp(&self, at: u32, row: &Row, stamp: Stamp) -> Checked<()> {
        let mut change = self.change();
        change.end_version(at);
        change.set_halves(row.set_at.halves(), stamp.set_at.to_bits());
        change.set_halves(row.max_age.halves(), stamp.max_age.to_bits());
        let newest = self.header().newest.get();
        if newest != at {
            self.relink(&mut change, at, row, NONE, newest)?;
            change.set_used(at, self.tick());
        }
        change.begin_version(at, self.next_version());
        change.commit()
    }

    /// The change moves an entry between two others in the order of recency, as [`Edit::move_between`] says.
    fn relink<'a>(
        &'a self,
        change: &mut Change<'a, M>,
        at: u32,
        row: &'a Row,
        newer: u32,
        older: u32,
    ) -> Checked<()> {
        let header = self.header();
        self.unlink_recency(change, at, row)?;
        change.set(&row.newer, newer);
        change.set(&row.older, older);
        match newer {
            NONE => change.set(&header.newest, at),
            _ => change.set(&self.live_row(newer)?.older, at),
        }
        match older {
            NONE => change.set(&header.oldest, at),
            _ => change.set(&self.live_row(older)?.newer, at),
        }
        Ok(())
    }

    /// Gives an entry that has no version one that no entry has had.
    pub(super) fn begin_version(&self, at: u32) -> Checked<()> {
        self.version_at(at)?.publish(self.next_version());
        Ok(())
    }

    /// Gives every entry a version above all that this segment and another have given: the entries of both come together, and
    /// `last` is the last version of the other one. A process may be killed on the way: each entry has a version of its own
    /// then, and whoever brings the entries together begins again.
    pub(super) fn renew_versions(&self, last: f64) -> Checked<()> {
        let own = &self.header().last_version;
        // Another number is damage.
        if (0.0..EXACT).contains(&last) {
            own.set(own.get().max(last));
        }
        for at in 1..self.longest() {
            if self.row(at)?.state().is() == State::LIVE {
                self.begin_version(at)?;
            }
        }
        Ok(())
    }

    /// A version that no entry has had.
    pub(super) fn next_version(&self) -> f64 {
        let last = &self.header().last_version;
        last.set(last.get() + 1.0);
        last.get()
    }

    /// The next time of use.
    pub(super) fn tick(&self) -> u64 {
        let header = self.header();
        let now = self.time_of(header.control.uses.add_one());
        header.clock.set(now);
        now
    }

    /// A time of use that is not before `clock`, of its lower 32 bits.
    pub(super) fn time_of(&self, low: u32) -> u64 {
        let clock = self.header().clock.get();
        clock.wrapping_add(u64::from(low.wrapping_sub(clock as u32)))
    }

    /// Lets the order of recency begin with a row that leads to `newest`, where it began before.
    #[inline(always)]
    fn put_before<'a>(&'a self, change: &mut Change<'a, M>, at: u32, newest: u32) -> Checked<()> {
        let header = self.header();
        match newest {
            NONE => change.set(&header.oldest, at),
            _ => change.set(&self.live_row(newest)?.newer, at),
        }
        change.set(&header.newest, at);
        Ok(())
    }

    /// Takes a row out of the order of recency.
    #[inline(always)]
    fn unlink_recency<'a>(&'a self, change: &mut Change<'a, M>, at: u32, row: &'a Row) -> Checked<()> {
        let header = self.header();
        let (newer, older) = (row.newer.get(), row.older.get());
        let from_newer = if newer == NONE {
            &header.newest
        } else {
            &self.live_row(newer)?.older
        };
        let from_older = if older == NONE {
            &header.oldest
        } else {
            &self.live_row(older)?.newer
        };
        if from_newer.get() != at || from_older.get() != at {
            return Err(Fault::Damage);
        }
        change.set(from_newer, older);
        change.set(from_older, newer);
        Ok(())
    }

    /// The word of the index that leads to a row.
    fn place_in_index(&self, at: u32, hash: u32) -> Checked<&Word> {
        let mut place = self.bucket(hash)?;
        for _ in 0..self.longest() {
            let next = place.get();
            if next == at {
                return Ok(place);
            }
            place = &self.live_row(next)?.chain;
        }
        Err(Fault::Damage)
    }

    /// Keeps the number of buckets up with that of entries, one at a time. Where there is no memory for it,
    /// chains get longer.
    fn add_bucket(&self) -> Checked<()> {
        let header = self.header();
        let new = header.buckets.get();
        if header.len.get() <= new || new >= self.geometry.buckets_max || self.grow_index(new + 1).is_err() {
            return Ok(());
        }
        // The new bucket takes over entries of the one whose number is its own without the highest bit. First those that
        // stay come to the front of the chain, each by a change of its own; then the chain is cut in two.
        let from = self.bucket_at(new ^ 1 << new.ilog2())?;
        let (mut place, mut cut, mut goes) = (from, from, NONE);
        for _ in 0..self.longest() {
            let at = place.get();
            if at == NONE {
                // Beyond the last bucket: nobody looks there yet.
                self.bucket_at(new)?.set(goes);
                let mut change = self.change();
                if goes != NONE {
                    change.set(cut, NONE);
                }
                change.set(&header.buckets, new + 1);
                return change.commit();
            }
            let row = self.live_row(at)?;
            if View::<M>::bucket_of(row.hash.get(), new + 1) == new {
                if goes == NONE {
                    (cut, goes) = (place, at);
                }
            } else if goes != NONE {
                let mut change = self.change();
                change.set(place, row.chain.get());
                change.set(&row.chain, from.get());
                change.set(from, at);
                change.commit()?;
                if std::ptr::eq(cut, from) {
                    cut = &row.chain;
                }
                continue;
            }
            place = &row.chain;
        }
        Err(Fault::Damage)
    }

    /// A row to write: a free one, or the next that was never used. [`Edit::reserve`] has made sure of memory.
    #[inline(always)]
    fn take_row(&self, lists: &mut Lists) -> Checked<(u32, &Row)> {
        match lists.free_row {
            NONE => {
                let at = lists.rows_used;
                if at >= self.header().rows_ready.get() {
                    return Err(Fault::Damage);
                }
                lists.rows_used += 1;
                let (row, version) = (self.row_at(at)?, self.version_at(at)?);
                if version.get() != 0.0 {
                    // What a reset has left.
                    row.state.commit(row.state().become_(State::FREE).0);
                    version.end(0.0);
                }
                Ok((at, row))
            }
            at => {
                let row = self.row(at)?;
                if row.state().is() != State::FREE {
                    return Err(Fault::Damage);
                }
                lists.free_row = row.chain.get();
                Ok((at, row))
            }
        }
    }

    /// Makes sure that `rows` rows, 1 at most, and `blocks` blocks can be taken. Changes no entry and no list.
    fn reserve(&self, rows: u32, blocks: u64) -> Checked<()> {
        match self.reserve_once(rows, blocks) {
            Err(Fault::Memory) if self.header().excess.get() != 0 => {
                // One region may have what another needs.
                self.shrink();
                self.reserve_once(rows, blocks)
            }
            done => done,
        }
    }

    fn reserve_once(&self, rows: u32, blocks: u64) -> Checked<()> {
        let header = self.header();
        let beyond = |used: &Word, ready: &Word| used.get() > ready.get().max(1);
        if beyond(&header.rows_used, &header.rows_ready) || beyond(&header.blocks_used, &header.blocks_ready)
        {
            return Err(Fault::Damage);
        }
        if rows > 0 && header.free_row.get() == NONE {
            let Geometry {
                rows_at, rows_max, ..
            } = self.geometry;
            let needed = u64::from(header.rows_used.get()) + 1;
            self.grow(rows_at, size_of::<Row>(), &header.rows_ready, needed, rows_max)?;
            // Not for all rows that are said to be ready: that number may be damaged.
            self.grow_versions(header.rows_used.get().saturating_add(1))?;
        }
        let (free, used) = (header.blocks_free.get(), header.blocks_used.get());
        let more = blocks.saturating_sub(u64::from(free));
        if prefers_fresh(blocks.try_into().unwrap_or(u32::MAX), free, used) {
            match self.grow_blocks(blocks) {
                Err(Fault::Memory) => {}
                done => return done,
            }
        }
        self.grow_blocks(more)
    }

    /// Makes sure that so many blocks that were never used can be taken.
    fn grow_blocks(&self, more: u64) -> Checked<()> {
        if more == 0 {
            return Ok(());
        }
        let header = self.header();
        let Geometry {
            blocks_at,
            blocks_max,
            ..
        } = self.geometry;
        let needed = u64::from(header.blocks_used.get()) + more;
        // Whole groups, but for the last one.
        let most = u64::from(blocks_max).max(needed);
        let needed = needed.next_multiple_of(GROUP.into()).min(most);
        self.grow(
            blocks_at,
            size_of::<Block>(),
            &header.blocks_ready,
            needed,
            blocks_max,
        )?;
        self.grow_sections(header.blocks_ready.get())
    }

    /// Makes sure that there is memory behind the versions of so many rows. It is never given back: a process may read a
    /// version without the lock at any time.
    pub(super) fn grow_versions(&self, rows: u32) -> Checked<()> {
        let Geometry {
            versions_at,
            rows_max,
            ..
        } = self.geometry;
        let ready = &self.header().versions_ready;
        self.grow(
            versions_at,
            size_of::<Float>(),
            ready,
            u64::from(rows.min(rows_max)),
            rows_max,
        )
    }

    /// Makes sure that there is memory behind the sections of so many blocks.
    pub(super) fn grow_sections(&self, blocks: u32) -> Checked<()> {
        let Geometry {
            sections_at,
            blocks_max,
            ..
        } = self.geometry;
        let ready = &self.header().sections_ready;
        self.grow(
            sections_at,
            size_of::<Section>(),
            ready,
            sections(blocks).into(),
            sections(blocks_max),
        )
    }

    /// Makes sure that there is memory behind so many buckets.
    pub(super) fn grow_index(&self, buckets: u32) -> Checked<()> {
        let Geometry {
            index_at,
            buckets_max,
            ..
        } = self.geometry;
        let ready = &self.header().buckets_ready;
        self.grow(
            index_at,
            size_of::<Word>(),
            ready,
            u64::from(buckets),
            buckets_max,
        )
    }

    /// Makes sure that there is memory behind `needed` items of `size` bytes in the region at `at`, which has `ready`
    /// items and can have `max`.
    fn grow(&self, at: usize, size: usize, ready: &Word, needed: u64, max: u32) -> Checked<()> {
        let have = ready.get();
        if needed <= u64::from(have) {
            return Ok(());
        }
        if needed > u64::from(max) {
            return Err(Fault::Reservation(self.geometry.len));
        }
        let (have, needed, max) = (have as usize * size, needed as usize * size, max as usize * size);
        // A namespace that is never used takes a page of each region at most.
        let ample = match have {
            0 => needed,
            _ => have + (have / GROWTH as usize).clamp(GROWTH_LEAST, GROWTH_MOST),
        };
        let page = |end: usize| end.next_multiple_of(4096).min(max);
        let (ample, least) = (page(ample.max(needed)), page(needed));
        let end = match self.memory.commit(at + have..at + ample) {
            Ok(()) => ample,
            Err(OutOfMemory) => self.memory.commit(at + have..at + least).map(|()| least)?,
        };
        ready.set((end / size) as u32);
        Ok(())
    }

    /// Where each region starts, the size of its items, how many are in use, how many have memory, and where the region
    /// ends. Versions and rings are not among them: processes may read or write them at any time without the lock.
    fn regions(&self) -> [(usize, usize, u32, &Word, usize); 4] {
        let (header, geometry) = (self.header(), self.geometry);
        [
            (
                geometry.index_at,
                size_of::<Word>(),
                header.buckets.get(),
                &header.buckets_ready,
                geometry.rows_at,
            ),
            (
                geometry.rows_at,
                size_of::<Row>(),
                header.rows_used.get(),
                &header.rows_ready,
                geometry.versions_at,
            ),
            (
                geometry.sections_at,
                size_of::<Section>(),
                sections(header.blocks_used.get()),
                &header.sections_ready,
                geometry.blocks_at,
            ),
            (
                geometry.blocks_at,
                size_of::<Block>(),
                header.blocks_used.get(),
                &header.blocks_ready,
                geometry.len,
            ),
        ]
    }

    /// Gives back the memory behind what is not in use at the end of each region.
    pub(super) fn shrink(&self) {
        for (at, size, used, ready, end) in self.regions() {
            let from = (at + used as usize * size).next_multiple_of(ALIGN).min(end);
            ready.set(used.min(((from - at) / size) as u32));
            self.memory.decommit(from..end);
        }
        self.header().excess.set(0);
    }

    /// Gives back a part of the memory that a reset has left, from the end of each region on, down to what is in use by
    /// then. Does nothing where all of it was given back.
    #[inline(always)]
    pub(super) fn shrink_part(&self) {
        if self.header().excess.get() != 0 {
            self.shrink_a_part();
        }
    }

    #[cold]
    fn shrink_a_part(&self) {
        let ends = |(at, size, used, ready, end): (usize, usize, u32, &Word, usize)| {
            let least = (at + used as usize * size).next_multiple_of(ALIGN).min(end);
            (least, (at + ready.get() as usize * size).min(end))
        };
        for region in self.regions() {
            let ((least, have), (at, size, _, ready, _)) = (ends(region), region);
            if have > least + SHRINK_PART {
                let from = (have - SHRINK_PART).next_multiple_of(4096);
                // Less first: a process that is killed in between leaves memory that nobody counts.
                ready.set(((from - at) / size) as u32);
                self.memory.decommit(from..have.next_multiple_of(4096));
            }
        }
        let is_last = |region| {
            let (least, have) = ends(region);
            have <= least + SHRINK_PART
        };
        if self.regions().into_iter().all(is_last) {
            self.shrink();
        }
    }
}
