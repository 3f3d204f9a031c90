//! The entries of a segment: found, put, removed, ordered. What is here runs under the lock, if there is one.

use bumpalo::Bump;
use foldhash::fast::FixedState;
use std::{
    cell::Cell,
    fmt,
    hash::{BuildHasher, Hasher},
    str,
};

use super::{
    kernel::KernelNamespaces,
    layout::{
        ALIGN, Block, FREE_BLOCK, Geometry, Header, LEFT, MAGIC, NONE, PAYLOAD, Row, State, VERSION, Word,
    },
    memory::{Memory, OutOfMemory},
};
use crate::{
    error::{Code, Error, ErrorClass, Result},
    slots::Slots,
    storage::{Entry, Limits, Stamp, Storage},
    value::Value,
};

/// The least number of buckets.
pub(super) const BUCKETS: u32 = 16;

/// By how much a region grows, in bytes: a part of what it has, within bounds that keep both what is left
/// over and the time it takes (under the lock) small.
const GROWTH: u32 = 16;
const GROWTH_LEAST: usize = 16 * 1024;
const GROWTH_MOST: usize = 1024 * 1024;

/// By how much the last scheduled prune may lie ahead of the clock of the next, in milliseconds.
const LATE: f64 = 1000.0;

/// What the scratch memory may keep between calls, in bytes.
const SCRATCH: usize = 256 * 1024;

/// Kinds of values as rows have them. Part of the layout.
pub(super) mod kind {
    pub const UNDEFINED: u8 = 0;
    pub const NULL: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const TRUE: u8 = 3;
    pub const NUMBER: u8 = 4;
    pub const SLOT: u8 = 5;
    pub const STRING: u8 = 6;
    pub const JSON: u8 = 7;
    pub const CLONE: u8 = 8;

    /// Whether the value's bytes lie in blocks.
    pub fn has_bytes(kind: u8) -> bool {
        kind >= STRING
    }
}

/// Why a call on a segment did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The segment contradicts itself.
    Damage,
    /// There is no memory.
    Memory,
    /// There is none within what is reserved: so many bytes.
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
            // What a rebuild does not mend is being done at this very moment: later it may be over.
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

/// What a segment is besides its size. Chosen at random by whoever makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentId {
    /// Of the hash, so that nobody can choose keys that collide.
    pub seed: u64,
    /// What tells this segment from any other.
    pub nonce: [u64; 2],
}

/// A segment of entries in some memory.
///
/// With memory that several processes map, it must be used by whoever holds its lock alone, see
/// [`super::door`]. What it reads it copies out, so a value stays valid when the lock is given up.
///
/// ```
/// use lru_cache_for_clusters::{
///     cache::Cache,
///     storage::shared::{Geometry, Segment, memory::PlainMemory, segment::SegmentId},
///     value::Value,
/// };
///
/// let geometry = Geometry::for_bytes(1 << 20);
/// let memory = PlainMemory::new(geometry.reserved());
/// let segment = Segment::create(memory, geometry, SegmentId { seed: 1, nonce: [2, 3] }).unwrap();
/// let mut cache = Cache::new(segment);
/// cache.set(b"key", Value::String(b"value"), None, 0.0).unwrap();
/// assert_eq!(cache.get(b"key", 0.0, |value| Ok(value == Value::String(b"value"))), Ok(Some(true)));
/// ```
pub struct Segment<M: Memory> {
    pub(super) memory: M,
    /// As checked when it was made or attached, never read again.
    pub(super) geometry: Geometry,
    hasher: FixedState,
    /// What was read since the last call that may change something.
    scratch: Bump,
    /// Where the slots of this process are let go; without it they wait for the process whose they are.
    slots: Option<Slots>,
    /// What the header is to say of the segment itself.
    head: Head,
    /// The bounds as they were last seen whole.
    bounds: Cell<Limits>,
}

/// What the header says of the segment itself. It never changes once the segment is published.
#[derive(Clone, Copy, PartialEq)]
struct Head {
    magic: u64,
    version: u32,
    ready: u32,
    sizes: [u32; 3],
    seed: u64,
    hash_check: u64,
    nonce: [u64; 2],
    namespaces: KernelNamespaces,
}

impl Head {
    #[inline(always)]
    fn read(header: &Header) -> Self {
        Self {
            // First: what it was stored after is there then.
            ready: header.ready.acquire(),
            magic: header.magic.get(),
            version: header.version.get(),
            sizes: [
                header.buckets_max.get(),
                header.rows_max.get(),
                header.blocks_max.get(),
            ],
            seed: header.seed.get(),
            hash_check: header.hash_check.get(),
            nonce: [header.nonce[0].get(), header.nonce[1].get()],
            namespaces: KernelNamespaces {
                pid: header.pid_namespace.get(),
                time: header.time_namespace.get(),
            },
        }
    }

