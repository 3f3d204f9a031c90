//! The memory of a segment that JavaScript reads without a call (`lib/near/`), as buffers over the mapping.

use napi::sys;
use std::ffi::c_void;

use super::call::{Call, JsValue};

/// Memory that stays where it is for as long as the value lives.
pub trait Mapped {
    /// Where it starts.
    fn base(&self) -> *mut c_void;
    /// How long it is, in bytes.
    fn len(&self) -> usize;
}

#[cfg(target_os = "linux")]
impl Mapped for crate::storage::shared::memfd::Window {
    fn base(&self) -> *mut c_void {
        self.base().as_ptr().cast()
    }

    fn len(&self) -> usize {
        self.len()
    }
}

#[cfg(target_os = "linux")]
impl Mapped for std::sync::Arc<crate::storage::shared::access::RingWindow> {
    fn base(&self) -> *mut c_void {
        self.window().base().as_ptr().cast()
    }

    fn len(&self) -> usize {
        self.window().len()
    }
}

/// What Node calls when a buffer is collected, or its thread ends.
unsafe extern "C" fn finalize<T>(_: sys::napi_env, _: *mut c_void, hint: *mut c_void) {
    // SAFETY: `external` made the hint of a box of this very type, and Node calls this once.
    drop(unsafe { Box::from_raw(hint.cast::<T>()) });
}

/// An `ArrayBuffer` over mapped memory, which is kept until the buffer is collected; `undefined` where this Node allows
/// no such buffer.
pub fn external<T: Mapped>(call: &Call, mapped: T) -> JsValue {
    let (base, len) = (mapped.base(), mapped.len());
    let hint = Box::into_raw(Box::new(mapped)).cast::<c_void>();
    let mut buffer = std::ptr::null_mut();
    // SAFETY: `len` bytes at `base` are mapped until `finalize` drops the hint.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(call.env(), base, len, Some(finalize::<T>), hint, &mut buffer)
    };
    if status == sys::Status::napi_ok {
        return buffer;
    }
    // SAFETY: Node has taken neither the memory nor the hint.
    drop(unsafe { Box::from_raw(hint.cast::<T>()) });
    call.undefined()
}
