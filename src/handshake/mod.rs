//! Handshakes: requests of a provider that are answered by the receiver, and never delivered to the handler.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod digests;
mod keyed;
mod mac;
#[cfg(test)]
mod oracle_tests;
mod problem;
mod query;
#[cfg(test)]
mod tests;

pub(crate) use self::keyed::{KeyedHandshakes, token_warnings};
pub(crate) use self::problem::HandshakeFault;

use std::fmt;

use crate::secret::Secrets;

/// A handshake: a request with which a provider checks an endpoint, and that the receiver answers itself. A handshake
/// is never delivered to the handler, never claimed and never stored.
///
/// Set it with [`Custom::handshake`](crate::Custom::handshake). [`guide::handshakes`](crate::guide::handshakes) has
/// the settings of each provider.
///
/// | constructor | request | answer |
/// |---|---|---|
/// | [`ping_pong`](Handshake::ping_pong) | a verified delivery that contains a ping | the ping, in JSON |
/// | [`echo_text`](Handshake::echo_text), [`echo_json`](Handshake::echo_json) | `GET` with a token and a challenge | the challenge |
/// | [`hmac`](Handshake::hmac) | `GET` with a challenge | the HMAC-SHA256 of the challenge, in JSON |
/// | [`head`](Handshake::head) | `HEAD` | 200 without a body |
/// | [`unsigned_ping`](Handshake::unsigned_ping) | `POST` without a signature, with a ping in a header | 200 without a body |
///
/// Every answer has `cache-control: no-store` and `x-content-type-options: nosniff`.
#[derive(Debug, Clone)]
pub struct Handshake(pub(crate) HandshakeForm);

/// The form of a handshake, with the texts as they were configured.
#[derive(Debug, Clone)]
pub(crate) enum HandshakeForm {
    PingPong { ping_pointer: String, pong_key: String },
    Echo { parameter: String, token: EchoToken, answer_key: Option<String> },
    Hmac { parameter: String, answer_key: String },
    Head,
    UnsignedPing { header: String, value: String },
}

impl Handshake {
    /// Creates a handshake whose ping is part of a signed body: the text at the JSON pointer `ping_pointer`, which is
    /// answered with `{"<pong_key>":"<ping>"}`.
    ///
    /// The ping is a text of 1 to 1,024 bytes. Everything else, also a body that is not JSON, is a delivery as usual,
    /// so the pointer must lead to a field that no event has. The body is verified before it is read. A
    /// [`SharedSecret`](crate::SharedSecret) verifies the sender only.
    ///
    /// Metriport sends `{"ping":"<random>","meta":{..,"type":"ping"}}` and expects `{"pong":"<random>"}` within 2 s
    /// (`docs/medical-api` and `packages/api/src/command/webhook/webhook.ts` of its public repository, 2025-10).
    ///
    /// ```
    /// use medhook::{Custom, Handshake, HmacSha256Body, Secret};
    ///
    /// let secret = Secret::new("the-webhook-key-of-the-dashboard")?;
    /// let scheme = HmacSha256Body::new("x-metriport-signature");
    /// let metriport = Custom::new("metriport", scheme, secret)
    ///     .id_pointer("/meta/messageId")
    ///     .kind_pointer("/meta/type")
    ///     .handshake(Handshake::ping_pong("/ping", "pong"));
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    pub fn ping_pong(ping_pointer: impl Into<String>, pong_key: impl Into<String>) -> Self {
        Handshake(HandshakeForm::PingPong { ping_pointer: ping_pointer.into(), pong_key: pong_key.into() })
    }

    /// Creates a handshake with the challenge in a parameter of a `GET` request, which is answered with the challenge
    /// as `text/plain`. Only a request with the token is answered.
    ///
    /// The challenge is 1 to 512 characters of `[A-Za-z0-9._~+/=-]`, and its parameter must occur once. Every other
    /// `GET` request is rejected ([`Reason::HandshakeRejected`](crate::Reason::HandshakeRejected)).
    ///
    /// Redox sends `?challenge=<uuid>` with the token in the header `verification-token` (its older documentation,
    /// `developer.redoxengine.com`), or in a parameter of this name (`docs.redoxengine.com`, "Create and verify an
    /// endpoint"), and accepts the challenge anywhere in the answer.
    ///
    /// ```
    /// use medhook::{Custom, EchoToken, Handshake, Secret, SharedSecret};
    ///
    /// let token = Secret::new("the-verification-token")?;
    /// let in_query = EchoToken::parameter("verification-token", token.clone());
    /// let scheme = SharedSecret::new("verification-token");
    /// let redox = Custom::new("redox", scheme, token)
    ///     .handshake(Handshake::echo_text("challenge", in_query));
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    pub fn echo_text(parameter: impl Into<String>, token: EchoToken) -> Self {
        Handshake(HandshakeForm::Echo { parameter: parameter.into(), token, answer_key: None })
    }

    /// Creates a handshake like [`echo_text`](Handshake::echo_text) that is answered with
    /// `{"<answer_key>":"<challenge>"}`.
    ///
    /// Oura sends `?verification_token=<token>&challenge=<random>` and expects `{"challenge":"<random>"}` within 10 s
    /// (its OpenAPI file, "Webhook Subscription Routes").
    ///
    /// ```
    /// use medhook::{EchoToken, Handshake, Secret};
    ///
    /// let token = Secret::new("a long random text")?;
    /// let token = EchoToken::parameter("verification_token", token);
    /// let oura = Handshake::echo_json("challenge", token, "challenge");
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    pub fn echo_json(parameter: impl Into<String>, token: EchoToken, answer_key: impl Into<String>) -> Self {
        Handshake(HandshakeForm::Echo { parameter: parameter.into(), token, answer_key: Some(answer_key.into()) })
    }

