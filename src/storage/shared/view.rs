//! Checked reads. A [`View`] owns the memory of a segment and trusts nothing in it: each number is compared with the
//! size of its region, each walk has a longest length, and what does not fit is a [`Fault`]. Nothing here changes an
//! entry, a list or a count.

use bumpalo::Bump;
use foldhash::fast::FixedState;
use std::{
    hash::{BuildHasher, Hasher},
    ops::Range,
};

use super::{
    layout::{
        Block, CLEAR, Float, Geometry, Header, NONE, PAYLOAD, RINGS, Ring, Row, Section, Shared, State,
        TAG_SLOTS, TagSlot, Word, sections,
    },
    memory::{Memory, OutOfMemory},
};
use crate::{
    error::{Error, Result},
    extras::{self, Extras, HASH, HEAD, Head, MOST_TAGS, Tags, is_outdated},
    storage::{Entry, Stamp},
    value::{Kind, Value},
};

/// The least number of buckets.
pub(super) const BUCKETS: u32 = 16;

/// Versions are whole numbers below this one. Each is told from the next: `f64` has 53 bits for them.
pub(super) const MOST_VERSIONS: f64 = (1_u64 << 53) as f64;

/// The first row and the first block: [`NONE`] is the number of neither.
const FIRST: u32 = NONE + 1;

/// What the scratch memory may keep between calls, in bytes.
const SCRATCH: usize = 256 * 1024;

/// Why a call on a segment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The segment contradicts itself.
    Damage,
    /// There is no memory.
    Memory,
    /// There is no memory within the addresses that are reserved: so many bytes.
    Reservation(usize),
}

impl From<OutOfMemory> for Fault {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            // A rebuild did not mend it, so a process writes here without the lock at this moment. A later call may succeed.
            Fault::Damage => Self::busy(),
            Fault::Memory => Self::out_of_memory(),
            Fault::Reservation(bytes) => Self::out_of_memory().with_message(format!(
                "the entry does not fit into the {} MiB of addresses that are reserved for this namespace; \
                     a process that shares fewer namespaces reserves more for each",
                bytes >> 20
            )),
        }
    }
}

/// What was read and checked, or why not.
pub(super) type Checked<T> = std::result::Result<T, Fault>;

/// Why a visit ended early.
pub(super) enum Ended {
    /// The visitor said so.
    Visitor(Error),
    /// The segment could not be read further.
    Fault(Fault),
}

/// The tags that were invalidated, as they are or were at some moment; see `tags.rs`. `slot` gives hash and number of a slot.
pub(super) struct Table<S> {
    count: u64,
    floor: u64,
    /// Both `CLEAR` where the table has no memory.
    bases: [u64; 2],
    slot: S,
}

/// A copy of a table.
pub(super) type TableCopy = Table<Box<dyn Fn(u32) -> (u64, u64)>>;

/// Where the tag with some hash is in a half of the table.
pub(super) enum Probe {
    /// In this slot.
    Found(u32),
    /// Nowhere; this slot is free.
    Free(u32),
    /// Nowhere, and no slot is free.
    Full,
}

impl<S: Fn(u32) -> (u64, u64)> Table<S> {
    /// Looks for a tag in a half.
    pub(super) fn probe(&self, half: usize, hash: u64) -> Probe {
        let base = self.bases[half & 1];
        let first = (half & 1) as u32 * TAG_SLOTS;
        if base == CLEAR {
            return Probe::Full;
        }
        for step in 0..TAG_SLOTS {
            let at = first + (hash as u32).wrapping_add(step) % TAG_SLOTS;
            match (self.slot)(at) {
                (_, number) if number <= base || number > self.count => return Probe::Free(at),
                (found, _) if found == hash => return Probe::Found(at),
                _ => {}
            }
        }
        Probe::Full
    }

    /// The number of the last invalidation of a tag; 0 for none.
    fn number(&self, hash: u64) -> u64 {
        let number = |half| match self.probe(half, hash) {
            Probe::Found(at) => (self.slot)(at).1,
            Probe::Free(_) | Probe::Full => 0,
        };
        number(0).max(number(1))
    }

