//! Every command of a cache, once: its name, its arguments, what it does, and what it gives. The commands are those
//! of the 1.x API, and calls beyond it.
//!
//! A command is read before the lock of its cache is taken ([`Command::parse`], from a message or from the arguments of a
//! JavaScript call), and what it gives is made into a message or into JavaScript values after. Under the lock it runs
//! ([`run`]): what it reads is copied into a [`Sink`].

use serde_json::Value as Json;

use crate::{
    cache::{self, Cache, Clock, Cursor, DumpEntry, Remembered, Terms, WhenOver},
    error::{Error, Result},
    extras::{Extras, TagList},
    key::{EVERY_KEY, Key, KeyList, KeyView, Prefix},
    options,
    storage::{Entry, Slice, Storage},
    value::{Carried, OwnedValue, Value},
};

/// A command with its arguments. `K` is a key: owned, or borrowed from whoever makes the call.
#[derive(Debug)]
pub enum Command<'a, K = Key> {
    /// The value of an entry, which becomes the most recent.
    Get(K),
    /// The value of an entry, whose recency stays.
    Peek(K),
    /// Whether there is an entry.
    Has(K),
    /// Stores an entry.
    Set {
        /// The key.
        key: K,
        /// The value.
        value: Carried<'a>,
        /// Its own age in milliseconds.
        max_age: Option<f64>,
        /// Whether an entry that is there keeps its age, which runs on.
        keeps_age: bool,
        /// Its tags.
        tags: TagList,
    },
    /// Removes an entry.
    Del(K),
    /// Adds to a number.
    Incr {
        /// The key.
        key: K,
        /// What is added.
        amount: f64,
        /// The age of a counter that this call creates, in milliseconds.
        max_age: Option<f64>,
        /// Whether a counter that is there keeps its age, which runs on, without `max_age` too.
        keeps_age: bool,
        /// Its tags.
        tags: TagList,
    },
    /// Stores an entry where there is none that has not expired.
    SetIfAbsent {
        /// The key.
        key: K,
        /// The value.
        value: Carried<'a>,
        /// Its own age in milliseconds.
        max_age: Option<f64>,
        /// Its tags.
        tags: TagList,
    },
    /// As [`Command::Get`], with the version, the times and the tags of the entry.
    GetEntry(K),
    /// Stores an entry where the one that is there has this version. The answer is nothing where the new one can never fit.
    CompareAndSet {
        /// The key.
        key: K,
        /// The version; 0 where there must be no entry.
        version: f64,
        /// The value.
        value: Carried<'a>,
        /// Its own age in milliseconds.
        max_age: Option<f64>,
        /// Whether an entry that is there keeps its age, which runs on.
        keeps_age: bool,
        /// Its tags.
        tags: TagList,
    },
    /// Removes an entry that has this version.
    CompareAndDelete {
        /// The key.
        key: K,
        /// The version; 0 where there must be no entry.
        version: f64,
    },
    /// Removes an entry and gives its value.
    GetAndDelete(K),
    /// Begins the age of an entry anew and makes it the most recent.
    Touch {
        /// The key.
        key: K,
        /// Its new age in milliseconds.
        max_age: Option<f64>,
        /// Whether the age runs on instead.
        keeps_age: bool,
    },
    /// What is left of the age of an entry, in milliseconds.
    GetRemainingTtl(K),
    /// Counts in a window of time.
    Hit {
        /// The key.
        key: K,
        /// The length of a window that this call begins, in milliseconds.
        window: f64,
        /// What is added.
        amount: f64,
        /// Whether no window is begun.
        if_present: bool,
        /// The count above which `when_over` says what becomes of the window.
        limit: f64,
        /// What becomes of the window above the limit.
        when_over: Option<WhenOver>,
    },
    /// Whether there is an entry of each key, as [`Command::Has`].
    HasMany(KeyList),
    /// Removes entries, and says of each key whether there was one that had not expired.
    DeleteMany(KeyList),
    /// Removes the entries of the keys with a prefix, and says how many had not expired.
    DeletePrefix(Prefix),
    /// Some keys with a prefix that have not expired, and where to go on.
    Scan {
        /// The prefix.
        prefix: Prefix,
        /// Where to begin; without, at the first.
        cursor: Option<Cursor>,
        /// After how many the part ends.
        count: usize,
        /// Whether the values are given, too.
        values: bool,
    },
    /// Every entry of a key with a prefix that has not expired.
    Entries {
        /// The prefix.
        prefix: Prefix,
        /// Whether the values are left out.
        keys_alone: bool,
    },
    /// The value of each key, as [`Command::Get`].
    MGet(KeyList),
    /// Stores entries.
    MSet {
        /// The keys.
        keys: KeyList,
        /// The value of each key.
        values: Vec<Carried<'a>>,
        /// Their age in milliseconds.
        max_age: Option<f64>,
        /// The age of each key, where it has one of its own; shorter than the keys where no more have.
        ages: Vec<Option<f64>>,
        /// Whether an entry that is there keeps its age, for each key; shorter than the keys where no more do.
        keeps_ages: Vec<bool>,
        /// Their tags.
        tags: TagList,
        /// The tags of each key, where it has tags of its own; shorter than the keys where no more have.
        own_tags: Vec<Option<TagList>>,
        /// Whether the answer says of each key whether its entry was stored.
        tells: bool,
    },
    /// Removes entries.
    MDel(KeyList),
    /// Removes every entry.
    Reset,
    /// Removes every entry that has one of these tags.
    InvalidateTags(TagList),
    /// Removes every expired entry.
    Prune,
    /// Every key.
    Keys,
    /// Every value.
    Values,
    /// Every entry that has not expired.
    Dump,
    /// Replaces everything by what a dump gave.
    Load(Vec<DumpEntry<OwnedValue>>),
    /// Removes the least recent entry and gives it.
    Pop,
    /// The number of entries.
    Length,
    /// The most entries; changed where one is given.
    Max(Option<f64>),
    /// The most bytes of all entries; changed where one is given.
    MaxSize(Option<f64>),
    /// The age of entries in milliseconds; changed where one is given.
    MaxAge(Option<f64>),
    /// Whether expired entries are returned once; changed where one is given.
    AllowStale(Option<bool>),
    /// What was counted, as a list of numbers.
    Stats,
    /// Counts what `fetch` did.
    CountFetches {
        /// Loaders that ran.
        loads: u64,
        /// Callers that waited for the loader of another.
        followers: u64,
        /// Loaders that failed.
        errors: u64,
        /// The microseconds that loaders took.
        time: u64,
    },
}

