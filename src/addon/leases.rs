//! Leases, as JavaScript uses them (`lib/store/leases.js`): see [`crate::lease`]. A result is a value as of `get`, and what else
//! there is to say lies in an array of numbers that JavaScript passes.

use napi::{bindgen_prelude::Function as JsFunction, threadsafe_function::ThreadsafeFunctionCallMode};
use napi_derive::napi;
use std::cell::Cell;

use super::{
    arguments::{InOrder, max_age},
    caches::{Handle, NOTHING, NativeCache, handle_by_index},
    call::{Call, JsValue, Type},
    store::{Given, lock, on_cache, on_key},
};
use crate::{
    cache::Terms,
    command::Arguments,
    error::{Error, Result},
    extras::{Extras, TagList},
    lease::{Claim, Failure, Look, Outcome, boot_time},
    storage::Kept,
    store::{
        Store,
        leases::{How, Takes},
    },
    value::{Mark, Value},
};

/// States of a claim and of a look, for JavaScript: `STATES` in `lib/store/leases.js`.
mod state {
    pub const HIT: f64 = 0.0;
    pub const LEASED: f64 = 1.0;
    pub const HELD: f64 = 2.0;
    pub const FULL: f64 = 3.0;
    pub const RUNNING: f64 = 4.0;
    pub const SETTLED: f64 = 5.0;
    pub const UNSTORED: f64 = 6.0;
    pub const ERROR: f64 = 7.0;
    pub const GONE: f64 = 8.0;
    pub const FAILED: f64 = 9.0;
    pub const VOID: f64 = 10.0;
    pub const RESTING: f64 = 11.0;
}

/// Writes numbers into the array that JavaScript has passed, as many as fit.
fn write(numbers: &[Cell<f64>], values: &[f64]) {
    for (cell, value) in numbers.iter().zip(values) {
        cell.set(*value);
    }
}

/// `leaseClaim(cache, key, now, numbers, fresh, renews, timeout, process)`: the value of an entry. `numbers` gets the state, the token
/// (or for how long the key rests), when the entry was set and when it expires, and 1 where it is no hit. `timeout` is in milliseconds;
/// `process` is that of the owner, where it is another.
pub fn claim(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let now = call.clock(call.argument(2));
        let numbers = call.typed_array::<f64>(call.argument(3));
        if numbers.len() < 5 {
            return Err(Error::argument("numbers must have a place for each number"));
        }
        numbers[4].set(0.0);
        let process = call.index(call.argument(7));
        let how = How {
            timeout: call.number(call.argument(6)) as u64,
            fresh: call.bool(call.argument(4)),
            renews: call.bool(call.argument(5)),
            process: (process != 0).then_some(process),
        };
        let mut found = handle.table.found.borrow_mut();
        found.clear();
        let (claim, entry) = handle
            .store
            .claim(key, how, now, handle.lock_wait, |value, past| {
                let [set_at, expires, is_past] =
                    past.map_or([0.0; 3], |past| [past.set_at, past.expires, 1.0]);
                write(&numbers[2..], &[set_at, expires, is_past]);
                found.clear();
                found.copy(value)
            })?;
        handle.remember(|| entry);
        match claim {
            Claim::Hit { set_at, expires, .. } => write(numbers, &[state::HIT, 0.0, set_at, expires]),
            Claim::Leased(token) => write(numbers, &[state::LEASED, token]),
            Claim::Held(lease) => write(numbers, &[state::HELD, lease.token]),
            Claim::Full => write(numbers, &[state::FULL]),
            Claim::Resting(left) => write(numbers, &[state::RESTING, left as f64]),
            Claim::Error(()) => write(numbers, &[state::FAILED]),
        }
        found.show(call, &handle.table)
    })
}

