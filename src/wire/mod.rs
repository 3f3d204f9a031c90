//! The form of requests and replies between a worker and the primary. The JavaScript side is in
//! `lib/transport/envelope.js` (messages, keys, values) and `lib/commands.js` (arguments and answers of each command).
//!
//! A batch is text: one request per line, each a JSON array `[id, mode, namespace, command, ...arguments]`.
//! A line that cannot be parsed ends in an error answer if it has an id; the other lines are answered as usual. `mode` says
//! how the worker wants JavaScript values of the primary: 0 as JSON, 1 as a structured clone.
//!
//! A reply is a flat JSON array, three elements a request: `id, kind, payload`. A *value* anywhere in either
//! direction is two elements, `kind, payload`:
//!
//! | kind | payload |
//! |---|---|
//! | 0 `Json` | the value as JSON |
//! | 1 `Undefined` | `undefined`: 0 |
//! | 2 `Number` | a number that JSON cannot write, by name: `"NaN"`, `"Infinity"`, `"-Infinity"`, `"-0"` |
//! | 3 `Clone` | base64 of what `v8.serialize` wrote |
//! | 4 `Error` | in replies: an error, `[class, message, code]` |
//! | 5 `Miss` | in replies: no such entry, 0 |
//! | 6 `Own` | in replies: what a function of the application gave, `[kind, payload]` |
//!
//! The numbers are those of [`Kind`](crate::value::Kind) and [`Mark`](crate::value::Mark). Those below 7 are the kinds of
//! messages; a string, a boolean or `null` has kind 0 here.
//!
//! `execute` names what it calls: `[id, mode, namespace, "execute", name, values, ...arguments]`. `values` are the arguments
//! for a function that the application put on the cache under that name, a flat list of values; `arguments` are those of
//! the command of that name, where there is one. The answer of such a function has kind 6, and its payload is a value as an
//! array.
//!
//! A key is a JSON string, number, boolean or `null`, or one that JSON cannot write: `{"n":"NaN"}` a number,
//! `{"i":"123"}` a bigint, `{"u":0}` `undefined`. No key is an object, so these are not ambiguous.
//!
//! [`value`] has keys and values, in both directions; [`request`] and [`reply`] are built on it.

pub mod reply;
pub mod request;
pub mod value;

/// How a worker wants a JavaScript value of the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As JSON.
    Json,
    /// As a structured clone.
    Advanced,
}
