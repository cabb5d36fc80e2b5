//! A command line of curl, or its options `-H` alone, quoted for a POSIX shell, Bash or `cmd.exe`.

use std::borrow::Cow;
use std::iter::Peekable;

use super::head::{Head, problem};
use super::lines;
use crate::failure::Failure;

/// Returns whether the text begins as a command. The output of `curl -v` may begin with the command, too.
pub(super) fn is_command(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"$ ").unwrap_or(text);
    let begins =
        [&b"curl "[..], b"curl.exe ", b"wget ", b"-H", b"--header"].iter().any(|start| text.starts_with(start));
    begins && !lines::from_curl(text)
}

/// Parses the options for headers, the method and the body. Ignores all others.
pub(super) fn parse(text: &[u8]) -> Result<Head, Failure> {
    let mut head = Head::default();
    let (mut bodies, mut commands) = (Vec::new(), 0_usize);
    let mut words = words(&without_carets(text))?.into_iter();
    while let Some(Word { line, begins, text: word }) = words.next() {
        let is_curl = matches!(&*word, b"curl" | b"curl.exe" | b"wget") && begins;
        commands = commands.saturating_add(usize::from(is_curl || word == b"--next"));
        let Some((option, attached)) = option(&word) else { continue };
        let Some(value) = attached.or_else(|| Some(words.next()?.text)) else { continue };
        match option {
            Opt::Header => head.add_option(&value, line)?,
            Opt::Method => head.method = String::from_utf8(value).ok(),
            Opt::Body { from_file: true } if value.starts_with(b"@") => bodies.push(None),
            Opt::Body { .. } => bodies.push(Some(value)),
        }
    }
    if commands > 1 {
        return Err(problem("the file holds several requests; keep one"));
    }
    // Curl joins several bodies, in ways that depend on the options.
    if let [body] = bodies.as_mut_slice() {
        head.body = body.take();
    }
    Ok(head)
}

enum Opt {
    Header,
    Method,
    /// `from_file`: `@` names a file.
    Body {
        from_file: bool,
    },
}

const OPTIONS: [(&str, Opt); 9] = [
    ("-H", Opt::Header),
    ("--header", Opt::Header),
    ("-X", Opt::Method),
    ("--request", Opt::Method),
    ("-d", Opt::Body { from_file: true }),
    ("--data", Opt::Body { from_file: true }),
    ("--data-binary", Opt::Body { from_file: true }),
    ("--data-raw", Opt::Body { from_file: false }),
    ("--json", Opt::Body { from_file: true }),
];

/// Returns the option that a word is, and its value if the word contains it: `-Hname: value`, `--header=name: value`.
fn option(word: &[u8]) -> Option<(&'static Opt, Option<Vec<u8>>)> {
    OPTIONS.iter().find_map(|(name, option)| {
        let rest = word.strip_prefix(name.as_bytes())?;
        match (rest, name.len()) {
            ([], _) => Some((option, None)),
            (rest, 2) => Some((option, Some(rest.to_vec()))),
            ([b'=', rest @ ..], _) => Some((option, Some(rest.to_vec()))),
            _ => None,
        }
    })
}

impl Head {
    fn add_option(&mut self, text: &[u8], line: usize) -> Result<(), Failure> {
        if text.starts_with(b"@") {
            return Err(problem(format_args!("line {line} names a file of headers; pass that file instead")));
        }
        // `Name;` sends an empty value.
        let added = match (lines::name_and_value(text), text.strip_suffix(b";")) {
            // `Name:` removes a header.
            (Some((_, value)), _) if value.trim_ascii().is_empty() => Some(()),
            (Some((name, value)), _) => self.add(name, value),
            (None, Some(name)) => str::from_utf8(name).ok().and_then(|name| self.add(name, b"")),
            (None, None) => None,
        };
        added.ok_or_else(|| problem(format_args!("line {line} is not `-H 'Name: value'`")))
    }
}

/// Removes the escapes of `cmd.exe`, if the text has any: a caret before a character or a line break.
fn without_carets(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.windows(2).any(|pair| pair == b"^\"") {
        return text.into();
    }
    let mut bytes = text.iter().copied();
    let unescaped = std::iter::from_fn(|| match bytes.next()? {
        // A line break goes on as that of a POSIX shell does.
        b'^' => bytes.next().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }),
        byte => Some(byte),
    });
    unescaped.collect()
}

