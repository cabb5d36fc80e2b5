//! The handshakes of an endpoint, checked when it is built, and their answers.

use bytes::Bytes;
use http::HeaderName;
use serde_json::value::RawValue;

use super::digests::TokenDigests;
use super::mac::MacKey;
use super::problem::{HandshakeFault, HandshakeProblem};
use super::query::{Parameter, Query};
use super::{EchoToken, Handshake, HandshakeForm, PING_PONG, TokenPlace};
use crate::error::ConfigError;
use crate::headers::{Found, Headers};
use crate::pointer::follow;
use crate::reply::Reply;
use crate::request_head::RequestHead;
use crate::scheme::{ChallengeSafety, SchemeConfig, SchemeVerifier};
use crate::secret::{SHORT, Secret, Secrets};

/// The handshakes of an endpoint, ready to answer.
#[derive(Default)]
pub(crate) struct KeyedHandshakes {
    ping_pong: Option<PingPong>,
    get: Option<Get>,
    head: Option<&'static str>,
    unsigned_ping: Option<UnsignedPing>,
}

struct PingPong {
    pointer: Box<str>,
    key: Box<str>,
}

/// The handshake that answers `GET` requests.
struct Get {
    name: &'static str,
    parameter: Box<str>,
    answer: GetAnswer,
}

enum GetAnswer {
    Echo { place: KeyedPlace, tokens: TokenDigests, key: Option<Box<str>> },
    Mac { mac: MacKey, key: Box<str> },
}

enum KeyedPlace {
    Parameter(Box<str>),
    Header(HeaderName),
}

struct UnsignedPing {
    name: &'static str,
    header: HeaderName,
    value: Box<[u8]>,
    /// The headers of the scheme, all of which must be absent.
    signature: Box<[HeaderName]>,
}

