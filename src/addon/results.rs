//! What a command gave, as JavaScript values. They are made after the lock was given back: making one may collect
//! garbage, and nobody is to wait for that.

use std::cell::Cell;

use super::{
    caches::{Handle, NOTHING, Table, made},
    call::{Call, Element, JsValue},
};
use crate::{
    cache::Remembered,
    command::{Answer, Sink},
    copies::{Copies, Item},
    error::Result,
    value::{Kind, Mark, Value},
};

/// The most bytes of JSON that cross as one string: V8 has an end to strings.
const JOINED: usize = 1 << 24;

/// Marks a value of a list in `places`, which has its slot instead where it has one.
const fn place(number: u8) -> i32 {
    -1 - number as i32
}

const MISS: i32 = place(Mark::Miss as u8);

/// What a command gave: a value, or `[payloads, places, keys, numbers]` of a list, see [`List`].
#[inline]
pub fn show(call: &Call, table: &Table, answer: Answer, copies: &Copies) -> Result<JsValue> {
    Ok(match answer {
        Answer::Nothing => table.mark(Mark::Plain, NOTHING),
        Answer::Bool(flag) => table.mark(Mark::Plain, call.js_bool(flag)),
        Answer::Number(number) => table.mark(Mark::Plain, call.js_number(number)),
        Answer::Found => match copies.iter().next() {
            Some(Item::Value(value)) => {
                let shown = convert(call, table, value)?;
                table.kind(value.kind(), shown)
            }
            _ => table.mark(Mark::Miss, NOTHING),
        },
        Answer::List => show_list(call, table, copies)?,
    })
}

fn show_list(call: &Call, table: &Table, copies: &Copies) -> Result<JsValue> {
    let mut list = List::of(call, table, copies, true)?;
    // Making an array may run code of the user (a setter on its prototype): what is said of the list is said after.
    let listed = call.array(&[
        list.payloads(call)?,
        numbers(call, &list.places)?,
        array(call, &list.keys),
        numbers(call, &list.numbers)?,
    ]);
    table.say_slot(list.joined);
    Ok(table.mark(Mark::List, listed))
}

/// The value of one entry, copied under the lock: a faster way than [`Copies`] for calls that read no more.
#[derive(Default)]
pub struct Found {
    /// The kind and what fits in 8 bytes, see [`Value::from_parts`].
    parts: Option<(Kind, u64)>,
    bytes: Vec<u8>,
}

impl Found {
    /// The most bytes that are kept from call to call.
    const KEPT: usize = 1 << 20;

    /// Forgets the value.
    pub fn clear(&mut self) {
        self.parts = None;
        self.bytes.clear();
        if self.bytes.capacity() > Self::KEPT {
            self.bytes = vec![];
        }
    }

    /// Copies a value.
    pub fn copy(&mut self, value: Value<'_>) -> Result<()> {
        let bytes = value.bytes();
        self.bytes.try_reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        self.parts = Some((value.kind(), value.inline()));
        Ok(())
    }

    /// Shows the value, or a miss.
    pub fn show(&self, call: &Call, table: &Table) -> Result<JsValue> {
        let Some((kind, inline)) = self.parts else {
            return Ok(table.mark(Mark::Miss, NOTHING));
        };
        let shown = match Value::from_parts(kind, inline, &self.bytes) {
            Some(value) => convert(call, table, value)?,
            None => NOTHING,
        };
        Ok(table.kind(kind, shown))
    }
}

/// Values whose places JavaScript has room for: the place of a slot or of a miss is written at once, other values are
/// copied.
pub struct InPlaces<'a> {
    pub places: &'a [Cell<i32>],
    pub copies: &'a mut Copies,
    pub next: usize,
    /// Where to say what JavaScript may remember of the entries, if it does.
    pub remembers: Option<&'a Table>,
}

impl InPlaces<'_> {
    fn write(&mut self, place: i32) {
        if let Some(cell) = self.places.get(self.next) {
            cell.set(place);
        }
        self.next += 1;
    }
}

impl Sink for InPlaces<'_> {
    fn value(&mut self, value: Value<'_>) -> Result<()> {
        if let Value::Slot(slot) = value {
            self.write(slot as i32);
            return Ok(());
        }
        self.copies.value(value)?;
        self.write(place(value.kind() as u8));
        Ok(())
    }

    fn miss(&mut self) -> Result<()> {
        self.write(MISS);
        Ok(())
    }

    fn key(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn number(&mut self, _: f64) -> Result<()> {
        Ok(())
    }

    fn wants_entries(&self) -> bool {
        self.remembers.is_some()
    }

    fn entry(&mut self, entry: Option<Remembered>) {
        if let Some(table) = self.remembers {
            table.remember(self.next.wrapping_sub(1), entry);
        }
    }
}

