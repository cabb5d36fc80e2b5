//! The rate of replays, as an option.

use std::time::Duration;

/// The interval between two replays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(pub(super) Duration);

impl Rate {
    /// Parses `10/s` or `30/m`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let how = || "must be a number of events per second or minute, such as 10/s or 30/m".to_owned();
        let (number, unit) = text.split_once('/').ok_or_else(how)?;
        let unit = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            _ => return Err(how()),
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(how());
        }
        match number.parse::<u32>() {
            Ok(0) => Err("must be greater than 0".to_owned()),
            Ok(number) if number <= MOST => Ok(Rate(unit.checked_div(number).unwrap_or(unit))),
            _ => Err(format!("must be at most {MOST}")),
        }
    }
}

const MOST: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_number_and_a_unit() {
        assert_eq!(Rate::parse("10/s"), Ok(Rate(Duration::from_millis(100))));
        assert_eq!(Rate::parse("30/m"), Ok(Rate(Duration::from_secs(2))));
        assert_eq!(Rate::parse("1000000/s"), Ok(Rate(Duration::from_micros(1))));
        for (text, problem) in [
            ("10", "such as 10/s"),
            ("/s", "such as 10/s"),
            ("10/h", "such as 10/s"),
            ("1.5/s", "such as 10/s"),
            ("-1/s", "such as 10/s"),
            ("+1/s", "such as 10/s"),
            ("0/s", "greater than 0"),
            ("1000001/s", "at most"),
            ("99999999999/m", "at most"),
        ] {
            let error = Rate::parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
