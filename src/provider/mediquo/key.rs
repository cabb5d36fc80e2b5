//! Natural keys, because MediQuo's events have no id.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Kind;
use crate::Envelope;
use crate::provider::key::{self, Part, members, scalar};

/// Returns a key for [`Dedupe::by`](crate::Dedupe::by), made of every documented field of the event that does not
/// change between attempts.
///
/// The presence of a link is part of the key, but not the link itself, nor `message.is_read` and `avatar`. `type` and
/// `occurred_on` are part of every key. Every part is used exactly as it appears in the body, so `1700000000`,
/// `1700000000.5` and `"1700000000"` are three different times. An absent part (or `null`) differs from a present one.
/// A speciality or a professional is represented by its `id`, or by its `name` if it has no `id`.
///
/// Returns `None` if `occurred_on` or another required part is missing, empty or of another type, or if an object
/// contains a key twice. The event is then identified as by
/// [`Dedupe::by_id`](crate::Dedupe::by_id).
///
/// | kind | required | also part of the key | distinct events with the same key |
/// |---|---|---|---|
/// | `patient_consultation_…` | `consultation.id`; of a rescheduled one `consultation.scheduled_start_date` | the rest of `consultation`, `patient`, `professional`, `reports`, `prescriptions`, `derivation`, `preconsultation` | none, except events that differ only in links or undocumented fields |
/// | `patient_immediate_video_call_assigned` | `consultation.id` | the speciality, `patient`, `professional` | none, except events that differ only in links or undocumented fields |
/// | `patient_message_received` | `professional.id`, `patient.code` | | two messages from one professional to one patient within one second, because a message has no id; the deliveries of the subscriptions `message_unread` and `patient_message_received` for one message within one second |
/// | `prescription_created` | `prescription.id` | the rest of `prescription`, `patient`, `professional` | a PDF that was generated again for the same prescription, because `occurred_on` is the time of the prescription |
/// | `patient_waiting_room_position_update` | `consultation.position`, `patient.code`, the speciality | | a patient's return to the same position within one second |
/// | `professional_block_…` | `id` | `name`, `starts_at`, `finishes_at`, `professional` | none, except events that differ only in undocumented fields |
/// | `patient_report_sent` | no key | | none: the bytes identify the event, because a report has no id and nothing in it changes between attempts |
///
/// The key contains health data. [`Dedupe`](crate::Dedupe) passes only its digest to a store; do the same.
#[must_use]
pub fn natural_key(envelope: &Envelope, body: &Bytes) -> Option<String> {
    let kind = Kind::from_name(envelope.kind.as_ref()?.as_str())?;
    let body: &RawValue = serde_json::from_slice(body).ok()?;
    let [occurred_on, payload] = members(Some(body), ["occurred_on", "payload"])?;
    let occurred_on = scalar(occurred_on)?;
    match kind {
        Kind::PatientConsultationCreated
        | Kind::PatientConsultationCancelled
        | Kind::PatientConsultationRescheduled
        | Kind::PatientConsultationFinished
        | Kind::PatientConsultationNoShow => {
            let [consultation, professional, preconsultation, others @ ..] = members(payload, CONSULTATION_PAYLOAD)?;
            let [link, speciality, consultation @ ..] = members(consultation, CONSULTATION)?;
            let [id, scheduled_start_date, ..] = consultation;
            scalar(id)?;
            if kind == Kind::PatientConsultationRescheduled {
                scalar(scheduled_start_date)?;
            }
            let consultation = (consultation, id_or_name(speciality)?, link.is_some());
            let (professional, preconsultation) = (id_or_name(professional)?, preconsultation_key(preconsultation)?);
            key::written(kind.as_str(), &(occurred_on, consultation, professional, preconsultation, others))
        }
        Kind::PatientImmediateVideoCallAssigned => {
            let [consultation, patient, professional] = members(payload, ["consultation", "patient", "professional"])?;
            let [id, speciality, link] = members(consultation, ["id", "speciality", "url"])?;
            let call = (scalar(id)?, id_or_name(speciality)?, link.is_some());
            key::written(kind.as_str(), &(occurred_on, call, patient, id_or_name(professional)?))
        }
        Kind::PatientMessageReceived => {
            let [patient, professional] = members(payload, ["patient", "professional"])?;
            let ([code], [id]) = (members(patient, ["code"])?, members(professional, ["id"])?);
            key::written(kind.as_str(), &(occurred_on, scalar(id)?, scalar(code)?))
        }
        Kind::PrescriptionCreated => {
            let [prescription, patient, professional] = members(payload, ["prescription", "patient", "professional"])?;
            let [link, prescription @ ..] = members(prescription, PRESCRIPTION)?;
            let [id, ..] = prescription;
            scalar(id)?;
            key::written(
                kind.as_str(),
                &(occurred_on, prescription, link.is_some(), patient, id_or_name(professional)?),
            )
        }
        Kind::PatientWaitingRoomPositionUpdate => {
            let [consultation, patient] = members(payload, ["consultation", "patient"])?;
            let [speciality, position, link] = members(consultation, ["speciality", "position", "url"])?;
            let [code] = members(patient, ["code"])?;
            let room = (id_or_name(speciality)??, scalar(position)?, link.is_some());
            key::written(kind.as_str(), &(occurred_on, room, scalar(code)?))
        }
        Kind::ProfessionalBlockCreated | Kind::ProfessionalBlockUpdated | Kind::ProfessionalBlockDeleted => {
            let block = members(payload, ["id", "name", "starts_at", "finishes_at", "professional"])?;
            let [id, ..] = block;
            scalar(id)?;
            key::written(kind.as_str(), &(occurred_on, block))
        }
        Kind::PatientReportSent => None,
    }
}

