//! Keys, values and numbers as messages have them, read and written.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value as Json, value::RawValue};
use std::{borrow::Cow, fmt::Write};

use crate::{
    error::{Error, Result},
    key::{Key, KeyView},
    options::{number, special},
    value::{Carried, Kind, OwnedValue, Value},
    wtf8::push_json_string,
};

/// Reads a number, `None` for `null`.
pub fn number_or_none(raw: &RawValue, name: &str) -> Result<Option<f64>> {
    if raw.get() == "null" {
        return Ok(None);
    }
    match small(raw).as_ref().map(number) {
        Ok(Some(number)) => Ok(Some(number)),
        _ => Err(Error::argument(format!(
            "{name} must be a number, got {}",
            shown(raw)
        ))),
    }
}

pub(super) fn shown(raw: &RawValue) -> String {
    raw.get().chars().take(80).collect()
}

pub(super) fn small(raw: &RawValue) -> Result<Json> {
    serde_json::from_str(raw.get())
        .map_err(|error| Error::request(format!("an argument cannot be read: {error}")))
}

/// The WTF-8 bytes of a JSON string; `None` for any other JSON.
fn string(raw: &RawValue) -> Option<Cow<'_, [u8]>> {
    let inside = raw.get().strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    if inside.contains(&b'\\') {
        let bytes: serde_bytes::ByteBuf = serde_json::from_str(raw.get()).ok()?;
        Some(Cow::Owned(bytes.into_vec()))
    } else {
        Some(Cow::Borrowed(inside))
    }
}

/// As [`string`], for names, which have no lone surrogates that matter.
pub(super) fn utf8(raw: &RawValue) -> Option<Cow<'_, str>> {
    Some(match string(raw)? {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// Reads a key.
pub fn key(raw: &RawValue) -> Result<Key> {
    if let Some(bytes) = string(raw) {
        return Ok(Key::string(&bytes));
    }
    let readable = match small(raw)? {
        Json::Null => Some(Key::null()),
        Json::Bool(value) => Some(Key::bool(value)),
        Json::Number(number) => number.as_f64().map(Key::number),
        Json::Object(tagged) if tagged.len() == 1 => match tagged.iter().next() {
            Some((tag, Json::String(name))) if tag == "n" => special(name).map(Key::number),
            Some((tag, Json::String(digits))) if tag == "i" => Key::big_int(digits),
            Some((tag, _)) if tag == "u" => Some(Key::undefined()),
            _ => None,
        },
        _ => None,
    };
    readable.ok_or_else(|| Error::argument(format!("a key must be a primitive, got {}", shown(raw))))
}

/// Reads a value.
pub fn value<'a>(kind: &RawValue, payload: &'a RawValue) -> Result<Carried<'a>> {
    let json = payload.get();
    let number = kind.get().parse().ok();
    let read = match number.and_then(Kind::of_number) {
        Some(Kind::Json) => match json.as_bytes().first() {
            Some(b'"') => string(payload).map(|bytes| match bytes {
                Cow::Borrowed(bytes) => Carried::Borrowed(Value::String(bytes)),
                Cow::Owned(bytes) => Carried::Owned(OwnedValue::String(bytes.into())),
            }),
            Some(b'{' | b'[') => Some(Carried::Borrowed(Value::Json(json))),
            Some(b't') => Some(Carried::Borrowed(Value::Bool(true))),
            Some(b'f') => Some(Carried::Borrowed(Value::Bool(false))),
            Some(b'n') => Some(Carried::Borrowed(Value::Null)),
            _ => json
                .parse()
                .ok()
                .map(|number| Carried::Borrowed(Value::Number(number))),
        },
        Some(Kind::Undefined) => Some(Carried::Borrowed(Value::Undefined)),
        Some(Kind::Number) => utf8(payload)
            .and_then(|name| special(&name))
            .map(|number| Carried::Borrowed(Value::Number(number))),
        Some(Kind::Clone) => utf8(payload)
            .and_then(|text| BASE64.decode(text.as_bytes()).ok())
            .map(|bytes| Carried::Owned(OwnedValue::Clone(bytes.into()))),
        _ => None,
    };
    read.ok_or_else(|| Error::request(format!("a value of kind {} cannot be read", shown(kind))))
}

/// Writes the number of a kind or of a mark, and the comma before its payload.
#[inline]
pub(super) fn push_kind(out: &mut String, number: u8) {
    debug_assert!(number < 10, "kinds of messages have one digit");
    out.push(char::from(b'0' + number));
    out.push(',');
}

