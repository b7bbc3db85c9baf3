#![allow(clippy::unwrap_used)]

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, TimeDelta, Utc};
use hikigane_model::AccessKey;

use super::{Claim, Parts, SignatureError, service, sign};

/// The key of AWS's test suite.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A request that owns its parts.
#[derive(Debug, Clone)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    /// A request as text, with LF between the lines; a line that begins with a space is one more value of the header above it.
    fn parse(text: &[u8]) -> Self {
        let text = std::str::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let line = lines.next().unwrap();
        let (method, rest) = line.split_once(' ').unwrap();
        let (target, _) = rest.rsplit_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        for line in lines {
            let (name, value) = match line.strip_prefix(' ') {
                Some(value) => (headers.last().unwrap().0.clone(), value),
                None => {
                    let (name, value) = line.split_once(':').unwrap();
                    (name.to_lowercase(), value)
                }
            };
            headers.push((name, value.as_bytes().to_vec()));
        }
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    fn header_map(&self) -> HeaderMap {
        let headers = self.headers.iter();
        let pair = |(name, value): &(String, Vec<u8>)| {
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value).ok()?))
        };
        headers.filter_map(pair).collect()
    }

    fn with<T>(&self, look: impl FnOnce(Parts<'_>) -> T) -> T {
        let headers = self.header_map();
        look(Parts {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
        })
    }

    fn header(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.headers.iter_mut().find(|(found, _)| found == name).unwrap().1
    }

    fn signed(mut self, key: &AccessKey, service: &str, now: DateTime<Utc>) -> Self {
        let added = self
            .with(|parts| sign(parts, &self.body, key, ("eu-west-3", service), now))
            .unwrap();
        let added = added.iter();
        self.headers
            .extend(added.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())));
        self
    }

    /// All that the server does with a signature, with the one key that it knows.
    fn check(&self, secret: &str, now: DateTime<Utc>) -> Result<(), SignatureError> {
        self.with(|parts| {
            let claim = Claim::read(parts)?;
            claim.check_time(now)?;
            if !claim.covers_path(parts.path) || claim.access_key_id != "AKIDEXAMPLE" || claim.session_token.is_some() {
                return Err(SignatureError::Unrecognized);
            }
            claim.verify(parts, &self.body, secret)
        })
    }
}

#[test]
fn the_test_suite_of_aws_passes() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sigv4/test_suite");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sreq") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let expected = |extension: &str| std::fs::read_to_string(path.with_extension(extension)).unwrap();
        let request = Sent::parse(&std::fs::read(&path).unwrap());
        request.with(|parts| {
            let claim = Claim::read(parts).unwrap_or_else(|error| panic!("{name}: {error}"));
            let canonical = claim.canonical_request(parts, &request.body).unwrap();
            assert_eq!(
                String::from_utf8(canonical.clone()).unwrap(),
                expected("creq"),
                "{name}"
            );
            assert_eq!(claim.string_to_sign(&canonical), expected("sts"), "{name}");
            assert_eq!(claim.verify(parts, &request.body, SECRET), Ok(()), "{name}");
            assert_eq!(claim.check_time(at("2015-08-30T12:36:00Z")), Ok(()), "{name}");
        });
        count += 1;
    }
    assert_eq!(count, 31);
}

fn key() -> AccessKey {
    AccessKey {
        id: "AKIDEXAMPLE".to_owned(),
        secret: SECRET.to_owned(),
        session_token: None,
    }
}

const NOW: &str = "2026-03-01T23:59:00Z";

/// A request that has something of everything.
fn invocation() -> Sent {
    let text = "POST /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/invocations?Qualifier=live&x=a%20b HTTP/1.1\n\
                host:localhost:9000\ncontent-type:application/json\nx-amz-invocation-type:Event\nx-amz-client-context:e30=\nuser-agent:test\n\n{\"n\": 1}";
    Sent::parse(text.as_bytes())
}

