//! A text in a header that may be a shared secret, and the mistake of the header's value.

/// A mistake in a header's value. The text of the cause continues the words "in the header NAME,",
/// and `{secret}` stands for the secret's label.
pub(super) struct ValueMistake {
    pub(super) code: &'static str,
    pub(super) text: &'static str,
    pub(super) undo: fn(&str) -> Vec<String>,
}

/// A text that may be the secret, with the mistake of the value.
pub(super) type Held = (Option<&'static ValueMistake>, String);
