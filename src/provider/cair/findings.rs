//! The findings of a chart report, wherever they are.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::event::{ChartReport, Finding, Report};
use crate::RawJson;

/// The place of a finding in a chart report, such as `ncd_lcd_analysis.age_discrepancy`.
///
/// `Debug` and `Display` show `*` in place of an undocumented key; [`expose`](FindingPath::expose) returns it.
#[derive(Clone, PartialEq, Eq)]
pub struct FindingPath {
    shown: Cow<'static, str>,
    full: Cow<'static, str>,
}

impl FindingPath {
    const fn documented(path: &'static str) -> Self {
        FindingPath { shown: Cow::Borrowed(path), full: Cow::Borrowed(path) }
    }

    /// Returns the path with its undocumented keys, if it has any.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.full
    }
}

impl fmt::Display for FindingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for FindingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FindingPath({})", self.shown)
    }
}

impl ChartReport {
    /// Returns every finding with its path in the report. The paths are the same in every shape.
    ///
    /// Findings in undocumented parts follow the documented ones: every object with at least two of a finding's three
    /// keys, at most 1,000 in each part. A finding that cannot be read is omitted, and the others are returned. Codes
    /// are not findings: [`diagnoses`](Self::diagnoses) and [`procedures`](Self::procedures) return them with their
    /// severities.
    ///
    /// ```
    /// use medhook::cair::{ChartReport, Severity};
    ///
    /// let json = r#"{"report": {"ncd_lcd_analysis": {
    ///     "age_discrepancy": {"label": "Age", "value": "34 years", "severity": "Low"},
    ///     "frequency_discrepancy": {"label": "Tests", "value": "Third", "severity": "High"}
    /// }}}"#;
    /// let chart: ChartReport = serde_json::from_str(json)?;
    ///
    /// let severe: Vec<String> = chart
    ///     .findings()
    ///     .filter(|(_, finding)| finding.severity != Some(Severity::Low))
    ///     .map(|(path, _)| path.to_string())
    ///     .collect();
    /// assert_eq!(severe, ["ncd_lcd_analysis.frequency_discrepancy"]);
    ///
    /// for (path, finding) in chart.findings() {
    ///     // Shows no health data. An undocumented severity is shown as `Other(Phi(..))`.
    ///     println!("{path}: {:?}", finding.severity);
    /// }
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn findings(&self) -> impl Iterator<Item = (FindingPath, Cow<'_, Finding>)> {
        let documented = self.reports().flat_map(documented);
        let undocumented = self.reports().flat_map(undocumented_parts).flat_map(|(path, key, json)| {
            let mut search = Search { shown: path.into(), full: path.into(), found: Vec::new() };
            search.read_key(key, json.as_bytes(), MOST_LEVELS);
            search.found
        });
        documented.chain(undocumented.map(|(path, finding)| (path, Cow::Owned(finding))))
    }
}

/// Returns the findings in documented places, in the order of the documentation.
fn documented(report: &Report) -> impl Iterator<Item = (FindingPath, Cow<'_, Finding>)> {
    let discrepancies = report.documentation_discrepancy_report.iter().flat_map(|report| {
        [
            (
                "documentation_discrepancy_report.chief_complaint_hpi_discrepancy",
                &report.chief_complaint_hpi_discrepancy,
            ),
            ("documentation_discrepancy_report.ros_hpi_discrepancy", &report.ros_hpi_discrepancy),
            ("documentation_discrepancy_report.vitals_exam_discrepancy", &report.vitals_exam_discrepancy),
        ]
    });
    let coverage = report.ncd_lcd_analysis.iter().flat_map(|report| {
        [
            ("ncd_lcd_analysis.diagnoses_match_ncd_lcd", &report.diagnoses_match_ncd_lcd),
            ("ncd_lcd_analysis.frequency_discrepancy", &report.frequency_discrepancy),
            ("ncd_lcd_analysis.age_discrepancy", &report.age_discrepancy),
            ("ncd_lcd_analysis.place_of_service_discrepancy", &report.place_of_service_discrepancy),
        ]
    });
    let times = report.time_based_requirements_report.iter().flat_map(|report| {
        [
            ("time_based_requirements_report.total_time_documented", &report.total_time_documented),
            ("time_based_requirements_report.start_time", &report.start_time),
        ]
    });
    let all = discrepancies.chain(coverage).chain(times);
    all.filter_map(|(path, finding)| Some((FindingPath::documented(path), Cow::Borrowed(finding.as_ref()?))))
}

