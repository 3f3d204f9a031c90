//! Recency of reads that take no lock, beside calls that apply the rings and may be killed.
//!
//! The order of recency in the end, and what was evicted before, is that of some order of the calls in which no call comes
//! before one that had ended before it began. A call that was killed may be missing there.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::SeqCst},
    time::Duration,
};

use super::{
    super::{
        super::{
            atomics::{AtomicU32, watched::model},
            layout::{RECORDS, RINGS, Word},
            memory::{Memory, PlainMemory},
            segment::Segment,
        },
        IDENTITY, attach,
    },
    explore::{Bounds, Choices},
    machine::{Check, Without, check_whole, fail, geometry, machine, run},
};
use crate::{
    storage::{Seen, Stamp, Storage},
    value::Value,
};

const STAMP: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

/// The owner of a ring whose thread lives.
const ALIVE: u64 = 99;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Use(u8),
    Insert(u8),
    /// What it has evicted; 0: nothing was there.
    Evict(u8),
}

#[derive(Clone, Copy, Debug)]
struct Call {
    what: What,
    /// The calls that had ended before.
    after: u32,
    has_ended: bool,
    /// Its record was dropped.
    may_be_missing: bool,
}

/// What was called, and when.
#[derive(Default)]
struct Log(Vec<Call>);

impl Log {
    fn begin(&mut self, what: What) -> usize {
        let ended = self.0.iter().enumerate().filter(|(_, call)| call.has_ended);
        let after = ended.fold(0, |all, (at, _)| all | 1 << at);
        self.0.push(Call {
            what,
            after,
            has_ended: false,
            may_be_missing: false,
        });
        self.0.len() - 1
    }

    /// Whether some order of the calls leads from `order`, the least recent first, to `last`.
    fn leads(&self, done: u32, order: &[u8], last: &[u8]) -> bool {
        let is_whole = self
            .0
            .iter()
            .enumerate()
            .all(|(at, call)| done >> at & 1 == 1 || !call.has_ended || call.may_be_missing);
        if is_whole && order == last {
            return true;
        }
        self.0.iter().enumerate().any(|(at, call)| {
            let before = call.after & !done;
            let may_come = done >> at & 1 == 0
                && (0..self.0.len()).all(|other| before >> other & 1 == 0 || self.0[other].may_be_missing);
            if !may_come {
                return false;
            }
            let mut next = order.to_vec();
            match call.what {
                What::Use(key) if order.contains(&key) => {
                    next.retain(|other| *other != key);
                    next.push(key);
                }
                What::Use(_) => {}
                What::Insert(key) => {
                    next.retain(|other| *other != key);
                    next.push(key);
                }
                What::Evict(key) if call.has_ended && order.first().copied().unwrap_or(0) != key => {
                    return false;
                }
                What::Evict(_) => {
                    next = next.split_first().map_or(vec![], |(_, rest)| rest.to_vec());
                }
            }
            self.leads(done | 1 << at, &next, last)
        })
    }
}

/// A process, with what it knows of each entry that was there before.
struct Process {
    segment: Segment<PlainMemory>,
    log: Arc<Mutex<Log>>,
    ring: u32,
    known: Vec<(u8, Seen)>,
    /// As `Ring` of `lib/near/ring.js`.
    stamp: u32,
    taken: u32,
    step: u32,
}

/// Records a use with a time of its own: `use` of `lib/near/ring.js` where others read at the same time, before it holds
/// times. Returns whether the ring had room.
fn record_use(segment: &Segment<PlainMemory>, ring: u32, seen: &Seen) -> bool {
    let ring = segment.edit.ring_at(ring).unwrap();
    let (head, room) = (ring.head.get(), ring.room());
    if head.wrapping_sub(ring.tail.acquire()) >= room {
        return false;
    }
    let record = &ring.records[(head % room) as usize];
    record.row.set(seen.row);
    record.version.set(seen.version);
    record.time.set(segment.header().control.uses.add_one());
    ring.head.publish(head.wrapping_add(1));
    true
}

fn atomic(word: &Word) -> &AtomicU32 {
    // SAFETY: a `Word` is an atomic alone, with its layout.
    unsafe { &*(&raw const *word).cast() }
}