/// `signed`, changed in each of many ways that change what it asks for, or what signs it.
fn mutations(signed: &Sent) -> Vec<(String, Sent)> {
    let mut all: Vec<(String, Sent)> = Vec::new();
    let mut add = |what: String, change: &dyn Fn(&mut Sent)| {
        let mut request = signed.clone();
        change(&mut request);
        all.push((what, request));
    };
    let replacements = |byte: u8| -> Vec<u8> {
        let others = *b"a9Z/-%~.";
        others.into_iter().filter(|&other| other != byte).collect()
    };
    for (at, byte) in signed.path.bytes().enumerate() {
        for other in replacements(byte) {
            add(format!("path {at} {}", other as char), &|request| {
                request.path.replace_range(at..=at, &(other as char).to_string());
            });
        }
    }
    for (at, byte) in signed.query.bytes().enumerate() {
        for other in replacements(byte) {
            add(format!("query {at} {}", other as char), &|request| {
                request.query.replace_range(at..=at, &(other as char).to_string());
            });
        }
    }
    for at in 0..signed.body.len() {
        add(format!("body {at}"), &|request| request.body[at] ^= 1);
    }
    add("body longer".into(), &|request| request.body.push(b' '));
    add("body shorter".into(), &|request| {
        request.body.truncate(request.body.len() - 1)
    });
    add("body empty".into(), &|request| request.body.clear());
    for method in ["GET", "PUT", "DELETE", "post", "POSTX"] {
        add(format!("method {method}"), &|request| {
            request.method = method.to_owned()
        });
    }
    for (name, value) in &signed.headers {
        if name == "user-agent" {
            continue;
        }
        for (at, byte) in value.iter().enumerate() {
            // What no header may hold is not sent: only what is a header still counts.
            for flip in [1, 4] {
                let changed = byte ^ flip;
                if (b'!'..=b'~').contains(&changed) {
                    add(format!("header {name} {at} {}", changed as char), &|request| {
                        request.header(name)[at] = changed;
                    });
                }
            }
        }
        add(format!("header {name} longer"), &|request| {
            request.header(name).push(b'0')
        });
        add(format!("header {name} shorter"), &|request| {
            let value = request.header(name);
            value.truncate(value.len() - 1);
        });
        add(format!("header {name} empty"), &|request| request.header(name).clear());
        add(format!("header {name} gone"), &|request| {
            request.headers.retain(|(found, _)| found != name)
        });
        add(format!("header {name} twice"), &|request| {
            let again = (name.clone(), request.header(name).clone());
            request.headers.push(again);
        });
    }
    for (name, value) in [
        ("x-amz-log-type", "Tail"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-security-token", "x"),
        ("x-amz-date", "20260301T235900Z"),
    ] {
        add(format!("more: {name} {value}"), &|request| {
            request.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        });
    }
    add("upper-case signature".into(), &|request| {
        let text = String::from_utf8(request.header("authorization").clone()).unwrap();
        let (before, signature) = text.split_once("Signature=").unwrap();
        *request.header("authorization") = format!("{before}Signature={}", signature.to_uppercase()).into_bytes();
    });
    for more in ["&x=b", "&Qualifier=other", "&X-Amz-Algorithm=AWS4-HMAC-SHA256", "&x"] {
        add(format!("query {more}"), &|request| request.query.push_str(more));
    }
    for path in ["/", "/..", "//", "/%2e%2e", "/."] {
        add(format!("path {path}"), &|request| request.path.push_str(path));
        add(format!("path from {path}"), &|request| request.path.insert_str(0, path));
    }
    all
}

#[test]
fn every_change_of_a_signed_request_is_refused() {
    let now = at(NOW);
    let signed = invocation().signed(&key(), "lambda", now);
    assert_eq!(signed.check(SECRET, now), Ok(()));
    let mutations = mutations(&signed);
    assert!(mutations.len() > 1_000, "{}", mutations.len());
    for (what, request) in mutations {
        assert!(request.check(SECRET, now).is_err(), "{what}: {request:?}");
    }
    assert_eq!(signed.check("another secret", now), Err(SignatureError::Mismatch));
}

/// `request` as a presigned URL: what its headers said stands in its query.
fn presigned(mut request: Sent, life: &str, service: &str, secret: &str, now: DateTime<Utc>) -> Sent {
    let time = now.format("%Y%m%dT%H%M%SZ");
    let day = now.format("%Y%m%d");
    let mark = if request.query.is_empty() { "" } else { "&" };
    request.query.push_str(&format!(
        "{mark}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F{day}%2Fus-east-1%2F{service}%2Faws4_request&X-Amz-Date={time}{life}&X-Amz-SignedHeaders=host"
    ));
    let mut unsigned = request.clone();
    unsigned.query.push_str("&X-Amz-Signature=0");
    let signature = unsigned.with(|parts| {
        let claim = Claim::read(parts).unwrap();
        let canonical = claim.canonical_request(parts, &request.body).unwrap();
        super::signing::signature(secret, &claim.scope, claim.time, &canonical)
    });
    request.query.push_str(&format!("&X-Amz-Signature={signature}"));
    request
}

fn list() -> Sent {
    Sent::parse(b"GET /2015-03-31/functions?MaxItems=5 HTTP/1.1\nhost:localhost:9000")
}

#[test]
fn a_presigned_url_is_good_until_it_expires_and_not_when_changed() {
    let now = at(NOW);
    let url = presigned(list(), "&X-Amz-Expires=90", "lambda", SECRET, now);
    assert_eq!(url.check(SECRET, now), Ok(()));
    assert_eq!(url.check(SECRET, now + TimeDelta::seconds(90)), Ok(()));
    let expired = url.check(SECRET, now + TimeDelta::seconds(91)).unwrap_err();
    assert_eq!(
        expired.to_string(),
        "Signature expired: 20260301T235900Z is now earlier than 20260301T235901Z (20260302T000031Z - 90 sec.)"
    );
    let mut count = 0;
    for (at, byte) in url.query.bytes().enumerate() {
        for other in *b"a7Z/-%&=" {
            if other == byte {
                continue;
            }
            let mut changed = url.clone();
            changed.query.replace_range(at..=at, &(other as char).to_string());
            assert!(
                changed.check(SECRET, now).is_err(),
                "{at} {}: {}",
                other as char,
                changed.query
            );
            count += 1;
        }
    }
    assert!(count > 1_000, "{count}");
    let mut with_body = url.clone();
    with_body.body = b"x".to_vec();
    assert_eq!(with_body.check(SECRET, now), Err(SignatureError::Mismatch));
}

#[test]
fn a_presigned_url_lives_a_week_at_most() {
    let refused = |life: &str| {
        let mut request = list();
        request.query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE/20260301/us-east-1/lambda/aws4_request&X-Amz-Date=20260301T235900Z&X-Amz-Expires={life}&X-Amz-SignedHeaders=host&X-Amz-Signature=0"
        );
        request.with(|parts| Claim::read(parts).is_err())
    };
    assert!(!refused("604800"));
    for life in ["0", "-1", "604801", "", "x", "99999999999999999999"] {
        assert!(refused(life), "{life}");
    }
}

