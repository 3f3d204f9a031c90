//! The leases of a segment: see [`crate::lease`]. They lie in a region of their own: marks, places, room for outcomes.
//!
//! A lease lies in one of [`WINDOW`] places that follow each other, of which the hash of its key says the first. A search
//! looks at the marks of all of them, so no place depends on another. The key itself is not kept, but 128 bits of its hash, and its
//! first bytes.
//!
//! Who writes: whoever has the lock. Who reads: also [`View::lease_runs`], and the thread of `sleeper.rs`, without the lock. What a kill leaves:
//! - A place counts only with its check number, which is stored last when a lease begins and cleared first when it ends. A kill
//!   in between leaves a place that is free. So does damage.
//! - A mark is there before its place counts, and goes after that. A mark alone means nothing.
//! - `held` says that a change is under way (its highest bit) from before the change until after. Whoever finds the bit counts the leases
//!   anew. So `held` is never 0 while there is a lease.
//! - A lease ends before the word `wake` is raised, and that before the lock is given back. A process that is killed before it has
//!   raised the word leaves it as it was: who waits looks at its lease again after 50 ms.

use super::{
    edit::Edit,
    head::check_of,
    layout::{KEY_HEAD, LeaseHead, LeasePlace, MARKS_BYTES, NONE, OUTCOMES, PLACES_BYTES, Word},
    memory::Memory,
    segment::Segment,
    view::{Checked, Fault, View},
};
use crate::{
    error::Result,
    extras::Tags,
    lease::{Held, LONGEST_OUTCOME, Lease, Leases, Outcome, PLACES, Phase},
    value::{Kind, Value},
};

/// Places in which a lease may lie.
pub(super) const WINDOW: u32 = 32;

/// The bit of `held` that says that a change is under way.
const CHANGING: u32 = 1 << 31;

/// What a lease is: [`LeasePlace::state`]. The kind of a value, above that.
const RUNNING: u32 = 1;
const LEFT_VALUE: u32 = 2;
const LEFT_ERROR: u32 = 3;
const VOID: u32 = 4;

/// The state of a lease, as its place has it.
fn phase_of(state: u32) -> Phase {
    match state & 0xFF {
        RUNNING => Phase::Running,
        VOID => Phase::Void,
        _ => Phase::Over,
    }
}

/// A lease, as its place has it.
#[derive(Clone, Copy)]
struct Found {
    lease: Lease,
    state: u32,
    inline: u64,
}

/// The bytes of an outcome: in which room, and how many.
fn room_of(inline: u64) -> Option<(u32, usize)> {
    let (room, len) = ((inline >> 32) as u32, inline as u32 as usize);
    (room < OUTCOMES && len <= LONGEST_OUTCOME).then_some((room, len))
}

impl LeasePlace {
    /// The check number of what the place has. Never 0.
    fn sum(&self) -> u64 {
        let pair = u64::from(self.state.get()) << 32 | u64::from(self.key_len.get());
        let numbers = [
            self.token.get().to_bits(),
            self.hash[0].get(),
            self.hash[1].get(),
            self.owner.get(),
            self.deadline.get(),
            self.since.get(),
            self.inline.get(),
            pair,
        ];
        let heads = self.head.iter().map(|word| word.get());
        check_of(numbers.into_iter().chain(heads)) | 1
    }

    /// What the place has; `None` for nothing, or damage.
    fn read(&self) -> Option<Found> {
        let check = self.check.get();
        if check == 0 || check != self.sum() {
            return None;
        }
        let state = self.state.get();
        Some(Found {
            lease: Lease {
                token: self.token.get(),
                owner: self.owner.get(),
                deadline: self.deadline.get(),
                since: self.since.get(),
                phase: phase_of(state),
            },
            state,
            inline: self.inline.get(),
        })
    }

    /// Whether the lease of a token is here, and in this state. Needs no lock: the check number goes first where a lease ends, and the
    /// token that is read after it is that of this lease or of a later one.
    pub(super) fn is(&self, token: f64, phase: Phase) -> bool {
        self.check.acquire() != 0 && phase_of(self.state.get()) == phase && self.token.get() == token
    }

    /// The first bytes of the key.
    fn key_head(&self) -> [u8; KEY_HEAD] {
        let mut head = [0; KEY_HEAD];
        for (part, word) in head.chunks_exact_mut(8).zip(&self.head) {
            part.copy_from_slice(&word.get().to_ne_bytes());
        }
        head
    }
}

