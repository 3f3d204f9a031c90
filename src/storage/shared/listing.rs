//! Listings: every entry of a segment, while other processes go on. A listing has the lock for moments only, and copies the
//! entries without it, each whole by its version (see `unlocked.rs`).
//!
//! 1. Under the lock the listing takes a [`Mark`]: the time of use, the last version, the epoch.
//! 2. Without the lock it reads the rows in their order ([`Listing::read`]). Which entries it meets or misses, while others
//!    move from row to row, does not matter: whatever was stored since the mark has a later time of use.
//! 3. Under the lock again it goes through the entries that were used since the mark, which are the first in the order of
//!    recency ([`Listing::catch_up`]). Few that it has not read are read at once, and the listing is complete at this
//!    moment. With more, a new mark is taken, and these are read without the lock, and so on: each time there are fewer. With
//!    very many, all rows are looked at again. After [`MOST_ROUNDS`] the rest is read under the lock.
//! 4. Of two entries with one key the later version counts ([`Listing::finish`]).
//!
//! So no entry is missed that was there throughout, and no key is there twice. An entry that was removed meanwhile may be in
//! the listing or not. A reset, a change of ages, a rebuild or damage: the listing begins anew, and after some times it
//! is made under one lock, as for a storage that nobody shares.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{
    Segment,
    layout::{NONE, Row, State},
    memory::Memory,
    view::{Checked, Fault, TableCopy, View},
};
use crate::{
    error::{Error, Result},
    extras::{self, Extras, HEAD},
    storage::{Entry, Stamp},
    value::{Kind, Value},
};

/// The most entries, and the most bytes of them, that are read under the lock at the end.
const LAST: usize = 256;
pub(crate) const LAST_BYTES: usize = 64 * 1024;

/// The most entries that a listing goes through under the lock.
const MOST_STEPS: usize = 16 * 1024;

/// Rounds after which all that is left is read under the lock.
const MOST_ROUNDS: u32 = 16;

/// Rows from one look at the epoch to the next.
const STRIDE: u32 = 1024;

/// The place of an entry that the caller leaves out.
const LEFT_OUT: usize = usize::MAX;

/// What a listing is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    clock: u64,
    version: f64,
    rows: u32,
}

/// What must not change while a listing is made.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Whole {
    epoch: u32,
    recoveries: u32,
    floor: f64,
}

/// An entry that was read.
#[derive(Clone, Copy, Debug, Default)]
struct Listed {
    /// 0 where there is none.
    version: f64,
    used: u64,
    /// The hash of its key, of 64 bits. Two keys of a million have the same one in one of 10^7 segments, and then the older
    /// is missing only where the other is stored at that moment.
    hash: u64,
    /// Where its copy lies, as the caller says.
    place: usize,
}

/// What is still to be read without the lock.
enum Left {
    AllRows,
    These(Vec<(u32, f64)>),
}

/// A listing under way.
pub(crate) struct Listing {
    keys_alone: bool,
    whole: Whole,
    /// The last version when the listing began.
    first_version: f64,
    mark: Mark,
    left: Left,
    /// The entry of each row.
    rows: Vec<Listed>,
    /// Entries of rows that have become others'.
    others: Vec<Listed>,
    /// How many there are in both.
    count: usize,
    buffer: Vec<u8>,
    rounds: u32,
    /// The tags that were invalidated when the listing began: what was outdated then is not listed.
    tags: TableCopy,
}

/// What [`Listing::catch_up`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caught {
    /// The listing is complete.
    Up,
    /// More is to be read without the lock.
    Behind,
    /// The listing has to begin anew.
    Void,
}

impl Listing {
    /// Begins a listing of a segment. Under the lock.
    pub(crate) fn begin<M: Memory>(segment: &Segment<M>, keys_alone: bool) -> Self {
        let mark = Mark::of(segment);
        Self {
            keys_alone,
            whole: Whole::of(segment),
            first_version: mark.version,
            mark,
            left: Left::AllRows,
            rows: vec![],
            others: vec![],
            count: 0,
            buffer: vec![],
            rounds: 0,
            tags: segment.edit.copy_table(),
        }
    }