#[test]
fn clocks_may_be_five_minutes_apart() {
    let now = at(NOW);
    let signed = invocation().signed(&key(), "lambda", now);
    let text = |seconds: i64| {
        signed
            .check(SECRET, now + TimeDelta::seconds(seconds))
            .map_err(|error| error.to_string())
    };
    assert_eq!((text(300), text(-300)), (Ok(()), Ok(())));
    assert_eq!(
        text(301),
        Err(
            "Signature expired: 20260301T235900Z is now earlier than 20260301T235901Z (20260302T000401Z - 5 min.)"
                .to_owned()
        )
    );
    assert_eq!(
        text(-301),
        Err("Signature not yet current: 20260301T235900Z is still later than 20260301T235859Z (20260301T235359Z + 5 min.)".to_owned())
    );
    let s3 = list().signed(&key(), "s3", now);
    assert_eq!(s3.check(SECRET, now + TimeDelta::minutes(15)), Ok(()));
    assert!(s3.check(SECRET, now + TimeDelta::seconds(901)).is_err());
}

#[test]
fn a_date_header_does_where_there_is_no_other() {
    let now = at(NOW);
    let mut signed = invocation().signed(&key(), "lambda", now);
    signed.header("x-amz-date");
    let unsigned = |headers: &[(&str, &str)]| {
        let mut request = list();
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260301/us-east-1/lambda/aws4_request, SignedHeaders=date;host, Signature=0";
        request.headers.push(("authorization".to_owned(), authorization.into()));
        let headers = headers.iter();
        request
            .headers
            .extend(headers.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
        request.with(|parts| Claim::read(parts).map(|claim| claim.time))
    };
    assert_eq!(unsigned(&[("date", "Sun, 01 Mar 2026 23:59:00 GMT")]), Ok(now));
    assert_eq!(unsigned(&[("date", "20260301T235900Z")]), Ok(now));
    for bad in [
        "",
        "now",
        "2026-03-01T23:59:00Z",
        "20260301T2359Z",
        "20260301T235900",
        "20260301T255900Z",
        "+20260301T235900Z",
    ] {
        assert!(unsigned(&[("date", bad)]).is_err(), "{bad}");
    }
    assert!(unsigned(&[]).is_err());
}

#[test]
fn s3_signs_paths_as_they_are_meant_and_may_leave_the_body_open() {
    let now = at(NOW);
    let mut request = list();
    request.path = "/bucket//a/../%C3%A9%20b".to_owned();
    let signed = request.clone().signed(&key(), "s3", now);
    assert_eq!(signed.check(SECRET, now), Ok(()));
    let mut shorter = signed.clone();
    shorter.path = "/bucket/%C3%A9%20b".to_owned();
    assert!(shorter.check(SECRET, now).is_err());
    request.query.clear();
    let mut url = presigned(request, "&X-Amz-Expires=60", "s3", SECRET, now);
    url.body = b"anything".to_vec();
    assert_eq!(url.check(SECRET, now), Ok(()));
    let open = |service: &str| {
        let mut request = list();
        request
            .headers
            .push(("x-amz-content-sha256".to_owned(), b"UNSIGNED-PAYLOAD".to_vec()));
        let signed = request.signed(&key(), service, now);
        signed.with(|parts| Claim::read(parts).unwrap().covers_body())
    };
    assert!(!open("s3"));
    assert!(open("lambda"), "Lambda signs bodies");
}

#[test]
fn refusals_say_what_is_missing() {
    let authorized = |authorization: &str| {
        let mut request = list();
        request.headers.push(("authorization".to_owned(), authorization.into()));
        request
            .headers
            .push(("x-amz-date".to_owned(), b"20260301T235900Z".to_vec()));
        request.with(|parts| Claim::read(parts).map(drop).map_err(|error| error.to_string()))
    };
    for (authorization, message) in [
        ("Bearer x", "Unsupported AWS 'algorithm': 'Bearer'."),
        (
            "AWS4-HMAC-SHA256",
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256",
        ),
        (
            "AWS4-HMAC-SHA256 Credential",
            "'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 Credential'.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b'",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20260302/r/s/aws5_request, SignedHeaders=host;x-amz-date, Signature=0",
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260302' != '20260301', from '20260301T235900Z'.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20260301/r/s/aws4_request, SignedHeaders=x-amz-date, Signature=0",
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20260301/r/s/aws4_request, SignedHeaders=host, Signature=0",
            "There were headers present in the request which were not signed: x-amz-date",
        ),
    ] {
        assert_eq!(authorized(authorization), Err(message.to_owned()), "{authorization}");
    }
    assert_eq!(
        list().with(|parts| Claim::read(parts).unwrap_err()),
        SignatureError::Missing
    );
    let signed = invocation().signed(&key(), "iam", at(NOW));
    assert_eq!(signed.with(service).as_deref(), Some("iam"));
    assert_eq!(list().with(service), None);
}

proptest::proptest! {
    #[test]
    fn nothing_that_comes_as_a_signature_breaks_the_reader(
        authorization in "(AWS4-HMAC-SHA256 )?[ -~]{0,80}",
        query in "(X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature)=[ -~]{0,20}&?){0,8}",
        path in "[ -~é/.]{0,40}",
        date in "[0-9TZ]{0,18}",
    ) {
        let mut request = list();
        request.query = query;
        request.path = path;
        for (name, value) in [("authorization", authorization), ("x-amz-date", date)] {
            if !value.is_empty() {
                request.headers.push((name.to_owned(), value.into_bytes()));
            }
        }
        proptest::prop_assert!(request.check(SECRET, at(NOW)).is_err());
        let _ = request.with(service);
    }
}
