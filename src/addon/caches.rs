//! The caches that JavaScript holds. JavaScript names one by a number; the object that owns the number is a
//! [`NativeCache`], and when that is collected the number is gone.

use napi::bindgen_prelude::Int32Array;
use napi_derive::napi;
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    ptr::NonNull,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::{
    arguments::Copied,
    call::{Call, JsValue},
    results::Found,
};
use crate::{
    cache::Remembered,
    copies::Copies,
    error::{Error, Result},
    slots::Slots,
    store::{Hold, Store},
    value::{Kind, Mark},
};

/// What is in the array that Rust and JavaScript share, `state` in `lib/store/value-table.js`: what the last call's
/// result is, the slot that belongs to it, and slots whose values JavaScript is to drop.
pub mod state {
    /// Index: what the last result is, the number of a [`crate::value::Kind`] or of a [`crate::value::Mark`].
    pub const OUTCOME: usize = 0;
    /// Index: the slot of the last result.
    pub const SLOT: usize = 1;
    /// Index: how many freed slots follow; with more than fit, JavaScript asks again. JavaScript sets it to 0 when
    /// it has dropped their values.
    pub const FREED: usize = 2;
    /// Index: 1 where the last call was a use that JavaScript is to record, of the first entry in [`FOUND`]. JavaScript sets it to
    /// 0 then.
    pub const USED: usize = 3;
    /// Index: 1 where JavaScript remembers what the next call finds or stores. That call sets it to 0.
    pub const WANTED: usize = 4;
    /// Index: 1 where a namespace was destroyed. JavaScript sets it to 0 when it has let go of that.
    pub const DESTROYED: usize = 5;
    /// Index: freed slots, from here to [`FOUND`].
    pub const FREED_SLOTS: usize = 6;
    /// Index: what JavaScript may remember of the entries that the last call found or stored, to the end of the array: for
    /// each of them [`NUMBERS`] numbers of 64 bits: its row, its version (0: nothing), the last millisecond at which it has not
    /// expired, the word for tags that must be as it is now, or -1 where it has no tags, and when it was set.
    pub const FOUND: usize = 64;
    /// How many numbers each entry has from [`FOUND`] on.
    pub const NUMBERS: usize = 5;
}

/// The table of JavaScript values that some caches share, and the array in which Rust reports on it.
pub struct Table {
    pub slots: Slots,
    state: NonNull<Cell<i32>>,
    length: usize,
    /// What the last command read. Kept, so that most calls allocate nothing, and until the next call, see
    /// [`super::results::apart`].
    pub copies: RefCell<Copies>,
    /// Room for the value of one entry.
    pub found: RefCell<Found>,
    /// Room for a value on its way from JavaScript.
    pub copied: RefCell<Copied>,
    /// Keeps the memory behind `state` alive.
    _array: Int32Array,
}

impl Table {
    /// A table that reports into `array`, which must have room for the fields of [`state`].
    pub fn new(mut array: Int32Array) -> Option<Rc<Self>> {
        let length = array.len();
        // SAFETY: only this package's JavaScript holds the array, and it runs on this thread, so nothing reads
        // or writes while the borrow lasts.
        let state = unsafe { array.as_mut() };
        let state = NonNull::new(state.as_mut_ptr())?.cast();
        (length > state::FREED_SLOTS).then(|| {
            Rc::new(Self {
                slots: Slots::default(),
                state,
                length,
                copies: RefCell::default(),
                found: RefCell::default(),
                copied: RefCell::default(),
                _array: array,
            })
        })
    }

    fn get(&self, index: usize) -> i32 {
        debug_assert!(index < self.length);
        // SAFETY: as in `set`.
        unsafe { self.state.add(index).as_ref() }.get()
    }

    fn set(&self, index: usize, value: i32) {
        debug_assert!(index < self.length);
        // SAFETY: the index is below `length` (every caller's is a constant of `state`, or checked); the memory
        // is kept alive by `_array`, never detached, and used on this thread alone.
        unsafe { self.state.add(index).as_ref() }.set(value);
    }

    /// Says that the result is a value of this kind, and passes it on.
    pub fn kind(&self, kind: Kind, value: JsValue) -> JsValue {
        self.set(state::OUTCOME, kind as i32);
        value
    }

    /// Says what the result is that is no value of an entry, and passes it on.
    pub fn mark(&self, mark: Mark, value: JsValue) -> JsValue {
        self.set(state::OUTCOME, mark as i32);
        value
    }

    /// Says that the result is that of a use which JavaScript is to record.
    pub fn used(&self, entry: Remembered) {
        self.remember(0, Some(entry));
        self.set(state::USED, 1);
    }

    /// Hands freed slots to JavaScript, as many as fit, unless it has not read yet what it was handed before.
    pub fn release(&self) {
        if self.get(state::FREED) != 0 {
            return;
        }
        let mut index = state::FREED_SLOTS;
        let end = self.length.min(state::FOUND);
        let left = self.slots.release(end - state::FREED_SLOTS, |slot| {
            self.set(index, slot as i32);
            index += 1;
        });
        let written = index - state::FREED_SLOTS;
        self.set(state::FREED, i32::try_from(written + left).unwrap_or(i32::MAX));
    }

