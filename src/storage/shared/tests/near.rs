//! Reads without the lock: a reader as JavaScript is one, over the same memory as a segment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::{
    super::{
        crash_point::watch,
        layout::{MOST_RECORDS, RECORDS, Ring},
        memory::PlainMemory,
        segment::Segment,
        view::Checked,
    },
    Model, Plain, Random, attach, create, key, small,
};
use crate::{
    stats::Event,
    storage::{Limits, Stamp, Storage},
    value::{OwnedValue, Value},
};

const STAMP: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

/// What a process keeps of an entry.
#[derive(Clone)]
struct Copy {
    row: u32,
    version: f64,
    value: OwnedValue,
}

/// A process that reads without the lock, and keeps everything that it has read.
struct Reader {
    segment: Segment<PlainMemory>,
    ring: u32,
    epoch: u32,
    copies: HashMap<Vec<u8>, Copy>,
    /// Reads that took no lock.
    near: usize,
}

impl Reader {
    fn new(memory: PlainMemory, owner: u64) -> Self {
        let mut segment = attach(memory);
        segment.begin().unwrap();
        let ring = segment.edit.claim_ring(owner, |_| true).unwrap().unwrap();
        segment.end();
        let epoch = segment.header().control.epoch.get();
        Self {
            segment,
            ring,
            epoch,
            copies: HashMap::new(),
            near: 0,
        }
    }

    fn ring(&self) -> &Ring {
        self.segment.edit.ring_at(self.ring).unwrap()
    }

    /// What `lib/near/` does for `get`: a copy that still counts, and its use recorded.
    fn near(&mut self, key: &[u8]) -> Option<OwnedValue> {
        let control = &self.segment.header().control;
        if control.gate.get() & 1 == 1 {
            return None;
        }
        if control.epoch.get() != self.epoch {
            self.copies.clear();
            return None;
        }
        let copy = self.copies.get(key)?.clone();
        if self.segment.edit.version_at(copy.row).unwrap().get() != copy.version {
            self.copies.remove(key);
            return None;
        }
        let time = control.uses.add_one();
        let ring = self.ring();
        let head = ring.head.get();
        let record = &ring.records[(head % ring.room()) as usize];
        record.row.set(copy.row);
        record.version.set(copy.version);
        record.time.set(time);
        ring.head.publish(head.wrapping_add(1));
        self.near += 1;
        Some(copy.value)
    }

    /// `get`, as a process makes it.
    fn get(&mut self, key: &[u8]) -> Option<OwnedValue> {
        if let Some(value) = self.near(key) {
            return Some(value);
        }
        self.epoch = self.segment.header().control.epoch.get();
        self.locked(|segment| {
            let value = segment.touch(key).unwrap().map(|(value, _)| value.to_owned());
            (value, segment.seen())
        })
        .map(|(value, seen)| {
            let seen = seen.unwrap();
            let copy = Copy {
                row: seen.row,
                version: seen.version,
                value: value.clone(),
            };
            self.copies.insert(key.to_vec(), copy);
            value
        })
    }

    fn locked<R, S>(
        &mut self,
        call: impl FnOnce(&mut Segment<PlainMemory>) -> (Option<R>, S),
    ) -> Option<(R, S)> {
        self.segment.begin().unwrap();
        let (value, seen) = call(&mut self.segment);
        self.segment.end();
        value.map(|value| (value, seen))
    }

    fn set(&mut self, key: &[u8], value: Value<'_>) {
        self.segment.begin().unwrap();
        self.segment.put(key, value, STAMP).unwrap();
        self.segment.end();
    }
}

fn plain(key: &[u8], number: f64) -> Plain {
    (key.to_vec(), OwnedValue::Number(number), STAMP)
}

