//! The segment on plain memory: against a plain model, stopped at every single store, and damaged at random.

#[cfg(target_os = "linux")]
mod coherence;
#[cfg(target_os = "linux")]
pub mod harness;
mod intents;
mod leases;
#[cfg(target_os = "linux")]
mod listing;
mod near;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod scan;
#[cfg(target_os = "linux")]
mod schedules;
mod tags;

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use super::{
    Geometry, Segment,
    crash_point::watch,
    memory::{Memory, PlainMemory},
    segment::SegmentId,
    view::BUCKETS,
};
use crate::{
    cache::Cache,
    error::Error,
    extras::{Extras, TagList},
    slots::Slots,
    storage::{Limits, Stamp, Storage},
    value::{OwnedValue, Value},
};

/// Numbers that are the same in every run (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

const IDENTITY: SegmentId = SegmentId {
    seed: 42,
    nonce: [1, 2],
};

fn create(geometry: Geometry) -> Segment<PlainMemory> {
    let mut segment = Segment::create(PlainMemory::new(geometry.reserved()), geometry, IDENTITY).unwrap();
    segment.publish();
    segment
}

fn attach(memory: PlainMemory) -> Segment<PlainMemory> {
    Segment::attach(memory, Some(IDENTITY.nonce)).unwrap()
}

fn small() -> Geometry {
    Geometry::new(256, 600, 900).unwrap()
}

/// An entry, to compare.
type Plain = (Vec<u8>, OwnedValue, Stamp);

/// Most recent first.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model(Vec<Plain>);

impl Model {
    fn at(&self, key: &[u8]) -> Option<usize> {
        self.0.iter().position(|(k, ..)| k == key)
    }

    fn of<M: Memory>(segment: &Segment<M>) -> Self {
        let mut entries = vec![];
        let visited = segment.visit(|entry| {
            entries.push((entry.key.to_vec(), entry.value.to_owned(), entry.stamp));
            Ok(())
        });
        visited.unwrap();
        Self(entries)
    }
}

#[derive(Clone, Debug)]
enum Call {
    Put(Vec<u8>, OwnedValue, Stamp),
    Touch(Vec<u8>),
    Restamp(Vec<u8>, Stamp),
    Remove(Vec<u8>),
    RemoveLeastRecent,
    RetainStamps(u64),
    Clear,
}

fn key(random: &mut Random, keys: usize) -> Vec<u8> {
    let number = random.below(keys);
    // Some longer than a block.
    let mut key = format!("s{number}").into_bytes();
    key.resize(
        key.len()
            + if number.is_multiple_of(5) {
                40 * (number % 7)
            } else {
                0
            },
        b'k',
    );
    key
}

fn value(random: &mut Random) -> OwnedValue {
    let number = random.next();
    let text = |random: &mut Random| {
        let len = if random.one_in(6) {
            random.below(1500)
        } else {
            random.below(130)
        };
        (0..len)
            .map(|at| b'a' + ((number as usize + at) % 26) as u8)
            .collect::<Vec<u8>>()
    };
    match random.below(9) {
        0 => OwnedValue::Undefined,
        1 => OwnedValue::Null,
        2 => OwnedValue::Bool(number.is_multiple_of(2)),
        3 => OwnedValue::Number(number as f64),
        4 => OwnedValue::Slot(number as u32),
        5 => OwnedValue::String(text(random).into()),
        6 => OwnedValue::Clone(text(random).into()),
        _ => OwnedValue::Json(format!("{{\"é\":\"{}\"}}", String::from_utf8(text(random)).unwrap()).into()),
    }
}

fn call(random: &mut Random, keys: usize) -> Call {
    match random.below(100) {
        0..50 => {
            let stamp = Stamp {
                set_at: random.below(1000) as f64,
                max_age: random.below(3) as f64,
            };
            Call::Put(key(random, keys), value(random), stamp)
        }
        50..62 => Call::Touch(key(random, keys)),
        62..70 => {
            let stamp = Stamp {
                set_at: random.below(1000) as f64,
                max_age: random.below(3) as f64,
            };
            Call::Restamp(key(random, keys), stamp)
        }
        70..88 => Call::Remove(key(random, keys)),
        88..97 => Call::RemoveLeastRecent,
        97..99 => Call::RetainStamps(random.next()),
        _ => Call::Clear,
    }
}

