//! Keys: every JavaScript primitive but a symbol, told apart by type as a `Map` does, as one run of bytes.

use smallvec::SmallVec;
use std::borrow::Borrow;

use crate::{error::Result, wtf8};

/// The first byte of a key's bytes. Part of what is stored; values never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Tag {
    String = b's',
    Number = b'n',
    BigInt = b'i',
    True = b't',
    False = b'f',
    Null = b'0',
    Undefined = b'u',
}

/// A key as the caller wrote it. Strings are WTF-8, see [`crate::wtf8`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyView<'a> {
    /// A string, WTF-8.
    String(&'a [u8]),
    /// A number; never `-0`, and `NaN` in one form only.
    Number(f64),
    /// A bigint, in decimal digits.
    BigInt(&'a str),
    /// A boolean.
    Bool(bool),
    /// `null`
    Null,
    /// `undefined`
    Undefined,
}

/// A key's bytes: a tag and the payload. Two keys are the same key exactly when their bytes are equal, so a
/// store needs nothing but bytes to hash and compare. Up to 15 bytes of payload lie in place.
///
/// ```
/// use lru_cache_for_clusters::key::{Key, KeyView};
/// assert_ne!(Key::string(b"1"), Key::number(1.0));
/// assert_eq!(Key::number(-0.0), Key::number(0.0));
/// assert_eq!(Key::number(7.5).view(), KeyView::Number(7.5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(SmallVec<[u8; 16]>);

impl Key {
    fn tagged(tag: Tag, payload: &[u8]) -> Self {
        let mut bytes = SmallVec::with_capacity(payload.len() + 1);
        bytes.push(tag as u8);
        bytes.extend_from_slice(payload);
        Self(bytes)
    }

    /// A string key from its WTF-8 bytes.
    pub fn string(wtf8: &[u8]) -> Self {
        Self::tagged(Tag::String, wtf8)
    }

    /// A string key from UTF-16 units.
    pub fn utf16(units: &[u16]) -> Self {
        let mut bytes = SmallVec::with_capacity(units.len() + 1);
        bytes.push(Tag::String as u8);
        wtf8::push_utf16(&mut bytes, units);
        Self(bytes)
    }

    /// A number key. `NaN` equals `NaN` and `-0` equals `0`, as in a `Map`.
    pub fn number(number: f64) -> Self {
        let canonical = if number.is_nan() { f64::NAN } else { number + 0.0 };
        Self::tagged(Tag::Number, &canonical.to_bits().to_le_bytes())
    }

    /// The most digits of a bigint key: reading one takes time that grows with their square.
    const BIG_INT_DIGITS: usize = 4096;

    /// A bigint key from its decimal digits; `None` if these are not the digits of one, or too many.
    pub fn big_int(decimal: &str) -> Option<Self> {
        let digits = decimal.strip_prefix('-').unwrap_or(decimal);
        let canonical = digits.len() <= Self::BIG_INT_DIGITS
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (!digits.starts_with('0') || decimal == "0")
            && !digits.is_empty();
        canonical.then(|| Self::tagged(Tag::BigInt, decimal.as_bytes()))
    }

    /// A boolean key.
    pub fn bool(value: bool) -> Self {
        Self::tagged(if value { Tag::True } else { Tag::False }, &[])
    }

    /// The key `null`.
    pub fn null() -> Self {
        Self::tagged(Tag::Null, &[])
    }

    /// The key `undefined`.
    pub fn undefined() -> Self {
        Self::tagged(Tag::Undefined, &[])
    }

    /// The key whose bytes, as [`Key::as_bytes`] gave them, these are.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// The bytes that a storage hashes, compares and keeps.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as it came.
    pub fn view(&self) -> KeyView<'_> {
        KeyView::of(&self.0)
    }
}

/// What the keys that a call concerns begin with: a string. Keys of other types have no beginning.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    /// The first bytes of the keys; none where every key is meant, of any type.
    bytes: Vec<u8>,
    /// Where the string ends in the first half of a surrogate pair: how the four bytes of a whole pair begin, of which the third
    /// has the half's bits in its upper four.
    pair: Option<[u8; 3]>,
}

/// Every key.
pub static EVERY_KEY: Prefix = Prefix {
    bytes: vec![],
    pair: None,
};

impl Prefix {
    /// The bytes of half of a surrogate pair.
    const HALF: usize = 3;

