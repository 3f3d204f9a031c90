//! The primary's side of the message door: a batch of requests in, a reply out. Nothing a worker can send may
//! do more harm than an error answer to the request at fault.

use serde_json::value::RawValue;

use crate::{
    cache::{Cache, DumpEntry},
    error::{Error, Result},
    key::Key,
    options::{self, Options},
    protocol::{self, Part, Reply, Request},
    registry::Registry,
    storage::Storage,
    value::OwnedValue,
};

/// Answers a batch. `now` is in milliseconds since the epoch.
///
/// ```
/// use lru_cache_for_clusters::{handler, protocol::Part, registry::Registry, slots::Slots};
///
/// let registry = Registry::new(Slots::default(), std::sync::Arc::new(|_| {}));
/// let batch = "[1,0,\"users\",\"()\",{\"max\":9}]\n[2,0,\"users\",\"incr\",\"hits\",2]";
/// let reply = handler::handle(&registry, batch, 0.0);
/// assert_eq!(reply, [Part::Ready("1,0,true,2,0,2".into())]);
/// ```
pub fn handle(registry: &Registry, batch: &str, now: f64) -> Vec<Part> {
    let mut reply = Reply::default();
    for line in batch.lines().filter(|line| !line.is_empty()) {
        match Request::parse(line) {
            Ok(request) => {
                reply.answer(request.id, request.mode, |reply| {
                    answer(registry, &request, now, reply)
                });
            }
            Err(bad) => {
                if let Some(id) = bad.id {
                    reply.answer(id, protocol::Mode::Json, |_| Err(bad.error));
                }
            }
        }
    }
    reply.finish()
}

fn answer(registry: &Registry, request: &Request<'_>, now: f64, reply: &mut Reply) -> Result<()> {
    if request.command == "()" {
        registry.open(&request.namespace, Options::parse(request.json(0))?)?;
        reply.json("true");
        return Ok(());
    }
    let cache = registry
        .get(&request.namespace)
        .ok_or_else(|| Error::namespace(&request.namespace))?;
    run(&mut cache.lock(), request, now, reply)
}

/// One command on one cache. The commands are those of the 1.x API.
fn run<S: Storage>(cache: &mut Cache<S>, request: &Request<'_>, now: f64, reply: &mut Reply) -> Result<()> {
    match &*request.command {
        "get" => {
            let key = request.key(0)?;
            cache
                .get(key.as_bytes(), now, |value| reply.value(value))
                .unwrap_or_else(|| reply.miss());
        }
        "peek" => {
            let key = request.key(0)?;
            cache
                .peek(key.as_bytes(), now, |value| reply.value(value))
                .unwrap_or_else(|| reply.miss());
        }
        "has" => {
            let found = cache.has(request.key(0)?.as_bytes(), now);
            reply.json(bool(found));
        }
        "set" => {
            let (key, value) = (request.key(0)?, request.value(1)?);
            let max_age = request.number(3, "maxAge")?;
            let stored = cache.set(key.as_bytes(), value.value(), max_age, now)?;
            reply.json(bool(stored));
        }
        "del" => {
            cache.del(request.key(0)?.as_bytes());
            reply.json("null");
        }
        command @ ("incr" | "decr") => {
            let key = request.key(0)?;
            let amount = request.number(1, "amount")?.unwrap_or(1.0);
            let max_age = request.number(2, "maxAge")?;
            let amount = if command == "decr" { -amount } else { amount };
            let sum = cache.incr(key.as_bytes(), amount, max_age, now)?;
            reply.value(crate::value::Value::Number(sum));
        }
        "mGet" => {
            let keys = keys(&request.list(0))?;
            reply.list(&keys, |reply, key| {
                cache
                    .get(key.as_bytes(), now, |value| reply.value(value))
                    .unwrap_or_else(|| reply.miss());
            });
        }
        "mSet" => {
            // Everything is read before anything is stored: a request is done whole or not at all.
            let pairs = request.list(0);
            let max_age = request.number(1, "maxAge")?;
            let pairs = pairs
                .chunks(3)
                .map(|pair| match pair {
                    [key, kind, payload] => Ok((protocol::key(key)?, protocol::value(kind, payload)?)),
                    _ => Err(Error::request("mSet needs a key and a value each")),
                })
                .collect::<Result<Vec<_>>>()?;
            for (key, value) in &pairs {
                cache.set(key.as_bytes(), value.value(), max_age, now)?;
            }
            reply.json("true");
        }
        "mDel" => {
            for key in keys(&request.list(0))? {
                cache.del(key.as_bytes());
            }
            reply.json("true");
        }
        "reset" => {
            cache.reset();
            reply.json("null");
        }
        "prune" => {
            cache.prune(now);
            reply.json("null");
        }
        "keys" => reply.list(cache.iter(), |reply, entry| reply.key(entry.key)),
        "values" => reply.list(cache.iter(), |reply, entry| reply.value(entry.value)),
        "dump" => reply.list(cache.dump(now), |reply, entry| {
            reply.key(entry.key.as_bytes());
            reply.comma();
            reply.value(entry.value);
            reply.comma();
            reply.number(entry.expires);
        }),
        "load" => {
            let entries = request
                .list(0)
                .chunks(4)
                .map(|entry| match entry {
                    [key, kind, payload, expires] => dump_entry(key, kind, payload, expires),
                    _ => Err(Error::request("load needs a key, a value and a time each")),
                })
                .collect::<Result<Vec<_>>>()?;
            cache.load(&entries, now)?;
            reply.json("null");
        }
        "pop" => {
            let popped = cache.pop(|entry| {
                reply.list([entry], |reply, entry| {
                    reply.key(entry.key);
                    reply.comma();
                    reply.value(entry.value);
                    reply.comma();
                    reply.number(entry.stamp.set_at);
                    reply.comma();
                    reply.number(entry.stamp.max_age);
                });
            });
            if popped.is_none() {
                reply.json("null");
            }
        }
        "length" | "itemCount" => {
            let length = cache.len();
            reply.json(&length.to_string());
        }
        "max" => {
            if let Some(max) = request.option(0)? {
                cache.set_max(options::max(&max)?);
            }
            reply.value(crate::value::Value::Number(cache.limits().max));
        }
        "maxAge" => {
            if let Some(max_age) = request.option(0)? {
                cache.set_max_age(options::max_age(&max_age)?);
            }
            reply.value(crate::value::Value::Number(cache.limits().max_age));
        }
        "allowStale" | "stale" => {
            if let Some(stale) = request.option(0)? {
                cache.set_allow_stale(options::stale(&stale)?);
            }
            reply.json(bool(cache.limits().allow_stale));
        }
        unknown => return Err(Error::command(unknown)),
    }
    Ok(())
}

fn bool(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn keys(list: &[&RawValue]) -> Result<Vec<Key>> {
    list.iter().map(|raw| protocol::key(raw)).collect()
}

fn dump_entry(
    key: &RawValue,
    kind: &RawValue,
    payload: &RawValue,
    expires: &RawValue,
) -> Result<DumpEntry<OwnedValue>> {
    Ok(DumpEntry {
        key: protocol::key(key)?,
        value: protocol::value(kind, payload)?.into_owned(),
        expires: expires.get().parse().unwrap_or(0.0),
    })
}
