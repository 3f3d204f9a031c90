//! Tags: invalidations that a kill interrupts at every store, a table that fills up, and damage.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use super::{
    super::{
        Geometry, Segment,
        crash_point::watch,
        layout::{CLEAR, NONE, TAG_SLOTS},
        memory::{Memory, PlainMemory},
    },
    Random, attach, create,
};
use crate::{
    cache::{Cache, Terms},
    extras::{Extras, TagList},
    slots::Slots,
    storage::{Stamp, Storage},
    value::Value,
};

const STAMP: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

/// A tag that no block has all of.
const LONG: &str = "a tag of more than sixty bytes, so that no block of a segment has all of it";

fn list(tags: &[&str]) -> TagList {
    TagList::parse(&serde_json::json!(tags)).unwrap()
}

fn put(segment: &mut Segment<PlainMemory>, key: &str, value: Value<'_>, tags: &[&str]) {
    let tags = list(tags);
    let extras = Extras { tags: tags.tags() };
    segment.put_with(key.as_bytes(), value, STAMP, extras).unwrap();
}

fn invalidate(segment: &mut Segment<PlainMemory>, tags: &[&str]) {
    segment.invalidate(list(tags).tags());
}

fn tags_of(segment: &Segment<PlainMemory>, key: &str) -> Vec<String> {
    let extras = segment.extras(key.as_bytes()).unwrap();
    let text = |tag: &[u8]| String::from_utf8(tag.to_vec()).unwrap();
    extras.tags.iter().map(text).collect()
}

/// Whether there is an entry that is not outdated.
fn is_there(segment: &Segment<PlainMemory>, key: &str) -> bool {
    let found = segment.stamp(key.as_bytes()).unwrap();
    let peeked = segment.peek(key.as_bytes()).unwrap().map(|(_, stamp)| stamp);
    assert_eq!(found, peeked);
    found.is_some_and(|stamp| stamp != Stamp::INVALID)
}

/// The memory as it was before each store that `run` makes.
fn before_each_store(memory: &PlainMemory, run: impl FnOnce()) -> Vec<PlainMemory> {
    let snapshots = Arc::new(Mutex::new(Vec::new()));
    let (memory, taken) = (memory.clone(), snapshots.clone());
    watch(move || taken.lock().unwrap().push(memory.snapshot()), run);
    std::mem::take(&mut *snapshots.lock().unwrap())
}

fn take_over(memory: PlainMemory) -> Segment<PlainMemory> {
    let mut segment = attach(memory);
    segment.begin().unwrap();
    segment.end();
    segment.validate().unwrap();
    assert_eq!(segment.recoveries(), (0, 0), "nothing was rebuilt");
    segment
}

/// Entries of each kind, with tags.
fn tagged() -> Segment<PlainMemory> {
    let mut segment = create(Geometry::new(64, 120, 400).unwrap()).with_slots(Slots::default());
    put(&mut segment, "red", Value::Number(1.0), &["red"]);
    put(&mut segment, "blue", Value::String(&[b'v'; 300]), &["blue", LONG]);
    put(&mut segment, "both", Value::Json("[1]"), &["red", "blue"]);
    put(&mut segment, "slot", Value::Slot(5), &["green"]);
    put(&mut segment, "empty", Value::String(b""), &[""]);
    put(&mut segment, "none", Value::Null, &[]);
    segment.end();
    segment
}

const KEYS: [&str; 6] = ["red", "blue", "both", "slot", "empty", "none"];

fn there(segment: &Segment<PlainMemory>) -> Vec<&'static str> {
    KEYS.into_iter().filter(|key| is_there(segment, key)).collect()
}

