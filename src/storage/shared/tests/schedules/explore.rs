//! Choices: which schedules of a check are run. A schedule is a list of choices. The first choice of each is the plain one:
//! the thread goes on, the load reads the newest value, nobody is killed. Any other choice but that of the next thread,
//! where one has come to its end, is a deviation. [`Bounds`] says how many a schedule may have.

use super::super::Random;

/// How many deviations a schedule may have, of each kind and together.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Another thread goes on in the middle of a call.
    pub switches: u32,
    /// A load reads a value that is not the newest.
    pub old: u32,
    /// A thread is killed before a store.
    pub kills: u32,
    pub all: u32,
}

impl Bounds {
    /// Twice as many of each, but no more kills.
    pub fn longer(self) -> Self {
        Self {
            switches: self.switches * 2,
            old: self.old * 2,
            kills: self.kills,
            all: self.all * 2,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Next,
    Switch,
    Old,
    Kill,
}

/// The choices of one schedule after the other.
pub struct Choices {
    bounds: Bounds,
    /// Which one was taken, of how many.
    path: Vec<(u32, u32)>,
    at: usize,
    left: Bounds,
    /// `None`: every schedule within the bounds, depth first. Else random ones.
    random: Option<(Random, u32)>,
    /// Choices of the longest schedule.
    longest: usize,
    pub schedules: u32,
}

impl Choices {
    pub fn all(bounds: Bounds) -> Self {
        Self {
            bounds,
            path: vec![],
            at: 0,
            left: bounds,
            random: None,
            longest: 1,
            schedules: 0,
        }
    }

    pub fn random(bounds: Bounds, seed: u64, schedules: u32) -> Self {
        Self {
            random: Some((Random(seed), schedules)),
            ..Self::all(bounds)
        }
    }

    /// Begins the next schedule; `false`: there is none.
    pub fn next(&mut self) -> bool {
        self.longest = self.longest.max(self.path.len());
        let is_first = self.schedules == 0;
        match &self.random {
            Some((_, schedules)) => {
                self.path.clear();
                if self.schedules >= *schedules {
                    return false;
                }
            }
            None if is_first => {}
            None => {
                while let Some((taken, of)) = self.path.last_mut() {
                    *taken += 1;
                    if *taken < *of {
                        break;
                    }
                    self.path.pop();
                }
                if self.path.is_empty() {
                    return false;
                }
            }
        }
        self.schedules += 1;
        self.rewind();
        true
    }

    /// Begins all anew: what is a choice has changed.
    pub fn restart(&mut self) {
        if self.random.is_none() {
            self.path.clear();
            self.schedules = 0;
        }
    }

    /// Begins the same schedule once more.
    pub fn rewind(&mut self) {
        (self.at, self.left) = (0, self.bounds);
    }

    /// Takes one of `of`.
    pub fn choose(&mut self, kind: Kind, of: usize) -> usize {
        let left = match kind {
            Kind::Next => u32::MAX,
            Kind::Switch => self.left.switches,
            Kind::Old => self.left.old,
            Kind::Kill => self.left.kills,
        };
        if of < 2 || left == 0 || (kind != Kind::Next && self.left.all == 0) {
            return 0;
        }
        if self.at == self.path.len() {
            // Some deviations in each schedule, wherever they are.
            let taken = match &mut self.random {
                None => 0,
                Some((random, _)) if kind == Kind::Next => random.below(of),
                Some((random, _)) => match random.below(self.longest) < 2 * self.bounds.all as usize {
                    true => 1 + random.below(of - 1),
                    false => 0,
                },
            };
            self.path.push((taken as u32, of as u32));
        }
        let (taken, among) = self.path[self.at];
        assert_eq!(among as usize, of, "a schedule that is run again is another");
        self.at += 1;
        if taken != 0 {
            match kind {
                Kind::Next => {}
                Kind::Switch => self.left.switches -= 1,
                Kind::Old => self.left.old -= 1,
                Kind::Kill => self.left.kills -= 1,
            }
            self.left.all -= u32::from(kind != Kind::Next);
        }
        taken as usize
    }
}
