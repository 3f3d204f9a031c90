//! The store: the cache of one namespace behind its lock. The entries lie on the heap of this process or in a segment,
//! which several processes share. `migrate.rs` moves them from one to the other.

pub mod leases;

use parking_lot::{Mutex, MutexGuard};
use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
    time::Duration,
};

#[cfg(target_os = "linux")]
use std::sync::atomic::AtomicU64;

#[cfg(target_os = "linux")]
use crate::storage::shared::{
    Segment,
    access::{HeldLock, Locked},
    listing::{self, Caught, LAST_BYTES},
    lock::SLEEP,
    memfd::{Memfd, Ticket},
    sleeper::Sleeper,
};
use crate::{
    cache::{Cache, Clock, Remembered},
    command::{self, Answer, Command, Listing, Reads, Sink},
    copies::{Copies, Item},
    error::{Code, Error, Result},
    extras::{Extras, Tags},
    key::Prefix,
    lease::{Ended, Held, Lease, Leases, Outcome},
    slots::Slots,
    stats::{Event, Stats},
    storage::{Entry, Glimpse, Limits, Mapped, Seen, Slice, Stamp, Storage, heap::HeapStorage},
    value::Value,
};

/// How long a call waits for the lock before it is tried again from the event loop.
pub const LOCK_WAIT: Duration = Duration::from_millis(1);

/// How long a step that is not tried again waits for the lock: a move to a segment, and the last access of a process that
/// owns slots.
#[cfg(target_os = "linux")]
pub(crate) const FINAL_LOCK_WAIT: Duration = Duration::from_millis(5);

/// How often a listing is begun without the lock before it is made under one.
#[cfg(target_os = "linux")]
const LISTING_TRIES: u32 = 3;

/// How many entries a removal by prefix removes before others may have the lock.
const REMOVED_AT_ONCE: usize = 256;

/// How often a removal by prefix that has begun tries to take the lock again: for 100 ms.
const REMOVAL_TRIES: u32 = 20;

/// Where the entries of a cache lie.
#[derive(Debug)]
pub enum Place {
    /// On the heap of this process.
    Heap(HeapStorage),
    /// In a segment, which other processes map too.
    #[cfg(target_os = "linux")]
    Shared(Box<Segment<Memfd>>),
}

/// A cache behind its lock, for the threads of this process and, where its entries lie in a segment, for other processes.
///
/// ```
/// use lru_cache_for_clusters::{slots::Slots, store::Store, value::Value};
/// use std::time::Duration;
///
/// # fn main() -> lru_cache_for_clusters::error::Result<()> {
/// let store = Store::heap(Slots::default());
/// store.lock(Duration::ZERO)?.set(b"key", Value::Null, None, 0.0)?;
/// # #[cfg(target_os = "linux")]
/// # {
/// let ticket = store.share(&Slots::default(), |_| None)?;
/// // In another process:
/// let other = Store::attach(&ticket)?;
/// assert!(other.lock(Duration::ZERO)?.has(b"key", 0.0)?);
/// # }
/// # Ok(())
/// # }
/// ```
pub struct Store {
    inner: Mutex<Inner>,
    /// Whether the last call of this process that took the lock gave up, because another process had it for too long.
    is_stuck: AtomicBool,
    /// Tells of leases that have ended.
    ended: Arc<Ended>,
    /// Waits for leases of other processes, once one was joined.
    #[cfg(target_os = "linux")]
    sleeper: Mutex<Option<Sleeper>>,
    /// The thread that has claimed leases here; 0 for none.
    #[cfg(target_os = "linux")]
    claimed: AtomicU64,
}

struct Inner {
    cache: Cache<Place>,
    /// The thread that has the lock for several calls, see [`Store::hold`].
    holder: Option<ThreadId>,
    /// Whether the application has the synchronous cache of this store, see [`Store::expose`].
    is_exposed: bool,
    /// Whether the namespace was destroyed. This store is not used any more: the namespace gets another one.
    is_gone: bool,
}

/// The cache while this thread has the lock. Slow work (JavaScript, JSON) is done after the guard is dropped.
pub struct Guard<'a> {
    inner: MutexGuard<'a, Inner>,
    /// The proof of the segment's lock. `None` where the cache lies on the heap, or where a [`Hold`] of this thread has the
    /// segment's lock.
    #[cfg(target_os = "linux")]
    locked: Option<Locked>,
}

