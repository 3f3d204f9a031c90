//! The arguments of a call from JavaScript, as a command takes them.

use std::cell::{Cell, OnceCell};

use serde_json::Value as Json;

use super::{
    caches::Handle,
    call::{Call, JsValue, Type},
};
use crate::{
    cache::DumpEntry,
    command::Arguments,
    error::{Error, Result},
    key::{Key, KeyList},
    store::Guard,
    value::{Carried, Kind, OwnedValue, Value},
    wtf8,
};

/// The arguments of a call, in order. Reading them may run code of the user, so no lock may be held.
///
/// - Keys are two arguments: an array and its length, or strings joined with `'\0'` and their number.
/// - A value is a payload and an `Int32Array` with one place; values are an array of payloads and an `Int32Array` with a
///   place each. Before the call a place says what the payload is: the negative, less 1, of the number of a kind (`Json`,
///   `Clone`, or `Slot` for a value that stays with JavaScript) or of the mark `Plain`. After the call it is the slot in
///   which JavaScript is to keep the value, or below 0.
/// - An option is JSON text.
pub struct InOrder<'c> {
    call: &'c Call,
    handle: &'c Handle,
    next: usize,
    /// Whether joined keys have to come as an array.
    pub is_split: bool,
    /// The slots of values that stay with JavaScript.
    taken: Vec<u32>,
    copies_strings: OnceCell<bool>,
}

impl<'c> InOrder<'c> {
    /// The arguments from the third on: the first is the cache, the second the time.
    pub fn new(call: &'c Call, handle: &'c Handle) -> Self {
        Self {
            call,
            handle,
            next: 2,
            is_split: false,
            taken: vec![],
            copies_strings: OnceCell::new(),
        }
    }

    /// Frees the slots of values of a command that is not run.
    pub fn give_back(&mut self) {
        for slot in self.taken.drain(..) {
            self.handle.table.slots.free(slot);
        }
    }

    fn next(&mut self) -> JsValue {
        self.next += 1;
        self.call.argument(self.next - 1)
    }

    fn keys_of(&mut self, count: impl FnOnce(&mut Self) -> usize) -> Result<KeyList> {
        let keys = self.next();
        let count = count(self);
        self.call.keys(keys, count)?.ok_or_else(|| {
            self.is_split = true;
            Error::argument("a key has the character that joins keys")
        })
    }

    /// A value, whose place is overwritten.
    fn take(&mut self, payload: JsValue, place: &Cell<i32>, copied: &mut Copied) -> Result<OwnedValue> {
        let number = -1 - place.replace(-1);
        if number != Kind::Slot as i32 {
            return copied.take(self.call, payload, number).map(Value::to_owned);
        }
        if self.call.type_of(payload) == Type::String && self.copies_strings()? {
            return Ok(OwnedValue::String(
                self.call.utf16(payload, wtf8::from_utf16).into(),
            ));
        }
        let slot = self.handle.table.slots.take();
        self.taken.push(slot);
        place.set(slot as i32);
        Ok(OwnedValue::Slot(slot))
    }

    fn copies_strings(&self) -> Result<bool> {
        if let Some(copies) = self.copies_strings.get() {
            return Ok(*copies);
        }
        let copies = copies_strings(&self.handle.store.lock(self.handle.lock_wait)?);
        Ok(*self.copies_strings.get_or_init(|| copies))
    }

    /// The values of an array.
    fn values(&mut self, array: JsValue, places: &[Cell<i32>]) -> Result<Vec<OwnedValue>> {
        let mut copied = Copied::default();
        let mut values = vec![];
        values.try_reserve_exact(places.len())?;
        for (index, place) in places.iter().enumerate() {
            let payload = self.call.element(array, index as u32)?;
            values.push(self.take(payload, place, &mut copied)?);
        }
        Ok(values)
    }
}

impl Arguments<'static> for InOrder<'_> {
    fn key(&mut self) -> Result<Key> {
        let key = self.next();
        self.call.with_key(key, |key| Ok(Key::from_bytes(key)))
    }

    fn keys(&mut self) -> Result<KeyList> {
        self.keys_of(|arguments| arguments.call.index(arguments.next()) as usize)
    }

