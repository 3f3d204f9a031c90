//! A cache in shared memory, as one process sees it.

use rustix::rand::{GetRandomFlags, getrandom};
use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    thread,
    time::Duration,
};

use super::{
    Geometry, Segment,
    lock::Refused,
    mapping::{Mapping, Ticket},
    segment::Identity,
};
use crate::{
    cache::Cache,
    error::{Error, ErrorClass, Result},
    slots::Slots,
};

/// The least that is worth reserving, in bytes.
const LEAST: usize = 64 << 20;

/// How long the last lock of a process that holds slots may take.
const FAREWELL: Duration = Duration::from_millis(5);

/// A cache that other processes share.
///
/// ```
/// use lru_cache_for_clusters::{storage::shared::door::Door, value::Value};
/// use std::time::Duration;
///
/// # fn main() -> lru_cache_for_clusters::error::Result<()> {
/// let mut door = Door::create(1 << 30)?;
/// door.lock(Duration::from_millis(1)).unwrap().set(b"key", Value::Null, None, 0.0)?;
/// // In another process:
/// let mut other = Door::attach(&door.ticket())?;
/// assert!(other.lock(Duration::from_millis(1)).unwrap().has(b"key", 0.0));
/// # Ok(())
/// # }
/// ```
pub struct Door {
    cache: Cache<Segment<Mapping>>,
    holds_slots: bool,
}

/// The cache while this thread has the lock. What takes long (JavaScript, JSON) is done after.
pub struct Guard<'a> {
    door: &'a mut Door,
    /// The segment was whole when the lock was taken, or is now.
    whole: bool,
    /// Not `Send`: a mutex is given back by the thread that took it.
    thread: PhantomData<*mut ()>,
}

impl Door {
    /// Makes an empty cache with room for `bytes` of values, or less where the system will not reserve as
    /// much; at most 128 GiB. It takes no memory before there are entries.
    ///
    /// # Errors
    /// There is no shared memory on this system.
    pub fn create(bytes: usize) -> Result<Self> {
        let mut bytes = bytes.max(LEAST);
        let (geometry, mapping) = loop {
            let geometry = Geometry::for_bytes(bytes);
            match Mapping::create(geometry.reserved()) {
                Ok(mapping) => break (geometry, mapping),
                Err(error) if bytes == LEAST => return Err(error),
                Err(_) => bytes = (bytes / 4).max(LEAST),
            }
        };
        let segment = Segment::create(mapping, geometry, identity()?)?;
        // SAFETY: nobody has a ticket yet, so nobody uses it; it stays mapped as long as the segment lives.
        unsafe { segment.header().lock.init() }.map_err(|_| broken())?;
        segment.publish();
        Ok(Self {
            cache: Cache::new(segment),
            holds_slots: false,
        })
    }

    /// The cache that a ticket leads to.
    ///
    /// # Errors
    /// It is gone, or not to be used from here; or it is another version's.
    pub fn attach(ticket: &Ticket) -> Result<Self> {
        let segment = Segment::attach(Mapping::attach(ticket)?, ticket.nonce)?;
        Ok(Self {
            cache: Cache::new(segment),
            holds_slots: false,
        })
    }

    /// Makes this process the one whose values the slots are.
    pub fn with_slots(mut self, slots: Slots) -> Self {
        self.cache.storage_mut().hold(slots);
        self.holds_slots = true;
        self
    }

    /// What another process needs to attach it, for as long as this one has it.
    pub fn ticket(&self) -> Ticket {
        let segment = self.cache.storage();
        segment.memory().ticket(segment.nonce())
    }

    /// Takes the lock, waits for it at most as long as `patience` says (give or take a tenth of a
    /// millisecond), and mends what a process left that died with it.
    ///
    /// # Errors
    /// [`Refused::Busy`]: try again later, best from the event loop. [`Refused::Broken`]: leave it.
    pub fn lock(&mut self, patience: Duration) -> std::result::Result<Guard<'_>, Refused> {
        // SAFETY: made before anybody had a ticket, mapped as long as `self` lives.
        unsafe { self.cache.storage().header().lock.lock(patience)? };
        let mut guard = Guard {
            door: self,
            whole: false,
            thread: PhantomData,
        };
        let mended = guard.storage_mut().begin().map_err(|_| Refused::Broken)?;
        guard.whole = true;
        if mended {
            // The one who died may have added an entry and not yet evicted another.
            let max = guard.limits().max;
            guard.set_max(max);
        }
        Ok(guard)
    }

    #[cfg(test)]
    pub(super) fn lock_bytes(&self) -> *mut [u8; 64] {
        self.cache.storage().header().lock.0.get().cast()
    }

    /// The bytes of memory behind it, by the kernel's count.
    pub fn committed(&self) -> u64 {
        self.cache.storage().memory().committed()
    }
}

impl Deref for Guard<'_> {
    type Target = Cache<Segment<Mapping>>;

    fn deref(&self) -> &Self::Target {
        &self.door.cache
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.door.cache
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // A call that panicked may have left anything: that is mended by whoever is next.
        if self.whole && !thread::panicking() {
            self.storage_mut().end();
        }
        // SAFETY: a guard is made by the thread that took the lock, and cannot leave it, as it is not `Send`.
        unsafe { self.storage().header().lock.unlock() };
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if !self.holds_slots {
            return;
        }
        if let Ok(mut guard) = self.lock(FAREWELL) {
            guard.storage_mut().withdraw();
        }
        self.cache.storage_mut().abandon();
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Door").field(self.cache.storage()).finish()
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.door).finish()
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy => Self {
                class: ErrorClass::Error,
                code: "ERR_STORE_BUSY",
                message: "another process holds the lock of the shared store".into(),
            },
            Refused::Broken => broken(),
        }
    }
}

fn broken() -> Error {
    Error {
        class: ErrorClass::Error,
        code: "ERR_STORE_DAMAGED",
        message: "the lock of the shared store does not work".into(),
    }
}

fn identity() -> Result<Identity> {
    let mut bytes = [0u8; 24];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(24) => {}
        _ => return Err(broken()),
    }
    let number = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 of 24 bytes"));
    Ok(Identity {
        seed: number(0),
        nonce: [number(8), number(16)],
    })
}
