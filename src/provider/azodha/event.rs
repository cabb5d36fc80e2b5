//! The events of Azodha: <https://docs.azodha.com/webhook-guide>, section "Event Details".
//!
//! The guide names some keys of each event, and no readable sample exists. A struct has a field for each documented
//! key, spelled as in the guide, and keeps all other keys unchanged in `rest`. An event without documented keys is
//! [`Undocumented`]. The payload of an event is the whole body. Where the guide does not state a field's type, ids,
//! names and dates are strings (a whole number is converted to its digits) and everything else is raw JSON.

use crate::event::Undocumented;
use crate::payload::{open_enum, payload};
use crate::provider::EqualBytes::{MayRecur, SameEvent};
use crate::{Phi, RawJson};

crate::provider::events::events! { "azodha":
    /// An appointment was created or updated, with the activity log of a care task.
    AppointmentToCareTaskActivityLog(Undocumented) = "AppointmentToCareTaskActivityLog":
        MayRecur("its keys are undocumented"),
    /// An inference from an uploaded PDF to observations.
    InferenceToObservations(InferenceToObservations) = "InferenceToObservations":
        MayRecur("the same inference can be requested again"),
    /// An inference from medical data to key findings.
    InferenceToKeyFindings(InferenceToKeyFindings) = "InferenceToKeyFindings":
        MayRecur("the same inference can be requested again"),
    /// A wellbeing score computed from the answers of an assessment.
    AssessmentResponseToWellbeingScore(AssessmentResponseToWellbeingScore) = "AssessmentResponseToWellbeingScore":
        MayRecur("the score of the same answers can be computed again"),
    /// An appointment was booked.
    BookAppointment(BookAppointment) = "BookAppointment":
        MayRecur("an appointment can be canceled and booked again"),
    /// An inference from medical data to care tasks.
    InferenceToCareTasks(InferenceToCareTasks) = "InferenceToCareTasks":
        MayRecur("the same inference can be requested again"),
    /// The number of a patient's health records.
    HealthRecordCounter(HealthRecordCounter) = "HealthRecordCounter":
        MayRecur("a count can change and change back"),
    /// A notification, such as of a patient in the virtual waiting room.
    Notification(Notification) = "Notification":
        MayRecur("a patient can leave the waiting room and join it again"),
    /// A patient was enrolled in a health program.
    HealthProgramActivated(HealthProgramActivated) = "HealthProgramActivated":
        MayRecur("a patient can leave a program and join it again"),
    /// A file was uploaded and its tests are complete.
    UploadedFileAndTest(UploadedFileAndTest) = "UploadedFileAndTest":
        SameEvent(&["/data/file/id"], "a file is uploaded once"),
    /// A health assessment was completed.
    SurveyAssessment(SurveyAssessment) = "SurveyAssessment":
        MayRecur("an assessment may be completed again with the same answers, and no id or time of the answers is documented"),
    /// A telemedicine event.
    OpenTele(Undocumented) = "OpenTele":
        MayRecur("its keys are undocumented"),
}

