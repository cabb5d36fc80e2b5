//! The bodies under `fixtures/`, byte for byte.

use bytes::Bytes;
use serde_json::Value;

use crate::provider::{azodha, cair, mediquo, pointed_at};

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

/// A file that lists deliveries and the expected result of each. The crate `medhook-conformance` expands it.
#[derive(Debug, Clone, Copy)]
pub struct CaseFile {
    path: &'static str,
    text: &'static str,
}

impl CaseFile {
    /// Returns its path: `fixtures/shared.toml` or `fixtures/<provider>/cases.toml`.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Returns its text, which is TOML.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }
}

/// Returns every case file.
#[must_use]
pub fn case_files() -> &'static [CaseFile] {
    CASE_FILES
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
    replaced(body, pointer, |_| text.into())
}

/// The body with another time at a JSON pointer, written as the one before it: in Unix seconds or as a text.
pub(super) fn with_time(body: &Bytes, pointer: &str, unix: i64) -> Bytes {
    replaced(body, pointer, |known| if known.is_number() { unix.into() } else { rfc3339(unix).into() })
}

/// The body as that of another event: with this text for its id. Where the provider's events have none, it is put where
/// a body of its kind names what it is about; and where that is nowhere, white space after the JSON tells the event
/// apart, which is all that a receiver can go by there.
#[must_use]
pub fn marked(provider: &str, body: &Bytes, mark: &str) -> Bytes {
    let known: Option<Value> = serde_json::from_slice(body).ok();
    let is_text = |pointer: &&str| known.as_ref().and_then(|json| json.pointer(pointer)).is_some_and(Value::is_string);
    let places: &[&str] = match provider {
        azodha::NAME => AZODHA_IDS,
        cair::NAME => CAIR_IDS,
        mediquo::NAME => MEDIQUO_IDS,
        _ => &["/id"],
    };
    match places.iter().copied().find(is_text) {
        Some(pointer) => with_text(body, pointer, mark),
        None => spaced(body, mark),
    }
}

/// Returns the body with trailing whitespace that encodes a text: other bytes, but the same JSON.
#[must_use]
pub fn spaced(body: &Bytes, text: &str) -> Bytes {
    let bits = text.bytes().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
    let spaces = bits.map(|bit| if bit == 0 { b' ' } else { b'\t' });
    body.iter().copied().chain(spaces).collect()
}

/// Returns the body with other JSON at a JSON pointer, and `None` if nothing is there. Every other byte stays as it is.
/// `other` is given the JSON that was there.
#[must_use]
pub fn replaced_at(body: &Bytes, pointer: &str, other: impl FnOnce(&[u8]) -> Vec<u8>) -> Option<Bytes> {
    let (before, after) = pointed_at(body, pointer)?;
    let known = body.get(before.len()..body.len().checked_sub(after.len())?)?;
    Some([before, &other(known), after].concat().into())
}

const AZODHA_IDS: &[&str] = &[
    "/id",
    "/assessmentResponseId",
    "/data/appointment/id",
    "/data/assessment/id",
    "/data/file/id",
    "/data/patientId",
    "/patientId",
    "/fileId",
];

const CAIR_IDS: &[&str] =
    &["/id", "/report/report_id", "/output/optimizer_run_id", "/claimLifecycleId", "/callId", "/claim_id"];

const MEDIQUO_IDS: &[&str] =
    &["/payload/consultation/id", "/payload/prescription/id", "/payload/id", "/payload/patient/code"];

fn replaced(body: &Bytes, pointer: &str, with: impl Fn(&Value) -> Value) -> Bytes {
    let json = |known: &[u8]| {
        serde_json::from_slice(known).map_or_else(|_| known.into(), |known| with(&known).to_string().into_bytes())
    };
    replaced_at(body, pointer, json).unwrap_or_else(|| body.clone())
}

fn rfc3339(unix: i64) -> String {
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

macro_rules! case_files {
    ($($path:literal)*) => {
        const CASE_FILES: &[CaseFile] = &[$(CaseFile {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)),
        },)*];
    };
}