/// Makes a call on both, and compares what it says.
fn apply<M: Memory>(segment: &mut Segment<M>, model: &mut Model, call: &Call) {
    match call {
        Call::Put(key, value, stamp) => {
            let put = segment.put(key, value.as_ref(), *stamp);
            let at = model.at(key);
            match put {
                Ok(replaced) => {
                    assert_eq!(replaced, at.is_some());
                    if let Some(at) = at {
                        model.0.remove(at);
                    }
                    model.0.insert(0, (key.clone(), value.clone(), *stamp));
                }
                Err(error) => assert_eq!(error.code.as_str(), "ERR_OUT_OF_MEMORY"),
            }
        }
        Call::Touch(key) => {
            let found = segment.touch(key).unwrap();
            let found = found.map(|(value, stamp)| (value.to_owned(), stamp));
            let kept = model.at(key).map(|at| model.0.remove(at));
            assert_eq!(
                found,
                kept.as_ref().map(|(_, value, stamp)| (value.clone(), *stamp))
            );
            if let Some(kept) = kept {
                model.0.insert(0, kept);
            }
        }
        Call::Restamp(key, stamp) => {
            let at = model.at(key);
            assert_eq!(segment.restamp(key, *stamp), Ok(at.is_some()));
            if let Some(at) = at {
                let (key, value, _) = model.0.remove(at);
                model.0.insert(0, (key, value, *stamp));
            }
        }
        Call::Remove(key) => {
            let removed = model
                .at(key)
                .is_some_and(|at| model.0.drain(at..=at).count() == 1);
            assert_eq!(segment.remove(key), Ok(removed));
        }
        Call::RemoveLeastRecent => {
            assert_eq!(segment.remove_least_recent(), Ok(model.0.pop().is_some()));
        }
        Call::RetainStamps(mask) => {
            let keep = |stamp: Stamp| mask >> (stamp.set_at as u64 % 64) & 1 == 1;
            segment.retain_stamps(keep);
            model.0.retain(|(.., stamp)| keep(*stamp));
        }
        Call::Clear => {
            segment.clear().unwrap();
            model.0.clear();
        }
    }
}

fn check<M: Memory>(segment: &Segment<M>, model: &Model) {
    segment.validate().unwrap();
    assert_eq!(Model::of(segment), *model);
    assert_eq!(segment.len(), model.0.len());
    for (key, value, stamp) in &model.0 {
        assert_eq!(segment.peek(key), Ok(Some((value.as_ref(), *stamp))));
        assert_eq!(segment.stamp(key), Ok(Some(*stamp)));
    }
    let mut keys = model.0.iter();
    let visited = segment.visit_keys(|key, _| {
        assert_eq!(Some(key), keys.next().map(|(key, ..)| &key[..]));
        Ok(())
    });
    assert_eq!((visited, keys.next()), (Ok(()), None));
    let last = segment.least_recent().unwrap().map(|entry| entry.key.to_vec());
    assert_eq!(last, model.0.last().map(|(key, ..)| key.clone()));
}

#[test]
fn it_does_what_the_model_does_and_every_structure_holds_after_each_call() {
    for seed in 1..=12 {
        let mut random = Random(seed);
        let mut segment = create(small());
        let mut model = Model::default();
        for _ in 0..600 {
            let call = call(&mut random, 8 << (seed % 4));
            apply(&mut segment, &mut model, &call);
            check(&segment, &model);
        }
        assert_eq!(segment.recoveries(), (0, 0));
    }
}

