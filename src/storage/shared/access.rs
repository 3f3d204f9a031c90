//! Access to a segment that several processes map: makes the segment, takes its lock, has damage mended, gives the lock
//! back.

use rustix::rand::{GetRandomFlags, getrandom};
use std::{marker::PhantomData, mem::offset_of, ptr::NonNull, sync::Arc, thread, time::Duration};

use super::{
    Geometry, Segment,
    control::version_of_now,
    layout::{CONTROL_BYTES, Header, LeaseHead, PLACES_BYTES, RING_BYTES, RingHead, VERSIONS_PER_PIECE},
    lock::{Busy, HELD, is_alive, this_thread},
    memfd::{Memfd, Window, mapped},
    segment::SegmentId,
    sleeper,
};
use crate::{
    error::{Code, Error, ErrorClass, Result},
    storage::Mapped,
};

/// The least that is worth reserving, in bytes.
const LEAST: usize = 64 << 20;

/// Addresses that all segments of a process may take, in bytes: three quarters of what it has. Addresses are no memory,
/// but Node needs them, too.
fn budget() -> usize {
    // The first stack of a process lies at the end of its addresses, which have as many bits as these: 47 on x86-64,
    // 39 or 48 on arm64.
    // SAFETY: reads a word that the kernel has left to the process; 0 where it has not.
    let first_stack = unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
    let this_stack = (&raw const first_stack).addr();
    let end = usize::MAX >> first_stack.max(this_stack).leading_zeros();
    end / 4 * 3
}

/// What a segment reserves for entries, in bytes, by the machine's memory, the addresses a process may take, and those
/// that its `count` mappings have taken: as much as the machine has memory, since it will not have more; less where
/// addresses are short. The first takes a 32nd of those left, each one after it a smaller part: after `n` there is
/// still about the fourth root of `8 / n` of all.
fn share(memory: usize, budget: usize, count: usize, taken: usize) -> usize {
    let addresses = budget.saturating_sub(taken) / count.saturating_mul(4).saturating_add(32);
    // Rows and index take half as much again.
    memory.min(addresses / 3 * 2).max(LEAST)
}

/// What the next segment reserves for entries, in bytes.
fn reserved() -> usize {
    let memory = rustix::system::sysinfo();
    let memory = (memory.totalram as usize).saturating_mul(memory.mem_unit as usize);
    let (count, taken) = mapped();
    share(memory, budget(), count, taken)
}

/// The proof that this thread has the lock of a segment. It is not `Send`: the thread that took the lock gives it back.
#[derive(Debug)]
#[must_use = "a lock that is never given back stops every process"]
pub struct Locked(PhantomData<*mut ()>);

/// The lock of a segment that this thread has for several calls. While there is one, another attachment of the same
/// segment in this thread finds the lock taken, as any other process does.
#[derive(Debug)]
pub struct HeldLock(Locked);

impl HeldLock {
    /// Keeps the lock.
    pub fn new(locked: Locked) -> Self {
        HELD.set(HELD.get() + 1);
        Self(locked)
    }

    /// Ends the hold; the lock is still to be given back.
    pub fn end(self) -> Locked {
        HELD.set(HELD.get().saturating_sub(1));
        self.0
    }
}

/// The ring of a thread. Dropped, it can be another's.
#[derive(Debug)]
pub struct RingWindow {
    window: Window,
    owner: u64,
}

impl Mapped for Arc<RingWindow> {
    fn base(&self) -> NonNull<u8> {
        self.window.base()
    }

    fn bytes(&self) -> usize {
        self.window.bytes()
    }
}

impl Drop for RingWindow {
    fn drop(&mut self) {
        // SAFETY: `Segment::claim_ring` made the window of a ring, and it is mapped until the window goes; all atomics.
        let ring = unsafe { self.window.base().cast::<RingHead>().as_ref() };
        ring.give_back(self.owner);
    }
}

