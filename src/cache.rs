//! The rules: ages, recency, bounds, counters. Written once, over any [`Storage`]; the time is always the
//! caller's (`now`, milliseconds since the epoch).
//!
//! Order and age are those of `lru-cache` 6, on which the 1.x API was built:
//! - an entry is expired when more time has passed since it was set than its own age allows, or, where it has
//!   none, than the cache's age of this moment;
//! - an expired entry still counts, and still has its place in the order, until a call removes it;
//! - `get` and `set` make an entry the most recent; nothing else does.
//!
//! Bounds are kept by evicting least recent entries. An entry that would not fit in an empty cache is not
//! stored and evicts nothing, and the key's old value goes: nobody reads what was meant to be replaced.

use crate::{
    error::Result,
    key::Key,
    storage::{Entry, Limits, Stamp, Storage},
    value::{OwnedValue, Value},
};

/// Where the time comes from, in milliseconds since the epoch. Asked only where an age is at stake; a number
/// is a clock that stands still.
pub trait Clock: Copy {
    /// The time.
    fn now(self) -> f64;
}

impl Clock for f64 {
    fn now(self) -> f64 {
        self
    }
}

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
/// let found = cache.has(Key::string(b"a").as_bytes(), 0.0);
/// assert_eq!(found, Ok(false), "the least recent entry was evicted");
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

    /// The storage, to begin and end what is done to it.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
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
        self.storage.set_limits(Limits {
            max: bound(max),
            ..self.limits()
        });
        self.trim();
    }

    /// Sets the most bytes that all entries take, as [`Storage::size`] counts them (0 or `NaN`: no bound), and
    /// evicts at once what is over it.
    pub fn set_max_size(&mut self, max_size: f64) {
        self.storage.set_limits(Limits {
            max_size: bound(max_size),
            ..self.limits()
        });
        self.trim();
    }

    /// Sets the most bytes that an entry takes, as [`Storage::entry_size`] counts them (0 or `NaN`: no bound).
    /// Larger ones that are there stay.
    pub fn set_max_entry_size(&mut self, max_entry_size: f64) {
        self.storage.set_limits(Limits {
            max_entry_size: bound(max_entry_size),
            ..self.limits()
        });
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
    ///
    /// # Errors
    /// That of `read`, or there is no memory for a copy of the value. The entry stays.
    pub fn get<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        read: impl FnOnce(Value<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let Limits {
            max_age, allow_stale, ..
        } = self.limits();
        let Some((value, stamp)) = self.storage.touch(key)? else {
            return Ok(None);
        };
        if !expired(stamp, max_age, now) {
            return read(value).map(Some);
        }
        let stale = allow_stale.then(|| read(value)).transpose()?;
        self.storage.remove(key)?;
        Ok(stale)
    }

    /// As [`Cache::get`], and leaves recency alone.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn peek<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        read: impl FnOnce(Value<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let Limits {
            max_age, allow_stale, ..
        } = self.limits();
        let Some((value, stamp)) = self.storage.peek(key)? else {
            return Ok(None);
        };
        if !expired(stamp, max_age, now) {
            return read(value).map(Some);
        }
        let stale = allow_stale.then(|| read(value)).transpose()?;
        self.storage.remove(key)?;
        Ok(stale)
    }

    /// Whether there is an entry that has not expired. Changes nothing.
    ///
    /// # Errors
    /// As [`Storage::stamp`].
    pub fn has(&self, key: &[u8], now: impl Clock) -> Result<bool> {
        let max_age = self.limits().max_age;
        let stamp = self.storage.stamp(key)?;
        Ok(stamp.is_some_and(|stamp| !expired(stamp, max_age, now)))
    }

    /// Stores an entry as the most recent one. `max_age` is its own age in milliseconds; without one (or with
    /// 0) it takes the cache's. Returns `false`, and leaves no entry under the key, when it can never fit.
    ///
    /// # Errors
    /// The storage has no memory for it; nothing has changed, and the value was declined.
    pub fn set(
        &mut self,
        key: &[u8],
        value: Value<'_>,
        max_age: Option<f64>,
        now: impl Clock,
    ) -> Result<bool> {
        let max_age = given(max_age).unwrap_or(self.limits().max_age);
        let stamp = Stamp {
            set_at: if max_age == 0.0 { 0.0 } else { now.now() },
            max_age,
        };
        self.store(key, value, stamp, now)
    }

    /// Stores an entry and evicts others to keep the limits. Every call of the rules that stores an entry comes here; a
    /// move between storages (`store.rs`) puts entries itself and then calls [`Cache::trim`]. Returns as [`Cache::set`].
    fn store(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp, now: impl Clock) -> Result<bool> {
        let limits = self.limits();
        let size = self.storage.entry_size(key, value);
        if limits.max < 1.0 || size > limits.max_size || size > limits.max_entry_size {
            self.refuse(key, value)?;
            return Ok(false);
        }
        let replaced = match self.storage.put(key, value, stamp) {
            Ok(replaced) => replaced,
            Err(error) => {
                self.storage.decline(value);
                return Err(error);
            }
        };
        if replaced && expired(stamp, limits.max_age, now) {
            // lru-cache 6 looks a replaced entry up again, and so drops one whose age is negative.
            self.storage.remove(key)?;
        }
        self.trim();
        Ok(true)
    }

    /// Lets go of an entry that can never fit, and of the one under its key.
    fn refuse(&mut self, key: &[u8], value: Value<'_>) -> Result<()> {
        // A JavaScript value that is set again may keep its slot: that is let go once. A slot takes no memory to
        // read, so an entry that cannot be read for want of memory has another value.
        let same = matches!(value, Value::Slot(_))
            && matches!(self.storage.peek(key), Ok(Some((old, _))) if old == value);
        if !same {
            self.storage.decline(value);
        }
        self.storage.remove(key).map(drop)
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// As [`Storage::remove`].
    pub fn del(&mut self, key: &[u8]) -> Result<()> {
        self.storage.remove(key).map(drop)
    }

    /// Adds `amount` to a number and returns the sum; a missing value, or one that is no number, counts as 0.
    /// A counter that can never fit is not kept, as in [`Cache::set`]: the next call begins at 0.
    ///
    /// The entry becomes the most recent and its age starts anew with the cache's. With a `max_age` of its
    /// own, that age starts when the counter is created, and later calls leave it running.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn incr(&mut self, key: &[u8], amount: f64, max_age: Option<f64>, now: impl Clock) -> Result<f64> {
        let limits = self.limits();
        let max_age = given(max_age);
        let window = match max_age {
            Some(_) => self.storage.stamp(key)?,
            None => None,
        };
        let over = window.is_some_and(|stamp| expired(stamp, limits.max_age, now));
        let current = self.get(key, now, |value| match value {
            Value::Number(number) => Ok(Some(number)),
            _ => Ok(None),
        })?;
        // A window that is over begins anew, even where stale entries are read once more.
        let current = current.flatten().filter(|_| !over);
        let sum = current.unwrap_or(0.0) + amount;
        match (window, current) {
            (Some(running), Some(_)) => {
                self.store(key, Value::Number(sum), running, now)?;
            }
            _ => {
                self.set(key, Value::Number(sum), max_age, now)?;
            }
        }
        Ok(sum)
    }

    /// Removes every entry.
    ///
    /// # Errors
    /// As [`Storage::remove`].
    pub fn reset(&mut self) -> Result<()> {
        self.storage.clear()
    }

    /// Removes every expired entry.
    pub fn prune(&mut self, now: impl Clock) {
        let max_age = self.limits().max_age;
        self.storage.retain_stamps(|stamp| !expired(stamp, max_age, now));
    }

    /// Every entry, most recent first, expired ones included.
    ///
    /// # Errors
    /// As [`Storage::visit`].
    pub fn visit(&self, visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        self.storage.visit(visit)
    }

    /// The keys of all entries, most recent first, expired ones included.
    ///
    /// # Errors
    /// As [`Storage::visit`].
    pub fn visit_keys(&self, visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.storage.visit_keys(visit)
    }

    /// Every entry that has not expired, most recent first, with the time at which it will: in milliseconds
    /// since the epoch, 0 for never.
    ///
    /// # Errors
    /// As [`Storage::visit`].
    pub fn dump(&self, now: impl Clock, mut visit: impl FnMut(Entry<'_>, f64) -> Result<()>) -> Result<()> {
        let max_age = self.limits().max_age;
        self.storage.visit(|entry| {
            if expired(entry.stamp, max_age, now) {
                return Ok(());
            }
            visit(entry, entry.stamp.set_at + entry.stamp.max_age)
        })
    }

    /// Replaces everything by what `dump` gave (most recent first): the order is restored and so are the ages
    /// that remain; what has expired meanwhile is left out.
    ///
    /// # Errors
    /// As [`Cache::set`]; what was loaded until then is there.
    pub fn load(&mut self, entries: &[DumpEntry<OwnedValue>], now: impl Clock) -> Result<()> {
        let mut entries = entries.iter().rev();
        let done = self.reset().and_then(|()| {
            entries.try_for_each(|DumpEntry { key, value, expires }| {
                let remaining = expires - now.now();
                let max_age = if non_nan(*expires) == 0.0 {
                    None
                } else if remaining > 0.0 {
                    Some(remaining)
                } else {
                    self.storage.decline(value.as_ref());
                    return Ok(());
                };
                self.set(key.as_bytes(), value.as_ref(), max_age, now).map(drop)
            })
        });
        entries.for_each(|entry| self.storage.decline(entry.value.as_ref()));
        done
    }

    /// Removes the least recent entry, expired or not, and reads it.
    ///
    /// # Errors
    /// That of `read`, or there is no memory for a copy of the entry: it stays. Or as [`Storage::remove`].
    pub fn pop<R>(&mut self, read: impl FnOnce(Entry<'_>) -> Result<R>) -> Result<Option<R>> {
        let popped = self.storage.least_recent()?.map(read).transpose()?;
        self.storage.remove_least_recent()?;
        Ok(popped)
    }

    /// Evicts what is over the bounds, the least recent entry first. What cannot be evicted for want of memory is
    /// left to the call that mends the storage.
    pub fn trim(&mut self) {
        let Limits { max, max_size, .. } = self.limits();
        while (self.storage.len() as f64 > max || self.storage.size() > max_size)
            && self.storage.remove_least_recent() == Ok(true)
        {}
    }
}

/// The one rule of age: see the head of this module.
fn expired(stamp: Stamp, cache_max_age: f64, now: impl Clock) -> bool {
    let max_age = if stamp.max_age == 0.0 {
        cache_max_age
    } else {
        stamp.max_age
    };
    max_age != 0.0 && now.now() - stamp.set_at > max_age
}

/// The age that a caller gave, unless it is one that means none: 0 or `NaN`.
fn given(max_age: Option<f64>) -> Option<f64> {
    max_age.filter(|age| non_nan(*age) != 0.0)
}

/// A bound that a caller gave; 0 and `NaN` mean none.
fn bound(given: f64) -> f64 {
    if given > 0.0 { given } else { f64::INFINITY }
}

fn non_nan(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number }
}

#[cfg(test)]
mod tests;
