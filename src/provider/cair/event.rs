//! The events of Cair Health.
//!
//! Every field is optional, because the documentation shows samples and rarely says whether a field is always present.
//! Where the documentation is truncated, objects keep undocumented fields in `rest`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::payload::{open_enum, payload};
use crate::provider::EqualBytes::{MayRecur, SameEvent};
use crate::{Phi, RawJson, Time};

crate::provider::events::events! { "cair":
    /// The analysis of a patient's chart is complete.
    ChartAnalysis(ChartReport) = "PATIENT_CHART_ANALYSIS_COMPLETE":
        MayRecur("a chart can be analyzed again with the same result, and no id or time of the analysis is documented"),
    /// The claim scrubber finished a claim.
    ClaimsAiOptimizer(ClaimsAiOptimizer) = "CLAIMS_AI_OPTIMIZER":
        SameEvent(&["/output/optimizer_run_id"], "each run has its own id"),
    /// A claim was submitted, was rejected, or failed to be submitted.
    ClaimStatusChange(ClaimStatusChange) = "CLAIM_STATUS_CHANGE":
        SameEvent(&["/claimLifecycleId", "/newStatus", "/timestamp"], "each change has its own time"),
    /// A remittance, approved or denied. Also every remittance at an endpoint without a pinned kind, because the body
    /// has the same shape for all three.
    ClaimsRemitAll(Remittance) = "CLAIMS_REMIT_ALL":
        MayRecur("a remittance is a FHIR resource, whose state can change and change back, and its `meta` is undocumented"),
    /// An approved remittance. Never inferred from the body: [pin](super::Cair::pin_kind) this kind.
    ClaimsRemitApproved(Remittance) = "CLAIMS_REMIT_APPROVED":
        MayRecur("a remittance is a FHIR resource, whose state can change and change back, and its `meta` is undocumented"),
    /// A denied remittance. Never inferred from the body: [pin](super::Cair::pin_kind) this kind.
    ClaimsRemitDenied(Remittance) = "CLAIMS_REMIT_DENIED":
        MayRecur("a remittance is a FHIR resource, whose state can change and change back, and its `meta` is undocumented"),
    /// The older X12 claim optimizer finished a claim. Cair documents no name for this event; this name is medhook's.
    X12Optimizer(X12Optimizer) = "x12-optimizer":
        MayRecur("a claim can be optimized again with the same result, and a run has no id"),
    /// An AI phone call is in progress or ended. Cair documents no name for this event; this name is medhook's.
    AiPhoneCall(AiPhoneCall) = "ai-phone-call":
        MayRecur("whether a call reports the same status more than once is undocumented"),
}

