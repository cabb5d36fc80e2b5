//! The problems for which a handshake is rejected.

use http::HeaderName;

macro_rules! handshake_problems {
    ($($Variant:ident = $text:literal;)*) => {
        /// The problem of a handshake that is rejected: its form only, never its content.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum HandshakeProblem { $($Variant,)* }

        impl HandshakeProblem {
            #[cfg(test)]
            pub(crate) const ALL: &'static [HandshakeProblem] = &[$(HandshakeProblem::$Variant,)*];

            /// Returns the text for logs.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(HandshakeProblem::$Variant => $text,)* }
            }
        }
    };
}

handshake_problems! {
    QueryTooLong = "the query is longer than 4096 bytes";
    TokenMissing = "the token is missing";
    TokenRepeated = "the token occurs more than once";
    TokenWrong = "the token is not a configured one";
    ChallengeMissing = "the challenge is missing";
    ChallengeRepeated = "the challenge occurs more than once";
    ChallengeEmpty = "the challenge is empty";
    ChallengeTooLong = "the challenge is too long";
    EchoCharacter = "the challenge contains a character other than A-Za-z0-9._~+/=-";
    MacCharacter = "the challenge contains a character other than A-Za-z0-9_-";
    NoMac = "the scheme has no HMAC key";
}

/// A rejected handshake: the problem, and the header that it is about, if there is one.
#[derive(Debug)]
pub(crate) struct HandshakeFault {
    pub(crate) problem: HandshakeProblem,
    pub(crate) header: Option<HeaderName>,
}

impl HandshakeProblem {
    /// Names the header that has the problem.
    pub(super) fn of(self, header: Option<&HeaderName>) -> HandshakeFault {
        HandshakeFault { problem: self, header: header.cloned() }
    }
}

impl From<HandshakeProblem> for HandshakeFault {
    fn from(problem: HandshakeProblem) -> Self {
        problem.of(None)
    }
}
