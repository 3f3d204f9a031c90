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
    call::{Call, JsValue},
    values::{Copied, Read, Values},
};
use crate::{
    error::{Error, Result},
    slots::Slots,
    store::{Hold, Store},
};

/// What is in the array that Rust and JavaScript share, `state` in `lib/store/value-table.js`: what the last call's
/// result is, the slot that belongs to it, and slots whose values JavaScript is to drop.
pub mod state {
    /// Index: the kind of the last result, a [`super::Outcome`].
    pub const OUTCOME: usize = 0;
    /// Index: the slot of the last result.
    pub const SLOT: usize = 1;
    /// Index: how many freed slots follow; with more than fit, JavaScript asks again. JavaScript sets it to 0 when
    /// it has dropped their values.
    pub const FREED: usize = 2;
    /// Index: freed slots, from here to the end of the array.
    pub const FREED_SLOTS: usize = 3;
}

/// What a call's result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Outcome {
    /// No such entry.
    Miss = 0,
    /// A value in a slot of JavaScript's own.
    Slot = 1,
    /// The value itself.
    Value = 2,
    /// JSON text of the value.
    Json = 3,
    /// What `v8.serialize` wrote.
    Clone = 4,
    /// `[class, message, code]` of an error.
    Error = 5,
    /// Nothing was done: joined keys have to come as an array.
    Split = 6,
    /// In a list: the next of the joined JSON.
    Joined = 7,
}

/// The table of JavaScript values that some caches share, and the array in which Rust reports on it.
pub struct Table {
    pub slots: Slots,
    state: NonNull<Cell<i32>>,
    length: usize,
    /// For values on their way, so that most calls allocate nothing.
    pub values: RefCell<Values>,
    pub copy: RefCell<Copied>,
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
                values: RefCell::default(),
                copy: RefCell::default(),
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

    /// Says what the result is, and passes it on.
    pub fn outcome(&self, outcome: Outcome, value: JsValue) -> JsValue {
        self.set(state::OUTCOME, outcome as i32);
        value
    }

    /// Hands freed slots to JavaScript, as many as fit, unless it has not read yet what it was handed before.
    pub fn release(&self) {
        if self.get(state::FREED) != 0 {
            return;
        }
        let mut index = state::FREED_SLOTS;
        let left = self.slots.release(self.length - state::FREED_SLOTS, |slot| {
            self.set(index, slot as i32);
            index += 1;
        });
        let written = index - state::FREED_SLOTS;
        self.set(state::FREED, i32::try_from(written + left).unwrap_or(i32::MAX));
    }

    /// Passes room for values that are read under a lock to `run`, and shows JavaScript the first of them.
    pub fn show(&self, call: &Call, run: impl FnOnce(&mut Values) -> Result<()>) -> Result<JsValue> {
        let mut values = self.values.borrow_mut();
        values.clear();
        run(&mut values).inspect_err(|_| values.clear())?;
        let (outcome, shown) = match values.iter().next() {
            Some(value) => self.convert(call, value)?,
            None => (Outcome::Miss, std::ptr::null_mut()),
        };
        Ok(self.outcome(outcome, shown))
    }

    /// A value for JavaScript, and what it is.
    ///
    /// # Errors
    /// JavaScript has no memory for it.
    pub fn convert(&self, call: &Call, value: Read<'_>) -> Result<(Outcome, JsValue)> {
        Ok(match value {
            Read::Slot(slot) => {
                self.say_slot(slot);
                (Outcome::Slot, std::ptr::null_mut())
            }
            Read::Undefined => (Outcome::Value, call.undefined()),
            Read::Null => (Outcome::Value, call.null()),
            Read::Bool(flag) => (Outcome::Value, call.js_bool(flag)),
            Read::Number(number) => (Outcome::Value, call.js_number(number)),
            Read::String(wtf8) => (Outcome::Value, made(call.js_string(wtf8))?),
            Read::Json(json) => (Outcome::Json, made(call.js_string(json))?),
            Read::Clone(bytes) => (Outcome::Clone, made(call.js_buffer(bytes))?),
        })
    }

    /// Says which slot belongs to the result.
    pub fn say_slot(&self, slot: u32) {
        self.set(state::SLOT, slot as i32);
    }

    /// Says whether an entry was stored.
    pub fn stored(&self, stored: bool) -> JsValue {
        let outcome = if stored { Outcome::Value } else { Outcome::Miss };
        self.outcome(outcome, std::ptr::null_mut())
    }

    /// Says in which slot JavaScript is to keep the value of an entry that was stored.
    pub fn kept(&self, slot: Option<u32>) -> JsValue {
        let Some(slot) = slot else {
            return self.stored(false);
        };
        self.say_slot(slot);
        self.outcome(Outcome::Slot, std::ptr::null_mut())
    }

    /// Answers with an error.
    pub fn fail(&self, call: &Call, error: &Error) -> JsValue {
        self.outcome(Outcome::Error, call.js_error(error))
    }
}

/// A value that Node-API was to make of bytes; it gives a null where it could not.
pub fn made(value: JsValue) -> Result<JsValue> {
    if value.is_null() {
        return Err(Error::out_of_memory());
    }
    Ok(value)
}

/// A cache with the table in which its JavaScript values lie.
pub struct Held {
    pub store: Arc<Store>,
    /// How long a call waits for another process.
    pub patience: Duration,
    pub table: Rc<Table>,
    /// The lock for several calls, once for each `hold` without its `unhold`.
    pub holds: RefCell<Vec<Hold>>,
}

impl Held {
    /// A cache whose lock is not held.
    pub fn new(store: Arc<Store>, patience: Duration, table: Rc<Table>) -> Self {
        Self {
            store,
            patience,
            table,
            holds: RefCell::default(),
        }
    }
}

thread_local! {
    /// One set of caches per JavaScript thread: a thread never sees another's.
    static CACHES: RefCell<Slab<Rc<Held>>> = const { RefCell::new(Slab::new()) };
}

/// The cache that a number names. The clone keeps it through the call, whatever the call makes happen.
pub fn held(call: &Call, value: JsValue) -> std::result::Result<Rc<Held>, &'static str> {
    CACHES
        .with_borrow(|caches| caches.get(call.index(value) as usize).cloned())
        .ok_or("internal error: no such cache")
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
    pub fn new(held: Held) -> Self {
        Self {
            index: CACHES.with_borrow_mut(|caches| caches.insert(Rc::new(held))),
        }
    }
}

impl Drop for NativeCache {
    fn drop(&mut self) {
        // At the very end of a thread its table may be gone before the last finalizer runs.
        let held = CACHES.try_with(|caches| caches.try_borrow_mut().ok()?.try_remove(self.index));
        drop(held);
    }
}
