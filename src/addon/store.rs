//! The calls on one cache, as JavaScript makes them. The first argument is always the number of the cache. `now` is in
//! milliseconds since the epoch, `NaN` for the clock of the system. What a result is, is said in the shared state, see
//! [`super::caches::state`].
//!
//! Every command is a function of the object `commands` of the addon: `commands.NAME(cache, now, ...arguments)`, see
//! [`InOrder`] for the arguments and [`super::results`] for what it gives. The functions beside it are faster ways
//! of a few commands, which the benchmark asks for, and what is no command.

use napi::JsValue as _;
use napi::bindgen_prelude::{Env, Object};
use napi_derive::napi;
use std::sync::LazyLock;

use super::{
    arguments::{InOrder, copies_strings, in_place, max_age, number},
    caches::{Handle, NOTHING, handle_of},
    call::{self, ARGUMENTS, Call, Function, JsClock, JsValue, Type},
    leases, near, registry,
    results::{Found, InPlaces, apart, show, show_values},
};
use crate::{
    command::{self, Command, NAMES},
    copies::Copies,
    error::Result,
    extras::TagList,
    storage::Storage,
    store::{Guard, Read},
    value::{Mark, Value},
    wtf8,
};

/// What a function gives JavaScript.
pub type Given = std::result::Result<JsValue, &'static str>;

/// The functions beside the commands, by the name JavaScript calls them.
static FUNCTIONS: [Function; 31] = [
    Function::new::<3>("get", get),
    Function::new::<3>("peek", peek),
    Function::new::<3>("has", has),
    Function::new::<5>("set", set),
    Function::new::<5>("keep", keep),
    Function::new::<6>("put", put),
    Function::new::<2>("del", del),
    Function::new::<5>("incr", incr),
    Function::new::<5>("getMany", get_many),
    Function::new::<1>("apart", list_apart),
    Function::new::<1>("size", size),
    Function::new::<1>("release", release),
    Function::new::<1>("takeEvicted", take_evicted),
    Function::new::<1>("hold", hold),
    Function::new::<1>("unhold", unhold),
    Function::new::<1>("isExposed", is_exposed),
    Function::new::<1>("isGone", is_gone),
    Function::new::<2>("nearControl", near::control),
    Function::new::<2>("nearVersions", near::versions),
    Function::new::<1>("nearRing", near::ring),
    Function::new::<1>("nearUses", near::uses),
    Function::new::<1>("refresh", near::refresh),
    Function::new::<8>("leaseClaim", leases::claim),
    Function::new::<9>("leaseSettle", leases::settle),
    Function::new::<9>("leaseLeave", leases::leave),
    Function::new::<3>("leaseRelease", leases::release),
    Function::new::<5>("leaseJoin", leases::join),
    Function::new::<3>("leaseQuit", leases::quit),
    Function::new::<7>("leaseLook", leases::look),
    Function::new::<3>("leaseWaiters", leases::waiters),
    Function::new::<4>("handle", registry::handle),
];

/// A function for each command.
static COMMANDS: LazyLock<Vec<Function>> = LazyLock::new(|| {
    let function = |name: &&'static str| Function::new::<ARGUMENTS>(name, run_command);
    NAMES.iter().map(function).collect()
});

#[napi(module_exports)]
pub fn register(exports: Object, env: Env) -> napi::Result<()> {
    let (env, exports) = (env.raw(), exports.raw());
    for function in &FUNCTIONS {
        call::export(env, exports, function)?;
    }
    let commands = call::export_object(env, exports, "commands")?;
    COMMANDS
        .iter()
        .try_for_each(|function| call::export(env, commands, function))
}

/// Runs a call on its cache: an error becomes data, freed slots are handed over.
pub fn on_cache(call: &Call, run: impl FnOnce(&Handle) -> Result<JsValue>) -> Given {
    let handle = handle_of(call, call.argument(0))?;
    let given = run(&handle).unwrap_or_else(|error| handle.table.fail(call, &error));
    handle.table.release();
    Ok(given)
}

/// As [`on_cache`], with the second argument as a key.
pub fn on_key(call: &Call, run: impl FnOnce(&Handle, &[u8]) -> Result<JsValue>) -> Given {
    on_cache(call, |handle| {
        call.with_key(call.argument(1), |key| run(handle, key))
    })
}

/// The lock for one call.
pub fn lock(handle: &Handle) -> Result<Guard<'_>> {
    handle.store.lock(handle.lock_wait)
}