/// What became of a read, see [`Store::read`].
#[derive(Debug)]
pub enum Read<'a, R> {
    /// It was made without the lock: what was read, and of which entry. The order of recency is as it was.
    Done(R, Remembered),
    /// It is to be made under the lock.
    Locked(Guard<'a>),
}

/// The lock of a store for several calls of one thread, see [`Store::hold`]. Dropping the hold gives the lock back.
#[must_use = "the lock is given back when the hold is dropped"]
pub struct Hold {
    store: Arc<Store>,
    /// `false` for a hold inside a hold of the same thread. The outermost hold gives the lock back.
    is_outermost: bool,
    #[cfg(target_os = "linux")]
    inside: Option<HeldLock>,
}

impl Store {
    /// An empty cache on the heap of this process. `slots` numbers its JavaScript values.
    pub fn heap(slots: Slots) -> Self {
        let ended = Arc::<Ended>::default();
        Self::over(
            Place::Heap(HeapStorage::new(slots).with_ended(ended.clone())),
            ended,
        )
    }

    fn over(place: Place, ended: Arc<Ended>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                cache: Cache::new(place),
                holder: None,
                is_exposed: false,
                is_gone: false,
            }),
            is_stuck: AtomicBool::new(false),
            ended,
            #[cfg(target_os = "linux")]
            sleeper: Mutex::default(),
            #[cfg(target_os = "linux")]
            claimed: AtomicU64::new(0),
        }
    }

    /// Takes the lock. Waits for another process at most for `patience`, give or take a tenth of a millisecond. Where a
    /// process has died with the lock, the segment is repaired first. After a call that gave up, later calls with a
    /// patience of at most [`LOCK_WAIT`] do not wait, until one of them gets the lock: so a thousand calls do not each
    /// wait.
    ///
    /// # Errors
    /// `ERR_STORE_BUSY`: try again later, best from the event loop. `ERR_STORE_MOVED`: the entries are in another segment.
    /// `ERR_STORE_GONE`: the namespace was destroyed.
    pub fn lock(&self, patience: Duration) -> Result<Guard<'_>> {
        self.lock_from(None, patience)
    }

    /// Calls `change` with the cache, to apply options. A segment whose namespace was destroyed gets a new one, which begins
    /// empty, without limits and with counts of 0.
    ///
    /// # Errors
    /// As [`Store::lock`]. `ERR_STORE_GONE`: the namespace was destroyed through this store, so it has another one.
    #[cfg_attr(not(target_os = "linux"), allow(unused_mut))]
    pub fn open(&self, patience: Duration, change: impl FnOnce(&mut Cache<Place>)) -> Result<()> {
        let mut guard = self.try_lock(None, patience, true)?;
        #[cfg(target_os = "linux")]
        if let Place::Shared(segment) = guard.storage()
            && segment.is_over()
        {
            // All of this is done again where this process is killed before the end.
            guard.inner.cache.reset()?;
            let storage = guard.storage_mut();
            storage.set_limits(Limits::default());
            storage.add_counts(&storage.stats().counts.negated());
        }
        change(&mut guard);
        #[cfg(target_os = "linux")]
        if let Place::Shared(segment) = guard.storage_mut() {
            segment.begin_life();
        }
        Ok(())
    }

    /// Whether the namespace was destroyed, and has to be opened again. Waits for no other process.
    pub fn is_gone(&self) -> bool {
        let inner = self.inner.lock();
        match inner.cache.storage() {
            #[cfg(target_os = "linux")]
            Place::Shared(segment) => segment.is_gone(),
            Place::Heap(_) => inner.is_gone,
        }
    }

    /// Destroys the namespace for all processes: removes the entries, and makes every later call of this store fail, and
    /// those of other processes. Its memory is given back where nobody else has it. `slots` are those of the store.
    /// `primary`: this process is the primary, which other processes ask for the segment that the namespace has next.
    /// Siblings have nobody to ask: they open the same segment again. Returns whether there was a namespace.
    ///
    /// # Errors
    /// As [`Store::lock`], but for `ERR_STORE_GONE`; `ERR_STORE_BUSY` too in a [`Hold`]. The namespace is there then, maybe
    /// without entries.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub fn destroy(&self, slots: &Slots, primary: bool, patience: Duration) -> Result<bool> {
        let mut guard = match self.lock(patience) {
            Err(error) if error.code == Code::Gone => return Ok(false),
            guard => guard?,
        };
        if guard.inner.holder.is_some() {
            return Err(Error::busy());
        }
        guard.reset()?;
        #[cfg(target_os = "linux")]
        {
            let is_locked = guard.locked.is_some();
            if let Place::Shared(segment) = guard.storage_mut() {
                if !is_locked {
                    // Another process took the lock while the memory was given back.
                    return Err(Error::busy());
                }
                segment.withdraw_slots();
                match primary {
                    true => segment.move_out(),
                    false => segment.end_life(),
                }
            }
        }
        drop(guard);
        let mut inner = self.inner.lock();
        inner.cache = Cache::new(Place::Heap(HeapStorage::new(slots.clone())));
        inner.is_gone = true;
        Ok(true)
    }

    /// As [`Store::lock`]; `inner` where this call has it already.
    #[inline]
    fn lock_from<'a>(
        &'a self,
        inner: Option<MutexGuard<'a, Inner>>,
        patience: Duration,
    ) -> Result<Guard<'a>> {
        let stuck = patience <= LOCK_WAIT && self.is_stuck.load(Relaxed);
        let locked = self.try_lock(inner, if stuck { Duration::ZERO } else { patience }, false);
        let busy = matches!(&locked, Err(error) if error.is_busy());
        if busy != stuck {
            self.is_stuck.store(busy, Relaxed);
        }
        locked
    }

    /// As [`Cache::read_unlocked`]: reads an entry without the lock of the segment. Where that cannot be, takes the lock as
    /// [`Store::lock`] does, for the caller to read under it.
    ///
    /// # Errors
    /// The error of `read`, and those of [`Store::lock`].
    #[inline]
    pub fn read<R>(
        &self,
        key: &[u8],
        now: impl Clock,
        patience: Duration,
        read: impl FnOnce(Value<'_>) -> Result<R>,
    ) -> Result<Read<'_, R>> {
        let Some(mut inner) = self.inner.try_lock() else {
            return self.lock(patience).map(Read::Locked);
        };
        let Some(found) = inner.cache.read_unlocked(key, now, read) else {
            return self.lock_from(Some(inner), patience).map(Read::Locked);
        };
        drop(inner);
        let (value, entry) = found?;
        Ok(Read::Done(value, entry))
    }

    /// Applies the uses that were recorded without the lock, if no other process has the lock. There is little room for more.
    pub fn refresh(&self) {
        // Whoever takes the lock applies them.
        let guard = self.lock(Duration::ZERO);
        #[cfg(target_os = "linux")]
        if let Ok(mut guard) = guard
            && let Place::Shared(segment) = guard.storage_mut()
        {
            segment.grow_ring();
        }
        #[cfg(not(target_os = "linux"))]
        drop(guard);
    }

    /// As [`Cache::take_evicted`]. Waits for no other process.
    pub fn take_evicted(&self) -> u32 {
        self.inner.lock().cache.take_evicted()
    }

    /// Takes the lock for several calls of this thread. Until the hold is dropped, no other thread or process uses the
    /// cache, and calls of this thread do not wait. A hold inside a hold of the same thread is part of the outer one.
    ///
    /// # Errors
    /// As [`Store::lock`].
    pub fn hold(self: &Arc<Self>, patience: Duration) -> Result<Hold> {
        let mut guard = self.lock(patience)?;
        guard.begin_steps();
        let is_outermost = guard.inner.holder.replace(thread::current().id()).is_none();
        Ok(Hold {
            #[cfg(target_os = "linux")]
            inside: guard.locked.take().map(HeldLock::new),
            store: self.clone(),
            is_outermost,
        })
    }

    /// Records that the application has the synchronous cache of this store. The application may add functions to that
    /// object, so from now on a call by name is a message to this process. Other processes see the record at once.
    pub fn expose(&self) {
        let mut inner = self.inner.lock();
        inner.is_exposed = true;
        #[cfg(target_os = "linux")]
        if let Place::Shared(segment) = inner.cache.storage() {
            segment.expose();
        }
    }

    /// Whether the application has the synchronous cache of this store, in this process or in the primary.
    pub fn is_exposed(&self) -> bool {
        let inner = self.inner.lock();
        match inner.cache.storage() {
            Place::Heap(_) => inner.is_exposed,
            #[cfg(target_os = "linux")]
            Place::Shared(segment) => segment.is_exposed(),
        }
    }

    /// `to_open`: the namespace in the segment may have been destroyed.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    fn try_lock<'a>(
        &'a self,
        inner: Option<MutexGuard<'a, Inner>>,
        patience: Duration,
        to_open: bool,
    ) -> Result<Guard<'a>> {
        let inner = inner.or_else(|| self.inner.try_lock());
        let inner = inner.or_else(|| self.inner.try_lock_for(patience));
        let mut inner = inner.ok_or_else(Error::busy)?;
        if inner
            .holder
            .is_some_and(|holder| holder != thread::current().id())
        {
            return Err(Error::busy());
        }
        if inner.is_gone {
            return Err(Error::gone());
        }
        #[cfg(target_os = "linux")]
        {
            let is_held = inner.holder.is_some();
            let segment = match inner.cache.storage_mut() {
                Place::Shared(segment) => segment,
                Place::Heap(heap) => {
                    heap.refresh();
                    return Ok(Guard { inner, locked: None });
                }
            };
            if is_held {
                segment.forget();
                segment.refresh();
                return Ok(Guard { inner, locked: None });
            }
            let (locked, mended) = match to_open {
                false => segment.lock(patience)?,
                true => segment.lock_to_open(patience)?,
            };
            let mut guard = Guard {
                inner,
                locked: Some(locked),
            };
            if mended {
                // The process that died may have stored an entry and not yet evicted another.
                guard.trim();
            }
            Ok(guard)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let Place::Heap(heap) = inner.cache.storage_mut();
            heap.refresh();
            Ok(Guard { inner })
        }
    }
}

