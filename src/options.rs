//! Parses and checks the options of a cache: `max`, `maxSize`, `maxEntrySize`, `maxAge`, `stale` and `prune`. The
//! constructors of both classes, the `open` message and the commands that change a setting use these checks. The options
//! that only the Promise class has (`timeout`, `parse`, …) are checked in `lib/options.js`.

use serde_json::{Map, Value as Json};

use crate::{
    error::{Error, Result},
    prune::Pattern,
};

/// What to do about scheduled pruning.
#[derive(Clone, Debug, PartialEq)]
pub enum Prune {
    /// Stop a schedule that runs.
    Off,
    /// Prune at these times.
    At(Pattern),
}

/// Options of one cache. What is `None` was not given, and leaves an existing cache as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The greatest number of entries; 0 for no limit.
    pub max: Option<f64>,
    /// The `max` of a cache that has no bound by then: neither of entries, nor of bytes, nor of age.
    pub default_max: Option<f64>,
    /// The greatest number of bytes of all entries; 0 for no limit.
    pub max_size: Option<f64>,
    /// The greatest number of bytes of one entry; 0 for no limit.
    pub max_entry_size: Option<f64>,
    /// The age of entries, in milliseconds; 0 for never.
    pub max_age: Option<f64>,
    /// Whether expired entries are returned once.
    pub stale: Option<bool>,
    /// Scheduled pruning.
    pub prune: Option<Prune>,
}

impl Options {
    /// Whether any option but `prune` was given. The storage keeps these; the registry keeps the schedule.
    pub fn concern_store(&self) -> bool {
        *self
            != Self {
                prune: self.prune.clone(),
                ..Self::default()
            }
    }

    /// These options, and `later` ones, which go before them.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            max: later.max.or(self.max),
            default_max: later.default_max.or(self.default_max),
            max_size: later.max_size.or(self.max_size),
            max_entry_size: later.max_entry_size.or(self.max_entry_size),
            max_age: later.max_age.or(self.max_age),
            stale: later.stale.or(self.stale),
            prune: later.prune.or(self.prune),
        }
    }

    /// Reads options from JSON text. `null` counts as not given.
    ///
    /// # Errors
    /// Names the option and the value.
    ///
    /// ```
    /// use lru_cache_for_clusters::options::Options;
    /// assert_eq!(Options::parse(r#"{"max":50}"#).unwrap().max, Some(50.0));
    /// assert_eq!(
    ///     Options::parse(r#"{"max":-1}"#).unwrap_err().message,
    ///     "max must be a non-negative number of entries, got -1"
    /// );
    /// ```
    pub fn parse(json: &str) -> Result<Self> {
        let given: Map<String, Json> = serde_json::from_str(json)
            .map_err(|_| Error::option(format!("options must be an object, got {}", shorten(json, 80))))?;
        let get = |name: &str| given.get(name).filter(|value| !value.is_null());
        Ok(Self {
            max: get("max").map(max).transpose()?,
            default_max: get("defaultMax").map(max).transpose()?,
            max_size: get("maxSize").map(max_size).transpose()?,
            max_entry_size: get("maxEntrySize")
                .map(|value| limit("maxEntrySize", "bytes", value))
                .transpose()?,
            max_age: get("maxAge").map(max_age).transpose()?,
            stale: get("stale").map(stale).transpose()?,
            prune: get("prune").map(prune).transpose()?,
        })
    }
}

/// Checks a `max`: a number of entries, 0 or more.
pub fn max(value: &Json) -> Result<f64> {
    limit("max", "entries", value)
}

/// Checks a `maxSize`: a number of bytes, 0 or more.
pub fn max_size(value: &Json) -> Result<f64> {
    limit("maxSize", "bytes", value)
}

fn limit(name: &str, unit: &str, value: &Json) -> Result<f64> {
    number(value)
        .filter(|limit| *limit >= 0.0 || limit.is_nan())
        .ok_or_else(|| {
            Error::option(format!(
                "{name} must be a non-negative number of {unit}, got {}",
                show(value)
            ))
        })
}

/// Checks a `maxAge`: a number of milliseconds. A negative one is allowed, as in lru-cache 6: what is set with
/// it expires at once.
pub fn max_age(value: &Json) -> Result<f64> {
    number(value).ok_or_else(|| {
        Error::option(format!(
            "maxAge must be a number of milliseconds, got {}",
            show(value)
        ))
    })
}

/// Checks a `stale`.
pub fn stale(value: &Json) -> Result<bool> {
    value
        .as_bool()
        .ok_or_else(|| Error::option(format!("stale must be a boolean, got {}", show(value))))
}

fn prune(value: &Json) -> Result<Prune> {
    match value {
        Json::Bool(false) => Ok(Prune::Off),
        Json::String(pattern) => Pattern::parse(pattern)
            .map(Prune::At)
            .map_err(|error| Error::option(shorten(&format!("prune: {error}"), 250))),
        _ => Err(Error::option(format!(
            "prune must be false or a cron pattern, got {}",
            show(value)
        ))),
    }
}

/// A number, or one that JSON cannot write: `{"n":"Infinity"}`.
pub fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::Object(tagged) if tagged.len() == 1 => special(tagged.get("n")?.as_str()?),
        _ => None,
    }
}

/// The numbers that JSON cannot write, by their JavaScript names.
pub fn special(name: &str) -> Option<f64> {
    match name {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        "-0" => Some(-0.0),
        _ => None,
    }
}

fn show(value: &Json) -> String {
    shorten(&value.to_string(), 80)
}

/// The first `longest` characters of a text: an error names the value at fault, and a worker may send one of megabytes.
fn shorten(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> String {
        Options::parse(json).unwrap_err().into_message()
    }

    #[test]
    fn what_is_not_given_stays_open() {
        assert_eq!(Options::parse("{}"), Ok(Options::default()));
        assert_eq!(
            Options::parse(r#"{"max":null,"maxAge":null,"stale":null,"prune":null,"x":1}"#),
            Ok(Options::default())
        );
    }

    #[test]
    fn each_error_names_option_and_value() {
        assert_eq!(
            message(r#"{"max":"x"}"#),
            r#"max must be a non-negative number of entries, got "x""#
        );
        for name in ["maxSize", "maxEntrySize"] {
            assert_eq!(
                message(&format!(r#"{{"{name}":-1}}"#)),
                format!("{name} must be a non-negative number of bytes, got -1")
            );
        }
        assert_eq!(
            message(r#"{"max":{"n":"-Infinity"}}"#).split(", got").next(),
            Some("max must be a non-negative number of entries")
        );
        assert_eq!(
            message(r#"{"maxAge":[1]}"#),
            "maxAge must be a number of milliseconds, got [1]"
        );
        assert_eq!(message(r#"{"stale":5}"#), "stale must be a boolean, got 5");
        assert_eq!(
            message(r#"{"prune":true}"#),
            "prune must be false or a cron pattern, got true"
        );
        assert!(
            message(r#"{"prune":"every day"}"#).starts_with("prune: "),
            "{}",
            message(r#"{"prune":"every day"}"#)
        );
        assert!(message("[1]").starts_with("options must be an object"));
    }

    #[test]
    fn a_long_value_is_shortened() {
        assert!(message(&format!(r#"{{"max":"{}"}}"#, "ä".repeat(10_000))).len() < 300);
    }

    #[test]
    fn numbers_json_cannot_write_are_numbers() {
        assert_eq!(
            Options::parse(r#"{"max":{"n":"Infinity"}}"#).unwrap().max,
            Some(f64::INFINITY)
        );
    }
}
