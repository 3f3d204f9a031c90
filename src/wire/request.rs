//! Parses a request of a worker: one line of a batch.

use serde_json::{Value as Json, value::RawValue};
use std::borrow::Cow;

use super::{
    Mode,
    value::{key, number_or_none, small, utf8, value},
};
use crate::{
    cache::DumpEntry,
    command::Arguments,
    error::{Error, Result},
    key::{Key, KeyList},
    value::{Carried, OwnedValue},
};

/// One request. Its arguments are parsed later, by [`Request::arguments`].
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

    /// The argument at `index` as JSON text; `null` where it is missing.
    pub fn json(&self, index: usize) -> &'a str {
        self.arguments.get(index).map_or("null", |raw| raw.get())
    }

    /// The argument at `index` as small JSON, or `None` where it is missing or `null`.
    ///
    /// # Errors
    /// JSON nested too deeply to be meant.
    pub fn option(&self, index: usize) -> Result<Option<Json>> {
        given(self.arguments.get(index).copied()).map(small).transpose()
    }

    /// The arguments of its command.
    pub fn arguments(&self) -> impl Arguments<'a> {
        InOrder {
            command: &self.command,
            rest: self.arguments.iter(),
        }
    }
}

/// An argument, or `None` where it is missing or `null`.
fn given(argument: Option<&RawValue>) -> Option<&RawValue> {
    argument.filter(|raw| raw.get() != "null")
}

/// The arguments of a request, in order. A value is two of them, kind and payload.
struct InOrder<'r, 'a> {
    command: &'r str,
    rest: std::slice::Iter<'r, &'a RawValue>,
}

impl<'a> InOrder<'_, 'a> {
    fn next(&mut self) -> Option<&'a RawValue> {
        given(self.rest.next().copied())
    }

    /// A list; an empty one where the argument is anything else.
    fn list(&mut self) -> Vec<&'a RawValue> {
        self.next()
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }
}

impl<'a> Arguments<'a> for InOrder<'_, 'a> {
    /// A missing one is `null`, as JSON had it in the 1.x API.
    fn key(&mut self) -> Result<Key> {
        self.next().map_or_else(|| Ok(Key::null()), key)
    }

    fn keys(&mut self) -> Result<KeyList> {
        let mut keys = KeyList::default();
        for raw in self.list() {
            keys.push(key(raw)?.as_bytes())?;
        }
        Ok(keys)
    }

    fn value(&mut self) -> Result<Carried<'a>> {
        match (self.rest.next(), self.rest.next()) {
            (Some(kind), Some(payload)) => value(kind, payload),
            _ => Err(Error::request(format!("{} needs a value", self.command))),
        }
    }

    fn pairs(&mut self) -> Result<(KeyList, Vec<Carried<'a>>)> {
        let pairs = self.list();
        let (pairs, rest) = pairs.as_chunks();
        let mut keys = KeyList::default();
        let mut values = Vec::with_capacity(pairs.len());
        for [raw, kind, payload] in pairs {
            keys.push(key(raw)?.as_bytes())?;
            values.push(value(kind, payload)?);
        }
        if rest.is_empty() {
            Ok((keys, values))
        } else {
            Err(Error::request(format!(
                "{} needs a key and a value each",
                self.command
            )))
        }
    }

    fn entries(&mut self) -> Result<Vec<DumpEntry<OwnedValue>>> {
        let entries = self.list();
        let (entries, rest) = entries.as_chunks();
        let entries = entries.iter().map(dump_entry).collect::<Result<_>>()?;
        if rest.is_empty() {
            Ok(entries)
        } else {
            Err(Error::request(format!(
                "{} needs a key, a value and a time each",
                self.command
            )))
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<f64>> {
        self.next().map_or(Ok(None), |raw| number_or_none(raw, name))
    }

    fn max_age(&mut self) -> Result<Option<f64>> {
        self.number("maxAge")
    }

    fn ages(&mut self) -> Result<Vec<Option<f64>>> {
        let ages = self.list();
        ages.iter().map(|age| number_or_none(age, "maxAge")).collect()
    }

    fn option(&mut self) -> Result<Option<Json>> {
        self.next().map(small).transpose()
    }
}

fn dump_entry([raw, kind, payload, expires]: &[&RawValue; 4]) -> Result<DumpEntry<OwnedValue>> {
    Ok(DumpEntry {
        key: key(raw)?,
        value: value(kind, payload)?.into_owned(),
        expires: expires.get().parse().unwrap_or(0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
