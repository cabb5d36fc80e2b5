//! The mistakes of bearer tokens and of Basic authentication: the secrets that the value of a header may hold.

use medhook::SharedSecretForm;

use super::held::{Held, ValueMistake};
use super::options::option;
use crate::verify::case::Case;
use crate::verify::encodings::{base64, base64url};
use crate::verify::signature_form::{after_auth_scheme, auth_scheme};

const WRONG_SCHEME: ValueMistake = ValueMistake {
    code: "wrong_authentication_scheme",
    text: "{secret} does not follow the configured `Bearer` or `Basic` and a space",
    undo: |value| {
        let after_word = value.split_once(' ').map(|(_, after)| after.trim().to_owned());
        [Some(value.trim().to_owned()), after_word].into_iter().flatten().collect()
    },
};

const OTHER_USER_NAME: ValueMistake = ValueMistake {
    code: "other_user_name",
    text: "{secret} is the password of another user name than the configured one",
    undo: |_| Vec::new(),
};

const USER_NAME_MISSING: ValueMistake = ValueMistake {
    code: "user_name_missing",
    text: "{secret} is there without the configured user name before it",
    undo: |_| Vec::new(),
};

const SWAPPED: ValueMistake = ValueMistake {
    code: "user_name_and_password_swapped",
    text: "{secret} stands before the colon, and the configured user name after it",
    undo: |_| Vec::new(),
};

const NOT_ENCODED: ValueMistake = ValueMistake {
    code: "basic_not_encoded",
    text: "the user name and {secret} are not encoded as base64",
    undo: |_| Vec::new(),
};

const OTHER_ENCODING: ValueMistake = ValueMistake {
    code: "basic_in_other_encoding",
    text: "the user name and {secret} are encoded as base64url or as base64 without padding, but padded base64 is \
           required",
    undo: |_| Vec::new(),
};

/// Returns the form to set for a custom provider, if this mistake was found in a header.
pub(super) fn form_to_set(case: &Case<'_>, code: &str, header: &str) -> String {
    let first = case.head.text(header).and_then(|value| value.split(' ').next()).unwrap_or_default();
    let is_settable = case.endpoint.custom.is_some() && header == AUTHORIZATION;
    match code {
        "secret_after_word" if is_settable && first.eq_ignore_ascii_case("Bearer") => {
            format!(": set {} instead of `header`", option("form", "bearer"))
        }
        "secret_after_user_name" if is_settable => {
            format!(": set {} and `username` instead of `header`", option("form", "basic"))
        }
        _ => String::new(),
    }
}

/// Returns what a form adds, if the secret was given with it.
pub(in crate::verify) fn token_alone(form: &SharedSecretForm, code: &str) -> String {
    match form {
        SharedSecretForm::Bearer if code == "secret_given_after_word" => {
            format!("; with {}, give the token alone", option("form", "bearer"))
        }
        _ => String::new(),
    }
}

const AUTHORIZATION: &str = "authorization";

/// Returns the secrets that a value may hold, in the form of the endpoint, with one mistake or none.
pub(super) fn held(form: &SharedSecretForm, value: &str) -> Vec<Held> {
    let Some(name) = auth_scheme(form) else { return vec![(None, value.to_owned())] };
    let username = match form {
        SharedSecretForm::Basic { username } => Some(username.as_str()),
        _ => None,
    };
    match (after_auth_scheme(name, value), username) {
        (Some(token), None) => vec![(None, token.to_owned())],
        (Some(token), Some(username)) => of_basic(username, token),
        (None, username) => {
            let texts = (WRONG_SCHEME.undo)(value).into_iter();
            texts
                .flat_map(|text| match username {
                    // A bearer token instead of Basic, or the right value without the word.
                    Some(username) => [of_basic(username, &text), vec![(None, text)]].concat(),
                    None => vec![(None, text)],
                })
                .filter(|(mistake, _)| mistake.is_none())
                .map(|(_, text)| (Some(&WRONG_SCHEME), text))
                .collect()
        }
    }
}

fn of_basic(username: &str, token: &str) -> Vec<Held> {
    let text = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let is_padded = token.len().is_multiple_of(4);
    let (decoded, in_url) = (text(base64(token)), text(base64url(token)));
    let mut held: Vec<Held> = Vec::new();
    match &decoded {
        Some(pair) if is_padded => held.extend(of_pair(username, pair, None)),
        Some(pair) => held.extend(of_pair(username, pair, Some(&OTHER_ENCODING))),
        None => {}
    }
    if let Some(pair) = in_url.filter(|_| decoded.is_none()) {
        held.extend(of_pair(username, &pair, Some(&OTHER_ENCODING)));
    }
    if decoded.is_none() {
        held.extend(of_pair(username, token, Some(&NOT_ENCODED)));
    }
    held
}

/// Returns the secrets of a user name and a password, that have this mistake of the encoding.
fn of_pair(username: &str, pair: &str, mistake: Option<&'static ValueMistake>) -> Vec<Held> {
    let Some((user, password)) = pair.split_once(':') else {
        return if mistake.is_none() { vec![(Some(&USER_NAME_MISSING), pair.to_owned())] } else { Vec::new() };
    };
    let is_own = user == username;
    match mistake {
        None if is_own => vec![(None, password.to_owned())],
        None => {
            let other = if user.is_empty() { &USER_NAME_MISSING } else { &OTHER_USER_NAME };
            let mut held: Vec<Held> = vec![(Some(other), password.to_owned())];
            if let Some(first) = pair.strip_suffix(username).and_then(|rest| rest.strip_suffix(':')) {
                held.push((Some(&SWAPPED), first.to_owned()));
            }
            held
        }
        Some(mistake) if is_own => vec![(Some(mistake), password.to_owned())],
        Some(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_of_an_authorization_is_distinguished() {
        let codes = |form: &SharedSecretForm, value: &str| -> Vec<&str> {
            let held = held(form, value).into_iter().filter(|(_, text)| text == "a>b?c");
            held.map(|(mistake, _)| mistake.map_or("", |mistake| mistake.code)).collect()
        };
        let basic = SharedSecretForm::Basic { username: "acme".to_owned() };
        for (value, expected) in [
            ("Basic YWNtZTphPmI/Yw==", &[""][..]),
            ("basic  YWNtZTphPmI/Yw==", &[""]),
            ("Basic YWNtZTphPmI/Yw", &["basic_in_other_encoding"]),
            ("Basic YWNtZTphPmI_Yw==", &["basic_in_other_encoding"]),
            ("Basic acme:a>b?c", &["basic_not_encoded"]),
            ("Basic dGVzdDphPmI/Yw==", &["other_user_name"]),
            ("Basic OmE+Yj9j", &["user_name_missing"]),
            ("Basic YT5iP2M=", &["user_name_missing"]),
            ("Basic YT5iP2M6YWNtZQ==", &["user_name_and_password_swapped"]),
            ("YWNtZTphPmI/Yw==", &["wrong_authentication_scheme"]),
            ("Bearer a>b?c", &["wrong_authentication_scheme"]),
            ("Basic YWNtZTphPmI/Yg==", &[]),
        ] {
            assert_eq!(codes(&basic, value), expected, "{value}");
        }
        let bearer = SharedSecretForm::Bearer;
        for (value, expected) in [
            ("Bearer a>b?c", &[""][..]),
            ("bearer a>b?c", &[""]),
            ("Token a>b?c", &["wrong_authentication_scheme"]),
            ("a>b?c", &["wrong_authentication_scheme"]),
            ("Bearer a>b?d", &[]),
        ] {
            assert_eq!(codes(&bearer, value), expected, "{value}");
        }
    }
}
