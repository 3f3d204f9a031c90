//! What a storage counts, and what `stats` gives.

/// What is counted of a cache. One that happens many times at once is counted so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A `get` of an entry that has not expired, under the lock. Those without the lock are counted by rings.
    Hit,
    /// A `get` that gave nothing.
    Miss,
    /// A `get` that gave the value of an entry that had expired.
    StaleHit,
    /// An entry was stored.
    Set,
    /// A call removed an entry.
    Delete,
    /// The limits removed an entry.
    Eviction,
    /// An entry was removed because it had expired.
    Expiration,
    /// A loader of `fetch` ran.
    Load,
    /// A call of `fetch` waited for the loader of another.
    Follower,
    /// A loader failed.
    LoadError,
    /// A microsecond that a loader took.
    LoadTime,
}

/// How many kinds of [`Event`] there are.
pub const EVENTS: usize = Event::LoadTime as usize + 1;

/// How often each [`Event`] happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; EVENTS]);

impl Counts {
    /// The counts that `of` gives, by the number of the event.
    pub fn of(of: impl FnMut(usize) -> u64) -> Self {
        Self(std::array::from_fn(of))
    }

    /// Counts an event so often.
    #[inline(always)]
    pub fn add(&mut self, event: Event, times: u64) {
        let count = &mut self.0[event as usize];
        *count = count.wrapping_add(times);
    }

    /// What added to these counts gives 0 for each event.
    pub fn negated(&self) -> Self {
        Self(self.0.map(u64::wrapping_neg))
    }

    /// How often an event happened.
    pub fn get(&self, event: Event) -> u64 {
        self.0[event as usize]
    }

    /// Every event with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Event, u64)> {
        const ALL: [Event; EVENTS] = [
            Event::Hit,
            Event::Miss,
            Event::StaleHit,
            Event::Set,
            Event::Delete,
            Event::Eviction,
            Event::Expiration,
            Event::Load,
            Event::Follower,
            Event::LoadError,
            Event::LoadTime,
        ];
        ALL.map(|event| (event, self.get(event))).into_iter()
    }
}

/// The state of a cache, as one moment has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// What was counted.
    pub counts: Counts,
    /// Entries, expired ones included.
    pub entries: usize,
    /// The bytes of all entries, as `maxSize` counts them.
    pub size: f64,
    /// The bytes of memory that the storage has.
    pub bytes: f64,
    /// The greatest number of bytes of all entries; infinite for no limit.
    pub max_size: f64,
    /// How often the storage was rebuilt, and how many entries that cost.
    pub recoveries: u32,
    /// See `recoveries`.
    pub dropped: u32,
    /// Processes that have the storage in their memory.
    pub processes: usize,
}

impl Stats {
    /// All numbers, in the order of `FIELDS` in `lib/stats.js`.
    pub fn numbers(&self) -> [f64; 18] {
        let count = |event| self.counts.get(event) as f64;
        [
            count(Event::Hit) + count(Event::StaleHit),
            count(Event::Miss),
            count(Event::StaleHit),
            count(Event::Set),
            count(Event::Delete),
            count(Event::Eviction),
            count(Event::Expiration),
            self.entries as f64,
            self.size,
            self.bytes,
            self.max_size,
            self.recoveries.into(),
            self.dropped.into(),
            self.processes as f64,
            count(Event::Load),
            count(Event::Follower),
            count(Event::LoadError),
            count(Event::LoadTime),
        ]
    }
}