/// The members of a consultation event's payload.
const CONSULTATION_PAYLOAD: [&str; 7] =
    ["consultation", "professional", "preconsultation", "patient", "reports", "prescriptions", "derivation"];

/// The members of a consultation: its link, its speciality, and the parts that the key uses unchanged.
const CONSULTATION: [&str; 13] = [
    "consultation_url",
    "speciality",
    "id",
    "scheduled_start_date",
    "scheduled_end_date",
    "previous_scheduled_start_date",
    "previous_scheduled_end_date",
    "start_date",
    "end_date",
    "created_at",
    "type",
    "channel",
    "service_type",
];

/// The members of a prescription: its link, and the parts that the key uses unchanged.
const PRESCRIPTION: [&str; 7] =
    ["pdf_url", "id", "short_code", "active_substances", "prescribed_at", "consultation_type", "consultation_id"];

/// The identity of a speciality or a professional.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum IdOrName<'b> {
    Id(&'b RawValue),
    Name(&'b RawValue),
}

fn id_or_name(part: Part<'_>) -> Option<Option<IdOrName<'_>>> {
    let [id, name] = members(part, ["id", "name"])?.map(|part| part.filter(|raw| raw.get() != "\"\""));
    Some(id.map(IdOrName::Id).or(name.map(IdOrName::Name)))
}

/// A document's id and name, and whether it has a link.
type DocumentKey<'b> = (Part<'b>, Part<'b>, bool);

/// Returns the reason and the documents of a patient's information before an appointment.
fn preconsultation_key(preconsultation: Part<'_>) -> Option<(Part<'_>, Option<Vec<DocumentKey<'_>>>)> {
    let [reason, documents] = members(preconsultation, ["reason", "documents"])?;
    let Some(documents) = documents else { return Some((reason, None)) };
    let documents: Vec<&RawValue> = serde_json::from_str(documents.get()).ok()?;
    let document =
        |raw| members(Some(raw), ["id", "file_name", "url"]).map(|[id, name, url]| (id, name, url.is_some()));
    let documents: Option<Vec<_>> = documents.into_iter().map(document).collect();
    Some((reason, Some(documents?)))
}
