//! What the heap store says of its size, beside the memory that it takes.

// A pointer has another size elsewhere.
#![cfg(target_pointer_width = "64")]

use lru_cache_for_clusters::{
    key::Key,
    slots::Slots,
    storage::{Stamp, Storage, heap::HeapStorage},
    value::Value,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The system's allocator, with a count of the bytes in use as glibc rounds them up.
struct Counted;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// The bytes glibc takes for an allocation: 8 of its own, a multiple of 16, 32 at the least.
fn chunk(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16).max(32)
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(chunk(layout), Relaxed);
        // SAFETY: the caller keeps to the rules of this very call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(chunk(layout), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

const STAMP: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

/// Bytes of memory an entry, and bytes counted, for this many entries with keys and values of these lengths.
fn measure(entries: usize, key: usize, value: usize) -> (f64, f64) {
    let before = IN_USE.load(Relaxed);
    let mut storage = HeapStorage::new(Slots::default());
    let value = "v".repeat(value);
    for at in 0..entries {
        let key = Key::string(format!("{at:0key$}").as_bytes());
        let put = storage.put(key.as_bytes(), Value::Json(&value), STAMP);
        put.expect("memory");
    }
    let taken = IN_USE.load(Relaxed) - before;
    (taken as f64 / entries as f64, storage.size() / entries as f64)
}

#[test]
fn the_size_counted_is_about_the_memory_taken() {
    for entries in [20_000, 28_000, 30_000, 50_000] {
        for (key, value) in [(10, 99), (30, 99), (10, 1), (60, 1000)] {
            let (taken, counted) = measure(entries, key, value);
            println!("{entries} entries of {key} + {value} bytes: {taken:.0} taken, {counted:.0} counted");
            assert!(
                (0.85..1.2).contains(&(counted / taken)),
                "{entries} entries of {key} + {value} bytes: {taken} taken, {counted} counted"
            );
        }
    }
}
