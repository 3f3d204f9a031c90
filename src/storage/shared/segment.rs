//! A segment as a storage: made or attached, begun and ended under the lock, with damage mended on the way.

use std::{
    any::Any,
    cell::{Cell, OnceCell},
    fmt,
    sync::Arc,
};

use super::{
    edit::{Edit, Part},
    head::{Head, read_limits},
    layout::{
        ALIGN, Block, Geometry, Header, LABEL_BYTES, MAGIC, MOVED, NONE, OVER, PAYLOAD, Row, VERSION, Word,
    },
    memory::Memory,
    rebuild::{Rebuild, Recovered},
    scan::AHEAD,
    view::{BUCKETS, Checked, Ended, View},
};
use crate::{
    error::{Code, Error, ErrorClass, Result},
    extras::{Extras, Tags},
    slots::Slots,
    stats::{Counts, Event, Stats},
    storage::{Entry, Glimpse, Limits, Pace, Seen, Slice, Stamp, Storage},
    value::{Kind, Value},
};

pub use super::{head::SegmentId, view::Fault};

/// How far the time of the last scheduled prune may lie ahead of the clock of the next, in milliseconds.
const LATE: f64 = 1000.0;

/// A segment of entries in some memory.
///
/// With memory that several processes map, it must be used by whoever holds its lock alone, see
/// [`super::access`]. What it reads it copies out, so a value stays valid when the lock is given up.
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
    pub(super) edit: Edit<M>,
    /// The slots of this process, which are freed as their entries go. `None`: the slots among the values are those of
    /// another process, and wait for it.
    slots: Option<Slots>,
    /// The head as this process has checked it: what the header must say.
    head: Head,
    /// The limits when they last had their check number.
    limits: Cell<Limits>,
    /// The entry that was found or stored last.
    seen: Cell<Option<Seen>>,
    /// Whether the last read under the lock found no entry.
    has_missed: Cell<bool>,
    /// The ring of this thread, once it was claimed, and what gives the ring back when it is dropped.
    ring: OnceCell<(u32, Arc<dyn Any + Send + Sync>)>,
    /// How often that ring is half full.
    pace: Pace,
    /// Whether those who wait for leases are to be woken when the lock is given back.
    pub(super) wakes: Cell<bool>,
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
        segment.head.hash_check = segment.edit.hash_check();
        let header = segment.header();
        segment.head.write(header);
        header.rows_used.set(1);
        header.blocks_used.set(1);
        segment.write_limits(Limits::default());
        segment.edit.grow_index(BUCKETS)?;
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
        if segment.edit.hash_check() != head.hash_check {
            return strange("another version of this package hashes its keys in another way");
        }
        // Not under the lock: where they do not fit together, a call will find others.
        if let Some(limits) = read_limits(segment.header()) {
            segment.limits.set(limits);
        }
        Ok(segment)
    }

    fn over(memory: M, geometry: Geometry, head: Head) -> Self {
        Self {
            edit: Edit::new(View::new(memory, geometry, head.seed)),
            slots: None,
            head,
            limits: Cell::default(),
            seen: Cell::default(),
            has_missed: Cell::default(),
            ring: OnceCell::new(),
            pace: Pace::default(),
            wakes: Cell::default(),
        }
    }

    /// Makes this process the owner of the slots among the values: they are freed in `slots` as entries go.
    pub fn with_slots(mut self, slots: Slots) -> Self {
        self.own_slots(slots);
        self
    }

    /// As [`Segment::with_slots`].
    pub fn own_slots(&mut self, slots: Slots) {
        self.slots = Some(slots);
        self.header().slot_owner.set(1);
    }

    /// Undoes [`Segment::own_slots`] where the slots stay in use elsewhere in this process: removes the entries that have
    /// them, and frees no slot. Under the lock, as any call.
    pub fn disown_slots(&mut self) {
        // The next owner must not find these slots on the list of released rows: they are freed in a table that nobody
        // uses.
        self.slots = Some(Slots::default());
        self.withdraw_slots();
    }

    /// Whether any process, or copy of the package in one, owns the slots among the values.
    pub fn has_slot_owner(&self) -> bool {
        self.header().slot_owner.get() != 0
    }

    /// Writes whose segment it is, for [`super::running`]. Every process that knows the namespace writes the same, and needs
    /// no lock.
    pub fn set_label(&self, namespace: &str) {
        let label = &self.header().label;
        let mut end = namespace.len().min(LABEL_BYTES);
        while !namespace.is_char_boundary(end) {
            end -= 1;
        }
        for (word, part) in label.bytes.iter().zip(namespace.as_bytes()[..end].chunks(4)) {
            let mut bytes = [0; 4];
            bytes[..part.len()].copy_from_slice(part);
            word.set(u32::from_ne_bytes(bytes));
        }
        label.len.publish(end as u32);
    }

    /// Marks that the application in the primary has the synchronous cache, and may put functions on it. Needs no lock.
    pub fn expose(&self) {
        self.header().exposed.publish(1);
    }

    /// Whether the application has the synchronous cache. Needs no lock.
    pub fn is_exposed(&self) -> bool {
        self.header().exposed.acquire() != 0
    }

    /// Marks that the entries are in another segment now, or that the primary has destroyed the namespace: from now on
    /// [`Segment::begin`] fails for everybody. Under the lock, as any call.
    pub fn move_out(&mut self) {
        self.edit.begin_epoch();
        self.header().moved.set(MOVED);
    }

    /// Whether [`Segment::begin`] fails, because the entries are in another segment or the namespace was destroyed. Needs no
    /// lock: under the lock the answer lasts.
    pub fn is_gone(&self) -> bool {
        [MOVED, OVER].contains(&self.header().moved.acquire())
    }

    /// Whether siblings have no namespace in it: [`Segment::begin_life`] makes one. Under the lock, as any call.
    pub fn is_over(&self) -> bool {
        self.header().moved.get() == OVER
    }

    /// Siblings destroy the namespace: from now on [`Segment::begin`] fails in every process, until one of them has opened the
    /// segment again. Under the lock, as any call.
    ///
    /// One store decides. Where a process is killed before it, the namespace is there, maybe without entries; after it, there
    /// is none. The epoch stays odd until the segment is opened, so that no copy of an entry counts.
    pub fn end_life(&mut self) {
        self.edit.begin_epoch();
        self.header().moved.publish(OVER);
    }

    /// There is a namespace in it from now on. Under the lock that [`Segment::begin_to_open`] is called under. Where a process
    /// is killed before this, the next one that opens the segment begins anew.
    pub fn begin_life(&mut self) {
        if self.is_over() {
            self.header().moved.publish(0);
        }
    }

    /// Removes the entries whose values are slots of this process, which ends its use of the segment: nobody could read
    /// them. Under the lock, as any call.
    pub fn withdraw_slots(&mut self) {
        if self.slots.is_some() {
            if self.header().slots.get() > 0 {
                self.remove_rows(|_, row| row.state().kind() == Some(Kind::Slot));
            }
            self.header().slot_owner.set(0);
            self.abandon_slots();
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
        let hash = self.edit.hash(key);
        self.or_nothing(|this| match this.find(key, hash)? {
            Some(at) => Ok(this.live_row(at)?.state().kind() == Some(Kind::Slot)),
            None => Ok(false),
        })
    }

    /// Whether a reset has left memory that is still to be given back: a part each time that the lock is.
    pub fn has_excess(&self) -> bool {
        self.header().excess.get() != 0
    }

    /// Whether slots of this process wait to be let go. Needs no lock: a moment later it may be otherwise.
    pub fn has_released(&self) -> bool {
        self.slots.is_some() && self.header().released.get() != NONE
    }

    /// Says which ring is this thread's: with one, its reads need no lock. `keeper` gives the ring back when it is dropped.
    pub(super) fn set_ring(&self, ring: u32, keeper: Arc<dyn Any + Send + Sync>) {
        self.ring.get_or_init(|| (ring, keeper));
    }

    /// The ring of this thread, and its keeper.
    pub(super) fn ring(&self) -> Option<&(u32, Arc<dyn Any + Send + Sync>)> {
        self.ring.get()
    }

    /// Gives the ring of this thread more room, where it was half full a short time ago, too. Under the lock, as any call.
    pub fn grow_ring(&self) {
        if let Some((ring, _)) = self.ring()
            && self.pace.is_fast()
            && self.edit.grow_ring(*ring).is_err()
        {
            self.header().damaged.set(1);
        }
    }

    /// As [`Segment::withdraw_slots`], where the lock cannot be had: the entries stay, and nobody can read them.
    pub fn abandon_slots(&mut self) {
        self.slots = None;
    }

    /// What tells it from any other.
    pub fn nonce(&self) -> [u64; 2] {
        self.head.nonce
    }

    /// The memory it lies in.
    pub fn memory(&self) -> &M {
        &self.edit.memory
    }

    /// How often it was rebuilt, and how many entries were dropped then.
    pub fn recoveries(&self) -> (u32, u32) {
        (self.header().recoveries.get(), self.header().dropped.get())
    }

    /// Begins what is done under the lock: forgets what was read, completes the change of a process that was killed, and
    /// mends damage. Returns whether there was any of this, or the last process did not come to the end of its call: it may
    /// have stored an entry and not yet evicted another.
    ///
    /// # Errors
    /// This process has no memory to mend it; or somebody writes in it who must not: try again. Or its entries are
    /// in another segment; or the namespace was destroyed.
    pub fn begin(&mut self) -> Result<bool> {
        if self.is_over() {
            return Err(Error::gone());
        }
        self.begin_to_open()
    }

    /// As [`Segment::begin`], to open a namespace that may have been destroyed: [`Segment::begin_life`] comes next.
    ///
    /// # Errors
    /// As [`Segment::begin`], but for a namespace that was destroyed.
    pub fn begin_to_open(&mut self) -> Result<bool> {
        self.forget();
        if self.header().moved.get() == MOVED {
            return Err(Error::moved());
        }
        let header = self.header();
        if Head::read(header) != self.head {
            // Others could not attach it any more.
            self.head.write(header);
            header.damaged.set(1);
        }
        let completed = self.edit.complete();
        let mut mended = completed == Ok(true) || self.edit.is_unsettled();
        if completed == Ok(true) {
            header.completed.count();
        }
        let is_whole = completed.is_ok() && header.damaged.get() == 0 && self.edit.is_plausible();
        if !is_whole || self.edit.free_loose().is_err() {
            self.recover()?;
            mended = true;
        }
        if mended {
            self.edit.finish_invalidation();
        }
        self.refresh();
        self.free_released();
        Ok(mended)
    }

    /// Brings the order of recency up to date with the uses that processes have recorded. Under the lock, as any call.
    pub fn refresh(&self) {
        if self.edit.apply_rings().is_err() {
            self.header().damaged.set(1);
        }
    }

    /// Ends what is done under the lock.
    pub fn end(&mut self) {
        if self.is_gone() {
            // The epoch stays odd: no copy of an entry counts any more.
            return;
        }
        self.edit.view_mut().forget_much();
        self.edit.shrink_part();
        self.edit.settle();
    }

    /// Rebuilds the index, the order of recency, the free rows and blocks, and every count from the rows. Drops an entry that was
    /// half written, and what makes no sense.
    ///
    /// # Errors
    /// This process has no memory for it: some 16 bytes an entry, and a bit or two a block.
    pub fn recover(&self) -> std::result::Result<Recovered, Fault> {
        Rebuild(&self.edit).recover()
    }

    /// Walks every structure and compares each with the others.
    ///
    /// # Errors
    /// Says what does not fit.
    pub fn validate(&self) -> std::result::Result<(), String> {
        self.edit.validate_leases()?;
        self.edit.validate()
    }

    pub(super) fn header(&self) -> &Header {
        self.edit.header()
    }

    /// Forgets what was read. Nobody borrows it any more: the borrow would be one of `self`.
    pub(crate) fn forget(&mut self) {
        self.edit.view_mut().forget();
    }

    /// Keeps what [`Storage::seen`] tells of an entry.
    #[inline(always)]
    fn see(&self, at: u32, row: &Row) -> Checked<()> {
        self.seen.set(Some(Seen {
            row: at,
            version: self.edit.version_at(at)?.get(),
            stamp: View::<M>::stamp_of(row),
            tags: row.state().has_extras().then(|| self.header().control.tags.get()),
        }));
        Ok(())
    }

    /// The last version that was given.
    pub(crate) fn last_version(&self) -> f64 {
        self.header().last_version.get()
    }

    /// Gives every entry a version above all of this segment, and above `last` of another whose entries come here. The lock
    /// must be held.
    pub(crate) fn renew_versions(&self, last: f64) {
        if self.edit.renew_versions(last).is_err() {
            self.header().damaged.set(1);
        }
    }

    fn write_limits(&self, limits: Limits) {
        if self.edit.store_limits(&limits).is_err() {
            self.header().damaged.set(1);
        }
        self.limits.set(limits);
    }

    /// Removes the entries whose rows `gone` names.
    fn remove_rows(&mut self, mut gone: impl FnMut(&Edit<M>, &Row) -> bool) {
        let mut from = Some(0);
        while let Some(at) = from {
            from = self.remove_part(at, &mut gone);
        }
    }

    /// As [`Self::remove_rows`], for some of the rows from `from` on. Returns the row to go on with.
    fn remove_part(&mut self, from: u32, gone: impl FnMut(&Edit<M>, &Row) -> bool) -> Option<u32> {
        self.forget();
        let rest = self.edit.remove_rows(from, Part::DEFAULT, gone);
        self.free_released();
        rest
    }

    /// Passes each entry to `visit`. Ends early where it finds damage, which the next call mends.
    fn each(&self, keys_alone: bool, visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        match self.edit.each(keys_alone, visit) {
            Err(Ended::Visitor(error)) => Err(error),
            Err(Ended::Fault(Fault::Damage)) => {
                self.header().damaged.set(1);
                Ok(())
            }
            Err(Ended::Fault(memory)) => Err(memory.into()),
            Ok(()) => Ok(()),
        }
    }

    /// Lets slots go that are no entry's any more, where they are this process's.
    fn free_released(&self) {
        if let Some(slots) = &self.slots
            && self.header().released.get() != NONE
            && self.edit.drain_released(slots).is_err()
        {
            self.header().damaged.set(1);
        }
    }

    /// Makes a call; where that finds damage, rebuilds the segment and makes it once more.
    fn mending<'a, R>(&'a self, call: impl Fn(&'a Edit<M>) -> Checked<R>) -> Checked<R> {
        let done = match call(&self.edit) {
            Err(Fault::Damage) => {
                self.recover()?;
                call(&self.edit)
            }
            done => done,
        };
        if matches!(done, Err(Fault::Damage)) {
            self.header().damaged.set(1);
        }
        done
    }

    /// As [`Self::mending`], for a call that finds nothing where there is damage that a rebuild does not mend.
    fn or_nothing<'a, R: Default>(&'a self, call: impl Fn(&'a Edit<M>) -> Checked<R>) -> Result<R> {
        match self.mending(call) {
            Ok(found) => Ok(found),
            Err(Fault::Damage) => Ok(R::default()),
            Err(memory) => Err(memory.into()),
        }
    }
}