impl Segment<Memfd> {
    /// Makes an empty segment with room for as many bytes of entries as the machine has memory, or less where the
    /// system will not reserve as much or this process has very many. It takes no memory before there are entries.
    /// By `name` processes find it that have no ticket.
    ///
    /// # Errors
    /// There is no shared memory on this system.
    pub fn make(name: &str) -> Result<Self> {
        Self::with_capacity(reserved(), name)
    }

    /// As [`Segment::make`], with room for `bytes`.
    pub(super) fn with_capacity(bytes: usize, name: &str) -> Result<Self> {
        let mut bytes = bytes.max(LEAST);
        let (geometry, memfd) = loop {
            let geometry = Geometry::for_bytes(bytes);
            match Memfd::create(geometry.reserved(), name) {
                Ok(memfd) => break (geometry, memfd),
                Err(error) if bytes == LEAST => return Err(error),
                Err(_) => bytes = (bytes / 4).max(LEAST),
            }
        };
        let mut segment = Self::create(memfd, geometry, identity()?)?;
        segment.header().last_version.set(version_of_now());
        segment.publish();
        Ok(segment)
    }

    /// Takes the lock, waits for it at most as long as `patience` says (give or take a tenth of a
    /// millisecond), and mends what a process left that died with it. Returns whether it had to.
    ///
    /// # Errors
    /// `ERR_STORE_BUSY`: try again later. `ERR_OUT_OF_MEMORY`: there is none to mend it. `ERR_STORE_MOVED`:
    /// its entries are in another segment. `ERR_STORE_GONE`: the namespace was destroyed.
    pub(crate) fn lock(&mut self, patience: Duration) -> Result<(Locked, bool)> {
        self.lock_as(Self::begin, patience)
    }

    /// As [`Segment::lock`], to open a namespace that may have been destroyed.
    ///
    /// # Errors
    /// As [`Segment::lock`], but for `ERR_STORE_GONE`.
    pub(crate) fn lock_to_open(&mut self, patience: Duration) -> Result<(Locked, bool)> {
        self.lock_as(Self::begin_to_open, patience)
    }

    fn lock_as(
        &mut self,
        begin: fn(&mut Self) -> Result<bool>,
        patience: Duration,
    ) -> Result<(Locked, bool)> {
        self.header().lock.lock(patience)?;
        match begin(self) {
            Ok(mended) => Ok((Locked(PhantomData), mended)),
            Err(error) => {
                self.give_back();
                Err(error)
            }
        }
    }

    /// What JavaScript reads without the lock: gate, epoch and the count of uses, see `Control`.
    pub fn control_window(&self) -> Option<Window> {
        let at = offset_of!(Header, control);
        self.memory().window(at..at + CONTROL_BYTES)
    }

    /// The versions of `VERSIONS_PER_PIECE` rows, or of fewer in the last piece; `None` beyond it.
    pub fn versions_window(&self, piece: u32) -> Option<Window> {
        let geometry = self.edit.geometry;
        let from = piece.checked_mul(VERSIONS_PER_PIECE)?;
        let to = from.checked_add(VERSIONS_PER_PIECE)?.min(geometry.rows_max);
        let at = |row: u32| geometry.versions_at + row as usize * size_of::<f64>();
        self.memory().window(at(from)..at(to))
    }

    /// Claims a ring for this thread, unless this attachment has one. Returns whether it has one now: if not, every read has
    /// to take the lock. Under the lock, as any call.
    pub fn claim_ring(&self) -> bool {
        let owner = this_thread();
        if self.ring().is_none()
            && let Ok(Some(ring)) = self.edit.claim_ring(owner, is_alive)
        {
            let at = self.edit.ring_starts(ring);
            if let Some(window) = self.memory().window(at..at + RING_BYTES) {
                self.set_ring(ring, Arc::new(RingWindow { window, owner }));
            }
        }
        self.ring().is_some()
    }

