//! One recording for each mistake of the schemes that the config file describes: it differs from a genuine one in one
//! thing, and yields this cause.

mod authorizations;
mod keys;
mod lists;
mod templates;
mod times;

use medhook::testing::Signing;
use medhook::{Bytes, Freshness, SchemeConfig, Secret};
use medhook_conformance::{CustomProvider, Endpoint};

use super::case::Case;
use super::headers::Head;
use super::report::Report;
use super::unusable;

const NOW: i64 = 1_767_225_600;
const BODY: &str = r#"{"id":"evt-1","type":"created"}"#;
const KEY: &str = "a made-up key of thirty-two bytes";

/// A recorded delivery and its endpoint.
#[derive(Clone)]
struct Recorded {
    endpoint: Endpoint,
    secret: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    at: i64,
}

/// The report of `medhook verify`, as JSON.
struct Reported(serde_json::Value);

impl Recorded {
    /// Returns an endpoint with this scheme and secret, and a genuine delivery of a sender with the same.
    fn genuine(scheme: impl Into<SchemeConfig>, secret: &str) -> Self {
        let signing = Signing::of(scheme);
        let mut custom = CustomProvider::new(signing.clone());
        custom.id_pointer = Some("/id".to_owned());
        custom.kind_pointer = Some("/type".to_owned());
        let mut endpoint = Endpoint::custom("custom", custom);
        endpoint.secrets.insert("current".to_owned(), secret.to_owned());
        let recorded =
            Recorded { endpoint, secret: secret.to_owned(), headers: Vec::new(), body: BODY.into(), at: NOW };
        recorded.signed_by(&signing, secret)
    }

    /// Signs with another scheme or secret than the endpoint has.
    fn signed_by(mut self, scheme: impl Into<SchemeConfig>, secret: &str) -> Self {
        let signing = Signing::of(scheme);
        // A public key signs nothing; tests of those sign with the private key.
        let headers = signing.headers(secret, "msg-1", &signing.timestamp_text(NOW), &self.body);
        self.headers = headers.unwrap_or_default();
        self
    }

    fn given(mut self, secret: &str) -> Self {
        secret.clone_into(&mut self.secret);
        self.endpoint.secrets.insert("current".to_owned(), secret.to_owned());
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn value(&self, name: &str) -> String {
        self.headers.iter().find(|(known, _)| known == name).unwrap().1.clone()
    }

    fn changed(self, name: &str, change: impl Fn(&str) -> String) -> Self {
        let value = change(&self.value(name));
        self.header(name, &value)
    }

    fn max_age(mut self, seconds: u64) -> Self {
        let (max_age, max_skew) = (std::time::Duration::from_secs(seconds), std::time::Duration::from_secs(300));
        self.endpoint.freshness = Some(Freshness::EventTime { max_age, max_skew });
        self
    }

    fn report(&self) -> Reported {
        let secrets = [Secret::unchecked(&self.secret).labeled("current").unwrap()];
        let mut endpoint = self.endpoint.clone();
        let (signing, unusable) = unusable::replace(&mut endpoint).unwrap();
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
        let head = Head { headers, ..Head::default() };
        let body = Bytes::from(self.body.clone());
        let case =
            Case { endpoint: &endpoint, signing: &signing, secrets: &secrets, head: &head, body: &body, at: self.at };
        let mut report = Report::of(&case).unwrap_or_else(|_| panic!("no report"));
        report.add_unusable(unusable);
        let text = report.as_text(None);
        let reported = Reported(serde_json::from_str(&report.as_json(None)).unwrap());
        for (_, value) in &self.headers {
            for part in value.split([' ', ',', '=']).filter(|part| part.len() > 20) {
                assert!(!text.contains(part), "a value is shown: {text}");
            }
        }
        assert!(!text.contains(&self.secret), "the secret is shown: {text}");
        reported
    }

    /// Asserts that the delivery is verified, without a cause.
    fn is_verified(&self) -> Reported {
        let report = self.report();
        assert_eq!(report.0["verified"], true, "{}", report.0);
        assert_eq!(report.0["causes"], serde_json::json!([]), "{}", report.0);
        report
    }

    /// Asserts that exactly these causes explain the delivery, the first one first.
    fn is_explained_by(&self, codes: &[&str]) -> Reported {
        let report = self.report();
        assert_eq!(report.codes(true), codes, "{}", report.0);
        assert_eq!(report.0["verified"], false, "{}", report.0);
        report
    }

    /// Asserts that no cause explains the delivery, and that this one is possible.
    fn may_be(&self, code: &str, text: &str) {
        let report = self.report();
        assert_eq!(report.codes(true), [""; 0], "{}", report.0);
        assert!(report.codes(false).contains(&code), "{code}: {}", report.0);
        report.says(text);
    }
}

impl Reported {
    fn codes(&self, fits: bool) -> Vec<&str> {
        let causes = self.0["causes"].as_array().unwrap().iter().filter(|cause| cause["fits"] == fits);
        causes.map(|cause| cause["code"].as_str().unwrap()).collect()
    }

    /// Asserts that a cause or a step says this.
    fn says(&self, text: &str) -> &Self {
        let (causes, steps) = (self.0["causes"].as_array().unwrap(), self.0["steps"].as_array().unwrap());
        let mut texts = causes.iter().map(|cause| &cause["text"]).chain(steps.iter().map(|step| &step["detail"]));
        assert!(texts.any(|known| known.as_str().unwrap().contains(text)), "{text}: {}", self.0);
        self
    }

    /// Asserts the reason of a step.
    fn step(&self, name: &str, result: &str, reason: Option<&str>) -> &Self {
        let steps = self.0["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["step"] == name).unwrap();
        assert_eq!((step["result"].as_str().unwrap(), step["reason"].as_str()), (result, reason), "{}", self.0);
        self
    }

    fn signature(&self, state: &str) -> &Self {
        assert_eq!(self.0["signature"], state, "{}", self.0);
        self
    }
}