#[cfg(target_os = "linux")]
impl Store {
    /// Calls `change` with the cache and whether it is exposed. `change` may put another cache in its place. No other call
    /// of this process comes between; the lock of a segment is not taken.
    pub(crate) fn with_cache<R>(&self, change: impl FnOnce(&mut Cache<Place>, bool) -> R) -> R {
        let mut inner = self.inner.lock();
        let is_exposed = inner.is_exposed;
        change(&mut inner.cache, is_exposed)
    }

    /// The cache in a segment.
    pub fn shared(segment: Segment<Memfd>) -> Self {
        Self::over(Place::Shared(Box::new(segment)), Arc::default())
    }

    /// Attaches the segment of a ticket.
    ///
    /// # Errors
    /// The segment is gone, or this process may not attach it, or another version of this package made it.
    pub fn attach(ticket: &Ticket) -> Result<Self> {
        Segment::attach(Memfd::attach(ticket)?, Some(ticket.nonce)).map(Self::shared)
    }

    /// See [`Segment::set_label`]. A cache on the heap has no label.
    pub fn set_label(&self, namespace: &str) {
        if let Place::Shared(segment) = self.inner.lock().cache.storage() {
            segment.set_label(namespace);
        }
    }

    /// The ticket by which another process attaches the segment, as long as this process has it. `None` while the cache
    /// lies on the heap.
    pub fn ticket(&self) -> Option<Ticket> {
        self.inner.lock().cache.storage().ticket()
    }

