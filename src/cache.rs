//! The rules: ages, recency, bounds, counters. Written once, over any [`Storage`]; the time is always the
//! caller's (`now`, milliseconds since the epoch).
//!
//! Order and age are those of `lru-cache` 6, on which the 1.x API was built:
//! - an entry is expired when more time has passed since it was set than its own age allows, or, where it has
//!   none, than the cache's age of this moment;
//! - an expired entry still counts, and still has its place in the order, until a call removes it;
//! - `get` and `set` make an entry the most recent; nothing else does.

use crate::{
    error::Result,
    key::Key,
    storage::{Entry, Limits, Stamp, Storage},
    value::{OwnedValue, Value},
};

/// A cache over some storage.
///
/// ```
/// use lru_cache_for_clusters::{cache::Cache, key::Key, slots::Slots, storage::heap::HeapStorage, value::Value};
///
/// let mut cache = Cache::new(HeapStorage::new(Slots::default()));
/// cache.set_max(2.0);
/// for name in ["a", "b", "c"] {
///     cache.set(Key::string(name.as_bytes()).as_bytes(), Value::Null, None, 0.0).unwrap();
/// }
/// assert!(!cache.has(Key::string(b"a").as_bytes(), 0.0), "the least recent entry was evicted");
/// ```
#[derive(Debug)]
pub struct Cache<S> {
    storage: S,
}

/// An entry that can be taken elsewhere: what `dump` gives and `load` takes.
#[derive(Clone, Debug, PartialEq)]
pub struct DumpEntry<V> {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: V,
    /// When it expires, in milliseconds since the epoch; 0 for never.
    pub expires: f64,
}

impl<S: Storage> Cache<S> {
    /// A cache with the bounds that its storage has.
    pub fn new(storage: S) -> Self {
        Self { storage }
    }

    /// The storage, to look at.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The number of entries, expired ones included.
    pub fn len(&self) -> usize {
        self.storage.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.storage.is_empty()
    }

    /// The bounds that hold now.
    pub fn limits(&self) -> Limits {
        self.storage.limits()
    }

    /// Sets the most entries (0 or `NaN`: no bound) and evicts at once what is over it.
    pub fn set_max(&mut self, max: f64) {
        let max = if max > 0.0 { max } else { f64::INFINITY };
        self.storage.set_limits(Limits { max, ..self.limits() });
        self.trim();
    }

    /// Sets the age, in milliseconds, of entries that have none of their own (0 or `NaN`: they never expire).
    pub fn set_max_age(&mut self, max_age: f64) {
        self.storage.set_limits(Limits {
            max_age: non_nan(max_age),
            ..self.limits()
        });
    }

    /// Says whether an expired entry is returned once when it is found.
    pub fn set_allow_stale(&mut self, allow_stale: bool) {
        self.storage.set_limits(Limits {
            allow_stale,
            ..self.limits()
        });
    }

    /// Reads an entry and makes it the most recent. An expired one is removed, and read only where stale
    /// entries are allowed. `None` when there is nothing to read.
    pub fn get<R>(&mut self, key: &[u8], now: f64, read: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let Limits {
            max_age, allow_stale, ..
        } = self.limits();
        let (value, stamp) = self.storage.touch(key)?;
        if !expired(stamp, max_age, now) {
            return Some(read(value));
        }
        let stale = allow_stale.then(|| read(value));
        self.storage.remove(key);
        stale
    }

    /// As [`Cache::get`], and leaves recency alone.
    pub fn peek<R>(&mut self, key: &[u8], now: f64, read: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let Limits {
            max_age, allow_stale, ..
        } = self.limits();
        let (value, stamp) = self.storage.peek(key)?;
        if !expired(stamp, max_age, now) {
            return Some(read(value));
        }
        let stale = allow_stale.then(|| read(value));
        self.storage.remove(key);
        stale
    }

    /// Whether there is an entry that has not expired. Changes nothing.
    pub fn has(&self, key: &[u8], now: f64) -> bool {
        let max_age = self.limits().max_age;
        self.storage
            .peek(key)
            .is_some_and(|(_, stamp)| !expired(stamp, max_age, now))
    }

