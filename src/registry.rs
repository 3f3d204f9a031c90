//! The registry: for each namespace of this process, one store and one schedule of pruning.

use chrono::{Local, TimeZone};
use indexmap::{IndexMap, map::Entry};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

#[cfg(target_os = "linux")]
use crate::storage::shared::siblings;
use crate::{
    cache::Cache,
    error::{Error, Result},
    options::{Options, Prune},
    prune::{Job, Pattern, Scheduler},
    slots::Slots,
    storage::Storage,
    store::{LOCK_WAIT, Store},
};

/// The function that a schedule calls at its times: with the namespace, on the scheduler's thread.
pub type Tick = Arc<dyn Fn(&str) + Send + Sync>;

/// The siblings of a process: where there is no primary of this package, they share their namespaces. Siblings have the
/// same parent and the same identity.
#[derive(Clone, Debug)]
pub struct Siblings {
    /// The identity of the application. Different applications have different ones.
    pub identity: String,
    /// The process id of the parent.
    pub parent: u32,
}

impl Siblings {
    #[cfg(target_os = "linux")]
    fn open(&self, namespace: &str) -> Result<Store> {
        // Orphans of different applications have the same new parent.
        if !siblings::is_parent(self.parent) {
            return Err(siblings::failed(&"the process that started this one is gone"));
        }
        // The system reuses process ids. With the start time, the identity names one parent only.
        let identity = format!("{:?} {}", siblings::start_time(self.parent)?, self.identity);
        let segment = siblings::open(&identity, namespace, self.parent)?;
        segment.set_label(namespace);
        Ok(Store::shared(segment))
    }

    #[cfg(not(target_os = "linux"))]
    fn open(&self, _: &str) -> Result<Store> {
        Err(Error::no_shared_memory())
    }
}

/// All namespaces of one copy of this package in one process.
pub struct Registry {
    namespaces: Mutex<IndexMap<String, Namespace>>,
    /// The options of namespaces that were destroyed here, for calls of instances that there were: the namespace is made anew
    /// by the first of them.
    destroyed: Mutex<HashMap<String, Options>>,
    /// Whether a namespace was destroyed since the last [`Registry::take_destroyed`].
    any_destroyed: AtomicBool,
    slots: Slots,
    /// The siblings that share the namespaces. `None` where a primary has them.
    siblings: Option<Siblings>,
    scheduler: Scheduler,
    tick: Tick,
}

struct Namespace {
    cache: Arc<Store>,
    /// All that were given.
    options: Options,
    schedule: Option<(Pattern, Job)>,
}

impl Namespace {
    fn of(cache: Store) -> Self {
        Self {
            cache: Arc::new(cache),
            options: Options::default(),
            schedule: None,
        }
    }

    /// Whether the schedule has this pattern already.
    fn runs(&self, pattern: &Pattern) -> bool {
        self.schedule
            .as_ref()
            .is_some_and(|(running, _)| running == pattern)
    }
}

impl Registry {
    /// A registry without namespaces. `tick` is called when the schedule of a namespace is due.
    pub fn new(slots: Slots, tick: Tick) -> Self {
        Self {
            namespaces: Mutex::default(),
            destroyed: Mutex::default(),
            any_destroyed: AtomicBool::new(false),
            slots,
            siblings: None,
            scheduler: Scheduler::new(),
            tick,
        }
    }

    /// Shares the namespaces that are made from now on with siblings.
    pub fn with_siblings(mut self, siblings: Siblings) -> Self {
        self.siblings = Some(siblings);
        self
    }