    /// Reads entries without the lock. `give` gets each entry (with the keys alone, its value is `undefined`) and says where
    /// its copy lies; `None` where it is left out.
    ///
    /// # Errors
    /// That of `give`; there is no memory; or a value is a slot of another process. Damage is no error: the next
    /// [`Listing::catch_up`] or the next call finds it.
    pub(crate) fn read<M: Memory>(
        &mut self,
        segment: &Segment<M>,
        mut give: impl FnMut(Entry<'_>) -> Result<Option<usize>>,
    ) -> Result<()> {
        // Where the count of rows is damaged, there is nothing to list beyond what was written, and no memory to be taken for it.
        self.mark.rows = self.mark.rows.min(segment.edit.rows_written().max(1));
        let rows = (self.mark.rows as usize).max(self.rows.len());
        self.rows.try_reserve(rows - self.rows.len())?;
        self.rows.resize(rows, Listed::default());
        let read = match std::mem::replace(&mut self.left, Left::AllRows) {
            Left::AllRows => self.read_rows(segment, 1..self.mark.rows, &mut give),
            Left::These(rows) => rows
                .iter()
                .try_for_each(|(at, version)| self.read_row(segment, *at, Some(*version), &mut give)),
        };
        let read = read.and_then(|()| self.drop_ended(segment).map_err(Stop::Fault));
        match read {
            Err(Stop::Given(error)) => Err(error),
            Err(Stop::Fault(Fault::Damage)) => {
                // Nothing was read of a row that is damaged, or that is changing in a way that makes the listing void.
                self.whole.epoch = u32::MAX;
                Ok(())
            }
            Err(Stop::Fault(memory)) => Err(memory.into()),
            Ok(()) => Ok(()),
        }
    }

    fn read_rows<M: Memory>(
        &mut self,
        segment: &Segment<M>,
        rows: std::ops::Range<u32>,
        give: &mut impl FnMut(Entry<'_>) -> Result<Option<usize>>,
    ) -> std::result::Result<(), Stop> {
        for at in rows {
            if at % STRIDE == 0 && segment.header().control.epoch.acquire() != self.whole.epoch {
                return Err(Stop::Fault(Fault::Damage));
            }
            self.read_row(segment, at, None, give)?;
        }
        Ok(())
    }

    /// Reads the entry of a row, unless it was read before; only this version, where one is given.
    fn read_row<M: Memory>(
        &mut self,
        segment: &Segment<M>,
        at: u32,
        only: Option<f64>,
        give: &mut impl FnMut(Entry<'_>) -> Result<Option<usize>>,
    ) -> std::result::Result<(), Stop> {
        let version = segment.edit.version_at(at)?.acquire();
        let known = self.rows.get(at as usize).map_or(0.0, |listed| listed.version);
        let is_wanted = version > self.whole.floor && only.is_none_or(|only| only == version);
        if !is_wanted || version == known {
            return Ok(());
        }
        let Some(found) =
            segment
                .edit
                .copy_row(at, version, self.keys_alone, &self.tags, &mut self.buffer)?
        else {
            return Ok(());
        };
        let listed = self.give(segment, found, give)?;
        self.add(at, listed)?;
        Ok(())
    }

    /// Passes what was copied to the caller.
    fn give<M: Memory>(
        &self,
        segment: &Segment<M>,
        found: Copied,
        give: &mut impl FnMut(Entry<'_>) -> Result<Option<usize>>,
    ) -> std::result::Result<Listed, Stop> {
        let (key, bytes) = self.buffer.split_at_checked(found.key_len).ok_or(Fault::Damage)?;
        let value = match self.keys_alone {
            true => Value::Undefined,
            false => Value::from_parts(found.kind, found.inline, bytes).ok_or(Fault::Damage)?,
        };
        if matches!(value, Value::Slot(_)) && segment.slots().is_none() {
            return Err(Stop::Given(Error::elsewhere()));
        }
        let entry = Entry {
            key,
            value,
            stamp: found.stamp,
            extras: Extras::NONE,
        };
        let place = give(entry).map_err(Stop::Given)?;
        Ok(Listed {
            version: found.version,
            used: found.used,
            hash: segment.edit.long_hash(key),
            place: place.unwrap_or(LEFT_OUT),
        })
    }

    fn add(&mut self, at: u32, listed: Listed) -> Checked<()> {
        match self.rows.get_mut(at as usize) {
            // What was there has ended.
            Some(place) => {
                self.count += usize::from(place.version == 0.0);
                *place = listed;
            }
            None => {
                self.others.try_reserve(1).map_err(|_| Fault::Memory)?;
                self.others.push(listed);
                self.count += 1;
            }
        }
        Ok(())
    }

    /// Drops the entries that have ended. What has taken their place was used since the mark.
    fn drop_ended<M: Memory>(&mut self, segment: &Segment<M>) -> Checked<()> {
        for (at, listed) in self.rows.iter_mut().enumerate().skip(1) {
            if listed.version != 0.0 && segment.edit.version_at(at as u32)?.get() != listed.version {
                *listed = Listed::default();
                self.count -= 1;
            }
        }
        Ok(())
    }

    /// Goes through the entries that were used since the mark, and reads those that are left where they are few. Under the
    /// lock. `give` is that of [`Listing::read`].
    ///
    /// # Errors
    /// As [`Listing::read`].
    pub(crate) fn catch_up<M: Memory>(
        &mut self,
        segment: &Segment<M>,
        mut give: impl FnMut(Entry<'_>) -> Result<Option<usize>>,
    ) -> Result<Caught> {
        if Whole::of(segment) != self.whole || segment.header().damaged.get() != 0 {
            return Ok(Caught::Void);
        }
        match self.follow(segment, &mut give) {
            Err(Stop::Given(error)) => Err(error),
            Err(Stop::Fault(Fault::Damage)) => Ok(Caught::Void),
            Err(Stop::Fault(memory)) => Err(memory.into()),
            // An entry without a version, or a row that leads nowhere.
            Ok(Caught::Up) if self.count < segment.header().len.get() as usize => Ok(Caught::Void),
            Ok(caught) => Ok(caught),
        }
    }

    fn follow<M: Memory>(
        &mut self,
        segment: &Segment<M>,
        give: &mut impl FnMut(Entry<'_>) -> Result<Option<usize>>,
    ) -> std::result::Result<Caught, Stop> {
        self.rounds += 1;
        let is_last = self.rounds >= MOST_ROUNDS;
        let now = Mark::of(segment);
        let mut new = Vec::new();
        let mut bytes = 0;
        let mut at = segment.header().newest.get();
        for step in 0..segment.edit.longest() as usize {
            if at == NONE {
                break;
            }
            let row = segment.edit.live_row(at)?;
            let used = row.used.get();
            if used <= self.mark.clock {
                break;
            }
            if step >= MOST_STEPS && !is_last {
                (self.mark, self.left) = (now, Left::AllRows);
                return Ok(Caught::Behind);
            }
            let version = segment.edit.version_at(at)?.get();
            match self.rows.get_mut(at as usize) {
                Some(listed) if listed.version == version => listed.used = used,
                _ => {
                    new.try_reserve(1).map_err(|_| Fault::Memory)?;
                    new.push((at, version));
                    bytes += segment.edit.extent(row)?.0;
                }
            }
            at = row.older.get();
        }
        self.mark = now;
        if !is_last && (new.len() > LAST || bytes > LAST_BYTES) {
            self.left = Left::These(new);
            return Ok(Caught::Behind);
        }
        for (at, version) in new {
            let found = segment
                .edit
                .copy_row(at, version, self.keys_alone, &self.tags, &mut self.buffer)?
                .ok_or(Fault::Damage)?;
            let listed = self.give(segment, found, give)?;
            // Another entry may have been read in this row before.
            self.add(at, listed)?;
        }
        Ok(Caught::Up)
    }

    /// The places of all entries, from the most recent on. Without the lock.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn finish(self) -> Result<Vec<usize>> {
        let all = || {
            let rows = self.rows.iter().chain(&self.others);
            rows.filter(|listed| listed.version != 0.0)
        };
        // Versions of keys that were stored since the listing began: an earlier one may have been read, too.
        let mut stored: HashMap<u64, f64, FixedState> = HashMap::default();
        for listed in all().filter(|listed| listed.version > self.first_version) {
            stored.try_reserve(1)?;
            let latest = stored.entry(listed.hash).or_insert(listed.version);
            *latest = latest.max(listed.version);
        }
        let is_latest = |listed: &Listed| {
            stored.is_empty()
                || stored
                    .get(&listed.hash)
                    .is_none_or(|latest| *latest <= listed.version)
        };
        let mut places = Vec::new();
        places.try_reserve_exact(self.count)?;
        let given = all().filter(|listed| listed.place != LEFT_OUT && is_latest(listed));
        places.extend(given.map(|listed| (listed.used, listed.place)));
        places.sort_unstable_by(|a, b| b.cmp(a));
        let mut ordered = Vec::new();
        ordered.try_reserve_exact(places.len())?;
        ordered.extend(places.into_iter().map(|(_, place)| place));
        Ok(ordered)
    }
}

impl Mark {
    fn of<M: Memory>(segment: &Segment<M>) -> Self {
        let header = segment.header();
        Self {
            clock: header.clock.get(),
            version: header.last_version.get(),
            rows: segment.edit.longest(),
        }
    }
}

impl Whole {
    fn of<M: Memory>(segment: &Segment<M>) -> Self {
        let header = segment.header();
        Self {
            epoch: header.control.epoch.get(),
            recoveries: header.recoveries.get(),
            floor: header.floor.get(),
        }
    }
}

/// Why reading ended early.
enum Stop {
    Given(Error),
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What was copied of a row besides its bytes.
struct Copied {
    version: f64,
    used: u64,
    kind: Kind,
    inline: u64,
    key_len: usize,
    stamp: Stamp,
}

impl<M: Memory> View<M> {
    /// Copies the entry of a row that has this version, with or without the lock: key and value, or the key alone, into
    /// `buffer`. `tags` are those that were invalidated. `None` where it has ended meanwhile.
    ///
    /// # Errors
    /// The row is damaged, or there is no memory.
    fn copy_row(
        &self,
        at: u32,
        version: f64,
        keys_alone: bool,
        tags: &TableCopy,
        buffer: &mut Vec<u8>,
    ) -> Checked<Option<Copied>> {
        let row = self.row_at(at)?;
        let copied = self.try_copy_row(row, at, version, keys_alone, tags, buffer);
        match copied {
            // What makes no sense may have been changing.
            Err(Fault::Damage) if self.check_still(at, version).is_err() => Ok(None),
            copied => copied.map(Some),
        }
    }

    fn try_copy_row(
        &self,
        row: &Row,
        at: u32,
        version: f64,
        keys_alone: bool,
        tags: &TableCopy,
        buffer: &mut Vec<u8>,
    ) -> Checked<Copied> {
        let (state, inline, used) = (row.state(), row.inline.get(), row.used.get());
        let (key_len, first, mut stamp) = (row.key_len.get() as usize, row.first.get(), Self::stamp_of(row));
        let bytes = self.extent(row).map(|(bytes, _)| bytes);
        self.check_still(at, version)?;
        let (Some(kind), State::LIVE) = (state.kind(), state.is()) else {
            return Err(Fault::Damage);
        };
        let len = if keys_alone && !state.has_extras() {
            key_len
        } else {
            bytes?
        };
        buffer.clear();
        buffer.try_reserve(len).map_err(|_| self.too_long(row))?;
        buffer.resize(len, 0);
        self.copy_out(first, 0, buffer)?;
        self.check_still(at, version)?;
        if state.has_extras() {
            let tail = buffer.get(key_len..).ok_or(Fault::Damage)?;
            let (head, _, _) = extras::split(tail).ok_or(Fault::Damage)?;
            if tags.is_outdated(&head, &tail[HEAD..head.texts_at()]) {
                stamp = Stamp::INVALID;
            }
            buffer.drain(key_len..key_len + head.len);
        }
        Ok(Copied {
            version,
            used,
            kind,
            inline,
            key_len,
            stamp,
        })
    }
}