impl<M: Memory> View<M> {
    fn leases(&self) -> &LeaseHead {
        &self.header().leases
    }

    fn lease_mark(&self, at: u32) -> Checked<&Word> {
        self.item(self.geometry.leases_at, at, 0..PLACES)
    }

    fn lease_place(&self, at: u32) -> Checked<&LeasePlace> {
        self.item(self.geometry.leases_at + MARKS_BYTES, at, 0..PLACES)
    }

    /// The place of the lease on a key that `is` accepts. Reads alone.
    fn find_lease(&self, hash: [u64; 2], is: impl Fn(&LeasePlace) -> bool) -> Option<u32> {
        if self.leases().ready.get() == 0 {
            return None;
        }
        let mark = mark_of(hash);
        let window = (0..WINDOW).map(|step| (hash[0] as u32).wrapping_add(step) % PLACES);
        window.into_iter().find(|at| {
            self.lease_mark(*at).is_ok_and(|word| word.get() == mark)
                && self.lease_place(*at).is_ok_and(|place| {
                    place.hash[0].get() == hash[0] && place.hash[1].get() == hash[1] && is(place)
                })
        })
    }

    /// The place in which the lease of a token is, in this state. Needs no lock.
    pub(super) fn lease_is(&self, key: &[u8], token: f64, phase: Phase) -> Option<u32> {
        self.find_lease(self.key_hash(key), |place| place.is(token, phase))
    }

    /// Where the bytes of an outcome are, in bytes from the start of the segment.
    fn room_at(&self, room: u32) -> usize {
        self.geometry.leases_at + PLACES_BYTES + room as usize * LONGEST_OUTCOME
    }

    /// The words of an outcome of `len` bytes.
    fn room_words(&self, room: u32, len: usize) -> Checked<&[Word]> {
        if room >= OUTCOMES || len > LONGEST_OUTCOME {
            return Err(Fault::Damage);
        }
        self.words(self.room_at(room), len.div_ceil(size_of::<Word>()))
    }

    /// Whether `held` and the places agree.
    pub(super) fn validate_leases(&self) -> std::result::Result<(), String> {
        let held = self.leases().held.get();
        let counted = self.count_leases();
        if held & CHANGING == 0 && held != counted {
            return Err(format!("{held} leases are counted, {counted} are there"));
        }
        Ok(())
    }

    fn count_leases(&self) -> u32 {
        if self.leases().ready.get() == 0 {
            return 0;
        }
        let is_lease = |at: &u32| {
            self.lease_mark(*at).is_ok_and(|mark| mark.get() != 0)
                && self.lease_place(*at).is_ok_and(|place| place.read().is_some())
        };
        (0..PLACES).filter(is_lease).count() as u32
    }
}

/// The mark of a key. Not 0.
fn mark_of(hash: [u64; 2]) -> u32 {
    hash[1] as u32 | 1
}

impl<M: Memory> Edit<M> {
    /// Makes a change of places, by which there are so many leases more.
    fn change_leases(&self, more: i32, change: impl FnOnce()) {
        let held = &self.leases().held;
        let mut count = held.get();
        if count & CHANGING != 0 || count > PLACES {
            // A process was killed in the middle of a change, or there is damage.
            count = self.count_leases();
        }
        held.commit(count | CHANGING);
        change();
        held.commit(count.saturating_add_signed(more).min(PLACES));
    }

    /// The place of the lease on a key that `is` accepts, and the lease. One that is damaged is freed.
    fn lease_at(&self, key: &[u8], is: impl Fn(&Lease) -> bool) -> Option<(u32, Found)> {
        if self.leases().held.get() == 0 {
            return None;
        }
        let hash = self.key_hash(key);
        let at = self.find_lease(hash, |place| match place.read() {
            Some(found) => is(&found.lease),
            None => false,
        })?;
        Some((at, self.lease_place(at).ok()?.read()?))
    }

    /// Frees a place. Returns whether somebody waits for its lease.
    fn free_lease(&self, at: u32) -> bool {
        let (Ok(mark), Ok(place)) = (self.lease_mark(at), self.lease_place(at)) else {
            return false;
        };
        let waits = place.waiters.get() != 0;
        self.change_leases(-1, || {
            place.check.commit(0);
            mark.commit(0);
        });
        waits
    }

    /// Makes sure that there is memory behind the places.
    fn ready_leases(&self) -> bool {
        let ready = &self.leases().ready;
        if ready.get() == 0 {
            let at = self.geometry.leases_at;
            if self.memory.commit(at..at + PLACES_BYTES).is_err() {
                return false;
            }
            ready.set(1);
        }
        true
    }