/// The type of a handshake and the reply to it.
pub(crate) type NamedReply = (&'static str, Reply);

/// The longest ping of a signed body, in bytes.
const LONGEST_PING: usize = 1024;

/// The longest challenge that is echoed.
const LONGEST_ECHO: usize = 512;

/// The longest challenge that is answered with a MAC.
const LONGEST_FOR_MAC: usize = 64;

/// The longest parameter or key of a configuration.
const LONGEST_NAME: usize = 64;

impl KeyedHandshakes {
    /// Checks the handshakes against the scheme, and keys both. Returns the scheme with what the handshakes require of
    /// it.
    pub(crate) fn keyed(
        handshakes: &[Handshake],
        config: SchemeConfig,
        secrets: &Secrets,
    ) -> Result<(SchemeConfig, SchemeVerifier, Self), ConfigError> {
        let config = match handshakes.iter().any(|handshake| matches!(handshake.0, HandshakeForm::Hmac { .. })) {
            true => no_oracle(config)?,
            false => config,
        };
        let scheme = config.with_secrets(secrets)?;
        let mut all = KeyedHandshakes::default();
        for handshake in handshakes {
            all.add(handshake, &config, &scheme, secrets).map_err(|error| error.within(format_args!("handshake")))?;
        }
        Ok((config, scheme, all))
    }

    fn add(
        &mut self,
        handshake: &Handshake,
        config: &SchemeConfig,
        scheme: &SchemeVerifier,
        secrets: &Secrets,
    ) -> Result<(), ConfigError> {
        let name = handshake.type_name();
        let is_second = match &handshake.0 {
            HandshakeForm::PingPong { ping_pointer, pong_key } => {
                if !ping_pointer.starts_with('/') {
                    return Err(ConfigError::new(format!("JSON pointer {ping_pointer:?} must start with `/`")));
                }
                let new = PingPong { pointer: ping_pointer.as_str().into(), key: named("key of the pong", pong_key)? };
                self.ping_pong.replace(new).is_some()
            }
            HandshakeForm::Echo { parameter, token, answer_key } => {
                let place = match &token.place {
                    TokenPlace::Parameter(token) if token == parameter => {
                        return Err(ConfigError::new("the token and the challenge are in the same parameter"));
                    }
                    TokenPlace::Parameter(token) => {
                        KeyedPlace::Parameter(parameter_name("parameter of the token", token)?)
                    }
                    TokenPlace::Header(token) => KeyedPlace::Header(header("token", token)?),
                };
                let key = answer_key.as_deref().map(|key| named("key of the answer", key)).transpose()?;
                let answer = GetAnswer::Echo { place, tokens: TokenDigests::of(&token.tokens), key };
                self.answer_get(name, parameter, answer)?
            }
            HandshakeForm::Hmac { parameter, answer_key } => {
                let is_short = |secret: &Secret| secret.text().len() < SHORT;
                if secrets.iter().next().is_some_and(is_short) {
                    return Err(ConfigError::new(
                        "any client can test guesses of the secret against an answer to an hmac handshake, so the first \
                         secret must have at least 16 bytes",
                    ));
                }
                let mac = if config.is_shared_secret() { MacKey::of_text(secrets)? } else { MacKey::OfScheme };
                if mac.answer(scheme, "challenge").is_none() {
                    return Err(ConfigError::new("an HMAC needs a first secret that is the key of an HMAC"));
                }
                let answer = GetAnswer::Mac { mac, key: named("key of the answer", answer_key)? };
                self.answer_get(name, parameter, answer)?
            }
            HandshakeForm::Head => self.head.replace(name).is_some(),
            HandshakeForm::UnsignedPing { header: ping, value } => {
                if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(ConfigError::new("the value of the unsigned ping must be visible ASCII"));
                }
                let (header, signature) = (header("unsigned ping", ping)?, config.signature_headers()?);
                if signature.contains(&header) {
                    let problem = format!("the header {header} of the unsigned ping is a header of the scheme");
                    return Err(ConfigError::new(problem));
                }
                let (value, signature) = (value.as_bytes().into(), signature.into());
                self.unsigned_ping.replace(UnsignedPing { name, header, value, signature }).is_some()
            }
        };
        if is_second {
            return Err(ConfigError::new("two handshakes answer the same requests; keep one of them"));
        }
        Ok(())
    }

    /// Sets the handshake that answers `GET` requests. Returns whether there is one already.
    fn answer_get(&mut self, name: &'static str, parameter: &str, answer: GetAnswer) -> Result<bool, ConfigError> {
        let parameter = parameter_name("parameter of the challenge", parameter)?;
        Ok(self.get.replace(Get { name, parameter, answer }).is_some())
    }

    /// Returns whether the endpoint has no handshake.
    #[inline]
    pub(crate) fn are_none(&self) -> bool {
        self.ping_pong.is_none() && self.get.is_none() && self.head.is_none() && self.unsigned_ping.is_none()
    }

    /// Answers a request whose method was checked, before its body is read. Returns `None` for a delivery.
    pub(crate) fn answer_head<H: Headers + ?Sized>(
        &self,
        head: &RequestHead<'_, H>,
        scheme: &SchemeVerifier,
    ) -> Option<Result<NamedReply, HandshakeFault>> {
        match head.method {
            "GET" => self.get.as_ref().map(|get| get.answer(head, scheme).map(|reply| (get.name, reply))),
            "HEAD" => self.head.map(|name| Ok((name, Reply::without_body()))),
            "POST" => {
                let ping = self.unsigned_ping.as_ref()?;
                ping.is_sent_in(head.headers).then(|| Ok((ping.name, Reply::without_body())))
            }
            _ => None,
        }
    }

    /// Answers a verified body. Returns `None` for a delivery.
    pub(crate) fn answer_body(&self, verified: &Bytes) -> Option<NamedReply> {
        let ping_pong = self.ping_pong.as_ref()?;
        let body: &RawValue = serde_json::from_slice(verified).ok()?;
        let ping = follow(body, &ping_pong.pointer)?.get();
        // A byte is at most six long when escaped. A longer text need not be copied.
        if ping.len() > LONGEST_PING.saturating_mul(6).saturating_add(2) {
            return None;
        }
        // Fails for everything but a text.
        let ping: String = serde_json::from_str(ping).ok()?;
        let is_ping = (1..=LONGEST_PING).contains(&ping.len());
        is_ping.then(|| (PING_PONG, Reply::json(&ping_pong.key, ping)))
    }
}

impl Get {
    fn answer<H: Headers + ?Sized>(
        &self,
        head: &RequestHead<'_, H>,
        scheme: &SchemeVerifier,
    ) -> Result<Reply, HandshakeFault> {
        let query = Query::of(head.target)?;
        match &self.answer {
            GetAnswer::Echo { place, tokens, key } => {
                place.check(&query, head.headers, tokens)?;
                let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte);
                let challenge =
                    challenge(query.find(&self.parameter), LONGEST_ECHO, is_allowed, HandshakeProblem::EchoCharacter)?;
                Ok(match key {
                    Some(key) => Reply::json(key, challenge),
                    None => Reply::text(challenge),
                })
            }
            GetAnswer::Mac { mac, key } => {
                let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
                let challenge = challenge(
                    query.find(&self.parameter),
                    LONGEST_FOR_MAC,
                    is_allowed,
                    HandshakeProblem::MacCharacter,
                )?;
                let mac = mac.answer(scheme, &challenge).ok_or(HandshakeProblem::NoMac)?;
                Ok(Reply::json(key, mac))
            }
        }
    }
}

