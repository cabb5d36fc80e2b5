//! The bodies under `fixtures/`, byte for byte.

use bytes::Bytes;

use crate::provider::pointed_at;

/// A body in a provider's documented shape, with values of our own.
#[derive(Debug, Clone, Copy)]
pub struct Fixture {
    path: &'static str,
    body: &'static [u8],
}

impl Fixture {
    /// Its path below `fixtures/`: `<provider>/<kind>[.<variant>].json`.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Its provider.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.path.split_once('/').map_or("", |(provider, _)| provider)
    }

    /// The bytes.
    #[must_use]
    pub fn body(&self) -> Bytes {
        Bytes::from_static(self.body)
    }
}

/// Every fixture.
#[must_use]
pub fn fixtures() -> &'static [Fixture] {
    FIXTURES
}

/// The plain one of a kind.
pub(super) fn fixture(provider: &str, kind: &str) -> Option<&'static Fixture> {
    let path = format!("{provider}/{kind}.json");
    FIXTURES.iter().find(|fixture| fixture.path == path)
}

/// The body with another text at a JSON pointer; the same body if nothing is there.
pub(super) fn with_text(body: &Bytes, pointer: &str, text: &str) -> Bytes {
    let Some((before, after)) = pointed_at(body, pointer) else {
        return body.clone();
    };
    let quoted = serde_json::Value::from(text).to_string();
    [before, quoted.as_bytes(), after].concat().into()
}

pub(super) fn rfc3339(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map_or_else(|_| unix.to_string(), |time| time.to_string())
}

macro_rules! fixtures {
    ($($path:literal)*) => {
        const FIXTURES: &[Fixture] = &[$(Fixture {
            path: $path,
            body: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $path)),
        },)*];
    };
}

// A test compares this list to the folder.
fixtures! {
    "azodha/AppointmentToCareTaskActivityLog.json"
    "azodha/AssessmentResponseToWellbeingScore.json"
    "azodha/BookAppointment.json"
    "azodha/BookAppointment.numbers.json"
    "azodha/HealthProgramActivated.duration-text.json"
    "azodha/HealthProgramActivated.json"
    "azodha/HealthRecordCounter.json"
    "azodha/HealthRecordCounter.organization-code.json"
    "azodha/InferenceToCareTasks.json"
    "azodha/InferenceToKeyFindings.json"
    "azodha/InferenceToObservations.json"
    "azodha/Notification.event-name.json"
    "azodha/Notification.json"
    "azodha/OpenTele.json"
    "azodha/SurveyAssessment.json"
    "azodha/UploadedFileAndTest.json"
    "fasten/patient.ehi_export_success.json"
    "healthsync/document.uploaded.json"
}
