//! The cache of one namespace behind its lock. Its entries lie on the heap of this process, or in memory that several
//! processes share.

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
use crate::storage::shared::{
    Segment,
    access::{HeldLock, Locked},
    memfd::{Memfd, Ticket},
};
use crate::{
    cache::Cache,
    command::Reads,
    error::{Error, Result},
    key::KeyList,
    slots::Slots,
    storage::{Entry, Limits, Stamp, Storage, heap::HeapStorage},
    value::Value,
};

/// How long a call waits for the lock that can be made again from the event loop.
pub const LOCK_WAIT: Duration = Duration::from_millis(1);

/// How long a step waits for the lock that nobody makes again: a move to other memory, and the last access of a process
/// that owns slots.
#[cfg(target_os = "linux")]
const FINAL_LOCK_WAIT: Duration = Duration::from_millis(5);

/// Where the entries of a cache lie.
#[derive(Debug)]
pub enum Place {
    /// In this process alone.
    Heap(HeapStorage),
    /// In memory that other processes map.
    #[cfg(target_os = "linux")]
    Shared(Box<Segment<Memfd>>),
}

/// A cache that several hands hold, in this process and, where it is shared, in others.
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
    /// Whether another process had the lock for longer than the last call here would wait.
    is_stuck: AtomicBool,
}

struct Inner {
    cache: Cache<Place>,
    /// The thread that has the lock for several calls, see [`Store::hold`].
    holder: Option<ThreadId>,
    /// Whether the application has the synchronous cache of this store, see [`Store::expose`].
    is_exposed: bool,
}

/// The cache while this thread has the lock. What takes long (JavaScript, JSON) is done after.
pub struct Guard<'a> {
    inner: MutexGuard<'a, Inner>,
    /// `None`: the cache lies on the heap, or this thread has the segment's lock by a [`Hold`].
    #[cfg(target_os = "linux")]
    locked: Option<Locked>,
}

/// The lock of a store for several calls of one thread: see [`Store::hold`]. Given back when it is dropped.
#[must_use = "the lock is given back when the hold is dropped"]
pub struct Hold {
    store: Arc<Store>,
    /// `false`: an earlier hold of the same thread has the lock, and gives it back.
    is_outermost: bool,
    #[cfg(target_os = "linux")]
    inside: Option<HeldLock>,
}

impl Store {
    /// An empty cache in this process, whose JavaScript values lie in the table of `slots`.
    pub fn heap(slots: Slots) -> Self {
        Self::over(Place::Heap(HeapStorage::new(slots)))
    }

    fn over(place: Place) -> Self {
        Self {
            inner: Mutex::new(Inner {
                cache: Cache::new(place),
                holder: None,
                is_exposed: false,
            }),
            is_stuck: AtomicBool::new(false),
        }
    }