    fn write(&self, header: &Header) {
        header.magic.set(self.magic);
        header.version.set(self.version);
        header.buckets_max.set(self.sizes[0]);
        header.rows_max.set(self.sizes[1]);
        header.blocks_max.set(self.sizes[2]);
        header.seed.set(self.seed);
        header.hash_check.set(self.hash_check);
        header.nonce[0].set(self.nonce[0]);
        header.nonce[1].set(self.nonce[1]);
        header.pid_namespace.set(self.namespaces.pid);
        header.time_namespace.set(self.namespaces.time);
        header.ready.publish(self.ready);
    }
}

/// A value as a row has it.
struct Stored<'a> {
    kind: u8,
    inline: u64,
    bytes: &'a [u8],
}

impl<M: Memory> Segment<M> {
    /// Makes an empty segment in fresh memory.
    ///
    /// # Errors
    /// The memory is shorter than the geometry says, or cannot be had.
    pub fn create(memory: M, geometry: Geometry, identity: SegmentId) -> Result<Self> {
        if memory.len() < geometry.len {
            return Err(Fault::Memory.into());
        }
        memory.commit(0..ALIGN.min(4096)).map_err(Fault::from)?;
        let namespaces = memory.namespaces();
        let mut segment = Self::over(
            memory,
            geometry,
            Head {
                magic: MAGIC,
                version: VERSION,
                ready: 0,
                sizes: [geometry.buckets_max, geometry.rows_max, geometry.blocks_max],
                seed: identity.seed,
                hash_check: 0,
                nonce: identity.nonce,
                namespaces,
            },
        );
        segment.head.hash_check = segment.hash_check();
        let header = segment.header();
        segment.head.write(header);
        header.rows_used.set(1);
        header.blocks_used.set(1);
        segment.write_limits(Limits::default());
        segment.grow_index(BUCKETS)?;
        header.buckets.set(BUCKETS);
        Ok(segment)
    }

    /// Says that the segment is there for others.
    pub fn publish(&mut self) {
        self.head.ready = 1;
        self.header().ready.publish(1);
    }

    /// A segment that is there already; with a nonce, only the one that has it. Nothing in it is believed before
    /// it is checked.
    ///
    /// # Errors
    /// What is there is no segment, or one of another version, size or nonce.
    pub fn attach(memory: M, nonce: Option<[u64; 2]>) -> Result<Self> {
        let strange = |what: &str| {
            Err(Error::new(
                ErrorClass::Error,
                Code::Attach,
                format!("cannot attach the shared store: {what}"),
            ))
        };
        if memory.len() < size_of::<Header>() {
            return strange("too small");
        }
        // SAFETY: as in `header`; the length was just checked.
        let header = unsafe { memory.base().cast::<Header>().as_ref() };
        // Once: what is checked here is what is used.
        let head = Head::read(header);
        if head.ready != 1 || head.magic != MAGIC {
            return strange("not ready, or not a store");
        }
        if head.version != VERSION {
            return strange("of another version of this package");
        }
        if nonce.is_some_and(|nonce| nonce != head.nonce) {
            return strange("not the one that was meant");
        }
        if let Err(why) = memory.namespaces().check(head.namespaces) {
            return strange(why);
        }
        let [buckets, rows, blocks] = head.sizes;
        let Some(geometry) = Geometry::new(buckets, rows, blocks).filter(|g| g.len <= memory.len()) else {
            return strange("its size is not what it says");
        };
        let segment = Self::over(memory, geometry, head);
        if segment.hash_check() != head.hash_check {
            return strange("another version of this package hashes its keys in another way");
        }
        // Not under the lock: where they do not fit together, a call will find others.
        if let Some(bounds) = segment.whole_bounds() {
            segment.bounds.set(bounds);
        }
        Ok(segment)
    }

    fn over(memory: M, geometry: Geometry, head: Head) -> Self {
        Self {
            memory,
            geometry,
            hasher: FixedState::with_seed(head.seed),
            scratch: Bump::new(),
            slots: None,
            head,
            bounds: Cell::default(),
        }
    }

    /// Makes this process the one whose values its slots are: they are freed there as entries go.
    pub fn with_slots(mut self, slots: Slots) -> Self {
        self.hold(slots);
        self
    }

    /// As [`Segment::with_slots`].
    pub fn hold(&mut self, slots: Slots) {
        self.slots = Some(slots);
        self.header().held.set(1);
    }

    /// Undoes [`Segment::hold`], where the slots stay in use elsewhere in this process: takes out the entries that have
    /// them, and lets none go. Under the lock, as any call.
    pub fn hold_no_more(&mut self) {
        // Whoever holds it next must not find them among the released ones: they are let go into a table of nobody.
        self.slots = Some(Slots::default());
        self.withdraw();
    }

    /// Whether any process (or copy of the package in one) has it whose values its slots are.
    pub fn is_held(&self) -> bool {
        self.header().held.get() != 0
    }