    /// Whether other processes have removed entries whose slots this process must free. Waits for no other process.
    pub fn has_released(&self) -> bool {
        match self.inner.lock().cache.storage() {
            Place::Heap(_) => false,
            Place::Shared(segment) => segment.has_released(),
        }
    }
}

impl Guard<'_> {
    /// Whether the entries lie in a segment.
    pub fn is_shared(&self) -> bool {
        self.storage().is_shared()
    }

    /// The segment; `None` where the cache is not shared.
    #[cfg(all(test, target_os = "linux"))]
    pub fn segment(&self) -> Option<&Segment<Memfd>> {
        match self.storage() {
            Place::Heap(_) => None,
            Place::Shared(segment) => Some(segment),
        }
    }

    /// Checks that this process can read what a command reads.
    ///
    /// # Errors
    /// `ERR_STORE_ELSEWHERE`: a value is a JavaScript value of another process. Ask that process.
    pub fn check(&self, reads: Reads<'_>) -> Result<()> {
        match reads {
            Reads::Nothing => Ok(()),
            Reads::One(key) => self.readable(Some(key)),
            Reads::Any => self.readable(None),
            Reads::These(_) if self.readable(None).is_ok() => Ok(()),
            Reads::These(keys) => keys.iter().try_for_each(|key| self.readable(Some(key))),
        }
    }

    /// Checks that this process can read the value of an entry; without a key, the values of all entries.
    ///
    /// # Errors
    /// As [`Guard::check`].
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub fn readable(&self, key: Option<&[u8]>) -> Result<()> {
        match self.storage() {
            #[cfg(target_os = "linux")]
            Place::Shared(segment) if segment.is_elsewhere(key)? => Err(Error::elsewhere()),
            _ => Ok(()),
        }
    }
}

