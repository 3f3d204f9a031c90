//! Reads without the lock, beside writers that may be killed.
//!
//! No read gives what is older than a call that was acknowledged, or than another read that had ended, before it began. None
//! gives a mixture, and none misses an entry that is there. Several changes that count as one are seen together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{
    super::{
        super::{memory::Memory, memory::PlainMemory, segment::Segment},
        IDENTITY, attach,
    },
    explore::{Bounds, Choices},
    machine::{Check, Without, check_whole, fail, geometry, machine, run},
};
use crate::{
    storage::{Limits, Stamp, Storage},
    value::{OwnedValue, Value},
};

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

const STAMP: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

/// What the calls did, in the order in which they did it under the lock. Each call has a number, from 1 on.
#[derive(Default)]
struct Log {
    last: u32,
    /// For each key: numbers of the calls that removed it, or may have, if they were not killed.
    removed: HashMap<usize, Vec<u32>>,
    /// The keys that a call changed as one.
    changed: HashMap<u32, Vec<usize>>,
    /// For each key, and for the ages: no later read may give what is older than this.
    least: [u32; 4],
}

/// Where `Log` has the ages.
const AGES: usize = 3;

impl Log {
    fn raise(&mut self, what: usize, number: u32) {
        self.least[what] = self.least[what].max(number);
    }

    /// Somebody has seen what a call did.
    fn is_seen(&mut self, number: u32) {
        for key in self.changed.get(&number).cloned().unwrap_or_default() {
            self.raise(key, number);
        }
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Log>>);

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A value that has its number all over, in two blocks or in one; or a number, which lies in the row.
fn value(number: u32) -> OwnedValue {
    match number % 3 {
        0 => OwnedValue::Number(number.into()),
        1 => OwnedValue::String(vec![number as u8; 9].into()),
        _ => OwnedValue::String(vec![number as u8; 70].into()),
    }
}

fn number(found: Value<'_>) -> u32 {
    let number = match found {
        Value::Number(number) => number as u32,
        Value::String(bytes) => bytes.first().map_or(0, |byte| u32::from(*byte)),
        _ => 0,
    };
    if found != value(number).as_ref() {
        fail(format!("a mixture: {found:?}"));
    }
    number
}

/// What a process keeps of an entry.
#[derive(Clone)]
struct Copy {
    row: u32,
    version: f64,
    epoch: u32,
    number: u32,
    age: u32,
}

/// A process.
struct Process {
    segment: Segment<PlainMemory>,
    shared: Shared,
    copies: HashMap<usize, Copy>,
}

impl Process {
    fn new(memory: &PlainMemory, shared: &Shared) -> Self {
        Self {
            segment: attach(memory.clone()),
            shared: shared.clone(),
            copies: HashMap::new(),
        }
    }

    /// Makes a call under the lock, as `access.rs` does.
    fn locked<R>(&mut self, call: impl FnOnce(&mut Segment<PlainMemory>, &Shared) -> R) -> R {
        let machine = machine();
        loop {
            machine.wait_for_lock();
            if self.segment.header().lock.lock(Duration::ZERO).is_ok() {
                break;
            }
        }
        // As `Store` does: the last process may have stored an entry and not yet evicted another.
        if self.segment.begin().unwrap() {
            while self.segment.len() as f64 > self.segment.limits().max {
                self.segment.remove_least_recent().unwrap();
            }
        }
        let result = call(&mut self.segment, &self.shared);
        self.segment.end();
        assert!(self.segment.header().lock.unlock());
        result
    }