    /// A place for a lease on a key: a free one, or one whose time is over. The second part: its lease, if it has one.
    fn place_for(&self, hash: [u64; 2], now: u64) -> Option<(u32, bool)> {
        let mut over = None;
        for step in 0..WINDOW {
            let at = (hash[0] as u32).wrapping_add(step) % PLACES;
            if self.lease_mark(at).ok()?.get() == 0 {
                return Some((at, false));
            }
            match self.lease_place(at).ok()?.read() {
                // A kill or damage has left the mark.
                None => return Some((at, false)),
                Some(found) if found.lease.deadline <= now => over = over.or(Some((at, true))),
                Some(_) => {}
            }
        }
        over
    }

    fn write_lease(&self, at: u32, hash: [u64; 2], key: &[u8], lease: &Lease) -> Checked<()> {
        let (mark, place) = (self.lease_mark(at)?, self.lease_place(at)?);
        self.change_leases(1, || {
            place.check.commit(0);
            mark.commit(mark_of(hash));
            place.token.set(lease.token);
            place.hash[0].set(hash[0]);
            place.hash[1].set(hash[1]);
            place.owner.set(lease.owner);
            place.deadline.set(lease.deadline);
            place.since.set(lease.since);
            place.state.set(RUNNING);
            place.waiters.set(0);
            place.inline.set(0);
            place.key_len.set(u32::try_from(key.len()).unwrap_or(u32::MAX));
            let mut head = [0; KEY_HEAD];
            let known = key.len().min(KEY_HEAD);
            head[..known].copy_from_slice(&key[..known]);
            for (word, part) in place.head.iter().zip(head.as_chunks().0) {
                word.set(u64::from_ne_bytes(*part));
            }
            place.check.publish(place.sum());
        });
        Ok(())
    }

    /// The outcomes that have bytes: the place and the room of each, and when it goes.
    fn outcomes(&self) -> impl Iterator<Item = (u32, u32, u64)> {
        (0..PLACES).filter_map(|at| {
            if self.lease_mark(at).ok()?.get() == 0 {
                return None;
            }
            let found = self.lease_place(at).ok()?.read()?;
            let has_room = found.lease.phase == Phase::Over && has_bytes(found.state);
            let (room, _) = has_room.then(|| room_of(found.inline)).flatten()?;
            Some((at, room, found.lease.deadline))
        })
    }

    /// Writes the bytes of an outcome where there is room. Returns what leads to them.
    fn write_outcome(&self, bytes: &[u8]) -> Option<u64> {
        if bytes.len() > LONGEST_OUTCOME {
            return None;
        }
        let used = self.outcomes().fold(0_u32, |used, (_, room, _)| used | 1 << room);
        let room = (!used).trailing_zeros();
        if room >= OUTCOMES {
            return None;
        }
        let from = self.room_at(room);
        self.memory.commit(from..from + bytes.len()).ok()?;
        for (word, part) in self
            .room_words(room, bytes.len())
            .ok()?
            .iter()
            .zip(bytes.chunks(4))
        {
            let mut four = [0; 4];
            four[..part.len()].copy_from_slice(part);
            word.set(u32::from_ne_bytes(four));
        }
        Some(u64::from(room) << 32 | bytes.len() as u64)
    }

    /// A lease is over and leaves this. Returns `false`, and changes nothing, where there is no room.
    fn leave(&self, at: u32, outcome: Outcome<'_>, until: u64) -> bool {
        let Ok(place) = self.lease_place(at) else {
            return false;
        };
        let state = match outcome {
            Outcome::Value(Value::Slot(_)) => return false,
            Outcome::Value(value) => LEFT_VALUE | (value.kind() as u32) << 8,
            Outcome::Error(_) => LEFT_ERROR,
        };
        let inline = match outcome {
            _ if has_bytes(state) => self.write_outcome(outcome.bytes()),
            Outcome::Value(value) => Some(value.inline()),
            Outcome::Error(_) => None,
        };
        let Some(inline) = inline else { return false };
        // A kill in between leaves a place that is free, and `held` with its bit.
        self.change_leases(0, || {
            place.check.commit(0);
            place.state.set(state);
            place.inline.set(inline);
            place.deadline.set(until);
            place.check.publish(place.sum());
        });
        true
    }

