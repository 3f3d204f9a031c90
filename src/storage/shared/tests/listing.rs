//! Listings while others change what is listed: interleaved at every entry in one thread, and beside processes that write and
//! are killed.

use rustix::process::Signal;
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{
    super::{
        Geometry, Segment,
        listing::{Caught, Listing},
        memfd::{Memfd, Ticket},
        memory::Memory,
    },
    Call, Model, Random, apply, attach, call, check, create,
    harness::{self, Child, say},
};
use crate::{
    command::Command,
    copies::{Copies, Item},
    error::Result,
    extras::{Extras, TagList},
    slots::Slots,
    storage::{Entry, Stamp, Storage},
    store::{Guard, Store},
    value::{OwnedValue, Value},
};

type Plain = (Vec<u8>, OwnedValue, Stamp);

const LONG: Duration = Duration::from_secs(20);
const STAMP: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

/// Makes a listing; `between` is called at each entry without the lock, and before each time that the lock is taken.
/// `None` where it is void.
fn list<M: Memory>(
    segment: &mut Segment<M>,
    keys_alone: bool,
    mut between: impl FnMut(),
) -> Option<(Vec<Plain>, u32)> {
    let mut given: Vec<Plain> = vec![];
    let mut rounds = 0;
    segment.begin().unwrap();
    let mut listing = Listing::begin(segment, keys_alone);
    segment.end();
    loop {
        rounds += 1;
        let mut give = |entry: Entry<'_>| {
            given.push((entry.key.to_vec(), entry.value.to_owned(), entry.stamp));
            between();
            Ok(Some(given.len() - 1))
        };
        listing.read(segment, &mut give).unwrap();
        between();
        segment.begin().unwrap();
        let caught = listing.catch_up(segment, |entry| {
            given.push((entry.key.to_vec(), entry.value.to_owned(), entry.stamp));
            Ok(Some(given.len() - 1))
        });
        segment.end();
        match caught.unwrap() {
            Caught::Up => break,
            Caught::Behind => {}
            Caught::Void => return None,
        }
    }
    let places = listing.finish().unwrap();
    Some((places.into_iter().map(|at| given[at].clone()).collect(), rounds))
}

#[test]
fn without_others_a_listing_is_what_a_visit_gives() {
    for seed in 1..=6 {
        let mut random = Random(seed);
        let mut segment = create(Geometry::new(256, 600, 3000).unwrap()).with_slots(Slots::default());
        let mut model = Model::default();
        for at in 0..200 {
            let call = call(&mut random, 8 << (seed % 4));
            segment.begin().unwrap();
            apply(&mut segment, &mut model, &call);
            segment.end();
            if at % 5 > 0 {
                continue;
            }
            let (listed, rounds) = list(&mut segment, false, || ()).unwrap();
            assert_eq!((listed, rounds), (model.0.clone(), 1));
            let keys = list(&mut segment, true, || ()).unwrap().0;
            let keys: Vec<_> = keys.into_iter().map(|(key, ..)| key).collect();
            assert!(keys.iter().eq(model.0.iter().map(|(key, ..)| key)));
        }
        check(&segment, &model);
    }
}

/// What a listing may give while others make calls.
struct Seen {
    /// Every entry that there was at some time.
    entries: Vec<Plain>,
    /// The keys that were there throughout.
    throughout: HashSet<Vec<u8>>,
}

impl Seen {
    fn of(model: &Model) -> Self {
        Self {
            entries: model.0.clone(),
            throughout: model.0.iter().map(|(key, ..)| key.clone()).collect(),
        }
    }

    fn see(&mut self, model: &Model, call: &Call) {
        match call {
            Call::Put(..) | Call::Restamp(..) => self.entries.extend(model.0.first().cloned()),
            _ => self.throughout.retain(|key| model.at(key).is_some()),
        }
    }

