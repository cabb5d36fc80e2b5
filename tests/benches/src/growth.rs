//! Costs as the events in the stores and the backlog of the inbox grow: `scripts/bench growth`.

use crate::report::Report;

pub fn run(_: &mut Report) {}
