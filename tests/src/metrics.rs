//! The metrics in docs/metrics.md. The dashboard and the alerts in `contrib` query no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// A row of docs/metrics.md.
#[derive(Debug)]
pub struct DocumentedMetric {
    pub form: String,
    pub labels: BTreeSet<String>,
    /// Whether only `medhook receive` has it.
    pub of_receive: bool,
}

/// Returns the rows of docs/metrics.md by name.
#[must_use]
pub fn documented() -> BTreeMap<String, DocumentedMetric> {
    let text = file("docs/metrics.md");
    let (of_all, of_receive) = text.split_once("## Metrics of `medhook receive`").unwrap();
    let rows = |text: &str, of_receive| {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")).filter(|row| row.matches('|').count() > 5);
        let rows = rows.map(|row| {
            let cells: Vec<_> = row.split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect();
            let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
            (cells[0].clone(), DocumentedMetric { form: cells[1].clone(), labels, of_receive })
        });
        rows.collect::<Vec<_>>()
    };
    rows(of_all, false).into_iter().chain(rows(of_receive, true)).collect()
}

fn file(path: &str) -> String {
    fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Labels that Prometheus adds.
    const OF_PROMETHEUS: [&str; 3] = ["instance", "job", "le"];

    /// Returns the words of a query, with the position after each.
    fn words(query: &str) -> Vec<(&str, usize)> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_$".contains(c);
        let words = query.split(|c| !is_part(c)).filter(|word| !word.is_empty());
        words.map(|word| (word, word.as_ptr() as usize - query.as_ptr() as usize + word.len())).collect()
    }

    /// Returns the text without strings, which are label values.
    fn without_strings(query: &str) -> String {
        query.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
    }

    /// Checks that a query names only documented metrics and labels, and returns the metrics.
    fn check(query: &str, documented: &BTreeMap<String, DocumentedMetric>) -> BTreeSet<String> {
        let query = without_strings(query);
        let (mut metrics, mut labels) = (BTreeSet::new(), BTreeSet::new());
        for (word, end) in words(&query) {
            let rest = query[end..].trim_start();
            if word.starts_with("medhook_") || word.starts_with("process_") {
                let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| word.strip_suffix(part));
                let of_histogram =
                    of_histogram.filter(|name| documented.get(*name).is_some_and(|metric| metric.form == "histogram"));
                let name = of_histogram.unwrap_or(word);
                let metric = documented.get(name).unwrap_or_else(|| panic!("{name} is not documented: {query}"));
                assert!(metric.form != "histogram" || of_histogram.is_some(), "{word} in {query}");
                if let Some(selector) = rest.strip_prefix('{') {
                    let (selector, _) = selector.split_once('}').unwrap();
                    for (label, _) in words(selector) {
                        let is_known = metric.labels.contains(label) || OF_PROMETHEUS.contains(&label);
                        assert!(is_known, "{name} has no label {label}: {query}");
                    }
                }
                metrics.insert(name.to_owned());
            } else if ["by", "on", "group_left"].contains(&word) {
                let (list, _) = rest.strip_prefix('(').unwrap().split_once(')').unwrap();
                labels.extend(words(list).into_iter().map(|(label, _)| label.to_owned()));
            }
        }
        for label in labels {
            let is_known = metrics.iter().any(|name| documented[name].labels.contains(&label));
            assert!(is_known || OF_PROMETHEUS.contains(&&*label), "no metric has the label {label}: {query}");
        }
        metrics
    }

    fn queries(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    match field {
                        Value::String(query) if name == "expr" || name == "query" => found.push(query.clone()),
                        _ => queries(field, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
            _ => {}
        }
    }

    #[test]
    fn the_dashboard_queries_documented_metrics_and_labels_and_leaves_out_none() {
        let documented = documented();
        let dashboard = serde_json::from_str(&file("contrib/grafana/medhook.json")).unwrap();
        let mut found = Vec::new();
        queries(&dashboard, &mut found);
        let queried: BTreeSet<_> = found.iter().flat_map(|query| check(query, &documented)).collect();
        assert_eq!(queried.iter().collect::<Vec<_>>(), documented.keys().collect::<Vec<_>>());
        let text = dashboard.to_string();
        for legend in text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            assert!(
                documented.values().any(|metric| metric.labels.contains(legend)),
                "no metric has the label {legend}"
            );
        }
    }

    #[test]
    fn the_panels_of_the_dashboard_do_not_overlap() {
        let dashboard: Value = serde_json::from_str(&file("contrib/grafana/medhook.json")).unwrap();
        let mut cells = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            assert!(x + w <= 24, "{panel}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{panel}");
            }
        }
    }

    #[test]
    fn the_alerts_query_documented_metrics_and_labels_and_have_a_runbook() {
        let documented = documented();
        let guide = file("docs/metrics.md");
        let alerts = file("contrib/prometheus/alerts.yml");
        let mut count = 0;
        for alert in alerts.split("- alert: ").skip(1) {
            let name = alert.lines().next().unwrap();
            let (_, expression) = alert.split_once("expr: >-").unwrap();
            let (expression, annotations) = expression.split_once(" for: ").unwrap();
            let metrics = check(expression, &documented);
            assert!(!metrics.is_empty(), "{name}");
            for label in annotations.split("$labels.").skip(1).map(|rest| words(rest)[0].0) {
                let is_known = |metric: &String| documented[metric].labels.contains(label);
                assert!(OF_PROMETHEUS.contains(&label) || metrics.iter().any(is_known), "{name}: {label}");
            }
            let (_, anchor) = annotations.split_once("/docs/metrics.md#").unwrap();
            let heading = anchor.split_whitespace().next().unwrap().replace('-', " ");
            let headings = guide.lines().filter_map(|line| line.strip_prefix("### "));
            assert!(headings.map(str::to_lowercase).any(|found| found == heading), "{name}: {heading}");
            assert!(guide.contains(&format!("\n`{name}`: ")), "{name} is not in docs/metrics.md");
            count += 1;
        }
        assert_eq!(count, 8);
    }

    #[test]
    fn the_examples_in_the_documentation_query_documented_metrics_and_labels() {
        let documented = documented();
        let mut count = 0;
        for row in file("docs/metrics.md").lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = row.split('|').collect();
            if let Some(query) = cells.get(6).and_then(|cell| cell.split('`').nth(1)) {
                assert!(!check(query, &documented).is_empty(), "{query}");
                count += 1;
            }
        }
        assert!(count >= 20, "{count}");
    }

    #[test]
    #[should_panic(expected = "has no label tenant")]
    fn an_undocumented_label_is_found() {
        check(r#"sum by (endpoint) (rate(medhook_deliveries_total{tenant="a", reason="{x}"}[5m]))"#, &documented());
    }

    #[test]
    #[should_panic(expected = "medhook_deliveries is not documented")]
    fn an_undocumented_metric_is_found() {
        check("rate(medhook_deliveries[5m])", &documented());
    }
}