    /// The keys that begin with the string of this key; `None` where the key is no string.
    ///
    /// ```
    /// use lru_cache_for_clusters::key::{Key, Prefix};
    /// let prefix = Prefix::of(&Key::string(b"user:")).unwrap();
    /// assert!(prefix.matches(Key::string(b"user:7").as_bytes()));
    /// assert!(!prefix.matches(Key::string(b"use").as_bytes()));
    /// ```
    pub fn of(key: &Key) -> Option<Self> {
        let KeyView::String(text) = key.view() else {
            return None;
        };
        let pair = match text {
            // Such a first byte with such a second is half of a pair, and a first half ends here without its second one.
            [.., 0xED, second @ 0xA0..=0xAF, third] => {
                let half = u32::from(second & 0x0F) << 6 | u32::from(third & 0x3F);
                char::from_u32(0x10000 + (half << 10)).map(|first| {
                    let mut bytes = [0; 4];
                    first.encode_utf8(&mut bytes);
                    [bytes[0], bytes[1], bytes[2]]
                })
            }
            _ => None,
        };
        Some(Self {
            bytes: key.as_bytes().to_vec(),
            pair,
        })
    }

    /// Whether the string is empty, or there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() <= 1
    }

    /// What every key that begins so begins with, as far as whole characters go.
    pub fn beginning(&self) -> &[u8] {
        let half = if self.pair.is_some() { Self::HALF } else { 0 };
        &self.bytes[..self.bytes.len().saturating_sub(half)]
    }

    /// Whether a key, given as its bytes, is meant.
    pub fn matches(&self, key: &[u8]) -> bool {
        if key.starts_with(&self.bytes) {
            return true;
        }
        let Some([first, second, third]) = self.pair else {
            return false;
        };
        match key.strip_prefix(self.beginning()) {
            Some([a, b, c, _, ..]) => (*a, *b, *c & 0xF0) == (first, second, third),
            _ => false,
        }
    }
}

/// Many keys in one run of bytes: for bulk calls, which only look them up.
#[derive(Debug, Default)]
pub struct KeyList {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl KeyList {
    /// String keys that JavaScript joined with `'\0'`: one string crosses instead of many. `None` when there
    /// are not `count` of them, because a key has that character itself.
    pub fn joined(units: &[u16], count: usize) -> Option<Self> {
        // A separator's place becomes that of the tag with which the next key's bytes begin.
        let mut bytes = Vec::with_capacity(units.len() + 1);
        bytes.push(0);
        if units.iter().all(|unit| *unit < 0x80) {
            bytes.extend(units.iter().map(|unit| *unit as u8));
        } else {
            let mut wtf8 = SmallVec::<[u8; 0]>::new();
            wtf8::push_utf16(&mut wtf8, units);
            bytes.extend_from_slice(&wtf8);
        }
        let mut starts = Vec::with_capacity(count + 1);
        starts.extend(memchr::memchr_iter(0, &bytes));
        for start in &starts {
            bytes[*start] = Tag::String as u8;
        }
        starts.push(bytes.len());
        (starts.len() == count + 1).then(|| Self {
            bytes,
            ends: starts.split_off(1),
        })
    }

    /// Appends a key.
    ///
    /// # Errors
    /// There is no memory for it; the list is as it was.
    pub fn push(&mut self, key: &[u8]) -> Result<()> {
        self.bytes.try_reserve(key.len())?;
        self.ends.try_reserve(1)?;
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of each key, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start..*end])
    }
}

impl<'a> KeyView<'a> {
    /// Reads the bytes of a key. Bytes that no [`Key`] has (a damaged store) read as `undefined`.
    pub fn of(bytes: &'a [u8]) -> Self {
        let Some((&tag, payload)) = bytes.split_first() else {
            return Self::Undefined;
        };
        match tag {
            t if t == Tag::String as u8 => Self::String(payload),
            t if t == Tag::Number as u8 => payload.try_into().map_or(Self::Undefined, |bits| {
                Self::Number(f64::from_bits(u64::from_le_bytes(bits)))
            }),
            t if t == Tag::BigInt as u8 => digits(payload).map_or(Self::Undefined, Self::BigInt),
            t if t == Tag::True as u8 => Self::Bool(true),
            t if t == Tag::False as u8 => Self::Bool(false),
            t if t == Tag::Null as u8 => Self::Null,
            _ => Self::Undefined,
        }
    }
}

/// Decimal digits with or without a sign, if that is what bytes are: they may come from damaged memory.
fn digits(bytes: &[u8]) -> Option<&str> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

