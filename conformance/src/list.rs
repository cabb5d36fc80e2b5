//! Reads `fixtures/shared.toml` and each `fixtures/<provider>/cases.toml`, and expands them: one row for each case.

use std::collections::{BTreeMap, BTreeSet};

use medhook::registry::{self, KindFacts, ProviderFacts};
use medhook::testing::{CaseFile, Fixture, case_files, fixtures};
use serde::Deserialize;
use toml::{Spanned, Value};

use crate::change::Change;
use crate::custom_sections::OF_CUSTOM_PROVIDERS;
use crate::endpoint::Endpoint;
use crate::error::CaseError;
use crate::placeholders::placeholders;

/// The section of the shared file that holds for every provider.
const ALWAYS: &str = "any";
const SHARED_FILE: &str = "fixtures/shared.toml";

/// The name of the sample of a custom provider, as that of a fixture.
const SAMPLE: &str = "sample";

/// The case file of one provider.
struct Source<'s> {
    provider: &'s str,
    cases: &'s str,
    kinds: &'static [KindFacts],
    /// The paths of its bodies.
    bodies: Vec<&'s str>,
}

/// The expanded list of one provider.
pub(crate) struct List {
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) rows: Vec<Row>,
    /// The sections of the shared file that hold for it.
    pub(crate) sections: BTreeSet<String>,
}

/// A case as written, with every default filled in.
#[derive(Debug)]
pub(crate) struct Row {
    /// The name with the provider in front.
    pub(crate) name: String,
    /// The file and line that declare the row.
    pub(crate) place: String,
    pub(crate) origin: Origin,
    pub(crate) fields: Fields,
}

/// The origin of a delivery.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A fixture, signed for an endpoint.
    Fixture { path: String, endpoint: String, secret: Option<String> },
    /// Another case, by its full name, and the one thing that differs.
    Like { name: String, change: Change },
}

/// The keys of a row.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fields {
    endpoint: Option<String>,
    body: Option<String>,
    secret: Option<String>,
    like: Option<String>,
    change: Option<Change>,
    pub(crate) why: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) kind: Option<String>,
    pub(crate) decodes: Option<String>,
    /// The reason at endpoints whose bodies must begin with `{` or `[`, if it is another one there.
    if_json_only: Option<String>,
}

impl Fields {
    /// Returns the row for an endpoint whose bodies must begin with `{` or `[`.
    fn of_json_only(mut self) -> Self {
        if let Some(reason) = self.if_json_only.take() {
            (self.reason, self.status, self.kind, self.decodes) = (Some(reason), None, None, None);
        }
        self
    }
}

type Rows<T> = BTreeMap<String, Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedFile {
    now: i64,
    case: BTreeMap<String, Rows<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderFile {
    like: String,
    shared: BTreeMap<String, String>,
    text: BTreeMap<String, Value>,
    endpoint: BTreeMap<String, Endpoint>,
    #[serde(default)]
    fixture: Rows<Fields>,
    case: Rows<Fields>,
    /// Whether bodies must begin with `{` or `[`.
    #[serde(skip)]
    only_json: bool,
}

/// Returns the clock of the list, in Unix seconds.
pub(crate) fn now() -> Result<i64, CaseError> {
    Ok(shared()?.now)
}

/// Returns the lists of all providers.
pub(crate) fn all() -> Result<Vec<List>, CaseError> {
    let shared = shared()?;
    let sources = case_files().iter().filter_map(Source::of);
    let lists = sources.map(|source| expand(&source, shared_text(), &shared)).collect::<Result<Vec<_>, _>>()?;
    let is_used = |section: &&String| {
        lists.iter().any(|list| list.sections.contains(*section)) || OF_CUSTOM_PROVIDERS.contains(&section.as_str())
    };
    match shared.case.keys().find(|section| !is_used(section)) {
        Some(section) => Err(CaseError(format!("{SHARED_FILE}: no provider uses the section {section}"))),
        None => Ok(lists),
    }
}

/// Returns the list of one provider, if there is one.
pub(crate) fn of(provider: &str) -> Result<Option<List>, CaseError> {
    let source = case_files().iter().filter_map(Source::of).find(|source| source.provider == provider);
    source.map(|source| expand(&source, shared_text(), &shared()?)).transpose()
}

fn shared() -> Result<SharedFile, CaseError> {
    toml::from_str(shared_text()).map_err(|error| CaseError(format!("{SHARED_FILE}: {error}")))
}

fn shared_text() -> &'static str {
    case_files().iter().find(|file| file.provider().is_none()).map_or("", CaseFile::text)
}