    /// Whether an entry is outdated: of these extras, and these hashes of tags.
    pub(super) fn is_outdated(&self, head: &Head, hashes: &[u8]) -> bool {
        self.is_older(head.since, extras::hashes(hashes))
    }

    /// As [`Table::is_older`], for an entry that is not stored yet: the table may have forgotten tags that no entry had.
    pub(super) fn may_be_older(&self, since: u64, hashes: impl Iterator<Item = u64>) -> bool {
        let kept = self.bases.iter().filter(|base| **base != CLEAR).min();
        since < kept.copied().unwrap_or(self.count) || self.is_older(since, hashes)
    }

    /// Whether one of the tags with these hashes was invalidated since the count was `since`.
    pub(super) fn is_older(&self, since: u64, hashes: impl Iterator<Item = u64>) -> bool {
        // Above the count is damage.
        !(self.floor..=self.count).contains(&since)
            || is_outdated(since, hashes.map(|hash| self.number(hash)))
    }
}

/// A value of its parts in a row.
fn value_of(kind: Kind, inline: u64, bytes: &[u8]) -> Checked<Value<'_>> {
    Value::from_parts(kind, inline, bytes).ok_or(Fault::Damage)
}

/// The memory of a segment, read with checks. What is read is copied, so it stays valid when the lock is given back.
pub(super) struct View<M: Memory> {
    pub(super) memory: M,
    /// As checked when the segment was made or attached; never read from the header again.
    pub(super) geometry: Geometry,
    hasher: FixedState,
    /// Another hash, for what is told from others by its hash alone.
    second: FixedState,
    /// Copies of what was read since [`View::forget`].
    scratch: Bump,
}

impl<M: Memory> View<M> {
    /// A view of memory that is at least as long as `geometry` says. `seed` is that of the hash.
    pub(super) fn new(memory: M, geometry: Geometry, seed: u64) -> Self {
        debug_assert!(geometry.len <= memory.len());
        Self {
            memory,
            geometry,
            hasher: FixedState::with_seed(seed),
            second: FixedState::with_seed(!seed),
            scratch: Bump::new(),
        }
    }

    // ---- header, buckets, rows, blocks ----

    /// The header.
    pub(super) fn header(&self) -> &Header {
        // SAFETY: whoever made the view has checked that the memory is at least as long as the geometry, which begins
        // with a header; the memory is aligned to a page. Every field of a header is an atomic, which may change under
        // a reference, and any bits are valid in it.
        unsafe { self.memory.base().cast::<Header>().as_ref() }
    }

    /// An item of the region at `region`, whose items have the numbers `numbers`.
    pub(super) fn item<T: Shared>(&self, region: usize, index: u32, numbers: Range<u32>) -> Checked<&T> {
        if !numbers.contains(&index) {
            return Err(Fault::Damage);
        }
        // SAFETY: within its region, which lies within the memory; aligned, as the region is; and any bytes are a `T`, which
        // may change under a reference, as `Shared` says.
        Ok(unsafe {
            self.memory
                .base()
                .add(region)
                .cast::<T>()
                .add(index as usize)
                .as_ref()
        })
    }

    /// Words from `at` on, which lie in the region of leases.
    pub(super) fn words(&self, at: usize, count: usize) -> Checked<&[Word]> {
        let end = at.checked_add(count * size_of::<Word>()).ok_or(Fault::Damage)?;
        if at < self.geometry.leases_at || end > self.geometry.sections_at || !at.is_multiple_of(4) {
            return Err(Fault::Damage);
        }
        // SAFETY: within the region, which lies within the memory; aligned; any bytes are words, which may change under a
        // reference.
        Ok(unsafe { std::slice::from_raw_parts(self.memory.base().add(at).cast::<Word>().as_ptr(), count) })
    }

    /// A bucket of those reserved.
    pub(super) fn bucket_at(&self, bucket: u32) -> Checked<&Word> {
        self.item(self.geometry.index_at, bucket, 0..self.geometry.buckets_max)
    }