    /// The store of a namespace. Makes the namespace if there is none. The given options are applied in either case.
    ///
    /// # Errors
    /// `ERR_STORE_BUSY`: try again. Or the schedule cannot be started; everything else is done then.
    pub fn open(&self, namespace: &str, options: Options, patience: Duration) -> Result<Arc<Store>> {
        let mut namespaces = self.namespaces.lock();
        let entry = match namespaces.entry(namespace.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(place) => place.insert(Namespace::of(self.make(namespace)?)),
        };
        if options.concern_store() || entry.cache.is_gone() {
            entry.cache.open(patience, |cache| apply(cache, &options))?;
        }
        self.destroyed.lock().remove(namespace);
        entry.options = std::mem::take(&mut entry.options).and(options.clone());
        match options.prune {
            None => {}
            Some(Prune::Off) => entry.schedule = None,
            Some(Prune::At(pattern)) if entry.runs(&pattern) => {}
            Some(Prune::At(pattern)) => {
                let (tick, name) = (self.tick.clone(), namespace.to_owned());
                let job = self.scheduler.schedule(pattern.clone(), move || tick(&name));
                entry.schedule = Some((pattern, job.map_err(|error| Error::schedule(&error))?));
            }
        }
        Ok(entry.cache.clone())
    }

    fn make(&self, namespace: &str) -> Result<Store> {
        match &self.siblings {
            None => Ok(Store::heap(self.slots.clone())),
            Some(siblings) => siblings.open(namespace),
        }
    }

    /// Prunes a namespace whose schedule is due. Where several processes have the same schedule, the first of them prunes.
    /// Returns whether this process did.
    ///
    /// # Errors
    /// `ERR_STORE_BUSY`: another process has the lock.
    pub fn scheduled(&self, namespace: &str, now: f64) -> Result<bool> {
        let namespaces = self.namespaces.lock();
        let Some(entry) = namespaces.get(namespace) else {
            return Ok(false);
        };
        let mut cache = entry.cache.lock(LOCK_WAIT)?;
        let due = entry.schedule.as_ref().is_some_and(|(pattern, _)| {
            cache
                .storage_mut()
                .take_tick(now, |last| is_due(pattern, last, now))
        });
        if due {
            // What another process with the lock leaves of it, the next one removes.
            cache.prune(now).ok();
        }
        Ok(due)
    }

    /// The store of a namespace, if there is one. One that was destroyed is made anew, with the options that were given.
    pub fn get(&self, namespace: &str) -> Option<Arc<Store>> {
        let found = self
            .namespaces
            .lock()
            .get(namespace)
            .map(|entry| entry.cache.clone());
        found.or_else(|| {
            let options = self.destroyed.lock().get(namespace).cloned()?;
            self.open(namespace, options, LOCK_WAIT).ok()
        })
    }

    /// Destroys a namespace, with its schedule, for all processes that have it, see [`Store::destroy`]. Where siblings share
    /// it, it is looked for. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Store::destroy`]; or as [`Registry::open`], for siblings.
    pub fn destroy(&self, namespace: &str, patience: Duration) -> Result<bool> {
        let mut namespaces = self.namespaces.lock();
        let cache = match namespaces.get(namespace) {
            Some(entry) => entry.cache.clone(),
            None if self.siblings.is_some() => Arc::new(self.make(namespace)?),
            None => return Ok(false),
        };
        let was_there = cache.destroy(&self.slots, self.siblings.is_none(), patience)?;
        if let Some(entry) = namespaces.shift_remove(namespace) {
            self.any_destroyed.store(true, Relaxed);
            if self.siblings.is_none() {
                self.destroyed.lock().insert(namespace.to_owned(), entry.options);
            }
        }
        Ok(was_there)
    }

    /// Whether a namespace was destroyed since this was last asked.
    pub fn take_destroyed(&self) -> bool {
        self.any_destroyed.swap(false, Relaxed)
    }

    /// Removes a namespace and ends its schedule. Its store is dropped when nothing else in this process refers to it.
    pub fn forget(&self, namespace: &str) {
        self.namespaces.lock().shift_remove(namespace);
    }

    /// The names of all namespaces, in the order in which they were made.
    pub fn names(&self) -> Vec<String> {
        self.namespaces.lock().keys().cloned().collect()
    }
}

