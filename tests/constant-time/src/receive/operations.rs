//! The token and the cookie of the operator's page.

#[path = "../../../../cli/src/receive/operations/access/origin.rs"]
#[allow(dead_code, reason = "only the ids of sessions are read here")]
mod origin;
#[path = "../../../../cli/src/receive/operations/access/sessions.rs"]
#[allow(dead_code, reason = "no session is ended here")]
mod sessions;
#[path = "../../../../cli/src/receive/operations/access/token.rs"]
#[allow(dead_code, reason = "no token is replaced here")]
mod token;

use std::rc::Rc;

use http::{HeaderMap, HeaderValue, header};
use medhook::Secret;

use self::sessions::Sessions;
use self::token::PageToken;
use crate::attempts::{Attempt, Group, control};

/// Returns the groups of the operator's page.
pub fn groups() -> Vec<Group> {
    let mut groups: Vec<_> = [16, 40, 200].map(forged_tokens).into();
    groups.extend([length_of_the_token(), control("the page's token", 32)]);
    groups.extend([1, 64].map(forged_cookies));
    groups.extend([which_session_is_open(), which_session_is_ended(), control("the page's cookie", 32)]);
    groups
}

fn forged_tokens(length: usize) -> Group {
    let genuine = "s3cret-t0ken.".repeat(16)[..length].to_owned();
    let altered = |at: usize| {
        let mut token = genuine.clone().into_bytes();
        token[at] ^= 1;
        token
    };
    let guesses = [
        ("wrong in its first byte", altered(0)),
        ("wrong in the middle", altered(length / 2)),
        ("wrong in its last byte", altered(length - 1)),
        ("wrong in every byte", vec![b'#'; length]),
    ];
    let attempts = guesses.map(|(name, guess)| guessed(name, &genuine, guess)).into();
    Group { name: format!("token of the page: wrong, {length} bytes"), attempts, control: false }
}

fn length_of_the_token() -> Group {
    let guess = "0123456789abcdefghij";
    let tokens = [
        ("against a shorter one that it begins with", "0123456789abcdef".to_owned()),
        ("against one of its own length", "9".repeat(guess.len())),
        ("against a longer one that begins with it", format!("{guess}klmnopqrst")),
        ("against one of 300 bytes", "z".repeat(300)),
    ];
    let attempts = tokens.map(|(name, token)| guessed(name, &token, guess.into())).into();
    Group { name: "token of the page: its length".to_owned(), attempts, control: false }
}

fn guessed(name: &'static str, token: &str, guess: Vec<u8>) -> Attempt {
    let token = PageToken::new(&Secret::new(token).expect("a secret"));
    Attempt { name, accepted: false, run: Box::new(move || token.check(&guess).is_some()) }
}

/// The digest of the page's token, which each session names.
const TOKEN: [u8; 32] = [7; 32];

/// Opens this many sessions. Returns their ids, too.
fn opened(number: usize) -> (Rc<Sessions>, Vec<String>) {
    let sessions = Sessions::default();
    let open = |_| sessions.open(TOKEN).unwrap_or_else(|failure| panic!("{}", failure.0));
    let ids = (0..number).map(open).collect();
    (Rc::new(sessions), ids)
}

fn forged_cookies(number: usize) -> Group {
    let (sessions, ids) = opened(number);
    let genuine = &ids[number / 2];
    let altered = |at: usize| {
        let mut id = genuine.clone().into_bytes();
        id[at] = if id[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(id).expect("ASCII")
    };
    let cookies = [
        ("wrong in its first digit", altered(0)),
        ("wrong in the middle", altered(32)),
        ("wrong in its last digit", altered(63)),
        ("wrong in every digit", "g".repeat(64)),
    ];
    let attempts = cookies.map(|(name, id)| requested(name, false, &sessions, &id)).into();
    Group { name: format!("cookie of the page: forged, {number} sessions"), attempts, control: false }
}

fn which_session_is_open() -> Group {
    let (sessions, ids) = opened(4);
    let names = ["the first", "the second", "the third", "the fourth"];
    let attempts = names.into_iter().zip(&ids).map(|(name, id)| requested(name, true, &sessions, id)).collect();
    Group { name: "cookie of the page: which of 4 sessions it opens".to_owned(), attempts, control: false }
}

fn requested(name: &'static str, accepted: bool, sessions: &Rc<Sessions>, id: &str) -> Attempt {
    let sessions = sessions.clone();
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, HeaderValue::try_from(format!("medhook={id}")).expect("a value"));
    let run = move || origin::session_ids(&headers, false).any(|id| sessions.is_open(id, &TOKEN));
    Attempt { name, accepted, run: Box::new(run) }
}

/// A logout needs no session, so its cookie can be forged as well.
fn which_session_is_ended() -> Group {
    let (sessions, ids) = opened(1);
    let cookies = [("wrong in its first digit", 0), ("wrong in its last digit", 63)];
    let attempts = cookies.map(|(name, at)| {
        let (sessions, mut id) = (sessions.clone(), ids[0].clone().into_bytes());
        id[at] = if id[at] == b'0' { b'1' } else { b'0' };
        let id = String::from_utf8(id).expect("ASCII");
        let run = move || {
            sessions.end(&id);
            false
        };
        Attempt { name, accepted: false, run: Box::new(run) }
    });
    Group { name: "cookie of the page: forged, at a logout".to_owned(), attempts: attempts.into(), control: false }
}