    /// A row of those reserved, in use or not.
    pub(super) fn row_at(&self, row: u32) -> Checked<&Row> {
        self.item(self.geometry.rows_at, row, FIRST..self.geometry.rows_max)
    }

    /// The version of a row of those reserved: 0 where the row is no entry.
    pub(super) fn version_at(&self, row: u32) -> Checked<&Float> {
        self.item(self.geometry.versions_at, row, FIRST..self.geometry.rows_max)
    }

    /// A ring of those reserved, claimed or not.
    pub(super) fn ring_at(&self, ring: u32) -> Checked<&Ring> {
        self.item(self.geometry.rings_at, ring, 0..RINGS)
    }

    /// A slot of the table of tags.
    pub(super) fn tag_slot(&self, slot: u32) -> Checked<&TagSlot> {
        self.item(self.geometry.tags_at, slot, 0..2 * TAG_SLOTS)
    }

    /// A section of those reserved, in use or not.
    #[inline(always)]
    pub(super) fn section(&self, section: u32) -> Checked<&Section> {
        self.item(
            self.geometry.sections_at,
            section,
            0..sections(self.geometry.blocks_max),
        )
    }

    /// A block of those reserved, in use or not.
    pub(super) fn block_at(&self, block: u32) -> Checked<&Block> {
        self.item(self.geometry.blocks_at, block, FIRST..self.geometry.blocks_max)
    }

    /// A row in use.
    pub(super) fn row(&self, row: u32) -> Checked<&Row> {
        if row < self.header().rows_used.get() {
            self.row_at(row)
        } else {
            Err(Fault::Damage)
        }
    }

    /// A row that is an entry.
    pub(super) fn live_row(&self, row: u32) -> Checked<&Row> {
        self.row(row).and_then(|row| {
            if row.state().is() == State::LIVE {
                Ok(row)
            } else {
                Err(Fault::Damage)
            }
        })
    }

    /// A block in use.
    pub(super) fn block(&self, block: u32) -> Checked<&Block> {
        if block < self.header().blocks_used.get() {
            self.block_at(block)
        } else {
            Err(Fault::Damage)
        }
    }

    /// The most rows that a list can have. A walk that is longer goes in a circle.
    pub(super) fn longest(&self) -> u32 {
        self.header().rows_used.get().min(self.geometry.rows_max)
    }

    /// One more than the highest row that may ever have been written.
    pub(super) fn rows_written(&self) -> u32 {
        let geometry = self.geometry;
        let bytes = self.memory.written(geometry.rows_at..geometry.versions_at);
        (bytes / size_of::<Row>()).min(geometry.rows_max as usize) as u32
    }

    /// As [`View::rows_written`], of blocks.
    pub(super) fn blocks_written(&self) -> u32 {
        let geometry = self.geometry;
        let bytes = self.memory.written(geometry.blocks_at..geometry.len);
        (bytes / size_of::<Block>()).min(geometry.blocks_max as usize) as u32
    }

    /// As [`View::rows_written`], of versions.
    pub(super) fn versions_written(&self) -> u32 {
        let geometry = self.geometry;
        let bytes = self.memory.written(geometry.versions_at..geometry.rings_at);
        (bytes / size_of::<Float>()).min(geometry.rows_max as usize) as u32
    }

    /// Whether the counts of the header can be right.
    #[inline(always)]
    pub(super) fn is_plausible(&self) -> bool {
        let (header, geometry) = (self.header(), &self.geometry);
        let (rows, blocks) = (header.rows_used.get(), header.blocks_used.get());
        (1..=geometry.rows_max).contains(&rows)
            && (1..=geometry.blocks_max).contains(&blocks)
            && rows <= header.rows_ready.get().max(1)
            && blocks <= header.blocks_ready.get().max(1)
            && header.buckets.get() <= header.buckets_ready.get()
            && header.len.get() < rows
            && header.slots.get() <= header.len.get()
            && header.blocks_free.get() < blocks
            && (blocks == 1 || sections(blocks) <= header.sections_ready.get())
            && rows <= header.versions_ready.get().max(1)
            && header.rings_used.get() <= RINGS
            && (0.0..MOST_VERSIONS).contains(&header.last_version.get())
            && (0.0..=header.last_version.get()).contains(&header.floor.get())
            && header.clock.get() <= u64::MAX / 2
            && header.tags.count.get() <= u64::MAX / 2
    }

