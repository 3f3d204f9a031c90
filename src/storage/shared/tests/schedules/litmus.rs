//! The memory of the machine itself: what it allows, and what it does not, in the usual small programs.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use super::{
    super::super::{
        atomics::{AtomicU64, fence},
        memory::{Memory, PlainMemory},
    },
    explore::{Bounds, Choices},
    machine::{Check, Without, run},
};

/// Each without a bound that matters for programs of a few steps.
const ALL: Bounds = Bounds {
    switches: 9,
    old: 9,
    kills: 0,
    all: 18,
};

type Outcomes = BTreeSet<[u64; 2]>;
type Step = fn(&Words, &mut [u64; 2]);

struct Words(PlainMemory);

impl Words {
    /// Words far apart.
    fn at(&self, number: usize) -> &AtomicU64 {
        // SAFETY: inside the page, aligned, and all accesses are atomic.
        unsafe { self.0.base().add(1024 + number * 64).cast::<AtomicU64>().as_ref() }
    }
}

/// What the threads may read together, each thread one of the two numbers at least.
fn outcomes(threads: &'static [Step]) -> Outcomes {
    let all = Arc::new(Mutex::new(Outcomes::new()));
    let found = all.clone();
    run(Choices::all(ALL), Without::Nothing, move || {
        let memory = PlainMemory::new(4096);
        let read = Arc::new(Mutex::new([0; 2]));
        let threads = threads.iter().map(|step| {
            let (words, read) = (Words(memory.clone()), read.clone());
            Box::new(move || {
                let mut mine = [9; 2];
                step(&words, &mut mine);
                let mut read = read.lock().unwrap();
                for (to, from) in read.iter_mut().zip(mine).filter(|(_, from)| *from != 9) {
                    *to = from;
                }
            }) as Box<dyn FnOnce() + Send>
        });
        let found = found.clone();
        Check {
            base: memory.base().addr().get(),
            threads: threads.collect(),
            finish: Box::new(move || {
                found.lock().unwrap().insert(*read.lock().unwrap());
            }),
        }
    })
    .unwrap();
    let all = all.lock().unwrap();
    all.clone()
}

#[test]
fn a_message_takes_along_what_came_before_it_if_both_sides_say_so() {
    let old = [1, 0];
    let read: Step = |words, read| {
        read[0] = words.at(1).load(Acquire);
        read[1] = words.at(0).load(Relaxed);
    };
    let read_relaxed: Step = |words, read| {
        read[0] = words.at(1).load(Relaxed);
        read[1] = words.at(0).load(Relaxed);
    };
    let read_fence: Step = |words, read| {
        read[0] = words.at(1).load(Relaxed);
        fence(Acquire);
        read[1] = words.at(0).load(Relaxed);
    };
    let write: Step = |words, _| {
        words.at(0).store(1, Relaxed);
        words.at(1).store(1, Release);
    };
    let write_relaxed: Step = |words, _| {
        words.at(0).store(1, Relaxed);
        words.at(1).store(1, Relaxed);
    };
    let write_fence: Step = |words, _| {
        words.at(0).store(1, Relaxed);
        fence(Release);
        words.at(1).store(1, Relaxed);
    };
    let write_swap: Step = |words, _| {
        words.at(0).store(1, Relaxed);
        words.at(1).swap(1, AcqRel);
    };
    let write_swap_relaxed: Step = |words, _| {
        words.at(0).store(1, Relaxed);
        words.at(1).swap(1, Relaxed);
    };
    for (write, is_release) in [
        (write, true),
        (write_fence, true),
        (write_swap, true),
        (write_relaxed, false),
        (write_swap_relaxed, false),
    ] {
        for (read, is_acquire) in [(read, true), (read_fence, true), (read_relaxed, false)] {
            let found = outcomes(Box::leak(Box::new([write, read])));
            assert_eq!(found.contains(&old), !(is_release && is_acquire), "{found:?}");
            assert!(found.is_superset(&[[0, 0], [0, 1], [1, 1]].into()), "{found:?}");
        }
    }
}

/// A change of a value that was released takes the view along, whatever its own order.
#[test]
fn a_change_in_between_passes_a_message_on() {
    let found = outcomes(&[
        |words, _| {
            words.at(0).store(1, Relaxed);
            words.at(1).store(1, Release);
        },
        |words, _| {
            words.at(1).fetch_add(1, Relaxed);
        },
        |words, read| {
            read[0] = words.at(1).load(Acquire);
            read[1] = words.at(0).load(Relaxed);
        },
    ]);
    assert!(found.contains(&[2, 1]) && !found.contains(&[2, 0]), "{found:?}");
}

#[test]
fn each_may_miss_the_store_of_the_other() {
    let found = outcomes(&[
        |words, read| {
            words.at(0).store(1, Release);
            read[0] = words.at(1).load(Acquire);
        },
        |words, read| {
            words.at(1).store(1, Release);
            read[1] = words.at(0).load(Acquire);
        },
    ]);
    assert_eq!(found, [[0, 0], [0, 1], [1, 0], [1, 1]].into());
}

#[test]
fn no_word_goes_back() {
    let found = outcomes(&[
        |words, _| {
            words.at(0).store(1, Relaxed);
            words.at(0).store(2, Relaxed);
        },
        |words, read| {
            read[0] = words.at(0).load(Relaxed);
            read[1] = words.at(0).load(Relaxed);
        },
    ]);
    assert!(found.contains(&[0, 2]) && found.contains(&[1, 1]));
    assert!(found.iter().all(|[first, second]| first <= second), "{found:?}");
}

#[test]
fn no_addition_is_lost() {
    let found = outcomes(&[
        |words, read| read[0] = words.at(0).fetch_add(1, Relaxed),
        |words, read| read[1] = words.at(0).fetch_add(1, Relaxed),
    ]);
    assert_eq!(found, [[0, 1], [1, 0]].into());
}
