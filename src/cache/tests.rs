//! The rules over a heap storage: limits, ages, recency, counters, dump and load, and what becomes of JavaScript values.

use super::*;
use crate::{error::Error, slots::Slots, storage::heap::HeapStorage};

type HeapCache = Cache<HeapStorage>;

/// A cache with names as keys and numbers as values, at a time of the test's choosing.
fn cache() -> HeapCache {
    Cache::new(HeapStorage::new(Slots::default()))
}

fn key(name: &str) -> Key {
    Key::string(name.as_bytes())
}

fn put(cache: &mut HeapCache, name: &str, number: f64, max_age: Option<f64>, now: f64) -> bool {
    cache
        .set(key(name).as_bytes(), Value::Number(number), max_age, now)
        .unwrap()
}

fn number(value: Value<'_>) -> Result<Option<f64>> {
    if let Value::Number(number) = value {
        Ok(Some(number))
    } else {
        Ok(None)
    }
}

fn get(cache: &mut HeapCache, name: &str, now: f64) -> Option<f64> {
    cache.get(key(name).as_bytes(), now, number).unwrap().flatten()
}

fn peek(cache: &mut HeapCache, name: &str, now: f64) -> Option<f64> {
    cache.peek(key(name).as_bytes(), now, number).unwrap().flatten()
}

fn has(cache: &HeapCache, name: &str, now: f64) -> bool {
    cache.has(key(name).as_bytes(), now).unwrap()
}

fn incr(cache: &mut HeapCache, name: &str, by: f64, max_age: Option<f64>, now: f64) -> f64 {
    cache.incr(key(name).as_bytes(), by, max_age, now).unwrap()
}

/// The keys, most recent first.
fn order(cache: &HeapCache) -> String {
    let mut order = String::new();
    let visited = cache.visit_keys(|key| {
        order += &String::from_utf8_lossy(&key[1..]);
        Ok(())
    });
    visited.unwrap();
    order
}

/// The entries `c`, `b`, `a`, set at time 0 in alphabetical order.
fn abc() -> HeapCache {
    let mut cache = cache();
    for name in ["a", "b", "c"] {
        put(&mut cache, name, 1.0, None, 0.0);
    }
    cache
}

#[test]
fn set_and_get_make_an_entry_the_most_recent() {
    let mut cache = abc();
    assert_eq!(order(&cache), "cba");
    get(&mut cache, "a", 0.0);
    assert_eq!(order(&cache), "acb");
    put(&mut cache, "b", 2.0, None, 0.0);
    assert_eq!(order(&cache), "bac");
}

#[test]
fn a_counter_whose_window_is_over_begins_anew_even_where_stale_entries_are_read() {
    let mut cache = cache();
    cache.set_allow_stale(true);
    assert_eq!(incr(&mut cache, "a", 1.0, Some(10.0), 0.0), 1.0);
    assert_eq!(incr(&mut cache, "a", 1.0, Some(10.0), 10.0), 2.0);
    assert_eq!(incr(&mut cache, "a", 1.0, Some(10.0), 11.0), 1.0);
}

#[test]
fn looking_leaves_recency_alone() {
    let mut cache = abc();
    peek(&mut cache, "a", 0.0);
    has(&cache, "a", 0.0);
    assert_eq!(owned(&cache, 0.0).len(), 3);
    assert_eq!(order(&cache), "cba");
}

#[test]
fn over_max_the_least_recent_goes_whether_or_not_another_has_expired() {
    let mut cache = cache();
    cache.set_max(2.0);
    put(&mut cache, "a", 1.0, None, 0.0);
    put(&mut cache, "b", 1.0, Some(1.0), 0.0);
    put(&mut cache, "c", 1.0, None, 10.0);
    assert_eq!(order(&cache), "cb");
    assert_eq!(cache.len(), 2, "an expired entry counts");
}

#[test]
fn lowering_max_trims_at_once() {
    let mut cache = abc();
    cache.set_max(1.5);
    assert_eq!(order(&cache), "c");
    cache.set_max(0.0);
    assert_eq!(cache.limits().max, f64::INFINITY);
}

#[test]
fn a_max_below_one_refuses_every_entry() {
    let mut cache = abc();
    cache.set_max(0.5);
    assert!(!put(&mut cache, "d", 1.0, None, 0.0));
    assert!(cache.is_empty());
}

/// The size of an entry whose name has one letter and whose value is a number.
fn unit() -> f64 {
    cache()
        .storage()
        .entry_size(key("a").as_bytes(), Value::Number(1.0), Extras::NONE)
}

