//! The lock of a segment: a word that names the thread and the process that have the lock; 0 where nobody has it.
//!
//! It is not a mutex of libc: a robust mutex keeps addresses of its process in the shared memory, and libc would follow
//! them after damage. So the kernel tells nobody when the owner dies. Instead a waiter looks for the owner among the
//! processes of the system. Where the owner is gone, because it died or because the word is damaged, the waiter takes
//! the lock over.
//!
//! A call has the lock for about a microsecond, but the owner may be stopped for hours. A waiter spins for a moment, then
//! yields, then sleeps in short steps, and gives up after the time that its caller allows.

use procfs::process::Process;
use std::{
    cell::Cell,
    hint, io,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed},
    thread,
    time::{Duration, Instant},
};

#[cfg(test)]
use super::atomics::watched;
use super::layout::LockPlace;

const SPINS: u32 = 100;
/// Tries after which it no longer yields but sleeps.
const YIELDS: u32 = SPINS + 20;
/// How long a waiter sleeps at a time.
pub(crate) const SLEEP: Duration = Duration::from_micros(50);
/// After this time whoever waits looks again whether the owner is there. A look takes some 10 µs.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Why the lock could not be had: another process or thread has it, for longer than the caller would wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

thread_local! {
    /// How many locks this thread has for several calls, see `access::HeldLock`.
    pub(super) static HELD: Cell<u32> = const { Cell::new(0) };
}

/// A thread, as the lock has it: its number, and above that when it started (the numbers come again), in ticks
/// since the system did; 0 where nobody can tell. The start is read from `/proc`, which takes a file: a thread
/// that could not read it tries again when it takes a lock.
pub(crate) fn this_thread() -> u64 {
    #[cfg(test)]
    if let Some(model) = watched::model() {
        return model.this_thread();
    }
    thread_local! {
        static OWNER: Cell<u64> = const { Cell::new(0) };
    }
    let number = || rustix::thread::gettid().as_raw_nonzero().get();
    // Without its storage a thread is about to end: it has the number, and can look for itself no more.
    OWNER
        .try_with(|owner| {
            if owner.get() >> 32 == 0 {
                owner.set(thread_of(number() as u32));
            }
            owner.get()
        })
        .unwrap_or_else(|_| u64::from(number() as u32))
}

/// The thread of this number, as the lock has it. The number of a process is that of its first thread.
pub(crate) fn thread_of(number: u32) -> u64 {
    let stat = Process::new(number as i32).and_then(|found| found.stat());
    let start = stat.map_or(0, |stat| stat.starttime as u32);
    u64::from(start) << 32 | u64::from(number)
}

/// Whether the lock's owner is the thread `own`. It may have taken the lock before it knew when it started.
fn is_same(owner: u64, own: u64) -> bool {
    owner == own || (owner >> 32 == 0 && owner == u64::from(own as u32))
}

/// Whether there is such a thread, or may be: one that cannot be looked at is there.
pub(crate) fn is_alive(owner: u64) -> bool {
    #[cfg(test)]
    if let Some(model) = watched::model() {
        return model.is_alive(owner);
    }
    let (thread, start) = (owner as u32 as i32, (owner >> 32) as u32);
    if thread <= 0 {
        return false;
    }
    // SAFETY: signal 0 is sent to nobody; it only asks whether there is such a thread.
    let found = unsafe { libc::syscall(libc::SYS_tkill, thread, 0) } == 0;
    if !found {
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::ESRCH) => return false,
            // There is one, of another user: the owner, if that changed its user after it had attached, or else one
            // that has its number. When it started tells which. An owner that does not say when could open no file;
            // that it changed its user, too, is not assumed: nobody would ever take the lock from the other.
            Some(libc::EPERM) if start == 0 => return false,
            _ => {}
        }
    }
    let gone = Process::new(thread)
        .and_then(|found| found.stat())
        .is_ok_and(|stat| {
            let is_another = start != 0 && start != stat.starttime as u32;
            is_another || matches!(stat.state, 'Z' | 'X' | 'x')
        });
    !gone
}

impl LockPlace {
    /// Takes the lock. Whether its last owner died in the middle of a change, the segment's record of intent says.
    ///
    /// # Errors
    /// See [`Busy`].
    pub(super) fn lock(&self, patience: Duration) -> Result<(), Busy> {
        let own = this_thread();
        if self.waiting.load(Relaxed) != 0 && self.last.load(Relaxed) == own && !patience.is_zero() {
            // This thread had the lock last, and another one sleeps. Without this pause, this thread would take the lock again before
            // the other wakes, each time.
            self.waiting.store(0, Relaxed);
            thread::sleep(SLEEP);
        }
        let mut since = None;
        let mut tries = 0;
        let mut looked_at: Option<Instant> = None;
        loop {
            let owner = match self.owner.compare_exchange(0, own, Acquire, Relaxed) {
                Ok(_) => return Ok(()),
                Err(owner) => owner,
            };
            tries += 1;
            if tries < SPINS {
                hint::spin_loop();
                continue;
            }
            // To yield is to wait, for as long as the others of this processor may run.
            let mut elapsed =
                || patience.is_zero() || since.get_or_insert_with(Instant::now).elapsed() >= patience;
            let (sleeps, over) = (tries >= YIELDS, elapsed());
            let look = || looked_at.is_none_or(|at| at.elapsed() >= LOOK_AGAIN);
            if over || (sleeps && look()) {
                looked_at = Some(Instant::now());
                // A thread that has no lock for several calls is never inside twice: it has left without giving the
                // lock back, by a panic.
                let gone = if is_same(owner, own) {
                    HELD.get() == 0
                } else {
                    !is_alive(owner)
                };
                if gone && self.owner.compare_exchange(owner, own, Acquire, Relaxed).is_ok() {
                    return Ok(());
                }
            }
            if over {
                return Err(Busy);
            }
            if sleeps {
                self.waiting.store(1, Relaxed);
                thread::sleep(SLEEP);
            } else {
                thread::yield_now();
            }
        }
    }

    /// Whether somebody slept who wants it, since it was taken the last time by somebody who waited.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Relaxed) != 0
    }

    /// Gives the lock back. Only whoever has it may. Returns `false` where damage has made it another's: then
    /// both may have been inside.
    pub(super) fn unlock(&self) -> bool {
        let own = this_thread();
        self.last.store(own, Relaxed);
        let is_own = is_same(self.owner.load(Relaxed), own);
        if is_own {
            // A swap: what was changed is visible to every process before the call returns. A plain store would leave it in
            // the store buffer of this processor, and a process that reads without the lock would still find the old value.
            self.owner.swap(0, AcqRel);
        }
        is_own
    }
}

#[cfg(test)]
#[path = "tests/lock.rs"]
mod tests;
