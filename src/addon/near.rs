//! The memory that JavaScript reads without a call (`lib/near/`), as buffers over the mapping.

use napi::sys;
use std::{ffi::c_void, ptr};

use super::{
    caches::{Handle, handle_of},
    call::{Call, JsValue},
    store::{Given, lock},
};
use crate::{error::Result, storage::Mapped, store::Place, value::Mark};

/// `nearControl(cache, remembers)`: gate, epoch and count of uses. Where JavaScript remembers nothing that it reads, there is
/// something only if other processes share the cache.
pub fn control(call: &Call) -> Given {
    let remembers = call.bool(call.argument(1));
    // The ring that JavaScript had may be one of another place: entries lie elsewhere after a move.
    handle_of(call, call.argument(0))?.records_uses.set(false);
    window(call, |_, place| {
        if !remembers && !place.is_shared() {
            return None;
        }
        place.control()
    })
}

/// `nearVersions(cache, piece)`: the versions of a piece of the rows.
pub fn versions(call: &Call) -> Given {
    let piece = call.index(call.argument(1));
    window(call, |_, place| place.versions(piece))
}

/// `nearRing(cache)`: the ring in which JavaScript records uses of entries in a segment; `undefined` where there is none to be
/// had. With a ring, entries are read without the lock.
pub fn ring(call: &Call) -> Given {
    window(call, |handle, place| {
        let ring = place.ring();
        handle.records_uses.set(ring.is_some());
        ring
    })
}

/// `nearUses(cache)`: where JavaScript records uses of entries on the heap; `undefined` where they lie in a segment.
pub fn uses(call: &Call) -> Given {
    window(call, |_, place| place.uses())
}

/// `refresh(cache)`: applies the uses that JavaScript has recorded, if no other process has the lock.
pub fn refresh(call: &Call) -> Given {
    let handle = handle_of(call, call.argument(0))?;
    handle.store.refresh();
    Ok(handle.table.mark(Mark::Plain, call.undefined()))
}

/// A buffer over memory of the cache, or `undefined`.
fn window(call: &Call, find: impl FnOnce(&Handle, &mut Place) -> Option<Box<dyn Mapped>>) -> Given {
    let handle = handle_of(call, call.argument(0))?;
    let found = || -> Result<_> { Ok(find(&handle, lock(&handle)?.storage_mut())) };
    Ok(match found() {
        Ok(found) => {
            let buffer = found.map_or_else(|| call.undefined(), |mapped| external(call, mapped));
            handle.table.mark(Mark::Plain, buffer)
        }
        Err(error) => handle.table.fail(call, &error),
    })
}

/// What Node calls when a buffer is collected, or its thread ends.
unsafe extern "C" fn finalize(_: sys::napi_env, _: *mut c_void, hint: *mut c_void) {
    // SAFETY: `external` made the hint of a box of this very type, and Node calls this once.
    drop(unsafe { Box::from_raw(hint.cast::<Box<dyn Mapped>>()) });
}

/// An `ArrayBuffer` over mapped memory, which is kept until the buffer is collected; `undefined` where this Node allows
/// no such buffer.
fn external(call: &Call, mapped: Box<dyn Mapped>) -> JsValue {
    let (base, bytes) = (mapped.base().as_ptr().cast(), mapped.bytes());
    let hint = Box::into_raw(Box::new(mapped)).cast::<c_void>();
    let mut buffer = ptr::null_mut();
    // SAFETY: `bytes` bytes at `base` are mapped until `finalize` drops the hint.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(call.env(), base, bytes, Some(finalize), hint, &mut buffer)
    };
    if status == sys::Status::napi_ok {
        return buffer;
    }
    // SAFETY: Node has taken neither the memory nor the hint.
    drop(unsafe { Box::from_raw(hint.cast::<Box<dyn Mapped>>()) });
    call.undefined()
}
