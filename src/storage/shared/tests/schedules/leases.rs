//! Leases: claims, waiters, settles, writes and kills, on the calls that `Store` makes under the lock, and the look at a lease
//! without it.
//!
//! - A value is stored only if no write of the key was made since its lease was claimed.
//! - At most one lease of a key runs at a time.
//! - Whoever waits finds what the owner left, though the key was written meanwhile, or that the lease is gone where the owner was
//!   killed. The word `wake` has changed by then.
//! - A look without the lock finds no lease that had ended when it began, and misses none that nobody has begun to end.
//! - After a kill the next one counts the leases rightly, and has one.

use std::{
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
    cache::{Cache, Terms},
    lease::{Ask, Claim, Leases, Look, Outcome, Phase},
    storage::shared::lock::{is_alive, this_thread},
    value::{OwnedValue, Value},
};

const KEY: &[u8] = b"skey";

/// How long a lease runs, and a time when it has run out.
const TIMEOUT: u64 = 100;
const LATE: u64 = 1000;

/// What happened to the key, in the order of the lock. A call that was killed may have only begun.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Claimed(f64),
    /// A claim found that the owner is dead, or that the time is over.
    Ended(f64),
    /// A write begins, of this number.
    Writes(u32),
    Written(u32),
    Settles(f64),
    Settled(f64, bool),
    Joined(f64),
}

#[derive(Default)]
struct Log {
    events: Vec<Event>,
    writes: u32,
    /// Those that have ended for all who begin a call now.
    acknowledged: usize,
    /// Who waits: the token, the word `wake` before that, and how many events there were.
    waiters: Vec<(f64, u32, usize)>,
}

impl Log {
    /// Whether a lease had ended, or was void, when there were so many events; `begun`: or somebody had begun to end it.
    fn has_ended(&self, token: f64, count: usize, begun: bool) -> bool {
        let events = &self.events[..count];
        let Some(claimed) = events.iter().position(|event| *event == Event::Claimed(token)) else {
            return false;
        };
        events[claimed..].iter().any(|event| match *event {
            Event::Written(_) => true,
            Event::Writes(_) => begun,
            Event::Ended(other) | Event::Settled(other, _) => other == token,
            Event::Settles(other) => begun && other == token,
            Event::Claimed(_) | Event::Joined(_) => false,
        })
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Log>>);

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap()
    }

    fn say(&self, event: Event) {
        self.log().events.push(event);
    }
}

/// The number of the value that a loader gives under a lease. Those of writes are below 0.
fn loaded(token: f64) -> OwnedValue {
    Value::Number(token).to_owned()
}

struct Process {
    cache: Cache<Segment<PlainMemory>>,
    shared: Shared,
    token: Option<f64>,
}

impl Process {
    fn new(memory: &PlainMemory, shared: &Shared) -> Self {
        Self {
            cache: Cache::new(attach(memory.clone())),
            shared: shared.clone(),
            token: None,
        }
    }

    /// Makes a call under the lock, as `Store` does, and says that it has ended.
    fn locked<R>(&mut self, call: impl FnOnce(&mut Cache<Segment<PlainMemory>>, &Shared) -> R) -> R {
        let machine = machine();
        machine.call_begins();
        loop {
            machine.wait_for_lock();
            if self.cache.storage().header().lock.lock(Duration::ZERO).is_ok() {
                break;
            }
        }
        self.cache.storage_mut().begin().unwrap();
        let result = call(&mut self.cache, &self.shared);
        let count = self.shared.log().events.len();
        self.cache.storage_mut().end();
        assert!(self.cache.storage().header().lock.unlock());
        machine.write_ends();
        let mut log = self.shared.log();
        log.acknowledged = log.acknowledged.max(count);
        drop(log);
        result
    }

    /// Claims at a time. Returns the token of a lease that is held, and keeps that of one that is had.
    fn claim(&mut self, at: u64) -> Option<f64> {
        let ask = Ask {
            owner: this_thread(),
            timeout: TIMEOUT,
            fresh: true,
            renews: false,
            at,
        };
        let (mine, held) = self.locked(|cache, shared| {
            let before = cache.storage_mut().lease(KEY);
            match cache.claim(KEY, ask, 0.0, |_, _| Ok(())).unwrap() {
                Claim::Leased(token) => {
                    if let Some(before) = before {
                        if before.deadline > at {
                            fail(format!("{token} was had beside {before:?}"));
                        }
                        shared.say(Event::Ended(before.token));
                    }
                    shared.say(Event::Claimed(token));
                    (Some(token), None)
                }
                Claim::Held(lease) if is_alive(lease.owner) => (None, Some(lease.token)),
                Claim::Held(lease) => {
                    cache.storage_mut().end_leases(|held| {
                        held.lease.phase != Phase::Over && held.lease.owner == lease.owner
                    });
                    shared.say(Event::Ended(lease.token));
                    let Claim::Leased(token) = cache.claim(KEY, ask, 0.0, |_, _| Ok(())).unwrap() else {
                        fail("no lease after that of a dead owner".into());
                    };
                    shared.say(Event::Claimed(token));
                    (Some(token), None)
                }
                other => fail(format!("{other:?}")),
            }
        });
        self.token = mine.or(self.token);
        held
    }

