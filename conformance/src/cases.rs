//! The whole list, and its endpoints.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::endpoint::Endpoint;
use crate::error::CaseError;
use crate::list::{self, List};
use crate::recipe::make_all;

/// Returns every case, at the list's own time.
///
/// # Errors
/// Returns an error if the list is malformed. The tests of this project check that it is not.
pub fn cases() -> Result<Cases, CaseError> {
    load(None)
}

/// Returns every case as it would be sent at this Unix time, in seconds.
///
/// # Errors
/// Returns the errors of [`cases`].
pub fn cases_at(now: i64) -> Result<Cases, CaseError> {
    load(Some(now))
}

/// The list of cases.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Cases {
    /// The receivers' clock, in Unix seconds.
    pub now: i64,
    /// The endpoints that the cases are for, by name.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// The cases.
    pub cases: Vec<Case>,
}

fn load(now: Option<i64>) -> Result<Cases, CaseError> {
    let now = now.map_or_else(list::now, Ok)?;
    let mut all = Cases { now, endpoints: BTreeMap::new(), cases: Vec::new() };
    for List { endpoints, rows, .. } in list::all()? {
        let made = make_all(&rows, &endpoints, now)?;
        all.cases.extend(made.into_iter().map(|(_, case)| case));
        all.endpoints.extend(endpoints);
    }
    Ok(all)
}
