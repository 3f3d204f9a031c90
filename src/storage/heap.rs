//! The private store of one process, on the crate `lru`. Values lie off the JavaScript heap; one that is a
//! JavaScript value lies in JavaScript and holds a slot here.

mod leases;
mod places;
pub mod versions;

use foldhash::fast::FixedState;
use lru::LruCache;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
};

use self::{leases::HeapLeases, places::Places, versions::Versions};
use super::{Entry, Limits, Seen, Slice, Stamp, Storage};
use crate::{
    error::Result,
    extras::{Extras, TagList, Tags, is_outdated},
    key::Key,
    lease::Ended,
    slots::Slots,
    stats::{Counts, Event, Stats},
    value::{OwnedValue, Value},
};

#[derive(Debug)]
struct HeapEntry {
    value: OwnedValue,
    stamp: Stamp,
    /// Its row in [`Versions`]; 0 for none.
    row: Cell<u32>,
    /// Its place in [`Places`], where there are any.
    place: u32,
    extras: Option<Box<HeapExtras>>,
}

/// See `src/extras.rs`.
#[derive(Debug)]
struct HeapExtras {
    /// The count of invalidations when the entry was stored.
    since: u64,
    tags: TagList,
}

impl HeapExtras {
    fn of(stored: &Option<Box<Self>>) -> Extras<'_> {
        stored.as_ref().map_or(Extras::NONE, |extras| Extras {
            tags: extras.tags.tags(),
        })
    }
}

/// The tags of all entries. A tag that no entry has takes no memory, so there is no end to how many may be invalidated.
#[derive(Debug, Default)]
struct HeapTags {
    /// The count of invalidations.
    count: u64,
    by_text: HashMap<Box<[u8]>, HeapTag, FixedState>,
    /// About how many entries were invalidated and not removed yet.
    outdated: usize,
}

#[derive(Debug, Default)]
struct HeapTag {
    /// How many entries have it.
    entries: usize,
    /// The number of its last invalidation; 0 for none.
    invalidated: u64,
}

impl HeapTags {
    /// Counts an entry that is stored.
    fn add(&mut self, tags: Tags<'_>) {
        for tag in tags.iter() {
            match self.by_text.get_mut(tag) {
                Some(known) => known.entries += 1,
                None => {
                    let new = HeapTag {
                        entries: 1,
                        invalidated: 0,
                    };
                    self.by_text.insert(tag.into(), new);
                }
            }
        }
    }

    /// Counts an entry that is gone.
    fn remove(&mut self, extras: &HeapExtras) {
        for tag in extras.tags.tags().iter() {
            if let Some(known) = self.by_text.get_mut(tag) {
                known.entries -= 1;
                if known.entries == 0 {
                    self.by_text.remove(tag);
                }
            }
        }
        // After many were removed, the table's memory goes back too.
        if self.by_text.capacity() > 64 && self.by_text.len() < self.by_text.capacity() / 8 {
            self.by_text.shrink_to(self.by_text.len() * 2);
        }
    }

    fn is_outdated(&self, extras: &HeapExtras) -> bool {
        let number = |tag: &[u8]| self.by_text.get(tag).map_or(0, |known| known.invalidated);
        is_outdated(extras.since, extras.tags.tags().iter().map(number))
    }
}

/// What an entry takes besides the bytes of its key and value: its node, its share of the table, and what the
/// allocator adds to each, in bytes. Measured, see `tests/heap_size.rs`.
const OVERHEAD: usize = 152;

/// So many entries that were invalidated stay until a call finds them.
const FEW_OUTDATED: usize = 1000;

/// What the tags of an entry take besides their bytes.
const TAGS_OVERHEAD: usize = 64;

