//! JavaScript keys and values outside the store, and their form in requests and replies.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use lru_cache_for_clusters::{
    key::{Key, KeyView},
    value::OwnedValue,
    wtf8,
};
use serde_json::value::RawValue;
use std::fmt;

/// A key as JavaScript has it; equal as in a `Map`.
#[derive(Clone)]
pub enum JsKey {
    String(Vec<u16>),
    Number(f64),
    BigInt(i128),
    Bool(bool),
    Null,
    Undefined,
}

impl PartialEq for JsKey {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::BigInt(a), Self::BigInt(b)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Null, Self::Null) | (Self::Undefined, Self::Undefined) => true,
            _ => false,
        }
    }
}

impl fmt::Debug for JsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl JsKey {
    pub fn text(text: &str) -> Self {
        Self::String(text.encode_utf16().collect())
    }

    /// The form in which it is given back: `-0` is `0`, as in a `Map`.
    pub fn canonical(&self) -> Self {
        match self {
            Self::Number(number) => Self::Number(number + 0.0),
            other => other.clone(),
        }
    }

    pub fn to_key(&self) -> Key {
        match self {
            Self::String(units) => Key::utf16(units),
            Self::Number(number) => Key::number(*number),
            Self::BigInt(number) => Key::big_int(&number.to_string()).expect("digits"),
            Self::Bool(value) => Key::bool(*value),
            Self::Null => Key::null(),
            Self::Undefined => Key::undefined(),
        }
    }

    pub fn of(bytes: &[u8]) -> Self {
        match KeyView::of(bytes) {
            KeyView::String(wtf8) => Self::String(wtf8::to_utf16(wtf8).unwrap()),
            KeyView::Number(number) => Self::Number(number),
            KeyView::BigInt(digits) => Self::BigInt(digits.parse().expect("digits")),
            KeyView::Bool(value) => Self::Bool(value),
            KeyView::Null => Self::Null,
            KeyView::Undefined => Self::Undefined,
        }
    }

    /// The key in a request.
    pub fn to_json(&self) -> String {
        match self {
            Self::String(units) => json_string(units),
            Self::Number(number) => json_number(*number),
            Self::BigInt(number) => format!(r#"{{"i":"{number}"}}"#),
            Self::Bool(value) => value.to_string(),
            Self::Null => "null".into(),
            Self::Undefined => r#"{"u":0}"#.into(),
        }
    }

    /// The key in a reply.
    pub fn from_json(raw: &RawValue) -> Self {
        match raw.get() {
            "null" => Self::Null,
            r#"{"u":0}"# => Self::Undefined,
            json if json.starts_with('"') => Self::String(json_units(json)),
            json if json.starts_with(r#"{"i":"#) => {
                Self::BigInt(between(json, r#"{"i":""#, r#""}"#).parse().unwrap())
            }
            json if json.starts_with('{') => Self::Number(special(between(json, r#"{"n":""#, r#""}"#))),
            json => json
                .parse()
                .map(Self::Bool)
                .unwrap_or_else(|_| Self::Number(json.parse().unwrap())),
        }
    }
}

/// A number in a request; one that JSON cannot write has its name.
pub fn json_number(number: f64) -> String {
    match special_name(number) {
        Some(name) => format!(r#"{{"n":"{name}"}}"#),
        None => format!("{number:?}"),
    }
}

/// A value in a request: kind and payload.
pub fn value_to_json(value: &OwnedValue) -> String {
    match value {
        OwnedValue::Undefined => "1,0".into(),
        OwnedValue::Null => "0,null".into(),
        OwnedValue::Bool(value) => format!("0,{value}"),
        OwnedValue::Number(number) => match special_name(*number) {
            Some(name) => format!("2,\"{name}\""),
            None => format!("0,{number:?}"),
        },
        OwnedValue::String(wtf8) => format!("0,{}", json_string(&wtf8::to_utf16(wtf8).unwrap())),
        OwnedValue::Json(json) => format!("0,{json}"),
        OwnedValue::Clone(bytes) => format!("3,\"{}\"", BASE64.encode(bytes)),
        OwnedValue::Slot(_) => panic!("no worker sends a slot"),
    }
}

/// A value in a reply; `None` for a miss.
pub fn value_from_json(kind: &RawValue, payload: &RawValue) -> Option<OwnedValue> {
    let json = payload.get();
    Some(match (kind.get(), json) {
        ("5", "0") => return None,
        ("1", "0") => OwnedValue::Undefined,
        ("2", _) => OwnedValue::Number(special(between(json, "\"", "\""))),
        ("3", _) => OwnedValue::Clone(BASE64.decode(between(json, "\"", "\"")).unwrap().into()),
        ("0", "null") => OwnedValue::Null,
        ("0", "true") => OwnedValue::Bool(true),
        ("0", "false") => OwnedValue::Bool(false),
        ("0", _) if json.starts_with('"') => OwnedValue::String(wtf8(&json_units(json))),
        ("0", _) if json.starts_with(['{', '[']) => OwnedValue::Json(json.into()),
        ("0", _) => OwnedValue::Number(json.parse().unwrap()),
        other => panic!("not a value: {other:?}"),
    })
}

/// The bytes of a string.
pub fn wtf8(units: &[u16]) -> Box<[u8]> {
    match Key::utf16(units).view() {
        KeyView::String(bytes) => bytes.into(),
        other => panic!("{other:?}"),
    }
}

fn special_name(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number.is_infinite() {
        Some(if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        (number == 0.0 && number.is_sign_negative()).then_some("-0")
    }
}

fn special(name: &str) -> f64 {
    assert!(["NaN", "Infinity", "-Infinity", "-0"].contains(&name), "{name}");
    name.parse().unwrap()
}

/// A JSON string with everything escaped that may be.
fn json_string(units: &[u16]) -> String {
    let inside: String = units
        .iter()
        .map(|unit| match u8::try_from(*unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("\\u{unit:04X}"),
        })
        .collect();
    format!("\"{inside}\"")
}

/// The UTF-16 units of a JSON string, lone surrogates included.
fn json_units(json: &str) -> Vec<u16> {
    let mut units = vec![];
    let mut chars = between(json, "\"", "\"").chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            continue;
        }
        units.push(match chars.next().expect("an escape") {
            'u' => {
                let digits: String = chars.by_ref().take(4).collect();
                u16::from_str_radix(&digits, 16).unwrap()
            }
            'n' => 10,
            'r' => 13,
            't' => 9,
            'b' => 8,
            'f' => 12,
            c => c as u16,
        });
    }
    units
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after))
        .unwrap_or_else(|| panic!("{text}"))
}
