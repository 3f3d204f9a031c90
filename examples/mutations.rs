//! Times of mutations of a cache in shared memory, without Node: `cargo run --release --no-default-features --example
//! mutations [rounds [name]]`. Prints one line for each kind of call: its name, and the first decile and the
//! median of the rounds, in nanoseconds a call. A round is short, so that many are not disturbed by other processes.

#[cfg(target_os = "linux")]
fn main() {
    use lru_cache_for_clusters::{
        storage::shared::Segment,
        store::{Guard, Store},
        value::Value,
    };
    use std::{
        env,
        time::{Duration, Instant},
    };

    const KEYS: usize = 10_000;
    const CALLS: usize = 1000;
    const OBJECT: &str = r#"{"id":12345,"name":"some name","mail":"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm","tags":["a","b"]}"#;

    type Call<'a> = &'a dyn Fn(&mut Guard<'_>, &[u8], usize);

    let rounds = env::args()
        .nth(1)
        .map_or(301, |rounds| rounds.parse().expect("a number"));
    let keys: Vec<Vec<u8>> = (0..KEYS * 4)
        .map(|at| format!("skey:{:06}", at * 7919 % (KEYS * 4)).into_bytes())
        .collect();
    let long = vec![b'v'; 10_000];
    let calls: [(&str, usize, Call<'_>); 8] = [
        ("set, new key, number", CALLS, &|cache, key, at| {
            cache
                .set(key, Value::Number(at as f64), None, 0.0)
                .map(drop)
                .expect("memory");
        }),
        ("set, new key, 99-byte object", CALLS, &|cache, key, _| {
            cache
                .set(key, Value::Json(OBJECT), None, 0.0)
                .map(drop)
                .expect("memory");
        }),
        ("set, replaces, 99-byte object", CALLS, &|cache, key, _| {
            cache
                .set(key, Value::Json(OBJECT), None, 0.0)
                .map(drop)
                .expect("memory");
        }),
        ("set, replaces, 10 kB string", CALLS / 10, &|cache, key, _| {
            cache
                .set(key, Value::String(&long), None, 0.0)
                .map(drop)
                .expect("memory");
        }),
        ("set, evicts, number", CALLS, &|cache, key, at| {
            cache
                .set(key, Value::Number(at as f64), None, 0.0)
                .map(drop)
                .expect("memory");
        }),
        ("set, evicts, 99-byte object", CALLS, &|cache, key, _| {
            cache
                .set(key, Value::Json(OBJECT), None, 0.0)
                .map(drop)
                .expect("memory");
        }),
        ("get of a string", CALLS, &|cache, key, _| {
            cache.get(key, 0.0, |_| Ok(())).map(drop).expect("memory");
        }),
        ("incr", CALLS, &|cache, key, _| {
            cache.incr(key, 1.0, None, 0.0).map(drop).expect("memory");
        }),
    ];
    let wanted = env::args().nth(2).unwrap_or_default();
    for (name, count, call) in calls {
        if !name.contains(&wanted) {
            continue;
        }
        let store = Store::shared(Segment::make("").expect("shared memory"));
        let lock = || store.lock(Duration::from_secs(10)).expect("the lock");
        let is_new = name.contains("new key");
        let evicts = name.contains("evicts");
        if evicts {
            lock().set_max(KEYS as f64);
        }
        let over = if evicts { keys.len() } else { KEYS };
        if !is_new {
            for (at, key) in keys[..over].iter().enumerate() {
                match name.starts_with("get") {
                    true => drop(lock().set(key, Value::String(b"a string"), None, 0.0)),
                    false => call(&mut lock(), key, at),
                }
            }
        }
        let mut at = 0;
        let mut times = vec![];
        for _ in 0..rounds {
            if is_new {
                while lock().pop(|_| Ok(())).expect("memory").is_some() {}
            }
            let started = Instant::now();
            for _ in 0..count {
                call(&mut lock(), &keys[at % over], at);
                at += 1;
            }
            times.push(started.elapsed().as_nanos() as f64 / count as f64);
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{name}\t{:.1}\t{:.1}",
            times[times.len() / 10],
            times[times.len() / 2]
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}