    /// Takes the lock. Waits for another process at most as long as `patience` says, give or take a tenth of a
    /// millisecond, and mends what a process left that died with it. Where one call has waited in vain, those after
    /// it (of no more than [`LOCK_WAIT`]) only try, until one has it: a thousand calls do not wait one by one.
    ///
    /// # Errors
    /// `ERR_STORE_BUSY`: try again later, best from the event loop. `ERR_STORE_MOVED`: its entries are elsewhere.
    pub fn lock(&self, patience: Duration) -> Result<Guard<'_>> {
        let stuck = patience <= LOCK_WAIT && self.is_stuck.load(Relaxed);
        let locked = self.try_lock(if stuck { Duration::ZERO } else { patience });
        let busy = matches!(&locked, Err(error) if error.is_busy());
        if busy != stuck {
            self.is_stuck.store(busy, Relaxed);
        }
        locked
    }

    /// Takes the lock for several calls of this thread: until the hold is dropped, its calls take the lock without a
    /// wait, and no other thread or process comes between them. A hold inside a hold of the same thread is part of it.
    ///
    /// # Errors
    /// As [`Store::lock`].
    pub fn hold(self: &Arc<Self>, patience: Duration) -> Result<Hold> {
        let mut guard = self.lock(patience)?;
        let is_outermost = guard.inner.holder.replace(thread::current().id()).is_none();
        Ok(Hold {
            #[cfg(target_os = "linux")]
            inside: guard.locked.take().map(HeldLock::new),
            store: self.clone(),
            is_outermost,
        })
    }

    /// Says that the application has the synchronous cache of this store, and may put functions on it: then a call by
    /// name has to ask this process. Other processes know at once.
    pub fn expose(&self) {
        let mut inner = self.inner.lock();
        inner.is_exposed = true;
        #[cfg(target_os = "linux")]
        if let Place::Shared(segment) = inner.cache.storage() {
            segment.expose();
        }
    }

    /// Whether the application, here or in the primary, has the synchronous cache of this store.
    pub fn is_exposed(&self) -> bool {
        let inner = self.inner.lock();
        match inner.cache.storage() {
            Place::Heap(_) => inner.is_exposed,
            #[cfg(target_os = "linux")]
            Place::Shared(segment) => segment.is_exposed(),
        }
    }

    fn try_lock(&self, patience: Duration) -> Result<Guard<'_>> {
        let inner = self.inner.try_lock();
        let inner = inner.or_else(|| self.inner.try_lock_for(patience));
        #[cfg_attr(not(target_os = "linux"), allow(unused_mut))]
        let mut inner = inner.ok_or_else(Error::busy)?;
        if inner
            .holder
            .is_some_and(|holder| holder != thread::current().id())
        {
            return Err(Error::busy());
        }
        #[cfg(target_os = "linux")]
        {
            let is_held = inner.holder.is_some();
            let Place::Shared(segment) = inner.cache.storage_mut() else {
                return Ok(Guard { inner, locked: None });
            };
            if is_held {
                segment.forget();
                return Ok(Guard { inner, locked: None });
            }
            let (locked, mended) = segment.lock(patience)?;
            let mut guard = Guard {
                inner,
                locked: Some(locked),
            };
            if mended {
                // The one who died may have added an entry and not yet evicted another.
                guard.trim();
            }
            Ok(guard)
        }
        #[cfg(not(target_os = "linux"))]
        Ok(Guard { inner })
    }
}

#[cfg(target_os = "linux")]
impl Store {
    /// A cache that others share.
    pub fn shared(segment: Segment<Memfd>) -> Self {
        Self::over(Place::Shared(Box::new(segment)))
    }

    /// The cache that a ticket leads to.
    ///
    /// # Errors
    /// It is gone, or not to be used from here; or it is another version's.
    pub fn attach(ticket: &Ticket) -> Result<Self> {
        Segment::attach(Memfd::attach(ticket)?, Some(ticket.nonce)).map(Self::shared)
    }

    /// What another process needs to attach it, for as long as this one has it; `None` while it is on the heap.
    pub fn ticket(&self) -> Option<Ticket> {
        self.inner.lock().cache.storage().ticket()
    }

    /// Moves the cache to memory that can be shared, unless it is there already; order, ages and limits stay.
    /// JavaScript values keep the slots they have in `slots`, but for those that `text` says are strings (as
    /// WTF-8).
    ///
    /// # Errors
    /// There is no shared memory on this system, or not enough for the entries. The cache stays where it is.
    pub fn share(&self, slots: &Slots, text: impl FnMut(u32) -> Option<Vec<u8>>) -> Result<Ticket> {
        self.move_to(|| Segment::make(""), slots, text)
    }

