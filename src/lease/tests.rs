//! Leases by random calls, against a model, on the heap and in a segment.

use serde_json::json;
use std::collections::HashMap;

use super::*;
use crate::{
    extras::{Extras, TagList},
    slots::Slots,
    storage::{
        Kept,
        heap::HeapStorage,
        shared::{Geometry, Segment, memory::PlainMemory, segment::SegmentId},
    },
};

/// Numbers that are the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % end
    }
}

fn heap() -> Cache<HeapStorage> {
    Cache::new(HeapStorage::new(Slots::default()))
}

fn segment() -> Cache<Segment<PlainMemory>> {
    let geometry = Geometry::for_bytes(1 << 20);
    let memory = PlainMemory::new(geometry.reserved());
    let identity = SegmentId {
        seed: 1,
        nonce: [2, 3],
    };
    Cache::new(Segment::create(memory, geometry, identity).unwrap())
}

/// `past` is that of an entry which a fresh claim reads: no entry here is kept past its age.
fn number(value: Value<'_>, past: Option<Past>) -> Result<f64> {
    assert!(past.is_none_or(|past| past.expires == f64::INFINITY));
    match value {
        Value::Number(number) => Ok(number),
        Value::Null => Ok(-1.0),
        other => panic!("{other:?}"),
    }
}

fn ask(at: u64, timeout: u64, fresh: bool) -> Ask {
    Ask {
        owner: 7,
        timeout,
        fresh,
        renews: false,
        at,
    }
}

#[derive(Clone, Copy)]
struct Running {
    token: f64,
    deadline: u64,
    /// The step of its claim.
    begun: u64,
}

/// What must be there.
#[derive(Default)]
struct Model {
    entries: HashMap<u64, f64>,
    running: HashMap<u64, Running>,
    /// The tag of each entry that `settle` stored, if it has one.
    tags: HashMap<u64, Option<u8>>,
    /// The step of the last invalidation of each tag.
    invalidated: [u64; 3],
    /// All leases that were ever had: key and token.
    had: Vec<(u64, f64)>,
    /// Leases that somebody waits for.
    awaited: Vec<Awaited>,
}

struct Awaited {
    key: u64,
    token: f64,
    deadline: u64,
    waiters: u32,
    /// What was left.
    left: Option<OwnedOutcome>,
}

impl Model {
    /// Those who waited for a lease of a key get this.
    fn leave(&mut self, token: f64, left: Option<OwnedOutcome>) {
        match left {
            Some(left) => {
                for awaited in &mut self.awaited {
                    if awaited.token == token && awaited.left.is_none() {
                        awaited.left = Some(left.clone());
                    }
                }
            }
            None => self
                .awaited
                .retain(|awaited| awaited.token != token || awaited.left.is_some()),
        }
    }
}