    fn check(&self, listed: &[Plain]) {
        let mut keys = HashSet::new();
        for entry in listed {
            assert!(keys.insert(&entry.0), "a key twice");
            assert!(self.entries.contains(entry), "never there: {entry:?}");
        }
        for key in &self.throughout {
            assert!(keys.contains(key), "missing: {key:?}");
        }
    }
}

#[test]
fn a_listing_beside_any_calls_misses_nothing_and_gives_no_key_twice() {
    let (mut whole, mut void, mut more) = (0, 0, 0);
    for seed in 1..=60 {
        let mut random = Random(seed * 31);
        let mut segment = create(Geometry::new(256, 600, 3000).unwrap()).with_slots(Slots::default());
        let mut model = Model::default();
        for _ in 0..200 {
            let call = call(&mut random, 60);
            if !matches!(call, Call::Clear) {
                apply(&mut segment, &mut model, &call);
            }
        }
        segment.end();
        let mut other = attach(segment.memory().clone());
        let mut seen = Seen::of(&model);
        let pace = 1 + seed as usize % 4;
        // Few resets: a listing that meets one is void.
        let resets = seed % 7 == 0;
        let (start, found) = {
            let found = list(&mut segment, false, || {
                for _ in 0..random.below(2 * pace) {
                    let call = call(&mut random, 60);
                    if !resets && matches!(call, Call::Clear) {
                        continue;
                    }
                    other.begin().unwrap();
                    apply(&mut other, &mut model, &call);
                    other.end();
                    seen.see(&model, &call);
                }
            });
            (seen, found)
        };
        match found {
            Some((listed, rounds)) => {
                start.check(&listed);
                whole += 1;
                more += usize::from(rounds > 1);
            }
            None => {
                assert!(resets);
                void += 1;
            }
        }
        segment.validate().unwrap();
    }
    println!("{whole} whole, {more} of them in more than one round, {void} void");
    assert!(whole > 40 && void > 0);
}

