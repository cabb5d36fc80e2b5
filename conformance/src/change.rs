//! The one thing in which a case differs from the case it is like.

use medhook::registry::SchemeChoice;
use serde::Deserialize;

/// The one thing in which a case differs from another. A change *before signing* is made by a sender that knows the
/// secret, one *after signing* by an attacker or a proxy between sender and receiver.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// Signed with the endpoint's secret of this label.
    Secret(String),
    /// Signed with this secret, which the endpoint does not have.
    ForeignSecret(String),
    /// Signed by this scheme, in the same header.
    Scheme(SchemeChoice),
    /// Signed with an HMAC in base64.
    Base64,
    /// Signed with the signature in hexadecimal digits.
    Hex,
    /// The signature is one of this template instead of the scheme's own, with `{timestamp}`, `{id}`, and `{body}` or
    /// `{body_base64}`.
    SignedAs(String),
    /// Before signing: the body is replaced by this text.
    Text(String),
    /// Before signing: the body is replaced by these bytes, in hexadecimal.
    Bytes(String),
    /// Before signing: the first occurrence of a text is replaced by another text.
    Replace(String, String),
    /// Before signing: the value at a JSON pointer is replaced by this JSON. `{now}` stands for the time, as a number.
    Set(String, String),
    /// Before signing: the value at a JSON pointer is nested in this many arrays.
    Nest(String, usize),
    /// Before signing: the value at a JSON pointer is replaced by a text of this many letters.
    Long(String, usize),
    /// Before signing: text is put before and after the body.
    Wrap(String, String),
    /// Before signing: the body is padded with spaces to this many bytes.
    Pad(usize),
    /// Signed with this message id.
    MessageId(String),
    /// Signed with this text as the timestamp. `{now}` stands for the genuine one, in the scheme's unit.
    Timestamp(String),
    /// The signed timestamp is this many seconds from now.
    Attempt(i64),
    /// The event's time is this many seconds from now.
    Event(i64),
    /// After signing: one bit of the body is flipped, counted from the first.
    Flip(usize),
    /// After signing: text is appended to the body.
    Append(String),
    /// After signing: this header is removed.
    Without(String),
    /// After signing: a header's value is replaced, or the header is added. `{name}` stands for the value of a genuine
    /// header, and `{now}` for the genuine timestamp.
    Header(String, String),
    /// After signing: another line of a header is added, with placeholders as in `Header`.
    And(String, String),
    /// After signing: the first occurrence of a text in a header's value is replaced by another text.
    Edit(String, String, String),
    /// After signing: a header's signature or shared secret is converted to upper case.
    UpperCase(String),
    /// After signing: a header's value is padded with letters to this many bytes.
    Lengthen(String, usize),
    /// After signing: a header's value is cut to this many bytes.
    Cut(String, usize),
    /// After signing: a digit of a header's value is replaced by another one, counted from the end; the last one is 1.
    Spoil(String, usize),
    /// After signing: this text is removed from the end of a header's value.
    Trim(String, String),
    /// After signing: this many characters are moved from the end of the timestamp to the beginning of the body. A
    /// negative number moves bytes of the body to the timestamp.
    Resplit(isize),
    /// After signing: the timestamp is moved by this many seconds.
    Redate(i64),
    /// After signing: the signature becomes the last of this many entries of its header, the others made up.
    Among(usize),
    /// After signing: the list of signatures is padded to this many bytes with one that cannot be valid.
    Stretch(usize),
    /// Sent with this method.
    Method(String),
    /// Sent in chunks of this many bytes.
    Chunked(usize),
    /// Sent with this `content-length`.
    Declares(u64),
    /// The first half of the body is sent, then the connection is closed.
    HangsUp,
    /// The first half of the body is sent, and the connection stays open.
    Stalls,
    /// Sent while the receiver is in this state.
    State(State),
    /// The handler answers with this status.
    Handler(u16),
}

/// The state of a receiver while a case is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Ready, with an empty store.
    #[default]
    Usual,
    /// The same delivery was handled before.
    Handled,
    /// The same delivery is being handled.
    InFlight,
    /// The same delivery was handled as often as [`Builder::max_repeats`](medhook::Builder::max_repeats) allows by
    /// default.
    Repeated,
    /// The store does not answer.
    StoreDown,
    /// The store is full.
    StoreFull,
    /// The `max_in_flight` limit is reached.
    Busy,
    /// The receiver is shutting down.
    Draining,
}