fn put_text(cache: &mut HeapCache, name: &str, length: usize) -> bool {
    let text = "x".repeat(length);
    cache
        .set(key(name).as_bytes(), Value::String(text.as_bytes()), None, 0.0)
        .unwrap()
}

#[test]
fn the_size_is_that_of_all_keys_values_and_overheads() {
    let mut cache = abc();
    assert_eq!(cache.storage().size(), 3.0 * unit());
    put_text(&mut cache, "a", 10);
    put_text(&mut cache, "bb", 100);
    assert_eq!(cache.storage().size(), 4.0 * unit() + 10.0 + 101.0);
    put_text(&mut cache, "a", 7);
    assert_eq!(cache.storage().size(), 4.0 * unit() + 7.0 + 101.0);
    cache.reset().unwrap();
    assert_eq!(cache.storage().size(), 0.0);
}

#[test]
fn over_max_size_least_recent_entries_go_until_it_fits() {
    let mut cache = abc();
    cache.set_max_size(4.0 * unit());
    put(&mut cache, "d", 1.0, None, 0.0);
    assert_eq!(order(&cache), "dcba", "just as much is not over it");
    assert!(put_text(&mut cache, "a", 2 * unit() as usize));
    assert_eq!(order(&cache), "ad");
    assert!(put_text(&mut cache, "e", 1));
    assert_eq!(order(&cache), "e", "what was set last is what stays");
}

#[test]
fn lowering_max_size_trims_at_once() {
    let mut cache = abc();
    cache.set_max_size(3.0 * unit() - 1.0);
    assert_eq!(order(&cache), "cb");
    cache.set_max_size(1.0);
    assert_eq!(order(&cache), "");
    for none in [0.0, f64::NAN, f64::INFINITY] {
        cache.set_max_size(5.0);
        cache.set_max_size(none);
        cache.set_max_entry_size(5.0);
        cache.set_max_entry_size(none);
        assert_eq!(cache.limits(), Limits::default());
    }
}

#[test]
fn an_entry_that_never_fits_evicts_nothing_and_its_old_value_goes() {
    for limit in [HeapCache::set_max_size, HeapCache::set_max_entry_size] {
        let mut cache = abc();
        limit(&mut cache, 3.0 * unit());
        assert!(!put_text(&mut cache, "d", 3 * unit() as usize));
        assert_eq!(order(&cache), "cba");
        assert!(!put_text(&mut cache, "b", 3 * unit() as usize));
        assert_eq!(order(&cache), "ca");
        assert!(
            put_text(&mut cache, "a", 2 * unit() as usize),
            "just as much fits"
        );
    }
}

#[test]
fn a_lower_max_entry_size_leaves_what_is_there() {
    let mut cache = cache();
    put_text(&mut cache, "a", 100);
    cache.set_max_entry_size(unit());
    assert_eq!(order(&cache), "a");
    assert!(put(&mut cache, "b", 1.0, None, 0.0));
    assert!(!put_text(&mut cache, "a", 100));
    assert_eq!(order(&cache), "b");
}

#[test]
fn a_counter_keeps_to_the_limits_with_and_without_an_age_of_its_own() {
    for max_age in [None, Some(9.0)] {
        let mut cache = abc();
        put(&mut cache, "n", 5.0, max_age, 0.0);
        cache.set_max_size(4.0 * unit());
        assert_eq!(incr(&mut cache, "new", 1.0, max_age, 0.0), 1.0);
        assert_eq!(order(&cache), "newnc");
        assert_eq!(incr(&mut cache, "n", 1.0, max_age, 0.0), 6.0);
        cache.set_max_entry_size(unit() - 1.0);
        assert_eq!(incr(&mut cache, "n", 1.0, max_age, 0.0), 7.0);
        assert_eq!(order(&cache), "newc", "a counter that does not fit is not kept");
        assert_eq!(incr(&mut cache, "n", 1.0, max_age, 0.0), 1.0);
    }
}

#[test]
fn a_replaced_entry_that_goes_at_once_evicts_nothing() {
    let mut cache = abc();
    cache.set_max_size(3.0 * unit());
    let large = vec![b'x'; unit() as usize];
    let stored = cache.set(key("a").as_bytes(), Value::String(&large), Some(-1.0), 0.0);
    assert!(stored.unwrap());
    assert_eq!(order(&cache), "cb");
}

#[test]
fn load_leaves_out_what_never_fits() {
    let mut source = abc();
    put_text(&mut source, "b", 1000);
    let dump = owned(&source, 0.0);
    let mut target = cache();
    target.set_max_size(2.0 * unit());
    target.load(&dump, 0.0).unwrap();
    assert_eq!(order(&target), "ca");
}