/// Whose values a command reads. Some may be JavaScript values of another process, which must be asked.
#[derive(Clone, Copy, Debug)]
pub enum Reads<'a> {
    /// No value.
    Nothing,
    /// The value of this key.
    One(&'a [u8]),
    /// The values of these keys.
    These(&'a KeyList),
    /// Those of any entries.
    Any,
}

/// What a command gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Nothing: `undefined`, or `null` in a message.
    Nothing,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// The one value, or miss, that the sink was given.
    Found,
    /// All that the sink was given, in order.
    List,
}

/// Where the values that a command reads go. The cache is locked meanwhile: they are copied, and shown after.
///
/// # Errors
/// Each call fails where there is no memory for the copy, or more than the caller can use. The command ends then.
pub trait Sink {
    /// The value of an entry.
    fn value(&mut self, value: Value<'_>) -> Result<()>;

    /// That there is no such entry.
    fn miss(&mut self) -> Result<()>;

    /// The key of an entry.
    fn key(&mut self, key: &[u8]) -> Result<()>;

    /// A time or an age of an entry, in milliseconds.
    fn number(&mut self, number: f64) -> Result<()>;

    /// Whether [`Sink::entry`] is to be called.
    fn wants_entries(&self) -> bool {
        false
    }

    /// What can be remembered of the entry whose value, or miss, was given last.
    fn entry(&mut self, _entry: Option<Remembered>) {}
}

/// The arguments of a command, in order, as a transport has them: each call reads the next one.
///
/// # Errors
/// Each call fails where the argument is not what it must be. Nothing was done then.
pub trait Arguments<'a> {
    /// A key.
    fn key(&mut self) -> Result<Key>;

    /// Keys.
    fn keys(&mut self) -> Result<KeyList>;

    /// A value.
    fn value(&mut self) -> Result<Carried<'a>>;

