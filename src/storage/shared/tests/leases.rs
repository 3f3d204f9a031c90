//! Leases in a segment: killed before each store, damaged, rebuilt, and awaited by other attachments.

use std::sync::{Arc, Mutex};

use super::{
    super::{
        crash_point::watch,
        layout::{KEY_HEAD, LeaseHead, Long, PLACES_BYTES, Word},
        memory::{Memory, PlainMemory},
    },
    Random, attach, create, small,
};
use crate::{
    cache::{Cache, Past, Terms},
    error::Result,
    lease::{Ask, Claim, Failure, Leases, Look, Outcome, RESTING},
    storage::shared::Segment,
    value::Value,
};

type Plain = Cache<Segment<PlainMemory>>;

fn ask(at: u64) -> Ask {
    Ask {
        owner: 7,
        timeout: 100,
        fresh: true,
        renews: false,
        at,
    }
}

fn text(value: Value<'_>) -> Result<Vec<u8>> {
    Ok(value.bytes().to_vec())
}

fn claimed(value: Value<'_>, _: Option<Past>) -> Result<Vec<u8>> {
    text(value)
}

fn claim(cache: &mut Plain, key: &[u8], at: u64) -> f64 {
    match cache.claim(key, ask(at), 0.0, claimed) {
        Ok(Claim::Leased(token)) => token,
        other => panic!("{other:?}"),
    }
}

fn get(cache: &mut Plain, key: &[u8]) -> Option<Vec<u8>> {
    cache.get(key, 0.0, text).unwrap()
}

/// The memory as it was before each store that `run` makes.
fn before_each_store(memory: &PlainMemory, run: impl FnOnce()) -> Vec<PlainMemory> {
    let snapshots = Arc::new(Mutex::new(Vec::new()));
    let (memory, taken) = (memory.clone(), snapshots.clone());
    watch(move || taken.lock().unwrap().push(memory.snapshot()), run);
    std::mem::take(&mut *snapshots.lock().unwrap())
}

/// What whoever takes the lock next finds.
fn take_over(memory: PlainMemory) -> Plain {
    let mut segment = attach(memory);
    segment.begin().unwrap();
    segment.end();
    segment.validate().unwrap();
    assert_eq!(segment.recoveries().0, 0, "nothing had to be rebuilt");
    Cache::new(segment)
}

/// Kills a call before each of its stores. `check` is given what is found.
fn killed(cache: &mut Plain, call: impl FnOnce(&mut Plain), mut check: impl FnMut(&mut Plain)) -> usize {
    cache.storage_mut().begin().unwrap();
    let memory = cache.storage().memory().clone();
    let kills = before_each_store(&memory, || {
        call(cache);
        cache.storage_mut().end();
    });
    let count = kills.len();
    for memory in kills {
        let mut found = take_over(memory);
        check(&mut found);
        // Leases can be had and end after that, and are counted rightly.
        let token = claim(&mut found, b"safter", 1000);
        found.storage().validate().unwrap();
        assert_eq!(
            found.settle(b"safter", token, Value::Null, &Terms::default(), 0, 0.0),
            Ok(true)
        );
        found.storage_mut().end_leases(|_| true);
        assert!(!found.storage().has_leases());
        found.storage().validate().unwrap();
    }
    count
}