    /// Says that the application in the primary has the synchronous cache, and may put functions on it. Needs no lock.
    pub fn expose(&self) {
        self.header().exposed.publish(1);
    }

    /// Whether the application has the synchronous cache. Needs no lock.
    pub fn is_exposed(&self) -> bool {
        self.header().exposed.acquire() != 0
    }

    /// Says that its entries are in another segment now: from now on nobody can enter it. Under the lock, as any
    /// call.
    pub fn move_out(&mut self) {
        self.header().left.set(LEFT);
    }

    /// Takes out the entries whose values are slots of this process, which goes: nobody could read them.
    /// Under the lock, as any call.
    pub fn withdraw(&mut self) {
        if self.slots.is_some() {
            if self.header().slots.get() > 0 {
                self.remove_rows(|row| row.state().kind() == kind::SLOT);
            }
            self.header().held.set(0);
            self.abandon();
        }
    }

    /// See [`crate::store::Place::take_tick`].
    pub fn take_tick(&mut self, now: f64, due: impl FnOnce(f64) -> bool) -> bool {
        let pruned_at = &self.header().pruned_at;
        let last = pruned_at.get();
        // A process that waited for the lock may come with a time before that of another. A clock that was set
        // back further, or damage: begin anew.
        let due = !(0.0..=now + LATE).contains(&last) || due(last);
        if due {
            pruned_at.set(now);
        }
        due
    }

    /// The slots that may be among its values, where they are this process's.
    pub fn slots(&self) -> Option<Slots> {
        self.slots.clone()
    }

    /// Whether the value of an entry (of any entry, without a key) is a slot of another process. Under the
    /// lock, as any call.
    ///
    /// # Errors
    /// As [`Storage::stamp`].
    pub fn is_elsewhere(&self, key: Option<&[u8]>) -> Result<bool> {
        if self.slots.is_some() || self.header().slots.get() == 0 {
            return Ok(false);
        }
        let Some(key) = key else { return Ok(true) };
        let hash = self.hash(key);
        self.or_nothing(|this| match this.find(key, hash)? {
            Some(at) => Ok(this.live_row(at)?.state().kind() == kind::SLOT),
            None => Ok(false),
        })
    }

    /// Whether slots of this process wait to be let go. Needs no lock: a moment later it may be otherwise.
    pub fn has_released(&self) -> bool {
        self.slots.is_some() && self.header().released.get() != NONE
    }

    /// As [`Segment::withdraw`], where the lock cannot be had: the entries stay, and nobody can read them.
    pub fn abandon(&mut self) {
        self.slots = None;
    }

    /// What tells it from any other.
    pub fn nonce(&self) -> [u64; 2] {
        self.head.nonce
    }

    /// The memory it lies in.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// How often it was rebuilt, and how many entries were dropped then.
    pub fn recoveries(&self) -> (u32, u32) {
        (self.header().recoveries.get(), self.header().dropped.get())
    }

    /// Begins what is done under the lock: forgets what was read, and mends what a process left that died.
    /// Returns whether it had to.
    ///
    /// # Errors
    /// This process has no memory to mend it; or somebody writes in it who must not: try again. Or its entries are
    /// in another segment.
    pub fn begin(&mut self) -> Result<bool> {
        self.forget();
        if self.header().left.get() == LEFT {
            return Err(Error::moved());
        }
        let header = self.header();
        if Head::read(header) != self.head {
            // Others could not attach it any more.
            self.head.write(header);
            header.damaged.set(1);
        }
        let mend = header.dirty.get() != 0 || header.damaged.get() != 0 || !self.is_plausible();
        if mend {
            self.recover()?;
        }
        self.let_go();
        Ok(mend)
    }

    /// Whether the counts of the header can be right.
    #[inline(always)]
    fn is_plausible(&self) -> bool {
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
            && header.clock.get() <= u64::MAX / 2
    }

    /// Ends what is done under the lock.
    pub fn end(&mut self) {
        if self.scratch.allocated_bytes() > SCRATCH {
            self.forget();
        }
        if self.header().dirty.get() != 0 {
            self.header().dirty.commit(0);
        }
    }

