//! Values as a store sees them: small ones in place, the rest as bytes tagged with their kind.

use std::borrow::Cow;

/// A borrowed value. Strings are WTF-8, see [`crate::wtf8`]; nothing here is ever wrapped in JSON that was
/// not JSON when it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `undefined`
    Undefined,
    /// `null`
    Null,
    /// A boolean.
    Bool(bool),
    /// A number, with what JSON would lose: `NaN`, the infinities, `-0`.
    Number(f64),
    /// A string, WTF-8.
    String(&'a [u8]),
    /// The JSON text of an object or array: carried, never parsed here.
    Json(&'a str),
    /// What `v8.serialize` wrote: carried, never parsed here.
    Clone(&'a [u8]),
    /// A value that stays a JavaScript value; this is its place in the table of the process that set it.
    Slot(u32),
}

/// A value that a store owns. See [`Value`] for the kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    /// `undefined`
    Undefined,
    /// `null`
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// WTF-8 bytes of a string.
    String(Box<[u8]>),
    /// JSON text.
    Json(Box<str>),
    /// The output of `v8.serialize`.
    Clone(Box<[u8]>),
    /// A place in the table of JavaScript values.
    Slot(u32),
}

impl<'a> Value<'a> {
    /// The bytes that a storage keeps of it beside its kind and what fits in 8 bytes; none for a slot.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::String(bytes) | Self::Clone(bytes) => bytes,
            Self::Json(text) => text.as_bytes(),
            _ => &[],
        }
    }

    /// A copy that a store can keep.
    pub fn to_owned(self) -> OwnedValue {
        match self {
            Self::Undefined => OwnedValue::Undefined,
            Self::Null => OwnedValue::Null,
            Self::Bool(value) => OwnedValue::Bool(value),
            Self::Number(value) => OwnedValue::Number(value),
            Self::String(value) => OwnedValue::String(value.into()),
            Self::Json(value) => OwnedValue::Json(value.into()),
            Self::Clone(value) => OwnedValue::Clone(value.into()),
            Self::Slot(value) => OwnedValue::Slot(value),
        }
    }
}

impl OwnedValue {
    /// The value, borrowed.
    pub fn as_ref(&self) -> Value<'_> {
        match self {
            Self::Undefined => Value::Undefined,
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(*value),
            Self::String(value) => Value::String(value),
            Self::Json(value) => Value::Json(value),
            Self::Clone(value) => Value::Clone(value),
            Self::Slot(value) => Value::Slot(*value),
        }
    }
}

/// A value as a request carries it: borrowed from the request where its bytes are there as they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Carried<'a> {
    /// A string, WTF-8.
    String(Cow<'a, [u8]>),
    /// The output of `v8.serialize`.
    Clone(Vec<u8>),
    /// Any other value.
    Plain(Value<'a>),
}

impl Carried<'_> {
    /// The value to store.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::String(bytes) => Value::String(bytes),
            Self::Clone(bytes) => Value::Clone(bytes),
            Self::Plain(value) => *value,
        }
    }

    /// The value, to keep.
    pub fn into_owned(self) -> OwnedValue {
        match self {
            Self::String(bytes) => OwnedValue::String(bytes.into()),
            Self::Clone(bytes) => OwnedValue::Clone(bytes.into()),
            Self::Plain(value) => value.to_owned(),
        }
    }
}
