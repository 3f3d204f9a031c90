//! The lock of a segment: a robust mutex that all its processes share. When its owner dies, the kernel passes
//! it on.
//!
//! It is only ever tried, never waited for inside libc: a wait there takes a time of the wall clock, which may
//! jump, and its owner may be stopped for hours. What is done under it takes a microsecond or so; whoever
//! finds it taken spins for a moment, then yields, then sleeps in short steps, and gives up when its patience
//! ends.

use std::{
    cell::UnsafeCell,
    hint, io, mem,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use super::layout::LockPlace;

const SPINS: u32 = 100;
/// Tries after which it no longer yields but sleeps.
const YIELDS: u32 = SPINS + 20;
const SLEEP: Duration = Duration::from_micros(50);

const _: () = assert!(
    size_of::<libc::pthread_mutex_t>() <= size_of::<LockPlace>()
        && align_of::<libc::pthread_mutex_t>() <= align_of::<LockPlace>()
);

/// Why the lock could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another process or thread has it, for longer than the caller would wait.
    Busy,
    /// It is no working mutex (any more).
    Broken,
}

fn ok(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

impl LockPlace {
    fn mutex(&self) -> *mut libc::pthread_mutex_t {
        self.0.get().cast()
    }

    /// Makes the mutex.
    ///
    /// # Errors
    /// The system has no such mutexes.
    ///
    /// # Safety
    /// Nobody uses the place yet, and it stays where it is until nobody does any more.
    pub(super) unsafe fn init(&self) -> io::Result<()> {
        let mut attributes = mem::MaybeUninit::uninit();
        // SAFETY: attributes are made, used and destroyed here, in this order; the place is large enough for a
        // mutex and aligned for it (asserted above), and fresh (the caller's promise).
        unsafe {
            ok(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
            let made = ok(libc::pthread_mutexattr_setpshared(
                attributes.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            ))
            .and_then(|()| {
                ok(libc::pthread_mutexattr_setrobust(
                    attributes.as_mut_ptr(),
                    libc::PTHREAD_MUTEX_ROBUST,
                ))
            })
            .and_then(|()| ok(libc::pthread_mutex_init(self.mutex(), attributes.as_ptr())));
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
            made
        }
    }

    /// Whether this is a mutex of the kind that is made here. The words that are not 0 in a fresh one say what
    /// it is and never change; libc would follow any other kind without a doubt.
    ///
    /// # Safety
    /// As for [`LockPlace::lock`].
    unsafe fn is_sound(&self) -> bool {
        static FRESH: OnceLock<[u64; 8]> = OnceLock::new();
        let fresh = FRESH.get_or_init(|| {
            let fresh = LockPlace(UnsafeCell::new([0; 8]));
            // SAFETY: nobody else has it. It is never locked, so it can be forgotten.
            match unsafe { fresh.init() } {
                Ok(()) => fresh.0.into_inner(),
                Err(_) => [0; 8],
            }
        });
        let half = |word: u64, high: bool| {
            if high {
                word >> 32
            } else {
                word & u64::from(u32::MAX)
            }
        };
        let any = fresh.iter().any(|word| *word != 0);
        any && fresh.iter().enumerate().all(|(at, word)| {
            // SAFETY: inside the place. libc writes other words of it at the same time in other processes; the
            // halves that count are those it does not write.
            let found = unsafe { self.0.get().cast::<u64>().add(at).read_volatile() };
            [false, true]
                .into_iter()
                .all(|high| half(*word, high) == 0 || half(*word, high) == half(found, high))
        })
    }

    /// Takes the lock. That its last owner died in the middle of something is for the segment to know: it has
    /// a word for it.
    ///
    /// # Errors
    /// See [`Refused`].
    ///
    /// # Safety
    /// The mutex was made, and its memory stays mapped while it is held.
    pub(super) unsafe fn lock(&self, patience: Duration) -> Result<(), Refused> {
        // SAFETY: the caller's promise.
        if !unsafe { self.is_sound() } {
            return Err(Refused::Broken);
        }
        let mut since = None;
        let mut tries = 0;
        loop {
            // SAFETY: a mutex that was made (the caller's promise).
            match unsafe { libc::pthread_mutex_trylock(self.mutex()) } {
                0 => return Ok(()),
                libc::EOWNERDEAD => {
                    // SAFETY: we hold it, and its state is inconsistent.
                    return match unsafe { libc::pthread_mutex_consistent(self.mutex()) } {
                        0 => Ok(()),
                        _ => Err(Refused::Broken),
                    };
                }
                libc::EBUSY => {}
                _ => return Err(Refused::Broken),
            }
            tries += 1;
            if tries < SPINS {
                hint::spin_loop();
                continue;
            }
            // To yield is to wait, for as long as the others of this processor may run.
            if patience.is_zero() {
                return Err(Refused::Busy);
            }
            if tries < YIELDS {
                thread::yield_now();
            } else {
                thread::sleep(SLEEP);
            }
            if since.get_or_insert_with(Instant::now).elapsed() >= patience {
                return Err(Refused::Busy);
            }
        }
    }

    /// Gives the lock back.
    ///
    /// # Safety
    /// This thread holds it.
    pub(super) unsafe fn unlock(&self) {
        // SAFETY: a mutex that this thread holds (the caller's promise). It cannot fail then.
        unsafe { libc::pthread_mutex_unlock(self.mutex()) };
    }
}