    /// Makes a call that writes, and says that it was made.
    fn write(&mut self, call: impl FnOnce(&mut Segment<PlainMemory>, &mut Writer<'_>)) {
        machine().call_begins();
        let number = self.locked(|segment, shared| {
            let number = {
                let mut log = shared.log();
                log.last += 1;
                log.last
            };
            call(segment, &mut Writer { shared, number });
            number
        });
        let mut log = self.shared.log();
        log.is_seen(number);
        if log.changed.get(&number).is_some_and(|keys| keys.contains(&AGES)) {
            log.raise(AGES, number);
        }
        machine().write_ends();
    }

    fn set(&mut self, key: usize) {
        self.write(|segment, writer| {
            writer.changes(key);
            segment
                .put(KEYS[key], value(writer.number).as_ref(), STAMP)
                .unwrap();
        });
    }

    fn set_many(&mut self, keys: &[usize]) {
        self.write(|segment, writer| {
            segment.begin_steps();
            for key in keys {
                writer.changes(*key);
            }
            for key in keys {
                segment
                    .put(KEYS[*key], value(writer.number).as_ref(), STAMP)
                    .unwrap();
            }
        });
    }

    /// Stores an entry and evicts the least recent one, which is `evicted`.
    fn set_and_evict(&mut self, key: usize, evicted: usize) {
        self.write(|segment, writer| {
            segment.begin_steps();
            writer.changes(key);
            writer.removes(evicted);
            segment
                .put(KEYS[key], value(writer.number).as_ref(), STAMP)
                .unwrap();
            segment.remove_least_recent().unwrap();
        });
    }

    fn remove(&mut self, key: usize) {
        self.write(|segment, writer| {
            writer.removes(key);
            segment.remove(KEYS[key]).unwrap();
        });
    }

    fn clear(&mut self) {
        self.write(|segment, writer| {
            for key in 0..KEYS.len() {
                writer.removes(key);
            }
            segment.clear().unwrap();
        });
    }

    /// The age says which call has set it.
    fn set_max_age(&mut self) {
        self.write(|segment, writer| {
            writer.changes(AGES);
            let limits = segment.limits();
            segment.set_limits(Limits {
                max_age: f64::from(writer.number),
                ..limits
            });
        });
    }

    /// What `lib/near/` does: its loads, in their order.
    fn near(&self, key: usize) -> Option<Copy> {
        let copy = self.copies.get(&key)?;
        let control = &self.segment.header().control;
        let holds = control.gate.get() & 1 == 0
            && control.epoch.get() == copy.epoch
            && self.segment.edit.version_at(copy.row).unwrap().get() == copy.version;
        holds.then(|| copy.clone())
    }

    /// A read as the class makes it: near, else without the lock, else under it.
    fn read(&mut self, key: usize) {
        self.read_by(key, true);
    }

    fn read_by(&mut self, key: usize, may_be_near: bool) {
        machine().call_begins();
        let least = self.shared.log().least;
        let found = match self.near(key).filter(|_| may_be_near) {
            Some(copy) => Some((copy.number, copy.age)),
            None => self.read_natively(key),
        };
        self.check(key, least, found);
        machine().read_ends();
    }

    fn read_natively(&mut self, key: usize) -> Option<(u32, u32)> {
        self.copies.remove(&key);
        let epoch = self.segment.header().control.epoch.get();
        let glimpse = self.segment.glimpse(KEYS[key]).map(|glimpse| {
            let age = glimpse.limits.max_age as u32;
            (number(glimpse.value), glimpse.seen, age)
        });
        let found = glimpse.or_else(|| {
            self.locked(|segment, _| {
                let found = segment
                    .peek(KEYS[key])
                    .unwrap()
                    .map(|(value, _)| value.to_owned());
                let age = segment.limits().max_age as u32;
                found.map(|value| (number(value.as_ref()), segment.seen().unwrap(), age))
            })
        });
        let (number, seen, age) = found?;
        // As `#put` of `lib/near/near-cache.js`.
        if epoch & 1 == 0 && self.segment.header().control.epoch.get() == epoch {
            let copy = Copy {
                row: seen.row,
                version: seen.version,
                epoch,
                number,
                age,
            };
            self.copies.insert(key, copy);
        }
        Some((number, age))
    }

    /// Compares what a read has found with what had happened before it began.
    fn check(&self, key: usize, least: [u32; 4], found: Option<(u32, u32)>) {
        let mut log = self.shared.log();
        match found {
            Some((number, age)) => {
                if number < least[key] {
                    fail(format!("key {key}: {number} after {}", least[key]));
                }
                if age < least[AGES] {
                    fail(format!("the age {age} after {}", least[AGES]));
                }
                // What a call has stored comes with the age that was set before it.
                let is_age = |keys: &Vec<usize>| keys.contains(&AGES);
                let ages = log
                    .changed
                    .iter()
                    .filter(|(at, keys)| **at < number && is_age(keys));
                if ages.map(|(at, _)| *at).max() > Some(age) {
                    fail(format!("key {key}: {number} with the age {age}"));
                }
                log.raise(key, number);
                log.raise(AGES, age);
                log.is_seen(number);
            }
            None => {
                let removed = log.removed.get(&key).into_iter().flatten();
                let by = removed.copied().filter(|number| *number >= least[key]).min();
                let by = by.unwrap_or_else(|| fail(format!("key {key} is missed after {}", least[key])));
                log.raise(key, by);
                log.is_seen(by);
            }
        }
    }

    /// Reads two keys as one, from near copies alone, if that can be.
    fn read_both_near(&mut self) {
        machine().call_begins();
        let control = &self.segment.header().control;
        let is_open = |process: &Self| {
            let copies = process.copies.values();
            control.gate.acquire() & 1 == 0
                && copies
                    .into_iter()
                    .all(|copy| control.epoch.acquire() == copy.epoch)
        };
        if is_open(self)
            && let (Some(one), Some(other)) = (self.near(0), self.near(1))
            && is_open(self)
            && one.number != other.number
        {
            let numbers = [one.number, other.number];
            fail(format!("two keys that change as one: {numbers:?}"));
        }
        machine().read_ends();
    }
}

/// A call that writes.
struct Writer<'a> {
    shared: &'a Shared,
    number: u32,
}

impl Writer<'_> {
    fn changes(&mut self, what: usize) {
        self.shared
            .log()
            .changed
            .entry(self.number)
            .or_default()
            .push(what);
    }

