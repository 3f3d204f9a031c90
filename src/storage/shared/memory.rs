//! A run of memory, reserved in one piece and taken bit by bit. The segment lies in it and knows nothing else
//! of where it is.

use super::kernel::KernelNamespaces;
use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt, iter,
    ops::Range,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// The system has no more memory to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// A reserved run of memory. Ranges are in bytes from its start.
///
/// # Safety
/// From `base()`, `len()` bytes can be read and written at any time for as long as the value lives, at an
/// address that does not change and is a multiple of 4096. Fresh bytes are 0. Nothing else in this process
/// reads or writes them, but for other values of the type over the same memory.
pub unsafe trait Memory {
    /// Where it starts.
    fn base(&self) -> NonNull<u8>;

    /// How long it is.
    fn len(&self) -> usize;

    /// Whether nothing is reserved.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes sure that there is memory behind a range, so that its use cannot fail later.
    ///
    /// # Errors
    /// There is none. Part of the range may have been taken.
    fn commit(&self, range: Range<usize>) -> Result<(), OutOfMemory>;

    /// Gives a range back. What was there is lost: it reads as 0 or as before.
    fn decommit(&self, range: Range<usize>);

    /// How many bytes of a range, counted from its start, may have been written: those after them are 0.
    fn written(&self, range: Range<usize>) -> usize;

    /// Where the process runs that has it; memory of one process alone needs none.
    fn namespaces(&self) -> KernelNamespaces {
        KernelNamespaces::default()
    }
}

/// Memory of this process alone: for tests, and wherever nothing is shared. A clone is the same memory, as
/// another process would map it.
#[derive(Clone)]
pub struct PlainMemory(Arc<Pages>);

struct Pages {
    base: NonNull<u8>,
    len: usize,
    /// The most pages that can be taken.
    limit: AtomicUsize,
    taken: AtomicUsize,
    /// Which are.
    pages: Vec<AtomicBool>,
}

const PAGE: usize = 4096;

impl PlainMemory {
    /// Reserves `len` bytes, rounded up to whole pages.
    pub fn new(len: usize) -> Self {
        let pages = len.div_ceil(PAGE).max(1);
        let layout = Pages::layout(pages * PAGE);
        // SAFETY: the layout's size is not 0.
        let base =
            NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        Self(Arc::new(Pages {
            base,
            len: pages * PAGE,
            limit: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
            pages: iter::repeat_with(AtomicBool::default).take(pages).collect(),
        }))
    }

    /// Lets no more than `bytes` be taken in all.
    pub fn set_limit(&self, bytes: usize) {
        self.0.limit.store(bytes / PAGE, Relaxed);
    }

    /// How many bytes are taken, in whole pages.
    pub fn committed(&self) -> usize {
        self.0.taken.load(Relaxed) * PAGE
    }

    /// A copy of what is there now. Nobody may write it meanwhile.
    pub fn snapshot(&self) -> Self {
        let copy = Self::new(self.0.len);
        copy.0.limit.store(self.0.limit.load(Relaxed), Relaxed);
        for (at, page) in self
            .0
            .pages
            .iter()
            .enumerate()
            .filter(|(_, page)| page.load(Relaxed))
        {
            let (from, to) = (self.address(at * PAGE), copy.address(at * PAGE));
            // SAFETY: a page each of two allocations.
            unsafe { to.copy_from_nonoverlapping(from, PAGE) };
            copy.0.pages[at].store(page.load(Relaxed), Relaxed);
        }
        copy.0.taken.store(self.0.taken.load(Relaxed), Relaxed);
        copy
    }

    fn address(&self, at: usize) -> NonNull<u8> {
        assert!(at < self.0.len);
        // SAFETY: inside the allocation, checked above.
        unsafe { self.0.base.add(at) }
    }

    fn pages(&self, range: Range<usize>) -> &[AtomicBool] {
        &self.0.pages[range.start / PAGE..range.end.div_ceil(PAGE).min(self.0.pages.len())]
    }
}

impl Pages {
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, PAGE).expect("a size that was reserved")
    }
}

// SAFETY: `base` is an allocation of `len` zeroed bytes, a page's alignment, that lives as long as any clone.
unsafe impl Memory for PlainMemory {
    fn base(&self) -> NonNull<u8> {
        self.0.base
    }

    fn len(&self) -> usize {
        self.0.len
    }

    fn commit(&self, range: Range<usize>) -> Result<(), OutOfMemory> {
        if range.end > self.0.len {
            return Err(OutOfMemory);
        }
        let pages = self.pages(range);
        let wanted = pages.iter().filter(|page| !page.load(Relaxed)).count();
        if self.0.taken.load(Relaxed) + wanted > self.0.limit.load(Relaxed) {
            return Err(OutOfMemory);
        }
        pages.iter().for_each(|page| page.store(true, Relaxed));
        self.0.taken.fetch_add(wanted, Relaxed);
        Ok(())
    }

    fn decommit(&self, range: Range<usize>) {
        let range = range.start.next_multiple_of(PAGE)..range.end.min(self.0.len) / PAGE * PAGE;
        if range.is_empty() {
            return;
        }
        // SAFETY: inside the allocation, as the range was cut to it; whoever calls has the memory to itself.
        unsafe { self.address(range.start).write_bytes(0, range.len()) };
        let given = self
            .pages(range)
            .iter()
            .filter(|page| page.swap(false, Relaxed))
            .count();
        self.0.taken.fetch_sub(given, Relaxed);
    }

    fn written(&self, range: Range<usize>) -> usize {
        let pages = self
            .pages(range.clone())
            .iter()
            .take_while(|page| page.load(Relaxed))
            .count();
        (pages * PAGE).min(range.len())
    }
}

// SAFETY: the allocation is owned like a `Vec`'s; `Memory` leaves who reads and writes it to its users.
unsafe impl Send for Pages {}
// SAFETY: as above; all other fields are atomics.
unsafe impl Sync for Pages {}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and not freed before.
        unsafe { dealloc(self.base.as_ptr(), Self::layout(self.len)) };
    }
}

impl fmt::Debug for PlainMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainMemory")
            .field("len", &self.0.len)
            .field("committed", &self.committed())
            .finish()
    }
}
