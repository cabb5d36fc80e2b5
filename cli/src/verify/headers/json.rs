//! Headers as JSON: HAR, events of gateways, objects and lists of headers.

use base64ct::{Base64, Encoding as _};
use serde_json::{Map, Value};

use super::head::{Head, problem};
use super::lines;
use crate::failure::Failure;

type Object = Map<String, Value>;

pub(super) fn parse(text: &[u8]) -> Result<Head, Failure> {
    let json: Value = serde_json::from_slice(text)
        .map_err(|error| problem(format_args!("line {} is not valid JSON", error.line())))?;
    if let Some(entries) = json.pointer("/log/entries").and_then(Value::as_array) {
        return har(entries);
    }
    let mut requests = Vec::new();
    find_requests(&json, &mut requests);
    match requests.as_slice() {
        [] => {
            let mut head = Head::default();
            head.add_all(&json)?;
            Ok(head)
        }
        [request] => event(request),
        _ => Err(several(requests.len())),
    }
}

/// Parses the `fetch(".., {..})` that browsers copy: the second argument is JSON.
pub(super) fn parse_fetch(text: &[u8]) -> Result<Head, Failure> {
    let begin = text.iter().position(|byte| *byte == b'{').unwrap_or(text.len());
    let end = text.iter().rposition(|byte| *byte == b'}').map_or(0, |end| end.saturating_add(1));
    // Blank instead of the call, so that an error has the line of the file.
    let blank = text.get(..begin).unwrap_or_default().iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' });
    let json: Vec<u8> = blank.chain(text.get(begin..end).unwrap_or_default().iter().copied()).collect();
    parse(&json)
}

/// Reads the only request of a HAR file, or its only POST.
fn har(entries: &[Value]) -> Result<Head, Failure> {
    let requests: Vec<_> = entries.iter().filter_map(|entry| entry.get("request")?.as_object()).collect();
    let posts: Vec<_> = requests.iter().copied().filter(|request| text(request, "method") == Some("POST")).collect();
    let request = match (requests.as_slice(), posts.as_slice()) {
        ([request], _) | (_, [request]) => request,
        ([], _) => return Err(problem("the HAR file has no request")),
        _ => return Err(several(requests.len())),
    };
    let mut head = Head { method: text(request, "method").map(str::to_owned), ..Head::default() };
    head.add_all(request.get("headers").unwrap_or(&Value::Null))?;
    head.body = request.get("postData").and_then(Value::as_object).and_then(|data| {
        let is_base64 = text(data, "encoding") == Some("base64");
        body(text(data, "text")?, is_base64)
    });
    Ok(head)
}

fn several(count: usize) -> Failure {
    problem(format_args!("the file holds {count} requests; keep the one of the delivery"))
}

/// Finds the objects that have headers, except responses.
fn find_requests<'j>(json: &'j Value, found: &mut Vec<&'j Object>) {
    let has_headers = |object: &Object| {
        ["headers", "header", "multiValueHeaders"]
            .iter()
            .any(|name| object.get(*name).is_some_and(|headers| headers.is_object() || headers.is_array()))
    };
    match json {
        Value::Object(object) if has_headers(object) => found.push(object),
        Value::Object(object) => {
            let others = object.iter().filter(|(name, _)| *name != "response");
            others.for_each(|(_, value)| find_requests(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| find_requests(value, found)),
        _ => {}
    }
}

/// Reads an event of a gateway, such as that of AWS Lambda.
fn event(request: &Object) -> Result<Head, Failure> {
    let mut head = Head::default();
    let all_values = request.get("multiValueHeaders").and_then(Value::as_object).filter(|headers| !headers.is_empty());
    match all_values {
        Some(headers) => head.add_object(headers)?,
        None => head.add_all(request.get("headers").or_else(|| request.get("header")).unwrap_or(&Value::Null))?,
    }
    let in_context = || request.get("requestContext")?.pointer("/http/method")?.as_str();
    let method = ["method", "httpMethod"].iter().find_map(|name| text(request, name)).or_else(in_context);
    head.method = method.map(str::to_owned).or(head.method);
    let is_base64 = request.get("isBase64Encoded").and_then(Value::as_bool) == Some(true);
    let as_text = ["body", "rawBody", "content"].iter().find_map(|name| text(request, name));
    head.body = as_text.and_then(|text| body(text, is_base64));
    Ok(head)
}

fn text<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    object.get(name)?.as_str()
}

fn body(text: &str, is_base64: bool) -> Option<Vec<u8>> {
    if is_base64 { Base64::decode_vec(text).ok() } else { Some(text.as_bytes().to_vec()) }
}

impl Head {
    /// Adds an object or a list of headers.
    fn add_all(&mut self, headers: &Value) -> Result<(), Failure> {
        let list = match headers {
            Value::Object(headers) => return self.add_object(headers),
            Value::Array(list) => list,
            _ => return Err(problem("the JSON has no object or list of headers")),
        };
        let as_text = list.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
        match as_text {
            Some(texts) => self.add_texts(&texts),
            None => (1..).zip(list).try_for_each(|(number, header)| {
                let added = pair(header).and_then(|(name, value)| self.add(name, scalar(value)?.as_bytes()));
                added.ok_or_else(|| wrong(number))
            }),
        }
    }

    /// Adds `"name": "value"`, or `"name": ["value", ..]`.
    fn add_object(&mut self, headers: &Object) -> Result<(), Failure> {
        (1..).zip(headers).try_for_each(|(number, (name, value))| {
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            let added = values.iter().try_for_each(|value| self.add(name, scalar(value)?.as_bytes()));
            added.ok_or_else(|| wrong(number))
        })
    }

    /// Adds a list of `"name: value"`, or of names and values in turn.
    fn add_texts(&mut self, texts: &[&str]) -> Result<(), Failure> {
        let headers = texts.iter().map(|text| lines::name_and_value(text.as_bytes())).collect::<Option<Vec<_>>>();
        let (pairs, rest) = texts.as_chunks::<2>();
        let headers = headers.unwrap_or_else(|| pairs.iter().map(|[name, value]| (*name, value.as_bytes())).collect());
        if !rest.is_empty() && headers.len() != texts.len() {
            return Err(problem("the JSON is a list with an odd number of names and values"));
        }
        (1..).zip(headers).try_for_each(|(number, (name, value))| self.add(name, value).ok_or_else(|| wrong(number)))
    }
}

fn wrong(number: usize) -> Failure {
    problem(format_args!("header {number} of the JSON is not a name with a text"))
}

/// Returns the name and the value of `{"name": .., "value": ..}` or `["name", ..]`.
fn pair(header: &Value) -> Option<(&str, &Value)> {
    match header {
        Value::Object(header) => {
            let member = |names: [&str; 3]| names.iter().find_map(|name| header.get(*name));
            Some((member(["name", "key", "Name"])?.as_str()?, member(["value", "val", "Value"])?))
        }
        Value::Array(pair) => match pair.as_slice() {
            [name, value] => Some((name.as_str()?, value)),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the text of a value, or the digits of a number.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
