//! Times as sent, the clock, and timeouts.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::task::coop::unconstrained;

/// A point in time as a provider wrote it.
///
/// The text is kept as it was sent, and parsed by [`unix`](Time::unix). Dates of care can identify patients, so `Debug`
/// does not show it.
///
/// ```
/// use medhook::Time;
///
/// assert_eq!(Time::from("2024-02-27T10:30:00Z").unix(), Some(1_709_029_800));
/// assert_eq!(Time::from("2024-02-27T11:30:00+01:00").unix(), Some(1_709_029_800));
/// // A time without an offset is read as UTC.
/// assert_eq!(Time::from("2024-02-27T10:30:00").unix(), Some(1_709_029_800));
/// assert_eq!(Time::from("1709029800").unix(), Some(1_709_029_800));
/// assert_eq!(Time::from("last Tuesday").unix(), None);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Time(Box<str>);

impl Time {
    /// Creates a time from seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        Time(seconds.to_string().into())
    }

    /// Returns the text as sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z, rounded down, or `None` if the text has no supported
    /// format.
    ///
    /// Supported are RFC 3339 and its usual variations, the same without an offset (read as UTC), a date (midnight in
    /// UTC), and a number of seconds.
    #[must_use]
    pub fn unix(&self) -> Option<i64> {
        if let Ok(seconds) = self.0.parse::<i64>() {
            return Some(seconds);
        }
        self.timestamp().map(|timestamp| {
            let second = timestamp.as_second();
            // jiff rounds toward zero.
            if timestamp.subsec_nanosecond() < 0 { second.saturating_sub(1) } else { second }
        })
    }

    /// Returns the time as a [`jiff::Timestamp`](https://docs.rs/jiff/0.2/jiff/struct.Timestamp.html), including
    /// fractions of a second, or `None` if the text has no supported format or is a time before the year -9999 or after
    /// 9999-12-30. A leap second is returned as the second before it.
    #[cfg(feature = "jiff-02")]
    #[must_use]
    pub fn to_jiff(&self) -> Option<jiff::Timestamp> {
        self.instant()
    }

    /// Returns the time as a [`chrono::DateTime`](https://docs.rs/chrono/0.4/chrono/struct.DateTime.html) in UTC,
    /// with the same precision and range as a `jiff::Timestamp`: with fractions of a second, and `None` before the year
    /// -9999 and after 9999-12-30. A leap second is returned as the second before it.
    #[cfg(feature = "chrono-04")]
    #[must_use]
    pub fn to_chrono(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        let nanoseconds = self.instant()?.as_nanosecond();
        let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
        let fraction = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
        chrono::DateTime::from_timestamp(seconds, fraction)
    }

    /// Returns the time as a [`time::OffsetDateTime`](https://docs.rs/time/0.3/time/struct.OffsetDateTime.html) in UTC,
    /// with the same precision and range as a `jiff::Timestamp`: with fractions of a second, and `None` before the year
    /// -9999 and after 9999-12-30. A leap second is returned as the second before it.
    #[cfg(feature = "time-03")]
    #[must_use]
    pub fn to_time(&self) -> Option<time::OffsetDateTime> {
        time::OffsetDateTime::from_unix_timestamp_nanos(self.instant()?.as_nanosecond()).ok()
    }

    #[cfg(any(feature = "chrono-04", feature = "jiff-02", feature = "time-03"))]
    fn instant(&self) -> Option<jiff::Timestamp> {
        match self.0.parse::<i64>() {
            Ok(seconds) => jiff::Timestamp::from_second(seconds).ok(),
            Err(_) => self.timestamp(),
        }
    }

    fn timestamp(&self) -> Option<jiff::Timestamp> {
        // The longest valid time has about 40 characters. Do not parse a megabyte.
        if self.0.len() > 64 {
            return None;
        }
        self.0.parse().ok().or_else(|| {
            let naive: jiff::civil::DateTime = self.0.parse().ok()?;
            naive.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        })
    }
}

impl Time {
    /// Returns the unit of a number that is too large for seconds and is a recent time in a finer unit.
    #[inline]
    pub(crate) fn finer_unit(&self, now: impl FnOnce() -> i64) -> Option<&'static str> {
        // Few times are this long without being a date, so most are not parsed here.
        if self.0.len() < LEAST_DIGITS { None } else { finer_unit(self.0.parse().ok()?, now()) }
    }
}