#[test]
fn an_entry_expires_when_more_than_its_age_has_passed() {
    let mut cache = cache();
    put(&mut cache, "a", 1.0, Some(10.5), 100.0);
    assert!(has(&cache, "a", 110.5));
    assert!(!has(&cache, "a", 110.75));
    assert_eq!(get(&mut cache, "a", 110.5), Some(1.0));
    assert_eq!(get(&mut cache, "a", 110.75), None);
}

#[test]
fn get_does_not_renew_the_age() {
    let mut cache = cache();
    put(&mut cache, "a", 1.0, Some(10.0), 100.0);
    get(&mut cache, "a", 108.0);
    assert!(!has(&cache, "a", 111.0));
}

#[test]
fn setting_again_replaces_value_time_and_age() {
    let mut cache = cache();
    put(&mut cache, "a", 1.0, Some(10.0), 100.0);
    put(&mut cache, "a", 2.0, Some(20.0), 105.0);
    assert_eq!(get(&mut cache, "a", 125.0), Some(2.0));
    assert_eq!(get(&mut cache, "a", 126.0), None);
}

#[test]
fn an_entry_without_an_age_of_its_own_keeps_the_one_the_cache_had() {
    let mut cache = cache();
    cache.set_max_age(10.0);
    put(&mut cache, "a", 1.0, None, 100.0);
    put(&mut cache, "b", 1.0, Some(0.0), 100.0);
    put(&mut cache, "c", 1.0, Some(f64::NAN), 100.0);
    cache.set_max_age(1000.0);
    for name in ["a", "b", "c"] {
        assert!(has(&cache, name, 110.0) && !has(&cache, name, 111.0), "{name}");
    }
}

#[test]
fn an_entry_set_when_nothing_had_an_age_takes_that_of_the_cache_now() {
    let mut cache = cache();
    put(&mut cache, "a", 1.0, None, 100.0);
    assert!(has(&cache, "a", 1e15));
    // It was set at time 0, as far as it knows.
    cache.set_max_age(150.0);
    assert!(has(&cache, "a", 150.0) && !has(&cache, "a", 151.0));
    cache.set_max_age(0.0);
    assert!(has(&cache, "a", 1e15));
}

#[test]
fn an_own_age_may_be_infinite() {
    let mut cache = cache();
    cache.set_max_age(1.0);
    put(&mut cache, "a", 1.0, Some(f64::INFINITY), 100.0);
    assert!(has(&cache, "a", 1e300));
}

#[test]
fn a_negative_age_has_passed_at_once_and_a_replaced_entry_goes_with_it() {
    let mut cache = cache();
    assert!(put(&mut cache, "a", 1.0, Some(-1.0), 100.0));
    assert_eq!(cache.len(), 1);
    assert_eq!(get(&mut cache, "a", 100.0), None);
    put(&mut cache, "b", 1.0, None, 100.0);
    assert!(put(&mut cache, "b", 2.0, Some(-1.0), 100.0));
    assert!(cache.is_empty());
}

#[test]
fn has_removes_nothing_get_and_peek_remove_what_has_expired() {
    let mut cache = cache();
    put(&mut cache, "a", 1.0, Some(1.0), 0.0);
    put(&mut cache, "b", 1.0, Some(1.0), 0.0);
    assert!(!has(&cache, "a", 2.0));
    assert_eq!(order(&cache), "ba");
    assert_eq!(get(&mut cache, "a", 2.0), None);
    assert_eq!(order(&cache), "b");
    assert_eq!(peek(&mut cache, "b", 2.0), None);
    assert!(cache.is_empty());
}

#[test]
fn a_stale_entry_is_read_once() {
    let mut cache = cache();
    cache.set_allow_stale(true);
    put(&mut cache, "a", 1.0, Some(1.0), 0.0);
    put(&mut cache, "b", 2.0, Some(1.0), 0.0);
    assert!(!has(&cache, "a", 2.0));
    assert_eq!(
        (get(&mut cache, "a", 2.0), get(&mut cache, "a", 2.0)),
        (Some(1.0), None)
    );
    assert_eq!(
        (peek(&mut cache, "b", 2.0), peek(&mut cache, "b", 2.0)),
        (Some(2.0), None)
    );
}

#[test]
fn prune_removes_what_has_expired_and_nothing_else() {
    let mut cache = abc();
    put(&mut cache, "x", 1.0, Some(1.0), 0.0);
    put(&mut cache, "y", 1.0, Some(100.0), 0.0);
    cache.set_allow_stale(true);
    cache.prune(50.0);
    assert_eq!(order(&cache), "ycba");
}

