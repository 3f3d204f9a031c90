//! Scans and removals by prefix, while others change what is scanned: interleaved in one thread, and beside processes that
//! write and are killed.

use rustix::process::Signal;
use std::{
    cell::Cell,
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        Geometry, Segment,
        memfd::{Memfd, Ticket},
        memory::{Memory, PlainMemory},
    },
    Call, Model, Random, apply, call, create,
    harness::{self, Child, say},
};
use crate::{
    cache::{Cache, Clock, Cursor},
    command::{Answer, Command},
    copies::{Copies, Item},
    error::Result,
    key::{EVERY_KEY, Key, Prefix},
    slots::Slots,
    storage::{Slice, Stamp, Storage},
    store::Store,
    value::Value,
};

const LONG: Duration = Duration::from_secs(20);
const STAMP: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

fn prefix(text: &str) -> Prefix {
    Prefix::of(&Key::string(text.as_bytes())).unwrap()
}

fn text_key(text: &str) -> Vec<u8> {
    Key::string(text.as_bytes()).as_bytes().to_vec()
}

/// A part of a scan: its keys, and where to go on.
fn part<M: Memory>(segment: &mut Segment<M>, from: u32, count: usize) -> (Vec<Vec<u8>>, Option<u32>) {
    let slice = Slice {
        prefix: &EVERY_KEY,
        count,
        keys_alone: false,
    };
    let mut keys = vec![];
    segment.begin().unwrap();
    let next = segment.scan(from, slice, |entry| {
        keys.push(entry.key.to_vec());
        Ok(true)
    });
    segment.end();
    (keys, next.unwrap())
}

#[test]
fn a_scan_beside_any_calls_and_rebuilds_gives_each_key_that_is_there_throughout() {
    let mut parts = 0;
    for seed in 1..=60 {
        let mut random = Random(seed * 77);
        let mut segment = create(Geometry::new(256, 600, 3000).unwrap()).with_slots(Slots::default());
        let mut model = Model::default();
        let fill =
            |segment: &mut Segment<PlainMemory>, model: &mut Model, random: &mut Random, calls: usize| {
                for _ in 0..calls {
                    // The index grows, and a rebuild makes it as small as it may be.
                    let call = call(random, 150);
                    if !matches!(call, Call::Clear) || seed % 5 == 0 {
                        apply(segment, model, &call);
                    }
                }
            };
        fill(&mut segment, &mut model, &mut random, 500);
        segment.end();
        let mut throughout: HashSet<_> = model.0.iter().map(|(key, ..)| key.clone()).collect();
        let mut found = HashSet::new();
        let mut from = Some(0);
        while let Some(at) = from {
            let count = 1 + random.below(20);
            let (keys, next) = part(&mut segment, at, count);
            assert!(next.is_none_or(|next| next > at));
            let there: HashSet<_> = model.0.iter().map(|(key, ..)| key.clone()).collect();
            assert!(keys.iter().all(|key| there.contains(key)));
            found.extend(keys);
            from = next;
            parts += 1;
            segment.begin().unwrap();
            let calls = random.below(12);
            for _ in 0..calls {
                fill(&mut segment, &mut model, &mut random, 1);
                throughout.retain(|key| model.at(key).is_some());
            }
            segment.end();
            if random.one_in(4) {
                segment.recover().unwrap();
            }
        }
        assert!(throughout.is_subset(&found));
        segment.validate().unwrap();
    }
    assert!(parts > 100, "{parts}");
}