/// The number of digits of the smallest number that is not read as seconds of this or the next millennium.
const LEAST_DIGITS: usize = 12;

/// Returns the unit of a number that cannot be seconds, if it is a time within ten years of `now` in that unit.
pub(crate) fn finer_unit(number: i64, now: i64) -> Option<&'static str> {
    const TEN_YEARS: u64 = 10 * 366 * 24 * 3600;
    if number < 100_000_000_000 {
        return None;
    }
    let seconds = [
        ("milliseconds", number.saturating_div(1_000)),
        ("microseconds", number.saturating_div(1_000_000)),
        ("nanoseconds", number.saturating_div(1_000_000_000)),
    ];
    seconds.into_iter().find(|(_, seconds)| seconds.abs_diff(now) <= TEN_YEARS).map(|(unit, _)| unit)
}

impl From<&str> for Time {
    fn from(text: &str) -> Self {
        Time(text.into())
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time(..)")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer).map(Time)
    }
}

/// The clock of a receiver, the only one it uses to check freshness.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The system clock of receivers, for which whole seconds are enough. On Linux, it is up to 10 ms behind, since it is
/// the one that the kernel advances in steps (`CLOCK_REALTIME_COARSE`). The precise clock takes 28 ns more, 3 % of
/// `verify` at 1 KiB.
#[derive(Debug)]
pub(crate) struct CoarseClock;

impl Clock for CoarseClock {
    #[cfg(target_os = "linux")]
    fn now(&self) -> SystemTime {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let second = from_unix_seconds(now.tv_sec);
        let rest = u64::try_from(now.tv_nsec).map_or(Duration::ZERO, Duration::from_nanos);
        second.checked_add(rest).unwrap_or(second)
    }

    #[cfg(not(target_os = "linux"))]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Returns the whole seconds since 1970-01-01T00:00:00Z, rounded down.
pub(crate) fn unix_seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let up = u64::from(before.subsec_nanos() > 0);
            i64::try_from(before.as_secs().saturating_add(up)).map_or(i64::MIN, i64::saturating_neg)
        }
    }
}