/// Whether the pattern has a time after `last` and not after `now`, both in milliseconds since the epoch.
fn is_due(pattern: &Pattern, last: f64, now: f64) -> bool {
    let time = |ms: f64| Local.timestamp_millis_opt(ms as i64).single();
    let next = time(last).and_then(|last| pattern.next_after(last));
    next.is_none_or(|next| next.timestamp_millis() as f64 <= now)
}

/// Applies the options that concern the cache. The schedule is not one of them.
pub fn apply<S: Storage>(cache: &mut Cache<S>, options: &Options) {
    if let Some(max_age) = options.max_age {
        cache.set_max_age(max_age);
    }
    if let Some(stale) = options.stale {
        cache.set_allow_stale(stale);
    }
    if let Some(max_entry_size) = options.max_entry_size {
        cache.set_max_entry_size(max_entry_size);
    }
    if let Some(max) = options.max {
        cache.set_max(max);
    }
    if let Some(max_size) = options.max_size {
        cache.set_max_size(max_size);
    }
    let limits = cache.limits();
    let is_unbounded =
        limits.max == f64::INFINITY && limits.max_size == f64::INFINITY && limits.max_age == 0.0;
    if let (Some(max), true) = (options.default_max, is_unbounded) {
        cache.set_max(max);
    }
}

/// Namespaces in shared memory. Tickets are text here, because they come from other processes.
#[cfg(target_os = "linux")]
impl Registry {
    /// Moves a namespace to a segment: a new one ([`Store::share`]) where `ticket` is empty, or that of the ticket
    /// ([`Store::adopt`]). Returns the ticket of the segment in which the namespace lies then.
    ///
    /// # Errors
    /// There is no such namespace; or as [`Store::adopt`].
    pub fn share(
        &self,
        namespace: &str,
        ticket: &str,
        text: impl FnMut(u32) -> Option<Vec<u8>>,
    ) -> Result<String> {
        let store = self.get(namespace).ok_or_else(|| Error::namespace(namespace))?;
        let ticket = if ticket.is_empty() {
            store.share(&self.slots, text)
        } else {
            store.adopt(&ticket.parse()?, &self.slots, text)
        };
        store.set_label(namespace);
        ticket.map(|ticket| ticket.to_string())
    }

    /// Adds a namespace whose segment another process has. It replaces a namespace of that name.
    ///
    /// # Errors
    /// See [`Store::attach`].
    pub fn attach(&self, namespace: &str, ticket: &str) -> Result<()> {
        let store = Store::attach(&ticket.parse()?)?;
        self.namespaces
            .lock()
            .insert(namespace.to_owned(), Namespace::of(store));
        Ok(())
    }

    /// The ticket of a namespace in shared memory.
    pub fn ticket(&self, namespace: &str) -> Option<String> {
        Some(self.get(namespace)?.ticket()?.to_string())
    }

    /// Frees the slots of JavaScript values whose entries other processes have removed.
    pub fn sweep(&self) {
        let stores: Vec<_> = self
            .namespaces
            .lock()
            .values()
            .map(|entry| entry.cache.clone())
            .collect();
        for store in stores.iter().filter(|store| store.has_released()) {
            // Taking the lock frees the slots. Where the lock is taken, a later sweep frees them.
            store.lock(Duration::ZERO).ok();
        }
    }
}

#[cfg(not(target_os = "linux"))]
#[allow(missing_docs)]
impl Registry {
    pub fn share(&self, _: &str, _: &str, _: impl FnMut(u32) -> Option<Vec<u8>>) -> Result<String> {
        Err(Error::no_shared_memory())
    }

    pub fn attach(&self, _: &str, _: &str) -> Result<()> {
        Err(Error::no_shared_memory())
    }

    pub fn ticket(&self, _: &str) -> Option<String> {
        None
    }

