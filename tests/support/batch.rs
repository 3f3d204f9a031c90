//! A batch and its reply, read as a worker reads it.

use lru_cache_for_clusters::{
    handler,
    registry::Registry,
    slots::Slots,
    store::LOCK_WAIT,
    wire::reply::{Part, Piece},
};
use serde_json::value::RawValue;
use std::sync::Arc;

use super::validate::validate_slots;

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub id: u64,
    pub kind: u8,
    pub payload: String,
}

/// Namespaces, and the table of their JavaScript values.
pub struct Primary {
    pub registry: Registry,
    pub slots: Slots,
}

impl Primary {
    /// No namespaces. A schedule that a request starts does nothing.
    pub fn new() -> Self {
        let slots = Slots::default();
        Self {
            registry: Registry::new(slots.clone(), Arc::new(|_| {})),
            slots,
        }
    }

    /// The answers to a batch.
    ///
    /// Panics where the reply is not JSON, or does not answer each request that has an id, once and in order.
    pub fn send(&self, batch: &str, now: f64) -> Vec<Answer> {
        let text = text(&self.parts(batch, now));
        let elements: Vec<&RawValue> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let (triples, rest) = elements.as_chunks::<3>();
        assert!(rest.is_empty(), "{text}");
        let answers: Vec<Answer> = triples.iter().map(answer).collect();
        let ids: Vec<u64> = answers.iter().map(|answer| answer.id).collect();
        assert_eq!(ids, asked(batch), "{text}");
        answers
    }

    /// The parts of all answers. The application has put no function on any cache.
    fn parts(&self, batch: &str, now: f64) -> Vec<Part> {
        let mut parts = handler::handle(&self.registry, batch, now, false);
        while let Some(Part::Left {
            requests,
            executes: true,
        }) = parts.last()
        {
            let lines: Vec<_> = batch.lines().filter(|line| !line.is_empty()).collect();
            let rest = lines[lines.len() - requests..].join("\n");
            parts.pop();
            parts.extend(handler::handle(&self.registry, &rest, now, true));
        }
        parts
    }

    /// Panics where the structure of a store is damaged, or a slot is lost.
    pub fn validate(&self) {
        let names = self.registry.names();
        let caches: Vec<_> = names
            .iter()
            .map(|name| self.registry.get(name).expect("a namespace"))
            .collect();
        let locked: Vec<_> = caches
            .iter()
            .map(|cache| cache.lock(LOCK_WAIT).unwrap())
            .collect();
        validate_slots(locked.iter().map(|cache| cache.storage()), &self.slots);
    }
}

/// The whole reply, with `null` in place of each JavaScript value.
pub fn text(parts: &[Part]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Slot(..) | Piece::Ticket { .. } => "0,null".into(),
    };
    let part = |part: &Part| match part {
        Part::Ready(text) => text.clone(),
        Part::Pending { pieces, .. } => pieces.iter().map(piece).collect(),
        Part::Left { requests, .. } => panic!("{requests} requests are left"),
    };
    format!("[{}]", parts.iter().map(part).collect::<Vec<_>>().join(","))
}

fn answer([id, kind, payload]: &[&RawValue; 3]) -> Answer {
    let (kind, json) = (kind.get().parse().expect("a kind"), payload.get());
    match kind {
        0 => {}
        1 | 5 => assert_eq!(json, "0"),
        2 => assert!(
            ["\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "\"-0\""].contains(&json),
            "{json}"
        ),
        3 => assert!(json.starts_with('"'), "{json}"),
        4 => {
            let [class, ..] = serde_json::from_str::<[String; 3]>(json).expect("an error");
            assert!(
                ["Error", "TypeError", "RangeError"].contains(&class.as_str()),
                "{class}"
            );
        }
        _ => panic!("an answer of kind {kind}"),
    }
    Answer {
        id: id.get().parse().expect("an id"),
        kind,
        payload: json.to_owned(),
    }
}

/// The ids of the requests that can be answered.
fn asked(batch: &str) -> Vec<u64> {
    let id = |line| {
        serde_json::from_str::<Vec<&RawValue>>(line)
            .ok()?
            .first()?
            .get()
            .parse()
            .ok()
    };
    batch.split('\n').filter_map(id).collect()
}
