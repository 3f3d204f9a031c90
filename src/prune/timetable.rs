//! The timetable: which jobs are due, and how long to wait for the next one. It has no thread, and the caller gives the
//! time.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta, Utc};

use super::Pattern;

/// The longest wait before the clock is read again. A wait does not end when the clock is set or when the machine wakes up
/// from sleep, so after either a tick can be this late.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Where the clock is set back by at most this much, jobs wait until it has caught up, so that no job fires twice for one
/// due time. Where it is set back further, the old time was wrong, and the jobs are planned anew by the new time.
const MAX_CATCH_UP: TimeDelta = TimeDelta::minutes(1);

/// A job of the timetable: its pattern, its next due time and its callback.
pub(super) struct Planned<C> {
    pattern: Pattern,
    /// The next due time, later than all that have fired. `None` if there is none.
    due: Option<DateTime<Utc>>,
    callback: C,
}

impl<C> Planned<C> {
    pub(super) fn new(pattern: Pattern, callback: C, now: DateTime<Utc>) -> Self {
        let mut job = Planned {
            pattern,
            due: None,
            callback,
        };
        job.plan(now);
        job
    }

    fn plan(&mut self, now: DateTime<Utc>) {
        self.due = self
            .pattern
            .next_after(now.with_timezone(&Local))
            .map(|due| due.to_utc());
    }
}

/// The jobs by id.
pub(super) struct Timetable<C> {
    jobs: BTreeMap<u64, Planned<C>>,
    last_tick: DateTime<Utc>,
}

impl<C> Timetable<C> {
    pub(super) fn new() -> Self {
        Timetable {
            jobs: BTreeMap::new(),
            last_tick: DateTime::<Utc>::MIN_UTC,
        }
    }

    pub(super) fn insert(&mut self, id: u64, job: Planned<C>) {
        self.jobs.insert(id, job);
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.jobs.remove(&id);
    }

    /// Calls `fire` for each job that is due, once for any number of missed due times. The next due time of a job is set
    /// before its call: if the call unwinds, the timetable is consistent and the job is not due again.
    pub(super) fn tick(&mut self, now: DateTime<Utc>, mut fire: impl FnMut(&C)) {
        if now + MAX_CATCH_UP < self.last_tick {
            self.jobs.values_mut().for_each(|job| job.plan(now));
        }
        self.last_tick = now;
        for job in self.jobs.values_mut() {
            if job.due.take_if(|due| *due <= now).is_some() {
                job.plan(now);
                fire(&job.callback);
            }
        }
    }

    /// How long to wait before the next [`tick`](Self::tick). `None` if no job has a due time.
    pub(super) fn wait(&self, now: DateTime<Utc>) -> Option<Duration> {
        let due = self.jobs.values().filter_map(|job| job.due).min()?;
        Some((due - now).to_std().unwrap_or_default().min(MAX_WAIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times of day on one date; patterns below hour level, so that the machine's time zone does not matter.
    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-01-01T{time}Z").parse().unwrap()
    }

    /// Jobs named and numbered by their places.
    fn timetable(patterns: &[&str], now: &str) -> Timetable<usize> {
        let mut timetable = Timetable::new();
        for (place, pattern) in patterns.iter().enumerate() {
            timetable.insert(
                place as u64,
                Planned::new(Pattern::parse(pattern).unwrap(), place, at(now)),
            );
        }
        timetable
    }

    fn fired(timetable: &mut Timetable<usize>, now: &str) -> Vec<usize> {
        let mut fired = Vec::new();
        timetable.tick(at(now), |&job| fired.push(job));
        fired
    }

    #[test]
    fn fires_each_job_at_its_times() {
        let mut jobs = timetable(&["* * * * * *", "*/2 * * * * *", "* * * * *"], "10:00:00.5");
        assert!(fired(&mut jobs, "10:00:00.5").is_empty());
        assert!(fired(&mut jobs, "10:00:00.999").is_empty());
        assert_eq!(fired(&mut jobs, "10:00:01"), [0]);
        assert!(fired(&mut jobs, "10:00:01").is_empty());
        assert_eq!(fired(&mut jobs, "10:00:02.1"), [0, 1]);
        assert!(fired(&mut jobs, "10:00:02.9").is_empty());
        assert_eq!(fired(&mut jobs, "10:01:00"), [0, 1, 2]);
    }

    #[test]
    fn missed_times_fire_once() {
        let mut jobs = timetable(&["* * * * * *", "30 * * * * *"], "10:00:00");
        assert_eq!(fired(&mut jobs, "18:00:00.2"), [0, 1]);
        assert!(fired(&mut jobs, "18:00:00.3").is_empty());
        assert_eq!(fired(&mut jobs, "18:00:01"), [0]);
    }

    #[test]
    fn a_clock_set_back_a_little_fires_nothing_twice() {
        let mut jobs = timetable(&["*/10 * * * * *"], "10:00:00");
        assert_eq!(fired(&mut jobs, "10:00:30"), [0]);
        assert!(fired(&mut jobs, "10:00:05").is_empty());
        assert!(fired(&mut jobs, "10:00:10").is_empty());
        assert!(fired(&mut jobs, "10:00:30").is_empty());
        assert_eq!(fired(&mut jobs, "10:00:40"), [0]);
    }

    #[test]
    fn a_clock_set_back_far_starts_over() {
        let mut jobs = timetable(&["*/10 * * * * *"], "18:00:00");
        assert_eq!(fired(&mut jobs, "18:00:10"), [0]);
        assert!(fired(&mut jobs, "10:00:05").is_empty());
        assert_eq!(fired(&mut jobs, "10:00:10"), [0]);
    }

    #[test]
    fn waits_for_the_earliest_and_not_for_long() {
        let mut jobs = timetable(&["* * * * *", "30 * * * * *"], "10:00:00");
        assert_eq!(jobs.wait(at("10:00:00")), Some(MAX_WAIT));
        assert_eq!(jobs.wait(at("10:00:29.25")), Some(Duration::from_millis(750)));
        assert_eq!(jobs.wait(at("10:00:30")), Some(Duration::ZERO));
        assert_eq!(jobs.wait(at("10:00:31")), Some(Duration::ZERO));
        jobs.remove(1);
        assert_eq!(jobs.wait(at("10:00:59")), Some(Duration::from_secs(1)));
        jobs.remove(0);
        assert_eq!(jobs.wait(at("10:00:59")), None);
        assert!(fired(&mut jobs, "11:00:00").is_empty());
    }

    #[test]
    fn a_job_without_further_times_is_not_waited_for() {
        let after_the_last: DateTime<Utc> = "2102-01-01T00:00:00Z".parse().unwrap();
        let mut jobs = Timetable::new();
        jobs.insert(
            0,
            Planned::new(Pattern::parse("* * * * *").unwrap(), (), after_the_last),
        );
        assert_eq!(jobs.wait(after_the_last), None);
    }
}