    fn settle(&mut self) {
        let Some(token) = self.token.take() else { return };
        self.locked(|cache, shared| {
            shared.say(Event::Settles(token));
            let value = loaded(token);
            let settled = cache.settle(KEY, token, value.as_ref(), &Terms::default(), 0, 0.0);
            shared.say(Event::Settled(token, settled.unwrap()));
        });
    }

    /// Ends a lease with an outcome that is not stored.
    fn leave(&mut self) {
        let Some(token) = self.token.take() else { return };
        self.locked(|cache, shared| {
            shared.say(Event::Settles(token));
            cache.leave(KEY, token, Outcome::Value(loaded(token).as_ref()), 0);
            shared.say(Event::Settled(token, false));
        });
    }

    fn load(&mut self) {
        self.claim(0);
        self.settle();
    }

    fn write(&mut self, write: fn(&mut Cache<Segment<PlainMemory>>, f64)) {
        self.locked(|cache, shared| {
            let number = {
                let mut log = shared.log();
                log.writes += 1;
                log.writes
            };
            shared.say(Event::Writes(number));
            write(cache, -f64::from(number));
            shared.say(Event::Written(number));
        });
    }

    fn set(&mut self) {
        self.write(|cache, number| {
            cache.set(KEY, Value::Number(number), None, 0.0).unwrap();
        });
    }

    fn remove(&mut self) {
        self.write(|cache, _| cache.del(KEY).unwrap());
    }

    fn clear(&mut self) {
        self.write(|cache, _| cache.reset().unwrap());
    }

    /// Looks at a lease without the lock.
    fn look_freely(&self, token: f64) {
        machine().call_begins();
        let acknowledged = self.shared.log().acknowledged;
        let runs = self.cache.storage().lease_runs(KEY, token).is_some();
        let log = self.shared.log();
        if runs && log.has_ended(token, acknowledged, false) {
            fail(format!("{token} runs, after {:?}", log.events));
        }
        if !runs && !log.has_ended(token, log.events.len(), true) {
            fail(format!("{token} does not run, after {:?}", log.events));
        }
        drop(log);
        machine().read_ends();
    }

    /// Claims; waits where another has the lease, else loads.
    fn follow(&mut self) {
        let wake = self.cache.storage().header().leases.wake.get();
        let Some(token) = self.claim(0) else {
            self.settle();
            return;
        };
        self.look_freely(token);
        self.locked(|cache, shared| {
            let lease = cache.storage_mut().lease_with(KEY, token);
            if lease.is_none_or(|lease| lease.phase != Phase::Running) {
                return;
            }
            cache.storage_mut().await_lease(KEY, token, true);
            let mut log = shared.log();
            log.events.push(Event::Joined(token));
            let count = log.events.len();
            log.waiters.push((token, wake, count));
        });
        self.look_freely(token);
    }

    /// When all threads have ended: what is there follows from what was done.
    fn finish(&mut self, has_kills: bool) {
        let events = self.shared.log().events.clone();
        let waiters = self.shared.log().waiters.clone();
        let fail = |what: String| -> ! { fail(format!("{what}, after {events:?}")) };
        let at = |event: Event| events.iter().position(|other| *other == event);
        for event in &events {
            let Event::Settled(token, stored) = *event else {
                continue;
            };
            let (Some(claimed), Some(settled)) = (at(Event::Claimed(token)), at(*event)) else {
                fail(format!("{token} was not claimed"));
            };
            let between = &events[claimed..settled];
            let is_void = between.iter().any(|event| matches!(event, Event::Written(_)))
                || between.contains(&Event::Ended(token));
            if stored && is_void {
                fail(format!("{token} was stored late"));
            }
        }
        // Nobody is left: each lease is that of a thread that is gone.
        self.locked(|cache, _| {
            for (token, wake, count) in &waiters {
                let settled = events
                    .iter()
                    .any(|event| matches!(event, Event::Settled(other, _) if other == token));
                let stored = events.contains(&Event::Settled(*token, true));
                let mut left = None;
                let look = cache.look(KEY, *token, 0, 0.0, |outcome| {
                    left = Some(outcome == Outcome::Value(loaded(*token).as_ref()));
                    Ok(())
                });
                match look.unwrap() {
                    Look::Left(()) if left == Some(true) && settled => {}
                    Look::Left(()) if left == Some(true) && has_kills => {}
                    Look::Running(_) | Look::Void(_) if !settled && has_kills => continue,
                    Look::Settled | Look::Gone if stored => {}
                    Look::Settled | Look::Gone
                        if has_kills || events[*count..].contains(&Event::Ended(*token)) => {}
                    other => fail(format!("who waited for {token} finds {other:?}, {left:?}")),
                }
                if !has_kills && cache.storage().header().leases.wake.get() == *wake {
                    fail(format!("who waited for {token} was not woken"));
                }
            }
            cache.storage_mut().end_leases(|_| true);
            // The next lease has them counted anew, where a change was not completed.
            let token = cache.storage_mut().begin_lease(KEY, 1, 1, 0);
            cache.release(KEY, token.unwrap_or_default());
            if cache.storage().has_leases() {
                fail("leases are counted that are not there".into());
            }
        });
        let last = events.iter().rev().find_map(|event| match *event {
            Event::Written(number) => Some(-f64::from(number)),
            Event::Settled(token, true) => Some(token),
            _ => None,
        });
        let value = |value: Value<'_>| match value {
            Value::Number(number) => Ok(number),
            other => fail(format!("{other:?}")),
        };
        let found = self.cache.peek(KEY, 0.0, value).unwrap();
        if !has_kills && found.is_some() && found != last {
            fail(format!("{found:?} is there, not {last:?}"));
        }
    }
}

