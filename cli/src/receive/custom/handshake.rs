//! Reads the handshakes of a custom provider.

use medhook::{EchoToken, Handshake, Secrets};
use toml::{Table, Value};

use crate::dialect::{OptionMistake, header_name};
use crate::failure::Failure;
use crate::receive::keys::TableKeys;
use crate::receive::take_secrets::TakeSecrets;

/// The keys of a handshake.
const HANDSHAKE: &[&str] = &[
    "type",
    "ping_pointer",
    "pong_key",
    "parameter",
    "token",
    "token_parameter",
    "token_header",
    "answer",
    "answer_key",
    "header",
    "value",
];

/// The key of the token's secrets, in a [`Group`](crate::receive::secrets::Group).
pub(in crate::receive) const TOKEN: &str = "token";

/// A handshake, without its token.
#[derive(Debug, Clone)]
pub(super) enum HandshakeOptions {
    PingPong { ping_pointer: String, pong_key: String },
    Echo { parameter: String, place: EchoPlace, answer_key: Option<String> },
    Hmac { parameter: String, answer_key: String },
    Head,
    UnsignedPing { header: String, value: String },
}

/// The place of an echo's token.
#[derive(Debug, Clone)]
pub(super) enum EchoPlace {
    Parameter(String),
    Header(String),
}

#[derive(Debug, Clone, Copy)]
enum HandshakeType {
    PingPong,
    Echo,
    Hmac,
    Head,
    UnsignedPing,
}

/// The types, with the words for them.
const TYPES: [(&str, HandshakeType); 5] = [
    ("ping-pong", HandshakeType::PingPong),
    ("echo", HandshakeType::Echo),
    ("hmac", HandshakeType::Hmac),
    ("head", HandshakeType::Head),
    ("unsigned-ping", HandshakeType::UnsignedPing),
];

/// Fails if a handshake has a key of the endpoint. TOML puts every key after `[endpoint.handshake]` into the handshake.
pub(in crate::receive) fn check_keys_after(keys: &TableKeys, of_endpoint: &[&str]) -> Result<(), Failure> {
    for table in keys.tables_within("handshake") {
        // The schemes have a `header`, too.
        let has_header = table.get("type").and_then(Value::as_str) == Some("unsigned-ping");
        let is_own = |key: &str| if key == "header" { has_header } else { HANDSHAKE.contains(&key) };
        if let Some(key) = table.keys().find(|key| of_endpoint.contains(&key.as_str()) && !is_own(key)) {
            let problem = format!("`{key}` is a key of the endpoint; move it before `[endpoint.handshake]`");
            return Err(keys.wrong("handshake", problem));
        }
    }
    Ok(())
}

/// Takes one handshake or a list of them, and the secrets of their tokens.
pub(super) fn take(
    keys: &mut TableKeys,
    secrets: &mut TakeSecrets<'_>,
) -> Result<(Vec<HandshakeOptions>, Option<Secrets>), Failure> {
    const SUCH_AS: &str = "a table such as { type = \"head\" }, or a list of them";
    let place = format!("{}: `handshake`", keys.place());
    let is_list = !keys.is_table("handshake");
    let tables =
        if is_list { keys.tables("handshake", SUCH_AS)? } else { Vec::from_iter(keys.table("handshake", SUCH_AS)?) };
    let (mut handshakes, mut token) = (Vec::new(), None);
    for (index, table) in tables.into_iter().enumerate() {
        let place = if is_list { format!("{}: `handshake[{index}]`", keys.place()) } else { place.clone() };
        let (handshake, own) = one(place, table, secrets)?;
        if own.is_some() && token.is_some() {
            return Err(keys.wrong("handshake", "two handshakes answer GET requests; keep one of them"));
        }
        handshakes.push(handshake);
        token = token.or(own);
    }
    if secrets.reuse && handshakes.iter().any(HandshakeOptions::is_hmac) {
        return Err(keys.wrong(
            "reuse_secret",
            "a handshake of type \"hmac\" signs what any client sends, so its secret must have no other use; remove \
             `reuse_secret`, or the handshake",
        ));
    }
    Ok((handshakes, token))
}

