//! Values that are read under the lock of a cache and shown to JavaScript after it: making a JavaScript value
//! may collect garbage, and nobody is to wait for that.

use super::{
    caches::Outcome,
    call::{Call, JsValue, Type},
};
use crate::{
    error::{Error, Result},
    value::Value,
    wtf8,
};

/// What was read, in order.
#[derive(Default)]
pub struct Values {
    read: Vec<Kept>,
    /// Strings, JSON and clones, one after another.
    bytes: Vec<u8>,
}

/// A value; of one that has bytes, where they end.
enum Kept {
    Plain(Read<'static>),
    String(usize),
    Json(usize),
    Clone(usize),
}

/// A value as in [`Value`].
#[derive(Clone, Copy)]
pub enum Read<'a> {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Slot(u32),
    String(&'a [u8]),
    Json(&'a [u8]),
    Clone(&'a [u8]),
}

/// Room that is kept from call to call, in bytes.
const KEPT: usize = 1 << 20;

/// As [`KEPT`], of units that are made 0 each time.
const KEPT_UNITS: usize = 1 << 13;

impl Values {
    /// Adds a copy of a value.
    ///
    /// # Errors
    /// There is no memory for it; what was read before is as it was.
    pub fn push(&mut self, value: Value<'_>) -> Result<()> {
        self.read.try_reserve(1)?;
        let (kept, bytes): (fn(usize) -> Kept, &[u8]) = match value {
            Value::String(wtf8) => (Kept::String, wtf8),
            Value::Json(json) => (Kept::Json, json.as_bytes()),
            Value::Clone(bytes) => (Kept::Clone, bytes),
            Value::Undefined => return self.plain(Read::Undefined),
            Value::Null => return self.plain(Read::Null),
            Value::Bool(flag) => return self.plain(Read::Bool(flag)),
            Value::Number(number) => return self.plain(Read::Number(number)),
            Value::Slot(slot) => return self.plain(Read::Slot(slot)),
        };
        self.bytes.try_reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        self.read.push(kept(self.bytes.len()));
        Ok(())
    }

    fn plain(&mut self, value: Read<'static>) -> Result<()> {
        self.read.push(Kept::Plain(value));
        Ok(())
    }

    /// What was read, in order.
    pub fn iter(&self) -> impl Iterator<Item = Read<'_>> {
        let mut start = 0;
        self.read.iter().map(move |kept| {
            let mut upto = |end: usize| &self.bytes[std::mem::replace(&mut start, end)..end];
            match *kept {
                Kept::Plain(value) => value,
                Kept::String(end) => Read::String(upto(end)),
                Kept::Json(end) => Read::Json(upto(end)),
                Kept::Clone(end) => Read::Clone(upto(end)),
            }
        })
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.read.clear();
        self.bytes.clear();
        if self.read.capacity() * size_of::<Kept>() > KEPT {
            self.read = vec![];
        }
        if self.bytes.capacity() > KEPT {
            self.bytes = vec![];
        }
    }
}

/// A value on its way from JavaScript to a cache that keeps a copy.
#[derive(Default)]
pub struct Copied {
    units: Vec<u16>,
    bytes: Vec<u8>,
}

impl Copied {
    /// Copies a value. `kind` is an [`Outcome`], which says whether the payload is the value itself, its JSON or
    /// its clone.
    pub fn take(&mut self, call: &Call, payload: JsValue, kind: i32) -> Result<Value<'_>> {
        self.units.shrink_to(KEPT_UNITS);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        if kind == Outcome::Clone as i32 {
            let bytes = call.typed_array::<u8>(payload);
            self.bytes.extend(bytes.iter().map(std::cell::Cell::get));
            return Ok(Value::Clone(&self.bytes));
        }
        if let Some(number) = call.try_number(payload) {
            return Ok(Value::Number(number));
        }
        match call.type_of(payload) {
            Type::Undefined => Ok(Value::Undefined),
            Type::Null => Ok(Value::Null),
            Type::Boolean => Ok(Value::Bool(call.bool(payload))),
            Type::String => {
                call.utf16_into(payload, &mut self.units);
                wtf8::push_utf16(&mut self.bytes, &self.units);
                if kind != Outcome::Json as i32 {
                    return Ok(Value::String(&self.bytes));
                }
                str::from_utf8(&self.bytes)
                    .map(Value::Json)
                    .map_err(|_| Error::argument("a value's JSON has half of a surrogate pair"))
            }
            _ => Err(Error::argument(
                "a value must be copied by way of JSON or a clone",
            )),
        }
    }
}
