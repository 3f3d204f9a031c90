//! Changes that a kill interrupts: at every store, and again at every store of the repair; records that damage has changed.

use std::{
    collections::HashSet,
    env,
    sync::{Arc, Mutex},
};

use super::{
    super::{Geometry, crash_point::watch, layout::NONE, memory::PlainMemory, segment::Segment},
    Call, Model, Random, apply, attach, call, check, create,
};
use crate::{
    error::Code,
    slots::Slots,
    storage::{Limits, Stamp, Storage},
    value::{OwnedValue, Value},
};

const STAMP: Stamp = Stamp {
    set_at: 0.0,
    max_age: 0.0,
};

/// The memory as it was before each store that `run` makes.
fn before_each_store(memory: &PlainMemory, run: impl FnOnce()) -> Vec<PlainMemory> {
    let snapshots = Arc::new(Mutex::new(Vec::new()));
    let (memory, taken) = (memory.clone(), snapshots.clone());
    watch(move || taken.lock().unwrap().push(memory.snapshot()), run);
    std::mem::take(&mut *snapshots.lock().unwrap())
}

fn tiny() -> Geometry {
    Geometry::new(64, 40, 200).unwrap()
}

/// What processes that read without the lock may find: each row that has a version is an entry of the state before or of
/// the one after the call, and no key has two.
fn check_readers(memory: &PlainMemory, before: &Model, after: &Model) {
    let segment = attach(memory.clone());
    let mut keys = HashSet::new();
    for at in 1..segment.edit.versions_written().min(segment.edit.rows_written()) {
        let is_dead = segment.edit.version_at(at).unwrap().get() <= segment.header().floor.get();
        // An odd epoch: what is read does not count.
        if is_dead || segment.header().control.epoch.get() & 1 == 1 {
            continue;
        }
        let entry = segment.edit.entry(segment.edit.row_at(at).unwrap()).unwrap();
        let entry = (entry.key.to_vec(), entry.value.to_owned(), entry.stamp);
        assert!(before.0.contains(&entry) || after.0.contains(&entry), "{entry:?}");
        assert!(keys.insert(entry.0), "two versions of one key");
    }
}

/// Takes over what a killed process left. Returns the state.
fn take_over(memory: PlainMemory) -> (Segment<PlainMemory>, Model) {
    let mut segment = attach(memory);
    segment.begin().unwrap();
    segment.end();
    segment.validate().unwrap();
    let model = Model::of(&segment);
    (segment, model)
}

/// The state that is found after a kill, and after another one in the repair, is that before the call or that after it.
/// Nothing was rebuilt, and no row and no block is lost.
#[test]
fn killed_before_any_store_and_before_any_store_of_the_repair_a_call_is_made_or_not() {
    let calls: usize = env::var("INTENT_CALLS").map_or(6, |calls| calls.parse().unwrap());
    let (mut once, mut twice) = (0, 0);
    for seed in 1..=4 {
        let mut random = Random(seed * 991);
        let mut segment = create(tiny());
        let mut model = Model::default();
        // Free rows and blocks, and entries of many blocks.
        for _ in 0..30 {
            let call = call(&mut random, 6);
            apply(&mut segment, &mut model, &call);
        }
        for _ in 0..calls {
            let call = call(&mut random, 6);
            if matches!(call, Call::Clear) {
                continue;
            }
            let before = model.clone();
            segment.begin().unwrap();
            let memory = segment.memory().clone();
            let rebuilds = segment.recoveries();
            let killed = before_each_store(&memory, || {
                apply(&mut segment, &mut model, &call);
                segment.end();
            });
            let is_one_of = |found: &Model| match call {
                // One change an entry.
                Call::RetainStamps(_) => {
                    found.0.iter().all(|entry| before.0.contains(entry))
                        && model.0.iter().all(|entry| found.0.contains(entry))
                }
                _ => *found == before || *found == model,
            };
            for memory in killed {
                once += 1;
                check_readers(&memory, &before, &model);
                let repaired = memory.snapshot();
                let again = before_each_store(&repaired, || drop(take_over(repaired.clone())));
                let (found, state) = take_over(repaired);
                assert!(is_one_of(&state), "{call:?}: {state:?}");
                assert_eq!(found.recoveries(), rebuilds, "{call:?}");
                check(&found, &state);
                for memory in again {
                    twice += 1;
                    check_readers(&memory, &before, &model);
                    let (found, after_both) = take_over(memory);
                    assert_eq!(after_both, state, "{call:?}");
                    assert_eq!(found.recoveries(), rebuilds, "{call:?}");
                }
            }
        }
        check(&segment, &model);
    }
    println!("killed before {once} stores, and before {twice} stores of repairs");
    assert!(once > 1000 && twice > 1000);
}