fn parse(source: &Source<'_>) -> Result<ProviderFile, CaseError> {
    toml::from_str(source.cases).map_err(|error| CaseError(format!("{}: {error}", source.file())))
}

/// Expands the rows of one provider: its fixtures by path, but the default base first, then the shared cases, then its
/// own, in the order of the files.
fn expand(source: &Source<'_>, shared_text: &str, shared: &SharedFile) -> Result<List, CaseError> {
    expand_file(source, parse(source)?, shared_text, shared)
}

/// Returns the list of an endpoint of a custom provider: the sections of the shared file that apply to it, with the
/// values of their placeholders, and rows of its own.
pub(crate) fn expand_custom(
    endpoint: Endpoint,
    sections: &[&str],
    text: BTreeMap<&str, Value>,
    own: &str,
    has_kind: bool,
    only_json: bool,
) -> Result<List, CaseError> {
    let provider = endpoint.provider.clone();
    let source = Source { provider: &provider, cases: own, kinds: &[], bodies: vec![SAMPLE] };
    let like = SAMPLE.to_owned();
    let kind = text.get("kind").and_then(Value::as_str).filter(|_| has_kind).map(str::to_owned);
    let decodes = Some(if has_kind { "unknown" } else { "undecodable" }.to_owned());
    let sample = Fields { kind, decodes, ..Fields::default() };
    let file = ProviderFile {
        shared: sections.iter().map(|section| ((*section).to_owned(), like.clone())).collect(),
        text: text.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        endpoint: BTreeMap::from([(provider.clone(), endpoint)]),
        fixture: BTreeMap::from([(like.clone(), Spanned::new(0..0, sample))]),
        case: toml::from_str(own).map_err(|error| CaseError(format!("the cases of {provider}: {error}")))?,
        only_json,
        like,
    };
    expand_file(&source, file, shared_text(), &shared()?)
}

fn expand_file(
    source: &Source<'_>,
    mut file: ProviderFile,
    shared_text: &str,
    shared: &SharedFile,
) -> Result<List, CaseError> {
    for endpoint in file.endpoint.values_mut() {
        source.provider.clone_into(&mut endpoint.provider);
    }
    let expansion = Expansion { source, like: &file.like, kinds: source.kinds };

    let mut rows = expansion.fixtures(file.fixture)?;
    // Clients that stop when the plainest delivery is rejected begin with the first case.
    let plainest = expansion.full(&file.like);
    rows.sort_by_key(|row| row.name != plainest);
    let mut own = Vec::new();
    for (name, row) in in_order(file.case) {
        let place = format!("{}:{}: {name}", source.file(), line(source.cases, &row));
        own.push(expansion.row(&name, row.into_inner(), &file.like, place)?);
    }

    let mut sections = file.shared;
    let problem = |problem: String| CaseError(format!("{}: {problem}", source.file()));
    if sections.insert(ALWAYS.to_owned(), file.like.clone()).is_some() {
        return Err(problem(format!("the section {ALWAYS} is always shared: its base is the top-level `like`")));
    }
    let mut common = Vec::new();
    for (section, base) in &sections {
        let cases = shared.case.get(section).ok_or_else(|| problem(format!("no shared section {section}")))?;
        let full = expansion.full(base);
        let base_row = rows.iter().chain(&own).find(|row: &&Row| row.name == full);
        let values =
            base_row.ok_or_else(|| format!("no case {base:?}")).and_then(|row| values(row, &file.endpoint, shared.now));
        let mut values = values.map_err(|wrong| problem(format!("base of the section {section}: {wrong}")))?;
        values.extend(file.text.iter().map(|(name, value)| (name.clone(), value.clone())));
        for (name, row) in cases {
            let line = line(shared_text, row);
            let place = format!("{SHARED_FILE}:{line}: {name} (for {})", source.provider);
            let wrong = |wrong: String| CaseError(format!("{place}: {wrong}"));
            let filled = filled(row.get_ref(), &values).map_err(wrong)?;
            let fields: Fields = filled.try_into().map_err(|error| wrong(error.to_string()))?;
            let fields = if file.only_json { fields.of_json_only() } else { fields };
            common.push((line, expansion.row(name, fields, base, place.clone())?));
        }
    }
    common.sort_by_key(|(line, _)| *line);
    rows.extend(common.into_iter().map(|(_, row)| row));
    rows.extend(own);
    Ok(List { endpoints: file.endpoint, rows, sections: sections.into_keys().collect() })
}

