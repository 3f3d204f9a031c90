//! Header, row and block, and the words they are made of.
//!
//! Shared memory is never seen as a `&[u8]` or a `&u32`: another process may write it at any time, by right or
//! because it is broken. All of it is atomics, read and written relaxed. The lock orders them between processes; for
//! reads without the lock, the versions do.

use std::{
    mem::{align_of, offset_of, size_of},
    ops::Deref,
    sync::atomic::{
        Ordering::{AcqRel, Acquire, Relaxed, Release},
        compiler_fence,
    },
};

use super::{
    atomics::{AtomicU32, AtomicU64, fence},
    crash_point,
};
use crate::{
    lease::{LONGEST_OUTCOME, PLACES},
    stats::EVENTS,
    value::Kind,
};

/// The end of a list: row and block 0 are never used.
pub const NONE: u32 = 0;

/// The most blocks in a segment.
const BLOCKS_MOST: u32 = 1 << 31;

/// Blocks in a group: one word of [`Section::free`]. Together they are 4 KiB.
pub const GROUP: u32 = u64::BITS;

/// Groups in a section: one word of [`Section::first`].
pub const GROUPS: u32 = u64::BITS;

/// Bytes of key and value in a block.
pub const PAYLOAD: usize = BLOCK - size_of::<Word>();

/// Bytes of a block.
const BLOCK: usize = 64;

/// Where regions start, and by what they grow: a multiple of every page size.
pub const ALIGN: usize = 64 * 1024;

/// "LRUCLUST"
pub const MAGIC: u64 = u64::from_be_bytes(*b"LRUCLUST");

/// "MOVE"
pub const MOVED: u32 = u32::from_be_bytes(*b"MOVE");

/// "OVER"
pub const OVER: u32 = u32::from_be_bytes(*b"OVER");

/// Changes with everything here, and with the way a key is hashed.
pub const VERSION: u32 = 4;

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $atomic:ty, $plain:ty, $from:expr, $to:expr) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Debug)]
        pub struct $name($atomic);

        impl $name {
            #[inline(always)]
            pub fn get(&self) -> $plain {
                $from(self.0.load(Relaxed))
            }

            #[inline(always)]
            pub fn set(&self, value: $plain) {
                crash_point::reached();
                self.0.store($to(value), Relaxed);
            }
        }
    };
}

word!(
    /// A `u32` in shared memory.
    Word, AtomicU32, u32, |x| x, |x| x
);
word!(
    /// A `u64` in shared memory.
    Long, AtomicU64, u64, |x| x, |x| x
);
word!(
    /// An `f64` in shared memory.
    Float, AtomicU64, f64, f64::from_bits, f64::to_bits
);

macro_rules! committed {
    ($name:ident, $plain:ty) => {
        impl $name {
            /// A store that everything before it must precede and nothing after it may overtake, as this process
            /// runs: where it is stopped by force, what it stored is exactly what comes before some point of its
            /// program. Other processes look only once it is gone or has unlocked, so no more is needed.
            #[inline(always)]
            pub fn commit(&self, value: $plain) {
                compiler_fence(Release);
                self.set(value);
                compiler_fence(Acquire);
                compiler_fence(Release);
            }
        }
    };
}

committed!(Word, u32);
committed!(Long, u64);

macro_rules! halves {
    ($name:ident) => {
        impl $name {
            /// The two words of a number that a change stores one by one. The number is read under the lock, or is worth
            /// nothing without a check number.
            pub fn halves(&self) -> [&Word; 2] {
                // SAFETY: two words take the place of one number, with less alignment. Every access is atomic, and whoever
                // has the lock is alone.
                let words = unsafe { &*(&raw const *self).cast::<[Word; 2]>() };
                [&words[0], &words[1]]
            }
        }
    };
}

halves!(Long);
halves!(Float);

impl Word {
    /// A store that a process which has not the lock may see, with everything before it.
    pub fn publish(&self, value: u32) {
        crash_point::reached();
        self.0.store(value, Release);
    }

    /// Reads what was published.
    pub fn acquire(&self) -> u32 {
        self.0.load(Acquire)
    }

    /// Adds 1, as several processes may at the same time without the lock. Returns the sum. Whoever adds later sees all that
    /// was stored before this.
    pub fn add_one(&self) -> u32 {
        crash_point::reached();
        self.0.fetch_add(1, AcqRel).wrapping_add(1)
    }

