//! A segment that others damage while calls are made on it: every call ends, and a rebuild makes it whole.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use lru_cache_for_clusters::{
    extras::{Extras, TagList},
    storage::{
        Stamp, Storage,
        shared::{
            Geometry, Segment,
            memory::{Memory, PlainMemory},
            segment::SegmentId,
        },
    },
    value::Value,
};

#[derive(Arbitrary, Debug)]
enum Event {
    Put(u8, u8, u16),
    /// With tags.
    PutTagged(u8, u16, Vec<u8>),
    Invalidate(Vec<u8>),
    Sweep,
    Touch(u8),
    Peek(u8),
    Remove(u8),
    RemoveLeastRecent,
    RetainStamps(u8),
    List,
    Clear,
    /// What a process does that takes the lock.
    Begin,
    /// A region, a place in what is used of it, and what is written there.
    Byte(u8, u16, u8),
    Word(u8, u16, u32),
}

/// Few tags, some of them long.
fn tag_list(tags: &[u8]) -> TagList {
    let text = |tag: &u8| "t".repeat(1 + usize::from(tag % 200));
    let texts: Vec<_> = tags.iter().take(128).map(text).collect();
    TagList::parse(&serde_json::json!(texts)).expect("short tags")
}

fuzz_target!(|events: Vec<Event>| {
    let geometry = Geometry::for_bytes(1);
    let memory = PlainMemory::new(geometry.reserved());
    let identity = SegmentId {
        seed: 3,
        nonce: [1, 2],
    };
    let mut segment = Segment::create(memory.clone(), geometry, identity).expect("memory");
    let stamp = |at: u8| Stamp {
        set_at: at.into(),
        max_age: 0.0,
    };
    for event in events {
        match event {
            Event::Put(key, kind, size) => {
                let bytes = vec![b'v'; usize::from(size % 2000)];
                let value = match kind % 6 {
                    0 => Value::Null,
                    1 => Value::Number(size.into()),
                    2 => Value::Slot(size.into()),
                    3 => Value::Json(std::str::from_utf8(&bytes).expect("ASCII")),
                    4 => Value::Clone(&bytes),
                    _ => Value::String(&bytes),
                };
                segment
                    .put(&vec![key; usize::from(key) + 1], value, stamp(key))
                    .ok();
            }
            Event::PutTagged(key, size, tags) => {
                let bytes = vec![b'v'; usize::from(size % 2000)];
                let tags = tag_list(&tags);
                let extras = Extras { tags: tags.tags() };
                let key = (vec![key; usize::from(key) + 1], stamp(key));
                segment
                    .put_with(&key.0, Value::String(&bytes), key.1, extras)
                    .ok();
            }
            Event::Invalidate(tags) => segment.invalidate(tag_list(&tags).tags()),
            Event::Sweep => segment.sweep(1, |stamp| stamp != Stamp::INVALID),
            Event::Touch(key) => drop(segment.touch(&vec![key; usize::from(key) + 1])),
            Event::Peek(key) => drop(segment.peek(&vec![key; usize::from(key) + 1])),
            Event::Remove(key) => drop(segment.remove(&vec![key; usize::from(key) + 1])),
            Event::RemoveLeastRecent => drop(segment.remove_least_recent()),
            Event::RetainStamps(mask) => segment.retain_stamps(|stamp| stamp.set_at as u8 & mask != 0),
            Event::List => drop(segment.visit(|_| Ok(()))),
            Event::Clear => drop(segment.clear()),
            Event::Begin => drop(segment.begin().expect("memory")),
            Event::Byte(region, at, byte) => {
                let at = place(region, at);
                // SAFETY: inside the memory, which this process has for itself.
                unsafe { memory.base().add(at).write(byte) };
            }
            Event::Word(region, at, word) => {
                let at = place(region, at) & !3;
                // SAFETY: as above; aligned.
                unsafe { memory.base().add(at).cast::<u32>().write(word) };
            }
        }
    }
    segment.recover().expect("memory");
    segment.validate().expect("whole");
    segment.clear().expect("memory");
    segment.put(b"key", Value::Null, stamp(0)).expect("memory");
    assert_eq!(segment.peek(b"key"), Ok(Some((Value::Null, stamp(0)))));
    segment.validate().expect("whole");
});

/// A place in the first pages of a region; in the header after its first 128 bytes, which say what the segment
/// is and are the lock's.
fn place(region: u8, at: u16) -> usize {
    const REGION: usize = 64 * 1024;
    let at = usize::from(at);
    match region % 4 {
        0 => 128 + at % 768,
        1 => REGION + at % 1024,
        2 => 2 * REGION + at % 4096,
        _ => 3 * REGION + at % 8192,
    }
}