    /// As [`Store::share`], to memory that others share already: what is there makes way for entries of the
    /// same keys, and limits that are there stay where this cache has none. A cache that is shared already stays
    /// where it is and takes over the entries from there, but for those whose keys it has; the others leave that
    /// memory then.
    ///
    /// # Errors
    /// As [`Store::attach`] and [`Store::share`]; or that memory is another's, with JavaScript values; or
    /// `ERR_STORE_BUSY`.
    pub fn adopt(
        &self,
        ticket: &Ticket,
        slots: &Slots,
        text: impl FnMut(u32) -> Option<Vec<u8>>,
    ) -> Result<Ticket> {
        let attach = || {
            let theirs = Segment::attach(Memfd::attach(ticket)?, Some(ticket.nonce))?;
            if theirs.has_slot_owner() {
                return Err(Error::held());
            }
            Ok(theirs)
        };
        if self.ticket().is_some_and(|own| own.nonce != ticket.nonce) {
            let absorbed = attach().and_then(|theirs| self.absorb(theirs));
            if absorbed.is_err_and(|error| error.is_busy()) {
                return Err(Error::busy());
            }
            // Else it is gone, or left by all, or not to be had: nothing of it can be.
        }
        self.move_to(attach, slots, text)
    }

    /// Takes over the entries of a segment whose keys are not here, and has everybody leave it.
    fn absorb(&self, theirs: Segment<Memfd>) -> Result<()> {
        let theirs = Self::shared(theirs);
        let mut theirs = theirs.lock(FINAL_LOCK_WAIT)?;
        let mut here = self.lock(FINAL_LOCK_WAIT)?;
        let mut new = KeyList::default();
        let listed = theirs.visit_keys(|key| match here.storage().stamp(key)? {
            Some(_) => Ok(()),
            None => new.push(key),
        });
        let new: Vec<_> = new.iter().collect();
        // Those that come first in the order of age, as many as there is memory for.
        let _ = listed.and_then(|()| {
            new.iter().rev().try_for_each(|key| {
                if let Some((value, stamp)) = theirs.storage_mut().touch(key)? {
                    here.storage_mut().put(key, value, stamp)?;
                }
                Ok(())
            })
        });
        here.trim();
        if let Place::Shared(segment) = theirs.storage_mut() {
            segment.move_out();
        }
        Ok(())
    }

    fn move_to(
        &self,
        open: impl FnOnce() -> Result<Segment<Memfd>>,
        slots: &Slots,
        mut text: impl FnMut(u32) -> Option<Vec<u8>>,
    ) -> Result<Ticket> {
        if self.ticket().is_some() {
            // Whoever has the lock mends a damaged head: with that nobody could attach.
            drop(self.lock(LOCK_WAIT)?);
        }
        let mut inner = self.inner.lock();
        let heap = match inner.cache.storage_mut() {
            Place::Heap(heap) => heap,
            Place::Shared(segment) => return Ok(segment.memory().ticket(segment.nonce())),
        };
        let store = Self::shared(open()?);
        let mut texts = vec![];
        let moved = store.lock(FINAL_LOCK_WAIT).and_then(|mut there| {
            if let Place::Shared(segment) = there.storage_mut() {
                // From here on there may be slots in it: nobody else can ever hold it.
                segment.own_slots(slots.clone());
            }
            let limits = heap.limits().or(there.limits());
            there.storage_mut().set_limits(limits);
            for Entry { key, value, stamp } in heap.oldest_first() {
                let string = match value {
                    Value::Slot(slot) => text(slot).inspect(|_| texts.push(slot)),
                    _ => None,
                };
                let value = string.as_deref().map_or(value, Value::String);
                if let Err(error) = there.storage_mut().put(key, value, stamp) {
                    if let Place::Shared(segment) = there.storage_mut() {
                        // The values are the heap's again, and the memory can be taken over later.
                        segment.disown_slots();
                    }
                    return Err(error);
                }
            }
            there.trim();
            Ok(())
        });
        let nowhere = Place::Heap(HeapStorage::new(Slots::default()));
        let there = std::mem::replace(&mut store.inner.lock().cache, Cache::new(nowhere));
        moved?;
        // The slots have moved, but for those of strings.
        heap.abandon_slots();
        texts.into_iter().for_each(|slot| slots.free(slot));
        if let (true, Place::Shared(segment)) = (inner.is_exposed, there.storage()) {
            segment.expose();
        }
        inner.cache = there;
        inner.cache.storage().ticket().ok_or_else(Error::busy)
    }

