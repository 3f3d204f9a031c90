//! The registry and the message handler, as JavaScript sees them.

use napi::JsValue as _;
use napi::{
    bindgen_prelude::{Array, Either, Either3, Env, Function, Int32Array},
    threadsafe_function::ThreadsafeFunctionCallMode,
};
use napi_derive::napi;
use std::{rc::Rc, sync::Arc, time::Duration};

use super::{
    caches::{Held, NativeCache, Table},
    call::{Call, Type},
};
use crate::{
    error::Error,
    handler,
    options::Options,
    protocol::{Mode, Part, Piece},
    registry::{Registry, Siblings, apply},
    store::{LOCK_WAIT, Store},
    wtf8,
};

/// `[class, message, code]`: an error as data, for JavaScript to make in its own context.
type ErrorData = Vec<String>;

fn data(error: Error) -> ErrorData {
    vec![
        error.class.name().into(),
        error.message.clone().into_owned(),
        error.code.as_str().into(),
    ]
}

/// A piece of a reply that JavaScript completes: text, a slot and 1 for a clone of its value, or a namespace
/// and the worker's ticket to it (empty for none). See `Piece` in `src/protocol.rs`.
type ReplyPiece = Either3<String, Vec<u32>, Vec<String>>;

/// Ready text, or the id of a request and the pieces of its answer; or the requests that are left.
type ReplyPart = Either3<String, (f64, Vec<ReplyPiece>), LeftRequests>;

/// The last requests of a batch, which were not handled.
#[napi(object)]
pub struct LeftRequests {
    /// How many they are.
    pub requests: u32,
    /// Whether the first of them is an `execute`, which may call a function of the application. Otherwise another
    /// process has the store of the first.
    pub executes: bool,
}

/// The namespaces of the primary, or of a process with no cluster.
#[napi]
pub struct NativeRegistry {
    registry: Registry,
    table: Rc<Table>,
}

