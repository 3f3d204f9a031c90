//! Writes the reply to a batch: an answer for each request.

use serde_json::value::RawValue;
use std::fmt::Write;

use super::{
    Mode,
    value::{SMALL, push, push_finite, push_key, push_kind},
};
use crate::{
    command::Answer,
    copies::{Copies, Item},
    error::{Error, Result},
    value::{Kind, Mark, Value},
    wtf8::push_json_string,
};

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
        /// name. Otherwise another process has the lock of the cache that the first one names.
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
        match value {
            Value::Json(json) if self.doubts && serde_json::from_str::<&RawValue>(json).is_err() => {
                self.miss();
            }
            Value::Slot(slot) => self.piece(Piece::Slot(slot, self.mode))?,
            value => drop(push(&mut self.text, value)?),
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
        push_kind(&mut self.text, Mark::Miss as u8);
        self.text.push('0');
    }

    /// Writes a list. One that grows too large is left: `answer` refuses it.
    fn list<'a>(&mut self, items: impl Iterator<Item = Item<'a>>) -> Result<()> {
        self.text.try_reserve(SMALL)?;
        push_kind(&mut self.text, Kind::Json as u8);
        self.text.push('[');
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
            Item::Key(key) => return push_key(&mut self.text, key),
            // JSON has no form for some numbers: the 1.x API sent null.
            Item::Number(number) if !number.is_finite() => self.text.push_str("null"),
            Item::Number(number) => drop(push_finite(&mut self.text, number)),
        }
        Ok(())
    }

    fn error(&mut self, error: &Error) {
        push_kind(&mut self.text, Mark::Error as u8);
        let _ = write!(self.text, "[\"{}\",", error.class.name());
        if push_json_string(&mut self.text, error.message.as_bytes()).is_err() {
            self.text.push('"');
        }
        let _ = write!(self.text, ",\"{}\"]", error.code.as_str());
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

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
