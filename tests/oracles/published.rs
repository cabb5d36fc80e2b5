//! Published signatures of Standard Webhooks, and the two examples on which the project agreed.

use medhook::testing::{Signing, StoppedClock};
use medhook::{Bytes, Custom, NoDedupe, Reason, Receiver, Secret, StandardWebhooks};

const SVIX_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SVIX_TIME: i64 = 1_614_265_330;
const SVIX_BODY: &str = r#"{"test": 2432232314}"#;

struct Published {
    prefix: &'static str,
    verifying: &'static str,
    signing: &'static str,
    id: &'static str,
    time: i64,
    body: &'static str,
    signature: &'static str,
}

/// Asserts that the delivery is accepted, is rejected after each change, and is signed alike by this crate.
fn check(published: &Published) {
    let Published { prefix, verifying, signing, id, time, body, signature } = *published;
    let scheme = StandardWebhooks::new().header_prefix(prefix);
    let custom = Custom::new("published", scheme.clone(), Secret::new(verifying).unwrap());
    let receiver = Receiver::builder("published", custom).store(NoDedupe).clock(StoppedClock::at(time));
    let receiver = receiver.build().unwrap();
    let verdict = |prefix: &str, id: &str, time: i64, body: &str, signature: &str| {
        let headers = [("id", id), ("timestamp", &time.to_string()), ("signature", signature)];
        let headers = headers.map(|(name, value)| (format!("{prefix}{name}"), value.to_owned()));
        let verdict = receiver.verify(&headers, Bytes::copy_from_slice(body.as_bytes())).map(drop);
        verdict.map_err(|rejection| rejection.reason())
    };
    assert_eq!(verdict(prefix, id, time, body, signature), Ok(()));
    let other = if prefix == "svix-" { "webhook-" } else { "svix-" };
    assert_eq!(verdict(other, id, time, body, signature), Err(Reason::MissingHeader));
    for altered in [
        verdict(prefix, &format!("{id}0"), time, body, signature),
        verdict(prefix, id, time + 1, body, signature),
        verdict(prefix, id, time, &format!("{body} "), signature),
    ] {
        assert_eq!(altered, Err(Reason::SignatureMismatch));
    }
    let signed = Signing::of(scheme).headers(signing, id, &time.to_string(), body.as_bytes()).unwrap();
    assert_eq!(signed[2], (format!("{prefix}signature"), signature.to_owned()));
}

#[test]
fn the_svix_example_verifies_under_its_own_names_only() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    check(&Published {
        prefix: "svix-",
        verifying: secret,
        signing: secret,
        id: SVIX_ID,
        time: SVIX_TIME,
        body: SVIX_BODY,
        signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    });
}

/// The private key is the bytes 0 to 31.
#[test]
fn the_ed25519_example_verifies() {
    check(&Published {
        prefix: "webhook-",
        verifying: "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
        signing: "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        id: "msg_1",
        time: 1_732_780_800,
        body: "{}",
        signature: "v1a,1+k7s4MMEyAvgic1+YLlPIU5qn550PcPV3P4QPef09wGI+1ck0iuQ51JcmXe6DZi05p6pv9G9KpVFuNUviZ7CA==",
    });
}

/// From `server/svix-server/src/worker.rs` of svix-webhooks. The private key has its public key as a second half.
#[test]
fn the_ed25519_signature_in_the_specification_verifies() {
    check(&Published {
        prefix: "webhook-",
        verifying: "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
        signing: "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
        id: SVIX_ID,
        time: SVIX_TIME,
        body: SVIX_BODY,
        signature: "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    });
}

/// From <https://github.com/standard-webhooks/standard-webhooks/pull/253>. The private key is 32 bytes.
#[test]
fn the_ed25519_signature_of_the_go_library_verifies() {
    check(&Published {
        prefix: "webhook-",
        verifying: "whpk_ZlN4eg7dSSqi0moX9hQUk3orrOouK3QVQSlJa248c/g=",
        signing: "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
        id: SVIX_ID,
        time: SVIX_TIME,
        body: SVIX_BODY,
        signature: "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
    });
}
