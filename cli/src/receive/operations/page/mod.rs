//! The operator's page as HTML. The templates escape all texts for HTML; texts from outside are also truncated, and
//! their control characters escaped.
//!
//! - `shell`, `text`: the frame of all views; texts, times and levels
//! - `overview` with `concerns`, `charts` (`chart`, `plots`); `deliveries` with `recents`; `events`; `event`: the views
//! - `assets`: the style sheet, the script and the icons

mod assets;
mod chart;
mod charts;
mod concerns;
mod deliveries;
mod event;
mod events;
mod overview;
mod plots;
mod recents;
#[cfg(test)]
mod samples;
mod shell;
#[cfg(test)]
mod tests;
mod text;

use askama::Template;
use http::StatusCode;

pub(super) use self::assets::asset;
use self::shell::Shell;
use self::text::Level;
use super::observed::state::{EventState, EventsState, Overview, Recent};
use super::observed::{EventsQuery, RecentQuery};

/// The values that all views share.
pub(super) struct Frame {
    /// The config file, for the commands to copy; as `--config` needs it.
    pub(super) config: std::path::PathBuf,
}

/// Returns the overview: health, endpoints, charts, and the latest rejections.
pub(super) fn overview(frame: &Frame, overview: &Overview) -> String {
    html(&overview::OverviewView::new(&frame.config, overview))
}

/// Returns the recent deliveries.
pub(super) fn deliveries(_frame: &Frame, query: &RecentQuery, overview: &Overview, recent: &[Recent]) -> String {
    html(&deliveries::DeliveriesView::new(query, overview, recent))
}

/// Returns a page of the inbox.
pub(super) fn events(frame: &Frame, query: &EventsQuery, events: &EventsState) -> String {
    html(&events::EventsView::new(&frame.config, query, events))
}

/// Returns one event with its timeline.
pub(super) fn event(frame: &Frame, event: &EventState) -> String {
    html(&event::EventView::new(&frame.config, event))
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginView<'a> {
    shell: Shell,
    problem: Option<&'a str>,
    next: &'a str,
}

/// Returns the form for the token. `next` is the path to continue with.
pub(super) fn login(_frame: &Frame, problem: Option<&str>, next: &str) -> String {
    html(&LoginView { shell: Shell::plain("Log in", false), problem, next })
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessageView<'a> {
    shell: Shell,
    status: u16,
    heading: &'static str,
    text: &'a str,
}

/// Returns a page with a sentence, for a request that gets no view.
pub(super) fn message(_frame: &Frame, status: StatusCode, text: &str) -> String {
    let (heading, has_navigation) = match status {
        StatusCode::NOT_FOUND => ("Not found", true),
        StatusCode::SERVICE_UNAVAILABLE => ("Not available now", true),
        StatusCode::MISDIRECTED_REQUEST => ("Unknown host name", false),
        StatusCode::FORBIDDEN => ("Not allowed", false),
        StatusCode::TOO_MANY_REQUESTS => ("Too many requests", false),
        _ => ("The request was not answered", false),
    };
    let level = if status.is_server_error() { Level::Bad } else { Level::Good };
    html(&MessageView {
        shell: Shell::plain(heading, has_navigation).level(level),
        status: status.as_u16(),
        heading,
        text,
    })
}

/// Renders a view. Writing to a string cannot fail, and the templates call nothing else that can.
fn html(view: &impl Template) -> String {
    view.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a view of the operator's page was not rendered");
        "<!doctype html><title>medhook</title><p>The view could not be rendered; see the log.".to_owned()
    })
}
