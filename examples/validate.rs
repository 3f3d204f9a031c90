//! Attaches the store that a ticket leads to, and compares each of its structures with the others:
//! `cargo run --no-default-features --example validate <ticket>`. It ends with 1 where they do not fit.

#[cfg(target_os = "linux")]
fn main() -> Result<(), String> {
    use lru_cache_for_clusters::{
        storage::shared::memfd::Ticket,
        store::{Place, Store},
    };
    use std::{env, time::Duration};

    let text = env::args().nth(1).ok_or("which ticket?")?;
    let ticket = text.parse::<Ticket>().map_err(|error| error.into_message())?;
    let store = Store::attach(&ticket).map_err(|error| error.into_message())?;
    let cache = store
        .lock(Duration::from_secs(10))
        .map_err(|error| error.into_message())?;
    let Place::Shared(segment) = cache.storage() else {
        return Err("it is not shared".into());
    };
    segment.validate()?;
    let (rebuilt, dropped) = segment.recoveries();
    println!(
        "{} entries, {} bytes, rebuilt {rebuilt} times, {dropped} rows dropped",
        cache.len(),
        segment.memory().committed()
    );
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {}
