//! `Debug` of public types: none that holds a part of a request, or bytes of a body, derives it.

use std::path::Path;

/// Types of fields that hold bodies, values of headers, paths or queries.
const PARTS: [&str; 7] = ["Bytes", "HeaderMap", "HeaderValue", "Uri", "Cow<", "[u8]", "(String, String)"];

/// Returns the public types of a source file that derive `Debug` and hold a part of a request.
fn leaky(source: &str) -> Vec<String> {
    let mut leaky = Vec::new();
    let mut derives = false;
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line == "mod tests {" {
            break;
        }
        derives |= line.starts_with("#[derive(") && line.contains("Debug");
        let declared = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        if let Some(declared) = declared {
            let mut text = declared.to_owned();
            if line.ends_with('{') {
                lines.by_ref().take_while(|line| line.trim() != "}").for_each(|line| text.push_str(line));
            }
            let name: String = declared.chars().take_while(|c| c.is_alphanumeric()).collect();
            // A name such as `IdFrom::Bytes` is no field; a borrowed `str` is one unless it is static.
            let borrows = text.split('&').skip(1).any(|rest| rest.contains("str") && !rest.starts_with("'static"));
            let holds =
                PARTS.iter().any(|part| text.contains(&format!(": {part}")) || text.contains(&format!("({part}")))
                    || ["<Bytes>", "<(String, String)>", "[u8]"].iter().any(|part| text.contains(part));
            if derives && (holds || borrows) {
                leaky.push(name);
            }
        }
        if !line.starts_with("#[") && !line.starts_with("///") {
            derives = false;
        }
    }
    leaky
}

fn sources(folder: &Path, read: &mut impl FnMut(String)) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, read);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read(std::fs::read_to_string(path).expect("a source file"));
        }
    }
}

/// Types that hold no part of a request: codes of reasons, and files and facts of this project.
const OTHERS: [&str; 3] = ["AttemptOutcome", "Fixture", "ProviderFacts"];

#[test]
fn no_public_type_with_a_part_of_a_request_derives_debug() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let (mut found, mut files) = (Vec::new(), 0);
    for folder in ["src", "middleware/tower/src", "middleware/axum/src", "middleware/actix/src", "conformance/src"] {
        sources(&top.join(folder), &mut |source| {
            files += 1;
            found.extend(leaky(&source));
        });
    }
    assert!(files > 200, "{files} files");
    found.sort();
    assert_eq!(found, OTHERS, "write `Debug` by hand, without values of the request");
}

#[test]
fn a_derived_debug_is_found() {
    let derived = |declaration: &str| leaky(&format!("/// Text.\n#[derive(Clone, Debug)]\n/// Text.\n{declaration}\n"));
    for declaration in [
        "pub struct Head<'a> {\n    pub target: &'a str,\n}",
        "pub enum Found<'h> {\n    Absent,\n    Once(&'h [u8]),\n}",
        "pub struct Reply {\n    pub headers: HeaderMap,\n}",
        "pub struct Body(Bytes);",
        "pub struct Case {\n    headers: Vec<(String, String)>,\n}",
    ] {
        assert_eq!(derived(declaration).len(), 1, "{declaration}");
        assert_eq!(leaky(&format!("#[derive(Clone)]\n{declaration}")), [""; 0], "{declaration}");
    }
    for declaration in
        ["pub enum From {\n    Body,\n    Bytes,\n}", "pub struct Named(&'static str);", "struct Own(Bytes);"]
    {
        assert_eq!(derived(declaration), [""; 0], "{declaration}");
    }
}