fn program<S: Storage>(mut cache: Cache<S>, seed: u64) {
    let mut random = Random(seed);
    let mut model = Model::default();
    let mut at = 1000;
    for step in 0..4000_u64 {
        at += random.below(3);
        let number_of_key = random.below(6);
        let name = format!("s{number_of_key}{}", "x".repeat(number_of_key as usize * 30));
        let (key, name) = (number_of_key, name.as_bytes());
        let value = step as f64;
        match random.below(16) {
            0..3 => {
                let fresh = random.below(3) == 0;
                let claim = cache.claim(name, ask(at, 20, fresh), 0.0, number).unwrap();
                let running = model.running.get(&key).copied();
                match (model.entries.get(&key), running) {
                    (Some(there), _) if !fresh => {
                        assert!(
                            matches!(claim, Claim::Hit { read, .. } if read == *there),
                            "{claim:?}"
                        );
                    }
                    (_, Some(running)) if running.deadline > at => {
                        assert!(
                            matches!(claim, Claim::Held(lease) if lease.token == running.token),
                            "{claim:?}"
                        );
                    }
                    _ => {
                        let Claim::Leased(token) = claim else {
                            panic!("{claim:?}")
                        };
                        assert!(
                            model.had.iter().all(|(_, had)| *had != token),
                            "a token came again"
                        );
                        model.had.push((key, token));
                        if let Some(expired) = running {
                            model.leave(expired.token, None);
                        }
                        let deadline = at + 20;
                        let begun = step;
                        model.running.insert(
                            key,
                            Running {
                                token,
                                deadline,
                                begun,
                            },
                        );
                    }
                }
            }
            3..6 => {
                // Any lease that ever was, of this key or another.
                let Some(index) = model.had.len().checked_sub(1) else {
                    continue;
                };
                let had = model.had[index - random.below(6).min(index as u64) as usize];
                let token = if had.0 == key { had.1 } else { -(step as f64) };
                let holds = model
                    .running
                    .get(&key)
                    .is_some_and(|running| running.token == token);
                assert_eq!(cache.holds(name, token), holds);
                if random.below(4) == 0 {
                    assert_eq!(cache.leave(name, token, Outcome::Value(Value::Null), at), holds);
                    model.leave(token, Some(OwnedOutcome::Value(OwnedValue::Null)));
                } else {
                    let tags = TagList::parse(&json!([format!("t{}", random.below(3))])).unwrap();
                    let tags = if random.below(2) == 0 {
                        TagList::default()
                    } else {
                        tags
                    };
                    let number_of_tag = tags.tags().iter().next().map(|tag| tag[1] - b'0');
                    let terms = Terms {
                        extras: Extras { tags: tags.tags() },
                        ..Terms::default()
                    };
                    let is_void = number_of_tag.is_some_and(|tag| {
                        model
                            .running
                            .get(&key)
                            .is_some_and(|running| running.begun < model.invalidated[usize::from(tag)])
                    });
                    let stored = cache.settle(name, token, Value::Number(value), &terms, at, 0.0);
                    assert_eq!(stored, Ok(holds && !is_void));
                    // Who waited for a void lease gets the value; where it ran, there is an entry, or a tag was invalidated.
                    let left = (!holds).then_some(OwnedOutcome::Value(OwnedValue::Number(value)));
                    model.leave(token, left);
                    if holds && !is_void {
                        model.tags.insert(key, number_of_tag);
                        model.entries.insert(key, value);
                    }
                }
                if holds {
                    model.running.remove(&key);
                }
            }
            6 => {
                cache.set(name, Value::Number(value), None, 0.0).unwrap();
                model.tags.remove(&key);
                model.entries.insert(key, value);
                model.running.remove(&key);
            }
            7 => {
                cache.del(name).unwrap();
                model.entries.remove(&key);
                model.tags.remove(&key);
                model.running.remove(&key);
            }
            8 => {
                let sum = cache.incr(name, 1.0, None, 0.0).unwrap();
                if !model.entries.contains_key(&key) {
                    model.tags.remove(&key);
                }
                let there = model.entries.entry(key).or_default();
                *there += 1.0;
                assert_eq!(sum, *there);
                model.running.remove(&key);
            }
            9 => {
                // No write: the lease goes on.
                cache.pop(|_| Ok(())).unwrap();
                model.entries.retain(|key, _| {
                    let name = format!("s{key}{}", "x".repeat(*key as usize * 30));
                    cache.has(name.as_bytes(), 0.0).unwrap()
                });
            }
            10 if step % 7 == 1 => {
                let tag = random.below(3);
                let tags = TagList::parse(&json!([format!("t{tag}"), "other"])).unwrap();
                cache.invalidate(tags.tags());
                model.invalidated[tag as usize] = step;
                let tagged = model.tags.clone();
                model
                    .entries
                    .retain(|key, _| tagged.get(key) != Some(&Some(tag as u8)));
            }
            10 if step % 7 == 0 => {
                cache.reset().unwrap();
                model.entries.clear();
                model.running.clear();
            }
            10 => {
                cache.void_prefix(format!("s{key}x").as_bytes());
                // The key of number 0 has no `x`.
                if key != 0 {
                    model.running.remove(&key);
                }
            }
            11 | 12 => {
                if let Some(running) = model.running.remove(&key) {
                    cache.release(name, running.token);
                    model.leave(running.token, None);
                }
            }
            13 => {
                // Begins to wait, as who was told that another has the lease.
                if let Some(Running { token, deadline, .. }) = model.running.get(&key).copied() {
                    cache.storage_mut().await_lease(name, token, true);
                    match model.awaited.iter_mut().find(|awaited| awaited.token == token) {
                        Some(awaited) => awaited.waiters += 1,
                        None => model.awaited.push(Awaited {
                            key,
                            token,
                            deadline,
                            waiters: 1,
                            left: None,
                        }),
                    }
                }
            }
            _ => {
                // Looks, and may wait no longer.
                let Some(index) = (0..model.awaited.len()).find(|index| model.awaited[*index].key == key)
                else {
                    continue;
                };
                let awaited = &model.awaited[index];
                let token = awaited.token;
                let look = cache.look(name, token, at, 0.0, |outcome| Ok(outcome.to_owned().unwrap()));
                let runs = model
                    .running
                    .get(&key)
                    .is_some_and(|running| running.token == token);
                match (&awaited.left, look.unwrap()) {
                    (Some(left), Look::Left(found)) => assert_eq!(*left, found, "step {step}"),
                    (None, Look::Running(_)) => assert!(runs && awaited.deadline > at, "step {step}"),
                    (None, Look::Void(_)) => assert!(!runs && awaited.deadline > at, "step {step}"),
                    (None, Look::Gone) => assert!(awaited.deadline <= at, "step {step}"),
                    (None, Look::Settled) => assert!(!runs && awaited.deadline <= at, "step {step}"),
                    (left, found) => panic!("step {step}: {left:?}, {found:?}"),
                }
                if random.below(2) == 0 {
                    cache.storage_mut().await_lease(name, token, false);
                    model.awaited[index].waiters -= 1;
                    if model.awaited[index].waiters == 0 {
                        model.awaited.remove(index);
                    }
                }
            }
        }
        for (key, running) in &model.running {
            let name = format!("s{key}{}", "x".repeat(*key as usize * 30));
            assert!(cache.holds(name.as_bytes(), running.token), "step {step}");
        }
        if model.running.is_empty() && random.below(2) == 0 {
            cache
                .storage_mut()
                .end_leases(|held| held.lease.phase != Phase::Running);
            model.awaited.clear();
            assert!(!cache.storage().has_leases());
        }
    }
}

