//! What an event can be known by, as it has no id.

use bytes::Bytes;

use super::Kind;
use crate::provider::Payload;
use crate::wire::{Drift, payload};
use crate::{Envelope, Phi, Time};

/// A key of what makes an event this one: its kind, its time and the ids in its payload; nothing that is made anew for
/// each sending, such as links. For [`Dedupe::by`](crate::Dedupe::by).
///
/// | kind | besides kind and `occurred_on` |
/// |---|---|
/// | `patient_consultation_rescheduled` | `consultation.id`, `consultation.scheduled_start_date` |
/// | other `patient_consultation_…`, `patient_immediate_video_call_assigned` | `consultation.id` |
/// | `patient_message_received` | `professional.id`, `patient.code` |
/// | `prescription_created` | `prescription.id` |
/// | `patient_waiting_room_position_update` | `patient.code`, `consultation.position` |
/// | `professional_block_…` | `id` |
/// | `patient_report_sent`, undocumented ones | no key |
///
/// Where there is no key, or a part of it is missing, the digest of the body stands in.
///
/// A message is not told apart from another between the same two people within the same second, and neither are the
/// deliveries of the subscriptions `message_unread` and `patient_message_received` about one message in one second.
///
/// The key holds patients' codes. [`Dedupe`](crate::Dedupe) hands only its digest to a store; do the same.
#[must_use]
pub fn natural_key(envelope: &Envelope, _body: &Bytes) -> Option<String> {
    let kind = Kind::from_name(envelope.kind.as_ref()?.as_str())?;
    let occurred_on = envelope.occurred_at.as_ref()?.text();
    let parts = Parts::from_data(envelope.data.as_ref()?, &mut Drift::default()).ok()?;
    let consultation = parts.consultation.unwrap_or_default();
    let text = |text: Option<Phi<String>>| text.map(Phi::into_inner);
    let consultation_id = text(consultation.id);
    let patient_code = text(parts.patient.and_then(|patient| patient.code));

    let (id, more) = match kind {
        Kind::PatientConsultationCreated
        | Kind::PatientConsultationCancelled
        | Kind::PatientConsultationFinished
        | Kind::PatientConsultationNoShow
        | Kind::PatientImmediateVideoCallAssigned => (consultation_id?, None),
        Kind::PatientConsultationRescheduled => {
            let start = consultation.scheduled_start_date?;
            (consultation_id?, Some(start.text().to_owned()))
        }
        Kind::PatientMessageReceived => (text(parts.professional?.id)?, Some(patient_code?)),
        Kind::PrescriptionCreated => (text(parts.prescription?.id)?, None),
        Kind::PatientWaitingRoomPositionUpdate => (patient_code?, Some(consultation.position?.to_string())),
        Kind::ProfessionalBlockCreated | Kind::ProfessionalBlockUpdated | Kind::ProfessionalBlockDeleted => {
            (text(parts.id)?, None)
        }
        Kind::PatientReportSent => return None,
    };
    // JSON keeps the parts apart, whatever they hold.
    serde_json::to_string(&(kind.as_str(), occurred_on, id, more)).ok()
}

payload! {
    /// What keys are made of, in whichever payload.
    struct Parts {
        /// A block's.
        pub id: Option<Phi<String>> = "id",
        /// A consultation, a call or a waiting room.
        pub consultation: Option<ConsultationParts> = "consultation",
        /// A professional.
        pub professional: Option<IdPart> = "professional",
        /// A prescription.
        pub prescription: Option<IdPart> = "prescription",
        /// A patient.
        pub patient: Option<CodePart> = "patient",
    }

    /// Of a consultation, a call or a waiting room.
    struct ConsultationParts {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// When it is to begin.
        pub scheduled_start_date: Option<Time> = "scheduled_start_date",
        /// The place in the waiting room.
        pub position: Option<Phi<u64>> = "position",
    }

    /// Something with an id.
    struct IdPart {
        /// The id.
        pub id: Option<Phi<String>> = "id",
    }

    /// Someone with a code.
    struct CodePart {
        /// The code.
        pub code: Option<Phi<String>> = "code",
    }
}