/// `commands.NAME(cache, now, ...arguments)`
fn run_command(call: &Call) -> Given {
    on_cache(call, |handle| {
        let now = call.clock(call.argument(1));
        let mut arguments = InOrder::new(call, handle);
        let ready = Command::parse(call.name(), &mut arguments).and_then(|command| {
            let cache = lock(handle)?;
            cache.check(command.reads())?;
            Ok((command, cache))
        });
        match ready {
            Ok((command, mut cache)) => {
                // Taken, as making JavaScript values may run code of the user, which may call a cache of this table.
                let mut copies = handle.table.copies.take();
                copies.clear();
                let answer = cache.run(&command, now, &mut copies);
                drop(cache);
                let shown = answer.and_then(|answer| show(call, &handle.table, answer, &copies));
                handle.table.copies.replace(copies);
                shown
            }
            Err(error) => {
                arguments.give_back();
                if arguments.is_split {
                    return Ok(handle.table.mark(Mark::Split, NOTHING));
                }
                Err(error)
            }
        }
    })
}

/// Runs a command that reads no value.
#[inline(always)]
fn run_plain(call: &Call, handle: &Handle, command: &Command<'_, &[u8]>, now: JsClock) -> Result<JsValue> {
    let answer = command::run(&mut *lock(handle)?, command, now, &mut Copies::default())?;
    show(call, &handle.table, answer, &Copies::default())
}

/// Reads an entry without the lock; where that cannot be, gives the lock.
#[inline(always)]
fn read_unlocked<'a>(
    handle: &'a Handle,
    key: &[u8],
    now: JsClock,
    use_: bool,
    found: &mut Found,
) -> Result<Option<Guard<'a>>> {
    if use_ && !handle.records_uses.get() {
        return lock(handle).map(Some);
    }
    let read = handle
        .store
        .read(key, now, handle.lock_wait, |value| found.copy(value))?;
    Ok(match read {
        Read::Done((), entry) => {
            match use_ {
                true => handle.table.used(entry),
                false => handle.remember(|| Some(entry)),
            }
            None
        }
        Read::Locked(guard) => Some(guard),
    })
}

/// `get(cache, key, now)`
fn get(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let now = call.clock(call.argument(2));
        let mut found = handle.table.found.borrow_mut();
        found.clear();
        let Some(mut cache) = read_unlocked(handle, key, now, true, &mut found)? else {
            return found.show(call, &handle.table);
        };
        if let Err(elsewhere) = cache.readable(Some(key)) {
            // Its value will come later; this is when it was used.
            cache.get_elsewhere(key, now)?;
            return Err(elsewhere);
        }
        cache.get(key, now, |value| found.copy(value))?;
        handle.remember(|| cache.remembered());
        drop(cache);
        found.show(call, &handle.table)
    })
}

/// `peek(cache, key, now)`
fn peek(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let now = call.clock(call.argument(2));
        let mut found = handle.table.found.borrow_mut();
        found.clear();
        let Some(mut cache) = read_unlocked(handle, key, now, false, &mut found)? else {
            return found.show(call, &handle.table);
        };
        cache.readable(Some(key))?;
        cache.peek(key, now, |value| found.copy(value))?;
        handle.remember(|| cache.remembered());
        drop(cache);
        found.show(call, &handle.table)
    })
}

/// `has(cache, key, now)`
fn has(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let now = call.clock(call.argument(2));
        let found = lock(handle)?.has(key, now)?;
        Ok(handle.table.mark(Mark::Plain, call.js_bool(found)))
    })
}

/// `set(cache, key, value, maxAge, now)` of a value that is no object. Says a miss when the entry can never fit.
fn set(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let value = in_place(call, call.argument(2)).unwrap_or(Value::Undefined);
        store(call, handle, key, value)
    })
}

/// `put(cache, key, payload, maxAge, now, kind)` of a value by copy: `kind` says whether the payload is its JSON, its clone
/// or the value itself. Says a miss when the entry can never fit.
fn put(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let kind = call.index(call.argument(5)) as i32;
        let mut copied = handle.table.copied.borrow_mut();
        let value = copied.take(call, call.argument(2), kind)?;
        store(call, handle, key, value)
    })
}

fn store(call: &Call, handle: &Handle, key: &[u8], value: Value<'_>) -> Result<JsValue> {
    let max_age = max_age(call, call.argument(3))?;
    let now = call.clock(call.argument(4));
    set_locked(handle, key, value, max_age, now)
}

fn set_locked(
    handle: &Handle,
    key: &[u8],
    value: Value<'_>,
    max_age: Option<f64>,
    now: JsClock,
) -> Result<JsValue> {
    let mut cache = lock(handle)?;
    let stored = cache.set(key, value, max_age, now)?;
    handle.remember(|| cache.remembered().filter(|_| stored));
    drop(cache);
    Ok(handle.table.stored(stored))
}