/// Entries on the heap of this process.
#[derive(Debug)]
pub struct HeapStorage {
    /// Has no capacity of its own: the cache keeps the limits.
    entries: LruCache<Key, HeapEntry>,
    limits: Limits,
    slots: Slots,
    /// Of all entries, see [`Storage::size`].
    size: usize,
    /// What JavaScript reads without a call, once it wants to.
    versions: Option<Box<RefCell<Versions>>>,
    /// The order of scans, from the first scan on.
    places: Option<Box<Places>>,
    /// The entry that was found or stored last.
    seen: Cell<Option<Seen>>,
    /// Once an entry has tags.
    tags: Option<Box<HeapTags>>,
    /// What happened, but for reads by JavaScript.
    counts: Box<Counts>,
    leases: Box<HeapLeases>,
}

impl HeapStorage {
    /// An empty storage whose JavaScript values lie in the table of `slots`.
    pub fn new(slots: Slots) -> Self {
        Self {
            entries: LruCache::unbounded(),
            limits: Limits::default(),
            slots,
            size: 0,
            versions: None,
            places: None,
            seen: Cell::default(),
            tags: None,
            counts: Box::default(),
            leases: Box::default(),
        }
    }

    /// Says whom to tell when a lease ends.
    pub fn with_ended(mut self, ended: Arc<Ended>) -> Self {
        self.leases.ended = Some(ended);
        self
    }

    /// What JavaScript reads without a call, from now on.
    pub fn versions(&mut self) -> &mut Versions {
        self.versions.get_or_insert_default().get_mut()
    }

    /// Brings the order of recency up to date with the uses that JavaScript has recorded.
    #[inline]
    pub fn refresh(&mut self) {
        if let Some(versions) = &mut self.versions
            && versions.get_mut().has_uses()
        {
            for key in versions.get_mut().take_uses() {
                self.entries.promote(key);
            }
        }
    }

    /// Keeps what [`Storage::seen`] tells of an entry.
    #[inline]
    fn see(
        versions: &Option<Box<RefCell<Versions>>>,
        seen: &Cell<Option<Seen>>,
        key: &[u8],
        stored: &HeapEntry,
    ) {
        let Some(versions) = versions else { return };
        let mut versions = versions.borrow_mut();
        if stored.row.get() == 0 {
            stored.row.set(versions.add(key).unwrap_or(0));
        }
        let row = stored.row.get();
        seen.set(Some(Seen {
            row,
            version: versions.of(row),
            stamp: stored.stamp,
            tags: stored
                .extras
                .is_some()
                .then(|| versions.control().get().tags.get()),
        }));
    }

    /// Every entry, least recent first.
    pub fn oldest_first(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries
            .iter()
            .rev()
            .map(|(key, stored)| self.entry(key.as_bytes(), stored))
    }

    /// The stamp of an entry.
    #[inline]
    fn stamp_of(tags: &Option<Box<HeapTags>>, stored: &HeapEntry) -> Stamp {
        match (&stored.extras, tags) {
            (Some(extras), Some(tags)) if tags.is_outdated(extras) => Stamp::INVALID,
            _ => stored.stamp,
        }
    }