    /// The number of processes that have a ring. Each whose JavaScript has made a call has one, up to `RINGS`; the command of
    /// this package has none.
    pub fn processes(&self) -> usize {
        let mut found = vec![];
        for (owner, process) in self.edit.ring_owners() {
            // A look at a thread takes some 10 µs.
            if !found.contains(&process) && is_alive(owner) {
                found.push(process);
            }
        }
        found.len()
    }

    /// The ring that [`Segment::claim_ring`] has claimed, for JavaScript to write, too. It is this thread's until both the
    /// result and the segment are gone.
    pub fn ring_window(&self) -> Option<Arc<RingWindow>> {
        let (_, keeper) = self.ring()?;
        keeper.clone().downcast().ok()
    }

    /// What a thread reads that sleeps until leases end: their head, and their places.
    pub(crate) fn lease_windows(&self) -> Option<[Window; 2]> {
        let (head, places) = (offset_of!(Header, leases), self.edit.geometry.leases_at);
        let memory = self.memory();
        Some([
            memory.window(head..head + size_of::<LeaseHead>())?,
            memory.window(places..places + PLACES_BYTES)?,
        ])
    }

    #[cfg(test)]
    pub(super) fn lock_bytes(&self) -> *mut [u8; 64] {
        (&raw const self.header().lock).cast_mut().cast()
    }

    /// Whether somebody waits for the lock, or did a short time ago.
    pub(crate) fn is_awaited(&self) -> bool {
        self.header().lock.is_awaited()
    }

    /// Gives the lock back.
    pub(crate) fn unlock(&mut self, _: Locked) {
        // A call that panicked may have left anything: that is mended by whoever is next.
        if !thread::panicking() {
            self.end();
        }
        // `Locked` is made by the thread that took the lock, and cannot leave it.
        self.give_back();
        if self.wakes.take() {
            sleeper::wake(&self.header().leases.wake);
        }
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

fn identity() -> Result<SegmentId> {
    let mut bytes = [0u8; 24];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(24) => {}
        _ => {
            return Err(Error::new(
                ErrorClass::Error,
                Code::NoSharedMemory,
                "no random numbers for a shared store",
            ));
        }
    }
    let number = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 of 24 bytes"));
    Ok(SegmentId {
        seed: number(0),
        nonce: [number(8), number(16)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of entries for which each of `count` segments reserves addresses.
    fn shares(memory: usize, budget: usize, count: usize) -> Vec<usize> {
        let mut taken = 0;
        let shares = (0..count).map(|at| {
            let bytes = share(memory, budget, at, taken);
            taken += Geometry::for_bytes(bytes).reserved();
            bytes
        });
        let shares = shares.collect();
        assert!(taken <= budget, "{taken} of {budget}");
        shares
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn each_of_10_000_namespaces_reserves_enough() {
        // 47 bits of addresses.
        for (memory, least) in [
            (4 << 30, 900 << 20),
            (24 << 30, 500 << 20),
            (128 << 30, 300 << 20),
        ] {
            let shares = shares(memory, 96 << 40, 10_000);
            println!("{memory}: {}, {}, {}", shares[0], shares[999], shares[9_999]);
            assert!(shares.is_sorted_by(|a, b| a >= b));
            assert!(shares[0] == memory && shares[9_999] >= least);
        }
        // 39 bits.
        let shares = shares(8 << 30, 384 << 30, 500);
        println!("{} {} {}", shares[0], shares[99], shares[499]);
        assert!(shares[0] > 7 << 30 && shares[63] > 400 << 20 && shares[499] >= 64 << 20);
    }

    #[test]
    fn what_is_reserved_has_room_for_entries_of_any_size() {
        for bytes in [LEAST, 100_000_007, 8 << 30] {
            let geometry = Geometry::for_bytes(bytes);
            let least_entry = 2 * 64 + 4;
            assert!(geometry.rows_max as usize > bytes / least_entry);
            assert!(geometry.blocks_max as usize > bytes / 64);
            assert!(geometry.reserved() < bytes / 64 * 103 + (20 << 20));
        }
    }
}
