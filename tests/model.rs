//! The store against a plain model of its rules.

mod support;

use lru_cache_for_clusters::storage::heap::HeapStorage;

#[test]
fn the_heap_store_does_what_the_model_does() {
    support::replay::check(false, HeapStorage::new);
}

#[test]
fn a_worker_sees_what_the_model_does() {
    support::replay::check_messages();
}