    /// Keys, and a value for each.
    fn pairs(&mut self) -> Result<(KeyList, Vec<Carried<'a>>)>;

    /// What a dump gave.
    fn entries(&mut self) -> Result<Vec<DumpEntry<OwnedValue>>>;

    /// A number, which errors call `name`; `None` where none was given.
    fn number(&mut self, name: &str) -> Result<Option<f64>>;

    /// An age in milliseconds; `None` where none was given.
    fn max_age(&mut self) -> Result<Option<f64>>;

    /// A list of ages.
    fn ages(&mut self) -> Result<Vec<Option<f64>>>;

    /// The value of an option, not checked yet; `None` where none was given.
    fn option(&mut self) -> Result<Option<Json>>;

    /// Whether something is wanted; `false` where nothing was given.
    fn flag(&mut self) -> Result<bool> {
        Ok(is_true(self.option()?.as_ref()))
    }

    /// Whether an age runs on, and tags: `true`, or `{"keeps":true,"tags":[]}`. Nothing where nothing was given.
    fn terms(&mut self) -> Result<(bool, TagList)> {
        let given = self.option()?;
        let Some(Json::Object(given)) = &given else {
            return Ok((is_true(given.as_ref()), TagList::default()));
        };
        let tags = given.get("tags").map(TagList::parse).transpose()?;
        Ok((is_true(given.get("keeps")), tags.unwrap_or_default()))
    }

    /// As [`Arguments::terms`], for each of a list, with tags for all of them: `{"keeps":[],"tags":[],"own":[]}`. Each list may be
    /// left out, and an element of `own` be `null`.
    fn all_terms(&mut self) -> Result<(Vec<bool>, TagList, Vec<Option<TagList>>)> {
        let Some(Json::Object(given)) = self.option()? else {
            return Ok(Default::default());
        };
        let list = |name: &str| given.get(name).and_then(Json::as_array);
        let keeps = list("keeps").map(|keeps| keeps.iter().map(|flag| is_true(Some(flag))).collect());
        let tags = given.get("tags").map(TagList::parse).transpose()?;
        let own = list("own").into_iter().flatten().map(|own| match own {
            Json::Null => Ok(None),
            own => TagList::parse(own).map(Some),
        });
        Ok((
            keeps.unwrap_or_default(),
            tags.unwrap_or_default(),
            own.collect::<Result<_>>()?,
        ))
    }
}

fn is_true(given: Option<&Json>) -> bool {
    given == Some(&Json::Bool(true))
}

/// The names of all commands, as messages and JavaScript have them.
pub const NAMES: &[&str] = &[
    "get",
    "peek",
    "has",
    "set",
    "del",
    "incr",
    "decr",
    "setIfAbsent",
    "getEntry",
    "compareAndSet",
    "compareAndDelete",
    "getAndDelete",
    "touch",
    "getRemainingTTL",
    "hit",
    "getMany",
    "hasMany",
    "deleteMany",
    "deletePrefix",
    "scan",
    "entries",
    "setMany",
    "mGet",
    "mSet",
    "mDel",
    "reset",
    "invalidateTags",
    "prune",
    "keys",
    "values",
    "dump",
    "load",
    "pop",
    "length",
    "itemCount",
    "max",
    "maxSize",
    "maxAge",
    "allowStale",
    "stale",
    "stats",
    "countFetches",
];

impl<'a> Command<'a> {
    /// Reads a command, one of [`NAMES`], with all its arguments.
    ///
    /// # Errors
    /// There is no such command, or an argument is not what it must be. Nothing was done.
    pub fn parse(name: &str, arguments: &mut impl Arguments<'a>) -> Result<Self> {
        Ok(match name {
            "get" => Self::Get(arguments.key()?),
            "peek" => Self::Peek(arguments.key()?),
            "has" => Self::Has(arguments.key()?),
            "set" => {
                let (key, value, max_age) = (arguments.key()?, arguments.value()?, arguments.max_age()?);
                let (keeps_age, tags) = arguments.terms()?;
                Self::Set {
                    key,
                    value,
                    max_age,
                    keeps_age,
                    tags,
                }
            }
            "del" => Self::Del(arguments.key()?),
            "incr" | "decr" => {
                let key = arguments.key()?;
                let amount = arguments.number("amount")?.unwrap_or(1.0);
                let max_age = arguments.max_age()?;
                let (keeps_age, tags) = arguments.terms()?;
                Self::Incr {
                    key,
                    amount: if name == "decr" { -amount } else { amount },
                    max_age,
                    keeps_age,
                    tags,
                }
            }
            "getEntry" => Self::GetEntry(arguments.key()?),
            "compareAndSet" => {
                let (key, version) = (arguments.key()?, version(arguments)?);
                let (value, max_age) = (arguments.value()?, arguments.max_age()?);
                let (keeps_age, tags) = arguments.terms()?;
                Self::CompareAndSet {
                    key,
                    version,
                    value,
                    max_age,
                    keeps_age,
                    tags,
                }
            }
            "compareAndDelete" => Self::CompareAndDelete {
                key: arguments.key()?,
                version: version(arguments)?,
            },
            "setIfAbsent" => Self::SetIfAbsent {
                key: arguments.key()?,
                value: arguments.value()?,
                max_age: arguments.max_age()?,
                // There is no age that could run on.
                tags: arguments.terms()?.1,
            },
            "getAndDelete" => Self::GetAndDelete(arguments.key()?),
            "touch" => Self::Touch {
                key: arguments.key()?,
                max_age: arguments.max_age()?,
                keeps_age: arguments.flag()?,
            },
            "getRemainingTTL" => Self::GetRemainingTtl(arguments.key()?),
            "hit" => {
                let key = arguments.key()?;
                let window = arguments.number("window")?.filter(|window| *window > 0.0);
                let window = window.ok_or_else(|| Error::argument("window must be a number above 0"))?;
                let amount = arguments.number("amount")?.unwrap_or(1.0);
                if !amount.is_finite() {
                    return Err(Error::argument("amount must be a finite number"));
                }
                Self::Hit {
                    key,
                    window,
                    amount,
                    if_present: arguments.flag()?,
                    limit: arguments.number("limit")?.unwrap_or(f64::INFINITY),
                    when_over: arguments.option()?.as_ref().map(when_over).transpose()?,
                }
            }
            "hasMany" => Self::HasMany(arguments.keys()?),
            "deleteMany" => Self::DeleteMany(arguments.keys()?),
            "deletePrefix" => {
                let prefix = prefix(arguments)?.filter(|prefix| !prefix.is_empty());
                Self::DeletePrefix(
                    prefix.ok_or_else(|| Error::argument("deletePrefix needs a string that is not empty"))?,
                )
            }
            "scan" => Self::Scan {
                prefix: prefix(arguments)?.unwrap_or_default(),
                cursor: cursor(arguments)?,
                count: count(arguments)?,
                values: arguments.flag()?,
            },
            "entries" => Self::Entries {
                prefix: prefix(arguments)?.unwrap_or_default(),
                keys_alone: false,
            },
            "mGet" | "getMany" => Self::MGet(arguments.keys()?),
            "mSet" | "setMany" => {
                let (keys, values) = arguments.pairs()?;
                let (max_age, ages) = (arguments.max_age()?, arguments.ages()?);
                let (keeps_ages, tags, own_tags) = arguments.all_terms()?;
                Self::MSet {
                    keys,
                    values,
                    max_age,
                    ages,
                    keeps_ages,
                    tags,
                    own_tags,
                    tells: name == "setMany",
                }
            }
            "mDel" => Self::MDel(arguments.keys()?),
            "reset" => Self::Reset,
            "invalidateTags" => {
                Self::InvalidateTags(TagList::parse(&arguments.option()?.unwrap_or_default())?)
            }
            "prune" => Self::Prune,
            // With a flag, the rules are those of `entries`.
            "keys" if arguments.flag()? => Self::Entries {
                prefix: prefix(arguments)?.unwrap_or_default(),
                keys_alone: true,
            },
            "keys" => Self::Keys,
            "values" => Self::Values,
            "dump" => Self::Dump,
            "load" => Self::Load(arguments.entries()?),
            "pop" => Self::Pop,
            "length" | "itemCount" => Self::Length,
            "max" => Self::Max(option(arguments, options::max)?),
            "maxSize" => Self::MaxSize(option(arguments, options::max_size)?),
            "maxAge" => Self::MaxAge(option(arguments, options::max_age)?),
            "allowStale" | "stale" => Self::AllowStale(option(arguments, options::stale)?),
            "stats" => Self::Stats,
            "countFetches" => Self::CountFetches {
                loads: times(arguments, "loads")?,
                followers: times(arguments, "followers")?,
                errors: times(arguments, "errors")?,
                time: times(arguments, "time")?,
            },
            unknown => return Err(Error::command(unknown)),
        })
    }
}

/// The next argument, checked by the rule of its option.
fn option<'a, T>(
    arguments: &mut impl Arguments<'a>,
    check: impl FnOnce(&Json) -> Result<T>,
) -> Result<Option<T>> {
    arguments.option()?.as_ref().map(check).transpose()
}