    fn removes(&mut self, key: usize) {
        self.changes(key);
        self.shared
            .log()
            .removed
            .entry(key)
            .or_default()
            .push(self.number);
    }
}

type Thread = fn(&mut Process);

/// A check of some processes over a segment with the first entries, each stored by a call of its own. Each process
/// has read all of them.
fn check(
    (entries, most): (usize, u32),
    threads: &'static [Thread],
) -> impl Fn() -> Check + Send + Sync + 'static {
    let memory = PlainMemory::new(geometry().reserved());
    let mut first = Segment::create(memory.clone(), geometry(), IDENTITY).unwrap();
    first.publish();
    first.set_limits(Limits {
        max: most.into(),
        ..first.limits()
    });
    for key in KEYS.iter().take(entries) {
        first.put(key, value(1).as_ref(), STAMP).unwrap();
    }
    first.end();
    // A row and blocks for what comes: no schedule gets memory.
    first.put(b"x", Value::String(&[0; 200]), STAMP).unwrap();
    first.remove(b"x").unwrap();
    let snapshot = memory.snapshot();
    move || {
        memory.restore(&snapshot);
        let memory = memory.clone();
        let shared = Shared(Arc::default());
        {
            let mut log = shared.log();
            log.last = 1;
            for key in 0..KEYS.len() {
                let number = if key < entries { 1 } else { 0 };
                log.least[key] = number;
                if number == 0 {
                    log.removed.insert(key, vec![0]);
                }
            }
        }
        let threads = threads.iter().map(|thread| {
            let mut process = Process::new(&memory, &shared);
            for key in 0..entries {
                process.read_natively(key);
            }
            Box::new(move || thread(&mut process)) as Box<dyn FnOnce() + Send>
        });
        Check {
            base: memory.base().addr().get(),
            threads: threads.collect(),
            finish: Box::new(move || {
                let mut last = Process::new(&memory, &shared);
                last.segment.header().lock.owner.store(0, Relaxed);
                last.locked(|_, _| {});
                for (key, name) in KEYS.iter().enumerate() {
                    let found = last
                        .segment
                        .peek(name)
                        .unwrap()
                        .map(|(value, _)| value.to_owned());
                    let age = last.segment.limits().max_age as u32;
                    let found = found.map(|value| (number(value.as_ref()), age));
                    let least = shared.log().least;
                    last.check(key, least, found);
                }
                check_whole(&last.segment);
            }),
        }
    }
}

const TWO: Bounds = Bounds {
    switches: 2,
    old: 2,
    kills: 0,
    all: 2,
};

const ONE: Bounds = Bounds {
    switches: 1,
    old: 1,
    kills: 0,
    all: 2,
};

const KILLED: Bounds = Bounds {
    switches: 1,
    old: 1,
    kills: 1,
    all: 2,
};

const NEAR_THEN_NATIVE: Thread = |process| {
    process.read(0);
    process.read(0);
};

const NATIVE: Thread = |process| process.read_by(0, false);

type Row = (&'static str, Bounds, (usize, u32), &'static [Thread]);