    // ---- hashing ----

    /// The hash of a key.
    pub(super) fn hash(&self, key: &[u8]) -> u32 {
        let hash = self.long_hash(key);
        (hash ^ hash >> 32) as u32
    }

    /// The hash of a key, all of its bits.
    pub(super) fn long_hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// 128 bits of hash: two keys do not have the same.
    pub(super) fn key_hash(&self, key: &[u8]) -> [u64; 2] {
        let mut second = self.second.build_hasher();
        second.write(key);
        [self.long_hash(key), second.finish()]
    }

    /// A number that two versions of the hash do not have in common.
    pub(super) fn hash_check(&self) -> u64 {
        let long = [7; 100];
        u64::from(self.hash(b"shared store")) << 32 | u64::from(self.hash(&long))
    }

    /// The bucket of a hash among `buckets`, a number that grows by one at a time (linear hashing): the buckets
    /// of the last power of two, and of the next one those that are there.
    pub(super) fn bucket_of(hash: u32, buckets: u32) -> u32 {
        let mask = buckets.next_power_of_two() - 1;
        let bucket = hash & mask;
        if bucket < buckets {
            bucket
        } else {
            bucket & (mask >> 1)
        }
    }

    /// The bucket of a hash.
    pub(super) fn bucket(&self, hash: u32) -> Checked<&Word> {
        let buckets = self.header().buckets.get();
        if !(BUCKETS..=self.geometry.buckets_max).contains(&buckets) {
            return Err(Fault::Damage);
        }
        self.bucket_at(Self::bucket_of(hash, buckets))
    }

    // ---- finding and reading ----

    /// The row of a key.
    pub(super) fn find(&self, key: &[u8], hash: u32) -> Checked<Option<u32>> {
        let mut at = self.bucket(hash)?.get();
        for _ in 0..self.longest() {
            if at == NONE {
                return Ok(None);
            }
            let row = self.live_row(at)?;
            if row.hash.get() == hash && self.key_is(row, key)? {
                return Ok(Some(at));
            }
            at = row.chain.get();
        }
        Err(Fault::Damage)
    }

    /// Whether the key of a row is this one.
    pub(super) fn key_is(&self, row: &Row, key: &[u8]) -> Checked<bool> {
        if row.key_len.get() as usize != key.len() {
            return Ok(false);
        }
        let mut at = row.first.get();
        for part in key.chunks(PAYLOAD) {
            let block = self.block(at)?;
            if block.read()[..part.len()] != *part {
                return Ok(false);
            }
            at = block.link.get();
        }
        Ok(true)
    }

    /// Copies bytes of the chain that begins with `first`, after the first `skip` of them.
    pub(super) fn copy_out(&self, first: u32, skip: usize, out: &mut [u8]) -> Checked<()> {
        let mut at = first;
        for _ in 0..skip / PAYLOAD {
            at = self.block(at)?.link.get();
        }
        let mut skip = skip % PAYLOAD;
        let mut out = out;
        while !out.is_empty() {
            let block = self.block(at)?;
            let (part, rest) = out.split_at_mut(out.len().min(PAYLOAD - skip));
            block.read_into(skip, part);
            (out, skip, at) = (rest, 0, block.link.get());
        }
        // The link after the last byte is not checked: behind a key, the value goes on in the same block.
        Ok(())
    }

    /// The stamp that lies in a row.
    pub(super) fn stamp_of(row: &Row) -> Stamp {
        Stamp {
            set_at: row.set_at.get(),
            max_age: row.max_age.get(),
        }
    }

    /// The stamp of a row. Under the lock.
    #[inline(always)]
    pub(super) fn stamp(&self, row: &Row) -> Checked<Stamp> {
        if row.state().has_extras() && self.is_outdated(row)? {
            return Ok(Stamp::INVALID);
        }
        Ok(Self::stamp_of(row))
    }

