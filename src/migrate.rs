//! Moves of entries between storages: from the heap of this process to a segment, and from one segment to another. A
//! primary moves its cache to a segment for its workers; a primary that loads this package after its workers takes over
//! the entries that they have as siblings.

use std::mem;

use crate::{
    cache::{Cache, is_invalid},
    error::{Error, Result},
    extras::{Extras, TagList},
    key::KeyList,
    lease::Leases,
    slots::Slots,
    storage::{
        Entry, Storage,
        heap::HeapStorage,
        shared::{
            Segment,
            memfd::{Memfd, Ticket},
        },
    },
    store::{FINAL_LOCK_WAIT, LOCK_WAIT, Place, Store},
    value::Value,
};

impl Store {
    /// Moves the cache from the heap to a new segment, with its order, ages and limits. A cache in a segment stays there.
    /// JavaScript values keep their slots of `slots`, but for strings: `text` returns the string in a slot, as WTF-8.
    ///
    /// # Errors
    /// The system has no shared memory, or not enough for the entries. The cache stays on the heap.
    pub fn share(&self, slots: &Slots, text: impl FnMut(u32) -> Option<Vec<u8>>) -> Result<Ticket> {
        self.move_to(|| Segment::make(""), slots, text)
    }

    /// Makes one cache of this one and the segment of a ticket, which other processes share.
    ///
    /// A cache on the heap moves to that segment, as by [`Store::share`]: it replaces entries of the same keys, and the
    /// segment's limits stay where this cache has none. A cache in another segment stays there and takes over the entries
    /// of the ticket's segment whose keys it does not have; that segment is then marked as moved, and the other processes
    /// leave it.
    ///
    /// # Errors
    /// As [`Store::attach`] and [`Store::share`]; or the segment has JavaScript values of another process; or
    /// `ERR_STORE_BUSY`.
    pub fn adopt(
        &self,
        ticket: &Ticket,
        slots: &Slots,
        text: impl FnMut(u32) -> Option<Vec<u8>>,
    ) -> Result<Ticket> {
        let attach = || {
            let theirs = Segment::attach(Memfd::attach(ticket)?, Some(ticket.nonce))?;
            if theirs.has_slot_owner() {
                return Err(Error::held());
            }
            // There is nothing in it that anybody could have.
            if theirs.is_gone() {
                Segment::make("")
            } else {
                Ok(theirs)
            }
        };
        if self.ticket().is_some_and(|own| own.nonce != ticket.nonce) {
            let absorbed = attach().and_then(|theirs| self.absorb(theirs));
            if absorbed.is_err_and(|error| error.is_busy()) {
                return Err(Error::busy());
            }
            // After any other error there is nothing to take over: the segment is gone, is marked as moved, or cannot be
            // attached.
        }
        self.move_to(attach, slots, text)
    }

    /// Takes over the entries of a segment whose keys are not here, and marks the segment as moved.
    fn absorb(&self, theirs: Segment<Memfd>) -> Result<()> {
        let theirs = Self::shared(theirs);
        let mut theirs = theirs.lock(FINAL_LOCK_WAIT)?;
        let mut here = self.lock(FINAL_LOCK_WAIT)?;
        if let (Place::Shared(from), Place::Shared(to)) = (theirs.storage(), here.storage()) {
            // A process that has a version of either must not find it at another entry.
            to.renew_versions(from.last_version());
        }
        let mut new = KeyList::default();
        let listed = theirs.visit_keys(|key| match here.storage().stamp(key)? {
            Some(_) => Ok(()),
            None => new.push(key),
        });
        let new: Vec<_> = new.iter().collect();
        // A result that is computed for the other segment, or for this one, may be older than an entry that comes here.
        here.void_all();
        // The least recent entry first, which gives the same order here. Where memory ends, the rest is lost.
        let _ = listed.and_then(|()| {
            new.iter().rev().try_for_each(|key| {
                let tags = TagList::copy(theirs.storage().extras(key)?.tags);
                let extras = Extras { tags: tags.tags() };
                if let Some((value, stamp)) = theirs.storage_mut().touch(key)? {
                    here.storage_mut().put_with(key, value, stamp, extras)?;
                }
                Ok(())
            })
        });
        here.storage_mut().add_counts(&theirs.storage().stats().counts);
        here.trim();
        theirs.void_all();
        if let Place::Shared(segment) = theirs.storage_mut() {
            segment.move_out();
        }
        Ok(())
    }

    /// Moves a cache on the heap to the segment that `open` returns. Returns the ticket of the segment in which the cache
    /// lies then.
    fn move_to(
        &self,
        open: impl FnOnce() -> Result<Segment<Memfd>>,
        slots: &Slots,
        text: impl FnMut(u32) -> Option<Vec<u8>>,
    ) -> Result<Ticket> {
        if self.ticket().is_some() {
            // No process can attach a segment with a damaged head. Whoever takes the lock repairs the head.
            drop(self.lock(LOCK_WAIT)?);
        }
        self.with_cache(|cache, is_exposed| {
            if let Place::Heap(heap) = cache.storage_mut() {
                let store = Self::shared(open()?);
                let texts = copy(heap, &mut *store.lock(FINAL_LOCK_WAIT)?, slots, text)?;
                heap.end_leases(|_| true);
                // The segment has the slots now, but for those of strings.
                heap.abandon_slots();
                texts.into_iter().for_each(|slot| slots.free(slot));
                store.with_cache(|there, _| mem::swap(cache, there));
                if let (true, Place::Shared(segment)) = (is_exposed, cache.storage()) {
                    segment.expose();
                }
            }
            cache.storage().ticket().ok_or_else(Error::busy)
        })
    }
}

/// Copies limits and entries to a cache in a segment, which owns `slots` from then on, and trims it. Returns the slots of
/// the values that are strings there, and of entries whose tags were invalidated, which are not copied.
fn copy(
    heap: &HeapStorage,
    there: &mut Cache<Place>,
    slots: &Slots,
    mut text: impl FnMut(u32) -> Option<Vec<u8>>,
) -> Result<Vec<u32>> {
    if let Place::Shared(segment) = there.storage_mut() {
        // Before the first slot is in the segment: no other process can own slots in it from here on.
        segment.own_slots(slots.clone());
    }
    // A result that is computed there may be older than an entry of the heap.
    there.void_all();
    let limits = heap.limits().or(there.limits());
    there.storage_mut().set_limits(limits);
    let mut texts = vec![];
    for Entry {
        key,
        value,
        stamp,
        extras,
    } in heap.oldest_first()
    {
        if is_invalid(stamp) {
            texts.extend(match value {
                Value::Slot(slot) => Some(slot),
                _ => None,
            });
            continue;
        }
        let string = match value {
            Value::Slot(slot) => text(slot).inspect(|_| texts.push(slot)),
            _ => None,
        };
        let value = string.as_deref().map_or(value, Value::String);
        if let Err(error) = there.storage_mut().put_with(key, value, stamp, extras) {
            if let Place::Shared(segment) = there.storage_mut() {
                // The heap has the slots still. Without an owner, the segment can be adopted later.
                segment.disown_slots();
            }
            return Err(error);
        }
    }
    there.storage_mut().add_counts(&heap.stats().counts);
    there.trim();
    Ok(texts)
}