    // ---- what memory holds, checked ----

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the memory is at least as long as the geometry, which begins with a header, and is aligned
        // to a page. All of a header but the lock's place is atomics, which may change under a reference; and
        // any bits are valid in them.
        unsafe { self.memory.base().cast::<Header>().as_ref() }
    }

    /// A bucket of those reserved.
    pub(super) fn bucket_at(&self, bucket: u32) -> std::result::Result<&Word, Fault> {
        if bucket >= self.geometry.buckets_max {
            return Err(Fault::Damage);
        }
        // SAFETY: within its region, which lies within the memory; aligned, as the region is; an atomic.
        Ok(unsafe {
            self.memory
                .base()
                .add(self.geometry.index_at)
                .cast::<Word>()
                .add(bucket as usize)
                .as_ref()
        })
    }

    /// A row of those reserved, in use or not.
    pub(super) fn row_at(&self, row: u32) -> std::result::Result<&Row, Fault> {
        if row == NONE || row >= self.geometry.rows_max {
            return Err(Fault::Damage);
        }
        // SAFETY: within its region, which lies within the memory; aligned, as the region is; all atomics.
        Ok(unsafe {
            self.memory
                .base()
                .add(self.geometry.rows_at)
                .cast::<Row>()
                .add(row as usize)
                .as_ref()
        })
    }

    /// A block of those reserved, in use or not.
    pub(super) fn block_at(&self, block: u32) -> std::result::Result<&Block, Fault> {
        if block == NONE || block >= self.geometry.blocks_max {
            return Err(Fault::Damage);
        }
        // SAFETY: within its region, which lies within the memory; aligned, as the region is. The payload is
        // in a cell and only ever copied, the link is an atomic.
        Ok(unsafe {
            self.memory
                .base()
                .add(self.geometry.blocks_at)
                .cast::<Block>()
                .add(block as usize)
                .as_ref()
        })
    }

    pub(super) fn row(&self, row: u32) -> std::result::Result<&Row, Fault> {
        if row < self.header().rows_used.get() {
            self.row_at(row)
        } else {
            Err(Fault::Damage)
        }
    }

    pub(super) fn live_row(&self, row: u32) -> std::result::Result<&Row, Fault> {
        self.row(row).and_then(|row| {
            if row.state().is() == State::LIVE {
                Ok(row)
            } else {
                Err(Fault::Damage)
            }
        })
    }

    fn block(&self, block: u32) -> std::result::Result<&Block, Fault> {
        if block < self.header().blocks_used.get() {
            self.block_at(block)
        } else {
            Err(Fault::Damage)
        }
    }

    /// No list of rows is longer.
    pub(super) fn longest(&self) -> u32 {
        self.header().rows_used.get().min(self.geometry.rows_max)
    }

    // ---- hashing ----

    pub(super) fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let hash = hasher.finish();
        (hash ^ hash >> 32) as u32
    }

    fn hash_check(&self) -> u64 {
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

    pub(super) fn bucket(&self, hash: u32) -> std::result::Result<&Word, Fault> {
        let buckets = self.header().buckets.get();
        if !(BUCKETS..=self.geometry.buckets_max).contains(&buckets) {
            return Err(Fault::Damage);
        }
        self.bucket_at(Self::bucket_of(hash, buckets))
    }

    // ---- finding and reading ----

    pub(super) fn find(&self, key: &[u8], hash: u32) -> std::result::Result<Option<u32>, Fault> {
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

    pub(super) fn key_is(&self, row: &Row, key: &[u8]) -> std::result::Result<bool, Fault> {
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
    pub(super) fn copy_out(&self, first: u32, skip: usize, out: &mut [u8]) -> std::result::Result<(), Fault> {
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
        // After its last byte a chain ends, or the value begins in the middle of a block.
        Ok(())
    }

    fn stamp_of(row: &Row) -> Stamp {
        Stamp {
            set_at: row.set_at.get(),
            max_age: row.max_age.get(),
        }
    }

    /// What a row's lengths say, if that can be: bytes in all, and the blocks they take.
    pub(super) fn extent(&self, row: &Row) -> std::result::Result<(usize, u32), Fault> {
        let bytes = u64::from(row.key_len.get()) + u64::from(row.value_len.get());
        let blocks = bytes.div_ceil(PAYLOAD as u64);
        if blocks >= u64::from(self.header().blocks_used.get()) {
            return Err(Fault::Damage);
        }
        Ok((bytes as usize, blocks as u32))
    }

    fn scratch(&self, bytes: usize) -> std::result::Result<&mut [u8], Fault> {
        self.scratch
            .try_alloc_slice_fill_copy(bytes, 0)
            .map_err(|_| Fault::Memory)
    }

    fn value(&self, row: &Row) -> std::result::Result<Value<'_>, Fault> {
        let (inline, kind) = (row.inline.get(), row.state().kind());
        if !kind::has_bytes(kind) {
            return Stored {
                kind,
                inline,
                bytes: &[],
            }
            .value();
        }
        self.extent(row)?;
        let (key_len, value_len) = (row.key_len.get() as usize, row.value_len.get() as usize);
        let bytes = self.scratch(value_len).map_err(|_| self.too_long(row))?;
        self.copy_out(row.first.get(), key_len, bytes)?;
        Stored { kind, inline, bytes }.value()
    }

    fn key(&self, row: &Row) -> std::result::Result<&[u8], Fault> {
        self.extent(row)?;
        let key_len = row.key_len.get() as usize;
        let key = self.scratch(key_len).map_err(|_| self.too_long(row))?;
        self.copy_out(row.first.get(), 0, key)?;
        Ok(key)
    }

    /// Why there is no memory for a copy of an entry: it is that long, or damage says so.
    #[cold]
    fn too_long(&self, row: &Row) -> Fault {
        let Ok((_, blocks)) = self.extent(row) else {
            return Fault::Damage;
        };
        let mut at = row.first.get();
        for _ in 0..blocks {
            match self.block(at).map(|block| block.link.get()) {
                Ok(next) if next & FREE_BLOCK == 0 => at = next,
                _ => return Fault::Damage,
            }
        }
        if at == NONE { Fault::Memory } else { Fault::Damage }
    }

    fn entry(&self, row: &Row) -> std::result::Result<Entry<'_>, Fault> {
        Ok(Entry {
            key: self.key(row)?,
            value: self.value(row)?,
            stamp: Self::stamp_of(row),
        })
    }

    /// Passes each entry, from the most recent on, to `visit`; with the keys alone, its value is `undefined`. Ends
    /// early where it finds damage, which is mended next time.
    fn each(&self, keys_alone: bool, mut visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
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
                let (kind, inline) = (row.state().kind(), row.inline.get());
                let value = match keys_alone {
                    true => Value::Undefined,
                    false => Stored { kind, inline, bytes }.value()?,
                };
                let stamp = Self::stamp_of(row);
                Ok((Entry { key, value, stamp }, older))
            });
            match read {
                Ok((entry, older)) => {
                    visit(entry)?;
                    (newer, at) = (at, older);
                }
                Err(Fault::Damage) => {
                    header.damaged.set(1);
                    break;
                }
                Err(memory) => return Err(memory.into()),
            }
        }
        Ok(())
    }

    /// Takes out the entries whose rows `gone` names, as they lie in memory: the order of recency leads all over
    /// it. Ends early where it finds damage, which is mended next time.
    fn remove_rows(&mut self, mut gone: impl FnMut(&Row) -> bool) {
        self.forget();
        for at in 1..self.longest() {
            let Ok(row) = self.row(at) else { break };
            if row.state().is() == State::LIVE && gone(row) && self.remove_row(at).is_err() {
                self.header().damaged.set(1);
                break;
            }
        }
        self.let_go();
    }

    // ---- changing: every one of these leaves a state that `recover` makes whole, after each single store ----

    /// Says that a mutation is under way.
    fn dirty(&self) {
        if self.header().dirty.get() == 0 {
            self.header().dirty.commit(1);
        }
    }

    fn tick(&self) -> u64 {
        let clock = &self.header().clock;
        let now = clock.get().wrapping_add(1);
        clock.set(now);
        now
    }

    fn link_newest(&self, at: u32, row: &Row) -> std::result::Result<(), Fault> {
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

    fn unlink_recency(&self, at: u32, row: &Row) -> std::result::Result<(), Fault> {
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
    fn place_in_index(&self, at: u32, hash: u32) -> std::result::Result<&Word, Fault> {
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

    /// Makes an entry the most recent.
    fn make_newest(&self, at: u32, row: &Row) -> std::result::Result<(), Fault> {
        if self.header().newest.get() != at {
            self.dirty();
            row.used.set(self.tick());
            self.unlink_recency(at, row)?;
            self.link_newest(at, row)?;
        }
        Ok(())
    }

    /// Takes an entry out.
    fn remove_row(&self, at: u32) -> std::result::Result<(), Fault> {
        let row = self.live_row(at)?;
        self.dirty();
        self.place_in_index(at, row.hash.get())?.set(row.chain.get());
        self.unlink_recency(at, row)?;
        let len = self.header().len.get().checked_sub(1).ok_or(Fault::Damage)?;
        self.header().len.set(len);
        self.discard(at, row)
    }

    /// Ends a row's being an entry, and frees what it has. Nothing leads to it any more.
    fn discard(&self, at: u32, row: &Row) -> std::result::Result<(), Fault> {
        let (header, state) = (self.header(), row.state());
        let (_, blocks) = self.extent(row)?;
        let (what, list) = match state.kind() {
            kind::SLOT => {
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

    fn free_blocks(&self, first: u32, count: u32) -> std::result::Result<(), Fault> {
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

    fn take_block(&self) -> std::result::Result<(u32, &Block), Fault> {
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

    /// Fills blocks with key and value; the first of them.
    fn fill(&self, key: &[u8], value: &[u8]) -> std::result::Result<u32, Fault> {
        let (mut key, mut value) = (key, value);
        let mut first = NONE;
        let mut last: Option<&Block> = None;
        while !key.is_empty() || !value.is_empty() {
            let (at, block) = self.take_block()?;
            let (from_key, key_rest) = key.split_at(key.len().min(PAYLOAD));
            let (from_value, value_rest) = value.split_at(value.len().min(PAYLOAD - from_key.len()));
            block.write(0, from_key);
            block.write(from_key.len(), from_value);
            block.link.set(NONE);
            match last {
                Some(before) => before.link.set(at),
                None => first = at,
            }
            (key, value, last) = (key_rest, value_rest, Some(block));
        }
        Ok(first)
    }

    fn take_row(&self) -> std::result::Result<(u32, &Row), Fault> {
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
    fn reserve(&self, blocks: u64) -> std::result::Result<(), Fault> {
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

    pub(super) fn grow_index(&self, buckets: u32) -> std::result::Result<(), Fault> {
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

    fn grow(
        &self,
        at: usize,
        size: usize,
        ready: &Word,
        needed: u64,
        max: u32,
    ) -> std::result::Result<(), Fault> {
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

    fn insert(&self, key: &[u8], value: &Stored<'_>, stamp: Stamp) -> std::result::Result<bool, Fault> {
        let bytes = key.len() as u64 + value.bytes.len() as u64;
        if bytes > u64::from(u32::MAX) {
            return Err(Fault::Memory);
        }
        let header = self.header();
        let hash = self.hash(key);
        let old = self.find(key, hash)?;
        self.reserve(bytes.div_ceil(PAYLOAD as u64))?;

        self.dirty();
        let first = self.fill(key, value.bytes)?;
        let (at, row) = self.take_row()?;
        row.hash.set(hash);
        row.key_len.set(key.len() as u32);
        row.value_len.set(value.bytes.len() as u32);
        row.first.set(first);
        row.used.set(self.tick());
        row.set_at.set(stamp.set_at);
        row.max_age.set(stamp.max_age);
        row.inline.set(value.inline);
        // From here on the entry is what a rebuild finds: of two rows with one key, the one used last counts.
        row.state.commit(row.state().live(value.kind).0);
        if value.kind == kind::SLOT {
            header.slots.set(header.slots.get().wrapping_add(1));
        }
        self.link(at, row, hash, old).inspect_err(|_| {
            // The entry is none again, so that a rebuild does not find it. The next try, or whoever declines the
            // value, would let go of its slot while the row still had it.
            row.state.commit(row.state().become_(State::FREE).0);
        })?;
        Ok(old.is_some())
    }

    /// Puts a new entry where it can be found, in place of an `old` one of its key.
    fn link(&self, at: u32, row: &Row, hash: u32, old: Option<u32>) -> std::result::Result<(), Fault> {
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

    /// Keeps the number of buckets up with that of entries, one at a time. Where there is no memory for it,
    /// chains get longer.
    fn add_bucket(&self) -> std::result::Result<(), Fault> {
        let header = self.header();
        let new = header.buckets.get();
        if header.len.get() <= new || new >= self.geometry.buckets_max || self.grow_index(new + 1).is_err() {
            return Ok(());
        }
        // The one whose entries it shares: its number without the highest bit.
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
            let list = if Self::bucket_of(row.hash.get(), new + 1) == new {
                &mut go
            } else {
                &mut stay
            };
            row.chain.set(*list);
            (*list, at) = (at, next);
        }
        Err(Fault::Damage)
    }

    /// Takes every entry out, and gives back the memory.
    fn remove_all(&self) -> std::result::Result<(), Fault> {
        self.dirty();
        for at in 1..self.rows_written() {
            let row = self.row_at(at)?;
            let state = row.state();
            if state.is() == State::LIVE {
                let what = if state.kind() == kind::SLOT {
                    State::RELEASED
                } else {
                    State::FREE
                };
                row.state.commit(state.become_(what).0);
            }
        }
        self.rebuild().inspect_err(|_| self.header().damaged.set(1))?;
        self.shrink();
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
                geometry.blocks_at,
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
            self.memory.release(from..end);
        }
    }

    /// Lets slots go that are no entry's any more, where they are this process's.
    fn let_go(&self) {
        if let Some(slots) = &self.slots
            && self.header().released.get() != NONE
        {
            self.dirty();
            if self.drain_released(slots).is_err() {
                self.header().damaged.set(1);
            }
        }
    }

    fn drain_released(&self, slots: &Slots) -> std::result::Result<(), Fault> {
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

    // ---- damage ----

    /// Makes a call; where that finds damage, rebuilds the segment and makes it once more.
    fn mending<'a, R>(
        &'a self,
        call: impl Fn(&'a Self) -> std::result::Result<R, Fault>,
    ) -> std::result::Result<R, Fault> {
        let done = match call(self) {
            Err(Fault::Damage) => {
                self.recover()?;
                call(self)
            }
            done => done,
        };
        if matches!(done, Err(Fault::Damage)) {
            self.header().damaged.set(1);
        }
        done
    }

    /// As [`Self::mending`], for a call that finds nothing where there is damage that a rebuild does not mend.
    fn or_nothing<'a, R: Default>(
        &'a self,
        call: impl Fn(&'a Self) -> std::result::Result<R, Fault>,
    ) -> Result<R> {
        match self.mending(call) {
            Ok(found) => Ok(found),
            Err(Fault::Damage) => Ok(R::default()),
            Err(memory) => Err(memory.into()),
        }
    }

    /// Forgets what was read. Nobody holds it any more: they would hold `self`.
    pub(crate) fn forget(&mut self) {
        if self.scratch.allocated_bytes() > SCRATCH {
            self.scratch = Bump::new();
        } else {
            self.scratch.reset();
        }
    }

    /// The bounds as the header has them, if they are whole.
    #[inline(always)]
    fn whole_bounds(&self) -> Option<Limits> {
        let header = self.header();
        let bounds = Limits {
            max: header.max.get(),
            max_size: header.max_size.get(),
            max_entry_size: header.max_entry_size.get(),
            max_age: header.max_age.get(),
            allow_stale: header.allow_stale.get() != 0,
        };
        (bounds_check(&bounds) == header.bounds_check.get()).then_some(bounds)
    }

    fn write_limits(&self, limits: Limits) {
        let header = self.header();
        header.max.set(limits.max);
        header.max_size.set(limits.max_size);
        header.max_entry_size.set(limits.max_entry_size);
        header.max_age.set(limits.max_age);
        header.allow_stale.set(limits.allow_stale.into());
        header.bounds_check.set(bounds_check(&limits));
        self.bounds.set(limits);
    }
}

/// A number that follows from the bounds.
#[inline(always)]
fn bounds_check(limits: &Limits) -> u64 {
    let numbers = [
        limits.max,
        limits.max_size,
        limits.max_entry_size,
        limits.max_age,
        f64::from(u8::from(limits.allow_stale)),
    ];
    numbers.iter().fold(0x9E37_79B9_7F4A_7C15, |sum: u64, number| {
        (sum ^ number.to_bits())
            .wrapping_mul(0xFF51_AFD7_ED55_8CCD)
            .rotate_left(32)
    })
}

/// What an entry takes besides its blocks: a row and a bucket.
const ROW_SIZE: u64 = (size_of::<Row>() + size_of::<Word>()) as u64;

impl<M: Memory> Storage for Segment<M> {
    fn limits(&self) -> Limits {
        match self.whole_bounds() {
            Some(bounds) => self.bounds.set(bounds),
            None => {
                // Damage, or a process that died while it changed them.
                self.dirty();
                self.write_limits(self.bounds.get());
            }
        }
        self.bounds.get()
    }

    fn set_limits(&mut self, limits: Limits) {
        // Whoever finds us dead after this has to keep the new bound in our place.
        self.dirty();
        self.write_limits(limits);
    }

    fn len(&self) -> usize {
        self.header().len.get() as usize
    }

    /// Rows, blocks and buckets.
    fn size(&self) -> f64 {
        let header = self.header();
        let blocks = header
            .blocks_used
            .get()
            .saturating_sub(1)
            .saturating_sub(header.blocks_free.get());
        (u64::from(header.len.get()) * ROW_SIZE + u64::from(blocks) * size_of::<Block>() as u64) as f64
    }

    fn entry_size(&self, key: &[u8], value: Value<'_>) -> f64 {
        let blocks = (key.len() + value.bytes().len()).div_ceil(PAYLOAD);
        (ROW_SIZE + (blocks * size_of::<Block>()) as u64) as f64
    }

    fn touch(&mut self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        self.forget();
        let hash = self.hash(key);
        self.or_nothing(|this| {
            let Some(at) = this.find(key, hash)? else {
                return Ok(None);
            };
            let row = this.live_row(at)?;
            this.make_newest(at, row)?;
            Ok(Some((this.value(row)?, Self::stamp_of(row))))
        })
    }

    fn peek(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        let hash = self.hash(key);
        self.or_nothing(|this| {
            let Some(at) = this.find(key, hash)? else {
                return Ok(None);
            };
            let row = this.live_row(at)?;
            Ok(Some((this.value(row)?, Self::stamp_of(row))))
        })
    }

    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>> {
        let hash = self.hash(key);
        self.or_nothing(|this| match this.find(key, hash)? {
            Some(at) => Ok(Some(Self::stamp_of(this.live_row(at)?))),
            None => Ok(None),
        })
    }

    fn least_recent(&self) -> Result<Option<Entry<'_>>> {
        self.or_nothing(|this| match this.header().oldest.get() {
            NONE => Ok(None),
            at => this.entry(this.live_row(at)?).map(Some),
        })
    }

    fn put(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp) -> Result<bool> {
        self.forget();
        let value = Stored::new(value);
        let replaced = self.mending(|this| this.insert(key, &value, stamp));
        self.let_go();
        Ok(replaced?)
    }

    fn decline(&mut self, value: Value<'_>) {
        if let (Value::Slot(slot), Some(slots)) = (value, &self.slots) {
            slots.free(slot);
        }
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool> {
        self.forget();
        let hash = self.hash(key);
        let removed = self.or_nothing(|this| match this.find(key, hash)? {
            Some(at) => this.remove_row(at).map(|()| true),
            None => Ok(false),
        });
        self.let_go();
        removed
    }

    fn remove_least_recent(&mut self) -> Result<bool> {
        self.forget();
        let removed = self.or_nothing(|this| match this.header().oldest.get() {
            NONE if this.header().len.get() == 0 => Ok(false),
            at => this.remove_row(at).map(|()| true),
        });
        self.let_go();
        removed
    }

    fn clear(&mut self) -> Result<()> {
        self.forget();
        let cleared = self.or_nothing(|this| this.remove_all());
        self.let_go();
        cleared
    }

    fn visit(&self, visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        self.each(false, visit)
    }

    fn visit_keys(&self, mut visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.each(true, |entry| visit(entry.key))
    }

    fn retain_stamps(&mut self, mut keep: impl FnMut(Stamp) -> bool) {
        self.remove_rows(|row| !keep(Self::stamp_of(row)));
    }
}

/// In shared memory the door has withdrawn before, under the lock, and nothing is left to do here.
impl<M: Memory> Drop for Segment<M> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<'a> Stored<'a> {
    fn new(value: Value<'a>) -> Self {
        let (kind, inline, bytes) = match value {
            Value::Undefined => (kind::UNDEFINED, 0, &[][..]),
            Value::Null => (kind::NULL, 0, &[][..]),
            Value::Bool(false) => (kind::FALSE, 0, &[][..]),
            Value::Bool(true) => (kind::TRUE, 0, &[][..]),
            Value::Number(number) => (kind::NUMBER, number.to_bits(), &[][..]),
            Value::Slot(slot) => (kind::SLOT, u64::from(slot), &[][..]),
            Value::String(bytes) => (kind::STRING, 0, bytes),
            Value::Json(text) => (kind::JSON, 0, text.as_bytes()),
            Value::Clone(bytes) => (kind::CLONE, 0, bytes),
        };
        Self { kind, inline, bytes }
    }

    fn value(self) -> std::result::Result<Value<'a>, Fault> {
        Ok(match self.kind {
            kind::UNDEFINED => Value::Undefined,
            kind::NULL => Value::Null,
            kind::FALSE => Value::Bool(false),
            kind::TRUE => Value::Bool(true),
            kind::NUMBER => Value::Number(f64::from_bits(self.inline)),
            kind::SLOT => Value::Slot(u32::try_from(self.inline).map_err(|_| Fault::Damage)?),
            kind::STRING => Value::String(self.bytes),
            kind::JSON => Value::Json(str::from_utf8(self.bytes).map_err(|_| Fault::Damage)?),
            kind::CLONE => Value::Clone(self.bytes),
            _ => return Err(Fault::Damage),
        })
    }
}

impl Row {
    /// Its state word.
    pub(super) fn state(&self) -> State {
        State(self.state.get())
    }
}

impl Block {
    /// A copy of the payload.
    #[inline(always)]
    fn read(&self) -> [u8; PAYLOAD] {
        // SAFETY: the payload is inside shared memory that is mapped as long as `self` lives; any bytes are
        // valid. Whoever holds the lock is alone with it. Should a broken process write it nevertheless, we
        // read any bytes, once: what is judged and used is this copy.
        unsafe { self.payload.get().read() }
    }

    #[inline(always)]
    fn read_into(&self, skip: usize, out: &mut [u8]) {
        assert!(out.len() <= PAYLOAD && skip <= PAYLOAD - out.len());
        match <&mut [u8; PAYLOAD]>::try_from(&mut *out) {
            Ok(whole) => *whole = self.read(),
            // SAFETY: within the payload, checked above; else as in `read`. `out` is private memory.
            Err(_) => unsafe {
                out.as_mut_ptr()
                    .copy_from_nonoverlapping(self.payload.get().cast::<u8>().add(skip), out.len())
            },
        }
    }

    #[inline(always)]
    fn write(&self, skip: usize, bytes: &[u8]) {
        assert!(bytes.len() <= PAYLOAD && skip <= PAYLOAD - bytes.len());
        #[cfg(test)]
        super::tests::step();
        // SAFETY: within the payload, checked above; whoever holds the lock is alone with it. `bytes` is
        // private memory.
        unsafe {
            match <&[u8; PAYLOAD]>::try_from(bytes) {
                Ok(whole) => self.payload.get().write(*whole),
                Err(_) => self
                    .payload
                    .get()
                    .cast::<u8>()
                    .add(skip)
                    .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()),
            }
        }
    }
}

impl<M: Memory> fmt::Debug for Segment<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recoveries, dropped) = self.recoveries();
        f.debug_struct("Segment")
            .field("len", &self.len())
            .field("size", &self.size())
            .field("recoveries", &recoveries)
            .field("dropped", &dropped)
            .finish_non_exhaustive()
    }
}
