//! Rewrites the numbers of JSON, as different serializers write them.

use super::json::{self, Piece, pieces};

/// Passes the JSON with its numbers in every style to `found`.
pub(super) fn variants(json: &[u8], found: &mut dyn FnMut(Vec<u8>)) {
    for style in [shortest, python, java, decimal, two_decimals, no_zeros, upper_exponent, signed_exponent, negative] {
        found(rewritten(json, |_, number| style(number)));
    }
    // `1.0` became `1`: which of the numbers had a fraction is unknown.
    let whole = pieces(json).filter(|piece| matches!(piece, Piece::Number(raw) if is_whole(raw))).count();
    let masks: Vec<u64> = match whole {
        0 => Vec::new(),
        1..=6 => (1..1 << whole).collect(),
        _ => (0..whole.min(32)).map(|index| 1 << index).chain([u64::MAX]).collect(),
    };
    for mask in masks {
        found(rewritten(json, |index, number| {
            let chosen = mask == u64::MAX || 1_u64.checked_shl(index).is_some_and(|bit| mask & bit != 0);
            (chosen && is_whole(number.as_bytes())).then(|| format!("{number}.0"))
        }));
    }
}

/// Passes the JSON with its numbers without quotation marks, and with them, to `found`: all, and each one alone.
pub(super) fn quoted(json: &[u8], found: &mut dyn FnMut(Vec<u8>)) {
    let number = |text: &[u8]| {
        let text = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?.to_vec();
        let is_number = text.len() <= LONGEST && serde_json::from_slice::<serde_json::Number>(&text).is_ok();
        is_number.then_some(text)
    };
    let other = |piece: &Piece<'_>| match piece {
        Piece::Text(text) => number(text),
        Piece::Number(number) => Some([b"\"", *number, b"\""].concat()),
        Piece::Other(_) => None,
    };
    let pieces: Vec<_> = pieces(json).map(|piece| (other(&piece), piece)).collect();
    let written = |chosen: &dyn Fn(usize, &Piece<'_>) -> bool| {
        let changed = pieces.iter().enumerate().map(|(index, (other, piece))| match (other, piece) {
            (Some(other), piece) if chosen(index, piece) => other.as_slice(),
            (_, Piece::Text(raw) | Piece::Number(raw) | Piece::Other(raw)) => raw,
        });
        changed.collect::<Vec<_>>().concat()
    };
    found(written(&|_, piece| matches!(piece, Piece::Text(_))));
    found(written(&|_, piece| matches!(piece, Piece::Number(_))));
    let places = pieces.iter().enumerate().filter(|(_, (other, _))| other.is_some()).map(|(index, _)| index);
    for place in places.take(16) {
        found(written(&|index, _| index == place));
    }
}

/// Replaces every number for which `style` returns another text. `style` also gets the count of whole numbers before.
fn rewritten(json: &[u8], style: impl Fn(u32, &str) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut index = 0_u32;
    for piece in pieces(json) {
        if out.len() > json::LONGEST {
            break;
        }
        match piece {
            Piece::Number(raw) => {
                let other =
                    str::from_utf8(raw).ok().filter(|raw| raw.len() <= LONGEST).and_then(|raw| style(index, raw));
                out.extend_from_slice(other.as_deref().map_or(raw, str::as_bytes));
                index = index.saturating_add(u32::from(is_whole(raw)));
            }
            Piece::Text(raw) | Piece::Other(raw) => out.extend_from_slice(raw),
        }
    }
    out
}

/// The longest number that is rewritten.
const LONGEST: usize = 400;

fn is_whole(raw: &[u8]) -> bool {
    !raw.iter().any(|byte| b".eE".contains(byte))
}

fn finite(number: &str) -> Option<f64> {
    number.parse().ok().filter(|float: &f64| float.is_finite())
}

/// Writes a number as JavaScript and Go: `1.0` is `1`, and large whole numbers lose digits.
fn shortest(number: &str) -> Option<String> {
    let float = finite(number)?;
    let size = float.abs();
    Some(if size == 0.0 {
        "0".to_owned()
    } else if (1e-6..1e21).contains(&size) {
        float.to_string()
    } else {
        with_sign(&format!("{float:e}"))
    })
}

/// Writes a float as Python: floats have a fraction, or an exponent of at least two digits.
fn python(number: &str) -> Option<String> {
    let float = finite(number).filter(|_| !is_whole(number.as_bytes()))?;
    let size = float.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return Some(format!("{float:?}"));
    }
    let text = with_sign(&format!("{float:e}"));
    let (digits, exponent) = text.split_once('e')?;
    let (sign, exponent) = exponent.split_at_checked(1)?;
    Some(format!("{digits}e{sign}{exponent:0>2}"))
}

