//! What JavaScript reads of a heap storage without a call (`lib/near/`), in the form that a segment has: a gate and an epoch, a
//! version for each entry, a ring of uses. All of it belongs to one thread: JavaScript writes the ring between calls, and
//! Rust reads it in calls.
//!
//! An entry has a row here from its first read on that JavaScript remembers, or that asks for its version; other entries cost
//! nothing.
//!
//! No version is given twice in a namespace. Versions here are no integers, those of a segment are, so a cache that moves to a
//! segment gets others. Caches of one process share the count, so a namespace that is removed and made again gets others too.

use slab::Slab;
use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt,
    marker::PhantomData,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::storage::{
    Mapped, Pace,
    shared::layout::{Control, Float, MOST_RECORDS, RECORDS, Ring, Shared, VERSIONS_PER_PIECE},
};

/// Memory of one `T`, shared with JavaScript. Fresh, all its bits are 0.
#[derive(Debug)]
pub struct Zeroed<T> {
    at: NonNull<T>,
    _owned: PhantomData<T>,
}

impl<T: Shared> Zeroed<T> {
    /// Fresh memory. The system gives pages only where they are written.
    fn new() -> Self {
        // SAFETY: none of the types has the size 0.
        let at = unsafe { alloc_zeroed(Layout::new::<T>()) };
        let at = NonNull::new(at.cast()).unwrap_or_else(|| handle_alloc_error(Layout::new::<T>()));
        Self {
            at,
            _owned: PhantomData,
        }
    }

    pub(super) fn get(&self) -> &T {
        // SAFETY: allocated in `new`, and any bytes are a `T`, which may change under a reference, as `Shared` says.
        unsafe { self.at.as_ref() }
    }
}

impl<T: fmt::Debug> Mapped for Arc<Zeroed<T>> {
    fn base(&self) -> NonNull<u8> {
        self.at.cast()
    }

    fn bytes(&self) -> usize {
        size_of::<T>()
    }
}

// SAFETY: the memory belongs to the value, and is all atomics.
unsafe impl<T> Send for Zeroed<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Zeroed<T> {}

impl<T> Drop for Zeroed<T> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; nothing in it is to be dropped.
        unsafe { dealloc(self.at.as_ptr().cast(), Layout::new::<T>()) };
    }
}

/// Rows of a piece. JavaScript has room for more in each: V8 counts the whole length of a buffer as memory in use, and a
/// process may have many namespaces.
const ROWS: u32 = 4096;

/// The most pieces: JavaScript has 31 bits for the number of a row.
const PIECES: u32 = (1 << 31) / VERSIONS_PER_PIECE;

/// Versions of some rows.
pub type Piece = Zeroed<[Float; ROWS as usize]>;

/// The number of the row at an index of `Versions::rows`, and back: the piece, and the place there. Row 0 is none.
fn row_at(index: usize) -> Option<u32> {
    let at = u32::try_from(index).ok()?.checked_add(1)?;
    (at / ROWS < PIECES).then(|| at / ROWS * VERSIONS_PER_PIECE + at % ROWS)
}

fn index_of(row: u32) -> usize {
    let at = row / VERSIONS_PER_PIECE * ROWS + row % VERSIONS_PER_PIECE;
    (at as usize).wrapping_sub(1)
}

/// The entry of a row.
#[derive(Debug)]
struct Row {
    key: Box<[u8]>,
    /// The number of the last round of [`Versions::uses`] in which it was listed.
    round: u64,
}

/// The version of a row.
fn version_of(pieces: &[Arc<Piece>], row: u32) -> Option<&Float> {
    let piece = pieces.get((row / VERSIONS_PER_PIECE) as usize)?;
    piece.get().get((row % VERSIONS_PER_PIECE) as usize)
}

/// A version that no entry of this process has had.
fn next_version() -> f64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) as f64 + 0.5
}

/// Rows, versions, uses. Row 0 is none.
#[derive(Debug)]
pub struct Versions {
    control: Arc<Zeroed<Control>>,
    ring: Arc<Zeroed<Ring>>,
    pieces: Vec<Arc<Piece>>,
    rows: Slab<Row>,
    rounds: u64,
    pace: Pace,
}

impl Default for Versions {
    fn default() -> Self {
        let ring = Zeroed::<Ring>::new();
        ring.get().capacity.set(RECORDS);
        Self {
            control: Arc::new(Zeroed::new()),
            ring: Arc::new(ring),
            pieces: vec![],
            rows: Slab::new(),
            rounds: 0,
            pace: Pace::default(),
        }
    }
}