    fn entry<'a>(&'a self, key: &'a [u8], stored: &'a HeapEntry) -> Entry<'a> {
        Entry {
            key,
            value: stored.value.as_ref(),
            stamp: Self::stamp_of(&self.tags, stored),
            extras: HeapExtras::of(&stored.extras),
        }
    }

    /// What an entry becomes that is stored now.
    fn keep(&mut self, extras: Extras<'_>) -> Option<Box<HeapExtras>> {
        if extras.is_none() {
            return None;
        }
        let tags = self.tags.get_or_insert_default();
        tags.add(extras.tags);
        Some(Box::new(HeapExtras {
            since: tags.count,
            tags: TagList::copy(extras.tags),
        }))
    }

    /// The tags of an entry go with it.
    fn forget_tags(tags: &mut Option<Box<HeapTags>>, old: &HeapEntry) {
        if let (Some(tags), Some(extras)) = (tags, &old.extras) {
            tags.remove(extras);
        }
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

    /// Ends the version of an entry that is gone.
    fn forget_row(versions: &Option<Box<RefCell<Versions>>>, stored: &HeapEntry) {
        if let (Some(versions), 1..) = (versions, stored.row.get()) {
            versions.borrow_mut().remove(stored.row.get());
        }
    }

    /// The order of scans.
    fn places(&mut self) -> &mut Places {
        let Self { entries, places, .. } = self;
        places.get_or_insert_with(|| {
            let mut places = Places::default();
            for (key, stored) in entries.iter_mut() {
                stored.place = places.add(key);
            }
            Box::new(places)
        })
    }

    fn empty(&mut self) {
        self.places = None;
        if let Some(versions) = &mut self.versions {
            versions.get_mut().clear();
        }
        for (_, old) in &self.entries {
            self.discard(old.value.as_ref());
        }
        // A new map, not `clear()`: the table's memory goes back too.
        self.entries = LruCache::unbounded();
        self.size = 0;
        if let Some(tags) = &mut self.tags {
            tags.by_text = HashMap::default();
            tags.outdated = 0;
        }
    }

    /// Accounts for an entry that was taken out.
    fn gone(&mut self, key: &Key, old: &HeapEntry) {
        self.size -= size_of(key.as_bytes(), old);
        Self::forget_row(&self.versions, old);
        if let Some(places) = &mut self.places {
            places.remove(old.place);
        }
        Self::forget_tags(&mut self.tags, old);
        self.discard(old.value.as_ref());
    }
}

fn size_of_entry(key: &[u8], value: Value<'_>, extras: Extras<'_>) -> usize {
    let tags = match extras.is_none() {
        true => 0,
        false => TAGS_OVERHEAD + extras.tags.bytes().len(),
    };
    OVERHEAD + key.len() + value.bytes().len() + tags
}

fn size_of(key: &[u8], stored: &HeapEntry) -> usize {
    size_of_entry(key, stored.value.as_ref(), HeapExtras::of(&stored.extras))
}

/// Slots are freed promptly: an entry that leaves, by whatever way, leaves through one of these calls.
impl Storage for HeapStorage {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn seen(&self) -> Option<Seen> {
        self.seen.take()
    }

    fn begin_versions(&mut self) {
        self.versions();
    }

    fn set_limits(&mut self, limits: Limits) {
        let before = (self.limits.max_age, self.limits.allow_stale);
        if let Some(versions) = &mut self.versions
            && before != (limits.max_age, limits.allow_stale)
        {
            versions.get_mut().change_epoch();
        }
        self.limits = limits;
    }

    #[inline(always)]
    fn count(&mut self, event: Event, times: u64) {
        self.counts.add(event, times);
    }

    fn stats(&self) -> Stats {
        let mut counts = *self.counts;
        if let Some(versions) = &self.versions {
            counts.add(Event::Hit, versions.borrow().hits());
        }
        Stats {
            counts,
            entries: self.len(),
            size: self.size(),
            bytes: self.size(),
            max_size: self.limits.max_size,
            processes: 1,
            ..Stats::default()
        }
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn size(&self) -> f64 {
        self.size as f64
    }

    fn entry_size(&self, key: &[u8], value: Value<'_>, extras: Extras<'_>) -> f64 {
        size_of_entry(key, value, extras) as f64
    }

    fn touch(&mut self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        self.seen.set(None);
        let stored = self.entries.get(key);
        Ok(stored.map(|stored| {
            Self::see(&self.versions, &self.seen, key, stored);
            (stored.value.as_ref(), Self::stamp_of(&self.tags, stored))
        }))
    }

    fn peek(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        self.seen.set(None);
        let stored = self.entries.peek(key);
        Ok(stored.map(|stored| {
            Self::see(&self.versions, &self.seen, key, stored);
            (stored.value.as_ref(), Self::stamp_of(&self.tags, stored))
        }))
    }

    fn value(&self, key: &[u8]) -> Result<Option<(Value<'_>, Stamp)>> {
        self.seen.set(None);
        let stored = self.entries.peek(key);
        Ok(stored.map(|stored| (stored.value.as_ref(), Self::stamp_of(&self.tags, stored))))
    }

    fn extras(&self, key: &[u8]) -> Result<Extras<'_>> {
        let stored = self.entries.peek(key);
        Ok(stored.map_or(Extras::NONE, |stored| HeapExtras::of(&stored.extras)))
    }

