//! The texts that may have been signed before the body, as a table. A new one is one entry.

use crate::verify::case::Case;
use crate::verify::time_form::TimeForm;

/// A text that may have been signed before the body.
pub(super) struct Message {
    /// The code and the text of the mistake, if there is one.
    pub(super) mistake: Option<(&'static str, &'static str)>,
    pub(super) before: String,
}

impl Message {
    /// Returns whether the id and the time of the delivery are signed, even if their headers have other names.
    pub(super) fn is_valid(&self) -> bool {
        self.mistake.is_none_or(|(code, _)| code == SVIX)
    }
}

const SVIX: &str = "svix_id_and_time";

/// A mistake in what is signed before the body.
struct Mistake {
    code: &'static str,
    text: &'static str,
    /// Whether it applies to Standard Webhooks, and whether to an HMAC of the body.
    standard: bool,
    body_only: bool,
    /// Returns the texts that the mistake makes of the headers.
    texts: fn(&Case<'_>) -> Vec<String>,
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        code: SVIX,
        text: "the signed id and time are those of the headers svix-*",
        standard: true,
        body_only: false,
        texts: |case| with_id_and_time(case, "svix", |id, time| format!("{id}.{time}.")),
    },
    Mistake {
        code: "id_and_time_signed",
        text: "the id and the time are signed as well, as in Standard Webhooks",
        standard: false,
        body_only: true,
        texts: |case| {
            ["webhook", "svix"]
                .map(|family| with_id_and_time(case, family, |id, time| format!("{id}.{time}.")))
                .concat()
        },
    },
    Mistake {
        code: "id_not_signed",
        text: "only the time and the body are signed, without the id",
        standard: true,
        body_only: false,
        texts: |case| case.head.text("webhook-timestamp").map(|time| format!("{time}.")).into_iter().collect(),
    },
    Mistake {
        code: "time_not_signed",
        text: "only the id and the body are signed, without the time",
        standard: true,
        body_only: false,
        texts: |case| case.head.text("webhook-id").map(|id| format!("{id}.")).into_iter().collect(),
    },
    Mistake {
        code: "id_and_time_in_other_header",
        text: "webhook-id holds the time and webhook-timestamp holds the id",
        standard: true,
        body_only: false,
        texts: |case| {
            let is_time = |text: &str| TimeForm::of(text) == TimeForm::Seconds;
            let swapped = with_id_and_time(case, "webhook", |id, time| {
                (is_time(id) && !is_time(time)).then(|| format!("{time}.{id}."))
            });
            swapped.into_iter().flatten().collect()
        },
    },
    Mistake {
        code: "id_and_time_swapped",
        text: "the time is signed before the id, but the id must come first",
        standard: true,
        body_only: false,
        texts: |case| with_id_and_time(case, "webhook", |id, time| format!("{time}.{id}.")),
    },
    Mistake {
        code: "other_separator_signed",
        text: "the id, the time and the body are signed with another separator than a dot",
        standard: true,
        body_only: false,
        texts: |case| {
            ["", ":", "\n", "|"]
                .map(|by| with_id_and_time(case, "webhook", |id, time| [id, by, time, by].concat()))
                .concat()
        },
    },
    Mistake {
        code: "id_or_time_joined",
        text: "webhook-id or webhook-timestamp has several values, joined with a comma as proxies join a repeated \
               header; one of them is signed",
        standard: true,
        body_only: false,
        texts: |case| {
            let one = |text: &str| text.split(',').take(4).map(|part| part.trim().to_owned()).collect::<Vec<_>>();
            let parts = with_id_and_time(case, "webhook", |id, time| (one(id), one(time)));
            let pairs = parts
                .iter()
                .flat_map(|(ids, times)| ids.iter().flat_map(|id| times.iter().map(move |time| (id, time))));
            pairs.map(|(id, time)| format!("{id}.{time}.")).collect()
        },
    },
    Mistake {
        code: "id_or_time_in_quotes",
        text: "quotation marks surround webhook-id or webhook-timestamp, but are not signed",
        standard: true,
        body_only: false,
        texts: |case| {
            let bare = |text: &str| text.trim_matches(['"', '\'', ' ']).to_owned();
            with_id_and_time(case, "webhook", |id, time| format!("{}.{}.", bare(id), bare(time)))
        },
    },
    Mistake {
        code: "only_body_signed",
        text: "only the body is signed, which is not Standard Webhooks",
        standard: true,
        body_only: false,
        texts: |_| vec![String::new()],
    },
    Mistake {
        code: "time_rewritten",
        text: "the signed time is in another form than webhook-timestamp",
        standard: true,
        body_only: false,
        texts: |case| {
            with_id_and_time(case, "webhook", |id, time| (id.to_owned(), time.to_owned()))
                .into_iter()
                .flat_map(|(id, time)| other_times(&time).into_iter().map(move |time| format!("{id}.{time}.")))
                .collect()
        },
    },
    Mistake {
        code: "time_signed",
        text: "a time is signed before the body, but an HMAC of the body alone is expected",
        standard: false,
        body_only: true,
        texts: |case| times(case).into_iter().flat_map(|time| [".", ":", ""].map(|by| [time, by].concat())).collect(),
    },
];

/// Returns the texts that may have been signed before the body, the correct one first.
pub(super) fn all(case: &Case<'_>) -> Vec<Message> {
    let standard = case.is_standard();
    let correct = match standard {
        true => with_id_and_time(case, "webhook", |id, time| format!("{id}.{time}.")),
        false => vec![String::new()],
    };
    let mut messages: Vec<_> = correct.into_iter().map(|before| Message { mistake: None, before }).collect();
    for mistake in MISTAKES.iter().filter(|mistake| if standard { mistake.standard } else { mistake.body_only }) {
        for before in (mistake.texts)(case).into_iter().take(32) {
            if !messages.iter().any(|known| known.before == before) {
                messages.push(Message { mistake: Some((mistake.code, mistake.text)), before });
            }
        }
    }
    messages
}

fn with_id_and_time<T>(case: &Case<'_>, family: &str, joined: impl Fn(&str, &str) -> T) -> Vec<T> {
    let [id, time] = ["id", "timestamp"].map(|part| case.head.text(&format!("{family}-{part}")));
    id.zip(time).map(|(id, time)| joined(id, time)).into_iter().collect()
}

/// Returns the whole seconds and milliseconds that a timestamp in another form stands for.
fn other_times(time: &str) -> Vec<String> {
    let unix = TimeForm::of(time).unix(time);
    unix.into_iter().flat_map(|unix| [unix.to_string(), unix.saturating_mul(1_000).to_string()]).collect()
}

/// Returns the values of headers, and of elements such as `t=`, that look like times.
fn times<'h>(case: &Case<'h>) -> Vec<&'h str> {
    let values = case.head.headers.iter().filter_map(|(_, value)| str::from_utf8(value).ok());
    let parts = values.flat_map(|value| {
        value.split([',', ';']).take(16).flat_map(|part| {
            let part = part.trim();
            [Some(part), part.split_once('=').map(|(_, after)| after)].into_iter().flatten()
        })
    });
    let is_time = |part: &&str| {
        let form = TimeForm::of(part);
        form.is_smaller_unit() || matches!(form, TimeForm::Rfc3339) || (form == TimeForm::Seconds && part.len() >= 9)
    };
    parts.filter(is_time).take(8).collect()
}