case_files! {
    "fixtures/shared.toml"
    "fixtures/azodha/cases.toml"
    "fixtures/cair/cases.toml"
    "fixtures/fasten/cases.toml"
    "fixtures/healthsync/cases.toml"
    "fixtures/mediquo/cases.toml"
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
    "cair/CLAIMS_AI_OPTIMIZER.in-words.json"
    "cair/CLAIMS_AI_OPTIMIZER.json"
    "cair/CLAIMS_REMIT_ALL.json"
    "cair/CLAIMS_REMIT_APPROVED.json"
    "cair/CLAIMS_REMIT_DENIED.json"
    "cair/CLAIM_STATUS_CHANGE.json"
    "cair/CLAIM_STATUS_CHANGE.not-submitted.json"
    "cair/CLAIM_STATUS_CHANGE.rejected.json"
    "cair/PATIENT_CHART_ANALYSIS_COMPLETE.api-answer.json"
    "cair/PATIENT_CHART_ANALYSIS_COMPLETE.chart-report.json"
    "cair/PATIENT_CHART_ANALYSIS_COMPLETE.json"
    "cair/PATIENT_CHART_ANALYSIS_COMPLETE.partial.json"
    "cair/ai-phone-call.failed.json"
    "cair/ai-phone-call.in-progress.json"
    "cair/ai-phone-call.json"
    "cair/x12-optimizer.from-notes.json"
    "cair/x12-optimizer.json"
    "fasten/patient.authorization_revoked.json"
    "fasten/patient.authorization_revoked.minimal.json"
    "fasten/patient.connection_success.json"
    "fasten/patient.connection_success.refreshing.json"
    "fasten/patient.connection_success.request-id-hyphen.json"
    "fasten/patient.connection_success.tefca.json"
    "fasten/patient.ehi_export_failed.json"
    "fasten/patient.ehi_export_failed.minimal.json"
    "fasten/patient.ehi_export_failed.tefca.json"
    "fasten/patient.ehi_export_failed.unknown-reason.json"
    "fasten/patient.ehi_export_success.both-links.json"
    "fasten/patient.ehi_export_success.drifted.json"
    "fasten/patient.ehi_export_success.empty-ids.json"
    "fasten/patient.ehi_export_success.json"
    "fasten/patient.ehi_export_success.link-null.json"
    "fasten/patient.ehi_export_success.link-object.json"
    "fasten/patient.ehi_export_success.links-as-text.json"
    "fasten/patient.ehi_export_success.minimal.json"
    "fasten/patient.ehi_export_success.numeric-ids.json"
    "fasten/patient.ehi_export_success.pretty.json"
    "fasten/patient.ehi_export_success.simulator.json"
    "fasten/patient.ehi_export_success.test-mode.json"
    "fasten/patient.request_health_system.json"
    "fasten/patient.request_health_system.minimal.json"
    "fasten/patient.request_support.json"
    "fasten/patient.request_support.latin-1.json"
    "fasten/patient.request_support.minimal.json"
    "fasten/undocumented.event-type.json"
    "fasten/undocumented.json"
    "fasten/webhook.test.empty.json"
    "fasten/webhook.test.json"
    "healthsync/analysis.completed.json"
    "healthsync/analysis.failed.json"
    "healthsync/document.deleted.json"
    "healthsync/document.shared.json"
    "healthsync/document.updated.json"
    "healthsync/document.uploaded.drifted.json"
    "healthsync/document.uploaded.json"
    "healthsync/document.uploaded.latin-1.json"
    "healthsync/document.uploaded.numeric-ids.json"
    "healthsync/document.uploaded.offset.json"
    "healthsync/document.uploaded.pretty.json"
    "healthsync/document.uploaded.sparse.json"
    "healthsync/family_member.added.json"
    "healthsync/family_member.removed.json"
    "healthsync/share.accessed.json"
    "healthsync/share.created.json"
    "healthsync/share.expired.json"
    "healthsync/share.revoked.json"
    "healthsync/test-event.json"
    "healthsync/test-event.untyped.json"
    "healthsync/undocumented.json"
    "healthsync/user.updated.json"
    "mediquo/patient_consultation_cancelled.json"
    "mediquo/patient_consultation_created.before_may.json"
    "mediquo/patient_consultation_created.json"
    "mediquo/patient_consultation_finished.chat.json"
    "mediquo/patient_consultation_finished.json"
    "mediquo/patient_consultation_finished.one_report.json"
    "mediquo/patient_consultation_finished.sdk.json"
    "mediquo/patient_consultation_no_show.before_may.json"
    "mediquo/patient_consultation_no_show.json"
    "mediquo/patient_consultation_rescheduled.json"
    "mediquo/patient_immediate_video_call_assigned.json"
    "mediquo/patient_message_received.before_may.json"
    "mediquo/patient_message_received.json"
    "mediquo/patient_message_sent.json"
    "mediquo/patient_report_sent.fraction.json"
    "mediquo/patient_report_sent.json"
    "mediquo/patient_report_sent.nulls.json"
    "mediquo/patient_report_sent.other_type.json"
    "mediquo/patient_waiting_room_position_update.json"
    "mediquo/patient_waiting_room_position_update.nulls.json"
    "mediquo/prescription_created.json"
    "mediquo/prescription_created.nulls.json"
    "mediquo/professional_block_created.json"
    "mediquo/professional_block_deleted.json"
    "mediquo/professional_block_updated.json"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_body_is_another_event_of_the_same_kind() {
        for fixture in FIXTURES {
            let (provider, body) = (fixture.provider(), fixture.body());
            let [one, two] = ["one-", "two-"].map(|mark| marked(provider, &body, mark));
            assert!(one != body && one != two, "{}", fixture.path());
            let [before, after]: [Option<Value>; 2] = [&body, &one].map(|body| serde_json::from_slice(body).ok());
            assert_eq!(before.is_some(), after.is_some(), "{}", fixture.path());
            // Either a text is another one, or only white space is new.
            assert!(
                after.is_none() || after == before || one.windows(4).any(|bytes| bytes == b"one-"),
                "{}",
                fixture.path()
            );
        }
    }
}
