//! Cair Health's events.
//!
//! Every field is optional: the documentation shows samples, and says of few fields whether they are always there.
//! Objects keep in their `rest` what they have no field for, wherever the documentation was cut short.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::payload::{open_enum, payload};
use crate::{Phi, RawJson, Time};

crate::provider::events::events! { "cair":
    /// The analysis of a patient's chart is complete.
    ChartAnalysis(ChartReport) = "PATIENT_CHART_ANALYSIS_COMPLETE",
    /// The claim scrubber is done with a claim.
    ClaimsAiOptimizer(ClaimsAiOptimizer) = "CLAIMS_AI_OPTIMIZER",
    /// A claim was submitted, or rejected, or could not be submitted.
    ClaimStatusChange(ClaimStatusChange) = "CLAIM_STATUS_CHANGE",
    /// A remittance, approved or denied. Also every remittance whose subscription no one told: its body is the same
    /// in all three.
    ClaimsRemitAll(Remittance) = "CLAIMS_REMIT_ALL",
    /// A remittance that approves. Never told by its body: [pin](super::Cair::pin_kind) it.
    ClaimsRemitApproved(Remittance) = "CLAIMS_REMIT_APPROVED",
    /// A remittance that denies. Never told by its body: [pin](super::Cair::pin_kind) it.
    ClaimsRemitDenied(Remittance) = "CLAIMS_REMIT_DENIED",
    /// The older optimizer of X12 claims is done with one. Cair gives this webhook no event name: this one is ours.
    X12Optimizer(X12Optimizer) = "x12-optimizer",
    /// A phone call made by AI goes on, or is over. Cair gives this webhook no event name: this one is ours.
    AiPhoneCall(AiPhoneCall) = "ai-phone-call",
}

