//! The query of an unauthenticated request.

use std::borrow::Cow;

use super::problem::HandshakeProblem;

/// The query of a request. It is parsed for each parameter, and short, so that nothing is allocated.
pub(super) struct Query<'t>(&'t [u8]);

/// The result of the lookup of a parameter.
#[derive(Debug, PartialEq)]
pub(super) enum Parameter<'t> {
    Absent,
    Once(Cow<'t, str>),
    /// The parameter occurs more than once. It is ambiguous which value the sender means, so none is used.
    Repeated,
}

/// The longest query that is parsed, in bytes.
const LONGEST: usize = 4096;

impl<'t> Query<'t> {
    /// Returns the query of a request target.
    pub(super) fn of(target: &'t str) -> Result<Self, HandshakeProblem> {
        let target = target.split_once('#').map_or(target, |(before, _)| before);
        let query = target.split_once('?').map_or("", |(_, query)| query);
        if query.len() > LONGEST {
            return Err(HandshakeProblem::QueryTooLong);
        }
        Ok(Query(query.as_bytes()))
    }

    /// Finds a parameter by its name, which is compared after decoding.
    pub(super) fn find(&self, name: &str) -> Parameter<'t> {
        let mut values = form_urlencoded::parse(self.0).filter(|(key, _)| key == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Parameter::Absent,
            (Some(value), None) => Parameter::Once(value),
            (Some(_), Some(_)) => Parameter::Repeated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_once_or_not_at_all() {
        let found = |target: &'static str| Query::of(target).map(|query| query.find("a")).unwrap();
        for target in ["", "/", "/?", "/a=1", "/?b=a&A=1&a%00=2", "/?a[]=1", "/?b#?a=1", "/#?a=1", "/?%a=1"] {
            assert_eq!(found(target), Parameter::Absent, "{target}");
        }
        for (target, value) in [
            ("/?a=1", "1"),
            ("/?a", ""),
            ("/?a=", ""),
            ("/?b=2&a=1&c", "1"),
            ("/?%61=%31", "1"),
            ("/?a=1?a=2", "1?a=2"),
            ("/?a=x+y%20z", "x y z"),
            ("/?a=%ff", "\u{fffd}"),
            ("http://host/?a=1", "1"),
            ("/?a=1#&a=2", "1"),
        ] {
            assert_eq!(found(target), Parameter::Once(value.into()), "{target}");
        }
        for target in ["/?a=1&a=1", "/?a=1&b&a", "/?a=1&%61=2", "/?a&a&a"] {
            assert_eq!(found(target), Parameter::Repeated, "{target}");
        }
    }

    #[test]
    fn a_long_query_is_not_parsed() {
        let target = |length: usize| format!("/{}?a={}", "p".repeat(5_000), "1".repeat(length - 2));
        assert!(matches!(Query::of(&target(4_096)).map(|query| query.find("a")), Ok(Parameter::Once(_))));
        assert_eq!(Query::of(&target(4_097)).map(|_| ()), Err(HandshakeProblem::QueryTooLong));
    }
}