impl<'s> Source<'s> {
    fn of(file: &'static CaseFile) -> Option<Self> {
        let facts = registry::provider(file.provider()?)?;
        Some(Source::new(facts, file.text()))
    }

    fn new(facts: &'static ProviderFacts, cases: &'s str) -> Self {
        let bodies = fixtures().iter().filter(|fixture| fixture.provider() == facts.name).map(Fixture::path).collect();
        Source { provider: facts.name, cases, kinds: facts.kinds, bodies }
    }

    fn file(&self) -> String {
        format!("fixtures/{}/cases.toml", self.provider)
    }
}

struct Expansion<'s> {
    source: &'s Source<'s>,
    like: &'s str,
    kinds: &'static [KindFacts],
}

impl Expansion<'_> {
    /// Makes a row for every fixture: handled, by the endpoint with the provider's name, as the kind in its file name,
    /// unless its entry says otherwise.
    fn fixtures(&self, mut entries: Rows<Fields>) -> Result<Vec<Row>, CaseError> {
        let file = self.source.file();
        let mut rows = Vec::new();
        for path in &self.source.bodies {
            let name = path.strip_prefix(self.source.provider).and_then(|path| path.strip_prefix('/'));
            let name = name.and_then(|path| path.strip_suffix(".json")).unwrap_or(path);
            let (place, mut fields) = match entries.remove(name) {
                Some(entry) => {
                    let place = format!("{file}:{}: {name}", line(self.source.cases, &entry));
                    let fields = entry.into_inner();
                    if fields == Fields::default() {
                        return Err(CaseError(format!("{place}: the file name says all of this; remove the entry")));
                    }
                    (place, fields)
                }
                None => (format!("{file}: {name}"), Fields::default()),
            };
            if fields.body.replace(name.to_owned()).is_some() || fields.like.is_some() || fields.change.is_some() {
                return Err(CaseError(format!("{place}: a fixture has neither `body` nor `like` nor `change`")));
            }
            rows.push(self.row(name, fields, self.like, place)?);
        }
        match entries.keys().next() {
            Some(name) => Err(CaseError(format!("{file}: no fixture {name}.json"))),
            None => Ok(rows),
        }
    }

    fn row(&self, name: &str, mut fields: Fields, base: &str, place: String) -> Result<Row, CaseError> {
        let wrong = |problem: &str| CaseError(format!("{place}: {problem}"));
        let origin = match (fields.body.take(), fields.change.take()) {
            (Some(body), None) if fields.like.is_none() => {
                let of_name = self.kind(&body);
                match (&fields.kind, &fields.decodes) {
                    (None, None) => {
                        fields.kind = of_name.map(str::to_owned);
                    }
                    (kind, None) if kind.as_deref() == of_name => {
                        return Err(wrong("the file name says the kind already"));
                    }
                    _ => {}
                }
                Origin::Fixture {
                    path: format!("{}/{body}.json", self.source.provider),
                    endpoint: fields.endpoint.take().unwrap_or_else(|| self.source.provider.to_owned()),
                    secret: fields.secret.take(),
                }
            }
            (None, Some(change)) if fields.endpoint.is_none() && fields.secret.is_none() => {
                let like = fields.like.take();
                if like.as_deref() == Some(base) {
                    return Err(wrong("`like` is the default here"));
                }
                Origin::Like { name: self.full(like.as_deref().unwrap_or(base)), change }
            }
            _ => {
                return Err(wrong(
                    "a case has a `body` and perhaps `endpoint` and `secret`, or a `change` and perhaps `like`",
                ));
            }
        };
        Ok(Row { name: self.full(name), place, origin, fields })
    }

    fn full(&self, name: &str) -> String {
        format!("{}: {name}", self.source.provider)
    }

    /// Returns the documented kind in the name of a fixture: `<kind>` or `<kind>.<variant>`.
    fn kind(&self, fixture: &str) -> Option<&'static str> {
        let is_kind = |kind: &&str| {
            fixture.strip_prefix(*kind).is_some_and(|variant| variant.is_empty() || variant.starts_with('.'))
        };
        self.kinds.iter().map(|kind| kind.name).filter(is_kind).max_by_key(|kind| kind.len())
    }
}