/// Three processes take turns. Each `get` gives what the last `set` of any of them stored, and the order of recency is
/// that of the calls, whether or not a call took the lock.
#[test]
fn calls_that_take_turns_see_each_other_and_keep_their_order() {
    for seed in 1..=40 {
        let mut random = Random(seed);
        let segment = create(small());
        let mut readers: Vec<_> = (1..=3)
            .map(|owner| Reader::new(segment.memory().clone(), owner))
            .collect();
        let mut model = Model::default();
        for number in 0..1500 {
            let key = key(&mut random, 12);
            let reader = &mut readers[random.below(3)];
            let at = model.at(&key);
            match random.below(20) {
                0..14 => {
                    let kept = at.map(|at| model.0.remove(at));
                    assert_eq!(reader.get(&key), kept.as_ref().map(|(_, value, _)| value.clone()));
                    model.0.splice(0..0, kept);
                }
                14..17 => {
                    reader.set(&key, Value::Number(f64::from(number)));
                    at.map(|at| model.0.remove(at));
                    model.0.insert(0, plain(&key, f64::from(number)));
                }
                17 => {
                    reader.segment.begin().unwrap();
                    assert_eq!(reader.segment.remove(&key), Ok(at.is_some()));
                    reader.segment.end();
                    at.map(|at| model.0.remove(at));
                }
                18 => {
                    reader.segment.begin().unwrap();
                    reader.segment.remove_least_recent().unwrap();
                    reader.segment.end();
                    model.0.pop();
                }
                _ if random.one_in(30) => {
                    reader.segment.begin().unwrap();
                    reader.segment.clear().unwrap();
                    reader.segment.end();
                    model.0.clear();
                }
                _ => {
                    reader.segment.begin().unwrap();
                    assert_eq!(Model::of(&reader.segment), model);
                    reader.segment.end();
                    reader.segment.validate().unwrap();
                }
            }
        }
        let near: usize = readers.iter().map(|reader| reader.near).sum();
        assert!(near > 100, "{near} reads took no lock");
        assert_eq!(readers[0].segment.recoveries(), (0, 0));
    }
}

/// A process that is killed while it applies rings loses no use: whoever is next applies the rest.
#[test]
fn whoever_is_killed_while_it_applies_rings_leaves_the_others_to_be_applied() {
    let mut random = Random(5);
    for _ in 0..12 {
        let segment = create(small());
        let mut readers: Vec<_> = (1..=2)
            .map(|owner| Reader::new(segment.memory().clone(), owner))
            .collect();
        let keys: Vec<_> = (0..6).map(|number| format!("s{number}").into_bytes()).collect();
        for key in &keys {
            readers[0].set(key, Value::Null);
            readers[0].get(key);
            readers[1].get(key);
        }
        for _ in 0..8 {
            let key = &keys[random.below(6)];
            assert!(readers[random.below(2)].near(key).is_some());
        }
        let memory = segment.memory().clone();
        let wanted = {
            let mut whole = attach(memory.snapshot());
            whole.begin().unwrap();
            Model::of(&whole)
        };
        let snapshots = Arc::new(Mutex::new(Vec::new()));
        let taken = snapshots.clone();
        let mut applier = attach(memory.clone());
        watch(
            move || taken.lock().unwrap().push(memory.snapshot()),
            || {
                applier.begin().unwrap();
                applier.end();
            },
        );
        let snapshots = snapshots.lock().unwrap();
        assert!(snapshots.len() > 20);
        for snapshot in snapshots.iter() {
            let mut next = attach(snapshot.snapshot());
            next.begin().unwrap();
            assert_eq!(Model::of(&next), wanted);
            next.validate().unwrap();
            next.end();
        }
    }
}