    /// The tags that were invalidated. Under the lock.
    pub(super) fn table(&self) -> Table<impl Fn(u32) -> (u64, u64)> {
        let words = &self.header().tags;
        let bases = match words.ready.get() {
            0 => [CLEAR; 2],
            _ => [words.bases[0].get(), words.bases[1].get()],
        };
        Table {
            count: words.count.get(),
            floor: words.floor.get(),
            bases,
            slot: |at| {
                let slot = self.tag_slot(at);
                slot.map_or((0, 0), |slot| (slot.hash.get(), slot.number.get()))
            },
        }
    }

    /// As [`View::table`], a copy that stays as it is.
    pub(super) fn copy_table(&self) -> TableCopy {
        let table = self.table();
        let slots: Vec<_> = match table.bases {
            [CLEAR, CLEAR] => vec![],
            _ => (0..2 * TAG_SLOTS).map(&table.slot).collect(),
        };
        Table {
            count: table.count,
            floor: table.floor,
            bases: table.bases,
            slot: Box::new(move |at| slots.get(at as usize).copied().unwrap_or_default()),
        }
    }

    /// The head of the extras of a row that has extras.
    fn head_of(&self, row: &Row) -> Checked<Head> {
        self.extent(row)?;
        let (key_len, value_len) = (row.key_len.get() as usize, row.value_len.get() as usize);
        if value_len < HEAD {
            return Err(Fault::Damage);
        }
        let mut bytes = [0; HEAD];
        self.copy_out(row.first.get(), key_len, &mut bytes)?;
        Head::read(&bytes, value_len).ok_or(Fault::Damage)
    }

    #[cold]
    fn is_outdated(&self, row: &Row) -> Checked<bool> {
        let head = self.head_of(row)?;
        let mut hashes = [0; HASH * MOST_TAGS];
        let hashes = &mut hashes[..HASH * head.tags];
        self.copy_out(row.first.get(), row.key_len.get() as usize + HEAD, hashes)?;
        Ok(self.table().is_outdated(&head, hashes))
    }

