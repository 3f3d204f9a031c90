//! The shared store, on plain memory, against the plain model of the rules.

mod support;

use lru_cache_for_clusters::{
    slots::Slots,
    storage::shared::{Geometry, Segment, memory::PlainMemory, segment::SegmentId},
};

fn segment(slots: Slots) -> Segment<PlainMemory> {
    let geometry = Geometry::for_bytes(1 << 20);
    let identity = SegmentId {
        seed: 7,
        nonce: [1, 2],
    };
    let segment = Segment::create(PlainMemory::new(geometry.reserved()), geometry, identity);
    segment.expect("memory").with_slots(slots)
}

#[test]
fn the_shared_store_does_what_the_model_does() {
    support::replay::check(true, segment);
}