    /// Adds 1 to a count that only people read.
    pub fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Long {
    /// A store that a process which has not the lock may see, with everything before it.
    pub fn publish(&self, value: u64) {
        crash_point::reached();
        self.0.store(value, Release);
    }

    /// Reads what was published.
    pub fn acquire(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// Adds to a count. Whoever does has the lock.
    #[inline(always)]
    pub fn add(&self, times: u64) {
        self.set(self.get().wrapping_add(times));
    }
}

impl Float {
    /// A store that comes after every store before it, for a process that reads without the lock.
    pub fn publish(&self, value: f64) {
        crash_point::reached();
        self.0.store(value.to_bits(), Release);
    }

    /// A store that comes before every store after it, for a process that reads without the lock.
    pub fn end(&self, value: f64) {
        self.set(value);
        fence(Release);
    }

    /// Reads what was published.
    pub fn acquire(&self) -> f64 {
        f64::from_bits(self.0.load(Acquire))
    }
}

/// The head of the segment.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Header {
    /// `MAGIC`
    pub magic: Long,
    /// `VERSION`
    pub version: Word,
    /// 1 once everything else is in place.
    pub ready: Word,
    /// The geometry.
    pub buckets_max: Word,
    pub rows_max: Word,
    pub blocks_max: Word,
    /// `MOVED` once its entries have gone to another segment, or the primary has destroyed the namespace. `OVER` while siblings
    /// have no namespace in it: it was destroyed, or not opened yet.
    pub moved: Word,
    /// Of the hash.
    pub seed: Long,
    /// The hash of a known key: processes that would hash differently must not meet here.
    pub hash_check: Long,
    /// Chosen at random when the segment was made: tells it from any other.
    pub nonce: [Long; 2],

    /// The lock.
    pub lock: LockPlace,

    /// How often a process completed the change of another that was killed.
    pub completed: Word,
    /// 1 when damage was found by a call that could not mend it.
    pub damaged: Word,
    /// How often it was rebuilt, and how many entries that cost.
    pub recoveries: Word,
    pub dropped: Word,
    /// 1 while a process owns the slots among the values.
    pub slot_owner: Word,
    /// Not 0 once the application in the primary has the synchronous cache, and may have put functions on it.
    pub exposed: Word,
    /// The inodes of the PID and of the time namespace in which it was made: see [`super::kernel`]. Like the first
    /// words, they never change.
    pub pid_namespace: Long,
    pub time_namespace: Long,
    _2: [Word; 6],

    // The limits.
    pub max: Float,
    pub max_age: Float,
    pub max_size: Float,
    pub max_entry_size: Float,
    pub allow_stale: Word,
    _3: Word,
    /// When a schedule last pruned, in milliseconds since the epoch.
    pub pruned_at: Float,
    /// The check number of the limits. They lie here alone, so nothing else shows that they are damaged.
    pub limits_check: Long,
    /// The last version at the last `reset`. What has a version that is not above it is no entry any more. Here, because
    /// readers without the lock read the limits, too.
    pub floor: Float,

    // What is in use. Rows and blocks below `…_used` are in use or free, those above were never
    // used; below `…_ready` there is memory behind them.
    /// Entries.
    pub len: Word,
    pub buckets: Word,
    pub rows_used: Word,
    pub blocks_used: Word,
    pub buckets_ready: Word,
    pub rows_ready: Word,
    pub blocks_ready: Word,
    /// Free blocks.
    pub blocks_free: Word,
    /// Heads of lists.
    pub free_row: Word,
    /// The group where blocks were taken or freed last. Any number will do: a search for free blocks begins there.
    pub near_group: Word,
    /// Rows whose slots their process has not let go yet.
    pub released: Word,
    pub newest: Word,
    pub oldest: Word,
    /// Entries whose values are slots.
    pub slots: Word,
    /// The time of use up to which the rings were applied, or the last one given under the lock. Its lower 32 bits are
    /// those of `control.uses` at that moment.
    pub clock: Long,

    /// What processes read without the lock.
    pub control: Control,

    // Columns, rings.
    /// The last version that an entry has got.
    pub last_version: Float,
    /// Rows that have memory behind their version. Never gets less.
    pub versions_ready: Word,
    /// Rings from the first to the last one that was ever claimed.
    pub rings_used: Word,
    /// A chain of blocks that no entry has and that are not free: those of a long value, on the way from one to the other.
    /// `NONE` for none.
    pub loose_block: Word,
    /// The number of blocks in that chain. The link of the last one means nothing.
    pub loose_count: Word,
    /// Not 0 while there is memory that a `reset` has left and that is to be given back to the system.
    pub excess: Word,
    /// Sections that have memory behind them.
    pub sections_ready: Word,
    _5: [Word; 8],

    /// The change under way.
    pub intent: Intent,

    /// The last level of the summaries: a bit for each 64 sections. See `blocks.rs`.
    pub third: [[Long; THIRD]; 2],

    /// What was counted under the lock.
    pub counts: Counters,

    /// Whose segment it is, for people.
    pub label: Label,

    /// The invalidations of tags.
    pub tags: Invalidations,

    pub leases: LeaseHead,
}

/// What is known of all leases: see `leases.rs`. In a line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct LeaseHead {
    /// How many there are, and a bit while that changes. Never 0 while there is one.
    pub held: Word,
    /// Not 0 once their places have memory.
    pub ready: Word,
    /// Changes with each end of a lease for which somebody waits: processes sleep on it.
    pub wake: Word,
    _1: [Word; 13],
}

