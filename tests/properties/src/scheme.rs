//! Parses the headers of every family in two ways: with the receiver, and with a reference implementation of the rules
//! here, which builds the message from the template as text. Both must agree.
//!
//! The input is four bytes for the [family](super::family), lines with the id, the timestamp and the signatures or the
//! token, and the body. Some bytes stand for text that a fuzzer cannot guess: `@` for the present time in the
//! timestamp, and for the timestamp in the signatures; `$` for the genuine signature; `&` for it in another notation.

use base64ct::{Base64, Base64Url, Encoding as _};
use hmac::Hmac;
use medhook::{Bytes, Custom, Encoding, Reason, TimestampUnit};
use sha2::{Sha256, Sha512};

use super::family::{Family, Kind, mac};
use super::{NOW, SECRET, receiver};

const LONGEST: usize = 4096;

pub(super) fn holds(data: &[u8]) {
    let Some((family, rest)) = data.split_first_chunk() else { return };
    let family = Family::of(*family);
    let mut lines = rest.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (id, time, template, body) = (line(), line(), line(), line());
    let time = filled(time, &[(b'@', family.time(NOW).as_bytes())]);
    match family.kind {
        Kind::Bearer | Kind::Basic => token(&family, template, body),
        // Their texts are in the property of Standard Webhooks; here the kind of the key matters.
        Kind::StandardWebhooks | Kind::StandardPair => standard(&family, id, &time, template, body),
        _ => signed(&family, id, &time, template, body),
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for family in Family::all() {
        let of = Family::of(family);
        let value = match (of.kind, of.element) {
            (Kind::StandardWebhooks | Kind::StandardPair, _) => "v1,& v1a,& $".to_owned(),
            (Kind::Elements, "") => "t=@,&,$".to_owned(),
            (Kind::Elements, _) => "t=@,v1=&, v1=$,v0=x".to_owned(),
            _ => match of.separator {
                Some(separator) => format!("{0}&{separator}{0}$", of.prefix),
                None => format!("{}$", of.prefix),
            },
        };
        for (id, time, body) in [("msg_1", "@", "{\"id\":1}"), ("a.1", "2026-01-01T01:00:00.5+01:00", "[]0")] {
            seeds.push([&family[..], format!("{id}\n{time}\n{value}\n{body}").as_bytes()].concat());
        }
    }
    let more = [
        ("4003", "x\n01767225600\nv0=$\n{}"),
        ("4001", "x\n17672256000\n$\n{}"),
        ("4001", "x\n@\n$\n1{}"),
        ("4004", "x\n1767225901\n$\n{}"),
        ("4004", "x\n1767225299\n$\n{}"),
        ("4034", "x\n@\n$&\n{}"),
        ("3000", "x\n@\nt=@,t=@,v1=$\n{}"),
        ("3000", "x\n@\nv1=$\n{}"),
        ("4P2>", "m.1\n@\n$,$\n{}"),
        ("7000", "\n\nbearer  $\n"),
        ("8000", "\n\nBasic $\n"),
    ];
    seeds.extend(more.map(|(family, rest)| [family, rest].concat().into_bytes()));
    for (family, entry, count) in [("0002", "$,", 32), ("0002", "$,", 31), ("2012", "$,", 16), ("3000", "v1=$,", 30)] {
        let list = entry.repeat(count);
        seeds.push(format!("{family}m\n@\n{}{list}$\n{{}}", if family == "3000" { "t=@," } else { "" }).into_bytes());
    }
    // More entries than allowed, of which only the first is a signature.
    seeds.push(format!("3000m\n@\nt=@,v1=${}\n{{}}", ",x".repeat(40)).into_bytes());
    seeds
}

/// Checks a delivery with a signature in a header.
fn signed(family: &Family, id: &[u8], time: &[u8], template: &[u8], body: &[u8]) {
    let (text, alike) = notations(family, &genuine(family, id, time, body));
    let value = filled(template, &[(b'$', text.as_bytes()), (b'&', alike.as_bytes()), (b'@', time)]);
    let headers = |id: &[u8], time: &[u8]| {
        let own_header = family.has_time() && family.kind != Kind::Elements;
        let mut headers = vec![("x-signature", value.clone())];
        headers.extend(own_header.then(|| ("x-timestamp", time.to_vec())));
        headers.extend(family.has_id().then(|| ("x-id", id.to_vec())));
        headers
    };
    let verdict = |id: &[u8], time: &[u8], body: &[u8]| verdict(family, &headers(id, time), body);
    let expected = expected(family, id, time, &value, body);
    assert_eq!(verdict(id, time, body), expected, "{family:?} {:?} {body:?}", headers(id, time));
    if expected.is_ok() {
        // A change of a signed part is noticed.
        let longer = |part: &[u8], with: &[u8]| [part, with].concat();
        assert_eq!(verdict(id, time, &longer(body, b" ")), Err(Reason::SignatureMismatch), "{family:?}");
        assert!(!family.has_id() || verdict(&longer(id, b"x"), time, body).is_err(), "{family:?}");
        let later = family.time(NOW + 1);
        let is_signed = family.has_time() && family.kind != Kind::Elements && time != later.as_bytes();
        assert!(!is_signed || verdict(id, later.as_bytes(), body).is_err(), "{family:?}");
    }
}

fn expected(family: &Family, id: &[u8], time: &[u8], value: &[u8], body: &[u8]) -> Result<(), Reason> {
    let malformed = Err(Reason::MalformedHeader);
    let fits = |value: &[u8]| (1..=LONGEST).contains(&value.len());
    let is_element = family.kind == Kind::Elements;
    let split = |separator: u8| value.split(move |byte| *byte == separator).map(<[u8]>::trim_ascii).collect();
    let entries: Vec<&[u8]> = match family.separator {
        _ if is_element => split(b','),
        Some(separator) => split(separator as u8),
        None => vec![value],
    };
    let text = |entry: &&'_ [u8]| match (is_element, family.element) {
        (true, "") => !entry.is_empty() && !entry.starts_with(b"t="),
        (true, _) => entry.starts_with(b"v1="),
        (false, _) => entry.starts_with(family.prefix.as_bytes()),
    };
    let before =
        if is_element { family.element.len() + usize::from(!family.element.is_empty()) } else { family.prefix.len() };
    let texts: Vec<&[u8]> = entries.iter().filter(|entry| text(entry)).map(|entry| &entry[before..]).collect();
    let length = if family.kind == Kind::Ed25519Body || family.is_sha512 { 64 } else { 32 };
    let signatures: Vec<_> = texts.iter().filter_map(|text| decoded(family, text, length)).collect();
    let most = if family.kind == Kind::Ed25519Body { 16 } else { 32 };
    if !fits(value) || entries.len() > 32 || texts.len() > most || signatures.is_empty() {
        return malformed;
    }
    if let Some((_, after)) = family.template.split_once("{id}") {
        let next = after.as_bytes()[0];
        if !fits(id) || !id.iter().all(|byte| byte.is_ascii_graphic() && *byte != next) {
            return malformed;
        }
    }
    let elements: Vec<_> = entries.iter().filter_map(|entry| entry.strip_prefix(b"t=")).collect();
    let time = match elements[..] {
        _ if !is_element => time,
        [time] => time,
        _ => return malformed,
    };
    if family.has_time() {
        if !is_element && !fits(time) {
            return malformed;
        }
        match seconds(family, time) {
            None => return malformed,
            Some(seconds) if seconds < NOW - 300 => return Err(Reason::Stale),
            Some(seconds) if seconds > NOW + 300 => return Err(Reason::InTheFuture),
            Some(_) => {}
        }
    }
    if !signatures.contains(&genuine(family, id, time, body)) {
        return Err(Reason::SignatureMismatch);
    }
    let is_json = body.starts_with(b"{") || body.starts_with(b"[");
    if family.lacks_separator() && !is_json { Err(Reason::AmbiguousBody) } else { Ok(()) }
}

