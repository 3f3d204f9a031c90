//! The rules: ages, recency, limits, counters. They are written once, over any [`Storage`]. The caller gives the time:
//! `now`, in milliseconds since the epoch.
//!
//! Order and age are those of `lru-cache` 6, on which the 1.x API was built:
//! - An entry is expired when more time has passed since it was set than its own age. An entry without an age of its own
//!   has the cache's present age.
//! - An expired entry still counts, and keeps its place in the order, until a call removes it.
//! - An expired entry that is kept for `fetch` is a miss for every other call, and is removed by none until that time ends, too.
//! - `get` and `set` make an entry the most recent. No other call does, but for `incr`, which is made of both.
//!
//! The cache keeps its limits by evicting the least recent entries. An entry that would not fit in an empty cache is not
//! stored and evicts nothing. The old entry of the same key is removed then, so that no call reads a value that was to be
//! replaced.

use crate::{
    error::{Error, Result},
    extras::{Extras, Tags},
    key::Key,
    stats::{Event, Stats},
    storage::{Entry, Glimpse, Kept, Limits, Seen, Slice, Stamp, Storage},
    value::{OwnedValue, Value},
};

/// Gives the time. The cache reads it only where an entry has an age. A number is a clock that stands still.
pub trait Clock: Copy {
    /// The time, in milliseconds since the epoch.
    fn now(self) -> f64;
}

impl Clock for f64 {
    fn now(self) -> f64 {
        self
    }
}

/// A cache: the rules over a storage.
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
    /// See [`Cache::take_evicted`].
    evicted: u32,
    /// The count of invalidations when the last prune began.
    pruning: u64,
}

/// How an entry is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms<'a> {
    /// Its own age in milliseconds. Without one, or with 0, the entry gets the cache's age.
    pub max_age: Option<f64>,
    /// Whether the age of an entry that is there, and has not expired, runs on.
    pub keeps_age: bool,
    /// What the entry has besides its value. What an entry that is there has does not stay.
    pub extras: Extras<'a>,
    /// Whether the entry stays past its age, for `fetch`.
    pub kept: Kept,
}

/// An entry with the time at which it expires. `dump` returns a list of these, `load` takes one.
#[derive(Clone, Debug, PartialEq)]
pub struct DumpEntry<V> {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: V,
    /// When it expires, in milliseconds since the epoch; 0 for never.
    pub expires: f64,
}

/// How a read finds its entry.
#[derive(Clone, Copy)]
enum How {
    /// As [`Storage::touch`].
    Get,
    /// As [`Storage::peek`].
    Peek,
    /// As [`Storage::value`].
    Value,
}

impl<S: Storage> Cache<S> {
    /// A cache with the limits and the entries of its storage.
    pub fn new(storage: S) -> Self {
        Self {
            storage,
            evicted: 0,
            pruning: 0,
        }
    }

    /// The storage, for reading.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The storage, for what is no rule of the cache: its lock, a move to another storage, the time of a prune.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// As [`Cache::peek`] for an entry that has not expired, and without the lock. `None`: nothing was read, and whoever wants
    /// to know why takes the lock. Where the read counts as a use, JavaScript records that (`lib/near/ring.js`).
    ///
    /// # Errors
    /// That of `read`.
    pub fn read_unlocked<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        read: impl FnOnce(Value<'_>) -> Result<R>,
    ) -> Option<Result<(R, Remembered)>> {
        let Glimpse { value, seen, limits } = self.storage.glimpse(key)?;
        if expired(seen.stamp, limits.max_age, now) {
            return None;
        }
        Some(read(value).map(|read| (read, remembered(seen, limits.max_age))))
    }

    /// The entry that the last call found or stored, once; `None` where the storage has no versions.
    pub fn remembered(&self) -> Option<Remembered> {
        self.storage
            .seen()
            .map(|seen| remembered(seen, self.limits().max_age))
    }

    /// From here until the lock is given back all changes count as one: nobody sees one of them without the others.
    pub fn begin_steps(&mut self) {
        self.storage.begin_steps();
    }

    /// The number of entries, expired ones included.
    pub fn len(&self) -> usize {
        self.storage.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.storage.is_empty()
    }

    /// How many entries calls of this process have evicted since the last time.
    pub fn take_evicted(&mut self) -> u32 {
        std::mem::take(&mut self.evicted)
    }

    /// Its state, and what was counted.
    pub fn stats(&self) -> Stats {
        self.storage.stats()
    }

    /// Counts what `fetch` did: loaders that ran, callers that waited for another's, loaders that failed, microseconds.
    pub fn count_fetches(&mut self, loads: u64, followers: u64, errors: u64, time: u64) {
        self.storage.count(Event::Load, loads);
        self.storage.count(Event::Follower, followers);
        self.storage.count(Event::LoadError, errors);
        self.storage.count(Event::LoadTime, time);
    }

    /// The present limits.
    pub fn limits(&self) -> Limits {
        self.storage.limits()
    }