/// Whether `keep` declines the stamp of a row.
fn is_declined<M: Memory>(edit: &Edit<M>, row: &Row, keep: &mut impl FnMut(Stamp) -> bool) -> bool {
    match edit.stamp(row) {
        Ok(stamp) => !keep(stamp),
        Err(_) => {
            edit.header().damaged.set(1);
            false
        }
    }
}

/// What an entry takes besides its blocks: a row and a bucket.
const ROW_SIZE: u64 = (size_of::<Row>() + size_of::<Word>()) as u64;

impl<M: Memory> Storage for Segment<M> {
    fn limits(&self) -> Limits {
        match read_limits(self.header()) {
            Some(limits) => self.limits.set(limits),
            None => {
                // Damage.
                self.write_limits(self.limits.get());
            }
        }
        self.limits.get()
    }

    fn set_limits(&mut self, limits: Limits) {
        if self.len() as f64 > limits.max || self.size() > limits.max_size {
            // If this process dies after this, the next one finds the gate odd and evicts down to the new limits.
            self.edit.begin_steps();
        }
        let before = self.limits();
        if (before.max_age, before.allow_stale) != (limits.max_age, limits.allow_stale) {
            self.edit.begin_epoch();
        }
        self.write_limits(limits);
    }

    fn seen(&self) -> Option<Seen> {
        self.seen.take()
    }

