//! Recency of reads that take no lock. A reader writes each use into the ring of its thread; whoever takes the lock applies
//! all rings to the order of recency before it does anything else.
//!
//! - Times of use come from one shared counter (`control.uses`), so that uses by several processes that do not overlap keep
//!   their order. Whoever applies the rings raises the counter before it loads the heads, and leaves records of later times
//!   where they are: a use that comes later is never applied before one that came earlier. A thread may take several times
//!   at once, and uses them up for as long as the counter stays where it was. Where all rings are empty, the counter stays
//!   as it is: a record that is published after that look belongs to a use that overlaps with the call, and is applied by
//!   the next one.
//! - A record counts only if its version is the row's and its time is after the row's last use. So it does not matter
//!   whether a process that was killed had applied it already.
//! - **The latest use comes first.** Records are applied from the latest back, each row to the place of its time. An earlier
//!   use of a row that was moved already does not count, so an entry that was used often is moved once. After each move the
//!   order of recency is that of the times, so a process may be killed between any two.
//! - In one ring the order of the records counts, where their times contradict it.
//! - Records are counts, too: each is a hit, but for those that the owner has said are none (`uncounted`). A ring that is full
//!   takes no record, and the owner counts the use alone (`dropped`). The number of records goes on with the next owner, and
//!   over 32 bits: `earlier` has all of it up to a recent record, and whoever applies the rings carries it on. That needs no
//!   record of a change: done again, or a time later, it gives the same.
//! - Nothing in a ring is trusted: a head that is more than a ring's size above the tail empties the ring, a row that is none
//!   is passed over.

use std::process;

use super::{
    edit::Edit,
    layout::{MOST_RECORDS, NONE, RECORDS, RINGS, Ring, State, ring_bytes},
    memory::Memory,
    view::Checked,
};

/// What is left of a ring.
#[derive(Clone, Copy, Default)]
struct Cursor {
    ring: u32,
    /// For how many records the ring has room: a power of two.
    room: u32,
    /// The first record, and one behind the last.
    tail: u32,
    head: u32,
    /// The last record: its row with its version, and its time, or the time of a later record that was applied if that is less.
    row: u32,
    version: f64,
    time: u64,
}

/// The part of the order of recency that is in place already. The next row is moved behind it.
struct Cut {
    /// The last row of that part; `NONE` where it is empty.
    newer: u32,
    /// How many more rows, used later than a record, may be added to that part. A limit bounds the time under the lock: a process
    /// that was stopped between its look at the count of uses and its record leaves a record with an old time.
    passes: u32,
}

impl<M: Memory> Edit<M> {
    /// Applies the uses that were recorded up to now to the order of recency.
    #[inline]
    pub(super) fn apply_rings(&self) -> Checked<()> {
        // The heads tell, and not the count of uses: a thread adds to the count before it has written the record.
        if !self.has_records()? {
            return Ok(());
        }
        // A thread may have taken several times at once. It gives up those that are left when it sees that the count has
        // moved on, so a use that comes after this moment has a later time. The count is raised before the heads that count
        // are loaded: those above only told that there is something to do.
        self.apply_up_to(self.time_of(self.header().control.uses.add_one()))
    }