/// Returns the values of the placeholders that follow from the case that a section's cases are like.
fn values(base: &Row, endpoints: &BTreeMap<String, Endpoint>, now: i64) -> Result<BTreeMap<String, Value>, String> {
    let Origin::Fixture { endpoint, secret, .. } = &base.origin else {
        return Err("it is like another case itself".to_owned());
    };
    let endpoint = endpoints.get(endpoint).ok_or("its endpoint does not exist")?;
    let signing = endpoint.signing().map_err(|error| error.to_string())?;
    let secret = endpoint.secret(secret.as_deref());
    let mut values = placeholders(&signing, secret.unwrap_or_default(), now)?;
    let mut set = |name: &str, value: Value| values.insert(name.to_owned(), value);
    if let Some(secret) = secret {
        set("secret", secret.into());
        let mut cut = secret.to_owned();
        cut.pop();
        set("cut_secret", cut.into());
    }
    if let Some(limit) = endpoint.body_limit.and_then(|limit| i64::try_from(limit).ok()) {
        set("body_limit", limit.into());
        set("above_body_limit", limit.saturating_add(1).into());
    }
    if let Some(kind) = &base.fields.kind {
        set("kind", kind.as_str().into());
        set("upper_case_kind", kind.to_ascii_uppercase().into());
        set("escaped_kind", escaped(kind).into());
    }
    Ok(values)
}

/// Returns the text with its first character as a JSON escape.
fn escaped(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| format!("\\u{:04x}{}", u32::from(first), rest.as_str()))
}

/// Returns the value with its placeholders replaced. A text that is nothing but a placeholder becomes the value, of any
/// type.
fn filled(value: &Value, values: &BTreeMap<String, Value>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) if values.contains_key(name) => values[name].clone(),
            _ => filled_text(text, values)?.into(),
        },
        Value::Array(items) => Value::Array(items.iter().map(|item| filled(item, values)).collect::<Result<_, _>>()?),
        Value::Table(table) => {
            let filled = table.iter().map(|(key, value)| Ok((key.clone(), filled(value, values)?)));
            Value::Table(filled.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn filled_text(text: &str, values: &BTreeMap<String, Value>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let name = after.split_once('}').filter(|(name, _)| !name.is_empty() && name.bytes().all(is_of_name));
        rest = match name {
            // A placeholder of the deliveries, which is replaced when they are made.
            None | Some(("now", _)) => {
                filled.push('{');
                after
            }
            Some((name, after)) => {
                let value = values.get(name).ok_or_else(|| format!("no value for {{{name}}}"))?;
                filled.push_str(value.as_str().ok_or_else(|| format!("{{{name}}} is no text"))?);
                after
            }
        };
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'_'
}

/// Returns the rows in the order of the file.
fn in_order<T>(rows: Rows<T>) -> Vec<(String, Spanned<T>)> {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, row)| row.span().start);
    rows
}

