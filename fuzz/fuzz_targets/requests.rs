//! Requests that are mostly right: deep into what the commands do.

#![no_main]

#[path = "../../tests/support/batch.rs"]
#[allow(dead_code)]
mod batch;
#[path = "../../tests/support/validate.rs"]
mod validate;

use arbitrary::Arbitrary;
use batch::Primary;
use libfuzzer_sys::fuzz_target;
use lru_cache_for_clusters::{key::Key, store::LOCK_WAIT, value::Value};
use std::fmt::Write;

/// What happens to the primary.
#[derive(Arbitrary, Debug)]
enum Event<'a> {
    Batch(Vec<Request<'a>>),
    /// The primary sets a JavaScript value.
    SetLocal(Name, u8),
    /// JavaScript drops the values of freed slots.
    Release(u8),
    Pass(u16),
}

#[derive(Arbitrary, Debug)]
struct Request<'a> {
    id: u16,
    advanced: bool,
    namespace: Name,
    command: Command<'a>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Name {
    A,
    B,
    Proto,
}

#[derive(Arbitrary, Debug)]
enum Command<'a> {
    Open {
        max: Option<Number>,
        max_size: Option<Number>,
        max_entry_size: Option<Number>,
        max_age: Option<Number>,
        stale: Option<bool>,
        prune: Option<&'a str>,
    },
    Get(Key1<'a>),
    Peek(Key1<'a>),
    Has(Key1<'a>),
    Del(Key1<'a>),
    Set(Key1<'a>, Payload<'a>, Option<Number>),
    /// With tags, as text.
    SetTagged(Key1<'a>, Payload<'a>, bool, Vec<Tag<'a>>),
    InvalidateTags(Vec<Tag<'a>>),
    GetEntry(Key1<'a>),
    Incr(Key1<'a>, Option<Number>, Option<Number>),
    Decr(Key1<'a>, Option<Number>, Option<Number>),
    MGet(Vec<Key1<'a>>),
    MSet(Vec<(Key1<'a>, Payload<'a>)>, Option<Number>),
    MDel(Vec<Key1<'a>>),
    DeletePrefix(Key1<'a>),
    Entries(Key1<'a>),
    KeysOf(Key1<'a>),
    Scan {
        prefix: Key1<'a>,
        cursor: Cursor<'a>,
        count: Option<Number>,
        values: bool,
    },
    Load(Vec<(Key1<'a>, Payload<'a>, Number)>),
    Max(Option<Number>),
    MaxSize(Option<Number>),
    MaxAge(Option<Number>),
    Stale(Option<bool>),
    /// One without arguments, or one that there is not.
    Named(&'a str),
    Plain(Plain),
}

#[derive(Arbitrary, Debug)]
enum Plain {
    Reset,
    Prune,
    Keys,
    Values,
    Dump,
    Pop,
    Length,
}

/// A tag out of few, or any.
#[derive(Arbitrary, Debug)]
enum Tag<'a> {
    Few(u8),
    Text(&'a str),
    Wrong,
}

impl Tag<'_> {
    fn json(&self) -> String {
        match self {
            Self::Few(tag) => format!("\"{}\"", tag % 4),
            Self::Text(tag) => text(tag),
            Self::Wrong => "5".into(),
        }
    }
}

/// A key out of few, or any.
#[derive(Arbitrary, Debug)]
enum Key1<'a> {
    Few(u8),
    Text(&'a str),
    Number(Number),
    BigInt(i64),
    Bool(bool),
    Null,
    Undefined,
    Wrong,
}

/// Where a scan goes on: anywhere, in an order that no storage has, or that of all.
#[derive(Arbitrary, Debug)]
enum Cursor<'a> {
    None,
    Text(&'a str),
    Place([u64; 2], u32),
}

#[derive(Arbitrary, Debug)]
enum Payload<'a> {
    Text(&'a str),
    Number(Number),
    Object(&'a str),
    Clone(&'a [u8]),
    Undefined,
    Null,
    Wrong(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Small(i8),
    Any(f64),
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Proto => "__proto__",
        }
    }
}

impl Number {
    fn json(self) -> String {
        let number = match self {
            Self::Small(number) => number.into(),
            Self::Any(number) => number,
        };
        match number {
            n if n.is_finite() => format!("{n:?}"),
            n if n.is_nan() => r#"{"n":"NaN"}"#.into(),
            n if n > 0.0 => r#"{"n":"Infinity"}"#.into(),
            _ => r#"{"n":"-Infinity"}"#.into(),
        }
    }

    fn or_null(number: &Option<Self>) -> String {
        number.map_or("null".into(), Self::json)
    }
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Key1<'_> {
    fn json(&self) -> String {
        match self {
            Self::Few(key) => (key % 8).to_string(),
            Self::Text(key) => text(key),
            Self::Number(key) => key.json(),
            Self::BigInt(key) => format!(r#"{{"i":"{key}"}}"#),
            Self::Bool(key) => key.to_string(),
            Self::Null => "null".into(),
            Self::Undefined => r#"{"u":0}"#.into(),
            Self::Wrong => "[]".into(),
        }
    }
}

impl Cursor<'_> {
    fn json(&self) -> String {
        match self {
            Self::None => "null".into(),
            Self::Text(cursor) => text(cursor),
            Self::Place([a, b], at) => format!("\"{a:016x}{b:016x}{at:08x}\""),
        }
    }
}

impl Payload<'_> {
    fn json(&self) -> String {
        use base64::{Engine, engine::general_purpose::STANDARD};
        match self {
            Self::Text(value) => format!("0,{}", text(value)),
            Self::Number(Number::Any(value)) if value.is_infinite() => r#"2,"Infinity""#.into(),
            Self::Number(Number::Any(value)) if value.is_nan() => r#"2,"NaN""#.into(),
            Self::Number(value) => format!("0,{}", value.json()),
            Self::Object(value) => format!("0,{{\"x\":[{}]}}", text(value)),
            Self::Clone(bytes) => format!("3,\"{}\"", STANDARD.encode(bytes)),
            Self::Undefined => "1,0".into(),
            Self::Null => "0,null".into(),
            Self::Wrong(kind) => format!("{kind},[]"),
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

impl Command<'_> {
    /// The name, and the arguments with a comma before each.
    fn json(&self) -> (&str, String) {
        let keys = |keys: &[Key1<'_>]| list(keys.iter().map(Key1::json));
        match self {
            Self::Open {
                max,
                max_size,
                max_entry_size,
                max_age,
                stale,
                prune,
            } => {
                let prune = prune.map_or("false".into(), text);
                let stale = stale.unwrap_or(false);
                let (max, max_age) = (Number::or_null(max), Number::or_null(max_age));
                let (size, entry) = (Number::or_null(max_size), Number::or_null(max_entry_size));
                (
                    "open",
                    format!(
                        r#",{{"max":{max},"maxSize":{size},"maxEntrySize":{entry},"maxAge":{max_age},"stale":{stale},"prune":{prune}}}"#
                    ),
                )
            }
            Self::Get(key) => ("get", format!(",{}", key.json())),
            Self::Peek(key) => ("peek", format!(",{}", key.json())),
            Self::Has(key) => ("has", format!(",{}", key.json())),
            Self::Del(key) => ("del", format!(",{}", key.json())),
            Self::Set(key, value, age) => (
                "set",
                format!(",{},{},{}", key.json(), value.json(), Number::or_null(age)),
            ),
            Self::SetTagged(key, value, keeps, tags) => {
                let tags = list(tags.iter().map(Tag::json));
                (
                    "set",
                    format!(
                        ",{},{},null,{{\"keeps\":{keeps},\"tags\":{tags}}}",
                        key.json(),
                        value.json()
                    ),
                )
            }
            Self::InvalidateTags(tags) => {
                ("invalidateTags", format!(",{}", list(tags.iter().map(Tag::json))))
            }
            Self::GetEntry(key) => ("getEntry", format!(",{}", key.json())),
            Self::Incr(key, by, age) => (
                "incr",
                format!(",{},{},{}", key.json(), Number::or_null(by), Number::or_null(age)),
            ),
            Self::Decr(key, by, age) => (
                "decr",
                format!(",{},{},{}", key.json(), Number::or_null(by), Number::or_null(age)),
            ),
            Self::MGet(of) => ("mGet", format!(",{}", keys(of))),
            Self::MDel(of) => ("mDel", format!(",{}", keys(of))),
            Self::DeletePrefix(prefix) => ("deletePrefix", format!(",{}", prefix.json())),
            Self::Entries(prefix) => ("entries", format!(",{}", prefix.json())),
            Self::KeysOf(prefix) => ("keys", format!(",true,{}", prefix.json())),
            Self::Scan {
                prefix,
                cursor,
                count,
                values,
            } => (
                "scan",
                format!(
                    ",{},{},{},{values}",
                    prefix.json(),
                    cursor.json(),
                    Number::or_null(count)
                ),
            ),
            Self::MSet(pairs, age) => {
                let pairs = list(
                    pairs
                        .iter()
                        .map(|(key, value)| format!("{},{}", key.json(), value.json())),
                );
                ("mSet", format!(",{pairs},{}", Number::or_null(age)))
            }
            Self::Load(entries) => {
                let entry = |(key, value, expires): &(Key1<'_>, Payload<'_>, Number)| {
                    format!("{},{},{}", key.json(), value.json(), expires.json())
                };
                ("load", format!(",{}", list(entries.iter().map(entry))))
            }
            Self::Max(max) => ("max", format!(",{}", Number::or_null(max))),
            Self::MaxSize(size) => ("maxSize", format!(",{}", Number::or_null(size))),
            Self::MaxAge(age) => ("maxAge", format!(",{}", Number::or_null(age))),
            Self::Stale(stale) => (
                "stale",
                format!(",{}", stale.map_or("null".into(), |stale| stale.to_string())),
            ),
            Self::Named(name) => (name, String::new()),
            Self::Plain(plain) => {
                let name = match plain {
                    Plain::Reset => "reset",
                    Plain::Prune => "prune",
                    Plain::Keys => "keys",
                    Plain::Values => "values",
                    Plain::Dump => "dump",
                    Plain::Pop => "pop",
                    Plain::Length => "length",
                };
                (name, String::new())
            }
        }
    }
}

fuzz_target!(|events: Vec<Event<'_>>| {
    let primary = Primary::new();
    let mut now = 0.0;
    for name in [Name::A, Name::B] {
        primary.send(&format!("[1,0,\"{}\",\"open\",{{}}]", name.text()), now);
    }
    for event in &events {
        match event {
            Event::Batch(requests) => {
                let mut batch = String::new();
                for Request {
                    id,
                    advanced,
                    namespace,
                    command,
                } in requests
                {
                    let (mode, namespace) = (u8::from(*advanced), namespace.text());
                    let (name, arguments) = command.json();
                    let _ = writeln!(batch, "[{id},{mode},\"{namespace}\",{}{arguments}]", text(name));
                }
                let answers = primary.send(&batch, now);
                assert_eq!(answers.len(), requests.len(), "each request is answered");
            }
            Event::SetLocal(name, key) => {
                if let Some(cache) = primary.registry.get(name.text()) {
                    let slot = primary.slots.take();
                    let key = Key::number((key % 8).into());
                    cache
                        .lock(LOCK_WAIT)
                        .unwrap()
                        .set(key.as_bytes(), Value::Slot(slot), Some(100.0), now)
                        .expect("memory");
                }
            }
            Event::Release(limit) => {
                primary.slots.release((*limit).into(), |_| ());
            }
            Event::Pass(time) => now += f64::from(*time),
        }
        primary.validate();
    }
});
