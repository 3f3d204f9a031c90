//! Slots: the numbers of values that stay JavaScript values. JavaScript keeps these values in an array. Rust chooses the
//! index of each, its slot, and tells JavaScript which slots are free again, in whatever way their entries were removed.

use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The slots of one JavaScript array. All caches whose values lie in that array share them.
///
/// A slot that was freed is *released* before it is taken again: JavaScript drops the old value first, so it can never drop
/// a new value of the same slot by mistake.
#[derive(Clone, Debug, Default)]
pub struct Slots(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Whether `freed` is not empty. Read after every call, so it is outside the lock.
    any_freed: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    /// For each slot that was ever taken, whether it has a value now.
    taken: Vec<bool>,
    /// Slots that were released. They can be taken again.
    vacant: Vec<u32>,
    /// Slots that were freed and not yet released.
    freed: Vec<u32>,
}

impl Slots {
    /// Takes a slot for a new value.
    pub fn take(&self) -> u32 {
        let mut table = self.0.table.lock();
        match table.vacant.pop() {
            Some(slot) => {
                table.taken[slot as usize] = true;
                slot
            }
            None => {
                table.taken.push(true);
                (table.taken.len() - 1) as u32
            }
        }
    }

    /// Frees the slot of an entry that was removed. A slot without a value is left as it is: a damaged segment may have any
    /// number.
    pub fn free(&self, slot: u32) {
        let mut table = self.0.table.lock();
        if let Some(taken @ true) = table.taken.get_mut(slot as usize) {
            *taken = false;
            table.freed.push(slot);
            self.0.any_freed.store(true, Ordering::Release);
        }
    }

    /// Releases at most `limit` freed slots: passes each to `drop_value` and makes it vacant. Returns the number of freed
    /// slots that remain. The caller must drop the values before it calls [`Slots::take`] again.
    pub fn release(&self, limit: usize, mut drop_value: impl FnMut(u32)) -> usize {
        if !self.0.any_freed.load(Ordering::Acquire) {
            return 0;
        }
        let mut table = self.0.table.lock();
        let Table { vacant, freed, .. } = &mut *table;
        let from = freed.len().saturating_sub(limit);
        for slot in freed.drain(from..) {
            drop_value(slot);
            vacant.push(slot);
        }
        self.0.any_freed.store(from > 0, Ordering::Release);
        from
    }

    /// The number of slots that have a value now.
    pub fn in_use(&self) -> usize {
        let table = self.0.table.lock();
        table.taken.len() - table.vacant.len() - table.freed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_is_not_handed_out_before_its_value_is_dropped() {
        let slots = Slots::default();
        let (a, b) = (slots.take(), slots.take());
        assert_ne!(a, b);
        slots.free(a);
        assert_ne!(slots.take(), a);
        let mut dropped = vec![];
        assert_eq!(slots.release(10, |slot| dropped.push(slot)), 0);
        assert_eq!(dropped, [a]);
        assert_eq!(slots.take(), a);
        assert_eq!(slots.in_use(), 3);
    }

    #[test]
    fn a_slot_that_holds_no_value_is_not_freed() {
        let slots = Slots::default();
        let (a, b) = (slots.take(), slots.take());
        for slot in [a, a, 2, u32::MAX] {
            slots.free(slot);
        }
        let released = || {
            let mut released = vec![];
            slots.release(9, |slot| released.push(slot));
            released
        };
        assert_eq!((released(), slots.in_use()), (vec![a], 1));
        slots.free(a);
        assert_eq!((released(), slots.in_use()), (vec![], 1));
        assert_eq!(slots.take(), a);
        slots.free(a);
        slots.free(b);
        assert_eq!((released().len(), slots.in_use()), (2, 0));
    }

    #[test]
    fn release_keeps_to_its_limit() {
        let slots = Slots::default();
        for slot in (0..5).map(|_| slots.take()).collect::<Vec<_>>() {
            slots.free(slot);
        }
        let mut dropped = vec![];
        assert_eq!(slots.release(2, |slot| dropped.push(slot)), 3);
        assert_eq!(slots.release(9, |slot| dropped.push(slot)), 0);
        dropped.sort();
        assert_eq!(dropped, [0, 1, 2, 3, 4]);
        assert_eq!(slots.in_use(), 0);
    }
}
