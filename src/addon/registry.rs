//! The registry and the message handler, as JavaScript sees them.

use napi::JsValue as _;
use napi::{
    bindgen_prelude::{Array, Either, Env, Function, Int32Array},
    threadsafe_function::ThreadsafeFunctionCallMode,
};
use napi_derive::napi;
use slab::Slab;
use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use super::{
    caches::{Handle, NativeCache, Table, made},
    call::{Call, JsValue, Type},
};
use crate::{
    error::Error,
    handler,
    options::Options,
    registry::{Registry, Siblings, apply},
    store::{LOCK_WAIT, Store},
    wire::{
        Mode,
        reply::{Part, Piece},
    },
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

/// What the JavaScript object and the calls by number share.
struct Namespaces {
    registry: Registry,
    table: Rc<Table>,
    /// Room for a batch, so that most calls allocate none.
    room: RefCell<Vec<u8>>,
}

impl Namespaces {
    /// Ends a call: says what JavaScript is to let go.
    fn end(&self) {
        self.table.release();
        if self.registry.take_destroyed() {
            self.table.destroyed();
        }
    }
}

thread_local! {
    /// One set of registries per JavaScript thread: a thread never sees another's.
    static REGISTRIES: RefCell<Slab<Rc<Namespaces>>> = const { RefCell::new(Slab::new()) };
}

/// The namespaces of the primary, or of a process with no cluster.
#[napi]
pub struct NativeRegistry {
    index: usize,
    inner: Rc<Namespaces>,
}

impl Drop for NativeRegistry {
    fn drop(&mut self) {
        // At the very end of a thread its table may be gone before the last finalizer runs.
        let gone = REGISTRIES.try_with(|all| all.try_borrow_mut().ok()?.try_remove(self.index));
        drop(gone);
    }
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
        let inner = Rc::new(Namespaces {
            registry,
            table,
            room: RefCell::default(),
        });
        let index = REGISTRIES.with_borrow_mut(|all| all.insert(inner.clone()));
        Ok(Self { index, inner })
    }

    /// The number that names this registry in calls of `handle`.
    #[napi(getter, catch_unwind)]
    pub fn id(&self) -> u32 {
        self.index as u32
    }

    /// Makes the cache of a namespace, or applies options (as JSON) to the one there is. An error as data, or
    /// nothing.
    #[napi(catch_unwind)]
    pub fn open(&self, namespace: String, options: String) -> Option<ErrorData> {
        let opened = Options::parse(&options)
            .and_then(|options| self.inner.registry.open(&namespace, options, LOCK_WAIT));
        // A lower `max` has evicted what is over it.
        self.inner.table.release();
        opened.err().map(data)
    }

    /// The cache of a namespace, if there is one. Its calls wait for another process for a millisecond: who cannot
    /// make them again does with `patient` ones, which wait for a tenth of a second.
    #[napi(catch_unwind)]
    pub fn cache(&self, namespace: String, patient: Option<bool>) -> Option<NativeCache> {
        let store = self.inner.registry.get(&namespace)?;
        let lock_wait = match patient {
            Some(true) => Duration::from_millis(100),
            _ => LOCK_WAIT,
        };
        Some(NativeCache::new(Handle::new(
            store,
            lock_wait,
            self.inner.table.clone(),
        )))
    }

    /// Says that the application has the synchronous cache of a namespace, and may put functions on it.
    #[napi(catch_unwind)]
    pub fn expose(&self, namespace: String) {
        if let Some(store) = self.inner.registry.get(&namespace) {
            store.expose();
        }
    }

    /// Lets go of a namespace and its schedule.
    #[napi(catch_unwind)]
    pub fn forget(&self, namespace: String) {
        self.inner.registry.forget(&namespace);
    }

    /// Destroys a namespace for all processes that have it. Returns whether there was one; an error as data where another
    /// process has the store.
    #[napi(catch_unwind)]
    pub fn destroy(&self, namespace: String) -> Either<bool, ErrorData> {
        let destroyed = self.inner.registry.destroy(&namespace, LOCK_WAIT);
        self.inner.end();
        destroyed.map_or_else(|error| Either::B(data(error)), Either::A)
    }

    /// The names of all namespaces.
    #[napi(catch_unwind)]
    pub fn names(&self) -> Vec<String> {
        self.inner.registry.names()
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
        let shared = self.inner.registry.share(&namespace, &ticket, text);
        self.inner.table.release();
        shared.map_or_else(|error| Either::B(data(error)), Either::A)
    }

    /// Adds a namespace that another process has shared. An error as data, or nothing.
    #[napi(catch_unwind)]
    pub fn attach(&self, namespace: String, ticket: String) -> Option<ErrorData> {
        self.inner.registry.attach(&namespace, &ticket).err().map(data)
    }

    /// The ticket to a namespace that is shared.
    #[napi(catch_unwind)]
    pub fn ticket(&self, namespace: String) -> Option<String> {
        self.inner.registry.ticket(&namespace)
    }

    /// Prunes a namespace because its schedule says so, unless another process has done it. Returns whether it
    /// was done; an error as data where another process has the store.
    #[napi(catch_unwind)]
    pub fn scheduled(&self, namespace: String, now: f64) -> Either<bool, ErrorData> {
        let done = self.inner.registry.scheduled(&namespace, now);
        self.inner.table.release();
        done.map_or_else(|error| Either::B(data(error)), Either::A)
    }

    /// Lets values go whose entries other processes have removed.
    #[napi(catch_unwind)]
    pub fn sweep(&self) {
        self.inner.registry.sweep();
        self.inner.table.release();
    }
}