    /// A running lease is void.
    fn void_place(&self, at: u32) -> bool {
        let Ok(place) = self.lease_place(at) else {
            return false;
        };
        // A kill in between leaves a place that is free, and `held` with its bit: the lease is gone, which is void, too.
        self.change_leases(0, || {
            place.check.commit(0);
            place.state.set(VOID);
            place.check.publish(place.sum());
        });
        true
    }

    /// The outcome of a lease that is over. Its bytes are a copy in the scratch memory.
    fn outcome_of(&self, found: Found) -> Checked<Outcome<'_>> {
        let bytes: &[u8] = match has_bytes(found.state) {
            true => {
                let (room, len) = room_of(found.inline).ok_or(Fault::Damage)?;
                let words = self.room_words(room, len)?;
                let copy = self.scratch(len)?;
                for (part, word) in copy.chunks_mut(4).zip(words) {
                    part.copy_from_slice(&word.get().to_ne_bytes()[..part.len()]);
                }
                copy
            }
            false => &[],
        };
        if found.state & 0xFF == LEFT_ERROR {
            return Ok(Outcome::Error(bytes));
        }
        let kind = Kind::of_number((found.state >> 8) as u8).ok_or(Fault::Damage)?;
        let value = Value::from_parts(kind, found.inline, bytes).ok_or(Fault::Damage)?;
        Ok(Outcome::Value(value))
    }

    /// Ends every lease, and wakes who waits: a rebuild is a newer write of every key. What `held` says does not count.
    pub(super) fn forget_leases(&self) {
        let leases = self.leases();
        let geometry = self.geometry;
        let written = self
            .memory
            .written(geometry.leases_at..geometry.leases_at + PLACES_BYTES);
        if written == PLACES_BYTES {
            for at in 0..PLACES {
                if let (Ok(mark), Ok(place)) = (self.lease_mark(at), self.lease_place(at)) {
                    // Each store gives a page memory that had none.
                    if place.check.get() != 0 {
                        place.check.commit(0);
                    }
                    if mark.get() != 0 {
                        mark.commit(0);
                    }
                }
            }
        } else {
            leases.ready.set(0);
        }
        leases.held.commit(0);
        leases.wake.add_one();
    }
}

/// Whether an outcome has bytes of its own.
fn has_bytes(state: u32) -> bool {
    match state & 0xFF {
        LEFT_ERROR => true,
        LEFT_VALUE => Kind::of_number((state >> 8) as u8).is_some_and(Kind::has_bytes),
        _ => false,
    }
}

impl<M: Memory> Segment<M> {
    /// Somebody waits for a lease that has ended: whoever sleeps is woken when the lock is given back.
    fn wake(&self) {
        self.header().leases.wake.add_one();
        self.wakes.set(true);
    }

    fn free_lease(&self, at: u32) {
        if self.edit.free_lease(at) {
            self.wake();
        }
    }

    /// The running lease of a place is void, or gone where nobody waits.
    fn void_place(&self, at: u32) {
        let waits = self
            .edit
            .lease_place(at)
            .is_ok_and(|place| place.waiters.get() != 0);
        if waits && self.edit.void_place(at) {
            self.wake();
        } else {
            self.free_lease(at);
        }
    }

    /// Does something with the place of each lease of which `which` says so.
    fn each_lease(&self, mut which: impl FnMut(&Held<'_>) -> bool, change: impl Fn(&Self, u32)) {
        if self.header().leases.ready.get() == 0 {
            return;
        }
        for at in 0..PLACES {
            let (Ok(mark), Ok(place)) = (self.edit.lease_mark(at), self.edit.lease_place(at)) else {
                return;
            };
            if mark.get() == 0 {
                continue;
            }
            let head = place.key_head();
            let key_len = place.key_len.get() as usize;
            if let Some(Found { lease, .. }) = place.read() {
                let head = &head[..key_len.min(KEY_HEAD)];
                if which(&Held { lease, head, key_len }) {
                    change(self, at);
                }
            }
        }
    }

    /// The place in which the lease of a token runs on a key, and how many processes wait for it. Needs no lock.
    pub fn lease_runs(&self, key: &[u8], token: f64) -> Option<(u32, u32)> {
        if self.header().moved.get() != NONE {
            return None;
        }
        let at = self.edit.lease_is(key, token, Phase::Running)?;
        Some((at, self.edit.lease_place(at).ok()?.waiters.get()))
    }

    /// The place of a lease that is in the same state. Needs no lock.
    pub fn lease_is(&self, key: &[u8], lease: Lease) -> Option<u32> {
        if self.header().moved.get() != NONE {
            return None;
        }
        self.edit.lease_is(key, lease.token, lease.phase)
    }
}

impl<M: Memory> Leases for Segment<M> {
    #[inline(always)]
    fn has_leases(&self) -> bool {
        self.header().leases.held.get() != 0
    }

