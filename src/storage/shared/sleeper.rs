//! The thread of a process that sleeps until leases of a segment end. It is started with the first lease that the process
//! waits for, and ends a second after the last. It takes no lock, and writes nothing in the segment.
//!
//! The thread loads the word `wake` first, then looks at each lease, then sleeps as long as the word is the same, and for 50 ms at the most.
//! So no end of a lease is missed that comes after the look, and one whose process was killed before it had raised the word is found
//! after 50 ms. As often it asks whether the owners live, after it has told of the leases that have ended.

use parking_lot::Mutex;
use rustix::{
    fs::Timespec,
    thread::futex::{self, Flags},
};
use std::{
    sync::{Arc, atomic},
    thread,
    time::{Duration, Instant},
};

use super::{
    layout::{LeaseHead, LeasePlace, MARKS_BYTES, Word},
    lock::is_alive,
    memfd::Window,
};
use crate::{
    lease::{Ended, Lease, PLACES},
    storage::Mapped,
};

/// The longest sleep.
const SLEEP: Duration = Duration::from_millis(50);

/// How long the thread stays while there is nothing to wait for.
const IDLE: Duration = Duration::from_secs(1);

/// Room for the stack of the thread: it calls little.
const STACK: usize = 128 * 1024;

/// Wakes every thread that sleeps on a word.
pub(super) fn wake(word: &Word) {
    futex::wake(atomic(word), Flags::empty(), i32::MAX as u32).ok();
}

/// The word, as the system takes it.
fn atomic(word: &Word) -> &atomic::AtomicU32 {
    // SAFETY: a `Word` is a transparent `AtomicU32`, of the standard library or, in tests, of a transparent type over that.
    unsafe { &*(&raw const *word).cast() }
}

/// Waits for leases of one segment.
#[derive(Debug)]
pub struct Sleeper(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    head: Window,
    places: Window,
    watched: Mutex<Watched>,
    ended: Arc<Ended>,
}

#[derive(Debug, Default)]
struct Watched {
    leases: Vec<(u32, Lease)>,
    /// Whether there is the thread.
    runs: bool,
}

impl Sleeper {
    /// A sleeper for the segment of these windows, see `Segment::lease_windows`. Tells `ended` what has ended.
    pub fn new([head, places]: [Window; 2], ended: Arc<Ended>) -> Self {
        Self(Arc::new(Shared {
            head,
            places,
            watched: Mutex::default(),
            ended,
        }))
    }

    /// Tells when a lease ends or is in another state, or its owner is dead, once. Called under the lock, while the lease is in the place
    /// `at`. Returns `false` where there is no thread to be had: look again yourself.
    pub fn watch(&self, at: u32, lease: Lease) -> bool {
        let mut watched = self.0.watched.lock();
        if !watched.runs {
            let shared = self.0.clone();
            let thread = thread::Builder::new()
                .name("lru-cache-leases".into())
                .stack_size(STACK)
                .spawn(move || shared.run());
            watched.runs = thread.is_ok();
        }
        let runs = watched.runs;
        if runs {
            watched.leases.retain(|(_, known)| known.token != lease.token);
            watched.leases.push((at, lease));
        }
        runs
    }

    /// Nobody waits for this lease any more.
    pub fn forget(&self, token: f64) {
        let mut watched = self.0.watched.lock();
        watched.leases.retain(|(_, lease)| lease.token != token);
    }
}

impl Shared {
    fn head(&self) -> &LeaseHead {
        // SAFETY: the window is that of a `LeaseHead`, all atomics, and keeps its memory mapped.
        unsafe { self.head.base().cast::<LeaseHead>().as_ref() }
    }

    fn place(&self, at: u32) -> &LeasePlace {
        let at = (at % PLACES) as usize;
        // SAFETY: the window has `MARKS_BYTES` of marks, and then `PLACES` places, all atomics. It keeps its memory mapped.
        unsafe {
            let places = self.places.base().add(MARKS_BYTES).cast::<LeasePlace>();
            places.add(at).as_ref()
        }
    }

    /// The owners of the leases. They are asked for without the mutex: who adds a lease has the lock of the segment.
    fn owners(&self) -> Vec<u64> {
        let watched = self.watched.lock();
        let mut owners: Vec<_> = watched.leases.iter().map(|(_, lease)| lease.owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// Tells of the leases of which `has_ended` says so, and watches them no more.
    fn tell(&self, has_ended: impl Fn(u32, &Lease) -> bool) {
        let mut ended = vec![];
        self.watched.lock().leases.retain(|(at, lease)| {
            let ends = has_ended(*at, lease);
            if ends {
                ended.push(lease.token);
            }
            !ends
        });
        ended.into_iter().for_each(|token| self.ended.push(token));
    }

    fn run(&self) {
        let mut busy = Instant::now();
        let mut looked: Option<Instant> = None;
        loop {
            let word = self.head().wake.acquire();
            let mut watched = self.watched.lock();
            if watched.leases.is_empty() {
                if busy.elapsed() >= IDLE {
                    watched.runs = false;
                    return;
                }
            } else {
                busy = Instant::now();
            }
            drop(watched);
            // Before the owners: asking for one takes some 10 µs.
            self.tell(|at, lease| !self.place(at).is(lease.token, lease.phase));
            if looked.is_none_or(|at| at.elapsed() >= SLEEP) {
                looked = Some(Instant::now());
                let mut dead = self.owners();
                dead.retain(|owner| !is_alive(*owner));
                if !dead.is_empty() {
                    self.tell(|_, lease| dead.contains(&lease.owner));
                }
            }
            let sleep = Timespec {
                tv_sec: 0,
                tv_nsec: SLEEP.subsec_nanos().into(),
            };
            // Woken, out of time, or the word has changed: all the same.
            futex::wait(atomic(&self.head().wake), Flags::empty(), word, Some(&sleep)).ok();
        }
    }
}