/// A record that was damaged is not followed, whichever of its bits changed; the segment is rebuilt. The entry that was being
/// changed may be lost; no other one is, and no value is.
#[test]
fn a_damaged_record_leads_to_a_rebuild() {
    let mut random = Random(3);
    let mut segment = create(tiny());
    let mut model = Model::default();
    for _ in 0..30 {
        let call = call(&mut random, 6);
        apply(&mut segment, &mut model, &call);
    }
    let (mut damaged, mut lost) = (0, 0);
    for call in [
        Call::Put(
            b"snew".to_vec(),
            OwnedValue::String(vec![b'v'; 300].into()),
            STAMP,
        ),
        Call::Put(b"snew".to_vec(), OwnedValue::Null, STAMP),
        Call::Remove(b"snew".to_vec()),
    ] {
        let before = model.clone();
        segment.begin().unwrap();
        let memory = segment.memory().clone();
        let killed = before_each_store(&memory, || {
            apply(&mut segment, &mut model, &call);
            segment.end();
        });
        for memory in killed {
            let record = attach(memory.clone());
            let intent = &record.header().intent;
            if intent.check.get() == 0 {
                continue;
            }
            let count = intent.count.get() as usize;
            let from = |word: *const u8| word.addr() - (&raw const *intent).addr();
            let parts = [
                (0, 40),
                (from((&raw const intent.addresses).cast()), count * 8),
                (from((&raw const intent.values).cast()), count * 4),
            ];
            let start = (&raw const *intent).addr() - (&raw const *record.header()).addr();
            for (from, len) in parts {
                for byte in from..from + len {
                    if !random.one_in(7) {
                        continue;
                    }
                    let broken = memory.snapshot();
                    // SAFETY: a byte of the record, in memory that this test has for itself.
                    unsafe {
                        *super::Memory::base(&broken).add(start + byte).as_mut() ^= 1 << random.below(8);
                    }
                    let (found, state) = take_over(broken);
                    assert_eq!(found.recoveries().0, 1, "byte {byte}");
                    let without = |model: &Model| {
                        let mut entries = model.0.clone();
                        entries.retain(|(key, ..)| key != b"snew");
                        Model(entries)
                    };
                    let is_one = state == before || state == model;
                    assert!(is_one || state == without(&before), "{call:?}: {state:?}");
                    lost += u32::from(!is_one);
                    damaged += 1;
                }
            }
        }
    }
    println!("{damaged} damaged records, {lost} entries lost");
    assert!(damaged > 100, "{damaged}");
    // A check number where there is no change.
    segment.header().intent.check.set(77);
    let (found, state) = take_over(segment.memory().clone());
    assert_eq!((found.recoveries().0, &state), (1, &model));
}

#[test]
fn no_address_of_a_record_leads_out_of_the_segment_or_into_its_lock() {
    let segment = create(tiny());
    let word = |address: u64| segment.edit.word(address).is_ok();
    let len = segment.edit.geometry.len as u64;
    for address in [
        0,
        8,
        64,
        124,
        129,
        130,
        131,
        len - 3,
        len,
        len + 4,
        u64::MAX - 3,
        u64::MAX,
    ] {
        assert!(!word(address), "{address}");
    }
    assert!(word(128) && word(len - 4));
}

/// A bucket with many entries is split by one change for each that moves, and by a last one that cuts.
#[test]
fn killed_in_the_split_of_a_long_chain_no_entry_is_lost() {
    let geometry = Geometry::new(64, 60, 200).unwrap();
    let mut segment = create(geometry);
    let mut model = Model::default();
    let same = (0..)
        .map(|number| format!("s{number}").into_bytes())
        .filter(|key| create(geometry).edit.hash(key).is_multiple_of(16));
    let put = |key| Call::Put(key, OwnedValue::Null, STAMP);
    let mut keys = same.take(17).map(put);
    for call in keys.by_ref().take(16) {
        apply(&mut segment, &mut model, &call);
    }
    let last = keys.next().unwrap();
    let before = model.clone();
    let memory = segment.memory().clone();
    segment.begin().unwrap();
    let buckets = segment.header().buckets.get();
    let killed = before_each_store(&memory, || {
        apply(&mut segment, &mut model, &last);
        segment.end();
    });
    assert_eq!(segment.header().buckets.get(), buckets + 1);
    check(&segment, &model);
    let mut halfway = 0;
    for memory in killed {
        let (found, state) = take_over(memory);
        assert!(state == before || state == model);
        assert_eq!(found.recoveries(), (0, 0));
        halfway += u32::from(state == model && found.header().buckets.get() == buckets);
        check(&found, &state);
    }
    assert!(halfway > 20, "{halfway}");
}

