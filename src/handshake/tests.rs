//! Handshakes through a receiver: what is answered, and every way to be rejected.

use std::convert::Infallible;

use super::{EchoToken, Handshake};
use crate::handshake::problem::HandshakeProblem;
use crate::headers::HeaderProblem;
use crate::{
    Bytes, Custom, HmacSha256Body, NoDedupe, Reason, Received, Receiver, Rejection, Reply, RequestHead, Secret,
    Secrets, SharedSecret, StandardWebhooks,
};

const TOKEN: &str = "a-verification-token";

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn receiver(custom: Custom) -> Receiver {
    Receiver::builder("in", custom).store(NoDedupe).build().unwrap()
}

/// Returns the one-line message of the error.
fn problem(custom: Custom) -> String {
    let message = Receiver::builder("in", custom).store(NoDedupe).build().map(drop).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

async fn receive(
    receiver: &Receiver,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Received, Rejection> {
    let body = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(body.as_bytes()))]);
    receiver.receive(&RequestHead::new(method, target, headers), body).await
}

/// Receives a request whose body never arrives, so that only the head can be answered.
async fn head(receiver: &Receiver, method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Reply, Rejection> {
    let body = futures_util::stream::pending::<Result<Bytes, Infallible>>();
    match receiver.receive(&RequestHead::new(method, target, headers), body).await? {
        Received::Reply(reply) => Ok(*reply),
        Received::Delivery(_) => panic!("a delivery without a body"),
    }
}

/// Returns the status, the body and the content type, after checking the headers of every answer.
fn shown(reply: &Reply) -> (u16, &str, Option<&str>) {
    let header = |name: &str| reply.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!((header("cache-control"), header("x-content-type-options")), (Some("no-store"), Some("nosniff")));
    assert_eq!(header("access-control-allow-origin"), None);
    assert_eq!(reply.headers.len(), 2 + usize::from(header("content-type").is_some()));
    (reply.status.as_u16(), str::from_utf8(&reply.body).unwrap(), header("content-type"))
}

const JSON: Option<&str> = Some("application/json");
const TEXT: Option<&str> = Some("text/plain; charset=utf-8");

/// The key, the body and the signature of docs that Metriport's sender agrees with: hex of the HMAC-SHA256 of the body.
const METRIPORT: (&str, &str, &str) = (
    "made-up-metriport-key",
    r#"{"ping":"abc","meta":{"messageId":"m1","when":"2026-11-28T07:00:00.000Z","type":"ping"}}"#,
    "dc005a649663caad3dcf9a834e6f1490a61c521ef9073803617cf96c3c6aed5d",
);

fn metriport() -> Custom {
    Custom::new("metriport", HmacSha256Body::new("x-metriport-signature"), secret(METRIPORT.0))
        .id_pointer("/meta/messageId")
        .kind_pointer("/meta/type")
        .handshake(Handshake::ping_pong("/ping", "pong"))
}

#[tokio::test]
async fn a_signed_ping_is_answered_with_its_pong() {
    let (_, body, signature) = METRIPORT;
    let receiver = receiver(metriport());
    let received = async |method: &str, signature: &str, body: &str| {
        receive(&receiver, method, "/", &[("x-metriport-signature", signature)], body).await
    };
    let Ok(Received::Reply(reply)) = received("POST", signature, body).await else { panic!("no reply") };
    assert_eq!(shown(&reply), (200, r#"{"pong":"abc"}"#, JSON));

    let other = signature.replace('d', "e");
    let altered = body.replace("abc", "xyz");
    for (method, signature, body, reason) in [
        ("POST", &*other, body, Reason::SignatureMismatch),
        ("POST", signature, &*altered, Reason::SignatureMismatch),
        ("POST", "", body, Reason::MalformedHeader),
        ("GET", signature, body, Reason::Method),
        ("HEAD", signature, body, Reason::Method),
    ] {
        let rejection = received(method, signature, body).await.unwrap_err();
        assert_eq!(rejection.reason(), reason, "{method} {signature} {body}");
    }
    let unsigned = receive(&receiver, "POST", "/", &[], body).await.unwrap_err();
    assert_eq!(unsigned.reason(), Reason::MissingHeader);
}

#[tokio::test]
async fn only_a_short_text_at_the_pointer_is_a_ping() {
    let receiver = receiver(
        Custom::new("acme", SharedSecret::new("x-key"), secret("a-long-random-key"))
            .handshake(Handshake::ping_pong("/meta/ping", "pong \"1\"".replace(' ', "_"))),
    );
    let received = async |body: &str| receive(&receiver, "POST", "/", &[("x-key", "a-long-random-key")], body).await;
    let quoted = |length: usize| format!("\"{}\"", "p".repeat(length));
    let escaped = format!("\"{}\"", "\\u0070".repeat(1024));
    for (ping, pong) in [
        ("\"a\"", "\"a\""),
        (&*quoted(1024), &*quoted(1024)),
        (&*escaped, &*quoted(1024)),
        (r#""<\"\\\n\u0000é😀>""#, r#""<\"\\\n\u0000é😀>""#),
        (r#""\u003cscript\u003e""#, r#""<script>""#),
    ] {
        let Ok(Received::Reply(reply)) = received(&format!("{{\"meta\": {{\"ping\": {ping}}}}}")).await else {
            panic!("{ping} is a ping")
        };
        assert_eq!(shown(&reply), (200, &*format!("{{\"pong_\\\"1\\\"\":{pong}}}"), JSON), "{ping}");
    }
    let with = |ping: &str| format!("{{\"meta\": {{\"ping\": {ping}}}}}");
    for body in [
        "",
        "ping",
        "[]",
        "{}",
        r#"{"ping":"abc"}"#,
        r#"{"meta":{"Ping":"abc"}}"#,
        r#"{"meta":{"ping":"abc","ping":"abc"}}"#,
        r#"{"meta":{"ping":"abc"}"#,
        r#"{"meta":{"ping":"abc"}} {}"#,
        &with("\"\""),
        &with("1"),
        &with("null"),
        &with("true"),
        &with("{\"a\":\"b\"}"),
        &with(r#""\ud800""#),
        &with(&quoted(1025)),
        &with(&escaped.replacen("\\u0070", "\\u0070p", 1)),
    ] {
        assert!(matches!(received(body).await, Ok(Received::Delivery(_))), "{body}");
    }
}

#[test]
fn a_verified_ping_is_answered_by_its_own_receiver_only() {
    let (_, body, signature) = METRIPORT;
    let (receiver, other) = (receiver(metriport()), receiver(metriport()));
    let headers = [("x-metriport-signature", signature)];
    let verified = receiver.verify(&headers, body.into()).unwrap();
    assert!(other.reply_to(&verified).is_none());
    assert_eq!(receiver.reply_to(&verified).unwrap().body, r#"{"pong":"abc"}"#);
}

/// Oura's handshake, with a second token, and Redox' older one.
fn oura() -> Receiver {
    let tokens = Secrets::new(secret(TOKEN)).also(secret("the-next-token-of-all")).unwrap();
    let echo = Handshake::echo_json("challenge", EchoToken::parameter("verification_token", tokens), "challenge");
    receiver(Custom::new("oura", HmacSha256Body::new("x-oura-signature"), secret("a-long-random-key")).handshake(echo))
}

fn redox() -> Receiver {
    let echo = Handshake::echo_text("challenge", EchoToken::header("verification-token", secret(TOKEN)));
    receiver(Custom::new("redox", SharedSecret::new("verification-token"), secret(TOKEN)).handshake(echo))
}

#[tokio::test]
async fn a_challenge_is_echoed_to_a_request_with_the_token() {
    let (oura, redox) = (oura(), redox());
    let longest = format!("{}._~+/=-", "Az09".repeat(126));
    assert_eq!(longest.len(), 511);
    for challenge in ["c", "a1b2-c3_d4.e5~", "%61%2B%2f%3D", &longest.replace('+', "%2B"), &"x".repeat(512)] {
        let echoed = challenge.replace("%61", "a").replace("%2B", "+").replace("%2f", "/").replace("%3D", "=");
        for token in [TOKEN, "the-next-token-of-all", "a%2Dverification-token"] {
            let target = format!("/in?verification_token={token}&challenge={challenge}");
            let reply = head(&oura, "GET", &target, &[]).await.unwrap();
            assert_eq!(shown(&reply), (200, &*format!("{{\"challenge\":\"{echoed}\"}}"), JSON));
        }
        let target = format!("/in?x=1&challenge={challenge}");
        let reply = head(&redox, "GET", &target, &[("Verification-Token", TOKEN)]).await.unwrap();
        assert_eq!(shown(&reply), (200, &*echoed, TEXT));
    }
}

#[tokio::test]
async fn an_echo_is_rejected_for_any_difference() {
    let oura = oura();
    let genuine = format!("/in?verification_token={TOKEN}&challenge=abc");
    assert!(head(&oura, "GET", &genuine, &[]).await.is_ok());
    let long = "x".repeat(513);
    let padded = format!("{genuine}&{}", "p".repeat(4_096));
    for (target, problem) in [
        (genuine.replace("token=a", "token=b"), HandshakeProblem::TokenWrong),
        (genuine.replace("token=a", "token=A"), HandshakeProblem::TokenWrong),
        (genuine.replace("a-verification-token", "a-verification-toke"), HandshakeProblem::TokenWrong),
        (genuine.replace("a-verification-token", "a-verification-token%00"), HandshakeProblem::TokenWrong),
        (genuine.replace("a-verification-token", ""), HandshakeProblem::TokenWrong),
        (genuine.replace("verification_token", "verification-token"), HandshakeProblem::TokenMissing),
        (format!("{genuine}&verification_token={TOKEN}"), HandshakeProblem::TokenRepeated),
        (format!("{genuine}&%76erification_token=x"), HandshakeProblem::TokenRepeated),
        (genuine.replace("challenge", "Challenge"), HandshakeProblem::ChallengeMissing),
        (genuine.replace("&challenge", "#&challenge"), HandshakeProblem::ChallengeMissing),
        (format!("{genuine}&challenge=abc"), HandshakeProblem::ChallengeRepeated),
        (genuine.replace("abc", ""), HandshakeProblem::ChallengeEmpty),
        (genuine.replace("abc", &long), HandshakeProblem::ChallengeTooLong),
        (genuine.replace("abc", "a%20c"), HandshakeProblem::EchoCharacter),
        (genuine.replace("abc", "a+c"), HandshakeProblem::EchoCharacter),
        (genuine.replace("abc", "<c>"), HandshakeProblem::EchoCharacter),
        (genuine.replace("abc", "a%22c"), HandshakeProblem::EchoCharacter),
        (genuine.replace("abc", "a%0d%0ac"), HandshakeProblem::EchoCharacter),
        (genuine.replace("abc", "a%ffc"), HandshakeProblem::EchoCharacter),
        (genuine.replace("abc", "é"), HandshakeProblem::EchoCharacter),
        (padded, HandshakeProblem::QueryTooLong),
    ] {
        let rejection = head(&oura, "GET", &target, &[]).await.unwrap_err();
        let found = (rejection.reason(), rejection.status().as_u16(), rejection.detail(), rejection.header_name());
        assert_eq!(found, (Reason::HandshakeRejected, 401, Some(problem.as_str()), None), "{target}");
        assert!(!rejection.is_verified() && rejection.header().is_none(), "{target}");
        let shown = format!("delivery rejected: handshake_rejected ({})", problem.as_str());
        assert_eq!(rejection.to_string(), shown, "{target}");
    }
    for method in ["HEAD", "PUT", "get"] {
        let rejection = head(&oura, method, &genuine, &[]).await.unwrap_err();
        assert_eq!(
            (rejection.reason(), rejection.header().unwrap().1.to_str().unwrap()),
            (Reason::Method, "GET, POST")
        );
    }
    // A delivery is not a handshake, whatever its query is.
    assert_eq!(head(&oura, "POST", &genuine, &[]).await.unwrap_err().reason(), Reason::MissingHeader);
}

#[tokio::test]
async fn a_token_in_a_header_is_rejected_for_any_difference() {
    let redox = redox();
    for (headers, problem) in [
        (&[][..], HandshakeProblem::TokenMissing),
        (&[("verification-token", TOKEN), ("verification-token", TOKEN)], HandshakeProblem::TokenRepeated),
        (&[("verification-token", "another")], HandshakeProblem::TokenWrong),
        (&[("verification-token", "")], HandshakeProblem::TokenWrong),
        (&[("x-verification-token", TOKEN)], HandshakeProblem::TokenMissing),
    ] {
        let rejection = head(&redox, "GET", "/?challenge=abc", headers).await.unwrap_err();
        let header = rejection.header_name().map(http::HeaderName::as_str);
        let found = (rejection.reason(), rejection.detail(), header);
        let expected = (Reason::HandshakeRejected, Some(problem.as_str()), Some("verification-token"));
        assert_eq!(found, expected, "{headers:?}");
    }
    let in_query = format!("/?challenge=abc&verification-token={TOKEN}");
    assert_eq!(head(&redox, "GET", &in_query, &[]).await.unwrap_err().reason(), Reason::HandshakeRejected);
}

fn drchrono() -> Custom {
    Custom::new("drchrono", SharedSecret::new("x-drchrono-signature"), secret("a-long-random-secret-token"))
        .handshake(Handshake::hmac("msg", "secret_token"))
}

/// The MACs are from `printf %s <text> | openssl dgst -sha256 -hmac <key>`, for Standard Webhooks with the decoded key.
#[tokio::test]
async fn a_challenge_is_answered_with_its_mac_under_the_first_secret() {
    let secrets = Secrets::new(secret("MDEyMzQ1Njc4OWFiY2RlZg==")).also(secret("ZmVkY2JhOTg3NjU0MzIxMA==")).unwrap();
    let standard = Custom::new("acme", StandardWebhooks::new(), secrets).handshake(Handshake::hmac("msg", "mac"));
    let (drchrono, standard) = (receiver(drchrono()), receiver(standard));
    for (receiver, key, challenge, mac) in [
        (&drchrono, "secret_token", "abc_-123XYZ", "d7bc27e07b7f66ecf3313ab5e0d0769e03801dd4adeb9ec9991f314e7edef17a"),
        (&standard, "mac", "abc_-123XYZ", "6091341bf2e8d9ec2a9a39f8e7367b4a328cf8931b4f1cc9780428f0df595fd6"),
    ] {
        let reply = head(receiver, "GET", &format!("/?msg={challenge}"), &[]).await.unwrap();
        assert_eq!(shown(&reply), (200, &*format!("{{\"{key}\":\"{mac}\"}}"), JSON));
    }
    assert!(head(&drchrono, "GET", &format!("/?msg={}", "x".repeat(64)), &[]).await.is_ok());
}

#[tokio::test]
async fn a_challenge_for_a_mac_is_rejected_for_any_difference() {
    let drchrono = receiver(drchrono());
    let long = format!("/?msg={}", "x".repeat(65));
    for (target, problem) in [
        ("/", HandshakeProblem::ChallengeMissing),
        ("/?Msg=abc", HandshakeProblem::ChallengeMissing),
        ("/?msg=abc&msg=abc", HandshakeProblem::ChallengeRepeated),
        ("/?msg=", HandshakeProblem::ChallengeEmpty),
        (&long, HandshakeProblem::ChallengeTooLong),
        ("/?msg=a.c", HandshakeProblem::MacCharacter),
        ("/?msg=%7Bc", HandshakeProblem::MacCharacter),
        ("/?msg=a%5B", HandshakeProblem::MacCharacter),
        ("/?msg=a:c", HandshakeProblem::MacCharacter),
        ("/?msg=a%0A", HandshakeProblem::MacCharacter),
        ("/?msg=%C3%A9", HandshakeProblem::MacCharacter),
    ] {
        let rejection = head(&drchrono, "GET", target, &[]).await.unwrap_err();
        let found = (rejection.reason(), rejection.detail());
        assert_eq!(found, (Reason::HandshakeRejected, Some(problem.as_str())), "{target}");
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let with_head = |custom: Custom| receiver(custom.handshake(Handshake::head()));
    let polar = with_head(metriport());
    let reply = head(&polar, "HEAD", "/any?thing=1", &[]).await.unwrap();
    assert_eq!(shown(&reply), (200, "", None));
    let rejection = head(&polar, "GET", "/", &[]).await.unwrap_err();
    assert_eq!((rejection.reason(), rejection.header().unwrap().1.to_str().unwrap()), (Reason::Method, "HEAD, POST"));
    let both = with_head(drchrono());
    assert!(head(&both, "HEAD", "/", &[]).await.is_ok() && head(&both, "GET", "/?msg=a", &[]).await.is_ok());
    let rejection = head(&both, "PUT", "/", &[]).await.unwrap_err();
    assert_eq!(rejection.header().unwrap().1.to_str().unwrap(), "GET, HEAD, POST");
}

#[tokio::test]
async fn an_unsigned_ping_is_answered_only_if_nothing_is_signed() {
    let ping = || Handshake::unsigned_ping("polar-webhook-event", "PING");
    let polar = HmacSha256Body::new("polar-webhook-signature");
    let polar = receiver(Custom::new("polar", polar, secret("a-long-random-key")).handshake(ping()));
    const PING: (&str, &str) = ("Polar-Webhook-Event", "PING");
    let reply = head(&polar, "POST", "/", &[PING, ("x-other", "1")]).await.unwrap();
    assert_eq!(shown(&reply), (200, "", None));

    let (missing, malformed) = (HeaderProblem::Missing, HeaderProblem::NeitherHexNorBase64);
    for (method, headers, reason, problem) in [
        ("POST", &[][..], Reason::MissingHeader, Some(missing)),
        ("POST", &[("polar-webhook-event", "ping")], Reason::MissingHeader, Some(missing)),
        ("POST", &[("polar-webhook-event", "PING ")], Reason::MissingHeader, Some(missing)),
        ("POST", &[("polar-webhook-event", "EXERCISE")], Reason::MissingHeader, Some(missing)),
        ("POST", &[("polar-webhook-events", "PING")], Reason::MissingHeader, Some(missing)),
        ("POST", &[PING, PING], Reason::MissingHeader, Some(missing)),
        ("POST", &[PING, ("polar-webhook-signature", "")], Reason::MalformedHeader, Some(HeaderProblem::Empty)),
        ("POST", &[PING, ("polar-webhook-signature", "x")], Reason::MalformedHeader, Some(malformed)),
        ("GET", &[PING], Reason::Method, None),
        ("PUT", &[PING], Reason::Method, None),
    ] {
        let rejection = head(&polar, method, "/", headers).await.unwrap_err();
        let detail = problem.map(HeaderProblem::as_str);
        assert_eq!((rejection.reason(), rejection.detail()), (reason, detail), "{method} {headers:?}");
    }

    // Any header of the scheme makes it a delivery.
    let standard = Custom::new("acme", StandardWebhooks::new(), secret("MDEyMzQ1Njc4OWFiY2RlZg==")).handshake(ping());
    let standard = receiver(standard);
    assert!(head(&standard, "POST", "/", &[PING]).await.is_ok());
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let rejection = head(&standard, "POST", "/", &[PING, (header, "1")]).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::MissingHeader, "{header}");
    }
    let two = SharedSecret::new("x-key").also_header("x-user", secret("a-long-random-user"));
    let two = receiver(Custom::new("acme", two, secret("a-long-random-key")).handshake(ping()));
    for header in ["x-key", "x-user"] {
        let rejection = head(&two, "POST", "/", &[PING, (header, "1")]).await.unwrap_err();
        assert_ne!(rejection.reason(), Reason::HandshakeRejected, "{header}");
    }
}

#[tokio::test]
async fn a_signed_delivery_with_the_ping_header_is_a_delivery() {
    let (_, body, signature) = METRIPORT;
    let ping = Handshake::unsigned_ping("x-event", "PING");
    let receiver = receiver(metriport().handshake(ping));
    let headers = [("x-event", "PING"), ("x-metriport-signature", signature)];
    let altered = receive(&receiver, "POST", "/", &headers, &body.replace("abc", "xyz")).await;
    assert_eq!(altered.map(drop).map_err(|rejection| rejection.reason()), Err(Reason::SignatureMismatch));
    let Ok(Received::Reply(reply)) = receive(&receiver, "POST", "/", &headers, body).await else { panic!("no pong") };
    assert_eq!(reply.body, r#"{"pong":"abc"}"#);
}

#[tokio::test]
async fn a_draining_receiver_answers_no_handshake() {
    let receiver = receiver(drchrono().handshake(Handshake::head()));
    receiver.drain(std::time::Duration::ZERO).await;
    for (method, target) in [("GET", "/?msg=abc"), ("HEAD", "/")] {
        let rejection = head(&receiver, method, target, &[]).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::Draining, "{method}");
    }
}

#[test]
fn only_deliveries_are_begun() {
    let receiver = receiver(drchrono().handshake(Handshake::head()));
    let headers = [("x-drchrono-signature", "a-long-random-secret-token")];
    let begun = |method: &str| receiver.begin(&RequestHead::new(method, "/?msg=abc", &headers)).map(drop);
    assert!(begun("POST").is_ok());
    for method in ["GET", "HEAD", "PUT"] {
        assert_eq!(begun(method).unwrap_err().reason(), Reason::Method, "{method}");
    }
}

#[test]
fn each_mistake_in_a_handshake_is_an_error_of_one_line() {
    let token = || EchoToken::parameter("token", secret(TOKEN));
    let long = "p".repeat(65);
    let hmac = || Custom::new("acme", HmacSha256Body::new("x-sig"), secret("a-long-random-key"));
    for (handshake, words) in [
        (Handshake::ping_pong("ping", "pong"), "handshake: JSON pointer \"ping\" must start with `/`"),
        (Handshake::ping_pong("/ping", ""), "handshake: the key of the pong must be 1 to 64 characters"),
        (Handshake::echo_text("", token()), "the parameter of the challenge must be 1 to 64 characters"),
        (Handshake::echo_text(&*long, token()), "the parameter of the challenge must be 1 to 64 characters"),
        (Handshake::echo_text("token", token()), "the token and the challenge are in the same parameter"),
        (
            Handshake::echo_text("challenge", EchoToken::parameter("a b", secret(TOKEN))),
            "the parameter of the token must be",
        ),
        (Handshake::echo_text("?challenge", token()), "the parameter of the challenge must be only its name"),
        (Handshake::echo_text("challenge=", token()), "the parameter of the challenge must be only its name"),
        (Handshake::hmac("a&msg", "mac"), "the parameter of the challenge must be only its name"),
        (Handshake::hmac("msg#", "mac"), "the parameter of the challenge must be only its name"),
        (
            Handshake::echo_text("challenge", EchoToken::parameter("verification%5ftoken", secret(TOKEN))),
            "the parameter of the token must be only its name",
        ),
        (
            Handshake::echo_text("challenge", EchoToken::parameter("a+b", secret(TOKEN))),
            "the parameter of the token must be only its name",
        ),
        (
            Handshake::echo_text("challenge", EchoToken::header("x: y", secret(TOKEN))),
            "the header of the token is not a valid header name",
        ),
        (Handshake::echo_json("challenge", token(), "é"), "the key of the answer must be"),
        (Handshake::unsigned_ping("x: PING", "PING"), "the header of the unsigned ping is not a valid header name"),
        (Handshake::unsigned_ping("x-event", ""), "the value of the unsigned ping must be visible ASCII"),
        (Handshake::unsigned_ping("x-event", "P\n"), "the value of the unsigned ping must be visible ASCII"),
        (Handshake::unsigned_ping("X-Sig", "PING"), "the header x-sig of the unsigned ping is a header of the scheme"),
    ] {
        let problem = problem(hmac().handshake(handshake));
        assert!(problem.starts_with("receiver in: handshake: ") && problem.contains(words), "{problem}");
        assert!(!problem.contains(TOKEN), "{problem}");
    }
    // Dots and brackets are usual in PHP and Rails; a key of JSON may have any visible character.
    drop(receiver(hmac().handshake(Handshake::echo_json("hub.challenge[a-b_c]", token(), "a=b?&#%+"))));
    // 15 and 16 bytes: each answer lets any client test guesses of the secret.
    let with_mac =
        |text| Custom::new("acme", SharedSecret::new("x"), secret(text)).handshake(Handshake::hmac("msg", "mac"));
    assert!(problem(with_mac("0123456789abcde")).contains("the first secret must have at least 16 bytes"));
    drop(receiver(with_mac("0123456789abcdef")));
    #[cfg(feature = "ed25519")]
    {
        let key = secret("A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=");
        let ed25519 = Custom::new("acme", crate::Ed25519Body::new("x-sig"), key);
        let problem = problem(ed25519.handshake(Handshake::hmac("msg", "mac")));
        assert!(problem.contains("the scheme has no HMAC key"), "{problem}");
    }
    let standard = || Custom::new("acme", StandardWebhooks::new(), secret("MDEyMzQ1Njc4OWFiY2RlZg=="));
    for (first, second) in [
        (Handshake::head(), Handshake::head()),
        (Handshake::ping_pong("/a", "b"), Handshake::ping_pong("/c", "d")),
        (Handshake::echo_text("challenge", token()), Handshake::hmac("msg", "mac")),
        (Handshake::unsigned_ping("x-event", "A"), Handshake::unsigned_ping("x-event", "B")),
    ] {
        let problem = problem(standard().handshake(first).handshake(second));
        assert!(problem.contains("two handshakes answer the same requests; keep one of them"), "{problem}");
    }
}

#[tokio::test]
async fn tokens_are_replaced_with_the_secrets_and_nothing_else_is() {
    let redox = |token: &str, parameter: &str| {
        let echo = Handshake::echo_text(parameter, EchoToken::header("verification-token", secret(token)));
        Custom::new("redox", SharedSecret::new("verification-token"), secret(token)).handshake(echo)
    };
    let receiver = receiver(redox(TOKEN, "challenge"));
    let other = receiver.replace_secrets(redox("the-next-token-of-all", "msg")).unwrap_err().to_string();
    assert!(other.ends_with("an option of the provider differs; build a new receiver"), "{other}");
    assert_eq!(receiver.replace_secrets(redox("the-next-token-of-all", "challenge")).unwrap(), [""; 0]);
    for (token, is_accepted) in [(TOKEN, false), ("the-next-token-of-all", true)] {
        let answered = head(&receiver, "GET", "/?challenge=abc", &[("verification-token", token)]).await;
        assert_eq!(answered.is_ok(), is_accepted, "{token}");
    }
}

#[test]
fn a_token_that_looks_like_a_mistake_causes_a_warning() {
    let short = secret("'brief'").labeled("SHORT").unwrap();
    let echo = Handshake::echo_text("challenge", EchoToken::parameter("token", short));
    let receiver = receiver(metriport().handshake(echo));
    assert_eq!(
        receiver.warnings(),
        [
            "receiver in: handshake token SHORT is shorter than 16 bytes and can be guessed",
            "receiver in: handshake token SHORT is in quotation marks; remove them, or call Secret::literal if the text \
             is intended"
        ]
    );
    assert!(!format!("{receiver:?}").contains("brief"));
    let long = EchoToken::parameter("token", secret("0123456789abcdef"));
    assert_eq!(format!("{long:?}"), "EchoToken(Parameter(\"token\"))");
    let receiver = self::receiver(metriport().handshake(Handshake::echo_text("challenge", long)));
    assert_eq!(receiver.warnings(), [""; 0]);
}

#[test]
fn every_problem_is_documented() {
    let logs = include_str!("../../docs/logs.md");
    let row = logs.lines().find(|line| line.starts_with("| `handshake_rejected` |")).expect("a row");
    for problem in HandshakeProblem::ALL {
        assert!(row.contains(&format!("`{}`", problem.as_str())), "{problem:?}");
    }
    assert_eq!(row.matches("`").count(), 2 * (1 + HandshakeProblem::ALL.len()), "{row}");
    let guide = include_str!("../guide/handshakes.md");
    for handshake in ["ping_pong", "echo_text", "echo_json", "hmac", "head", "unsigned_ping"] {
        assert!(guide.contains(&format!("Handshake::{handshake}")), "{handshake}");
    }
}