impl Guard<'_> {
    /// Runs a command, as [`command::run`]. A command on every entry of a segment gives the lock back now and then, so that
    /// others have it meanwhile: but for a [`Hold`], and where there is little.
    ///
    /// # Errors
    /// As [`command::run`]; or as [`Store::lock`], and nothing, or a part of a prune, was done.
    pub fn run<K: AsRef<[u8]>>(
        &mut self,
        command: &Command<'_, K>,
        now: impl Clock,
        copies: &mut Copies,
    ) -> Result<Answer> {
        match command {
            Command::Prune => self.prune(now).map(Answer::Bool),
            Command::Reset => self.reset().map(|()| Answer::Nothing),
            Command::DeletePrefix(prefix) => {
                let removed = self.delete_prefix(prefix, now)?;
                Ok(Answer::Number(removed.into()))
            }
            Command::Pop => {
                while self.inner.cache.drop_invalid(REMOVED_AT_ONCE)? {
                    self.make_way()?;
                }
                command::run(&mut self.inner.cache, command, now, copies)
            }
            command => match Listing::of(command) {
                Some(what) if self.list(what, now, copies)? => Ok(Answer::List),
                _ => command::run(&mut self.inner.cache, command, now, copies),
            },
        }
    }

    /// Removes the entries of the keys with a prefix that are there at one moment, in parts, each entry by a change of its own.
    /// Returns how many had not expired.
    ///
    /// # Errors
    /// As [`Store::lock`], and nothing was removed; or `ETIMEDOUT`: another process kept the lock, and some were removed.
    fn delete_prefix(&mut self, prefix: &Prefix, now: impl Clock) -> Result<u32> {
        // What is loaded now for such a key is of before.
        self.inner.cache.void_prefix(prefix.beginning());
        let mut found = Copies::default();
        if self.list(Listing::Keys(prefix), now, &mut found)? {
            self.resume()?;
        } else {
            self.inner.cache.visit_keys(|key| match prefix.matches(key) {
                true => found.key(key),
                false => Ok(()),
            })?;
        }
        let mut removed = 0;
        for (index, item) in found.iter().enumerate() {
            if index % REMOVED_AT_ONCE == 0 && index > 0 {
                let mut done = self.make_way();
                for _ in 1..REMOVAL_TRIES {
                    if !done.as_ref().is_err_and(Error::is_busy) {
                        break;
                    }
                    done = self.resume();
                }
                done.map_err(|_| Error::interrupted(removed))?;
            }
            if let Item::Key(key) = item {
                removed += u32::from(self.inner.cache.delete(key, now)?);
            }
        }
        Ok(removed)
    }

    /// As [`Cache::prune`], in parts.
    ///
    /// # Errors
    /// As [`Store::lock`]: another process has the lock, and some expired entries are still there.
    pub fn prune(&mut self, now: impl Clock) -> Result<bool> {
        let (mut from, mut any) = (Some(0), false);
        while let Some(at) = from {
            let before = self.len();
            from = self.inner.cache.prune_part(at, now);
            any |= self.len() < before;
            if from.is_some() {
                self.make_way()?;
            }
        }
        Ok(any)
    }

    /// As [`Cache::reset`]; gives the memory back, in parts.
    ///
    /// # Errors
    /// As [`Cache::reset`].
    pub fn reset(&mut self) -> Result<()> {
        self.inner.cache.reset()?;
        #[cfg(target_os = "linux")]
        while let (Some(_), Place::Shared(segment)) = (&self.locked, self.inner.cache.storage())
            && segment.has_excess()
            // Whoever has the lock now goes on with it.
            && self.make_way().is_ok()
        {}
        Ok(())
    }

    /// Lets others have the lock, if they wait for it, and takes it again. Does nothing in a [`Hold`].
    #[cfg_attr(
        not(target_os = "linux"),
        allow(clippy::unnecessary_wraps, clippy::unused_self)
    )]
    fn make_way(&mut self) -> Result<()> {
        #[cfg(target_os = "linux")]
        if self.locked.is_some() {
            self.pause();
            if let Place::Shared(segment) = self.storage()
                && segment.is_awaited()
            {
                // Longer than a process sleeps that waits for the lock.
                thread::sleep(2 * SLEEP);
            }
            self.resume()?;
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, clippy::unused_self)]
impl Guard<'_> {
    /// There is no lock of other processes.
    fn resume(&mut self) -> Result<()> {
        Ok(())
    }

    /// A cache on the heap is listed under its lock.
    fn list(&mut self, _: Listing<'_>, _: impl Clock, _: &mut Copies) -> Result<bool> {
        Ok(false)
    }
}