/// Returns the challenge if it is of the allowed characters and length.
fn challenge(
    parameter: Parameter<'_>,
    longest: usize,
    is_allowed: impl Fn(u8) -> bool,
    otherwise: HandshakeProblem,
) -> Result<String, HandshakeProblem> {
    let challenge = match parameter {
        Parameter::Absent => return Err(HandshakeProblem::ChallengeMissing),
        Parameter::Repeated => return Err(HandshakeProblem::ChallengeRepeated),
        Parameter::Once(challenge) => challenge,
    };
    match challenge.len() {
        0 => Err(HandshakeProblem::ChallengeEmpty),
        length if length > longest => Err(HandshakeProblem::ChallengeTooLong),
        _ if !challenge.bytes().all(is_allowed) => Err(otherwise),
        _ => Ok(challenge.into_owned()),
    }
}

impl KeyedPlace {
    /// Checks that the request has one token.
    fn check<H: Headers + ?Sized>(
        &self,
        query: &Query<'_>,
        headers: &H,
        tokens: &TokenDigests,
    ) -> Result<(), HandshakeFault> {
        let (checked, header) = match self {
            KeyedPlace::Parameter(name) => {
                let checked = match query.find(name) {
                    Parameter::Absent => Err(HandshakeProblem::TokenMissing),
                    Parameter::Repeated => Err(HandshakeProblem::TokenRepeated),
                    Parameter::Once(token) => Ok(tokens.contain(token.as_bytes())),
                };
                (checked, None)
            }
            KeyedPlace::Header(name) => {
                let checked = match headers.find(name) {
                    Found::Absent => Err(HandshakeProblem::TokenMissing),
                    Found::Repeated => Err(HandshakeProblem::TokenRepeated),
                    Found::Once(token) => Ok(tokens.contain(token)),
                };
                (checked, Some(name))
            }
        };
        match checked {
            Ok(true) => Ok(()),
            Ok(false) => Err(HandshakeProblem::TokenWrong.of(header)),
            Err(problem) => Err(problem.of(header)),
        }
    }
}

impl UnsignedPing {
    fn is_sent_in<H: Headers + ?Sized>(&self, headers: &H) -> bool {
        headers.find(&self.header) == Found::Once(&self.value)
            && self.signature.iter().all(|name| headers.find(name) == Found::Absent)
    }
}

/// Returns a scheme that accepts the MAC of no challenge as a signature.
fn no_oracle(config: SchemeConfig) -> Result<SchemeConfig, ConfigError> {
    match config.challenge_safety() {
        ChallengeSafety::Safe => Ok(config),
        ChallengeSafety::SafeIfJson => Ok(config.requiring_json()),
        ChallengeSafety::NoKey => Err(ConfigError::new(
            "handshake: an hmac handshake answers with an HMAC-SHA256, and the scheme has no HMAC key for it; use another \
             handshake",
        )),
        ChallengeSafety::Unsafe => Err(ConfigError::new(
            "handshake: the scheme could accept the answer to an hmac handshake as the signature of a delivery, so any \
             client could forge deliveries; use a scheme whose signed message contains a separator such as `.`",
        )),
    }
}

/// Checks the name of a parameter, or of a key in JSON.
fn named(what: &str, name: &str) -> Result<Box<str>, ConfigError> {
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(name.into());
    }
    Err(ConfigError::new(format!("the {what} must be 1 to {LONGEST_NAME} characters of visible ASCII")))
}

/// Checks the name of a parameter, which is compared after decoding.
fn parameter_name(what: &str, name: &str) -> Result<Box<str>, ConfigError> {
    if name.contains(['?', '=', '&', '#', '%', '+']) {
        return Err(ConfigError::new(format!(
            "the {what} must be only its name, as it is after decoding, without `?`, `=`, `&`, `#`, `%` and `+`"
        )));
    }
    named(what, name)
}

/// Checks the name of a header. It is not quoted, since a whole line with a secret may have been pasted.
fn header(of: &str, name: &str) -> Result<HeaderName, ConfigError> {
    HeaderName::try_from(name).map_err(|error| {
        ConfigError::new(format!("the header of the {of} is not a valid header name")).with_source(error)
    })
}

/// Returns the warnings about the tokens of an echo that the operator should change.
pub(crate) fn token_warnings<'h>(name: &'h str, handshakes: &'h [Handshake]) -> impl Iterator<Item = String> + 'h {
    let tokens = handshakes.iter().flat_map(|handshake| match &handshake.0 {
        HandshakeForm::Echo { token: EchoToken { tokens, .. }, .. } => tokens.iter().collect(),
        _ => Vec::new(),
    });
    tokens.flat_map(move |token| {
        let label = token.label();
        let short = (token.text().len() < SHORT)
            .then(|| format!("receiver {name}: handshake token {label} is shorter than 16 bytes and can be guessed"));
        let suspicious = token.warning().map(|mistake| {
            format!(
                "receiver {name}: handshake token {label} {mistake}, or call Secret::literal if the text is intended"
            )
        });
        short.into_iter().chain(suspicious)
    })
}
