//! Replaces values in JSON bodies byte for byte.

use bytes::Bytes;
use medhook::testing::replaced_at;

/// Returns the body with another time at a pointer, or the same body if nothing is there.
pub(crate) fn dated(body: &Bytes, pointer: &str, unix: i64) -> Bytes {
    replaced_at(body, pointer, |time| written_like(time, unix).into_bytes()).unwrap_or_else(|| body.clone())
}

/// Returns a time as JSON, in the notation of the JSON that it replaces: a number of seconds or a text, with the same
/// fraction and the same offset from UTC.
pub(crate) fn written_like(before: &[u8], unix: i64) -> String {
    if let Ok(number) = serde_json::from_slice::<serde_json::Number>(before) {
        let number = number.to_string();
        let fraction = number.find('.').and_then(|at| number.get(at..)).unwrap_or_default();
        return format!("{unix}{fraction}");
    }
    let before: String = serde_json::from_slice(before).unwrap_or_default();
    let offset = || {
        let text = Some(&before).filter(|text| !text.ends_with('Z'))?;
        jiff::fmt::temporal::Pieces::parse(text).ok()?.to_numeric_offset()
    };
    let text = match (offset(), jiff::Timestamp::from_second(unix)) {
        (Some(offset), Ok(time)) => time.display_with_offset(offset).to_string(),
        (_, Ok(time)) => time.to_string(),
        (_, Err(_)) => unix.to_string(),
    };
    let fraction = before.chars().skip_while(|&c| c != '.').take_while(|&c| c == '.' || c.is_ascii_digit());
    let (seconds, offset) = text.split_at_checked("2026-01-01T00:00:00".len()).unwrap_or((&text, ""));
    serde_json::Value::from(format!("{seconds}{}{offset}", fraction.collect::<String>())).to_string()
}
