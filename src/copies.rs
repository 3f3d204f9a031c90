//! Copies of what a command reads. They are made while the cache is locked; a reply or JavaScript values are made of them
//! after the lock is given back.

use crate::{
    command::Sink,
    error::{Error, Result},
    key::KeyView,
    value::{Kind, Mark, Value},
};

/// Copies of values, keys and numbers, in the order in which they were read: one run of bytes, each item a tag (the
/// number of a [`Kind`] or of a [`Mark`]) and what belongs to it.
///
/// ```
/// use lru_cache_for_clusters::{command::Sink, copies::{Copies, Item}, value::Value};
///
/// let mut copies = Copies::new(1000);
/// copies.value(Value::String(b"text")).unwrap();
/// copies.miss().unwrap();
/// let items: Vec<_> = copies.iter().collect();
/// assert_eq!(items, [Item::Value(Value::String(b"text")), Item::Miss]);
/// assert!(copies.value(Value::String(&[b'x'; 1000])).is_err());
/// ```
#[derive(Debug)]
pub struct Copies {
    bytes: Vec<u8>,
    /// The bytes that a reply takes with what is here, at the least.
    written: usize,
    /// The most bytes of a reply.
    most: usize,
    /// Where the items are that belong together, and how many belong together, where they do not come in the order in which
    /// they were given.
    order: Option<(Vec<usize>, usize)>,
}

/// What a sink was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    /// A value.
    Value(Value<'a>),
    /// No such entry.
    Miss,
    /// The bytes of a [`crate::key::Key`].
    Key(&'a [u8]),
    /// A time or an age.
    Number(f64),
}

/// Room that is kept from request to request, in bytes.
const KEPT: usize = 1 << 20;

/// The bytes that any item takes in a reply, at the least: a digit and a separator.
const LEAST: usize = 2;

impl Default for Copies {
    /// As many as there is memory for.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Copies {
    /// None yet, with room for what fits a reply of `most` bytes.
    pub fn new(most: usize) -> Self {
        Self {
            bytes: vec![],
            written: 0,
            most,
            order: None,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.written = 0;
        self.order = None;
    }

    /// Where the next item will be.
    pub fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for more bytes.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve(&mut self, bytes: usize) -> Result<()> {
        Ok(self.bytes.try_reserve(bytes)?)
    }

    /// Gives the items another order: `count` items from each of these places on, see [`Copies::end`].
    pub fn arrange(&mut self, places: Vec<usize>, count: usize) {
        self.order = Some((places, count));
    }

    /// What was given, in order.
    pub fn iter(&self) -> impl Iterator<Item = Item<'_>> {
        let (places, count) = self
            .order
            .as_ref()
            .map_or((&[][..], 0), |(places, count)| (&places[..], *count));
        let (mut rest, mut left) = match self.order {
            None => (&self.bytes[..], usize::MAX),
            Some(_) => (&[][..], 0),
        };
        let mut places = places.iter();
        std::iter::from_fn(move || {
            if left == 0 {
                (rest, left) = (self.bytes.get(*places.next()?..)?, count);
            }
            left -= 1;
            next(&mut rest)
        })
    }

    /// Adds an item whose bytes are `fixed` and `text`, of which a reply writes `shown` bytes at the least.
    fn push(&mut self, tag: u8, fixed: &[u8], text: &[u8], shown: usize) -> Result<()> {
        let written = self.written.saturating_add(shown + LEAST);
        if written > self.most {
            return Err(Error::too_large(written));
        }
        self.bytes.try_reserve(1 + fixed.len() + text.len())?;
        self.bytes.push(tag);
        self.bytes.extend_from_slice(fixed);
        self.bytes.extend_from_slice(text);
        self.written = written;
        Ok(())
    }

    fn push_text(&mut self, tag: u8, text: &[u8]) -> Result<()> {
        self.push(tag, &text.len().to_ne_bytes(), text, text.len())
    }

    fn push_plain(&mut self, tag: u8, fixed: &[u8]) -> Result<()> {
        self.push(tag, fixed, &[], 0)
    }
}

impl Sink for Copies {
    fn value(&mut self, value: Value<'_>) -> Result<()> {
        let tag = value.kind() as u8;
        match value {
            Value::Undefined | Value::Null | Value::Bool(_) => self.push_plain(tag, &[]),
            Value::Number(number) => self.push_plain(tag, &number.to_ne_bytes()),
            Value::Slot(slot) => self.push_plain(tag, &slot.to_ne_bytes()),
            Value::String(wtf8) => self.push_text(tag, wtf8),
            Value::Json(json) => self.push_text(tag, json.as_bytes()),
            Value::Clone(bytes) => self.push_text(tag, bytes),
        }
    }

    fn miss(&mut self) -> Result<()> {
        self.push_plain(Mark::Miss as u8, &[])
    }

    fn key(&mut self, key: &[u8]) -> Result<()> {
        let shown = match KeyView::of(key) {
            KeyView::String(wtf8) => wtf8.len(),
            KeyView::BigInt(digits) => digits.len(),
            _ => 0,
        };
        self.push(Mark::Key as u8, &key.len().to_ne_bytes(), key, shown)
    }

    fn number(&mut self, number: f64) -> Result<()> {
        self.push_plain(Mark::Time as u8, &number.to_ne_bytes())
    }
}

/// Takes the next item off `rest`.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let tag = *rest.split_off_first()?;
    let Some(kind) = Kind::of_number(tag) else {
        const KEY: u8 = Mark::Key as u8;
        const TIME: u8 = Mark::Time as u8;
        return match tag {
            KEY => text(rest).map(Item::Key),
            TIME => fixed(rest).map(f64::from_ne_bytes).map(Item::Number),
            _ => Some(Item::Miss),
        };
    };
    Some(Item::Value(match kind {
        Kind::Undefined => Value::Undefined,
        Kind::Null => Value::Null,
        Kind::False => Value::Bool(false),
        Kind::True => Value::Bool(true),
        Kind::Number => Value::Number(f64::from_ne_bytes(fixed(rest)?)),
        Kind::Slot => Value::Slot(u32::from_ne_bytes(fixed(rest)?)),
        Kind::String => Value::String(text(rest)?),
        Kind::Json => Value::Json(str::from_utf8(text(rest)?).ok()?),
        Kind::Clone => Value::Clone(text(rest)?),
    }))
}