    /// Stores an entry as the most recent one. `max_age` is its own age in milliseconds; without one (or with
    /// 0) it takes the cache's. Returns `false`, and leaves no entry under the key, when it can never fit.
    ///
    /// # Errors
    /// The storage has no memory for it; nothing has changed.
    pub fn set(&mut self, key: &[u8], value: Value<'_>, max_age: Option<f64>, now: f64) -> Result<bool> {
        let limits = self.limits();
        let max_age = match max_age {
            Some(own) if non_nan(own) != 0.0 => own,
            _ => limits.max_age,
        };
        let stamp = Stamp {
            set_at: if max_age == 0.0 { 0.0 } else { now },
            max_age,
        };
        if limits.max < 1.0 {
            self.storage.decline(value);
            return Ok(false);
        }
        let replaced = self.storage.put(key, value, stamp)?;
        if replaced && expired(stamp, limits.max_age, now) {
            // lru-cache 6 looks a replaced entry up again, and so drops one whose age is negative.
            self.storage.remove(key);
        }
        self.trim();
        Ok(true)
    }

    /// Removes an entry.
    pub fn del(&mut self, key: &[u8]) {
        self.storage.remove(key);
    }

    /// Adds `amount` to a number and returns the sum; a missing value, or one that is no number, counts as 0.
    ///
    /// The entry becomes the most recent and its age starts anew with the cache's. With a `max_age` of its
    /// own, that age starts when the counter is created, and later calls leave it running.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn incr(&mut self, key: &[u8], amount: f64, max_age: Option<f64>, now: f64) -> Result<f64> {
        let limits = self.limits();
        let running = self.storage.peek(key).map(|(_, stamp)| stamp);
        let current = self.get(key, now, |value| {
            if let Value::Number(number) = value {
                Some(number)
            } else {
                None
            }
        });
        let current = current.flatten();
        let sum = current.unwrap_or(0.0) + amount;
        match (max_age, running, current) {
            (Some(_), Some(stamp), Some(_)) if !expired(stamp, limits.max_age, now) => {
                self.storage.put(key, Value::Number(sum), stamp)?;
            }
            _ => {
                self.set(key, Value::Number(sum), max_age, now)?;
            }
        }
        Ok(sum)
    }

    /// Removes every entry.
    pub fn reset(&mut self) {
        self.storage.clear();
    }

    /// Removes every expired entry.
    pub fn prune(&mut self, now: f64) {
        let max_age = self.limits().max_age;
        self.storage.retain(|entry| !expired(entry.stamp, max_age, now));
    }

    /// Every entry, most recent first, expired ones included.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.storage.iter()
    }

    /// Every entry that has not expired, most recent first, with the time at which it will.
    pub fn dump(&self, now: f64) -> impl Iterator<Item = DumpEntry<Value<'_>>> {
        let max_age = self.limits().max_age;
        self.storage
            .iter()
            .filter(move |entry| !expired(entry.stamp, max_age, now))
            .map(|entry| DumpEntry {
                key: Key::from_bytes(entry.key),
                value: entry.value,
                expires: entry.stamp.set_at + entry.stamp.max_age,
            })
    }

    /// Replaces everything by what `dump` gave (most recent first): the order is restored and so are the ages
    /// that remain; what has expired meanwhile is left out.
    ///
    /// # Errors
    /// As [`Cache::set`]; what was loaded until then is there.
    pub fn load(&mut self, entries: &[DumpEntry<OwnedValue>], now: f64) -> Result<()> {
        self.reset();
        for DumpEntry { key, value, expires } in entries.iter().rev() {
            let remaining = expires - now;
            if non_nan(*expires) == 0.0 {
                self.set(key.as_bytes(), value.as_ref(), None, now)?;
            } else if remaining > 0.0 {
                self.set(key.as_bytes(), value.as_ref(), Some(remaining), now)?;
            } else {
                self.storage.decline(value.as_ref());
            }
        }
        Ok(())
    }

    /// Removes the least recent entry, expired or not, and reads it.
    pub fn pop<R>(&mut self, read: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
        let popped = self.storage.least_recent().map(read);
        self.storage.remove_least_recent();
        popped
    }

    fn trim(&mut self) {
        let max = self.limits().max;
        while self.storage.len() as f64 > max && self.storage.remove_least_recent() {}
    }
}

/// The one rule of age: see the head of this module.
fn expired(stamp: Stamp, cache_max_age: f64, now: f64) -> bool {
    let max_age = if stamp.max_age == 0.0 {
        cache_max_age
    } else {
        stamp.max_age
    };
    max_age != 0.0 && now - stamp.set_at > max_age
}

fn non_nan(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number }
}
