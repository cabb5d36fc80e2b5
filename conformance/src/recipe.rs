//! Expands the rows of a list into cases.

use std::collections::BTreeMap;

use medhook::{Outcome, Reason};

use crate::case::{Case, Expected, Transfer};
use crate::change::{Change, State};
use crate::draft::{Draft, after_signing};
use crate::endpoint::Endpoint;
use crate::error::CaseError;
use crate::list::{Fields, Origin, Row};

/// A fixture, and the changes to it in order.
#[derive(Clone)]
pub(crate) struct Recipe<'l> {
    pub(crate) endpoint: &'l str,
    pub(crate) body: &'l str,
    pub(crate) secret: Option<&'l str>,
    pub(crate) changes: Vec<&'l Change>,
}

/// Expands the rows of one provider, in their order. A row may differ from a later one.
pub(crate) fn make_all<'l>(
    rows: &'l [Row],
    endpoints: &BTreeMap<String, Endpoint>,
    now: i64,
) -> Result<Vec<(Recipe<'l>, Case)>, CaseError> {
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for (n, row) in rows.iter().enumerate() {
        if by_name.insert(&row.name, n).is_some() {
            return Err(CaseError(format!("{}: two cases have this name", row.place)));
        }
    }
    let mut made: BTreeMap<usize, (Recipe<'l>, Case)> = BTreeMap::new();
    loop {
        let before = made.len();
        for (n, row) in rows.iter().enumerate() {
            if made.contains_key(&n) {
                continue;
            }
            let base = match &row.origin {
                Origin::Fixture { .. } => None,
                Origin::Like { name, .. } => match by_name.get(name.as_str()).and_then(|base| made.get(base)) {
                    Some(base) => Some(base),
                    None => continue,
                },
            };
            let case = make(row, base, endpoints, now);
            made.insert(n, case.map_err(|problem| CaseError(format!("{}: {problem}", row.place)))?);
        }
        if made.len() == before {
            break;
        }
    }
    match rows.iter().enumerate().find(|(n, _)| !made.contains_key(n)) {
        Some((_, row)) => Err(CaseError(format!("{}: `like` leads to no fixture", row.place))),
        None => Ok(made.into_values().collect()),
    }
}

fn make<'l>(
    row: &'l Row,
    base: Option<&(Recipe<'l>, Case)>,
    endpoints: &BTreeMap<String, Endpoint>,
    now: i64,
) -> Result<(Recipe<'l>, Case), String> {
    let (recipe, like, change) = match (&row.origin, base) {
        (Origin::Fixture { path, endpoint, secret }, _) => {
            (Recipe { endpoint, body: path, secret: secret.as_deref(), changes: Vec::new() }, None, None)
        }
        (Origin::Like { name, change }, Some((recipe, base))) => {
            if base.expected.outcome != Outcome::Handled {
                return Err("`like` names a case that is not handled itself".to_owned());
            }
            let mut recipe = recipe.clone();
            recipe.changes.push(change);
            (recipe, Some(name.clone()), Some(change.clone()))
        }
        (Origin::Like { .. }, None) => return Err("`like` names no case".to_owned()),
    };
    let expected = expected(&row.fields, base.map(|(_, base)| &base.expected))?;
    let endpoint = endpoints.get(recipe.endpoint).ok_or("there is no such endpoint")?;

    let mut draft = Draft::new(endpoint, recipe.body, recipe.secret, now)?;
    for change in &recipe.changes {
        draft.before_signing(change)?;
    }
    let (headers, body, signed) = draft.sign()?;
    let mut case = Case {
        name: row.name.clone(),
        endpoint: recipe.endpoint.to_owned(),
        like,
        change,
        why: row.fields.why.clone(),
        method: "POST".to_owned(),
        headers,
        body,
        transfer: Transfer::Whole,
        state: State::Usual,
        handler: 200,
        expected,
    };
    for change in &recipe.changes {
        after_signing(change, &mut case, &signed)?;
    }
    Ok((recipe, case))
}

fn expected(fields: &Fields, base: Option<&Expected>) -> Result<Expected, String> {
    let reason = match &fields.reason {
        Some(name) => Some(*Reason::ALL.iter().find(|reason| reason.as_str() == name).ok_or("no such reason")?),
        None => None,
    };
    let (outcome, status) = match (reason, fields.status) {
        (Some(reason), None) => (reason.outcome(), reason.status().as_u16()),
        (Some(_), Some(_)) => return Err("the reason implies the status; remove `status`".to_owned()),
        (None, None) => (Outcome::Handled, 200),
        (None, Some(status)) if (200..300).contains(&status) => (Outcome::Handled, status),
        (None, Some(status)) => (Outcome::Failed, status),
    };
    if base.is_none() && (outcome, status) != (Outcome::Handled, 200) {
        return Err("a fixture is handled; a rejection is `like` a case that is".to_owned());
    }
    let reaches_handler = matches!(outcome, Outcome::Handled | Outcome::Failed);
    let (kind, decodes) = match (&fields.kind, fields.decodes.as_deref(), base) {
        (None, None, _) if !reaches_handler => (None, None),
        (None, None, Some(base)) => (base.kind.clone(), base.decodes.clone()),
        (None, None, None) => return Err("the file name has no documented kind; set `kind` or `decodes`".to_owned()),
        (kind, decodes @ (None | Some("unknown" | "undecodable")), _) if reaches_handler => {
            (kind.clone(), Some(decodes.unwrap_or("kind").to_owned()))
        }
        _ => return Err("`kind` and `decodes` apply only if the handler is called; remove them".to_owned()),
    };
    Ok(Expected { outcome, reason, status, kind, decodes })
}