fn fixed<const LEN: usize>(rest: &mut &[u8]) -> Option<[u8; LEN]> {
    rest.split_off(..LEN)?.try_into().ok()
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::from_ne_bytes(fixed(rest)?);
    rest.split_off(..len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_as_they_went() {
        let items = [
            Item::Value(Value::Undefined),
            Item::Value(Value::Null),
            Item::Value(Value::Bool(false)),
            Item::Value(Value::Bool(true)),
            Item::Value(Value::Number(-0.5)),
            Item::Value(Value::Slot(u32::MAX)),
            Item::Value(Value::String(b"")),
            Item::Value(Value::String(b"text")),
            Item::Value(Value::Json("[\"\u{e9}\"]")),
            Item::Value(Value::Clone(&[0, 255])),
            Item::Miss,
            Item::Key(b"skey"),
            Item::Number(f64::INFINITY),
        ];
        let mut copies = Copies::new(1000);
        for round in 0..2 {
            for item in items {
                match item {
                    Item::Value(value) => copies.value(value),
                    Item::Miss => copies.miss(),
                    Item::Key(key) => copies.key(key),
                    Item::Number(number) => copies.number(number),
                }
                .unwrap();
            }
            assert!(copies.iter().eq(items), "round {round}");
            copies.clear();
            assert_eq!(copies.iter().count(), 0);
        }
    }

    #[test]
    fn what_no_reply_can_hold_is_not_copied() {
        let mut copies = Copies::new(100);
        copies.value(Value::String(&[b'x'; 98])).unwrap();
        let error = copies.miss().unwrap_err();
        assert_eq!(error.code.as_str(), "ERR_OUT_OF_RANGE");
        assert_eq!(copies.iter().count(), 1);
        copies.clear();
        assert!(copies.value(Value::Clone(&[0; 99])).is_err());
        assert_eq!(copies.iter().count(), 0);
    }
}
