//! The private store of one process, on the crate `lru`. Values lie off the JavaScript heap; one that is a
//! JavaScript value lies in JavaScript and holds a slot here.

use lru::LruCache;

use super::{Entry, Limits, Stamp, Storage};
use crate::{
    error::Result,
    key::Key,
    slots::Slots,
    value::{OwnedValue, Value},
};

#[derive(Debug)]
struct Stored {
    value: OwnedValue,
    stamp: Stamp,
}

/// Entries on the heap of this process.
#[derive(Debug)]
pub struct HeapStorage {
    /// Unbounded: bounds are the cache's business.
    entries: LruCache<Key, Stored>,
    limits: Limits,
    slots: Slots,
}

impl HeapStorage {
    /// An empty storage whose JavaScript values lie in the table of `slots`.
    pub fn new(slots: Slots) -> Self {
        Self {
            entries: LruCache::unbounded(),
            limits: Limits::default(),
            slots,
        }
    }

    /// The one way out for a value: a slot it held is freed.
    fn discard(&self, value: Value<'_>) {
        if let Value::Slot(slot) = value {
            self.slots.free(slot);
        }
    }
}

fn entry<'a>(key: &'a [u8], stored: &'a Stored) -> Entry<'a> {
    Entry {
        key,
        value: stored.value.as_ref(),
        stamp: stored.stamp,
    }
}

/// Slots are freed promptly: an entry that leaves, by whatever way, leaves through one of these calls.
impl Storage for HeapStorage {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn touch(&mut self, key: &[u8]) -> Option<(Value<'_>, Stamp)> {
        self.entries
            .get(key)
            .map(|stored| (stored.value.as_ref(), stored.stamp))
    }

    fn peek(&self, key: &[u8]) -> Option<(Value<'_>, Stamp)> {
        self.entries
            .peek(key)
            .map(|stored| (stored.value.as_ref(), stored.stamp))
    }

    fn least_recent(&self) -> Option<Entry<'_>> {
        self.entries
            .peek_lru()
            .map(|(key, stored)| entry(key.as_bytes(), stored))
    }

    fn put(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp) -> Result<bool> {
        let stored = Stored {
            value: value.to_owned(),
            stamp,
        };
        match self.entries.get_mut(key) {
            Some(place) => {
                let old = std::mem::replace(place, stored);
                self.discard(old.value.as_ref());
                Ok(true)
            }
            None => {
                self.entries.put(Key::from_bytes(key), stored);
                Ok(false)
            }
        }
    }

    fn decline(&mut self, value: Value<'_>) {
        self.discard(value);
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        self.entries
            .pop(key)
            .inspect(|old| self.discard(old.value.as_ref()))
            .is_some()
    }

    fn remove_least_recent(&mut self) -> bool {
        self.entries
            .pop_lru()
            .inspect(|(_, old)| self.discard(old.value.as_ref()))
            .is_some()
    }

    fn clear(&mut self) {
        for (_, old) in &self.entries {
            self.discard(old.value.as_ref());
        }
        // A new map, not `clear()`: the table's memory goes back too.
        self.entries = LruCache::unbounded();
    }

    fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries
            .iter()
            .map(|(key, stored)| entry(key.as_bytes(), stored))
    }

    fn retain(&mut self, mut keep: impl FnMut(Entry<'_>) -> bool) {
        let Self { entries, slots, .. } = self;
        entries.retain(|key, stored| {
            let kept = keep(entry(key.as_bytes(), stored));
            if let (false, OwnedValue::Slot(slot)) = (kept, &stored.value) {
                slots.free(*slot);
            }
            kept
        });
    }
}

/// A cache that goes takes its JavaScript values along.
impl Drop for HeapStorage {
    fn drop(&mut self) {
        self.clear();
    }
}
