//! The tags that were invalidated, and the sweeps that remove their entries. `src/extras.rs` says what an entry has of its
//! tags, and when it is outdated.
//!
//! The table of tags has two halves. A slot has the hash of a tag and the number of the tag's last invalidation. (Two tags with one
//! hash: an entry is lost, as a cache may lose any.) A slot counts where its number is above the base of its half, and not above the
//! count; so one store to the base frees the half. A look-up goes through the slots from the place of the hash on, up to the first
//! that does not count.
//!
//! **An invalidation**, under the lock:
//! 1. The word `control.tags` changes. From here on no process takes what it remembers of an entry with tags for the
//!    present: such reads take the lock.
//! 2. The count goes up. An entry that is stored from here on is not outdated by this invalidation.
//! 3. Each tag gets the new count as its number, by one store: in the slot that it has in the present half, or in a
//!    free one, whose hash is stored before.
//!
//! **Who is killed** between two of these stores leaves nothing to repair for one tag: either its number was stored, or the
//! call that was killed has done nothing. For several tags, the word `several` is 1 and the gate is odd meanwhile. Whoever finds
//! both raises the floor, so that the call counts as a whole.
//!
//! **The table has an end.** When three quarters of the present half are taken, the other half becomes the present one, if it
//! is clear. It is cleared when a sweep has been completed that began after the last change of halves: no entry is left that is outdated
//! by a number in it. Where it is not clear, the floor is raised: every entry with tags that was stored before is outdated, and the table is
//! empty. The same happens where there is no memory for the table, and nobody has to wait for any.
//!
//! **A sweep** goes through the rows in their order, and removes what is outdated: a part with each invalidation, and a small
//! one with each entry that is stored with tags, while a sweep is under way. A prune is a sweep, too. A row never
//! becomes outdated behind a sweep by an invalidation from before the sweep: what is stored has the present count.
//!
//! Every word here is stored alone, and each order of them that a kill can leave is sound, so no record of a change has them. A rebuild drops
//! every entry with extras, since nobody knows what damage has done to the table, and empties it.

use std::sync::atomic::Ordering::Release;

use super::{
    atomics::fence,
    edit::{Edit, Part},
    layout::{CLEAR, NONE, Row, TAG_SLOTS, TagSlot},
    memory::Memory,
    view::{Checked, Fault, Probe},
};
use crate::extras::Tags;

/// The most slots of a half that are taken.
const MOST_USED: u32 = TAG_SLOTS / 4 * 3;

/// The part of a sweep that comes with an entry that is stored.
const SMALL: Part = Part {
    removed: 8,
    looked_at: 256,
};

/// So many tags of an invalidation make one more part of a sweep, up to this many parts.
const TAGS_A_PART: usize = 16;
const MOST_PARTS: usize = 4;

impl<M: Memory> Edit<M> {
    /// Invalidates tags.
    pub(super) fn invalidate(&self, tags: Tags<'_>) {
        let (header, words) = (self.header(), &self.header().tags);
        header.control.tags.set(header.control.tags.get().wrapping_add(1));
        // Who sees anything of this from here on sees that word.
        fence(Release);
        let several = tags.iter().nth(1).is_some();
        if several {
            self.begin_steps();
            words.several.commit(1);
        }
        let number = words.count.get().wrapping_add(1);
        words.count.commit(number);
        let mark = |hash| self.ready_table().and_then(|()| self.mark(hash, number));
        let marked = tags.iter().all(|tag| mark(self.long_hash(tag)).is_ok());
        if !marked {
            self.raise_floor();
        }
        if several {
            words.several.commit(0);
        }
    }

    /// Ends the invalidation of several tags by a process that was killed.
    pub(super) fn finish_invalidation(&self) {
        let (header, words) = (self.header(), &self.header().tags);
        if words.several.get() != 0 {
            header.control.tags.set(header.control.tags.get().wrapping_add(1));
            fence(Release);
            words.count.commit(words.count.get().wrapping_add(1));
            self.raise_floor();
            words.several.commit(0);
        }
    }

    /// Makes sure that the table has memory.
    fn ready_table(&self) -> Checked<()> {
        let words = &self.header().tags;
        if words.ready.get() == 0 {
            let at = self.geometry.tags_at;
            self.memory
                .commit(at..at + 2 * TAG_SLOTS as usize * size_of::<TagSlot>())?;
            words.bases[self.half() ^ 1].set(CLEAR);
            words.ready.commit(1);
        }
        Ok(())
    }