#[test]
fn a_part_of_a_scan_looks_at_few_entries_however_many_there_are() {
    let segment = create(Geometry::new(1 << 15, 30_000, 120_000).unwrap());
    let mut cache = Cache::new(segment);
    for at in 0..20_000 {
        cache
            .set(&text_key(&format!("a{at}")), Value::Null, None, 0.0)
            .unwrap();
    }
    let long = "x".repeat(40_000);
    for at in 0..4 {
        cache
            .set(
                &text_key(&format!("b{at}")),
                Value::String(long.as_bytes()),
                None,
                0.0,
            )
            .unwrap();
    }
    let scan = |cache: &mut Cache<Segment<PlainMemory>>, prefix: &Prefix, count| {
        let (mut cursor, mut parts) = (None, vec![]);
        let slice = Slice {
            prefix,
            count,
            keys_alone: false,
        };
        loop {
            let (mut entries, mut bytes) = (0, 0);
            cursor = cache
                .scan(cursor, slice, 0.0, |entry| {
                    (entries, bytes) = (entries + 1, bytes + entry.value.bytes().len());
                    Ok(())
                })
                .unwrap();
            parts.push((entries, bytes));
            if cursor.is_none() {
                return parts;
            }
        }
    };
    // Rows and buckets are looked at.
    let parts = scan(&mut cache, &prefix("none"), 100);
    assert!((32..60).contains(&parts.len()), "{}", parts.len());
    let parts = scan(&mut cache, &prefix("b"), 100);
    assert_eq!(parts.iter().map(|(entries, _)| entries).sum::<usize>(), 4);
    assert!(parts.iter().all(|(_, bytes)| *bytes <= 80_000));
    let parts = scan(&mut cache, &EVERY_KEY, 100);
    assert!(parts.iter().all(|(entries, _)| *entries < 120));
    assert_eq!(parts.iter().map(|(entries, _)| entries).sum::<usize>(), 20_004);
}

#[test]
fn a_scan_of_a_damaged_segment_ends_and_mends_it() {
    for seed in 1..=40 {
        let mut random = Random(seed * 13);
        let mut segment = create(Geometry::new(256, 600, 3000).unwrap()).with_slots(Slots::default());
        for at in 0..100 {
            let key = text_key(&format!("{at}"));
            segment.put(&key, Value::String(&[b'v'; 100]), STAMP).unwrap();
        }
        segment.end();
        let (first, mut from) = part(&mut segment, 0, 10);
        for _ in 0..3 {
            let row = segment.edit.row_at(1 + random.below(100) as u32).unwrap();
            let word = [&row.chain, &row.hash, &row.key_len, &row.first][random.below(4)];
            word.set(random.next() as u32 >> (random.below(4) * 8));
        }
        let mut keys = first.len();
        while let Some(at) = from {
            let (found, next) = part(&mut segment, at, 10);
            assert!(next.is_none_or(|next| next > at));
            keys += found.len();
            from = next;
        }
        assert!((90..=110).contains(&keys), "{keys}");
        segment.begin().unwrap();
        segment.recover().unwrap();
        segment.end();
        segment.validate().unwrap();
    }
}

