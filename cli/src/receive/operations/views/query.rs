//! The views by their paths and queries, and the fields of the login form.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use http::Uri;
use medhook::inbox::Status;

use crate::receive::operations::observed::{EventsQuery, RecentQuery};

/// A view of the page.
#[derive(Debug)]
pub(super) enum View {
    Overview,
    Deliveries(RecentQuery),
    Events(EventsQuery),
    /// The event with this id.
    Event(i64),
}

/// Longer values are ignored, since names and kinds are shorter, and so are those with control characters, which
/// PostgreSQL would reject as an error.
const LONGEST_VALUE: usize = 256;
/// More parameters are ignored; no view has as many.
const MOST_PARAMETERS: usize = 16;

impl View {
    /// Returns the view that a URI names.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        match uri.path() {
            "/" => Some(View::Overview),
            "/deliveries" => Some(View::Deliveries(RecentQuery {
                endpoint: parameter(uri, "endpoint"),
                outcome: parameter(uri, "outcome"),
            })),
            "/inbox" => Some(View::Events(EventsQuery {
                endpoint: parameter(uri, "endpoint"),
                status: parameter(uri, "status").and_then(|status| named(&status)),
                kind: parameter(uri, "kind"),
                before: parameter(uri, "before").and_then(|id| id.parse().ok()),
            })),
            path => {
                let id = path.strip_prefix("/inbox/")?;
                // Without a sign or leading zeros, so that each event has one path.
                let is_plain = id.bytes().all(|digit| digit.is_ascii_digit()) && !id.starts_with('0');
                is_plain.then(|| id.parse().ok())?.map(View::Event)
            }
        }
    }
}

/// Returns the value of a parameter. An empty one, as a form sends it for "all", is none.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(uri.query()?.as_bytes()).take(MOST_PARAMETERS);
    let value = pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).next()?;
    let is_usual = value.len() <= LONGEST_VALUE && !value.contains(char::is_control);
    (!value.is_empty() && is_usual).then_some(value)
}

fn named(status: &str) -> Option<Status> {
    let all = [Status::Waiting, Status::Processing, Status::Done, Status::Dead, Status::Discarded];
    all.into_iter().find(|one| one.as_str() == status)
}

/// The fields of the login form.
#[derive(Default)]
pub(super) struct LoginForm {
    pub(super) token: String,
    pub(super) next: String,
}

impl LoginForm {
    /// Reads a form. Missing fields are empty.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut form = LoginForm::default();
        for (name, value) in form_urlencoded::parse(body).take(MOST_PARAMETERS) {
            match &*name {
                // A pasted token often ends with a line break, and none contains whitespace.
                "token" => form.token = value.trim().to_owned(),
                "next" => form.next = value.into_owned(),
                _ => {}
            }
        }
        form
    }

    /// Returns the path to continue with, from the URI of the form.
    pub(super) fn next(uri: &Uri) -> Option<String> {
        form_urlencoded::parse(uri.query()?.as_bytes())
            .take(MOST_PARAMETERS)
            .find(|(name, _)| name == "next")
            .map(|(_, value)| value.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(uri: &str) -> Option<View> {
        View::of(&uri.parse().unwrap())
    }

    #[test]
    fn paths_and_queries_name_views() {
        assert!(matches!(view("/"), Some(View::Overview)));
        let Some(View::Deliveries(query)) = view("/deliveries?endpoint=lab%20a&outcome=rejected") else { panic!() };
        assert_eq!((query.endpoint.as_deref(), query.outcome.as_deref()), (Some("lab a"), Some("rejected")));
        let Some(View::Events(query)) = view("/inbox?endpoint=&status=dead&kind=a%2Bb&before=12") else { panic!() };
        assert_eq!((query.endpoint, query.status, query.before), (None, Some(Status::Dead), Some(12)));
        assert_eq!(query.kind.as_deref(), Some("a+b"));
        assert!(matches!(view("/inbox/9223372036854775807"), Some(View::Event(i64::MAX))));
    }

    #[test]
    fn other_paths_and_values_select_nothing() {
        for path in
            ["/inbox/", "/inbox/0", "/inbox/-1", "/inbox/01", "/inbox/1/", "/inbox/9223372036854775808", "/x", "//"]
        {
            assert!(view(path).is_none(), "{path}");
        }
        let Some(View::Events(query)) = view("/inbox?status=DEAD&before=x") else { panic!() };
        assert_eq!((query.status, query.before), (None, None));
        let long = format!("/deliveries?endpoint={}", "a".repeat(LONGEST_VALUE + 1));
        let Some(View::Deliveries(query)) = view(&long) else { panic!() };
        assert_eq!(query.endpoint, None);
        let Some(View::Events(query)) = view("/inbox?kind=a%00&endpoint=a%0Ab") else { panic!() };
        assert_eq!((query.kind, query.endpoint), (None, None));
    }

    #[test]
    fn the_form_continues_with_the_path_of_its_uri() {
        let next = |uri: &str| LoginForm::next(&uri.parse().unwrap());
        assert_eq!(next("/login?other=1&next=%2Finbox%3Fkind%3Da&next=/x").as_deref(), Some("/inbox?kind=a"));
        assert_eq!(next("/login?next=").as_deref(), Some(""));
        assert_eq!((next("/login"), next("/login?other=/inbox")), (None, None));
    }

    #[test]
    fn a_form_has_a_token_and_a_path() {
        let form = LoginForm::parse(b"token=a%2Bb%3D+%0A&next=%2Finbox%3Fkind%3Da&other=1");
        assert_eq!((&*form.token, &*form.next), ("a+b=", "/inbox?kind=a"));
        let form = LoginForm::parse(b"\xff\x00%zz&&&=&token");
        assert_eq!((&*form.token, &*form.next), ("", ""));
    }
}