#[test]
fn pop_takes_the_least_recent_entry_expired_or_not() {
    let mut cache = cache();
    put(&mut cache, "a", 1.0, Some(1.0), 5.0);
    put(&mut cache, "b", 2.0, None, 5.0);
    let full = Error::out_of_memory();
    assert_eq!(cache.pop(|_| Err::<(), _>(full.clone())), Err(full));
    assert_eq!(
        cache.pop(|entry| Ok(entry.stamp)),
        Ok(Some(Stamp {
            set_at: 5.0,
            max_age: 1.0
        })),
        "what could not be read is still there"
    );
    assert_eq!(order(&cache), "b");
    assert_eq!(cache.pop(|entry| number(entry.value)), Ok(Some(Some(2.0))));
    assert_eq!(cache.pop(|_| Ok(())), Ok(None));
}

#[test]
fn a_counter_begins_at_zero_where_there_is_no_number() {
    let mut cache = cache();
    cache
        .set(key("text").as_bytes(), Value::String(b"5"), None, 0.0)
        .unwrap();
    assert_eq!(incr(&mut cache, "new", 3.0, None, 0.0), 3.0);
    assert_eq!(incr(&mut cache, "new", 0.0, None, 0.0), 3.0);
    assert_eq!(incr(&mut cache, "new", -1.5, None, 0.0), 1.5);
    assert_eq!(incr(&mut cache, "text", 1.0, None, 0.0), 1.0);
    assert_eq!(get(&mut cache, "text", 0.0), Some(1.0));
}

#[test]
fn counting_makes_an_entry_the_most_recent_and_keeps_to_max() {
    let mut cache = abc();
    cache.set_max(3.0);
    incr(&mut cache, "a", 1.0, None, 0.0);
    assert_eq!(order(&cache), "acb");
    incr(&mut cache, "d", 1.0, Some(9.0), 0.0);
    incr(&mut cache, "a", 1.0, Some(9.0), 0.0);
    assert_eq!(order(&cache), "adc");
}

#[test]
fn counting_starts_the_age_anew_with_that_of_the_cache() {
    let mut cache = cache();
    cache.set_max_age(10.0);
    put(&mut cache, "a", 1.0, Some(1000.0), 100.0);
    incr(&mut cache, "a", 1.0, None, 105.0);
    assert!(has(&cache, "a", 115.0) && !has(&cache, "a", 116.0));
    assert_eq!(incr(&mut cache, "a", 1.0, None, 116.0), 1.0);
}

#[test]
fn a_counter_with_an_age_runs_from_its_first_call() {
    let mut cache = cache();
    cache.set_max_age(3.0);
    assert_eq!(incr(&mut cache, "a", 1.0, Some(10.0), 100.0), 1.0);
    assert_eq!(incr(&mut cache, "a", 1.0, Some(10.0), 109.0), 2.0);
    assert_eq!(incr(&mut cache, "a", 1.0, Some(50.0), 110.0), 3.0);
    assert_eq!(
        incr(&mut cache, "a", 1.0, Some(10.0), 111.0),
        1.0,
        "another window"
    );
    assert!(has(&cache, "a", 121.0) && !has(&cache, "a", 122.0));
}

fn owned(cache: &HeapCache, now: f64) -> Vec<DumpEntry<OwnedValue>> {
    let mut dump = vec![];
    let visited = cache.dump(now, |entry, expires| {
        dump.push(DumpEntry {
            key: Key::from_bytes(entry.key),
            value: entry.value.to_owned(),
            expires,
        });
        Ok(())
    });
    visited.unwrap();
    dump
}

#[test]
fn a_dump_is_most_recent_first_without_what_has_expired() {
    let mut cache = cache();
    put(&mut cache, "a", 1.0, None, 100.0);
    put(&mut cache, "b", 2.0, Some(5.0), 100.0);
    put(&mut cache, "c", 3.0, Some(50.0), 100.0);
    let dump: Vec<_> = owned(&cache, 110.0)
        .into_iter()
        .map(|entry| (entry.key, entry.value, entry.expires))
        .collect();
    assert_eq!(
        dump,
        [
            (key("c"), OwnedValue::Number(3.0), 150.0),
            (key("a"), OwnedValue::Number(1.0), 0.0)
        ]
    );
}

