//! The recent deliveries.

use askama::Template;

use super::super::observed::RecentQuery;
use super::super::observed::state::{Overview, Recent};
use super::recents::{OUTCOMES, RecentRow};
use super::shell::{Section, Shell};
use super::text::{Choice, Level, When, link, shown};
use crate::words::{grouped, number};

#[derive(Template)]
#[template(path = "deliveries.html")]
pub(super) struct DeliveriesView {
    shell: Shell,
    started: When,
    endpoints: Vec<Choice>,
    outcomes: Vec<Choice>,
    is_filtered: bool,
    heading: String,
    number: String,
    none: &'static str,
    rows: Vec<RecentRow>,
    left_out: Option<String>,
}

/// The rows of the view.
const MOST: usize = 500;

impl DeliveriesView {
    pub(super) fn new(query: &RecentQuery, overview: &Overview, recent: &[Recent]) -> Self {
        let (endpoint, outcome) = (query.endpoint.as_deref(), query.outcome.as_deref());
        let here = link("/deliveries", &[("endpoint", endpoint), ("outcome", outcome)]);
        let is_filtered = endpoint.is_some() || outcome.is_some();
        let heading = match (endpoint, outcome) {
            (None, None) => "All recent".to_owned(),
            (Some(endpoint), None) => format!("At {}", shown(endpoint)),
            (None, Some(outcome)) => shown(outcome),
            (Some(endpoint), Some(outcome)) => format!("{} at {}", shown(outcome), shown(endpoint)),
        };
        let names = overview.endpoints.iter().map(|endpoint| &*endpoint.name);
        DeliveriesView {
            shell: Shell::of(Section::Deliveries, "Deliveries", here, overview.now),
            started: When::new(overview.started, overview.now),
            endpoints: Choice::all(names, endpoint),
            outcomes: Choice::all(OUTCOMES.into_iter(), outcome),
            is_filtered,
            heading,
            number: grouped(recent.len() as u64),
            none: match is_filtered {
                true => "No recent delivery matches.",
                false => "No delivery has arrived since the start.",
            },
            rows: recent.iter().take(MOST).map(|recent| RecentRow::new(recent, overview.now)).collect(),
            left_out: recent.len().checked_sub(MOST).filter(|more| *more > 0).map(|more| {
                format!(
                    "{} not shown; choose an endpoint or an outcome",
                    number(more as u64, "older row is", "older rows are")
                )
            }),
        }
    }
}
