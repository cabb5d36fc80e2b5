//! MediQuo's events: <https://github.com/mediquo/mediquo-api-docs/tree/HEAD/webhooks>.
//!
//! Every field is optional: MediQuo's documents disagree about which are there, and which may be `null`. Ids are opaque
//! texts, and some come as numbers. Links are secrets: most of them open without any further authentication.

use crate::payload::{open_enum, payload};
use crate::{Phi, Time};

crate::provider::events::events! { "mediquo":
    /// An appointment was booked.
    PatientConsultationCreated(PatientConsultation) = "patient_consultation_created",
    /// An appointment was cancelled.
    PatientConsultationCancelled(PatientConsultation) = "patient_consultation_cancelled",
    /// An appointment got another time or another professional.
    PatientConsultationRescheduled(PatientConsultation) = "patient_consultation_rescheduled",
    /// An appointment or a chat ended.
    PatientConsultationFinished(PatientConsultation) = "patient_consultation_finished",
    /// A patient did not come to an appointment.
    PatientConsultationNoShow(PatientConsultationNoShow) = "patient_consultation_no_show",
    /// A professional wrote to a patient; in older documents, a patient has an unread message.
    PatientMessageReceived(PatientMessageReceived) = "patient_message_received" | "patient_message_sent",
    /// An immediate video call was assigned to a professional.
    PatientImmediateVideoCallAssigned(PatientImmediateVideoCallAssigned) = "patient_immediate_video_call_assigned",
    /// A professional made a report for a patient.
    PatientReportSent(PatientReportSent) = "patient_report_sent",
    /// A prescription's PDF is ready. `occurred_on` is when it was prescribed, which may be a while ago.
    PrescriptionCreated(PrescriptionCreated) = "prescription_created",
    /// A patient moved in the waiting room. One for each patient who did, many of them in the same second.
    PatientWaitingRoomPositionUpdate(PatientWaitingRoomPositionUpdate) = "patient_waiting_room_position_update",
    /// A professional's time was blocked.
    ProfessionalBlockCreated(ProfessionalBlock) = "professional_block_created",
    /// A block of a professional's time was changed.
    ProfessionalBlockUpdated(ProfessionalBlock) = "professional_block_updated",
    /// A block of a professional's time was removed.
    ProfessionalBlockDeleted(ProfessionalBlock) = "professional_block_deleted",
}

