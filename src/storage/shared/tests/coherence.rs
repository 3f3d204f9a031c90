//! Reads without the lock beside writers, by threads that have an attachment each, as processes have.

use std::{
    collections::HashMap,
    env,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use super::{super::memfd::Memfd, Random};
use crate::{
    cache::Remembered,
    storage::{Mapped, shared::Segment},
    store::{Read, Store},
    value::Value,
};

const KEYS: usize = 8;

/// A value that says its number all over, and is of any length: one that is mixed of two is found out.
fn value(number: u64) -> Vec<u8> {
    let text = format!("{number};");
    text.repeat(1 + number as usize % 97).into_bytes()
}

fn number(value: Value<'_>) -> u64 {
    let Value::String(bytes) = value else {
        panic!("{value:?}");
    };
    let text = std::str::from_utf8(bytes).unwrap();
    let number: u64 = text.split(';').next().unwrap().parse().unwrap();
    assert_eq!(bytes, self::value(number), "a mixture");
    number
}

/// Writers store rising numbers; readers read with and without copies of their own. No read that began after a write was
/// acknowledged gives an older number, and none gives a mixture.
#[test]
fn no_read_is_older_than_a_write_that_was_acknowledged_before_it() {
    let seconds = env::var("COHERENCE_SECONDS").map_or(1, |seconds| seconds.parse().unwrap());
    let store = Store::shared(Segment::<Memfd>::make("coherence").unwrap());
    store
        .lock(Duration::from_secs(1))
        .unwrap()
        .set_max(KEYS as f64 - 1.0);
    let ticket = store.ticket().unwrap();
    // The number that was acknowledged last, by key.
    let acknowledged: Vec<_> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let next = AtomicU64::new(1);
    let over = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    let unlocked = AtomicU64::new(0);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (acknowledged, next, over, ticket) = (&acknowledged, &next, &over, &ticket);
            scope.spawn(move || {
                let store = Store::attach(ticket).unwrap();
                let mut random = Random(writer + 100);
                while !over.load(SeqCst) {
                    // Each writer has keys of its own: so the numbers of a key rise.
                    let key = random.below(KEYS / 2) * 2 + writer as usize;
                    let name = format!("s{key}");
                    let number = next.fetch_add(1, SeqCst);
                    let Ok(mut cache) = store.lock(Duration::from_millis(100)) else {
                        continue;
                    };
                    match random.below(20) {
                        0 => cache.del(name.as_bytes()).unwrap(),
                        age @ 1..3 => {
                            cache.set_max_age(f64::from(age as u32 - 1) * 1e9);
                            continue;
                        }
                        _ => {
                            cache
                                .set(name.as_bytes(), Value::String(&value(number)), None, 1.0)
                                .unwrap();
                        }
                    }
                    drop(cache);
                    acknowledged[key].fetch_max(number, SeqCst);
                    if random.below(4) == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        for reader in 0..2 {
            let (acknowledged, over, ticket) = (&acknowledged, &over, &ticket);
            let (reads, unlocked) = (&reads, &unlocked);
            scope.spawn(move || {
                let store = Store::attach(ticket).unwrap();
                store
                    .lock(Duration::from_secs(1))
                    .unwrap()
                    .segment()
                    .unwrap()
                    .claim_ring();
                let mut random = Random(reader + 7);
                let mut copies: HashMap<usize, (Remembered, u32, u64)> = HashMap::new();
                let mut seen = [0; KEYS];
                let (control, versions) = {
                    let guard = store.lock(Duration::from_secs(1)).unwrap();
                    let segment = guard.segment().unwrap();
                    (
                        segment.control_window().unwrap(),
                        segment.versions_window(0).unwrap(),
                    )
                };
                // SAFETY: windows of the segment, mapped for as long as they live; atomics.
                let word = |at: usize| unsafe {
                    (*control
                        .base()
                        .as_ptr()
                        .cast::<std::sync::atomic::AtomicU32>()
                        .add(at))
                    .load(SeqCst)
                };
                // SAFETY: as above.
                let version = |row: u32| unsafe {
                    f64::from_bits(
                        (*versions.base().as_ptr().cast::<AtomicU64>().add(row as usize)).load(SeqCst),
                    )
                };
                while !over.load(SeqCst) {
                    let key = random.below(KEYS);
                    let name = format!("s{key}");
                    let least = acknowledged[key].load(SeqCst);
                    reads.fetch_add(1, SeqCst);
                    // A copy of its own, as `lib/near/` has them.
                    if let Some((copy, epoch, found)) = copies.get(&key) {
                        let counts =
                            word(0) & 1 == 0 && word(1) == *epoch && version(copy.row) == copy.version;
                        if counts {
                            assert!(*found >= least, "a copy: {found} after {least}");
                            assert!(*found >= seen[key], "a copy: {found} after {}", seen[key]);
                            continue;
                        }
                        copies.remove(&key);
                    }
                    let epoch = word(1);
                    let patience = Duration::from_secs(1);
                    let read = store.read(name.as_bytes(), 2.0, true, patience, |value| Ok(number(value)));
                    if let Read::Done(found, entry) = read.unwrap() {
                        assert!(found >= least, "without the lock: {found} after {least}");
                        assert!(
                            found >= seen[key],
                            "without the lock: {found} after {}",
                            seen[key]
                        );
                        seen[key] = found;
                        unlocked.fetch_add(1, SeqCst);
                        if epoch & 1 == 0 {
                            copies.insert(key, (entry, epoch, found));
                        }
                    }
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, SeqCst);
    });
    let (reads, unlocked) = (reads.into_inner(), unlocked.into_inner());
    println!(
        "{reads} reads, {unlocked} without the lock, {} writes",
        next.into_inner()
    );
    assert!(unlocked > 0);
    let guard = store.lock(Duration::from_secs(1)).unwrap();
    guard.segment().unwrap().validate().unwrap();
    assert_eq!(guard.segment().unwrap().recoveries(), (0, 0));
}

/// Misses come together: after one, a read takes the lock at once, unless another process has it.
#[test]
fn after_a_miss_a_read_takes_the_lock_where_it_is_free() {
    let patience = Duration::from_secs(1);
    let store = Store::shared(Segment::<Memfd>::make("misses").unwrap());
    let other = Store::attach(&store.ticket().unwrap()).unwrap();
    let mut guard = other.lock(patience).unwrap();
    assert_eq!(guard.set(b"there", Value::Null, None, 0.0), Ok(true));
    drop(guard);
    let is_unlocked = |patience| {
        let read = store.read(b"there", 0.0, false, patience, |_| Ok(()));
        matches!(read.unwrap(), Read::Done(..))
    };
    let peek = |key: &[u8]| {
        let found = store.lock(patience).unwrap().peek(key, 0.0, |_| Ok(()));
        found.unwrap().is_some()
    };
    assert!(is_unlocked(patience));
    assert!(!peek(b"missing"));
    assert!(!is_unlocked(patience));
    let held = other.lock(patience).unwrap();
    assert!(is_unlocked(Duration::ZERO), "another has the lock");
    drop(held);
    assert!(peek(b"there"));
    assert!(is_unlocked(patience));
}