payload! {
    /// The analysis of a patient's chart is complete.
    ///
    /// The documentation has three shapes of it, and the fields are where each has them. The methods read them all and
    /// give the same, whichever came:
    ///
    /// | shape | where the report is |
    /// |---|---|
    /// | [today's](https://docs.cairhealth.com/api-reference/endpoint/patient-chart-analysis/get-patient-chart) | `report` |
    /// | [the older webhook's](https://docs.cairhealth.com/api-reference/endpoint/claims/patient-chart-analysis-webhooks) | `report.chart_report`, its id and time in `report` |
    /// | [the older API's answer](https://docs.cairhealth.com/api-reference/endpoint/claims/analyze-patient-chart) | `analysis_result.chart_report`, its id and time at the top |
    pub struct ChartReport {
        /// The analysis's id. Prefer [`report_id`](ChartReport::report_id).
        pub id: Option<Phi<String>> = "id",
        /// Where the analysis stands.
        pub status: Option<AnalysisStatus> = "status",
        /// What is done of it: an analysis may be partial.
        pub completed_events: Vec<CompletedEvent> = "completed_events",
        /// The report.
        pub report: Option<Box<Report>> = "report",
        /// Older API: whether the analysis came about.
        pub success: Option<Phi<bool>> = "success",
        /// Older API: when. Prefer [`created_at`](ChartReport::created_at).
        pub created_at: Option<Time> = "created_at",
        /// Older API: how many issues someone should look at.
        pub issues_for_review: Option<Phi<u64>> = "issues_for_review",
        /// Older API: how many checks found nothing.
        pub checks_passed: Option<Phi<u64>> = "checks_passed",
        /// Older API: whom the chart is about.
        pub demographics: Option<Demographics> = "demographics",
        /// Older API: what holds the report.
        pub analysis_result: Option<Box<Report>> = "analysis_result",
    }

    /// A report on a chart, or what holds one.
    pub struct Report {
        /// Its id.
        pub id: Option<Phi<String>> = "id" | "report_id",
        /// The claim's id.
        pub claim_id: Option<Phi<String>> = "claim_id",
        /// Older webhook: when it was made. The sample has no offset; it is read as UTC.
        pub created_at: Option<Time> = "created_at",
        /// Older webhook: names the chart's file. In the sample an id, no address.
        pub file_uri: Option<Phi<String>> = "file_uri",
        /// Older shapes: the sub-reports, one level further in.
        pub chart_report: Option<Box<Report>> = "chart_report",
        /// The codes that the chart supports.
        pub coding_report: Option<CodingReport> = "coding_report",
        /// Where the chart contradicts itself.
        pub documentation_discrepancy_report: Option<DocumentationDiscrepancyReport> =
            "documentation_discrepancy_report",
        /// Whether the diagnoses are covered.
        pub ncd_lcd_analysis: Option<NcdLcdAnalysis> = "ncd_lcd_analysis",
        /// What could be done about it all.
        pub suggestions_for_fixing_issues_report: Option<SuggestionsReport> = "suggestions_for_fixing_issues_report",
        /// Whether codes billed by time have their times documented.
        pub time_based_requirements_report: Option<TimeBasedRequirementsReport> = "time_based_requirements_report",
        ..
        /// Sub-reports without a type of their own: see [`Finding::within`].
        pub rest,
    }

    /// The codes that a chart supports.
    pub struct CodingReport {
        /// Diagnoses.
        pub icd_10_codes: Vec<DiagnosisCode> = "icd_10_codes",
        /// Procedures.
        pub cpt_codes: Vec<ProcedureCode> = "cpt_codes",
        ..
        /// What else it says.
        pub rest,
    }

    /// A diagnosis: sent as an object in the older shapes, as a text in today's.
    pub struct DiagnosisCode or text as code {
        /// An ICD-10 code.
        pub code: Option<Phi<String>> = "icd_10_code",
        /// How much it matters.
        pub severity: Option<Severity> = "severity",
        ..
        /// What else it says.
        pub rest,
    }

    /// A procedure: sent as a text in today's shape. The older samples are cut before their first one; if these are
    /// objects like the diagnoses, their code is read from `cpt_code`.
    pub struct ProcedureCode or text as code {
        /// A CPT code.
        pub code: Option<Phi<String>> = "cpt_code",
        /// How much it matters.
        pub severity: Option<Severity> = "severity",
        ..
        /// What else it says.
        pub rest,
    }

    /// Where a chart contradicts itself.
    pub struct DocumentationDiscrepancyReport {
        /// Between chief complaint and history of present illness.
        pub chief_complaint_hpi_discrepancy: Option<Finding> = "chief_complaint_hpi_discrepancy",
        /// Between review of systems and history of present illness.
        pub ros_hpi_discrepancy: Option<Finding> = "ros_hpi_discrepancy",
        /// Between vital signs and examination.
        pub vitals_exam_discrepancy: Option<Finding> = "vitals_exam_discrepancy",
        /// All of it in a few words.
        pub report_summary: Option<Phi<String>> = "report_summary",
        /// The verdict.
        pub status: Option<ReportStatus> = "status",
        ..
        /// What else it says: see [`Finding::read`].
        pub rest,
    }

    /// Whether diagnoses fit national and local coverage determinations (NCD, LCD).
    pub struct NcdLcdAnalysis {
        /// Whether the diagnoses are among those covered.
        pub diagnoses_match_ncd_lcd: Option<Finding> = "diagnoses_match_ncd_lcd",
        /// Too often?
        pub frequency_discrepancy: Option<Finding> = "frequency_discrepancy",
        /// Too young or too old?
        pub age_discrepancy: Option<Finding> = "age_discrepancy",
        /// In the wrong place?
        pub place_of_service_discrepancy: Option<Finding> = "place_of_service_discrepancy",
        /// All of it in a few words.
        pub report_summary: Option<Phi<String>> = "report_summary",
        /// The verdict.
        pub status: Option<ReportStatus> = "status",
        ..
        /// What else it says: see [`Finding::read`].
        pub rest,
    }

    /// What could be done about the issues.
    pub struct SuggestionsReport {
        /// One by one.
        pub suggestions: Vec<Phi<String>> = "suggestions",
        ..
        /// What else it says.
        pub rest,
    }

    /// Whether codes billed by time have their times documented. The sample is cut after its second finding.
    pub struct TimeBasedRequirementsReport {
        /// The total time.
        pub total_time_documented: Option<Finding> = "total_time_documented",
        /// The time it began.
        pub start_time: Option<Finding> = "start_time",
        ..
        /// What else it says: see [`Finding::read`].
        pub rest,
    }

    /// One thing that was looked at.
    pub struct Finding {
        /// What.
        pub label: Option<Phi<String>> = "label",
        /// What was found.
        pub value: Option<Phi<String>> = "value",
        /// How much it matters.
        pub severity: Option<Severity> = "severity",
    }

    /// Whom a chart is about, in the older API's answer.
    pub struct Demographics {
        /// The patient's name.
        pub patient_name: Option<Phi<String>> = "patient_name",
        /// The provider's name.
        pub provider_name: Option<Phi<String>> = "provider_name",
        /// The day of the service.
        pub date_of_service: Option<Time> = "date_of_service",
        /// The day the patient was born.
        pub patient_birth_date: Option<Time> = "patient_birth_date",
        /// The facility's name.
        pub facility_name: Option<Phi<String>> = "facility_name",
    }

    /// The claim scrubber is done with a claim:
    /// <https://docs.cairhealth.com/api-reference/endpoint/agent-actions/webhook-delivery>.
    pub struct ClaimsAiOptimizer {
        /// What it made.
        pub output: Option<OptimizerOutput> = "output",
    }

    /// What the claim scrubber made of a claim. The sample is cut after the description.
    pub struct OptimizerOutput {
        /// The claim's id.
        pub claim_id: Option<Phi<String>> = "claim_id",
        /// The run's id.
        pub optimizer_run_id: Option<Phi<String>> = "optimizer_run_id",
        /// The claim in words, as Markdown with the patient in it; in the documentation's newer sample only the word
        /// `Deprecated`. Prefer [`claim_in_words`](OptimizerOutput::claim_in_words).
        pub ai_generated_claim_extended: Option<Phi<String>> = "ai_generated_claim_extended",
        /// The encounter in words, as Markdown.
        pub ai_generated_encounter_description: Option<Phi<String>> = "ai_generated_encounter_description",
        /// What to change, if it is told here as by the older [`X12Optimizer`]: documented for that one alone.
        pub edits: Vec<Edit> = "edits",
        ..
        /// What else there is.
        pub rest,
    }

    /// A change proposed to a claim.
    pub struct Edit {
        /// What differs.
        pub difference: Option<Phi<String>> = "difference",
        /// Why.
        pub rationale: Option<Phi<String>> = "rationale",
    }

    /// A claim was submitted, or rejected, or could not be submitted; a primary, secondary or resubmitted one:
    /// <https://docs.cairhealth.com/api-reference/endpoint/claims/claim-status-change-webhooks>.
    pub struct ClaimStatusChange {
        /// The claim's id in FHIR, which stays the same.
        pub claim_fhir_id: Option<Phi<String>> = "claimFhirId",
        /// The claim's id in Cair's addresses and API.
        pub claim_lifecycle_id: Option<Phi<String>> = "claimLifecycleId",
        /// Whose claim it is.
        pub organization_id: Option<Phi<String>> = "organizationId",
        /// The status it has now.
        pub new_status: Option<ClaimStatus> = "newStatus",
        /// The status it had, where that is known.
        pub previous_status: Option<ClaimStatus> = "previousStatus",
        /// When the change was recorded.
        pub timestamp: Option<Time> = "timestamp",
        /// Why it could not be submitted.
        pub submission_failure_errors: Vec<Phi<String>> = "submissionFailureErrors",
        /// The payer's status code (277CA) for a rejection.
        pub status_code_277: Option<Phi<String>> = "statusCode277",
    }

    /// A remittance: a `ClaimResponse` of FHIR R4B, as it was created or updated:
    /// <https://docs.cairhealth.com/api-reference/endpoint/claims/fhir-claim-response-webhooks>.
    ///
    /// Four of its elements are fields, the others as they came. For a FHIR type of your own there is
    /// [`decode`](Remittance::decode).
    pub struct Remittance {
        /// `ClaimResponse`.
        pub resource_type: Option<Phi<String>> = "resourceType",
        /// The resource's id.
        pub id: Option<Phi<String>> = "id",
        /// Where the resource stands.
        pub status: Option<RemittanceStatus> = "status",
        /// How far the claim was processed; not whether it was approved.
        pub outcome: Option<RemittanceOutcome> = "outcome",
        ..
        /// All other elements.
        pub rest,
    }

    /// The older optimizer of X12 claims is done with one:
    /// <https://docs.cairhealth.com/api-reference/endpoint/claims/webhook-delivery>.
    pub struct X12Optimizer {
        /// The claim's id.
        pub claim_id: Option<Phi<String>> = "claim_id",
        /// The patient's control number.
        pub patient_control_number: Option<Phi<String>> = "patient_control_number",
        /// What to change. Not in a claim drafted from notes.
        pub edits: Vec<Edit> = "edits",
        /// The claim as it should be. Its type is not documented.
        pub ai_generated_claim: Option<RawJson> = "ai_generated_claim",
        /// The encounter in words.
        pub ai_generated_encounter_summary: Option<Phi<String>> = "ai_generated_encounter_summary",
        /// An X12 837, ready to be submitted: in a claim drafted from notes.
        pub ai_generated_x12_837: Option<Phi<String>> = "ai_generated_x12_837",
    }

    /// A phone call made by AI goes on, or is over:
    /// <https://docs.cairhealth.com/api-reference/endpoint/aiphonecall/webhook-delivery>.
    pub struct AiPhoneCall {
        /// The call's id.
        pub call_id: Option<Phi<String>> = "callId",
        /// Where it stands.
        pub status: Option<CallStatus> = "status",
        /// What was asked and answered, once it is completed: by a name for each question.
        pub results: Option<Phi<BTreeMap<String, Answer>>> = "results",
        /// Why it failed.
        pub error: Option<Phi<String>> = "error",
        /// More about why it failed.
        pub error_details: Option<CallError> = "errorDetails",
    }

    /// A question of a call, and its answer.
    pub struct Answer {
        /// What was asked.
        pub question: Option<Phi<String>> = "question",
        /// What was answered.
        pub answer: Option<Phi<String>> = "answer",
    }

    /// Why a call failed.
    pub struct CallError {
        /// The error itself.
        pub original_error: Option<Phi<String>> = "originalError",
        /// For Cair's support.
        pub internal_tag: Option<Phi<String>> = "internalTag",
        /// For Cair's support.
        pub internal_id: Option<Phi<String>> = "internalId",
        /// When.
        pub timestamp: Option<Time> = "timestamp",
        /// What Cair itself was sent, perhaps by another company: anything.
        pub webhook_body: Option<RawJson> = "webhookBody",
    }
}