#[cfg(target_os = "linux")]
impl Guard<'_> {
    /// Gives the lock of the segment back. Other threads of this process still wait.
    fn pause(&mut self) {
        if let (Some(locked), Place::Shared(segment)) = (self.locked.take(), self.inner.cache.storage_mut()) {
            segment.unlock(locked);
        }
    }

    /// Takes the lock again.
    fn resume(&mut self) -> Result<()> {
        if let Place::Shared(segment) = self.inner.cache.storage_mut() {
            let (locked, mended) = segment.lock(FINAL_LOCK_WAIT)?;
            self.locked = Some(locked);
            if mended {
                self.trim();
            }
        }
        Ok(())
    }

    /// Makes the listing that a command asks for, without the lock but for moments. Returns `false`, with the lock, where it
    /// has to be made under one lock: there is little to list; or the segment changed too much each time, or is damaged.
    fn list(&mut self, what: Listing<'_>, now: impl Clock, copies: &mut Copies) -> Result<bool> {
        if self.locked.is_none() || self.storage().size() < LAST_BYTES as f64 {
            return Ok(false);
        }
        for _ in 0..LISTING_TRIES {
            if self.try_list(what, now, copies)? {
                return Ok(true);
            }
            copies.clear();
        }
        Ok(false)
    }

    fn try_list(&mut self, what: Listing<'_>, now: impl Clock, copies: &mut Copies) -> Result<bool> {
        let max_age = self.limits().max_age;
        // Where in the copies an entry begins; `None` where nothing of it is listed.
        let give = |entry: Entry<'_>, copies: &mut Copies| {
            let at = copies.end();
            let is_given = what.give(entry, max_age, now, copies)?;
            Ok(is_given.then_some(at))
        };
        let Place::Shared(segment) = self.storage() else {
            return Ok(false);
        };
        let mut listing = listing::Listing::begin(segment, what.has_keys_alone());
        loop {
            self.pause();
            let Place::Shared(segment) = self.storage() else {
                return Ok(false);
            };
            let read = listing.read(segment, &mut |entry: Entry<'_>| give(entry, copies));
            // What is read under the lock takes no memory then.
            let read = read.and_then(|()| copies.reserve(2 * LAST_BYTES));
            self.resume()?;
            self.check(what.reads())?;
            read?;
            let Place::Shared(segment) = self.storage() else {
                return Ok(false);
            };
            match listing.catch_up(segment, &mut |entry: Entry<'_>| give(entry, copies))? {
                Caught::Behind => {}
                Caught::Void => return Ok(false),
                Caught::Up => break,
            }
        }
        self.pause();
        copies.arrange(listing.finish()?, what.items());
        Ok(true)
    }
}

impl Deref for Guard<'_> {
    type Target = Cache<Place>;

    fn deref(&self) -> &Self::Target {
        &self.inner.cache
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner.cache
    }
}

#[cfg(target_os = "linux")]
impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.pause();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.is_outermost {
            return;
        }
        let mut inner = self.store.inner.lock();
        inner.holder = None;
        #[cfg(target_os = "linux")]
        if let (Some(inside), Place::Shared(segment)) = (self.inside.take(), inner.cache.storage_mut()) {
            segment.unlock(inside.end());
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Store {
    fn drop(&mut self) {
        let holds = |place: &Place| matches!(place, Place::Shared(segment) if segment.slots().is_some());
        let claimed = self.claimed.load(Relaxed);
        if claimed == 0 && !holds(self.inner.get_mut().cache.storage()) {
            return;
        }
        let withdrawn = self.lock(FINAL_LOCK_WAIT).map(|mut guard| {
            if claimed != 0 {
                guard.end_leases_of(&[claimed]);
            }
            if let Place::Shared(segment) = guard.storage_mut() {
                segment.withdraw_slots();
            }
        });
        if let (Err(_), Place::Shared(segment)) = (withdrawn, self.inner.get_mut().cache.storage_mut()) {
            segment.abandon_slots();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(self.storage()).finish()
    }
}

impl Place {
    /// The ticket of a segment; `None` for the heap.
    #[cfg(target_os = "linux")]
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Heap(_) => None,
            Self::Shared(segment) => Some(segment.memory().ticket(segment.nonce())),
        }
    }

    /// Whether this process does a scheduled prune at the time `now`. `due` decides that by the time of the last scheduled
    /// prune (both in milliseconds since the epoch). If it is done here, `now` becomes that time.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub fn take_tick(&mut self, now: f64, due: impl FnOnce(f64) -> bool) -> bool {
        match self {
            // No other process has the schedule of this cache.
            Self::Heap(_) => true,
            #[cfg(target_os = "linux")]
            Self::Shared(segment) => segment.take_tick(now, due),
        }
    }
}