/// A lease, or the place for one.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct LeasePlace {
    /// The check number of everything below but `waiters`; 0: the place is free.
    pub check: Long,
    pub token: Float,
    /// Of the key.
    pub hash: [Long; 2],
    /// As the lock names threads.
    pub owner: Long,
    pub deadline: Long,
    /// The count of invalidations of tags when it was claimed.
    pub since: Long,
    pub state: Word,
    /// How many processes wait for its end.
    pub waiters: Word,
    /// Of an outcome: its 8 bytes, or where its bytes are.
    pub inline: Long,
    pub key_len: Word,
    _1: Word,
    /// The first bytes of the key.
    pub head: [Long; KEY_HEAD / size_of::<Long>()],
}

/// The name of a namespace, in UTF-8, as far as there is room.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Label {
    /// In bytes; 0 where it was not written yet.
    pub len: Word,
    pub bytes: [Word; LABEL_BYTES / size_of::<Word>()],
}

/// The most bytes of a [`Label`].
pub const LABEL_BYTES: usize = 508;

/// How often each [`crate::stats::Event`] happened under the lock, in lines of its own. No record of a change has them: a
/// process that is killed may leave its last call uncounted. A rebuild leaves them as they are.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Counters {
    pub events: [Long; EVENTS],
    _1: [Long; 5],
}

/// Words of the last level of a summary.
const THIRD: usize = (BLOCKS_MOST / (GROUP * GROUPS * 64 * 64)) as usize;

/// The record of a change: each word that the change stores, with its address and its new value. See `intent.rs`.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Intent {
    /// The check number of everything below while the change is to be made; 0 otherwise.
    pub check: Long,
    /// How many words there are.
    pub count: Word,
    /// The row whose version ends before anything else changes; `NONE` for none.
    pub ended: Word,
    /// The row that gets `version` after everything else has changed; `NONE` for none.
    pub begun: Word,
    /// The row that gets the time of use `used`; `NONE` for none.
    pub used_row: Word,
    pub version: Float,
    pub used: Long,
    _1: [Long; 3],
    /// Where each word is, in bytes from the start of the segment.
    pub addresses: [Long; INTENT_WORDS],
    /// What each word becomes.
    pub values: [Word; INTENT_WORDS],
}

/// The most words that one change stores.
pub const INTENT_WORDS: usize = 48;

/// Words that processes read without the lock, JavaScript among them (`lib/near/`): see the rules in `control.rs`.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Control {
    /// Odd while several changes that count as one are under way: what is read without the lock does not count then.
    pub gate: Word,
    /// Odd while ages, or everything at once, change. A new number after each such change: what was read before may be
    /// out of date, whatever its version.
    pub epoch: Word,
    /// A new number with each invalidation of tags: what was read before of an entry with tags may be out of date.
    pub tags: Word,
    _1: [Word; 13],
    /// The uses of entries that were counted: the source of times of use. In a line of its own, since every read that
    /// counts as a use adds to it.
    pub uses: Word,
    _2: [Word; 15],
}

