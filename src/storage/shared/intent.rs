//! Changes that are whole or not made. A change is first written into a record in the header: for each word that changes,
//! its address and its new value. One store of the record's check number decides that the change is made. Then the words are
//! stored, and then the check number is cleared. Whoever takes the lock and finds a check number stores all the words again,
//! so a process that was killed costs the next one some nanoseconds, however many entries there are. Rules:
//! - **Values are absolute.** To store them once more changes nothing.
//! - **Before the record is committed only free memory is written**: rows and blocks that no list in use leads to, and
//!   words of which a later call depends on no certain value (the last version, the clock).
//! - **Every other word of rows in use, index, lists and counts changes through a record.** A word that stands alone and is
//!   whole in itself (how far memory is ready, the tail of a ring) needs none.
//! - **The version of the old entry ends first, that of the new one begins last**: see `control.rs`.
//! - A call of several changes is several records. The gate is odd between them, so that whoever takes over trims the cache
//!   even where no record is left.
//! - **A record is not trusted.** One that does not have its check number is damage, and the segment is rebuilt. An address
//!   is compared with the size of the segment before anything is stored there.

use std::{array, mem::MaybeUninit};

use super::{
    layout::{INTENT_WORDS, LockPlace, NONE, Word},
    memory::Memory,
    view::{Checked, Fault, View},
};

/// Multiplied by an odd number, it gives an odd number: each number that is summed up counts with one of its own.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Bytes below this one are what the segment is, and its lock. No change stores them.
const FIRST: u64 = 64 + size_of::<LockPlace>() as u64;

/// The check number of a record while it is summed up. Each word, and each number of the rest, counts with a factor of its
/// own, so that none can differ, or be in the place of another, without the sum.
#[derive(Clone, Copy)]
struct Sum {
    sum: u64,
    factor: u64,
}

impl Sum {
    #[inline(always)]
    fn new() -> Self {
        Self {
            sum: !FACTOR,
            factor: FACTOR,
        }
    }

    #[inline(always)]
    fn add(&mut self, number: u64) {
        self.sum = self.sum.wrapping_add(number.wrapping_mul(self.factor));
        self.factor = self.factor.wrapping_add(FACTOR.wrapping_mul(2));
    }

    /// Adds a word: its address and its value, which is made odd.
    #[inline(always)]
    fn add_word(&mut self, address: u64, value: u32) {
        let value = u64::from(value) * 2 + 1;
        self.sum = self
            .sum
            .wrapping_add(address.wrapping_add(self.factor).wrapping_mul(value));
        self.factor = self.factor.wrapping_add(FACTOR.wrapping_mul(2));
    }

    /// The sum of a record's words, with what the record has besides them. Never 0.
    #[inline(always)]
    fn check(mut self, rest: &Rest) -> u64 {
        let pair = |upper: u32, lower: u32| u64::from(upper) << 32 | u64::from(lower);
        self.add(pair(rest.count, rest.ended));
        self.add(pair(rest.begun, rest.used_row));
        self.add(rest.version.to_bits());
        self.add(rest.used);
        self.sum.max(1)
    }
}

/// What a record has besides its words and its check number.
struct Rest {
    count: u32,
    ended: u32,
    begun: u32,
    used_row: u32,
    version: f64,
    used: u64,
}

/// A change that is being put together, in the memory of this process. See [`Change::commit`].
pub(super) struct Change<'a, M: Memory> {
    view: &'a View<M>,
    /// The first `rest.count` of them are initialized, but for those that there is no room for.
    words: [MaybeUninit<(&'a Word, u32)>; INTENT_WORDS],
    rest: Rest,
}

impl<M: Memory> View<M> {
    /// Begins a change. Nothing is changed before [`Change::commit`].
    #[inline(always)]
    pub(super) fn change(&self) -> Change<'_, M> {
        Change {
            view: self,
            words: [const { MaybeUninit::uninit() }; INTENT_WORDS],
            rest: Rest {
                count: 0,
                ended: NONE,
                begun: NONE,
                used_row: NONE,
                version: 0.0,
                used: 0,
            },
        }
    }

    /// Completes the change of a process that was killed. Returns whether there was one.
    ///
    /// # Errors
    /// What is in the record is none.
    pub(super) fn complete(&self) -> Checked<bool> {
        let record = &self.header().intent;
        let check = record.check.get();
        if check == 0 {
            return Ok(false);
        }
        let rest = Rest {
            count: record.count.get(),
            ended: record.ended.get(),
            begun: record.begun.get(),
            used_row: record.used_row.get(),
            version: record.version.get(),
            used: record.used.get(),
        };
        let count = rest.count as usize;
        if count > INTENT_WORDS {
            return Err(Fault::Damage);
        }
        // What is summed up is what is stored: this copy.
        let words: [_; INTENT_WORDS] =
            array::from_fn(|at| (record.addresses[at].get(), record.values[at].get()));
        let mut sum = Sum::new();
        for (address, value) in &words[..count] {
            sum.add_word(*address, *value);
        }
        if sum.check(&rest) != check {
            return Err(Fault::Damage);
        }
        let words = words[..count].iter();
        self.make(
            &rest,
            words.map(|(address, value)| Ok((self.word(*address)?, *value))),
        )?;
        Ok(true)
    }

    /// Makes a change whose record is committed, from its first word on.
    #[inline(always)]
    fn make<'a>(&self, rest: &Rest, words: impl Iterator<Item = Checked<(&'a Word, u32)>>) -> Checked<()> {
        if rest.ended != NONE {
            self.version_at(rest.ended)?.end(0.0);
        }
        for word in words {
            let (word, value) = word?;
            word.set(value);
        }
        if rest.used_row != NONE {
            self.row_at(rest.used_row)?.used.set(rest.used);
        }
        if rest.begun != NONE {
            self.version_at(rest.begun)?.publish(rest.version);
        }
        self.header().intent.check.commit(0);
        Ok(())
    }

    /// The word at an address of a record.
    pub(super) fn word(&self, address: u64) -> Checked<&Word> {
        let is_inside = (FIRST..self.geometry.len as u64).contains(&address);
        if !is_inside || !address.is_multiple_of(size_of::<Word>() as u64) {
            return Err(Fault::Damage);
        }
        // SAFETY: within the memory, which is at least as long as the geometry says and a whole number of words, and aligned.
        // Beyond the header's first lines every byte is an atomic word or a payload. Only words of header, index,
        // rows and sections come into a record; another address in one that a broken process forged leads to bytes that may have any
        // value.
        Ok(unsafe { self.memory.base().add(address as usize).cast::<Word>().as_ref() })
    }
}

