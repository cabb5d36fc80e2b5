//! The mistakes of a template of what is signed, as a table. A new one is one entry.

use super::sent_times::{other_times, times};
use super::template_options::{self, Place};
use crate::verify::case::Case;
use crate::verify::signed::{SignedText, placeholders};

/// A mistake in what is signed. The template that explains the signature is added to the text.
struct TemplateMistake {
    code: &'static str,
    text: &'static str,
    /// Whether it applies to schemes with a signed timestamp, and whether to those without.
    timed: bool,
    timeless: bool,
    /// Returns the templates that the mistake makes of the configured one.
    templates: fn(&str) -> Vec<String>,
}

/// The characters between the parts, and none.
const SEPARATORS: [&str; 10] = ["", ".", ":", "\n", "|", " ", ",", "-", "_", "/"];

/// The texts before the first part.
const BEGINNINGS: [&str; 4] = ["v0:", "v1:", "v0.", "v1."];

const MISTAKES: &[TemplateMistake] = &[
    TemplateMistake {
        code: "base64_body_signed",
        text: "the base64 of the body is signed, but its bytes are expected",
        timed: true,
        timeless: true,
        templates: |template| vec![template.replace("{body}", "{body_base64}")],
    },
    TemplateMistake {
        code: "raw_body_signed",
        text: "the bytes of the body are signed, but its base64 is expected",
        timed: true,
        timeless: true,
        templates: |template| vec![template.replace("{body_base64}", "{body}")],
    },
    TemplateMistake {
        code: "only_body_signed",
        text: "only the body is signed",
        timed: true,
        timeless: false,
        templates: |_| vec!["{body}".to_owned(), "{body_base64}".to_owned()],
    },
    TemplateMistake {
        code: "text_not_signed",
        text: "a literal text of the template is not signed",
        timed: true,
        timeless: true,
        templates: |template| {
            let begin = template.find('{').and_then(|at| template.get(at..)).unwrap_or(template);
            let end = template.rfind('}').and_then(|at| template.get(..=at)).unwrap_or(template);
            let both = begin.rfind('}').and_then(|at| begin.get(..=at)).unwrap_or(begin);
            [begin, end, both].map(str::to_owned).into()
        },
    },
    TemplateMistake {
        code: "text_signed",
        text: "a text such as `v0:` is signed as well",
        timed: true,
        timeless: true,
        templates: |template| BEGINNINGS.iter().map(|text| format!("{text}{template}")).collect(),
    },
    TemplateMistake {
        code: "other_separator_signed",
        text: "the parts are signed with another separator than in the template",
        timed: true,
        timeless: false,
        templates: |template| {
            let parts = placeholders(template);
            let begin = template.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            let bare = SEPARATORS.iter().map(|by| parts.join(by));
            let begun = SEPARATORS.iter().map(|by| [begin, &parts.join(by)].join(by));
            bare.chain(begun.filter(|_| !begin.is_empty())).collect()
        },
    },
    TemplateMistake {
        code: "parts_in_other_order",
        text: "the parts are signed in another order",
        timed: true,
        timeless: false,
        templates: |template| {
            let mut parts = placeholders(template);
            let mut orders = Vec::new();
            for _ in 0..parts.len() {
                parts.rotate_left(1);
                let mut reversed = parts.clone();
                reversed.reverse();
                orders.extend([parts.clone(), reversed]);
            }
            orders.iter().flat_map(|parts| SEPARATORS.iter().take(5).map(|by| parts.join(by))).collect()
        },
    },
    TemplateMistake {
        code: "id_not_signed",
        text: "the id is not signed",
        timed: true,
        timeless: true,
        templates: |template| match template.split_once("{id}") {
            Some((before, after)) => {
                // Together with the character after it.
                let mut rest = after.chars();
                rest.next();
                vec![format!("{before}{}", rest.as_str())]
            }
            None => Vec::new(),
        },
    },
    TemplateMistake {
        code: "time_not_signed",
        text: "the timestamp is not signed",
        timed: true,
        timeless: false,
        templates: |template| match template.split_once("{timestamp}") {
            Some((before, after)) if before.contains("{id}") || after.contains("{id}") => {
                vec![[before, after.get(1..).unwrap_or_default()].concat(), "{id}.{body}".to_owned()]
            }
            _ => Vec::new(),
        },
    },
    TemplateMistake {
        code: "time_signed",
        text: "a time is signed before the body, but a signature of the body alone is expected",
        timed: false,
        timeless: true,
        templates: |_| {
            let times = SEPARATORS.iter().take(5);
            let times = times.flat_map(|by| ["{body}", "{body_base64}"].map(|body| ["{timestamp}", by, body].concat()));
            times.chain(BEGINNINGS.map(|begin| format!("{begin}{{timestamp}}:{{body}}"))).collect()
        },
    },
    TemplateMistake {
        code: "id_signed",
        text: "an id is signed as well",
        timed: true,
        timeless: true,
        templates: |template| match template.contains("{id}") {
            true => Vec::new(),
            false => [".", ":", ""].iter().map(|by| ["{id}", by, template].concat()).collect(),
        },
    },
    TemplateMistake {
        code: "id_signed",
        text: "an id is signed as well",
        timed: true,
        timeless: false,
        templates: |template| match template.contains("{id}") {
            true => Vec::new(),
            false => [".", ":", ""].iter().map(|by| ["{timestamp}", "{id}", "{body}"].join(by)).collect(),
        },
    },
];