#[test]
fn an_entry_keeps_its_tags_and_ends_with_any_of_them() {
    let mut segment = tagged();
    assert_eq!(tags_of(&segment, "blue"), ["blue", LONG]);
    assert_eq!(tags_of(&segment, "empty"), [""]);
    assert!(tags_of(&segment, "none").is_empty() && tags_of(&segment, "missing").is_empty());
    let value = segment.peek(b"blue").unwrap().unwrap().0;
    assert_eq!(value, Value::String(&[b'v'; 300]));
    segment.restamp(b"blue", STAMP).unwrap();
    assert_eq!(tags_of(&segment, "blue"), ["blue", LONG], "a stamp leaves tags");
    invalidate(&mut segment, &[LONG]);
    assert_eq!(there(&segment), ["red", "both", "slot", "empty", "none"]);
    invalidate(&mut segment, &["red", "green"]);
    assert_eq!(there(&segment), ["empty", "none"]);
    // What is stored now is not outdated, and has no tags of before.
    segment.put(b"red", Value::Null, STAMP).unwrap();
    put(&mut segment, "both", Value::Null, &["red", "green"]);
    invalidate(&mut segment, &["blue"]);
    assert_eq!(there(&segment), ["red", "both", "empty", "none"]);
    segment.validate().unwrap();
}

#[test]
fn an_outdated_entry_does_not_come_back() {
    let mut segment = tagged();
    invalidate(&mut segment, &["red", "blue", "green"]);
    // A new version, as where the entries of two segments come together.
    segment.renew_versions(1000.0);
    assert_eq!(there(&segment), ["empty", "none"]);
    segment.restamp(b"red", STAMP).unwrap();
    assert_eq!(there(&segment), ["empty", "none"]);
    segment.recover().unwrap();
    segment.validate().unwrap();
    assert_eq!(there(&segment), ["none"], "a rebuild drops all that have tags");
    // Later invalidations and writes count as before the rebuild.
    put(&mut segment, "red", Value::Null, &["red"]);
    assert_eq!(there(&segment), ["red", "none"]);
    invalidate(&mut segment, &["red"]);
    assert_eq!(there(&segment), ["none"]);
}

#[test]
fn an_entry_with_tags_is_never_read_without_the_lock() {
    let mut segment = tagged();
    assert!(segment.glimpse(b"none").is_some());
    for key in &KEYS[..5] {
        assert!(segment.glimpse(key.as_bytes()).is_none(), "{key}");
    }
}

/// Whoever is killed in an invalidation has made it or not: for all its tags, and what is stored afterwards is there.
#[test]
fn killed_before_any_store_an_invalidation_counts_for_all_its_tags_or_for_none() {
    let (mut made, mut not_made) = (0, 0);
    for tags in [&["red"][..], &["red", "green"], &["red", "unknown", LONG]] {
        for earlier in [&[][..], &["red"]] {
            let mut segment = tagged();
            if !earlier.is_empty() {
                invalidate(&mut segment, earlier);
                put(&mut segment, "red", Value::Null, &["red"]);
                put(&mut segment, "both", Value::Null, &["red", "blue"]);
            }
            let memory = segment.memory().clone();
            let before = there(&segment);
            segment.begin().unwrap();
            let killed = before_each_store(&memory, || {
                let mut swept = 0;
                let mut cache = Cache::new(attach(memory.clone()));
                cache.invalidate(list(tags).tags());
                cache.storage_mut().sweep(1, |_| {
                    swept += 1;
                    true
                });
                cache.storage_mut().end();
            });
            let after = there(&take_over(memory));
            assert_ne!(before, after);
            for (number, memory) in killed.into_iter().enumerate() {
                // Some are killed once more, in the repair.
                let again = match number % 4 {
                    0 => before_each_store(&memory.clone(), || drop(take_over(memory.clone()))),
                    _ => vec![],
                };
                for memory in again.into_iter().chain([memory]) {
                    let mut found = take_over(memory);
                    let state = there(&found);
                    match state == before {
                        true => not_made += 1,
                        false => {
                            made += 1;
                            // A kill may cost more entries with tags, and never leaves one of those that end.
                            assert!(state.iter().all(|key| after.contains(key)), "{state:?}");
                            assert!(state.contains(&"none"));
                            assert!(tags.len() > 1 || state == after, "{state:?}");
                        }
                    }
                    for key in ["red", "new"] {
                        put(&mut found, key, Value::Null, tags);
                        assert!(is_there(&found, key), "stored afterwards");
                    }
                    found.validate().unwrap();
                }
            }
        }
    }
    println!("made {made} times, not made {not_made} times");
    assert!(made > 40 && not_made > 20);
}