/// Returns the undocumented parts of a report: the path of the object that contains it, its key, and its value.
fn undocumented_parts(report: &Report) -> impl Iterator<Item = (&'static str, &str, &RawJson)> {
    let discrepancies = report.documentation_discrepancy_report.as_ref().map(|part| &part.rest);
    let suggestions = report.suggestions_for_fixing_issues_report.as_ref().map(|part| &part.rest);
    let times = report.time_based_requirements_report.as_ref().map(|part| &part.rest);
    let objects = [
        ("", Some(&report.rest)),
        ("coding_report", report.coding_report.as_ref().map(|part| &part.rest)),
        ("documentation_discrepancy_report", discrepancies),
        ("ncd_lcd_analysis", report.ncd_lcd_analysis.as_ref().map(|part| &part.rest)),
        ("suggestions_for_fixing_issues_report", suggestions),
        ("time_based_requirements_report", times),
    ];
    objects
        .into_iter()
        .flat_map(|(path, rest)| Some((path, rest?.expose())))
        .flat_map(|(path, rest)| rest.iter().map(move |(key, json)| (path, key.as_str(), json)))
}

/// The maximum depth of an undocumented finding in its part of the report.
const MOST_LEVELS: u8 = 8;

/// The maximum length of an undocumented key, which is in the path of each finding below it.
const LONGEST_KEY: usize = 64;

/// The maximum number of findings in an undocumented part.
const MOST_FINDINGS: usize = 1_000;

/// The findings of an undocumented part, and the path of the value that is being read.
struct Search {
    shown: String,
    full: String,
    found: Vec<(FindingPath, Finding)>,
}

impl Search {
    fn read(&mut self, json: &[u8], levels: u8) {
        if self.found.len() >= MOST_FINDINGS {
            return;
        }
        if let Some(finding) = Finding::from_json(json) {
            let path = FindingPath { shown: self.shown.clone().into(), full: self.full.clone().into() };
            self.found.push((path, finding));
            return;
        }
        let Some(levels) = levels.checked_sub(1) else { return };
        if let Ok(object) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(json) {
            for (key, value) in object {
                self.read_key(&key, value.get().as_bytes(), levels);
            }
        } else if let Ok(list) = serde_json::from_slice::<Vec<&RawValue>>(json) {
            for (index, value) in list.into_iter().enumerate() {
                let step = format!("[{index}]");
                self.read_step(&step, &step, value.get().as_bytes(), levels);
            }
        }
    }

    fn read_key(&mut self, key: &str, json: &[u8], levels: u8) {
        if key.len() <= LONGEST_KEY {
            let dot = if self.full.is_empty() { "" } else { "." };
            self.read_step(&format!("{dot}*"), &format!("{dot}{key}"), json, levels);
        }
    }

    fn read_step(&mut self, shown: &str, full: &str, json: &[u8], levels: u8) {
        let (shown_before, full_before) = (self.shown.len(), self.full.len());
        self.shown.push_str(shown);
        self.full.push_str(full);
        self.read(json, levels);
        self.shown.truncate(shown_before);
        self.full.truncate(full_before);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Severity;
    use super::*;

    const CURRENT: &str = include_str!("../../../fixtures/cair/PATIENT_CHART_ANALYSIS_COMPLETE.json");
    const PARTIAL: &str = include_str!("../../../fixtures/cair/PATIENT_CHART_ANALYSIS_COMPLETE.partial.json");

    fn chart(json: &Value) -> ChartReport {
        serde_json::from_str(&json.to_string()).unwrap()
    }

    fn paths(chart: &ChartReport) -> Vec<String> {
        chart.findings().map(|(path, _)| path.expose().to_owned()).collect()
    }

    /// Collects the paths of all objects with a severity, as the body has them.
    fn places(value: &Value, path: &str, found: &mut Vec<String>) {
        for (key, value) in value.as_object().into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value.get("severity") {
                Some(_) => found.push(path),
                None => places(value, &path, found),
            }
        }
    }

