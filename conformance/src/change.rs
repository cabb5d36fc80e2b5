//! The one thing in which a case differs from the case it is like.

use medhook::registry::SchemeChoice;
use serde::Deserialize;

/// The one thing in which a case differs from another. *Before* signing means that the sender, who knows the secret,
/// did it; *after*, that someone on the way did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// Signed with the endpoint's secret of this label.
    Secret(String),
    /// Signed with this secret, which the endpoint does not have.
    ForeignSecret(String),
    /// Verified in the same header, but as this scheme has it.
    Scheme(SchemeChoice),
    /// Signed with an HMAC in base64.
    Base64,
    /// Before signing: this text instead of the body.
    Text(String),
    /// Before signing: these bytes, in hexadecimal, instead of the body.
    Bytes(String),
    /// Before signing: the first text replaced by the second, once.
    Replace(String, String),
    /// Before signing: at this JSON pointer, this JSON. `{now}` stands for the time, as a number.
    Set(String, String),
    /// Before signing: what is at this JSON pointer, inside this many arrays.
    Nest(String, usize),
    /// Before signing: at this JSON pointer, a text of this many letters.
    Long(String, usize),
    /// Before signing: text before and after the body.
    Wrap(String, String),
    /// Before signing: spaces after the body, up to this many bytes.
    Pad(usize),
    /// Signed with this message id.
    MessageId(String),
    /// Signed with this text for a timestamp. `{now}` stands for the genuine one.
    Timestamp(String),
    /// Attempted this many seconds from now.
    Attempt(i64),
    /// Happened this many seconds from now.
    Event(i64),
    /// After signing: one bit of the body flipped, counted from its first.
    Flip(usize),
    /// After signing: text appended to the body.
    Append(String),
    /// After signing: without this header.
    Without(String),
    /// After signing: a header's value replaced, or the header added. `{name}` stands for a genuine header's value.
    Header(String, String),
    /// After signing: another line of a header, whether or not there is one; filled as with `Header`.
    And(String, String),
    /// After signing: in a header's value the first text replaced by the second, once.
    Edit(String, String, String),
    /// After signing: a header's value, or what of it stands after the first `=`, in upper case.
    UpperCase(String),
    /// After signing: a header's value made this many bytes long by letters after it.
    Lengthen(String, usize),
    /// After signing: no more than this many bytes of a header's value.
    Cut(String, usize),
    /// After signing: the digit so far from the end of a header's value made another one; the last is 1 from it.
    Spoil(String, usize),
    /// After signing: the timestamp moved by this many seconds.
    Redate(i64),
    /// After signing: the signature as the last of this many in its list, the others made up.
    Among(usize),
    /// After signing: the list of signatures made this many bytes long by one that nobody could have made.
    Stretch(usize),
    /// Another method.
    Method(String),
    /// In chunks of this many bytes.
    Chunked(usize),
    /// With this for the length.
    Declares(u64),
    /// Half of the body, and then the connection is closed.
    HangsUp,
    /// Half of the body, and then nothing.
    Stalls,
    /// Something else is the matter.
    State(State),
    /// The handler answers with this status.
    Handler(u16),
}

/// What else is the matter while a case is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Nothing.
    #[default]
    Usual,
    /// The same delivery was handled before.
    Handled,
    /// The same delivery is being handled.
    InFlight,
    /// The store does not answer.
    StoreDown,
    /// The store is full.
    StoreFull,
    /// As many handlers run as may.
    Busy,
    /// The receiver is shutting down.
    Draining,
}