    /// The half that takes new tags.
    fn half(&self) -> usize {
        self.header().tags.half.get() as usize & 1
    }

    /// Gives a tag the number of its last invalidation.
    ///
    /// # Errors
    /// There is no room.
    fn mark(&self, hash: u64, number: u64) -> Checked<()> {
        let words = &self.header().tags;
        let used = words.used.get();
        match self.table().probe(self.half(), hash) {
            Probe::Found(at) => self.tag_slot(at)?.number.commit(number),
            Probe::Free(at) if used < MOST_USED => self.fill(at, hash, number)?,
            _ => {
                let other = self.half() ^ 1;
                if words.bases[other].get() != CLEAR {
                    return Err(Fault::Memory);
                }
                // What lies there has lower numbers.
                words.bases[other].set(number.wrapping_sub(1));
                words.used.commit(0);
                words.half.commit(other as u32);
                return match self.table().probe(other, hash) {
                    Probe::Free(at) => self.fill(at, hash, number),
                    _ => Err(Fault::Damage),
                };
            }
        }
        Ok(())
    }

    /// Gives a tag a slot of the present half.
    fn fill(&self, at: u32, hash: u64, number: u64) -> Checked<()> {
        let (slot, used) = (self.tag_slot(at)?, &self.header().tags.used);
        used.set(used.get() + 1);
        slot.hash.set(hash);
        slot.number.commit(number);
        Ok(())
    }

    /// Every entry with tags that is there is outdated, and the table is empty.
    fn raise_floor(&self) {
        let words = &self.header().tags;
        words.floor.commit(words.count.get());
        self.empty_table();
    }

    fn empty_table(&self) {
        let words = &self.header().tags;
        words.bases[self.half()].set(words.count.get());
        words.bases[self.half() ^ 1].set(CLEAR);
        words.used.set(0);
    }

    /// No entry has tags: all of this may begin anew, and the memory goes back.
    pub(super) fn reset_tags(&self) {
        let words = &self.header().tags;
        if words.count.get() > u64::MAX / 2 {
            words.count.set(0);
        }
        words.floor.set(0);
        words.several.set(0);
        words.sweep.set(NONE);
        words.swept.set(words.count.get());
        self.empty_table();
        if words.ready.get() != 0 {
            words.ready.commit(0);
            let at = self.geometry.tags_at;
            self.memory
                .decommit(at..at + 2 * TAG_SLOTS as usize * size_of::<TagSlot>());
        }
    }

    /// No entry is left that was outdated when the count was `count`.
    pub(super) fn swept(&self, count: u64) {
        let words = &self.header().tags;
        let half = self.half();
        // Whoever computes a value under a lease may store it with tags that were invalidated meanwhile: these are kept while there is
        // room.
        let is_wanted = self.header().leases.held.get() != 0 && words.used.get() < MOST_USED / 2;
        if words.ready.get() == 0 || is_wanted {
            return;
        }
        if count > words.bases[half].get() {
            words.bases[half ^ 1].set(CLEAR);
        }
        if count == words.count.get() {
            words.bases[half].commit(count);
            words.used.set(0);
        }
    }

    /// Removes the outdated entries of some rows, which `gone` names: after an invalidation of `tags` tags, or after an entry was
    /// stored (0 tags).
    pub(super) fn sweep(&self, tags: usize, mut gone: impl FnMut(&Self, &Row) -> bool) {
        let words = &self.header().tags;
        let (parts, part) = match tags {
            0 => (1, SMALL),
            _ => ((tags / TAGS_A_PART + 1).min(MOST_PARTS), Part::DEFAULT),
        };
        for _ in 0..parts {
            if words.sweep.get() == NONE {
                let count = words.count.get();
                if tags == 0 || words.swept.get() == count {
                    return;
                }
                words.swept.set(count);
                words.sweep.commit(1);
            }
            match self.remove_rows(words.sweep.get(), part, &mut gone) {
                Some(rest) => words.sweep.set(rest),
                None => {
                    self.swept(words.swept.get());
                    words.sweep.commit(NONE);
                }
            }
        }
    }
}
