//! The way into a segment that other processes map: made, entered, mended where need be, left.

use rustix::rand::{GetRandomFlags, getrandom};
use std::{
    marker::PhantomData,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use super::{
    Geometry, Segment,
    lock::{Busy, HELD},
    mapping::Mapping,
    segment::Identity,
};
use crate::error::{Error, ErrorClass, Result};

/// The least that is worth reserving, in bytes.
const LEAST: usize = 64 << 20;

/// Addresses that all segments of a process may take, in bytes: a part of what it has. Addresses are no memory, but
/// Node needs them, too.
const BUDGET: usize = if cfg!(target_arch = "x86_64") {
    32 << 40
} else {
    128 << 30
};

/// Addresses that the segments made by this process have taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// What a segment reserves for values, in bytes: as much as the machine has memory, since it will not have more; less
/// where a process has very many.
fn reserved() -> usize {
    let memory = rustix::system::sysinfo();
    let memory = (memory.totalram as usize).saturating_mul(memory.mem_unit as usize);
    let left = BUDGET.saturating_sub(TAKEN.load(Relaxed));
    memory.min(left / 32).max(LEAST)
}

/// Says that this thread has the lock of a segment. Not `Send`: it is given back by the thread that took it.
#[derive(Debug)]
#[must_use = "a lock that is never given back stops every process"]
pub struct Entered(PhantomData<*mut ()>);

/// The lock of a segment that this thread has for several calls. While there is one, another attachment of the same
/// segment in this thread finds the lock taken, as any other process does.
#[derive(Debug)]
pub struct Inside(Entered);

impl Inside {
    /// Keeps the lock.
    pub fn new(entered: Entered) -> Self {
        HELD.set(HELD.get() + 1);
        Self(entered)
    }

    /// Ends the hold; the lock is still to be given back.
    pub fn end(self) -> Entered {
        HELD.set(HELD.get().saturating_sub(1));
        self.0
    }
}

impl Segment<Mapping> {
    /// Makes an empty segment with room for as many bytes of values as the machine has memory, or less where the
    /// system will not reserve as much or this process has very many. It takes no memory before there are entries.
    /// By `name` processes find it that have no ticket.
    ///
    /// # Errors
    /// There is no shared memory on this system.
    pub fn make(name: &str) -> Result<Self> {
        Self::with_room(reserved(), name)
    }

    /// As [`Segment::make`], with room for `bytes`.
    pub(super) fn with_room(bytes: usize, name: &str) -> Result<Self> {
        let mut bytes = bytes.max(LEAST);
        let (geometry, mapping) = loop {
            let geometry = Geometry::for_bytes(bytes);
            match Mapping::create(geometry.reserved(), name) {
                Ok(mapping) => {
                    TAKEN.fetch_add(geometry.reserved(), Relaxed);
                    break (geometry, mapping);
                }
                Err(error) if bytes == LEAST => return Err(error),
                Err(_) => bytes = (bytes / 4).max(LEAST),
            }
        };
        let mut segment = Self::create(mapping, geometry, identity()?)?;
        segment.publish();
        Ok(segment)
    }

    /// Takes the lock, waits for it at most as long as `patience` says (give or take a tenth of a
    /// millisecond), and mends what a process left that died with it. Returns whether it had to.
    ///
    /// # Errors
    /// `ERR_STORE_BUSY`: try again later. `ERR_OUT_OF_MEMORY`: there is none to mend it. `ERR_STORE_MOVED`:
    /// its entries are in another segment.
    pub(crate) fn enter(&mut self, patience: Duration) -> Result<(Entered, bool)> {
        self.header().lock.lock(patience)?;
        match self.begin() {
            Ok(mended) => Ok((Entered(PhantomData), mended)),
            Err(error) => {
                self.give_back();
                Err(error)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn lock_bytes(&self) -> *mut [u8; 64] {
        (&raw const self.header().lock).cast_mut().cast()
    }

    /// Gives the lock back.
    pub(crate) fn leave(&mut self, _: Entered) {
        // A call that panicked may have left anything: that is mended by whoever is next.
        if !thread::panicking() {
            self.end();
        }
        // `Entered` is made by the thread that took the lock, and cannot leave it.
        self.give_back();
    }

    fn give_back(&self) {
        if !self.header().lock.unlock() {
            self.header().damaged.set(1);
        }
    }
}

impl From<Busy> for Error {
    fn from(_: Busy) -> Self {
        Self::busy()
    }
}

fn identity() -> Result<Identity> {
    let mut bytes = [0u8; 24];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(24) => {}
        _ => {
            return Err(Error {
                class: ErrorClass::Error,
                code: "ERR_STORE_MEMORY",
                message: "no random numbers for a shared store".into(),
            });
        }
    }
    let number = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 of 24 bytes"));
    Ok(Identity {
        seed: number(0),
        nonce: [number(8), number(16)],
    })
}
