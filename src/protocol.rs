//! The form of requests and replies between a worker and the primary. `lib/transport/envelope.js` is the other side.
//!
//! A batch is text: one request per line, each a JSON array `[id, mode, namespace, command, ...arguments]`.
//! A line that cannot be read harms no other line. `mode` says how the worker wants JavaScript values of the
//! primary: 0 as JSON, 1 as a structured clone.
//!
//! A reply is a flat JSON array, three elements a request: `id, kind, payload`. A *value* anywhere in either
//! direction is two elements, `kind, payload`:
//!
//! | kind | payload |
//! |---|---|
//! | 0 | the value as JSON |
//! | 1 | `undefined`: 0 |
//! | 2 | a number that JSON cannot write, by name: `"NaN"`, `"Infinity"`, `"-Infinity"`, `"-0"` |
//! | 3 | base64 of what `v8.serialize` wrote |
//! | 4 | in replies: an error, `[class, message, code]` |
//! | 5 | in replies: no such entry, 0 |
//! | 6 | in replies: what a function of the application gave, `[kind, payload]` |
//!
//! `execute` names what it calls: `[id, mode, namespace, "execute", name, values, ...arguments]`. `values` are the arguments
//! for a function that the application put on the cache under that name, a flat list of values; `arguments` are those of
//! the command of that name, where there is one. The answer of such a function has kind 6, and its payload is a value as an
//! array.
//!
//! A key is a JSON string, number, boolean or `null`, or one that JSON cannot write: `{"n":"NaN"}` a number,
//! `{"i":"123"}` a bigint, `{"u":0}` `undefined`. No key is an object, so these are not ambiguous.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value as Json, value::RawValue};
use std::{borrow::Cow, fmt::Write};

use crate::{
    command::Answer,
    copies::{Copies, Item},
    error::{Error, Result},
    key::{Key, KeyView},
    options::{number, special},
    value::{Carried, Value},
    wtf8::push_json_string,
};

/// How a worker wants a JavaScript value of the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As JSON.
    Json,
    /// As a structured clone.
    Advanced,
}

/// One request, its arguments not yet looked at.
#[derive(Debug)]
pub struct Request<'a> {
    /// The worker's number for it.
    pub id: u64,
    /// How the worker wants JavaScript values.
    pub mode: Mode,
    /// The namespace it is for.
    pub namespace: Cow<'a, str>,
    /// What to do.
    pub command: Cow<'a, str>,
    arguments: Vec<&'a RawValue>,
}

/// A line that is no request: its id, where it has one, and what is wrong with it.
#[derive(Debug, PartialEq)]
pub struct BadRequest {
    /// The worker's number for it.
    pub id: Option<u64>,
    /// What to answer.
    pub error: Error,
}

impl<'a> Request<'a> {
    /// Reads one line of a batch.
    ///
    /// # Errors
    /// A line that is not a request; nothing was done.
    pub fn parse(line: &'a str) -> std::result::Result<Self, BadRequest> {
        let mut parts: Vec<&RawValue> = serde_json::from_str(line).map_err(|_| BadRequest {
            id: None,
            error: Error::request("a request must be a JSON array"),
        })?;
        let id = parts.first().and_then(|id| id.get().parse().ok());
        let bad = |what| BadRequest {
            id,
            error: Error::request(what),
        };
        let [raw_id, mode, namespace, command, ..] = parts[..] else {
            return Err(bad("a request needs an id, a mode, a namespace and a command"));
        };
        let mode = match mode.get() {
            "0" => Mode::Json,
            "1" => Mode::Advanced,
            _ => return Err(bad("the mode of a request must be 0 or 1")),
        };
        let namespace = utf8(namespace).ok_or_else(|| bad("the namespace of a request must be a string"))?;
        let command = utf8(command).ok_or_else(|| bad("the command of a request must be a string"))?;
        let id = id.ok_or_else(|| bad("the id of a request must be an integer"))?;
        debug_assert_eq!(raw_id.get(), id.to_string());
        parts.drain(..4);
        Ok(Self {
            id,
            mode,
            namespace,
            command,
            arguments: parts,
        })
    }

