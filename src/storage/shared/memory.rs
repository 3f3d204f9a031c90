//! The memory of a segment: a range of addresses that is reserved in one piece and gets memory part by part. A segment
//! uses its memory through the trait [`Memory`] alone.

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

/// The system has no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// A reserved range of memory. Positions in it are in bytes from its start.
///
/// # Safety
/// As long as the value lives, `base()` is the same address, a multiple of 4096, and `len()` bytes from there can be read
/// and written. Fresh bytes are 0. In this process only values of the implementing type read or write these bytes.
pub unsafe trait Memory {
    /// The address of its first byte.
    fn base(&self) -> NonNull<u8>;

    /// Its length in bytes.
    fn len(&self) -> usize;

    /// Whether its length is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives memory to a range, so that later uses of the range cannot fail.
    ///
    /// # Errors
    /// There is not enough memory. Part of the range may have got memory.
    fn commit(&self, range: Range<usize>) -> Result<(), OutOfMemory>;

    /// Gives the memory of a range back to the system. Afterwards each byte of the range is 0 or as it was.
    fn decommit(&self, range: Range<usize>);

    /// The number of bytes at the start of a range that may have been written. All bytes of the range after them are 0.
    fn written(&self, range: Range<usize>) -> usize;

    /// The namespaces of the kernel that this process is in. Memory that no other process maps needs none.
    fn namespaces(&self) -> KernelNamespaces {
        KernelNamespaces::default()
    }
}

/// Memory of this process alone: for tests and fuzzing. A clone is the same memory, as another process would map it.
#[derive(Clone)]
pub struct PlainMemory(Arc<Pages>);

struct Pages {
    /// What was allocated: one page more than `len`, so that a whole page is in it.
    allocation: NonNull<u8>,
    base: NonNull<u8>,
    len: usize,
    /// The greatest number of pages that can have memory.
    limit: AtomicUsize,
    /// The number of pages that have memory.
    taken: AtomicUsize,
    /// For each page, whether it has memory.
    pages: Vec<AtomicBool>,
}

const PAGE: usize = 4096;

impl PlainMemory {
    /// Reserves `len` bytes, rounded up to whole pages.
    pub fn new(len: usize) -> Self {
        let pages = len.div_ceil(PAGE).max(1);
        // Not of the alignment of a page: such memory is filled with zeros, page for page, where the system would give
        // pages as they are written.
        let layout = Pages::layout(pages * PAGE);
        // SAFETY: the layout's size is not 0.
        let allocation =
            NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: less than a page further, and the allocation is a page longer than what is used.
        let base = unsafe { allocation.add(allocation.align_offset(PAGE)) };
        Self(Arc::new(Pages {
            allocation,
            base,
            len: pages * PAGE,
            limit: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
            pages: iter::repeat_with(AtomicBool::default).take(pages).collect(),
        }))
    }

    /// Sets the greatest number of bytes that can have memory, from now on.
    pub fn set_limit(&self, bytes: usize) {
        self.0.limit.store(bytes / PAGE, Relaxed);
    }

    /// The number of bytes that have memory, in whole pages.
    pub fn committed(&self) -> usize {
        self.0.taken.load(Relaxed) * PAGE
    }

    /// A copy of the memory with its present contents. No other thread may write the memory meanwhile.
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
            // SAFETY: both pages lie inside their allocations, which are two.
            unsafe { to.copy_from_nonoverlapping(from, PAGE) };
            copy.0.pages[at].store(page.load(Relaxed), Relaxed);
        }
        copy.0.taken.store(self.0.taken.load(Relaxed), Relaxed);
        copy
    }

    /// Makes the contents those of a snapshot of this memory, which has got no memory since. No other thread may use the
    /// memory meanwhile.
    #[cfg(test)]
    pub(super) fn restore(&self, snapshot: &Self) {
        for (at, page) in self.0.pages.iter().enumerate() {
            if page.load(Relaxed) {
                let (from, to) = (snapshot.address(at * PAGE), self.address(at * PAGE));
                // SAFETY: both pages lie inside their allocations, which are two.
                unsafe { to.copy_from_nonoverlapping(from, PAGE) };
            }
        }
    }

    fn address(&self, at: usize) -> NonNull<u8> {
        assert!(at < self.0.len);
        // SAFETY: the position lies inside the allocation, as checked above.
        unsafe { self.0.base.add(at) }
    }

    fn pages(&self, range: Range<usize>) -> &[AtomicBool] {
        &self.0.pages[range.start / PAGE..range.end.div_ceil(PAGE).min(self.0.pages.len())]
    }
}

impl Pages {
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len + PAGE, 16).expect("a size that was reserved")
    }
}

// SAFETY: from `base` on there are `len` zeroed bytes of one allocation, page aligned. It lives as long as any clone.
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
        // SAFETY: the range was cut to the allocation. The caller has the lock of the segment, so nothing else uses it.
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

// SAFETY: the value owns its allocation, as a `Vec` does. Users of `Memory` order their reads and writes themselves.
unsafe impl Send for Pages {}
// SAFETY: as above. All other fields are atomic or never change.
unsafe impl Sync for Pages {}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout. Nothing else frees it.
        unsafe { dealloc(self.allocation.as_ptr(), Self::layout(self.len)) };
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