#[test]
fn a_put_without_memory_fails_and_leaves_what_was_there() {
    for seed in 1..=6 {
        let mut random = Random(seed);
        let mut segment = create(small());
        segment.memory().set_limit(4096 * (8 + random.below(10)));
        let (mut model, mut failed) = (Model::default(), 0);
        for at in 0..1500 {
            if at % 500 == 0 {
                segment.clear().unwrap();
                model.0.clear();
            }
            let (key, value) = (key(&mut random, 400), value(&mut random));
            let before = segment.memory().committed();
            failed += usize::from(
                segment
                    .put(
                        &key,
                        value.as_ref(),
                        Stamp {
                            set_at: 0.0,
                            max_age: 0.0,
                        },
                    )
                    .is_err(),
            );
            if Model::of(&segment) == model {
                assert!(segment.memory().committed() >= before);
            }
            model = Model::of(&segment);
            segment.validate().unwrap();
        }
        assert!(failed > 0, "the limit was never met");
        assert_eq!(segment.recoveries(), (0, 0));
    }
}

#[test]
fn a_failed_put_keeps_the_old_value() {
    let mut segment = create(Geometry::new(16, 10, 10).unwrap());
    let stamp = Stamp {
        set_at: 1.0,
        max_age: 2.0,
    };
    segment.put(b"sa", Value::String(b"old"), stamp).unwrap();
    segment.put(b"sb", Value::String(&[b'x'; 250]), stamp).unwrap();
    let error = segment
        .put(b"sa", Value::String(&[b'y'; 400]), stamp)
        .unwrap_err();
    assert_eq!(error.code.as_str(), "ERR_OUT_OF_MEMORY");
    assert_eq!(segment.peek(b"sa"), Ok(Some((Value::String(b"old"), stamp))));
    segment.validate().unwrap();
    // What can never fit, too.
    assert!(
        segment
            .put(b"sa", Value::String(&vec![b'z'; 100_000]), stamp)
            .is_err()
    );
    assert_eq!(segment.peek(b"sa"), Ok(Some((Value::String(b"old"), stamp))));
}

/// The heart of it: whatever store a process was stopped before, the next one gives the state before the call or the one
/// after it, without a rebuild; and where that is stopped itself, it can be begun again.
#[test]
fn stopped_before_any_store_it_recovers_to_before_or_after_the_call() {
    let mut stops = 0;
    for seed in 1..=5 {
        let mut random = Random(seed * 77);
        let mut segment = create(small());
        let mut model = Model::default();
        for _ in 0..110 {
            let call = call(&mut random, 24);
            let before = model.clone();
            let snapshots = Arc::new(Mutex::new(Vec::new()));
            segment.begin().unwrap();
            let (memory, taken) = (segment.memory().clone(), snapshots.clone());
            watch(
                move || taken.lock().unwrap().push(memory.snapshot()),
                || {
                    apply(&mut segment, &mut model, &call);
                    segment.end();
                },
            );
            for snapshot in snapshots.lock().unwrap().drain(..) {
                stops += 1;
                let twice = random.one_in(20).then(|| snapshot.snapshot());
                let mut found = attach(snapshot);
                found.begin().unwrap();
                let rebuilds = found.recoveries().0;
                assert!(rebuilds == 0 || matches!(call, Call::Clear), "{call:?}");
                let state = Model::of(&found);
                match call {
                    // These take entries out one by one.
                    Call::Clear | Call::RetainStamps(_) => {
                        found.validate().unwrap();
                        assert!(state.0.iter().all(|entry| before.0.contains(entry)));
                        assert!(model.0.iter().all(|entry| state.0.contains(entry)));
                    }
                    _ => {
                        let expected = if state == before { &before } else { &model };
                        check(&found, expected);
                    }
                }
                found.end();
                assert!(!found.begin().unwrap(), "it is whole now");
                if let Some(twice) = twice {
                    if random.one_in(30) {
                        // A rebuild, and not only a change to complete.
                        attach(twice.clone()).header().damaged.set(1);
                    }
                    stop_recovery(&twice, &state);
                }
            }
        }
        check(&segment, &model);
    }
    println!("stopped before {stops} stores");
    assert!(stops > 10_000);
}

fn stop_recovery(memory: &PlainMemory, expected: &Model) {
    let snapshots = Arc::new(Mutex::new(Vec::new()));
    let (watched, taken) = (memory.clone(), snapshots.clone());
    let mut segment = attach(memory.clone());
    watch(
        move || taken.lock().unwrap().push(watched.snapshot()),
        || segment.begin().unwrap(),
    );
    for snapshot in snapshots.lock().unwrap().drain(..) {
        let mut found = attach(snapshot);
        found.begin().unwrap();
        check(&found, expected);
    }
}

