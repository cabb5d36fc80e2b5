//! The sections of the shared cases that only custom providers use.

/// Sections that only custom providers use.
pub(crate) const OF_CUSTOM_PROVIDERS: [&str; 16] = [
    "attempt-date",
    "attempt-milliseconds",
    "authorization",
    "base64-only",
    "either-encoding",
    "id-header",
    "list-of-16",
    "no-separator",
    "no-webhook",
    "other-entries",
    "signature-element",
    "signed-parts",
    "ten-digits",
    "thirteen-digits",
    "timestamp-date",
    "timestamp-element",
];
