//! Signatures from other implementations.

use medhook::testing::StoppedClock;
use medhook::{Bytes, Fasten, HealthSync, NoDedupe, Reason, Receiver, Secret};

use super::cases;

/// Signatures that Python's `hmac` made from the fixtures' bytes, with the keys, message ids and times of the list:
///
/// ```python
/// def standard_webhooks(secret, id, time, body):
///     key = base64.b64decode(secret.removeprefix("whsec_"))
///     mac = hmac.new(key, f"{id}.{time}.".encode() + body, hashlib.sha256)
///     return "v1," + base64.b64encode(mac.digest()).decode()
///
/// def healthsync(secret, body):
///     return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
///
/// def azodha(secret, body):
///     mac = hmac.new(secret.encode(), body, hashlib.sha256)
///     return mac.hexdigest()  # with a prefix, or in base64, where the endpoint says so
///
/// def cair(secret, body, prefix=""):
///     return prefix + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
///
/// def cair_in_base64(secret, body):
///     mac = hmac.new(secret.encode(), body, hashlib.sha256)
///     return base64.b64encode(mac.digest()).decode()
/// ```
///
/// The first signature of each provider agrees with `openssl dgst -sha256 -mac HMAC`.
const SIGNATURES: &[(&str, &str)] = &[
    ("azodha: HealthRecordCounter", "58450113e5d0cdfa2ce305fa0538eb4398c94241c4a1c5110d228216c1486ec4"),
    ("azodha: BookAppointment", "sha256=aa86e0e825dbd1e50a8d69bb5f2931c4b70c6075b0b4467b0c7f88c0e95a303a"),
    ("azodha: HealthProgramActivated", "wq5mmZ/OwzYnobN2wDVICsdzdXrSUZ3DJVKS9CAmxPk="),
    (
        "azodha: signed with a secret of hexadecimal digits",
        "0291fc2ff424cd94040a664b1b9edb22cd366bdb23148676711a265218a49ef0",
    ),
    ("cair: CLAIM_STATUS_CHANGE", "a9477c0ce9b514b3f9f6e3a3b792ca50fe6269dbd53786ba7cb328d24247a3fa"),
    ("cair: signed with the older of two secrets", "ac08fc8e1d9930e0e48ce7be16278558d727b49a0d49d605de4cb7148904d017"),
    ("cair: a signature in base64", "qUd8DOm1FLP59uOjt5LKUP5iadvVN4a6fLMo0kJHo/o="),
    (
        "cair: a chart is analyzed, at an endpoint for charts",
        "sha256=19eb3c16f964c4a3431366752c6a87d38bb223b3bad798565698bd537114a457",
    ),
    ("fasten: patient.ehi_export_success", "v1,oNrA6iFzHYVBMwCZhBOxWUSpdGGf4CAdgKqT1xNSc/o="),
    ("fasten: signed with the older of two secrets", "v1,GVYtkcDLZkIHpUz17IfK0c+D75qeOSrE3AJwEzpllxI="),
    ("fasten: patient.ehi_export_success.test-mode", "v1,fxfYYOUja9pOFpa4HihBkBbs/XrMIg9IuCRD9Bc2u5A="),
    ("fasten: attempted 300 s ago", "v1,wKYiq9mFdHTyMdWDCCWVCBqh+XdZftZ86McnOeLGJyU="),
    ("fasten: an empty body", "v1,m3aCKepMCX7r9lvSjusOnjRWL8755uuC+NgS5N9jP6c="),
    ("fasten: patient.request_support.latin-1", "v1,EnjfRa7ezm68x+jBA17EeT9rUNHKL8G8Znge+yxFU3k="),
    ("healthsync: document.uploaded", "sha256=d6c9007dc103a76b203dadf480814edc277e7fc59de4135814378fac57b10457"),
    (
        "healthsync: signed with a secret of hexadecimal digits",
        "sha256=a602f6d18f56bd79b121f09573e01196baf682a4873126e4f5d83edb674ce732",
    ),
    (
        "healthsync: signed with the older of two secrets",
        "sha256=cfedb0d37a16c931c216230e9cb78d6fbcc839e7ad80565ce4b7cf18d3f7b032",
    ),
    ("healthsync: an empty body", "sha256=3674643a3b239b7c38a37c857518fd194f35ee1d2d61b30cb4f9d6ef569d424b"),
    (
        "healthsync: document.uploaded.latin-1",
        "sha256=7117dc011697dc8f63a409ddde6f9e09959fc7c227a9394eae65c0b459c85dc8",
    ),
];

#[test]
fn signatures_are_those_of_another_implementation() {
    let cases = cases();
    for (name, signature) in SIGNATURES {
        let case = cases.cases.iter().find(|case| case.name == *name).expect(name);
        let ours = case.headers.iter().find(|(header, _)| header.ends_with("-signature")).expect("signed");
        assert_eq!(ours.1, *signature, "{name}");
    }
}

/// This vector is from the tests of the reference libraries of Standard Webhooks.
#[test]
fn a_signature_of_standard_webhooks_reference_is_verified() {
    let secret = Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
    let builder = Receiver::builder("vector", Fasten::any_mode(secret)).store(NoDedupe);
    let receiver = builder.clock(StoppedClock::at(1_649_367_553)).build().unwrap();
    let headers = |signature| {
        [
            ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
            ("webhook-timestamp", "1649367553"),
            ("webhook-signature", signature),
        ]
    };
    let body = Bytes::from_static(br#"{"email":"test@example.com","username":"test_user"}"#);

    let genuine = headers("v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    let verified = receiver.verify(&genuine, body.clone()).unwrap();
    assert_eq!((verified.body(), verified.secret_label()), (&body, "secret"));
    assert_eq!(verified.message_id(), Some("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"));
    assert_eq!(verified.attempted_at(), Some(1_649_367_553));

    let forged = headers("v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkx=");
    assert_eq!(receiver.verify(&forged, body).unwrap_err().reason(), Reason::SignatureMismatch);
}

/// Made by Python's `hmac`, as above: HealthSync publishes code, but no signature made by it.
#[test]
fn a_signature_made_as_healthsync_documents_it_is_verified() {
    let secret = Secret::new("hs_test_secret").unwrap();
    let builder = Receiver::builder("vector", HealthSync::new(secret)).store(NoDedupe);
    let receiver = builder.clock(StoppedClock::at(1_709_029_800)).build().unwrap();
    let body = br#"{"id":"evt_1","type":"document.uploaded","created_at":"2024-02-27T10:30:00Z","data":{"object":{"id":"doc_1"}}}"#;
    let body = Bytes::from_static(body);

    let headers = |signature| [("X-HealthSync-Signature", signature)];
    let genuine = headers("sha256=05252f884d6138725c14f8e82d5e9bf8d06b1b3772a601b4a76fbddabc223da5");
    let delivery = receiver.open(receiver.verify(&genuine, body.clone()).unwrap()).unwrap();
    assert_eq!((delivery.id(), delivery.kind()), (Some("evt_1"), Some("document.uploaded")));

    let forged = headers("sha256=05252f884d6138725c14f8e82d5e9bf8d06b1b3772a601b4a76fbddabc223da4");
    assert_eq!(receiver.verify(&forged, body).unwrap_err().reason(), Reason::SignatureMismatch);
}
