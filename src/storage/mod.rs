//! Where entries lie. A [`Storage`] knows keys, values, stamps and recency. What ages and limits mean is decided in
//! [`crate::cache`] alone.

pub mod heap;
pub mod shared;

use std::{
    cell::Cell,
    fmt,
    ptr::NonNull,
    time::{Duration, Instant},
};

use crate::{
    error::Result,
    extras::{Extras, Tags},
    key::Prefix,
    lease::Leases,
    stats::{Counts, Event, Stats},
    value::Value,
};

/// When an entry was set and how long it may live, in milliseconds. Interpreted by [`crate::cache`] only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamp {
    /// Milliseconds since the epoch, or 0 when no age applied at that time.
    pub set_at: f64,
    /// The entry's own age in milliseconds, or 0 for none. Its last 8 bits say how it is [`Kept`].
    pub max_age: f64,
}

/// Whether an entry stays past its age, for `fetch` alone.
///
/// It is written into the last 8 bits of [`Stamp::max_age`], which are 0 in every whole number of milliseconds below 2^45: an
/// age changes by less than a part in 10^13. So it needs no room in an entry, and goes wherever the stamp goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Kept {
    /// It does not.
    #[default]
    No,
    /// For so many milliseconds.
    For(f64),
    /// The value is the text of an error. Its entry has expired from the beginning, and stays until `set_at`.
    Error,
}

impl Kept {
    const BITS: u64 = 0xFF;
    const ERROR: u64 = 0x80;
    /// For ever.
    const FOREVER: u64 = 0x7F;
    /// A time of 2^(n / STEPS) milliseconds is the number n.
    const STEPS: f64 = 4.0;

    fn bits(self) -> u64 {
        match self {
            Self::No => 0,
            Self::Error => Self::ERROR,
            Self::For(time) if time > 0.0 => {
                // A cast never leaves the range.
                let step = (time.log2() * Self::STEPS).ceil().max(1.0) as u64;
                step.min(Self::FOREVER)
            }
            Self::For(_) => 0,
        }
    }

    fn of(bits: u64) -> Self {
        match bits & Self::BITS {
            0 => Self::No,
            bits if bits & Self::ERROR != 0 => Self::Error,
            Self::FOREVER => Self::For(f64::INFINITY),
            step => Self::For((step as f64 / Self::STEPS).exp2()),
        }
    }
}

impl Stamp {
    /// What a storage gives as the stamp of an entry one of whose tags was invalidated after the entry was stored.
    pub const INVALID: Self = Self {
        set_at: f64::NEG_INFINITY,
        max_age: -1.0,
    };

    /// The entry's own age in milliseconds, or 0 for none.
    #[inline(always)]
    pub fn age(self) -> f64 {
        f64::from_bits(self.max_age.to_bits() & !Kept::BITS)
    }

    /// How an entry with this stamp is kept past its age. A time is rounded up, by a fifth at most.
    pub fn kept(self) -> Kept {
        if self.max_age.is_finite() {
            Kept::of(self.max_age.to_bits())
        } else {
            Kept::No
        }
    }

    /// This stamp, of an entry that is kept so. One without an age of its own, or with one that never ends, is not.
    pub fn keeping(self, kept: Kept) -> Self {
        if self.max_age == 0.0 || !self.max_age.is_finite() {
            return self;
        }
        let max_age = f64::from_bits(self.age().to_bits() | kept.bits());
        Self { max_age, ..self }
    }
}

/// The limits and settings of a cache. They lie in the storage, so all processes that share the storage share them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The greatest number of entries; infinite for no limit.
    pub max: f64,
    /// The greatest number of bytes of all entries, as [`Storage::size`] counts them; infinite for no limit.
    pub max_size: f64,
    /// The greatest number of bytes of one entry, as [`Storage::entry_size`] counts them; infinite for no limit.
    pub max_entry_size: f64,
    /// The age in milliseconds of entries that have no age of their own; 0: they never expire.
    pub max_age: f64,
    /// Whether the call that finds an expired entry, and removes it, returns its value.
    pub allow_stale: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max: f64::INFINITY,
            max_size: f64::INFINITY,
            max_entry_size: f64::INFINITY,
            max_age: 0.0,
            allow_stale: false,
        }
    }
}

impl Limits {
    /// These limits, with those of another cache where there is none here.
    pub fn or(self, others: Self) -> Self {
        let none = Self::default();
        let or = |own: f64, none: f64, other: f64| if own == none { other } else { own };
        Self {
            max: or(self.max, none.max, others.max),
            max_size: or(self.max_size, none.max_size, others.max_size),
            max_entry_size: or(self.max_entry_size, none.max_entry_size, others.max_entry_size),
            max_age: or(self.max_age, none.max_age, others.max_age),
            allow_stale: self.allow_stale || others.allow_stale,
        }
    }
}