impl ChartReport {
    /// The report's id; where it has none, the analysis's.
    #[must_use]
    pub fn report_id(&self) -> Option<&Phi<String>> {
        self.first(|report| report.id.as_ref()).or(self.id.as_ref())
    }

    /// The claim's id.
    #[must_use]
    pub fn claim_id(&self) -> Option<&Phi<String>> {
        self.first(|report| report.claim_id.as_ref())
    }

    /// When the report was made: told by the older shapes alone.
    #[must_use]
    pub fn created_at(&self) -> Option<&Time> {
        self.first(|report| report.created_at.as_ref()).or(self.created_at.as_ref())
    }

    /// Names the chart's file: in the older webhook alone.
    #[must_use]
    pub fn file_uri(&self) -> Option<&Phi<String>> {
        self.first(|report| report.file_uri.as_ref())
    }

    /// The codes that the chart supports.
    #[must_use]
    pub fn coding(&self) -> Option<&CodingReport> {
        self.first(|report| report.coding_report.as_ref())
    }

    /// The diagnoses among these codes.
    pub fn diagnoses(&self) -> impl Iterator<Item = &DiagnosisCode> {
        self.coding().into_iter().flat_map(|coding| &coding.icd_10_codes)
    }

    /// The procedures among these codes.
    pub fn procedures(&self) -> impl Iterator<Item = &ProcedureCode> {
        self.coding().into_iter().flat_map(|coding| &coding.cpt_codes)
    }