    /// Whether slots wait to be let go that another process has removed. Waits for no other process.
    pub fn has_released(&self) -> bool {
        match self.inner.lock().cache.storage() {
            Place::Heap(_) => false,
            Place::Shared(segment) => segment.has_released(),
        }
    }
}

impl Guard<'_> {
    /// Whether other processes share it.
    pub fn is_shared(&self) -> bool {
        !matches!(self.storage(), Place::Heap(_))
    }

    /// Says whether a command can read here what it reads.
    ///
    /// # Errors
    /// `ERR_STORE_ELSEWHERE`: a value is a JavaScript value of another process, which must be asked.
    pub fn check(&self, reads: Reads<'_>) -> Result<()> {
        match reads {
            Reads::Nothing => Ok(()),
            Reads::One(key) => self.readable(Some(key)),
            Reads::Any => self.readable(None),
            Reads::These(_) if self.readable(None).is_ok() => Ok(()),
            Reads::These(keys) => keys.iter().try_for_each(|key| self.readable(Some(key))),
        }
    }

    /// Says whether the value of an entry (of any entry, without a key) can be read here.
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
        if let (Some(locked), Place::Shared(segment)) = (self.locked.take(), self.inner.cache.storage_mut()) {
            segment.unlock(locked);
        }
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
        if !holds(self.inner.get_mut().cache.storage()) {
            return;
        }
        let farewell = self.lock(FINAL_LOCK_WAIT).map(|mut guard| {
            if let Place::Shared(segment) = guard.storage_mut() {
                segment.withdraw_slots();
            }
        });
        if let (Err(_), Place::Shared(segment)) = (farewell, self.inner.get_mut().cache.storage_mut()) {
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
    #[cfg(target_os = "linux")]
    fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Heap(_) => None,
            Self::Shared(segment) => Some(segment.memory().ticket(segment.nonce())),
        }
    }

    /// Whether a scheduled prune is to be done here, as `due` says of the last one there was (in milliseconds
    /// since the epoch). From then on this is the last one.
    pub fn take_tick(&mut self, now: f64, due: impl FnOnce(f64) -> bool) -> bool {
        match self {
            // Nobody else runs the schedule of this cache.
            Self::Heap(_) => true,
            #[cfg(target_os = "linux")]
            Self::Shared(segment) => segment.take_tick(now, due),
        }
    }
}

/// Makes a call on whichever storage it is.
macro_rules! on {
    ($place:expr, $storage:ident => $call:expr) => {
        match $place {
            Place::Heap($storage) => $call,
            #[cfg(target_os = "linux")]
            Place::Shared($storage) => $call,
        }
    };
}

impl Storage for Place {
    fn limits(&self) -> Limits {
        on!(self, storage => storage.limits())
    }

    fn set_limits(&mut self, limits: Limits) {
        on!(self, storage => storage.set_limits(limits))
    }

    fn len(&self) -> usize {
        on!(self, storage => storage.len())
    }

    fn size(&self) -> f64 {
        on!(self, storage => storage.size())
    }

    fn entry_size(&self, key: &[u8], value: Value<'_>) -> f64 {
        on!(self, storage => storage.entry_size(key, value))
    }

    fn touch(&mut self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        on!(self, storage => storage.touch(key))
    }

    fn peek(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        on!(self, storage => storage.peek(key))
    }

    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>> {
        on!(self, storage => storage.stamp(key))
    }

    fn least_recent(&self) -> Result<Option<Entry<'_>>> {
        on!(self, storage => storage.least_recent())
    }

    fn put(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp) -> Result<bool> {
        on!(self, storage => storage.put(key, value, stamp))
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

    fn visit_keys(&self, visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        on!(self, storage => storage.visit_keys(visit))
    }

    fn retain_stamps(&mut self, keep: impl FnMut(Stamp) -> bool) {
        on!(self, storage => storage.retain_stamps(keep))
    }
}
