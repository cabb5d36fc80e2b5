//! The events of MediQuo: <https://github.com/mediquo/mediquo-api-docs/tree/HEAD/webhooks>.
//!
//! Every field is optional, because MediQuo's documents disagree about which fields are required and which are
//! nullable. Ids are opaque strings, though some are sent as numbers. Treat links as secrets: most of them work without
//! authentication.

use crate::payload::{open_enum, payload};
use crate::provider::EqualBytes::{MayRecur, SameEvent};
use crate::{Phi, Time};

crate::provider::events::events! { "mediquo":
    /// An appointment was booked.
    PatientConsultationCreated(PatientConsultation) = "patient_consultation_created":
        SameEvent(&["/occurred_on", "/payload/consultation/id"], "a consultation is created once"),
    /// An appointment was canceled.
    PatientConsultationCancelled(PatientConsultation) = "patient_consultation_cancelled":
        SameEvent(&["/occurred_on", "/payload/consultation/id"], "a consultation is canceled once"),
    /// An appointment was moved to another time or another professional.
    PatientConsultationRescheduled(PatientConsultation) = "patient_consultation_rescheduled":
        MayRecur("an appointment can be moved, moved back and moved again within one second, the unit of `occurred_on`"),
    /// An appointment or a chat ended.
    PatientConsultationFinished(PatientConsultation) = "patient_consultation_finished":
        SameEvent(&["/occurred_on", "/payload/consultation/id"], "a consultation ends once"),
    /// A patient missed an appointment.
    PatientConsultationNoShow(PatientConsultationNoShow) = "patient_consultation_no_show":
        SameEvent(&["/occurred_on", "/payload/consultation/id"], "an appointment is missed once"),
    /// A professional sent a message to a patient. In older documents: a patient has an unread message.
    PatientMessageReceived(PatientMessageReceived) = "patient_message_received" | "patient_message_sent":
        MayRecur("a message has no id, and `occurred_on` counts whole seconds"),
    /// An immediate video call was assigned to a professional.
    PatientImmediateVideoCallAssigned(PatientImmediateVideoCallAssigned) = "patient_immediate_video_call_assigned":
        MayRecur("a call may be assigned again within one second, the unit of `occurred_on`"),
    /// A professional wrote a report for a patient.
    PatientReportSent(PatientReportSent) = "patient_report_sent":
        SameEvent(
            &["/occurred_on", "/payload/patient/code"],
            "`occurred_on` is the time of the report; two of one patient in one second with equal texts say the same",
        ),
    /// A prescription's PDF is ready. `occurred_on` is the time of the prescription, which may be much earlier.
    PrescriptionCreated(PrescriptionCreated) = "prescription_created":
        SameEvent(&["/payload/prescription/id"], "a prescription is created once; its PDF generated again, with the same link, says the same"),
    /// A patient moved in the waiting room. One event per queued patient, many of them in the same second.
    PatientWaitingRoomPositionUpdate(PatientWaitingRoomPositionUpdate) = "patient_waiting_room_position_update":
        MayRecur("a patient can return to a position within one second, the unit of `occurred_on`"),
    /// A professional's time was blocked.
    ProfessionalBlockCreated(ProfessionalBlock) = "professional_block_created":
        SameEvent(&["/occurred_on", "/payload/id"], "a block is created once"),
    /// A block of a professional's time was changed.
    ProfessionalBlockUpdated(ProfessionalBlock) = "professional_block_updated":
        MayRecur("a block can be changed, changed back and changed again within one second, the unit of `occurred_on`"),
    /// A block of a professional's time was removed.
    ProfessionalBlockDeleted(ProfessionalBlock) = "professional_block_deleted":
        SameEvent(&["/occurred_on", "/payload/id"], "a block is deleted once"),
}