    /// Sets the greatest number of entries (0 or `NaN`: no limit), and evicts the entries beyond it.
    pub fn set_max(&mut self, max: f64) {
        self.storage.set_limits(Limits {
            max: limit(max),
            ..self.limits()
        });
        self.trim();
    }

    /// Sets the greatest number of bytes of all entries, as [`Storage::size`] counts them (0 or `NaN`: no limit), and
    /// evicts the entries beyond it.
    pub fn set_max_size(&mut self, max_size: f64) {
        self.storage.set_limits(Limits {
            max_size: limit(max_size),
            ..self.limits()
        });
        self.trim();
    }

    /// Sets the greatest number of bytes of one entry, as [`Storage::entry_size`] counts them (0 or `NaN`: no limit).
    /// Larger entries that are stored already stay.
    pub fn set_max_entry_size(&mut self, max_entry_size: f64) {
        self.storage.set_limits(Limits {
            max_entry_size: limit(max_entry_size),
            ..self.limits()
        });
    }

    /// Sets the age, in milliseconds, of entries that have no age of their own (0 or `NaN`: they never expire).
    pub fn set_max_age(&mut self, max_age: f64) {
        self.storage.set_limits(Limits {
            max_age: non_nan(max_age),
            ..self.limits()
        });
    }

    /// Sets whether the call that finds an expired entry, and removes it, returns its value.
    pub fn set_allow_stale(&mut self, allow_stale: bool) {
        self.storage.set_limits(Limits {
            allow_stale,
            ..self.limits()
        });
    }

    /// Passes an entry's value to `read` and makes the entry the most recent. An expired entry is removed; its value is
    /// read only where stale entries are allowed. `None` when nothing was read.
    ///
    /// # Errors
    /// The error of `read`, or `ERR_OUT_OF_MEMORY`: there is no memory for a copy of the value. The entry stays.
    pub fn get<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        read: impl FnOnce(Value<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let found = self.find(key, now, How::Get, read)?;
        self.storage.count(
            match &found {
                Found::Fresh(_) => Event::Hit,
                Found::Stale(_) => Event::StaleHit,
                Found::Nothing => Event::Miss,
            },
            1,
        );
        Ok(found.value())
    }