impl Versions {
    /// Gate, epoch and count of uses, for JavaScript.
    pub fn control(&self) -> Arc<Zeroed<Control>> {
        self.control.clone()
    }

    /// The ring of uses, for JavaScript.
    pub fn ring(&self) -> Arc<Zeroed<Ring>> {
        self.ring.clone()
    }

    /// Gives the ring more room, where it was half full a short time ago, too.
    pub fn grow_ring(&self) {
        let ring = self.ring.get();
        if self.pace.is_fast() && ring.room() < MOST_RECORDS && !self.has_uses() {
            ring.capacity.set(ring.room() * 2);
        }
    }

    /// Versions of the rows of a piece, for JavaScript; `None` beyond the rows there are.
    pub fn piece(&self, piece: u32) -> Option<Arc<Piece>> {
        self.pieces.get(piece as usize).cloned()
    }

    fn version(&self, row: u32) -> Option<&Float> {
        version_of(&self.pieces, row)
    }

    /// The row of an entry that has none yet; `None`: there are too many.
    pub fn add(&mut self, key: &[u8]) -> Option<u32> {
        let row = row_at(self.rows.vacant_key())?;
        while self.pieces.len() <= (row / VERSIONS_PER_PIECE) as usize {
            self.pieces.push(Arc::new(Piece::new()));
        }
        self.rows.insert(Row {
            key: key.into(),
            round: 0,
        });
        self.renew(row);
        Some(row)
    }

    /// The version of a row.
    pub fn of(&self, row: u32) -> f64 {
        self.version(row).map_or(0.0, Float::get)
    }

    /// Ends the version of a row, whose entry has changed, and begins another.
    pub fn renew(&mut self, row: u32) {
        if let Some(version) = self.version(row) {
            version.set(next_version());
        }
    }

    /// Ends the version of a row, whose entry is gone.
    pub fn remove(&mut self, row: u32) {
        if let Some(version) = self.version(row) {
            version.set(0.0);
            self.rows.try_remove(index_of(row));
        }
    }

    /// Ends every version.
    pub fn clear(&mut self) {
        for (at, _) in &self.rows {
            if let Some(version) = row_at(at).and_then(|row| self.version(row)) {
                version.set(0.0);
            }
        }
        self.rows = Slab::new();
        self.change_epoch();
    }

    /// Nothing counts any more that was read before.
    pub fn change_epoch(&self) {
        let epoch = &self.control.get().epoch;
        epoch.set(epoch.get().wrapping_add(2));
    }

    /// Tags were invalidated.
    pub fn change_tags(&self) {
        let tags = &self.control.get().tags;
        tags.set(tags.get().wrapping_add(1));
    }

    /// Whether there are uses that [`Versions::uses`] would list.
    #[inline(always)]
    pub fn has_uses(&self) -> bool {
        let ring = self.ring.get();
        ring.head.get() != ring.tail.get()
    }

    /// How many reads by JavaScript were hits.
    pub fn hits(&self) -> u64 {
        self.ring.get().hits()
    }

    /// The keys of the entries that JavaScript has used since the last time, each once, in the order of their last uses.
    pub fn uses(&mut self) -> Vec<&[u8]> {
        let Self {
            ring,
            pieces,
            rows,
            rounds,
            ..
        } = self;
        let ring = ring.get();
        let (head, tail) = (ring.head.get(), ring.tail.get());
        ring.tail.set(head);
        ring.catch_up();
        *rounds += 1;
        let mut used = vec![];
        // A power of two: a mask finds the place of a record without a division.
        let room = ring.room();
        for back in 1..=head.wrapping_sub(tail).min(room) {
            let record = &ring.records[(head.wrapping_sub(back) & (room - 1)) as usize];
            let at = record.row.get();
            // An earlier use of an entry that is listed changes nothing.
            if let Some(row) = rows.get_mut(index_of(at))
                && row.round != *rounds
                && version_of(pieces, at).is_some_and(|version| version.get() == record.version.get())
            {
                row.round = *rounds;
                used.push(index_of(at));
            }
        }
        let rows = &self.rows;
        used.into_iter()
            .rev()
            .filter_map(|at| rows.get(at).map(|row| &*row.key))
            .collect()
    }
}

/// The entries are elsewhere, or gone: nothing counts any more that was read before.
impl Drop for Versions {
    fn drop(&mut self) {
        let epoch = &self.control.get().epoch;
        epoch.set(epoch.get() | 1);
    }
}