    /// Whether a record waits in any ring.
    fn has_records(&self) -> Checked<bool> {
        for at in 0..self.header().rings_used.get().min(RINGS) {
            let ring = self.ring_at(at)?;
            if ring.head.acquire() != ring.tail.get() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn apply_up_to(&self, limit: u64) -> Checked<()> {
        let header = self.header();
        let mut cursors = [Cursor::default(); RINGS as usize];
        let mut count = 0;
        let mut records = 0;
        // Of the records that are found, none has a later time than the count has now.
        for at in 0..header.rings_used.get().min(RINGS) {
            let ring = self.ring_at(at)?;
            let (head, tail) = (ring.head.acquire(), ring.tail.get());
            ring.catch_up();
            match head.wrapping_sub(tail) {
                0 => {}
                waiting if waiting <= ring.room() => {
                    cursors[count] = Cursor {
                        ring: at,
                        room: ring.room(),
                        tail,
                        head,
                        time: u64::MAX,
                        ..Cursor::default()
                    };
                    count += 1;
                    records += waiting;
                }
                _ => ring.tail.set(head),
            }
        }
        let now = self.time_of(header.control.uses.acquire());
        let time_of = |low: u32| now.saturating_sub(u64::from((now as u32).wrapping_sub(low)));
        let mut ends = [(0, 0); RINGS as usize];
        let rings = count;
        for at in (0..rings).rev() {
            let cursor = &mut cursors[at];
            // Uses that came later stay.
            while cursor.head != cursor.tail {
                cursor.time = time_of(self.look_at(cursor)?);
                if cursor.time <= limit {
                    break;
                }
                cursor.head = cursor.head.wrapping_sub(1);
            }
            ends[at] = (cursor.ring, cursor.head);
            if cursor.head == cursor.tail {
                count -= 1;
                cursors[at] = cursors[count];
            }
        }
        let mut cut = Cut {
            newer: NONE,
            passes: records.saturating_add(64),
        };
        while let Some(next) = (0..count).max_by_key(|at| cursors[*at].time) {
            let cursor = &mut cursors[next];
            self.use_row(cursor.row, cursor.version, cursor.time, &mut cut)?;
            cursor.head = cursor.head.wrapping_sub(1);
            if cursor.head == cursor.tail {
                count -= 1;
                cursors[next] = cursors[count];
            } else {
                cursor.time = cursor.time.min(time_of(self.look_at(cursor)?));
            }
        }
        for (ring, end) in &ends[..rings] {
            // After the loads of the records: their owner writes others in their place.
            self.ring_at(*ring)?.tail.publish(*end);
        }
        header.clock.set(header.clock.get().max(limit));
        Ok(())
    }

    /// Loads the last record of what is left of a ring. Gives the low half of its time.
    fn look_at(&self, cursor: &mut Cursor) -> Checked<u32> {
        let at = cursor.head.wrapping_sub(1) & (cursor.room - 1) & (MOST_RECORDS - 1);
        let record = &self.ring_at(cursor.ring)?.records[at as usize];
        cursor.version = record.version.get();
        cursor.row = record.row.get();
        Ok(record.time.get())
    }

    /// Moves an entry to the place of this time in the order of recency, if it is still the same and was not used later.
    fn use_row(&self, at: u32, version: f64, mut time: u64, cut: &mut Cut) -> Checked<()> {
        let header = self.header();
        if at == NONE || at >= header.rows_used.get() {
            return Ok(());
        }
        let row = self.row_at(at)?;
        // Most records are earlier uses of rows that were moved already.
        if time <= row.used.get() || row.state().is() != State::LIVE || self.version_at(at)?.get() != version
        {
            return Ok(());
        }
        let older = loop {
            let older = match cut.newer {
                NONE => header.newest.get(),
                newer => self.live_row(newer)?.older.get(),
            };
            if older == NONE {
                break older;
            }
            let used = self.live_row(older)?.used.get();
            if used < time {
                break older;
            }
            if cut.passes == 0 {
                time = used;
                break older;
            }
            cut.passes -= 1;
            cut.newer = older;
        };
        let newer = std::mem::replace(&mut cut.newer, at);
        if older == at {
            row.used.set(time);
            return Ok(());
        }
        self.move_between(at, row, newer, older, time)
    }

    /// A ring for the thread `owner`: one that is free, or whose thread is gone. `None`: all are in use, or there is no
    /// memory for one more. The rings have been applied.
    pub(super) fn claim_ring(&self, owner: u64, is_alive: impl Fn(u64) -> bool) -> Checked<Option<u32>> {
        let used = self.header().rings_used.get().min(RINGS);
        for at in 0..used {
            if self.ring_at(at)?.owner.get() == 0 {
                return self.take_ring(at, owner);
            }
        }
        if used < RINGS {
            let from = self.ring_starts(used);
            if self.memory.commit(from..from + ring_bytes(RECORDS)).is_err() {
                return Ok(None);
            }
            self.header().rings_used.set(used + 1);
            return self.take_ring(used, owner);
        }
        for at in 0..used {
            if !is_alive(self.ring_at(at)?.owner.get()) {
                return self.take_ring(at, owner);
            }
        }
        Ok(None)
    }

    /// How many reads without the lock were hits.
    pub(super) fn unlocked_hits(&self) -> u64 {
        let rings = 0..self.header().rings_used.get().min(RINGS);
        rings.fold(0, |sum, at| {
            sum.saturating_add(self.ring_at(at).map_or(0, |ring| ring.hits()))
        })
    }

    /// The processes that have a ring: the thread that owns it, and the process.
    pub(super) fn ring_owners(&self) -> impl Iterator<Item = (u64, u32)> {
        let rings = 0..self.header().rings_used.get().min(RINGS);
        let owners = rings.filter_map(|at| {
            let ring = self.ring_at(at).ok()?;
            Some((ring.owner.get(), ring.process.get()))
        });
        owners.filter(|(owner, _)| *owner != 0)
    }

    fn take_ring(&self, at: u32, owner: u64) -> Checked<Option<u32>> {
        let ring = self.ring_at(at)?;
        // The number of records goes on.
        ring.tail.set(ring.head.get());
        ring.catch_up();
        ring.process.set(process::id());
        ring.capacity.set(RECORDS);
        ring.owner.set(owner);
        Ok(Some(at))
    }

    /// Doubles the room of the ring of this thread, where it is empty and not as large as any may be.
    pub(super) fn grow_ring(&self, at: u32) -> Checked<()> {
        let ring = self.ring_at(at)?;
        let room = ring.room();
        if room >= MOST_RECORDS || ring.head.get() != ring.tail.get() {
            return Ok(());
        }
        let from = self.ring_starts(at);
        if self.memory.commit(from..from + ring_bytes(room * 2)).is_ok() {
            ring.capacity.set(room * 2);
        }
        Ok(())
    }

    /// Where a ring starts, in bytes from the start of the segment.
    pub(super) fn ring_starts(&self, at: u32) -> usize {
        self.geometry.rings_at + at as usize * size_of::<Ring>()
    }
}