/// A ring in which rows come several times: only their last uses are applied, and whoever is killed in between leaves an
/// order of recency that whoever is next completes.
#[test]
fn of_the_uses_in_one_ring_the_last_of_each_row_are_applied_whenever_the_applier_is_killed() {
    let segment = create(small());
    let mut reader = Reader::new(segment.memory().clone(), 1);
    let keys: Vec<_> = (0..6).map(|number| format!("s{number}").into_bytes()).collect();
    for key in &keys {
        reader.set(key, Value::Null);
        reader.get(key);
    }
    let mut random = Random(11);
    let mut wanted: Vec<_> = keys.iter().rev().cloned().collect();
    for _ in 0..300 {
        let key = &keys[random.below(6)];
        assert!(reader.near(key).is_some());
        wanted.retain(|other| other != key);
        wanted.insert(0, key.clone());
    }
    let order = |segment: &Segment<PlainMemory>| {
        segment.validate().unwrap();
        let keys: Vec<_> = Model::of(segment).0.into_iter().map(|(key, ..)| key).collect();
        keys
    };
    let snapshots_of = |memory: &PlainMemory| {
        let snapshots = Arc::new(Mutex::new(Vec::new()));
        let (taken, watched) = (snapshots.clone(), memory.clone());
        let mut applier = attach(memory.clone());
        watch(
            move || taken.lock().unwrap().push(watched.snapshot()),
            || {
                applier.begin().unwrap();
                applier.end();
            },
        );
        assert_eq!(order(&applier), wanted);
        std::mem::take(&mut *snapshots.lock().unwrap())
    };
    let snapshots = snapshots_of(segment.memory());
    // Each relink makes some 30 stores.
    assert!((30..300).contains(&snapshots.len()), "{} stores", snapshots.len());
    for (number, snapshot) in snapshots.iter().enumerate() {
        if number % 7 == 0 {
            for again in snapshots_of(&snapshot.snapshot()) {
                let mut next = attach(again);
                next.begin().unwrap();
                assert_eq!(order(&next), wanted);
            }
        } else {
            let mut next = attach(snapshot.snapshot());
            next.begin().unwrap();
            assert_eq!(order(&next), wanted);
        }
    }
}

/// Damage in a long ring: the order of recency stays one, and no entry goes.
#[test]
fn records_of_a_long_ring_that_damage_has_changed_break_nothing() {
    for seed in 1..=60 {
        let mut random = Random(seed);
        let segment = create(small());
        let mut reader = Reader::new(segment.memory().clone(), 1);
        let keys: Vec<_> = (0..6).map(|number| format!("s{number}").into_bytes()).collect();
        for key in &keys {
            reader.set(key, Value::Null);
            reader.get(key);
        }
        for _ in 0..200 {
            assert!(reader.near(&keys[random.below(6)]).is_some());
        }
        let waiting = reader.ring().head.get().wrapping_sub(reader.ring().tail.get());
        for _ in 0..20 {
            let at = reader
                .ring()
                .tail
                .get()
                .wrapping_add(random.below(waiting as usize) as u32);
            let record = &reader.ring().records[(at % RECORDS) as usize];
            match random.below(4) {
                0 => record.row.set(random.below(700) as u32),
                1 => record.row.set(u32::MAX),
                2 => record.version.set(f64::NAN),
                _ => {
                    let ahead = [1, 1000, 1 << 30, 1 << 31, u32::MAX][random.below(5)];
                    record.time.set(record.time.get().wrapping_add(ahead));
                }
            }
        }
        for _ in 0..3 {
            reader.segment.begin().unwrap();
            reader.segment.end();
            reader.segment.validate().unwrap();
        }
        let found = Model::of(&reader.segment).0.len();
        assert_eq!((found, reader.segment.recoveries()), (6, (0, 0)), "seed {seed}");
        // A use after that counts.
        for key in &keys {
            reader.get(key);
        }
        reader.segment.begin().unwrap();
        assert_eq!(Model::of(&reader.segment).0[0].0, keys[5], "seed {seed}");
        reader.segment.end();
        reader.segment.validate().unwrap();
    }
}

