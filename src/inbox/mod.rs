//! The inbox: verified events are stored before they are acknowledged, and handled until they succeed.
//!
//! Without an inbox, the handler runs while the provider waits for the answer, and an event whose provider does not
//! retry is lost if the handler fails. With an inbox, a receiver writes the event and the record that it was handled in
//! one transaction, and answers. A [`Worker`](crate::Worker) then leases one event after the other and runs the
//! handler, as often as it takes.
//!
//! [`Inbox`] has the operations for operators: list, replay and discard events, pause endpoints, and rotate keys.

// | module | content |
// |---|---|
// | `keyring` | the keys of an inbox |
// | `sealing` | encryption of what is stored, and how a stored event is bound to its row |
// | `record` | what is stored of a delivery, and its encoding |
// | `from_inbox` | the token of a body that the inbox has opened |
// | `handle` | `Inbox`: a store's inbox with its keys, given to receivers and used by operators |
// | `stores` | `SqliteStore::inbox` and `PostgresStore::inbox` |
// | `operations`, `rekey` | the methods of `Inbox` for operators |
// | `operator`, `entry` | their arguments and their results |

pub(crate) mod entry;
mod from_inbox;
mod handle;
mod keyring;
#[cfg(test)]
pub(crate) mod memory;
mod operations;
mod operator;
pub(crate) mod record;
mod rekey;
pub(crate) mod sealing;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod stores;
#[cfg(test)]
pub(crate) mod suite;

pub use self::entry::{AuditEntry, Counts, Discarded, Entry, Hold, Purged, Rekeyed, Replayed};
pub use self::handle::Inbox;
pub use self::keyring::Keyring;
#[cfg(test)]
pub(crate) use self::keyring::tests::ring;
pub use self::operator::{Filter, Operator};
pub use self::sealing::Bodies;
pub(crate) use self::sealing::Unsealable;
pub use crate::counts::EndpointCounts;
pub use crate::dedupe::inbox::rules::Status;
pub use crate::dedupe::inbox::store::{Keep, KindCount, KindCounts};
