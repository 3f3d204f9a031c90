//! The rules once more, the plain way: a list, most recent first, searched from its start.

use lru_cache_for_clusters::{
    storage::{Limits, Stamp},
    value::OwnedValue,
};

use super::js::JsKey;

#[derive(Clone, Debug)]
pub struct Kept {
    pub key: JsKey,
    pub value: OwnedValue,
    pub stamp: Stamp,
    pub tags: Vec<&'static str>,
    /// Whether a tag was invalidated since.
    pub is_invalid: bool,
}

/// An entry as `dump` gives it, and when it expires.
#[derive(Clone, Debug)]
pub struct Dumped {
    pub key: JsKey,
    pub value: OwnedValue,
    pub expires: f64,
}

/// The bytes that an entry takes: how many is a storage's own business, and is asked there.
pub type EntrySize = Box<dyn Fn(&JsKey, &OwnedValue, &[&'static str]) -> f64>;

pub struct Model {
    pub entries: Vec<Kept>,
    pub limits: Limits,
    entry_size: EntrySize,
    /// Whether an invalidation removes the entries, as it does where there are few. Else they are left until they are found.
    sweeps: bool,
}

impl Model {
    pub fn new(entry_size: EntrySize, sweeps: bool) -> Self {
        Self {
            entries: vec![],
            limits: Limits::default(),
            entry_size,
            sweeps,
        }
    }

    fn find(&self, key: &JsKey) -> Option<usize> {
        self.entries.iter().position(|kept| kept.key == *key)
    }

    fn is_expired(&self, kept: &Kept, now: f64) -> bool {
        let Stamp { set_at, max_age: own } = kept.stamp;
        let age = [own, self.limits.max_age].into_iter().find(|age| *age != 0.0);
        kept.is_invalid || age.is_some_and(|age| now - set_at > age)
    }

    fn look_up(&mut self, key: &JsKey, now: f64, used: bool) -> Option<OwnedValue> {
        let at = self.find(key)?;
        let value = self.entries[at].value.clone();
        if self.is_expired(&self.entries[at], now) {
            let over = self.entries.remove(at);
            return (self.limits.allow_stale && !over.is_invalid).then_some(value);
        }
        if used {
            let kept = self.entries.remove(at);
            self.entries.insert(0, kept);
        }
        Some(value)
    }

    pub fn get(&mut self, key: &JsKey, now: f64) -> Option<OwnedValue> {
        self.look_up(key, now, true)
    }

    pub fn peek(&mut self, key: &JsKey, now: f64) -> Option<OwnedValue> {
        self.look_up(key, now, false)
    }

    pub fn has(&self, key: &JsKey, now: f64) -> bool {
        self.find(key)
            .is_some_and(|at| !self.is_expired(&self.entries[at], now))
    }

    pub fn set(&mut self, key: &JsKey, value: OwnedValue, max_age: Option<f64>, now: f64) -> bool {
        self.set_on(key, value, (max_age, false), &[], now)
    }

    pub fn set_on(
        &mut self,
        key: &JsKey,
        value: OwnedValue,
        (max_age, keeps_age): (Option<f64>, bool),
        tags: &[&'static str],
        now: f64,
    ) -> bool {
        if !self.may_fit(key, &value, tags) {
            self.del(key);
            return false;
        }
        let max_age = max_age
            .filter(|age| *age != 0.0 && !age.is_nan())
            .unwrap_or(self.limits.max_age);
        let set_at = if max_age == 0.0 { 0.0 } else { now };
        let running = self
            .find(key)
            .filter(|at| !self.is_expired(&self.entries[*at], now));
        let stamp = match running {
            Some(at) if keeps_age => self.entries[at].stamp,
            _ => stamp(set_at, max_age),
        };
        let kept = Kept {
            key: key.canonical(),
            value,
            stamp,
            tags: tags.to_vec(),
            is_invalid: false,
        };
        match self.find(key) {
            Some(at) => {
                self.entries[at] = kept;
                // Looked up again, it becomes the most recent, or goes: with a negative age it has expired.
                self.get(key, now);
            }
            None => self.entries.insert(0, kept),
        }
        self.trim();
        true
    }

    pub fn del(&mut self, key: &JsKey) {
        self.entries.retain(|kept| kept.key != *key);
    }

    pub fn incr(
        &mut self,
        key: &JsKey,
        amount: f64,
        max_age: Option<f64>,
        tags: &[&'static str],
        now: f64,
    ) -> f64 {
        // An age of 0 or NaN is none, as in `set`.
        let own = max_age.is_some_and(|age| age != 0.0 && !age.is_nan());
        let there = self.find(key).map(|at| self.entries[at].clone());
        let over = own && there.as_ref().is_some_and(|kept| self.is_expired(kept, now));
        let before = match self.get(key, now) {
            Some(OwnedValue::Number(number)) if !over => Some(number),
            _ => None,
        };
        let sum = before.unwrap_or(0.0) + amount;
        match there {
            Some(running) if before.is_some() && own => {
                // `get` brought it to the front.
                if self.may_fit(key, &OwnedValue::Number(sum), tags) {
                    self.entries[0] = Kept {
                        value: OwnedValue::Number(sum),
                        tags: tags.to_vec(),
                        ..running
                    };
                    self.trim();
                } else {
                    self.del(key);
                }
            }
            _ => {
                self.set_on(key, OwnedValue::Number(sum), (max_age, false), tags, now);
            }
        }
        sum
    }

    /// The keys and values that have not expired, of strings that begin with `prefix`; without one, all.
    pub fn entries(&self, prefix: Option<&[u16]>, now: f64) -> Vec<(JsKey, OwnedValue)> {
        let fresh = self.entries.iter().filter(|kept| !self.is_expired(kept, now));
        fresh
            .filter(|kept| begins(&kept.key, prefix))
            .map(|kept| (kept.key.clone(), kept.value.clone()))
            .collect()
    }

    pub fn delete_prefix(&mut self, prefix: &[u16], now: f64) -> f64 {
        let removed = self.entries(Some(prefix), now).len();
        // An entry with a dead tag is gone already. It stays in its place until a sweep.
        self.entries
            .retain(|kept| kept.is_invalid || !begins(&kept.key, Some(prefix)));
        removed as f64
    }

    pub fn reset(&mut self) {
        self.entries.clear();
    }

    pub fn prune(&mut self, now: f64) {
        for kept in self.entries.clone() {
            if self.is_expired(&kept, now) {
                self.del(&kept.key);
            }
        }
    }

    pub fn dump(&self, now: f64) -> Vec<Dumped> {
        let fresh = self.entries.iter().filter(|kept| !self.is_expired(kept, now));
        fresh
            .map(
                |Kept {
                     key, value, stamp, ..
                 }| Dumped {
                    key: key.clone(),
                    value: value.clone(),
                    expires: stamp.set_at + stamp.max_age,
                },
            )
            .collect()
    }

    pub fn load(&mut self, entries: &[Dumped], now: f64) {
        self.reset();
        for Dumped { key, value, expires } in entries.iter().rev() {
            if *expires == 0.0 {
                self.set(key, value.clone(), None, now);
            } else if expires - now > 0.0 {
                self.set(key, value.clone(), Some(expires - now), now);
            }
        }
    }

    pub fn touch(&mut self, key: &JsKey, max_age: Option<f64>, now: f64) -> bool {
        if !self.has(key, now) {
            return false;
        }
        let at = self.find(key).unwrap();
        let mut kept = self.entries.remove(at);
        let max_age = max_age
            .filter(|age| *age != 0.0 && !age.is_nan())
            .unwrap_or(kept.stamp.max_age);
        let set_at = if max_age == 0.0 { 0.0 } else { now };
        kept.stamp = stamp(set_at, max_age);
        if !self.is_expired(&kept, now) {
            self.entries.insert(0, kept);
        }
        true
    }

    pub fn tags(&mut self, key: &JsKey, now: f64) -> Vec<&'static str> {
        match self.get(key, now) {
            Some(_) => self.find(key).map_or(vec![], |at| self.entries[at].tags.clone()),
            None => vec![],
        }
    }

    pub fn invalidate(&mut self, tags: &[&'static str]) {
        for kept in &mut self.entries {
            kept.is_invalid |= kept.tags.iter().any(|tag| tags.contains(tag));
        }
        if self.sweeps {
            self.entries.retain(|kept| !kept.is_invalid);
        }
    }

    pub fn pop(&mut self) -> Option<Kept> {
        while self.entries.last().is_some_and(|kept| kept.is_invalid) {
            self.entries.pop();
        }
        self.entries.pop()
    }

    pub fn set_max(&mut self, max: f64) {
        self.limits.max = limit(max);
        self.trim();
    }

    pub fn set_max_size(&mut self, max_size: f64) {
        self.limits.max_size = limit(max_size);
        self.trim();
    }

    pub fn set_max_entry_size(&mut self, max_entry_size: f64) {
        self.limits.max_entry_size = limit(max_entry_size);
    }

    pub fn set_max_age(&mut self, max_age: f64) {
        self.limits.max_age = if max_age.is_nan() { 0.0 } else { max_age };
    }

    /// Whether a cache that is empty has room for an entry.
    fn may_fit(&self, key: &JsKey, value: &OwnedValue, tags: &[&'static str]) -> bool {
        let Limits {
            max,
            max_size,
            max_entry_size,
            ..
        } = self.limits;
        max >= 1.0 && (self.entry_size)(key, value, tags) <= max_size.min(max_entry_size)
    }

    fn size(&self) -> f64 {
        let sizes = self
            .entries
            .iter()
            .map(|kept| (self.entry_size)(&kept.key, &kept.value, &kept.tags));
        sizes.sum()
    }

    fn trim(&mut self) {
        while self.entries.len() as f64 > self.limits.max || self.size() > self.limits.max_size {
            self.entries.pop();
        }
    }
}

/// Whether a key is a string that begins with `prefix`; without one, always.
fn begins(key: &JsKey, prefix: Option<&[u16]>) -> bool {
    match (key, prefix) {
        (_, None) => true,
        (JsKey::String(units), Some(prefix)) => units.starts_with(prefix),
        _ => false,
    }
}

/// 0 and `NaN` are no limit.
fn limit(given: f64) -> f64 {
    if given > 0.0 { given } else { f64::INFINITY }
}

/// A stamp. The last 8 bits of an age say what `fetch` keeps: an age of more than 2^45 milliseconds is a part in 10^13 shorter.
fn stamp(set_at: f64, max_age: f64) -> Stamp {
    let max_age = match max_age.is_finite() {
        true => f64::from_bits(max_age.to_bits() & !0xFF),
        false => max_age,
    };
    Stamp { set_at, max_age }
}