#[test]
fn random_calls_do_what_a_model_does() {
    for seed in 1..=6 {
        program(heap(), seed * 77);
        program(segment(), seed * 77);
    }
}

/// Waits, outcomes, times: what a process finds that waits.
fn waits<S: Storage>(mut cache: Cache<S>) {
    let key = b"skey".as_slice();
    let look = |cache: &mut Cache<S>, token: f64, at: u64| {
        cache.look(key, token, at, 0.0, |outcome| Ok(outcome.to_owned().unwrap()))
    };
    let claim = |cache: &mut Cache<S>, at: u64| match cache.claim(key, ask(at, 10, true), 0.0, number) {
        Ok(Claim::Leased(token)) => token,
        other => panic!("{other:?}"),
    };
    let token = claim(&mut cache, 100);
    assert!(matches!(look(&mut cache, token, 109), Ok(Look::Running(lease)) if lease.deadline == 110));
    assert_eq!(look(&mut cache, token, 110), Ok(Look::Gone), "its time is over");
    assert!(cache.holds(key, token), "and nobody has claimed");

    // Nobody waits: nothing is left.
    assert!(cache.leave(key, token, Outcome::Value(Value::Null), 120));
    assert_eq!(look(&mut cache, token, 120), Ok(Look::Gone));

    // Two wait, and each gets it. Another lease begins meanwhile.
    let text = vec![b'x'; LONGEST_OUTCOME];
    for outcome in [
        Outcome::Value(Value::Undefined),
        Outcome::Value(Value::Number(-0.5)),
        Outcome::Value(Value::Json("{\"a\":1}")),
        Outcome::Value(Value::String(&text)),
        Outcome::Error(b"{\"message\":\"no\"}"),
        Outcome::Error(b""),
    ] {
        let token = claim(&mut cache, 200);
        cache.storage_mut().await_lease(key, token, true);
        cache.storage_mut().await_lease(key, token, true);
        assert!(cache.leave(key, token, outcome, 201));
        let next = claim(&mut cache, 202);
        cache.set(key, Value::Null, None, 0.0).unwrap();
        assert!(!cache.holds(key, next));
        for _ in 0..2 {
            assert_eq!(
                look(&mut cache, token, 203),
                Ok(Look::Left(outcome.to_owned().unwrap()))
            );
            cache.storage_mut().await_lease(key, token, false);
        }
        assert_eq!(
            look(&mut cache, token, 203),
            Ok(Look::Settled),
            "of another write"
        );
        assert!(!cache.storage().has_leases());
    }

    // The key is written: who waited before that gets what the owner leaves, and the entry stays as it is.
    for write in 0..4 {
        let token = claim(&mut cache, 250);
        cache.storage_mut().await_lease(key, token, true);
        match write {
            0 => drop(cache.set(key, Value::Null, None, 0.0).unwrap()),
            1 => cache.del(key).unwrap(),
            2 => cache.void_prefix(b"sk"),
            _ => cache.reset().unwrap(),
        }
        let there = cache.has(key, 0.0).unwrap();
        assert!(!cache.holds(key, token));
        assert!(matches!(look(&mut cache, token, 259), Ok(Look::Void(lease)) if lease.token == token));
        let next = claim(&mut cache, 252);
        assert_ne!(next, token);
        let terms = Terms::default();
        let stored = cache.settle(key, token, Value::Number(7.0), &terms, 253, 0.0);
        assert_eq!((stored, cache.has(key, 0.0)), (Ok(false), Ok(there)));
        let left = OwnedOutcome::Value(OwnedValue::Number(7.0));
        assert_eq!(look(&mut cache, token, 253), Ok(Look::Left(left)));
        cache.storage_mut().await_lease(key, token, false);
        assert!(cache.holds(key, next), "the later lease runs on");
        cache.release(key, next);
        assert!(!cache.storage().has_leases());
    }
    // Nobody waits any more, or its time is over, or it is given up: a void lease is gone.
    for end in 0..3 {
        let token = claim(&mut cache, 260);
        cache.storage_mut().await_lease(key, token, true);
        cache.del(key).unwrap();
        match end {
            0 => cache.storage_mut().await_lease(key, token, false),
            1 => cache.release(key, token),
            _ => assert_eq!(look(&mut cache, token, 270), Ok(Look::Gone)),
        }
        if end < 2 {
            assert!(!cache.storage().has_leases());
        }
        assert!(!cache.leave(key, token, Outcome::Value(Value::Null), 271));
        cache.storage_mut().end_leases(|_| true);
    }

    // Too long.
    cache.set(key, Value::Null, None, 0.0).unwrap();
    let long = vec![b'x'; LONGEST_OUTCOME + 1];
    let token = claim(&mut cache, 300);
    cache.storage_mut().await_lease(key, token, true);
    assert!(cache.leave(key, token, Outcome::Error(&long), 300));
    assert_eq!(look(&mut cache, token, 300), Ok(Look::Settled));
    cache.del(key).unwrap();

    // One who waits and never takes it: its room is used again.
    for round in 0..100 {
        let at = 1000 + round * (OUTCOME_KEPT + 1);
        let name = format!("s{round}");
        let claimed = cache.claim(name.as_bytes(), ask(at, 10, true), 0.0, number);
        let Ok(Claim::Leased(token)) = claimed else {
            panic!("{claimed:?}")
        };
        cache.storage_mut().await_lease(name.as_bytes(), token, true);
        cache.leave(name.as_bytes(), token, Outcome::Error(b"never taken"), at);
        if round == 99 {
            let taken = cache.look(name.as_bytes(), token, at, 0.0, |_| Ok(()));
            assert_eq!(taken, Ok(Look::Left(())));
        }
    }
}