payload! {
    /// The analysis of a patient's chart is complete.
    ///
    /// The documentation shows three shapes. The fields mirror them; the methods return the same result for every
    /// shape. [`findings`](ChartReport::findings) returns every finding with its path and severity.
    ///
    /// | shape | where the report is |
    /// |---|---|
    /// | [current](https://docs.cairhealth.com/api-reference/endpoint/patient-chart-analysis/get-patient-chart) | `report` |
    /// | [older webhook](https://docs.cairhealth.com/api-reference/endpoint/claims/patient-chart-analysis-webhooks) | `report.chart_report`, its id and time in `report` |
    /// | [older API's response](https://docs.cairhealth.com/api-reference/endpoint/claims/analyze-patient-chart) | `analysis_result.chart_report`, its id and time at the top level |
    pub struct ChartReport {
        /// The id of the analysis. Prefer [`report_id`](ChartReport::report_id).
        pub id: Option<Phi<String>> = "id",
        /// The status of the analysis.
        pub status: Option<AnalysisStatus> = "status",
        /// The completed steps. An analysis may be partial.
        pub completed_events: Vec<CompletedEvent> = "completed_events",
        /// The report.
        pub report: Option<Box<Report>> = "report",
        /// Older API: whether the analysis succeeded.
        pub success: Option<Phi<bool>> = "success",
        /// Older API: the creation time. Prefer [`created_at`](ChartReport::created_at).
        pub created_at: Option<Time> = "created_at",
        /// Older API: the number of issues that need review.
        pub issues_for_review: Option<Phi<u64>> = "issues_for_review",
        /// Older API: the number of checks that passed.
        pub checks_passed: Option<Phi<u64>> = "checks_passed",
        /// Older API: the subject of the chart.
        pub demographics: Option<Demographics> = "demographics",
        /// Older API: the container of the report.
        pub analysis_result: Option<Box<Report>> = "analysis_result",
    }

    /// A report on a chart, or the container of one.
    pub struct Report {
        /// The id of the report.
        pub id: Option<Phi<String>> = "id" | "report_id",
        /// The id of the claim.
        pub claim_id: Option<Phi<String>> = "claim_id",
        /// Older webhook: the creation time. The sample has no offset; it is read as UTC.
        pub created_at: Option<Time> = "created_at",
        /// Older webhook: the chart's file. In the sample this is an id, not a URL.
        pub file_uri: Option<Phi<String>> = "file_uri",
        /// Older shapes: the container of the sub-reports, one level deeper.
        pub chart_report: Option<Box<Report>> = "chart_report",
        /// The codes that the chart supports.
        pub coding_report: Option<CodingReport> = "coding_report",
        /// Contradictions in the chart.
        pub documentation_discrepancy_report: Option<DocumentationDiscrepancyReport> =
            "documentation_discrepancy_report",
        /// The coverage of the diagnoses.
        pub ncd_lcd_analysis: Option<NcdLcdAnalysis> = "ncd_lcd_analysis",
        /// Suggestions for fixing the issues.
        pub suggestions_for_fixing_issues_report: Option<SuggestionsReport> = "suggestions_for_fixing_issues_report",
        /// Whether the times of time-based codes are documented.
        pub time_based_requirements_report: Option<TimeBasedRequirementsReport> = "time_based_requirements_report",
        ..
        /// Undocumented sub-reports. Read them with [`Finding::within`].
        pub rest,
    }

    /// The codes that a chart supports.
    pub struct CodingReport {
        /// The ICD-10 codes of the diagnoses.
        pub icd_10_codes: Vec<DiagnosisCode> = "icd_10_codes",
        /// The CPT codes of the procedures.
        pub cpt_codes: Vec<ProcedureCode> = "cpt_codes",
        ..
        /// Undocumented fields.
        pub rest,
    }

    /// A diagnosis code. Sent as an object in the older shapes, as a string in the current shape.
    pub struct DiagnosisCode or text as code {
        /// The ICD-10 code.
        pub code: Option<Phi<String>> = "icd_10_code",
        /// The severity.
        pub severity: Option<Severity> = "severity",
        ..
        /// Undocumented fields.
        pub rest,
    }

    /// A procedure code. Sent as a string in the current shape. The older samples are truncated before their first one;
    /// if the codes are objects like those of diagnoses, the code is read from `cpt_code`.
    pub struct ProcedureCode or text as code {
        /// The CPT code.
        pub code: Option<Phi<String>> = "cpt_code",
        /// The severity.
        pub severity: Option<Severity> = "severity",
        ..
        /// Undocumented fields.
        pub rest,
    }

    /// Contradictions in a chart.
    pub struct DocumentationDiscrepancyReport {
        /// The discrepancy between chief complaint and history of present illness.
        pub chief_complaint_hpi_discrepancy: Option<Finding> = "chief_complaint_hpi_discrepancy",
        /// The discrepancy between review of systems and history of present illness.
        pub ros_hpi_discrepancy: Option<Finding> = "ros_hpi_discrepancy",
        /// The discrepancy between vital signs and examination.
        pub vitals_exam_discrepancy: Option<Finding> = "vitals_exam_discrepancy",
        /// A summary of the sub-report.
        pub report_summary: Option<Phi<String>> = "report_summary",
        /// The result of the sub-report.
        pub status: Option<ReportStatus> = "status",
        ..
        /// Undocumented fields. Read findings with [`Finding::read`].
        pub rest,
    }

    /// The match of diagnoses with national and local coverage determinations (NCD, LCD).
    pub struct NcdLcdAnalysis {
        /// Whether the diagnoses are covered.
        pub diagnoses_match_ncd_lcd: Option<Finding> = "diagnoses_match_ncd_lcd",
        /// A discrepancy in the frequency.
        pub frequency_discrepancy: Option<Finding> = "frequency_discrepancy",
        /// A discrepancy in the patient's age.
        pub age_discrepancy: Option<Finding> = "age_discrepancy",
        /// A discrepancy in the place of service.
        pub place_of_service_discrepancy: Option<Finding> = "place_of_service_discrepancy",
        /// A summary of the sub-report.
        pub report_summary: Option<Phi<String>> = "report_summary",
        /// The result of the sub-report.
        pub status: Option<ReportStatus> = "status",
        ..
        /// Undocumented fields. Read findings with [`Finding::read`].
        pub rest,
    }

    /// Suggestions for fixing the issues of a chart.
    pub struct SuggestionsReport {
        /// The suggestions.
        pub suggestions: Vec<Phi<String>> = "suggestions",
        ..
        /// Undocumented fields.
        pub rest,
    }

    /// Whether the times of time-based codes are documented. The sample is truncated after its second finding.
    pub struct TimeBasedRequirementsReport {
        /// The documentation of the total time.
        pub total_time_documented: Option<Finding> = "total_time_documented",
        /// The documentation of the start time.
        pub start_time: Option<Finding> = "start_time",
        ..
        /// Undocumented fields. Read findings with [`Finding::read`].
        pub rest,
    }

    /// One finding of a sub-report.
    pub struct Finding {
        /// The subject of the finding.
        pub label: Option<Phi<String>> = "label",
        /// The finding itself.
        pub value: Option<Phi<String>> = "value",
        /// The severity.
        pub severity: Option<Severity> = "severity",
    }

    /// The subject of a chart, in the older API's response.
    pub struct Demographics {
        /// The patient's name.
        pub patient_name: Option<Phi<String>> = "patient_name",
        /// The provider's name.
        pub provider_name: Option<Phi<String>> = "provider_name",
        /// The date of the service.
        pub date_of_service: Option<Time> = "date_of_service",
        /// The patient's date of birth.
        pub patient_birth_date: Option<Time> = "patient_birth_date",
        /// The facility's name.
        pub facility_name: Option<Phi<String>> = "facility_name",
    }

    /// The claim scrubber finished a claim:
    /// <https://docs.cairhealth.com/api-reference/endpoint/agent-actions/webhook-delivery>.
    pub struct ClaimsAiOptimizer {
        /// The output of the claim scrubber.
        pub output: Option<OptimizerOutput> = "output",
    }

    /// The output of the claim scrubber for one claim. The sample is truncated after the description.
    pub struct OptimizerOutput {
        /// The id of the claim.
        pub claim_id: Option<Phi<String>> = "claim_id",
        /// The id of the run.
        pub optimizer_run_id: Option<Phi<String>> = "optimizer_run_id",
        /// A description of the claim, as Markdown that includes the patient. In the documentation's newer sample only
        /// the word `Deprecated`. Prefer [`claim_in_words`](OptimizerOutput::claim_in_words).
        pub ai_generated_claim_extended: Option<Phi<String>> = "ai_generated_claim_extended",
        /// A description of the encounter, as Markdown.
        pub ai_generated_encounter_description: Option<Phi<String>> = "ai_generated_encounter_description",
        /// The proposed changes, if they are sent as in the older [`X12Optimizer`], for which alone they are
        /// documented.
        pub edits: Vec<Edit> = "edits",
        ..
        /// Undocumented fields.
        pub rest,
    }

    /// A change proposed to a claim.
    pub struct Edit {
        /// The proposed difference.
        pub difference: Option<Phi<String>> = "difference",
        /// The reason for the change.
        pub rationale: Option<Phi<String>> = "rationale",
    }

    /// A primary, secondary or resubmitted claim was submitted, was rejected, or failed to be submitted:
    /// <https://docs.cairhealth.com/api-reference/endpoint/claims/claim-status-change-webhooks>.
    pub struct ClaimStatusChange {
        /// The stable FHIR id of the claim.
        pub claim_fhir_id: Option<Phi<String>> = "claimFhirId",
        /// The id of the claim in Cair's URLs and API.
        pub claim_lifecycle_id: Option<Phi<String>> = "claimLifecycleId",
        /// The id of the organization that owns the claim.
        pub organization_id: Option<Phi<String>> = "organizationId",
        /// The new status.
        pub new_status: Option<ClaimStatus> = "newStatus",
        /// The previous status, if known.
        pub previous_status: Option<ClaimStatus> = "previousStatus",
        /// When the change was recorded.
        pub timestamp: Option<Time> = "timestamp",
        /// The errors of a failed submission.
        pub submission_failure_errors: Vec<Phi<String>> = "submissionFailureErrors",
        /// The payer's status code (277CA) of a rejection.
        pub status_code_277: Option<Phi<String>> = "statusCode277",
    }

    /// A remittance: a FHIR R4B `ClaimResponse` that was created or updated:
    /// <https://docs.cairhealth.com/api-reference/endpoint/claims/fhir-claim-response-webhooks>.
    ///
    /// Four of its elements have fields; the others are kept unchanged in `rest`. To read it as a FHIR type of your
    /// own, use [`decode`](Remittance::decode).
    pub struct Remittance {
        /// The type of the resource: `ClaimResponse`.
        pub resource_type: Option<Phi<String>> = "resourceType",
        /// The id of the resource.
        pub id: Option<Phi<String>> = "id",
        /// The status of the resource.
        pub status: Option<RemittanceStatus> = "status",
        /// The outcome of processing the claim. It does not say whether the claim was approved.
        pub outcome: Option<RemittanceOutcome> = "outcome",
        ..
        /// All other elements.
        pub rest,
    }

    /// The older X12 claim optimizer finished a claim:
    /// <https://docs.cairhealth.com/api-reference/endpoint/claims/webhook-delivery>.
    pub struct X12Optimizer {
        /// The id of the claim.
        pub claim_id: Option<Phi<String>> = "claim_id",
        /// The patient's control number.
        pub patient_control_number: Option<Phi<String>> = "patient_control_number",
        /// The proposed changes. Absent for claims drafted from notes.
        pub edits: Vec<Edit> = "edits",
        /// The optimized claim. Its type is undocumented.
        pub ai_generated_claim: Option<RawJson> = "ai_generated_claim",
        /// A summary of the encounter.
        pub ai_generated_encounter_summary: Option<Phi<String>> = "ai_generated_encounter_summary",
        /// An X12 837, ready for submission. Only for claims drafted from notes.
        pub ai_generated_x12_837: Option<Phi<String>> = "ai_generated_x12_837",
    }

    /// An AI phone call is in progress or ended:
    /// <https://docs.cairhealth.com/api-reference/endpoint/aiphonecall/webhook-delivery>.
    pub struct AiPhoneCall {
        /// The id of the call.
        pub call_id: Option<Phi<String>> = "callId",
        /// The status of the call.
        pub status: Option<CallStatus> = "status",
        /// The questions and answers of a completed call, by question key.
        pub results: Option<Phi<BTreeMap<String, Answer>>> = "results",
        /// The error of a failed call.
        pub error: Option<Phi<String>> = "error",
        /// Details of the error.
        pub error_details: Option<CallError> = "errorDetails",
    }

    /// A question asked in a call, and its answer.
    pub struct Answer {
        /// The question.
        pub question: Option<Phi<String>> = "question",
        /// The answer.
        pub answer: Option<Phi<String>> = "answer",
    }

    /// The error details of a failed call.
    pub struct CallError {
        /// The original error.
        pub original_error: Option<Phi<String>> = "originalError",
        /// An internal tag, for Cair's support.
        pub internal_tag: Option<Phi<String>> = "internalTag",
        /// An internal id, for Cair's support.
        pub internal_id: Option<Phi<String>> = "internalId",
        /// The time of the error.
        pub timestamp: Option<Time> = "timestamp",
        /// The webhook that Cair itself received, possibly from another company, in any shape.
        pub webhook_body: Option<RawJson> = "webhookBody",
    }
}