    /// The extras of a row. Their bytes are a copy in the scratch memory.
    pub(super) fn extras(&self, row: &Row) -> Checked<Extras<'_>> {
        if !row.state().has_extras() {
            return Ok(Extras::NONE);
        }
        let head = self.head_of(row)?;
        let texts = self.scratch(head.len - head.texts_at())?;
        let from = row.key_len.get() as usize + head.texts_at();
        self.copy_out(row.first.get(), from, texts)?;
        Ok(Extras {
            tags: Tags::of(texts),
        })
    }

    /// What a row's lengths say, if that can be: bytes in all, and the blocks they take.
    pub(super) fn extent(&self, row: &Row) -> Checked<(usize, u32)> {
        let bytes = u64::from(row.key_len.get()) + u64::from(row.value_len.get());
        let blocks = bytes.div_ceil(PAYLOAD as u64);
        if blocks >= u64::from(self.header().blocks_used.get()) {
            return Err(Fault::Damage);
        }
        Ok((bytes as usize, blocks as u32))
    }

    /// Bytes in the scratch memory.
    pub(super) fn scratch(&self, bytes: usize) -> Checked<&mut [u8]> {
        self.scratch
            .try_alloc_slice_fill_copy(bytes, 0)
            .map_err(|_| Fault::Memory)
    }

    /// The value of a row. Its bytes are a copy in the scratch memory.
    pub(super) fn value(&self, row: &Row) -> Checked<Value<'_>> {
        let (inline, kind) = (row.inline.get(), row.state().kind().ok_or(Fault::Damage)?);
        if !kind.has_bytes() {
            return value_of(kind, inline, &[]);
        }
        self.extent(row)?;
        let (key_len, value_len) = (row.key_len.get() as usize, row.value_len.get() as usize);
        let bytes = self.scratch(value_len).map_err(|_| self.too_long(row))?;
        self.copy_out(row.first.get(), key_len, bytes)?;
        if row.state().has_extras() {
            let (_, _, value) = extras::split(bytes).ok_or(Fault::Damage)?;
            return value_of(kind, inline, value);
        }
        value_of(kind, inline, bytes)
    }

    /// The key of a row, as a copy in the scratch memory.
    pub(super) fn key(&self, row: &Row) -> Checked<&[u8]> {
        self.extent(row)?;
        let key_len = row.key_len.get() as usize;
        let key = self.scratch(key_len).map_err(|_| self.too_long(row))?;
        self.copy_out(row.first.get(), 0, key)?;
        Ok(key)
    }

    /// Why there is no memory for a copy of an entry: the entry is too long, or its length is damaged.
    #[cold]
    pub(super) fn too_long(&self, row: &Row) -> Fault {
        let Ok((_, blocks)) = self.extent(row) else {
            return Fault::Damage;
        };
        let mut at = row.first.get();
        for _ in 0..blocks {
            match self.block(at).map(|block| block.link.get()) {
                Ok(next) => at = next,
                Err(_) => return Fault::Damage,
            }
        }
        if at == NONE { Fault::Memory } else { Fault::Damage }
    }

    /// The entry of a row.
    pub(super) fn entry(&self, row: &Row) -> Checked<Entry<'_>> {
        Ok(Entry {
            key: self.key(row)?,
            value: self.value(row)?,
            stamp: self.stamp(row)?,
            extras: self.extras(row)?,
        })
    }

    /// Passes each entry, from the most recent on, to `visit`; with the keys alone, its value is `undefined`.
    ///
    /// # Errors
    /// [`Ended`]: the visitor has ended the visit, or the segment could not be read further.
    pub(super) fn each(
        &self,
        keys_alone: bool,
        mut visit: impl FnMut(Entry<'_>) -> Result<()>,
    ) -> std::result::Result<(), Ended> {
        let header = self.header();
        let (mut newer, mut at) = (NONE, header.newest.get());
        // No two entries have a block in common, so all of them together have no more than there are.
        let mut blocks_left = header.blocks_used.get();
        let mut buffer = Vec::new();
        for _ in 0..self.longest() {
            if at == NONE {
                break;
            }
            let read = self.live_row(at).and_then(|row| {
                // A row that leads back to the one before it comes once.
                if row.newer.get() != newer {
                    return Err(Fault::Damage);
                }
                let (bytes, blocks) = self.extent(row)?;
                blocks_left = blocks_left.checked_sub(blocks).ok_or(Fault::Damage)?;
                let (key_len, older) = (row.key_len.get() as usize, row.older.get());
                let read = if keys_alone { key_len } else { bytes };
                buffer.clear();
                buffer.try_reserve(read).map_err(|_| self.too_long(row))?;
                buffer.resize(read, 0);
                self.copy_out(row.first.get(), 0, &mut buffer)?;
                let (key, bytes) = buffer.split_at_checked(key_len).ok_or(Fault::Damage)?;
                let (extras, bytes) = match !keys_alone && row.state().has_extras() {
                    true => extras::split(bytes)
                        .map(|(_, extras, value)| (extras, value))
                        .ok_or(Fault::Damage)?,
                    false => (Extras::NONE, bytes),
                };
                let value = match keys_alone {
                    true => Value::Undefined,
                    false => {
                        let kind = row.state().kind().ok_or(Fault::Damage)?;
                        value_of(kind, row.inline.get(), bytes)?
                    }
                };
                let entry = Entry {
                    key,
                    value,
                    stamp: self.stamp(row)?,
                    extras,
                };
                Ok((entry, older))
            });
            let (entry, older) = read.map_err(Ended::Fault)?;
            visit(entry).map_err(Ended::Visitor)?;
            (newer, at) = (at, older);
        }
        Ok(())
    }

    /// Forgets the copies. Nobody borrows them any more: the borrow would be one of `self`.
    pub(super) fn forget(&mut self) {
        if self.scratch.allocated_bytes() > SCRATCH {
            self.scratch = Bump::new();
        } else {
            self.scratch.reset();
        }
    }

    /// As [`View::forget`], where the copies take more memory than is worth keeping.
    pub(super) fn forget_much(&mut self) {
        if self.scratch.allocated_bytes() > SCRATCH {
            self.forget();
        }
    }
}
