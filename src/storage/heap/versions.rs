//! What JavaScript reads of a heap storage without a call (`lib/near/`): a gate and an epoch, as a segment has them, and for each
//! entry a version and the number of its last use. All of it belongs to one thread: JavaScript writes it between calls, and
//! Rust reads it in calls.
//!
//! An entry has a row here from its first read on that JavaScript remembers, or that asks for its version; other entries cost
//! nothing.
//!
//! No version is given twice in a namespace. Versions here are no integers, those of a segment are, so a cache that moves to a
//! segment gets others. Caches of one process share the count, so a namespace that is removed and made again gets others too.
//!
//! Each use of an entry by JavaScript has a number, one above that of the use before. JavaScript stores it as the last one of
//! the row, and lists the row where that was not used since the last call. So a use costs two stores, however often a row is
//! used, and a call has as much to do as there are rows that were used: each goes to the place of its last use. Every call
//! does that before anything else, so a row in the list has the entry that was used.

use slab::Slab;
use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt,
    marker::PhantomData,
    mem::offset_of,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::storage::{
    Mapped,
    shared::layout::{Control, Float, Shared, VERSIONS_PER_PIECE, Word},
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

/// Some rows, in columns.
#[repr(C)]
#[derive(Debug)]
pub struct Columns {
    versions: [Float; ROWS as usize],
    /// The number of the last use by JavaScript; 0 for none.
    last_uses: [Float; ROWS as usize],
}

// SAFETY: all parts are atomics.
unsafe impl Shared for Columns {}

/// Memory of some rows.
pub type Piece = Zeroed<Columns>;

/// The most rows in the list of those that were used.
const MOST_LISTED: usize = 4096;

/// What JavaScript has used since the last call.
#[repr(C)]
#[derive(Debug)]
pub struct Uses {
    /// The number of the last use. JavaScript writes it.
    count: Float,
    /// The last use that is part of the order of recency. Rust writes it.
    applied: Float,
    /// Uses that were no hits: what was recorded once more, or an answer that was given up. JavaScript writes it.
    uncounted: Float,
    /// How many rows are listed. JavaScript adds to it, Rust sets it to 0.
    listed: Word,
    _1: Word,
    rows: [Word; MOST_LISTED],
}

// SAFETY: all parts are atomics.
unsafe impl Shared for Uses {}

// As `lib/near/uses.js` has them; the last uses lie in the second half of a piece.
const _: () = {
    assert!(offset_of!(Uses, count) == 0);
    assert!(offset_of!(Uses, applied) == 8);
    assert!(offset_of!(Uses, uncounted) == 16);
    assert!(offset_of!(Uses, listed) == 24);
    assert!(offset_of!(Uses, rows) == 32);
    assert!(offset_of!(Columns, last_uses) * 2 == size_of::<Columns>());
};

/// The number of the row at an index of `Versions::rows`, and back: the piece, and the place there. Row 0 is none.
fn row_at(index: usize) -> Option<u32> {
    let at = u32::try_from(index).ok()?.checked_add(1)?;
    (at / ROWS < PIECES).then(|| at / ROWS * VERSIONS_PER_PIECE + at % ROWS)
}

fn index_of(row: u32) -> usize {
    let at = row / VERSIONS_PER_PIECE * ROWS + row % VERSIONS_PER_PIECE;
    (at as usize).wrapping_sub(1)
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
    uses: Arc<Zeroed<Uses>>,
    pieces: Vec<Arc<Piece>>,
    /// The keys of the entries.
    rows: Slab<Box<[u8]>>,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            control: Arc::new(Zeroed::new()),
            uses: Arc::new(Zeroed::new()),
            pieces: vec![],
            rows: Slab::new(),
        }
    }
}

impl Versions {
    /// Gate and epoch, for JavaScript.
    pub fn control(&self) -> Arc<Zeroed<Control>> {
        self.control.clone()
    }

    /// What JavaScript has used.
    pub fn uses(&self) -> Arc<Zeroed<Uses>> {
        self.uses.clone()
    }

    /// The rows of a piece, for JavaScript; `None` beyond the rows there are.
    pub fn piece(&self, piece: u32) -> Option<Arc<Piece>> {
        self.pieces.get(piece as usize).cloned()
    }

    fn columns(&self, row: u32) -> Option<(&Float, &Float)> {
        let piece = self.pieces.get((row / VERSIONS_PER_PIECE) as usize)?.get();
        let at = (row % VERSIONS_PER_PIECE) as usize;
        Some((piece.versions.get(at)?, piece.last_uses.get(at)?))
    }

    fn version(&self, row: u32) -> Option<&Float> {
        self.columns(row).map(|(version, _)| version)
    }

    /// The row of an entry that has none yet; `None`: there are too many.
    pub fn add(&mut self, key: &[u8]) -> Option<u32> {
        let row = row_at(self.rows.vacant_key())?;
        while self.pieces.len() <= (row / VERSIONS_PER_PIECE) as usize {
            self.pieces.push(Arc::new(Piece::new()));
        }
        self.rows.insert(key.into());
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
        if let Some((version, last_use)) = self.columns(row) {
            version.set(0.0);
            last_use.set(0.0);
            self.rows.try_remove(index_of(row));
        }
    }

    /// Ends every version.
    pub fn clear(&mut self) {
        for (at, _) in &self.rows {
            if let Some((version, last_use)) = row_at(at).and_then(|row| self.columns(row)) {
                version.set(0.0);
                last_use.set(0.0);
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

    /// Whether [`Versions::take_uses`] would give something.
    #[inline(always)]
    pub fn has_uses(&self) -> bool {
        self.uses.get().listed.get() != 0
    }

    /// How many reads by JavaScript were hits.
    pub fn hits(&self) -> u64 {
        let uses = self.uses.get();
        // Below 0 becomes 0.
        (uses.count.get() - uses.uncounted.get()) as u64
    }

    /// The keys of the entries that JavaScript has used since the last time, each once, in the order of their last uses.
    pub fn take_uses(&self) -> impl Iterator<Item = &[u8]> {
        let uses = self.uses.get();
        let applied = uses.applied.get();
        let listed = (uses.listed.get() as usize).min(MOST_LISTED);
        let rows = uses.rows[..listed].iter().map(Word::get);
        let last_uses = rows.filter_map(|row| Some((self.columns(row)?.1.get(), row)));
        let mut used: Vec<_> = last_uses.filter(|(last, _)| *last > applied).collect();
        used.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        used.dedup();
        uses.listed.set(0);
        uses.applied.set(uses.count.get());
        used.into_iter()
            .filter_map(|(_, row)| self.rows.get(index_of(row)).map(|key| &**key))
    }
}

#[cfg(test)]
impl Versions {
    /// Records a use as `lib/near/uses.js` does.
    pub fn use_row(&self, row: u32) {
        let uses = self.uses.get();
        let listed = uses.listed.get() as usize;
        let Some((_, last_use)) = self.columns(row) else {
            return;
        };
        if last_use.get() <= uses.applied.get() {
            uses.rows[listed].set(row);
            uses.listed.set(listed as u32 + 1);
        }
        uses.count.set(uses.count.get() + 1.0);
        last_use.set(uses.count.get());
    }
}

/// The entries are elsewhere, or gone: nothing counts any more that was read before.
impl Drop for Versions {
    fn drop(&mut self) {
        let epoch = &self.control.get().epoch;
        epoch.set(epoch.get() | 1);
    }
}