    #[test]
    fn every_finding_of_the_samples_is_returned_with_its_path_as_sent() {
        for body in [CURRENT, PARTIAL] {
            let body: Value = serde_json::from_str(body).unwrap();
            let (mut expected, mut found) = (Vec::new(), paths(&chart(&body)));
            places(&body["report"], "", &mut expected);
            assert!(!expected.is_empty());
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_finding_has_its_severity_and_keeps_its_text_hidden() {
        let body: Value = serde_json::from_str(CURRENT).unwrap();
        let chart = chart(&body);
        let (path, finding) = chart.findings().nth(1).unwrap();
        assert_eq!(path.to_string(), "documentation_discrepancy_report.ros_hpi_discrepancy");
        assert_eq!(finding.severity, Some(Severity::Low));
        assert_eq!(finding.value.as_ref().unwrap(), &"Cough denied here, told there");
        assert_eq!(
            format!("{:?}", (path, finding)),
            "(FindingPath(documentation_discrepancy_report.ros_hpi_discrepancy), \
             Finding { label: Some(Phi(..)), value: Some(Phi(..)), severity: Some(Low) })"
        );
    }

    #[test]
    fn every_shape_has_the_same_paths() {
        let report = json!({
            "ncd_lcd_analysis": {"age_discrepancy": {"label": "Age", "severity": "High"}},
            "new_report": {"items": [{"label": "a", "value": "b"}, 5, {"value": "b", "severity": "Low"}]},
        });
        for body in [
            json!({"report": report}),
            json!({"report": {"report_id": "r", "chart_report": report}}),
            json!({"success": true, "analysis_result": {"chart_report": report}}),
        ] {
            let expected = ["ncd_lcd_analysis.age_discrepancy", "new_report.items[0]", "new_report.items[2]"];
            assert_eq!(paths(&chart(&body)), expected);
        }
    }

    #[test]
    fn undocumented_keys_are_shown_only_by_expose() {
        let finding = json!({"label": "a", "value": "b"});
        let body =
            json!({"report": {"A. Patient": {"B. Patient": finding}, "coding_report": {"C. Patient": [finding]}}});
        let chart = chart(&body);
        let found: Vec<FindingPath> = chart.findings().map(|(path, _)| path).collect();
        assert_eq!(format!("{found:?}"), "[FindingPath(*.*), FindingPath(coding_report.*[0])]");
        assert_eq!(found[0].expose(), "A. Patient.B. Patient");
        assert_eq!(found[1].expose(), "coding_report.C. Patient[0]");
    }

    #[test]
    fn a_drifted_part_does_not_hide_the_other_findings() {
        let finding = json!({"label": "a", "value": "b", "severity": "Low"});
        let body = json!({"report": {
            "documentation_discrepancy_report": "none",
            "ncd_lcd_analysis": {"age_discrepancy": [finding], "frequency_discrepancy": {"label": [], "severity": 5}},
            "time_based_requirements_report": {"start_time": finding},
            "new_report": [null, {"label": "not a finding"}, [[finding]]],
        }});
        let found = paths(&chart(&body));
        // A documented place is returned as it was read.
        let expected = ["ncd_lcd_analysis.frequency_discrepancy", "time_based_requirements_report.start_time"];
        assert_eq!(found[..2], expected);
        assert_eq!(found[2..], ["new_report[2][0][0]"]);
    }

    #[test]
    fn depth_keys_and_number_of_undocumented_findings_are_bounded() {
        let finding = json!({"label": "a", "value": "b"});
        let nested = |levels| (0..levels).fold(finding.clone(), |inner, _| json!([inner]));
        let count = |part: Value| chart(&json!({"report": {"part": part}})).findings().count();
        assert_eq!((count(nested(8)), count(nested(9))), (1, 0));
        assert_eq!(count(json!(vec![finding.clone(); 1_500])), 1_000);
        let keyed = |length: usize| json!({"k".repeat(length): finding});
        assert_eq!((count(keyed(64)), count(keyed(65))), (1, 0));
    }
}