#[test]
fn a_slot_is_freed_once_wherever_its_process_was_stopped() {
    let slots = Slots::default();
    let mut owner = create(small()).with_slots(slots.clone());
    let stamp = Stamp {
        set_at: 0.0,
        max_age: 0.0,
    };
    for key in [b"sa", b"sb", b"sc"] {
        owner.put(key, Value::Slot(slots.take()), stamp).unwrap();
    }
    // Another process takes entries out: the slots wait for the owner.
    let mut other = attach(owner.memory().clone());
    other.put(b"sa", Value::Null, stamp).unwrap();
    other.remove(b"sb").unwrap();
    other.end();
    assert_eq!(slots.in_use(), 3);
    assert!(!owner.begin().unwrap());
    assert_eq!(slots.in_use(), 1);
    other.clear().unwrap();
    other.end();
    owner.begin().unwrap();
    assert_eq!(slots.in_use(), 0);
    owner.validate().unwrap();
}

#[test]
fn the_slots_of_a_process_that_goes_go_with_it() {
    let slots = Slots::default();
    let mut owner = create(small()).with_slots(slots.clone());
    let stamp = Stamp {
        set_at: 0.0,
        max_age: 0.0,
    };
    owner.put(b"sa", Value::Slot(slots.take()), stamp).unwrap();
    owner.put(b"sb", Value::Null, stamp).unwrap();
    let other = attach(owner.memory().clone());
    drop(owner);
    assert_eq!(slots.in_use(), 0);
    assert_eq!((other.len(), other.peek(b"sa")), (1, Ok(None)));
    other.validate().unwrap();
}

#[test]
fn it_gives_memory_back_and_takes_it_again() {
    let mut segment = create(Geometry::for_bytes(32 << 20));
    let stamp = Stamp {
        set_at: 0.0,
        max_age: 0.0,
    };
    let empty = segment.memory().committed();
    let mut full = 0;
    for round in 0..4 {
        for at in 0..20_000 {
            segment
                .put(format!("s{at}").as_bytes(), Value::String(&[b'v'; 200]), stamp)
                .unwrap();
        }
        let committed = segment.memory().committed();
        assert!(
            round == 0 || committed.abs_diff(full) < full / 20,
            "{committed} is not about {full}"
        );
        full = committed;
        // Emptied one by one it keeps its memory and uses it again.
        if round % 2 == 0 {
            while segment.remove_least_recent().unwrap() {}
            assert_eq!(segment.memory().committed(), full);
        } else {
            segment.clear().unwrap();
            assert!(
                segment.memory().committed() >= full,
                "it is given back part by part"
            );
            let mut calls = 0;
            while segment.has_excess() {
                assert!(!segment.begin().unwrap() || calls == 0);
                segment.end();
                calls += 1;
            }
            assert!(calls > 10, "{calls}");
            // Each of the four other regions keeps up to 64 KiB. The versions stay: a process may read them without the lock.
            let versions = segment.edit.versions_written() as usize * 8;
            assert!(segment.memory().committed() <= empty + 4 * 65_536 + versions);
        }
        assert_eq!((segment.len(), segment.size()), (0, 0.0));
        segment.validate().unwrap();
    }
}

