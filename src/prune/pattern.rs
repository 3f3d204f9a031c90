//! Cron patterns as the npm package `cron` 1.8 reads them, on top of the crate `cron`.
//!
//! The two dialects differ in numbering, in names and in how day of month and day of week combine. So this module parses a
//! pattern itself and gives the crate plain lists of numbers in the crate's numbering.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use cron::{Schedule, TimeUnitSpec};

/// A cron pattern: six fields `second minute hour day-of-month month day-of-week`, or the last five of them
/// (then the second is 0).
///
/// A field is a comma-separated list of `*`, `a`, `a-b`, `*/n`, `a/n` (from `a` to the field's end) and
/// `a-b/n`. Months are 1–12 or `jan`–`dec`; days of the week are 0–7 or `sun`–`sat` in any case, 0 and 7 both
/// Sunday, and a range may end on Sunday by either number. There are no `@hourly`-like aliases, no `?`, `L`, `W`.
///
/// When day of month and day of week are both restricted, a day that matches **either** of them counts. A field
/// that lists all its values is unrestricted, however it is written.
///
/// Two patterns are equal when they are written alike.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use lru_cache_for_clusters::prune::Pattern;
///
/// let workdays_at_six = Pattern::parse("0 6 * * mon-fri")?;
/// let friday: DateTime<Utc> = "2026-01-02T06:00:00Z".parse()?;
/// assert_eq!(workdays_at_six.next_after(friday), Some("2026-01-05T06:00:00Z".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// The pattern fires when any of these does. There are two where either kind of day counts.
    schedules: Vec<Schedule>,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The text is no pattern, or one for a day that never comes (30 February).
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match schedules(text) {
            Ok(schedules) => Ok(Pattern {
                text: text.to_owned(),
                schedules,
            }),
            Err(reason) => Err(PatternError {
                pattern: text.to_owned(),
                reason,
            }),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after `now`, exclusive and on a whole second, at which the pattern fires in `now`'s time
    /// zone; `None` when there is none before the year 2101.
    ///
    /// Times of day that the zone skips when its clocks go forward do not fire. When the clocks go back, an hour comes
    /// twice: a pattern for certain hours fires in the first of the two only, and a pattern for every hour fires in both.
    pub fn next_after<Z: TimeZone>(&self, now: DateTime<Z>) -> Option<DateTime<Z>> {
        self.schedules
            .iter()
            .filter_map(|schedule| next_of(schedule, &now))
            .min()
    }
}

fn next_of<Z: TimeZone>(schedule: &Schedule, now: &DateTime<Z>) -> Option<DateTime<Z>> {
    // The crate gets local time as if it were UTC. With a zone whose offset changes, its answers can lie in the past, and
    // its iterator can repeat an hour without end.
    let zone = now.timezone();
    let upcoming = || {
        schedule
            .after(&now.naive_local().and_utc())
            .map(|time| time.naive_utc())
    };
    let by_time_of_day =
        || upcoming().find_map(|time| first_instant(&zone, time).filter(|instant| instant > now));
    if !schedule.hours().is_all() {
        return by_time_of_day();
    }

    // A pattern for every hour fires in a repeated hour too. The next time is computed as if the clocks did not change from
    // now on. If they change before that time, it counts only if the local time then matches the pattern too.
    let time = upcoming().next()?;
    let by_elapsed_time = zone.from_utc_datetime(&(time - now.offset().fix()));
    let is_soon = by_elapsed_time.clone().signed_duration_since(now) < TimeDelta::days(1);
    if is_soon && by_elapsed_time.naive_local() == time {
        return Some(by_elapsed_time); // the clocks do not change before: no search through the repeated hour
    }
    let matching = Some(by_elapsed_time).filter(|instant| schedule.includes(instant.clone()));
    matching.into_iter().chain(by_time_of_day()).min()
}

/// The first instant at which the zone's clocks show `time`; `None` when they skip it.
fn first_instant<Z: TimeZone>(zone: &Z, time: NaiveDateTime) -> Option<DateTime<Z>> {
    // `chrono::Local` may give the later of two instants first, and instants at the ends of a change that do not show
    // `time`. So each answer is converted back and compared.
    let answer = zone.from_local_datetime(&time);
    [answer.clone().earliest(), answer.latest()]
        .into_iter()
        .flatten()
        .filter(|instant| zone.from_utc_datetime(&instant.naive_utc()).naive_local() == time)
        .min()
}

