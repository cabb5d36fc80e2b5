//! Arguments of a custom provider, as a command parses them.

use clap::Parser;
use medhook::{
    Ed25519Body, Encoding, Freshness, HmacSha256Body, HmacSha512Body, SecretEncoding, SharedSecret, StandardWebhooks,
    TimestampUnit, TimestampedHmac,
};

use super::*;

#[derive(Debug, clap::Parser)]
struct Line {
    #[arg(long)]
    config: Option<String>,
    #[command(flatten)]
    dialect: Dialect,
}

fn endpoint(provider: &str, arguments: &str) -> Result<Endpoint, String> {
    let words = arguments.split(' ').filter(|word| !word.is_empty()).map(|word| if word == "''" { "" } else { word });
    let line = Line::try_parse_from(["medhook"].into_iter().chain(words)).map_err(|error| error.to_string())?;
    let provider = NamedProvider::of(provider).unwrap();
    line.dialect.endpoint(provider, Validation::Full).map_err(|failure| failure.to_string())
}

#[test]
fn arguments_describe_every_scheme() {
    let times = "--scheme timestamped-hmac --header X-Sig";
    let all = format!(
        "{times} --timestamp-header X-At --prefix v0= --separator , --encoding base64url --secret-encoding hex \
         --timestamp-unit rfc-3339 --signed {{id}}.{{timestamp}}.{{body}} --hash sha-512 --id-header X-Id"
    );
    for (arguments, signing) in [
        ("--scheme standard-webhooks", Signing::standard_webhooks()),
        (
            "--scheme standard-webhooks --header-prefix Svix- --secret-encoding text --timestamp-of attempt",
            Signing::of(StandardWebhooks::new().header_prefix("svix-").secret_encoding(SecretEncoding::Text)),
        ),
        ("--scheme hmac-sha256 --header X-Sig", Signing::of(HmacSha256Body::new("x-sig"))),
        (
            "--scheme hmac-sha512 --header x-sig --encoding either --separator ;",
            Signing::of(HmacSha512Body::new("x-sig").separator(';')),
        ),
        (
            "--scheme ed25519 --header x-sig --secret-encoding hex --prefix a=",
            Signing::of(Ed25519Body::new("x-sig").secret_encoding(SecretEncoding::Hex).prefix("a=")),
        ),
        (
            &format!("{times} --timestamp-element t --signature-element '' --encoding hex"),
            Signing::of(TimestampedHmac::elements("x-sig", "t", "").encoding(Encoding::Hex)),
        ),
        (
            &all,
            Signing::of(
                TimestampedHmac::headers("x-sig", "x-at")
                    .prefix("v0=")
                    .separator(',')
                    .encoding(Encoding::Base64Url)
                    .secret_encoding(SecretEncoding::Hex)
                    .timestamp_unit(TimestampUnit::Rfc3339)
                    .signed("{id}.{timestamp}.{body}")
                    .sha512()
                    .id_header("x-id"),
            ),
        ),
        ("--scheme timestamped-hmac --preset terra", Signing::of(TimestampedHmac::terra())),
        ("--scheme timestamped-hmac --preset whoop", Signing::of(TimestampedHmac::whoop())),
        ("--scheme timestamped-hmac --preset oura", Signing::of(TimestampedHmac::oura())),
        ("--scheme shared-secret --header X-Key", Signing::shared_secret("x-key")),
        ("--scheme shared-secret --form bearer", Signing::of(SharedSecret::bearer())),
        ("--scheme shared-secret --form basic --username a", Signing::of(SharedSecret::basic("a"))),
    ] {
        let found = endpoint("custom", arguments).map(|endpoint| (endpoint.signing().unwrap(), endpoint.freshness));
        assert_eq!(found, Ok((signing, None)), "{arguments}");
    }
}

#[test]
fn max_age_is_that_of_a_signed_time_of_the_event() {
    let day = Freshness::EventTime { max_age: Duration::from_secs(86_400), max_skew: Duration::from_secs(300) };
    for arguments in [
        "--scheme standard-webhooks --timestamp-of event --max-age 24h",
        "--scheme timestamped-hmac --header a --timestamp-header b --timestamp-of event --max-age 24h",
        "--scheme timestamped-hmac --preset whoop --max-age 24h",
        "--scheme hmac-sha256 --header a --time-pointer /at --max-age 24h",
    ] {
        let found = endpoint("custom", arguments).map(|endpoint| endpoint.freshness);
        assert_eq!(found, Ok(Some(day)), "{arguments}");
    }
}

#[test]
fn a_mistake_names_the_argument_and_says_what_to_do() {
    let times = "--scheme timestamped-hmac --header a";
    for (provider, arguments, expected) in [
        (
            "custom",
            "",
            "custom requires --scheme: one of standard-webhooks, hmac-sha256, hmac-sha512, timestamped-hmac, ",
        ),
        (
            "custom",
            "--scheme standard-webhooks --prefix a",
            "--prefix: does not apply to --scheme standard-webhooks; remove",
        ),
        ("custom", "--scheme hmac-sha256", "--header: missing, but required"),
        ("custom", "--scheme shared-secret", "--header: missing, but required without --form"),
        ("custom", "--scheme hmac-sha256 --header a:b", "--header: must be the name of a header, without a value"),
        ("custom", "--scheme timestamped-hmac", "--header: missing, but required without --preset"),
        (
            "custom",
            times,
            "--timestamp-header: missing; set it to the header with the timestamp, or set --timestamp-element",
        ),
        ("custom", &format!("{times} --preset oura"), "--header: --preset sets it; remove one of them"),
        ("custom", &format!("{times} --timestamp-element t"), "--signature-element: missing; set it to"),
        ("custom", "--scheme shared-secret --form basic", "--username: missing; set it to"),
        (
            "custom",
            "--scheme shared-secret --form bearer --header a",
            "--header: --form bearer uses the header Authorization",
        ),
        (
            "custom",
            "--scheme standard-webhooks --timestamp-of event",
            "--timestamp-of event requires --max-age, which must",
        ),
        (
            "custom",
            "--scheme standard-webhooks --max-age 1h",
            "--max-age: the events have no signed time; remove it, or",
        ),
        (
            "custom",
            "--scheme standard-webhooks --max-age 1",
            "error: invalid value '1' for '--max-age <DURATION>': must be",
        ),
        ("custom", "--scheme hmac-md5", "error: invalid value 'hmac-md5' for '--scheme <SCHEME>'"),
        ("custom", "--config a --preset oura", "error: the argument '--config <CONFIG>' cannot be used with '--preset"),
        ("cair", "--scheme hmac-sha256 --header a --separator ,", "--separator does not apply to cair, only to custom"),
        ("cair", "--scheme hmac-sha512 --header a", "--scheme hmac-sha512 does not apply to cair"),
        ("fasten", "--max-age 1h", "--max-age does not apply to fasten, only to custom"),
    ] {
        let problem = endpoint(provider, arguments).err().unwrap_or_default();
        assert!(problem.starts_with(expected), "{arguments}: {problem}");
    }
}