#[test]
fn load_replaces_everything_and_restores_order_and_remaining_ages() {
    let mut source = cache();
    put(&mut source, "a", 1.0, Some(50.0), 100.0);
    put(&mut source, "b", 2.0, Some(5.0), 100.0);
    put(&mut source, "c", 3.0, None, 100.0);
    let dump = owned(&source, 100.0);
    let mut target = abc();
    put(&mut target, "old", 1.0, None, 0.0);
    target.load(&dump, 110.0).unwrap();
    assert_eq!(order(&target), "ca", "b has expired meanwhile");
    assert!(has(&target, "a", 150.0) && !has(&target, "a", 151.0));
}

#[test]
fn load_keeps_to_max() {
    let dump = owned(&abc(), 0.0);
    let mut target = cache();
    target.set_max(2.0);
    target.load(&dump, 0.0).unwrap();
    assert_eq!(order(&target), "cb");
}

#[test]
fn an_expired_entry_of_a_dump_is_passed_over_and_replaces_nothing() {
    let entry = |expires| DumpEntry {
        key: key("a"),
        value: OwnedValue::Null,
        expires,
    };
    let mut cache = cache();
    cache.load(&[entry(90.0), entry(0.0)], 100.0).unwrap();
    assert!(has(&cache, "a", 100.0));
}

