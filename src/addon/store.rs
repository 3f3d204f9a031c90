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
    caches::{Held, Outcome, held},
    call::{self, Body, Call, JsValue, Type},
};
use crate::{
    cache::DumpEntry,
    error::{Error, Result},
    key::Key,
    options,
    storage::Storage,
    value::{OwnedValue, Value},
};

type Answer = std::result::Result<JsValue, &'static str>;

/// Every function here, by the name JavaScript calls it.
static FUNCTIONS: [(&str, Body); 20] = [
    ("get", get),
    ("peek", peek),
    ("has", has),
    ("set", set),
    ("keep", keep),
    ("del", del),
    ("incr", incr),
    ("getMany", get_many),
    ("setMany", set_many),
    ("delMany", del_many),
    ("reset", reset),
    ("prune", prune),
    ("length", length),
    ("keys", keys),
    ("entries", entries),
    ("load", load),
    ("pop", pop),
    ("limits", limits),
    ("setLimit", set_limit),
    ("release", release),
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
        let found = held
            .cache
            .lock()
            .get(key, now, |value| held.table.show(call, value));
        Ok(found.unwrap_or_else(|| held.table.outcome(Outcome::Miss, NOTHING)))
    })
}

/// `peek(cache, key, now)`
fn peek(call: &Call) -> Answer {
    on_key(call, |held, key| {
        let now = call.clock(call.argument(2));
        let found = held
            .cache
            .lock()
            .peek(key, now, |value| held.table.show(call, value));
        Ok(found.unwrap_or_else(|| held.table.outcome(Outcome::Miss, NOTHING)))
    })
}