#[test]
fn whoever_is_killed_in_a_call_on_a_lease_leaves_no_lease_beside_a_write() {
    let key = b"skey".as_slice();
    let mut kills = 0;
    for (at, write) in [
        |cache: &mut Plain| drop(cache.set(b"skey", Value::String(b"written"), None, 0.0)),
        |cache: &mut Plain| cache.del(b"skey").unwrap(),
        |cache: &mut Plain| cache.reset().unwrap(),
        |cache: &mut Plain| drop(cache.incr(b"skey", 1.0, None, 0.0)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut cache = Cache::new(create(small()));
        cache.set(key, Value::String(b"old"), None, 0.0).unwrap();
        let token = claim(&mut cache, key, 0);
        cache.storage_mut().await_lease(key, token, true);
        kills += killed(&mut cache, write, |found| {
            let is_old = get(found, key).as_deref() == Some(b"old");
            // The write was made, so a late result is never stored.
            assert!(is_old || !found.holds(key, token), "write {at}");
        });
        assert!(!cache.holds(key, token));
    }
    // The first claim of a segment, and a later one.
    let mut cache = Cache::new(create(small()));
    for _ in 0..2 {
        kills += killed(
            &mut cache,
            |cache| {
                claim(cache, b"skey", 0);
            },
            |found| {
                let claimed = found.claim(b"skey", ask(0), 0.0, claimed).unwrap();
                assert!(
                    matches!(claimed, Claim::Leased(_) | Claim::Held(_)),
                    "{claimed:?}"
                );
            },
        );
        cache.storage_mut().end_leases(|_| true);
    }
    // A settle: the entry is there, or the lease runs or is gone. Never both.
    let token = claim(&mut cache, key, 0);
    cache.storage_mut().await_lease(key, token, true);
    kills += killed(
        &mut cache,
        |cache| drop(cache.settle(key, token, Value::String(b"new"), &Terms::default(), 0, 0.0)),
        |found| {
            let is_there = get(found, key).is_some();
            assert!(!(is_there && found.holds(key, token)));
        },
    );
    // An outcome: it is whole, or the lease runs or is gone.
    for outcome in [
        Outcome::Error(b"an error of some length"),
        Outcome::Value(Value::Number(1.5)),
    ] {
        let token = claim(&mut cache, key, 0);
        cache.storage_mut().await_lease(key, token, true);
        kills += killed(
            &mut cache,
            |cache| {
                cache.leave(key, token, outcome, 0);
            },
            |found| {
                let look = found.look(key, token, 0, 0.0, |left| {
                    assert_eq!(left, outcome);
                    Ok(())
                });
                assert!(look.is_ok());
            },
        );
        cache.storage_mut().await_lease(key, token, false);
        assert!(!cache.storage().has_leases());
    }
    // A renewal that fails: the lease runs, or is gone, or the key rests. The entry stays.
    cache.set(key, Value::String(b"old"), None, 0.0).unwrap();
    let token = claim(&mut cache, key, 0);
    cache.storage_mut().await_lease(key, token, true);
    let failure = Failure {
        text: b"away",
        time: 50.0,
        rest: 50,
    };
    kills += killed(
        &mut cache,
        |cache| drop(cache.fail(key, token, failure, 0, 0.0)),
        |found| {
            assert_eq!(get(found, key).as_deref(), Some(b"old".as_slice()));
            let lease = found.storage_mut().lease(key);
            assert!(lease.is_none_or(|lease| lease.token == token || lease.owner == RESTING));
        },
    );
    cache.storage_mut().await_lease(key, token, false);
    println!("killed before {kills} stores");
}

#[test]
fn a_rebuild_ends_every_lease() {
    let mut cache = Cache::new(create(small()));
    let token = claim(&mut cache, b"sa", 0);
    cache.storage_mut().await_lease(b"sa", token, true);
    let wake = cache.storage().header().leases.wake.get();
    cache.storage().recover().unwrap();
    assert!(!cache.holds(b"sa", token) && !cache.storage().has_leases());
    assert_ne!(
        cache.storage().header().leases.wake.get(),
        wake,
        "who waits is woken"
    );
    let next = claim(&mut cache, b"sa", 0);
    assert!(next > token);
}

/// Any word of the leases may have any value: calls come to an end, and give what can be.
#[test]
fn leases_that_damage_has_changed_break_nothing() {
    let mut random = Random(4711);
    for _ in 0..300 {
        let mut cache = Cache::new(create(small()));
        let keys: Vec<_> = (0..20).map(|number| format!("s{number}").into_bytes()).collect();
        let tokens: Vec<_> = keys.iter().map(|key| claim(&mut cache, key, 0)).collect();
        for (key, token) in keys.iter().zip(&tokens).step_by(2) {
            cache.storage_mut().await_lease(key, *token, true);
            cache.leave(key, *token, Outcome::Error(b"some text"), 0);
        }
        let base = cache.storage().memory().base();
        let head = (&raw const cache.storage().header().leases).addr() - base.addr().get();
        let places = cache.storage().edit.geometry.leases_at;
        for _ in 0..1 + random.below(40) {
            let at = match random.below(4) {
                0 => head + random.below(size_of::<LeaseHead>() / 4) * 4,
                1 => places + random.below(2048) * 4,
                _ => places + random.below(PLACES_BYTES / 4) * 4,
            };
            let word = match random.below(3) {
                0 => 0,
                1 => u32::MAX,
                _ => random.next() as u32,
            };
            // SAFETY: within the memory, and aligned.
            unsafe { base.add(at).cast::<Word>().as_ref() }.set(word);
        }
        cache.storage_mut().begin().unwrap();
        for (key, token) in keys.iter().zip(&tokens) {
            cache.storage().lease_runs(key, *token);
            let look = cache.look(key, *token, 0, 0.0, |_| Ok(()));
            assert!(look.is_ok());
            let claimed = cache.claim(key, ask(0), 0.0, claimed).unwrap();
            assert!(!matches!(claimed, Claim::Hit { .. }));
            cache.set(key, Value::Null, None, 0.0).unwrap();
        }
        cache.storage_mut().end_leases(|_| true);
        cache.storage_mut().end();
        // What was not found is counted no more once a lease begins.
        cache.storage().header().leases.held.set(u32::MAX);
        claim(&mut cache, b"sx", 0);
        cache.storage().validate().unwrap();
    }
}

#[test]
fn a_place_whose_owner_or_deadline_damage_has_changed_is_free() {
    let mut cache = Cache::new(create(small()));
    let token = claim(&mut cache, b"sa", 0);
    let at = cache.storage().lease_runs(b"sa", token).unwrap().0;
    let place = cache.storage().edit.geometry.leases_at + 2048 * 4 + at as usize * 128;
    // The deadline: five numbers lie before it.
    // SAFETY: within the memory, and aligned.
    let deadline: &Long = unsafe { cache.storage().memory().base().add(place + 40).cast().as_ref() };
    assert_eq!(deadline.get(), 100);
    deadline.set(u64::MAX);
    assert!(!cache.holds(b"sa", token));
    assert_eq!(cache.look(b"sa", token, 0, 0.0, |_| Ok(())), Ok(Look::Gone));
    claim(&mut cache, b"sa", 0);
}

#[test]
fn a_prefix_longer_than_what_a_place_keeps_of_a_key_ends_what_may_begin_with_it() {
    let mut cache = Cache::new(create(small()));
    let long = |end: &str| format!("s{}{end}", "k".repeat(2 * KEY_HEAD)).into_bytes();
    let (one, other) = (long("one"), long("other"));
    let tokens = [&one, &other].map(|key| claim(&mut cache, key, 0));
    let short = claim(&mut cache, b"skk", 0);
    cache.void_prefix(&long("oth"));
    assert!(!cache.holds(&other, tokens[1]));
    assert!(cache.holds(b"skk", short), "it is shorter");
}

#[cfg(target_os = "linux")]
mod processes {
    use std::{
        sync::mpsc,
        time::{Duration, Instant},
    };

    use super::super::harness::{self, Child, say};
    use crate::{
        cache::Terms,
        error::Error,
        lease::{Claim, Failure, Leases, Look, Outcome, PLACES},
        slots::Slots,
        stats::Event,
        storage::shared::{Segment, memfd::Ticket},
        store::{
            Store,
            leases::{How, Takes},
        },
        value::Value,
    };

    const LONG: Duration = Duration::from_secs(20);

    fn claim(store: &Store, key: &[u8], timeout: u64) -> Claim<()> {
        store
            .claim(
                key,
                How {
                    timeout,
                    ..How::default()
                },
                0.0,
                LONG,
                |_, _| Ok(()),
            )
            .unwrap()
            .0
    }

    fn leased(store: &Store, key: &[u8], timeout: u64) -> f64 {
        match claim(store, key, timeout) {
            Claim::Leased(token) => token,
            other => panic!("{other:?}"),
        }
    }

    fn look(store: &Store, key: &[u8], token: f64) -> Look<()> {
        let takes = Takes::default();
        store.take(key, token, takes, 0.0, LONG, |_| Ok(())).unwrap().look
    }

    /// A store in shared memory, and another attachment of it.
    fn two() -> (Store, Store) {
        let store = Store::shared(Segment::with_capacity(1 << 20, "").unwrap());
        let other = Store::attach(&store.ticket().unwrap()).unwrap();
        (store, other)
    }

    fn told(store: &Store) -> mpsc::Receiver<f64> {
        let (tell, told) = mpsc::channel();
        store.ended().set_notify(move |token| {
            tell.send(token).ok();
        });
        told
    }

    #[test]
    fn child_process() {
        let Some(role) = harness::arguments() else { return };
        let store = Store::attach(&role.parse::<Ticket>().unwrap()).unwrap();
        say(leased(&store, b"sk", 60_000));
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }

    #[test]
    fn the_end_of_a_lease_wakes_another_process() {
        let (owner, waiter) = two();
        let told = told(&waiter);
        let mut times = vec![];
        for round in 0..50 {
            let key = format!("s{round}").into_bytes();
            let token = leased(&owner, &key, 60_000);
            let joined = waiter.join(&key, token, false, LONG).unwrap().unwrap();
            assert!(joined.is_told && joined.left > 50_000);
            let begin = Instant::now();
            let settled =
                owner
                    .lock(LONG)
                    .unwrap()
                    .settle(&key, token, Value::Null, &Terms::default(), 0, 0.0);
            assert_eq!(settled, Ok(true));
            let ended = told.recv_timeout(LONG);
            times.push(begin.elapsed());
            assert_eq!(ended, Ok(token));
            assert_eq!(look(&waiter, &key, token), Look::Settled);
            waiter.quit(&key, token, LONG).unwrap();
        }
        times.sort();
        println!("told after {:?} at the median", times[25]);
    }

    #[test]
    fn where_there_is_no_place_keys_that_rest_make_room() {
        for store in [Store::heap(Slots::default()), two().0] {
            let failure = Failure {
                text: b"away",
                time: 0.0,
                rest: 60_000,
            };
            for number in 0..PLACES + 500 {
                let key = format!("s{number}").into_bytes();
                let mut guard = store.lock(LONG).unwrap();
                guard.set(&key, Value::Null, None, 0.0).unwrap();
                let Some(token) = guard.storage_mut().begin_lease(&key, 0, u64::MAX, 0) else {
                    continue;
                };
                guard.fail(&key, token, failure, 0, 0.0).unwrap();
            }
            for number in 0..100 {
                leased(&store, format!("s other {number}").as_bytes(), 60_000);
            }
        }
    }

    #[test]
    fn a_dead_owner_is_found_by_who_waits_and_by_who_claims() {
        let (store, other) = two();
        let told = told(&store);
        for waits in [true, false] {
            let mut child = Child::start(module_path!(), other.ticket().unwrap());
            let token: f64 = child.hear().parse().unwrap();
            assert!(matches!(claim(&store, b"sk", 10), Claim::Held(lease) if lease.token == token));
            if waits {
                store.join(b"sk", token, false, LONG).unwrap().unwrap();
            }
            drop(child);
            if waits {
                assert_eq!(told.recv_timeout(LONG), Ok(token));
                assert_eq!(look(&store, b"sk", token), Look::Gone);
                store.quit(b"sk", token, LONG).unwrap();
            }
            let next = leased(&store, b"sk", 60_000);
            store.lock(LONG).unwrap().release(b"sk", next);
        }
    }

    #[test]
    fn who_waits_for_a_lease_that_becomes_void_is_told_of_that_and_of_its_end() {
        let (owner, waiter) = two();
        let told = told(&waiter);
        let token = leased(&owner, b"sk", 60_000);
        waiter.join(b"sk", token, false, LONG).unwrap().unwrap();
        owner.lock(LONG).unwrap().del(b"sk").unwrap();
        assert_eq!(told.recv_timeout(LONG), Ok(token));
        assert!(matches!(look(&waiter, b"sk", token), Look::Void(_)));
        assert_eq!(
            waiter.join(b"sk", token, false, LONG),
            Ok(None),
            "nobody begins to wait"
        );
        assert_eq!(
            (waiter.waiters(b"sk", token), owner.waiters(b"sk", token)),
            (None, None)
        );
        let joined = waiter.join(b"sk", token, true, LONG).unwrap().unwrap();
        assert!(joined.is_told && joined.left > 50_000);
        let next = leased(&waiter, b"sk", 60_000);
        let settled =
            owner
                .lock(LONG)
                .unwrap()
                .settle(b"sk", token, Value::Number(1.5), &Terms::default(), 0, 0.0);
        assert_eq!(settled, Ok(false));
        assert_eq!(told.recv_timeout(LONG), Ok(token));
        assert!(matches!(look(&waiter, b"sk", token), Look::Left(())));
        waiter.quit(b"sk", token, LONG).unwrap();
        assert_eq!(waiter.waiters(b"sk", next), Some(0));
    }

    #[test]
    fn who_waits_takes_what_there_is_and_quits_in_one_step() {
        let (owner, waiter) = two();
        let takes = Takes {
            entry: true,
            quits: true,
        };
        let take = |token| {
            let number = |left: Outcome<'_>| match left {
                Outcome::Value(Value::Number(number)) => Ok(number),
                other => panic!("{other:?}"),
            };
            waiter.take(b"sk", token, takes, 0.0, LONG, number).unwrap()
        };
        let settle = |token, value| {
            let (mut cache, value) = (owner.lock(LONG).unwrap(), Value::Number(value));
            cache.settle(b"sk", token, value, &Terms::default(), 0, 0.0)
        };
        let token = leased(&owner, b"sk", 60_000);
        waiter.join(b"sk", token, false, LONG).unwrap().unwrap();
        owner.join(b"sk", token, false, LONG).unwrap().unwrap();
        let running = take(token);
        assert!(matches!(running.look, Look::Running(_)) && running.entry.is_none());
        assert_eq!(
            owner.waiters(b"sk", token),
            Some(2),
            "who waits for what runs goes on"
        );

        // The outcome is there for the other who waits, and goes with it.
        assert!(
            owner
                .lock(LONG)
                .unwrap()
                .leave(b"sk", token, Outcome::Value(Value::Number(1.5)), 0)
        );
        assert_eq!(take(token).look, Look::Left(1.5));
        assert_eq!(look(&owner, b"sk", token), Look::Left(()));
        owner.quit(b"sk", token, LONG).unwrap();
        assert_eq!(look(&owner, b"sk", token), Look::Gone);

        let token = leased(&owner, b"sk", 60_000);
        waiter.join(b"sk", token, false, LONG).unwrap().unwrap();
        assert_eq!(settle(token, 2.5), Ok(true));
        let hits = || owner.lock(LONG).unwrap().stats().counts.get(Event::Hit);
        let before = hits();
        let taken = take(token);
        assert_eq!(taken.look, Look::Settled);
        assert_eq!(taken.entry, Some((2.5, 0.0, f64::INFINITY)));
        assert!(taken.remembered.is_some());
        assert_eq!(hits(), before + 1);
        assert_eq!(settle(token, 3.5), Ok(false), "the lease is gone");
        owner.lock(LONG).unwrap().del(b"sk").unwrap();
        assert_eq!(take(token).look, Look::Gone);
    }

    #[test]
    fn the_dead_owner_of_a_void_lease_is_found_by_who_waits() {
        let (store, other) = two();
        let told = told(&store);
        let mut child = Child::start(module_path!(), other.ticket().unwrap());
        let token: f64 = child.hear().parse().unwrap();
        store.join(b"sk", token, false, LONG).unwrap().unwrap();
        store.lock(LONG).unwrap().del(b"sk").unwrap();
        assert_eq!(told.recv_timeout(LONG), Ok(token));
        store.join(b"sk", token, true, LONG).unwrap().unwrap();
        drop(child);
        assert_eq!(told.recv_timeout(LONG), Ok(token));
        assert_eq!(look(&store, b"sk", token), Look::Gone);
        store.quit(b"sk", token, LONG).unwrap();
    }

    #[test]
    fn a_store_that_is_left_gives_its_leases_back_and_one_that_moves_ends_them() {
        let (store, other) = two();
        let told_here = told(&store);
        let token = leased(&other, b"sk", 60_000);
        store.join(b"sk", token, false, LONG).unwrap().unwrap();
        drop(other);
        assert_eq!(told_here.recv_timeout(LONG), Ok(token));
        assert_eq!(look(&store, b"sk", token), Look::Gone);

        // From the heap to a segment.
        let heap = Store::heap(Slots::default());
        let told_there = told(&heap);
        let token = leased(&heap, b"sk", 60_000);
        heap.join(b"sk", token, false, LONG).unwrap().unwrap();
        let theirs = leased(&store, b"sk", 60_000);
        heap.adopt(&store.ticket().unwrap(), &Slots::default(), |_| None)
            .unwrap();
        assert_eq!(told_there.recv_timeout(LONG), Ok(token));
        assert_eq!(look(&heap, b"sk", token), Look::Gone);
        for late in [token, theirs] {
            let settled =
                heap.lock(LONG)
                    .unwrap()
                    .settle(b"sk", late, Value::Null, &Terms::default(), 0, 0.0);
            assert_eq!(settled, Ok(false));
        }

        // From one segment to another.
        let ((late, _), (early, _)) = (two(), two());
        let held = leased(&late, b"sk", 60_000);
        let moved = leased(&early, b"sk", 60_000);
        late.adopt(&early.ticket().unwrap(), &Slots::default(), |_| None)
            .unwrap();
        for token in [held, moved] {
            let settled =
                late.lock(LONG)
                    .unwrap()
                    .settle(b"sk", token, Value::Null, &Terms::default(), 0, 0.0);
            assert_eq!(settled, Ok(false));
        }
        assert!(
            leased(&late, b"sk", 60_000) > held.max(moved),
            "no token comes again"
        );
        assert_eq!(early.waiters(b"sk", moved), None);
        assert_eq!(early.lock(LONG).err(), Some(Error::moved()));
    }
}
