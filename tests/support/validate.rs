//! The structure of a storage, walked by every door it has.

use lru_cache_for_clusters::{
    error::Error,
    extras::{Extras, TagList},
    slots::Slots,
    storage::{Entry, Stamp, Storage},
    value::{OwnedValue, Value},
};
use std::collections::HashSet;

/// Panics where two ways of looking at a storage disagree.
pub fn validate<S: Storage>(storage: &S) {
    // One more than there should be: a damaged order must not be walked for ever.
    let mut kept: Vec<(Vec<u8>, OwnedValue, Stamp, TagList)> = vec![];
    let visited = storage.visit(|entry| {
        let tags = TagList::copy(entry.extras.tags);
        kept.push((entry.key.to_vec(), entry.value.to_owned(), entry.stamp, tags));
        if kept.len() > storage.len() {
            return Err(Error::request("more entries than there are"));
        }
        Ok(())
    });
    visited.unwrap();
    let entries: Vec<Entry<'_>> = kept
        .iter()
        .map(|(key, value, stamp, tags)| Entry {
            key,
            value: value.as_ref(),
            stamp: *stamp,
            extras: Extras { tags: tags.tags() },
        })
        .collect();
    assert_eq!(
        entries.len(),
        storage.len(),
        "visit() and len() count the same entries"
    );
    assert_eq!(entries.is_empty(), storage.is_empty());

    let sizes = entries
        .iter()
        .map(|entry| storage.entry_size(entry.key, entry.value, entry.extras));
    assert_eq!(
        sizes.sum::<f64>(),
        storage.size(),
        "size() is that of all entries"
    );

    let mut keys = HashSet::new();
    for entry in &entries {
        assert!(keys.insert(entry.key), "a key is there twice: {:?}", entry.key);
        let found = storage.peek(entry.key).unwrap().map(|(value, stamp)| Entry {
            key: entry.key,
            value,
            stamp,
            extras: storage.extras(entry.key).unwrap(),
        });
        assert_eq!(
            shown(found),
            shown(Some(*entry)),
            "peek() finds what visit() gives"
        );
    }
    assert_eq!(
        shown(storage.least_recent().unwrap()),
        shown(entries.last().copied()),
        "least_recent() is the last of visit()"
    );
}

/// As [`validate`], and that the slots in use are those that the entries hold.
pub fn validate_slots<'a>(storages: impl IntoIterator<Item = &'a (impl Storage + 'a)>, slots: &Slots) {
    let mut held = HashSet::new();
    for storage in storages {
        validate(storage);
        let visited = storage.visit(|entry| {
            if let Value::Slot(slot) = entry.value {
                assert!(held.insert(slot), "two entries hold slot {slot}");
            }
            Ok(())
        });
        visited.unwrap();
    }
    assert_eq!(slots.in_use(), held.len(), "slots in use are slots of entries");
}

/// Text that tells apart what `==` does not (`-0` and `0`) and takes together what it does not (`NaN`).
fn shown(entry: Option<Entry<'_>>) -> String {
    format!("{entry:?}")
}