    /// Whether it is an `execute`: a call by name, with arguments for a function of the application (a list of
    /// values), then those of the command of that name.
    pub fn is_execute(&self) -> bool {
        self.command == "execute"
    }

    /// The command that an `execute` names.
    ///
    /// # Errors
    /// It names none.
    pub fn executed(mut self) -> Result<Self> {
        let name = self.arguments.first().and_then(|name| utf8(name));
        self.command = name.ok_or_else(|| Error::request("execute needs the name of a command"))?;
        self.arguments.drain(..2.min(self.arguments.len()));
        Ok(self)
    }

    /// The argument at `index`, or `None` where it is missing or `null`.
    fn given(&self, index: usize) -> Option<&'a RawValue> {
        self.arguments
            .get(index)
            .copied()
            .filter(|raw| raw.get() != "null")
    }

    /// The argument at `index` as JSON text; `null` where it is missing.
    pub fn json(&self, index: usize) -> &'a str {
        self.arguments.get(index).map_or("null", |raw| raw.get())
    }

    /// The argument at `index` as small JSON, or `None` where it is missing or `null`.
    ///
    /// # Errors
    /// JSON nested too deeply to be meant.
    pub fn option(&self, index: usize) -> Result<Option<Json>> {
        self.given(index).map(small).transpose()
    }

    /// The argument at `index` as a key. A missing one is `null`, as JSON had it in the 1.x API.
    pub fn key(&self, index: usize) -> Result<Key> {
        self.given(index).map_or_else(|| Ok(Key::null()), key)
    }

    /// The arguments at `index` and after it as one value.
    pub fn value(&self, index: usize) -> Result<Carried<'a>> {
        match self.arguments.get(index..index + 2) {
            Some([kind, payload]) => value(kind, payload),
            _ => Err(Error::request(format!("{} needs a value", self.command))),
        }
    }

    /// The argument at `index` as a number, `None` where it is missing or `null`.
    pub fn number(&self, index: usize, name: &str) -> Result<Option<f64>> {
        self.given(index)
            .map_or(Ok(None), |raw| number_or_none(raw, name))
    }

    /// The argument at `index` as a list; an empty one where it is anything else.
    pub fn list(&self, index: usize) -> Vec<&'a RawValue> {
        self.given(index)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }
}

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

fn shown(raw: &RawValue) -> String {
    raw.get().chars().take(80).collect()
}

fn small(raw: &RawValue) -> Result<Json> {
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
fn utf8(raw: &RawValue) -> Option<Cow<'_, str>> {
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
    let read = match kind.get() {
        "0" => match json.as_bytes().first() {
            Some(b'"') => string(payload).map(Carried::String),
            Some(b'{' | b'[') => Some(Carried::Plain(Value::Json(json))),
            Some(b't') => Some(Carried::Plain(Value::Bool(true))),
            Some(b'f') => Some(Carried::Plain(Value::Bool(false))),
            Some(b'n') => Some(Carried::Plain(Value::Null)),
            _ => json
                .parse()
                .ok()
                .map(|number| Carried::Plain(Value::Number(number))),
        },
        "1" => Some(Carried::Plain(Value::Undefined)),
        "2" => utf8(payload)
            .and_then(|name| special(&name))
            .map(|number| Carried::Plain(Value::Number(number))),
        "3" => utf8(payload)
            .and_then(|text| BASE64.decode(text.as_bytes()).ok())
            .map(Carried::Clone),
        _ => None,
    };
    read.ok_or_else(|| Error::request(format!("a value of kind {} cannot be read", shown(kind))))
}

