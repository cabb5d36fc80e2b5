//! The operations of a store with an inbox, and the rules that both databases share.

pub(crate) mod rules;
pub(crate) mod store;