/// The next argument, a version.
fn version<'a>(arguments: &mut impl Arguments<'a>) -> Result<f64> {
    let version = arguments.number("version")?;
    version.ok_or_else(|| Error::argument("version must be a number that getEntry gave, or 0"))
}

/// The next argument, how often something happened.
fn times<'a>(arguments: &mut impl Arguments<'a>, name: &str) -> Result<u64> {
    // What is no count is none. A conversion never leaves the range.
    Ok(arguments.number(name)?.unwrap_or(0.0) as u64)
}

/// The next argument, a prefix; `None` where none was given.
fn prefix<'a>(arguments: &mut impl Arguments<'a>) -> Result<Option<Prefix>> {
    let key = arguments.key()?;
    match key.view() {
        KeyView::Undefined | KeyView::Null => Ok(None),
        _ => match Prefix::of(&key) {
            Some(prefix) => Ok(Some(prefix)),
            None => Err(Error::argument("prefix must be a string")),
        },
    }
}

/// The next argument, a cursor; `None` where none was given.
fn cursor<'a>(arguments: &mut impl Arguments<'a>) -> Result<Option<Cursor>> {
    match arguments.key()?.view() {
        KeyView::Undefined | KeyView::Null => Ok(None),
        KeyView::String(text) => Cursor::parse(text).map(Some).ok_or_else(Error::cursor),
        _ => Err(Error::cursor()),
    }
}