/// As every entry, one with tags is stored whole or not at all.
#[test]
fn killed_before_any_store_an_entry_is_stored_with_its_tags_or_not() {
    let (mut old, mut new) = (0, 0);
    for value in [Value::Number(2.0), Value::String(&[b'w'; 200])] {
        let mut segment = tagged();
        let memory = segment.memory().clone();
        segment.begin().unwrap();
        let killed = before_each_store(&memory, || {
            put(&mut segment, "blue", value, &["new", LONG]);
            segment.end();
        });
        for memory in killed {
            let mut found = take_over(memory);
            let tags = tags_of(&found, "blue");
            let there = found.peek(b"blue").unwrap().unwrap().0;
            if there == value {
                assert_eq!(tags, ["new", LONG]);
                invalidate(&mut found, &["blue"]);
                assert!(is_there(&found, "blue"));
                new += 1;
            } else {
                assert_eq!(
                    (there, &tags[..]),
                    (
                        Value::String(&[b'v'; 300]),
                        &["blue".to_owned(), LONG.to_owned()][..]
                    )
                );
                old += 1;
            }
            invalidate(&mut found, &[LONG]);
            assert!(!is_there(&found, "blue"));
        }
    }
    assert!(old > 10 && new > 5, "{old} {new}");
}

/// While sweeps come to their end, tags without number leave the other entries alone.
#[test]
fn a_table_that_fills_up_is_emptied_behind_complete_sweeps() {
    let mut cache = Cache::new(tagged());
    for number in 0..3 * TAG_SLOTS {
        cache.invalidate(list(&[&format!("tag {number}")]).tags());
        let words = &cache.storage().header().tags;
        assert!(words.used.get() <= TAG_SLOTS / 4 * 3);
    }
    assert_eq!(there(cache.storage()), KEYS);
    assert_eq!(cache.storage().header().tags.floor.get(), 0);
    cache.reset().unwrap();
    assert_eq!(
        cache.storage().header().tags.ready.get(),
        0,
        "its memory is given back"
    );
}

/// Where no sweep comes to its end, the oldest entries with tags are lost, and none comes back.
#[test]
fn a_table_that_is_full_costs_entries_with_tags_and_no_others() {
    let mut segment = tagged();
    invalidate(&mut segment, &["red"]);
    let mut floors = HashSet::new();
    for number in 0..3 * TAG_SLOTS {
        let key = format!("new {}", number % 50);
        put(&mut segment, &key, Value::Null, &["new"]);
        invalidate(&mut segment, &[&format!("tag {number}")]);
        let words = &segment.header().tags;
        let floor = words.floor.get();
        let is_new = floors.insert(floor) && floor > 0;
        assert_eq!(is_there(&segment, &key), !is_new, "{number}");
        assert!(!is_there(&segment, "red"));
        assert!(is_there(&segment, "none"));
    }
    assert!(floors.len() > 1, "the floor was raised");
    put(&mut segment, "red", Value::Null, &["red"]);
    assert!(is_there(&segment, "red"));
    segment.validate().unwrap();
}

/// Where halves change or the floor is raised, a kill leaves no outdated entry, and none that is stored later is lost.
#[test]
fn killed_while_the_table_is_emptied_nothing_comes_back() {
    for swept in [true, false] {
        let mut segment = tagged();
        invalidate(&mut segment, &["red"]);
        if !swept {
            // The first half is full, and not swept.
            for number in 0..TAG_SLOTS / 4 * 3 {
                invalidate(&mut segment, &[&format!("a {number}")]);
            }
        }
        while segment.header().tags.used.get() < TAG_SLOTS / 4 * 3 {
            let number = segment.header().tags.used.get();
            invalidate(&mut segment, &[&format!("b {number}")]);
        }
        put(&mut segment, "later", Value::Null, &["later"]);
        let memory = segment.memory().clone();
        segment.begin().unwrap();
        let killed = before_each_store(&memory, || {
            segment.invalidate(list(&["later", "blue"]).tags());
            segment.end();
        });
        assert!(killed.len() > 5);
        assert_eq!(segment.header().tags.floor.get() > 0, !swept);
        for memory in killed {
            let mut found = take_over(memory);
            assert!(!is_there(&found, "red") && is_there(&found, "none"));
            put(&mut found, "red", Value::Null, &["red", "later"]);
            assert!(is_there(&found, "red"));
            invalidate(&mut found, &["later"]);
            assert!(!is_there(&found, "red") && !is_there(&found, "later"));
        }
    }
}

