//! The namespaces of one process: which caches there are, and their schedules.

use indexmap::IndexMap;
use parking_lot::Mutex;
use std::{fmt, sync::Arc};

use crate::{
    cache::Cache,
    error::{Error, Result},
    options::{Options, Prune},
    prune::{Job, Pattern, Scheduler},
    slots::Slots,
    storage::heap::HeapStorage,
};

/// A cache that several hands hold.
pub type SharedCache = Arc<Mutex<Cache<HeapStorage>>>;

/// What a schedule does at its time: called with the namespace, on the scheduler's thread.
pub type Tick = Arc<dyn Fn(&str) + Send + Sync>;

/// Every namespace of one process (or of one copy of the package in it).
pub struct Registry {
    namespaces: Mutex<IndexMap<String, Namespace>>,
    slots: Slots,
    scheduler: Scheduler,
    tick: Tick,
}

struct Namespace {
    cache: SharedCache,
    schedule: Option<(Pattern, Job)>,
}

impl Namespace {
    /// Whether this schedule runs already.
    fn runs(&self, pattern: &Pattern) -> bool {
        self.schedule
            .as_ref()
            .is_some_and(|(running, _)| running == pattern)
    }
}

impl Registry {
    /// No namespaces yet. `tick` prunes a namespace when its schedule says so.
    pub fn new(slots: Slots, tick: Tick) -> Self {
        Self {
            namespaces: Mutex::default(),
            slots,
            scheduler: Scheduler::new(),
            tick,
        }
    }

    /// The cache of a namespace, made if there is none; the options given change one that exists.
    ///
    /// # Errors
    /// A schedule cannot be started; all else is done.
    pub fn open(&self, namespace: &str, options: Options) -> Result<SharedCache> {
        let mut namespaces = self.namespaces.lock();
        let entry = namespaces
            .entry(namespace.to_owned())
            .or_insert_with(|| Namespace {
                cache: new_cache(self.slots.clone()),
                schedule: None,
            });
        apply(&mut entry.cache.lock(), &options);
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

    /// The cache of a namespace, if there is one.
    pub fn get(&self, namespace: &str) -> Option<SharedCache> {
        self.namespaces
            .lock()
            .get(namespace)
            .map(|entry| entry.cache.clone())
    }

    /// The names of all namespaces, in the order they were made.
    pub fn names(&self) -> Vec<String> {
        self.namespaces.lock().keys().cloned().collect()
    }
}

/// An empty cache that belongs to no namespace.
pub fn new_cache(slots: Slots) -> SharedCache {
    Arc::new(Mutex::new(Cache::new(HeapStorage::new(slots))))
}

/// Applies the options that concern the store itself.
pub fn apply(cache: &mut Cache<HeapStorage>, options: &Options) {
    if let Some(max_age) = options.max_age {
        cache.set_max_age(max_age);
    }
    if let Some(stale) = options.stale {
        cache.set_allow_stale(stale);
    }
    if let Some(max) = options.max {
        cache.set_max(max);
    }
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
        let first = registry.open("a", options(r#"{"max":3,"maxAge":5}"#)).unwrap();
        let second = registry
            .open("a", options(r#"{"maxAge":7,"stale":true}"#))
            .unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let limits = first.lock().limits();
        assert_eq!((limits.max, limits.max_age, limits.allow_stale), (3.0, 7.0, true));
        assert!(!Arc::ptr_eq(
            &first,
            &registry.open("b", Options::default()).unwrap()
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
        registry.open("a", options(r#"{"prune":"0 0 1 1 *"}"#)).unwrap();
        registry.open("a", options(r#"{"prune":"0 0 1 1 *"}"#)).unwrap();
        assert_eq!(running(&registry).as_deref(), Some("0 0 1 1 *"));
        registry.open("a", Options::default()).unwrap();
        assert_eq!(running(&registry).as_deref(), Some("0 0 1 1 *"));
        registry.open("a", options(r#"{"prune":"0 0 2 1 *"}"#)).unwrap();
        assert_eq!(running(&registry).as_deref(), Some("0 0 2 1 *"));
        registry.open("a", options(r#"{"prune":false}"#)).unwrap();
        assert_eq!(running(&registry), None);
    }
}