/// The next argument, after how many entries a part of a scan ends.
fn count<'a>(arguments: &mut impl Arguments<'a>) -> Result<usize> {
    const USUAL: f64 = 100.0;
    let count = arguments.number("count")?.unwrap_or(USUAL);
    if count < 1.0 || count.is_nan() {
        return Err(Error::argument("count must be a number from 1 on"));
    }
    Ok(count.min(Slice::MOST as f64) as usize)
}

/// What a caller said of a window above its limit.
fn when_over(given: &Json) -> Result<WhenOver> {
    match (given, options::number(given)) {
        (Json::String(text), _) if text == "restart" => Ok(WhenOver::Restart),
        (Json::String(text), _) if text == "double" => Ok(WhenOver::Double),
        (_, Some(time)) if time > 0.0 => Ok(WhenOver::Time(time)),
        _ => Err(Error::argument(
            "whenOver must be 'restart', 'double' or a number of milliseconds above 0",
        )),
    }
}

impl<K: AsRef<[u8]>> Command<'_, K> {
    /// Whose values it reads.
    pub fn reads(&self) -> Reads<'_> {
        match self {
            Self::Get(key) | Self::Peek(key) | Self::GetEntry(key) | Self::GetAndDelete(key) => {
                Reads::One(key.as_ref())
            }
            Self::MGet(keys) => Reads::These(keys),
            Self::Values
            | Self::Dump
            | Self::Pop
            | Self::Entries {
                keys_alone: false, ..
            }
            | Self::Scan { values: true, .. } => Reads::Any,
            Self::Has(_)
            | Self::Set { .. }
            | Self::Del(_)
            | Self::Incr { .. }
            | Self::SetIfAbsent { .. }
            | Self::CompareAndSet { .. }
            | Self::CompareAndDelete { .. }
            | Self::Touch { .. }
            | Self::GetRemainingTtl(_)
            | Self::Hit { .. }
            | Self::HasMany(_)
            | Self::DeleteMany(_)
            | Self::DeletePrefix(_)
            | Self::Scan { .. }
            | Self::Entries { .. }
            | Self::MSet { .. }
            | Self::MDel(_)
            | Self::Reset
            | Self::InvalidateTags(_)
            | Self::Prune
            | Self::Keys
            | Self::Load(_)
            | Self::Length
            | Self::Max(_)
            | Self::MaxSize(_)
            | Self::MaxAge(_)
            | Self::AllowStale(_)
            | Self::Stats
            | Self::CountFetches { .. } => Reads::Nothing,
        }
    }
}

