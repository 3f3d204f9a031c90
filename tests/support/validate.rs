//! The structure of a storage, walked by every door it has.

use lru_cache_for_clusters::{
    slots::Slots,
    storage::{Entry, Storage},
    value::Value,
};
use std::collections::HashSet;

/// Panics where two ways of looking at a storage disagree.
pub fn validate<S: Storage>(storage: &S) {
    // One more than there should be: a damaged order must not be walked for ever.
    let entries: Vec<Entry<'_>> = storage.iter().take(storage.len() + 1).collect();
    assert_eq!(
        entries.len(),
        storage.len(),
        "iter() and len() count the same entries"
    );
    assert_eq!(entries.is_empty(), storage.is_empty());

    let sizes = entries
        .iter()
        .map(|entry| storage.entry_size(entry.key, entry.value));
    assert_eq!(
        sizes.sum::<f64>(),
        storage.size(),
        "size() is that of all entries"
    );

    let mut keys = HashSet::new();
    for entry in &entries {
        assert!(keys.insert(entry.key), "a key is there twice: {:?}", entry.key);
        let found = storage.peek(entry.key).map(|(value, stamp)| Entry {
            key: entry.key,
            value,
            stamp,
        });
        assert_eq!(
            shown(found),
            shown(Some(*entry)),
            "peek() finds what iter() gives"
        );
    }
    assert_eq!(
        shown(storage.least_recent()),
        shown(entries.last().copied()),
        "least_recent() is the last of iter()"
    );
}

/// As [`validate`], and that the slots in use are those that the entries hold.
pub fn validate_slots<'a>(storages: impl IntoIterator<Item = &'a (impl Storage + 'a)>, slots: &Slots) {
    let mut held = HashSet::new();
    for storage in storages {
        validate(storage);
        for entry in storage.iter() {
            if let Value::Slot(slot) = entry.value {
                assert!(held.insert(slot), "two entries hold slot {slot}");
            }
        }
    }
    assert_eq!(slots.in_use(), held.len(), "slots in use are slots of entries");
}

/// Text that tells apart what `==` does not (`-0` and `0`) and takes together what it does not (`NaN`).
fn shown(entry: Option<Entry<'_>>) -> String {
    format!("{entry:?}")
}