#[test]
fn who_waits_finds_what_a_lease_has_left() {
    waits(heap());
    waits(segment());
}

fn bound<S: Storage>(mut cache: Cache<S>) {
    let mut claims = |at: u64, of: &str| {
        let mut leased = 0;
        for number_of_key in 0..4 * PLACES {
            let name = format!("s{of}{number_of_key}");
            match cache
                .claim(name.as_bytes(), ask(at, 100, false), 0.0, number)
                .unwrap()
            {
                Claim::Leased(_) => leased += 1,
                Claim::Full => {}
                other => panic!("{other:?}"),
            }
        }
        leased
    };
    let first = claims(0, "a");
    assert!(first <= PLACES && first > PLACES / 2, "{first}");
    assert_eq!(claims(50, "b"), PLACES - first, "what is left of the places");
    assert!(claims(100, "c") > PLACES / 2, "those whose time is over give way");
}

#[test]
fn there_is_an_end_to_leases() {
    bound(heap());
    let mut cache = segment();
    // Of a segment some keys find all of their places taken before others do.
    let mut leased = 0;
    for number_of_key in 0..1000 {
        let name = format!("s{number_of_key}");
        let claim = cache.claim(name.as_bytes(), ask(0, 100, false), 0.0, number);
        leased += u32::from(matches!(claim, Ok(Claim::Leased(_))));
    }
    assert_eq!(leased, 1000);
    for number_of_key in 1000..4 * PLACES {
        let name = format!("s{number_of_key}");
        let claim = cache.claim(name.as_bytes(), ask(0, 100, false), 0.0, number);
        leased += u32::from(matches!(claim, Ok(Claim::Leased(_))));
    }
    assert!(leased <= PLACES);
    cache.storage().validate().unwrap();
    let late = cache.claim(b"slate", ask(100, 100, false), 0.0, number);
    assert!(matches!(late, Ok(Claim::Leased(_))));
}

