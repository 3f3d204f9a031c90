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
struct HeapEntry {
    value: OwnedValue,
    stamp: Stamp,
}

/// What an entry takes besides the bytes of its key and value: its node, its share of the table, and what the
/// allocator adds to each, in bytes. Measured, see `tests/heap_size.rs`.
const OVERHEAD: usize = 144;

/// Entries on the heap of this process.
#[derive(Debug)]
pub struct HeapStorage {
    /// Has no capacity of its own: the cache keeps the limits.
    entries: LruCache<Key, HeapEntry>,
    limits: Limits,
    slots: Slots,
    /// Of all entries, see [`Storage::size`].
    size: usize,
}

impl HeapStorage {
    /// An empty storage whose JavaScript values lie in the table of `slots`.
    pub fn new(slots: Slots) -> Self {
        Self {
            entries: LruCache::unbounded(),
            limits: Limits::default(),
            slots,
            size: 0,
        }
    }

    /// Every entry, least recent first.
    pub fn oldest_first(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries
            .iter()
            .rev()
            .map(|(key, stored)| entry(key.as_bytes(), stored))
    }

    /// Gives up its slots, which are used elsewhere from now on: it frees none any more.
    pub fn abandon_slots(&mut self) {
        self.slots = Slots::default();
    }

    /// The one way out for a value: a slot it held is freed.
    fn discard(&self, value: Value<'_>) {
        if let Value::Slot(slot) = value {
            self.slots.free(slot);
        }
    }

    fn empty(&mut self) {
        for (_, old) in &self.entries {
            self.discard(old.value.as_ref());
        }
        // A new map, not `clear()`: the table's memory goes back too.
        self.entries = LruCache::unbounded();
        self.size = 0;
    }

    /// Accounts for an entry that was taken out.
    fn gone(&mut self, key: &Key, old: &HeapEntry) {
        self.size -= size_of_entry(key.as_bytes(), old.value.as_ref());
        self.discard(old.value.as_ref());
    }
}

fn size_of_entry(key: &[u8], value: Value<'_>) -> usize {
    OVERHEAD + key.len() + value.bytes().len()
}

fn entry<'a>(key: &'a [u8], stored: &'a HeapEntry) -> Entry<'a> {
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

    fn size(&self) -> f64 {
        self.size as f64
    }

    fn entry_size(&self, key: &[u8], value: Value<'_>) -> f64 {
        size_of_entry(key, value) as f64
    }

    fn touch(&mut self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        let stored = self.entries.get(key);
        Ok(stored.map(|stored| (stored.value.as_ref(), stored.stamp)))
    }

    fn peek(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        let stored = self.entries.peek(key);
        Ok(stored.map(|stored| (stored.value.as_ref(), stored.stamp)))
    }

    fn least_recent(&self) -> Result<Option<Entry<'_>>> {
        let least_recent = self.entries.peek_lru();
        Ok(least_recent.map(|(key, stored)| entry(key.as_bytes(), stored)))
    }

    fn put(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp) -> Result<bool> {
        let stored = HeapEntry {
            value: value.to_owned(),
            stamp,
        };
        match self.entries.get_mut(key) {
            Some(place) => {
                let old = std::mem::replace(place, stored);
                self.size = self.size - old.value.as_ref().bytes().len() + value.bytes().len();
                // An entry that is set again may keep its slot.
                let same =
                    matches!((&old.value, value), (OwnedValue::Slot(old), Value::Slot(new)) if *old == new);
                if !same {
                    self.discard(old.value.as_ref());
                }
                Ok(true)
            }
            None => {
                self.entries.put(Key::from_bytes(key), stored);
                self.size += size_of_entry(key, value);
                Ok(false)
            }
        }
    }

    fn decline(&mut self, value: Value<'_>) {
        self.discard(value);
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool> {
        let removed = self.entries.pop_entry(key);
        Ok(removed.inspect(|(key, old)| self.gone(key, old)).is_some())
    }

    fn remove_least_recent(&mut self) -> Result<bool> {
        let removed = self.entries.pop_lru();
        Ok(removed.inspect(|(key, old)| self.gone(key, old)).is_some())
    }

    fn clear(&mut self) -> Result<()> {
        self.empty();
        Ok(())
    }

    fn visit(&self, mut visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        let mut entries = self.entries.iter();
        entries.try_for_each(|(key, stored)| visit(entry(key.as_bytes(), stored)))
    }

    fn retain_stamps(&mut self, mut keep: impl FnMut(Stamp) -> bool) {
        let Self {
            entries, slots, size, ..
        } = self;
        entries.retain(|key, stored| {
            let kept = keep(stored.stamp);
            if !kept {
                *size -= size_of_entry(key.as_bytes(), stored.value.as_ref());
                if let OwnedValue::Slot(slot) = stored.value {
                    slots.free(slot);
                }
            }
            kept
        });
    }
}