impl Process {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self, key: u8) -> Seen {
        self.known.iter().find(|(known, _)| *known == key).unwrap().1
    }

    fn begin(&self, what: What) -> usize {
        machine().call_begins();
        self.log().begin(what)
    }

    fn end(&self, at: usize) {
        self.log().0[at].has_ended = true;
        machine().read_ends();
    }

    /// A read by a native call without the lock.
    fn use_natively(&self, key: u8) {
        let at = self.begin(What::Use(key));
        if !record_use(&self.segment, self.ring, &self.seen(key)) {
            self.log().0[at].may_be_missing = true;
        }
        self.end(at);
    }

    /// A near read: `use` of `lib/near/ring.js`.
    fn use_near(&mut self, key: u8) {
        let at = self.begin(What::Use(key));
        let seen = self.seen(key);
        let uses = &self.segment.header().control.uses;
        let ring = self.segment.edit.ring_at(self.ring).unwrap();
        let head = ring.head.get();
        if uses.get() != self.taken || self.stamp == self.taken {
            self.step = if uses.get() == self.taken {
                self.step * 2
            } else {
                1
            };
            self.stamp = atomic(uses).fetch_add(self.step, SeqCst);
            self.taken = self.stamp.wrapping_add(self.step);
        }
        self.stamp = self.stamp.wrapping_add(1);
        let record = &ring.records[(head % RECORDS) as usize];
        record.version.set(seen.version);
        record.row.set(seen.row);
        record.time.set(self.stamp);
        ring.head.publish(head.wrapping_add(1));
        self.end(at);
    }

    fn locked<R>(&mut self, call: impl FnOnce(&mut Segment<PlainMemory>) -> R) -> R {
        loop {
            machine().wait_for_lock();
            if self.segment.header().lock.lock(Duration::ZERO).is_ok() {
                break;
            }
        }
        self.segment.begin().unwrap();
        let result = call(&mut self.segment);
        self.segment.end();
        assert!(self.segment.header().lock.unlock());
        result
    }

    fn use_locked(&mut self, key: u8) {
        let at = self.begin(What::Use(key));
        self.locked(|segment| segment.touch(&[key]).map(drop).unwrap());
        self.end(at);
    }

    fn insert(&mut self, key: u8) {
        let at = self.begin(What::Insert(key));
        self.locked(|segment| segment.put(&[key], Value::Null, STAMP).unwrap());
        self.end(at);
    }

    fn evict(&mut self) {
        let at = self.begin(What::Evict(0));
        let evicted = self.locked(|segment| {
            let least = segment.least_recent().unwrap().map_or(0, |entry| entry.key[0]);
            segment.remove_least_recent().unwrap();
            least
        });
        self.log().0[at].what = What::Evict(evicted);
        self.end(at);
    }

    /// Claims the ring of a thread that is gone.
    fn claim(&mut self) -> bool {
        let is_alive = |owner| owner == ALIVE || model().is_none_or(|model| model.is_alive(owner));
        let own = model().unwrap().this_thread();
        let claimed = self.locked(|segment| segment.edit.claim_ring(own, is_alive).unwrap());
        self.ring = claimed.unwrap_or(self.ring);
        claimed.is_some()
    }
}

type Thread = fn(&mut Process);

/// How the rings are before.
#[derive(Clone, Copy)]
enum Before {
    /// Each thread has one, which is empty.
    Own,
    /// As above; a use of the last entry waits in the last ring.
    OneWaits,
    /// Each thread has one, with room for one record.
    AlmostFull,
    /// All rings are claimed, the first one by the first thread.
    AllClaimed,
}