/// Runs a command. A value that it does not store is declined (see [`Storage::decline`]). `now` is in milliseconds since the epoch.
///
/// ```
/// use lru_cache_for_clusters::{
///     cache::Cache,
///     command::{Answer, Command, run},
///     copies::{Copies, Item},
///     slots::Slots,
///     storage::heap::HeapStorage,
///     value::{Carried, Value},
/// };
///
/// let mut cache = Cache::new(HeapStorage::new(Slots::default()));
/// let mut copies = Copies::new(1000);
/// let key = b"skey".as_slice();
/// let value = Carried::Borrowed(Value::Number(1.5));
/// let set = Command::Set { key, value, max_age: None, keeps_age: false, tags: Default::default() };
/// assert_eq!(run(&mut cache, &set, 0.0, &mut copies), Ok(Answer::Bool(true)));
/// assert_eq!(run(&mut cache, &Command::Get(key), 0.0, &mut copies), Ok(Answer::Found));
/// assert_eq!(copies.iter().next(), Some(Item::Value(Value::Number(1.5))));
/// ```
///
/// # Errors
/// That of the sink, or of the cache.
// Inlined, so that a caller that makes one command pays for that one alone.
#[inline(always)]
pub fn run<S: Storage, K: AsRef<[u8]>>(
    cache: &mut Cache<S>,
    command: &Command<'_, K>,
    now: impl Clock,
    sink: &mut impl Sink,
) -> Result<Answer> {
    Ok(match command {
        Command::Get(key) => {
            get(cache, key.as_ref(), now, sink)?;
            Answer::Found
        }
        Command::Peek(key) => {
            let found = cache.peek(key.as_ref(), now, |value| sink.value(value))?;
            found.map_or_else(|| sink.miss(), Ok)?;
            Answer::Found
        }
        Command::Has(key) => Answer::Bool(cache.has(key.as_ref(), now)?),
        Command::Set {
            key,
            value,
            max_age,
            keeps_age,
            tags,
        } => {
            let terms = terms(*max_age, *keeps_age, tags);
            Answer::Bool(cache.set_on(key.as_ref(), value.value(), &terms, now)?)
        }
        Command::Del(key) => {
            cache.del(key.as_ref())?;
            Answer::Nothing
        }
        Command::Incr {
            key,
            amount,
            max_age,
            keeps_age,
            tags,
        } => {
            let terms = terms(*max_age, *keeps_age, tags);
            Answer::Number(cache.incr_on(key.as_ref(), *amount, &terms, now)?)
        }
        Command::GetEntry(key) => {
            let facts = cache.get_entry(key.as_ref(), now, |value| sink.value(value))?;
            match facts {
                Some(facts) => {
                    sink.number(facts.version)?;
                    sink.number(facts.set_at)?;
                    sink.number(facts.expires)?;
                    cache.tags(key.as_ref(), |tag| sink.value(Value::String(tag)))?;
                    Answer::List
                }
                None => Answer::Nothing,
            }
        }
        Command::CompareAndSet {
            key,
            version,
            value,
            max_age,
            keeps_age,
            tags,
        } => match cache.has_version(key.as_ref(), *version, now) {
            Ok(true) => match cache.set_on(
                key.as_ref(),
                value.value(),
                &terms(*max_age, *keeps_age, tags),
                now,
            )? {
                true => Answer::Bool(true),
                // It can never fit: no other change came between.
                false => Answer::Nothing,
            },
            other => {
                cache.storage_mut().decline(value.value());
                Answer::Bool(other?)
            }
        },
        Command::CompareAndDelete { key, version } => {
            let holds = cache.has_version(key.as_ref(), *version, now)?;
            if holds {
                cache.del(key.as_ref())?;
            }
            Answer::Bool(holds)
        }
        Command::SetIfAbsent {
            key,
            value,
            max_age,
            tags,
        } => match cache.has(key.as_ref(), now) {
            Ok(false) => {
                let terms = terms(*max_age, false, tags);
                Answer::Bool(cache.set_on(key.as_ref(), value.value(), &terms, now)?)
            }
            there => {
                cache.storage_mut().decline(value.value());
                there?;
                Answer::Bool(false)
            }
        },
        Command::GetAndDelete(key) => {
            let found = cache.peek(key.as_ref(), now, |value| sink.value(value))?;
            found.map_or_else(|| sink.miss(), Ok)?;
            cache.del(key.as_ref())?;
            Answer::Found
        }
        Command::Touch {
            key,
            max_age,
            keeps_age,
        } => Answer::Bool(cache.renew(key.as_ref(), *max_age, *keeps_age, now)?),
        Command::GetRemainingTtl(key) => Answer::Number(cache.remaining(key.as_ref(), now)?),
        Command::Hit {
            key,
            window,
            amount,
            if_present,
            limit,
            when_over,
        } => {
            let over = when_over.map(|when_over| (*limit, when_over));
            let hit = cache.hit(key.as_ref(), *window, *amount, *if_present, over, now)?;
            sink.number(hit.count)?;
            sink.number(hit.reset_in)?;
            sink.value(Value::Bool(hit.first))?;
            Answer::List
        }
        Command::HasMany(keys) => {
            keys.iter()
                .try_for_each(|key| sink.value(Value::Bool(cache.has(key, now)?)))?;
            Answer::List
        }
        Command::DeleteMany(keys) => {
            cache.begin_steps();
            keys.iter()
                .try_for_each(|key| sink.value(Value::Bool(cache.delete(key, now)?)))?;
            Answer::List
        }
        Command::DeletePrefix(prefix) => {
            cache.void_prefix(prefix.beginning());
            let mut keys = KeyList::default();
            cache.visit_keys(|key| match prefix.matches(key) {
                true => keys.push(key),
                false => Ok(()),
            })?;
            let mut removed = 0;
            for key in keys.iter() {
                removed += u32::from(cache.delete(key, now)?);
            }
            Answer::Number(removed.into())
        }
        Command::Scan {
            prefix,
            cursor,
            count,
            values,
        } => {
            let slice = Slice {
                prefix,
                count: *count,
                keys_alone: !values,
            };
            let next = cache.scan(*cursor, slice, now, |entry| {
                sink.key(entry.key)?;
                if *values { sink.value(entry.value) } else { Ok(()) }
            })?;
            // The last value of the list is the cursor.
            let next = next.map(|next| next.to_string());
            let next = next.as_deref().map(str::as_bytes);
            sink.value(next.map_or(Value::Undefined, Value::String))?;
            Answer::List
        }
        Command::Entries { prefix, keys_alone } => {
            let listing = Listing::Entries {
                prefix,
                keys_alone: *keys_alone,
            };
            let max_age = cache.limits().max_age;
            cache.visit(|entry| listing.give(entry, max_age, now, sink).map(drop))?;
            Answer::List
        }
        Command::MGet(keys) => {
            keys.iter().try_for_each(|key| get(cache, key, now, sink))?;
            Answer::List
        }
        Command::MSet {
            keys,
            values,
            max_age,
            ages,
            keeps_ages,
            tags,
            own_tags,
            tells,
        } => {
            cache.begin_steps();
            let mut values = values.iter();
            let done: Result<()> =
                keys.iter()
                    .zip(&mut values)
                    .enumerate()
                    .try_for_each(|(index, (key, value))| {
                        let own = ages.get(index).copied().flatten();
                        let keeps_age = keeps_ages.get(index) == Some(&true);
                        let tags = own_tags.get(index).and_then(Option::as_ref).unwrap_or(tags);
                        let terms = terms(own.or(*max_age), keeps_age, tags);
                        let stored = cache.set_on(key, value.value(), &terms, now)?;
                        if *tells {
                            sink.value(Value::Bool(stored))?;
                        }
                        Ok(())
                    });
            // What was not reached is not stored.
            values.for_each(|value| cache.storage_mut().decline(value.value()));
            done?;
            if *tells { Answer::List } else { Answer::Bool(true) }
        }
        Command::MDel(keys) => {
            cache.begin_steps();
            keys.iter().try_for_each(|key| cache.del(key))?;
            Answer::Bool(true)
        }
        Command::Reset => {
            cache.reset()?;
            Answer::Nothing
        }
        Command::InvalidateTags(tags) => {
            cache.invalidate(tags.tags());
            Answer::Nothing
        }
        Command::Prune => Answer::Bool(cache.prune(now)),
        Command::Keys => {
            cache.visit_keys(|key| sink.key(key))?;
            Answer::List
        }
        Command::Values => {
            cache.visit(|entry| sink.value(entry.value))?;
            Answer::List
        }
        Command::Dump => {
            cache.dump(now, |entry, expires| dumped(entry, expires, sink))?;
            Answer::List
        }
        Command::Load(entries) => {
            cache.begin_steps();
            cache.load(entries, now)?;
            Answer::Nothing
        }
        Command::Pop => {
            let popped = cache.pop(|entry| {
                sink.key(entry.key)?;
                sink.value(entry.value)?;
                sink.number(entry.stamp.set_at)?;
                sink.number(entry.stamp.max_age)
            })?;
            popped.map_or(Answer::Nothing, |()| Answer::List)
        }
        Command::Length => Answer::Number(cache.len() as f64),
        Command::Max(max) => {
            max.inspect(|max| cache.set_max(*max));
            Answer::Number(cache.limits().max)
        }
        Command::MaxSize(max_size) => {
            max_size.inspect(|max_size| cache.set_max_size(*max_size));
            Answer::Number(cache.limits().max_size)
        }
        Command::MaxAge(max_age) => {
            max_age.inspect(|max_age| cache.set_max_age(*max_age));
            Answer::Number(cache.limits().max_age)
        }
        Command::AllowStale(stale) => {
            stale.inspect(|stale| cache.set_allow_stale(*stale));
            Answer::Bool(cache.limits().allow_stale)
        }
        Command::Stats => {
            let numbers = cache.stats().numbers();
            numbers.iter().try_for_each(|number| sink.number(*number))?;
            Answer::List
        }
        Command::CountFetches {
            loads,
            followers,
            errors,
            time,
        } => {
            cache.count_fetches(*loads, *followers, *errors, *time);
            Answer::Bool(true)
        }
    })
}