    fn least_recent(&self) -> Result<Option<Entry<'_>>> {
        let least_recent = self.entries.peek_lru();
        Ok(least_recent.map(|(key, stored)| self.entry(key.as_bytes(), stored)))
    }

    fn put_with(&mut self, key: &[u8], value: Value<'_>, stamp: Stamp, extras: Extras<'_>) -> Result<bool> {
        self.seen.set(None);
        let kept = self.keep(extras);
        match self.entries.get_mut(key) {
            Some(stored) => {
                let before = size_of(key, stored);
                Self::forget_tags(&mut self.tags, stored);
                let old = std::mem::replace(&mut stored.value, value.to_owned());
                stored.stamp = stamp;
                stored.extras = kept;
                self.size = self.size - before + size_of(key, stored);
                if let (Some(versions), 1..) = (&mut self.versions, stored.row.get()) {
                    versions.get_mut().renew(stored.row.get());
                    Self::see(&self.versions, &self.seen, key, stored);
                }
                // An entry that is set again may keep its slot.
                let same = matches!((&old, value), (OwnedValue::Slot(old), Value::Slot(new)) if *old == new);
                if !same {
                    self.discard(old.as_ref());
                }
                Ok(true)
            }
            None => {
                let key = Key::from_bytes(key);
                if self.places.as_ref().is_some_and(|places| places.is_idle()) {
                    self.places = None;
                }
                let stored = HeapEntry {
                    value: value.to_owned(),
                    stamp,
                    row: Cell::new(0),
                    place: self.places.as_mut().map_or(0, |places| places.add(&key)),
                    extras: kept,
                };
                self.size += size_of(key.as_bytes(), &stored);
                self.entries.put(key, stored);
                Ok(false)
            }
        }
    }

    fn restamp(&mut self, key: &[u8], stamp: Stamp) -> Result<bool> {
        self.seen.set(None);
        let Some(stored) = self.entries.get_mut(key) else {
            return Ok(false);
        };
        stored.stamp = stamp;
        if let (Some(versions), 1..) = (&mut self.versions, stored.row.get()) {
            versions.get_mut().renew(stored.row.get());
        }
        Ok(true)
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
        entries.try_for_each(|(key, stored)| visit(self.entry(key.as_bytes(), stored)))
    }

    fn scan_order(&mut self) -> [u64; 2] {
        self.places().begin()
    }

    fn scan(
        &mut self,
        from: u32,
        slice: Slice<'_>,
        mut visit: impl FnMut(Entry<'_>) -> Result<bool>,
    ) -> Result<Option<u32>> {
        self.places();
        let (Some(places), entries) = (&self.places, &self.entries) else {
            return Ok(None);
        };
        let (mut given, mut bytes) = (0, 0);
        for at in places.from(from).take(Slice::MOST_LOOKED_AT) {
            if given >= slice.count || bytes >= Slice::MOST_BYTES {
                return Ok(Some(at));
            }
            let key = places.key(at).filter(|key| slice.prefix.matches(key.as_bytes()));
            if let Some((key, stored)) = key.and_then(|key| Some((key, entries.peek(key)?))) {
                let mut entry = self.entry(key.as_bytes(), stored);
                if slice.keys_alone {
                    entry.value = Value::Undefined;
                }
                bytes += entry.key.len() + entry.value.bytes().len();
                given += usize::from(visit(entry)?);
            }
        }
        Ok(places.from(from).nth(Slice::MOST_LOOKED_AT))
    }

    fn retain_stamps(&mut self, mut keep: impl FnMut(Stamp) -> bool) {
        let Self {
            entries,
            slots,
            size,
            versions,
            places,
            tags,
            ..
        } = self;
        entries.retain(|key, stored| {
            let kept = keep(Self::stamp_of(tags, stored));
            if !kept {
                *size -= size_of(key.as_bytes(), stored);
                Self::forget_row(versions, stored);
                if let Some(places) = places {
                    places.remove(stored.place);
                }
                Self::forget_tags(tags, stored);
                if let OwnedValue::Slot(slot) = stored.value {
                    slots.free(slot);
                }
            }
            kept
        });
    }

    fn invalidate(&mut self, given: Tags<'_>) {
        self.leases.invalidate(given);
        let Some(tags) = &mut self.tags else { return };
        tags.count += 1;
        for tag in given.iter() {
            if let Some(known) = tags.by_text.get_mut(tag) {
                known.invalidated = tags.count;
                tags.outdated = tags.outdated.saturating_add(known.entries);
            }
        }
        if let Some(versions) = &mut self.versions {
            versions.get_mut().change_tags();
        }
    }

    fn swept(&mut self, _: u64) {
        if let Some(tags) = &mut self.tags {
            tags.outdated = 0;
        }
    }

    /// All at once, as a table grows: where about half of the entries are outdated, when an entry with tags is stored.
    fn sweep(&mut self, given: usize, keep: impl FnMut(Stamp) -> bool) {
        let outdated = self.tags.as_ref().map_or(0, |tags| tags.outdated);
        if given == 0 && outdated > FEW_OUTDATED && outdated > self.len() / 2 {
            self.retain_stamps(keep);
            self.swept(0);
        }
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
        let visited = storage.visit_keys(|key, _| {
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

    fn see(storage: &mut HeapStorage, n: u32) -> Seen {
        storage.peek(&n.to_le_bytes()).unwrap();
        storage.seen().unwrap()
    }

    #[test]
    fn uses_that_javascript_records_count_in_their_order() {
        let mut storage = numbered(4);
        storage.versions();
        let rows = [0, 1, 2].map(|n| see(&mut storage, n).row);
        for n in [2, 0, 1, 1, 0] {
            storage.versions().use_row(rows[n]);
        }
        storage.refresh();
        assert_eq!(order(&storage), [0, 1, 2, 3]);
        assert!(!storage.versions().has_uses());
        for n in 0..10_001 {
            storage.versions().use_row(rows[n % 2]);
        }
        storage.refresh();
        assert_eq!(order(&storage), [0, 1, 2, 3]);
        storage.versions().use_row(rows[1]);
        storage.refresh();
        assert_eq!(order(&storage), [1, 0, 2, 3]);
        assert_eq!(storage.versions().hits(), 10_007);
    }

    #[test]
    fn a_version_ends_with_its_entry_by_each_way_out() {
        let mut storage = numbered(6);
        storage.versions();
        let seen: Vec<_> = (0..6).map(|n| see(&mut storage, n)).collect();
        let counts = |storage: &mut HeapStorage| {
            let versions = storage.versions();
            seen.iter()
                .map(|seen| versions.of(seen.row) == seen.version)
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(&mut storage), [true; 6]);
        storage.put(&4u32.to_le_bytes(), Value::Null, STAMP).unwrap();
        storage.remove(&1u32.to_le_bytes()).unwrap();
        storage.remove_least_recent().unwrap();
        storage.retain_stamps(|stamp| stamp.set_at != 2.0);
        assert_eq!(counts(&mut storage), [false, false, false, true, false, true]);
        let again = see(&mut storage, 4);
        assert!(again.version > seen[5].version, "versions do not come again");
        let control = storage.versions().control();
        let epoch = control.get().epoch.get();
        storage.set_limits(Limits {
            max: 9.0,
            ..Limits::default()
        });
        assert_eq!(control.get().epoch.get(), epoch);
        storage.set_limits(Limits {
            max_age: 9.0,
            ..Limits::default()
        });
        assert_eq!(control.get().epoch.get(), epoch + 2);
        storage.clear().unwrap();
        assert_eq!(counts(&mut storage), [false; 6]);
        assert_eq!(control.get().epoch.get(), epoch + 4);
        drop(storage);
        assert_eq!(control.get().epoch.get() & 1, 1, "nothing counts any more");
    }

    #[test]
    fn a_use_of_an_entry_that_is_gone_counts_for_no_other() {
        let mut storage = numbered(3);
        storage.versions();
        let seen = see(&mut storage, 0);
        for row in [seen.row, 99, 0, u32::MAX] {
            storage.versions().use_row(row);
        }
        storage.remove(&0u32.to_le_bytes()).unwrap();
        let other = see(&mut storage, 1);
        assert_eq!(other.row, seen.row, "the row is another's");
        storage.refresh();
        assert_eq!(order(&storage), [2, 1]);
    }

    fn scanned(storage: &mut HeapStorage, from: u32, count: usize) -> (Vec<u32>, Option<u32>) {
        let mut keys = vec![];
        let slice = Slice {
            prefix: &crate::key::EVERY_KEY,
            count,
            keys_alone: true,
        };
        let next = storage.scan(from, slice, |entry| {
            keys.push(u32::from_le_bytes(entry.key.try_into().unwrap()));
            Ok(true)
        });
        (keys, next.unwrap())
    }

    #[test]
    fn a_scan_gives_each_key_that_stays() {
        let mut storage = numbered(10);
        let order = storage.scan_order();
        let (mut keys, next) = scanned(&mut storage, 0, 4);
        assert_eq!(keys.len(), 4);
        // Those that were given are used, changed and removed; those that were not are used, and changed.
        for n in 0..10u32 {
            let is_given = keys.contains(&n);
            match n % 3 {
                0 => drop(storage.touch(&n.to_le_bytes()).unwrap()),
                1 if is_given => drop(storage.remove(&n.to_le_bytes()).unwrap()),
                _ => drop(storage.put(&n.to_le_bytes(), Value::Null, STAMP).unwrap()),
            }
        }
        storage.put(&99u32.to_le_bytes(), Value::Null, STAMP).unwrap();
        let (rest, end) = scanned(&mut storage, next.unwrap(), 100);
        assert_eq!(end, None);
        keys.extend(rest);
        keys.retain(|n| *n < 10);
        keys.sort_unstable();
        assert_eq!(keys, Vec::from_iter(0..10));
        assert_eq!(storage.scan_order(), order);
        storage.clear().unwrap();
        assert_ne!(storage.scan_order(), order);
        assert_eq!(scanned(&mut storage, 5, 9), (vec![], None));
    }

    #[test]
    fn a_part_of_a_scan_has_an_end() {
        let mut storage = numbered(5000);
        let (keys, next) = scanned(&mut storage, 0, 1_000_000);
        assert_eq!((keys.len(), next), (Slice::MOST_LOOKED_AT, Some(1024)));
        let large = vec![b'x'; 50_000];
        for n in 0..4u32 {
            storage
                .put(&n.to_le_bytes(), Value::String(&large), STAMP)
                .unwrap();
        }
        storage.retain_stamps(|stamp| stamp == STAMP);
        let slice = Slice {
            prefix: &crate::key::EVERY_KEY,
            count: 100,
            keys_alone: false,
        };
        let mut parts = vec![];
        let mut from = Some(0);
        while let Some(at) = from {
            let mut bytes = 0;
            let scanned = storage.scan(at, slice, |entry| {
                bytes += entry.value.bytes().len();
                Ok(true)
            });
            from = scanned.unwrap();
            parts.push(bytes);
        }
        parts.retain(|bytes| *bytes > 0);
        assert_eq!(parts, [100_000, 100_000]);
    }

    #[test]
    fn places_are_given_up_where_nobody_scans() {
        let mut storage = numbered(10);
        let order = storage.scan_order();
        let churn = |storage: &mut HeapStorage| {
            for n in 100..6000u32 {
                storage.put(&n.to_le_bytes(), Value::Null, STAMP).unwrap();
                storage.remove(&n.to_le_bytes()).unwrap();
            }
        };
        for _ in 0..3 {
            churn(&mut storage);
            storage.places.is_some().then(|| storage.scan_order());
            if storage.places.is_none() {
                break;
            }
        }
        assert!(storage.places.is_none());
        assert_ne!(storage.scan_order(), order);
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
