//! Any bytes at all, as the batches of workers: an empty line ends a batch.

#![no_main]

#[path = "../../tests/support/batch.rs"]
#[allow(dead_code)]
mod batch;
#[path = "../../tests/support/validate.rs"]
mod validate;

use batch::Primary;
use libfuzzer_sys::fuzz_target;
use lru_cache_for_clusters::{key::Key, store::LOCK_WAIT, value::Value};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let primary = Primary::new();
    primary.send(
        "[1,0,\"n\",\"open\",{\"max\":9}]\n[2,0,\"n\",\"set\",\"a\",0,1,50]\n[3,0,\"kept\",\"open\",{}]",
        0.0,
    );
    let cache = primary.registry.get("kept").expect("a namespace");
    let value = Value::Slot(primary.slots.take());
    cache
        .lock(LOCK_WAIT)
        .unwrap()
        .set(Key::string(b"js").as_bytes(), value, None, 0.0)
        .expect("memory");

    for (turn, batch) in text.split("\n\n").enumerate() {
        primary.send(batch, turn as f64 * 30.0);
        primary.validate();
    }
    let answers = primary.send("[4,0,\"n\",\"open\",{}]\n[5,0,\"n\",\"get\",\"a\"]", 0.0);
    assert_eq!(answers[0].payload, "true");
    if !text.contains("kept") && !text.contains('\\') {
        assert_eq!(
            cache.lock(LOCK_WAIT).unwrap().len(),
            1,
            "nobody asked for this namespace"
        );
    }
});