/// Before any store of a change, no copy counts whose entry the change has ended for those who read with the lock.
#[test]
fn a_change_ends_versions_before_it_can_be_seen() -> Checked<()> {
    let segment = create(small());
    let mut writer = Reader::new(segment.memory().clone(), 1);
    for name in [b"sa", b"sb"] {
        writer.set(name, Value::Number(1.0));
        writer.get(name);
    }
    let copies = writer.copies.clone();
    let memory = segment.memory().clone();
    let snapshots = Arc::new(Mutex::new(Vec::new()));
    let taken = snapshots.clone();
    writer.segment.begin().unwrap();
    watch(
        move || taken.lock().unwrap().push(memory.snapshot()),
        || {
            writer.segment.put(b"sa", Value::Number(2.0), STAMP).unwrap();
            writer.segment.remove(b"sb").unwrap();
            writer.segment.end();
        },
    );
    let (mut before, mut after) = (0, 0);
    for snapshot in snapshots.lock().unwrap().iter() {
        for name in [b"sa", b"sb"] {
            let copy = &copies[&name[..]];
            let stopped = attach(snapshot.clone());
            let counts = stopped.edit.version_at(copy.row)?.get() == copy.version;
            let hash = stopped.edit.hash(name);
            // As a process would find it that reads without the lock; where the index is between two states, nothing.
            let found = stopped.edit.find(name, hash).ok().flatten();
            let is_old = found == Some(copy.row);
            assert!(
                is_old || !counts,
                "a copy counts, and the index leads to another entry"
            );
            if counts { before += 1 } else { after += 1 }
        }
    }
    assert!(before > 5 && after > 5);
    Ok(())
}

#[test]
fn several_changes_that_count_as_one_close_the_gate_and_whoever_is_next_opens_it() {
    let segment = create(small());
    let mut reader = Reader::new(segment.memory().clone(), 1);
    reader.set(b"sa", Value::Null);
    reader.get(b"sa");
    assert!(reader.near(b"sa").is_some());
    let mut writer = attach(segment.memory().clone());
    writer.begin().unwrap();
    writer.begin_steps();
    assert!(reader.near(b"sa").is_none(), "between two steps");
    // Killed here.
    let mut next = attach(segment.memory().clone());
    assert_eq!(next.begin(), Ok(true), "whoever is next trims");
    next.end();
    assert!(reader.near(b"sa").is_some());
}

#[test]
fn ages_reset_and_a_rebuild_change_the_epoch() {
    let segment = create(small());
    let mut reader = Reader::new(segment.memory().clone(), 1);
    let mut writer = attach(segment.memory().clone());
    type Step = fn(&mut Segment<PlainMemory>);
    let steps: [(bool, Step); 5] = [
        (true, |segment| {
            let limits = segment.limits();
            segment.set_limits(Limits {
                max_age: 5.0,
                ..limits
            });
        }),
        (true, |segment| {
            let limits = segment.limits();
            segment.set_limits(Limits {
                allow_stale: true,
                ..limits
            });
        }),
        (false, |segment| {
            let limits = segment.limits();
            segment.set_limits(Limits { max: 50.0, ..limits });
        }),
        (true, |segment| segment.clear().unwrap()),
        (true, |segment| {
            segment.recover().unwrap();
        }),
    ];
    for (at, (ends, step)) in steps.iter().enumerate() {
        reader.set(b"sa", Value::Null);
        reader.get(b"sa");
        assert!(reader.near(b"sa").is_some());
        writer.begin().unwrap();
        step(&mut writer);
        assert_eq!(reader.near(b"sa").is_none(), *ends, "step {at}, under way");
        writer.end();
        reader.epoch |= 1;
        let epoch = reader.segment.header().control.epoch.get();
        assert_eq!(epoch & 1, 0);
    }
}

#[test]
fn uses_count_after_a_reset_as_before() {
    let segment = create(small());
    let mut reader = Reader::new(segment.memory().clone(), 1);
    reader.segment.begin().unwrap();
    reader.segment.clear().unwrap();
    reader.segment.end();
    for name in [b"sa", b"sb"] {
        reader.set(name, Value::Null);
        reader.get(name);
    }
    assert!(reader.near(b"sa").is_some());
    reader.segment.begin().unwrap();
    let order: Vec<_> = Model::of(&reader.segment)
        .0
        .into_iter()
        .map(|(key, ..)| key)
        .collect();
    assert_eq!(order, [b"sa", b"sb"]);
}