    /// As [`Cache::get`], but an expired entry is always a miss. Also gives when the entry was set and when it expires, both in
    /// milliseconds since the epoch; infinite for never.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn get_fresh<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        read: impl FnOnce(Value<'_>) -> Result<R>,
    ) -> Result<Option<(R, f64, f64)>> {
        let max_age = self.limits().max_age;
        let found = match self.storage.touch(key)? {
            Some((value, stamp)) if !expired(stamp, max_age, now) => {
                Some((read(value)?, stamp.set_at, expires_at(stamp, max_age)))
            }
            Some((_, stamp)) if is_kept(stamp, max_age, now) => None,
            Some(_) => {
                self.expire(key)?;
                None
            }
            None => None,
        };
        let event = if found.is_some() { Event::Hit } else { Event::Miss };
        self.storage.count(event, 1);
        Ok(found)
    }

    /// Counts a `get` of an entry whose value another process has to give, as the most recent.
    ///
    /// # Errors
    /// As [`Storage::touch`].
    pub fn get_elsewhere(&mut self, key: &[u8], now: impl Clock) -> Result<()> {
        self.storage.touch(key)?;
        if self.has(key, now)? {
            self.storage.count(Event::Hit, 1);
        }
        Ok(())
    }

    /// Reads an entry. One that has expired is removed.
    #[inline(always)]
    fn find<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        how: How,
        read: impl FnOnce(Value<'_>) -> Result<R>,
    ) -> Result<Found<R>> {
        let Limits {
            max_age, allow_stale, ..
        } = self.limits();
        let found = match how {
            How::Get => self.storage.touch(key),
            How::Peek => self.storage.peek(key),
            How::Value => self.storage.value(key),
        };
        let Some((value, stamp)) = found? else {
            return Ok(Found::Nothing);
        };
        if !expired(stamp, max_age, now) {
            return read(value).map(Found::Fresh);
        }
        if is_kept(stamp, max_age, now) {
            return Ok(Found::Nothing);
        }
        let stale = (allow_stale && !is_invalid(stamp))
            .then(|| read(value))
            .transpose()?;
        self.expire(key)?;
        Ok(stale.map_or(Found::Nothing, Found::Stale))
    }

    /// Removes an entry that has expired.
    fn expire(&mut self, key: &[u8]) -> Result<()> {
        if self.storage.remove(key)? {
            self.storage.count(Event::Expiration, 1);
        }
        Ok(())
    }

    /// As [`Cache::get`], but does not change the order of recency, and is counted as neither hit nor miss.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn peek<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        read: impl FnOnce(Value<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        Ok(self.find(key, now, How::Peek, read)?.value())
    }

    /// Whether the key has an entry that has not expired. Changes nothing.
    ///
    /// # Errors
    /// As [`Storage::stamp`].
    pub fn has(&self, key: &[u8], now: impl Clock) -> Result<bool> {
        let max_age = self.limits().max_age;
        let stamp = self.storage.stamp(key)?;
        Ok(stamp.is_some_and(|stamp| !expired(stamp, max_age, now)))
    }

    /// Stores an entry as the most recent one. `max_age` is its own age in milliseconds. Without one, or with 0, the entry
    /// gets the cache's age. Returns `false`, and leaves the key without an entry, when the entry can never fit.
    ///
    /// # Errors
    /// The storage has no memory for the entry. Nothing has changed, and the value was declined.
    pub fn set(
        &mut self,
        key: &[u8],
        value: Value<'_>,
        max_age: Option<f64>,
        now: impl Clock,
    ) -> Result<bool> {
        let stamp = self.fresh(max_age, now);
        self.store(key, value, stamp, Extras::NONE, now)
    }

    /// As [`Cache::set`], on these terms.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn set_on(
        &mut self,
        key: &[u8],
        value: Value<'_>,
        terms: &Terms<'_>,
        now: impl Clock,
    ) -> Result<bool> {
        let running = match terms.keeps_age {
            true => self.running(key, now),
            false => Ok(None),
        };
        match running {
            Ok(running) => {
                let stamp = running.unwrap_or_else(|| self.fresh(terms.max_age, now));
                self.store_kept(key, value, stamp, terms.extras, terms.kept, now)
            }
            Err(error) => {
                self.storage.decline(value);
                Err(error)
            }
        }
    }

    /// The stamp of an entry that is stored now.
    fn fresh(&self, max_age: Option<f64>, now: impl Clock) -> Stamp {
        let max_age = given(max_age).unwrap_or(self.limits().max_age);
        Stamp {
            set_at: if max_age == 0.0 { 0.0 } else { now.now() },
            max_age,
        }
    }

    /// Stores the text of an error for [`Cache::kept`], for `time` milliseconds. Every other call takes it for a miss.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn set_error(&mut self, key: &[u8], text: Value<'_>, time: f64, now: impl Clock) -> Result<bool> {
        // It expires before any time that a clock gives.
        let stamp = Stamp {
            set_at: now.now() + time,
            max_age: -f64::from(u32::MAX) - time,
        };
        self.store_kept(key, text, stamp, Extras::NONE, Kept::Error, now)
    }

    /// Passes the value of an entry that is kept past its age to `read`, with when it was set and when it expired; whether it is an
    /// error. Changes nothing.
    ///
    /// # Errors
    /// The error of `read`, or that of [`Storage::peek`].
    pub fn kept<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        read: impl FnOnce(Value<'_>, Past) -> Result<R>,
    ) -> Result<Option<(R, Past)>> {
        self.past(key, now, |is_expired, _| is_expired, read)
    }

    /// As [`Cache::kept`], of an entry that has not expired, too, and of no error.
    ///
    /// # Errors
    /// As [`Cache::kept`].
    pub fn latest<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        read: impl FnOnce(Value<'_>, Past) -> Result<R>,
    ) -> Result<Option<(R, Past)>> {
        self.past(key, now, |_, is_error| !is_error, read)
    }

    /// `is_wanted` is given whether an entry has expired, and whether it is an error.
    fn past<R>(
        &mut self,
        key: &[u8],
        now: impl Clock,
        is_wanted: impl FnOnce(bool, bool) -> bool,
        read: impl FnOnce(Value<'_>, Past) -> Result<R>,
    ) -> Result<Option<(R, Past)>> {
        let max_age = self.limits().max_age;
        let Some((value, stamp)) = self.storage.peek(key)? else {
            return Ok(None);
        };
        let is_expired = expired(stamp, max_age, now);
        let is_error = stamp.kept() == Kept::Error;
        if (is_expired && !is_kept(stamp, max_age, now)) || !is_wanted(is_expired, is_error) {
            return Ok(None);
        }
        let past = Past {
            set_at: stamp.set_at,
            expires: expires_at(stamp, max_age),
            is_error,
        };
        Ok(Some((read(value, past)?, past)))
    }

    /// The stamp of an entry that has not expired.
    fn running(&self, key: &[u8], now: impl Clock) -> Result<Option<Stamp>> {
        let max_age = self.limits().max_age;
        let stamp = self.storage.stamp(key)?;
        Ok(stamp.filter(|stamp| !expired(*stamp, max_age, now)))
    }

    /// As [`Cache::get`], with what else is known of the entry. An expired entry, which is removed, has the version 0.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub fn get_entry(
        &mut self,
        key: &[u8],
        now: impl Clock,
        read: impl FnOnce(Value<'_>) -> Result<()>,
    ) -> Result<Option<Facts>> {
        let Some(stamp) = self.storage.stamp(key)? else {
            return Ok(None);
        };
        let max_age = self.limits().max_age;
        let is_over = expired(stamp, max_age, now);
        let facts = Facts {
            version: if is_over { 0.0 } else { self.version(key)? },
            set_at: stamp.set_at,
            expires: expires_at(stamp, max_age),
        };
        Ok(self.get(key, now, read)?.map(|()| facts))
    }

    /// Passes each tag of an entry that is there to `read`.
    ///
    /// # Errors
    /// That of `read`, and as [`Storage::extras`].
    pub fn tags(&self, key: &[u8], read: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.storage.extras(key)?.tags.iter().try_for_each(read)
    }

    /// The version of an entry that is there.
    fn version(&mut self, key: &[u8]) -> Result<f64> {
        self.storage.begin_versions();
        self.storage.peek(key)?;
        let seen = self.storage.seen().filter(|seen| seen.version != 0.0);
        seen.map(|seen| seen.version).ok_or_else(Error::out_of_memory)
    }

    /// Whether the entry of a key has a version that [`Cache::get_entry`] gave. 0: whether there is none, or an expired one.
    ///
    /// # Errors
    /// As [`Storage::peek`].
    pub fn has_version(&mut self, key: &[u8], version: f64, now: impl Clock) -> Result<bool> {
        Ok(match self.running(key, now)? {
            Some(_) => self.version(key)? == version,
            None => version == 0.0,
        })
    }

    /// Stores an entry and evicts others to keep the limits. All calls of this module that store an entry call this
    /// function. A move between storages (`migrate.rs`) puts entries itself and then calls [`Cache::trim`]. Returns what
    /// [`Cache::set`] returns.
    fn store(
        &mut self,
        key: &[u8],
        value: Value<'_>,
        stamp: Stamp,
        extras: Extras<'_>,
        now: impl Clock,
    ) -> Result<bool> {
        self.store_kept(key, value, stamp, extras, Kept::No, now)
    }

    /// As `store`, of an entry that is kept past its age.
    fn store_kept(
        &mut self,
        key: &[u8],
        value: Value<'_>,
        stamp: Stamp,
        extras: Extras<'_>,
        kept: Kept,
        now: impl Clock,
    ) -> Result<bool> {
        let stamp = stamp.keeping(kept);
        self.void(key);
        let limits = self.limits();
        let size = self.storage.entry_size(key, value, extras);
        if !fits(&limits, size) {
            self.refuse(key, value)?;
            return Ok(false);
        }
        if self.storage.len() as f64 >= limits.max || self.storage.size() + size > limits.max_size {
            self.storage.begin_steps();
        }
        let replaced = match self.storage.put_with(key, value, stamp, extras) {
            Ok(replaced) => replaced,
            Err(error) => {
                self.storage.decline(value);
                return Err(error);
            }
        };
        self.storage.count(Event::Set, 1);
        if replaced && expired(stamp, limits.max_age, now) && !is_kept(stamp, limits.max_age, now) {
            // lru-cache 6 reads an entry that it has replaced, and so removes one with a negative age.
            self.expire(key)?;
        }
        if !extras.is_none() {
            self.sweep(0);
        }
        self.trim();
        Ok(true)
    }

    /// Whether an entry can ever fit.
    pub(crate) fn fits(&self, key: &[u8], value: Value<'_>, extras: Extras<'_>) -> bool {
        fits(&self.limits(), self.storage.entry_size(key, value, extras))
    }

    /// Declines a value that can never fit (its slot is freed), and removes the entry of its key.
    fn refuse(&mut self, key: &[u8], value: Value<'_>) -> Result<()> {
        // A JavaScript value that is set again under the same key may have the slot that it has in the entry. Then the
        // slot must be freed once, by the removal. A slot is read without memory, so an entry that cannot be read for
        // lack of memory has another value.
        let same = matches!(value, Value::Slot(_))
            && matches!(self.storage.peek(key), Ok(Some((old, _))) if old == value);
        if !same {
            self.storage.decline(value);
        }
        self.del(key)
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// As [`Storage::remove`].
    pub fn del(&mut self, key: &[u8]) -> Result<()> {
        self.void(key);
        if self.storage.remove(key)? {
            self.storage.count(Event::Delete, 1);
        }
        Ok(())
    }

    /// As [`Cache::del`]. Returns whether there was an entry that had not expired.
    ///
    /// # Errors
    /// As [`Cache::del`].
    pub fn delete(&mut self, key: &[u8], now: impl Clock) -> Result<bool> {
        let is_there = self.has(key, now)?;
        self.del(key)?;
        Ok(is_there)
    }

    /// Adds `amount` to a number and returns the sum. A missing value, and one that is no number, counts as 0. As in
    /// [`Cache::set`], a counter that can never fit is not stored; the next call begins at 0.
    ///
    /// The entry becomes the most recent. Without `max_age` it gets the cache's age, which starts anew with each call. With
    /// `max_age` the age starts when the counter is created, and later calls do not change it.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn incr(&mut self, key: &[u8], amount: f64, max_age: Option<f64>, now: impl Clock) -> Result<f64> {
        self.incr_on(
            key,
            amount,
            &Terms {
                max_age,
                ..Terms::default()
            },
            now,
        )
    }

    /// As [`Cache::incr`], on these terms.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn incr_on(&mut self, key: &[u8], amount: f64, terms: &Terms<'_>, now: impl Clock) -> Result<f64> {
        let limits = self.limits();
        let keeps_age = terms.keeps_age || given(terms.max_age).is_some();
        let window = if keeps_age { self.storage.stamp(key)? } else { None };
        let over = window.is_some_and(|stamp| expired(stamp, limits.max_age, now));
        // To store the sum makes the entry the most recent.
        let current = self.find(key, now, How::Value, |value| match value {
            Value::Number(number) => Ok(Some(number)),
            _ => Ok(None),
        })?;
        // A counter whose time is over begins at 0, even where its stale value was read.
        let current = current.value().flatten().filter(|_| !over);
        let sum = current.unwrap_or(0.0) + amount;
        match (window, current) {
            (Some(running), Some(_)) => {
                self.store(key, Value::Number(sum), running, terms.extras, now)?;
            }
            _ => {
                let stamp = self.fresh(terms.max_age, now);
                self.store(key, Value::Number(sum), stamp, terms.extras, now)?;
            }
        }
        Ok(sum)
    }

    /// Counts in a fixed window of time. Without a running window this call begins one of `window` milliseconds, in which the
    /// count begins at 0; with `if_present` it does not, and the count does not go below 0. A running window is an entry with an age
    /// that has not expired and whose value is a finite number. The entry becomes the most recent. `over` is a limit, and what
    /// becomes of the window where the count is above the limit.
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub fn hit(
        &mut self,
        key: &[u8],
        window: f64,
        amount: f64,
        if_present: bool,
        over: Option<(f64, WhenOver)>,
        now: impl Clock,
    ) -> Result<Hit> {
        let now = now.now();
        let running = match self.storage.value(key)? {
            Some((Value::Number(count), stamp)) => Some((count, stamp)),
            _ => None,
        };
        let max_age = self.limits().max_age;
        let running = running.filter(|(count, stamp)| {
            count.is_finite() && stamp.max_age != 0.0 && !expired(*stamp, max_age, now)
        });
        if running.is_none() && if_present {
            return Ok(Hit {
                count: 0.0,
                reset_in: 0.0,
                first: false,
            });
        }
        let fresh = Stamp {
            set_at: now,
            max_age: window,
        };
        let (before, stamp) = running.unwrap_or((0.0, fresh));
        let sum = before + amount;
        let count = if if_present { sum.max(0.0) } else { sum };
        let anew = over.and_then(|(limit, when_over)| when_over.window(window, limit, before, count));
        let stamp = anew.map_or(stamp, |max_age| Stamp { set_at: now, max_age });
        self.store(key, Value::Number(count), stamp, Extras::NONE, now)?;
        Ok(Hit {
            count,
            reset_in: left(stamp, max_age, now),
            first: running.is_none(),
        })
    }

    /// Begins the age of an entry anew, with the age it has or with `max_age`, and makes the entry the most recent. Returns
    /// whether there is one that has not expired. With `keeps_age` its age runs on.
    ///
    /// # Errors
    /// As [`Storage::touch`] and [`Storage::restamp`].
    pub fn renew(
        &mut self,
        key: &[u8],
        max_age: Option<f64>,
        keeps_age: bool,
        now: impl Clock,
    ) -> Result<bool> {
        let Some(old) = self.running(key, now)? else {
            return Ok(false);
        };
        if keeps_age {
            return Ok(self.storage.touch(key)?.is_some());
        }
        let kept = old.kept();
        let max_age = given(max_age).unwrap_or(old.max_age);
        let stamp = Stamp {
            set_at: if max_age == 0.0 { 0.0 } else { now.now() },
            max_age,
        };
        let stamp = stamp.keeping(kept);
        let is_there = self.storage.restamp(key, stamp)?;
        if expired(stamp, self.limits().max_age, now) {
            // A negative age, as in `store`.
            self.storage.remove(key)?;
        }
        Ok(is_there)
    }

    /// What is left of the age of an entry, in milliseconds: infinite without an age, 0 where there is no entry or the entry has
    /// expired. Changes nothing.
    ///
    /// # Errors
    /// As [`Storage::stamp`].
    pub fn remaining(&self, key: &[u8], now: impl Clock) -> Result<f64> {
        let max_age = self.limits().max_age;
        let stamp = self.storage.stamp(key)?;
        Ok(stamp.map_or(0.0, |stamp| left(stamp, max_age, now)))
    }

    /// Removes all entries.
    ///
    /// # Errors
    /// As [`Storage::remove`].
    pub fn reset(&mut self) -> Result<()> {
        self.void_all();
        self.removing(Event::Delete, S::clear)
    }

    /// Removes entries, and counts those that are gone.
    fn removing<R>(&mut self, event: Event, remove: impl FnOnce(&mut S) -> R) -> R {
        let before = self.len();
        let removed = remove(&mut self.storage);
        let gone = before.saturating_sub(self.len());
        self.storage.count(event, gone as u64);
        removed
    }

    /// Removes all expired entries. Returns whether there were any.
    pub fn prune(&mut self, now: impl Clock) -> bool {
        let before = self.len();
        let mut from = Some(0);
        while let Some(at) = from {
            from = self.prune_part(at, now);
        }
        self.len() < before
    }

    /// As [`Cache::prune`], for a part of the entries: begins with `from`, 0 at first, and returns what to go on with; `None`
    /// where that was all.
    pub fn prune_part(&mut self, from: u32, now: impl Clock) -> Option<u32> {
        let max_age = self.limits().max_age;
        if from == 0 {
            self.pruning = self.storage.invalidations();
        }
        let rest = self.removing(Event::Expiration, |storage| {
            storage.retain_part(from, |stamp| {
                !expired(stamp, max_age, now) || is_kept(stamp, max_age, now)
            })
        });
        if rest.is_none() {
            self.storage.swept(self.pruning);
        }
        rest
    }

    /// Ends every entry that has one of these tags, in a time that does not depend on the number of entries. The memory of these
    /// entries is given back later, as by [`Cache::prune`].
    pub fn invalidate(&mut self, tags: Tags<'_>) {
        self.storage.invalidate(tags);
        self.sweep(tags.iter().count());
    }

    /// Removes some of the entries whose tags were invalidated; see [`Storage::sweep`].
    fn sweep(&mut self, tags: usize) {
        self.removing(Event::Expiration, |storage| {
            storage.sweep(tags, |stamp| !is_invalid(stamp));
        });
    }

    /// Passes all entries to `visit`, most recent first, expired entries included, but none whose tags were invalidated.
    ///
    /// # Errors
    /// As [`Storage::visit`].
    pub fn visit(&self, mut visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        self.storage.visit(|entry| match is_invalid(entry.stamp) {
            true => Ok(()),
            false => visit(entry),
        })
    }

    /// As [`Cache::visit`], with the keys alone.
    ///
    /// # Errors
    /// As [`Storage::visit`].
    pub fn visit_keys(&self, mut visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.storage.visit_keys(|key, stamp| match is_invalid(stamp) {
            true => Ok(()),
            false => visit(key),
        })
    }

    /// Passes all entries that have not expired to `visit`, most recent first, each with the time at which it expires: in
    /// milliseconds since the epoch, 0 for never.
    ///
    /// # Errors
    /// As [`Storage::visit`].
    pub fn dump(&self, now: impl Clock, mut visit: impl FnMut(Entry<'_>, f64) -> Result<()>) -> Result<()> {
        let max_age = self.limits().max_age;
        self.storage
            .visit(|entry| match expires(entry.stamp, max_age, now) {
                Some(expires) => visit(entry, expires),
                None => Ok(()),
            })
    }

    /// Passes some entries that have not expired to `visit`, from where `cursor` says, and returns where to go on; `None` at the
    /// end. Between the parts of a scan others may change the cache: no key is left out that is there from the beginning to the
    /// end, and one may come twice. Where the entries lie in another storage by then, the scan begins anew.
    ///
    /// # Errors
    /// As [`Storage::visit`].
    pub fn scan(
        &mut self,
        cursor: Option<Cursor>,
        slice: Slice<'_>,
        now: impl Clock,
        mut visit: impl FnMut(Entry<'_>) -> Result<()>,
    ) -> Result<Option<Cursor>> {
        let max_age = self.limits().max_age;
        let order = self.storage.scan_order();
        let from = cursor.filter(|cursor| cursor.order == order);
        let next = self
            .storage
            .scan(from.map_or(0, |cursor| cursor.at), slice, |entry| {
                let is_given = !expired(entry.stamp, max_age, now);
                if is_given {
                    visit(entry)?;
                }
                Ok(is_given)
            })?;
        Ok(next.map(|at| Cursor { order, at }))
    }

    /// Replaces all entries by those of a `dump` (most recent first), in the same order and with the ages that remain.
    /// Entries that have expired meanwhile are left out.
    ///
    /// # Errors
    /// As [`Cache::set`]. The entries that were stored before the error stay.
    pub fn load(&mut self, entries: &[DumpEntry<OwnedValue>], now: impl Clock) -> Result<()> {
        let mut entries = entries.iter().rev();
        let done = self.reset().and_then(|()| {
            entries.try_for_each(|DumpEntry { key, value, expires }| {
                let max_age = given(Some(*expires)).map(|expires| expires - now.now());
                if max_age.is_some_and(|left| is_over(left, now)) {
                    self.storage.decline(value.as_ref());
                    return Ok(());
                }
                self.set(key.as_bytes(), value.as_ref(), max_age, now).map(drop)
            })
        });
        entries.for_each(|entry| self.storage.decline(entry.value.as_ref()));
        done
    }

    /// Removes entries whose tags were invalidated from the end of the order of recency, `most` at most. Returns whether it
    /// stopped there.
    ///
    /// # Errors
    /// As [`Storage::least_recent`] and [`Storage::remove`].
    pub fn drop_invalid(&mut self, most: usize) -> Result<bool> {
        for _ in 0..most {
            let least_recent = self.storage.least_recent()?;
            if !least_recent.is_some_and(|entry| is_invalid(entry.stamp))
                || !self.storage.remove_least_recent()?
            {
                return Ok(false);
            }
            self.storage.count(Event::Expiration, 1);
        }
        Ok(true)
    }

    /// Passes the least recent entry, expired or not, to `read`, and removes it. Entries before it whose tags were invalidated
    /// are removed, too.
    ///
    /// # Errors
    /// The error of `read`, or `ERR_OUT_OF_MEMORY`: there is no memory for a copy of the entry. The entry stays. Or as
    /// [`Storage::remove`].
    pub fn pop<R>(&mut self, read: impl FnOnce(Entry<'_>) -> Result<R>) -> Result<Option<R>> {
        self.drop_invalid(usize::MAX)?;
        let popped = self.storage.least_recent()?.map(read).transpose()?;
        if self.storage.remove_least_recent()? {
            self.storage.count(Event::Delete, 1);
        }
        Ok(popped)
    }

    /// Evicts the least recent entries until the limits are kept. Where damage of the storage cannot be repaired for lack
    /// of memory, entries beyond the limits stay; the call that repairs the storage trims it again.
    pub fn trim(&mut self) {
        let Limits { max, max_size, .. } = self.limits();
        while (self.storage.len() as f64 > max || self.storage.size() > max_size)
            && self.storage.remove_least_recent() == Ok(true)
        {
            self.storage.count(Event::Eviction, 1);
            self.evicted = self.evicted.wrapping_add(1);
        }
    }
}

/// Where [`Cache::scan`] goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cursor {
    /// See [`Storage::scan_order`].
    order: [u64; 2],
    /// The place in this order.
    at: u32,
}

impl Cursor {
    /// The length of its text: 16, 16 and 8 hexadecimal digits.
    const LENGTH: usize = 40;

    /// The cursor that has this text; `None` where there is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if text.len() != Self::LENGTH || !text.iter().all(is_digit) {
            return None;
        }
        let text = str::from_utf8(text).ok()?;
        let number = |from: usize| u64::from_str_radix(&text[from..from + 16], 16).ok();
        let at = u32::from_str_radix(&text[32..], 16).ok()?;
        Some(Self {
            order: [number(0)?, number(16)?],
            at,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { order: [a, b], at } = self;
        write!(f, "{a:016x}{b:016x}{at:08x}")
    }
}

/// What a read found.
enum Found<R> {
    /// An entry that has not expired.
    Fresh(R),
    /// The value of an entry that had.
    Stale(R),
    Nothing,
}

impl<R> Found<R> {
    fn value(self) -> Option<R> {
        match self {
            Self::Fresh(value) | Self::Stale(value) => Some(value),
            Self::Nothing => None,
        }
    }
}

/// What [`Cache::hit`] gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The count, this call's included.
    pub count: f64,
    /// How long the window goes on, in milliseconds; 0 where there is none.
    pub reset_in: f64,
    /// Whether this call began the window.
    pub first: bool,
}

