//! The calls on one cache, as JavaScript makes them. The first argument is always the number of the cache;
//! `now` is milliseconds since the epoch, `JSON`-free all the way. What a result is, is said in the shared
//! state, see [`super::caches::state`].
//!
//! Lists of values are written into an `Int32Array` (`places`) of JavaScript's, one number a value: a slot, or
//! below 0 the negative of an [`Outcome`] less 1, whose value is then the next of the array that is returned.

use napi::JsValue as _;
use napi::bindgen_prelude::{Env, Object};
use napi_derive::napi;
use std::cell::Cell;

use super::{
    caches::{Held, Outcome, held, made},
    call::{self, Body, Call, JsClock, JsValue, Type},
    registry,
    values::{Copied, Read, Values},
};
use crate::{
    cache::DumpEntry,
    error::{Error, Result},
    key::{Key, KeyList},
    options,
    storage::Storage,
    store::Guard,
    value::{OwnedValue, Value},
    wtf8,
};

type Answer = std::result::Result<JsValue, &'static str>;

/// Every function here, by the name JavaScript calls it.
static FUNCTIONS: [(&str, Body); 27] = [
    ("get", get),
    ("peek", peek),
    ("has", has),
    ("set", set),
    ("keep", keep),
    ("put", put),
    ("del", del),
    ("incr", incr),
    ("getMany", get_many),
    ("setMany", set_many),
    ("putMany", put_many),
    ("delMany", del_many),
    ("reset", reset),
    ("prune", prune),
    ("length", length),
    ("size", size),
    ("keys", keys),
    ("entries", entries),
    ("load", load),
    ("pop", pop),
    ("limits", limits),
    ("setLimit", set_limit),
    ("release", release),
    ("hold", hold),
    ("unhold", unhold),
    ("isExposed", is_exposed),
    ("handle", registry::handle),
];

#[napi(module_exports)]
pub fn register(exports: Object, env: Env) -> napi::Result<()> {
    for (name, body) in &FUNCTIONS {
        call::export(env.raw(), exports.raw(), name, body)?;
    }
    Ok(())
}

/// No value beside the outcome: `undefined`.
const NOTHING: JsValue = std::ptr::null_mut();

/// As [`on_cache`], with the second argument as a key.
fn on_key(call: &Call, run: impl FnOnce(&Held, &[u8]) -> Result<JsValue>) -> Answer {
    on_cache(call, |held| call.with_key(call.argument(1), |key| run(held, key)))
}

/// Runs a call on its cache: an error becomes data, freed slots are handed over.
fn on_cache(call: &Call, run: impl FnOnce(&Held) -> Result<JsValue>) -> Answer {
    let held = held(call, call.argument(0))?;
    let answer = run(&held).unwrap_or_else(|error| held.table.fail(call, &error));
    held.table.release();
    Ok(answer)
}

/// `get(cache, key, now)`
fn get(call: &Call) -> Answer {
    on_key(call, |held, key| {
        let now = call.clock(call.argument(2));
        held.table.show(call, |values| {
            let mut cache = held.store.lock(held.patience)?;
            if let Err(elsewhere) = cache.readable(Some(key)) {
                // Its value will come later; this is when it was used.
                cache.storage_mut().touch(key)?;
                return Err(elsewhere);
            }
            cache.get(key, now, |value| values.push(value)).map(drop)
        })
    })
}

/// `peek(cache, key, now)`
fn peek(call: &Call) -> Answer {
    on_key(call, |held, key| {
        let now = call.clock(call.argument(2));
        held.table.show(call, |values| {
            let mut cache = held.store.lock(held.patience)?;
            cache.readable(Some(key))?;
            cache.peek(key, now, |value| values.push(value)).map(drop)
        })
    })
}

/// `has(cache, key, now)`
fn has(call: &Call) -> Answer {
    on_key(call, |held, key| {
        let now = call.clock(call.argument(2));
        let found = held.store.lock(held.patience)?.has(key, now)?;
        Ok(held.table.outcome(Outcome::Value, call.js_bool(found)))
    })
}