type WayOut = (&'static str, fn(&mut HeapCache));

/// Ways for an entry to go, each from a cache that holds `a`, set at time 0 with an age of 10.
fn ways_out() -> Vec<WayOut> {
    vec![
        ("del", |cache| cache.del(key("a").as_bytes()).unwrap()),
        ("overwriting", |cache| {
            put(cache, "a", 1.0, None, 0.0);
        }),
        ("overwriting with a negative age", |cache| {
            put(cache, "a", 1.0, Some(-1.0), 0.0);
        }),
        ("counting", |cache| {
            incr(cache, "a", 1.0, Some(5.0), 0.0);
        }),
        ("eviction", |cache| {
            cache.set_max(1.0);
            put(cache, "b", 1.0, None, 0.0);
        }),
        ("a lower max", |cache| cache.set_max(0.5)),
        ("a lower maxSize", |cache| cache.set_max_size(1.0)),
        ("overwriting with what never fits", |cache| {
            cache.set_max_entry_size(unit());
            put_text(cache, "a", 100);
        }),
        ("get after its time", |cache| {
            get(cache, "a", 11.0);
        }),
        ("peek after its time", |cache| {
            peek(cache, "a", 11.0);
        }),
        ("a stale get", |cache| {
            cache.set_allow_stale(true);
            get(cache, "a", 11.0);
        }),
        ("prune", |cache| _ = cache.prune(11.0)),
        ("pop", |cache| {
            cache.pop(|_| Ok(())).unwrap();
        }),
        ("reset", |cache| cache.reset().unwrap()),
        ("load", |cache| cache.load(&[], 0.0).unwrap()),
        ("drop", |cache| *cache = self::cache()),
    ]
}

#[test]
fn a_javascript_value_is_let_go_by_whatever_way_its_entry_goes() {
    for (way, leave) in ways_out() {
        let slots = Slots::default();
        let mut cache = Cache::new(HeapStorage::new(slots.clone()));
        let slot = slots.take();
        cache
            .set(key("a").as_bytes(), Value::Slot(slot), Some(10.0), 0.0)
            .unwrap();
        get(&mut cache, "a", 5.0);
        assert_eq!(slots.in_use(), 1, "{way}");
        leave(&mut cache);
        let mut dropped = vec![];
        slots.release(9, |slot| dropped.push(slot));
        assert_eq!((dropped, slots.in_use()), (vec![slot], 0), "{way}");
    }
}

#[test]
fn a_javascript_value_that_is_not_stored_is_let_go() {
    let slots = Slots::default();
    let mut cache = Cache::new(HeapStorage::new(slots.clone()));
    let expired = DumpEntry {
        key: key("a"),
        value: OwnedValue::Slot(slots.take()),
        expires: 1.0,
    };
    cache.load(&[expired], 2.0).unwrap();
    assert_eq!(slots.in_use(), 0);
    cache.set_max(0.5);
    assert!(
        !cache
            .set(key("a").as_bytes(), Value::Slot(slots.take()), None, 0.0)
            .unwrap()
    );
    assert_eq!(slots.in_use(), 0);
}

#[test]
fn a_javascript_value_that_is_set_again_and_never_fits_is_let_go_once() {
    let slots = Slots::default();
    let mut cache = Cache::new(HeapStorage::new(slots.clone()));
    let set = |cache: &mut HeapCache, slot| {
        cache
            .set(key("a").as_bytes(), Value::Slot(slot), None, 0.0)
            .unwrap()
    };
    let slot = slots.take();
    assert!(set(&mut cache, slot));
    cache.set_max_entry_size(1.0);
    assert!(!set(&mut cache, slot));
    assert_eq!((cache.len(), slots.in_use()), (0, 0));
    let mut dropped = vec![];
    slots.release(9, |slot| dropped.push(slot));
    assert_eq!(dropped, [slot]);
}

/// Hits, misses, stale hits, sets, deletes, evictions, expirations.
fn counts(cache: &HeapCache) -> [f64; 7] {
    *cache.stats().numbers().first_chunk().unwrap()
}

#[test]
fn reads_are_counted_as_hits_or_misses_and_looks_as_neither() {
    let mut cache = abc();
    get(&mut cache, "a", 0.0);
    get(&mut cache, "x", 0.0);
    peek(&mut cache, "a", 0.0);
    peek(&mut cache, "x", 0.0);
    has(&cache, "a", 0.0);
    incr(&mut cache, "a", 1.0, None, 0.0);
    incr(&mut cache, "n", 1.0, Some(5.0), 0.0);
    assert_eq!(counts(&cache), [1.0, 1.0, 0.0, 5.0, 0.0, 0.0, 0.0]);
    cache.get_elsewhere(key("a").as_bytes(), 0.0).unwrap();
    cache.get_elsewhere(key("x").as_bytes(), 0.0).unwrap();
    assert_eq!(counts(&cache), [2.0, 1.0, 0.0, 5.0, 0.0, 0.0, 0.0]);
}

#[test]
fn what_expires_is_counted_once_and_a_stale_value_is_a_hit() {
    let mut cache = cache();
    for name in ["a", "b", "c", "d"] {
        put(&mut cache, name, 1.0, Some(5.0), 0.0);
    }
    get(&mut cache, "a", 9.0);
    peek(&mut cache, "b", 9.0);
    assert_eq!(counts(&cache), [0.0, 1.0, 0.0, 4.0, 0.0, 0.0, 2.0]);
    cache.set_allow_stale(true);
    assert_eq!(get(&mut cache, "c", 9.0), Some(1.0));
    assert_eq!(counts(&cache), [1.0, 1.0, 1.0, 4.0, 0.0, 0.0, 3.0]);
    cache.prune(9.0);
    // A negative age: replaced, and gone at once.
    put(&mut cache, "e", 1.0, None, 9.0);
    put(&mut cache, "e", 1.0, Some(-1.0), 9.0);
    assert_eq!(counts(&cache), [1.0, 1.0, 1.0, 6.0, 0.0, 0.0, 5.0]);
    assert!(cache.is_empty());
}

#[test]
fn entries_that_go_are_counted_by_what_removed_them() {
    let mut cache = abc();
    for _ in 0..2 {
        cache.del(key("a").as_bytes()).unwrap();
    }
    cache.pop(|_| Ok(())).unwrap();
    assert_eq!(counts(&cache), [0.0, 0.0, 0.0, 3.0, 2.0, 0.0, 0.0]);
    cache.set_max(2.0);
    for name in ["d", "e", "f"] {
        put(&mut cache, name, 1.0, None, 0.0);
    }
    cache.set_max(1.0);
    assert_eq!(counts(&cache), [0.0, 0.0, 0.0, 6.0, 2.0, 3.0, 0.0]);
    cache.reset().unwrap();
    cache.set_max_entry_size(1.0);
    assert!(!put(&mut cache, "g", 1.0, None, 0.0));
    assert_eq!(counts(&cache), [0.0, 0.0, 0.0, 6.0, 3.0, 3.0, 0.0]);
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.size, stats.processes), (0, 0.0, 1));
}

fn within(max_age: Option<f64>) -> Terms<'static> {
    Terms {
        max_age,
        keeps_age: true,
        ..Terms::default()
    }
}

#[test]
fn a_write_within_an_age_leaves_the_age_of_an_entry_that_is_there() {
    let mut cache = cache();
    put(&mut cache, "a", 1.0, Some(10.0), 0.0);
    let bytes = key("a");
    let write = |cache: &mut HeapCache, now| {
        let value = Value::Number(now);
        cache
            .set_on(bytes.as_bytes(), value, &within(Some(100.0)), now)
            .unwrap()
    };
    assert!(write(&mut cache, 5.0));
    assert_eq!(cache.remaining(bytes.as_bytes(), 5.0), Ok(5.0));
    assert_eq!(get(&mut cache, "a", 10.0), Some(5.0));
    assert!(write(&mut cache, 11.0), "the entry has expired");
    assert_eq!(cache.remaining(bytes.as_bytes(), 11.0), Ok(100.0));
    assert_eq!(
        cache.incr_on(bytes.as_bytes(), 2.0, &within(None), 12.0),
        Ok(13.0)
    );
    assert_eq!(cache.remaining(bytes.as_bytes(), 12.0), Ok(99.0));
}