#[test]
fn what_is_in_a_ring_is_not_trusted() {
    let segment = create(small());
    let mut reader = Reader::new(segment.memory().clone(), 1);
    for name in [b"sa", b"sb", b"sc"] {
        reader.set(name, Value::Null);
    }
    let order = |segment: &mut Segment<PlainMemory>| {
        segment.begin().unwrap();
        let order = Model::of(segment);
        segment.end();
        segment.validate().unwrap();
        order
    };
    let wanted = order(&mut reader.segment);
    let write = |reader: &Reader, row: u32, version: f64, ahead: u32| {
        let ring = reader.ring();
        let head = ring.head.get();
        let record = &ring.records[(head % ring.room()) as usize];
        record.row.set(row);
        record.version.set(version);
        record.time.set(reader.segment.header().control.uses.add_one());
        ring.head.set(head.wrapping_add(ahead));
    };
    for row in [0, 1, 3, 7, 599, 600, u32::MAX] {
        for version in [0.0, -1.0, f64::NAN, f64::INFINITY, 77.0] {
            write(&reader, row, version, 1);
            assert_eq!(order(&mut reader.segment), wanted, "row {row}, version {version}");
        }
    }
    // A head that cannot be.
    write(&reader, 1, 1.0, RECORDS + 1);
    assert_eq!(order(&mut reader.segment), wanted);
    assert_eq!(reader.ring().head.get(), reader.ring().tail.get());
    // More rings than there are.
    reader.segment.header().rings_used.set(u32::MAX);
    assert_eq!(order(&mut reader.segment), wanted);
    assert_eq!(reader.segment.recoveries().1, 0);
}

#[test]
fn times_of_use_go_on_over_the_end_of_32_bits() {
    let segment = create(small());
    let mut reader = Reader::new(segment.memory().clone(), 1);
    let header = segment.header();
    for start in [u32::MAX - 4, (1 << 31) - 4] {
        let clock = header.clock.get();
        let low = start.wrapping_sub(clock as u32);
        header.clock.set(clock + u64::from(low));
        header.control.uses.set(start);
        for name in [b"sa", b"sb", b"sc"] {
            reader.set(name, Value::Null);
            reader.get(name);
        }
        for _ in 0..3 {
            for name in [b"sb", b"sa", b"sc"] {
                assert!(reader.near(name).is_some());
            }
        }
        reader.segment.begin().unwrap();
        let order: Vec<_> = Model::of(&reader.segment)
            .0
            .into_iter()
            .map(|(key, ..)| key)
            .collect();
        reader.segment.end();
        assert_eq!(order, [b"sc", b"sa", b"sb"]);
        reader.segment.validate().unwrap();
    }
}

#[test]
fn a_ring_is_given_to_one_thread_at_a_time() {
    let segment = create(small());
    let mut segment = attach(segment.memory().clone());
    segment.begin().unwrap();
    let claim = |owner: u64, is_alive: bool| segment.edit.claim_ring(owner, |_| is_alive).unwrap();
    let rings: Vec<_> = (1..=128).map(|owner| claim(owner, true)).collect();
    assert_eq!(rings, (0..128).map(Some).collect::<Vec<_>>());
    assert_eq!(claim(129, true), None, "all are in use");
    segment.edit.ring_at(5).unwrap().give_back(7);
    assert_eq!(claim(129, true), None, "another's ring is not given back");
    segment.edit.ring_at(5).unwrap().give_back(6);
    assert_eq!(claim(130, true), Some(5));
    assert_eq!(claim(131, false), Some(0), "its thread is gone");
}

/// A use that was recorded while another process had the lock counts in the next call, though no time of use was taken
/// since.
#[test]
fn a_use_during_a_call_counts_in_the_next_call() {
    // The reader takes its time of use before the writer applies the rings, and publishes the record afterwards; or it does
    // both before the writer takes a time of use.
    for is_published_late in [true, false] {
        let made = create(small());
        let memory = made.memory().clone();
        let (mut reader, mut writer) = (Reader::new(memory.clone(), 1), Reader::new(memory, 2));
        for n in b'0'..=b'2' {
            writer.set(&[n], Value::Null);
        }
        reader.get(b"1");
        writer.set(b"3", Value::Null);
        if is_published_late {
            assert!(reader.near(b"1").is_some());
            let head = reader.ring().head.get();
            reader.ring().head.set(head.wrapping_sub(1));
            writer.segment.begin().unwrap();
            reader.ring().head.publish(head);
        } else {
            writer.segment.begin().unwrap();
            assert!(reader.near(b"1").is_some());
            writer.segment.put(b"4", Value::Null, STAMP).unwrap();
        }
        writer.segment.end();
        // The use was complete before this call begins.
        writer.segment.begin().unwrap();
        let mut order = vec![];
        let visited = writer.segment.visit_keys(|key, _| {
            order.push(key[0]);
            Ok(())
        });
        visited.unwrap();
        writer.segment.end();
        let place = |key| order.iter().position(|found| *found == key);
        assert!(place(b'1') < place(b'3'), "{is_published_late}: {order:?}");
    }
}