    /// Says that a namespace was destroyed.
    pub fn destroyed(&self) {
        self.set(state::DESTROYED, 1);
    }

    /// Says what JavaScript may remember of the entry that the last call found or stored, the one at this place among those
    /// of a list; `None`: nothing.
    pub fn remember(&self, place: usize, entry: Option<Remembered>) {
        const WORDS: usize = 2 * state::NUMBERS;
        let at = state::FOUND + place * WORDS;
        if at + WORDS > self.length {
            return;
        }
        let numbers = entry.map_or([0.0; state::NUMBERS], |entry| {
            let row = f64::from(entry.row);
            let tags = entry.tags.map_or(-1.0, f64::from);
            [row, entry.version, entry.fresh_until, tags, entry.set_at]
        });
        for (index, number) in numbers.iter().enumerate() {
            let bits = number.to_bits();
            let (low, high) = (bits as u32 as i32, (bits >> 32) as u32 as i32);
            let halves = if cfg!(target_endian = "little") {
                [low, high]
            } else {
                [high, low]
            };
            self.set(at + index * 2, halves[0]);
            self.set(at + index * 2 + 1, halves[1]);
        }
    }

    /// Whether JavaScript remembers what this call finds or stores.
    pub fn is_wanted(&self) -> bool {
        let is_wanted = self.get(state::WANTED) != 0;
        if is_wanted {
            self.set(state::WANTED, 0);
        }
        is_wanted
    }

    /// Says which slot belongs to the result.
    pub fn say_slot(&self, slot: u32) {
        self.set(state::SLOT, slot as i32);
    }

    /// Says whether an entry was stored.
    pub fn stored(&self, stored: bool) -> JsValue {
        self.mark(if stored { Mark::Plain } else { Mark::Miss }, NOTHING)
    }

    /// Says in which slot JavaScript is to keep the value of an entry that was stored.
    pub fn kept(&self, slot: u32) -> JsValue {
        self.say_slot(slot);
        self.kind(Kind::Slot, NOTHING)
    }

    /// Answers with an error.
    pub fn fail(&self, call: &Call, error: &Error) -> JsValue {
        self.mark(Mark::Error, call.js_error(error))
    }
}

/// A value that Node-API was to make of bytes; it gives a null where it could not.
pub fn made(value: JsValue) -> Result<JsValue> {
    if value.is_null() {
        return Err(Error::out_of_memory());
    }
    Ok(value)
}

/// No value beside what is said of the result: `undefined`.
pub const NOTHING: JsValue = std::ptr::null_mut();

/// A cache as JavaScript calls it: with the table in which its JavaScript values lie.
pub struct Handle {
    pub store: Arc<Store>,
    /// How long a call waits for another process that has the lock.
    pub lock_wait: Duration,
    pub table: Rc<Table>,
    /// The lock for several calls, once for each `hold` without its `unhold`.
    pub holds: RefCell<Vec<Hold>>,
    /// Whether JavaScript records what it has used: then it may be read without the lock.
    pub records_uses: Cell<bool>,
}

impl Handle {
    /// Says what JavaScript may remember of the entry that a call has found or stored, where JavaScript wants to. For `None`
    /// nothing is said: before such a call JavaScript has written that there is nothing.
    #[inline]
    pub fn remember(&self, entry: impl FnOnce() -> Option<Remembered>) {
        if self.table.is_wanted()
            && let Some(entry) = entry()
        {
            self.table.remember(0, Some(entry));
        }
    }

    /// A cache whose lock is free.
    pub fn new(store: Arc<Store>, lock_wait: Duration, table: Rc<Table>) -> Self {
        Self {
            store,
            lock_wait,
            table,
            holds: RefCell::default(),
            records_uses: Cell::default(),
        }
    }
}

thread_local! {
    /// One set of caches per JavaScript thread: a thread never sees another's.
    static CACHES: RefCell<Slab<Rc<Handle>>> = const { RefCell::new(Slab::new()) };
}

/// The cache of a number, if there is one.
pub fn handle_by_index(index: u32) -> Option<Rc<Handle>> {
    CACHES.with_borrow(|caches| caches.get(index as usize).cloned())
}

/// The cache that a number names. The clone keeps it through the call, whatever the call makes happen.
pub fn handle_of(call: &Call, value: JsValue) -> std::result::Result<Rc<Handle>, &'static str> {
    handle_by_index(call.index(value)).ok_or("internal error: no such cache")
}

/// The owner of a cache's number.
#[napi]
pub struct NativeCache {
    index: usize,
}

#[napi]
impl NativeCache {
    /// The number that names this cache in calls.
    #[napi(getter, catch_unwind)]
    pub fn id(&self) -> u32 {
        self.index as u32
    }
}

impl NativeCache {
    /// Takes a number for a cache.
    pub fn new(handle: Handle) -> Self {
        Self {
            index: CACHES.with_borrow_mut(|caches| caches.insert(Rc::new(handle))),
        }
    }
}

impl Drop for NativeCache {
    fn drop(&mut self) {
        // At the very end of a thread its table may be gone before the last finalizer runs.
        let gone = CACHES.try_with(|caches| caches.try_borrow_mut().ok()?.try_remove(self.index));
        drop(gone);
    }
}