payload! {
    /// An inference from an uploaded PDF to observations.
    ///
    /// The event looks like a request for an inference. Whether Azodha expects the result in the response to the
    /// delivery is [undocumented](super#inference).
    pub struct InferenceToObservations {
        /// The id of the file. Begins with your organization's id.
        pub file_id: Option<Phi<String>> = "fileId",
        /// The media type of the file. Only `application/pdf` is documented.
        pub mime_type: Option<Phi<String>> = "mimeType",
        /// The name of the kind.
        pub event: Option<Phi<String>> = "event",
        /// The use case of the inference.
        pub use_case_name: Option<Phi<String>> = "useCaseName",
        /// Further data for the inference: an object.
        pub data: Option<RawJson> = "data",
        /// The model to use.
        pub model: Option<RawJson> = "model",
        /// The prompts. They may contain clinical data.
        pub prompts: Vec<Prompt> = "prompts",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// A prompt for a model.
    pub struct Prompt {
        /// The id of the prompt.
        pub prompt_id: Option<Phi<String>> = "promptId",
        /// The text of the prompt.
        pub text: Option<Phi<String>> = "text",
        /// The expected output format, if applicable.
        pub expected_output_format: Option<RawJson> = "expectedOutputFormat",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// An inference from medical data to key findings.
    ///
    /// The event looks like a request for an inference. Whether Azodha expects the result in the response to the
    /// delivery is [undocumented](super#inference).
    pub struct InferenceToKeyFindings {
        /// Files (such as blood tests and body scans), survey responses, and observation codes.
        pub input_data: Option<RawJson> = "inputData",
        /// The name of the kind.
        pub event: Option<Phi<String>> = "event",
        /// The patient.
        pub data: Option<KeyFindingsPatient> = "data",
        /// The use case of the inference: `Key Findings Generation`.
        pub use_case_name: Option<Phi<String>> = "useCaseName",
        /// The model to use.
        pub model: Option<RawJson> = "model",
        /// The prompts, in an undocumented shape; possibly a list of [`Prompt`]s, as in [`InferenceToObservations`].
        /// They may contain clinical data.
        pub prompts: Option<RawJson> = "prompts",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// The patient of an [`InferenceToKeyFindings`]. The guide does not name the key of the patient's preferred
    /// language, so the language is in [`rest`](KeyFindingsPatient::rest).
    pub struct KeyFindingsPatient {
        /// The id of the patient.
        pub patient_id: Option<Phi<String>> = "patientId",
        /// The id of the patient's care plan.
        pub care_plan_id: Option<Phi<String>> = "carePlanId",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// A wellbeing score computed from the answers of an assessment.
    pub struct AssessmentResponseToWellbeingScore {
        /// The name of the kind.
        pub event_name: Option<Phi<String>> = "eventName",
        /// The id of the patient.
        pub patient_id: Option<Phi<String>> = "patientId",
        /// The entity that the event is about.
        pub event_entity: Option<EventEntity> = "eventEntity",
        /// The id of the assessment's answers.
        pub assessment_response_id: Option<Phi<String>> = "assessmentResponseId",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// An appointment was booked.
    ///
    /// The guide also mentions the appointment's type (see [`AppointmentType`]), participants, attributes and
    /// resources, without naming their keys: they are in [`rest`](BookAppointment::rest).
    pub struct BookAppointment {
        /// The id of the appointment.
        pub id: Option<Phi<String>> = "id",
        /// The date of the appointment, in an undocumented format.
        pub date: Option<Phi<String>> = "date",
        /// The start of the appointment, in an undocumented format.
        pub start_time: Option<Phi<String>> = "startTime",
        /// The end of the appointment, in an undocumented format.
        pub end_time: Option<Phi<String>> = "endTime",
        /// The type of the location.
        pub location_type: Option<Phi<String>> = "locationType",
        /// The status of the appointment.
        pub status: Option<Phi<String>> = "status",
        /// The id of the patient.
        pub patient_id: Option<Phi<String>> = "patientId",
        /// The patient's first name.
        pub first_name: Option<Phi<String>> = "firstName",
        /// The patient's last name.
        pub last_name: Option<Phi<String>> = "lastName",
        /// The patient's e-mail address.
        pub email: Option<Phi<String>> = "email",
        /// The patient's mobile phone number.
        pub patient_mobile_number: Option<Phi<String>> = "patientMobileNumber",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// The type of an appointment. Its key in a [`BookAppointment`] or a [`NotifiedAppointment`] is undocumented, so no
    /// event has a field for it: decode it from the key that you observe.
    ///
    /// ```
    /// use medhook::azodha::{AppointmentType, BookAppointment};
    ///
    /// let json = r#"{"id": 1, "observedKey": {"name": "First visit"}}"#;
    /// let booked: BookAppointment = serde_json::from_str(json)?;
    /// let kind: AppointmentType = booked.rest.expose()["observedKey"].decode()?;
    /// assert_eq!(kind.name.unwrap(), "First visit");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub struct AppointmentType {
        /// The name.
        pub name: Option<Phi<String>> = "name",
        /// The description.
        pub description: Option<Phi<String>> = "description",
        /// The duration in minutes.
        pub duration_in_minutes: Option<RawJson> = "durationInMinutes",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// An inference from medical data to care tasks.
    ///
    /// The event looks like a request for an inference. Whether Azodha expects the result in the response to the
    /// delivery is [undocumented](super#inference).
    pub struct InferenceToCareTasks {
        /// Files, survey responses, and observation codes.
        pub input_data: Option<RawJson> = "inputData",
        /// The name of the kind.
        pub event: Option<Phi<String>> = "event",
        /// The use case of the inference: `File Ingestion`.
        pub use_case_name: Option<Phi<String>> = "useCaseName",
        /// The patient, goals and key findings.
        pub data: Option<RawJson> = "data",
        /// The model to use.
        pub model: Option<RawJson> = "model",
        /// The prompts, as in [`InferenceToKeyFindings`].
        pub prompts: Option<RawJson> = "prompts",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// The number of a patient's health records.
    pub struct HealthRecordCounter {
        /// The number of records.
        pub count: Option<Phi<u64>> = "count",
        /// The name of the kind.
        pub event_name: Option<Phi<String>> = "eventName",
        /// The id of the patient.
        pub patient_id: Option<Phi<String>> = "patientId",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// A notification. The documented example is a patient who joined the virtual waiting room. The guide does not name
    /// the keys of the event metadata, so the metadata is in [`rest`](Notification::rest).
    pub struct Notification {
        /// The subject of the notification.
        pub data: Option<NotificationData> = "data",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// The subject of a notification.
    pub struct NotificationData {
        /// The appointment.
        pub appointment: Option<NotifiedAppointment> = "appointment",
        /// The patient's full name.
        pub patient_name: Option<Phi<String>> = "patientName",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// The appointment that a notification is about.
    ///
    /// The guide does not name the keys of the patient, the appointment's attributes (such as the chief complaint) and
    /// its type (see [`AppointmentType`]), so they are in [`rest`](NotifiedAppointment::rest).
    pub struct NotifiedAppointment {
        /// The id of the appointment.
        pub id: Option<Phi<String>> = "id",
        /// The date of the appointment, in an undocumented format.
        pub date: Option<Phi<String>> = "date",
        /// The time of the appointment, in an undocumented format.
        pub time: Option<Phi<String>> = "time",
        /// The status of the appointment.
        pub status: Option<Phi<String>> = "status",
        /// The room of the video call. Treat it as a secret: it may suffice to enter the room.
        pub open_tele_room: Option<RawJson> = "openTeleRoom",
        /// The participating providers.
        pub participants: Option<RawJson> = "participants",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// A patient was enrolled in a health program.
    pub struct HealthProgramActivated {
        /// The enrollment.
        pub data: Option<HealthProgram> = "data",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// A patient's health program.
    pub struct HealthProgram {
        /// The duration. Its type (number or string) and its unit are undocumented.
        pub duration: Option<RawJson> = "duration",
        /// The id of the patient.
        pub patient_id: Option<Phi<String>> = "patientId",
        /// The providers, with their roles and contact information.
        pub providers: Vec<RawJson> = "providers",
        /// The patient's name.
        pub patient_name: Option<Phi<String>> = "patientName",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// A file was uploaded and its tests are complete.
    pub struct UploadedFileAndTest {
        /// The file and its patient.
        pub data: Option<UploadedFileData> = "data",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// An uploaded file and its patient.
    pub struct UploadedFileData {
        /// The patient, with demographics and health scores.
        pub patient: Option<RawJson> = "patient",
        /// The file.
        pub file: Option<UploadedFile> = "file",
        /// The organization's providers, with their roles and contact information.
        pub providers: Vec<RawJson> = "providers",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// An uploaded file.
    ///
    /// The guide does not name the keys of the patient details extracted from the file and of its archival status, so
    /// they are in [`rest`](UploadedFile::rest).
    pub struct UploadedFile {
        /// The id of the file.
        pub id: Option<Phi<String>> = "id",
        /// The name of the file.
        pub name: Option<Phi<String>> = "name",
        /// The file's id in cloud storage. Treat it as a secret: it may suffice to fetch the file.
        pub cloud_id: Option<Phi<String>> = "cloudId",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// A health assessment was completed.
    pub struct SurveyAssessment {
        /// The assessment and its patient.
        pub data: Option<SurveyAssessmentData> = "data",
        /// The name of the kind.
        pub event_name: Option<Phi<String>> = "eventName",
        /// The type of the event.
        pub event_type: Option<EventType> = "eventType",
        /// The subtype of the event.
        pub event_sub_type: Option<EventSubType> = "eventSubType",
        /// A type of user. Its role in the event is undocumented.
        pub user_type: Option<UserType> = "userType",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// A completed assessment and its patient.
    pub struct SurveyAssessmentData {
        /// The patient, with contact information and health scores.
        pub patient: Option<RawJson> = "patient",
        /// The assessment.
        pub assessment: Option<Assessment> = "assessment",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }

    /// A health assessment.
    pub struct Assessment {
        /// The id of the assessment. Whether it identifies the patient's own assessment or a form that many patients
        /// complete is undocumented.
        pub id: Option<Phi<String>> = "id",
        /// The name of the assessment.
        pub name: Option<Phi<String>> = "name",
        /// The status of the assessment.
        pub status: Option<Phi<String>> = "status",
        /// The structure of the questionnaire.
        pub assessment_questionnaire_object: Option<RawJson> = "assessmentQuestionnaireObject",
        /// The patient's answers.
        pub assessment_response_object: Option<RawJson> = "assessmentResponseObject",
        /// The providers assigned to the patient.
        pub assigned_service_providers: Option<RawJson> = "assignedServiceProviders",
        ..
        /// All other keys, with their values as sent.
        pub rest,
    }
}

open_enum! {
    /// The entity that an [`AssessmentResponseToWellbeingScore`] is about.
    pub enum EventEntity {
        /// The answers to a survey.
        SurveyResponse = "Survey_Response",
    }
}

open_enum! {
    /// The type of a [`SurveyAssessment`] event.
    pub enum EventType {
        /// A survey.
        Survey = "SURVEY",
    }
}

open_enum! {
    /// The subtype of a [`SurveyAssessment`] event.
    pub enum EventSubType {
        /// The assessment was completed.
        AssessmentCompleted = "ASSESSMENT_COMPLETED",
    }
}

open_enum! {
    /// A type of user, in a [`SurveyAssessment`].
    pub enum UserType {
        /// A provider who treats patients.
        ServiceProvider = "serviceProvider",
    }
}