/// `set(cache, key, value, maxAge, now)` of a value that is no object: the outcome is a miss when the entry
/// can never fit.
fn set(call: &Call) -> Answer {
    on_key(call, |held, key| {
        let value = in_place(call, call.argument(2)).unwrap_or(Value::Undefined);
        store(call, held, key, value)
    })
}

/// `keep(cache, key, value, maxAge, now)` of a value that stays with JavaScript: the outcome is the slot to keep
/// it in, a value where it did not have to stay, or a miss when the entry can never fit.
fn keep(call: &Call) -> Answer {
    on_key(call, |held, key| {
        // Read first: what is wrong with it must not cost a slot.
        let max_age = max_age(call, call.argument(3))?;
        let now = call.clock(call.argument(4));
        let mut cache = held.store.lock(held.patience)?;
        if copies_strings(&cache) {
            drop(cache);
            return keep_or_copy(call, held, key, max_age, now);
        }
        // An entry that has a slot keeps it, and JavaScript overwrites the value that is there.
        let slot = match cache.storage().peek(key)? {
            Some((Value::Slot(slot), _)) => slot,
            _ => held.table.slots.take(),
        };
        let stored = cache.set(key, Value::Slot(slot), max_age, now)?;
        Ok(held.table.kept(stored.then_some(slot)))
    })
}

/// Whether a string is copied into the cache: where others read it, or where its bytes count.
fn copies_strings(cache: &Guard<'_>) -> bool {
    let limits = cache.limits();
    cache.is_shared() || limits.max_size.is_finite() || limits.max_entry_size.is_finite()
}

/// As [`keep`], where strings are copied.
fn keep_or_copy(call: &Call, held: &Held, key: &[u8], max_age: Option<f64>, now: JsClock) -> Result<JsValue> {
    let value = call.argument(2);
    if call.type_of(value) == Type::String {
        let text = call.utf16(value, wtf8::from_utf16);
        let stored = held
            .store
            .lock(held.patience)?
            .set(key, Value::String(&text), max_age, now)?;
        return Ok(held.table.stored(stored));
    }
    let slot = held.table.slots.take();
    let stored = held
        .store
        .lock(held.patience)
        .inspect_err(|_| held.table.slots.free(slot))?
        .set(key, Value::Slot(slot), max_age, now)?;
    Ok(held.table.kept(stored.then_some(slot)))
}

/// `put(cache, key, payload, maxAge, now, kind)` of a value by copy: `kind` is an [`Outcome`] that says whether
/// the payload is the value itself, its JSON or its clone. The outcome is a miss when the entry can never fit.
fn put(call: &Call) -> Answer {
    on_key(call, |held, key| {
        let payload = call.argument(2);
        let kind = call.index(call.argument(5)) as i32;
        let mut copy = held.table.copy.borrow_mut();
        let value = copy.take(call, payload, kind)?;
        store(call, held, key, value)
    })
}

fn store(call: &Call, held: &Held, key: &[u8], value: Value<'_>) -> Result<JsValue> {
    let max_age = max_age(call, call.argument(3))?;
    let now = call.clock(call.argument(4));
    let stored = held.store.lock(held.patience)?.set(key, value, max_age, now)?;
    Ok(held.table.stored(stored))
}

