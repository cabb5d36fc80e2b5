//! The frame of every view: title, navigation, and the controls of the refresh.

use std::time::SystemTime;

use super::text::{Level, When};

/// A view in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Deliveries,
    Inbox,
}

/// The frame of a view.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) title: String,
    /// The path of the view with its query, for the Refresh link.
    pub(super) here: String,
    /// When the values were true. `None` for a view that shows none.
    pub(super) at: Option<When>,
    level: Level,
    section: Option<Section>,
    /// Whether the view is below the one in the navigation.
    is_below: bool,
    has_navigation: bool,
}

impl Shell {
    /// Creates the frame of a view of the navigation.
    pub(super) fn of(section: Section, title: impl Into<String>, here: String, now: SystemTime) -> Self {
        Shell {
            title: title.into(),
            here,
            at: Some(When::new(now, now)),
            level: Level::Good,
            section: Some(section),
            is_below: false,
            has_navigation: true,
        }
    }

    /// Creates the frame of a page without values.
    pub(super) fn plain(title: impl Into<String>, has_navigation: bool) -> Self {
        let (title, here) = (title.into(), "/".to_owned());
        Shell { title, here, at: None, level: Level::Good, section: None, is_below: false, has_navigation }
    }

    pub(super) fn level(self, level: Level) -> Self {
        Shell { level, ..self }
    }

    pub(super) fn below(self) -> Self {
        Shell { is_below: true, ..self }
    }

    pub(super) fn has_navigation(&self) -> bool {
        self.has_navigation
    }

    pub(super) fn refreshes(&self) -> bool {
        self.has_navigation
    }

    pub(super) fn icon(&self) -> &'static str {
        match self.level {
            Level::Good | Level::Note => "/assets/icon.svg",
            Level::Warn => "/assets/icon-warn.svg",
            Level::Bad => "/assets/icon-bad.svg",
        }
    }

    pub(super) fn sections(&self) -> [(Section, &'static str, &'static str); 3] {
        [
            (Section::Overview, "Overview", "/"),
            (Section::Deliveries, "Deliveries", "/deliveries"),
            (Section::Inbox, "Inbox", "/inbox"),
        ]
    }

    pub(super) fn is_in(&self, section: &Section) -> bool {
        self.section == Some(*section)
    }

    /// Returns the value of `aria-current`: a view below the one in the navigation is not that page.
    pub(super) fn current(&self) -> &'static str {
        if self.is_below { "true" } else { "page" }
    }
}