/// The checks: their names, bounds, the number of entries before and the most, and the threads.
const CHECKS: &[Row] = &[
    (
        "replace",
        TWO,
        (1, 9),
        &[|writer| writer.set(0), NEAR_THEN_NATIVE, NATIVE],
    ),
    (
        "replace, and once more in the same row",
        TWO,
        (1, 9),
        &[
            |writer| {
                writer.set(0);
                writer.set(0);
                writer.set(0);
            },
            NATIVE,
        ],
    ),
    (
        "another entry in the row of a removed one",
        TWO,
        (2, 9),
        &[
            |writer| {
                writer.remove(0);
                writer.set(2);
            },
            |reader| {
                reader.read_by(0, false);
                reader.read_by(2, false);
            },
        ],
    ),
    (
        "the first entry of a key",
        TWO,
        (1, 9),
        &[
            |writer| {
                writer.set(1);
                writer.remove(1);
            },
            |reader| {
                reader.read(1);
                reader.read(1);
            },
        ],
    ),
    (
        "two writers",
        TWO,
        (1, 9),
        &[|one| one.set(0), |other| other.set(0), NEAR_THEN_NATIVE],
    ),
    (
        "two keys that change as one",
        TWO,
        (2, 9),
        &[
            |writer| writer.set_many(&[0, 1]),
            |reader| {
                reader.read_by(1, false);
                reader.read(0);
            },
        ],
    ),
    (
        "two keys that change as one, and two readers",
        ONE,
        (2, 9),
        &[|writer| writer.set_many(&[0, 1]), NATIVE, |reader| reader.read(1)],
    ),
    (
        "two keys that are read as one",
        TWO,
        (2, 9),
        &[
            |writer| {
                writer.set_many(&[0, 1]);
                writer.set_many(&[1, 0]);
            },
            |reader| {
                reader.read(0);
                reader.read(1);
                reader.read_both_near();
            },
        ],
    ),
    (
        "an entry that evicts another",
        TWO,
        (2, 2),
        &[
            |writer| writer.set_and_evict(2, 0),
            |reader| {
                reader.read(2);
                reader.read(0);
            },
        ],
    ),
    (
        "the age changes",
        TWO,
        (1, 9),
        &[
            |writer| {
                writer.set_max_age();
                writer.set(0);
            },
            |reader| {
                reader.read_by(0, false);
                reader.read(0);
            },
            NEAR_THEN_NATIVE,
        ],
    ),
    (
        "everything goes",
        TWO,
        (2, 9),
        &[
            |writer| writer.clear(),
            |reader| {
                reader.read(0);
                reader.read_by(1, false);
            },
        ],
    ),
    (
        "a writer is killed",
        KILLED,
        (2, 9),
        &[
            |writer| {
                writer.set(0);
                writer.set(2);
                writer.remove(1);
            },
            |reader| {
                reader.read(0);
                reader.read(1);
                reader.read(2);
            },
        ],
    ),
    (
        "a writer is killed, and another comes",
        KILLED,
        (1, 9),
        &[
            |writer| writer.set(0),
            |other| {
                other.set(0);
                other.read(0);
            },
        ],
    ),
    (
        "a writer of several keys is killed",
        KILLED,
        (2, 2),
        &[
            |writer| writer.set_and_evict(2, 0),
            |reader| {
                reader.read(1);
                reader.read(2);
                reader.read(0);
            },
        ],
    ),
    (
        "the process that changes the age is killed",
        KILLED,
        (1, 9),
        &[|writer| writer.set_max_age(), NEAR_THEN_NATIVE, NATIVE],
    ),
];

/// Runs the checks at the places that `is_wanted` names.
fn all_hold(is_wanted: fn(usize) -> bool) {
    for (at, (name, bounds, entries, threads)) in CHECKS.iter().enumerate() {
        if !is_wanted(at) {
            continue;
        }
        let start = std::time::Instant::now();
        match run(Choices::all(*bounds), Without::Nothing, check(*entries, threads)) {
            Ok(count) => println!("{name}: {count} schedules, {:?}", start.elapsed()),
            Err(why) => panic!("{name}: {why}"),
        }
    }
}

#[test]
#[ignore = "takes long: npm run test:schedules"]
fn no_read_is_out_of_date() {
    all_hold(|at| at % 2 == 0);
}

#[test]
#[ignore = "takes long: npm run test:schedules"]
fn no_read_is_out_of_date_either() {
    all_hold(|at| at % 2 == 1);
}

/// More deviations in a schedule than all schedules could have: some of these.
#[test]
#[ignore = "takes long: npm run test:schedules"]
fn no_read_is_out_of_date_in_longer_schedules() {
    for (name, bounds, entries, threads) in CHECKS {
        let choices = Choices::random(bounds.longer(), 7, 2000);
        if let Err(why) = run(choices, Without::Nothing, check(*entries, threads)) {
            panic!("{name}: {why}");
        }
    }
}

/// Each ordering is needed: without one, a check fails.
#[test]
#[ignore = "takes long: npm run test:schedules"]
fn without_an_ordering_a_read_is_out_of_date() {
    for without in [
        Without::AcquireFences,
        Without::ReleaseFences,
        Without::AcquireLoads,
        Without::ReleaseStores,
        Without::OrderOfChanges,
    ] {
        let is_needed = CHECKS.iter().any(|(name, bounds, entries, threads)| {
            match run(Choices::all(*bounds), without, check(*entries, threads)) {
                Ok(_) => false,
                Err(why) => {
                    println!("{without:?}: {name}: {}", why.lines().next().unwrap());
                    true
                }
            }
        });
        assert!(is_needed, "{without:?}");
    }
}