/// The bytes of a string key of ASCII, written into `buffer`: the short way for most keys. `None` where the
/// string has other characters or does not fit.
pub fn ascii<'a>(units: &[u16], buffer: &'a mut [u8; ASCII_BYTES]) -> Option<&'a [u8]> {
    let key = buffer.get_mut(..=units.len())?;
    key[0] = Tag::String as u8;
    let mut seen = 0;
    for (byte, unit) in key[1..].iter_mut().zip(units) {
        *byte = *unit as u8;
        seen |= unit;
    }
    (seen < 0x80).then_some(key)
}

/// The room that [`ascii`] has.
pub const ASCII_BYTES: usize = 128;

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Lets a map of keys be asked with plain bytes; hash and order are those of the bytes.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        let keys = [
            Key::string(b"1"),
            Key::number(1.0),
            Key::big_int("1").unwrap(),
            Key::string(b"true"),
            Key::bool(true),
            Key::bool(false),
            Key::null(),
            Key::undefined(),
            Key::string(b""),
        ];
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate() {
                assert_eq!(a == b, i == j, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn numbers_are_equal_as_in_a_map() {
        assert_eq!(Key::number(f64::NAN), Key::number(-f64::NAN));
        assert_eq!(Key::number(0.0), Key::number(-0.0));
        assert_ne!(Key::number(f64::INFINITY), Key::number(f64::NEG_INFINITY));
    }

    #[test]
    fn only_canonical_digits_are_a_bigint() {
        for good in ["0", "-1", "123456789012345678901234567890"] {
            assert_eq!(Key::big_int(good).unwrap().view(), KeyView::BigInt(good));
        }
        for bad in ["", "-", "-0", "01", "1n", "0x1", " 1", "1e3"] {
            assert_eq!(Key::big_int(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_short_way_gives_the_same_bytes() {
        let short = |text: &str| {
            let units: Vec<_> = text.encode_utf16().collect();
            ascii(&units, &mut [0; ASCII_BYTES]).map(<[u8]>::to_vec)
        };
        for text in ["", "a", "key:1\0", &"x".repeat(ASCII_BYTES - 1)] {
            assert_eq!(
                short(text).as_deref(),
                Some(Key::string(text.as_bytes()).as_bytes())
            );
        }
        assert_eq!(short("ü"), None);
        assert_eq!(short(&"x".repeat(ASCII_BYTES)), None);
    }

    #[test]
    fn joined_keys_are_the_keys() {
        let list = |text: &str, count| KeyList::joined(&text.encode_utf16().collect::<Vec<_>>(), count);
        let keys = list("a\0\0ü😀", 3).unwrap();
        let expected = ["a", "", "ü😀"].map(|key| Key::string(key.as_bytes()));
        assert!(keys.iter().eq(expected.iter().map(Key::as_bytes)));
        assert!(list("a\0b", 1).is_none());
        assert!(list("a\0b", 3).is_none());
        assert_eq!(list("", 1).unwrap().len(), 1);
    }

    #[test]
    fn bytes_of_no_key_read_as_undefined() {
        for bytes in [&b""[..], b"n123", b"i\xff", b"?"] {
            assert_eq!(KeyView::of(bytes), KeyView::Undefined);
        }
    }

    #[test]
    fn a_prefix_is_that_of_utf_16_units() {
        let texts: Vec<Vec<u16>> = [
            "",
            "a",
            "ab",
            "\u{e9}",
            "\u{ed9f}",
            "a\u{1F600}",
            "a\u{1F601}b",
            "a\u{1F900}",
            "a\u{10FFFF}",
        ]
        .into_iter()
        .map(|text| text.encode_utf16().collect())
        .chain([
            vec![0xD83D],
            vec![0xD83D, 0x61],
            vec![0xD83D, 0xD83D, 0xDE00],
            vec![0x61, 0xD83D],
            vec![0x61, 0xDBFF],
            vec![0x61, 0xDE00],
            vec![0xDE00, 0x61],
        ])
        .collect();
        for prefix in &texts {
            let found = Prefix::of(&Key::utf16(prefix)).unwrap();
            for text in &texts {
                assert_eq!(
                    found.matches(Key::utf16(text).as_bytes()),
                    text.starts_with(prefix),
                    "{text:x?} {prefix:x?}"
                );
            }
            assert!(!found.matches(Key::null().as_bytes()) && !found.matches(b""));
        }
        assert!(EVERY_KEY.matches(Key::null().as_bytes()) && EVERY_KEY.matches(b""));
        assert!(Prefix::of(&Key::number(1.0)).is_none());
    }

    #[test]
    fn a_short_string_lies_in_place() {
        assert!(!Key::string(&[b'x'; 15]).0.spilled());
        assert_eq!(size_of::<Key>(), 24);
    }
}
