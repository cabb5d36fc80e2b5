//! Statements on several items: one statement for each power of two of items, so that each is prepared once.

use std::sync::Arc;

use super::fault::Fault;

/// The maximum number of events in one statement.
pub(super) const MOST: usize = 256;

/// Returns a statement for each power of two of items up to [`MOST`], which contains the text of one item so often.
pub(super) fn sizes(one: &str, around: &dyn Fn(String) -> String) -> Vec<Arc<str>> {
    std::iter::successors(Some(1_usize), |size| Some(size * 2))
        .take_while(|size| *size <= MOST)
        .map(|size| around(vec![one; size].join(",")).into())
        .collect()
}

/// Returns the statement for the next power of two, and the items padded to that number with the last one. Repeating a
/// read, a write or a delete changes nothing.
pub(super) fn padded<'a, T>(
    statements: &[Arc<str>],
    items: &'a [T],
) -> Result<(Arc<str>, impl Iterator<Item = &'a T>), Fault> {
    let (statement, size) = of_size(statements, items.len())?;
    Ok((statement, items.iter().chain(items.last().into_iter().cycle()).take(size)))
}

/// Returns the statement for the next power of two, and the items padded to that number with `None`, for an INSERT.
#[cfg(feature = "inbox")]
pub(super) fn padded_with_none<'a, T>(
    statements: &[Arc<str>],
    items: &'a [T],
) -> Result<(Arc<str>, impl Iterator<Item = Option<&'a T>>), Fault> {
    let (statement, size) = of_size(statements, items.len())?;
    Ok((statement, items.iter().map(Some).chain(std::iter::repeat(None)).take(size)))
}

fn of_size(statements: &[Arc<str>], items: usize) -> Result<(Arc<str>, usize), Fault> {
    let size = items.next_power_of_two();
    let statement = size.checked_ilog2().and_then(|log| statements.get(log as usize));
    statement
        .filter(|_| items > 0)
        .map(|statement| (statement.clone(), size))
        .ok_or_else(|| Fault::new("no statement for a batch of this size"))
}
