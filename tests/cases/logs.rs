//! docs/logs.md lists every log line of the source, with its level and its fields.

use std::fs;
use std::path::{Path, PathBuf};

/// A call of one of tracing's macros.
#[derive(Debug)]
struct Call {
    /// Upper case; `None` in a macro of our own, which has several.
    level: Option<String>,
    fields: Vec<String>,
    /// The message up to its first argument.
    message: String,
}

#[test]
fn every_log_line_is_documented_with_its_level_and_fields() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = fs::read_to_string(root.join("docs/logs.md")).expect("it exists");
    let rows: Vec<_> = guide.lines().filter(|line| line.starts_with("| ")).collect();
    let mut files = Vec::new();
    ["src", "cli/src", "middleware"].iter().for_each(|folder| sources(&root.join(folder), &mut files));
    let calls: Vec<_> = files.iter().flat_map(|file| calls(&fs::read_to_string(file).expect("text"))).collect();
    assert!(calls.len() > 30, "{}", calls.len());
    for call in calls {
        // Whole messages are the texts of other parts: the warnings of a receiver, and a missing layer.
        let message = call.message.replace('`', "");
        let mut texts = message.split('{').map(|part| part.rsplit('}').next().expect("a part").trim());
        let begin = texts.next().filter(|text| !text.is_empty());
        let begin = begin.or_else(|| texts.max_by_key(|text| text.len())).unwrap_or_default();
        if begin.is_empty() {
            continue;
        }
        // The guide shortens long messages with two dots.
        let documents = |row: &&&str| {
            let documented = row.split(" | ").nth(1).unwrap_or_default().replace('`', "");
            let shortened = documented.split("..").next().expect("a part").trim_end();
            documented.contains(begin) || (shortened.len() > 10 && begin.starts_with(shortened))
        };
        let about: Vec<_> = rows.iter().filter(documents).collect();
        let level = |row: &&&&str| call.level.as_ref().is_none_or(|level| row.contains(level.as_str()));
        assert!(about.iter().any(|row| level(&row)), "docs/logs.md has no row with this message: {call:?}");
        for field in &call.fields {
            assert!(about.iter().any(|row| row.contains(&format!("`{field}`"))), "the row of {begin} lacks {field}");
        }
    }
}

#[test]
fn every_detail_of_a_header_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = fs::read_to_string(root.join("docs/logs.md")).expect("it exists");
    let source = fs::read_to_string(root.join("src/headers.rs")).expect("it exists");
    let (_, list) = source.split_once("\nheader_problems! {\n").expect("the list");
    let (list, _) = list.split_once("\n}\n").expect("its end");
    // `Variant = "text", Reason;`
    let mut texts = list.split('"');
    let mut details = 0;
    texts.next();
    while let (Some(text), Some(after)) = (texts.next(), texts.next()) {
        let reason = after.trim_start_matches(',').trim().split(';').next().expect("a reason");
        let upper = |letter: char| if letter.is_uppercase() { format!("_{letter}") } else { letter.to_string() };
        let reason = reason.chars().map(upper).collect::<String>().trim_start_matches('_').to_lowercase();
        let of_reason = |row: &&str| row.split(" | ").next().is_some_and(|cell| cell.contains(&format!("`{reason}`")));
        let row = guide.lines().filter(|line| line.starts_with("| `")).find(of_reason);
        let row = row.unwrap_or_else(|| panic!("docs/logs.md has no row for {reason}"));
        // The guide appends what only some of the texts have.
        let (text, more) = text.split_once("; ").map_or((text, None), |(text, more)| (text, Some(format!("; {more}"))));
        for part in [Some(text.to_owned()), more].into_iter().flatten() {
            let is_quoted = [format!("`{part}`"), format!("``{part}``")].iter().any(|quoted| row.contains(quoted));
            assert!(is_quoted, "docs/logs.md: {reason}: no {part:?}");
        }
        details += 1;
    }
    assert!(details > 30, "{details}");
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("it exists") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

/// Returns the calls in a source file.
fn calls(source: &str) -> Vec<Call> {
    source.split("tracing::").skip(1).filter_map(call).collect()
}

fn call(rest: &str) -> Option<Call> {
    let (name, rest) = rest.split_once("!(")?;
    let level = match name {
        "error" | "warn" | "info" | "debug" => Some(name.to_uppercase()),
        "$level" => None,
        _ => return None,
    };
    let (mut arguments, mut argument, mut message) = (Vec::new(), String::new(), None);
    let (mut depth, mut text, mut escaped) = (0_usize, None::<String>, false);
    for c in rest.chars() {
        match (&mut text, c) {
            (Some(inside), c) if escaped => {
                escaped = false;
                if c != '\n' {
                    inside.push(c);
                }
            }
            (Some(_), '\\') => escaped = true,
            (Some(_), '"') => message = text.take(),
            // A line that is continued begins without its indentation.
            (Some(inside), ' ') if inside.ends_with(' ') => {}
            (Some(inside), '\n') => inside.push(' '),
            (Some(inside), c) => inside.push(c),
            (None, '"') => text = Some(String::new()),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')') if depth == 0 => break,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => arguments.push(std::mem::take(&mut argument)),
            (None, c) => argument.push(c),
        }
    }
    let fields = arguments.iter().map(|argument| argument.split('=').next().expect("a part").trim());
    // One with a dot is an argument of the message.
    let fields = fields.filter(|field| !field.contains("target:") && !field.contains('.') && !field.is_empty());
    let fields = fields.map(|field| field.trim_start_matches(['%', '?']).to_owned()).collect();
    Some(Call { level, fields, message: message?.replace("\\\"", "\"") })
}
