//! Values as a storage keeps them: a kind, 8 bytes for a number or a slot, and bytes for strings, JSON and clones.

/// A borrowed value. Strings are WTF-8, see [`crate::wtf8`]. A value is JSON text only where JavaScript passed
/// JSON text.
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
    /// A value that stays a JavaScript value: its index in the table of the process that set it.
    Slot(u32),
}

/// A value that a storage owns. See [`Value`] for the kinds.
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
    /// An index in the table of JavaScript values.
    Slot(u32),
}

macro_rules! kinds {
    (
        values { $($(#[$doc:meta])* $name:ident = $number:literal,)* }
        marks { $($(#[$mark_doc:meta])* $mark:ident = $mark_number:literal,)* }
    ) => {
        /// The kinds of values, with the numbers that stand for them in rows of shared memory, in copies, in messages and
        /// in JavaScript (`lib/kinds.js`). A number never changes its meaning within one version of the layout.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        /// What may stand where a kind is expected: it says that there is no value, or what is there instead. No mark has
        /// the number of a [`Kind`], and no row has a mark.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Mark {
            $($(#[$mark_doc])* $mark = $mark_number,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The kind of a number; `None` where no kind has it.
            #[inline(always)]
            pub fn of_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }

        const _: () = {
            let mut used = 0_u64;
            $(assert!(used & (1 << $number) == 0, "a number is used twice"); used |= 1 << $number;)*
            $(assert!(used & (1 << $mark_number) == 0, "a number is used twice"); used |= 1 << $mark_number;)*
            assert!(used & (used + 1) == 0, "the numbers have no gap");
        };
    };
}

kinds! {
    values {
        /// [`Value::Json`]. In messages: any value that JSON can write.
        Json = 0,
        /// [`Value::Undefined`]
        Undefined = 1,
        /// [`Value::Number`]. In messages: one that JSON cannot write.
        Number = 2,
        /// [`Value::Clone`]
        Clone = 3,
        /// [`Value::String`]
        String = 7,
        /// [`Value::Null`]
        Null = 8,
        /// [`Value::Bool`], `false`
        False = 9,
        /// [`Value::Bool`], `true`
        True = 10,
        /// [`Value::Slot`]
        Slot = 11,
    }
    marks {
        /// `[class, message, code]` of an error.
        Error = 4,
        /// No such entry; or, of a call that stores one, that the entry can never fit.
        Miss = 5,
        /// In messages: what a function of the application gave.
        Own = 6,
        /// At the N-API boundary: the JavaScript value itself, or nothing.
        Plain = 12,
        /// A list: `[payloads, places, keys, numbers]`.
        List = 13,
        /// In a list: the next of the joined JSON.
        Joined = 14,
        /// Nothing was done: joined keys have to come as an array.
        Split = 15,
        /// In copies: the key of an entry.
        Key = 16,
        /// In copies: a time or an age of an entry.
        Time = 17,
    }
}

impl Kind {
    /// Whether the value has bytes beside its kind and the 8 bytes of [`Value::inline`].
    #[inline(always)]
    pub const fn has_bytes(self) -> bool {
        match self {
            Self::String | Self::Json | Self::Clone => true,
            Self::Undefined | Self::Null | Self::False | Self::True | Self::Number | Self::Slot => false,
        }
    }
}

impl<'a> Value<'a> {
    /// Its kind.
    #[inline(always)]
    pub fn kind(self) -> Kind {
        match self {
            Self::Undefined => Kind::Undefined,
            Self::Null => Kind::Null,
            Self::Bool(false) => Kind::False,
            Self::Bool(true) => Kind::True,
            Self::Number(_) => Kind::Number,
            Self::Slot(_) => Kind::Slot,
            Self::String(_) => Kind::String,
            Self::Json(_) => Kind::Json,
            Self::Clone(_) => Kind::Clone,
        }
    }

    /// A number's bits or a slot; 0 for any other kind.
    #[inline(always)]
    pub fn inline(self) -> u64 {
        match self {
            Self::Number(number) => number.to_bits(),
            Self::Slot(slot) => u64::from(slot),
            Self::Undefined
            | Self::Null
            | Self::Bool(_)
            | Self::String(_)
            | Self::Json(_)
            | Self::Clone(_) => 0,
        }
    }

    /// The value of these parts; `None` where no value has them.
    ///
    /// ```
    /// use lru_cache_for_clusters::value::{Kind, Value};
    /// let value = Value::Number(1.5);
    /// let (kind, inline, bytes) = (value.kind(), value.inline(), value.bytes());
    /// assert_eq!(Value::from_parts(kind, inline, bytes), Some(value));
    /// assert_eq!(Value::from_parts(Kind::Slot, u64::MAX, &[]), None);
    /// ```
    #[inline(always)]
    pub fn from_parts(kind: Kind, inline: u64, bytes: &'a [u8]) -> Option<Self> {
        Some(match kind {
            Kind::Undefined => Self::Undefined,
            Kind::Null => Self::Null,
            Kind::False => Self::Bool(false),
            Kind::True => Self::Bool(true),
            Kind::Number => Self::Number(f64::from_bits(inline)),
            Kind::Slot => Self::Slot(u32::try_from(inline).ok()?),
            Kind::String => Self::String(bytes),
            Kind::Json => Self::Json(str::from_utf8(bytes).ok()?),
            Kind::Clone => Self::Clone(bytes),
        })
    }

    /// The bytes that a storage keeps of it beside its kind and what fits in 8 bytes; none for a slot.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::String(bytes) | Self::Clone(bytes) => bytes,
            Self::Json(text) => text.as_bytes(),
            _ => &[],
        }
    }

    /// A copy that a storage can keep.
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

/// A value as a command carries it: borrowed where its bytes are there as they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Carried<'a> {
    /// A value, or bytes, of whoever makes the call.
    Borrowed(Value<'a>),
    /// A value that was made for the call.
    Owned(OwnedValue),
}

impl Carried<'_> {
    /// The value to store.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Borrowed(value) => *value,
            Self::Owned(value) => value.as_ref(),
        }
    }

    /// The value, to keep.
    pub fn into_owned(self) -> OwnedValue {
        match self {
            Self::Borrowed(value) => value.to_owned(),
            Self::Owned(value) => value,
        }
    }
}