    pub fn sweep(&self) {}
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("names", &self.names())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry::new(Slots::default(), Arc::new(|_| {}))
    }

    fn options(json: &str) -> Options {
        Options::parse(json).unwrap()
    }

    #[test]
    fn one_namespace_is_one_cache_and_later_options_change_it() {
        let registry = registry();
        let first = registry
            .open("a", options(r#"{"max":3,"maxSize":1e6,"maxAge":5}"#), LOCK_WAIT)
            .unwrap();
        let second = registry
            .open(
                "a",
                options(r#"{"maxAge":7,"maxSize":2e6,"maxEntrySize":1e6,"stale":true}"#),
                LOCK_WAIT,
            )
            .unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let limits = first.lock(LOCK_WAIT).unwrap().limits();
        assert_eq!((limits.max, limits.max_age, limits.allow_stale), (3.0, 7.0, true));
        assert_eq!((limits.max_size, limits.max_entry_size), (2e6, 1e6));
        assert!(!Arc::ptr_eq(
            &first,
            &registry.open("b", Options::default(), LOCK_WAIT).unwrap()
        ));
    }

    #[test]
    fn the_same_pattern_keeps_its_schedule_and_another_replaces_it() {
        let registry = registry();
        let running = |registry: &Registry| {
            registry.namespaces.lock()["a"]
                .schedule
                .as_ref()
                .map(|(pattern, _)| pattern.as_str().to_owned())
        };
        registry
            .open("a", options(r#"{"prune":"0 0 1 1 *"}"#), LOCK_WAIT)
            .unwrap();
        registry
            .open("a", options(r#"{"prune":"0 0 1 1 *"}"#), LOCK_WAIT)
            .unwrap();
        assert_eq!(running(&registry).as_deref(), Some("0 0 1 1 *"));
        registry.open("a", Options::default(), LOCK_WAIT).unwrap();
        assert_eq!(running(&registry).as_deref(), Some("0 0 1 1 *"));
        registry
            .open("a", options(r#"{"prune":"0 0 2 1 *"}"#), LOCK_WAIT)
            .unwrap();
        assert_eq!(running(&registry).as_deref(), Some("0 0 2 1 *"));
        registry
            .open("a", options(r#"{"prune":false}"#), LOCK_WAIT)
            .unwrap();
        assert_eq!(running(&registry), None);
    }

    /// Processes that share without a primary; those with another identity never meet them.
    #[cfg(target_os = "linux")]
    fn siblings(identity: &str) -> Registry {
        let parent = std::os::unix::process::parent_id();
        registry().with_siblings(Siblings {
            identity: format!("{identity} {}", std::process::id()),
            parent,
        })
    }

    #[cfg(target_os = "linux")]
    fn keys(store: &Store) -> Vec<Vec<u8>> {
        let cache = store.lock(LOCK_WAIT).unwrap();
        let mut keys = vec![];
        let visited = cache.visit_keys(|key| {
            keys.push(key.to_vec());
            Ok(())
        });
        visited.unwrap();
        keys
    }

    /// A namespace with entries whose values are the number.
    #[cfg(target_os = "linux")]
    fn filled(registry: &Registry, keys: [&str; 2], number: f64) -> Arc<Store> {
        let store = registry.open("n", Options::default(), LOCK_WAIT).unwrap();
        for key in keys {
            let value = crate::value::Value::Number(number);
            let mut cache = store.lock(LOCK_WAIT).unwrap();
            cache.set(key.as_bytes(), value, None, 0.0).unwrap();
        }
        store
    }

    #[test]
    fn a_namespace_that_was_destroyed_begins_anew() {
        let registry = registry();
        assert_eq!(registry.destroy("n", LOCK_WAIT), Ok(false), "there was none");
        let given = options(r#"{"max":3,"prune":"* * * * *"}"#);
        let old = registry.open("n", given.clone(), LOCK_WAIT).unwrap();
        assert_eq!(registry.destroy("n", LOCK_WAIT), Ok(true));
        assert_eq!(registry.destroy("n", LOCK_WAIT), Ok(false));
        assert!(registry.take_destroyed() && !registry.take_destroyed());
        assert!(registry.names().is_empty());
        assert!(old.is_gone());
        assert_eq!(old.lock(LOCK_WAIT).err(), Some(Error::gone()));
        let is_scheduled = |registry: &Registry| registry.namespaces.lock()["n"].schedule.is_some();
        // A call of an instance that there was: with the options that were given.
        let anew = registry.get("n").unwrap();
        assert_eq!(anew.lock(LOCK_WAIT).unwrap().limits().max, 3.0);
        assert!(is_scheduled(&registry));
        // A new instance: with its own.
        registry.destroy("n", LOCK_WAIT).unwrap();
        let fresh = registry.open("n", Options::default(), LOCK_WAIT).unwrap();
        assert_eq!(fresh.lock(LOCK_WAIT).unwrap().limits().max, f64::INFINITY);
        assert!(!is_scheduled(&registry));
        assert!(Arc::ptr_eq(&fresh, &registry.get("n").unwrap()));
    }

    #[test]
    fn nothing_is_destroyed_while_a_function_of_the_application_runs() {
        let registry = registry();
        let store = registry.open("n", Options::default(), LOCK_WAIT).unwrap();
        let hold = store.hold(LOCK_WAIT).unwrap();
        assert_eq!(registry.destroy("n", LOCK_WAIT), Err(Error::busy()));
        drop(hold);
        assert_eq!(registry.destroy("n", LOCK_WAIT), Ok(true));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn siblings_open_again_what_one_of_them_destroyed() {
        let (one, two) = (siblings("end"), siblings("end"));
        assert_eq!(one.destroy("n", LOCK_WAIT), Ok(false), "nobody has opened it");
        let store = filled(&one, ["sa", "sb"], 1.0);
        let other = two.open("n", options(r#"{"max":1}"#), LOCK_WAIT).unwrap();
        assert_eq!(keys(&store).len(), 1);
        assert_eq!(two.destroy("n", LOCK_WAIT), Ok(true));
        assert_eq!(one.destroy("n", LOCK_WAIT), Ok(false), "the other did");
        assert_eq!(store.lock(LOCK_WAIT).err(), Some(Error::gone()));
        assert_eq!(other.lock(LOCK_WAIT).err(), Some(Error::gone()));
        filled(&one, ["sa", "sb"], 2.0);
        let joined = two.open("n", Options::default(), LOCK_WAIT).unwrap();
        assert_eq!(keys(&joined).len(), 2);
        let stats = joined.lock(LOCK_WAIT).unwrap().storage().stats();
        assert_eq!(
            stats.counts.get(crate::stats::Event::Set),
            2,
            "of this namespace alone"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn workers_ask_the_primary_for_what_it_destroyed() {
        let nothing = |_| None;
        let primary = registry();
        primary.open("n", Options::default(), LOCK_WAIT).unwrap();
        let ticket = primary.share("n", "", nothing).unwrap();
        let worker = registry();
        worker.attach("n", &ticket).unwrap();
        assert_eq!(primary.destroy("n", LOCK_WAIT), Ok(true));
        let store = worker.get("n").unwrap();
        assert_eq!(store.lock(LOCK_WAIT).err(), Some(Error::moved()));
        let opened = worker.open("n", options(r#"{"max":1}"#), LOCK_WAIT);
        assert_eq!(
            opened.err(),
            Some(Error::moved()),
            "it is not for a worker to open it"
        );
        // With the ticket of the old segment, too, the primary makes a new one.
        let ticket = worker.ticket("n").unwrap();
        primary.open("n", Options::default(), LOCK_WAIT).unwrap();
        let new = primary.share("n", &ticket, nothing).unwrap();
        assert_ne!(new.rsplit(':').next(), ticket.rsplit(':').next());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_primary_takes_over_what_its_workers_have() {
        let nothing = |_| None;
        let (one, two) = (siblings("one"), siblings("two"));
        let theirs = filled(&one, ["sa", "sb"], 1.0);
        let others = filled(&two, ["sb", "sc"], 2.0);

        let primary = registry();
        let own = filled(&primary, ["sd", "se"], 3.0);
        let ticket = primary.share("n", &one.ticket("n").unwrap(), nothing).unwrap();
        assert_eq!(keys(&theirs), [b"se", b"sd", b"sb", b"sa"], "it is one store now");
        let same = primary.share("n", &two.ticket("n").unwrap(), nothing).unwrap();
        assert_eq!(ticket, same);
        assert_eq!(keys(&own), [b"sc", b"se", b"sd", b"sb", b"sa"]);
        let found = own
            .lock(LOCK_WAIT)
            .unwrap()
            .peek(b"sb", 0.0, |value| Ok(value.to_owned()));
        assert_eq!(found, Ok(Some(crate::value::OwnedValue::Number(1.0))));

        // Nobody goes on with the other one, nor begins a third.
        assert_eq!(others.lock(LOCK_WAIT).err(), Some(Error::moved()));
        let late = siblings("two").open("n", Options::default(), LOCK_WAIT);
        assert_eq!(late.err(), Some(Error::moved()));
        two.forget("n");
        drop(others);
        assert!(siblings("two").open("n", Options::default(), LOCK_WAIT).is_ok());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn counts_move_with_the_entries() {
        let nothing = |_| None;
        let workers = siblings("counts");
        filled(&workers, ["sa", "sb"], 1.0);
        let ticket = workers.ticket("n").unwrap();
        let sets = |store: &Store| {
            let stats = store.lock(LOCK_WAIT).unwrap().stats();
            stats.counts.get(crate::stats::Event::Set)
        };
        let first = registry();
        let own = filled(&first, ["sc", "sd"], 2.0);
        first.share("n", "", nothing).unwrap();
        assert_eq!(sets(&own), 2, "from the heap to a segment");
        first.share("n", &ticket, nothing).unwrap();
        assert_eq!(sets(&own), 4, "from one segment to another");
        let second = registry();
        let other = filled(&second, ["se", "sf"], 3.0);
        let others = filled(&siblings("more counts"), ["sg", "sh"], 1.0);
        let ticket = others.ticket().unwrap();
        second.share("n", &ticket.to_string(), nothing).unwrap();
        assert_eq!(sets(&other), 4, "from the heap to a segment that there is");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_counted_once_from_the_time_on_that_its_javascript_makes_calls() {
        let workers = siblings("processes");
        let first = filled(&workers, ["sa", "sb"], 1.0);
        // Another thread of this process, say.
        let second = siblings("processes")
            .open("n", Options::default(), LOCK_WAIT)
            .unwrap();
        let processes = || first.lock(LOCK_WAIT).unwrap().stats().processes;
        assert_eq!(processes(), 0);
        for store in [&first, &second] {
            store.lock(LOCK_WAIT).unwrap().storage_mut().control();
            assert_eq!(processes(), 1);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_primary_has_taken_over_no_other_can() {
        let nothing = |_| None;
        let workers = siblings("held");
        filled(&workers, ["sa", "sb"], 1.0);
        let ticket = workers.ticket("n").unwrap();
        let first = registry();
        filled(&first, ["sc", "sd"], 2.0);
        first.share("n", &ticket, nothing).unwrap();

        let second = registry();
        let own = filled(&second, ["se", "sf"], 3.0);
        assert_eq!(second.share("n", &ticket, nothing).err(), Some(Error::held()));
        let other = second.share("n", "", nothing).unwrap();
        assert_eq!(second.share("n", &ticket, nothing), Ok(other));
        assert_eq!(keys(&own), [b"sf", b"se"]);
        assert_eq!(keys(&first.get("n").unwrap()).len(), 4);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_busy_store_is_taken_over_later() {
        let nothing = |_| None;
        let (one, two) = (siblings("busy one"), siblings("busy two"));
        let primary = registry();
        let own = filled(&primary, ["sd", "se"], 3.0);
        for (workers, before) in [(&one, 2), (&two, 3)] {
            let theirs = filled(workers, ["sa", &format!("s{before}")], 1.0);
            let ticket = workers.ticket("n").unwrap();
            // By another thread: one that comes for a lock is never inside already.
            let (is_held, held) = crossbeam_channel::bounded(0);
            let (go_on, waits) = crossbeam_channel::bounded::<()>(0);
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let _stopped = theirs.lock(LOCK_WAIT).unwrap();
                    is_held.send(()).unwrap();
                    waits.recv().ok();
                });
                held.recv().unwrap();
                assert_eq!(primary.share("n", &ticket, nothing).err(), Some(Error::busy()));
                drop(go_on);
            });
            primary.share("n", &ticket, nothing).unwrap();
        }
        assert_eq!(keys(&own).len(), 5);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_hold_lets_its_own_thread_in_and_nobody_else() {
        let workers = siblings("hold");
        let store = filled(&workers, ["sa", "sb"], 1.0);
        // Another attachment of the segment, as another copy of the package in this process has it.
        let other = siblings("hold").open("n", Options::default(), LOCK_WAIT).unwrap();
        let has = |store: &Store, key: &[u8]| store.lock(LOCK_WAIT).and_then(|cache| cache.has(key, 0.0));

        let outer = store.hold(LOCK_WAIT).unwrap();
        let inner = store.hold(LOCK_WAIT).unwrap();
        assert_eq!(has(&store, b"sa"), Ok(true));
        drop(inner);
        store.lock(LOCK_WAIT).unwrap().del(b"sa").unwrap();
        assert_eq!(has(&other, b"sa"), Err(Error::busy()), "the same thread");
        std::thread::scope(|scope| {
            for store in [&store, &other] {
                let found = scope.spawn(move || has(store, b"sa")).join().unwrap();
                assert_eq!(found, Err(Error::busy()), "another thread");
            }
        });
        drop(outer);
        assert_eq!(has(&other, b"sa"), Ok(false));
        assert_eq!(
            std::thread::scope(|scope| scope.spawn(|| has(&store, b"sb")).join().unwrap()),
            Ok(true)
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn each_time_of_a_schedule_is_done_once_in_all() {
        let (a, b) = (siblings("tick"), siblings("tick"));
        for registry in [&a, &b] {
            registry
                .open("n", options(r#"{"prune":"* * * * * *"}"#), LOCK_WAIT)
                .unwrap();
        }
        assert_eq!(a.scheduled("n", 5001.0), Ok(true));
        assert_eq!(b.scheduled("n", 5002.0), Ok(false));
        assert_eq!(
            b.scheduled("n", 5000.0),
            Ok(false),
            "it asked the time before it had the lock"
        );
        assert_eq!(b.scheduled("n", 6000.0), Ok(true));
        assert_eq!(a.scheduled("n", 6000.0), Ok(false));
        assert_eq!(a.scheduled("n", 3000.0), Ok(true), "the clock was set back");
        a.forget("n");
        assert_eq!(a.scheduled("n", 9000.0), Ok(false));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn children_of_nobody_share_nothing() {
        let orphan = registry().with_siblings(Siblings {
            identity: "orphan".into(),
            parent: u32::MAX,
        });
        let refused = orphan.open("n", Options::default(), LOCK_WAIT).err().unwrap();
        assert_eq!(refused.code.as_str(), "ERR_STORE_PEERS");
    }
}
