//! Changes. Each method ends in a state that is consistent, and after each single store on the way there the segment is
//! in a state that `rebuild` makes consistent: a process may be killed at any of them.

use std::ops::Deref;

use super::{
    layout::{ALIGN, Block, FREE_BLOCK, Float, Geometry, NONE, PAYLOAD, Row, State, Word},
    memory::{Memory, OutOfMemory},
    view::{Checked, Fault, View},
};
use crate::{
    slots::Slots,
    storage::Stamp,
    value::{Kind, Value},
};

/// By which part of what it has a region grows. The least and the most, in bytes, bound the memory that is not used yet
/// and the time that it takes under the lock.
const GROWTH: u32 = 16;
const GROWTH_LEAST: usize = 16 * 1024;
const GROWTH_MOST: usize = 1024 * 1024;

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

    /// Marks that a mutation is under way: a process that finds the mark rebuilds the segment.
    pub(super) fn dirty(&self) {
        if self.header().dirty.get() == 0 {
            self.header().dirty.commit(1);
        }
    }

    /// Stores an entry as the most recent, in place of one under the same key. Returns whether there was one. The new
    /// entry is whole before the old one goes. Returns the new row, too.
    pub(super) fn insert(&self, key: &[u8], value: Value<'_>, stamp: Stamp) -> Checked<(bool, u32)> {
        let bytes = key.len() as u64 + value.bytes().len() as u64;
        if bytes > u64::from(u32::MAX) {
            return Err(Fault::Memory);
        }
        let header = self.header();
        let hash = self.hash(key);
        let old = self.find(key, hash)?;
        self.reserve(bytes.div_ceil(PAYLOAD as u64))?;

        self.dirty();
        let first = self.fill(key, value.bytes())?;
        let (at, row) = self.take_row()?;
        row.hash.set(hash);
        row.key_len.set(key.len() as u32);
        row.value_len.set(value.bytes().len() as u32);
        row.first.set(first);
        row.used.set(self.tick());
        row.set_at.set(stamp.set_at);
        row.max_age.set(stamp.max_age);
        row.inline.set(value.inline());
        // From here on the entry is what a rebuild finds: of two rows with one key, the one used last counts.
        row.state.commit(row.state().live(value.kind()).0);
        // Before the new entry can be found: whoever has read it must not be told the old one by another process.
        if let Some(old) = old {
            self.end_version(old)?;
        }
        if value.kind() == Kind::Slot {
            header.slots.set(header.slots.get().wrapping_add(1));
        }
        self.link(at, row, hash, old).inspect_err(|_| {
            // The row is free again, so that a rebuild does not find it. The next try, or the caller who declines the
            // value, frees the value's slot; a row that still had the slot would free it twice.
            row.state.commit(row.state().become_(State::FREE).0);
        })?;
        self.begin_version(at)?;
        Ok((old.is_some(), at))
    }

    /// Puts a new entry where it can be found, in place of an `old` one of its key.
    fn link(&self, at: u32, row: &Row, hash: u32, old: Option<u32>) -> Checked<()> {
        let header = self.header();
        match old {
            Some(old_at) => {
                let old = self.live_row(old_at)?;
                let place = self.place_in_index(old_at, hash)?;
                row.chain.set(old.chain.get());
                place.set(at);
                self.unlink_recency(old_at, old)?;
                self.link_newest(at, row)?;
                self.discard(old_at, old)
            }
            None => {
                let bucket = self.bucket(hash)?;
                row.chain.set(bucket.get());
                bucket.set(at);
                self.link_newest(at, row)?;
                header.len.set(header.len.get().wrapping_add(1));
                self.add_bucket()
            }
        }
    }

    /// Removes an entry.
    pub(super) fn remove_row(&self, at: u32) -> Checked<()> {
        let row = self.live_row(at)?;
        self.dirty();
        self.end_version(at)?;
        self.place_in_index(at, row.hash.get())?.set(row.chain.get());
        self.unlink_recency(at, row)?;
        let len = self.header().len.get().checked_sub(1).ok_or(Fault::Damage)?;
        self.header().len.set(len);
        self.discard(at, row)
    }

    /// Removes the entries whose rows `gone` names, in the order of their rows: the order of recency would lead all over
    /// the memory. Ends early where it finds damage, and marks it.
    pub(super) fn remove_rows(&self, mut gone: impl FnMut(&Row) -> bool) {
        for at in 1..self.longest() {
            let Ok(row) = self.row(at) else { break };
            if row.state().is() == State::LIVE && gone(row) && self.remove_row(at).is_err() {
                self.header().damaged.set(1);
                break;
            }
        }
    }

    /// Frees a row and its blocks. No list leads to the row any more. Where the value is a slot, the row waits on the list
    /// of released rows for the process that owns the slot.
    fn discard(&self, at: u32, row: &Row) -> Checked<()> {
        let (header, state) = (self.header(), row.state());
        let (_, blocks) = self.extent(row)?;
        let (what, list) = match state.kind() {
            Some(Kind::Slot) => {
                header.slots.set(header.slots.get().wrapping_sub(1));
                (State::RELEASED, &header.released)
            }
            _ => (State::FREE, &header.free_row),
        };
        row.state.commit(state.become_(what).0);
        row.chain.set(list.get());
        list.set(at);
        self.free_blocks(row.first.get(), blocks)
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
            let (slot, next) = (row.inline.get() as u32, row.chain.get());
            header.released.set(next);
            row.state.commit(state.become_(State::FREE).0);
            row.chain.set(header.free_row.get());
            header.free_row.set(at);
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
        if self.header().newest.get() != at {
            self.dirty();
            row.used.set(self.tick());
            self.unlink_recency(at, row)?;
            self.link_newest(at, row)?;
        }
        Ok(())
    }

    /// Ends the version of a row, before anybody can see that its entry changes or goes.
    pub(super) fn end_version(&self, at: u32) -> Checked<()> {
        self.version_at(at)?.end(0.0);
        Ok(())
    }

    /// Gives an entry a version that no entry has had. The last step of a change.
    pub(super) fn begin_version(&self, at: u32) -> Checked<()> {
        let last = &self.header().last_version;
        last.set(last.get() + 1.0);
        self.version_at(at)?.publish(last.get());
        Ok(())
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

    /// Puts a row at the front of the order of recency.
    pub(super) fn link_newest(&self, at: u32, row: &Row) -> Checked<()> {
        let header = self.header();
        let before = header.newest.get();
        row.newer.set(NONE);
        row.older.set(before);
        match before {
            NONE => header.oldest.set(at),
            _ => self.live_row(before)?.newer.set(at),
        }
        header.newest.set(at);
        Ok(())
    }

    /// Takes a row out of the order of recency.
    pub(super) fn unlink_recency(&self, at: u32, row: &Row) -> Checked<()> {
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
        from_newer.set(older);
        from_older.set(newer);
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
        // The new bucket takes over entries of the one whose number is its own without the highest bit.
        let from = self.bucket_at(new ^ 1 << new.ilog2())?;
        let (mut stay, mut go) = (NONE, NONE);
        let mut at = from.get();
        for _ in 0..self.longest() {
            if at == NONE {
                from.set(stay);
                self.bucket_at(new)?.set(go);
                header.buckets.set(new + 1);
                return Ok(());
            }
            let row = self.live_row(at)?;
            let next = row.chain.get();
            let list = if View::<M>::bucket_of(row.hash.get(), new + 1) == new {
                &mut go
            } else {
                &mut stay
            };
            row.chain.set(*list);
            (*list, at) = (at, next);
        }
        Err(Fault::Damage)
    }

    /// Writes key and value into blocks. Returns the first block.
    fn fill(&self, key: &[u8], value: &[u8]) -> Checked<u32> {
        let (mut key, mut value) = (key, value);
        let mut first = NONE;
        let mut last: Option<&Block> = None;
        while !key.is_empty() || !value.is_empty() {
            let (at, block) = self.take_block()?;
            let (from_key, key_rest) = key.split_at(key.len().min(PAYLOAD));
            let (from_value, value_rest) = value.split_at(value.len().min(PAYLOAD - from_key.len()));
            block.write(from_key, from_value);
            block.link.set(NONE);
            match last {
                Some(before) => before.link.set(at),
                None => first = at,
            }
            (key, value, last) = (key_rest, value_rest, Some(block));
        }
        Ok(first)
    }

    /// A block to write: a free one, or the next that was never used. [`Edit::reserve`] has made sure of memory.
    fn take_block(&self) -> Checked<(u32, &Block)> {
        let header = self.header();
        match header.free_block.get() {
            NONE => {
                let at = header.blocks_used.get();
                if at >= header.blocks_ready.get() {
                    return Err(Fault::Damage);
                }
                let block = self.block_at(at)?;
                header.blocks_used.set(at + 1);
                Ok((at, block))
            }
            at => {
                let block = self.block(at)?;
                let next = block.link.get();
                let free = header.blocks_free.get().checked_sub(1);
                let (Some(free), true) = (free, next & FREE_BLOCK != 0) else {
                    return Err(Fault::Damage);
                };
                header.free_block.set(next & !FREE_BLOCK);
                header.blocks_free.set(free);
                Ok((at, block))
            }
        }
    }

    /// Puts the blocks of a chain on the free list.
    fn free_blocks(&self, first: u32, count: u32) -> Checked<()> {
        let header = self.header();
        let mut at = first;
        for _ in 0..count {
            let block = self.block(at)?;
            let next = block.link.get();
            if next & FREE_BLOCK != 0 {
                return Err(Fault::Damage);
            }
            block.link.set(header.free_block.get() | FREE_BLOCK);
            header.free_block.set(at);
            at = next;
        }
        header
            .blocks_free
            .set(header.blocks_free.get().wrapping_add(count));
        Ok(())
    }

    /// A row to write, as [`Edit::take_block`].
    fn take_row(&self) -> Checked<(u32, &Row)> {
        let header = self.header();
        match header.free_row.get() {
            NONE => {
                let at = header.rows_used.get();
                if at >= header.rows_ready.get() {
                    return Err(Fault::Damage);
                }
                let row = self.row_at(at)?;
                header.rows_used.set(at + 1);
                Ok((at, row))
            }
            at => {
                let row = self.row(at)?;
                if row.state().is() != State::FREE {
                    return Err(Fault::Damage);
                }
                header.free_row.set(row.chain.get());
                Ok((at, row))
            }
        }
    }

    /// Makes sure that a row and `blocks` blocks can be taken. Changes no entry and no list.
    fn reserve(&self, blocks: u64) -> Checked<()> {
        let header = self.header();
        let beyond = |used: &Word, ready: &Word| used.get() > ready.get().max(1);
        if beyond(&header.rows_used, &header.rows_ready) || beyond(&header.blocks_used, &header.blocks_ready)
        {
            return Err(Fault::Damage);
        }
        if header.free_row.get() == NONE {
            let Geometry {
                rows_at, rows_max, ..
            } = self.geometry;
            let needed = u64::from(header.rows_used.get()) + 1;
            self.grow(rows_at, size_of::<Row>(), &header.rows_ready, needed, rows_max)?;
            self.grow_versions(header.rows_ready.get())?;
        }
        let more = blocks.saturating_sub(u64::from(header.blocks_free.get()));
        if more > 0 {
            let Geometry {
                blocks_at,
                blocks_max,
                ..
            } = self.geometry;
            let needed = u64::from(header.blocks_used.get()) + more;
            self.grow(
                blocks_at,
                size_of::<Block>(),
                &header.blocks_ready,
                needed,
                blocks_max,
            )?;
        }
        Ok(())
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

    /// Gives back the memory behind what is not in use at the end of each region.
    pub(super) fn shrink(&self) {
        let (header, geometry) = (self.header(), self.geometry);
        let regions = [
            (
                geometry.index_at,
                size_of::<Word>(),
                &header.buckets,
                &header.buckets_ready,
                geometry.rows_at,
            ),
            (
                geometry.rows_at,
                size_of::<Row>(),
                &header.rows_used,
                &header.rows_ready,
                geometry.versions_at,
            ),
            (
                geometry.blocks_at,
                size_of::<Block>(),
                &header.blocks_used,
                &header.blocks_ready,
                geometry.len,
            ),
        ];
        for (at, size, used, ready, end) in regions {
            let from = (at + used.get() as usize * size).next_multiple_of(ALIGN).min(end);
            ready.set(used.get().min(((from - at) / size) as u32));
            self.memory.decommit(from..end);
        }
    }
}