/// A cache that goes takes its JavaScript values along.
impl Drop for HeapStorage {
    fn drop(&mut self) {
        self.empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        set_at: 1.0,
        max_age: 2.0,
    };

    /// Entries `n` with the value `n`, set at the time `n`, the highest the most recent.
    fn numbered(count: u32) -> HeapStorage {
        let mut storage = HeapStorage::new(Slots::default());
        for n in 0..count {
            storage
                .put(&n.to_le_bytes(), Value::Number(n.into()), at(n))
                .unwrap();
        }
        storage
    }

    fn at(n: u32) -> Stamp {
        Stamp {
            set_at: n.into(),
            ..STAMP
        }
    }

    fn order(storage: &HeapStorage) -> Vec<u32> {
        let mut order = vec![];
        let visited = storage.visit_keys(|key| {
            order.push(u32::from_le_bytes(key.try_into().unwrap()));
            Ok(())
        });
        visited.unwrap();
        order
    }

    #[test]
    fn entries_lie_in_order_of_recency() {
        let mut storage = numbered(4);
        assert_eq!(order(&storage), [3, 2, 1, 0]);
        assert_eq!(
            storage.touch(&1u32.to_le_bytes()),
            Ok(Some((Value::Number(1.0), at(1))))
        );
        storage.peek(&0u32.to_le_bytes()).unwrap();
        assert!(storage.put(&2u32.to_le_bytes(), Value::Null, STAMP).unwrap());
        assert_eq!(order(&storage), [2, 1, 3, 0]);
        assert_eq!(
            storage.least_recent().unwrap().map(|entry| entry.value),
            Some(Value::Number(0.0))
        );
        assert!(storage.remove_least_recent().unwrap());
        assert_eq!(order(&storage), [2, 1, 3]);
    }

    #[test]
    fn retain_keeps_the_order_of_what_stays() {
        let mut storage = numbered(5);
        storage.retain_stamps(|stamp| stamp.set_at % 2.0 == 0.0);
        assert_eq!(order(&storage), [4, 2, 0]);
    }

    #[test]
    fn what_is_not_there_is_not_found_and_not_removed() {
        let mut storage = numbered(0);
        assert_eq!(storage.touch(b"x"), Ok(None));
        assert_eq!((storage.peek(b"x"), storage.least_recent()), (Ok(None), Ok(None)));
        assert_eq!(storage.remove(b"x"), Ok(false));
        assert_eq!(storage.remove_least_recent(), Ok(false));
        storage.clear().unwrap();
        assert!(storage.is_empty());
    }

    #[test]
    fn a_slot_is_freed_once_by_each_way_out() {
        let slots = Slots::default();
        let mut storage = HeapStorage::new(slots.clone());
        let mut taken = vec![];
        let mut put = |storage: &mut HeapStorage, key: &[u8]| {
            taken.push(slots.take());
            storage
                .put(key, Value::Slot(taken[taken.len() - 1]), at(key[0].into()))
                .unwrap();
        };
        for key in [b"a", b"a", b"b", b"c", b"d", b"e"] {
            put(&mut storage, key);
        }
        assert_eq!(slots.in_use(), 5, "the first `a` was replaced");
        storage.remove(b"a").unwrap();
        storage.remove_least_recent().unwrap();
        storage.retain_stamps(|stamp| stamp != at(b'c'.into()));
        assert_eq!(slots.in_use(), 2);
        storage.clear().unwrap();
        assert_eq!(slots.in_use(), 0);
        put(&mut storage, b"f");
        drop(storage);
        let mut freed = vec![];
        slots.release(usize::MAX, |slot| freed.push(slot));
        freed.sort();
        assert_eq!(freed, taken);
    }
}