/// Writes a value; `false`, and nothing, for one that JavaScript has to write.
///
/// # Errors
/// There is no memory for it.
pub(super) fn push(out: &mut String, value: Value<'_>) -> Result<bool> {
    out.try_reserve(SMALL)?;
    match value {
        Value::Undefined => {
            push_kind(out, Kind::Undefined as u8);
            out.push('0');
        }
        Value::Null => {
            push_kind(out, Kind::Json as u8);
            out.push_str("null");
        }
        Value::Bool(value) => {
            push_kind(out, Kind::Json as u8);
            out.push_str(if value { "true" } else { "false" });
        }
        Value::Number(number) => push_number(out, number),
        Value::String(bytes) => {
            push_kind(out, Kind::Json as u8);
            push_json_string(out, bytes)?;
        }
        Value::Json(json) => {
            out.try_reserve(SMALL + json.len())?;
            push_kind(out, Kind::Json as u8);
            out.push_str(json);
        }
        Value::Clone(bytes) => {
            out.try_reserve(SMALL + bytes.len().div_ceil(3).saturating_mul(4))?;
            push_kind(out, Kind::Clone as u8);
            out.push('"');
            BASE64.encode_string(bytes, out);
            out.push('"');
        }
        Value::Slot(_) => return Ok(false),
    }
    Ok(true)
}

/// Writes a key.
///
/// # Errors
/// There is no memory for it.
pub(super) fn push_key(out: &mut String, bytes: &[u8]) -> Result<()> {
    out.try_reserve(SMALL)?;
    let _ = match KeyView::of(bytes) {
        KeyView::String(bytes) => return push_json_string(out, bytes),
        KeyView::Number(number) => match special_name(number) {
            Some(name) => write!(out, "{{\"n\":\"{name}\"}}"),
            None => push_finite(out, number),
        },
        KeyView::BigInt(digits) => {
            out.try_reserve(SMALL + digits.len())?;
            write!(out, "{{\"i\":\"{digits}\"}}")
        }
        KeyView::Bool(bool) => write!(out, "{bool}"),
        KeyView::Null => write!(out, "null"),
        KeyView::Undefined => write!(out, "{{\"u\":0}}"),
    };
    Ok(())
}

/// What any item but a text takes in a reply, with its separators, at the most.
pub(super) const SMALL: usize = 64;

fn special_name(number: f64) -> Option<&'static str> {
    match number {
        n if n.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        n if n == 0.0 && n.is_sign_negative() => Some("-0"),
        _ => None,
    }
}

fn push_number(out: &mut String, number: f64) {
    if let Some(name) = special_name(number) {
        push_kind(out, Kind::Number as u8);
        let _ = write!(out, "\"{name}\"");
    } else {
        push_kind(out, Kind::Json as u8);
        let _ = push_finite(out, number);
    }
}