fn check(before: Before, threads: &'static [Thread]) -> impl Fn() -> Check + Send + Sync + 'static {
    let memory = PlainMemory::new(geometry().reserved());
    let mut first = Segment::create(memory.clone(), geometry(), IDENTITY).unwrap();
    first.publish();
    let mut known = vec![];
    for key in [b'a', b'b', b'c'] {
        first.put(&[key], Value::Null, STAMP).unwrap();
        known.push((key, first.seen().unwrap()));
    }
    let count = match before {
        Before::AllClaimed => RINGS,
        _ => threads.len() as u32,
    };
    for ring in 0..count {
        // As the machine names its threads.
        let owner = match ring {
            0 => 7 << 32 | 1,
            _ => ALIVE,
        };
        assert_eq!(first.edit.claim_ring(owner, |_| true).unwrap(), Some(ring));
        if matches!(before, Before::AlmostFull) {
            first.edit.ring_at(ring).unwrap().head.set(RECORDS - 1);
        }
    }
    if matches!(before, Before::OneWaits) {
        assert!(record_use(&first, count - 1, &known[2].1));
    }
    let snapshot = memory.snapshot();
    move || {
        memory.restore(&snapshot);
        let memory = memory.clone();
        let log = Arc::new(Mutex::new(Log::default()));
        let threads = threads.iter().enumerate().map(|(at, thread)| {
            let segment = attach(memory.clone());
            let stamp = segment.header().control.uses.get();
            let mut process = Process {
                segment,
                log: log.clone(),
                ring: at as u32,
                known: known.clone(),
                stamp,
                taken: stamp,
                step: 1,
            };
            Box::new(move || thread(&mut process)) as Box<dyn FnOnce() + Send>
        });
        Check {
            base: memory.base().addr().get(),
            threads: threads.collect(),
            finish: Box::new(move || {
                let mut last = attach(memory);
                last.begin().unwrap();
                last.end();
                check_whole(&last);
                let mut order = vec![];
                last.visit_keys(|key, _| {
                    order.insert(0, key[0]);
                    Ok(())
                })
                .unwrap();
                let log = log.lock().unwrap_or_else(PoisonError::into_inner);
                if !log.leads(0, b"abc", &order) {
                    fail(format!("the order is {}: {:?}", order.escape_ascii(), log.0));
                }
            }),
        }
    }
}

const TWO: Bounds = Bounds {
    switches: 2,
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

const ONE: Bounds = Bounds {
    switches: 1,
    old: 1,
    kills: 0,
    all: 2,
};

type Row = (&'static str, Bounds, Before, &'static [Thread]);

const CHECKS: &[Row] = &[
    (
        "two readers and an eviction",
        TWO,
        Before::Own,
        &[
            |reader| reader.use_natively(b'b'),
            |reader| reader.use_natively(b'a'),
            |writer| writer.evict(),
        ],
    ),
    (
        "two near readers and an eviction",
        TWO,
        Before::Own,
        &[
            |reader| reader.use_near(b'b'),
            |reader| reader.use_near(b'a'),
            |writer| writer.evict(),
        ],
    ),
    (
        "near readers take several times at once",
        TWO,
        Before::Own,
        &[
            |reader| {
                reader.use_near(b'a');
                reader.use_near(b'b');
                reader.use_near(b'a');
            },
            |reader| reader.use_near(b'b'),
            |writer| writer.evict(),
        ],
    ),
    (
        "two readers and an eviction, where a use waits already",
        TWO,
        Before::OneWaits,
        &[
            |reader| reader.use_natively(b'b'),
            |reader| reader.use_natively(b'a'),
            |writer| writer.evict(),
        ],
    ),
    (
        "a reader, and an entry that is stored",
        TWO,
        Before::Own,
        &[
            |reader| {
                reader.use_natively(b'a');
                reader.use_near(b'b');
            },
            |writer| writer.insert(b'd'),
            |reader| reader.use_locked(b'b'),
        ],
    ),
    (
        "one that applies the rings is killed",
        KILLED,
        Before::Own,
        &[
            |reader| reader.use_natively(b'a'),
            |reader| reader.use_natively(b'b'),
            |writer| {
                writer.evict();
                writer.evict();
            },
        ],
    ),
    (
        "two that apply the rings, of which one is killed",
        KILLED,
        Before::Own,
        &[
            |reader| {
                reader.use_natively(b'b');
                reader.use_natively(b'a');
            },
            |writer| writer.insert(b'd'),
            |writer| writer.evict(),
        ],
    ),
    (
        "a ring is full",
        ONE,
        Before::AlmostFull,
        &[
            |reader| {
                reader.use_natively(b'a');
                reader.use_natively(b'b');
            },
            |writer| writer.evict(),
        ],
    ),
    (
        "the owner of a ring is killed, and another one claims it",
        KILLED,
        Before::AllClaimed,
        &[
            |reader| {
                reader.use_natively(b'a');
                reader.use_natively(b'b');
            },
            |other| {
                if other.claim() {
                    other.use_natively(b'c');
                    other.use_natively(b'b');
                }
            },
        ],
    ),
];

/// Runs the checks at the places that `is_wanted` names.
fn all_hold(is_wanted: fn(usize) -> bool) {
    for (at, (name, bounds, before, threads)) in CHECKS.iter().enumerate() {
        if !is_wanted(at) {
            continue;
        }
        let start = std::time::Instant::now();
        match run(Choices::all(*bounds), Without::Nothing, check(*before, threads)) {
            Ok(count) => println!("{name}: {count} schedules, {:?}", start.elapsed()),
            Err(why) => panic!("{name}: {why}"),
        }
    }
}

#[test]
#[ignore = "takes long: npm run test:schedules"]
fn uses_that_do_not_overlap_keep_their_order() {
    all_hold(|at| at < 5);
}

#[test]
#[ignore = "takes long: npm run test:schedules"]
fn no_use_is_lost_or_counts_twice_where_a_thread_is_killed() {
    all_hold(|at| at >= 5);
}

/// More deviations in a schedule than all schedules could have: some of these.
#[test]
#[ignore = "takes long: npm run test:schedules"]
fn uses_keep_their_order_in_longer_schedules() {
    for (name, bounds, before, threads) in CHECKS {
        let choices = Choices::random(bounds.longer(), 11, 2000);
        if let Err(why) = run(choices, Without::Nothing, check(*before, threads)) {
            panic!("{name}: {why}");
        }
    }
}