/// The tags that were invalidated, but for the table: see `tags.rs`.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Invalidations {
    /// How often tags were invalidated.
    pub count: Long,
    /// Every entry with tags that was stored when the count was below this one is outdated.
    pub floor: Long,
    /// Of each half of the table: the slots whose numbers are not above this one are free. `CLEAR`: the whole half is.
    pub bases: [Long; 2],
    /// The count when the sweep began that is under way, or that was completed last.
    pub swept: Long,
    /// The half that takes new tags, and how many it has taken.
    pub half: Word,
    pub used: Word,
    /// The row with which the sweep goes on; `NONE` where none is under way.
    pub sweep: Word,
    /// 1 while several tags are being invalidated by one call.
    pub several: Word,
    /// 1 once the table has memory.
    pub ready: Word,
    _1: Word,
}

/// All of a half of the table of tags is free.
pub const CLEAR: u64 = u64::MAX;

/// A tag that was invalidated.
#[repr(C)]
#[derive(Debug)]
pub struct TagSlot {
    /// Of the tag.
    pub hash: Long,
    /// The number of its last invalidation.
    pub number: Long,
}

/// Slots in a half of the table of tags.
pub const TAG_SLOTS: u32 = 2048;

/// The bytes of [`Control`] that JavaScript sees.
pub const CONTROL_BYTES: usize = size_of::<Control>();

/// The uses of entries by the reads of one thread, which wait to be applied to the order of recency. The thread writes
/// `records` and then `head`; whoever has the lock reads them and writes `tail`.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Ring {
    pub head_line: RingHead,
    /// As many of them as `RingHead::capacity` says are in use, and have memory behind them.
    pub records: [Record; MOST_RECORDS as usize],
    /// Up to a whole number of pages.
    _1: [Word; 1008],
}

/// The first line of a [`Ring`].
#[repr(C, align(64))]
#[derive(Debug)]
pub struct RingHead {
    /// The number of records ever written. Wraps around.
    pub head: Word,
    /// The number of records applied. Wraps around.
    pub tail: Word,
    /// The thread that writes it, as the lock has it; 0 for none.
    pub owner: Long,
    /// The number of records ever written, up to a recent one: its lower 32 bits are those of `head` then.
    pub earlier: Long,
    /// How many records the ring has room for: a power of two from `RECORDS` to `MOST_RECORDS`. It changes while the owner
    /// has the lock and the ring is empty.
    pub capacity: Word,
    /// The process of the owner.
    pub process: Word,
    /// Uses that a full ring did not take, and records of what was no hit: a use that was recorded once more, or an answer
    /// that was given up. The owner alone writes both.
    pub dropped: Float,
    pub uncounted: Float,
    _1: [Word; 4],
}

impl Deref for Ring {
    type Target = RingHead;

    fn deref(&self) -> &RingHead {
        &self.head_line
    }
}

impl RingHead {
    /// How many records the ring has room for. A number that cannot be is damage, and the ring is as one that is new.
    pub fn room(&self) -> u32 {
        match self.capacity.get() {
            room if room.is_power_of_two() && (RECORDS..=MOST_RECORDS).contains(&room) => room,
            _ => RECORDS,
        }
    }

    /// Carries the number of records on to those that were applied. Called more often than `head` can wrap around; where a
    /// process is killed in between, the next call does it.
    pub fn catch_up(&self) {
        let earlier = self.earlier.get();
        let since = self.tail.get().wrapping_sub(earlier as u32);
        if since != 0 {
            self.earlier.set(earlier.wrapping_add(since.into()));
        }
    }

    /// How many reads through this ring were hits, by all threads that ever had it.
    pub fn hits(&self) -> u64 {
        let earlier = self.earlier.get();
        let since = self.head.get().wrapping_sub(earlier as u32);
        let records = earlier.wrapping_add(since.into()) as f64;
        // Below 0, and what is no number, becomes 0.
        (records + self.dropped.get() - self.uncounted.get()) as u64
    }

    /// Lets another thread have the ring. Needs no lock: nobody but the owner does this.
    pub fn give_back(&self, owner: u64) {
        if self.owner.get() == owner {
            self.owner.set(0);
        }
    }
}

/// One use of an entry.
#[repr(C)]
#[derive(Debug)]
pub struct Record {
    /// The version of the row at that time: of another version, the record is void.
    pub version: Float,
    pub row: Word,
    /// The lower 32 bits of the time of use.
    pub time: Word,
}