/// A piece of an answer that JavaScript completes.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Ready text.
    Text(String),
    /// The value in this slot, written as the worker wants it: `kind,payload`.
    Slot(u32, Mode),
    /// The ticket to a namespace in shared memory, or why there is none: `0,{"ticket":…}` or `0,{"why":…}`.
    /// JavaScript has the values that move there.
    Ticket {
        /// The namespace.
        namespace: String,
        /// The ticket to the one that the worker has, where it found no primary.
        theirs: Option<String>,
    },
}

/// A part of a reply: whole answers, separated by commas between parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Ready answers.
    Ready(String),
    /// One answer that holds JavaScript values. If one of them cannot be written, an error takes its place.
    Pending {
        /// The request it answers.
        id: u64,
        /// To be joined.
        pieces: Vec<Piece>,
    },
    /// The last requests of the batch were not handled.
    Left {
        /// How many they are.
        requests: usize,
        /// Whether the first of them is an `execute`: JavaScript knows whether the application has a function of that
        /// name. Otherwise another process has the store of the first.
        executes: bool,
    },
}

/// Collects the answers to one batch.
#[derive(Debug)]
pub struct Reply {
    parts: Vec<Part>,
    /// Answers that wait to become a part; from `start` on, the answer being written.
    text: String,
    start: usize,
    /// The answer being written, as far as it holds JavaScript values.
    pieces: Vec<Piece>,
    /// Bytes in `pieces`.
    pieces_bytes: usize,
    /// Bytes in `parts`.
    parts_bytes: usize,
    mode: Mode,
    /// Whether what a value is said to be has to be checked.
    doubts: bool,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            parts: vec![],
            text: String::new(),
            start: 0,
            pieces: vec![],
            pieces_bytes: 0,
            parts_bytes: 0,
            mode: Mode::Json,
            doubts: false,
        }
    }
}

impl Reply {
    /// Ready answers become a part of their own at this size, so that no message grows without bound.
    const PART_BYTES: usize = 1 << 20;
    /// The largest answer, in bytes. V8's longest string has 2^29 units; the channel's JSON may double it.
    pub const ANSWER_BYTES: usize = 1 << 28;
    /// The most bytes that a batch is answered with; what it asks for beyond them is refused. A short request
    /// can ask for a long value, and do so a million times.
    const REPLY_BYTES: usize = Self::ANSWER_BYTES;

    /// Writes the answer to one request: what `write` writes, or the error it returns. `false` where that is
    /// `ERR_STORE_BUSY`: then nothing is written, and the request can be handled later.
    pub fn answer(&mut self, id: u64, mode: Mode, write: impl FnOnce(&mut Self) -> Result<()>) -> bool {
        self.mode = mode;
        self.begin(id);
        let mut written = if self.parts_bytes < Self::REPLY_BYTES {
            write(self)
        } else {
            Err(Error::too_large(self.parts_bytes))
        };
        if written.is_ok() && self.is_too_large() {
            written = Err(Error::too_large(self.bytes()));
        }
        let mut rest = String::new();
        if written.is_ok() && !self.pieces.is_empty() {
            written = cut(&mut self.text, self.start).map(|text| rest = text);
        }
        if let Err(error) = written {
            self.text.truncate(self.start);
            self.pieces.clear();
            if error.is_busy() {
                return false;
            }
            self.begin(id);
            self.error(&error);
        }
        if self.pieces.is_empty() {
            if self.text.len() >= Self::PART_BYTES {
                // The answer that is one too many may be large: it travels alone, and if the channel refuses
                // it, fails alone.
                let separator = usize::from(self.start > 0);
                if let Ok(alone) = cut(&mut self.text, self.start + separator) {
                    self.text.truncate(self.start);
                    self.close_part();
                    self.text = alone;
                }
                self.close_part();
            }
        } else {
            self.parts_bytes += self.pieces_bytes + rest.len();
            self.pieces.push(Piece::Text(rest));
            self.close_part();
            self.parts.push(Part::Pending {
                id,
                pieces: std::mem::take(&mut self.pieces),
            });
        }
        true
    }

