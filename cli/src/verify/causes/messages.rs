//! The texts that may have been signed besides the body. Those of Standard Webhooks are a table, where a new one is one
//! entry; those of other schemes are made from `templates`.

use medhook::testing::Signing;

use super::sent_times::other_times;
use super::{options, templates};
use crate::verify::case::Case;
use crate::verify::signed::SignedText;
use crate::verify::time_form::TimeForm;

/// A text that may have been signed, besides the body.
pub(super) struct Message {
    /// The code and the text of the mistake, if there is one.
    pub(super) mistake: Option<(&'static str, String)>,
    pub(super) signed: SignedText,
}

impl Message {
    /// Returns whether the id and the time of the delivery are signed, even if their headers have other names.
    pub(super) fn is_valid(&self) -> bool {
        self.mistake.as_ref().is_none_or(|(code, _)| [SVIX, OTHER_PREFIX].contains(code))
    }
}

const SVIX: &str = "svix_id_and_time";
const OTHER_PREFIX: &str = "other_header_prefix";

/// A mistake in what Standard Webhooks signs before the body.
struct Mistake {
    code: &'static str,
    text: &'static str,
    /// Returns the texts that the mistake makes of the headers.
    texts: fn(&Case<'_>) -> Vec<String>,
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        code: "id_not_signed",
        text: "only the time and the body are signed, without the id",
        texts: |case| own_time(case).map(|time| format!("{time}.")).into_iter().collect(),
    },
    Mistake {
        code: "time_not_signed",
        text: "only the id and the body are signed, without the time",
        texts: |case| case.signed_id().map(|id| format!("{id}.")).into_iter().collect(),
    },
    Mistake {
        code: "id_and_time_in_other_header",
        text: "webhook-id holds the time and webhook-timestamp holds the id",
        texts: |case| {
            let is_time = |text: &str| TimeForm::of(text) == TimeForm::Seconds;
            let swapped = with_id_and_time(case, own_prefix(case), |id, time| {
                (is_time(id) && !is_time(time)).then(|| format!("{time}.{id}."))
            });
            swapped.into_iter().flatten().collect()
        },
    },
    Mistake {
        code: "id_and_time_swapped",
        text: "the time is signed before the id, but the id must come first",
        texts: |case| with_id_and_time(case, own_prefix(case), |id, time| format!("{time}.{id}.")),
    },
    Mistake {
        code: "other_separator_signed",
        text: "the id, the time and the body are signed with another separator than a dot",
        texts: |case| {
            ["", ":", "\n", "|"]
                .map(|by| with_id_and_time(case, own_prefix(case), |id, time| [id, by, time, by].concat()))
                .concat()
        },
    },
    Mistake {
        code: "id_or_time_joined",
        text: "webhook-id or webhook-timestamp has several values, joined with a comma as proxies join a repeated \
               header; one of them is signed",
        texts: |case| {
            let one = |text: &str| text.split(',').take(4).map(|part| part.trim().to_owned()).collect::<Vec<_>>();
            let parts = with_id_and_time(case, own_prefix(case), |id, time| (one(id), one(time)));
            let pairs = parts
                .iter()
                .flat_map(|(ids, times)| ids.iter().flat_map(|id| times.iter().map(move |time| (id, time))));
            pairs.map(|(id, time)| format!("{id}.{time}.")).collect()
        },
    },
    Mistake {
        code: "id_or_time_in_quotes",
        text: "quotation marks surround webhook-id or webhook-timestamp, but are not signed",
        texts: |case| {
            let bare = |text: &str| text.trim_matches(['"', '\'', ' ']).to_owned();
            with_id_and_time(case, own_prefix(case), |id, time| format!("{}.{}.", bare(id), bare(time)))
        },
    },
    Mistake {
        code: "only_body_signed",
        text: "only the body is signed, which is not Standard Webhooks",
        texts: |_| vec![String::new()],
    },
    Mistake {
        code: "time_rewritten",
        text: "the signed time is in another form than webhook-timestamp, which is not supported",
        texts: |case| {
            with_id_and_time(case, own_prefix(case), |id, time| (id.to_owned(), time.to_owned()))
                .into_iter()
                .flat_map(|(id, time)| other_times(&time).into_iter().map(move |time| format!("{id}.{time}.")))
                .collect()
        },
    },
];

/// Returns the texts that may have been signed, the correct one first.
pub(super) fn all(case: &Case<'_>) -> Vec<Message> {
    let correct = case.signed_text();
    let mut messages: Vec<_> = correct.into_iter().map(|signed| Message { mistake: None, signed }).collect();
    let mut add = |code, text: String, signed: SignedText| {
        if !messages.iter().any(|known| known.signed == signed) {
            messages.push(Message { mistake: Some((code, text)), signed });
        }
    };
    let texts = |prefix: &str| with_id_and_time(case, prefix, |id, time| format!("{id}.{time}."));
    let families = families(case);
    if case.is_standard() {
        for prefix in &families {
            let text =
                format!("the signed id and time are those of the headers {prefix}*{}", prefix_hint(case, prefix));
            let is_svix = own_prefix(case) == "webhook-" && prefix == "svix-";
            let code = if is_svix { SVIX } else { OTHER_PREFIX };
            let signed = texts(prefix).into_iter().map(SignedText::before_body);
            signed.for_each(|signed| add(code, text.clone(), signed));
        }
        for mistake in MISTAKES {
            for before in (mistake.texts)(case).into_iter().take(32) {
                add(mistake.code, mistake.text.to_owned(), SignedText::before_body(before));
            }
        }
    } else {
        for prefix in &families {
            let option = case.endpoint.custom.as_ref().map_or_else(String::new, |_| {
                let encoding = options::secret_encoding(case.secret_encoding());
                let (scheme, prefix) =
                    (options::option("scheme", "standard-webhooks"), options::option("header_prefix", prefix));
                format!(": set {scheme}, {prefix} and {encoding}, without the other keys of the scheme")
            });
            let text = format!("the id and the time are signed as well, as in Standard Webhooks{option}");
            let signed = texts(prefix).into_iter().map(SignedText::before_body);
            signed.for_each(|signed| add("id_and_time_signed", text.clone(), signed));
        }
        templates::all(case).into_iter().for_each(|(code, text, signed)| add(code, text, signed));
    }
    messages
}

fn own_prefix<'c>(case: &Case<'c>) -> &'c str {
    match case.signing {
        Signing::StandardWebhooks(scheme) => scheme.prefix(),
        _ => "webhook-",
    }
}