impl ChartReport {
    /// Returns the id of the report, or that of the analysis if the report has none.
    #[must_use]
    pub fn report_id(&self) -> Option<&Phi<String>> {
        self.first(|report| report.id.as_ref()).or(self.id.as_ref())
    }

    /// Returns the id of the claim.
    #[must_use]
    pub fn claim_id(&self) -> Option<&Phi<String>> {
        self.first(|report| report.claim_id.as_ref())
    }

    /// Returns the creation time of the report. Only the older shapes contain it.
    #[must_use]
    pub fn created_at(&self) -> Option<&Time> {
        self.first(|report| report.created_at.as_ref()).or(self.created_at.as_ref())
    }

    /// Returns the id of the chart's file. Only the older webhook contains it.
    #[must_use]
    pub fn file_uri(&self) -> Option<&Phi<String>> {
        self.first(|report| report.file_uri.as_ref())
    }

    /// Returns the codes that the chart supports.
    #[must_use]
    pub fn coding(&self) -> Option<&CodingReport> {
        self.first(|report| report.coding_report.as_ref())
    }

    /// Returns the diagnosis codes.
    pub fn diagnoses(&self) -> impl Iterator<Item = &DiagnosisCode> {
        self.coding().into_iter().flat_map(|coding| &coding.icd_10_codes)
    }