/// Others store more than is read under the lock: it takes more rounds, and the listing ends.
#[test]
fn a_listing_that_cannot_catch_up_at_once_goes_on_without_the_lock() {
    let mut segment = create(Geometry::new(8192, 8192, 40_000).unwrap());
    let mut model = HashMap::new();
    for at in 0..1000 {
        let key = format!("s{at}").into_bytes();
        segment.put(&key, Value::Number(0.0), STAMP).unwrap();
        model.insert(key, 0.0);
    }
    segment.end();
    let mut other = attach(segment.memory().clone());
    let (mut times, mut number) = (0, 0.0);
    let (listed, rounds) = list(&mut segment, false, || {
        times += 1;
        // While rows are read for the first time, and once while those are read that were stored meanwhile.
        if times != 500 && times != 1200 {
            return;
        }
        for at in 0..if times == 500 { 1500 } else { 300 } {
            let key = format!("s{}", at * 7 % 1500).into_bytes();
            number += 1.0;
            other.begin().unwrap();
            other.put(&key, Value::Number(number), STAMP).unwrap();
            other.end();
            model.insert(key, number);
        }
    })
    .unwrap();
    assert!((2..10).contains(&rounds), "{rounds}");
    let listed: HashMap<_, _> = listed
        .into_iter()
        .map(|(key, value, _)| match value {
            OwnedValue::Number(number) => (key, number),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(listed, model);
}

#[test]
fn a_value_of_another_process_ends_a_listing() {
    let slots = Slots::default();
    let mut owner = create(Geometry::new(64, 40, 200).unwrap()).with_slots(slots.clone());
    owner.put(b"sa", Value::Slot(slots.take()), STAMP).unwrap();
    owner.end();
    let segment = attach(owner.memory().clone());
    let mut listing = Listing::begin(&segment, false);
    let read = listing.read(&segment, |_| Ok(None)).unwrap_err();
    assert_eq!(read.code.as_str(), "ERR_STORE_ELSEWHERE");
    assert!(list(&mut owner, false, || ()).is_some());
}

#[test]
fn a_listing_of_a_damaged_segment_is_void() {
    let mut segment = create(Geometry::new(64, 40, 200).unwrap());
    for key in [b"sa", b"sb", b"sc"] {
        segment.put(key, Value::String(&[b'v'; 100]), STAMP).unwrap();
    }
    segment.end();
    // An entry without a version, and one that leads nowhere.
    segment.edit.version_at(2).unwrap().end(0.0);
    assert!(list(&mut segment, false, || ()).is_none());
    segment.recover().unwrap();
    segment.begin().unwrap();
    segment.end();
    let kept = list(&mut segment, false, || ()).unwrap().0.len();
    assert_eq!(
        kept, 2,
        "nobody knows whether the entry without a version is whole"
    );
    segment.edit.row_at(1).unwrap().first.set(9999);
    assert!(list(&mut segment, false, || ()).is_none());
}

#[test]
fn a_damaged_count_of_rows_costs_no_memory() {
    let mut segment = Segment::<Memfd>::with_capacity(1 << 30, "").unwrap();
    for key in [b"sa", b"sb", b"sc"] {
        segment.put(key, Value::Null, STAMP).unwrap();
    }
    segment.end();
    let before = segment.memory().committed();
    // All that says how many there are.
    let (header, most) = (segment.header(), segment.edit.geometry.rows_max);
    for word in [&header.rows_used, &header.rows_ready, &header.versions_ready] {
        word.set(most);
    }
    assert_eq!(list(&mut segment, false, || ()).unwrap().0.len(), 3);
    assert!(segment.memory().committed() - before < 1 << 20);
}

// ---- processes ----

/// Keys that are there throughout.
const KEYS: usize = 3000;

/// A value that says its number all over, and is of any length: one that is mixed of two is found out.
fn text(number: u64) -> Vec<u8> {
    format!("{number};").repeat(1 + number as usize % 40).into_bytes()
}

fn is_whole(value: Value<'_>) -> bool {
    let Value::String(bytes) = value else { return false };
    let number = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.split(';').next()?.parse().ok());
    number.is_some_and(|number| bytes == text(number))
}

fn dump(store: &Store, copies: &mut Copies) -> Result<()> {
    copies.clear();
    let mut cache: Guard<'_> = store.lock(LONG)?;
    cache.run(&Command::<Vec<u8>>::Dump, 1.0, copies).map(drop)
}

#[test]
fn child_process() {
    let Some(role) = harness::arguments() else { return };
    let (role, ticket) = role.split_once(' ').unwrap();
    let store = Store::attach(&ticket.parse::<Ticket>().unwrap()).unwrap();
    let mut random = Random(u64::from(std::process::id()));
    let mut copies = Copies::default();
    say("ready");
    loop {
        match role {
            "write" => {
                let key = format!("s{}", random.below(KEYS));
                let value = text(random.next() % 100_000);
                // The lock of a process that was just killed may have to be taken over: busy for a moment.
                if let Ok(mut cache) = store.lock(LONG) {
                    cache
                        .set(key.as_bytes(), Value::String(&value), None, 1.0)
                        .unwrap();
                    // Entries that come and go.
                    let key = format!("t{}", random.below(100));
                    match random.below(2) {
                        0 => cache.del(key.as_bytes()).unwrap(),
                        _ => drop(cache.set(key.as_bytes(), Value::String(&value), None, 1.0)),
                    }
                }
            }
            "list" => dump(&store, &mut copies).or_else(busy).unwrap(),
            "prune" => {
                let mut cache = store.lock(LONG).unwrap();
                for at in 0..1000 {
                    let key = format!("t{at}");
                    drop(cache.set(key.as_bytes(), Value::Null, Some(5.0), 1.0));
                }
                cache.prune(100.0).map(drop).or_else(busy).unwrap();
            }
            other => panic!("{other}"),
        }
    }
}

fn busy(error: crate::error::Error) -> Result<()> {
    if error.is_busy() { Ok(()) } else { Err(error) }
}

/// Writers, listers and pruners in processes of their own, which are killed at random: each listing here has every entry
/// that was there throughout, once and whole.
#[test]
fn beside_processes_that_write_list_and_are_killed_a_listing_is_whole() {
    let store = Store::shared(Segment::<Memfd>::make("").unwrap());
    for at in 0..KEYS {
        let mut cache = store.lock(LONG).unwrap();
        cache
            .set(
                format!("s{at}").as_bytes(),
                Value::String(&text(at as u64)),
                None,
                1.0,
            )
            .unwrap();
    }
    let ticket = store.ticket().unwrap().to_string();
    let start = |role: &str| {
        let mut child = Child::start(module_path!(), format!("{role} {ticket}"));
        assert_eq!(child.hear(), "ready");
        child
    };
    let roles = ["write", "write", "list", "prune"];
    let mut children: Vec<_> = roles.iter().map(|role| start(role)).collect();
    let mut random = Random(5);
    let mut copies = Copies::default();
    let (since, mut listings, mut kills) = (Instant::now(), 0, 0);
    while since.elapsed() < Duration::from_millis(1500) || listings < 20 || kills < 4 {
        match dump(&store, &mut copies) {
            Ok(()) => {}
            Err(error) if error.is_busy() => continue,
            Err(error) => panic!("{error:?}"),
        }
        let mut keys = HashSet::new();
        let mut is_ours = false;
        for item in copies.iter() {
            match item {
                Item::Key(key) => {
                    is_ours = key[0] == b's';
                    assert!(keys.insert(key.to_vec()), "a key twice");
                }
                Item::Value(value) => assert!(!is_ours || is_whole(value), "{value:?}"),
                _ => {}
            }
        }
        let found = keys.iter().filter(|key| key[0] == b's').count();
        assert_eq!(found, KEYS);
        listings += 1;
        if listings % 5 == 0 {
            let at = random.below(roles.len());
            children[at].signal(Signal::KILL);
            children[at] = start(roles[at]);
            kills += 1;
        }
    }
    drop(children);
    let cache = store.lock(LONG).unwrap();
    let segment = cache.segment().unwrap();
    segment.validate().unwrap();
    assert_eq!(segment.recoveries(), (0, 0));
    println!("{listings} listings, {kills} kills");
}

#[test]
fn what_is_outdated_is_not_listed_as_an_entry_that_is_there() {
    let mut segment = create(Geometry::new(256, 600, 3000).unwrap());
    for at in 0..60_u8 {
        let tags = TagList::parse(&serde_json::json!([format!("tag {}", at % 3)])).unwrap();
        let extras = Extras { tags: tags.tags() };
        let value = [at; 100];
        let stored = segment.put_with(&[b's', at], Value::Clone(&value), STAMP, extras);
        assert!(!stored.unwrap());
    }
    let mut tags = TagList::parse(&serde_json::json!(["tag 1"])).unwrap();
    segment.invalidate(tags.tags());
    segment.end();
    let mut other = attach(segment.memory().clone());
    for keys_alone in [true, false] {
        let (listed, _) = list(&mut segment, keys_alone, || {
            // Invalidated meanwhile: it may be listed or not.
            other.begin().unwrap();
            other.invalidate(tags.tags());
            other.end();
        })
        .unwrap();
        assert_eq!(listed.len(), 60);
        for (key, value, stamp) in listed {
            let at = key[1];
            match at % 3 {
                1 => assert_eq!(stamp, Stamp::INVALID),
                _ if tags.tags().iter().eq([b"tag 1"]) => assert_eq!(stamp, STAMP),
                _ => {}
            }
            let expected = match keys_alone {
                true => OwnedValue::Undefined,
                false => OwnedValue::Clone([at; 100].into()),
            };
            assert_eq!((key.len(), value), (2, expected));
        }
        tags = TagList::parse(&serde_json::json!(["tag 2"])).unwrap();
    }
}
