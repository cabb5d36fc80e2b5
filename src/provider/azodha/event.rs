//! Azodha's events: <https://docs.azodha.com/webhook-guide>, section "Event Details".
//!
//! The guide names some keys of each event and shows no sample that could be read. A struct here has the keys that are
//! named, as the guide writes them, and in `rest` all others as they came; an event of which no key is named is
//! [`Undocumented`]. The payload of an event is the whole body. Where the guide does not tell a field's type, an id, a
//! name or a date is a text (a whole number becomes its digits) and everything else is raw JSON.

use crate::event::Undocumented;
use crate::payload::{open_enum, payload};
use crate::{Phi, RawJson};

crate::provider::events::events! { "azodha":
    /// An appointment was made or changed, and a care task's activity log with it.
    AppointmentToCareTaskActivityLog(Undocumented) = "AppointmentToCareTaskActivityLog",
    /// An uploaded PDF is to become observations.
    InferenceToObservations(InferenceToObservations) = "InferenceToObservations",
    /// Medical data is to become key findings.
    InferenceToKeyFindings(InferenceToKeyFindings) = "InferenceToKeyFindings",
    /// A wellbeing score is worked out from an assessment's answers.
    AssessmentResponseToWellbeingScore(AssessmentResponseToWellbeingScore) = "AssessmentResponseToWellbeingScore",
    /// An appointment was booked.
    BookAppointment(BookAppointment) = "BookAppointment",
    /// Medical data is to become care tasks.
    InferenceToCareTasks(InferenceToCareTasks) = "InferenceToCareTasks",
    /// How many health records a patient has.
    HealthRecordCounter(HealthRecordCounter) = "HealthRecordCounter",
    /// Something to notify of, such as a patient in the virtual waiting room.
    Notification(Notification) = "Notification",
    /// A patient was enrolled in a health program.
    HealthProgramActivated(HealthProgramActivated) = "HealthProgramActivated",
    /// A file was uploaded, and its tests are done.
    UploadedFileAndTest(UploadedFileAndTest) = "UploadedFileAndTest",
    /// A health assessment was completed.
    SurveyAssessment(SurveyAssessment) = "SurveyAssessment",
    /// Something about telemedicine.
    OpenTele(Undocumented) = "OpenTele",
}