payload! {
    /// A consultation, and all that came of it.
    pub struct PatientConsultation {
        /// The consultation.
        pub consultation: Option<Consultation> = "consultation",
        /// Reports written in it.
        pub reports: Vec<ConsultationReport> = "reports",
        /// The patient, with the medical history.
        pub patient: Option<Patient> = "patient",
        /// The professional.
        pub professional: Option<Professional> = "professional",
        /// Prescriptions made in it.
        pub prescriptions: Vec<Prescription> = "prescriptions",
        /// Where the patient was referred to: finished appointments only.
        pub derivation: Option<Derivation> = "derivation",
        /// What the patient said beforehand: since May 2026, and empty for chats.
        pub preconsultation: Option<PreConsultation> = "preconsultation",
    }

    /// A patient did not come to an appointment.
    pub struct PatientConsultationNoShow {
        /// The appointment.
        pub consultation: Option<Consultation> = "consultation",
        /// The patient, with the medical history.
        pub patient: Option<Patient> = "patient",
        /// The professional.
        pub professional: Option<Professional> = "professional",
        /// What the patient said beforehand: since May 2026.
        pub preconsultation: Option<PreConsultation> = "preconsultation",
    }

    /// A professional wrote to a patient. The message itself is not told, nor an id of it.
    pub struct PatientMessageReceived {
        /// Who wrote it.
        pub professional: Option<Professional> = "professional",
        /// Who is to read it.
        pub patient: Option<PatientCode> = "patient",
        /// Where the message stands: since May 2026.
        pub message: Option<Message> = "message",
    }

    /// Where a message stands.
    pub struct Message {
        /// Whether the patient had read it when the delivery was made, some two seconds later.
        pub is_read: Option<Phi<bool>> = "is_read",
    }

    /// An immediate video call was assigned to a professional.
    pub struct PatientImmediateVideoCallAssigned {
        /// The call.
        pub consultation: Option<ImmediateVideoCall> = "consultation",
        /// The patient.
        pub patient: Option<PatientCode> = "patient",
        /// The professional.
        pub professional: Option<Professional> = "professional",
    }

    /// An immediate video call.
    pub struct ImmediateVideoCall {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// The medical speciality.
        pub speciality: Option<Speciality> = "speciality",
        /// The patient's way into the room: signed, so a secret.
        pub url: Option<Phi<String>> = "url",
    }

    /// A professional made a report for a patient. It has no id.
    pub struct PatientReportSent {
        /// What kind of report it is.
        pub report_type: Option<ReportType> = "type",
        /// What it says.
        pub content: Option<ReportContent> = "content",
        /// The patient.
        pub patient: Option<PatientCode> = "patient",
    }

    /// A prescription's PDF is ready.
    pub struct PrescriptionCreated {
        /// The prescription.
        pub prescription: Option<IssuedPrescription> = "prescription",
        /// The patient.
        pub patient: Option<PatientCode> = "patient",
        /// The professional.
        pub professional: Option<Professional> = "professional",
    }

    /// A prescription with its PDF.
    pub struct IssuedPrescription {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// Its short code.
        pub short_code: Option<Phi<String>> = "short_code",
        /// What was prescribed.
        pub active_substances: Vec<Phi<String>> = "active_substances",
        /// When.
        pub prescribed_at: Option<Time> = "prescribed_at",
        /// The PDF: whoever has the link can read it.
        pub pdf_url: Option<Phi<String>> = "pdf_url",
        /// What it came of.
        pub consultation_type: Option<ConsultationType> = "consultation_type",
        /// The consultation it came of.
        pub consultation_id: Option<Phi<String>> = "consultation_id",
    }

    /// A patient moved in the waiting room.
    pub struct PatientWaitingRoomPositionUpdate {
        /// The waiting room.
        pub consultation: Option<WaitingRoom> = "consultation",
        /// The patient.
        pub patient: Option<PatientCode> = "patient",
    }

    /// A patient's place in a waiting room.
    pub struct WaitingRoom {
        /// What is waited for.
        pub speciality: Option<Speciality> = "speciality",
        /// The place.
        pub position: Option<Phi<u64>> = "position",
        /// The patient's way into the room: its query has a token, so a secret.
        pub url: Option<Phi<String>> = "url",
    }

    /// A time in which a professional is not available.
    pub struct ProfessionalBlock {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// Its name.
        pub name: Option<Phi<String>> = "name",
        /// When it begins.
        pub starts_at: Option<Time> = "starts_at",
        /// When it ends.
        pub finishes_at: Option<Time> = "finishes_at",
        /// Whose time.
        pub professional: Option<BlockedProfessional> = "professional",
    }

    /// A professional as blocks have one: other names than in [`Professional`].
    pub struct BlockedProfessional {
        /// The same as [`Professional::id`].
        pub hash: Option<Phi<String>> = "hash",
        /// The name.
        pub name: Option<Phi<String>> = "name",
        /// The speciality's name.
        pub speciality: Option<Phi<String>> = "speciality",
    }

    /// An appointment or a chat.
    pub struct Consultation {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// Which of the two.
        pub consultation_type: Option<ConsultationType> = "type",
        /// How the two talk.
        pub channel: Option<Channel> = "channel",
        /// How it came about; not with chats.
        pub service_type: Option<ServiceType> = "service_type",
        /// The way into the video room, so a secret; not with chats.
        pub consultation_url: Option<Phi<String>> = "consultation_url",
        /// When it is to begin; not with chats.
        pub scheduled_start_date: Option<Time> = "scheduled_start_date",
        /// When it is to end; not with chats.
        pub scheduled_end_date: Option<Time> = "scheduled_end_date",
        /// When it was to begin before it was rescheduled.
        pub previous_scheduled_start_date: Option<Time> = "previous_scheduled_start_date",
        /// When it was to end before it was rescheduled.
        pub previous_scheduled_end_date: Option<Time> = "previous_scheduled_end_date",
        /// When it began.
        pub start_date: Option<Time> = "start_date",
        /// When it ended.
        pub end_date: Option<Time> = "end_date",
        /// When it was created.
        pub created_at: Option<Time> = "created_at",
        /// The medical speciality.
        pub speciality: Option<Speciality> = "speciality",
    }

    /// A medical speciality.
    pub struct Speciality {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// Its name; in a waiting room, its schedule's.
        pub name: Option<Phi<String>> = "name",
    }

    /// A patient, with the medical history.
    pub struct Patient {
        /// Your own name for the patient.
        pub code: Option<Phi<String>> = "code",
        /// Allergies.
        pub allergies: Vec<HistoryEntry> = "allergies",
        /// Diseases.
        pub diseases: Vec<HistoryEntry> = "diseases",
        /// Medications.
        pub medications: Vec<Medication> = "medications",
    }

    /// A patient, without anything else.
    pub struct PatientCode {
        /// Your own name for the patient.
        pub code: Option<Phi<String>> = "code",
    }

    /// An allergy or a disease.
    pub struct HistoryEntry {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// What it is.
        pub name: Option<Phi<String>> = "name",
        /// More about it.
        pub description: Option<Phi<String>> = "description",
    }

    /// A medication.
    pub struct Medication {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// What it is.
        pub name: Option<Phi<String>> = "name",
        /// More about it.
        pub description: Option<Phi<String>> = "description",
        /// How it is taken.
        pub posology: Option<Phi<String>> = "posology",
    }

    /// A professional.
    pub struct Professional {
        /// The id, a hash.
        pub id: Option<Phi<String>> = "id",
        /// The name.
        pub name: Option<Phi<String>> = "name",
        /// The URL of a picture.
        pub avatar: Option<Phi<String>> = "avatar",
    }

    /// A report written in a consultation.
    pub struct ConsultationReport {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// What kind of report it is.
        pub report_type: Option<ReportType> = "type",
        /// What it says.
        pub content: Option<ReportContent> = "content",
    }

    /// What a report says. The four fields are those of a [`ReportType::Soap`]; no other type is documented.
    pub struct ReportContent {
        /// What the patient tells.
        pub subjective: Option<Phi<String>> = "subjective",
        /// What was found.
        pub objective: Option<Phi<String>> = "objective",
        /// What it is taken for. By the newest documents an ICD-10 code, a space and its description in the
        /// catalogue's language; by older ones any text.
        pub assessment: Option<Phi<String>> = "assessment",
        /// What is to be done.
        pub plan: Option<Phi<String>> = "plan",
        ..
        /// What other types of report hold, by key.
        pub rest,
    }

    /// A prescription made in a consultation.
    pub struct Prescription {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// What was prescribed.
        pub active_substances: Vec<Phi<String>> = "active_substances",
    }

    /// Where a patient was referred to.
    pub struct Derivation {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// What it is.
        pub description: Option<Phi<String>> = "description",
    }

    /// What a patient said before an appointment.
    pub struct PreConsultation {
        /// Why the patient comes: any text.
        pub reason: Option<Phi<String>> = "reason",
        /// What the patient attached.
        pub documents: Vec<AttachedDocument> = "documents",
    }

    /// A document that a patient attached.
    pub struct AttachedDocument {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// Its name.
        pub file_name: Option<Phi<String>> = "file_name",
        /// Where to fetch it, without authentication, until 24 hours after the delivery was sent: a secret.
        pub url: Option<Phi<String>> = "url",
    }
}

open_enum! {
    /// What a consultation is.
    pub enum ConsultationType {
        /// An appointment.
        Appointment = "appointment",
        /// A chat.
        Chat = "chat",
    }
}

open_enum! {
    /// How patient and professional talk.
    pub enum Channel {
        /// By video.
        Video = "video",
        /// By phone.
        Phone = "phone",
        /// In writing.
        Chat = "chat",
    }
}

open_enum! {
    /// How an appointment came about.
    pub enum ServiceType {
        /// It was planned.
        Scheduled = "scheduled",
        /// It was asked for at once.
        Immediate = "immediate",
    }
}

open_enum! {
    /// What kind of report it is.
    pub enum ReportType {
        /// Subjective, objective, assessment, plan.
        Soap = "soap",
    }
}
