use super::*;

fn parsed(text: &str) -> Vec<(String, String)> {
    let head = parse(text.as_bytes()).unwrap();
    head.headers.into_iter().map(|(name, value)| (name, String::from_utf8(value).unwrap())).collect()
}

#[test]
fn headers_are_parsed_from_the_output_of_every_tool() {
    let wanted = [("host".to_owned(), "a".to_owned()), ("x-sig".to_owned(), "v1:b c".to_owned())];
    for text in [
        "Host: a\nX-Sig: v1:b c\n",
        "host:a\r\nx-sig:   v1:b c  \r\n\r\nbody: not a header",
        "POST /in HTTP/1.1\r\nHost: a\r\nX-Sig: v1:b c",
        "POST /in HTTP/2\nhost: a\nx-sig: v1:b c\n\n{}",
        ":method: POST\n:path: /in\nhost: a\nx-sig: v1:b c\n",
        "*   Trying 127.0.0.1\n> POST /in HTTP/1.1\n> Host: a\n> X-Sig: v1:b c\n> \n} [5 bytes data]\n< HTTP/1.1 200 OK\n< x: y\n",
        "\n\nHost: a\nX-Sig: v1:b c\n",
        "HTTP_HOST: a\nHTTP_X_SIG: v1:b c\n",
        "    Host: a\\r\\n\n    X-Sig: v1:b c\\r\\n\n    \\r\\n\n",
    ] {
        assert_eq!(parsed(text), wanted, "{text}");
    }
}

#[test]
fn the_method_is_recorded() {
    let method = |text: &str| parse(text.as_bytes()).unwrap().method;
    assert_eq!(method("PUT /in HTTP/1.1\nhost: a"), Some("PUT".to_owned()));
    assert_eq!(method(":method: GET\nhost: a"), Some("GET".to_owned()));
    assert_eq!(method("host: a"), None);
}

#[test]
fn a_header_that_ends_with_a_version_is_no_request_line() {
    assert_eq!(
        parsed("POST /in HTTP/1.1\nvia: 1.1 HTTP/2\nx: y HTTP/1.1\n"),
        [("via".to_owned(), "1.1 HTTP/2".to_owned()), ("x".to_owned(), "y HTTP/1.1".to_owned())]
    );
}

#[test]
fn the_error_for_an_invalid_head_is_one_line_and_quotes_nothing() {
    for text in ["", "\n\n", "> \n", "canary", "host: a\ncanary", "ca nary: a", "{\"canary\": {}}", "canary\u{1b}: a"] {
        let failure = parse(text.as_bytes()).err().expect(text).to_string();
        assert!(!failure.contains("canary") && failure.lines().count() == 1, "{failure}");
    }
}

const SIGNATURE: &str = "v1:b c";

fn wanted() -> [(String, String); 2] {
    [("host".to_owned(), "a".to_owned()), ("x-sig".to_owned(), SIGNATURE.to_owned())]
}