    /// Returns the procedure codes.
    pub fn procedures(&self) -> impl Iterator<Item = &ProcedureCode> {
        self.coding().into_iter().flat_map(|coding| &coding.cpt_codes)
    }

    /// Returns the contradictions in the chart.
    #[must_use]
    pub fn documentation_discrepancies(&self) -> Option<&DocumentationDiscrepancyReport> {
        self.first(|report| report.documentation_discrepancy_report.as_ref())
    }

    /// Returns the coverage of the diagnoses.
    #[must_use]
    pub fn ncd_lcd(&self) -> Option<&NcdLcdAnalysis> {
        self.first(|report| report.ncd_lcd_analysis.as_ref())
    }

    /// Returns the suggestions for fixing the issues.
    pub fn suggestions(&self) -> impl Iterator<Item = &Phi<String>> {
        let report = self.first(|report| report.suggestions_for_fixing_issues_report.as_ref());
        report.into_iter().flat_map(|report| &report.suggestions)
    }

    /// Returns whether the times of time-based codes are documented.
    #[must_use]
    pub fn time_based_requirements(&self) -> Option<&TimeBasedRequirementsReport> {
        self.first(|report| report.time_based_requirements_report.as_ref())
    }

    /// Returns the undocumented sub-reports by name. Read them with [`Finding::within`].
    pub fn other_reports(&self) -> impl Iterator<Item = (&str, &RawJson)> {
        self.reports().flat_map(|report| report.rest.expose().iter()).map(|(name, report)| (name.as_str(), report))
    }

