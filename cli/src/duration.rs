//! Durations as an operator writes them, such as `30s` and `24h`.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::time::Duration;

/// Parses a duration: a whole number and its unit.
pub(crate) fn parse(text: &str) -> Result<Duration, &'static str> {
    const HOW: &str = "must be a whole number followed by ms, s, m, h or d, such as 30s or 24h";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(HOW)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(HOW),
    };
    if number.is_empty() {
        return Err(HOW);
    }
    let duration = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)).map(Duration::from_millis);
    match duration {
        Some(duration) if duration.is_zero() => Err("must be greater than 0"),
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("must be at most ten years"),
    }
}

/// Returns a duration as it is written in a config file, in the largest unit in which it is a whole number.
pub(crate) fn in_units(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    // One day is `24h`, as in the documentation.
    let is_usual = |unit, name| if name == "d" { millis > unit } else { millis >= unit };
    let whole = units.into_iter().find(|(unit, name)| is_usual(*unit, *name) && millis.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, "ms"));
    format!("{}{name}", millis.checked_div(unit).unwrap_or_default())
}

const LONGEST: Duration = Duration::from_secs(3653 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("24h", 86_400_000), ("3d", 259_200_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, problem) in [
            ("", "whole number"),
            ("s", "whole number"),
            ("30", "whole number"),
            ("30 s", "whole number"),
            ("1.5h", "whole number"),
            ("-1s", "whole number"),
            ("1h30m", "whole number"),
            ("30S", "whole number"),
            ("１s", "whole number"),
            ("0s", "greater than 0"),
            ("4000d", "ten years"),
            ("99999999999999999999s", "ten years"),
            ("18446744073709551615d", "ten years"),
        ] {
            assert!(parse(text).is_err_and(|error| error.contains(problem)), "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_is_written() {
        for text in ["500ms", "1s", "1500ms", "1m", "90s", "1h", "90m", "24h", "36h", "3d"] {
            assert_eq!(in_units(parse(text).unwrap()), text);
        }
    }
}
