//! The template of what is signed: literal text and the parts of a delivery.

use crate::ConfigError;

/// A part of the message besides the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MessagePart {
    Text(Box<[u8]>),
    Timestamp,
    Id,
}

/// The form in which the body is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyForm {
    Raw,
    Base64,
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) before: Box<[MessagePart]>,
    pub(super) body: BodyForm,
    pub(super) after: Box<[MessagePart]>,
    /// Whether the message is the body, as it is.
    pub(super) is_body: bool,
    /// The byte that ends the id in the message, so that the id must not contain it.
    pub(super) after_id: Option<u8>,
    /// Whether the timestamp and the body or a digit stand side by side. Then only their forms show where one
    /// ends: the digits of the timestamp are counted, and the body must begin with `{` or `[`.
    pub(super) lacks_separator: bool,
}

/// The longest template, in bytes.
const LONGEST: usize = 256;

enum Token {
    Part(MessagePart),
    Body(BodyForm),
}

impl Template {
    /// Parses a template such as `{timestamp}.{body}`.
    ///
    /// # Errors
    /// Returns an error if the template is ambiguous, if a placeholder is unknown or repeated, or if it lacks the body,
    /// or a timestamp or an id that the scheme reads.
    pub(super) fn parse(text: &str, has_timestamp: bool, has_id: bool) -> Result<Self, ConfigError> {
        let wrong = |problem: &str| Err(ConfigError::new(format!("the template of what is signed {problem}")));
        if text.len() > LONGEST {
            return wrong("must be at most 256 bytes");
        }
        let tokens = tokens(text)?;
        let count = |wanted: fn(&Token) -> bool| tokens.iter().filter(|token| wanted(token)).count();
        if count(|token| matches!(token, Token::Body(_))) != 1 {
            return wrong("must contain `{body}` or `{body_base64}` once");
        }
        for (name, found, is_read, option) in [
            (
                "{timestamp}",
                count(|token| matches!(token, Token::Part(MessagePart::Timestamp))),
                has_timestamp,
                "timestamp",
            ),
            ("{id}", count(|token| matches!(token, Token::Part(MessagePart::Id))), has_id, "`id_header`"),
        ] {
            match (found, is_read) {
                (0, false) | (1, true) => {}
                (0, true) => return wrong(&format!("must contain `{name}`, because an unsigned one decides nothing")),
                (_, false) => return wrong(&format!("contains `{name}`, but no {option} is configured")),
                _ => return wrong(&format!("contains `{name}` more than once")),
            }
        }
        let (mut after_id, mut lacks_separator, mut body_seen) = (None, false, false);
        for pair in tokens.windows(2) {
            let [one, next] = pair else { continue };
            let literal = match next {
                Token::Part(MessagePart::Text(text)) => text.first().copied(),
                _ => None,
            };
            body_seen |= matches!(one, Token::Body(_));
            match (one, literal) {
                (Token::Part(MessagePart::Id), Some(byte)) => after_id = Some(byte),
                (Token::Part(MessagePart::Id), None) => return wrong("needs a character such as `.` after `{id}`"),
                (Token::Part(MessagePart::Timestamp), byte) => {
                    lacks_separator |= byte.is_none_or(|byte| byte.is_ascii_digit());
                }
                _ => {}
            }
            if body_seen && matches!(next, Token::Part(MessagePart::Id)) {
                return wrong("must have `{id}` before the body");
            }
            let ends_in_digit = |text: &[u8]| text.last().is_some_and(u8::is_ascii_digit);
            if body_seen && matches!(next, Token::Part(MessagePart::Timestamp)) {
                lacks_separator |= match one {
                    Token::Part(MessagePart::Text(text)) => ends_in_digit(text),
                    _ => true,
                };
            }
        }
        let (mut before, mut after, mut body) = (Vec::new(), Vec::new(), None);
        for token in tokens {
            match (token, body) {
                (Token::Body(form), _) => body = Some(form),
                (Token::Part(part), None) => before.push(part),
                (Token::Part(part), Some(_)) => after.push(part),
            }
        }
        let body = body.unwrap_or(BodyForm::Raw);
        let is_body = before.is_empty() && after.is_empty() && body == BodyForm::Raw;
        Ok(Template { before: before.into(), body, after: after.into(), is_body, after_id, lacks_separator })
    }

    /// Returns whether no text of `A-Za-z0-9_-` alone can be the message: the template contains another byte, or a body
    /// that begins with one.
    pub(super) fn differs_from_challenges(&self) -> bool {
        let is_outside = |part: &MessagePart| match part {
            MessagePart::Text(text) => text.iter().any(|byte| !is_challenge_byte(*byte)),
            MessagePart::Timestamp | MessagePart::Id => false,
        };
        self.before.iter().chain(&self.after).any(is_outside) || (self.lacks_separator && self.body == BodyForm::Raw)
    }
}