    fn lease(&mut self, key: &[u8]) -> Option<Lease> {
        let found = self.edit.lease_at(key, |lease| lease.phase == Phase::Running);
        found.map(|(_, found)| found.lease)
    }

    fn lease_with(&mut self, key: &[u8], token: f64) -> Option<Lease> {
        let found = self.edit.lease_at(key, |lease| lease.token == token);
        found.map(|(_, found)| found.lease)
    }

    fn begin_lease(&mut self, key: &[u8], owner: u64, deadline: u64, now: u64) -> Option<f64> {
        if !self.edit.ready_leases() {
            return None;
        }
        let hash = self.edit.key_hash(key);
        let (at, is_taken) = self.edit.place_for(hash, now)?;
        if is_taken {
            self.free_lease(at);
        }
        let lease = Lease {
            token: self.edit.next_version(),
            owner,
            deadline,
            since: self.header().tags.count.get(),
            phase: Phase::Running,
        };
        self.edit.write_lease(at, hash, key, &lease).ok()?;
        Some(lease.token)
    }

    fn end_lease(&mut self, key: &[u8], token: f64) {
        if let Some((at, _)) = self.edit.lease_at(key, |lease| lease.token == token) {
            self.free_lease(at);
        }
    }

    fn end_leases(&mut self, which: impl FnMut(&Held<'_>) -> bool) {
        self.each_lease(which, Self::free_lease);
    }

    fn void_lease(&mut self, key: &[u8], token: f64) {
        let is = |lease: &Lease| lease.phase == Phase::Running && lease.token == token;
        if let Some((at, _)) = self.edit.lease_at(key, is) {
            self.void_place(at);
        }
    }

    fn void_leases(&mut self, mut which: impl FnMut(&Held<'_>) -> bool) {
        self.each_lease(
            |held| held.lease.phase == Phase::Running && which(held),
            Self::void_place,
        );
    }

    fn leave_outcome(&mut self, key: &[u8], token: f64, outcome: Outcome<'_>, until: u64) {
        let is = |lease: &Lease| lease.phase != Phase::Over && lease.token == token;
        let Some((at, _)) = self.edit.lease_at(key, is) else {
            return;
        };
        let waits = self
            .edit
            .lease_place(at)
            .is_ok_and(|place| place.waiters.get() != 0);
        if waits && !outcome.bytes().is_empty() && self.edit.outcomes().count() >= OUTCOMES as usize {
            // The oldest was most likely left for a process that is gone.
            let oldest = self.edit.outcomes().min_by_key(|(_, _, until)| *until);
            if let Some((oldest, ..)) = oldest {
                self.free_lease(oldest);
            }
        }
        if waits && self.edit.leave(at, outcome, until) {
            self.wake();
        } else {
            self.free_lease(at);
        }
    }

    fn outcome<R>(
        &mut self,
        key: &[u8],
        token: f64,
        read: impl FnOnce(Outcome<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.forget();
        let is = |lease: &Lease| lease.phase == Phase::Over && lease.token == token;
        let Some((at, found)) = self.edit.lease_at(key, is) else {
            return Ok(None);
        };
        match self.edit.outcome_of(found) {
            Ok(outcome) => read(outcome).map(Some),
            Err(Fault::Damage) => {
                self.free_lease(at);
                Ok(None)
            }
            Err(memory) => Err(memory.into()),
        }
    }

    fn is_outdated(&mut self, lease: &Lease, tags: Tags<'_>) -> bool {
        let hashes = tags.iter().map(|tag| self.edit.long_hash(tag));
        self.edit.table().may_be_older(lease.since, hashes)
    }

    fn await_lease(&mut self, key: &[u8], token: f64, waits: bool) {
        let Some((at, found)) = self.edit.lease_at(key, |lease| lease.token == token) else {
            return;
        };
        let Ok(place) = self.edit.lease_place(at) else {
            return;
        };
        let waiters = place.waiters.get();
        let waiters = match waits {
            true => waiters.saturating_add(1),
            false => waiters.saturating_sub(1),
        };
        place.waiters.set(waiters);
        if found.lease.phase != Phase::Running && waiters == 0 {
            self.free_lease(at);
        }
    }
}