/// A slot of a removed entry is freed by its process alone, and once, wherever another process was killed.
#[test]
fn a_kill_frees_no_slot_twice_and_loses_none() {
    let slots = Slots::default();
    let mut owner = create(tiny()).with_slots(slots.clone());
    for key in [b"sa", b"sb"] {
        owner.put(key, Value::Slot(slots.take()), STAMP).unwrap();
    }
    owner.end();
    let mut other = attach(owner.memory().clone());
    other.begin().unwrap();
    let memory = owner.memory().clone();
    let killed = before_each_store(&memory, || {
        other.put(b"sa", Value::Null, STAMP).unwrap();
        other.end();
    });
    let (mut kept, mut released) = (0, 0);
    for memory in killed {
        let (found, state) = take_over(memory);
        let of_entries = state
            .0
            .iter()
            .filter(|(_, value, _)| matches!(value, OwnedValue::Slot(_)));
        let waits = found.header().released.get() != NONE;
        assert_eq!(of_entries.count() + usize::from(waits), 2);
        if waits { released += 1 } else { kept += 1 }
    }
    assert!(kept > 10 && released > 10);
    assert_eq!(slots.in_use(), 2);
}

/// An entry without a slot: values by reference make a reset go row by row.
fn plain(random: &mut Random) -> Call {
    loop {
        match call(random, 12) {
            Call::Clear | Call::Put(_, OwnedValue::Slot(_), _) => {}
            call => return call,
        }
    }
}

/// A reset is one change. Whoever is killed in it, or while the memory is given back, leaves the state before or none; and
/// what was there before does not come back, neither by later calls nor by a rebuild.
#[test]
fn killed_before_any_store_of_a_reset_all_entries_are_there_or_none() {
    let (mut before_it, mut after_it) = (0, 0);
    for seed in 1..=2 {
        let mut random = Random(seed * 5);
        let mut segment = create(Geometry::for_bytes(4 << 20));
        let mut model = Model::default();
        for _ in 0..60 {
            let call = plain(&mut random);
            apply(&mut segment, &mut model, &call);
        }
        segment.end();
        let before = model.clone();
        segment.begin().unwrap();
        let memory = segment.memory().clone();
        let killed = before_each_store(&memory, || {
            apply(&mut segment, &mut model, &Call::Clear);
            assert_eq!((segment.len(), segment.size()), (0, 0.0));
            segment.end();
            while segment.has_excess() {
                segment.begin().unwrap();
                segment.end();
            }
        });
        assert!(killed.len() < 300, "{}", killed.len());
        for memory in killed {
            check_readers(&memory, &before, &model);
            let (mut found, state) = take_over(memory);
            assert!(state == before || state == model, "{state:?}");
            assert_eq!(found.recoveries(), (0, 0));
            check(&found, &state);
            match state == before {
                true => before_it += 1,
                false => after_it += 1,
            }
            // Life goes on, over rows and blocks that are dead.
            let mut state = state;
            for _ in 0..10 {
                let call = plain(&mut random);
                found.begin().unwrap();
                apply(&mut found, &mut state, &call);
                found.end();
            }
            check(&found, &state);
            let rebuilt = found.recover().unwrap();
            assert_eq!((rebuilt.kept as usize, rebuilt.dropped), (state.0.len(), 0));
            check(&found, &state);
        }
        check(&segment, &model);
    }
    println!("{before_it} before, {after_it} after");
    assert!(before_it > 30 && after_it > 30);
}