fn dumped(entry: Entry<'_>, expires: f64, sink: &mut impl Sink) -> Result<()> {
    sink.key(entry.key)?;
    sink.value(entry.value)?;
    sink.number(expires)
}

/// What is given of every entry.
#[derive(Clone, Copy, Debug)]
pub enum Listing<'a> {
    /// Keys with this prefix, those of expired entries too: [`Command::Keys`].
    Keys(&'a Prefix),
    /// [`Command::Values`]
    Values,
    /// [`Command::Dump`]
    Dump,
    /// [`Command::Entries`]
    Entries {
        /// The prefix.
        prefix: &'a Prefix,
        /// Whether the values are left out.
        keys_alone: bool,
    },
}

impl<'a> Listing<'a> {
    /// What a command gives of every entry, if it is such a command.
    pub fn of<K>(command: &'a Command<'_, K>) -> Option<Self> {
        match command {
            Command::Keys => Some(Self::Keys(&EVERY_KEY)),
            Command::Values => Some(Self::Values),
            Command::Dump => Some(Self::Dump),
            Command::Entries { prefix, keys_alone } => Some(Self::Entries {
                prefix,
                keys_alone: *keys_alone,
            }),
            _ => None,
        }
    }

    /// How many calls of the sink an entry takes.
    pub fn items(self) -> usize {
        match self {
            Self::Values => 1,
            Self::Dump => 3,
            Self::Keys(_) | Self::Entries { .. } => 2 - usize::from(self.has_keys_alone()),
        }
    }