    fn first<'c, T>(&'c self, part: impl FnMut(&'c Report) -> Option<&'c T>) -> Option<&'c T> {
        self.reports().find_map(part)
    }

    /// Returns every object that can contain parts of the report, in any shape.
    pub(super) fn reports(&self) -> impl Iterator<Item = &Report> {
        let outer = [self.report.as_deref(), self.analysis_result.as_deref()].into_iter().flatten();
        outer.flat_map(|report| std::iter::once(report).chain(report.chart_report.as_deref()))
    }
}

impl Finding {
    /// Reads a finding from a value: an object with at least two of a finding's three keys. Returns `None` for any
    /// other value.
    ///
    /// ```
    /// use medhook::RawJson;
    /// use medhook::cair::Finding;
    ///
    /// let json = r#"{"label": "Signature", "value": "missing", "severity": "Low"}"#;
    /// let raw: RawJson = serde_json::from_str(json)?;
    /// assert_eq!(Finding::read(&raw).unwrap().value.unwrap(), "missing");
    ///
    /// let raw: RawJson = serde_json::from_str(r#"{"label": "not a finding"}"#)?;
    /// assert!(Finding::read(&raw).is_none());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn read(raw: &RawJson) -> Option<Self> {
        Self::from_json(raw.as_bytes())
    }

    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let finding: Finding = serde_json::from_slice(json).ok()?;
        let keys = [finding.label.is_some(), finding.value.is_some(), finding.severity.is_some()];
        (keys.into_iter().filter(|there| *there).count() >= 2).then_some(finding)
    }

    /// Returns the findings of a sub-report, by name.
    #[must_use]
    pub fn within(report: &RawJson) -> BTreeMap<String, Finding> {
        let parts: BTreeMap<String, RawJson> = report.decode().unwrap_or_default();
        parts.into_iter().filter_map(|(name, part)| Some((name, Finding::read(&part)?))).collect()
    }
}

