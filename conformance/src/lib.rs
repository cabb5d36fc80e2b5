//! The cases that every receiver of medhook is held to, ready to be sent: for tests of medhook itself, for
//! `medhook check` and for `medhook demo`.
//!
//! A case is one delivery and its expected result. [`cases()`] expands the list under `fixtures/` of the crate `medhook`:
//! every fixture signed for an [`Endpoint`], and deliveries that differ from such a one in one [`Change`].
//! [`cases_outside`] signs the cases of one provider for an endpoint of your own.
//!
//! ```
//! let list = medhook_conformance::cases()?;
//! let altered = list.cases.iter().find(|case| case.name == "fasten: the first bit of the body flipped on the way").expect("listed");
//! assert_eq!(altered.expected.reason, Some(medhook::Reason::SignatureMismatch));
//! # Ok::<(), medhook_conformance::CaseError>(())
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::string_slice,
        reason = "a failed assumption of a test should end the test; what is shipped is checked in the build without tests"
    )
)]

mod body;
mod case;
mod cases;
mod change;
mod draft;
mod endpoint;
mod error;
mod list;
mod outside;
mod recipe;

pub use self::case::{Case, Expected, Transfer};
pub use self::cases::{Cases, cases, cases_at};
pub use self::change::{Change, State};
pub use self::endpoint::Endpoint;
pub use self::error::{CaseError, EndpointError};
pub use self::outside::{Outside, cases_outside};