    /// Says that the last requests of the batch were not handled.
    pub fn leave(&mut self, requests: usize, executes: bool) {
        self.close_part();
        self.parts.push(Part::Left { requests, executes });
    }

    fn begin(&mut self, id: u64) {
        self.start = self.text.len();
        self.pieces_bytes = 0;
        if self.start > 0 {
            self.text.push(',');
        }
        let _ = write!(self.text, "{id},");
    }

    fn close_part(&mut self) {
        if !self.text.is_empty() {
            self.parts_bytes += self.text.len();
            self.parts.push(Part::Ready(std::mem::take(&mut self.text)));
        }
        self.start = 0;
    }

    /// The bytes of the answer being written.
    fn bytes(&self) -> usize {
        self.text.len() - self.start + self.pieces_bytes
    }

    fn is_too_large(&self) -> bool {
        self.bytes() > Self::ANSWER_BYTES
    }

    /// The parts, in the order of the requests.
    pub fn finish(mut self) -> Vec<Part> {
        self.close_part();
        self.parts
    }

    /// Says whether the values come from memory that other processes write: then JSON that is none is a miss, as
    /// it would make the whole message unreadable.
    pub fn doubt(&mut self, doubts: bool) {
        self.doubts = doubts;
    }

    /// Writes what a command gave; `copies` is what its sink was given.
    ///
    /// # Errors
    /// There is no memory for it; [`Reply::answer`] writes that in its place.
    pub fn write(&mut self, answer: Answer, copies: &Copies) -> Result<()> {
        match answer {
            Answer::Nothing => self.value(Value::Null),
            Answer::Bool(bool) => self.value(Value::Bool(bool)),
            Answer::Number(number) => self.value(Value::Number(number)),
            Answer::Found => copies.iter().try_for_each(|item| self.item(item)),
            Answer::List => self.list(copies.iter()),
        }
    }

    /// Writes a value.
    ///
    /// # Errors
    /// As [`Reply::write`].
    pub fn value(&mut self, value: Value<'_>) -> Result<()> {
        self.text.try_reserve(SMALL)?;
        let out = &mut self.text;
        match value {
            Value::Json(json) if self.doubts && serde_json::from_str::<&RawValue>(json).is_err() => {
                self.miss();
            }
            Value::Undefined => out.push_str("1,0"),
            Value::Null => out.push_str("0,null"),
            Value::Bool(value) => out.push_str(if value { "0,true" } else { "0,false" }),
            Value::Number(number) => push_number(out, number),
            Value::String(bytes) => {
                out.push_str("0,");
                push_json_string(out, bytes)?;
            }
            Value::Json(json) => {
                out.try_reserve(SMALL + json.len())?;
                out.push_str("0,");
                out.push_str(json);
            }
            Value::Clone(bytes) => {
                out.try_reserve(SMALL + bytes.len().div_ceil(3).saturating_mul(4))?;
                out.push_str("3,\"");
                BASE64.encode_string(bytes, out);
                out.push('"');
            }
            Value::Slot(slot) => self.piece(Piece::Slot(slot, self.mode))?,
        }
        Ok(())
    }

    /// Writes where a namespace can be attached; `theirs` is the ticket to one that the worker has already.
    ///
    /// # Errors
    /// As [`Reply::write`].
    pub fn ticket(&mut self, namespace: &str, theirs: Option<&str>) -> Result<()> {
        self.piece(Piece::Ticket {
            namespace: namespace.to_owned(),
            theirs: theirs.map(str::to_owned),
        })
    }

    fn piece(&mut self, piece: Piece) -> Result<()> {
        // Until now the answer being written lay in `text`; what is ready of it moves to `pieces`.
        let separator = self.pieces.is_empty() && self.start > 0;
        let ready = cut(&mut self.text, self.start + usize::from(separator))?;
        self.text.truncate(self.start);
        self.pieces_bytes += ready.len();
        self.pieces.try_reserve(2)?;
        self.pieces.push(Piece::Text(ready));
        self.pieces.push(piece);
        Ok(())
    }

