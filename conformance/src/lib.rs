//! The cases that every receiver of medhook is held to, ready to be sent: for tests of medhook itself, for
//! `medhook check` and for `medhook demo`.
//!
//! A case is one delivery and its expected result. [`cases()`] expands the list under `fixtures/` of the crate
//! `medhook`: every fixture signed for an [`Endpoint`], and deliveries that differ from such a one in one [`Change`].
//! [`cases_outside`] signs the cases of one provider for an endpoint of your own.
//!
//! ```
//! let list = medhook_conformance::cases()?;
//! let name = "fasten: the first bit of the body flipped in transit";
//! let altered = list.cases.iter().find(|case| case.name == name).expect("listed");
//! assert_eq!(altered.expected.reason, Some(medhook::Reason::SignatureMismatch));
//! # Ok::<(), medhook_conformance::CaseError>(())
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod body;
mod case;
mod cases;
mod change;
mod custom;
mod custom_cases;
mod custom_sections;
mod draft;
mod endpoint;
mod error;
#[cfg(test)]
mod families;
mod list;
mod outside;
mod placeholders;
mod player;
mod recipe;
mod site;
mod verdict;
mod written;

pub use self::answer::{Answer, Call, Lost, Sent};
pub use self::case::{Case, Expected, Transfer};
pub use self::cases::{Cases, cases, cases_at};
pub use self::change::{Change, State};
pub use self::custom::CustomProvider;
pub use self::endpoint::Endpoint;
pub use self::error::{CaseError, EndpointError};
pub use self::outside::{Prepared, cases_inside, cases_outside};
pub use self::player::{Plan, Player};
pub use self::site::Site;
pub use self::verdict::{CaseVerdict, Finding};