#[test]
fn a_slot_that_is_not_stored_is_freed() {
    let slots = Slots::default();
    let mut cache = Cache::new(HeapStorage::new(slots.clone()));
    let claimed = cache.claim(b"sa", ask(0, 10, false), 0.0, number);
    let Ok(Claim::Leased(token)) = claimed else {
        panic!("{claimed:?}")
    };
    let settle = |cache: &mut Cache<HeapStorage>| {
        cache.settle(b"sa", token, Value::Slot(slots.take()), &Terms::default(), 0, 0.0)
    };
    assert_eq!(settle(&mut cache), Ok(true));
    assert_eq!(settle(&mut cache), Ok(false), "the lease is gone");
    assert_eq!(slots.in_use(), 1);
}

#[test]
fn the_end_of_a_lease_is_told_to_those_who_wait() {
    use std::sync::{Arc, mpsc};
    let ended = Arc::<Ended>::default();
    let (tell, told) = mpsc::channel();
    ended.set_notify(move |token| tell.send(token).unwrap());
    let mut cache = Cache::new(HeapStorage::new(Slots::default()).with_ended(ended.clone()));
    let mut tokens = vec![];
    for name in [b"sa", b"sb", b"sc"] {
        let claimed = cache.claim(name, ask(0, 10, false), 0.0, number);
        let Ok(Claim::Leased(token)) = claimed else {
            panic!("{claimed:?}")
        };
        if name != b"sb" {
            cache.storage_mut().await_lease(name, token, true);
            tokens.push(token);
        }
    }
    for name in [b"sa", b"sb", b"sc"] {
        cache.del(name).unwrap();
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), tokens);
}

#[test]
fn a_claim_gives_what_is_kept_past_its_age_and_errors() {
    let mut cache = Cache::new(HeapStorage::new(Slots::default()));
    let key = b"sa".as_slice();
    let past = |value: Value<'_>, past: Option<Past>| match value {
        Value::Number(number) => (number, past.map(|past| (past.set_at, past.expires))),
        _ => (0.0, past.map(|_| (0.0, 0.0))),
    };
    let mut seen = vec![];
    let terms = Terms {
        max_age: Some(10.0),
        kept: Kept::For(100.0),
        ..Terms::default()
    };
    let mut claim = |cache: &mut Cache<HeapStorage>, fresh: bool, now: f64| {
        seen.clear();
        let claim = cache.claim(key, ask(0, 100, fresh), now, |value, known| {
            seen.push(past(value, known));
            Ok(())
        });
        (claim.unwrap(), seen.clone())
    };
    let (Claim::Leased(token), _) = claim(&mut cache, false, 0.0) else {
        panic!()
    };
    assert_eq!(
        cache.settle(key, token, Value::Number(5.0), &terms, 0, 0.0),
        Ok(true)
    );
    assert!(matches!(claim(&mut cache, false, 10.0), (Claim::Hit { .. }, _)));
    let (Claim::Leased(token), stale) = claim(&mut cache, false, 11.0) else {
        panic!()
    };
    assert_eq!(stale, [(5.0, Some((0.0, 10.0)))]);
    // An error leaves it there.
    let failure = Failure {
        text: b"away",
        time: 50.0,
        rest: 0,
    };
    assert_eq!(cache.fail(key, token, failure, 0, 11.0), Ok(true));
    let (Claim::Leased(token), stale) = claim(&mut cache, false, 12.0) else {
        panic!()
    };
    assert_eq!(stale, [(5.0, Some((0.0, 10.0)))]);
    assert!(matches!(claim(&mut cache, false, 12.0), (Claim::Held(_), stale) if stale.len() == 1));
    cache.del(key).unwrap();
    assert_eq!(cache.fail(key, token, failure, 0, 12.0), Ok(false), "void");
    let (Claim::Leased(token), stale) = claim(&mut cache, false, 12.0) else {
        panic!()
    };
    assert_eq!(stale, []);
    assert_eq!(cache.fail(key, token, failure, 0, 12.0), Ok(true));
    assert!(matches!(claim(&mut cache, false, 62.0), (Claim::Error(()), _)));
    let (Claim::Leased(token), _) = claim(&mut cache, true, 62.0) else {
        panic!()
    };
    cache.release(key, token);
    assert!(matches!(claim(&mut cache, false, 63.0), (Claim::Leased(_), _)));
}