/// Records in a ring that is new, and the most that a ring may have.
pub const RECORDS: u32 = 1024;
pub const MOST_RECORDS: u32 = 8192;

/// The bytes of a key that the place of a lease keeps.
pub const KEY_HEAD: usize = 48;

/// Outcomes of leases that have bytes of their own.
pub const OUTCOMES: u32 = 16;

/// The bytes of the marks of leases, of marks and places, and with the room for outcomes.
pub const MARKS_BYTES: usize = PLACES as usize * size_of::<Word>();
pub const PLACES_BYTES: usize = MARKS_BYTES + PLACES as usize * size_of::<LeasePlace>();
const LEASES_BYTES: usize = PLACES_BYTES + OUTCOMES as usize * LONGEST_OUTCOME;

/// Rings in a segment: one for each thread that reads without the lock.
pub const RINGS: u32 = 128;

/// The bytes of a ring that JavaScript sees.
pub const RING_BYTES: usize = offset_of!(Ring, _1);

/// The bytes of a ring that has this many records.
pub const fn ring_bytes(records: u32) -> usize {
    offset_of!(Ring, records) + records as usize * size_of::<Record>()
}

/// Entries that one buffer of versions has for JavaScript, which counts the length of a buffer as memory in use.
pub const VERSIONS_PER_PIECE: u32 = 1 << 20;

/// The lock, in a cache line of its own. Fresh memory is a lock that nobody has.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct LockPlace {
    /// Who has it; 0 for nobody.
    pub owner: AtomicU64,
    /// Who had it last.
    pub last: AtomicU64,
    /// 1 when somebody sleeps who wants it.
    pub waiting: AtomicU32,
}

impl LockPlace {
    /// Whether nobody has it at this moment.
    pub fn is_free(&self) -> bool {
        self.owner.load(Relaxed) == 0
    }
}

/// An entry, or the place for one. One cache line.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Row {
    /// What it is: see [`State`].
    pub state: Word,
    /// Of the key.
    pub hash: Word,
    /// In bytes.
    pub key_len: Word,
    /// In bytes, extras included; without them 0 where the value lies in the row.
    pub value_len: Word,
    /// The first block of key and value.
    pub first: Word,
    /// The next row in the bucket; on a list of free or released rows, the next there.
    pub chain: Word,
    /// Used next after this one.
    pub newer: Word,
    /// Used last before this one.
    pub older: Word,
    /// Time of the last use: a number that only rises. The order of recency, where the links are in doubt.
    pub used: Long,
    /// As in [`crate::storage::Stamp`].
    pub set_at: Float,
    pub max_age: Float,
    /// A number or a slot.
    pub inline: Long,
}

/// The state word of a row: what the row is, the kind of its value, whether it has extras, and a generation that changes each time
/// the row becomes another entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(pub u32);

impl State {
    /// Free: nothing else in the row means anything. All bits 0, as fresh memory is.
    pub const FREE: u32 = 0;
    /// An entry.
    pub const LIVE: u32 = 1;
    /// No entry any more, but its slot is still to be let go by the process that holds it.
    pub const RELEASED: u32 = 2;

    /// What the row is.
    pub fn is(self) -> u32 {
        self.0 & 0xFF
    }

    /// The bit of an entry that has extras: they lie between its key and its value.
    const EXTRAS: u32 = 0x8000;

    /// The kind of its value; `None` where the word is damaged.
    pub fn kind(self) -> Option<Kind> {
        Kind::of_number(((self.0 & !Self::EXTRAS) >> 8) as u8)
    }

    /// Whether the entry has extras.
    #[inline(always)]
    pub fn has_extras(self) -> bool {
        self.0 & Self::EXTRAS != 0
    }

    /// The next generation, as an entry.
    pub fn live(self, kind: Kind, has_extras: bool) -> Self {
        let extras = if has_extras { Self::EXTRAS } else { 0 };
        Self((self.0 & 0xFFFF_0000).wrapping_add(0x1_0000) | extras | (kind as u32) << 8 | Self::LIVE)
    }

    /// The same generation, as something else.
    pub fn become_(self, what: u32) -> Self {
        Self(self.0 & 0xFFFF_FF00 | what)
    }
}