    fn value(&mut self) -> Result<Carried<'static>> {
        let (payload, places) = (self.next(), self.next());
        let place = self.call.typed_array(places).first();
        let place = place.ok_or_else(|| Error::argument("a value has no place"))?;
        self.take(payload, place, &mut Copied::default())
            .map(Carried::Owned)
    }

    fn pairs(&mut self) -> Result<(KeyList, Vec<Carried<'static>>)> {
        let (call, at) = (self.call, self.next);
        let places = call.typed_array(call.argument(at + 2));
        let keys = self.keys_of(|_| places.len())?;
        let values = self.values(call.argument(at + 1), places)?;
        self.next = at + 3;
        Ok((keys, values.into_iter().map(Carried::Owned).collect()))
    }

    /// As `pairs`, and a `Float64Array` of the times at which the entries expire.
    fn entries(&mut self) -> Result<Vec<DumpEntry<OwnedValue>>> {
        let (keys, values) = self.pairs()?;
        let expires = self.next();
        let expires = self.call.typed_array::<f64>(expires);
        let entry = |(index, (key, value)): (usize, (&[u8], Carried<'_>))| DumpEntry {
            key: Key::from_bytes(key),
            value: value.into_owned(),
            expires: expires.get(index).map_or(0.0, Cell::get),
        };
        Ok(keys.iter().zip(values).enumerate().map(entry).collect())
    }

    fn number(&mut self, name: &str) -> Result<Option<f64>> {
        let value = self.next();
        number(self.call, value, name)
    }

    fn max_age(&mut self) -> Result<Option<f64>> {
        let value = self.next();
        max_age(self.call, value)
    }

    fn ages(&mut self) -> Result<Vec<Option<f64>>> {
        let (call, ages) = (self.call, self.next());
        (0..call.length(ages))
            .map(|index| max_age(call, call.element(ages, index)?))
            .collect()
    }

    fn option(&mut self) -> Result<Option<Json>> {
        let json = self.next();
        if self.call.type_of(json) == Type::Undefined {
            return Ok(None);
        }
        Ok(Some(
            serde_json::from_str(&self.call.text(json)).unwrap_or_default(),
        ))
    }
}

/// Whether a string is copied into the cache: where others read it, or where its bytes count.
pub fn copies_strings(cache: &Guard<'_>) -> bool {
    let limits = cache.limits();
    cache.is_shared() || limits.max_size.is_finite() || limits.max_entry_size.is_finite()
}

/// An age that a caller gave for one entry; falsy values count as none, as in lru-cache 6.
pub fn max_age(call: &Call, value: JsValue) -> Result<Option<f64>> {
    if let Some(age) = call.try_number(value) {
        return Ok(Some(age));
    }
    match call.type_of(value) {
        Type::Boolean if !call.bool(value) => Ok(None),
        Type::String if call.text(value).is_empty() => Ok(None),
        _ => number(call, value, "maxAge"),
    }
}

/// A number, which errors call `name`; `None` for `undefined` and `null`.
pub fn number(call: &Call, value: JsValue, name: &str) -> Result<Option<f64>> {
    if let Some(number) = call.try_number(value) {
        return Ok(Some(number));
    }
    match call.type_of(value) {
        Type::Undefined | Type::Null => Ok(None),
        other => {
            let shown = if other == Type::String {
                format!(
                    "the string {:?}",
                    call.text(value).chars().take(80).collect::<String>()
                )
            } else {
                format!("a value of type {}", format!("{other:?}").to_lowercase())
            };
            Err(Error::argument(format!("{name} must be a number, got {shown}")))
        }
    }
}

/// Room that is kept from call to call, in bytes.
const KEPT: usize = 1 << 20;

/// As [`KEPT`], of units that are made 0 each time.
const KEPT_UNITS: usize = 1 << 13;

/// Room for a value on its way from JavaScript to a cache that keeps a copy.
#[derive(Default)]
pub struct Copied {
    units: Vec<u16>,
    bytes: Vec<u8>,
}

impl Copied {
    /// Copies a value. `kind` says whether the payload is its JSON, its clone, or else the value itself.
    pub fn take(&mut self, call: &Call, payload: JsValue, kind: i32) -> Result<Value<'_>> {
        self.units.shrink_to(KEPT_UNITS);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        if kind == Kind::Clone as i32 {
            let bytes = call.typed_array::<u8>(payload);
            self.bytes.extend(bytes.iter().map(Cell::get));
            return Ok(Value::Clone(&self.bytes));
        }
        if call.type_of(payload) != Type::String {
            return in_place(call, payload)
                .ok_or_else(|| Error::argument("a value must be copied by way of JSON or a clone"));
        }
        call.utf16_into(payload, &mut self.units);
        wtf8::push_utf16(&mut self.bytes, &self.units);
        if kind != Kind::Json as i32 {
            return Ok(Value::String(&self.bytes));
        }
        str::from_utf8(&self.bytes)
            .map(Value::Json)
            .map_err(|_| Error::argument("a value's JSON has half of a surrogate pair"))
    }
}

/// A value that Rust keeps itself; `None` for one that has bytes or stays with JavaScript.
pub fn in_place(call: &Call, value: JsValue) -> Option<Value<'static>> {
    if let Some(number) = call.try_number(value) {
        return Some(Value::Number(number));
    }
    match call.type_of(value) {
        Type::Undefined => Some(Value::Undefined),
        Type::Null => Some(Value::Null),
        Type::Boolean => Some(Value::Bool(call.bool(value))),
        _ => None,
    }
}