/// Shortest digits that read back as the same number; an exponent where it would be long.
pub(super) fn push_finite(out: &mut String, number: f64) -> std::fmt::Result {
    let plain = number == 0.0 || (1e-6..1e21).contains(&number.abs());
    if plain {
        write!(out, "{number}")
    } else {
        write!(out, "{number:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn read_key(json: &str) -> Result<Key> {
        key(&raw(json))
    }

    fn read_value(kind: &str, payload: &str) -> Result<OwnedValue> {
        value(&raw(kind), &raw(payload)).map(Carried::into_owned)
    }

    /// A key as it is written.
    fn written(key: &Key) -> String {
        let mut text = String::new();
        push_key(&mut text, key.as_bytes()).unwrap();
        text
    }

    #[test]
    fn keys_are_read_by_their_type() {
        let good = [
            (r#""""#, Key::string(b"")),
            (r#""1""#, Key::string(b"1")),
            (r#""a\u0000\n\"\u00e9""#, Key::string("a\0\n\"é".as_bytes())),
            (r#""\ud83d\ude00""#, Key::string("😀".as_bytes())),
            (r#""\ud83d""#, Key::utf16(&[0xD83D])),
            (r#""\ude00\ud83d""#, Key::utf16(&[0xDE00, 0xD83D])),
            (r#""\ud83dx""#, Key::utf16(&[0xD83D, 0x78])),
            (r#""\ud83d\n""#, Key::utf16(&[0xD83D, 10])),
            (r#""\ud83d\ud83d\ude00""#, Key::utf16(&[0xD83D, 0xD83D, 0xDE00])),
            ("1", Key::number(1.0)),
            ("-0", Key::number(0.0)),
            ("1e3", Key::number(1000.0)),
            ("9007199254740993", Key::number(9007199254740992.0)),
            ("18446744073709551616", Key::number(18446744073709551616.0)),
            ("true", Key::bool(true)),
            ("false", Key::bool(false)),
            ("null", Key::null()),
            (r#"{"n":"NaN"}"#, Key::number(f64::NAN)),
            (r#"{"n":"-Infinity"}"#, Key::number(f64::NEG_INFINITY)),
            (r#"{"n":"-0"}"#, Key::number(0.0)),
            (r#"{"i":"-12"}"#, Key::big_int("-12").unwrap()),
            (r#"{"u":0}"#, Key::undefined()),
        ];
        for (json, expected) in good {
            assert_eq!(read_key(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        for json in [
            "[]",
            "{}",
            r#"{"n":1}"#,
            r#"{"n":"1"}"#,
            r#"{"i":"1n"}"#,
            r#"{"i":1}"#,
            r#"{"u":0,"n":"NaN"}"#,
        ] {
            let error = read_key(json).unwrap_err();
            assert_eq!(
                error,
                Error::argument(format!("a key must be a primitive, got {json}"))
            );
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read_key(&deep).is_err());
        assert!(read_key(&format!("{{\"u\":{deep}}}")).is_err());
        assert!(read_key("1e999").is_err());
    }

    #[test]
    fn a_long_key_is_shortened_in_its_error() {
        let long = format!("[\"{}\"]", "x".repeat(100_000));
        assert!(read_key(&long).unwrap_err().message.len() < 200);
    }

    #[test]
    fn values_are_read_by_their_kind() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let good = [
            ("0", "null", OwnedValue::Null),
            ("0", "true", OwnedValue::Bool(true)),
            ("0", "false", OwnedValue::Bool(false)),
            ("0", "-1.5e2", OwnedValue::Number(-150.0)),
            ("0", "1e999", OwnedValue::Number(f64::INFINITY)),
            ("0", r#""a\u0000""#, OwnedValue::String(b"a\0"[..].into())),
            (
                "0",
                r#""\udc00""#,
                OwnedValue::String([0xED, 0xB0, 0x80][..].into()),
            ),
            (
                "0",
                r#"{"a":"\ud800"}"#,
                OwnedValue::Json(r#"{"a":"\ud800"}"#.into()),
            ),
            ("0", &deep, OwnedValue::Json(deep.as_str().into())),
            ("1", "0", OwnedValue::Undefined),
            ("2", r#""-Infinity""#, OwnedValue::Number(f64::NEG_INFINITY)),
            ("3", r#""AP8=""#, OwnedValue::Clone([0, 255][..].into())),
            ("3", r#""""#, OwnedValue::Clone([][..].into())),
        ];
        for (kind, payload, expected) in good {
            assert_eq!(read_value(kind, payload), Ok(expected), "{kind}");
        }
    }

    #[test]
    fn what_is_no_value_is_an_error() {
        let bad = [
            ("2", r#""1""#),
            ("2", "1"),
            ("3", r#""***""#),
            ("3", r#""AP8""#),
            ("3", "[1]"),
            ("4", r#"["Error","x",""]"#),
            ("5", "0"),
            ("-1", "0"),
            ("0.0", "1"),
            (r#""0""#, "1"),
            ("null", "1"),
            ("[]", "1"),
        ];
        for (kind, payload) in bad {
            assert_eq!(
                read_value(kind, payload).unwrap_err().code.as_str(),
                "ERR_BAD_REQUEST",
                "{kind} {payload}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_number_in_both_directions(bits in any::<u64>(), short in any::<i32>()) {
            for number in [f64::from_bits(bits), f64::from(short), f64::from(short) / 10.0] {
                prop_assert_eq!(read_key(&written(&Key::number(number))), Ok(Key::number(number)));
                let mut text = String::new();
                prop_assert!(push(&mut text, Value::Number(number)).unwrap());
                let (kind, payload) = text.split_once(',').unwrap();
                let OwnedValue::Number(read) = read_value(kind, payload).unwrap() else { panic!("{text}") };
                prop_assert!(read.to_bits() == number.to_bits() || (read.is_nan() && number.is_nan()));
                // JavaScript's own shortest form of a number reads back as that number, too.
                if number.is_finite() {
                    prop_assert_eq!(read_key(&format!("{number:?}")), Ok(Key::number(number)));
                }
            }
        }

        #[test]
        fn a_string_is_the_same_string_in_both_directions(units in prop::collection::vec(
            prop_oneof![any::<u16>(), 0xD7F0u16..0xE010, 0u16..0x80], 0..20)) {
            let key = Key::utf16(&units);
            prop_assert_eq!(read_key(&written(&key)), Ok(key));
        }
    }
}
