//! Random calls, made on a store and on the model: every result and every state after it must be the same.

use lru_cache_for_clusters::{
    cache::{Cache, Cursor, DumpEntry, Terms, is_invalid},
    command::{self, Answer, Command},
    copies::{Copies, Item},
    extras::{Extras, TagList},
    handler,
    key::{Key, Prefix},
    options::Options,
    registry::{self, Registry},
    slots::Slots,
    storage::Storage,
    store::{LOCK_WAIT, Place, Store},
    value::{OwnedValue, Value},
    wire::reply::Part,
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use serde_json::value::RawValue;

use super::{
    js::{self, JsKey},
    model::{Dumped, Model},
    validate::validate_slots,
};

/// One call of the API, or something that happens between two.
#[derive(Clone, Debug)]
pub enum Call {
    Get(JsKey),
    Peek(JsKey),
    Has(JsKey),
    Set(JsKey, OwnedValue, Option<f64>),
    /// With an age, whether the one that is there runs on, and tags.
    SetOn(JsKey, OwnedValue, Option<f64>, bool, Vec<&'static str>),
    Del(JsKey),
    Incr(JsKey, f64, Option<f64>),
    Decr(JsKey, f64, Option<f64>),
    IncrOn(JsKey, f64, Option<f64>, Vec<&'static str>),
    Touch(JsKey, Option<f64>),
    /// The tags that `getEntry` gives.
    Tags(JsKey),
    Invalidate(Vec<&'static str>),
    MGet(Vec<JsKey>),
    MSet(Vec<(JsKey, OwnedValue)>, Option<f64>),
    MDel(Vec<JsKey>),
    DeletePrefix(Vec<u16>),
    Entries(Option<Vec<u16>>),
    /// All parts of a scan.
    Scan(Option<Vec<u16>>, u8),
    Reset,
    Prune,
    Pop,
    Load(Vec<Dumped>),
    Max(Option<f64>),
    MaxSize(Option<f64>),
    MaxAge(Option<f64>),
    Stale(Option<bool>),
    /// What a second instance with options does.
    Open(Options),
    /// Keeps the dump of this moment for a later `LoadKept`.
    KeepDump,
    LoadKept,
    /// Milliseconds pass; backwards where the clock is set.
    Pass(f64),
    /// JavaScript drops the values of freed slots.
    Release,
}

/// What a call gives.
#[derive(Clone, Debug)]
pub enum Outcome {
    Nothing,
    Bool(bool),
    Number(f64),
    Value(Option<OwnedValue>),
    Values(Vec<Option<OwnedValue>>),
    Entries(Vec<(JsKey, OwnedValue)>),
    Tags(Vec<String>),
    /// Key, value, time set, own age.
    Popped(Option<(JsKey, OwnedValue, f64, f64)>),
}

fn keys() -> impl Strategy<Value = JsKey> {
    let text = |text: &str| JsKey::text(text);
    select(vec![
        text(""),
        text("a"),
        text("1"),
        text("__proto__"),
        text("constructor"),
        text("longer than what lies in place"),
        JsKey::String(vec![0xD83D]),
        text("😀\u{0}\"\\"),
        JsKey::Number(1.0),
        JsKey::Number(0.0),
        JsKey::Number(-0.0),
        JsKey::Number(f64::NAN),
        JsKey::Number(f64::INFINITY),
        JsKey::Number(0.1 + 0.2),
        JsKey::BigInt(1),
        JsKey::BigInt(-123_456_789_012_345_678_901),
        JsKey::Bool(true),
        JsKey::Bool(false),
        JsKey::Null,
        JsKey::Undefined,
    ])
}

/// What keys begin with.
fn prefixes() -> impl Strategy<Value = Vec<u16>> {
    let text = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    select(vec![
        text("a"),
        text("1"),
        text("__"),
        text("longer than"),
        text("none"),
        vec![0xD83D],
        text("😀"),
    ])
}

fn values(slots: bool) -> impl Strategy<Value = OwnedValue> {
    let json =
        || select(vec!["{}", "[1,[2]]", r#"{"a":"\ud800"}"#]).prop_map(|json| OwnedValue::Json(json.into()));
    prop_oneof![
        4 => numbers().prop_map(OwnedValue::Number),
        1 => Just(OwnedValue::Undefined),
        1 => Just(OwnedValue::Null),
        1 => any::<bool>().prop_map(OwnedValue::Bool),
        1 => vec(any::<u16>(), 0..4).prop_map(|units| OwnedValue::String(js::wtf8(&units))),
        2 => (0usize..500).prop_map(|length| OwnedValue::String(vec![b'x'; length].into())),
        1 => json(),
        1 => vec(any::<u8>(), 0..9).prop_map(|bytes| OwnedValue::Clone(bytes.into())),
        // The number comes from the table of slots, when the call is made.
        if slots { 4 } else { 0 } => Just(OwnedValue::Slot(u32::MAX)),
    ]
}

fn numbers() -> impl Strategy<Value = f64> {
    prop_oneof![
        select(vec![
            0.0,
            -0.0,
            1.0,
            -1.0,
            2.5,
            0.1,
            1e300,
            f64::NAN,
            f64::INFINITY
        ]),
        (-100i32..100).prop_map(f64::from),
        any::<f64>(),
    ]
}

fn ages() -> impl Strategy<Value = Option<f64>> {
    let age = prop_oneof![
        4 => (1u8..40).prop_map(f64::from),
        2 => select(vec![0.0, -1.0, -20.0, 0.25, 7.5, f64::NAN, f64::INFINITY, 1e16]),
    ];
    option::of(age)
}

fn tags() -> impl Strategy<Value = Vec<&'static str>> {
    vec(select(vec!["", "red", "blue", "ä😀", LONG_TAG]), 0..4)
}

/// Longer than a block.
const LONG_TAG: &str = "a tag of more than sixty bytes, so that no block of a segment has all of it";

fn limits() -> impl Strategy<Value = f64> {
    select(vec![0.0, 0.5, 1.0, 2.0, 3.0, 4.5, 7.0, f64::INFINITY, f64::NAN])
}

/// Bytes: what no entry takes, what some do, and what takes several entries to fill.
fn sizes() -> impl Strategy<Value = f64> {
    prop_oneof![
        2 => select(vec![0.0, 1.0, f64::INFINITY, f64::NAN]),
        4 => (100u16..1500).prop_map(f64::from),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let given = (
        option::of(limits()),
        ages(),
        option::of(any::<bool>()),
        option::of(sizes()),
        option::of(sizes()),
    );
    given.prop_map(|(max, max_age, stale, max_size, max_entry_size)| Options {
        max,
        max_size,
        max_entry_size,
        max_age,
        stale,
        prune: None,
        default_max: None,
    })
}

fn dumped(slots: bool) -> impl Strategy<Value = Dumped> {
    // Times around the one at which a replay begins.
    let expires = prop_oneof![Just(0.0), (-50i32..50).prop_map(|after| START + f64::from(after))];
    (keys(), values(slots), expires).prop_map(|(key, value, expires)| Dumped { key, value, expires })
}

fn calls(slots: bool) -> impl Strategy<Value = Vec<Call>> {
    let pair = || (keys(), values(slots));
    let call = prop_oneof![
        12 => (keys(), values(slots), ages()).prop_map(|(key, value, age)| Call::Set(key, value, age)),
        8 => (keys(), values(slots), ages(), any::<bool>(), tags())
            .prop_map(|(key, value, age, keeps, tags)| Call::SetOn(key, value, age, keeps, tags)),
        2 => (keys(), numbers(), ages(), tags()).prop_map(|(key, by, age, tags)| Call::IncrOn(key, by, age, tags)),
        2 => (keys(), ages()).prop_map(|(key, age)| Call::Touch(key, age)),
        2 => keys().prop_map(Call::Tags),
        4 => tags().prop_map(Call::Invalidate),
        8 => keys().prop_map(Call::Get),
        4 => keys().prop_map(Call::Peek),
        4 => keys().prop_map(Call::Has),
        3 => keys().prop_map(Call::Del),
        6 => (keys(), numbers(), ages()).prop_map(|(key, by, age)| Call::Incr(key, by, age)),
        2 => (keys(), numbers(), ages()).prop_map(|(key, by, age)| Call::Decr(key, by, age)),
        3 => vec(keys(), 0..6).prop_map(Call::MGet),
        3 => (vec(pair(), 0..6), ages()).prop_map(|(pairs, age)| Call::MSet(pairs, age)),
        2 => vec(keys(), 0..4).prop_map(Call::MDel),
        2 => prefixes().prop_map(Call::DeletePrefix),
        2 => option::of(prefixes()).prop_map(Call::Entries),
        3 => (option::of(prefixes()), 1u8..9).prop_map(|(prefix, count)| Call::Scan(prefix, count)),
        1 => Just(Call::Reset),
        2 => Just(Call::Prune),
        3 => Just(Call::Pop),
        1 => vec(dumped(slots), 0..6).prop_map(Call::Load),
        3 => option::of(limits()).prop_map(Call::Max),
        3 => option::of(sizes()).prop_map(Call::MaxSize),
        3 => ages().prop_map(Call::MaxAge),
        2 => option::of(any::<bool>()).prop_map(Call::Stale),
        2 => options().prop_map(Call::Open),
        1 => Just(Call::KeepDump),
        1 => Just(Call::LoadKept),
        8 => prop_oneof![(0u8..30).prop_map(f64::from), select(vec![0.5, 7.25, 1000.0, -5.0])].prop_map(Call::Pass),
        3 => Just(Call::Release),
    ];
    vec(call, 1..80)
}

/// The time at which a replay begins; away from 0, which means "no age" in an entry.
const START: f64 = 1_000_000.0;

/// A store that takes calls.
trait Subject {
    type Storage: Storage;
    fn apply(&mut self, call: &Call, now: f64) -> Outcome;
    fn look<R>(&self, look: impl FnOnce(&Cache<Self::Storage>) -> R) -> R;
}

/// Runs random calls against the model, on a cache over what `make` makes, which keeps JavaScript values in
/// the table it is given.
pub fn check<S: Storage + 'static>(sweeps: bool, make: impl Fn(Slots) -> S) {
    run((true, sweeps), |slots| Cache::new(make(slots)));
}

/// As [`check`], for a storage that has no place for JavaScript values.
pub fn check_without_slots<S: Storage + 'static>(make: impl Fn() -> S) {
    run((false, true), |_| Cache::new(make()));
}

/// As [`check`], with every call a message to the handler.
pub fn check_messages() {
    run((false, false), Messages::new);
}

fn run<T: Subject + 'static>((slots, sweeps): (bool, bool), make: impl Fn(Slots) -> T) {
    // No failure file: the shrunk calls are in the message, and belong into a test of their own.
    let config = Config {
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&calls(slots), |calls| {
        let slots = Slots::default();
        let subject = make(slots.clone());
        // Another one tells the model what an entry takes.
        let like = make(Slots::default());
        let entry_size = move |key: &JsKey, value: &OwnedValue, tags: &[&'static str]| {
            let tags = tag_list(tags);
            like.look(|cache| {
                cache.storage().entry_size(
                    key.to_key().as_bytes(),
                    value.as_ref(),
                    Extras { tags: tags.tags() },
                )
            })
        };
        let model = Model::new(Box::new(entry_size), sweeps);
        replay(subject, model, &slots, calls);
        assert_eq!(slots.in_use(), 0, "a cache that goes takes its values along");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn replay(mut subject: impl Subject, mut model: Model, slots: &Slots, calls: Vec<Call>) {
    let mut kept = vec![];
    let mut now = START;
    for mut call in calls {
        match call {
            Call::Pass(time) => now += time,
            Call::Release => {
                slots.release(2, |slot| {
                    assert!(!in_use(&model, slot), "slot {slot} was dropped and is in use")
                });
            }
            Call::KeepDump => {
                kept = model.dump(now);
                // On its way through a worker, a time that never comes is null, and that is read as 0.
                kept.iter_mut()
                    .filter(|entry| entry.expires.is_infinite())
                    .for_each(|entry| entry.expires = 0.0);
            }
            _ => {
                if matches!(call, Call::LoadKept) {
                    call = Call::Load(kept.clone());
                }
                take_slots(&mut call, |slot| *slot = take(slots, &model));
                let found = subject.apply(&call, now);
                assert_eq!(
                    shown(found),
                    shown(apply(&mut model, &call, now)),
                    "result of {call:?} at {now}"
                );
            }
        }
        subject.look(|cache| {
            same_state(cache, &model, now);
            validate_slots([cache.storage()], slots);
        });
    }
}

fn take(slots: &Slots, model: &Model) -> u32 {
    let slot = slots.take();
    assert!(!in_use(model, slot), "slot {slot} was handed out and is in use");
    slot
}

fn in_use(model: &Model, slot: u32) -> bool {
    model
        .entries
        .iter()
        .any(|kept| kept.value == OwnedValue::Slot(slot))
}

/// Gives every JavaScript value of a call a slot of its own.
fn take_slots(call: &mut Call, mut take: impl FnMut(&mut u32)) {
    let mut visit = |value: &mut OwnedValue| {
        if let OwnedValue::Slot(slot) = value {
            take(slot);
        }
    };
    match call {
        Call::Set(_, value, _) | Call::SetOn(_, value, ..) => visit(value),
        Call::MSet(pairs, _) => pairs.iter_mut().for_each(|(_, value)| visit(value)),
        Call::Load(entries) => entries.iter_mut().for_each(|entry| visit(&mut entry.value)),
        _ => {}
    }
}

fn dump<S: Storage>(cache: &Cache<S>, now: f64) -> Vec<Dumped> {
    let mut dump = vec![];
    let visited = cache.dump(now, |entry, expires| {
        dump.push(Dumped {
            key: JsKey::of(entry.key),
            value: entry.value.to_owned(),
            expires,
        });
        Ok(())
    });
    visited.expect(MEMORY);
    dump
}

fn same_state<S: Storage>(cache: &Cache<S>, model: &Model, now: f64) {
    let mut entries = vec![];
    let visited = cache.visit(|entry| {
        entries.push((JsKey::of(entry.key), entry.value.to_owned(), entry.stamp));
        Ok(())
    });
    visited.expect(MEMORY);
    let expected: Vec<_> = model
        .entries
        .iter()
        .filter(|kept| !kept.is_invalid)
        .map(|kept| (kept.key.clone(), kept.value.clone(), kept.stamp))
        .collect();
    assert_eq!(shown(entries), shown(expected), "entries, most recent first");

    assert_eq!(shown(dump(cache, now)), shown(model.dump(now)), "dump");
    let mut invalid = 0;
    let visited = cache.storage().visit(|entry| {
        invalid += usize::from(is_invalid(entry.stamp));
        Ok(())
    });
    visited.expect(MEMORY);
    assert_eq!(
        invalid,
        model.entries.iter().filter(|kept| kept.is_invalid).count()
    );
    assert_eq!(cache.len(), model.entries.len());
    assert_eq!(cache.limits(), model.limits);
}

fn tag_list(tags: &[&'static str]) -> TagList {
    TagList::parse(&serde_json::json!(tags)).expect("few short tags")
}

/// Text, in which `NaN` is itself and `-0` is not `0`.
fn shown(what: impl std::fmt::Debug) -> String {
    format!("{what:?}")
}

fn apply(model: &mut Model, call: &Call, now: f64) -> Outcome {
    match call {
        Call::Get(key) => Outcome::Value(model.get(key, now)),
        Call::Peek(key) => Outcome::Value(model.peek(key, now)),
        Call::Has(key) => Outcome::Bool(model.has(key, now)),
        Call::Set(key, value, age) => Outcome::Bool(model.set(key, value.clone(), *age, now)),
        Call::Del(key) => {
            model.del(key);
            Outcome::Nothing
        }
        Call::SetOn(key, value, age, keeps_age, tags) => {
            Outcome::Bool(model.set_on(key, value.clone(), (*age, *keeps_age), tags, now))
        }
        Call::Incr(key, by, age) => Outcome::Number(model.incr(key, *by, *age, &[], now)),
        Call::Decr(key, by, age) => Outcome::Number(model.incr(key, -by, *age, &[], now)),
        Call::IncrOn(key, by, age, tags) => Outcome::Number(model.incr(key, *by, *age, tags, now)),
        Call::Touch(key, age) => Outcome::Bool(model.touch(key, *age, now)),
        Call::Tags(key) => {
            let tags = model.tags(key, now);
            Outcome::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect())
        }
        Call::Invalidate(tags) => {
            model.invalidate(tags);
            Outcome::Nothing
        }
        Call::MGet(keys) => Outcome::Values(keys.iter().map(|key| model.get(key, now)).collect()),
        Call::MSet(pairs, age) => {
            for (key, value) in pairs {
                model.set(key, value.clone(), *age, now);
            }
            Outcome::Bool(true)
        }
        Call::MDel(keys) => {
            keys.iter().for_each(|key| model.del(key));
            Outcome::Bool(true)
        }
        Call::DeletePrefix(prefix) => Outcome::Number(model.delete_prefix(prefix, now)),
        Call::Entries(prefix) => Outcome::Entries(model.entries(prefix.as_deref(), now)),
        Call::Scan(prefix, _) => Outcome::Entries(sorted(model.entries(prefix.as_deref(), now))),
        Call::Reset => {
            model.reset();
            Outcome::Nothing
        }
        Call::Prune => {
            model.prune(now);
            Outcome::Nothing
        }
        Call::Pop => {
            let popped = model
                .pop()
                .map(|kept| (kept.key, kept.value, kept.stamp.set_at, kept.stamp.max_age));
            Outcome::Popped(popped)
        }
        Call::Load(entries) => {
            model.load(entries, now);
            Outcome::Nothing
        }
        Call::Max(max) => {
            if let Some(max) = *max {
                model.set_max(max);
            }
            Outcome::Number(model.limits.max)
        }
        Call::MaxSize(max_size) => {
            if let Some(max_size) = *max_size {
                model.set_max_size(max_size);
            }
            Outcome::Number(model.limits.max_size)
        }
        Call::MaxAge(age) => {
            if let Some(age) = *age {
                model.set_max_age(age);
            }
            Outcome::Number(model.limits.max_age)
        }
        Call::Stale(stale) => {
            if let Some(stale) = *stale {
                model.limits.allow_stale = stale;
            }
            Outcome::Bool(model.limits.allow_stale)
        }
        Call::Open(options) => {
            if let Some(age) = options.max_age {
                model.set_max_age(age);
            }
            if let Some(stale) = options.stale {
                model.limits.allow_stale = stale;
            }
            if let Some(max) = options.max {
                model.set_max(max);
            }
            if let Some(max_size) = options.max_size {
                model.set_max_size(max_size);
            }
            if let Some(max_entry_size) = options.max_entry_size {
                model.set_max_entry_size(max_entry_size);
            }
            Outcome::Bool(true)
        }
        Call::KeepDump | Call::LoadKept | Call::Pass(_) | Call::Release => Outcome::Nothing,
    }
}

/// A scan has no order that the model knows.
fn sorted(mut entries: Vec<(JsKey, OwnedValue)>) -> Vec<(JsKey, OwnedValue)> {
    entries.sort_by_key(|(key, _)| key.to_json());
    entries
}

fn prefix_of(units: &[u16]) -> Prefix {
    Prefix::of(&Key::utf16(units)).expect("a string")
}

/// The keys and values that a command gave.
fn entries_in<'a>(items: impl Iterator<Item = Item<'a>>) -> Vec<(JsKey, OwnedValue)> {
    let items: Vec<_> = items.collect();
    let pair = |pair: &[Item<'_>]| match pair {
        [Item::Key(key), Item::Value(value)] => (JsKey::of(key), Value::to_owned(*value)),
        other => panic!("{other:?}"),
    };
    items.chunks(2).map(pair).collect()
}

/// What a replay needs: its caches are small.
const MEMORY: &str = "memory for a few entries";

impl<S: Storage> Subject for Cache<S> {
    type Storage = S;

    fn apply(&mut self, call: &Call, now: f64) -> Outcome {
        let get = |cache: &mut Self, key: &JsKey| {
            let found = cache.get(key.to_key().as_bytes(), now, |value| Ok(value.to_owned()));
            found.expect(MEMORY)
        };
        match call {
            Call::Get(key) => Outcome::Value(get(self, key)),
            Call::Peek(key) => {
                let found = self.peek(key.to_key().as_bytes(), now, |value| Ok(value.to_owned()));
                Outcome::Value(found.expect(MEMORY))
            }
            Call::Has(key) => Outcome::Bool(self.has(key.to_key().as_bytes(), now).expect(MEMORY)),
            Call::Set(key, value, age) => Outcome::Bool(
                self.set(key.to_key().as_bytes(), value.as_ref(), *age, now)
                    .expect(MEMORY),
            ),
            Call::SetOn(key, value, max_age, keeps_age, tags) => {
                let tags = tag_list(tags);
                let terms = Terms {
                    max_age: *max_age,
                    keeps_age: *keeps_age,
                    extras: Extras { tags: tags.tags() },
                    ..Terms::default()
                };
                let stored = self.set_on(key.to_key().as_bytes(), value.as_ref(), &terms, now);
                Outcome::Bool(stored.expect(MEMORY))
            }
            Call::IncrOn(key, by, max_age, tags) => {
                let tags = tag_list(tags);
                let terms = Terms {
                    max_age: *max_age,
                    extras: Extras { tags: tags.tags() },
                    ..Terms::default()
                };
                let sum = self.incr_on(key.to_key().as_bytes(), *by, &terms, now);
                Outcome::Number(sum.expect(MEMORY))
            }
            Call::Touch(key, age) => Outcome::Bool(
                self.renew(key.to_key().as_bytes(), *age, false, now)
                    .expect(MEMORY),
            ),
            Call::Tags(key) => {
                let mut tags = vec![];
                if get(self, key).is_some() {
                    let read = self.tags(key.to_key().as_bytes(), |tag| {
                        tags.push(String::from_utf8(tag.to_vec()).expect("text"));
                        Ok(())
                    });
                    read.expect(MEMORY);
                }
                Outcome::Tags(tags)
            }
            Call::Invalidate(tags) => {
                self.invalidate(tag_list(tags).tags());
                Outcome::Nothing
            }
            Call::Del(key) => {
                self.del(key.to_key().as_bytes()).expect(MEMORY);
                Outcome::Nothing
            }
            Call::Incr(key, by, age) => {
                Outcome::Number(self.incr(key.to_key().as_bytes(), *by, *age, now).expect(MEMORY))
            }
            Call::Decr(key, by, age) => {
                Outcome::Number(self.incr(key.to_key().as_bytes(), -by, *age, now).expect(MEMORY))
            }
            Call::MGet(keys) => Outcome::Values(keys.iter().map(|key| get(self, key)).collect()),
            Call::MSet(pairs, age) => {
                for (key, value) in pairs {
                    self.set(key.to_key().as_bytes(), value.as_ref(), *age, now)
                        .expect(MEMORY);
                }
                Outcome::Bool(true)
            }
            Call::MDel(keys) => {
                let mut keys = keys.iter();
                keys.try_for_each(|key| self.del(key.to_key().as_bytes()))
                    .expect(MEMORY);
                Outcome::Bool(true)
            }
            Call::DeletePrefix(prefix) => {
                let command: Command<'_, Key> = Command::DeletePrefix(prefix_of(prefix));
                match command::run(self, &command, now, &mut Copies::default()).expect(MEMORY) {
                    Answer::Number(removed) => Outcome::Number(removed),
                    other => panic!("{other:?}"),
                }
            }
            Call::Entries(prefix) => {
                let command: Command<'_, Key> = Command::Entries {
                    prefix: prefix.as_deref().map_or_else(Prefix::default, prefix_of),
                    keys_alone: false,
                };
                let mut copies = Copies::default();
                command::run(self, &command, now, &mut copies).expect(MEMORY);
                Outcome::Entries(entries_in(copies.iter()))
            }
            Call::Scan(prefix, count) => {
                let (mut found, mut cursor) = (vec![], None);
                loop {
                    let command: Command<'_, Key> = Command::Scan {
                        prefix: prefix.as_deref().map_or_else(Prefix::default, prefix_of),
                        cursor,
                        count: (*count).into(),
                        values: true,
                    };
                    let mut copies = Copies::default();
                    command::run(self, &command, now, &mut copies).expect(MEMORY);
                    let items = copies.iter().count();
                    found.extend(entries_in(copies.iter().take(items - 1)));
                    match copies.iter().last() {
                        Some(Item::Value(Value::String(text))) => cursor = Cursor::parse(text),
                        Some(Item::Value(Value::Undefined)) => return Outcome::Entries(sorted(found)),
                        other => panic!("{other:?}"),
                    }
                    assert!(cursor.is_some());
                }
            }
            Call::Reset => {
                self.reset().expect(MEMORY);
                Outcome::Nothing
            }
            Call::Prune => {
                self.prune(now);
                Outcome::Nothing
            }
            Call::Pop => {
                let popped = self.pop(|entry| {
                    Ok((
                        JsKey::of(entry.key),
                        entry.value.to_owned(),
                        entry.stamp.set_at,
                        entry.stamp.max_age,
                    ))
                });
                Outcome::Popped(popped.expect(MEMORY))
            }
            Call::Load(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|entry| DumpEntry {
                        key: entry.key.to_key(),
                        value: entry.value.clone(),
                        expires: entry.expires,
                    })
                    .collect();
                self.load(&entries, now).expect(MEMORY);
                Outcome::Nothing
            }
            Call::Max(max) => {
                if let Some(max) = *max {
                    self.set_max(max);
                }
                Outcome::Number(self.limits().max)
            }
            Call::MaxSize(max_size) => {
                if let Some(max_size) = *max_size {
                    self.set_max_size(max_size);
                }
                Outcome::Number(self.limits().max_size)
            }
            Call::MaxAge(age) => {
                if let Some(age) = *age {
                    self.set_max_age(age);
                }
                Outcome::Number(self.limits().max_age)
            }
            Call::Stale(stale) => {
                if let Some(stale) = *stale {
                    self.set_allow_stale(stale);
                }
                Outcome::Bool(self.limits().allow_stale)
            }
            Call::Open(options) => {
                registry::apply(self, options);
                Outcome::Bool(true)
            }
            Call::KeepDump | Call::LoadKept | Call::Pass(_) | Call::Release => Outcome::Nothing,
        }
    }

    fn look<R>(&self, look: impl FnOnce(&Cache<S>) -> R) -> R {
        look(self)
    }
}

/// A namespace reached as a worker reaches it.
struct Messages {
    registry: Registry,
    cache: std::sync::Arc<Store>,
    id: u64,
}

impl Messages {
    fn new(slots: Slots) -> Self {
        let registry = Registry::new(slots, std::sync::Arc::new(|_| {}));
        let cache = registry
            .open("n", Default::default(), LOCK_WAIT)
            .expect("a cache");
        Self {
            registry,
            cache,
            id: 0,
        }
    }

    /// Sends one request; the kind and the payload of its answer.
    fn send(&mut self, command: &str, arguments: &[String], now: f64) -> (Box<RawValue>, Box<RawValue>) {
        self.id += 1;
        let arguments: String = arguments.iter().map(|argument| format!(",{argument}")).collect();
        let request = format!("[{},0,\"n\",\"{command}\"{arguments}]", self.id);
        let reply = handler::handle(&self.registry, &request, now, false);
        let [Part::Ready(text)] = &reply[..] else {
            panic!("{reply:?}")
        };
        let parts: Vec<Box<RawValue>> = serde_json::from_str(&format!("[{text}]")).expect("a reply is JSON");
        let [id, kind, payload] = <[_; 3]>::try_from(parts).expect("one answer");
        assert_eq!(id.get(), self.id.to_string());
        (kind, payload)
    }

    fn bool(&mut self, command: &str, arguments: &[String], now: f64) -> Outcome {
        let (kind, payload) = self.send(command, arguments, now);
        assert_eq!(kind.get(), "0", "{payload}");
        Outcome::Bool(payload.get().parse().expect("a boolean"))
    }

    fn number(&mut self, command: &str, arguments: &[String], now: f64) -> Outcome {
        let (kind, payload) = self.send(command, arguments, now);
        match js::value_from_json(&kind, &payload) {
            Some(OwnedValue::Number(number)) => Outcome::Number(number),
            other => panic!("{other:?}"),
        }
    }

    fn nothing(&mut self, command: &str, arguments: &[String], now: f64) -> Outcome {
        let (kind, payload) = self.send(command, arguments, now);
        assert_eq!((kind.get(), payload.get()), ("0", "null"));
        Outcome::Nothing
    }

    fn list(&mut self, command: &str, arguments: &[String], now: f64) -> Vec<Box<RawValue>> {
        let (kind, payload) = self.send(command, arguments, now);
        assert_eq!(kind.get(), "0", "{payload}");
        serde_json::from_str(payload.get()).expect("a list")
    }

    /// What `keys`, `values`, `dump` and `length` say, compared with what the store holds.
    fn check_lists(&mut self, now: f64) {
        let cache = self.cache.clone();
        let keys: Vec<_> = self
            .list("keys", &[], now)
            .iter()
            .map(|raw| JsKey::from_json(raw))
            .collect();
        let values: Vec<_> = self
            .list("values", &[], now)
            .chunks(2)
            .map(|pair| js::value_from_json(&pair[0], &pair[1]))
            .collect();
        let dump: Vec<_> = self
            .list("dump", &[], now)
            .chunks(4)
            .map(|entry| {
                (
                    JsKey::from_json(&entry[0]),
                    js::value_from_json(&entry[1], &entry[2]),
                    entry[3].get().parse::<f64>().ok(),
                )
            })
            .collect();
        let length = self.number("length", &[], now);

        let cache = cache.lock(LOCK_WAIT).unwrap();
        let (mut keys_there, mut values_there) = (vec![], vec![]);
        let visited = cache.visit(|entry| {
            keys_there.push(JsKey::of(entry.key));
            values_there.push(Some(entry.value.to_owned()));
            Ok(())
        });
        visited.expect(MEMORY);
        assert_eq!(shown(keys), shown(keys_there));
        assert_eq!(shown(values), shown(values_there));
        // JSON has no form for a time that never comes.
        let finite = |time: f64| time.is_finite().then_some(time);
        let expected: Vec<_> = self::dump(&cache, now)
            .into_iter()
            .map(|entry| (entry.key, Some(entry.value), finite(entry.expires)))
            .collect();
        assert_eq!(shown(dump), shown(expected));
        assert_eq!(shown(length), shown(Outcome::Number(cache.len() as f64)));
    }
}

fn age_json(age: &Option<f64>) -> String {
    age.map_or("null".into(), js::json_number)
}

fn prefix_json(prefix: &Option<Vec<u16>>) -> String {
    prefix
        .as_ref()
        .map_or("null".into(), |units| JsKey::String(units.clone()).to_json())
}

fn list_json(elements: impl Iterator<Item = String>) -> String {
    format!("[{}]", elements.collect::<Vec<_>>().join(","))
}

impl Subject for Messages {
    type Storage = Place;

    fn apply(&mut self, call: &Call, now: f64) -> Outcome {
        self.check_lists(now);
        let value = |(kind, payload): (Box<RawValue>, Box<RawValue>)| js::value_from_json(&kind, &payload);
        let keys = |keys: &[JsKey]| list_json(keys.iter().map(JsKey::to_json));
        match call {
            Call::Get(key) => Outcome::Value(value(self.send("get", &[key.to_json()], now))),
            Call::Peek(key) => Outcome::Value(value(self.send("peek", &[key.to_json()], now))),
            Call::Has(key) => self.bool("has", &[key.to_json()], now),
            Call::Set(key, value, age) => self.bool(
                "set",
                &[key.to_json(), js::value_to_json(value), age_json(age)],
                now,
            ),
            Call::SetOn(key, value, age, keeps_age, tags) => {
                let terms = serde_json::json!({ "keeps": keeps_age, "tags": tags }).to_string();
                let arguments = [key.to_json(), js::value_to_json(value), age_json(age), terms];
                self.bool("set", &arguments, now)
            }
            Call::IncrOn(key, by, age, tags) => {
                let terms = serde_json::json!({ "tags": tags }).to_string();
                let arguments = [key.to_json(), js::json_number(*by), age_json(age), terms];
                self.number("incr", &arguments, now)
            }
            Call::Touch(key, age) => self.bool("touch", &[key.to_json(), age_json(age)], now),
            Call::Tags(key) => {
                let (kind, payload) = self.send("getEntry", &[key.to_json()], now);
                assert_eq!(kind.get(), "0", "{payload}");
                let list: Option<Vec<Box<RawValue>>> =
                    serde_json::from_str(payload.get()).expect("a list or null");
                let tags = list.map_or(vec![], |list| list[5..].to_vec());
                let text = |raw: &RawValue| serde_json::from_str(raw.get()).expect("a string");
                Outcome::Tags(tags.chunks(2).map(|pair| text(&pair[1])).collect())
            }
            Call::Invalidate(tags) => {
                let tags = serde_json::json!(tags).to_string();
                self.nothing("invalidateTags", &[tags], now)
            }
            Call::Del(key) => self.nothing("del", &[key.to_json()], now),
            Call::Incr(key, by, age) => {
                self.number("incr", &[key.to_json(), js::json_number(*by), age_json(age)], now)
            }
            Call::Decr(key, by, age) => {
                self.number("decr", &[key.to_json(), js::json_number(*by), age_json(age)], now)
            }
            Call::MGet(of) => {
                let list = self.list("mGet", &[keys(of)], now);
                Outcome::Values(
                    list.chunks(2)
                        .map(|pair| js::value_from_json(&pair[0], &pair[1]))
                        .collect(),
                )
            }
            Call::MSet(pairs, age) => {
                let pairs = pairs
                    .iter()
                    .map(|(key, value)| format!("{},{}", key.to_json(), js::value_to_json(value)));
                self.bool("mSet", &[list_json(pairs), age_json(age)], now)
            }
            Call::MDel(of) => self.bool("mDel", &[keys(of)], now),
            Call::DeletePrefix(prefix) => {
                self.number("deletePrefix", &[JsKey::String(prefix.clone()).to_json()], now)
            }
            Call::Entries(prefix) => {
                let list = self.list("entries", &[prefix_json(prefix)], now);
                let entry = |entry: &[Box<RawValue>]| {
                    let value = js::value_from_json(&entry[1], &entry[2]).expect("a value");
                    (JsKey::from_json(&entry[0]), value)
                };
                Outcome::Entries(list.chunks(3).map(entry).collect())
            }
            Call::Scan(prefix, count) => {
                let (mut found, mut cursor) = (vec![], "null".to_owned());
                loop {
                    let arguments = [prefix_json(prefix), cursor, count.to_string()];
                    let mut keys = self.list("scan", &arguments, now);
                    let next = keys.split_off(keys.len() - 2);
                    found.extend(keys.iter().map(|key| JsKey::from_json(key)));
                    if next[0].get() == "1" {
                        break;
                    }
                    cursor = next[1].get().to_owned();
                }
                // Keys alone.
                let cache = self.cache.clone();
                let cache = cache.lock(LOCK_WAIT).unwrap();
                let value = |key: JsKey| {
                    let found = cache.storage().value(key.to_key().as_bytes()).expect(MEMORY);
                    let value = found.expect("an entry").0.to_owned();
                    (key, value)
                };
                Outcome::Entries(sorted(found.into_iter().map(value).collect()))
            }
            Call::Reset => self.nothing("reset", &[], now),
            Call::Prune => {
                self.bool("prune", &[], now);
                Outcome::Nothing
            }
            Call::Pop => {
                let (kind, payload) = self.send("pop", &[], now);
                assert_eq!(kind.get(), "0");
                let fields: Option<Vec<Box<RawValue>>> =
                    serde_json::from_str(payload.get()).expect("a list or null");
                // JSON has no form for an age without end: the 1.x API sent null.
                let number = |raw: &RawValue| raw.get().parse().unwrap_or(f64::INFINITY);
                Outcome::Popped(fields.map(|fields| {
                    let value = js::value_from_json(&fields[1], &fields[2]).expect("a value");
                    (
                        JsKey::from_json(&fields[0]),
                        value,
                        number(&fields[3]),
                        number(&fields[4]),
                    )
                }))
            }
            Call::Load(entries) => {
                let entries = entries.iter().map(|entry| {
                    let (key, value) = (entry.key.to_json(), js::value_to_json(&entry.value));
                    format!("{key},{value},{}", js::json_number(entry.expires))
                });
                self.nothing("load", &[list_json(entries)], now)
            }
            Call::Max(max) => self.number("max", &[age_json(max)], now),
            Call::MaxSize(max_size) => self.number("maxSize", &[age_json(max_size)], now),
            Call::MaxAge(age) => self.number("maxAge", &[age_json(age)], now),
            Call::Stale(stale) => {
                let argument = stale.map_or("null".into(), |stale| stale.to_string());
                self.bool("stale", &[argument], now)
            }
            Call::Open(options) => {
                let number = |name: &str, number: Option<f64>| {
                    number.map(|number| format!("\"{name}\":{}", js::json_number(number)))
                };
                let given = [
                    number("max", options.max),
                    number("maxSize", options.max_size),
                    number("maxEntrySize", options.max_entry_size),
                    number("maxAge", options.max_age),
                    options.stale.map(|stale| format!("\"stale\":{stale}")),
                ];
                let options = given.into_iter().flatten().collect::<Vec<_>>().join(",");
                self.bool("open", &[format!("{{{options}}}")], now)
            }
            Call::KeepDump | Call::LoadKept | Call::Pass(_) | Call::Release => Outcome::Nothing,
        }
    }

    fn look<R>(&self, look: impl FnOnce(&Cache<Self::Storage>) -> R) -> R {
        look(&self.cache.lock(LOCK_WAIT).unwrap())
    }
}