#[test]
fn headers_are_parsed_from_a_curl_command() {
    for text in [
        "-H 'Host: a' -H 'X-Sig: v1:b c'",
        "-H 'Host: a' \\\n  -H \"X-Sig: v1:b c\" \\\n",
        "-H 'Host: a'\n-H 'X-Sig: v1:b c'\n",
        "--header 'Host: a' --header='X-Sig: v1:b c'",
        "-HHost:a '-HX-Sig: v1:b c'",
        "curl -X POST 'https://a/in?x=1' \\\r\n  -H 'Host: a' \\\r\n  -H $'X-Sig: v1:b\\x20c' --compressed\r\n",
        "curl ^\"https://a/in^\" ^\r\n  -H ^\"Host: a^\" ^\r\n  -H ^\"X-Sig: v1:b c^\"\r\n",
        "wget --header='Host: a' --header 'X-Sig: v1:b c' https://a/in",
        "$ curl https://a/in -H Host:\\ a -H 'X-Sig: v1:'b\\ \"c\" -H 'Cookie:'",
    ] {
        assert_eq!(parsed(text), wanted(), "{text}");
    }
    let head = parse(b"curl -XPUT https://a -H 'X-Empty;' --data-raw $'{\"a\":\"\\u00e9\\'\\n\"}'").unwrap();
    assert_eq!(head.method.as_deref(), Some("PUT"));
    assert_eq!(head.headers, [("x-empty".to_owned(), Vec::new())]);
    assert_eq!(head.body.as_deref(), Some("{\"a\":\"é'\n\"}".as_bytes()));
    let head = parse(b"curl ^\"https://a^\" -H ^\"a: b^\" --data-raw ^\"^{^\\^\"a^\\^\":1^}^\"").unwrap();
    assert_eq!(head.body.as_deref(), Some(&b"{\"a\":1}"[..]));
    let head =
        parse(br#"fetch("https://a", {"headers": {"a": "b"}, "body": "{\"a\":1}\n", "method": "POST"});"#).unwrap();
    assert_eq!((head.method.as_deref(), head.body.as_deref()), (Some("POST"), Some(&b"{\"a\":1}\n"[..])));
    for text in ["curl a -H 'a: b' -d @file", "curl a -H 'a: b' -d x -d y"] {
        assert_eq!(parse(text.as_bytes()).unwrap().body, None, "{text}");
    }
}

#[test]
fn headers_are_parsed_from_json() {
    for text in [
        r#"{"Host": "a", "X-Sig": "v1:b c"}"#,
        r#"{"Host": ["a"], "X-Sig": ["v1:b c"]}"#,
        r#"[{"name": "Host", "value": "a"}, {"name": "X-Sig", "value": "v1:b c"}]"#,
        r#"[{"key": "Host", "value": "a"}, {"key": "X-Sig", "value": "v1:b c"}]"#,
        r#"[["Host", "a"], ["X-Sig", "v1:b c"]]"#,
        r#"["Host", "a", "X-Sig", "v1:b c"]"#,
        r#"["Host: a", "X-Sig: v1:b c"]"#,
        r#"{"HTTP_HOST": "a", "HTTP_X_SIG": "v1:b c"}"#,
        r#"{"item": [{"request": {"header": [{"key": "Host", "value": "a"}, {"key": "X-Sig", "value": "v1:b c"}]}}]}"#,
        "await fetch(\"https://a/in\", {\n \"headers\": {\"Host\": \"a\", \"X-Sig\": \"v1:b c\"},\n \"method\": \"POST\"\n});",
        r#"{"headers": {"host": "a", "x-sig": "v1:b c"}}"#,
        r#"{"headers": {"host": "a"}, "multiValueHeaders": {"host": ["a"], "x-sig": ["v1:b c"]}}"#,
        r#"[{"event": {"request": {"headers": {"host": "a", "x-sig": "v1:b c"}}, "response": {"headers": {"x": "y"}}}}]"#,
        "\n { \"host\": \"a\",\n \"x-sig\": \"v1:b c\" }\n",
    ] {
        assert_eq!(parsed(text), wanted(), "{text}");
    }
    assert_eq!(parsed(r#"{"a": ["1", 2]}"#), [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())]);
}

#[test]
fn the_method_and_the_body_are_read_from_har_and_gateway_events() {
    let har = |method: &str, post: &str| {
        format!(
            r#"{{"request":{{"method":"{method}","headers":[{{"name":":method","value":"{method}"}},{{"name":"a","value":"b"}}]{post}}},
            "response":{{"headers":[{{"name":"x","value":"y"}}]}}}}"#
        )
    };
    let file = |entries: &[String]| format!(r#"{{"log":{{"version":"1.2","entries":[{}]}}}}"#, entries.join(","));
    let post = har("POST", r#","postData":{"mimeType":"application/json","text":"{\"é\":1}\n"}"#);
    for entries in [vec![post.clone()], vec![har("GET", ""), post.clone(), har("OPTIONS", "")]] {
        let head = parse(file(&entries).as_bytes()).unwrap();
        assert_eq!(head.method.as_deref(), Some("POST"));
        assert_eq!(head.headers, [("a".to_owned(), b"b".to_vec())]);
        assert_eq!(head.body.as_deref(), Some("{\"é\":1}\n".as_bytes()));
    }
    let error = parse(file(&[post.clone(), post]).as_bytes()).err().unwrap().to_string();
    assert_eq!(error, "--headers: the file holds 2 requests; keep the one of the delivery");

    let lambda = r#"{"headers": {"a": "b"}, "httpMethod": "PUT", "body": "e30K", "isBase64Encoded": true}"#;
    let head = parse(lambda.as_bytes()).unwrap();
    assert_eq!((head.method.as_deref(), head.body.as_deref()), (Some("PUT"), Some(&b"{}\n"[..])));
    let version_2 = r#"{"headers": {"a": "b"}, "requestContext": {"http": {"method": "POST"}}, "body": "{}"}"#;
    let head = parse(version_2.as_bytes()).unwrap();
    assert_eq!((head.method.as_deref(), head.body.as_deref()), (Some("POST"), Some(&b"{}"[..])));
}

#[test]
fn a_byte_order_mark_and_utf_16_are_read() {
    for text in
        ["Host: a\r\nX-Sig: v1:b c\r\n", r#"{"Host": "a", "X-Sig": "v1:b c"}"#, "-H 'Host: a' -H 'X-Sig: v1:b c'"]
    {
        let units: Vec<u16> = std::iter::once('\u{feff}').chain(text.chars()).map(|c| c as u16).collect();
        let utf_8 = ["\u{feff}", text].concat().into_bytes();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [utf_8, little, big] {
            let head = parse(&bytes).unwrap();
            assert_eq!(head.text("x-sig"), Some(SIGNATURE), "{bytes:?}");
            assert_eq!(head.headers.len(), 2, "{bytes:?}");
        }
    }
    let without_mark: Vec<u8> = "a: b".bytes().flat_map(|byte| [byte, 0]).collect();
    for (bytes, wanted) in [(&without_mark[..], "save it as UTF-8"), (b"\xff\xfea", "not valid UTF-16")] {
        let error = parse(bytes).err().unwrap().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn an_error_names_the_line_and_quotes_nothing() {
    for (text, wanted) in [
        ("host: a\n\u{201c}canary\u{201d}: b", "line 2 is not `Name: value`"),
        ("{\n\"canary\": \"a\",\n}", "line 3 is not valid JSON"),
        (r#"{"a": "b", "canary": {"c": "d"}}"#, "header 2 of the JSON is not a name with a text"),
        (r#"{"canary y": "b"}"#, "header 1 of the JSON"),
        (r#"["canary"]"#, "odd number"),
        (r#"{"log":{"entries":[]}}"#, "has no request"),
        (r#"{"a":{"headers":{"canary":"b"}},"b":{"headers":{"canary":"b"}}}"#, "holds 2 requests"),
        ("fetch(\"https://a\", {\n\"canary\": 1,,\n});", "line 2 is not valid JSON"),
        ("fetch(canary", "is not valid JSON"),
        ("curl a \\\n -H canary", "line 2 is not `-H 'Name: value'`"),
        ("curl a \\\n -H 'canary: b", "the quotation mark in line 2 is not closed"),
        ("curl a \\\n -H @canary", "line 2 names a file of headers"),
        ("curl a -H 'canary: a'\ncurl b -H 'canary: b'", "holds several requests"),
        ("# medhook capture 1\n# arrived 1\n# method POST\ncanary", "line 4 is not as medhook capture writes it"),
    ] {
        let error = parse(text.as_bytes()).err().expect(text).to_string();
        assert!(error.starts_with("--headers: ") && error.contains(wanted), "{text}: {error}");
        assert!(!error.contains("canary") && error.lines().count() == 1, "{error}");
    }
    let many = "a: b\n".repeat(1001);
    assert!(parse(many.as_bytes()).err().unwrap().to_string().contains("more than 1000 headers"));
}

/// Hostile files end with an error or with some headers.
#[test]
fn no_file_causes_a_panic() {
    let seeds = [
        "curl -H 'a: b' -d $'\\x4\\u12\\' \"\\",
        "-H",
        "> ",
        ":",
        "::",
        "[[[[",
        "{\"headers\":[[]]}",
        "# medhook capture 1\n# redacted : bytes, ",
        "curl --data",
        "$'\\u{d800}'",
    ];
    for seed in seeds {
        for end in 0..=seed.len() {
            if let Some(text) = seed.get(..end) {
                let _ = parse(text.as_bytes());
                let _ = parse(&[b"\xff\xfe", text.as_bytes()].concat());
            }
        }
    }
    assert!(parse("[".repeat(100_000).as_bytes()).is_err());
}