/// A put is killed over what a reset has left, and then the record is damaged, so that all is rebuilt.
/// Siblings destroy a namespace and open it again. Whoever is killed in one of both, the next process finds the namespace with
/// its entries, or without, or none. What is opened then is empty and has no limits of before.
#[test]
fn killed_before_any_store_of_the_end_of_a_namespace_it_is_there_or_can_be_opened() {
    let mut random = Random(7);
    let mut segment = create(Geometry::for_bytes(4 << 20));
    let mut model = Model::default();
    for _ in 0..60 {
        let call = plain(&mut random);
        apply(&mut segment, &mut model, &call);
    }
    segment.set_limits(Limits {
        max: 1000.0,
        ..Limits::default()
    });
    segment.end();
    let memory = segment.memory().clone();
    let open = |segment: &mut Segment<PlainMemory>| {
        segment.begin_to_open().unwrap();
        if segment.is_over() {
            segment.clear().unwrap();
            segment.set_limits(Limits::default());
        }
        segment.begin_life();
        segment.end();
    };
    let destroy = |segment: &mut Segment<PlainMemory>| {
        segment.begin().unwrap();
        segment.clear().unwrap();
        segment.end_life();
        segment.end();
    };
    let killed = before_each_store(&memory, || {
        destroy(&mut segment);
        open(&mut segment);
    });
    let (mut there, mut gone) = (0, 0);
    let empty = Model::default();
    for memory in killed {
        check_readers(&memory, &model, &empty);
        let mut found = attach(memory);
        match found.begin() {
            Ok(_) => {
                found.end();
                let state = Model::of(&found);
                assert!(state == model || state == empty, "{state:?}");
                there += 1;
            }
            Err(error) => {
                assert_eq!(error.code, Code::Gone);
                assert_eq!(found.header().control.epoch.get() & 1, 1, "no copy counts");
                open(&mut found);
                assert_eq!(found.limits().max, f64::INFINITY);
                gone += 1;
            }
        }
        found.validate().unwrap();
        destroy(&mut found);
        assert_eq!(found.begin().err().map(|error| error.code), Some(Code::Gone));
        open(&mut found);
        let mut state = empty.clone();
        for _ in 0..10 {
            let call = plain(&mut random);
            found.begin().unwrap();
            apply(&mut found, &mut state, &call);
            found.end();
        }
        check(&found, &state);
    }
    assert!(there > 20 && gone > 20, "{there} there, {gone} gone");
}

#[test]
fn a_rebuild_after_a_kill_over_dead_rows_finds_no_dead_entry() {
    let mut random = Random(8);
    let mut segment = create(tiny());
    let mut model = Model::default();
    for _ in 0..40 {
        let call = plain(&mut random);
        apply(&mut segment, &mut model, &call);
    }
    apply(&mut segment, &mut model, &Call::Clear);
    segment.end();
    let put = |value: &[u8]| Call::Put(b"snew".to_vec(), OwnedValue::String(value.into()), STAMP);
    for call in [put(&[b'a'; 200]), put(&[b'b'; 100]), put(&[b'c'; 300])] {
        let before = model.clone();
        segment.begin().unwrap();
        let memory = segment.memory().clone();
        let killed = before_each_store(&memory, || {
            apply(&mut segment, &mut model, &call);
            segment.end();
        });
        for memory in killed {
            attach(memory.clone()).header().damaged.set(1);
            let (found, state) = take_over(memory);
            assert_eq!(found.recoveries().0, 1);
            assert!(state == before || state == model, "{state:?}");
        }
    }
}

#[test]
fn a_reset_takes_no_longer_for_more_entries_and_its_memory_is_used_again() {
    let mut stores = vec![];
    for entries in [100, 5000] {
        let mut segment = create(Geometry::for_bytes(4 << 20));
        for round in 0..3 {
            for at in 0..entries {
                let key = format!("s{at}");
                segment
                    .put(key.as_bytes(), Value::String(&[b'v'; 150]), STAMP)
                    .unwrap();
            }
            let full = segment.memory().committed();
            if round == 0 {
                // There is no other memory then than what the reset has left.
                segment.memory().set_limit(full);
            }
            let count = Arc::new(Mutex::new(0));
            let counted = count.clone();
            watch(move || *counted.lock().unwrap() += 1, || segment.clear().unwrap());
            stores.push(*count.lock().unwrap());
            assert_eq!((segment.len(), segment.size()), (0, 0.0));
        }
        segment.validate().unwrap();
    }
    assert!(stores.iter().all(|count| *count < 100), "{stores:?}");
}

/// Entries of 8 blocks in 20 groups, of which every other one is removed: each group is free in part, and none wholly.
fn holed() -> (Segment<PlainMemory>, Model) {
    let mut segment = create(Geometry::new(256, 300, 20 * 64).unwrap());
    let mut model = Model::default();
    for number in 0..155 {
        let value = OwnedValue::String(vec![number as u8; 470].into());
        let call = Call::Put(format!("s{number}").into_bytes(), value, STAMP);
        apply(&mut segment, &mut model, &call);
    }
    for number in (0..155).step_by(2) {
        apply(
            &mut segment,
            &mut model,
            &Call::Remove(format!("s{number}").into_bytes()),
        );
    }
    (segment, model)
}