/// A renewal that failed: others wait, who need the value do not.
fn rests<S: Storage>(mut cache: Cache<S>) {
    let failure = Failure {
        text: b"away",
        time: 50.0,
        rest: 100,
    };
    let key = b"sr".as_slice();
    let claim = |cache: &mut Cache<S>, at: u64, fresh: bool, renews: bool| {
        let mut seen = vec![];
        let ask = Ask {
            renews,
            ..ask(at, 1000, fresh)
        };
        let read = |value: Value<'_>, past: Option<Past>| {
            seen.push((number(value, None)?, past.map(|past| past.is_error)));
            Ok(())
        };
        (cache.claim(key, ask, 0.0, read).unwrap(), seen)
    };
    let leased = |cache: &mut Cache<S>, at: u64, renews: bool| match claim(cache, at, true, renews).0 {
        Claim::Leased(token) => token,
        other => panic!("{other:?}"),
    };
    // Without an entry there is nothing to renew: the error is stored.
    let token = leased(&mut cache, 0, true);
    assert_eq!(cache.fail(key, token, failure, 0, 0.0), Ok(true));
    assert!(!cache.storage().has_leases());

    cache.set(key, Value::Number(1.0), None, 0.0).unwrap();
    let token = leased(&mut cache, 0, true);
    assert_eq!(cache.fail(key, token, failure, 0, 0.0), Ok(true));
    // The entry is given; it is a hit for who does not renew.
    assert_eq!(
        claim(&mut cache, 40, true, true),
        (Claim::Resting(60), vec![(1.0, Some(false))])
    );
    assert!(matches!(claim(&mut cache, 40, false, true).0, Claim::Hit { .. }));
    assert!(
        !cache.holds(key, token),
        "the token of the failure counts no more"
    );
    // After that time, and for who needs the value at once, there is a lease.
    let token = leased(&mut cache, 100, true);
    assert_eq!(cache.fail(key, token, failure, 100, 0.0), Ok(true));
    let token = leased(&mut cache, 101, false);
    assert!(matches!(claim(&mut cache, 102, true, true).0, Claim::Held(lease) if lease.token == token));
    // A write ends it.
    assert_eq!(cache.fail(key, token, failure, 102, 0.0), Ok(true));
    assert!(matches!(claim(&mut cache, 103, true, true).0, Claim::Resting(99)));
    cache.set(key, Value::Number(2.0), None, 0.0).unwrap();
    assert!(!cache.storage().has_leases());

    // What rests past its time goes with the next failure.
    for at in [200, 350] {
        let name = format!("s{at}");
        cache.set(name.as_bytes(), Value::Null, None, 0.0).unwrap();
        let begun = cache.storage_mut().begin_lease(name.as_bytes(), 7, at + 1000, at);
        assert_eq!(
            cache.fail(name.as_bytes(), begun.unwrap(), failure, at, 0.0),
            Ok(true)
        );
        let mut resting = 0;
        cache.storage_mut().end_leases(|held| {
            resting += u32::from(held.lease.owner == RESTING);
            false
        });
        assert_eq!(resting, 1);
    }
}

#[test]
fn a_renewal_that_failed_keeps_others_from_renewing() {
    rests(heap());
    rests(segment());
}

fn tagged<S: Storage>(mut cache: Cache<S>) {
    let list = |tags: &[&str]| TagList::parse(&json!(tags)).unwrap();
    for (tags, stored) in [(&["a", "b"][..], false), (&["b"], false), (&["c"], true)] {
        cache.invalidate(list(&["a"]).tags());
        let claimed = cache.claim(b"sk", ask(0, 10, true), 0.0, number);
        let Ok(Claim::Leased(token)) = claimed else {
            panic!("{claimed:?}")
        };
        cache.invalidate(list(&["b", "d"]).tags());
        let tags = list(tags);
        let terms = Terms {
            extras: Extras { tags: tags.tags() },
            ..Terms::default()
        };
        let settled = cache.settle(b"sk", token, Value::Number(1.0), &terms, 0, 0.0);
        assert_eq!(settled, Ok(stored), "{tags:?}");
        assert!(!cache.storage().has_leases());
    }
}

#[test]
fn tags_given_at_settle_count_from_the_claim() {
    tagged(heap());
    tagged(segment());
}
