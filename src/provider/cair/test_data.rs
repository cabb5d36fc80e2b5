//! The fixtures of this provider. A test compares this list with the folder.

use crate::provider::test_data::{TestData, test_data};

pub(super) const TEST_DATA: TestData = test_data! {
    "cair",
    marks: &["/id", "/report/report_id", "/output/optimizer_run_id", "/claimLifecycleId", "/callId", "/claim_id"],
    "CLAIMS_AI_OPTIMIZER.in-words"
    "CLAIMS_AI_OPTIMIZER"
    "CLAIMS_REMIT_ALL"
    "CLAIMS_REMIT_APPROVED"
    "CLAIMS_REMIT_DENIED"
    "CLAIM_STATUS_CHANGE"
    "CLAIM_STATUS_CHANGE.not-submitted"
    "CLAIM_STATUS_CHANGE.rejected"
    "PATIENT_CHART_ANALYSIS_COMPLETE.api-answer"
    "PATIENT_CHART_ANALYSIS_COMPLETE.chart-report"
    "PATIENT_CHART_ANALYSIS_COMPLETE"
    "PATIENT_CHART_ANALYSIS_COMPLETE.partial"
    "ai-phone-call.failed"
    "ai-phone-call.in-progress"
    "ai-phone-call"
    "x12-optimizer.from-notes"
    "x12-optimizer"
};