fn line<T>(text: &str, row: &Spanned<T>) -> usize {
    text.bytes().take(row.span().start).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = r#"
        now = 0
        [case.any]
        "no body" = { change = { text = "" }, decodes = "undecodable" }
        [case.signed]
        "forged" = { change = { header = ["{signature}", "{forged}"] }, reason = "signature_mismatch" }
    "#;
    const HEAD: &str = r#"
        like = "document.uploaded"
        endpoint.healthsync.secrets = { current = "text" }
        text = { forged = "sha256=0" }
        shared = { signed = "document.uploaded" }
    "#;

    fn expand_text(shared: &'static str, cases: String) -> Result<List, String> {
        let facts = registry::provider("healthsync").unwrap();
        let source = Source::new(facts, &cases);
        expand(&source, shared, &toml::from_str(shared).unwrap()).map_err(|error| error.to_string())
    }

    fn problem(rows: &str) -> String {
        expand_text(SHARED, format!("{HEAD}{rows}")).err().unwrap_or_default()
    }

    #[test]
    fn fixtures_come_first_then_shared_cases_then_own_ones() {
        let own = "[case]\n\"last\" = { change = { pad = 1 } }\n\"a\" = { body = \"document.uploaded\" }";
        let list = expand_text(SHARED, format!("{HEAD}{own}")).unwrap();
        let named = |name: &str| list.rows.iter().position(|row| row.name == format!("healthsync: {name}")).unwrap();
        let fixtures = fixtures().iter().filter(|fixture| fixture.provider() == "healthsync").count();
        assert_eq!(["no body", "forged", "last", "a"].map(named), [0, 1, 2, 3].map(|n| n + fixtures));
        assert_eq!(list.rows[named("document.uploaded.pretty")].fields.kind.as_deref(), Some("document.uploaded"));
        let Origin::Like { name, change } = &list.rows[named("forged")].origin else { panic!("like a fixture") };
        assert_eq!(name, "healthsync: document.uploaded");
        assert_eq!(*change, Change::Header("x-healthsync-signature".to_owned(), "sha256=0".to_owned()));
    }

    #[test]
    fn errors_name_file_and_row() {
        let row = "fixtures/healthsync/cases.toml:7: x: ";
        let form = "a case has a `body` and perhaps `endpoint` and `secret`, or a `change` and perhaps `like`";
        assert_eq!(problem("[case]\nx = { why = \"\" }"), format!("{row}{form}"));
        assert_eq!(problem("[case]\nx = { body = \"undocumented\", change = { pad = 1 } }"), format!("{row}{form}"));
        assert_eq!(
            problem("[case]\nx = { like = \"document.uploaded\", change = { pad = 1 } }"),
            format!("{row}`like` is the default here")
        );
        assert_eq!(
            problem("[case]\nx = { body = \"document.uploaded\", kind = \"document.uploaded\" }"),
            format!("{row}the file name says the kind already")
        );
        let unknown = problem("[case]\nx = { outcome = \"handled\" }");
        assert!(unknown.starts_with("fixtures/healthsync/cases.toml: ") && unknown.contains("unknown field `outcome`"));

        let empty = "[case]\n[fixture]\n\"document.uploaded\" = {}";
        let row = "fixtures/healthsync/cases.toml:8: document.uploaded: ";
        assert_eq!(problem(empty), format!("{row}the file name says all of this; remove the entry"));
        assert_eq!(
            problem("[case]\n[fixture]\ny = { secret = \"old\" }"),
            "fixtures/healthsync/cases.toml: no fixture y.json"
        );
    }

    #[test]
    fn shared_sections_are_checked() {
        let missing = expand_text(SHARED, HEAD.replace("forged =", "other =") + "[case]").err().unwrap();
        assert_eq!(missing, "fixtures/shared.toml:6: forged (for healthsync): no value for {forged}");
        let section = expand_text(SHARED, HEAD.replace("signed", "sealed") + "[case]").err().unwrap();
        assert_eq!(section, "fixtures/healthsync/cases.toml: no shared section sealed");
        let base =
            expand_text(SHARED, HEAD.replace("signed = \"document", "signed = \"folder") + "[case]").err().unwrap();
        assert_eq!(base, "fixtures/healthsync/cases.toml: base of the section signed: no case \"folder.uploaded\"");
    }

    #[test]
    fn only_known_names_in_braces_are_replaced() {
        let values: BTreeMap<_, _> =
            [("n".to_owned(), Value::from(5)), ("header".to_owned(), Value::from("x-own"))].into();
        let filled = |text: &str| filled(&Value::from(text), &values);
        assert_eq!(filled("{n}"), Ok(Value::from(5)));
        assert_eq!(filled("{n}{n}"), Err("{n} is no text".to_owned()));
        assert_eq!(filled("{{header}}, {header}"), Ok(Value::from("{x-own}, x-own")));
        assert_eq!(filled(r#"{"a":{}} {now}"#), Ok(Value::from(r#"{"a":{}} {now}"#)));
        assert_eq!(filled("{other}"), Err("no value for {other}".to_owned()));
        assert_eq!(escaped("type"), r"\u0074ype");
    }
}