/// The most room that is kept for the next batch, in bytes.
const BATCH_ROOM: usize = 1 << 16;

/// `handle(registry, batch, now, builtIn)` answers a batch of requests: a text where that is all; or a list of parts, to
/// be completed where they hold JavaScript values. A part is ready text, `[id, pieces]` of one request, or
/// `[requests, executes]`, see [`Part`]. `builtIn` says that the first request is an `execute` of a command, not of a
/// function of the application.
pub fn handle(call: &Call) -> std::result::Result<JsValue, &'static str> {
    let inner = REGISTRIES
        .with_borrow(|all| all.get(call.index(call.argument(0)) as usize).cloned())
        .ok_or("internal error: no such registry")?;
    let mut room = inner.room.take();
    let batch = call.utf8(call.argument(1), &mut room)?;
    let (now, built_in) = (call.number(call.argument(2)), call.bool(call.argument(3)));
    let parts = handler::handle(&inner.registry, batch, now, built_in);
    inner.end();
    if room.len() <= BATCH_ROOM {
        inner.room.replace(room);
    }
    let answer = match &parts[..] {
        [Part::Ready(text)] => call.js_string(text.as_bytes()),
        parts => list(call, parts, part),
    };
    made(answer).map_err(|_| "internal error: a reply is too large for JavaScript")
}

fn list<T>(call: &Call, items: &[T], convert: fn(&Call, &T) -> JsValue) -> JsValue {
    let items: Vec<_> = items.iter().map(|item| convert(call, item)).collect();
    call.array(&items)
}

fn part(call: &Call, part: &Part) -> JsValue {
    match part {
        Part::Ready(text) => call.js_string(text.as_bytes()),
        Part::Pending { id, pieces } => call.array(&[call.js_number(*id as f64), list(call, pieces, piece)]),
        Part::Left { requests, executes } => {
            call.array(&[call.js_number(*requests as f64), call.js_bool(*executes)])
        }
    }
}

/// Text, a slot and 1 for a clone of its value, or a namespace and the worker's ticket to it (empty for none). See
/// [`Piece`].
fn piece(call: &Call, piece: &Piece) -> JsValue {
    let text = |text: &str| call.js_string(text.as_bytes());
    match piece {
        Piece::Text(ready) => text(ready),
        Piece::Slot(slot, mode) => {
            let advanced = u32::from(*mode == Mode::Advanced);
            call.array(&[call.js_number((*slot).into()), call.js_number(advanced.into())])
        }
        Piece::Ticket { namespace, theirs } => {
            call.array(&[text(namespace), text(theirs.as_deref().unwrap_or_default())])
        }
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
    Ok(Either::A(NativeCache::new(Handle::new(store, LOCK_WAIT, table))))
}

/// A store in shared memory that processes of this machine have.
#[napi(object)]
pub struct RunningStore {
    /// The processes.
    pub pids: Vec<u32>,
    /// The namespace; empty where the store does not say.
    pub namespace: String,
    /// By what it is attached.
    pub ticket: Option<String>,
    /// Why it cannot be.
    pub problem: Option<String>,
    /// The thread that has its lock at this moment; 0 for none.
    pub holder: u32,
}

/// The stores in shared memory that processes of this machine have, this process left out; an error as data where this
/// process cannot look.
#[napi(catch_unwind)]
pub fn running_stores() -> Either<Vec<RunningStore>, ErrorData> {
    #[cfg(target_os = "linux")]
    {
        use crate::storage::shared::{running::running, siblings};
        let show = |store: crate::storage::shared::running::Running| RunningStore {
            pids: store.pids,
            namespace: store.namespace,
            ticket: store.ticket.map(|ticket| ticket.to_string()),
            problem: store.problem,
            holder: store.holder,
        };
        match running() {
            Ok(found) => Either::A(found.into_iter().map(show).collect()),
            Err(why) => Either::B(data(siblings::failed(&why))),
        }
    }
    #[cfg(not(target_os = "linux"))]
    Either::B(data(Error::no_shared_memory()))
}

/// Checks options as JSON, as [`NativeRegistry::open`] would: an error as data, or nothing.
#[napi(catch_unwind)]
pub fn check_options(options: String) -> Option<ErrorData> {
    Options::parse(&options).err().map(data)
}

/// The time since the system started, in milliseconds, the time in which it was suspended included; see [`crate::lease::boot_time`].
#[napi(catch_unwind)]
pub fn boot_time() -> f64 {
    crate::lease::boot_time() as f64
}

fn table(state: Int32Array) -> napi::Result<Rc<Table>> {
    Table::new(state).ok_or_else(|| napi::Error::from_reason("internal error: the state array is too short"))
}