/// A prune is a sweep: after it nothing is left to remember.
#[test]
fn a_prune_removes_what_is_outdated_and_empties_the_table() {
    let mut segment = tagged();
    invalidate(&mut segment, &["red"]);
    let mut cache = Cache::new(segment);
    assert_eq!(cache.len(), 6);
    cache.prune(0.0);
    assert_eq!(cache.len(), 4);
    let words = &cache.storage().header().tags;
    assert_eq!((words.used.get(), words.bases[1].get()), (0, CLEAR));
    assert_eq!(there(cache.storage()), ["blue", "slot", "empty", "none"]);
}

/// Many entries are removed in parts, by invalidations and by calls that store entries with tags.
#[test]
fn a_sweep_goes_on_with_each_invalidation_and_each_entry_with_tags() {
    let mut cache = Cache::new(create(Geometry::for_bytes(8 << 20)));
    let red = list(&["red"]);
    let terms = Terms {
        extras: Extras { tags: red.tags() },
        ..Terms::default()
    };
    for number in 0..2000_u32 {
        cache
            .set_on(&number.to_le_bytes(), Value::Null, &terms, 0.0)
            .unwrap();
    }
    cache.invalidate(red.tags());
    assert_eq!(cache.len(), 2000 - 256, "a part at a time");
    cache.invalidate(list(&["other"]).tags());
    assert_eq!(cache.len(), 2000 - 512);
    let before = cache.len();
    cache.set_on(b"new", Value::Null, &terms, 0.0).unwrap();
    assert_eq!(cache.len(), before + 1 - 8);
    while cache.storage().header().tags.sweep.get() != NONE {
        cache.set_on(b"new", Value::Null, &terms, 0.0).unwrap();
    }
    assert_eq!(cache.len(), 1);
    cache.storage().validate().unwrap();
}

/// Damage to extras, to the bit that says that there are some, and to the table: no call crashes, hangs or reads beyond
/// bounds, and a rebuild makes it whole.
#[test]
fn no_damage_to_tags_does_harm() {
    let mut random = Random(77);
    for round in 0..400 {
        let mut segment = tagged();
        invalidate(&mut segment, &["other", "red"]);
        let base = segment.memory().base();
        let geometry = segment.edit.geometry;
        for _ in 0..=random.below(3) {
            let rows = segment.header().rows_used.get() as usize;
            let at = match random.below(5) {
                // The state and the lengths of a row.
                0 => geometry.rows_at + (1 + random.below(rows - 1)) * 64 + 1,
                1 => geometry.rows_at + (1 + random.below(rows - 1)) * 64 + random.below(16),
                2 => geometry.blocks_at + random.below(segment.header().blocks_used.get() as usize * 64),
                3 => geometry.tags_at + random.below(2 * TAG_SLOTS as usize * 16),
                _ => (&raw const segment.header().tags).addr() - base.addr().get() + random.below(64),
            };
            let bit = if random.one_in(3) {
                0xFF
            } else {
                1 << random.below(8)
            };
            // SAFETY: within the segment, which this test has for itself.
            unsafe { *base.add(at).as_mut() ^= bit };
        }
        for step in 0..12 {
            // A fault is found by the next call, or mended by this one.
            drop(segment.begin());
            match (round + step) % 6 {
                0 => {
                    for key in KEYS {
                        drop((segment.stamp(key.as_bytes()), segment.value(key.as_bytes())));
                    }
                }
                1 => invalidate(&mut segment, &["red", "blue"]),
                2 => put(&mut segment, "blue", Value::Null, &["red", LONG]),
                3 => segment.visit(|_| Ok(())).unwrap(),
                4 => drop(segment.remove(b"both")),
                _ => segment.sweep(1, |stamp| stamp != Stamp::INVALID),
            }
            drop(segment.extras(b"red"));
            segment.end();
        }
        segment.recover().unwrap();
        segment.validate().unwrap();
        put(&mut segment, "red", Value::Null, &["red"]);
        assert!(is_there(&segment, "red"));
        invalidate(&mut segment, &["red"]);
        assert!(!is_there(&segment, "red"));
    }
}