payload! {
    /// A consultation and its results.
    pub struct PatientConsultation {
        /// The consultation.
        pub consultation: Option<Consultation> = "consultation",
        /// Reports written in the consultation.
        pub reports: Vec<ConsultationReport> = "reports",
        /// The patient, with the medical history.
        pub patient: Option<Patient> = "patient",
        /// The professional.
        pub professional: Option<Professional> = "professional",
        /// Prescriptions made in the consultation.
        pub prescriptions: Vec<Prescription> = "prescriptions",
        /// The referral of the patient. Finished appointments only.
        pub derivation: Option<Derivation> = "derivation",
        /// The patient's information before the appointment. Since May 2026; empty for chats.
        pub preconsultation: Option<PreConsultation> = "preconsultation",
    }

    /// A patient missed an appointment.
    pub struct PatientConsultationNoShow {
        /// The appointment.
        pub consultation: Option<Consultation> = "consultation",
        /// The patient, with the medical history.
        pub patient: Option<Patient> = "patient",
        /// The professional.
        pub professional: Option<Professional> = "professional",
        /// The patient's information before the appointment. Since May 2026.
        pub preconsultation: Option<PreConsultation> = "preconsultation",
    }

    /// A professional sent a message to a patient. The event contains neither the message nor its id.
    pub struct PatientMessageReceived {
        /// The sender of the message.
        pub professional: Option<Professional> = "professional",
        /// The recipient of the message.
        pub patient: Option<PatientCode> = "patient",
        /// The state of the message. Since May 2026.
        pub message: Option<Message> = "message",
    }

    /// The state of a message.
    pub struct Message {
        /// Whether the patient had read the message when the delivery was sent, some two seconds later.
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
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The medical speciality.
        pub speciality: Option<Speciality> = "speciality",
        /// The signed URL of the patient's video room: a secret.
        pub url: Option<Phi<String>> = "url",
    }

    /// A professional wrote a report for a patient. The report has no id.
    pub struct PatientReportSent {
        /// The type of the report.
        pub report_type: Option<ReportType> = "type",
        /// The content of the report.
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
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The short code.
        pub short_code: Option<Phi<String>> = "short_code",
        /// The prescribed substances.
        pub active_substances: Vec<Phi<String>> = "active_substances",
        /// The time of the prescription.
        pub prescribed_at: Option<Time> = "prescribed_at",
        /// The link to the PDF. It works without authentication: a secret.
        pub pdf_url: Option<Phi<String>> = "pdf_url",
        /// The type of the consultation that led to the prescription.
        pub consultation_type: Option<ConsultationType> = "consultation_type",
        /// The id of the consultation that led to the prescription.
        pub consultation_id: Option<Phi<String>> = "consultation_id",
    }

    /// A patient moved in the waiting room.
    pub struct PatientWaitingRoomPositionUpdate {
        /// The waiting room.
        pub consultation: Option<WaitingRoom> = "consultation",
        /// The patient.
        pub patient: Option<PatientCode> = "patient",
    }

    /// A patient's position in a waiting room.
    pub struct WaitingRoom {
        /// The medical speciality.
        pub speciality: Option<Speciality> = "speciality",
        /// The patient's position.
        pub position: Option<Phi<u64>> = "position",
        /// The URL of the patient's video room, with a token in its query: a secret.
        pub url: Option<Phi<String>> = "url",
    }

    /// A period in which a professional is not available.
    pub struct ProfessionalBlock {
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The name of the block.
        pub name: Option<Phi<String>> = "name",
        /// When the block begins.
        pub starts_at: Option<Time> = "starts_at",
        /// When the block ends.
        pub finishes_at: Option<Time> = "finishes_at",
        /// The professional who is not available.
        pub professional: Option<BlockedProfessional> = "professional",
    }

    /// A professional, in the shape that blocks use. Its keys differ from those of [`Professional`].
    pub struct BlockedProfessional {
        /// The id of the professional, as in [`Professional::id`].
        pub hash: Option<Phi<String>> = "hash",
        /// The name.
        pub name: Option<Phi<String>> = "name",
        /// The speciality's name.
        pub speciality: Option<Phi<String>> = "speciality",
    }

    /// An appointment or a chat.
    pub struct Consultation {
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The type: an appointment or a chat.
        pub consultation_type: Option<ConsultationType> = "type",
        /// The communication channel.
        pub channel: Option<Channel> = "channel",
        /// The way in which the appointment was arranged. Absent for chats.
        pub service_type: Option<ServiceType> = "service_type",
        /// The URL of the video room: a secret. Absent for chats.
        pub consultation_url: Option<Phi<String>> = "consultation_url",
        /// The scheduled start. Absent for chats.
        pub scheduled_start_date: Option<Time> = "scheduled_start_date",
        /// The scheduled end. Absent for chats.
        pub scheduled_end_date: Option<Time> = "scheduled_end_date",
        /// The scheduled start before the appointment was rescheduled.
        pub previous_scheduled_start_date: Option<Time> = "previous_scheduled_start_date",
        /// The scheduled end before the appointment was rescheduled.
        pub previous_scheduled_end_date: Option<Time> = "previous_scheduled_end_date",
        /// The actual start.
        pub start_date: Option<Time> = "start_date",
        /// The actual end.
        pub end_date: Option<Time> = "end_date",
        /// When the consultation was created.
        pub created_at: Option<Time> = "created_at",
        /// The medical speciality.
        pub speciality: Option<Speciality> = "speciality",
    }

    /// A medical speciality.
    pub struct Speciality {
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The name of the speciality. In a waiting room: the name of its schedule.
        pub name: Option<Phi<String>> = "name",
    }

    /// A patient, with the medical history.
    pub struct Patient {
        /// Your own id of the patient.
        pub code: Option<Phi<String>> = "code",
        /// Allergies.
        pub allergies: Vec<HistoryEntry> = "allergies",
        /// Diseases.
        pub diseases: Vec<HistoryEntry> = "diseases",
        /// Medications.
        pub medications: Vec<Medication> = "medications",
    }

    /// A patient, identified by your own id only.
    pub struct PatientCode {
        /// Your own id of the patient.
        pub code: Option<Phi<String>> = "code",
    }

    /// An allergy or a disease.
    pub struct HistoryEntry {
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The name.
        pub name: Option<Phi<String>> = "name",
        /// A description.
        pub description: Option<Phi<String>> = "description",
    }

    /// A medication.
    pub struct Medication {
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The name.
        pub name: Option<Phi<String>> = "name",
        /// A description.
        pub description: Option<Phi<String>> = "description",
        /// The dosage instructions.
        pub posology: Option<Phi<String>> = "posology",
    }

    /// A professional.
    pub struct Professional {
        /// The professional's id, a hash.
        pub id: Option<Phi<String>> = "id",
        /// The name.
        pub name: Option<Phi<String>> = "name",
        /// The URL of a picture.
        pub avatar: Option<Phi<String>> = "avatar",
    }

    /// A report written in a consultation.
    pub struct ConsultationReport {
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The type of the report.
        pub report_type: Option<ReportType> = "type",
        /// The content of the report.
        pub content: Option<ReportContent> = "content",
    }

    /// The content of a report. The four fields are those of a [`ReportType::Soap`]; no other type is documented.
    pub struct ReportContent {
        /// The patient's account.
        pub subjective: Option<Phi<String>> = "subjective",
        /// The findings.
        pub objective: Option<Phi<String>> = "objective",
        /// The diagnosis. In the newest documents an ICD-10 code, a space and its description in the language of the
        /// catalog; in older ones free text.
        pub assessment: Option<Phi<String>> = "assessment",
        /// The treatment plan.
        pub plan: Option<Phi<String>> = "plan",
        ..
        /// The fields of other report types, by key.
        pub rest,
    }

    /// A prescription made in a consultation.
    pub struct Prescription {
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The prescribed substances.
        pub active_substances: Vec<Phi<String>> = "active_substances",
    }

    /// A referral of a patient.
    pub struct Derivation {
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The description of the referral.
        pub description: Option<Phi<String>> = "description",
    }

    /// Information that a patient gave before an appointment.
    pub struct PreConsultation {
        /// The reason for the appointment, as free text.
        pub reason: Option<Phi<String>> = "reason",
        /// The documents that the patient attached.
        pub documents: Vec<AttachedDocument> = "documents",
    }

    /// A document that a patient attached.
    pub struct AttachedDocument {
        /// The id.
        pub id: Option<Phi<String>> = "id",
        /// The file name.
        pub file_name: Option<Phi<String>> = "file_name",
        /// The link to the document: a secret. It works without authentication and expires 24 hours after the delivery
        /// was sent.
        pub url: Option<Phi<String>> = "url",
    }
}

open_enum! {
    /// The type of a consultation.
    pub enum ConsultationType {
        /// An appointment.
        Appointment = "appointment",
        /// A chat.
        Chat = "chat",
    }
}

open_enum! {
    /// The channel between patient and professional.
    pub enum Channel {
        /// Video.
        Video = "video",
        /// Phone.
        Phone = "phone",
        /// Text chat.
        Chat = "chat",
    }
}

open_enum! {
    /// The way in which an appointment was arranged.
    pub enum ServiceType {
        /// It was scheduled in advance.
        Scheduled = "scheduled",
        /// It was requested for immediately.
        Immediate = "immediate",
    }
}

open_enum! {
    /// The type of a report.
    pub enum ReportType {
        /// A SOAP note: subjective, objective, assessment, plan.
        Soap = "soap",
    }
}