/// A word of a command line.
struct Word {
    /// The number of the line in which it begins.
    line: usize,
    /// Whether it is the first word of a command.
    begins: bool,
    text: Vec<u8>,
}

/// Splits text into words as Bash does, without expanding variables.
fn words(text: &[u8]) -> Result<Vec<Word>, Failure> {
    let (mut words, mut line, mut begins) = (Vec::new(), 1_usize, true);
    let mut word: Option<Word> = None;
    let mut bytes = text.iter().copied().filter(|byte| *byte != b'\r').peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' | b';' if byte != b';' || word.is_none() => {
                if let Some(word) = word.take() {
                    // A prompt.
                    begins = word.begins && word.text == b"$";
                    words.push(word);
                }
                begins |= matches!(byte, b'\n' | b';');
                line = line.saturating_add(usize::from(byte == b'\n'));
                continue;
            }
            b'\\' if bytes.next_if_eq(&b'\n').is_some() => {
                line = line.saturating_add(1);
                continue;
            }
            _ => {}
        }
        let word = word.get_or_insert_with(|| Word { line, begins, text: Vec::new() });
        let before = word.text.len();
        let open = |line| problem(format_args!("the quotation mark in line {line} is not closed"));
        match byte {
            b'\'' => single_quoted(&mut bytes, &mut word.text).ok_or_else(|| open(line))?,
            b'"' => double_quoted(&mut bytes, &mut word.text).ok_or_else(|| open(line))?,
            b'$' if bytes.next_if_eq(&b'\'').is_some() => {
                ansi_c_quoted(&mut bytes, &mut word.text).ok_or_else(|| open(line))?;
            }
            b'\\' => word.text.extend(bytes.next()),
            byte => word.text.push(byte),
        }
        let added = word.text.get(before..).unwrap_or_default();
        line = line.saturating_add(added.iter().filter(|byte| **byte == b'\n').count());
    }
    words.extend(word);
    Ok(words)
}

fn single_quoted(bytes: &mut impl Iterator<Item = u8>, text: &mut Vec<u8>) -> Option<()> {
    loop {
        match bytes.next()? {
            b'\'' => return Some(()),
            byte => text.push(byte),
        }
    }
}

fn double_quoted(bytes: &mut Peekable<impl Iterator<Item = u8>>, text: &mut Vec<u8>) -> Option<()> {
    loop {
        match bytes.next()? {
            b'"' => return Some(()),
            b'\\' if bytes.next_if_eq(&b'\n').is_some() => {}
            b'\\' => match bytes.next_if(|byte| matches!(byte, b'"' | b'\\' | b'$' | b'`' | b'!')) {
                Some(escaped) => text.push(escaped),
                None => text.push(b'\\'),
            },
            byte => text.push(byte),
        }
    }
}

/// `$'..'`, which browsers write for text with an apostrophe or beyond ASCII.
fn ansi_c_quoted(bytes: &mut Peekable<impl Iterator<Item = u8>>, text: &mut Vec<u8>) -> Option<()> {
    loop {
        match bytes.next()? {
            b'\'' => return Some(()),
            b'\\' => match bytes.next()? {
                b'n' => text.push(b'\n'),
                b'r' => text.push(b'\r'),
                b't' => text.push(b'\t'),
                b'x' => text.push(u8::try_from(code(bytes, 2)?).ok()?),
                digits @ (b'u' | b'U') => {
                    let c = char::from_u32(code(bytes, if digits == b'u' { 4 } else { 8 })?)?;
                    text.extend(c.encode_utf8(&mut [0; 4]).bytes());
                }
                byte => text.push(byte),
            },
            byte => text.push(byte),
        }
    }
}

/// Reads up to `most` hexadecimal digits.
fn code(bytes: &mut Peekable<impl Iterator<Item = u8>>, most: usize) -> Option<u32> {
    let mut digits = String::new();
    while digits.len() < most
        && let Some(digit) = bytes.next_if(u8::is_ascii_hexdigit)
    {
        digits.push(char::from(digit));
    }
    u32::from_str_radix(&digits, 16).ok()
}