/// Bytes change at random while calls go on. Whatever they say, they end, and a rebuild makes it whole.
#[test]
fn damage_ends_in_misses_and_a_rebuild() {
    let rounds = std::env::var("DAMAGE_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(150);
    let (mut mended, mut kept) = (0, 0);
    for seed in 1..=rounds {
        let mut random = Random(seed);
        let mut segment = create(small());
        let mut model = Model::default();
        for _ in 0..150 {
            let call = call(&mut random, 64);
            if !matches!(call, Call::Clear) {
                apply(&mut segment, &mut model, &call);
            }
        }
        for _ in 0..40 {
            damage(&segment, &mut random);
            for _ in 0..4 {
                segment.begin().unwrap();
                let limits = segment.limits();
                for limit in [limits.max, limits.max_size, limits.max_entry_size] {
                    assert!(limit > 0.0, "{limits:?}");
                }
                segment.set_limits(Limits::default());
                any_call(&mut segment, &mut random);
                segment.end();
            }
            if random.one_in(8) {
                mended += 1;
                segment.recover().unwrap();
                segment
                    .validate()
                    .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
                kept += segment.len();
            }
        }
        segment.clear().unwrap();
        segment.validate().unwrap();
        assert_eq!(segment.len(), 0);
        // And it is as good as new.
        let mut model = Model::default();
        for _ in 0..20 {
            let call = call(&mut random, 64);
            apply(&mut segment, &mut model, &call);
            check(&segment, &model);
        }
    }
    println!("rebuilt {mended} times, {kept} entries kept");
}

/// Changes some bytes that are in use, of any region but of the first 128 bytes: what the segment is, and its
/// lock.
fn damage(segment: &Segment<PlainMemory>, random: &mut Random) {
    let geometry = segment.edit.geometry;
    let base = segment.memory().base();
    for _ in 0..=random.below(4) {
        let (from, len) = match random.below(9) {
            8 => (geometry.tags_at, 4096),
            7 => (geometry.sections_at, 576),
            0 => (128, 768),
            5 => (
                geometry.versions_at,
                segment.header().rows_used.get().min(600) as usize * 8,
            ),
            // Not yet claimed: a ring in memory that was never asked for.
            6 => (geometry.rings_at, 20 * 1024),
            1 => (
                geometry.index_at,
                segment.header().buckets.get().min(256) as usize * 4,
            ),
            2 | 3 => (
                geometry.rows_at,
                segment.header().rows_used.get().min(600) as usize * 64,
            ),
            _ => (
                geometry.blocks_at,
                segment.header().blocks_used.get().min(900) as usize * 64,
            ),
        };
        let at = from + random.below(len.max(1));
        let byte = match random.below(4) {
            0 => 0,
            1 => 0xFF,
            2 => 1 << random.below(8),
            _ => random.next() as u8,
        };
        // SAFETY: within the regions; the test is alone with the memory.
        unsafe { base.add(at).write(byte) };
        if random.one_in(3) {
            // A whole word that looks like a link.
            let link = random.below(300) as u32;
            // SAFETY: as above; at most 3 bytes before `at`, and regions begin at a multiple of 4.
            unsafe { base.add(at & !3).cast::<u32>().write(link) };
        }
    }
}

const STAMPED: Stamp = Stamp {
    set_at: 1.0,
    max_age: 0.0,
};

fn any_call(segment: &mut Segment<PlainMemory>, random: &mut Random) {
    match random.below(14) {
        12 => {
            let tags = TagList::parse(&serde_json::json!(["red", "blue"])).unwrap();
            segment.invalidate(tags.tags());
            segment.sweep(2, |stamp| stamp != Stamp::INVALID);
        }
        13 => {
            let tags = TagList::parse(&serde_json::json!(["red"])).unwrap();
            let extras = Extras { tags: tags.tags() };
            drop(segment.put_with(&key(random, 64), value(random).as_ref(), STAMPED, extras));
        }
        0 => segment.visit(|_| Ok(())).unwrap(),
        1 => drop(segment.least_recent()),
        2 => drop(segment.peek(&key(random, 64))),
        _ => match call(random, 64) {
            Call::Put(key, value, stamp) => drop(segment.put(&key, value.as_ref(), stamp)),
            Call::Touch(key) => drop(segment.touch(&key)),
            Call::Restamp(key, stamp) => drop(segment.restamp(&key, stamp)),
            Call::Remove(key) => drop(segment.remove(&key)),
            Call::RemoveLeastRecent => drop(segment.remove_least_recent()),
            Call::RetainStamps(mask) => {
                segment.retain_stamps(|stamp| mask >> (stamp.set_at as u64 % 64) & 1 == 1);
            }
            Call::Clear => {}
        },
    }
}

#[test]
fn the_bounds_outlast_a_rebuild_and_damage() {
    let mut segment = create(small());
    let limits = Limits {
        max: 3.0,
        max_size: 4e9,
        max_entry_size: 5e6,
        max_age: 7.5,
        allow_stale: true,
    };
    segment.set_limits(limits);
    segment.recover().unwrap();
    assert_eq!(segment.limits(), limits);
    assert_eq!(attach(segment.memory().clone()).limits(), limits);
    // Damaged, they are what they were.
    let header = segment.header();
    for nonsense in [f64::NAN, -1.0, 0.0, 2.0, f64::NEG_INFINITY] {
        for limit in [
            &header.max,
            &header.max_size,
            &header.max_entry_size,
            &header.max_age,
        ] {
            limit.set(nonsense);
            assert_eq!(segment.limits(), limits, "{nonsense}");
        }
    }
    header.allow_stale.set(0);
    header.limits_check.set(0);
    assert_eq!(segment.limits(), limits);
    assert_eq!(attach(segment.memory().clone()).limits(), limits);
}

#[test]
fn what_the_segment_says_of_itself_is_mended() {
    let mut segment = create(small());
    let stamp = Stamp {
        set_at: 0.0,
        max_age: 0.0,
    };
    segment.put(b"skey", Value::Null, stamp).unwrap();
    for at in (0..64).filter(|at| !(28..32).contains(at)) {
        // SAFETY: a byte of the header, which nobody else uses now.
        unsafe { *segment.memory().base().add(at).as_mut() ^= 0x55 };
        assert!(segment.begin().unwrap());
        segment.end();
        let mut other = attach(segment.memory().clone());
        assert!(!other.begin().unwrap());
        assert!(other.peek(b"skey").unwrap().is_some());
        other.end();
    }
}

/// One stopped between adding an entry and evicting others.
#[test]
fn what_is_over_the_bounds_after_a_rebuild_can_be_trimmed() {
    let mut cache = Cache::new(create(small()));
    for key in [b"sa", b"sb", b"sc"] {
        cache.set(key, Value::Number(1.0), None, 0.0).unwrap();
    }
    let each = cache.storage().size() / 3.0;
    let limits = Limits {
        max_size: 2.0 * each,
        ..Limits::default()
    };
    cache.storage_mut().set_limits(limits);
    cache.storage().recover().unwrap();
    cache.trim();
    assert_eq!((cache.len(), cache.storage().size()), (2, 2.0 * each));
    assert_eq!(cache.has(b"sa", 0.0), Ok(false));
    // A count that damage made too high costs entries and no more.
    cache.storage().header().blocks_used.set(u32::MAX);
    cache.trim();
    assert_eq!(cache.len(), 0);
    assert!(cache.set(b"sd", Value::Number(1.0), None, 0.0).unwrap());
    assert_eq!((cache.len(), cache.storage().size()), (1, each));
}

#[test]
fn nothing_else_is_attached() {
    let code = |memory: PlainMemory, nonce| Segment::attach(memory, Some(nonce)).unwrap_err().into_message();
    let fresh = || create(small()).memory().clone();
    let unready = Segment::create(PlainMemory::new(small().reserved()), small(), IDENTITY).unwrap();
    let poke = |at: usize, byte: u8| {
        let memory = fresh();
        // SAFETY: in the header; nobody else uses the memory.
        unsafe { memory.base().add(at).write(byte) };
        memory
    };
    assert!(Segment::attach(fresh(), None).is_ok());
    assert!(code(unready.memory().clone(), IDENTITY.nonce).contains("not ready"));
    assert!(code(PlainMemory::new(1), IDENTITY.nonce).contains("not ready"));
    assert!(code(fresh(), [9, 9]).contains("not the one"));
    assert!(code(poke(0, 0), IDENTITY.nonce).contains("not a store"));
    assert!(code(poke(8, 77), IDENTITY.nonce).contains("version"));
    assert!(code(poke(19, 0x40), IDENTITY.nonce).contains("size"));
    assert!(code(poke(32, 77), IDENTITY.nonce).contains("hashes"));
    assert!(code(poke(152, 77), IDENTITY.nonce).contains("another PID namespace"));
    assert!(code(poke(160, 77), IDENTITY.nonce).contains("another time namespace"));
}

#[test]
fn threads_with_a_lock_between_them_lose_no_count() {
    const THREADS: usize = 4;
    const COUNTS: usize = 3_000;
    let first = create(Geometry::for_bytes(1 << 20));
    // Built with the crate, so that ThreadSanitizer sees what it orders.
    let lock = Arc::new(parking_lot::Mutex::new(()));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (memory, lock) = (first.memory().clone(), lock.clone());
            thread::spawn(move || {
                let mut cache = Cache::new(attach(memory));
                for at in 0..COUNTS {
                    let _held = lock.lock();
                    cache.storage_mut().begin().unwrap();
                    cache.incr(b"shits", 1.0, None, 0.0).unwrap();
                    let key = format!("s{thread}-{}", at % 50);
                    cache
                        .set(key.as_bytes(), Value::String(&[thread as u8; 150]), None, 0.0)
                        .unwrap();
                    assert_eq!(
                        cache.get(key.as_bytes(), 0.0, |value| {
                            Ok(value == Value::String(&[thread as u8; 150]))
                        }),
                        Ok(Some(true))
                    );
                    cache.storage_mut().end();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let total = first.peek(b"shits").unwrap().map(|(value, _)| value.to_owned());
    assert_eq!(total, Some(OwnedValue::Number((THREADS * COUNTS) as f64)));
    assert_eq!(first.len(), THREADS * 50 + 1);
    first.validate().unwrap();
}

/// An entry takes a slot in place of another's; whatever store is followed by damage, no entry has a slot that is let
/// go.
#[test]
fn an_insert_that_meets_damage_lets_go_of_no_slot_in_use() {
    let stamp = Stamp {
        set_at: 0.0,
        max_age: 0.0,
    };
    let mut mended = 0;
    for (damage, key) in (0..5).flat_map(|damage| [(damage, b"sb"), (damage, b"sx")]) {
        for at in 1.. {
            let slots = Slots::default();
            let mut segment = create(small()).with_slots(slots.clone());
            for key in [b"sa", b"sb", b"sc"] {
                segment.put(key, Value::Slot(slots.take()), stamp).unwrap();
            }
            segment.end();
            segment.begin().unwrap();
            let other = attach(segment.memory().clone());
            let stores = Arc::new(Mutex::new(0));
            let counted = stores.clone();
            let break_it = move || {
                let mut stores = counted.lock().unwrap();
                *stores += 1;
                if *stores == at {
                    let (header, row) = (other.header(), other.edit.row_at(2).unwrap());
                    match damage {
                        0 => header.newest.set(7),
                        1 => row.newer.set(7),
                        2 => row.older.set(9),
                        3 => (0..BUCKETS).for_each(|at| other.edit.bucket_at(at).unwrap().set(9)),
                        _ => row.first.set(0),
                    }
                }
            };
            let slot = slots.take();
            let put = watch(break_it, || segment.put(key, Value::Slot(slot), stamp));
            if put.is_err() {
                segment.decline(Value::Slot(slot));
            }
            mended += segment.recoveries().0;
            segment.end();
            segment.begin().unwrap();
            segment.recover().unwrap();
            segment.begin().unwrap();
            // A slot in use is not handed out again.
            slots.release(usize::MAX, |_| ());
            let mut of_entries = vec![];
            let visited = segment.visit(|entry| {
                if let Value::Slot(slot) = entry.value {
                    of_entries.push(slot);
                }
                Ok(())
            });
            visited.unwrap();
            let what = format!("damage {damage} before store {at}: {of_entries:?}");
            assert_eq!(slots.in_use(), of_entries.len(), "{what}");
            let free: Vec<_> = (0..4).map(|_| slots.take()).collect();
            assert!(free.iter().all(|slot| !of_entries.contains(slot)), "{what}");
            assert_eq!(
                put.is_ok(),
                segment.peek(key).unwrap() == Some((Value::Slot(slot), stamp)),
                "{what}"
            );
            if *stores.lock().unwrap() < at {
                break;
            }
        }
    }
    assert!(mended > 20, "damage was met {mended} times");
}

/// A store of about 2 MB.
fn large() -> Segment<PlainMemory> {
    let mut segment = create(Geometry::for_bytes(8 << 20));
    for at in 0..500 {
        let value = vec![at as u8; 4000];
        let stamp = Stamp {
            set_at: 0.0,
            max_age: 0.0,
        };
        segment
            .put(format!("s{at:03}").as_bytes(), Value::String(&value), stamp)
            .unwrap();
    }
    segment
}

#[test]
fn a_list_over_damage_ends_within_the_size_of_the_store() {
    type Damage = fn(&Segment<PlainMemory>);
    let damages: [(&str, Damage); 4] = [
        ("a link that leads back", |segment| {
            segment
                .edit
                .row_at(300)
                .unwrap()
                .older
                .set(segment.header().newest.get());
        }),
        ("a link to itself", |segment| {
            segment.edit.row_at(300).unwrap().older.set(300)
        }),
        ("a link that leaves out others", |segment| {
            segment.edit.row_at(300).unwrap().older.set(5)
        }),
        ("values that are each as long as the store", |segment| {
            for at in 1..=500 {
                let row = segment.edit.row_at(at).unwrap();
                row.first.set(1);
                row.value_len.set(1_900_000);
            }
            // The blocks of all values in one chain.
            for at in 1..33_000 {
                segment.edit.block_at(at).unwrap().link.set(at + 1);
            }
        }),
    ];
    for (what, damage) in damages {
        let mut segment = large();
        damage(&segment);
        let (mut bytes, mut entries) = (0, 0);
        let visited = segment.visit(|entry| {
            bytes += entry.key.len() + entry.value.bytes().len();
            entries += 1;
            Ok(())
        });
        assert_eq!(visited, Ok(()), "{what}");
        assert!(bytes as f64 <= segment.size(), "{what}: {bytes} bytes");
        assert!((1..500).contains(&entries), "{what}: {entries} entries");
        assert_eq!(segment.recoveries().0, 0, "{what}: a list changes nothing");
        // The next call mends it.
        assert!(segment.begin().unwrap(), "{what}");
        segment.validate().unwrap();
        let (kept, mut listed) = (segment.len(), 0);
        let visited = segment.visit_keys(|_, _| {
            listed += 1;
            Ok(())
        });
        assert_eq!((visited, listed), (Ok(()), kept), "{what}");
    }
}

#[test]
fn what_ends_a_visit_is_what_the_visitor_says() {
    let segment = large();
    let mut visited = 0;
    let ended = segment.visit(|_| {
        visited += 1;
        if visited == 3 {
            return Err(Error::out_of_memory());
        }
        Ok(())
    });
    assert_eq!((ended, visited), (Err(Error::out_of_memory()), 3));
    assert_eq!(segment.header().damaged.get(), 0);
}

/// A 99-byte JSON object.
pub fn object() -> String {
    let object = format!(
        r#"{{"id":12345,"name":"some name","mail":"{}","tags":["a","b"]}}"#,
        "m".repeat(41)
    );
    assert_eq!(object.len(), 99);
    object
}

#[test]
fn a_million_entries_of_a_small_object_take_220_bytes_each() {
    const ENTRIES: usize = if cfg!(debug_assertions) {
        200_000
    } else {
        1_000_000
    };
    let mut segment = create(Geometry::for_bytes(512 << 20));
    let (object, stamp) = (
        object(),
        Stamp {
            set_at: 1.0,
            max_age: 0.0,
        },
    );
    for at in 0..ENTRIES {
        segment
            .put(format!("skey:{at:06}").as_bytes(), Value::Json(&object), stamp)
            .unwrap();
    }
    let each = segment.memory().committed() as f64 / ENTRIES as f64;
    println!(
        "{each:.1} bytes of memory an entry, {:.1} counted",
        segment.size() / ENTRIES as f64
    );
    assert!(each <= 220.0, "{each}");
    let started = Instant::now();
    segment.recover().unwrap();
    println!("rebuilt in {:?}", started.elapsed());
    assert_eq!(segment.len(), ENTRIES);
}