impl Place {
    /// Whether the entries lie in a segment.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Self::Heap(_))
    }

    /// Gate, epoch and count of uses, for JavaScript; from now on its uses of entries count. Under the lock.
    pub fn control(&mut self) -> Option<Box<dyn Mapped>> {
        match self {
            Self::Heap(heap) => Some(Box::new(heap.versions().control())),
            #[cfg(target_os = "linux")]
            Self::Shared(segment) => {
                segment.claim_ring();
                Some(Box::new(segment.control_window()?))
            }
        }
    }

    /// The versions of a piece of the rows, for JavaScript.
    pub fn versions(&mut self, piece: u32) -> Option<Box<dyn Mapped>> {
        match self {
            Self::Heap(heap) => Some(Box::new(heap.versions().piece(piece)?)),
            #[cfg(target_os = "linux")]
            Self::Shared(segment) => Some(Box::new(segment.versions_window(piece)?)),
        }
    }

    /// The ring of uses in a segment, for JavaScript; `None` where there is none to be had.
    pub fn ring(&mut self) -> Option<Box<dyn Mapped>> {
        match self {
            Self::Heap(_) => None,
            #[cfg(target_os = "linux")]
            Self::Shared(segment) => Some(Box::new(segment.ring_window()?)),
        }
    }

    /// The uses of entries on the heap, for JavaScript.
    pub fn uses(&mut self) -> Option<Box<dyn Mapped>> {
        match self {
            Self::Heap(heap) => Some(Box::new(heap.versions().uses())),
            #[cfg(target_os = "linux")]
            Self::Shared(_) => None,
        }
    }
}

/// Calls a method of the storage that a [`Place`] is.
macro_rules! on {
    ($place:expr, $storage:ident => $call:expr) => {
        match $place {
            Place::Heap($storage) => $call,
            #[cfg(target_os = "linux")]
            Place::Shared($storage) => $call,
        }
    };
}

impl Leases for Place {
    #[inline(always)]
    fn has_leases(&self) -> bool {
        on!(self, storage => storage.has_leases())
    }

    fn lease(&mut self, key: &[u8]) -> Option<Lease> {
        on!(self, storage => storage.lease(key))
    }

    fn lease_with(&mut self, key: &[u8], token: f64) -> Option<Lease> {
        on!(self, storage => storage.lease_with(key, token))
    }

    fn begin_lease(&mut self, key: &[u8], owner: u64, deadline: u64, now: u64) -> Option<f64> {
        on!(self, storage => storage.begin_lease(key, owner, deadline, now))
    }

    fn end_lease(&mut self, key: &[u8], token: f64) {
        on!(self, storage => storage.end_lease(key, token))
    }