/// Returns whether a challenge may contain this byte.
pub(in crate::scheme) fn is_challenge_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn tokens(text: &str) -> Result<Vec<Token>, ConfigError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, placeholder) = match rest.split_once('{') {
            None => (rest, None),
            Some((literal, after)) => (literal, Some(after)),
        };
        if literal.contains('}') {
            return Err(ConfigError::new("the template of what is signed has a `}` without a `{`"));
        }
        if !literal.is_empty() {
            tokens.push(Token::Part(MessagePart::Text(literal.as_bytes().into())));
        }
        let Some(placeholder) = placeholder else { break };
        let Some((name, after)) = placeholder.split_once('}') else {
            return Err(ConfigError::new("the template of what is signed has a `{` without a `}`"));
        };
        tokens.push(match name {
            "timestamp" => Token::Part(MessagePart::Timestamp),
            "id" => Token::Part(MessagePart::Id),
            "body" => Token::Body(BodyForm::Raw),
            "body_base64" => Token::Body(BodyForm::Base64),
            _ => {
                return Err(ConfigError::new(
                    "the template of what is signed has an unknown placeholder; the known ones are {timestamp}, {id}, \
                     {body} and {body_base64}",
                ));
            }
        });
        rest = after;
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Template, String> {
        let has = |name| text.contains(name);
        Template::parse(text, has("{timestamp}"), has("{id}")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_template_is_literal_text_and_placeholders() {
        let template = parsed("v0:{timestamp}:{body}").unwrap();
        let text = |text: &str| MessagePart::Text(text.as_bytes().into());
        assert_eq!(*template.before, [text("v0:"), MessagePart::Timestamp, text(":")]);
        assert_eq!((template.body, template.after.len(), template.lacks_separator), (BodyForm::Raw, 0, false));
        let template = parsed("{id}/{timestamp}.{body_base64}\n").unwrap();
        assert_eq!((template.after_id, template.body), (Some(b'/'), BodyForm::Base64));
        assert_eq!(*template.after, [text("\n")]);
    }

    #[test]
    fn only_the_template_of_a_raw_body_is_the_body() {
        for (text, is_body) in [
            ("{body}", true),
            ("{body_base64}", false),
            ("a{body}", false),
            ("{body}.", false),
            ("{timestamp}.{body}", false),
            ("{body}.{timestamp}", false),
        ] {
            assert_eq!(parsed(text).unwrap().is_body, is_body, "{text}");
        }
    }

    #[test]
    fn a_template_has_at_most_256_bytes() {
        let template = |length: usize| parsed(&format!("{}{{body}}", "a".repeat(length - 6))).map(drop);
        assert_eq!(template(256), Ok(()));
        assert_eq!(template(257), Err("the template of what is signed must be at most 256 bytes".to_owned()));
    }

    #[test]
    fn a_missing_separator_beside_the_timestamp_is_found() {
        for (text, lacks) in [
            ("{timestamp}{body}", true),
            ("{timestamp}0{body}", true),
            ("{body}{timestamp}", true),
            ("{body}9{timestamp}", true),
            ("{timestamp}{body}.", true),
            ("{timestamp}.{body}", false),
            ("{body}.{timestamp}", false),
            ("{body}", false),
            ("1{timestamp}.{body}", false),
        ] {
            assert_eq!(parsed(text).unwrap().lacks_separator, lacks, "{text}");
        }
    }

    #[test]
    fn ambiguous_or_incomplete_templates_are_errors() {
        let problem = |text: &str, timestamp, id| Template::parse(text, timestamp, id).unwrap_err().to_string();
        let begins = "the template of what is signed ";
        for (text, timestamp, id, expected) in [
            ("{timestamp}.", true, false, "must contain `{body}` or `{body_base64}` once"),
            ("{body}{body_base64}", false, false, "must contain `{body}` or `{body_base64}` once"),
            ("{body}", true, false, "must contain `{timestamp}`, because an unsigned one decides nothing"),
            ("{timestamp}.{body}", false, false, "contains `{timestamp}`, but no timestamp is configured"),
            ("{body}", false, true, "must contain `{id}`, because an unsigned one decides nothing"),
            ("{id}.{body}", false, false, "contains `{id}`, but no `id_header` is configured"),
            ("{timestamp}{timestamp}{body}", true, false, "contains `{timestamp}` more than once"),
            ("{id}{body}", false, true, "needs a character such as `.` after `{id}`"),
            ("{body}.{id}", false, true, "must have `{id}` before the body"),
            ("{when}{body}", false, false, "has an unknown placeholder"),
            ("{body", false, false, "has a `{` without a `}`"),
            ("}{body}", false, false, "has a `}` without a `{`"),
        ] {
            let problem = problem(text, timestamp, id);
            assert!(problem.starts_with(&format!("{begins}{expected}")), "{text}: {problem}");
        }
    }
}