/// One entry as it lies in a storage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry<'a> {
    /// The bytes of its [`crate::key::Key`].
    pub key: &'a [u8],
    /// Its value.
    pub value: Value<'a>,
    /// When it was set and for how long.
    pub stamp: Stamp,
    /// What else it has.
    pub extras: Extras<'a>,
}

/// An entry that a storage has found or stored, as a process may remember it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Where it lies.
    pub row: u32,
    /// Tells it from every other entry there was or will be. 0 where there is none.
    pub version: f64,
    /// When it was set and for how long.
    pub stamp: Stamp,
    /// Where it has tags, the word of the memory that JavaScript reads which changes with each invalidation.
    pub tags: Option<u32>,
}

/// Memory that JavaScript reads, and partly writes, without a call. It stays where it is for as long as the value lives.
pub trait Mapped: fmt::Debug {
    /// Where the memory starts.
    fn base(&self) -> NonNull<u8>;

    /// How many bytes there are.
    fn bytes(&self) -> usize;
}

/// How often a ring of uses is half full. A ring that is half full again and again within a few milliseconds gets more room:
/// to apply a use costs as much as the read, and an entry that was used several times is made the most recent once.
#[derive(Debug, Default)]
pub struct Pace(Cell<Option<Instant>>);

impl Pace {
    /// The longest time from one half-full ring to the next that is fast.
    const FAST: Duration = Duration::from_millis(5);

    /// Whether this comes a short time after the last call.
    pub fn is_fast(&self) -> bool {
        let now = Instant::now();
        let last = self.0.replace(Some(now));
        last.is_some_and(|last| now.duration_since(last) < Self::FAST)
    }
}

/// An entry as it was at one moment, read without the lock, and the limits of that moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Glimpse<'a> {
    /// Its value.
    pub value: Value<'a>,
    /// Which entry it is.
    pub seen: Seen,
    /// The limits.
    pub limits: Limits,
}

/// What a part of a scan gives.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// The keys that are wanted.
    pub prefix: &'a Prefix,
    /// After how many entries it ends.
    pub count: usize,
    /// Whether the values are left out: they are `undefined` then.
    pub keys_alone: bool,
}

impl Slice<'_> {
    /// The most entries that are given, and the most that are looked at, before a part of a scan ends.
    pub const MOST: usize = 500;
    pub(crate) const MOST_LOOKED_AT: usize = 1024;
    /// The most bytes of keys and values that are read before it ends.
    pub(crate) const MOST_BYTES: usize = 64 * 1024;
}

/// A place for entries, ordered by recency. Keys are the bytes of a [`crate::key::Key`].
pub trait Storage: Leases {
    /// The present limits.
    fn limits(&self) -> Limits;

    /// Sets the limits. Removes nothing.
    fn set_limits(&mut self, limits: Limits);

    /// The entry that [`Storage::touch`], [`Storage::peek`] or [`Storage::put`] found or stored last, once; `None` where the
    /// storage has no versions.
    fn seen(&self) -> Option<Seen> {
        None
    }

    /// From here on [`Storage::seen`] tells versions.
    fn begin_versions(&mut self) {}