fn one(
    place: String,
    table: Table,
    secrets: &mut TakeSecrets<'_>,
) -> Result<(HandshakeOptions, Option<Secrets>), Failure> {
    let mut keys = TableKeys::within(place, table);
    keys.all_known(HANDSHAKE)?;
    let found = keys.choice("type", &TYPES)?;
    let found = keys.needed("type", found)?;
    let mut token = None;
    let handshake = match found {
        HandshakeType::PingPong => {
            let ping_pointer = needed(&mut keys, "ping_pointer")?;
            if !ping_pointer.starts_with('/') {
                return Err(keys.wrong("ping_pointer", "must be a JSON pointer, which begins with `/`"));
            }
            HandshakeOptions::PingPong { ping_pointer, pong_key: needed(&mut keys, "pong_key")? }
        }
        HandshakeType::Echo => {
            let parameter = needed(&mut keys, "parameter")?;
            let place = echo_place(&mut keys)?;
            let answer_key = echo_answer(&mut keys)?;
            token = secrets.one_or_several(&mut keys, TOKEN)?;
            keys.needed(TOKEN, token.as_ref())?;
            HandshakeOptions::Echo { parameter, place, answer_key }
        }
        HandshakeType::Hmac => HandshakeOptions::Hmac {
            parameter: needed(&mut keys, "parameter")?,
            answer_key: needed(&mut keys, "answer_key")?,
        },
        HandshakeType::Head => HandshakeOptions::Head,
        HandshakeType::UnsignedPing => {
            let header = checked_header(&mut keys, "header")?;
            let header = keys.needed("header", header)?;
            HandshakeOptions::UnsignedPing { header, value: needed(&mut keys, "value")? }
        }
    };
    keys.all_taken("does not apply to this `type`; remove it")?;
    Ok((handshake, token))
}

/// Takes the place of an echo's token.
fn echo_place(keys: &mut TableKeys) -> Result<EchoPlace, Failure> {
    match (keys.text("token_parameter")?, checked_header(keys, "token_header")?) {
        (Some(parameter), None) => Ok(EchoPlace::Parameter(parameter)),
        (None, Some(header)) => Ok(EchoPlace::Header(header)),
        (None, None) => Err(keys.wrong("token_parameter", "missing; set it or `token_header` to where the token is")),
        (Some(_), Some(_)) => {
            Err(keys.wrong("token_header", "the token has one place; remove it, or `token_parameter`"))
        }
    }
}

/// Takes the form of an echo's answer. Returns the key of the challenge in JSON, or `None` for plain text.
fn echo_answer(keys: &mut TableKeys) -> Result<Option<String>, Failure> {
    let is_json = keys.choice("answer", &[("text", false), ("json", true)])?;
    let key = keys.text("answer_key")?;
    match (keys.needed("answer", is_json)?, key) {
        (true, None) => Err(keys.wrong("answer_key", "missing, but required with `answer = \"json\"`")),
        (true, key) => Ok(key),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(keys.wrong("answer_key", "applies only with `answer = \"json\"`; remove it")),
    }
}

fn needed(keys: &mut TableKeys, key: &str) -> Result<String, Failure> {
    let text = keys.text(key)?;
    keys.needed(key, text)
}

fn checked_header(keys: &mut TableKeys, key: &'static str) -> Result<Option<String>, Failure> {
    let header = keys.text(key)?;
    if let Some(name) = &header {
        header_name(key, name).map_err(|OptionMistake { key, problem }| keys.wrong(key, problem))?;
    }
    Ok(header)
}

impl HandshakeOptions {
    /// Returns whether challenges are answered with a MAC.
    pub(super) fn is_hmac(&self) -> bool {
        matches!(self, HandshakeOptions::Hmac { .. })
    }

    /// Returns the handshake. `None` for an echo without a token, which [`take`] never returns.
    pub(super) fn handshake(&self, token: Option<&Secrets>) -> Option<Handshake> {
        Some(match self {
            HandshakeOptions::PingPong { ping_pointer, pong_key } => Handshake::ping_pong(ping_pointer, pong_key),
            HandshakeOptions::Echo { parameter, place, answer_key } => {
                let token = token?.clone();
                let token = match place {
                    EchoPlace::Parameter(name) => EchoToken::parameter(name, token),
                    EchoPlace::Header(name) => EchoToken::header(name, token),
                };
                match answer_key {
                    Some(key) => Handshake::echo_json(parameter, token, key),
                    None => Handshake::echo_text(parameter, token),
                }
            }
            HandshakeOptions::Hmac { parameter, answer_key } => Handshake::hmac(parameter, answer_key),
            HandshakeOptions::Head => Handshake::head(),
            HandshakeOptions::UnsignedPing { header, value } => Handshake::unsigned_ping(header, value),
        })
    }
}