/// The most ids and times of other headers that are tried.
const MOST: usize = 8;

/// A text of the head that may be signed, and its place if it is not the configured one.
type Part<'h, P> = (&'h str, Option<P>);

/// Returns what may have been signed instead of the configured template, with the code and the text of each mistake.
pub(super) fn all(case: &Case<'_>) -> Vec<(&'static str, String, SignedText)> {
    let template = case.template();
    let configured_time = case.signed_time();
    let own_time = configured_time.as_ref().and_then(|(_, text)| *text);
    let own_id = case.signed_id();
    let ids: Vec<Part<'_, &str>> = own_id.map_or_else(|| ids(case), |id| vec![(id, None)]);
    let times: Vec<Part<'_, Place<'_>>> = own_time.map_or_else(|| times(case), |time| vec![(time, None)]);
    let mut found = Vec::new();
    let is_timed = configured_time.is_some();
    for mistake in MISTAKES.iter().filter(|mistake| if is_timed { mistake.timed } else { mistake.timeless }) {
        for changed in (mistake.templates)(template).iter().filter(|changed| *changed != template) {
            for time in named(&times, changed.contains("{timestamp}")) {
                for id in named(&ids, changed.contains("{id}")) {
                    let (time_text, id_text) = (time.map(|(text, _)| text), id.map(|(text, _)| text));
                    let Some(signed) = SignedText::of(changed, time_text, id_text) else { continue };
                    let (time_place, id_place) = (time.and_then(|(_, place)| place), id.and_then(|(_, place)| place));
                    let fix = template_options::for_template(case, changed, time_place, id_place);
                    let shown = changed.replace('\n', "\\n");
                    found.push((mistake.code, format!("{}: the sender signs `{shown}`{fix}", mistake.text), signed));
                }
            }
        }
    }
    let Some((name, own)) = configured_time else { return found };
    let with_time = |time: &str| SignedText::of(template, Some(time), own_id);
    for signed in own.map(other_times).unwrap_or_default().iter().filter_map(|time| with_time(time)) {
        let text = format!("the signed time is in another form than {name}, which is not supported");
        found.push(("time_rewritten", text, signed));
    }
    for (time, place) in self::times(case).into_iter().filter(|(time, _)| Some(*time) != own) {
        let text = match place {
            Some(place) => format!(
                "the signed time is that of {}, not of {name}{}",
                place.in_words(),
                template_options::for_place(case, place)
            ),
            None => format!("the signed time is that of another element than {name}"),
        };
        found.extend(with_time(time).map(|signed| ("other_time_signed", text, signed)));
    }
    found
}

/// Returns the parts that may be in a template: none if it does not name them.
fn named<T: Copy>(parts: &[T], is_named: bool) -> Vec<Option<T>> {
    if is_named { parts.iter().map(|part| Some(*part)).collect() } else { vec![None] }
}

/// Returns the values of headers that are named as ids are, and the names.
fn ids<'h>(case: &Case<'h>) -> Vec<Part<'h, &'h str>> {
    let is_id = |name: &str| name.ends_with("id") || name.ends_with("delivery");
    let named = case.head.headers.iter().filter(|(name, _)| is_id(name));
    let texts = named.filter_map(|(name, value)| Some((str::from_utf8(value).ok()?, Some(name.as_str()))));
    texts.filter(|(id, _)| !id.is_empty()).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(code: &str, template: &str) -> Vec<String> {
        MISTAKES
            .iter()
            .filter(|mistake| mistake.code == code)
            .flat_map(|mistake| (mistake.templates)(template))
            .collect()
    }

    #[test]
    fn every_mistake_of_a_template_is_made() {
        for (code, template, expected) in [
            ("base64_body_signed", "{timestamp}.{body}", "{timestamp}.{body_base64}"),
            ("raw_body_signed", "{timestamp}.{body_base64}", "{timestamp}.{body}"),
            ("only_body_signed", "{timestamp}.{body}", "{body}"),
            ("text_not_signed", "v0:{timestamp}:{body}", "{timestamp}:{body}"),
            ("text_not_signed", "{body}.", "{body}"),
            ("text_signed", "{timestamp}:{body}", "v0:{timestamp}:{body}"),
            ("other_separator_signed", "{timestamp}.{body}", "{timestamp}{body}"),
            ("other_separator_signed", "{timestamp}.{body}", "{timestamp}\n{body}"),
            ("other_separator_signed", "{timestamp}{body}", "{timestamp}.{body}"),
            ("other_separator_signed", "v0:{timestamp}:{body}", "v0.{timestamp}.{body}"),
            ("parts_in_other_order", "{timestamp}.{body}", "{body}.{timestamp}"),
            ("parts_in_other_order", "{id}.{timestamp}.{body}", "{timestamp}.{id}.{body}"),
            ("id_not_signed", "{id}.{timestamp}.{body}", "{timestamp}.{body}"),
            ("time_not_signed", "{id}.{timestamp}.{body}", "{id}.{body}"),
            ("time_signed", "{body}", "{timestamp}.{body}"),
            ("time_signed", "{body}", "v0:{timestamp}:{body}"),
            ("id_signed", "{timestamp}.{body}", "{id}.{timestamp}.{body}"),
            ("id_signed", "{timestamp}.{body}", "{timestamp}.{id}.{body}"),
        ] {
            let made = made(code, template);
            assert!(made.contains(&expected.to_owned()), "{code}: {made:?}");
        }
    }
}
