//! Checks the list of cases itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use medhook::registry::PROVIDERS;
use medhook::testing::fixtures;
use medhook::{Outcome, Reason};
use medhook_conformance::{Case, Cases, Change, Expected};
use medhook_tests::listing;

use super::{assert_none, cases};

/// Reasons that no single delivery to a receiver without an inbox can have, or none of a built-in provider.
const ALWAYS_EXEMPT: [Reason; 8] = [
    Reason::AmbiguousBody,
    Reason::Stored,
    Reason::UnknownTenant,
    Reason::TenantLookupFailed,
    Reason::HandlerPanicked,
    Reason::HandlerTimeout,
    Reason::HandlerCanceled,
    // No built-in provider has a handshake.
    Reason::HandshakeRejected,
];

/// The contents of `fixtures/<provider>/guard.toml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Guard {
    /// The digest of the lines that `scripts/cases` prints for the provider.
    digest: String,
    /// The number of cases by reason, or by outcome where there is none.
    counts: BTreeMap<String, usize>,
    /// Reasons that no delivery of the provider can have, each with an explanation.
    #[serde(default)]
    exempt: BTreeMap<String, String>,
}

fn guard(provider: &str) -> Guard {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(provider).join("guard.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A failure prints the expected contents of the file. Compare the output of `scripts/cases` before and after first.
#[test]
fn no_case_is_lost_or_changed_unnoticed() {
    let cases = cases();
    let mut wrong = Vec::new();
    for facts in PROVIDERS {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for case in of(cases, facts.name) {
            let Expected { outcome, reason, .. } = &case.expected;
            let result = reason.map_or(outcome.as_str(), |reason| reason.as_str());
            *counts.entry(result.to_owned()).or_default() += 1;
        }
        let digest = listing::digest(&listing::lines(of(cases, facts.name)));
        let guard = guard(facts.name);
        if (&digest, &counts) != (&guard.digest, &guard.counts) {
            let counts: String = counts.iter().map(|(result, count)| format!("{result} = {count}\n")).collect();
            wrong.push(format!("fixtures/{}/guard.toml:\ndigest = {digest:?}\n\n[counts]\n{counts}", facts.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_reason_occurs_for_every_provider_or_is_exempt() {
    let cases = cases();
    let mut wrong = Vec::new();
    for facts in PROVIDERS {
        let provider = facts.name;
        let guard = guard(provider);
        for &reason in Reason::ALL {
            let occurs = of(cases, provider).any(|case| case.expected.reason == Some(reason));
            let exempt = guard.exempt.contains_key(reason.as_str());
            if occurs == (exempt || ALWAYS_EXEMPT.contains(&reason)) {
                wrong.push(format!("{provider}: {reason} occurs: {occurs}, is exempt: {exempt}"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_documented_kind_is_handled_as_its_own_variant() {
    let cases = cases();
    let handled = |provider: &str, kind: &str| {
        of(cases, provider).map(|case| &case.expected).any(|expected| {
            expected.outcome == Outcome::Handled
                && expected.kind.as_deref() == Some(kind)
                && expected.decodes.as_deref() == Some("kind")
        })
    };
    for facts in PROVIDERS {
        for kind in facts.kinds {
            assert!(handled(facts.name, kind.name), "{} {}", facts.name, kind.name);
        }
    }
}

#[test]
fn every_fixture_is_sent_as_it_is() {
    let cases = cases();
    for fixture in fixtures() {
        let sent = |case: &&Case| case.like.is_none() && case.body == fixture.body();
        assert!(of(cases, fixture.provider()).find(sent).is_some(), "{}", fixture.path());
    }
}

#[test]
fn names_are_unique_and_tell_the_provider() {
    let cases = cases();
    let names: BTreeSet<_> = cases.cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.cases.len());
    for case in &cases.cases {
        let provider = &cases.endpoints[&case.endpoint].provider;
        assert!(case.name.starts_with(&format!("{provider}: ")), "{}", case.name);
    }
}

#[test]
fn every_case_is_handled_or_differs_from_a_handled_one() {
    let cases = cases();
    for case in &cases.cases {
        let Some(like) = &case.like else {
            assert_eq!(case.expected.outcome, Outcome::Handled, "{}", case.name);
            continue;
        };
        let base = find(cases, like);
        assert_eq!(base.expected.outcome, Outcome::Handled, "{}", case.name);
        assert_eq!(base.endpoint, case.endpoint, "{}", case.name);
    }
}

/// A change before signing is visible in the signed parts, any other change in exactly one part.
#[test]
fn a_case_differs_from_its_base_only_in_its_change() {
    let cases = cases();
    let signed = signed(cases);
    let mut wrong = Vec::new();
    for case in &cases.cases {
        let (Some(like), Some(change)) = (&case.like, &case.change) else {
            continue;
        };
        let differs = differences(find(cases, like), case);
        let one_thing =
            if is_signed(change) { !differs.is_empty() && differs.is_subset(&signed) } else { differs.len() == 1 };
        if !one_thing {
            wrong.push(format!("{}: differs in {differs:?}", case.name));
        }
    }
    assert_none(&wrong);
}

/// Returns the parts in which a change before signing may be visible: the body, and the headers of every endpoint's
/// scheme.
fn signed(cases: &Cases) -> BTreeSet<String> {
    let schemes = cases.endpoints.values().map(|endpoint| endpoint.signing().expect("a sound endpoint"));
    let headers = schemes.flat_map(|signing| signing.header_names());
    headers.chain(["body".to_owned()]).collect()
}

fn is_signed(change: &Change) -> bool {
    matches!(
        change,
        Change::Secret(_)
            | Change::ForeignSecret(_)
            | Change::Scheme(_)
            | Change::Base64
            | Change::Hex
            | Change::SignedAs(_)
            | Change::Text(_)
            | Change::Bytes(_)
            | Change::Replace(..)
            | Change::Set(..)
            | Change::Nest(..)
            | Change::Long(..)
            | Change::Wrap(..)
            | Change::Pad(_)
            | Change::MessageId(_)
            | Change::Timestamp(_)
            | Change::Attempt(_)
            | Change::Event(_)
    )
}

/// Returns the parts in which two deliveries differ.
fn differences(one: &Case, other: &Case) -> BTreeSet<String> {
    let places = [
        ("method", one.method != other.method),
        ("body", one.body != other.body),
        ("transfer", one.transfer != other.transfer),
        ("state", one.state != other.state),
        ("handler", one.handler != other.handler),
    ];
    let places = places.into_iter().filter(|(_, differ)| *differ).map(|(place, _)| place.to_owned());
    let (ones, others) = (by_name(one), by_name(other));
    let names: BTreeSet<_> = ones.keys().chain(others.keys()).collect();
    let names = names.into_iter().filter(|name| ones.get(*name) != others.get(*name)).map(|name| (*name).to_owned());
    places.chain(names).collect()
}

fn by_name(case: &Case) -> BTreeMap<&str, Vec<&str>> {
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in &case.headers {
        headers.entry(name).or_default().push(value);
    }
    headers
}

fn of<'c>(cases: &'c Cases, provider: &'c str) -> impl Iterator<Item = &'c Case> {
    cases.cases.iter().filter(move |case| cases.endpoints[&case.endpoint].provider == provider)
}

fn find<'c>(cases: &'c Cases, name: &str) -> &'c Case {
    cases.cases.iter().find(|case| case.name == name).expect("a case of this name")
}
