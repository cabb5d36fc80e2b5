//! Checks the list of cases itself.

use std::collections::{BTreeMap, BTreeSet};

use medhook::testing::fixtures;
use medhook::{Outcome, Reason};
use medhook_conformance::{Case, Cases, Change, Expected};
use medhook_tests::listing;
use medhook_tests::providers::PROVIDERS;

use super::{assert_none, cases};

/// Reasons that no delivery of a provider can have.
const EXEMPT: &[(&str, Reason, &str)] = &[
    ("azodha", Reason::Stale, "its events have no time"),
    ("azodha", Reason::InTheFuture, "its events have no time"),
    ("azodha", Reason::TimeMissing, "its events have no time"),
    ("azodha", Reason::WrongMode, "its events have no mode"),
    ("azodha", Reason::SecretModeMismatch, "its events have no mode"),
    ("cair", Reason::WrongMode, "its events have no mode"),
    ("cair", Reason::SecretModeMismatch, "its events have no mode"),
    ("fasten", Reason::TimeMissing, "its age is that of the attempt, which the headers tell or are refused without"),
    ("healthsync", Reason::WrongMode, "its events have no mode"),
    ("healthsync", Reason::SecretModeMismatch, "its events have no mode"),
    ("mediquo", Reason::Stale, "its time is not signed, so no age is judged by it"),
    ("mediquo", Reason::InTheFuture, "its time is not signed, so no age is judged by it"),
    ("mediquo", Reason::TimeMissing, "its time is not signed, so no age is judged by it"),
    ("mediquo", Reason::WrongMode, "its events have no mode"),
    ("mediquo", Reason::SecretModeMismatch, "its events have no mode"),
];

/// Reasons that no delivery to a receiver has.
const ALWAYS_EXEMPT: [Reason; 4] =
    [Reason::UnknownTenant, Reason::TenantLookupFailed, Reason::HandlerPanicked, Reason::HandlerTimeout];

/// The cases of each provider, by reason, or by outcome where there is none. `scripts/cases` prints the list.
const COUNTS: &[(&str, &str)] = &[
    (
        "azodha",
        "body_incomplete 1, body_timeout 1, content_encoding 2, draining 1, duplicate 1, failed 3, handled 86, in_flight 1, malformed_header 19, method 2, missing_header 2, repeated_header 4, signature_mismatch 16, store_full 1, store_unavailable 1, too_busy 1, too_large 5",
    ),
    (
        "cair",
        "body_incomplete 1, body_timeout 1, content_encoding 2, draining 1, duplicate 1, failed 3, handled 114, in_flight 1, in_the_future 1, malformed_header 19, method 2, missing_header 2, repeated_header 4, signature_mismatch 16, stale 3, store_full 1, store_unavailable 1, time_missing 5, too_busy 1, too_large 5",
    ),
    (
        "fasten",
        "body_incomplete 1, body_timeout 1, content_encoding 3, draining 1, duplicate 2, failed 3, handled 114, in_flight 1, in_the_future 3, malformed_header 28, method 2, missing_header 3, repeated_header 6, secret_mode_mismatch 5, signature_mismatch 11, stale 2, store_full 1, store_unavailable 1, too_busy 1, too_large 5, wrong_mode 2",
    ),
    (
        "healthsync",
        "body_incomplete 1, body_timeout 1, content_encoding 2, draining 1, duplicate 2, failed 3, handled 98, in_flight 1, in_the_future 2, malformed_header 15, method 2, missing_header 1, repeated_header 2, signature_mismatch 8, stale 5, store_full 1, store_unavailable 1, time_missing 4, too_busy 1, too_large 5",
    ),
    (
        "mediquo",
        "body_incomplete 1, body_timeout 1, content_encoding 2, draining 1, duplicate 1, failed 3, handled 93, in_flight 1, malformed_header 3, method 2, missing_header 4, repeated_header 3, signature_mismatch 12, store_full 1, store_unavailable 1, too_busy 1, too_large 5",
    ),
];

/// The digest of the list as `scripts/cases` prints it.
const DIGEST: &str = "bd876e21bb24faef";

/// A failure prints the new values. Compare the lists before and after with `scripts/cases` first.
#[test]
fn no_case_is_lost_or_changed_unnoticed() {
    let cases = cases();
    for (provider, wanted) in COUNTS {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for case in of(cases, provider) {
            let Expected { outcome, reason, .. } = &case.expected;
            *counts.entry(reason.map_or(outcome.as_str(), |reason| reason.as_str())).or_default() += 1;
        }
        let counts: Vec<_> = counts.iter().map(|(result, count)| format!("{result} {count}")).collect();
        assert_eq!(counts.join(", "), *wanted, "{provider}");
    }
    assert!(PROVIDERS.iter().map(|provider| provider.name).eq(COUNTS.iter().map(|(provider, _)| *provider)));
    assert_eq!(listing::digest(&listing::lines(cases)), DIGEST);
}

#[test]
fn every_reason_occurs_for_every_provider_or_is_exempt() {
    let cases = cases();
    let mut wrong = Vec::new();
    for provider in PROVIDERS {
        let provider = provider.name;
        for &reason in Reason::ALL {
            let occurs = of(cases, provider).any(|case| case.expected.reason == Some(reason));
            let exempt = EXEMPT.iter().any(|(of, exempt, _)| *of == provider && *exempt == reason);
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
    for provider in PROVIDERS {
        for kind in (provider.kinds)() {
            assert!(handled(provider.name, kind), "{} {kind}", provider.name);
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
fn what_is_not_handled_is_like_a_case_that_is() {
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

/// A change before signing shows in what is signed, any other in exactly one place.
#[test]
fn a_case_differs_from_the_one_it_is_like_in_its_change_alone() {
    let cases = cases();
    let mut wrong = Vec::new();
    for case in &cases.cases {
        let (Some(like), Some(change)) = (&case.like, &case.change) else {
            continue;
        };
        let differs = differences(find(cases, like), case);
        let one_thing = if is_signed(change) {
            !differs.is_empty() && differs.iter().all(|place| SIGNED.contains(&&**place))
        } else {
            differs.len() == 1
        };
        if !one_thing {
            wrong.push(format!("{}: differs in {differs:?}", case.name));
        }
    }
    assert_none(&wrong);
}

const SIGNED: &[&str] = &[
    "body",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-azodha-secret",
    "x-azodha-signature",
    "x-cair-secret",
    "x-cair-signature",
    "x-healthsync-signature",
    "x-webhook-signature",
];

fn is_signed(change: &Change) -> bool {
    matches!(
        change,
        Change::Secret(_)
            | Change::ForeignSecret(_)
            | Change::Scheme(_)
            | Change::Base64
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

/// The places in which two deliveries differ.
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
