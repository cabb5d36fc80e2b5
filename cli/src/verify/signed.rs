//! The text that a signature covers: a template, filled with the parts of a recorded delivery.

/// The signed texts before and after the body, and the form of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignedText {
    pub(super) before: String,
    pub(super) after: String,
    /// Whether the base64 of the body is signed.
    pub(super) is_base64: bool,
}

const BODY: &str = "{body}";
const BODY_BASE64: &str = "{body_base64}";

impl SignedText {
    /// Fills a template. Returns `None` if it has no body, or names a part that the delivery lacks.
    pub(super) fn of(template: &str, time: Option<&str>, id: Option<&str>) -> Option<Self> {
        let (parts, is_base64) = match template.split_once(BODY_BASE64) {
            Some(parts) => (parts, true),
            None => (template.split_once(BODY)?, false),
        };
        let (before, after) = parts;
        Some(SignedText { before: filled(before, time, id)?, after: filled(after, time, id)?, is_base64 })
    }

    /// Returns the text for what is signed immediately before the body.
    pub(super) fn before_body(before: String) -> Self {
        SignedText { before, after: String::new(), is_base64: false }
    }
}

fn filled(template: &str, time: Option<&str>, id: Option<&str>) -> Option<String> {
    let (mut text, mut rest) = (String::new(), template);
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        text.push_str(literal);
        text.push_str(match name {
            "timestamp" => time?,
            "id" => id?,
            _ => return None,
        });
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// Returns whether nothing but their forms separates the timestamp and the body, as the library parses a template.
pub(super) fn lacks_separator(template: &str) -> bool {
    let Some((before, after)) = template.split_once("{timestamp}") else { return false };
    before.contains("{body") && before.ends_with(|c: char| c == '}' || c.is_ascii_digit())
        || after.starts_with(|c: char| c == '{' || c.is_ascii_digit())
}

/// Returns the character that follows the id in a template.
pub(super) fn after_id(template: &str) -> Option<char> {
    template.split_once("{id}").and_then(|(_, after)| after.chars().next())
}

/// Returns a template without its literal texts: the placeholders in order.
pub(super) fn placeholders(template: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(begin) = rest.find('{') {
        let Some(placeholder) = rest.get(begin..).and_then(|rest| rest.split_inclusive('}').next()) else { break };
        found.push(placeholder);
        rest = rest.get(begin.saturating_add(placeholder.len())..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_once() {
        let text = |template: &str| {
            let text = SignedText::of(template, Some("1"), Some("{timestamp}"))?;
            Some((text.before, text.after, text.is_base64))
        };
        let some = |before: &str, after: &str, is_base64| Some((before.to_owned(), after.to_owned(), is_base64));
        assert_eq!(text("v0:{timestamp}:{body}"), some("v0:1:", "", false));
        assert_eq!(text("{id}.{body_base64}.{timestamp}"), some("{timestamp}.", ".1", true));
        for template in ["{timestamp}", "{body", "{when}{body}", "{body}{"] {
            assert_eq!(text(template), None, "{template}");
        }
        assert_eq!(SignedText::of("{timestamp}.{body}", None, None), None);
        assert_eq!(SignedText::of("{id}.{body}", None, None), None);
    }

    #[test]
    fn a_missing_separator_beside_the_timestamp_is_found() {
        for template in ["{timestamp}{body}", "{timestamp}0{body}", "{body}{timestamp}", "{body}9{timestamp}"] {
            assert!(lacks_separator(template), "{template}");
        }
        for template in ["{timestamp}.{body}", "{body}.{timestamp}", "{body}", "1{timestamp}.{body}"] {
            assert!(!lacks_separator(template), "{template}");
        }
        assert_eq!((after_id("{id}/{body}"), after_id("{body}")), (Some('/'), None));
    }

    #[test]
    fn the_placeholders_of_a_template_are_found_in_order() {
        assert_eq!(placeholders("v0:{timestamp}:{body}."), ["{timestamp}", "{body}"]);
        assert!(placeholders("v0").is_empty());
    }
}