    fn miss(&mut self) {
        self.text.push_str("5,0");
    }

    /// Writes a list. One that grows too large is left: `answer` refuses it.
    fn list<'a>(&mut self, items: impl Iterator<Item = Item<'a>>) -> Result<()> {
        self.text.try_reserve(SMALL)?;
        self.text.push_str("0,[");
        for (index, item) in items.enumerate() {
            if self.is_too_large() {
                break;
            }
            self.text.try_reserve(SMALL)?;
            if index > 0 {
                self.text.push(',');
            }
            self.item(item)?;
        }
        self.text.push(']');
        Ok(())
    }

    /// Writes one item of those that a command gave.
    fn item(&mut self, item: Item<'_>) -> Result<()> {
        self.text.try_reserve(SMALL)?;
        match item {
            Item::Value(value) => return self.value(value),
            Item::Miss => self.miss(),
            Item::Key(key) => return self.key(key),
            // JSON has no form for some numbers: the 1.x API sent null.
            Item::Number(number) if !number.is_finite() => self.text.push_str("null"),
            Item::Number(number) => drop(push_finite(&mut self.text, number)),
        }
        Ok(())
    }

    fn key(&mut self, bytes: &[u8]) -> Result<()> {
        let out = &mut self.text;
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

    fn error(&mut self, error: &Error) {
        let _ = write!(self.text, "4,[\"{}\",", error.class.name());
        if push_json_string(&mut self.text, error.message.as_bytes()).is_err() {
            self.text.push('"');
        }
        let _ = write!(self.text, ",\"{}\"]", error.code.as_str());
    }
}

/// What any item but a text takes in a reply, with its separators, at the most.
const SMALL: usize = 64;

/// Takes what follows `from` off a text.
fn cut(text: &mut String, from: usize) -> Result<String> {
    if from == 0 {
        return Ok(std::mem::take(text));
    }
    let end = text.get(from..).unwrap_or_default();
    let mut taken = String::new();
    taken.try_reserve_exact(end.len())?;
    taken.push_str(end);
    text.truncate(from);
    Ok(taken)
}

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
    let _ = match special_name(number) {
        Some(name) => write!(out, "2,\"{name}\""),
        None => write!(out, "0,").and_then(|()| push_finite(out, number)),
    };
}