/// What becomes of the window of [`Cache::hit`] where the count is above the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WhenOver {
    /// It begins anew.
    Restart,
    /// It begins anew; from the second unit above the limit on, each doubles its length.
    Double,
    /// The hit that goes above the limit makes it end after this many milliseconds. Later hits leave it alone.
    Time(f64),
}

impl WhenOver {
    /// The longest window that [`WhenOver::Double`] makes, in milliseconds: JavaScript counts exactly up to here, and a stamp keeps it.
    const LONGEST: f64 = 9_007_199_254_740_736.0;

    /// The length of the window that begins now; `None` where the present one goes on.
    fn window(self, window: f64, limit: f64, before: f64, count: f64) -> Option<f64> {
        let above = count - limit;
        match self {
            _ if above.is_nan() || above <= 0.0 => None,
            Self::Restart => Some(window),
            Self::Double if window == f64::INFINITY => Some(window),
            Self::Double => Some(
                (window * (above.ceil() - 1.0).exp2())
                    .min(Self::LONGEST)
                    .max(window),
            ),
            Self::Time(time) => (before <= limit).then_some(time),
        }
    }
}

/// What is known of an entry beside its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Tells the entry, as it is now, from every other that there was or will be. Not 0, but for an expired one.
    pub version: f64,
    /// When it was set, in milliseconds since the epoch; 0 where no age applied at that time.
    pub set_at: f64,
    /// When it expires, in milliseconds since the epoch; infinite for never.
    pub expires: f64,
}