/// Returns the signature of the message that the template makes.
fn genuine(family: &Family, id: &[u8], time: &[u8], body: &[u8]) -> Vec<u8> {
    if family.kind == Kind::Ed25519Body {
        let (_, value) = family.headers("", "", body).swap_remove(0);
        let text = value.strip_prefix(family.prefix).expect("a prefix");
        return decoded(family, text.as_bytes(), 64).expect("its own signature");
    }
    let message = family.message(id, time, body);
    match family.is_sha512 {
        true => mac::<Hmac<Sha512>>(SECRET.as_bytes(), &message),
        false => mac::<Hmac<Sha256>>(SECRET.as_bytes(), &message),
    }
}

/// Returns a signature in two notations. Both are accepted, except that `Encoding::Either` has no URL-safe base64.
fn notations(family: &Family, signature: &[u8]) -> (String, String) {
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = match family.encoding {
        Encoding::Base64Url => Base64Url::encode_string(signature),
        _ => Base64::encode_string(signature),
    };
    match family.encoding {
        Encoding::Hex => (hex.clone(), hex.to_uppercase()),
        Encoding::Either => (hex, base64),
        _ => (base64.clone(), base64.trim_end_matches('=').to_owned()),
    }
}

fn decoded(family: &Family, text: &[u8], length: usize) -> Option<Vec<u8>> {
    let text = str::from_utf8(text).ok()?;
    let (as_hex, as_base64) = (family.encoding == Encoding::Hex, family.encoding != Encoding::Hex);
    if (as_hex || family.encoding == Encoding::Either) && text.len() == 2 * length {
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        return (0..length).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect();
    }
    let padded = if text.ends_with('=') { text.to_owned() } else { format!("{text}{}", &"=="[..(3 - length % 3) % 3]) };
    let decoded = match family.encoding {
        Encoding::Base64Url => Base64Url::decode_vec(&padded),
        _ => Base64::decode_vec(&padded),
    };
    decoded.ok().filter(|bytes| as_base64 && bytes.len() == length)
}