/// Returns what to do about another prefix of the headers. Known providers have no option for it.
pub(super) fn prefix_hint(case: &Case<'_>, prefix: &str) -> String {
    match case.endpoint.custom {
        Some(_) => format!("; set header_prefix to `{prefix}`"),
        None => "; the sender or a relay uses other names than the provider documents".to_owned(),
    }
}

fn own_time<'c>(case: &'c Case<'_>) -> Option<&'c str> {
    case.signed_time().and_then(|(_, text)| text)
}

/// Returns the prefixes of headers that are named as those of Standard Webhooks are, except the configured one.
pub(super) fn families(case: &Case<'_>) -> Vec<String> {
    let mut prefixes: Vec<String> = ["webhook-", "svix-"].map(str::to_owned).into();
    let named = case.head.headers.iter().filter_map(|(name, _)| name.strip_suffix("signature"));
    prefixes.extend(named.filter(|prefix| prefix.ends_with(['-', '_'])).map(str::to_owned));
    let own = if case.is_standard() { own_prefix(case) } else { "" };
    let mut found: Vec<String> = Vec::new();
    for prefix in prefixes {
        let is_whole = ["id", "timestamp"].iter().all(|part| case.head.has(&format!("{prefix}{part}")));
        if is_whole && prefix != own && !found.contains(&prefix) && found.len() < 4 {
            found.push(prefix);
        }
    }
    found
}

fn with_id_and_time<T>(case: &Case<'_>, prefix: &str, joined: impl Fn(&str, &str) -> T) -> Vec<T> {
    let [id, time] = ["id", "timestamp"].map(|part| case.head.text(&format!("{prefix}{part}")));
    id.zip(time).map(|(id, time)| joined(id, time)).into_iter().collect()
}