/// The error of a text that is no pattern: the text and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pattern: String,
    reason: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid cron pattern {:?}: {}", self.pattern, self.reason)
    }
}

impl std::error::Error for PatternError {}

/// The values that one field of a pattern may have.
struct Field {
    name: &'static str,
    /// `*` means all values from `min` to `max`; `a/n` ends at `max`.
    min: u32,
    max: u32,
    /// The largest number that is accepted: `max`, but 7 for the day of the week, where 0 and 7 both are Sunday.
    last: u32,
    /// The names of `min`, `min + 1`, …
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const SECOND: Field = Field {
    name: "second",
    min: 0,
    max: 59,
    last: 59,
    names: &[],
};
const MINUTE: Field = Field {
    name: "minute",
    ..SECOND
};
const HOUR: Field = Field {
    name: "hour",
    min: 0,
    max: 23,
    last: 23,
    names: &[],
};
const DAY: Field = Field {
    name: "day of month",
    min: 1,
    max: 31,
    last: 31,
    names: &[],
};
const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    last: 12,
    names: &MONTHS,
};
const WEEKDAY: Field = Field {
    name: "day of week",
    min: 0,
    max: 6,
    last: 7,
    names: &WEEKDAYS,
};

/// The days of each month in a leap year.
const MONTH_LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

fn schedules(text: &str) -> Result<Vec<Schedule>, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [second, minute, hour, day, month, weekday] = match fields[..] {
        [minute, hour, day, month, weekday] => ["0", minute, hour, day, month, weekday],
        [second, minute, hour, day, month, weekday] => [second, minute, hour, day, month, weekday],
        _ => {
            return Err(format!(
                "the number of its fields is {}, not 5 or 6",
                fields.len()
            ));
        }
    };
    let second = SECOND.parse(second)?;
    let minute = MINUTE.parse(minute)?;
    let hour = HOUR.parse(hour)?;
    let day = DAY.parse(day)?;
    let month = MONTH.parse(month)?;
    // 0 and 7 are the same day. The crate counts from 1.
    let weekday: BTreeSet<u32> = WEEKDAY
        .parse(weekday)?
        .into_iter()
        .map(|day| day % 7 + 1)
        .collect();

    let any_day = day.len() == 31;
    let any_weekday = weekday.len() == 7;
    let day_exists = month
        .iter()
        .any(|&month| day.range(..=MONTH_LENGTHS[month as usize - 1]).next().is_some());
    let schedule = |day: &str, weekday: &str| {
        let [second, minute, hour, month] = [&second, &minute, &hour, &month].map(list);
        Schedule::from_str(&format!("{second} {minute} {hour} {day} {month} {weekday}"))
            .map_err(|error| error.to_string())
    };
    let mut schedules = Vec::new();
    // Where both days are restricted, either counts. One schedule of the crate would require both.
    if day_exists && (any_weekday || !any_day) {
        schedules.push(schedule(&list(&day), "*")?);
    }
    if !any_weekday {
        schedules.push(schedule("*", &list(&weekday))?);
    }
    if schedules.is_empty() {
        return Err("none of its months has such a day of month".to_owned());
    }
    Ok(schedules)
}

fn list(values: &BTreeSet<u32>) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

