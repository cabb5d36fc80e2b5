//! The fixtures of this provider. A test compares this list with the folder.

use crate::provider::test_data::{TestData, test_data};

pub(super) const TEST_DATA: TestData = test_data! {
    "mediquo",
    marks: &["/payload/consultation/id", "/payload/prescription/id", "/payload/id", "/payload/patient/code"],
    "patient_consultation_cancelled"
    "patient_consultation_created.before_may"
    "patient_consultation_created"
    "patient_consultation_finished.chat"
    "patient_consultation_finished"
    "patient_consultation_finished.one_report"
    "patient_consultation_finished.sdk"
    "patient_consultation_no_show.before_may"
    "patient_consultation_no_show"
    "patient_consultation_rescheduled"
    "patient_immediate_video_call_assigned"
    "patient_message_received.before_may"
    "patient_message_received"
    "patient_message_sent"
    "patient_report_sent.fraction"
    "patient_report_sent"
    "patient_report_sent.nulls"
    "patient_report_sent.other_type"
    "patient_waiting_room_position_update"
    "patient_waiting_room_position_update.nulls"
    "prescription_created"
    "prescription_created.nulls"
    "professional_block_created"
    "professional_block_deleted"
    "professional_block_updated"
};