/// The blocks of such a value are taken by several changes, and freed by several.
#[test]
fn killed_before_any_store_of_a_value_in_many_groups_no_block_is_lost() {
    let (mut segment, mut model) = holed();
    let long = |letter: u8, blocks: usize| OwnedValue::String(vec![letter; 60 * blocks - 8].into());
    let calls = [
        Call::Put(b"slong".to_vec(), long(b'a', 300), STAMP),
        Call::Put(b"slong".to_vec(), long(b'b', 280), STAMP),
        Call::Remove(b"slong".to_vec()),
    ];
    let mut loose = 0;
    for call in calls {
        let before = model.clone();
        segment.begin().unwrap();
        let memory = segment.memory().clone();
        let killed = before_each_store(&memory, || {
            apply(&mut segment, &mut model, &call);
            segment.end();
        });
        assert!(segment.header().blocks_used.get() <= 20 * 64);
        // The writes of payload and links are alike: some of them are enough.
        for (number, memory) in killed.into_iter().enumerate() {
            let state = attach(memory.clone());
            if number % 7 > 0 && state.header().intent.count.get() == 0 {
                continue;
            }
            loose += u32::from(state.header().loose_count.get() > 0);
            let (found, state) = take_over(memory);
            assert!(state == before || state == model, "store {number}");
            assert_eq!(found.recoveries(), (0, 0), "store {number}");
        }
    }
    check(&segment, &model);
    assert!(loose > 50, "{loose}");
}

/// Where few blocks are free, most blocks of a very long value are no gaps; these do where there is no more memory.
#[test]
fn a_very_long_value_takes_few_gaps_where_few_blocks_are_free_and_there_is_memory() {
    for has_memory in [true, false] {
        let mut segment = create(Geometry::new(65_536, 20_000, 1024 * 64).unwrap());
        // Of two blocks.
        let short = [b'x'; 100];
        for number in 0..12_000 {
            let key = format!("s{number}").into_bytes();
            segment.put(&key, Value::String(&short), STAMP).unwrap();
        }
        for number in (0..12_000).step_by(12) {
            segment.remove(format!("s{number}").as_bytes()).unwrap();
        }
        if !has_memory {
            segment.memory().set_limit(segment.memory().committed());
        }
        let header = segment.header();
        let before = [&header.blocks_used, &header.blocks_free].map(|word| word.get());
        let left = header.blocks_ready.get() - before[0];
        let long = vec![b'v'; 60 * 1800];
        segment.put(b"slong", Value::String(&long), STAMP).unwrap();
        let header = segment.header();
        let fresh = header.blocks_used.get() - before[0];
        let gaps = before[1] - header.blocks_free.get();
        match has_memory {
            // The last 1024 blocks are not worth more memory.
            true => assert!(fresh >= 768 && gaps <= 1024, "{fresh} {gaps}"),
            false => assert!(fresh <= left && gaps + fresh >= 1800, "{fresh} of {left}, {gaps}"),
        }
        segment.validate().unwrap();
        let found = segment.touch(b"slong").unwrap().unwrap();
        assert_eq!(found.0, Value::String(&long));
    }
}

/// The rows say which blocks are free, whatever the words of the groups and their summaries say.
#[test]
fn damaged_words_of_free_blocks_lose_no_entry() {
    for damaged in [0, u64::MAX, 0x5555_5555_5555_5555] {
        let (mut segment, mut model) = holed();
        let section = segment.edit.section(0).unwrap();
        let words = section.free.iter().chain(&section.first).chain(&section.second);
        for word in words.chain(segment.header().third.iter().flatten()) {
            word.set(damaged);
        }
        segment.header().damaged.set(1);
        segment.begin().unwrap();
        segment.end();
        check(&segment, &model);
        // Without free blocks to be found, a call mends it.
        for word in segment
            .header()
            .third
            .iter()
            .flatten()
            .chain(&segment.edit.section(0).unwrap().first)
        {
            word.set(0);
        }
        let call = Call::Put(
            b"slong".to_vec(),
            OwnedValue::String(vec![b'v'; 12_000].into()),
            STAMP,
        );
        segment.begin().unwrap();
        apply(&mut segment, &mut model, &call);
        segment.end();
        check(&segment, &model);
    }
}
