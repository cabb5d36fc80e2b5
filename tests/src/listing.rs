//! The list of cases in a canonical form: one line for each case, sorted, so that two states of it can be compared.

use medhook::sign::mac;
use medhook_conformance::Case;

/// Returns the canonical lines: endpoint, name, base, change, expected result, digest of what is sent, and note,
/// separated by tabs.
#[must_use]
pub fn lines<'c>(cases: impl IntoIterator<Item = &'c Case>) -> Vec<String> {
    let mut lines: Vec<_> = cases.into_iter().map(line).collect();
    lines.sort();
    lines
}

/// Returns a digest of the canonical lines.
#[must_use]
pub fn digest(lines: &[String]) -> String {
    short(&mac(b"list", &[lines.join("\n").as_bytes()]))
}

fn line(case: &Case) -> String {
    let expected = &case.expected;
    let reason = expected.reason.map_or("-", |reason| reason.as_str());
    let kind = expected.kind.as_ref().map_or_else(|| "-".to_owned(), |kind| format!("{kind:?}"));
    let result = [
        expected.status.to_string(),
        expected.outcome.as_str().to_owned(),
        reason.to_owned(),
        kind,
        expected.decodes.clone().unwrap_or_else(|| "-".to_owned()),
    ];
    let change = case.change.as_ref().map_or_else(|| "-".to_owned(), |change| format!("{change:?}"));
    let fields = [
        case.endpoint.clone(),
        case.name.clone(),
        case.like.clone().unwrap_or_else(|| "-".to_owned()),
        change,
        result.join(" "),
        sent(case),
        case.why.clone().unwrap_or_else(|| "-".to_owned()),
    ];
    fields.join("\t")
}

/// Returns a digest of the bytes that are sent, and of the circumstances.
fn sent(case: &Case) -> String {
    let head = format!("{} {:?} {:?} {:?} {}", case.method, case.headers, case.transfer, case.state, case.handler);
    short(&mac(b"case", &[head.as_bytes(), b"\n", &case.body]))
}

fn short(mac: &[u8]) -> String {
    mac.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
