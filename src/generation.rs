//! A generation of secrets: those that an endpoint accepts at a time.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::sync::Arc;

use http::{HeaderName, header};

use crate::activity::{SecretActivity, SecretUse};
use crate::endpoint::EndpointFacts;
use crate::envelope::Mode;
use crate::handshake::KeyedHandshakes;
use crate::headers::{Found, Headers};
use crate::scheme::{MOST_HEADERS, SchemeVerifier, SignedHeaders};

/// The secrets that an endpoint accepts at a time, ready to verify with.
///
/// A delivery is verified with the generation with which its check began, also if the secrets are replaced meanwhile. A
/// generation is dropped, and its keys with it, once the last check with it has ended.
pub(crate) struct Generation {
    pub(crate) endpoint: Arc<EndpointFacts>,
    pub(crate) scheme: SchemeVerifier,
    pub(crate) handshakes: KeyedHandshakes,
    /// The number of bytes of a body that are hashed between two yields.
    pub(crate) hash_at_once: usize,
    /// The headers that are read before the body: the encoding and the length, and those of the scheme.
    headers: Box<[HeaderName]>,
    /// The secrets, in the order of their indexes.
    secrets: Box<[AcceptedSecret]>,
}

/// The number of bytes that are hashed at a time by one MAC: about 40 µs of work.
const AT_ONCE: usize = 64 * 1024;

/// The headers that are read before the body, found in one pass over all headers.
pub(crate) struct HeadHeaders<'h> {
    pub(crate) encoding: Found<'h>,
    pub(crate) length: Found<'h>,
    pub(crate) signed: SignedHeaders<'h>,
}

struct AcceptedSecret {
    usage: Arc<SecretUse>,
    /// `None` if the secret is valid for any mode.
    mode: Option<Mode>,
}

impl Generation {
    /// Creates a generation. `mode` returns the mode of the secret with an index. A secret with the label of one of
    /// `before` continues its record of use.
    pub(crate) fn new<'m>(
        endpoint: Arc<EndpointFacts>,
        scheme: SchemeVerifier,
        handshakes: KeyedHandshakes,
        mode: impl Fn(usize) -> Option<&'m Mode>,
        before: Option<&Generation>,
    ) -> Self {
        let accepted = |(secret, label): (usize, &Arc<str>)| {
            let known = before.and_then(|before| before.secrets.iter().find(|known| known.usage.label() == label));
            let usage = known.map_or_else(|| SecretUse::new(label.clone()), |known| known.usage.clone());
            AcceptedSecret { usage, mode: mode(secret).cloned() }
        };
        let secrets = (0..).zip(scheme.labels()).map(accepted).collect();
        let hash_at_once = AT_ONCE.checked_div(scheme.most_public_hashes()).unwrap_or(AT_ONCE);
        let headers = [header::CONTENT_ENCODING, header::CONTENT_LENGTH];
        let headers = headers.into_iter().chain(scheme.headers().into_iter().take(MOST_HEADERS).cloned()).collect();
        Generation { endpoint, scheme, handshakes, hash_at_once, headers, secrets }
    }

    /// Finds the headers that are read before the body.
    #[inline]
    pub(crate) fn find_headers<'h>(&self, headers: &'h (impl Headers + ?Sized)) -> HeadHeaders<'h> {
        let mut found = [Found::Absent; MOST_HEADERS + 2];
        headers.find_each(&self.headers, &mut found);
        let [encoding, length, signed @ ..] = found;
        HeadHeaders { encoding, length, signed }
    }

    /// Returns the label of the secret with this index, and its use.
    pub(crate) fn usage(&self, secret: usize) -> Option<&Arc<SecretUse>> {
        self.secrets.get(secret).map(|secret| &secret.usage)
    }

    /// Returns the mode of the secret with this index, or `None` if it is valid for any mode.
    pub(crate) fn mode(&self, secret: usize) -> Option<&Mode> {
        self.secrets.get(secret).and_then(|secret| secret.mode.as_ref())
    }

    /// Returns the last use of each secret.
    pub(crate) fn activity(&self) -> Vec<SecretActivity> {
        let activity = |secret: &AcceptedSecret| SecretActivity {
            label: secret.usage.label().to_string(),
            is_test: secret.mode == Some(Mode::Test),
            last_used: secret.usage.last_used(),
        };
        self.secrets.iter().map(activity).collect()
    }
}
