//! Headers that are missing, have another name or hold the signature in another form.

use medhook::sign::mac;

use super::{NOW, OTHER, Recording, SECRET, base64, hex};

#[test]
fn a_signature_in_another_header_or_format_is_found() {
    let mut other = Recording::of("cair", "CLAIM_STATUS_CHANGE");
    other.headers[0].0 = "X-Hub-Signature".to_owned();
    other.has_cause("signature_in_other_header", "in the header x-hub-signature, but is expected in x-signature");
    other.has_possible_cause("missing_header", "the header x-signature is missing");

    let mut prefixed = Recording::of("cair", "CLAIM_STATUS_CHANGE");
    prefixed.value(|value| format!("sha256={value}"));
    prefixed.has_cause("text_around_signature", "text surrounds the signature");
    let mut bare = Recording::of("healthsync", "document.uploaded");
    bare.value(|value| value.replace("sha256=", ""));
    bare.has_cause("wrong_prefix", "must follow `sha256=`");
    assert_eq!(bare.report(&[])["signature"], "valid");
    let signature = bare.headers[0].1.clone();
    let mut surrounded = bare;
    for (value, codes) in [
        (format!("\"sha256={signature}\""), &["signature_in_quotes"][..]),
        (format!("b'sha256={signature}'"), &["signature_in_quotes"]),
        (format!("sha256={signature},sha256={signature}"), &["signatures_joined"]),
        (format!("sha256={signature}, sha256={}", "0".repeat(64)), &["signatures_joined"]),
        (format!("t={NOW},v1={signature}"), &["signatures_joined", "wrong_prefix"]),
        (format!("Bearer sha256={signature}"), &["wrong_prefix"]),
        (format!("'{signature}'"), &["signature_in_quotes", "wrong_prefix"]),
    ] {
        surrounded.value(|_| value.clone());
        assert_eq!(surrounded.is_explained_by(codes), "valid", "{value}");
    }
    let tag = mac(SECRET.as_bytes(), &[&surrounded.body]);
    let mut base = Recording::of("healthsync", "document.uploaded");
    base.value(|_| format!("sha256={}", base64(&tag)));
    base.has_cause("wrong_encoding", "the signature is encoded as base64");

    let mut joined = Recording::of("fasten", "webhook.test");
    joined.value(|value| format!("{value},{value}"));
    assert_eq!(joined.is_explained_by(&["signatures_joined"]), "valid");
    for (from, to) in [("v1,", "v1="), ("v1,", "V1,"), ("v1,", "v1a,"), ("v1,", "")] {
        let mut other = Recording::of("fasten", "webhook.test");
        other.value(|value| value.replacen(from, to, 1));
        other.has_cause("wrong_prefix", "must follow `v1,`");
        assert_eq!(other.report(&[])["signature"], "valid", "{to}");
    }

    let mut svix = Recording::of("fasten", "webhook.test");
    for (name, _) in &mut svix.headers {
        *name = name.replace("webhook-", "svix-");
    }
    svix.has_possible_cause("svix_headers", "the headers are named svix-*");
    svix.has_cause("svix_id_and_time", "id and time are those of the headers svix-*");

    let twice = Recording::of("healthsync", "document.uploaded");
    let again = twice.headers[0].1.clone();
    twice.header("x-healthsync-signature", &again).has_cause("repeated_header", "occurs 2 times");
}

#[test]
fn a_shared_secret_in_another_header_or_format_is_found() {
    let mut other = Recording::of("mediquo", "patient_message_received");
    other.headers[0].0 = "X-Api-Key".to_owned();
    other.has_cause(
        "secret_in_other_header",
        "secret CANARY is in the header x-api-key, but is expected in x-webhook-signature",
    );
    let mut bearer = Recording::of("mediquo", "patient_message_received");
    bearer.value(|value| format!("Bearer {value}"));
    bearer.has_cause("secret_after_word", "a word precedes secret CANARY");
    let mut cut = Recording::of("mediquo", "patient_message_received");
    cut.value(|value| value[..20].to_owned());
    cut.has_possible_cause("secret_cut_off", "one of them is truncated");
    let mut signed = Recording::of("mediquo", "patient_message_received");
    let tag = mac(SECRET.as_bytes(), &[&signed.body]);
    signed.value(|_| hex(&tag));
    signed.has_cause("hmac_instead_of_secret", "holds an HMAC of the body under secret CANARY");
    let mut bare = Recording::of("cair", "CLAIM_STATUS_CHANGE");
    bare.value(|_| SECRET.to_owned());
    // The secret does not have the length of an HMAC.
    let stdout = bare.examine(&[]).stdout;
    assert!(stdout.contains("malformed_header"), "{stdout}");
}

#[test]
fn changes_by_proxies_are_found() {
    let recording = || Recording::of("healthsync", "document.uploaded").signed(OTHER);
    recording()
        .header("content-encoding", "gzip")
        .has_possible_cause("decompressed_in_transit", "decompressed after it was signed, by a proxy");
    let mut compressed = recording();
    compressed.body = b"\x1f\x8b\x08\0\0".to_vec();
    compressed.has_possible_cause("compressed_without_header", "the body is compressed with gzip");
    recording().header("content-length", "3").has_possible_cause("body_length_differs", "content-length was 3");
}