/// `del(cache, key)`
fn del(call: &Call) -> Answer {
    on_key(call, |held, key| {
        held.store.lock(held.patience)?.del(key)?;
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `incr(cache, key, amount, maxAge, now)`: the new number.
fn incr(call: &Call) -> Answer {
    on_key(call, |held, key| {
        let amount = number(call, call.argument(2), "amount")?.unwrap_or(1.0);
        let max_age = max_age(call, call.argument(3))?;
        let now = call.clock(call.argument(4));
        let sum = held.store.lock(held.patience)?.incr(key, amount, max_age, now)?;
        Ok(held.table.outcome(Outcome::Value, call.js_number(sum)))
    })
}

/// `getMany(cache, keys, count, places, now)`: the values that lie in no slot.
fn get_many(call: &Call) -> Answer {
    on_cache(call, |held| {
        let count = call.index(call.argument(2)) as usize;
        let Some(keys) = call.keys(call.argument(1), count)? else {
            return Ok(split(held));
        };
        let now = call.clock(call.argument(4));
        let mut places = Places::Given(call.typed_array(call.argument(3)));
        list(call, held, &mut places, |values| {
            let mut cache = held.store.lock(held.patience)?;
            if cache.readable(None).is_err() {
                // Some value of the store is elsewhere: is it one of these?
                keys.iter().try_for_each(|key| cache.readable(Some(key)))?;
            }
            for key in keys.iter() {
                let found = cache.get(key, now, |value| values.push(value))?;
                found.map_or_else(|| values.miss(), Ok)?;
            }
            Ok(())
        })
    })
}

/// `setMany(cache, keys, values, places, maxAge, now)`: a place is the slot of its value, or below 0.
fn set_many(call: &Call) -> Answer {
    on_cache(call, |held| {
        let places = call.typed_array::<i32>(call.argument(3));
        let Some(keys) = call.keys(call.argument(1), places.len())? else {
            return Ok(split(held));
        };
        let max_age = max_age(call, call.argument(4))?;
        let now = call.clock(call.argument(5));
        let values = take_values(call, held, call.argument(2), keys.len())?;
        let mut left = values.iter();
        let done = held.store.lock(held.patience).and_then(|mut cache| {
            for (index, (key, value)) in keys.iter().zip(&mut left).enumerate() {
                cache.set(key, value.as_ref(), max_age, now)?;
                place(places, index, value.as_ref());
            }
            Ok(())
        });
        done.inspect_err(|_| left.for_each(|value| let_go(held, value)))?;
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `putMany(cache, keys, payloads, kinds, maxAge, now)`: as [`put`].
fn put_many(call: &Call) -> Answer {
    on_cache(call, |held| {
        let kinds = call.typed_array::<i32>(call.argument(3));
        let Some(keys) = call.keys(call.argument(1), kinds.len())? else {
            return Ok(split(held));
        };
        let max_age = max_age(call, call.argument(4))?;
        let now = call.clock(call.argument(5));
        let mut copy = Copied::default();
        let read = |(index, kind): (usize, &Cell<i32>)| {
            let payload = call.element(call.argument(2), index as u32)?;
            Ok(copy.take(call, payload, kind.get())?.to_owned())
        };
        let values: Vec<OwnedValue> = kinds.iter().enumerate().map(read).collect::<Result<_>>()?;
        let mut cache = held.store.lock(held.patience)?;
        for (key, value) in keys.iter().zip(&values) {
            cache.set(key, value.as_ref(), max_age, now)?;
        }
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `delMany(cache, keys, count)`
fn del_many(call: &Call) -> Answer {
    on_cache(call, |held| {
        let count = call.index(call.argument(2)) as usize;
        let Some(keys) = call.keys(call.argument(1), count)? else {
            return Ok(split(held));
        };
        let mut cache = held.store.lock(held.patience)?;
        for key in keys.iter() {
            cache.del(key)?;
        }
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `reset(cache)`
fn reset(call: &Call) -> Answer {
    on_cache(call, |held| {
        held.store.lock(held.patience)?.reset()?;
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `prune(cache, now)`
fn prune(call: &Call) -> Answer {
    on_cache(call, |held| {
        let now = call.clock(call.argument(1));
        held.store.lock(held.patience)?.prune(now);
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `length(cache)`
fn length(call: &Call) -> Answer {
    on_cache(call, |held| {
        let length = held.store.lock(held.patience)?.len();
        Ok(held.table.outcome(Outcome::Value, call.js_number(length as f64)))
    })
}

/// `keys(cache)`: most recent first.
fn keys(call: &Call) -> Answer {
    on_cache(call, |held| {
        let mut keys = KeyList::default();
        let cache = held.store.lock(held.patience)?;
        cache.visit_keys(|key| keys.push(key))?;
        drop(cache);
        Ok(held.table.outcome(Outcome::Value, js_keys(call, &keys)?))
    })
}

/// `entries(cache, now, dated)`: `[keys, values, places, expires]`, most recent first. When `dated`, of what has not
/// expired, and with the times at which it will; else `expires` is empty.
fn entries(call: &Call) -> Answer {
    on_cache(call, |held| {
        let now = call.clock(call.argument(1));
        let dated = call.bool(call.argument(2));
        let mut keys = KeyList::default();
        let mut expires = vec![];
        let mut places = Places::Grown(vec![]);
        let values = list(call, held, &mut places, |values| {
            let cache = held.store.lock(held.patience)?;
            cache.readable(None)?;
            if dated {
                cache.dump(now, |entry, at| {
                    keys.push(entry.key)?;
                    expires.try_reserve(1)?;
                    expires.push(Cell::new(at));
                    values.push(entry.value)
                })
            } else {
                cache.visit(|entry| {
                    keys.push(entry.key)?;
                    values.push(entry.value)
                })
            }
        })?;
        let fields = [
            js_keys(call, &keys)?,
            values,
            made(call.js_numbers(places.cells()))?,
            made(call.js_numbers(&expires))?,
        ];
        Ok(held.table.outcome(Outcome::Value, call.array(&fields)))
    })
}

fn js_keys(call: &Call, keys: &KeyList) -> Result<JsValue> {
    let mut shown = vec![];
    shown.try_reserve_exact(keys.len())?;
    for key in keys.iter() {
        shown.push(made(call.js_key(key))?);
    }
    Ok(call.array(&shown))
}

/// `load(cache, keys, values, expires, places, now)`, most recent first.
fn load(call: &Call) -> Answer {
    on_cache(call, |held| {
        let count = call.length(call.argument(1)) as usize;
        let Some(keys) = call.keys(call.argument(1), count)? else {
            return Ok(split(held));
        };
        let expires = call.typed_array::<f64>(call.argument(3));
        let places = call.typed_array::<i32>(call.argument(4));
        let now = call.clock(call.argument(5));
        let values = take_values(call, held, call.argument(2), keys.len())?;
        let entries: Vec<DumpEntry<OwnedValue>> = keys
            .iter()
            .zip(values)
            .enumerate()
            .map(|(index, (key, value))| {
                place(places, index, value.as_ref());
                let expires = expires.get(index).map_or(0.0, Cell::get);
                DumpEntry {
                    key: Key::from_bytes(key),
                    value,
                    expires,
                }
            })
            .collect();
        held.store
            .lock(held.patience)
            .inspect_err(|_| entries.iter().for_each(|entry| let_go(held, &entry.value)))?
            .load(&entries, now)?;
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `pop(cache, places)`: `[key, set at, maxAge, value]` of the least recent entry, or `undefined`.
fn pop(call: &Call) -> Answer {
    on_cache(call, |held| {
        let mut popped = None;
        let mut places = Places::Given(call.typed_array(call.argument(1)));
        let values = list(call, held, &mut places, |values| {
            let mut cache = held.store.lock(held.patience)?;
            cache.readable(None)?;
            popped = cache.pop(|entry| {
                values.push(entry.value)?;
                Ok((Key::from_bytes(entry.key), entry.stamp))
            })?;
            Ok(())
        })?;
        let Some((key, stamp)) = popped else {
            return Ok(held.table.outcome(Outcome::Miss, NOTHING));
        };
        let fields = [
            call.js_key(key.as_bytes()),
            call.js_number(stamp.set_at),
            call.js_number(stamp.max_age),
            values,
        ];
        Ok(held.table.outcome(Outcome::Value, call.array(&fields)))
    })
}

/// `size(cache)`: the bytes that all entries take.
fn size(call: &Call) -> Answer {
    on_cache(call, |held| {
        let size = held.store.lock(held.patience)?.storage().size();
        Ok(held.table.outcome(Outcome::Value, call.js_number(size)))
    })
}

/// `limits(cache)`: `[max, maxAge, allowStale, maxSize]`.
fn limits(call: &Call) -> Answer {
    on_cache(call, |held| {
        let limits = held.store.lock(held.patience)?.limits();
        let fields = [
            call.js_number(limits.max),
            call.js_number(limits.max_age),
            call.js_bool(limits.allow_stale),
            call.js_number(limits.max_size),
        ];
        Ok(held.table.outcome(Outcome::Value, call.array(&fields)))
    })
}

/// `setLimit(cache, name, json)`: one option, as JSON.
fn set_limit(call: &Call) -> Answer {
    on_cache(call, |held| {
        let (name, json) = (call.text(call.argument(1)), call.text(call.argument(2)));
        let value = serde_json::from_str(&json).unwrap_or_default();
        let mut cache = held.store.lock(held.patience)?;
        match name.as_str() {
            "max" => cache.set_max(options::max(&value)?),
            "maxAge" => cache.set_max_age(options::max_age(&value)?),
            "maxSize" => cache.set_max_size(options::max_size(&value)?),
            _ => cache.set_allow_stale(options::stale(&value)?),
        }
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `release(cache)`: hands over more freed slots.
fn release(call: &Call) -> Answer {
    on_cache(call, |held| Ok(held.table.outcome(Outcome::Value, NOTHING)))
}

/// `hold(cache)`: takes the lock for all calls up to the matching `unhold`.
fn hold(call: &Call) -> Answer {
    on_cache(call, |held| {
        let hold = held.store.hold(held.patience)?;
        held.holds.borrow_mut().push(hold);
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `unhold(cache)`
fn unhold(call: &Call) -> Answer {
    on_cache(call, |held| {
        let hold = held.holds.borrow_mut().pop();
        drop(hold);
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `isExposed(cache)`: whether the application in the primary may have put functions on the cache.
fn is_exposed(call: &Call) -> Answer {
    on_cache(call, |held| {
        let exposed = call.js_bool(held.store.is_exposed());
        Ok(held.table.outcome(Outcome::Value, exposed))
    })
}

/// A value that Rust keeps itself; `None` for one that stays with JavaScript. (A string stays there: no copy
/// is made of it, and none when it is read.)
fn in_place(call: &Call, value: JsValue) -> Option<Value<'static>> {
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

/// The values of an array, each with a slot where it needs one. Reads them all before a slot is taken.
fn take_values(call: &Call, held: &Held, array: JsValue, count: usize) -> Result<Vec<OwnedValue>> {
    let copied = copies_strings(&held.store.lock(held.patience)?);
    let read = |index| {
        let value = call.element(array, index)?;
        Ok(match in_place(call, value) {
            Some(value) => Some(value.to_owned()),
            None if copied && call.type_of(value) == Type::String => {
                Some(OwnedValue::String(call.utf16(value, wtf8::from_utf16).into()))
            }
            None => None,
        })
    };
    let values: Vec<_> = (0..count as u32).map(read).collect::<Result<_>>()?;
    let slot = || OwnedValue::Slot(held.table.slots.take());
    Ok(values
        .into_iter()
        .map(|value| value.unwrap_or_else(slot))
        .collect())
}

/// Frees the slot of a value that did not get as far as the cache.
fn let_go(held: &Held, value: &OwnedValue) {
    if let OwnedValue::Slot(slot) = value {
        held.table.slots.free(*slot);
    }
}

/// Asks for keys one by one, where joined ones could not be told apart.
fn split(held: &Held) -> JsValue {
    held.table.outcome(Outcome::Split, NOTHING)
}

fn place(places: &[Cell<i32>], index: usize, value: Value<'_>) {
    if let Some(place) = places.get(index) {
        place.set(if let Value::Slot(slot) = value {
            slot as i32
        } else {
            -1
        });
    }
}

/// An age that a caller gave for one entry; falsy values count as none, as in lru-cache 6.
fn max_age(call: &Call, value: JsValue) -> Result<Option<f64>> {
    if let Some(age) = call.try_number(value) {
        return Ok(Some(age));
    }
    match call.type_of(value) {
        Type::Boolean if !call.bool(value) => Ok(None),
        Type::String if call.text(value).is_empty() => Ok(None),
        _ => number(call, value, "maxAge"),
    }
}

fn number(call: &Call, value: JsValue, name: &str) -> Result<Option<f64>> {
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

/// The most bytes of JSON that cross as one string: V8 has an end to strings.
const JOINED: usize = 1 << 24;

/// Reads values under the lock, and writes what they are into `places`. Returns those that lie in no slot; JSON
/// as one array of all, which is parsed faster than each alone, at the end. How many are in it, is said as the
/// slot.
fn list(
    call: &Call,
    held: &Held,
    places: &mut Places<'_>,
    read: impl FnOnce(&mut List<'_, '_>) -> Result<()>,
) -> Result<JsValue> {
    let mut values = held.table.values.borrow_mut();
    values.clear();
    let mut list = List {
        places,
        length: 0,
        values: &mut values,
        indexes: vec![],
    };
    let done = read(&mut list);
    let indexes = list.indexes;
    done.inspect_err(|_| values.clear())?;
    let places = places.cells();
    let mut shown = vec![];
    let (mut joined, mut count) = (vec![], 0);
    for (index, value) in indexes.into_iter().zip(values.iter()) {
        let outcome = match value {
            Read::Json(json) if joined.len() + json.len() < JOINED => {
                joined.try_reserve(json.len() + 2)?;
                joined.push(if count == 0 { b'[' } else { b',' });
                joined.extend_from_slice(json);
                count += 1;
                Outcome::Joined
            }
            value => {
                let (outcome, value) = held.table.convert(call, value)?;
                shown.try_reserve(1)?;
                shown.push(value);
                outcome
            }
        };
        if let Some(place) = places.get(index) {
            place.set(-1 - outcome as i32);
        }
    }
    drop(values);
    if count > 0 {
        joined.push(b']');
        shown.push(made(call.js_string(&joined))?);
    }
    held.table.say_slot(count);
    // Making an array may run code of the user (a setter on its prototype).
    let shown = if shown.is_empty() {
        NOTHING
    } else {
        call.array(&shown)
    };
    Ok(held.table.outcome(Outcome::Value, shown))
}

/// Where the numbers lie that say of each value of a list what it is.
enum Places<'a> {
    /// In an array of JavaScript's, with a place for each value.
    Given(&'a [Cell<i32>]),
    /// Here, for as many values as there are.
    Grown(Vec<Cell<i32>>),
}

impl Places<'_> {
    fn cells(&self) -> &[Cell<i32>] {
        match self {
            Self::Given(cells) => cells,
            Self::Grown(cells) => cells,
        }
    }

    /// Makes sure that there is a place at `index`, the next one after those before it.
    fn reserve(&mut self, index: usize) -> Result<()> {
        if let Self::Grown(cells) = self
            && cells.len() <= index
        {
            cells.try_reserve(1)?;
            cells.push(Cell::new(0));
        }
        Ok(())
    }
}

/// The values of a list as they are read under the lock.
struct List<'a, 'p> {
    places: &'a mut Places<'p>,
    length: usize,
    /// Those that lie in no slot, and where they stand.
    values: &'a mut Values,
    indexes: Vec<usize>,
}

impl List<'_, '_> {
    fn push(&mut self, value: Value<'_>) -> Result<()> {
        if let Value::Slot(slot) = value {
            return self.write(slot as i32);
        }
        self.places.reserve(self.length)?;
        self.indexes.try_reserve(1)?;
        self.values.push(value)?;
        self.indexes.push(self.length);
        self.length += 1;
        Ok(())
    }

    fn miss(&mut self) -> Result<()> {
        self.write(-1 - Outcome::Miss as i32)
    }

    fn write(&mut self, place: i32) -> Result<()> {
        self.places.reserve(self.length)?;
        if let Some(cell) = self.places.cells().get(self.length) {
            cell.set(place);
        }
        self.length += 1;
        Ok(())
    }
}