/// What is known of an entry that is kept past its age, or is read with a fresh claim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// When it was set, in milliseconds since the epoch.
    pub set_at: f64,
    /// When it expired, or will, in milliseconds since the epoch; infinite for never.
    pub expires: f64,
    /// Whether its value is the text of an error.
    pub is_error: bool,
}

/// An entry that a call has just found or stored, for a process that keeps a copy of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Remembered {
    /// Where it lies.
    pub row: u32,
    /// Tells it from every other entry; 0 for none.
    pub version: f64,
    /// The last moment at which it has not expired, in milliseconds since the epoch; infinite for never.
    pub fresh_until: f64,
    /// When it was set, in milliseconds since the epoch; 0 where no age applied at that time.
    pub set_at: f64,
    /// As [`Seen::tags`]: the entry is as it was while the word in the memory is this one, too.
    pub tags: Option<u32>,
}

fn remembered(seen: Seen, cache_max_age: f64) -> Remembered {
    Remembered {
        row: seen.row,
        version: seen.version,
        fresh_until: fresh_until(seen.stamp, cache_max_age),
        set_at: seen.stamp.set_at,
        tags: seen.tags,
    }
}

/// The last moment at which [`expired`] does not hold, in milliseconds since the epoch; infinite for never.
fn fresh_until(stamp: Stamp, cache_max_age: f64) -> f64 {
    match age_of(stamp, cache_max_age) {
        0.0 => f64::INFINITY,
        max_age => {
            let until = stamp.set_at + max_age;
            // The sum may be rounded up. Clocks have whole milliseconds.
            if until - stamp.set_at > max_age {
                until.floor() - 1.0
            } else {
                until
            }
        }
    }
}