    /// Where the chart contradicts itself.
    #[must_use]
    pub fn documentation_discrepancies(&self) -> Option<&DocumentationDiscrepancyReport> {
        self.first(|report| report.documentation_discrepancy_report.as_ref())
    }

    /// Whether the diagnoses are covered.
    #[must_use]
    pub fn ncd_lcd(&self) -> Option<&NcdLcdAnalysis> {
        self.first(|report| report.ncd_lcd_analysis.as_ref())
    }

    /// What could be done about it all.
    pub fn suggestions(&self) -> impl Iterator<Item = &Phi<String>> {
        let report = self.first(|report| report.suggestions_for_fixing_issues_report.as_ref());
        report.into_iter().flat_map(|report| &report.suggestions)
    }

    /// Whether codes billed by time have their times documented.
    #[must_use]
    pub fn time_based_requirements(&self) -> Option<&TimeBasedRequirementsReport> {
        self.first(|report| report.time_based_requirements_report.as_ref())
    }

    /// Sub-reports without a type of their own, by name: [`Finding::within`] reads them.
    pub fn other_reports(&self) -> impl Iterator<Item = (&str, &RawJson)> {
        self.reports().flat_map(|report| report.rest.iter()).map(|(name, report)| (name.as_str(), report))
    }

    fn first<'c, T>(&'c self, part: impl FnMut(&'c Report) -> Option<&'c T>) -> Option<&'c T> {
        self.reports().find_map(part)
    }

    /// Wherever a shape has what belongs to the report.
    fn reports(&self) -> impl Iterator<Item = &Report> {
        let outer = [self.report.as_deref(), self.analysis_result.as_deref()].into_iter().flatten();
        outer.flat_map(|report| std::iter::once(report).chain(report.chart_report.as_deref()))
    }
}

