//! The fixtures of this provider. A test compares this list with the folder.

use crate::provider::test_data::{TestData, test_data};

pub(super) const TEST_DATA: TestData = test_data! {
    "azodha",
    marks: &[
    "/id",
    "/assessmentResponseId",
    "/data/appointment/id",
    "/data/assessment/id",
    "/data/file/id",
    "/data/patientId",
    "/patientId",
    "/fileId",
],
    "AppointmentToCareTaskActivityLog"
    "AssessmentResponseToWellbeingScore"
    "BookAppointment"
    "BookAppointment.numbers"
    "HealthProgramActivated.duration-text"
    "HealthProgramActivated"
    "HealthRecordCounter"
    "HealthRecordCounter.organization-code"
    "InferenceToCareTasks"
    "InferenceToKeyFindings"
    "InferenceToObservations"
    "Notification.event-name"
    "Notification"
    "OpenTele"
    "SurveyAssessment"
    "UploadedFileAndTest"
    "UploadedFileAndTest.named"
};
