//! Who sends: one entry for each provider. The steps ask an entry what applies to it.

use medhook::testing::{self, Sample, Signing};
use medhook::{
    Azodha, Builder, Cair, Fasten, HealthSync, MediQuo, Receiver, Secrets, azodha, cair, fasten, healthsync, mediquo,
};

use serde_json::Value;

/// Every provider.
pub(super) const PROVIDERS: &[DemoProvider] = &[
    DemoProvider {
        name: "azodha",
        receiver: |name, secrets| Receiver::builder(name, Azodha::hmac_sha256(AZODHA_HEADER, secrets)),
        sample: azodha_sample,
        kinds: || azodha::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        kind: "HealthRecordCounter",
        ids: false,
        proves_body: true,
        ages: None,
        unknown: Some(Edit { at: "/eventName", to: r#""NobodyDocumentedThis""# }),
        drifted: Some(Drifted { edit: Edit { at: "/count", to: r#""many""# }, path: "count" }),
        // The payload is the body: what is no object there names no kind either.
        undecodable: None,
        modes: None,
    },
    DemoProvider {
        name: "cair",
        receiver: |name, secrets| Receiver::builder(name, Cair::hmac_sha256(CAIR_HEADER, secrets)),
        sample: |kind| testing::cair(kind).signing(Signing::hmac_sha256(CAIR_HEADER)),
        // Its bodies do not name their kind, and the three remittances look alike.
        kinds: || cair::Kind::ALL.iter().filter(|kind| !is_part_of_all(**kind)).map(|kind| kind.as_str()).collect(),
        kind: "PATIENT_CHART_ANALYSIS_COMPLETE",
        ids: false,
        proves_body: true,
        ages: None,
        unknown: None,
        drifted: Some(Drifted { edit: Edit { at: "/status", to: "[1]" }, path: "status" }),
        undecodable: None,
        modes: None,
    },
    DemoProvider {
        name: "fasten",
        receiver: |name, secrets| Receiver::builder(name, Fasten::live(secrets)),
        sample: testing::fasten,
        kinds: || fasten::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        kind: "patient.ehi_export_success",
        ids: true,
        proves_body: true,
        ages: Some(Ages { past: 300, future: 300 }),
        unknown: Some(Edit { at: "/type", to: r#""patient.nobody_documented_this""# }),
        drifted: Some(Drifted {
            edit: Edit { at: "/data/stats/total_resources", to: r#""many""# },
            path: "stats.total_resources",
        }),
        undecodable: Some(Edit { at: "/data", to: r#""gone""# }),
        modes: Some(Modes {
            live: Edit { at: "/api_mode", to: r#""live""# },
            test: Edit { at: "/api_mode", to: r#""test""# },
        }),
    },
    DemoProvider {
        name: "healthsync",
        receiver: |name, secrets| Receiver::builder(name, HealthSync::new(secrets)),
        sample: testing::healthsync,
        kinds: || healthsync::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        kind: "document.uploaded",
        ids: true,
        proves_body: true,
        ages: Some(Ages { past: 2 * 3600, future: 300 }),
        unknown: Some(Edit { at: "/type", to: r#""document.nobody_documented_this""# }),
        drifted: Some(Drifted {
            edit: Edit { at: "/data/object/file_size", to: r#""large""# },
            path: "object.file_size",
        }),
        undecodable: Some(Edit { at: "/data", to: r#""gone""# }),
        modes: None,
    },
    DemoProvider {
        name: "mediquo",
        receiver: |name, secrets| Receiver::builder(name, MediQuo::new(secrets)),
        sample: testing::mediquo,
        kinds: || mediquo::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        kind: "patient_message_received",
        ids: false,
        proves_body: false,
        ages: None,
        unknown: Some(Edit { at: "/type", to: r#""nobody_documented_this""# }),
        drifted: Some(Drifted {
            edit: Edit { at: "/payload/message/is_read", to: r#""perhaps""# },
            path: "message.is_read",
        }),
        undecodable: Some(Edit { at: "/payload", to: r#""gone""# }),
        modes: None,
    },
];

/// Which header it is, is not documented.
const CAIR_HEADER: &str = "x-cair-signature";

fn is_part_of_all(kind: cair::Kind) -> bool {
    matches!(kind, cair::Kind::ClaimsRemitApproved | cair::Kind::ClaimsRemitDenied)
}

const AZODHA_HEADER: &str = "x-azodha-signature";

/// Half of the documented kinds are not documented to say which they are; here each does.
fn azodha_sample(kind: &str) -> Sample {
    let sample = testing::azodha(kind).signing(Signing::hmac_sha256(AZODHA_HEADER));
    let path = format!("azodha/{kind}.json");
    let body = testing::fixtures().iter().find(|fixture| fixture.path() == path).map(testing::Fixture::body);
    let body = body.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    match body {
        Some(Value::Object(mut members)) if !members.contains_key("event") => {
            members.insert("eventName".to_owned(), kind.into());
            sample.body(Value::Object(members).to_string())
        }
        _ => sample,
    }
}

/// What the demo has to know of a provider. `None` where something does not apply to it.
pub(super) struct DemoProvider {
    /// Its name, and that of its endpoint.
    pub(super) name: &'static str,
    /// A receiver for its endpoint of this name, as an application would begin it.
    pub(super) receiver: fn(&str, Secrets) -> Builder,
    /// A delivery of a kind that there is a fixture of.
    pub(super) sample: fn(&str) -> Sample,
    /// The documented kinds.
    pub(super) kinds: fn() -> Vec<&'static str>,
    /// The kind that is sent where any will do.
    pub(super) kind: &'static str,
    /// Whether events have ids. Where they have none, they are told apart by their bytes.
    pub(super) ids: bool,
    /// Whether its scheme proves the body and not only the sender.
    pub(super) proves_body: bool,
    /// The ages that are accepted, where a time is verified.
    pub(super) ages: Option<Ages>,
    /// Makes the kind one that is not documented.
    pub(super) unknown: Option<Edit>,
    /// Gives a field a type that is not documented.
    pub(super) drifted: Option<Drifted>,
    /// Makes the payload something that cannot be read.
    pub(super) undecodable: Option<Edit>,
    /// Makes the event a live one or a test.
    pub(super) modes: Option<Modes>,
}

impl DemoProvider {
    /// Where its endpoint is.
    pub(super) fn path(&self) -> String {
        format!("/webhooks/{}", self.name)
    }

    /// Whether there is a fixture of this kind.
    pub(super) fn has_sample(&self, kind: &str) -> bool {
        let path = format!("{}/{kind}.json", self.name);
        testing::fixtures().iter().any(|fixture| fixture.path() == path)
    }
}

/// In seconds, back and ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages {
    pub(super) past: i64,
    pub(super) future: i64,
}

/// A change that the sender makes to a body before signing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    /// The place, as a JSON pointer. It must be there.
    pub(super) at: &'static str,
    /// The new value, as JSON.
    pub(super) to: &'static str,
}

/// A field that holds something else than documented.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drifted {
    pub(super) edit: Edit,
    /// What the field is called where it is noted as left out: its path in the payload.
    pub(super) path: &'static str,
}

/// How a body says whether it is about real patients.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modes {
    pub(super) live: Edit,
    pub(super) test: Edit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_sample_of_a_documented_kind() {
        for provider in PROVIDERS {
            assert!((provider.kinds)().contains(&provider.kind), "{}", provider.name);
            assert!(provider.has_sample(provider.kind), "{}", provider.name);
        }
    }
}