#[test]
fn a_ring_that_is_half_full_again_and_again_gets_more_room_and_keeps_the_order() {
    let segment = create(small());
    let mut reader = Reader::new(segment.memory().clone(), 1);
    let names: [&[u8]; 3] = [b"sa", b"sb", b"sc"];
    for name in names {
        reader.set(name, Value::Null);
        reader.get(name);
    }
    let mut room = reader.ring().room();
    assert_eq!(room, RECORDS);
    for turn in 0..6 {
        for at in 0..room / 2 + 3 {
            assert!(reader.near(names[(turn + at) as usize % 3]).is_some());
        }
        reader.segment.begin().unwrap();
        assert_eq!(
            Model::of(&reader.segment).0[0].0,
            names[(turn + room / 2 + 2) as usize % 3]
        );
        reader.segment.edit.grow_ring(reader.ring).unwrap();
        reader.segment.end();
        let grown = reader.ring().room();
        assert_eq!(grown, (room * 2).min(MOST_RECORDS));
        room = grown;
    }
    // With records that wait, the places of the records must not change.
    reader.ring().capacity.set(RECORDS);
    assert!(reader.near(b"sa").is_some());
    reader.segment.edit.grow_ring(reader.ring).unwrap();
    assert_eq!(reader.ring().room(), RECORDS);
    // A damaged number is that of a new ring.
    for damaged in [0, 1, 1023, 1025, 16384, u32::MAX] {
        reader.ring().capacity.set(damaged);
        assert_eq!(reader.ring().room(), RECORDS);
    }
    reader.segment.begin().unwrap();
    reader.segment.end();
    reader.segment.validate().unwrap();
}

#[test]
fn hits_without_the_lock_are_counted_over_all_rings_and_their_owners() {
    let segment = create(small());
    let hits = || segment.stats().counts.get(Event::Hit);
    let mut readers = [1, 2].map(|owner| Reader::new(segment.memory().clone(), owner));
    readers[0].set(b"sa", Value::Null);
    for _ in 0..3 {
        readers.iter_mut().for_each(|reader| drop(reader.get(b"sa")));
    }
    // The first read of each reader took the lock; the cache counts those.
    assert_eq!(hits(), 4);
    let [first, mut second] = readers;
    first.ring().give_back(1);
    let mut third = Reader::new(segment.memory().clone(), 3);
    assert_eq!((first.ring, hits()), (third.ring, 4), "the next owner goes on");
    for _ in 0..3 {
        third.get(b"sa");
    }
    assert_eq!(hits(), 6);
    third.ring().uncounted.set(1.0);
    third.ring().dropped.set(3.0);
    assert_eq!(hits(), 8);
    // Over the end of 32 bits.
    let ring = second.ring();
    segment.edit.apply_rings().unwrap();
    let before = hits() - u64::from(ring.head.get());
    for word in [&ring.head, &ring.tail] {
        word.set(u32::MAX - 1);
    }
    ring.earlier.set((5 << 32) + u64::from(u32::MAX) - 1);
    let far = before + (6 << 32) - 2;
    assert_eq!(hits(), far);
    for count in 1..5 {
        second.get(b"sa");
        assert_eq!(hits(), far + count);
        if count % 2 == 0 {
            segment.edit.apply_rings().unwrap();
            assert_eq!(hits(), far + count);
        }
    }
    segment.recover().unwrap();
    assert_eq!(hits(), far + 4, "a rebuild leaves the counts");
    second.ring().uncounted.set(f64::NAN);
    hits();
}