#[test]
fn renew_begins_an_age_anew_and_makes_the_entry_the_most_recent() {
    let mut cache = abc();
    let renew = |cache: &mut HeapCache, name: &str, max_age, keeps_age, now| {
        cache
            .renew(key(name).as_bytes(), max_age, keeps_age, now)
            .unwrap()
    };
    let left = |cache: &HeapCache, name: &str, now: f64| cache.remaining(key(name).as_bytes(), now).unwrap();
    assert!(renew(&mut cache, "a", Some(10.0), false, 5.0));
    assert_eq!((order(&cache).as_str(), left(&cache, "a", 5.0)), ("acb", 10.0));
    assert!(renew(&mut cache, "a", None, false, 8.0));
    assert_eq!(left(&cache, "a", 8.0), 10.0);
    assert!(renew(&mut cache, "b", None, false, 8.0));
    assert!(renew(&mut cache, "a", Some(99.0), true, 9.0));
    assert_eq!((order(&cache).as_str(), left(&cache, "a", 9.0)), ("abc", 9.0));
    assert_eq!(left(&cache, "b", 9.0), f64::INFINITY);
    assert!(!renew(&mut cache, "a", None, false, 19.0), "it has expired");
    assert!(!renew(&mut cache, "x", None, false, 19.0));
    assert!(renew(&mut cache, "c", Some(-1.0), false, 19.0));
    assert!(!has(&cache, "c", 19.0), "a negative age removes, as in set");
}

#[test]
fn a_window_above_its_limit_changes_as_the_caller_says() {
    let mut cache = cache();
    let mut hits = |name: &str, limit: f64, when_over: WhenOver, amount: f64| -> Vec<f64> {
        (0..4)
            .map(|n| {
                let over = Some((limit, when_over));
                let hit = cache.hit(key(name).as_bytes(), 100.0, amount, false, over, f64::from(n));
                hit.unwrap().reset_in
            })
            .collect()
    };
    assert_eq!(hits("a", 9.0, WhenOver::Restart, 1.0), [100.0, 99.0, 98.0, 97.0]);
    assert_eq!(
        hits("b", 2.0, WhenOver::Restart, 1.0),
        [100.0, 99.0, 100.0, 100.0]
    );
    assert_eq!(
        hits("c", 1.0, WhenOver::Double, 1.0),
        [100.0, 100.0, 200.0, 400.0]
    );
    assert_eq!(hits("d", 1.0, WhenOver::Time(7.0), 1.0), [100.0, 7.0, 6.0, 5.0]);
    let longest = 9_007_199_254_740_736.0;
    assert_eq!(hits("e", 0.0, WhenOver::Double, 1e9), [longest; 4]);
    assert_eq!(
        hits("f", f64::NAN, WhenOver::Double, 1.0),
        [100.0, 99.0, 98.0, 97.0]
    );
}

#[test]
fn a_version_is_that_of_an_entry_until_it_changes() {
    let mut cache = abc();
    let name = key("a");
    let version = |cache: &mut HeapCache, now: f64| {
        let facts = cache.get_entry(name.as_bytes(), now, |_| Ok(())).unwrap();
        facts.map(|facts| facts.version)
    };
    let first = version(&mut cache, 0.0).unwrap();
    assert_eq!(version(&mut cache, 0.0), Some(first));
    assert_eq!(cache.has_version(name.as_bytes(), first, 0.0), Ok(true));
    assert_eq!(cache.has_version(name.as_bytes(), 0.0, 0.0), Ok(false));
    cache.renew(name.as_bytes(), Some(10.0), false, 1.0).unwrap();
    assert_eq!(cache.has_version(name.as_bytes(), first, 1.0), Ok(false));
    let second = version(&mut cache, 1.0).unwrap();
    assert!(second > first);
    assert_eq!(
        cache.has_version(name.as_bytes(), 0.0, 12.0),
        Ok(true),
        "it has expired"
    );
    assert_eq!(cache.has_version(name.as_bytes(), second, 12.0), Ok(false));
    cache.set_allow_stale(true);
    assert_eq!(version(&mut cache, 12.0), Some(0.0), "read once, and removed");
    assert_eq!(version(&mut cache, 12.0), None);
}