/// Returns the time of a timestamp in an accepted form.
fn seconds(family: &Family, text: &[u8]) -> Option<i64> {
    let text = str::from_utf8(text).ok()?;
    let counted = |digits: usize| !family.lacks_separator() || text.len() == digits;
    let integer = || {
        let number: u64 = text.parse().ok()?;
        (number.to_string() == text).then_some(i64::try_from(number).ok()?)
    };
    match family.unit {
        TimestampUnit::Seconds => integer().filter(|_| counted(10)),
        TimestampUnit::Milliseconds => integer().filter(|_| counted(13)).map(|time| time / 1000),
        _ => rfc_3339(text),
    }
}

fn rfc_3339(text: &str) -> Option<i64> {
    if !text.is_ascii() || text.len() < 20 {
        return None;
    }
    let number = |from: usize, until: usize| -> Option<i64> {
        let digits = text.get(from..until)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.iter().all(|(at, mark)| text.as_bytes()[*at] == *mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = &text[19..];
    if let Some(after) = rest.strip_prefix('.') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        rest = &after[digits..];
    }
    let offset = match rest.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let (hours, minutes) = (number(at, at + 2)?, number(at + 3, at + 5)?);
            // The limit of the parser, beyond any zone on Earth.
            if hours > 25 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * 60 * if *sign == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    // The days since 1970, with years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 1
            - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second.min(59) - offset)
}

/// Checks a list of Standard Webhooks under a key of one kind. The signature under it counts only by its own version.
fn standard(family: &Family, id: &[u8], time: &[u8], template: &[u8], body: &[u8]) {
    let (Ok(id), Ok(time)) = (str::from_utf8(id), str::from_utf8(time)) else { return };
    let mut headers = family.headers(id, time, body);
    let genuine = headers[2].1.clone();
    let (_, text) = genuine.split_once(',').expect("a version");
    let other = if family.kind == Kind::StandardPair { format!("v1,{text}") } else { format!("v1a,{text}") };
    let value = filled(template, &[(b'$', genuine.as_bytes()), (b'&', other.as_bytes()), (b'@', time.as_bytes())]);
    let Ok(value) = String::from_utf8(value) else { return };
    headers[2].1 = value.clone();
    let entries: Vec<_> = value.split(' ').filter(|entry| !entry.is_empty()).collect();
    let is_there = entries.contains(&&*genuine);
    let accepted = verdict(family, &headers, body).is_ok();
    assert!(is_there || !accepted, "{family:?} {headers:?}");
    let is_sound = id == "msg_1" && time == NOW.to_string() && value.is_ascii() && value.len() <= LONGEST;
    assert!(accepted || !(is_there && is_sound && entries.len() <= 16), "{family:?} {headers:?}");
    if accepted {
        let longer = [body, b" "].concat();
        assert_eq!(verdict(family, &headers, &longer), Err(Reason::SignatureMismatch));
    }
}

fn token(family: &Family, template: &[u8], body: &[u8]) {
    let encoded = Base64::encode_string(format!("acme:{SECRET}").as_bytes());
    let (word, genuine) = match family.kind {
        Kind::Basic => ("Basic ", &*encoded),
        _ => ("Bearer ", SECRET),
    };
    let value = filled(template, &[(b'$', genuine.as_bytes()), (b'&', SECRET.as_bytes())]);
    let token = value.split_at_checked(word.len()).filter(|(given, _)| given.eq_ignore_ascii_case(word.as_bytes()));
    let expected = match token {
        Some((_, token)) if value.len() <= LONGEST => {
            let is_genuine = token.trim_ascii_start() == genuine.as_bytes();
            if is_genuine { Ok(()) } else { Err(Reason::SignatureMismatch) }
        }
        _ => Err(Reason::MalformedHeader),
    };
    assert_eq!(verdict(family, &[("authorization", &value)], body), expected, "{value:?}");
}

fn verdict<V: AsRef<[u8]>>(family: &Family, headers: &[(impl AsRef<str>, V)], body: &[u8]) -> Result<(), Reason> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    let receiver = receiver(Custom::new("acme", family.scheme(), family.secret()), body.len().max(1));
    let verdict = receiver.verify(&headers, Bytes::copy_from_slice(body)).map(drop);
    verdict.map_err(|rejection| rejection.reason())
}

/// Returns the template with these texts in place of the bytes, up to a length that no header has.
fn filled(template: &[u8], texts: &[(u8, &[u8])]) -> Vec<u8> {
    let mut value = Vec::with_capacity(template.len());
    for byte in template {
        match texts.iter().find(|(stands, _)| stands == byte) {
            Some((_, text)) if value.len() < 2 * LONGEST => value.extend_from_slice(text),
            _ => value.push(*byte),
        }
    }
    value
}