/// Shortest digits that read back as the same number; an exponent where it would be long.
fn push_finite(out: &mut String, number: f64) -> std::fmt::Result {
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
    use crate::value::OwnedValue;
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

    /// What a worker reads after one answer with these parts, slots as `0,null`.
    fn text(parts: &[Part]) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Slot(..) | Piece::Ticket { .. } => "0,null".into(),
        };
        let part = |part: &Part| match part {
            Part::Ready(text) => text.clone(),
            Part::Pending { pieces, .. } => pieces.iter().map(piece).collect(),
            Part::Left { .. } => panic!("{part:?}"),
        };
        format!("[{}]", parts.iter().map(part).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn what_is_no_json_is_a_miss_where_it_may_be_damaged() {
        let text = |doubts| {
            let mut reply = Reply::default();
            reply.doubt(doubts);
            let values = [Value::Json("[1]"), Value::Json("[1\u{1}")];
            reply.list(values.into_iter().map(Item::Value)).unwrap();
            reply.text
        };
        assert_eq!(text(true), "0,[0,[1],5,0]");
        assert_eq!(text(false), "0,[0,[1],0,[1\u{1}]");
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
                let mut reply = Reply::default();
                reply.answer(1, Mode::Json, |reply| {
                    let key = Key::number(number);
                    reply.list([Item::Key(key.as_bytes()), Item::Value(Value::Number(number))].into_iter())
                });
                let text = text(&reply.finish());
                let [_, _, list] = serde_json::from_str::<[&RawValue; 3]>(&text).unwrap();
                let [key, kind, payload] = serde_json::from_str::<[&RawValue; 3]>(list.get()).unwrap();
                prop_assert_eq!(read_key(key.get()), Ok(Key::number(number)));
                let OwnedValue::Number(read) = read_value(kind.get(), payload.get()).unwrap() else { panic!("{text}") };
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
            let mut reply = Reply::default();
            reply.answer(1, Mode::Json, |reply| {
                reply.key(key.as_bytes())
            });
            let text = text(&reply.finish());
            let [_, json] = serde_json::from_str::<[&RawValue; 2]>(&text).unwrap();
            prop_assert_eq!(read_key(json.get()), Ok(key));
        }
    }

    #[test]
    fn a_line_without_an_integer_id_cannot_be_answered() {
        for line in [
            "",
            "1",
            "{}",
            "[",
            "[1",
            "[]",
            "[-1,0,\"n\",\"get\"]",
            "[1.5,0,\"n\",\"get\"]",
            "[\"1\",0,\"n\",\"get\"]",
            "[null,0,\"n\",\"get\"]",
            "[1e3,0,\"n\",\"get\"]",
            "[18446744073709551616,0,\"n\",\"get\"]",
            "[01,0,\"n\",\"get\"]",
        ] {
            assert_eq!(Request::parse(line).unwrap_err().id, None, "{line}");
        }
    }

    #[test]
    fn a_line_with_an_id_is_told_what_is_wrong() {
        let bad = [
            ("[7]", "a request needs an id, a mode, a namespace and a command"),
            (
                r#"[7,0,"n"]"#,
                "a request needs an id, a mode, a namespace and a command",
            ),
            (r#"[7,2,"n","get"]"#, "the mode of a request must be 0 or 1"),
            (r#"[7,"0","n","get"]"#, "the mode of a request must be 0 or 1"),
            (
                r#"[7,0,null,"get"]"#,
                "the namespace of a request must be a string",
            ),
            (r#"[7,0,"n",{}]"#, "the command of a request must be a string"),
        ];
        for (line, what) in bad {
            let error = Request::parse(line).unwrap_err();
            assert_eq!(
                error,
                BadRequest {
                    id: Some(7),
                    error: Error::request(what)
                },
                "{line}"
            );
        }
        assert_eq!(
            Request::parse(r#"[ 9007199254740993 , 1,"n" ,"get"]"#)
                .unwrap()
                .id,
            9007199254740993
        );
    }

    #[test]
    fn answers_are_triples_in_order() {
        let mut reply = Reply::default();
        reply.answer(1, Mode::Json, |reply| reply.value(Value::Undefined));
        reply.answer(2, Mode::Json, |_| Err(Error::command("a\"b")));
        reply.answer(3, Mode::Json, |reply| reply.item(Item::Miss));
        let parts = reply.finish();
        assert_eq!(
            text(&parts),
            r#"[1,1,0,2,4,["Error","LRUCache.a\"b() is not a valid function","ERR_UNKNOWN_COMMAND"],3,5,0]"#
        );
        assert_eq!(parts.len(), 1);
    }

    #[test]
    fn an_error_takes_the_place_of_what_was_written() {
        let mut reply = Reply::default();
        for id in [1, 2] {
            reply.answer(id, Mode::Json, |reply| {
                reply.value(Value::Null)?;
                reply.value(Value::Slot(4))?;
                reply.value(Value::Null)?;
                Err(Error::request("no"))
            });
        }
        let parts = reply.finish();
        assert_eq!(
            text(&parts),
            r#"[1,4,["Error","no","ERR_BAD_REQUEST"],2,4,["Error","no","ERR_BAD_REQUEST"]]"#
        );
        assert_eq!(parts.len(), 1, "nothing of it is left to complete");
    }

    #[test]
    fn javascript_values_are_pieces_between_ready_answers() {
        let mut reply = Reply::default();
        reply.answer(1, Mode::Json, |reply| reply.value(Value::Bool(true)));
        reply.answer(2, Mode::Advanced, |reply| {
            reply.list([3, 4].into_iter().map(|slot| Item::Value(Value::Slot(slot))))
        });
        reply.answer(3, Mode::Json, |reply| reply.value(Value::Slot(5)));
        reply.answer(4, Mode::Json, |reply| reply.value(Value::Bool(false)));
        let piece = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(
            reply.finish(),
            [
                Part::Ready("1,0,true".into()),
                Part::Pending {
                    id: 2,
                    pieces: vec![
                        piece("2,0,["),
                        Piece::Slot(3, Mode::Advanced),
                        piece(","),
                        Piece::Slot(4, Mode::Advanced),
                        piece("]"),
                    ],
                },
                Part::Pending {
                    id: 3,
                    pieces: vec![piece("3,"), Piece::Slot(5, Mode::Json), piece("")]
                },
                Part::Ready("4,0,false".into()),
            ]
        );
    }

    #[test]
    fn ready_answers_become_a_part_at_a_size_and_the_one_too_many_travels_alone() {
        let long = "x".repeat(Reply::PART_BYTES / 3);
        let mut reply = Reply::default();
        for id in 0..5 {
            reply.answer(id, Mode::Json, |reply| {
                reply.value(Value::String(long.as_bytes()))
            });
        }
        let parts = reply.finish();
        let ids = |part: &Part| {
            let elements = text(std::slice::from_ref(part));
            let elements: Vec<&RawValue> = serde_json::from_str(&elements).unwrap();
            elements
                .chunks(3)
                .map(|answer| answer[0].get().to_owned())
                .collect::<String>()
        };
        assert_eq!(parts.iter().map(ids).collect::<Vec<_>>(), ["01", "2", "34"]);
    }

    #[test]
    fn a_list_is_left_when_it_is_too_large_for_a_message() {
        let value = "[0]".repeat(1 << 20);
        let mut reply = Reply::default();
        reply.answer(1, Mode::Json, |reply| {
            // Without an end: a request can name one key as often as it likes.
            reply.list(std::iter::repeat(Item::Value(Value::Json(&value))))
        });
        reply.answer(2, Mode::Json, |reply| reply.item(Item::Miss));
        let text = text(&reply.finish());
        assert!(
            text.starts_with("[1,4,[\"RangeError\"") && text.ends_with(",2,5,0]"),
            "{}",
            text.len()
        );
    }

    #[test]
    fn what_a_batch_asks_for_beyond_all_measure_is_refused_undone() {
        let mut reply = Reply {
            parts_bytes: Reply::REPLY_BYTES,
            ..Reply::default()
        };
        reply.answer(1, Mode::Json, |_| panic!("done in spite of the refusal"));
        assert!(text(&reply.finish()).starts_with("[1,4,[\"RangeError\""));
    }

    #[test]
    fn the_bytes_of_every_part_count() {
        let mut reply = Reply::default();
        for slot in [false, true, false] {
            reply.answer(1, Mode::Json, |reply| {
                let value = |n| if slot { Value::Slot(n) } else { Value::Null };
                reply.list((0..2).map(|n| Item::Value(value(n))))
            });
        }
        reply.close_part();
        let bytes = |part: &Part| match part {
            Part::Ready(text) => text.len(),
            Part::Pending { pieces, .. } => pieces
                .iter()
                .map(|piece| {
                    if let Piece::Text(text) = piece {
                        text.len()
                    } else {
                        0
                    }
                })
                .sum(),
            Part::Left { .. } => panic!("{part:?}"),
        };
        let total: usize = reply.parts.iter().map(bytes).sum();
        // A separator that stood before a pending answer went with it.
        assert!(
            (total..=total + 1).contains(&reply.parts_bytes),
            "{total} {}",
            reply.parts_bytes
        );
    }
}