/// The age of an entry in milliseconds: its own, or else the cache's; 0 for none.
fn age_of(stamp: Stamp, cache_max_age: f64) -> f64 {
    if stamp.max_age == 0.0 {
        cache_max_age
    } else {
        stamp.age()
    }
}

/// When an entry expires, in milliseconds since the epoch; infinite for never.
fn expires_at(stamp: Stamp, cache_max_age: f64) -> f64 {
    match age_of(stamp, cache_max_age) {
        0.0 => f64::INFINITY,
        age => stamp.set_at + age,
    }
}

/// What is left of the age of an entry, in milliseconds: infinite without an age, never below 0.
fn left(stamp: Stamp, cache_max_age: f64, now: impl Clock) -> f64 {
    match age_of(stamp, cache_max_age) {
        0.0 => f64::INFINITY,
        // As `expired` has it, which rounds least.
        max_age => (max_age - (now.now() - stamp.set_at)).max(0.0),
    }
}

/// When an entry expires that has not expired yet, in milliseconds since the epoch; 0 for never. `None`: it has expired.
pub fn expires(stamp: Stamp, max_age: f64, now: impl Clock) -> Option<f64> {
    (!expired(stamp, max_age, now)).then_some(stamp.set_at + stamp.age())
}

/// Whether an entry is expired: more time than its age has passed since it was set. Only this function decides this.
fn expired(stamp: Stamp, cache_max_age: f64, now: impl Clock) -> bool {
    let max_age = age_of(stamp, cache_max_age);
    max_age != 0.0 && now.now() - stamp.set_at > max_age
}