/// `keep(cache, key, value, maxAge, now)` of a value that stays with JavaScript: says in which slot, unless it was
/// copied or can never fit.
fn keep(call: &Call) -> Given {
    on_key(call, |handle, key| {
        // Read first: what is wrong with it must not cost a slot.
        let max_age = max_age(call, call.argument(3))?;
        let now = call.clock(call.argument(4));
        let mut cache = lock(handle)?;
        let slot = if !copies_strings(&cache) {
            // An entry that has a slot keeps it, and JavaScript overwrites the value that is there.
            match cache.storage().value(key)? {
                Some((Value::Slot(slot), _)) => slot,
                _ => handle.table.slots.take(),
            }
        } else if call.type_of(call.argument(2)) == Type::String {
            drop(cache);
            let text = call.utf16(call.argument(2), wtf8::from_utf16);
            return set_locked(handle, key, Value::String(&text), max_age, now);
        } else {
            handle.table.slots.take()
        };
        let stored = cache.set(key, Value::Slot(slot), max_age, now)?;
        handle.remember(|| cache.remembered().filter(|_| stored));
        drop(cache);
        Ok(if stored {
            handle.table.kept(slot)
        } else {
            handle.table.stored(false)
        })
    })
}

/// `del(cache, key)`
fn del(call: &Call) -> Given {
    on_key(call, |handle, key| {
        run_plain(call, handle, &Command::Del(key), call.clock(NOTHING))
    })
}

/// `incr(cache, key, amount, maxAge, now)`: the new number.
fn incr(call: &Call) -> Given {
    on_key(call, |handle, key| {
        let command = Command::Incr {
            key,
            amount: number(call, call.argument(2), "amount")?.unwrap_or(1.0),
            max_age: max_age(call, call.argument(3))?,
            keeps_age: false,
            tags: TagList::default(),
        };
        run_plain(call, handle, &command, call.clock(call.argument(4)))
    })
}

/// `getMany(cache, keys, count, places, now)`: the payloads of the values that lie in no slot.
fn get_many(call: &Call) -> Given {
    on_cache(call, |handle| {
        let count = call.index(call.argument(2)) as usize;
        let Some(keys) = call.keys(call.argument(1), count)? else {
            return Ok(handle.table.mark(Mark::Split, NOTHING));
        };
        let now = call.clock(call.argument(4));
        let places = call.typed_array(call.argument(3));
        let places = &places[..count.min(places.len())];
        let command: Command<'_> = Command::MGet(keys);
        // Taken, as making JavaScript values may run code of the user, which may call a cache of this table.
        let mut copies = handle.table.copies.take();
        copies.clear();
        let mut cache = lock(handle)?;
        cache.check(command.reads())?;
        let mut sink = InPlaces {
            places,
            copies: &mut copies,
            next: 0,
            remembers: handle.table.is_wanted().then_some(&*handle.table),
        };
        let answer = command::run(&mut *cache, &command, now, &mut sink);
        drop(cache);
        let shown = answer.and_then(|_| show_values(call, &handle.table, &copies, places));
        handle.table.copies.replace(copies);
        shown
    })
}

/// `apart(cache)`: the payloads of the last list, JSON each on its own.
fn list_apart(call: &Call) -> Given {
    on_cache(call, |handle| apart(call, handle))
}

/// `size(cache)`: the bytes that all entries take.
fn size(call: &Call) -> Given {
    on_cache(call, |handle| {
        let size = lock(handle)?.storage().size();
        Ok(handle.table.mark(Mark::Plain, call.js_number(size)))
    })
}

/// `release(cache)`: hands over more freed slots.
fn release(call: &Call) -> Given {
    on_cache(call, |handle| Ok(handle.table.mark(Mark::Plain, NOTHING)))
}

/// `takeEvicted(cache)`: how many entries calls of this process have evicted since the last time.
fn take_evicted(call: &Call) -> Given {
    on_cache(call, |handle| {
        let evicted = call.js_number(handle.store.take_evicted().into());
        Ok(handle.table.mark(Mark::Plain, evicted))
    })
}

/// `hold(cache)`: takes the lock for all calls up to the matching `unhold`.
fn hold(call: &Call) -> Given {
    on_cache(call, |handle| {
        let hold = handle.store.hold(handle.lock_wait)?;
        handle.holds.borrow_mut().push(hold);
        Ok(handle.table.mark(Mark::Plain, NOTHING))
    })
}

/// `unhold(cache)`
fn unhold(call: &Call) -> Given {
    on_cache(call, |handle| {
        let hold = handle.holds.borrow_mut().pop();
        drop(hold);
        Ok(handle.table.mark(Mark::Plain, NOTHING))
    })
}

/// `isGone(cache)`: whether the namespace was destroyed.
fn is_gone(call: &Call) -> Given {
    on_cache(call, |handle| {
        let is_gone = call.js_bool(handle.store.is_gone());
        Ok(handle.table.mark(Mark::Plain, is_gone))
    })
}

/// `isExposed(cache)`: whether the application in the primary may have put functions on the cache.
fn is_exposed(call: &Call) -> Given {
    on_cache(call, |handle| {
        let exposed = call.js_bool(handle.store.is_exposed());
        Ok(handle.table.mark(Mark::Plain, exposed))
    })
}
