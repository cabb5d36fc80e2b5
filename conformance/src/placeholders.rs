//! Values of the placeholders in shared cases that follow from an endpoint's scheme.

use std::collections::BTreeMap;

use medhook::TimestampPlace;
use medhook::testing::Signing;
use toml::Value;

use crate::written::{entry, filler, id_header, separator, split, template, timestamp_place};

/// Returns the values, by name. A scheme without a part has no value for it.
pub(crate) fn placeholders(signing: &Signing, secret: &str, now: i64) -> Result<BTreeMap<String, Value>, String> {
    let timestamp = signing.timestamp_text(now);
    let sample = signing.headers(secret, "msg_1", &timestamp, b"{}").map_err(|error| error.to_string())?;
    let header = signing.header().to_ascii_lowercase();
    let value = sample.iter().find(|(name, _)| *name == header).map(|(_, value)| value.as_str()).unwrap_or_default();
    let (genuine_before, genuine) = split(signing, value);
    let filler = filler(genuine);
    let before = match timestamp_place(signing) {
        // `{now}` is replaced when the delivery is made.
        Some(TimestampPlace::Element(_)) => genuine_before.replacen(&timestamp, "{now}", 1),
        _ => genuine_before.to_owned(),
    };
    let shorter = |by: usize| filler.get(by..).unwrap_or_default().to_owned();
    let half = value.len().saturating_sub(filler.len() / 2);

    let mut values = Values(BTreeMap::new());
    values.set("signature", header);
    values.set("made_up", format!("{before}{filler}"));
    values.set("short", shorter(1));
    values.set("shorter", shorter(2));
    values.set("padding", "=".repeat(filler.len().saturating_sub(filler.trim_end_matches('=').len())));
    values.set("entry", entry(signing, &before).to_owned());
    values.set("lower_case_before", before.to_ascii_lowercase());
    values.set("half_a_signature", i64::try_from(half).unwrap_or(i64::MAX));
    if let Some(separator) = separator(signing) {
        values.set("separator", separator.to_string());
    }
    match timestamp_place(signing) {
        Some(TimestampPlace::Header(name)) => values.set("timestamp", name),
        Some(TimestampPlace::Element(name)) => values.set("timestamp_element", format!("{name}=")),
        _ => {}
    }
    values.set("before", before);
    values.set("filler", filler);
    if let Some(name) = id_header(signing) {
        values.set("message_id", name);
    }
    if let Some(template) = template(signing) {
        let changed = Templates::of(template);
        values.set("another_separator", changed.another_separator);
        values.set("another_order", changed.another_order);
        values.set("without_timestamp", changed.without_timestamp);
        values.set("id_with_separator", format!("msg_2b1f4c8e{}1", changed.after_id.unwrap_or('.')));
    }
    match signing {
        Signing::Signature(settings) => {
            values.set("prefix", settings.prefix().to_owned());
            values.set("upper_case_prefix", settings.prefix().to_ascii_uppercase());
        }
        Signing::StandardWebhooks(_) => {
            let (version, other, length) =
                if secret.starts_with("whsk_") { ("v1a,", "v1,", 44) } else { ("v1,", "v1a,", 88) };
            values.set("version", version.to_owned());
            values.set("upper_case_version", version.to_ascii_uppercase());
            values.set("other_version", other.to_owned());
            values.set("other_signature", other_signature(other, length));
        }
        _ => {}
    }
    Ok(values.0)
}

struct Values(BTreeMap<String, Value>);

impl Values {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

/// Returns a made-up signature of another version.
fn other_signature(version: &str, length: usize) -> String {
    const BYTES: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
    match BYTES.get(..length) {
        Some(all) if length == BYTES.len() => format!("{version}{all}"),
        // The last character before the padding ends in zero bits.
        _ => format!("{version}{}8=", BYTES.get(..42).unwrap_or_default()),
    }
}

/// Templates that differ from the scheme's own in one thing.
struct Templates {
    another_separator: String,
    another_order: String,
    without_timestamp: String,
    after_id: Option<char>,
}

impl Templates {
    fn of(template: &str) -> Self {
        let body = if template.contains("{body_base64}") { "{body_base64}" } else { "{body}" };
        let order =
            if template.starts_with(body) { format!("{{timestamp}}.{body}") } else { format!("{body}.{{timestamp}}") };
        let after_id = template.split_once("{id}").and_then(|(_, after)| after.chars().next());
        Templates {
            another_separator: another_separator(template),
            another_order: order,
            without_timestamp: body.to_owned(),
            after_id,
        }
    }
}

/// Returns the template with another character between two parts, or with one where there is none.
fn another_separator(template: &str) -> String {
    if let Some((before, after)) = template.split_once("}{") {
        return format!("{before}}}.{{{after}");
    }
    let mut parts = template.splitn(2, '}');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut rest = rest.chars();
    let other = if rest.next() == Some('.') { ':' } else { '.' };
    format!("{first}}}{other}{}", rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_separator_is_one_character_in_one_place() {
        for (template, other) in [
            ("{timestamp}.{body}", "{timestamp}:{body}"),
            ("{timestamp}{body}", "{timestamp}.{body}"),
            ("v0:{timestamp}:{body}", "v0:{timestamp}.{body}"),
            ("{id}.{timestamp}.{body}", "{id}:{timestamp}.{body}"),
        ] {
            assert_eq!(another_separator(template), other);
        }
    }

    #[test]
    fn a_made_up_signature_of_another_version_has_the_right_length() {
        assert_eq!(other_signature("v1,", 44).len(), 3 + 44);
        assert_eq!(other_signature("v1a,", 88).len(), 4 + 88);
    }
}
