//! The format of the head of a recorded delivery, which `capture` writes and `verify` reads.
//!
//! The first line is [`FIRST_LINE`]. Lines that begin with `# ` are written by the recorder; a header line never does,
//! because the name of a header contains no space. All other lines are `name: value` with the bytes that were received.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

/// The first line of a recorded head.
pub(crate) const FIRST_LINE: &[u8] = b"# medhook capture 1";

/// The longest body that is recorded and read.
pub(crate) const LONGEST_BODY: usize = 16 * 1024 * 1024;

/// The head of a recorded delivery.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordedHead {
    /// The time of arrival in Unix seconds.
    pub(crate) at: i64,
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) redacted: Vec<Redacted>,
}

/// A header whose value was not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redacted {
    pub(crate) name: String,
    /// The length of the value.
    pub(crate) bytes: usize,
    pub(crate) compared: Compared,
}

/// The result of comparing a header's value with the secrets of the recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compared {
    /// The recorder had no secrets.
    No,
    /// The value is none of the secrets and resembles none of them.
    Differs,
    /// The value is the secret with this label.
    Matches(String),
    /// The value holds the HMAC-SHA256 of the body under the secret with this label.
    Signs(String),
    /// The value contains the secret with this label in this form, or is a part of it.
    Resembles(Form, String),
}

/// The form in which a value holds a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    InQuotes,
    AfterWord,
    InOtherCase,
    InBase64,
    CutOff,
    Other,
}

impl Form {
    const ALL: [(Form, &str); 6] = [
        (Form::InQuotes, "in quotation marks or spaces"),
        (Form::AfterWord, "after a word"),
        (Form::InOtherCase, "in another letter case"),
        (Form::InBase64, "encoded as base64"),
        (Form::CutOff, "cut off"),
        (Form::Other, "in another form"),
    ];
}

const ARRIVED: &str = "# arrived ";
const METHOD: &str = "# method ";
const REDACTED: &str = "# redacted ";
const NOT_COMPARED: &str = "not compared with a secret";
const DIFFERS: &str = "differs from every secret";
const MATCHES: &str = "matches secret ";
const SIGNS: &str = "is an HMAC-SHA256 of the body under secret ";
const LABEL: &str = ": secret ";

impl RecordedHead {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut text = [FIRST_LINE, b"\n"].concat();
        text.extend(format!("{ARRIVED}{}\n{METHOD}{}\n", self.at, self.method).into_bytes());
        for Redacted { name, bytes, compared } in &self.redacted {
            let compared = match compared {
                Compared::No => NOT_COMPARED.to_owned(),
                Compared::Differs => DIFFERS.to_owned(),
                Compared::Matches(label) => format!("{MATCHES}{label}"),
                Compared::Signs(label) => format!("{SIGNS}{label}"),
                Compared::Resembles(form, label) => {
                    let text = Form::ALL.iter().find(|(known, _)| known == form).map_or("", |(_, text)| text);
                    format!("{text}{LABEL}{label}")
                }
            };
            text.extend(format!("{REDACTED}{name}: {bytes} bytes, {compared}\n").into_bytes());
        }
        for (name, value) in &self.headers {
            text.extend([name.as_bytes(), b": ", value, b"\n"].concat());
        }
        text
    }

    /// Parses the lines after the first one. Fails with the number of the first line that is not of the format.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, usize> {
        let mut head = RecordedHead::default();
        let mut has_time = false;
        for (number, line) in (1_usize..).zip(text.split(|byte| *byte == b'\n')).skip(1) {
            if line.is_empty() {
                continue;
            }
            let known = match str::from_utf8(line).ok().filter(|line| line.starts_with("# ")) {
                Some(line) => head.read(line, &mut has_time),
                None => header(line).map(|header| head.headers.push(header)),
            };
            known.ok_or(number)?;
        }
        if has_time && !head.method.is_empty() { Ok(head) } else { Err(1) }
    }

    /// Reads a line of the recorder.
    fn read(&mut self, line: &str, has_time: &mut bool) -> Option<()> {
        if let Some(time) = line.strip_prefix(ARRIVED) {
            self.at = time.parse().ok()?;
            *has_time = true;
        } else if let Some(method) = line.strip_prefix(METHOD) {
            method.clone_into(&mut self.method);
        } else {
            let (name, rest) = line.strip_prefix(REDACTED)?.split_once(": ")?;
            let (bytes, compared) = rest.split_once(" bytes, ")?;
            let compared = match (compared, compared.strip_prefix(MATCHES)) {
                (NOT_COMPARED, _) => Compared::No,
                (DIFFERS, _) => Compared::Differs,
                (_, Some(label)) => Compared::Matches(label.to_owned()),
                (_, None) if compared.starts_with(SIGNS) => Compared::Signs(compared.strip_prefix(SIGNS)?.to_owned()),
                (_, None) => {
                    let (text, label) = compared.split_once(LABEL)?;
                    let (form, _) = Form::ALL.iter().find(|(_, known)| *known == text)?;
                    Compared::Resembles(*form, label.to_owned())
                }
            };
            self.redacted.push(Redacted { name: name.to_owned(), bytes: bytes.parse().ok()?, compared });
        }
        Some(())
    }
}

/// Parses a line `name: value`.
pub(crate) fn header(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = http::HeaderName::from_bytes(name.trim_ascii()).ok()?;
    Some((name.as_str().to_owned(), value.strip_prefix(b":")?.trim_ascii().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let redacted = |name: &str, compared| Redacted { name: name.to_owned(), bytes: 7, compared };
        let mut head = RecordedHead {
            at: 1_767_225_600,
            method: "POST".to_owned(),
            headers: vec![
                ("host".to_owned(), b"a".to_vec()),
                // A sender cannot imitate a line of the recorder.
                ("#arrived".to_owned(), b"1".to_vec()),
                ("x".to_owned(), b"# arrived 1".to_vec()),
                ("x".to_owned(), b"\xff\xfe".to_vec()),
                ("empty".to_owned(), Vec::new()),
            ],
            redacted: vec![
                redacted("authorization", Compared::No),
                redacted("cookie", Compared::Differs),
                redacted("x-key", Compared::Matches("not compared with a secret".to_owned())),
                redacted("x-mac", Compared::Signs("A: secret B: 3 bytes, C".to_owned())),
            ],
        };
        let forms = Form::ALL.map(|(form, _)| Compared::Resembles(form, "A: secret B: 3 bytes, C".to_owned()));
        head.redacted.extend(forms.map(|form| redacted("x-other", form)));
        let text = head.to_bytes();
        assert!(text.starts_with(FIRST_LINE));
        assert_eq!(RecordedHead::parse(&text), Ok(head));
    }

    #[test]
    fn a_head_that_is_not_of_the_format_is_rejected_with_its_line() {
        let parse = |rest: &str| RecordedHead::parse(format!("# medhook capture 1\n{rest}").as_bytes()).unwrap_err();
        assert_eq!(parse(""), 1);
        assert_eq!(parse("# arrived 1\n"), 1);
        assert_eq!(parse("# method POST\n# arrived soon\n"), 3);
        assert_eq!(parse("# method POST\n# arrived 1\nno header\n"), 4);
        assert_eq!(parse("# method POST\n# arrived 1\n# redacted x: many bytes, matches secret A\n"), 4);
        assert_eq!(parse("# anything\n"), 2);
    }
}