/// A block. Its payload is atomics, too: a process that reads without the lock may read a block while another writes it,
/// and finds out afterwards.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Block {
    payload: [Long; PAYLOAD / size_of::<Long>()],
    payload_end: Word,
    /// The next one; `NONE` in the last.
    pub link: Word,
}

/// Which blocks are free, of 64 groups that follow each other. See `blocks.rs`.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Section {
    /// A word for each group, with a bit for each of its blocks that is free.
    pub free: [Long; GROUPS as usize],
    /// The first level of the two summaries: a bit for each group.
    pub first: [Long; 2],
    /// The second level: a bit for each of 64 sections, of which this one is the first. Not in use in other sections.
    pub second: [Long; 2],
    _1: [Long; 4],
}

impl Row {
    /// Its state word.
    pub(super) fn state(&self) -> State {
        State(self.state.get())
    }
}

impl Block {
    /// A copy of the payload.
    #[inline(always)]
    pub(super) fn read(&self) -> [u8; PAYLOAD] {
        let mut bytes = [0; PAYLOAD];
        let (words, end) = bytes.split_at_mut(PAYLOAD - size_of::<Word>());
        for (part, word) in words.chunks_exact_mut(size_of::<Long>()).zip(&self.payload) {
            part.copy_from_slice(&word.get().to_ne_bytes());
        }
        end.copy_from_slice(&self.payload_end.get().to_ne_bytes());
        bytes
    }

    /// Copies the payload after the first `skip` bytes.
    #[inline(always)]
    pub(super) fn read_into(&self, skip: usize, out: &mut [u8]) {
        match <&mut [u8; PAYLOAD]>::try_from(&mut *out) {
            // Of a known length, the copy is some moves.
            Ok(out) => *out = self.read(),
            Err(_) => out.copy_from_slice(&self.read()[skip..][..out.len()]),
        }
    }

    /// Writes the payload: one part after the other. What is behind them does not matter.
    #[inline(always)]
    pub(super) fn write(&self, first: &[u8], second: &[u8]) {
        let mut bytes = [0; PAYLOAD];
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..][..second.len()].copy_from_slice(second);
        self.write_whole(&bytes);
    }

    /// Writes the whole payload.
    #[inline(always)]
    pub(super) fn write_whole(&self, bytes: &[u8; PAYLOAD]) {
        crash_point::reached();
        let (words, end) = bytes.split_at(PAYLOAD - size_of::<Word>());
        for (part, word) in words.chunks_exact(size_of::<Long>()).zip(&self.payload) {
            word.0
                .store(u64::from_ne_bytes(part.try_into().expect("8 bytes")), Relaxed);
        }
        let end = end.try_into().expect("4 bytes");
        self.payload_end.0.store(u32::from_ne_bytes(end), Relaxed);
    }
}

const _: () = {
    assert!(size_of::<Header>() == 1152 + 2048 + 128 + 512 + 64 + 64 && size_of::<Header>() <= 4096);
    assert!(size_of::<Invalidations>() == 64 && offset_of!(Control, tags) == 8);
    assert!(size_of::<Intent>() == 640 && offset_of!(Header, intent) == 512);
    assert!(offset_of!(Header, control) == 320 && CONTROL_BYTES == 128);
    assert!(
        offset_of!(Control, gate) == 0 && offset_of!(Control, epoch) == 4 && offset_of!(Control, uses) == 64
    );
    assert!(size_of::<Ring>() == 132 * 1024 && RING_BYTES == 64 + 16 * MOST_RECORDS as usize);
    assert!(
        offset_of!(RingHead, capacity) == 24
            && offset_of!(RingHead, dropped) == 32
            && offset_of!(RingHead, uncounted) == 40
    );
    assert!(offset_of!(Header, counts) == 3200 && size_of::<Counters>() == 128);
    assert!(offset_of!(Header, leases) == 3904 && size_of::<LeasePlace>() == 128);
    assert!(offset_of!(Header, label) == 3328 && size_of::<Label>() == 512);
    assert!(RECORDS.is_power_of_two() && MOST_RECORDS.is_power_of_two());
    assert!(offset_of!(Ring, records) == 64 && size_of::<RingHead>() == 64);
    assert!(offset_of!(RingHead, head) == 0 && offset_of!(RingHead, tail) == 4);
    assert!(offset_of!(Header, lock) == 64 && offset_of!(Header, completed) == 128);
    assert!(offset_of!(Header, pid_namespace) == 152 && offset_of!(Header, max) == 192);
    assert!(size_of::<Section>() == 576 && THIRD == 128);
    assert!(size_of::<Row>() == 64 && offset_of!(Row, used) == 32);
    assert!(size_of::<Block>() == BLOCK && align_of::<Block>() == 64 && offset_of!(Block, link) == PAYLOAD);
};