    /// Whether no value is given.
    pub fn has_keys_alone(self) -> bool {
        matches!(self, Self::Keys(_) | Self::Entries { keys_alone: true, .. })
    }

    /// Whose values are given.
    pub fn reads(self) -> Reads<'static> {
        if self.has_keys_alone() {
            Reads::Nothing
        } else {
            Reads::Any
        }
    }

    /// Gives a sink what is given of an entry. `false` where that is nothing. `max_age` is that of the cache.
    ///
    /// # Errors
    /// That of the sink.
    pub fn give(self, entry: Entry<'_>, max_age: f64, now: impl Clock, sink: &mut impl Sink) -> Result<bool> {
        match self {
            Self::Keys(_) | Self::Values if cache::is_invalid(entry.stamp) => return Ok(false),
            Self::Keys(prefix) if prefix.matches(entry.key) => sink.key(entry.key)?,
            Self::Values => sink.value(entry.value)?,
            Self::Dump => match cache::expires(entry.stamp, max_age, now) {
                Some(expires) => dumped(entry, expires, sink)?,
                None => return Ok(false),
            },
            Self::Entries { prefix, keys_alone }
                if prefix.matches(entry.key) && cache::expires(entry.stamp, max_age, now).is_some() =>
            {
                sink.key(entry.key)?;
                if !keys_alone {
                    sink.value(entry.value)?;
                }
            }
            Self::Keys(_) | Self::Entries { .. } => return Ok(false),
        }
        Ok(true)
    }
}

/// The terms on which an entry is stored.
fn terms(max_age: Option<f64>, keeps_age: bool, tags: &TagList) -> Terms<'_> {
    Terms {
        max_age,
        keeps_age,
        extras: Extras { tags: tags.tags() },
        ..Terms::default()
    }
}

fn get<S: Storage>(cache: &mut Cache<S>, key: &[u8], now: impl Clock, sink: &mut impl Sink) -> Result<()> {
    let found = cache.get(key, now, |value| sink.value(value))?;
    found.map_or_else(|| sink.miss(), Ok)?;
    if sink.wants_entries() {
        sink.entry(cache.remembered());
    }
    Ok(())
}