#[napi]
impl NativeRegistry {
    /// `state` is the array in which Rust reports. `tick` is called on this thread with the namespace whose
    /// schedule says it is time to prune; it never keeps the process alive. With an `identity` the namespaces
    /// are shared with all processes of this `parent` that have the same.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        state: Int32Array,
        tick: Function<'_, String, ()>,
        identity: Option<String>,
        parent: Option<u32>,
    ) -> napi::Result<Self> {
        let tick = tick
            .build_threadsafe_function::<String>()
            .weak::<true>()
            .build()?;
        let tick = Arc::new(move |namespace: &str| {
            tick.call(namespace.to_owned(), ThreadsafeFunctionCallMode::NonBlocking);
        });
        let table = table(state)?;
        let mut registry = Registry::new(table.slots.clone(), tick);
        if let (Some(identity), Some(parent)) = (identity, parent) {
            registry = registry.with_siblings(Siblings { identity, parent });
        }
        Ok(Self { registry, table })
    }

    /// Makes the cache of a namespace, or applies options (as JSON) to the one there is. An error as data, or
    /// nothing.
    #[napi(catch_unwind)]
    pub fn open(&self, namespace: String, options: String) -> Option<ErrorData> {
        let opened =
            Options::parse(&options).and_then(|options| self.registry.open(&namespace, options, LOCK_WAIT));
        // A lower `max` has evicted what is over it.
        self.table.release();
        opened.err().map(data)
    }

    /// The cache of a namespace, if there is one. Its calls wait for another process for a millisecond: who cannot
    /// make them again does with `patient` ones, which wait for a tenth of a second.
    #[napi(catch_unwind)]
    pub fn cache(&self, namespace: String, patient: Option<bool>) -> Option<NativeCache> {
        let store = self.registry.get(&namespace)?;
        let patience = match patient {
            Some(true) => Duration::from_millis(100),
            _ => LOCK_WAIT,
        };
        Some(NativeCache::new(Held::new(store, patience, self.table.clone())))
    }

    /// Says that the application has the synchronous cache of a namespace, and may put functions on it.
    #[napi(catch_unwind)]
    pub fn expose(&self, namespace: String) {
        if let Some(store) = self.registry.get(&namespace) {
            store.expose();
        }
    }

    /// Lets go of a namespace and its schedule.
    #[napi(catch_unwind)]
    pub fn forget(&self, namespace: String) {
        self.registry.forget(&namespace);
    }

    /// The names of all namespaces.
    #[napi(catch_unwind)]
    pub fn names(&self) -> Vec<String> {
        self.registry.names()
    }

    /// Moves a namespace to shared memory (to that of `ticket`, unless it is empty), whose ticket is returned, or
    /// an error as data. `values` is the table of JavaScript values.
    #[napi(catch_unwind)]
    pub fn share(
        &self,
        env: Env,
        namespace: String,
        ticket: String,
        values: Array<'_>,
    ) -> Either<String, ErrorData> {
        let call = Call::of(env.raw());
        let text = |slot| {
            let value = call.element(values.raw(), slot).ok()?;
            (call.type_of(value) == Type::String).then(|| call.utf16(value, wtf8::from_utf16))
        };
        let shared = self.registry.share(&namespace, &ticket, text);
        self.table.release();
        shared.map_or_else(|error| Either::B(data(error)), Either::A)
    }

    /// Adds a namespace that another process has shared. An error as data, or nothing.
    #[napi(catch_unwind)]
    pub fn attach(&self, namespace: String, ticket: String) -> Option<ErrorData> {
        self.registry.attach(&namespace, &ticket).err().map(data)
    }

    /// The ticket to a namespace that is shared.
    #[napi(catch_unwind)]
    pub fn ticket(&self, namespace: String) -> Option<String> {
        self.registry.ticket(&namespace)
    }

    /// Prunes a namespace because its schedule says so, unless another process has done it. Returns whether it
    /// was done; an error as data where another process has the store.
    #[napi(catch_unwind)]
    pub fn scheduled(&self, namespace: String, now: f64) -> Either<bool, ErrorData> {
        let done = self.registry.scheduled(&namespace, now);
        self.table.release();
        done.map_or_else(|error| Either::B(data(error)), Either::A)
    }

    /// Lets values go whose entries other processes have removed.
    #[napi(catch_unwind)]
    pub fn sweep(&self) {
        self.registry.sweep();
        self.table.release();
    }

    /// Answers a batch of requests: ready text where that is all, parts to complete where JavaScript values
    /// are asked for, or where requests are left: the last part says how many, and why. `built_in` says that the first
    /// request is an `execute` of a command, not of a function of the application.
    #[napi(catch_unwind)]
    pub fn handle(&self, batch: String, now: f64, built_in: Option<bool>) -> Either<String, Vec<ReplyPart>> {
        let mut parts = handler::handle(&self.registry, &batch, now, built_in.unwrap_or(false));
        self.table.release();
        if let [Part::Ready(text)] = &mut parts[..] {
            return Either::A(std::mem::take(text));
        }
        Either::B(parts.into_iter().map(part).collect())
    }
}

fn part(part: Part) -> ReplyPart {
    match part {
        Part::Ready(text) => Either3::A(text),
        Part::Pending { id, pieces } => Either3::B((id as f64, pieces.into_iter().map(piece).collect())),
        Part::Left { requests, executes } => Either3::C(LeftRequests {
            requests: requests as u32,
            executes,
        }),
    }
}

fn piece(piece: Piece) -> ReplyPiece {
    match piece {
        Piece::Text(text) => Either3::A(text),
        Piece::Slot(slot, mode) => Either3::B(vec![slot, u32::from(mode == Mode::Advanced)]),
        Piece::Ticket { namespace, theirs } => Either3::C(vec![namespace, theirs.unwrap_or_default()]),
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
    let store = Arc::new(Store::heap(table.slots.clone()));
    match store.lock(LOCK_WAIT) {
        Ok(mut cache) => apply(&mut *cache, &options),
        Err(error) => return Ok(Either::B(data(error))),
    }
    Ok(Either::A(NativeCache::new(Held::new(store, LOCK_WAIT, table))))
}

/// Checks options as JSON, as [`NativeRegistry::open`] would: an error as data, or nothing.
#[napi(catch_unwind)]
pub fn check_options(options: String) -> Option<ErrorData> {
    Options::parse(&options).err().map(data)
}

fn table(state: Int32Array) -> napi::Result<Rc<Table>> {
    Table::new(state).ok_or_else(|| napi::Error::from_reason("internal error: the state array is too short"))
}