impl Finding {
    /// The finding that a value is: an object with at least two of a finding's three keys.
    ///
    /// ```
    /// use medhook::RawJson;
    /// use medhook::cair::Finding;
    ///
    /// let raw: RawJson = serde_json::from_str(r#"{"label": "Signature", "value": "missing", "severity": "Low"}"#)?;
    /// assert_eq!(Finding::read(&raw).unwrap().value.unwrap(), "missing");
    /// let raw: RawJson = serde_json::from_str(r#"{"label": "not a finding"}"#)?;
    /// assert!(Finding::read(&raw).is_none());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn read(raw: &RawJson) -> Option<Self> {
        let finding: Finding = raw.decode().ok()?;
        let keys = [finding.label.is_some(), finding.value.is_some(), finding.severity.is_some()];
        (keys.into_iter().filter(|there| *there).count() >= 2).then_some(finding)
    }

    /// The findings that stand in a sub-report, by their names.
    #[must_use]
    pub fn within(report: &RawJson) -> BTreeMap<String, Finding> {
        let parts: BTreeMap<String, RawJson> = report.decode().unwrap_or_default();
        parts.into_iter().filter_map(|(name, part)| Some((name, Finding::read(&part)?))).collect()
    }
}

impl OptimizerOutput {
    /// The claim in words, where it is more than the word that stands for a field no longer used.
    #[must_use]
    pub fn claim_in_words(&self) -> Option<&Phi<String>> {
        self.ai_generated_claim_extended.as_ref().filter(|text| **text != "Deprecated")
    }
}

impl Remittance {
    /// The whole resource as a FHIR type of your own. Its bytes as they came are [`Delivery::body`](crate::Delivery::body).
    ///
    /// # Errors
    /// `serde_json`'s, whose text may quote the resource: do not log it as it is.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&serde_json::to_vec(self)?)
    }
}

open_enum! {
    /// Where an analysis stands.
    pub enum AnalysisStatus {
        /// It is complete. No other value is documented.
        Complete = "complete",
    }
}

open_enum! {
    /// A part of an analysis that is done.
    pub enum CompletedEvent {
        /// The codes. No other value is documented.
        GenerateCodingReport = "GENERATE_CODING_REPORT",
    }
}

open_enum! {
    /// How much a finding matters.
    pub enum Severity {
        /// Little. No other value is documented.
        Low = "Low",
    }
}

open_enum! {
    /// The verdict of a sub-report.
    pub enum ReportStatus {
        /// All is well. No other value is documented.
        Pass = "Pass",
    }
}

open_enum! {
    /// The status of a claim. The documentation's list is one of examples.
    pub enum ClaimStatus {
        /// It is with the clearinghouse, or someone marked it so.
        Submitted = "Submitted",
        /// The payer rejected it.
        Rejected = "Rejected",
        /// It did not get to the clearinghouse.
        FailedToSubmit = "Failed_To_Submit",
    }
}

open_enum! {
    /// The status of a FHIR resource: <https://hl7.org/fhir/R4B/valueset-fm-status.html>.
    pub enum RemittanceStatus {
        /// In force.
        Active = "active",
        /// Withdrawn.
        Cancelled = "cancelled",
        /// Not final.
        Draft = "draft",
        /// Never meant.
        EnteredInError = "entered-in-error",
    }
}

open_enum! {
    /// How far a claim was processed: <https://hl7.org/fhir/R4B/valueset-remittance-outcome.html>.
    pub enum RemittanceOutcome {
        /// Not yet.
        Queued = "queued",
        /// To the end.
        Complete = "complete",
        /// To an error.
        Error = "error",
        /// In part.
        Partial = "partial",
    }
}

open_enum! {
    /// Where a call stands.
    pub enum CallStatus {
        /// It is over, and has results.
        Completed = "completed",
        /// It failed.
        Failed = "failed",
        /// It goes on.
        InProgress = "in_progress",
    }
}
