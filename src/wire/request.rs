//! A request of a worker, read.

use serde_json::{Value as Json, value::RawValue};
use std::borrow::Cow;

use super::{
    Mode,
    value::{key, number_or_none, small, utf8, value},
};
use crate::{
    error::{Error, Result},
    key::Key,
    value::Carried,
};

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