type Thread = fn(&mut Process);

fn check(threads: &'static [Thread], has_kills: bool) -> impl Fn() -> Check + Send + Sync + 'static {
    let memory = PlainMemory::new(geometry().reserved());
    let mut first = Segment::create(memory.clone(), geometry(), IDENTITY).unwrap();
    first.publish();
    first.end();
    let mut first = Cache::new(first);
    // No schedule gets memory for rows, blocks or places.
    first.set(KEY, Value::Number(0.5), None, 0.0).unwrap();
    first.del(KEY).unwrap();
    let token = first.storage_mut().begin_lease(KEY, 1, 1, 0).unwrap();
    first.release(KEY, token);
    first.storage_mut().end();
    let snapshot = memory.snapshot();
    move || {
        memory.restore(&snapshot);
        let memory = memory.clone();
        let shared = Shared::default();
        let threads = threads.iter().map(|thread| {
            let mut process = Process::new(&memory, &shared);
            Box::new(move || thread(&mut process)) as Box<dyn FnOnce() + Send>
        });
        Check {
            base: memory.base().addr().get(),
            threads: threads.collect(),
            finish: Box::new(move || {
                let mut last = Process::new(&memory, &shared);
                last.cache.storage().header().lock.owner.store(0, Relaxed);
                last.locked(|_, _| {});
                last.finish(has_kills);
                check_whole(last.cache.storage());
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

/// Of calls that look at every place.
const ONE: Bounds = Bounds {
    switches: 1,
    old: 1,
    kills: 0,
    all: 1,
};

const KILLED: Bounds = Bounds {
    switches: 1,
    old: 0,
    kills: 1,
    all: 2,
};

/// The checks: their names, bounds and threads.
const CHECKS: &[(&str, Bounds, &[Thread])] = &[
    ("two load", TWO, &[Process::load, Process::follow]),
    (
        "a write beside a loader and one who waits",
        TWO,
        &[Process::load, Process::follow, Process::set],
    ),
    (
        "a removal beside a loader and one who waits",
        TWO,
        &[Process::load, Process::follow, Process::remove],
    ),
    (
        "everything goes, and a result is not stored",
        ONE,
        &[
            |owner| {
                owner.claim(0);
                owner.leave();
            },
            Process::follow,
            Process::clear,
        ],
    ),
    (
        "another takes over after the time",
        TWO,
        &[Process::load, Process::follow, |other| {
            other.claim(LATE);
            other.settle();
        }],
    ),
    ("a loader is killed", KILLED, &[Process::load, Process::follow]),
    (
        "a loader or a writer is killed",
        KILLED,
        &[Process::load, Process::follow, Process::set],
    ),
    (
        "whoever takes over is killed",
        KILLED,
        &[
            |owner| {
                owner.claim(0);
                owner.leave();
            },
            |other| {
                other.claim(LATE);
                other.settle();
            },
            Process::remove,
        ],
    ),
];

#[test]
#[ignore = "takes long: npm run test:schedules"]
fn leases_hold_in_every_schedule() {
    for (name, bounds, threads) in CHECKS {
        let start = std::time::Instant::now();
        match run(
            Choices::all(*bounds),
            Without::Nothing,
            check(threads, bounds.kills > 0),
        ) {
            Ok(count) => println!("{name}: {count} schedules, {:?}", start.elapsed()),
            Err(why) => panic!("{name}: {why}"),
        }
    }
}

/// More deviations in a schedule than all schedules could have: some of these.
#[test]
#[ignore = "takes long: npm run test:schedules"]
fn leases_hold_in_longer_schedules() {
    for (name, bounds, threads) in CHECKS {
        let choices = Choices::random(bounds.longer(), 11, 300);
        if let Err(why) = run(choices, Without::Nothing, check(threads, bounds.kills > 0)) {
            panic!("{name}: {why}");
        }
    }
}
