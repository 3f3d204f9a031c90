//! The registry and the message handler, as JavaScript sees them.

use napi::{
    bindgen_prelude::{Either, Function, Int32Array},
    threadsafe_function::ThreadsafeFunctionCallMode,
};
use napi_derive::napi;
use std::{rc::Rc, sync::Arc};

use super::caches::{Held, NativeCache, Table};
use crate::{
    error::Error,
    handler,
    options::Options,
    protocol::{Mode, Part, Piece},
    registry::{Registry, apply, new_cache},
};

/// `[class, message, code]`: an error as data, for JavaScript to make in its own context.
type ErrorData = Vec<String>;

fn data(error: Error) -> ErrorData {
    vec![
        error.class.name().into(),
        error.message.into_owned(),
        error.code.into(),
    ]
}

/// A piece of a reply: text, or a slot whose value JavaScript writes. See `Reply` in `src/protocol.rs`.
type ReplyPiece = Either<String, Vec<u32>>;

/// Ready text, or the id of a request and the pieces of its answer.
type ReplyPart = Either<String, (f64, Vec<ReplyPiece>)>;

/// The namespaces of the primary, or of a process with no cluster.
#[napi]
pub struct NativeRegistry {
    registry: Registry,
    table: Rc<Table>,
}

#[napi]
impl NativeRegistry {
    /// `state` is the array in which Rust reports. `tick` is called on this thread with the namespace whose
    /// schedule says it is time to prune; it never keeps the process alive.
    #[napi(constructor, catch_unwind)]
    pub fn new(state: Int32Array, tick: Function<'_, String, ()>) -> napi::Result<Self> {
        let tick = tick
            .build_threadsafe_function::<String>()
            .weak::<true>()
            .build()?;
        let tick = Arc::new(move |namespace: &str| {
            tick.call(namespace.to_owned(), ThreadsafeFunctionCallMode::NonBlocking);
        });
        let table = table(state)?;
        Ok(Self {
            registry: Registry::new(table.slots.clone(), tick),
            table,
        })
    }

    /// Makes the cache of a namespace, or applies options (as JSON) to the one there is. An error as data, or
    /// nothing.
    #[napi(catch_unwind)]
    pub fn open(&self, namespace: String, options: String) -> Option<ErrorData> {
        let opened = Options::parse(&options).and_then(|options| self.registry.open(&namespace, options));
        // A lower `max` has evicted what is over it.
        self.table.release();
        opened.err().map(data)
    }

    /// The cache of a namespace, if there is one.
    #[napi(catch_unwind)]
    pub fn cache(&self, namespace: String) -> Option<NativeCache> {
        let cache = self.registry.get(&namespace)?;
        Some(NativeCache::new(Held {
            cache,
            table: self.table.clone(),
        }))
    }

    /// The names of all namespaces.
    #[napi(catch_unwind)]
    pub fn names(&self) -> Vec<String> {
        self.registry.names()
    }

    /// Answers a batch of requests: ready text where that is all, parts to complete where JavaScript values
    /// are asked for.
    #[napi(catch_unwind)]
    pub fn handle(&self, batch: String, now: f64) -> Either<String, Vec<ReplyPart>> {
        let mut parts = handler::handle(&self.registry, &batch, now);
        self.table.release();
        if let [Part::Ready(text)] = &mut parts[..] {
            return Either::A(std::mem::take(text));
        }
        Either::B(parts.into_iter().map(part).collect())
    }
}

fn part(part: Part) -> ReplyPart {
    match part {
        Part::Ready(text) => Either::A(text),
        Part::Pending { id, pieces } => Either::B((id as f64, pieces.into_iter().map(piece).collect())),
    }
}

fn piece(piece: Piece) -> ReplyPiece {
    match piece {
        Piece::Text(text) => Either::A(text),
        Piece::Slot(slot, mode) => Either::B(vec![slot, u32::from(mode == Mode::Advanced)]),
    }
}

/// A cache that belongs to no namespace, with options as JSON; or an error as data.
#[napi(catch_unwind)]
pub fn create_cache(state: Int32Array, options: String) -> napi::Result<Either<NativeCache, ErrorData>> {
    let options = match Options::parse(&options) {
        Ok(options) => options,
        Err(error) => return Ok(Either::B(data(error))),
    };
    let table = table(state)?;
    let cache = new_cache(table.slots.clone());
    apply(&mut cache.lock(), &options);
    Ok(Either::A(NativeCache::new(Held { cache, table })))
}

/// Checks options as JSON, as [`NativeRegistry::open`] would: an error as data, or nothing.
#[napi(catch_unwind)]
pub fn check_options(options: String) -> Option<ErrorData> {
    Options::parse(&options).err().map(data)
}

fn table(state: Int32Array) -> napi::Result<Rc<Table>> {
    Table::new(state).ok_or_else(|| napi::Error::from_reason("internal error: the state array is too short"))
}