impl Field {
    fn parse(&self, text: &str) -> Result<BTreeSet<u32>, String> {
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, Some(self.step(step, item)?)),
                None => (item, None),
            };
            let (low, high) = match range.split_once('-') {
                Some((low, high)) => self.range(self.value(low, item)?, self.value(high, item)?, item)?,
                None if range == "*" => (self.min, self.max),
                None => {
                    let low = self.value(range, item)?;
                    let high = if step.is_some() { self.max.max(low) } else { low };
                    (low, high)
                }
            };
            values.extend((low..=high).step_by(step.unwrap_or(1)));
        }
        Ok(values)
    }

    fn range(&self, low: u32, high: u32, item: &str) -> Result<(u32, u32), String> {
        match high {
            _ if low <= high => Ok((low, high)),
            0 if self.last == 7 => Ok((low, 7)), // `fri-sun`
            _ => Err(format!("{} {item:?} runs backwards", self.name)),
        }
    }

    fn value(&self, text: &str, item: &str) -> Result<u32, String> {
        let named = (self.min..)
            .zip(self.names)
            .find(|(_, name)| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some((value, _)) => value,
            None => self.number(text, item)?,
        };
        if (self.min..=self.last).contains(&value) {
            Ok(value)
        } else {
            Err(format!(
                "{} {item:?} is not within {}-{}",
                self.name, self.min, self.last
            ))
        }
    }

    fn step(&self, text: &str, item: &str) -> Result<usize, String> {
        match self.number(text, item)? {
            0 => Err(format!("{} {item:?} has a step of zero", self.name)),
            step => Ok(step as usize),
        }
    }

    /// Digits only; a number too large for `u32` is as good as the largest one, which no field reaches.
    fn number(&self, text: &str, item: &str) -> Result<u32, String> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{} {item:?} cannot be read", self.name));
        }
        Ok(text.parse().unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, FixedOffset, MappedLocalTime, NaiveDate, Timelike, Utc};
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    /// Cuba in 2026, whose changes touch midnight, with the answers to ambiguous times that `chrono::Local` gives.
    #[derive(Clone, Copy, Debug)]
    struct Zone;

    const WINTER: FixedOffset = FixedOffset::west_opt(5 * 3600).unwrap();
    const SUMMER: FixedOffset = FixedOffset::west_opt(4 * 3600).unwrap();
    /// In UTC, both Sundays: 00:00 becomes 01:00, and later 01:00 becomes 00:00.
    const FORWARD: NaiveDateTime = NaiveDate::from_ymd_opt(2026, 3, 8)
        .unwrap()
        .and_hms_opt(5, 0, 0)
        .unwrap();
    const BACK: NaiveDateTime = NaiveDate::from_ymd_opt(2026, 11, 1)
        .unwrap()
        .and_hms_opt(5, 0, 0)
        .unwrap();

    impl TimeZone for Zone {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Zone
        }

        fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
            if (FORWARD..BACK).contains(utc) {
                SUMMER
            } else {
                WINTER
            }
        }

        fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
            self.offset_from_utc_datetime(&utc.and_hms_opt(0, 0, 0).unwrap())
        }

        fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
            if *local > FORWARD + WINTER && *local < FORWARD + SUMMER {
                MappedLocalTime::None
            } else if (BACK + WINTER..=BACK + SUMMER).contains(local) {
                MappedLocalTime::Ambiguous(WINTER, SUMMER)
            } else if (FORWARD + SUMMER..BACK + WINTER).contains(local) {
                MappedLocalTime::Single(SUMMER)
            } else {
                MappedLocalTime::Single(WINTER)
            }
        }

        fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
            self.offset_from_local_datetime(&local.and_hms_opt(0, 0, 0).unwrap())
        }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    /// The first times of `pattern` after `now`, comma-separated, `format`ted.
    fn upcoming<Z: TimeZone<Offset: fmt::Display>>(
        text: &str,
        now: DateTime<Z>,
        n: usize,
        format: &str,
    ) -> String {
        let pattern = pattern(text);
        let times = std::iter::successors(Some(now), |now| pattern.next_after(now.clone()));
        let times: Vec<_> = times
            .skip(1)
            .take(n)
            .map(|time| time.format(format).to_string())
            .collect();
        times.join(", ")
    }

    #[test]
    fn times_of_day() {
        let now: DateTime<Utc> = "2026-01-01T10:20:30.5Z".parse().unwrap();
        for (text, expected) in [
            ("* * * * * *", "10:20:31, 10:20:32, 10:20:33"),
            ("*/1 * * * * *", "10:20:31, 10:20:32, 10:20:33"),
            ("0 * * * * *", "10:21:00, 10:22:00, 10:23:00"),
            ("* * * * *", "10:21:00, 10:22:00, 10:23:00"),
            ("30 * * * * *", "10:21:30, 10:22:30, 10:23:30"),
            ("*/20 * * * * *", "10:20:40, 10:21:00, 10:21:20"),
            ("*/25 * * * * *", "10:20:50, 10:21:00, 10:21:25"),
            ("50/5 * * * * *", "10:20:50, 10:20:55, 10:21:50"),
            ("10-40/15 * * * * *", "10:20:40, 10:21:10, 10:21:25"),
            ("*/99999999999 * * * * *", "10:21:00, 10:22:00, 10:23:00"),
            ("0 5,55 * * * *", "10:55:00, 11:05:00, 11:55:00"),
            ("5,50-51,*/30 * * * *", "10:30:00, 10:50:00, 10:51:00"),
            ("05 22-23 * * *", "22:05:00, 23:05:00, 22:05:00"),
            ("0 */7 * * *", "14:00:00, 21:00:00, 00:00:00"),
            (" \t0  12 * * *\n", "12:00:00, 12:00:00, 12:00:00"),
        ] {
            assert_eq!(upcoming(text, now, 3, "%T"), expected, "{text:?}");
        }
    }

    #[test]
    fn days() {
        // A Thursday.
        let now: DateTime<Utc> = "2026-01-01T10:20:30Z".parse().unwrap();
        for (text, expected) in [
            ("0 0 * * *", "Fri Jan  2, Sat Jan  3, Sun Jan  4, Mon Jan  5"),
            ("0 0 */10 * *", "Sun Jan 11, Wed Jan 21, Sat Jan 31, Sun Feb  1"),
            ("0 0 31 * *", "Sat Jan 31, Tue Mar 31, Sun May 31, Fri Jul 31"),
            ("0 0 1 */4 *", "Fri May  1, Tue Sep  1, Fri Jan  1, Sat May  1"),
            ("0 0 1 2,12 *", "Sun Feb  1, Tue Dec  1, Mon Feb  1, Wed Dec  1"),
            (
                "0 0 1 FEB,dec *",
                "Sun Feb  1, Tue Dec  1, Mon Feb  1, Wed Dec  1",
            ),
            (
                "0 0 1 oct-Dec/2 *",
                "Thu Oct  1, Tue Dec  1, Fri Oct  1, Wed Dec  1",
            ),
            ("0 0 29 2 *", "Tue Feb 29, Sun Feb 29, Fri Feb 29, Wed Feb 29"),
            ("0 0 * * 0", "Sun Jan  4, Sun Jan 11, Sun Jan 18, Sun Jan 25"),
            ("0 0 * * 7", "Sun Jan  4, Sun Jan 11, Sun Jan 18, Sun Jan 25"),
            ("0 0 * * SUN", "Sun Jan  4, Sun Jan 11, Sun Jan 18, Sun Jan 25"),
            ("0 0 * * 0,7", "Sun Jan  4, Sun Jan 11, Sun Jan 18, Sun Jan 25"),
            ("0 0 * * 1", "Mon Jan  5, Mon Jan 12, Mon Jan 19, Mon Jan 26"),
            ("0 0 * * 6", "Sat Jan  3, Sat Jan 10, Sat Jan 17, Sat Jan 24"),
            ("0 0 * * 5-7", "Fri Jan  2, Sat Jan  3, Sun Jan  4, Fri Jan  9"),
            (
                "0 0 * * fri-sun",
                "Fri Jan  2, Sat Jan  3, Sun Jan  4, Fri Jan  9",
            ),
            (
                "0 0 * * Mon-Wed",
                "Mon Jan  5, Tue Jan  6, Wed Jan  7, Mon Jan 12",
            ),
            ("0 0 * * */2", "Sat Jan  3, Sun Jan  4, Tue Jan  6, Thu Jan  8"),
            ("0 0 * * 1/2", "Fri Jan  2, Mon Jan  5, Wed Jan  7, Fri Jan  9"),
            ("0 0 * * 5-7/2", "Fri Jan  2, Sun Jan  4, Fri Jan  9, Sun Jan 11"),
            ("0 0 * * 7/2", "Sun Jan  4, Sun Jan 11, Sun Jan 18, Sun Jan 25"),
            ("0 0 * * 0-0", "Sun Jan  4, Sun Jan 11, Sun Jan 18, Sun Jan 25"),
            // Either kind of day, where both are restricted.
            ("0 0 13 * 5", "Fri Jan  2, Fri Jan  9, Tue Jan 13, Fri Jan 16"),
            ("0 0 1-31 * 5", "Fri Jan  2, Fri Jan  9, Fri Jan 16, Fri Jan 23"),
            ("0 0 13 * 1-7", "Tue Jan 13, Fri Feb 13, Fri Mar 13, Mon Apr 13"),
            ("0 0 30 feb mon", "Mon Feb  2, Mon Feb  9, Mon Feb 16, Mon Feb 23"),
        ] {
            assert_eq!(upcoming(text, now, 4, "%a %b %e"), expected, "{text:?}");
        }
    }

    #[test]
    fn clock_changes() {
        let winter = Zone.with_ymd_and_hms(2026, 1, 1, 12, 0, 0).unwrap();
        let spring = Zone.with_ymd_and_hms(2026, 3, 7, 23, 59, 0).unwrap();
        let autumn = Zone.with_ymd_and_hms(2026, 10, 31, 23, 59, 0).unwrap();
        for (now, text, expected) in [
            (spring, "* * * * *", "08T01:00-04, 08T01:01-04, 08T01:02-04"),
            (spring, "30 * * * *", "08T01:30-04, 08T02:30-04, 08T03:30-04"),
            (spring, "0 0 * * *", "09T00:00-04, 10T00:00-04, 11T00:00-04"),
            (spring, "30 0 * * *", "09T00:30-04, 10T00:30-04, 11T00:30-04"),
            (spring, "0 1 * * *", "08T01:00-04, 09T01:00-04, 10T01:00-04"),
            (spring, "0 * * * mon", "09T00:00-04, 09T01:00-04, 09T02:00-04"),
            (autumn, "0 * * * *", "01T00:00-04, 01T00:00-05, 01T01:00-05"),
            (autumn, "30 * * * *", "01T00:30-04, 01T00:30-05, 01T01:30-05"),
            (autumn, "30 0 * * *", "01T00:30-04, 02T00:30-05, 03T00:30-05"),
            (autumn, "0 0,1 * * *", "01T00:00-04, 01T01:00-05, 02T00:00-05"),
            (autumn, "0 1 * * *", "01T01:00-05, 02T01:00-05, 03T01:00-05"),
            (autumn, "0 * * * mon", "02T00:00-05, 02T01:00-05, 02T02:00-05"),
            (winter, "0 * 1 11 *", "01T00:00-04, 01T00:00-05, 01T01:00-05"),
        ] {
            assert_eq!(
                upcoming(text, now, 3, "%dT%H:%M%:::z"),
                expected,
                "{text:?} after {now}"
            );
        }
    }

    /// In a repeated hour the crate's own iterator goes round for ever.
    #[test]
    fn ends_in_a_repeated_hour() {
        let now = Zone.from_utc_datetime(&(BACK - TimeDelta::seconds(1)));
        assert_eq!(upcoming("* * 0 * * *", now, 1, "%dT%T%:::z"), "02T00:00:00-05");
        assert_eq!(upcoming("* * * * * *", now, 1, "%dT%T%:::z"), "01T00:00:00-05");
    }

    #[test]
    fn ends_with_the_crates_calendar() {
        let now: DateTime<Utc> = "2100-12-31T23:59:58Z".parse().unwrap();
        let last = pattern("* * * * * *").next_after(now);
        assert_eq!(last, Some(now + TimeDelta::seconds(1)));
        assert_eq!(pattern("* * * * * *").next_after(last.unwrap()), None);
    }

    #[test]
    fn refuses() {
        for (text, reason) in [
            ("", "the number of its fields is 0, not 5 or 6"),
            ("* * * *", "the number of its fields is 4, not 5 or 6"),
            ("* * * * * * *", "the number of its fields is 7, not 5 or 6"),
            ("@hourly", "the number of its fields is 1, not 5 or 6"),
            ("60 * * * * *", r#"second "60" is not within 0-59"#),
            ("0-60 * * * *", r#"minute "0-60" is not within 0-59"#),
            (
                "99999999999 * * * *",
                r#"minute "99999999999" is not within 0-59"#,
            ),
            ("* 24 * * *", r#"hour "24" is not within 0-23"#),
            ("* * 0 * *", r#"day of month "0" is not within 1-31"#),
            ("* * * 0 *", r#"month "0" is not within 1-12"#),
            ("* * * 13 *", r#"month "13" is not within 1-12"#),
            ("* * * * 8", r#"day of week "8" is not within 0-7"#),
            ("* * * * sat-mon", r#"day of week "sat-mon" runs backwards"#),
            ("1,30-0 * * * *", r#"minute "30-0" runs backwards"#),
            ("*/0 * * * *", r#"minute "*/0" has a step of zero"#),
            ("1,,2 * * * *", r#"minute "" cannot be read"#),
            ("*5 * * * *", r#"minute "*5" cannot be read"#),
            ("5-* * * * *", r#"minute "5-*" cannot be read"#),
            ("1-2-3 * * * *", r#"minute "1-2-3" cannot be read"#),
            ("1/2/3 * * * *", r#"minute "1/2/3" cannot be read"#),
            ("+1 * * * *", r#"minute "+1" cannot be read"#),
            ("1.5 * * * *", r#"minute "1.5" cannot be read"#),
            ("? * * * *", r#"minute "?" cannot be read"#),
            ("mon * * * *", r#"minute "mon" cannot be read"#),
            ("* * * * monday", r#"day of week "monday" cannot be read"#),
            ("* * L * *", r#"day of month "L" cannot be read"#),
            ("* * * * \u{661}", "day of week \"\u{661}\" cannot be read"),
            ("0 0 30 2 *", "none of its months has such a day of month"),
            ("0 0 31 2,4,jun *", "none of its months has such a day of month"),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("invalid cron pattern {text:?}: {reason}")
            );
        }
    }

    #[test]
    fn keeps_its_text() {
        assert_eq!(pattern(" 0  0 * * Fri").as_str(), " 0  0 * * Fri");
    }

    fn times(range: std::ops::Range<u32>) -> impl Strategy<Value = BTreeSet<u32>> {
        prop_oneof![Just(range.clone().collect()), btree_set(range, 1..4)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// A walk from second to second finds the same next time, around both changes of the clocks.
        #[test]
        fn agrees_with_a_walk(
            second in times(0..60),
            minute in times(0..60),
            hour in times(0..24),
            weekday in times(0..7),
            change in prop::sample::select(vec![FORWARD, BACK]),
            millis in -4 * 3_600_000..4 * 3_600_000_i64,
        ) {
            let matches = |time: &DateTime<Zone>| {
                let repeated = (BACK..BACK + TimeDelta::hours(1)).contains(&time.naive_utc());
                second.contains(&time.second())
                    && minute.contains(&time.minute())
                    && hour.contains(&time.hour())
                    && (hour.len() == 24 || !repeated)
                    && weekday.contains(&time.weekday().num_days_from_sunday())
            };
            let text = format!("{} {} {} * * {}", list(&second), list(&minute), list(&hour), list(&weekday));
            let now = Zone.from_utc_datetime(&(change + TimeDelta::milliseconds(millis)));
            let whole = Zone.timestamp_opt(now.timestamp(), 0).unwrap();
            let walk = (1..).map(|seconds| whole + TimeDelta::seconds(seconds)).find(matches);
            prop_assert_eq!(pattern(&text).next_after(now), walk);
        }

        /// Whatever is sent as a pattern, the answer is a pattern or an error.
        #[test]
        fn reads_anything(text in r"([0-9a-z*/,?-]{0,6} ){4,5}\PC{0,6}") {
            let now: DateTime<Utc> = "2026-01-01T10:20:30Z".parse().unwrap();
            if let Ok(pattern) = Pattern::parse(&text) {
                prop_assert!(pattern.next_after(now).is_some_and(|time| time > now));
            }
        }
    }
}