payload! {
    /// An uploaded PDF is to become observations.
    ///
    /// It reads like a request for an inference. Whether Azodha expects the result in the answer to this delivery is
    /// [not documented](super#inference).
    pub struct InferenceToObservations {
        /// The file. Begins with your organization's id.
        pub file_id: Option<Phi<String>> = "fileId",
        /// The file's type; `application/pdf` only, so far.
        pub mime_type: Option<Phi<String>> = "mimeType",
        /// The kind's name.
        pub event: Option<Phi<String>> = "event",
        /// In what context the inference is made.
        pub use_case_name: Option<Phi<String>> = "useCaseName",
        /// More for the inference to go by: an object.
        pub data: Option<RawJson> = "data",
        /// The model to use.
        pub model: Option<RawJson> = "model",
        /// The prompts. They may hold clinical data.
        pub prompts: Vec<Prompt> = "prompts",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// A prompt for a model.
    pub struct Prompt {
        /// Its id.
        pub prompt_id: Option<Phi<String>> = "promptId",
        /// What it says.
        pub text: Option<Phi<String>> = "text",
        /// The format that the output is to have, where there is one.
        pub expected_output_format: Option<RawJson> = "expectedOutputFormat",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// Medical data is to become key findings.
    ///
    /// It reads like a request for an inference. Whether Azodha expects the result in the answer to this delivery is
    /// [not documented](super#inference).
    pub struct InferenceToKeyFindings {
        /// Files (such as blood tests and body scans), answers to surveys, codes of observations.
        pub input_data: Option<RawJson> = "inputData",
        /// The kind's name.
        pub event: Option<Phi<String>> = "event",
        /// The patient.
        pub data: Option<KeyFindingsPatient> = "data",
        /// What it is for: `Key Findings Generation`.
        pub use_case_name: Option<Phi<String>> = "useCaseName",
        /// The model to use.
        pub model: Option<RawJson> = "model",
        /// The prompts, in a shape that is not documented here; perhaps a list of [`Prompt`]s, as in
        /// [`InferenceToObservations`]. They may hold clinical data.
        pub prompts: Option<RawJson> = "prompts",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// Whose key findings are asked for. The patient's preferred language is documented without its key, and so in
    /// [`rest`](KeyFindingsPatient::rest).
    pub struct KeyFindingsPatient {
        /// The patient.
        pub patient_id: Option<Phi<String>> = "patientId",
        /// The patient's care plan.
        pub care_plan_id: Option<Phi<String>> = "carePlanId",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// A wellbeing score is worked out from an assessment's answers.
    pub struct AssessmentResponseToWellbeingScore {
        /// The kind's name.
        pub event_name: Option<Phi<String>> = "eventName",
        /// Whose score it is.
        pub patient_id: Option<Phi<String>> = "patientId",
        /// What the event is about.
        pub event_entity: Option<EventEntity> = "eventEntity",
        /// The answers.
        pub assessment_response_id: Option<Phi<String>> = "assessmentResponseId",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// An appointment was booked.
    ///
    /// The guide also speaks of the appointment's type (see [`AppointmentType`]), participants, attributes and
    /// resources, without saying at which keys: they are in [`rest`](BookAppointment::rest).
    pub struct BookAppointment {
        /// The appointment.
        pub id: Option<Phi<String>> = "id",
        /// Its day, in a format that is not documented.
        pub date: Option<Phi<String>> = "date",
        /// When it begins, as [`date`](BookAppointment::date).
        pub start_time: Option<Phi<String>> = "startTime",
        /// When it ends, as [`date`](BookAppointment::date).
        pub end_time: Option<Phi<String>> = "endTime",
        /// What kind of place it is at.
        pub location_type: Option<Phi<String>> = "locationType",
        /// Where it stands.
        pub status: Option<Phi<String>> = "status",
        /// The patient.
        pub patient_id: Option<Phi<String>> = "patientId",
        /// The patient's first name.
        pub first_name: Option<Phi<String>> = "firstName",
        /// The patient's last name.
        pub last_name: Option<Phi<String>> = "lastName",
        /// The patient's e-mail address.
        pub email: Option<Phi<String>> = "email",
        /// The patient's telephone number.
        pub patient_mobile_number: Option<Phi<String>> = "patientMobileNumber",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// What kind of appointment it is. At which key of a [`BookAppointment`] or a [`NotifiedAppointment`] it stands is
    /// not documented, so no event has it as a field: decode it from where you find it.
    ///
    /// ```
    /// use medhook::azodha::{AppointmentType, BookAppointment};
    ///
    /// let json = r#"{"id": 1, "whereYouFindIt": {"name": "First visit", "durationInMinutes": 30}}"#;
    /// let booked: BookAppointment = serde_json::from_str(json)?;
    /// let kind: AppointmentType = booked.rest["whereYouFindIt"].decode()?;
    /// assert_eq!(kind.name.unwrap(), "First visit");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub struct AppointmentType {
        /// Its name.
        pub name: Option<Phi<String>> = "name",
        /// What it is.
        pub description: Option<Phi<String>> = "description",
        /// How long it takes, in minutes.
        pub duration_in_minutes: Option<RawJson> = "durationInMinutes",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// Medical data is to become care tasks.
    ///
    /// It reads like a request for an inference. Whether Azodha expects the result in the answer to this delivery is
    /// [not documented](super#inference).
    pub struct InferenceToCareTasks {
        /// Files, answers to surveys, codes of observations.
        pub input_data: Option<RawJson> = "inputData",
        /// The kind's name.
        pub event: Option<Phi<String>> = "event",
        /// What it is for: `File Ingestion`.
        pub use_case_name: Option<Phi<String>> = "useCaseName",
        /// The patient, goals and key findings.
        pub data: Option<RawJson> = "data",
        /// The model to use.
        pub model: Option<RawJson> = "model",
        /// The prompts, as in [`InferenceToKeyFindings`].
        pub prompts: Option<RawJson> = "prompts",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// How many health records a patient has.
    pub struct HealthRecordCounter {
        /// How many.
        pub count: Option<Phi<u64>> = "count",
        /// The kind's name.
        pub event_name: Option<Phi<String>> = "eventName",
        /// Whose.
        pub patient_id: Option<Phi<String>> = "patientId",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// Something to notify of. Documented is a patient who joined the virtual waiting room. What tells one sort from
    /// another is documented without its key, and so in [`rest`](Notification::rest).
    pub struct Notification {
        /// What it is about.
        pub data: Option<NotificationData> = "data",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// What a notification is about.
    pub struct NotificationData {
        /// The appointment.
        pub appointment: Option<NotifiedAppointment> = "appointment",
        /// The patient's full name.
        pub patient_name: Option<Phi<String>> = "patientName",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// The appointment that a notification is about.
    ///
    /// Documented without their keys, and so in [`rest`](NotifiedAppointment::rest): the patient, the appointment's
    /// attributes (such as the chief complaint) and its type (see [`AppointmentType`]).
    pub struct NotifiedAppointment {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// Its day, in a format that is not documented.
        pub date: Option<Phi<String>> = "date",
        /// Its time, as [`date`](NotifiedAppointment::date).
        pub time: Option<Phi<String>> = "time",
        /// Where it stands.
        pub status: Option<Phi<String>> = "status",
        /// The room of the video call. Treat it as a secret: to know it may be enough to enter.
        pub open_tele_room: Option<RawJson> = "openTeleRoom",
        /// The providers who take part.
        pub participants: Option<RawJson> = "participants",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// A patient was enrolled in a health program.
    pub struct HealthProgramActivated {
        /// The enrolment.
        pub data: Option<HealthProgram> = "data",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// A patient's health program.
    pub struct HealthProgram {
        /// How long it goes on. Whether this is a number or a text, and in which unit, is not documented.
        pub duration: Option<RawJson> = "duration",
        /// The patient.
        pub patient_id: Option<Phi<String>> = "patientId",
        /// The providers, with their roles and how to reach them.
        pub providers: Vec<RawJson> = "providers",
        /// The patient's name.
        pub patient_name: Option<Phi<String>> = "patientName",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// A file was uploaded, and its tests are done.
    pub struct UploadedFileAndTest {
        /// Whose file, which file.
        pub data: Option<UploadedFileData> = "data",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// Whose file it is, and which.
    pub struct UploadedFileData {
        /// The patient, with demographics and health scores.
        pub patient: Option<RawJson> = "patient",
        /// The file.
        pub file: Option<UploadedFile> = "file",
        /// The organization's providers, with their roles and how to reach them.
        pub providers: Vec<RawJson> = "providers",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// An uploaded file.
    ///
    /// Documented without their keys, and so in [`rest`](UploadedFile::rest): what the file says about the patient, and
    /// whether it is archived.
    pub struct UploadedFile {
        /// Its id.
        pub id: Option<Phi<String>> = "id",
        /// Its name.
        pub name: Option<Phi<String>> = "name",
        /// Where it is stored. Treat it as a secret: to know it may be enough to fetch the file.
        pub cloud_id: Option<Phi<String>> = "cloudId",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// A health assessment was completed.
    pub struct SurveyAssessment {
        /// Whose assessment, and what came of it.
        pub data: Option<SurveyAssessmentData> = "data",
        /// The kind's name.
        pub event_name: Option<Phi<String>> = "eventName",
        /// What the event is about.
        pub event_type: Option<EventType> = "eventType",
        /// What happened to it.
        pub event_sub_type: Option<EventSubType> = "eventSubType",
        /// A sort of user; in what role is not documented.
        pub user_type: Option<UserType> = "userType",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// Whose assessment it is, and what came of it.
    pub struct SurveyAssessmentData {
        /// The patient, with how to reach them and health scores.
        pub patient: Option<RawJson> = "patient",
        /// The assessment.
        pub assessment: Option<Assessment> = "assessment",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }

    /// A health assessment.
    pub struct Assessment {
        /// Its id. Whether this is the patient's own assessment or the form that many fill in is not documented.
        pub id: Option<Phi<String>> = "id",
        /// Its name.
        pub name: Option<Phi<String>> = "name",
        /// Where it stands.
        pub status: Option<Phi<String>> = "status",
        /// How the questionnaire is built.
        pub assessment_questionnaire_object: Option<RawJson> = "assessmentQuestionnaireObject",
        /// What the patient answered.
        pub assessment_response_object: Option<RawJson> = "assessmentResponseObject",
        /// The providers who look after the patient.
        pub assigned_service_providers: Option<RawJson> = "assignedServiceProviders",
        ..
        /// Every key that no other field is for, with its value as sent.
        pub rest,
    }
}

open_enum! {
    /// What an [`AssessmentResponseToWellbeingScore`] is about.
    pub enum EventEntity {
        /// Answers to a survey.
        SurveyResponse = "Survey_Response",
    }
}

open_enum! {
    /// What a [`SurveyAssessment`] is about.
    pub enum EventType {
        /// A survey.
        Survey = "SURVEY",
    }
}

open_enum! {
    /// What happened in a [`SurveyAssessment`].
    pub enum EventSubType {
        /// The assessment was completed.
        AssessmentCompleted = "ASSESSMENT_COMPLETED",
    }
}

open_enum! {
    /// A sort of user, in a [`SurveyAssessment`].
    pub enum UserType {
        /// Someone who treats patients.
        ServiceProvider = "serviceProvider",
    }
}