/// Shows what [`InPlaces`] was given: the payloads of what was copied.
pub fn show_values(call: &Call, table: &Table, copies: &Copies, places: &[Cell<i32>]) -> Result<JsValue> {
    let mut list = List::new(true);
    let mut copied = places.iter().filter(|cell| cell.get() < 0 && cell.get() != MISS);
    for item in copies.iter() {
        if let (Item::Value(value), Some(cell)) = (item, copied.next()) {
            cell.set(list.add(call, table, value)?);
        }
    }
    let payloads = list.payloads(call)?;
    table.say_slot(list.joined);
    Ok(table.mark(Mark::Plain, payloads))
}

/// The payloads of the last list, JSON each on its own: for JavaScript that could not read the joined.
pub fn apart(call: &Call, handle: &Handle) -> Result<JsValue> {
    let table = &handle.table;
    let copies = table.copies.take();
    let list = List::of(call, table, &copies, false);
    table.copies.replace(copies);
    Ok(table.mark(Mark::Plain, list?.payloads(call)?))
}

/// A list. Its values are `places`, one number each, and `payloads` of those that lie in no slot.
#[derive(Default)]
struct List {
    /// A slot, or below 0 the negative of the number of a kind or mark, less 1.
    places: Vec<Cell<i32>>,
    /// JavaScript values in order, but for those with the mark `Joined`: these come last, as one JSON array, which is
    /// parsed faster than each alone.
    payloads: Vec<JsValue>,
    /// How many values are joined.
    joined: u32,
    /// The joined JSON, without its end.
    json: Vec<u8>,
    joins: bool,
    keys: Vec<JsValue>,
    numbers: Vec<Cell<f64>>,
}

impl List {
    fn new(joins: bool) -> Self {
        Self {
            joins,
            ..Self::default()
        }
    }

    fn of(call: &Call, table: &Table, copies: &Copies, joins: bool) -> Result<Self> {
        let mut list = Self::new(joins);
        for item in copies.iter() {
            match item {
                Item::Value(value) => {
                    let place = list.add(call, table, value)?;
                    push(&mut list.places, Cell::new(place))?;
                }
                Item::Miss => push(&mut list.places, Cell::new(MISS))?,
                Item::Key(key) => push(&mut list.keys, made(call.js_key(key))?)?,
                Item::Number(number) => push(&mut list.numbers, Cell::new(number))?,
            }
        }
        Ok(list)
    }

    /// Adds the payload of a value, and gives its place.
    fn add(&mut self, call: &Call, table: &Table, value: Value<'_>) -> Result<i32> {
        match value {
            Value::Slot(slot) => return Ok(slot as i32),
            Value::Json(text) if self.joins && self.json.len() + text.len() < JOINED => {
                self.json.try_reserve(text.len() + 2)?;
                self.json.push(if self.joined == 0 { b'[' } else { b',' });
                self.json.extend_from_slice(text.as_bytes());
                self.joined += 1;
                return Ok(place(Mark::Joined as u8));
            }
            value => push(&mut self.payloads, convert(call, table, value)?)?,
        }
        Ok(place(value.kind() as u8))
    }

    /// All payloads.
    fn payloads(&mut self, call: &Call) -> Result<JsValue> {
        if self.joined > 0 {
            self.json.push(b']');
            push(&mut self.payloads, made(call.js_string(&self.json))?)?;
        }
        Ok(array(call, &self.payloads))
    }
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<()> {
    list.try_reserve(1)?;
    list.push(item);
    Ok(())
}

/// Numbers as a typed array; as a plain one where that is made faster.
fn numbers<T: Element + Into<f64>>(call: &Call, numbers: &[Cell<T>]) -> Result<JsValue> {
    const FEW: usize = 16;
    if numbers.len() <= FEW {
        let few: Vec<_> = numbers
            .iter()
            .map(|number| call.js_number(number.get().into()))
            .collect();
        return Ok(array(call, &few));
    }
    made(call.js_numbers(numbers))
}

/// An array, which is not needed where it is empty.
fn array(call: &Call, values: &[JsValue]) -> JsValue {
    if values.is_empty() {
        NOTHING
    } else {
        call.array(values)
    }
}

/// A value for JavaScript: itself, or the text of its JSON, or the bytes of its clone.
///
/// # Errors
/// JavaScript has no memory for it.
fn convert(call: &Call, table: &Table, value: Value<'_>) -> Result<JsValue> {
    Ok(match value {
        Value::Slot(slot) => {
            table.say_slot(slot);
            NOTHING
        }
        Value::Undefined => call.undefined(),
        Value::Null => call.null(),
        Value::Bool(flag) => call.js_bool(flag),
        Value::Number(number) => call.js_number(number),
        Value::String(wtf8) => made(call.js_string(wtf8))?,
        Value::Json(json) => made(call.js_string(json.as_bytes()))?,
        Value::Clone(bytes) => made(call.js_buffer(bytes))?,
    })
}