/// `has(cache, key, now)`
fn has(call: &Call) -> Answer {
    on_key(call, |held, key| {
        let found = held.cache.lock().has(key, call.clock(call.argument(2)));
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

/// `keep(cache, key, undefined, maxAge, now)` of a value that stays with JavaScript: the outcome is the slot to
/// keep it in, or a miss when the entry can never fit.
fn keep(call: &Call) -> Answer {
    on_key(call, |held, key| {
        // Read first: what is wrong with it must not cost a slot.
        max_age(call, call.argument(3))?;
        // An entry that has a slot keeps it, and JavaScript overwrites the value that is there.
        let slot = match held.cache.lock().storage().peek(key) {
            Some((Value::Slot(slot), _)) => slot,
            _ => held.table.slots.take(),
        };
        store(call, held, key, Value::Slot(slot))
    })
}

fn store(call: &Call, held: &Held, key: &[u8], value: Value<'_>) -> Result<JsValue> {
    let max_age = max_age(call, call.argument(3))?;
    let stored = held
        .cache
        .lock()
        .set(key, value, max_age, call.clock(call.argument(4)))?;
    let outcome = match value {
        _ if !stored => Outcome::Miss,
        Value::Slot(_) => held.table.convert(call, value).0,
        _ => Outcome::Value,
    };
    Ok(held.table.outcome(outcome, NOTHING))
}

/// `del(cache, key)`
fn del(call: &Call) -> Answer {
    on_key(call, |held, key| {
        held.cache.lock().del(key);
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `incr(cache, key, amount, maxAge, now)`: the new number.
fn incr(call: &Call) -> Answer {
    on_key(call, |held, key| {
        let amount = number(call, call.argument(2), "amount")?.unwrap_or(1.0);
        let max_age = max_age(call, call.argument(3))?;
        let now = call.clock(call.argument(4));
        let sum = held.cache.lock().incr(key, amount, max_age, now)?;
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
        let mut list = List::new(call, held, call.argument(3));
        let mut cache = held.cache.lock();
        for key in keys.iter() {
            cache
                .get(key, now, |value| list.push(value))
                .unwrap_or_else(|| list.miss());
        }
        // Making an array may run code of the user (a setter on its prototype).
        drop(cache);
        Ok(list.finish())
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
        let mut cache = held.cache.lock();
        for (index, (key, value)) in keys.iter().zip(values).enumerate() {
            cache.set(key, value, max_age, now)?;
            place(places, index, value);
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
        let mut cache = held.cache.lock();
        for key in keys.iter() {
            cache.del(key);
        }
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `reset(cache)`
fn reset(call: &Call) -> Answer {
    on_cache(call, |held| {
        held.cache.lock().reset();
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `prune(cache, now)`
fn prune(call: &Call) -> Answer {
    on_cache(call, |held| {
        held.cache.lock().prune(call.clock(call.argument(1)));
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `length(cache)`
fn length(call: &Call) -> Answer {
    on_cache(call, |held| {
        let length = held.cache.lock().len();
        Ok(held.table.outcome(Outcome::Value, call.js_number(length as f64)))
    })
}

/// `keys(cache)`: most recent first.
fn keys(call: &Call) -> Answer {
    on_cache(call, |held| {
        let keys: Vec<_> = held
            .cache
            .lock()
            .iter()
            .map(|entry| call.js_key(entry.key))
            .collect();
        Ok(held.table.outcome(Outcome::Value, call.array(&keys)))
    })
}

/// `entries(cache, now, places, expires)`: `[keys, values]`, most recent first. With an `expires` array, only
/// what has not expired, and the times at which it will.
fn entries(call: &Call) -> Answer {
    on_cache(call, |held| {
        let now = call.clock(call.argument(1));
        let expires = call.typed_array::<f64>(call.argument(3));
        let mut list = List::new(call, held, call.argument(2));
        let cache = held.cache.lock();
        let mut keys = vec![];
        if call.type_of(call.argument(3)) == Type::Object {
            for (index, entry) in cache.dump(now).enumerate() {
                keys.push(call.js_key(entry.key.as_bytes()));
                list.push(entry.value);
                if let Some(cell) = expires.get(index) {
                    cell.set(entry.expires);
                }
            }
        } else {
            for entry in cache.iter() {
                keys.push(call.js_key(entry.key));
                list.push(entry.value);
            }
        }
        drop(cache);
        let values = list.finish();
        Ok(held
            .table
            .outcome(Outcome::Value, call.array(&[call.array(&keys), values])))
    })
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
                place(places, index, value);
                let expires = expires.get(index).map_or(0.0, Cell::get);
                DumpEntry {
                    key: Key::from_bytes(key),
                    value: value.to_owned(),
                    expires,
                }
            })
            .collect();
        held.cache.lock().load(&entries, now)?;
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `pop(cache, places)`: `[key, set at, maxAge, value]` of the least recent entry, or `undefined`.
fn pop(call: &Call) -> Answer {
    on_cache(call, |held| {
        let mut list = List::new(call, held, call.argument(1));
        let popped = held.cache.lock().pop(|entry| {
            list.push(entry.value);
            [
                call.js_key(entry.key),
                call.js_number(entry.stamp.set_at),
                call.js_number(entry.stamp.max_age),
            ]
        });
        let [key, set_at, max_age] = match popped {
            Some(fields) => fields,
            None => return Ok(held.table.outcome(Outcome::Miss, NOTHING)),
        };
        Ok(held
            .table
            .outcome(Outcome::Value, call.array(&[key, set_at, max_age, list.finish()])))
    })
}

/// `limits(cache)`: `[max, maxAge, allowStale]`.
fn limits(call: &Call) -> Answer {
    on_cache(call, |held| {
        let limits = held.cache.lock().limits();
        let fields = [
            call.js_number(limits.max),
            call.js_number(limits.max_age),
            call.js_bool(limits.allow_stale),
        ];
        Ok(held.table.outcome(Outcome::Value, call.array(&fields)))
    })
}

/// `setLimit(cache, name, json)`: one option, as JSON.
fn set_limit(call: &Call) -> Answer {
    on_cache(call, |held| {
        let (name, json) = (call.text(call.argument(1)), call.text(call.argument(2)));
        let value = serde_json::from_str(&json).unwrap_or_default();
        let mut cache = held.cache.lock();
        match name.as_str() {
            "max" => cache.set_max(options::max(&value)?),
            "maxAge" => cache.set_max_age(options::max_age(&value)?),
            _ => cache.set_allow_stale(options::stale(&value)?),
        }
        Ok(held.table.outcome(Outcome::Value, NOTHING))
    })
}

/// `release(cache)`: hands over more freed slots.
fn release(call: &Call) -> Answer {
    on_cache(call, |held| Ok(held.table.outcome(Outcome::Value, NOTHING)))
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
fn take_values(call: &Call, held: &Held, array: JsValue, count: usize) -> Result<Vec<Value<'static>>> {
    let read = |index| Ok(in_place(call, call.element(array, index)?));
    let values: Vec<_> = (0..count as u32).map(read).collect::<Result<_>>()?;
    let slot = || Value::Slot(held.table.slots.take());
    Ok(values
        .into_iter()
        .map(|value| value.unwrap_or_else(slot))
        .collect())
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

/// A list of values on its way to JavaScript.
struct List<'a> {
    call: &'a Call,
    held: &'a Held,
    places: &'a [Cell<i32>],
    length: usize,
    values: Vec<JsValue>,
}

impl<'a> List<'a> {
    fn new(call: &'a Call, held: &'a Held, places: JsValue) -> Self {
        Self {
            call,
            held,
            places: call.typed_array(places),
            length: 0,
            values: vec![],
        }
    }

    fn push(&mut self, value: Value<'_>) {
        if let Value::Slot(slot) = value {
            return self.write(slot as i32);
        }
        let (outcome, shown) = self.held.table.convert(self.call, value);
        self.values.push(shown);
        self.write(-1 - outcome as i32);
    }

    fn miss(&mut self) {
        self.write(-1 - Outcome::Miss as i32);
    }

    fn write(&mut self, place: i32) {
        if let Some(cell) = self.places.get(self.length) {
            cell.set(place);
        }
        self.length += 1;
    }

    fn finish(self) -> JsValue {
        let values = if self.values.is_empty() {
            std::ptr::null_mut()
        } else {
            self.call.array(&self.values)
        };
        self.held.table.outcome(Outcome::Value, values)
    }
}