/// What lies in memory that others write, too: other processes, or JavaScript.
///
/// # Safety
/// All parts are atomics, so any bytes are a value, which may change under a reference; and nothing is to be dropped.
pub unsafe trait Shared {}

// SAFETY: an atomic each.
unsafe impl Shared for Word {}
// SAFETY: as above.
unsafe impl Shared for Float {}
// SAFETY: structs of atomics.
unsafe impl Shared for Control {}
// SAFETY: as above.
unsafe impl Shared for Ring {}
// SAFETY: as above.
unsafe impl Shared for Row {}
// SAFETY: as above.
unsafe impl Shared for Block {}
// SAFETY: as above.
unsafe impl Shared for Section {}
// SAFETY: as above.
unsafe impl Shared for LeasePlace {}
// SAFETY: as above.
unsafe impl Shared for TagSlot {}
// SAFETY: what each item is, all of them are.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// The sections of so many blocks.
pub(super) fn sections(blocks: u32) -> u32 {
    blocks.div_ceil(GROUP * GROUPS)
}

/// How much is reserved for each region, and where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// One more than the highest number of a bucket, row, block.
    pub(super) buckets_max: u32,
    pub(super) rows_max: u32,
    pub(super) blocks_max: u32,
    pub(super) index_at: usize,
    pub(super) rows_at: usize,
    pub(super) versions_at: usize,
    pub(super) rings_at: usize,
    pub(super) tags_at: usize,
    pub(super) leases_at: usize,
    pub(super) sections_at: usize,
    pub(super) blocks_at: usize,
    /// All of it, in bytes.
    pub(super) len: usize,
}

impl Geometry {
    /// Headroom for `bytes` of entries, of whatever size they are; at most 128 GiB. An entry takes a block at the least, a
    /// row as large, and a word of the index: half as many rows as blocks are never too few.
    pub fn for_bytes(bytes: usize) -> Self {
        // Addresses of 32 bits set a lower limit.
        let most = (BLOCKS_MOST as usize).min(isize::MAX as usize / (4 * BLOCK));
        let blocks = (bytes.div_ceil(size_of::<Block>()) + 1).clamp(1024, most) as u32;
        Self::new(blocks / 2, blocks / 2, blocks).expect("a size within what was clamped")
    }

    /// Headroom for these numbers of buckets, rows and blocks; `None` if there is no such size.
    pub(super) fn new(buckets_max: u32, rows_max: u32, blocks_max: u32) -> Option<Self> {
        if buckets_max < 16 || rows_max < 2 || !(2..=BLOCKS_MOST).contains(&blocks_max) {
            return None;
        }
        let after = |at: usize, count: u32, size: usize| {
            at.checked_add((count as usize).checked_mul(size)?)?
                .checked_next_multiple_of(ALIGN)
        };
        let index_at = ALIGN;
        let rows_at = after(index_at, buckets_max, size_of::<Word>())?;
        let versions_at = after(rows_at, rows_max, size_of::<Row>())?;
        let rings_at = after(versions_at, rows_max, size_of::<Float>())?;
        let tags_at = after(rings_at, RINGS, size_of::<Ring>())?;
        let leases_at = after(tags_at, 2 * TAG_SLOTS, size_of::<TagSlot>())?;
        let sections_at = after(leases_at, 1, LEASES_BYTES)?;
        let blocks_at = after(sections_at, sections(blocks_max), size_of::<Section>())?;
        let len = after(blocks_at, blocks_max, size_of::<Block>())?;
        Some(Self {
            buckets_max,
            rows_max,
            blocks_max,
            index_at,
            rows_at,
            versions_at,
            rings_at,
            tags_at,
            leases_at,
            sections_at,
            blocks_at,
            len,
        })
    }

    /// All that is reserved, in bytes.
    pub fn reserved(&self) -> usize {
        self.len
    }
}