    fn glimpse(&mut self, key: &[u8]) -> Option<Glimpse<'_>> {
        // Misses come together, and only the lock tells one. Where another process has the lock, an entry that is there is
        // found without waiting.
        if self.has_missed.get() && self.header().lock.is_free() {
            return None;
        }
        self.forget();
        self.edit.glimpse(key, self.edit.hash(key))
    }

    fn begin_steps(&mut self) {
        self.edit.begin_steps();
    }

    #[inline(always)]
    fn count(&mut self, event: Event, times: u64) {
        self.header().counts.events[event as usize].add(times);
    }

    fn stats(&self) -> Stats {
        let header = self.header();
        let mut counts = Counts::of(|event| header.counts.events[event].get());
        counts.add(Event::Hit, self.edit.unlocked_hits());
        let (recoveries, dropped) = self.recoveries();
        Stats {
            counts,
            entries: self.len(),
            size: self.size(),
            bytes: self.memory().taken() as f64,
            max_size: self.limits().max_size,
            recoveries,
            dropped,
            processes: 1,
        }
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

    fn entry_size(&self, key: &[u8], value: Value<'_>, extras: Extras<'_>) -> f64 {
        let blocks = (key.len() + extras.stored_len() + value.bytes().len()).div_ceil(PAYLOAD);
        (ROW_SIZE + (blocks * size_of::<Block>()) as u64) as f64
    }

    fn touch(&mut self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        self.forget();
        self.seen.set(None);
        let hash = self.edit.hash(key);
        let found = self.or_nothing(|this| {
            let Some(at) = this.find(key, hash)? else {
                return Ok(None);
            };
            let row = this.live_row(at)?;
            this.make_newest(at, row)?;
            self.see(at, row)?;
            Ok(Some((this.value(row)?, this.stamp(row)?)))
        });
        self.has_missed.set(matches!(found, Ok(None)));
        found
    }

    fn peek(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        self.seen.set(None);
        let hash = self.edit.hash(key);
        let found = self.or_nothing(|this| {
            let Some(at) = this.find(key, hash)? else {
                return Ok(None);
            };
            let row = this.live_row(at)?;
            self.see(at, row)?;
            Ok(Some((this.value(row)?, this.stamp(row)?)))
        });
        self.has_missed.set(matches!(found, Ok(None)));
        found
    }

    fn value(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        self.seen.set(None);
        let hash = self.edit.hash(key);
        self.or_nothing(|this| {
            let Some(at) = this.find(key, hash)? else {
                return Ok(None);
            };
            let row = this.live_row(at)?;
            Ok(Some((this.value(row)?, this.stamp(row)?)))
        })
    }

    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>> {
        let hash = self.edit.hash(key);
        self.or_nothing(|this| match this.find(key, hash)? {
            Some(at) => this.stamp(this.live_row(at)?).map(Some),
            None => Ok(None),
        })
    }

    fn extras(&self, key: &[u8]) -> Result<Extras<'_>> {
        let hash = self.edit.hash(key);
        self.or_nothing(|this| match this.find(key, hash)? {
            Some(at) => this.extras(this.live_row(at)?),
            None => Ok(Extras::NONE),
        })
    }

    fn least_recent(&self) -> Result<Option<Entry<'_>>> {
        self.or_nothing(|this| match this.header().oldest.get() {
            NONE => Ok(None),
            at => this.entry(this.live_row(at)?).map(Some),
        })
    }

    fn put_with(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp, extras: Extras<'_>) -> Result<bool> {
        self.forget();
        let stored = self.mending(|this| {
            let (replaced, at) = this.store(key, value, stamp, extras)?;
            self.see(at, this.row(at)?)?;
            Ok(replaced)
        });
        self.free_released();
        Ok(stored?)
    }

    fn restamp(&mut self, key: &[u8], stamp: Stamp) -> Result<bool> {
        self.forget();
        let hash = self.edit.hash(key);
        self.or_nothing(|this| match this.find(key, hash)? {
            Some(at) => this.restamp(at, this.live_row(at)?, stamp).map(|()| true),
            None => Ok(false),
        })
    }

    fn decline(&mut self, value: Value<'_>) {
        if let (Value::Slot(slot), Some(slots)) = (value, &self.slots) {
            slots.free(slot);
        }
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool> {
        self.forget();
        let hash = self.edit.hash(key);
        let removed = self.or_nothing(|this| match this.find(key, hash)? {
            Some(at) => this.remove_row(at).map(|()| true),
            None => Ok(false),
        });
        self.free_released();
        removed
    }

    fn remove_least_recent(&mut self) -> Result<bool> {
        self.forget();
        let removed = self.or_nothing(|this| match this.header().oldest.get() {
            NONE if this.header().len.get() == 0 => Ok(false),
            at => this.remove_row(at).map(|()| true),
        });
        self.free_released();
        removed
    }

    fn clear(&mut self) -> Result<()> {
        self.forget();
        let cleared = self.or_nothing(|this| match this.remove_all_at_once()? {
            true => Ok(()),
            false => Rebuild(this).remove_all(),
        });
        self.edit.reset_tags();
        self.free_released();
        cleared
    }

    fn visit(&self, visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        self.each(false, visit)
    }

    fn visit_keys(&self, mut visit: impl FnMut(&[u8], Stamp) -> Result<()>) -> Result<()> {
        self.each(true, |entry| visit(entry.key, entry.stamp))
    }

    fn scan_order(&mut self) -> [u64; 2] {
        self.nonce()
    }

    fn scan(
        &mut self,
        from: u32,
        slice: Slice<'_>,
        mut visit: impl FnMut(Entry<'_>) -> Result<bool>,
    ) -> Result<Option<u32>> {
        self.forget();
        let (mut from, mut given, mut looked_at, mut bytes) = (Some(from), 0, 0, 0);
        let mut buckets = 0;
        while let Some(at) = from
            && given < slice.count
            && looked_at < Slice::MOST_LOOKED_AT
            && bytes < Slice::MOST_BYTES
        {
            if buckets % AHEAD == 0 {
                self.edit.read_ahead(at);
            }
            buckets += 1;
            let part = self.mending(|this| this.bucket_from(at, slice))?;
            for entry in part.entries {
                given += usize::from(visit(entry)?);
            }
            (looked_at, bytes) = (looked_at + part.looked_at, bytes + part.bytes);
            from = part.next;
        }
        Ok(from)
    }

    fn retain_stamps(&mut self, mut keep: impl FnMut(Stamp) -> bool) {
        self.remove_rows(|edit, row| is_declined(edit, row, &mut keep));
    }

    fn retain_part(&mut self, from: u32, mut keep: impl FnMut(Stamp) -> bool) -> Option<u32> {
        self.remove_part(from, |edit, row| is_declined(edit, row, &mut keep))
    }

    fn invalidate(&mut self, tags: Tags<'_>) {
        self.forget();
        self.edit.invalidate(tags);
    }

    fn invalidations(&self) -> u64 {
        self.header().tags.count.get()
    }

    fn swept(&mut self, count: u64) {
        self.edit.swept(count);
    }

    fn sweep(&mut self, tags: usize, mut keep: impl FnMut(Stamp) -> bool) {
        self.edit
            .sweep(tags, |edit, row| is_declined(edit, row, &mut keep));
        self.free_released();
    }
}

/// In shared memory `Store` has removed the entries before, under the lock, and nothing is left to do here.
impl<M: Memory> Drop for Segment<M> {
    fn drop(&mut self) {
        self.withdraw_slots();
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
