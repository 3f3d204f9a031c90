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

use super::{
    layout::{Float, INTENT_WORDS, Intent, LockPlace, Long, NONE, Word},
    memory::Memory,
    view::{Checked, Fault, View},
};

/// Multiplied by an odd number, it gives an odd number: each number that is summed up counts with one of its own.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Words below this one are what the segment is, and its lock. No change stores them.
const FIRST: u64 = (64 + size_of::<LockPlace>() as u64) / 4;

/// The sum of numbers, each with its own odd factor: no single number can differ without it.
#[derive(Clone, Copy)]
struct Sum {
    sum: u64,
    factor: u64,
}

impl Sum {
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

    /// The sum, with what the record has besides its words. Never 0.
    #[inline(always)]
    fn with_rest(mut self, record: &Intent) -> u64 {
        let pair = |upper: &Word, lower: &Word| u64::from(upper.get()) << 32 | u64::from(lower.get());
        self.add(pair(&record.count, &record.ended));
        self.add(pair(&record.begun, &record.used_row));
        self.add(record.version.get().to_bits());
        self.add(record.used.get());
        for high in &record.high {
            self.add(high.get());
        }
        self.sum.max(1)
    }
}

/// A change while its record is being written. There is one at a time: the record is in the header.
pub(super) struct Change<'a, M: Memory> {
    view: &'a View<M>,
    record: &'a Intent,
    count: usize,
    high: [u64; INTENT_WORDS.div_ceil(16)],
    sum: Sum,
}

impl<M: Memory> View<M> {
    /// Begins a change. Nothing is changed before [`Change::commit`].
    #[inline(always)]
    pub(super) fn change(&self) -> Change<'_, M> {
        let record = &self.header().intent;
        record.ended.set(NONE);
        record.begun.set(NONE);
        record.used_row.set(NONE);
        Change {
            view: self,
            record,
            count: 0,
            high: [0; INTENT_WORDS.div_ceil(16)],
            sum: Sum::new(),
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
        let count = record.count.get() as usize;
        let words = record.words.get(..count).ok_or(Fault::Damage)?;
        let mut sum = Sum::new();
        words.iter().for_each(|word| sum.add(word.get()));
        if sum.with_rest(record) != check {
            return Err(Fault::Damage);
        }
        self.apply()?;
        Ok(true)
    }

    /// Makes the change of the record, from its first word on.
    #[inline(always)]
    fn apply(&self) -> Checked<()> {
        let record = &self.header().intent;
        match record.ended.get() {
            NONE => {}
            row => self.version_at(row)?.end(0.0),
        }
        let words = record
            .words
            .get(..record.count.get() as usize)
            .ok_or(Fault::Damage)?;
        for (at, word) in words.iter().enumerate() {
            let (word, high) = (word.get(), record.high[at / 16].get() >> (at % 16 * 4) & 0xF);
            self.word(high << 32 | word >> 32)?.set(word as u32);
        }
        match record.used_row.get() {
            NONE => {}
            row => self.row_at(row)?.used.set(record.used.get()),
        }
        match record.begun.get() {
            NONE => {}
            row => self.version_at(row)?.publish(record.version.get()),
        }
        record.check.commit(0);
        Ok(())
    }

    /// The word at an address of a record.
    #[inline(always)]
    fn word(&self, at: u64) -> Checked<&Word> {
        if at < FIRST || at >= self.geometry.len as u64 / 4 {
            return Err(Fault::Damage);
        }
        // SAFETY: within the memory, which is at least as long as the geometry says, and aligned. Beyond the header's first
        // lines every byte is an atomic word or a payload. Only links, and words of header, index and rows come into a
        // record; another address in one that a broken process forged leads to bytes that may have any value.
        Ok(unsafe { self.memory.base().cast::<Word>().add(at as usize).as_ref() })
    }
}

impl<M: Memory> Change<'_, M> {
    /// The change stores `value` in a word of the segment.
    #[inline(always)]
    pub(super) fn set(&mut self, word: &Word, value: u32) {
        self.set_at((&raw const *word).addr(), value);
    }

    /// As [`Change::set`], for a number of two words. Not for one that is read without the lock: it is stored in two steps.
    pub(super) fn set_long(&mut self, long: &Long, value: u64) {
        self.set_pair((&raw const *long).addr(), value);
    }

    /// As [`Change::set_long`].
    pub(super) fn set_float(&mut self, float: &Float, value: f64) {
        self.set_pair((&raw const *float).addr(), value.to_bits());
    }

    fn set_pair(&mut self, address: usize, value: u64) {
        let (upper, lower) = ((value >> 32) as u32, value as u32);
        let pair = if cfg!(target_endian = "big") {
            [upper, lower]
        } else {
            [lower, upper]
        };
        self.set_at(address, pair[0]);
        self.set_at(address + 4, pair[1]);
    }

    #[inline(always)]
    fn set_at(&mut self, address: usize, value: u32) {
        let at = (address - self.view.memory.base().addr().get()) as u64 / 4;
        let word = at << 32 | u64::from(value);
        // More words than there is room for make `commit` fail.
        if let Some(place) = self.record.words.get(self.count) {
            place.set(word);
            self.high[self.count / 16] |= (at >> 32) << (self.count % 16 * 4);
            self.sum.add(word);
        }
        self.count += 1;
    }

    /// The version of a row ends before anything else changes.
    #[inline(always)]
    pub(super) fn end_version(&mut self, row: u32) {
        self.record.ended.set(row);
    }

    /// A row gets a version after everything else has changed.
    #[inline(always)]
    pub(super) fn begin_version(&mut self, row: u32, version: f64) {
        self.record.begun.set(row);
        self.record.version.set(version);
    }

    /// A row gets a time of use.
    #[inline(always)]
    pub(super) fn set_used(&mut self, row: u32, used: u64) {
        self.record.used_row.set(row);
        self.record.used.set(used);
    }

    /// Makes the change.
    ///
    /// # Errors
    /// There are more words than a record holds, and nothing has changed; or another process writes here without the lock.
    #[inline(always)]
    pub(super) fn commit(self) -> Checked<()> {
        let record = self.record;
        if self.count > INTENT_WORDS {
            return Err(Fault::Damage);
        }
        record.count.set(self.count as u32);
        for (place, high) in record.high.iter().zip(self.high) {
            place.set(high);
        }
        record.check.commit(self.sum.with_rest(record));
        self.view.apply()
    }
}