    /// Reads an entry without the lock, and leaves its recency alone. `None`: take the lock, to learn whether there is one.
    fn glimpse(&mut self, _key: &[u8]) -> Option<Glimpse<'_>> {
        None
    }

    /// From here until the lock is given back all changes count as one for those who read without the lock.
    fn begin_steps(&mut self) {}

    /// Counts an event, so many times. Only [`crate::cache`] knows what happened.
    fn count(&mut self, event: Event, times: u64);

    /// Adds what another storage has counted, whose entries lie here from now on.
    fn add_counts(&mut self, counts: &Counts) {
        counts.iter().for_each(|(event, times)| self.count(event, times));
    }

    /// Its state, with all that was counted, without the lock too.
    fn stats(&self) -> Stats;

    /// The number of entries, expired ones included.
    fn len(&self) -> usize;

    /// Whether there is no entry.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that all entries take: the sum of their [`Storage::entry_size`].
    fn size(&self) -> f64;

    /// The bytes that an entry takes, or would take: key, value, extras and overhead, as they are stored here. A value
    /// that stays with JavaScript counts for nothing, as nobody knows its size.
    fn entry_size(&self, key: &[u8], value: Value<'_>, extras: Extras<'_>) -> f64;

    /// Finds an entry and makes it the most recent.
    ///
    /// # Errors
    /// As every read: `ERR_OUT_OF_MEMORY`, there is no memory for a copy of the entry. That says nothing of the
    /// entry, which stays.
    fn touch(&mut self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>>;

    /// Finds an entry and leaves its recency alone.
    ///
    /// # Errors
    /// As [`Storage::touch`].
    fn peek(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>>;

    /// As [`Storage::peek`], of an entry of which nobody will remember anything: [`Storage::seen`] tells nothing of it.
    ///
    /// # Errors
    /// As [`Storage::peek`].
    fn value(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>>;

    /// The stamp of an entry, without a look at its value.
    ///
    /// # Errors
    /// As [`Storage::touch`].
    fn stamp(&self, key: &[u8]) -> Result<Option<Stamp>> {
        Ok(self.peek(key)?.map(|(_, stamp)| stamp))
    }

    /// What an entry has besides key, value and stamp; nothing where there is no entry.
    ///
    /// # Errors
    /// As [`Storage::touch`].
    fn extras(&self, key: &[u8]) -> Result<Extras<'_>>;

    /// The entry that goes next.
    ///
    /// # Errors
    /// As [`Storage::touch`].
    fn least_recent(&self) -> Result<Option<Entry<'_>>>;

    /// Stores a copy of the value, and of what the entry has besides, as the most recent entry, in place of one under the same
    /// key. Returns whether there was one.
    ///
    /// # Errors
    /// There is no memory for it; what was stored before is still there.
    fn put_with(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp, extras: Extras<'_>) -> Result<bool>;

    /// As [`Storage::put_with`], without extras.
    ///
    /// # Errors
    /// As [`Storage::put_with`].
    fn put(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp) -> Result<bool> {
        self.put_with(key, value, stamp, Extras::NONE)
    }

    /// Gives an entry another stamp and a new version, and makes it the most recent. Its extras stay. Returns whether there is
    /// one.
    ///
    /// # Errors
    /// As [`Storage::remove`].
    fn restamp(&mut self, key: &[u8], stamp: Stamp) -> Result<bool>;

    /// Lets go of a value that was meant for an entry and is not stored.
    fn decline(&mut self, value: Value<'_>);

    /// Removes an entry. Returns whether there was one.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`: damage is in the way, and there is no memory to mend it. The entry may be there again.
    fn remove(&mut self, key: &[u8]) -> Result<bool>;

    /// Removes the entry that goes next. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Storage::remove`].
    fn remove_least_recent(&mut self) -> Result<bool>;

    /// Removes every entry.
    ///
    /// # Errors
    /// As [`Storage::remove`].
    fn clear(&mut self) -> Result<()>;

    /// Passes every entry to `visit`, most recent first. The first error of `visit` ends the visit.
    ///
    /// # Errors
    /// That of `visit`; or as [`Storage::touch`].
    fn visit(&self, visit: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()>;

    /// As [`Storage::visit`], with keys and stamps alone.
    ///
    /// # Errors
    /// As [`Storage::visit`].
    fn visit_keys(&self, mut visit: impl FnMut(&[u8], Stamp) -> Result<()>) -> Result<()> {
        self.visit(|entry| visit(entry.key, entry.stamp))
    }

    /// Tells the order of [`Storage::scan`] from that of every other storage, and from that of this one before it changed.
    fn scan_order(&mut self) -> [u64; 2];

    /// Passes entries to `visit`, which says whether it took the entry, in an order of the keys in which none moves: a key keeps
    /// its place while it is there, whatever becomes of its value. Begins at the place `from`, 0 at first; returns the place to go
    /// on with, `None` at the end. The time does not depend on the number of entries.
    ///
    /// # Errors
    /// As [`Storage::visit`]. Some entries may have been passed.
    fn scan(
        &mut self,
        from: u32,
        slice: Slice<'_>,
        visit: impl FnMut(Entry<'_>) -> Result<bool>,
    ) -> Result<Option<u32>>;
    /// From here on the stamp of every entry that is there now and has one of these tags is [`Stamp::INVALID`]. Takes a time
    /// that does not depend on the number of entries.
    fn invalidate(&mut self, tags: Tags<'_>);

    /// How often tags were invalidated.
    fn invalidations(&self) -> u64 {
        0
    }

    /// Every entry is gone that was outdated when [`Storage::invalidations`] was `count`.
    fn swept(&mut self, _count: u64) {}

    /// Removes some of the entries whose stamps `keep` declines, where that is worth the time: a part of all entries, which
    /// is larger for an invalidation of `tags` tags than for a call that stores an entry (0 tags).
    fn sweep(&mut self, tags: usize, keep: impl FnMut(Stamp) -> bool);

    /// Removes every entry whose stamp `keep` declines, in any order.
    fn retain_stamps(&mut self, keep: impl FnMut(Stamp) -> bool);

    /// As [`Storage::retain_stamps`], for a part of the entries: in a time that does not depend on their number. Begins with
    /// `from`, 0 at first; returns what to go on with, `None` where that was all.
    fn retain_part(&mut self, _from: u32, keep: impl FnMut(Stamp) -> bool) -> Option<u32> {
        self.retain_stamps(keep);
        None
    }
}