impl OptimizerOutput {
    /// Returns the description of the claim, unless it is only the word `Deprecated`.
    #[must_use]
    pub fn claim_in_words(&self) -> Option<&Phi<String>> {
        self.ai_generated_claim_extended.as_ref().filter(|text| **text != "Deprecated")
    }
}

impl Remittance {
    /// Decodes the whole resource as a FHIR type of your own. [`Delivery::body`](crate::Delivery::body) returns the
    /// original bytes.
    ///
    /// # Errors
    /// Returns the error of `serde_json`. Its text may quote the resource, so do not log it.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&serde_json::to_vec(self)?)
    }
}

open_enum! {
    /// The status of an analysis.
    pub enum AnalysisStatus {
        /// The analysis is complete. No other value is documented.
        Complete = "complete",
    }
}

open_enum! {
    /// A completed step of an analysis.
    pub enum CompletedEvent {
        /// The coding report was generated. No other value is documented.
        GenerateCodingReport = "GENERATE_CODING_REPORT",
    }
}

open_enum! {
    /// The severity of a finding.
    pub enum Severity {
        /// Low severity. No other value is documented.
        Low = "Low",
    }
}

open_enum! {
    /// The result of a sub-report.
    pub enum ReportStatus {
        /// The check passed. No other value is documented.
        Pass = "Pass",
    }
}

open_enum! {
    /// The status of a claim. The documentation lists examples only.
    pub enum ClaimStatus {
        /// The claim was submitted to the clearinghouse, or marked as submitted by a user.
        Submitted = "Submitted",
        /// The payer rejected the claim.
        Rejected = "Rejected",
        /// The claim did not reach the clearinghouse.
        FailedToSubmit = "Failed_To_Submit",
    }
}

open_enum! {
    /// The status of a FHIR resource: <https://hl7.org/fhir/R4B/valueset-fm-status.html>.
    pub enum RemittanceStatus {
        /// The resource is in force.
        Active = "active",
        /// The resource was withdrawn.
        Cancelled = "cancelled",
        /// The resource is not final.
        Draft = "draft",
        /// The resource was created by mistake.
        EnteredInError = "entered-in-error",
    }
}

open_enum! {
    /// The outcome of processing a claim: <https://hl7.org/fhir/R4B/valueset-remittance-outcome.html>.
    pub enum RemittanceOutcome {
        /// Processing has not begun.
        Queued = "queued",
        /// Processing is complete.
        Complete = "complete",
        /// Processing ended with an error.
        Error = "error",
        /// The claim was partially processed.
        Partial = "partial",
    }
}

open_enum! {
    /// The status of a call.
    pub enum CallStatus {
        /// The call was completed and has results.
        Completed = "completed",
        /// The call failed.
        Failed = "failed",
        /// The call is in progress.
        InProgress = "in_progress",
    }
}