impl<'a, M: Memory> Change<'a, M> {
    /// The change stores `value` in a word of the segment.
    #[inline(always)]
    pub(super) fn set(&mut self, word: &'a Word, value: u32) {
        if let Some(place) = self.words.get_mut(self.rest.count as usize) {
            place.write((word, value));
        }
        // More words than there is room for make `commit` fail.
        self.rest.count += 1;
    }

    /// As [`Change::set`], where the word has another value.
    #[inline(always)]
    pub(super) fn set_if_new(&mut self, word: &'a Word, value: u32) {
        if word.get() != value {
            self.set(word, value);
        }
    }

    /// As [`Change::set`], for the two words of a number.
    pub(super) fn set_halves(&mut self, halves: [&'a Word; 2], number: u64) {
        let bytes = number.to_ne_bytes();
        for (word, half) in halves.into_iter().zip(bytes.as_chunks().0) {
            self.set(word, u32::from_ne_bytes(*half));
        }
    }

    /// As [`Change::set_halves`], where the number is not `present`, but for a half that stays.
    #[inline(always)]
    pub(super) fn set_halves_if_new(&mut self, halves: [&'a Word; 2], present: u64, number: u64) {
        if present != number {
            let (present, number) = (present.to_ne_bytes(), number.to_ne_bytes());
            let pairs = present.as_chunks().0.iter().zip(number.as_chunks().0);
            for (word, (present, half)) in halves.into_iter().zip(pairs) {
                if present != half {
                    self.set(word, u32::from_ne_bytes(*half));
                }
            }
        }
    }

    /// The version of a row ends before anything else changes.
    #[inline(always)]
    pub(super) fn end_version(&mut self, row: u32) {
        self.rest.ended = row;
    }

    /// A row gets a version after everything else has changed.
    #[inline(always)]
    pub(super) fn begin_version(&mut self, row: u32, version: f64) {
        (self.rest.begun, self.rest.version) = (row, version);
    }

    /// A row gets a time of use.
    #[inline(always)]
    pub(super) fn set_used(&mut self, row: u32, used: u64) {
        (self.rest.used_row, self.rest.used) = (row, used);
    }

    /// Makes the change: writes the record, commits it, stores the words, and clears the record.
    ///
    /// # Errors
    /// There are more words than a record holds, and nothing has changed; or another process writes here without the lock.
    // Not inlined: its loops are short and stay in the processor's cache. By reference: a change is not to be copied.
    #[inline(never)]
    pub(super) fn commit(&self) -> Checked<()> {
        let (record, rest) = (&self.view.header().intent, &self.rest);
        let words = self.words.get(..rest.count as usize).ok_or(Fault::Damage)?;
        // SAFETY: `set` has initialized the first `count` words, and `count` is at most the number of all. An initialized
        // word has the layout of the word.
        let words = unsafe { &*(&raw const *words as *const [(&Word, u32)]) };
        let base = self.view.memory.base().addr().get();
        let mut sum = Sum::new();
        for (number, (word, value)) in words.iter().enumerate() {
            let address = ((&raw const **word).addr() - base) as u64;
            record.addresses[number].set(address);
            record.values[number].set(*value);
            sum.add_word(address, *value);
        }
        record.count.set(rest.count);
        record.ended.set(rest.ended);
        record.begun.set(rest.begun);
        record.used_row.set(rest.used_row);
        record.version.set(rest.version);
        record.used.set(rest.used);
        record.check.commit(sum.check(rest));
        self.view.make(rest, words.iter().map(|word| Ok(*word)))
    }
}