/// A call that settles a lease: `NAME(cache, now, key, payload, places, token, last)`. `run` is given key, token and value.
fn settling(call: &Call, run: impl FnOnce(&Handle, &[u8], f64, Value<'_>) -> Result<u8>) -> Given {
    on_cache(call, |handle| {
        let mut arguments = InOrder::new(call, handle);
        let done = || {
            let key = arguments.key()?;
            let value = arguments.value()?;
            let token = arguments.number("token")?.unwrap_or_default();
            run(handle, key.as_bytes(), token, value.value())
        };
        match done() {
            Ok(how) => Ok(handle.table.mark(Mark::Plain, call.js_number(how.into()))),
            Err(error) => {
                // A slot that was declined is freed already, and stays so.
                arguments.give_back();
                Err(error)
            }
        }
    })
}

/// `leaseSettle(cache, now, key, payload, places, token, maxAge, grace, tags)`: 1 where the value was stored, 2 where one of the tags was
/// invalidated after the claim, else 0. `tags` is JSON.
pub fn settle(call: &Call) -> Given {
    let now = call.clock(call.argument(1));
    settling(call, |handle, key, token, value| {
        let tags = tags(call, call.argument(8))?;
        let terms = Terms {
            max_age: max_age(call, call.argument(6))?,
            extras: Extras { tags: tags.tags() },
            kept: Kept::For(time(call, call.argument(7))),
            ..Terms::default()
        };
        let mut cache = lock(handle)?;
        let is_outdated = cache.is_outdated(key, token, tags.tags());
        let stored = cache.settle(key, token, value, &terms, boot_time(), now)?;
        Ok(if is_outdated { 2 } else { u8::from(stored) })
    })
}

/// Tags, of JSON; none for `undefined`.
fn tags(call: &Call, json: JsValue) -> Result<TagList> {
    if call.type_of(json) == Type::Undefined {
        return Ok(TagList::default());
    }
    TagList::parse(&serde_json::from_str(&call.text(json)).unwrap_or_default())
}

/// `leaseLeave(cache, now, key, payload, places, token, isError, ttlOrTags, rest)`: leaves a value, or the text of an error, for those
/// who wait. An error is stored for `ttl` milliseconds; an entry that is there is not renewed for `rest` milliseconds. The tags of a value
/// are JSON: where one of them was invalidated, nothing is left. 1 where the lease ran, 2 where a tag was invalidated, else 0.
pub fn leave(call: &Call) -> Given {
    let now = call.clock(call.argument(1));
    settling(call, |handle, key, token, value| {
        let mut cache = lock(handle)?;
        match (call.bool(call.argument(6)), value) {
            (true, Value::String(text)) => {
                let failure = Failure {
                    text,
                    time: time(call, call.argument(7)),
                    rest: time(call, call.argument(8)) as u64,
                };
                cache.fail(key, token, failure, boot_time(), now).map(u8::from)
            }
            (_, value) => {
                let tags = tags(call, call.argument(7))?;
                if cache.is_outdated(key, token, tags.tags()) {
                    cache.release(key, token);
                    return Ok(2);
                }
                Ok(cache.leave(key, token, Outcome::Value(value), boot_time()).into())
            }
        }
    })
}

/// A time in milliseconds, at least 0.
fn time(call: &Call, value: JsValue) -> f64 {
    // What is no number is none.
    call.number(value).max(0.0)
}

/// `leaseRelease(cache, key, token)`
pub fn release(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let token = call.number(call.argument(2));
        lock(handle)?.release(key, token);
        Ok(handle.table.mark(Mark::Plain, NOTHING))
    })
}

/// `leaseJoin(cache, key, token, numbers, again)`: waits for a lease until `leaseQuit`. `numbers` gets for how many milliseconds it
/// runs, 0 where it does not, and 1 where its end, or that it is void, will be told. `again`: this process waits already.
pub fn join(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let token = call.number(call.argument(2));
        let joined = handle
            .store
            .join(key, token, call.bool(call.argument(4)), handle.lock_wait)?;
        let numbers = call.typed_array(call.argument(3));
        match joined {
            Some(joined) => write(
                numbers,
                &[joined.left as f64, f64::from(u8::from(joined.is_told))],
            ),
            None => write(numbers, &[0.0, 0.0]),
        }
        Ok(handle.table.mark(Mark::Plain, NOTHING))
    })
}

/// `leaseQuit(cache, key, token)`
pub fn quit(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let token = call.number(call.argument(2));
        handle.store.quit(key, token, handle.lock_wait)?;
        Ok(handle.table.mark(Mark::Plain, NOTHING))
    })
}

/// `leaseLook(cache, key, token, now, numbers, reads, quits)`: what has become of a lease. `numbers` gets the state, 1 where an entry was
/// read, when that was set, and when it expires. The result is a value that the lease has left, the text of an error, or, with `reads`, the
/// value of the entry. `quits`: where the lease has ended, this process waits no more, as by `leaseQuit`.
pub fn look(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let token = call.number(call.argument(2));
        let now = call.clock(call.argument(3));
        let takes = Takes {
            entry: call.bool(call.argument(5)),
            quits: call.bool(call.argument(6)),
        };
        let mut found = handle.table.found.borrow_mut();
        found.clear();
        let taken = handle.store.take(
            key,
            token,
            takes,
            now,
            handle.lock_wait,
            |outcome| match outcome {
                Outcome::Value(value) => found.copy(value).map(|()| state::UNSTORED),
                Outcome::Error(text) => found.copy(Value::String(text)).map(|()| state::ERROR),
            },
        )?;
        let state = match taken.look {
            Look::Running(_) => state::RUNNING,
            Look::Void(_) => state::VOID,
            Look::Settled => state::SETTLED,
            Look::Left(state) => state,
            Look::Gone => state::GONE,
        };
        let [is_read, set_at, expires] = taken
            .entry
            .map_or([0.0; 3], |(_, set_at, expires)| [1.0, set_at, expires]);
        write(
            call.typed_array(call.argument(4)),
            &[state, is_read, set_at, expires],
        );
        handle.remember(|| taken.remembered);
        found.show(call, &handle.table)
    })
}

/// `leaseWaiters(cache, key, token)`: how many processes wait for a lease; below 0 where it does not run. Takes no lock of a segment.
pub fn waiters(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let waiters = handle.store.waiters(key, call.number(call.argument(2)));
        let waiters = waiters.map_or(-1.0, f64::from);
        Ok(handle.table.mark(Mark::Plain, call.js_number(waiters)))
    })
}

#[napi]
impl NativeCache {
    /// Calls a function with the token of each lease that this process has joined, when it has ended. It never keeps the process alive.
    #[napi(catch_unwind)]
    pub fn on_lease_end(&self, told: JsFunction<'_, f64, ()>) -> napi::Result<()> {
        let told = told.build_threadsafe_function::<f64>().weak::<true>().build()?;
        if let Some(handle) = handle_by_index(self.id()) {
            let store: &Store = &handle.store;
            store.ended().set_notify(move |token| {
                told.call(token, ThreadsafeFunctionCallMode::NonBlocking);
            });
        }
        Ok(())
    }
}