#[test]
fn a_cursor_of_another_storage_begins_anew() {
    let fill = |seed| {
        let identity = super::SegmentId {
            seed,
            nonce: [seed, 7],
        };
        let geometry = super::small();
        let memory = PlainMemory::new(geometry.reserved());
        let mut cache = Cache::new(Segment::create(memory, geometry, identity).unwrap());
        for at in 0..50 {
            cache
                .set(&text_key(&format!("{at}")), Value::Null, None, 0.0)
                .unwrap();
        }
        cache
    };
    let (mut one, mut other) = (fill(1), fill(2));
    let slice = |count| Slice {
        prefix: &EVERY_KEY,
        count,
        keys_alone: true,
    };
    let scan = |cache: &mut Cache<_>, cursor, count| {
        let mut keys = HashSet::new();
        let next = Cache::scan(cache, cursor, slice(count), 0.0, |entry| {
            keys.insert(entry.key.to_vec());
            Ok(())
        });
        (keys, next.unwrap())
    };
    let (first, cursor) = scan(&mut one, None, 20);
    let cursor = Cursor::parse(cursor.unwrap().to_string().as_bytes());
    assert!(cursor.is_some());
    let (rest, end) = scan(&mut one, cursor, 100);
    assert_eq!((first.len() + rest.len(), end), (50, None));
    assert_eq!(scan(&mut other, cursor, 100).0.len(), 50);
    let good = cursor.unwrap().to_string();
    for bad in [
        "",
        "0",
        &good[1..],
        &format!("{good}0"),
        &good.to_uppercase().replace('0', "G"),
        &format!("+{}", &good[1..]),
    ] {
        assert_eq!(Cursor::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn a_removal_by_prefix_removes_those_keys_alone() {
    for count in [10, 3000] {
        let store = Store::shared(Segment::<Memfd>::make("").unwrap());
        for at in 0..count {
            let mut cache = store.lock(LONG).unwrap();
            for name in ["a", "ab", "b"] {
                cache
                    .set(&text_key(&format!("{name}{at}")), Value::Number(1.0), None, 1.0)
                    .unwrap();
            }
            // Every second one expires before the removal.
            let now = if at % 2 == 0 { -100.0 } else { 1.0 };
            cache
                .set(&text_key(&format!("a!{at}")), Value::Null, Some(10.0), now)
                .unwrap();
            cache
                .set(Key::number(at.into()).as_bytes(), Value::Null, None, 1.0)
                .unwrap();
        }
        assert_eq!(remove(&store, "ab").unwrap(), f64::from(count));
        // Expired entries are removed, and not counted.
        assert_eq!(remove(&store, "a").unwrap(), f64::from(count + count / 2));
        let cache = store.lock(LONG).unwrap();
        assert_eq!(cache.len(), 2 * count as usize);
        cache.segment().unwrap().validate().unwrap();
        drop(cache);
        assert_eq!(remove(&store, "a").unwrap(), 0.0);
    }
}

fn remove(store: &Store, text: &str) -> Result<f64> {
    let command = Command::<Key>::DeletePrefix(prefix(text));
    let answer = store.lock(LONG)?.run(&command, 1.0, &mut Copies::default())?;
    match answer {
        Answer::Number(removed) => Ok(removed),
        other => panic!("{other:?}"),
    }
}

/// A clock that calls a function when it is asked: a removal asks it at each entry with an age, with the lock.
#[derive(Clone, Copy)]
struct Asked<'a>(&'a dyn Fn());

impl Clock for Asked<'_> {
    fn now(self) -> f64 {
        (self.0)();
        1.0
    }
}

/// Whoever waits for the lock gets it in the middle of a removal. What is stored there for the first time stays.
#[test]
fn a_removal_by_prefix_lets_others_have_the_lock() {
    let store = Store::shared(Segment::<Memfd>::make("").unwrap());
    const COUNT: u32 = 20_000;
    for at in 0..COUNT {
        let mut cache = store.lock(LONG).unwrap();
        cache
            .set(&text_key(&format!("a{at}")), Value::Null, Some(1e6), 1.0)
            .unwrap();
    }
    let other = Store::attach(&store.ticket().unwrap()).unwrap();
    let watcher = Segment::attach(Memfd::attach(&store.ticket().unwrap()).unwrap(), None).unwrap();
    let asked = Cell::new(0);
    let removed = thread::scope(|scope| {
        let other = &other;
        let waiting = Cell::new(None);
        let at_each = || {
            asked.set(asked.get() + 1);
            // The listing asks for no time. The first parts are removed by now.
            if asked.get() == 1000 {
                waiting.set(Some(scope.spawn(move || {
                    let mut cache = other.lock(LONG).unwrap();
                    cache.set(&text_key("a new"), Value::Null, None, 1.0).unwrap();
                    cache.len()
                })));
                let since = Instant::now();
                while !watcher.is_awaited() && since.elapsed() < LONG {
                    thread::yield_now();
                }
            }
        };
        let command = Command::<Key>::DeletePrefix(prefix("a"));
        let answer = store
            .lock(LONG)
            .unwrap()
            .run(&command, Asked(&at_each), &mut Copies::default());
        let there = waiting.take().unwrap().join().unwrap();
        assert!(there > 1000 && there < COUNT as usize, "{there}");
        answer.unwrap()
    });
    assert_eq!(removed, Answer::Number(COUNT.into()));
    assert!(store.lock(LONG).unwrap().has(&text_key("a new"), 1.0).unwrap());
}

// ---- processes ----

/// Keys that are there throughout.
const KEYS: usize = 1000;

/// Makes a call again until another process has not the lock: that of one that was just killed has to be taken over.
fn patiently<R>(mut call: impl FnMut() -> Result<R>) -> R {
    loop {
        match call() {
            Ok(done) => return done,
            Err(error) if error.is_busy() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn set(store: &Store, key: &str) {
    patiently(|| {
        store
            .lock(LONG)?
            .set(&text_key(key), Value::String(key.as_bytes()), None, 1.0)
    });
}

#[test]
fn child_process() {
    let Some(role) = harness::arguments() else { return };
    let (role, ticket) = role.split_once(' ').unwrap();
    let store = Store::attach(&ticket.parse::<Ticket>().unwrap()).unwrap();
    let id = std::process::id();
    let mut random = Random(u64::from(id));
    say("ready");
    for number in 0_u64.. {
        match role {
            // Entries move from row to row, and others come and go, so that the index grows.
            "write" => {
                set(&store, &format!("kept {}", random.below(KEYS)));
                set(&store, &format!("{id} {number}"));
                let old = text_key(&format!("{id} {}", number.wrapping_sub(1000)));
                patiently(|| store.lock(LONG)?.del(&old));
            }
            "delete" => {
                for at in 0..700 {
                    set(&store, &format!("gone {id} {at}"));
                }
                let removed = patiently(|| remove(&store, &format!("gone {id}")));
                assert_eq!(removed, 700.0);
                assert_eq!(patiently(|| remove(&store, &format!("gone {id}"))), 0.0);
            }
            other => panic!("{other}"),
        }
    }
}

/// Scans all keys that are there throughout, in parts.
fn scan(store: &Store) -> HashSet<Vec<u8>> {
    let mut found = HashSet::new();
    let mut copies = Copies::default();
    let mut cursor = None;
    loop {
        let command: Command<'_, Key> = Command::Scan {
            prefix: prefix("kept "),
            cursor,
            count: 100,
            values: true,
        };
        copies.clear();
        patiently(|| store.lock(LONG)?.run(&command, 1.0, &mut copies));
        let items: Vec<_> = copies.iter().collect();
        let (Some(Item::Value(next)), entries) = (items.last(), &items[..items.len() - 1]) else {
            panic!("{items:?}")
        };
        for pair in entries.chunks(2) {
            let [Item::Key(key), Item::Value(Value::String(value))] = pair else {
                panic!("{pair:?}")
            };
            assert_eq!(&key[1..], *value);
            found.insert(key.to_vec());
        }
        cursor = match next {
            Value::Undefined => return found,
            Value::String(text) => Cursor::parse(text),
            other => panic!("{other:?}"),
        };
        assert!(cursor.is_some());
    }
}

/// Each scan beside writers and removals that are killed at random has every key that is there throughout, and a removal that was
/// killed has removed some entries whole.
#[test]
fn beside_processes_that_write_and_remove_and_are_killed_no_key_is_left_out() {
    let store = Store::shared(Segment::<Memfd>::make("").unwrap());
    for at in 0..KEYS {
        set(&store, &format!("kept {at}"));
    }
    let ticket = store.ticket().unwrap().to_string();
    let start = |role: &str| {
        let mut child = Child::start(module_path!(), format!("{role} {ticket}"));
        assert_eq!(child.hear(), "ready");
        child
    };
    let roles = ["write", "delete", "delete"];
    let mut children: Vec<_> = roles.iter().map(|role| start(role)).collect();
    let mut random = Random(5);
    let (since, mut scans, mut kills) = (Instant::now(), 0, 0);
    while since.elapsed() < Duration::from_millis(1500) || scans < 8 {
        let found = scan(&store);
        assert_eq!(found.len(), KEYS);
        scans += 1;
        let at = random.below(roles.len());
        let id = children[at].id();
        children[at].signal(Signal::KILL);
        children[at] = start(roles[at]);
        patiently(|| remove(&store, &format!("gone {id}")));
        kills += 1;
    }
    drop(children);
    let cache = store.lock(LONG).unwrap();
    let segment = cache.segment().unwrap();
    segment.validate().unwrap();
    assert_eq!(segment.recoveries(), (0, 0));
    println!("{scans} scans, {kills} kills");
}
