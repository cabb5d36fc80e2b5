//! Searches for the explanation of a signature with the fewest causes: combinations of at most two mistakes of the
//! secret, of what is signed before the body, and of the body. A serializer makes several changes at once, so two of
//! them count as one mistake if little is hashed. The place and the form of the signature are compared in each
//! combination.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use base64ct::Encoding as _;
use medhook::sign::mac;
use medhook::{Bytes, SignatureAlgorithm};

use super::bodies::{self, CHANGES, Change};
use super::cause::Cause;
use super::key_form::KeyForm;
use super::keys::{self, Key};
use super::mac_sha512::mac_sha512;
use super::messages::{self, Message};
use super::public_keys::PublicKey;
use super::tags::{self, Tag};
use crate::verify::case::Case;

/// The result of the search.
#[derive(Default)]
pub(super) struct SearchOutcome {
    /// The causes that together explain the signature completely. There are none if it is as expected.
    pub(super) explanation: Option<Vec<Cause>>,
    /// Whether the signature is that of the recorded body, id and time under a given secret.
    pub(super) is_valid: bool,
    /// Whether the expected header holds a signature that could be compared.
    pub(super) is_comparable: bool,
    /// Whether any header holds a value that could be a signature.
    pub(super) has_tags: bool,
    /// The number of combinations that were tried.
    pub(super) tried: usize,
    /// Whether combinations were left out.
    pub(super) is_cut: bool,
}

/// The most bytes that are rewritten and hashed, which takes a few seconds.
const MOST_BYTES: usize = 1024 * 1024 * 1024;

/// The most bytes that are rewritten and hashed for three mistakes.
const MOST_SERIALIZED: usize = 64 * 1024 * 1024;

/// The longest body that is changed a second time.
const LONGEST_CHANGED_TWICE: usize = 4 * 1024 * 1024;

/// The most signatures that are verified with public keys, which takes far longer than an HMAC.
const MOST_VERIFIED: usize = 1_000;

/// The bytes that a combination costs besides those of the body.
const OVERHEAD: usize = 256;

pub(super) fn search(case: &Case<'_>) -> SearchOutcome {
    search_within(case, MOST_BYTES)
}

fn search_within(case: &Case<'_>, most_bytes: usize) -> SearchOutcome {
    let expected = case.signature_header();
    let found = tags::all(case);
    let messages = messages::all(case);
    let mut outcome = SearchOutcome {
        has_tags: !found.is_empty(),
        is_comparable: found.iter().any(|tag| tag.header == expected)
            && messages.iter().any(|message| message.mistake.is_none()),
        ..SearchOutcome::default()
    };
    if outcome.has_tags {
        let has = |length: usize| found.iter().any(|tag| tag.length() == length);
        let keys = keys::keys(case.secrets, KeyForm::of(case)).into_iter().filter(|key| has(key.length())).collect();
        let tables = Tables { case, tags: found, keys, messages };
        let mut search = Search { outcome: &mut outcome, budget: most_bytes, most_verified: MOST_VERIFIED };
        search.one_mistake(&tables);
        search.two_mistakes(&tables);
        search.serialized_again(&tables);
    }
    outcome
}

/// Everything that is combined.
struct Tables<'t, 'c> {
    case: &'t Case<'c>,
    tags: Vec<Tag<'c>>,
    keys: Vec<Key>,
    messages: Vec<Message>,
}

struct Search<'o> {
    outcome: &'o mut SearchOutcome,
    budget: usize,
    /// The number of signatures that may still be verified with public keys.
    most_verified: usize,
}

/// The bodies that were tried, as hashes.
#[derive(Default)]
struct Seen(HashSet<u64>, RandomState);

impl Seen {
    fn is_new(&mut self, body: &[u8]) -> bool {
        self.0.insert(self.1.hash_one(body))
    }
}