/// Whether one of the tags of an entry was invalidated after the entry was stored. Such an entry is expired whatever its age,
/// and is never given: not as a stale one, and not by calls that give expired entries.
pub fn is_invalid(stamp: Stamp) -> bool {
    stamp == Stamp::INVALID
}

/// Whether an entry that has expired stays for `fetch`. Only this function decides this.
#[cold]
fn is_kept(stamp: Stamp, cache_max_age: f64, now: impl Clock) -> bool {
    let past = now.now() - stamp.set_at;
    match stamp.kept() {
        Kept::No => false,
        Kept::For(time) => past - age_of(stamp, cache_max_age) <= time,
        Kept::Error => past <= 0.0,
    }
}

/// Whether nothing is left of the age of an entry that is to be loaded: it would have expired, or has no time left. An
/// entry in a cache lives on through the millisecond in which its age ends, but an age of 0 means none: `load` of
/// lru-cache leaves such an entry out.
fn is_over(left: f64, now: impl Clock) -> bool {
    let stamp = Stamp {
        set_at: now.now(),
        max_age: left,
    };
    left == 0.0 || expired(stamp, left, now)
}

/// Whether an entry of this size can ever fit.
fn fits(limits: &Limits, size: f64) -> bool {
    limits.max >= 1.0 && size <= limits.max_size && size <= limits.max_entry_size
}

/// The age that a caller gave; `None` for 0 and `NaN`, which mean none.
fn given(max_age: Option<f64>) -> Option<f64> {
    max_age.filter(|age| non_nan(*age) != 0.0)
}

/// The limit that a caller gave; infinite for 0 and `NaN`, which mean none.
fn limit(given: f64) -> f64 {
    if given > 0.0 { given } else { f64::INFINITY }
}

fn non_nan(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number }
}

#[cfg(test)]
mod tests;