    /// Creates a handshake with the challenge in a parameter of a `GET` request, which is answered with
    /// `{"<answer_key>":"<MAC>"}`: the HMAC-SHA256 of the challenge in lower-case hexadecimal digits, under the key of
    /// the first secret.
    ///
    /// Any client can send a challenge, so the answer must not be a signature of a delivery. The challenge is 1 to 64
    /// characters of `[A-Za-z0-9_-]`, and the receiver cannot be built if the scheme could accept the MAC of such a
    /// text: every message of the scheme must contain another character. If only the body has one, every delivery
    /// must then begin with `{` or `[`. Any client can also test guesses of the secret against an answer, so the
    /// secret must be long and random.
    ///
    /// DrChrono sends `?msg=<text>` and expects `{"secret_token":"<MAC>"}` under the secret token of the webhook, which
    /// it sends in the header `X-drchrono-signature` of each delivery (its API documentation, "Webhooks"). The form of
    /// `msg` is undocumented.
    ///
    /// ```
    /// use medhook::{Custom, Handshake, Secret, SharedSecret};
    ///
    /// let token = Secret::new("a-long-random-secret-token")?;
    /// let scheme = SharedSecret::new("x-drchrono-signature");
    /// let drchrono = Custom::new("drchrono", scheme, token)
    ///     .handshake(Handshake::hmac("msg", "secret_token"));
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    pub fn hmac(parameter: impl Into<String>, answer_key: impl Into<String>) -> Self {
        Handshake(HandshakeForm::Hmac { parameter: parameter.into(), answer_key: answer_key.into() })
    }

    /// Creates a handshake that answers every `HEAD` request with 200, for a monitor or a proxy that checks whether the
    /// URL exists. No surveyed provider needs it.
    #[must_use]
    pub fn head() -> Self {
        Handshake(HandshakeForm::Head)
    }

    /// Creates a handshake that answers a `POST` request with 200 if it has none of the scheme's headers, and the
    /// header has exactly this value. The body is not read. Every other request is a delivery as usual.
    ///
    /// Polar AccessLink sends the header `Polar-Webhook-Event: PING` when a webhook is created, before it shows the
    /// secret (its OpenAPI file; the header is from public receivers of its webhooks).
    ///
    /// ```
    /// use medhook::{Custom, Handshake, HmacSha256Body, Secret};
    ///
    /// let secret = Secret::new("a long random text")?;
    /// let scheme = HmacSha256Body::new("polar-webhook-signature");
    /// let polar = Custom::new("polar", scheme, secret)
    ///     .handshake(Handshake::unsigned_ping("polar-webhook-event", "PING"));
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    pub fn unsigned_ping(header: impl Into<String>, value: impl Into<String>) -> Self {
        Handshake(HandshakeForm::UnsignedPing { header: header.into(), value: value.into() })
    }

    /// Returns the type for logs and metrics: `ping-pong`, `echo`, `hmac`, `head` or `unsigned-ping`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.0 {
            HandshakeForm::PingPong { .. } => PING_PONG,
            HandshakeForm::Echo { .. } => "echo",
            HandshakeForm::Hmac { .. } => "hmac",
            HandshakeForm::Head => "head",
            HandshakeForm::UnsignedPing { .. } => "unsigned-ping",
        }
    }
}

const PING_PONG: &str = "ping-pong";

/// The token of an echo: where the request contains it, and the accepted values. Tokens are compared in constant time.
///
/// [`Receiver::replace_secrets`](crate::Receiver::replace_secrets) replaces the tokens, too.
#[derive(Clone)]
pub struct EchoToken {
    pub(crate) place: TokenPlace,
    pub(crate) tokens: Secrets,
}

/// The place of a token in a request.
#[derive(Debug, Clone)]
pub(crate) enum TokenPlace {
    Parameter(String),
    Header(String),
}

impl EchoToken {
    /// Creates a token in this parameter of the query, which must occur once.
    pub fn parameter(name: impl Into<String>, tokens: impl Into<Secrets>) -> Self {
        EchoToken { place: TokenPlace::Parameter(name.into()), tokens: tokens.into() }
    }

    /// Creates a token in this header, which must occur once.
    pub fn header(name: impl Into<String>, tokens: impl Into<Secrets>) -> Self {
        EchoToken { place: TokenPlace::Header(name.into()), tokens: tokens.into() }
    }
}

impl fmt::Debug for EchoToken {
    /// Writes the place only, so that two handshakes that differ in their tokens are written the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EchoToken").field(&self.place).finish()
    }
}

/// Returns the methods of deliveries and of these handshakes.
pub(crate) fn methods(handshakes: &[Handshake]) -> &'static [&'static str] {
    let get = handshakes
        .iter()
        .any(|handshake| matches!(handshake.0, HandshakeForm::Echo { .. } | HandshakeForm::Hmac { .. }));
    let head = handshakes.iter().any(|handshake| matches!(handshake.0, HandshakeForm::Head));
    match (get, head) {
        (false, false) => &["POST"],
        (true, false) => &["GET", "POST"],
        (false, true) => &["HEAD", "POST"],
        (true, true) => &["GET", "HEAD", "POST"],
    }
}