    fn end_leases(&mut self, which: impl FnMut(&Held<'_>) -> bool) {
        on!(self, storage => storage.end_leases(which))
    }

    fn void_lease(&mut self, key: &[u8], token: f64) {
        on!(self, storage => storage.void_lease(key, token))
    }

    fn void_leases(&mut self, which: impl FnMut(&Held<'_>) -> bool) {
        on!(self, storage => storage.void_leases(which))
    }

    fn leave_outcome(&mut self, key: &[u8], token: f64, outcome: Outcome<'_>, until: u64) {
        on!(self, storage => storage.leave_outcome(key, token, outcome, until))
    }

    fn outcome<R>(
        &mut self,
        key: &[u8],
        token: f64,
        read: impl FnOnce(Outcome<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        on!(self, storage => storage.outcome(key, token, read))
    }

    fn is_outdated(&mut self, lease: &Lease, tags: Tags<'_>) -> bool {
        on!(self, storage => storage.is_outdated(lease, tags))
    }

    fn await_lease(&mut self, key: &[u8], token: f64, waits: bool) {
        on!(self, storage => storage.await_lease(key, token, waits))
    }
}

impl Storage for Place {
    fn limits(&self) -> Limits {
        on!(self, storage => storage.limits())
    }

    fn set_limits(&mut self, limits: Limits) {
        on!(self, storage => storage.set_limits(limits))
    }

    fn seen(&self) -> Option<Seen> {
        on!(self, storage => storage.seen())
    }

    fn begin_versions(&mut self) {
        on!(self, storage => storage.begin_versions())
    }

    fn glimpse(&mut self, key: &[u8]) -> Option<Glimpse<'_>> {
        on!(self, storage => storage.glimpse(key))
    }

    fn begin_steps(&mut self) {
        on!(self, storage => storage.begin_steps())
    }

    #[inline(always)]
    fn count(&mut self, event: Event, times: u64) {
        on!(self, storage => storage.count(event, times))
    }

    fn stats(&self) -> Stats {
        match self {
            Place::Heap(heap) => heap.stats(),
            #[cfg(target_os = "linux")]
            Place::Shared(segment) => Stats {
                processes: segment.processes(),
                ..segment.stats()
            },
        }
    }

    fn len(&self) -> usize {
        on!(self, storage => storage.len())
    }

    fn size(&self) -> f64 {
        on!(self, storage => storage.size())
    }

    fn entry_size(&self, key: &[u8], value: Value<'_>, extras: Extras<'_>) -> f64 {
        on!(self, storage => storage.entry_size(key, value, extras))
    }

    fn touch(&mut self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        on!(self, storage => storage.touch(key))
    }

    fn peek(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        on!(self, storage => storage.peek(key))
    }

    fn value(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        on!(self, storage => storage.value(key))
    }

    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>> {
        on!(self, storage => storage.stamp(key))
    }

    fn extras(&self, key: &[u8]) -> Result<Extras<'_>> {
        on!(self, storage => storage.extras(key))
    }

    fn least_recent(&self) -> Result<Option<Entry<'_>>> {
        on!(self, storage => storage.least_recent())
    }

    fn put_with(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp, extras: Extras<'_>) -> Result<bool> {
        on!(self, storage => storage.put_with(key, value, stamp, extras))
    }

    fn restamp(&mut self, key: &[u8], stamp: Stamp) -> Result<bool> {
        on!(self, storage => storage.restamp(key, stamp))
    }

    fn decline(&mut self, value: Value<'_>) {
        on!(self, storage => storage.decline(value))
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool> {
        on!(self, storage => storage.remove(key))
    }

    fn remove_least_recent(&mut self) -> Result<bool> {
        on!(self, storage => storage.remove_least_recent())
    }

    fn clear(&mut self) -> Result<()> {
        on!(self, storage => storage.clear())
    }

    fn visit(&self, visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        on!(self, storage => storage.visit(visit))
    }

    fn visit_keys(&self, visit: impl FnMut(&[u8], Stamp) -> Result<()>) -> Result<()> {
        on!(self, storage => storage.visit_keys(visit))
    }

    fn scan_order(&mut self) -> [u64; 2] {
        on!(self, storage => storage.scan_order())
    }

    fn scan(
        &mut self,
        from: u32,
        slice: Slice<'_>,
        visit: impl FnMut(Entry<'_>) -> Result<bool>,
    ) -> Result<Option<u32>> {
        on!(self, storage => storage.scan(from, slice, visit))
    }

    fn retain_stamps(&mut self, keep: impl FnMut(Stamp) -> bool) {
        on!(self, storage => storage.retain_stamps(keep))
    }

    fn retain_part(&mut self, from: u32, keep: impl FnMut(Stamp) -> bool) -> Option<u32> {
        on!(self, storage => storage.retain_part(from, keep))
    }

    fn invalidate(&mut self, tags: Tags<'_>) {
        on!(self, storage => storage.invalidate(tags))
    }

    fn invalidations(&self) -> u64 {
        on!(self, storage => storage.invalidations())
    }

    fn swept(&mut self, count: u64) {
        on!(self, storage => storage.swept(count))
    }

    fn sweep(&mut self, tags: usize, keep: impl FnMut(Stamp) -> bool) {
        on!(self, storage => storage.sweep(tags, keep))
    }
}