/// Returns the time of a number of seconds since 1970-01-01T00:00:00Z, or that moment if the system cannot represent
/// it.
pub(crate) fn from_unix_seconds(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// Runs `work` with a timeout. Returns `None` if the timeout elapses first.
///
/// Unlike [`tokio::time::timeout`], it creates the timer only if `work` is pending after its first poll, and most work
/// is not. This saves 392 instructions (1 %) per delivery through tower, 569 through axum and 661 through actix-web
/// (`scripts/count`).
pub(crate) fn in_time<T>(limit: Duration, work: impl Future<Output = T> + Unpin) -> impl Future<Output = Option<T>> {
    unless(work, move || tokio::time::sleep(limit)).map(Result::ok)
}

/// Runs `work`, and returns its output, or that of the interruption if that completes first. The interruption is polled
/// even if `work` exhausts tokio's cooperative budget.
///
/// The interruption is created and boxed only if `work` is pending after its first poll, so that the futures that
/// contain this one are small.
pub(crate) fn unless<T, I: Future>(
    mut work: impl Future<Output = T> + Unpin,
    interruption: impl Fn() -> I,
) -> impl Future<Output = Result<T, I::Output>> {
    let mut interrupted = None;
    poll_fn(move |context| match Pin::new(&mut work).poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => {
            let interrupted = interrupted.get_or_insert_with(|| Box::pin(unconstrained(interruption())));
            interrupted.as_mut().poll(context).map(Err)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_round_down_on_both_sides_of_1970() {
        assert_eq!(Time::from("1970-01-01T00:00:01.9Z").unix(), Some(1));
        assert_eq!(Time::from("1969-12-31T23:59:58.1Z").unix(), Some(-2));
        assert_eq!(unix_seconds(UNIX_EPOCH + Duration::from_millis(1_900)), 1);
        assert_eq!(unix_seconds(UNIX_EPOCH - Duration::from_millis(1_900)), -2);
    }

    #[test]
    fn the_clock_of_receivers_is_at_most_a_second_behind() {
        let before = SystemTime::now();
        let now = CoarseClock.now();
        assert!(before - Duration::from_secs(1) <= now && now <= SystemTime::now());
    }

    #[test]
    fn invalid_and_overlong_times_are_none() {
        let long = "2024-02-27T10:30:00.".to_owned() + &"0".repeat(1 << 20) + "Z";
        for text in ["", " ", "2024-13-01T00:00:00Z", "٢٠٢٤", "99999999999999999999", &long] {
            assert_eq!(Time::from(text).unix(), None, "{}", &text[..text.len().min(40)]);
        }
    }

    #[cfg(feature = "jiff-02")]
    #[test]
    fn to_jiff_keeps_fractions() {
        let time = Time::from("2024-02-27T10:30:00.25Z").to_jiff().unwrap();
        assert_eq!(time.as_millisecond(), 1_709_029_800_250);
    }

    /// Texts of times: seconds near every power of two, days over the whole range of years with fractions of each
    /// length, and texts at the limits of the formats.
    #[cfg(all(feature = "chrono-04", feature = "jiff-02", feature = "time-03"))]
    fn times() -> impl Iterator<Item = Time> {
        let numbers = (0..64).flat_map(|power| (-1..=1).map(move |near| (1_i64 << power).wrapping_add(near)));
        let numbers = numbers.flat_map(|seconds| [seconds, seconds.wrapping_neg()]).map(Time::from_unix);
        let dates = (-9_999..=9_999).step_by(37).flat_map(|year| {
            ["", ".5", ".25", ".000000001", ".999999999", ".123456789123"].map(|fraction| {
                let sign = if year < 0 {
                    "-00"
                } else if year > 9_000 {
                    "+00"
                } else {
                    ""
                };
                Time::from(format!("{sign}{:04}-06-30T23:59:59{fraction}Z", i32::abs(year)).as_str())
            })
        });
        let texts = [
            "-009999-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-30T22:00:00.999999999Z",
            "+010000-01-01T00:00:00Z",
            "262143-12-31T23:59:59Z",
            "2016-12-31T23:59:60Z",
            "2016-12-31T23:59:61Z",
            "1969-12-31T23:59:59.999999999Z",
            "2024-02-30T00:00:00Z",
            "2024-02-27",
            "2024-02-27T10:30:00",
            "2024-02-27T10:30:00+25:59",
            "last Tuesday",
            "",
        ];
        numbers.chain(dates).chain(texts.map(Time::from))
    }

    #[cfg(all(feature = "chrono-04", feature = "jiff-02", feature = "time-03"))]
    #[test]
    fn chrono_jiff_and_time_return_the_same_instant_or_none() {
        let (mut some, mut none) = (0, 0);
        for time in times() {
            let jiff = time.to_jiff().map(|instant| instant.as_nanosecond());
            let chrono = time.to_chrono().map(|instant| {
                i128::from(instant.timestamp()) * 1_000_000_000 + i128::from(instant.timestamp_subsec_nanos())
            });
            assert_eq!(chrono, jiff, "{}", time.text());
            assert_eq!(time.to_time().map(time::OffsetDateTime::unix_timestamp_nanos), jiff, "{}", time.text());
            *if jiff.is_some() { &mut some } else { &mut none } += 1;
        }
        assert!(some > 2_000 && none > 100, "{some} {none}");
    }

    #[cfg(feature = "chrono-04")]
    #[test]
    fn to_chrono_keeps_fractions_and_limits_leap_seconds() {
        let read = |text: &str| Time::from(text).to_chrono().map(|at| (at.timestamp(), at.timestamp_subsec_nanos()));
        assert_eq!(read("1969-12-31T23:59:58.25Z"), Some((-2, 250_000_000)));
        assert_eq!(read("2016-12-31T23:59:60Z"), Some((1_483_228_799, 0)));
        assert_eq!(read("2024-02-27"), Some((1_708_992_000, 0)));
        assert_eq!(read(&i64::MAX.to_string()), None);
    }

    #[cfg(feature = "time-03")]
    #[test]
    fn to_time_keeps_fractions_and_limits_leap_seconds() {
        let time = Time::from("1969-12-31T23:59:58.25Z").to_time().unwrap();
        assert_eq!((time.unix_timestamp(), time.nanosecond()), (-2, 250_000_000));
        let time = Time::from("2016-12-31T23:59:60Z").to_time().unwrap();
        assert_eq!((time.second(), time.nanosecond()), (59, 0));
        assert_eq!(Time::from_unix(i64::MIN).to_time(), None);
    }
}