/// Stores 5 as "k" with an age of 10, kept past that for so long.
fn keep(cache: &mut Cache<HeapStorage>, time: f64) -> Result<bool> {
    let terms = Terms {
        max_age: Some(10.0),
        kept: Kept::For(time),
        ..Terms::default()
    };
    cache.set_on(key("k").as_bytes(), Value::Number(5.0), &terms, 0.0)
}

/// What is kept of "k": its value, or whether it is an error.
fn kept(cache: &mut Cache<HeapStorage>, now: f64) -> Option<(Option<f64>, bool)> {
    cache
        .kept(key("k").as_bytes(), now, |value, _| number(value))
        .unwrap()
        .map(|(value, past)| (value, past.is_error))
}

#[test]
fn an_entry_that_is_kept_past_its_age_is_a_miss_for_every_other_call() {
    let mut cache = cache();
    cache.set_allow_stale(true);
    let name = key("k");
    let k = name.as_bytes();
    assert_eq!(keep(&mut cache, 100.0), Ok(true));
    assert_eq!(kept(&mut cache, 10.0), None, "it has not expired");
    assert_eq!(get(&mut cache, "k", 10.0), Some(5.0));
    assert_eq!(kept(&mut cache, 11.0), Some((Some(5.0), false)));
    assert_eq!(get(&mut cache, "k", 11.0), None);
    assert_eq!(cache.peek(k, 11.0, number), Ok(None));
    assert_eq!(cache.has(k, 11.0), Ok(false));
    assert_eq!(cache.remaining(k, 11.0), Ok(0.0));
    assert_eq!(cache.renew(k, None, false, 11.0), Ok(false));
    assert_eq!(cache.get_entry(k, 11.0, |_| Ok(())), Ok(None));
    cache.prune(11.0);
    assert_eq!((cache.prune_part(0, 11.0), cache.len()), (None, 1));
    assert_eq!(kept(&mut cache, 110.0), Some((Some(5.0), false)));
    // The time is rounded up, by a fifth at most.
    assert_eq!(kept(&mut cache, 131.0), None);
    assert_eq!(
        get(&mut cache, "k", 131.0),
        Some(5.0),
        "stale, once more as any other"
    );
    assert_eq!(cache.len(), 0);
}

#[test]
fn a_write_ends_what_is_kept() {
    let mut cache = cache();
    keep(&mut cache, f64::INFINITY).unwrap();
    assert_eq!(kept(&mut cache, 1e12), Some((Some(5.0), false)));
    put(&mut cache, "k", 6.0, Some(10.0), 20.0);
    assert_eq!((get(&mut cache, "k", 31.0), cache.len()), (None, 0));
    keep(&mut cache, 100.0).unwrap();
    assert_eq!(incr(&mut cache, "k", 1.0, None, 20.0), 1.0, "it counts as none");
}

#[test]
fn an_error_that_is_kept_is_no_entry() {
    let mut cache = cache();
    let name = key("k");
    let k = name.as_bytes();
    cache.set_error(k, Value::Number(1.0), 50.0, 100.0).unwrap();
    for now in [0.0, 100.0, 150.0] {
        assert_eq!(get(&mut cache, "k", now), None);
        assert_eq!(kept(&mut cache, now), Some((Some(1.0), true)));
    }
    assert_eq!(kept(&mut cache, 151.0), None);
    assert_eq!((get(&mut cache, "k", 151.0), cache.len()), (None, 0));
}

#[test]
fn a_time_past_the_age_is_written_into_the_age_and_rounded_up() {
    use crate::storage::Kept;
    for age in [1.0, 10.0, 60_000.0, 86_400_000.0, 31_557_600_000.0] {
        let stamp = Stamp {
            set_at: 0.0,
            max_age: age,
        };
        assert_eq!(stamp.kept(), Kept::No);
        for time in [0.5, 1.0, 7.0, 1000.0, 1e6, 3e9] {
            let with = stamp.keeping(Kept::For(time));
            let Kept::For(kept) = with.kept() else {
                panic!("{time}")
            };
            assert!(kept >= time && kept <= (time * 1.2).max(1.2), "{time} {kept}");
            assert!((with.max_age - age).abs() <= age * 1e-13);
            assert_eq!(with.keeping(Kept::No), stamp);
        }
        assert_eq!(stamp.keeping(Kept::For(1e12)).kept(), Kept::For(f64::INFINITY));
        assert_eq!(stamp.keeping(Kept::Error).kept(), Kept::Error);
        assert_eq!(stamp.keeping(Kept::For(0.0)), stamp);
    }
    let ageless = Stamp {
        set_at: 0.0,
        max_age: 0.0,
    };
    assert_eq!(ageless.keeping(Kept::For(5.0)), ageless);
}
