//! Values that stay JavaScript values. JavaScript keeps them in an array, Rust hands out the places in it
//! and says which of them are free again, whatever took their entry away.

use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Hands out slot numbers. Shared by every cache whose values lie in one JavaScript array.
///
/// A slot that was freed is first *released* (JavaScript is told to drop its value) and only then handed out
/// again, so a value that was just put there can never be dropped in place of the one before it.
#[derive(Clone, Debug, Default)]
pub struct Slots(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Whether `freed` has anything: asked after every call, so without the lock.
    any_freed: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    /// For each slot ever handed out, whether it holds a value now.
    taken: Vec<bool>,
    /// Dropped by JavaScript, ready for another value.
    vacant: Vec<u32>,
    /// Freed since JavaScript last asked.
    freed: Vec<u32>,
}

impl Slots {
    /// A slot for a new value.
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

    /// Says that the entry that held `slot` is gone. One that holds no value is passed over: a damaged segment
    /// may name any number.
    pub fn free(&self, slot: u32) {
        let mut table = self.0.table.lock();
        if let Some(taken @ true) = table.taken.get_mut(slot as usize) {
            *taken = false;
            table.freed.push(slot);
            self.0.any_freed.store(true, Ordering::Release);
        }
    }

    /// Passes freed slots to `drop_value`, at most `limit` of them, and makes them vacant. Returns how many
    /// are left. The caller must drop their values before it calls [`Slots::take`] again.
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

    /// How many slots hold a value now.
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