/// Writes a float as Java: floats have a fraction, and those from ten million an exponent.
fn java(number: &str) -> Option<String> {
    let float = finite(number).filter(|_| !is_whole(number.as_bytes()))?;
    let size = float.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return Some(format!("{float:?}"));
    }
    let text = format!("{float:E}");
    let (digits, exponent) = text.split_once('E')?;
    Some(if digits.contains('.') { text } else { format!("{digits}.0E{exponent}") })
}

/// Writes a number without an exponent.
fn decimal(number: &str) -> Option<String> {
    number.contains(['e', 'E']).then(|| finite(number)).flatten().map(|float| float.to_string())
}

/// Writes amounts of money: `1.5` is `1.50`.
fn two_decimals(number: &str) -> Option<String> {
    let (_, fraction) = number.split_once('.').filter(|_| !number.contains(['e', 'E']))?;
    (fraction.len() == 1).then(|| format!("{number}0"))
}

/// Removes the zeros at the end of a fraction: `1.50` is `1.5`, and `1.00` is `1.0`.
fn no_zeros(number: &str) -> Option<String> {
    number.split_once('.').filter(|_| !number.contains(['e', 'E']))?;
    let text = number.trim_end_matches('0');
    Some(if text.ends_with('.') { format!("{text}0") } else { text.to_owned() })
}

/// Writes zeros as negative ones.
fn negative(number: &str) -> Option<String> {
    matches!(number, "0" | "0.0").then(|| format!("-{number}"))
}

fn upper_exponent(number: &str) -> Option<String> {
    let (other, from) = if number.contains('e') { ("E", "e") } else { ("e", "E") };
    number.contains(from).then(|| number.replace(from, other))
}

fn signed_exponent(number: &str) -> Option<String> {
    if number.contains("e+") || number.contains("E+") {
        Some(number.replace('+', ""))
    } else {
        number.contains(['e', 'E']).then(|| with_sign(number))
    }
}

/// Writes the plus sign of a positive exponent.
fn with_sign(number: &str) -> String {
    match number.find(['e', 'E']).and_then(|at| number.split_at_checked(at.saturating_add(1))) {
        Some((before, exponent)) if !exponent.starts_with(['-', '+']) => format!("{before}+{exponent}"),
        _ => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serializer_numbers_are_among_the_variants() {
        for (from, to) in [
            ("[1.0]", "[1]"),
            ("[1]", "[1.0]"),
            ("{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":1,\"b\":2.0,\"c\":3.0}"),
            ("[1,2,3,4,5,6,7,8]", "[1,2,3,4,5,6,7,8.0]"),
            ("[1e3]", "[1000]"),
            ("[1000]", "[1000.0]"),
            ("[1E3]", "[1e3]"),
            ("[1e3]", "[1e+3]"),
            ("[1e+3]", "[1e3]"),
            ("[12345678901234567891]", "[12345678901234567000]"),
            ("[12.50, 3.10]", "[12.5, 3.1]"),
            ("[12.5, 3.1]", "[12.50, 3.10]"),
            ("[0.00001]", "[1e-05]"),
            ("[1e-7]", "[1e-07]"),
            ("[0.0000001]", "[1e-7]"),
            ("[12345678.5]", "[1.23456785E7]"),
            ("[10000000.0]", "[1.0E7]"),
            ("[1e22]", "[1e+22]"),
            ("[-0.0]", "[0]"),
            ("[1.00]", "[1.0]"),
        ] {
            let mut is_found = false;
            variants(from.as_bytes(), &mut |found| is_found |= found == to.as_bytes());
            assert!(is_found, "{from} {to}");
        }
    }

    #[test]
    fn numbers_lose_and_gain_quotation_marks() {
        for (from, to) in [
            (r#"{"1":"2","a":"3"}"#, r#"{"1":2,"a":"3"}"#),
            (r#"["2","a",3]"#, r#"[2,"a",3]"#),
            ("[2,[3],\"4\"]", "[\"2\",[\"3\"],\"4\"]"),
        ] {
            let mut is_found = false;
            quoted(from.as_bytes(), &mut |found| is_found |= found == to.as_bytes());
            assert!(is_found, "{from} {to}");
        }
    }

    #[test]
    fn numbers_in_strings_stay_as_they_are() {
        variants(b"\"1.0\"", &mut |found| assert_eq!(found, b"\"1.0\""));
        for odd in ["[1e999e]", "[-]", "[--1]", "[1e]", "[.e+]"] {
            variants(odd.as_bytes(), &mut |_| {});
        }
    }

    #[test]
    fn many_long_numbers_stay_within_the_limit() {
        let json = format!("[{}1e308]", "1e308,".repeat(100_000));
        variants(json.as_bytes(), &mut |found| assert!(found.len() <= json::LONGEST + LONGEST));
    }
}