impl Search<'_> {
    /// Tries the recorded delivery with at most one mistake.
    fn one_mistake(&mut self, tables: &Tables<'_, '_>) {
        let body = tables.case.body;
        self.keys_and_messages(tables, body, &[], 0);
        self.keys_and_messages(tables, body, &[], 1);
        let mut seen = Seen::default();
        seen.is_new(body);
        self.each_change(body, &mut seen, &mut |search, change, changed| {
            search.keys_and_messages(tables, changed, &[change], 0);
        });
    }

    /// Tries every two mistakes.
    fn two_mistakes(&mut self, tables: &Tables<'_, '_>) {
        let body = tables.case.body;
        self.keys_and_messages(tables, body, &[], 2);
        let mut seen = Seen::default();
        seen.is_new(body);
        self.each_change(body, &mut seen, &mut |search, change, changed| {
            search.keys_and_messages(tables, changed, &[change], 1);
        });
        let mut seen_first = Seen::default();
        seen_first.is_new(body);
        self.each_change(body, &mut seen_first, &mut |search, first, changed| {
            if changed.len() > LONGEST_CHANGED_TWICE {
                search.outcome.is_cut = true;
                return;
            }
            search.each_change(changed, &mut seen, &mut |search, second, twice| {
                search.keys_and_messages(tables, twice, &[first, second], 0);
            });
        });
    }

    /// Tries three mistakes of which two or three were made by one serializer, as far as they cost little.
    fn serialized_again(&mut self, tables: &Tables<'_, '_>) {
        let body = tables.case.body;
        if self.is_done() || self.outcome.is_cut || !bodies::is_json(body) {
            return;
        }
        self.budget = self.budget.min(MOST_SERIALIZED);
        let mut seen = Seen::default();
        seen.is_new(body);
        self.serialize_again(tables, body, &mut seen, &mut Vec::new());
        // Three mistakes are more than the search promises.
        self.outcome.is_cut = false;
    }

    fn serialize_again(
        &mut self,
        tables: &Tables<'_, '_>,
        body: &[u8],
        seen: &mut Seen,
        made: &mut Vec<&'static Change>,
    ) {
        for change in bodies::serializer_changes(made.last().copied()) {
            if self.is_done() || !self.spends(body.len()) {
                return;
            }
            made.push(change);
            change.undo(body, true, &mut |changed| {
                if self.is_done() || !self.spends(changed.len()) || !seen.is_new(&changed) {
                    return;
                }
                // One change with another mistake, and two changes alone, were tried before.
                match made.len() {
                    1 => {}
                    2 => self.keys_and_messages(tables, &changed, made, 1),
                    _ => self.keys_and_messages(tables, &changed, made, 0),
                }
                if made.len() < 3 {
                    self.serialize_again(tables, &changed, seen, made);
                }
            });
            made.pop();
        }
    }

    /// Passes each body that may have been signed instead of `body`, and that is new, to `tried`.
    fn each_change(&mut self, body: &[u8], seen: &mut Seen, tried: &mut dyn FnMut(&mut Self, &'static Change, &[u8])) {
        let is_json = bodies::is_json(body);
        for change in CHANGES {
            if self.is_done() || !self.spends(body.len()) {
                return;
            }
            change.undo(body, is_json, &mut |changed| {
                if !self.is_done() && self.spends(changed.len()) && seen.is_new(&changed) {
                    tried(self, change, &changed);
                }
            });
        }
    }

    /// Tries every secret and everything that may be signed before this body, with exactly so many mistakes.
    fn keys_and_messages(&mut self, tables: &Tables<'_, '_>, body: &[u8], changes: &[&Change], count: usize) {
        let mut encoded = None;
        for message in &tables.messages {
            for key in &tables.keys {
                let mistakes = usize::from(message.mistake.is_some()).saturating_add(key.mistake.is_some().into());
                if mistakes != count {
                    continue;
                }
                if self.is_done() || !self.spends(body.len().saturating_add(OVERHEAD)) {
                    return;
                }
                let signed = &message.signed;
                let body = match signed.is_base64 {
                    true => encoded.get_or_insert_with(|| base64ct::Base64::encode_string(body)).as_bytes(),
                    false => body,
                };
                let parts = [signed.before.as_bytes(), body, signed.after.as_bytes()];
                let found: Vec<&Tag<'_>> = match &key.public {
                    Some(public) => {
                        if count > 0 && !changes.is_empty() || count > 1 {
                            continue;
                        }
                        self.verified(tables, public, &parts)
                    }
                    None => {
                        self.outcome.tried = self.outcome.tried.saturating_add(1);
                        let expected = match key.algorithm {
                            SignatureAlgorithm::HmacSha512 => mac_sha512(&key.bytes, &parts).to_vec(),
                            _ => mac(&key.bytes, &parts).to_vec(),
                        };
                        tables.tags.iter().filter(|tag| tag.is(&expected)).collect()
                    }
                };
                let found = found.into_iter().map(|tag| tag.misplaced(tables.case, key.algorithm));
                if let Some(misplaced) = found.min_by_key(Vec::len) {
                    self.found(key, message, changes, misplaced);
                }
            }
        }
    }

    /// Returns the signatures of a message that are valid under a public key.
    fn verified<'t, 'c>(
        &mut self,
        tables: &'t Tables<'_, 'c>,
        public: &PublicKey,
        parts: &[&[u8]],
    ) -> Vec<&'t Tag<'c>> {
        let message = Bytes::from(parts.concat());
        let mut found = Vec::new();
        for tag in tables.tags.iter().filter(|tag| tag.bytes.len() == 64) {
            let Some(left) = self.most_verified.checked_sub(1) else { break };
            self.most_verified = left;
            self.outcome.tried = self.outcome.tried.saturating_add(1);
            if public.verifies(message.clone(), &tag.bytes) {
                found.push(tag);
            }
        }
        found
    }

    fn found(&mut self, key: &Key, message: &Message, changes: &[&Change], misplaced: Vec<Cause>) {
        let mut causes = Vec::new();
        causes.extend(key.mistake.as_ref().map(|(code, text)| Cause::fitting(code, text)));
        causes.extend(message.mistake.as_ref().map(|(code, text)| Cause::fitting(code, text)));
        for change in changes {
            let cause = Cause::fitting(change.code, change.text);
            causes.push(match causes.contains(&cause) {
                true => Cause::fitting(change.code, format!("{}; this happened twice", change.text)),
                false => cause,
            });
        }
        self.outcome.is_valid = changes.is_empty() && key.mistake.is_none() && message.is_valid();
        causes.extend(misplaced);
        self.outcome.explanation = Some(causes);
    }

    fn is_done(&self) -> bool {
        self.outcome.explanation.is_some()
    }

    /// Takes bytes from the budget. Returns false once there are not enough left.
    fn spends(&mut self, bytes: usize) -> bool {
        match self.budget.checked_sub(bytes) {
            Some(left) => self.budget = left,
            None => self.outcome.is_cut = true,
        }
        !self.outcome.is_cut
    }
}

#[cfg(test)]
mod tests {
    use medhook::{Bytes, Secret};
    use medhook_conformance::Endpoint;

    use super::*;
    use crate::verify::headers::Head;

    fn searched(body: &[u8], most_bytes: usize) -> SearchOutcome {
        let endpoint = Endpoint::new("healthsync");
        let signing = endpoint.signing().unwrap();
        let secrets = ["one secret", "another secret"].map(|text| Secret::new(text).unwrap());
        let mut head = Head::default();
        head.headers.push(("x-healthsync-signature".to_owned(), format!("sha256={}", "0".repeat(64)).into_bytes()));
        let body = Bytes::copy_from_slice(body);
        let case = Case {
            endpoint: &endpoint,
            signing: &signing,
            secrets: &secrets,
            head: &head,
            body: &body,
            at: 1_700_000_000,
        };
        search_within(&case, most_bytes)
    }

    #[test]
    fn the_search_ends_within_its_budget() {
        let body = serde_json::json!({ "a": vec!["Zo\u{eb} </b>"; 400], "b": vec![1.5; 400] }).to_string();
        let all = searched(&body.as_bytes()[..200], MOST_BYTES);
        assert!(!all.is_cut && all.tried > 500, "{}", all.tried);
        for budget in [0, 1_000, 100_000, 2_000_000] {
            let cut = searched(body.as_bytes(), budget);
            assert!(cut.is_cut && cut.tried <= budget / body.len(), "{budget}: {}", cut.tried);
        }
    }

    #[test]
    fn a_search_over_a_hostile_body_ends() {
        let n = 2_000;
        let bodies: [Vec<u8>; 9] = [
            ["[".repeat(n), "]".repeat(n)].concat().into(),
            ["{\"a\":".repeat(n), "1".to_owned(), "}".repeat(n)].concat().into(),
            format!("[{}1]", "1e308,".repeat(n)).into(),
            format!("[{}1]", "\"\\ud83d\",".repeat(n)).into(),
            format!("\"{}\"", "\\\"".repeat(n)).into(),
            "\u{feff}".repeat(n).into(),
            "&quot;%3D+\\u0000".repeat(n / 8).into(),
            b"\xff\xfe\0\xd8".repeat(n / 4),
            b"1\r\n".repeat(n),
        ];
        for body in bodies {
            assert!(searched(&body, 8 * 1024 * 1024).explanation.is_none());
        }
    }
}
