//! Just enough of eight AWS services for one call of each SDK client: signatures are verified, answers have AWS's shapes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use md5::Md5;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The secret access key that every function is given.
const SECRET: &str = "hikigane";

/// A request to an AWS service.
pub struct Request {
    pub method: String,
    /// As sent, percent-encoded.
    pub path: String,
    /// As sent, without the question mark.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What the services remember.
#[derive(Default)]
pub struct Aws {
    objects: Mutex<BTreeMap<String, Request>>,
    tables: Mutex<BTreeMap<(String, String), Map<String, Value>>>,
}

impl Aws {
    /// Answers a request that carries a signature; one that is wrong is refused.
    pub fn answer(&self, request: Request) -> Response {
        let service = match verify(&request) {
            Ok(service) => service,
            Err(why) => return error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", &why),
        };
        match service.as_str() {
            "s3" => self.s3(request),
            "sns" => sns(&request),
            "lambda" => lambda(request),
            _ => self.json(&service, &request),
        }
    }

    /// S3: PutObject, GetObject, ListObjectsV2, with buckets as first parts of paths.
    fn s3(&self, request: Request) -> Response {
        let mut objects = self.objects.lock().unwrap();
        match request.method.as_str() {
            "PUT" => {
                let etag = format!("\"{}\"", hex(&Md5::digest(&request.body)));
                objects.insert(request.path.clone(), request);
                [("etag", etag)].into_response()
            }
            "GET" if request.query.contains("list-type=2") => {
                let bucket = request.path.trim_end_matches('/');
                let mut xml = format!(
                    "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{}</Name><IsTruncated>false</IsTruncated>",
                    &bucket[1..]
                );
                for (path, object) in &*objects {
                    if let Some(key) = path.strip_prefix(bucket) {
                        let key = key[1..].replace("%20", " ").replace("%26", "&amp;");
                        let size = object.body.len();
                        write!(xml, "<Contents><Key>{key}</Key><Size>{size}</Size></Contents>").unwrap();
                    }
                }
                xml_answer(StatusCode::OK, xml + "</ListBucketResult>")
            }
            _ => match objects.get(&request.path) {
                Some(object) => {
                    let mut headers = object.headers.clone();
                    headers.retain_only(&["content-type", "x-amz-meta-author"]);
                    (headers, object.body.clone()).into_response()
                }
                None => xml_answer(
                    StatusCode::NOT_FOUND,
                    "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
                        .to_owned(),
                ),
            },
        }
    }

    /// The services that speak JSON, by the operation's name in a header.
    fn json(&self, service: &str, request: &Request) -> Response {
        let target = header(&request.headers, "x-amz-target");
        let operation = target.rsplit('.').next().unwrap_or_default();
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        let output = match (service, operation) {
            ("dynamodb", _) => return self.dynamodb(operation, &input),
            ("sqs", "SendMessage") => json!({
                "MessageId": "00000000-0000-0000-0000-000000000001",
                "MD5OfMessageBody": hex(&Md5::digest(text("MessageBody"))),
            }),
            ("secretsmanager", "GetSecretValue") => {
                json!({"Name": text("SecretId"), "VersionId": "1", "SecretString": r#"{"password":"hunter2"}"#})
            }
            ("ssm", "GetParameter") => json!({"Parameter": {
                "Name": text("Name"), "Type": "SecureString", "Version": 3, "Value": format!("value of {}", text("Name")),
            }}),
            ("events", "PutEvents") => {
                let entries = input["Entries"].as_array().cloned().unwrap_or_default();
                let ids: Vec<_> = (0..entries.len()).map(|n| json!({"EventId": n.to_string()})).collect();
                json!({"FailedEntryCount": 0, "Entries": ids})
            }
            _ => return error(StatusCode::BAD_REQUEST, "UnknownOperationException", operation),
        };
        json_answer(StatusCode::OK, output)
    }

    /// Items by the table and the key `id`. The one condition is that there is no such item yet.
    fn dynamodb(&self, operation: &str, input: &Value) -> Response {
        let mut tables = self.tables.lock().unwrap();
        let table = input["TableName"].as_str().unwrap_or_default().to_owned();
        let id = [&input["Key"]["id"], &input["Item"]["id"]].map(Value::to_string);
        match operation {
            "PutItem" => {
                let [_, id] = id;
                let known = tables.get(&(table.clone(), id.clone()));
                if let (Some(item), Some(_)) = (known, input["ConditionExpression"].as_str()) {
                    let refusal = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
                    let refusal = json!({"__type": refusal, "message": "The conditional request failed", "Item": item});
                    return json_answer(StatusCode::BAD_REQUEST, refusal);
                }
                tables.insert((table, id), input["Item"].as_object().cloned().unwrap_or_default());
                json_answer(StatusCode::OK, json!({}))
            }
            "GetItem" => {
                let [id, _] = id;
                let item = tables.get(&(table, id));
                json_answer(StatusCode::OK, item.map_or(json!({}), |item| json!({"Item": item})))
            }
            // `SET #name = :value, ...`
            "UpdateItem" => {
                let [id, _] = id;
                let item = tables.entry((table, id)).or_default();
                let expression = input["UpdateExpression"].as_str().unwrap_or_default();
                for assignment in expression.trim_start_matches("SET ").split(", ") {
                    if let Some((name, value)) = assignment.split_once(" = ") {
                        let name = input["ExpressionAttributeNames"][name].as_str().unwrap_or(name);
                        item.insert(name.to_owned(), input["ExpressionAttributeValues"][value].clone());
                    }
                }
                json_answer(StatusCode::OK, json!({}))
            }
            _ => error(StatusCode::BAD_REQUEST, "UnknownOperationException", operation),
        }
    }
}

/// SNS speaks forms and XML.
fn sns(request: &Request) -> Response {
    let form = String::from_utf8_lossy(&request.body).into_owned();
    if !form.contains("Action=Publish&") || !form.contains("Message=it%20%26%20that") {
        return error(StatusCode::BAD_REQUEST, "InvalidAction", &form);
    }
    xml_answer(
        StatusCode::OK,
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
         <MessageId>00000000-0000-0000-0000-000000000002</MessageId></PublishResult>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></PublishResponse>"
            .to_owned(),
    )
}

/// Invoke of a function that gives its event back.
fn lambda(request: Request) -> Response {
    if request.path != "/2015-03-31/functions/echo/invocations" {
        return error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &request.path);
    }
    let event: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    (
        [("x-amz-executed-version", "$LATEST")],
        json!({"echo": event}).to_string(),
    )
        .into_response()
}

fn json_answer(status: StatusCode, value: Value) -> Response {
    (
        status,
        [("content-type", "application/x-amz-json-1.0")],
        value.to_string(),
    )
        .into_response()
}

fn xml_answer(status: StatusCode, xml: String) -> Response {
    (status, [("content-type", "application/xml")], xml).into_response()
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    json_answer(status, json!({"__type": code, "message": message}))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

trait RetainOnly {
    fn retain_only(&mut self, names: &[&str]);
}

impl RetainOnly for HeaderMap {
    fn retain_only(&mut self, names: &[&str]) {
        let others: Vec<_> = self
            .keys()
            .filter(|name| !names.contains(&name.as_str()))
            .cloned()
            .collect();
        for name in others {
            self.remove(name);
        }
    }
}

/// Checks the signature (AWS documentation, "Create a signed AWS API request"). Returns the service that it was made for.
fn verify(request: &Request) -> Result<String, String> {
    let authorization = header(&request.headers, "authorization");
    let part = |name: &str| {
        let (_, rest) = authorization
            .split_once(name)
            .ok_or_else(|| format!("no {name} in the authorization header `{authorization}`"))?;
        Ok::<_, String>(rest.split(',').next().unwrap_or_default())
    };
    let scope = part("AWS4-HMAC-SHA256 Credential=")?;
    let scope: Vec<&str> = scope.split('/').skip(1).collect();
    let [date, region, service, "aws4_request"] = scope[..] else {
        return Err(format!("the scope is {scope:?}"));
    };
    let signed = part("SignedHeaders=")?;
    let body = hex(&Sha256::digest(&request.body));
    let claimed = header(&request.headers, "x-amz-content-sha256");
    if !claimed.is_empty() && claimed != body {
        return Err(format!("the body has another hash than {claimed}"));
    }
    if header(&request.headers, "x-amz-security-token") != SECRET {
        return Err("the session token is missing".to_owned());
    }
    let mut query: Vec<&str> = request.query.split('&').collect();
    query.sort_unstable();
    let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, query.join("&"));
    for name in signed.split(';') {
        writeln!(canonical, "{name}:{}", header(&request.headers, name)).unwrap();
    }
    write!(canonical, "\n{signed}\n{body}").unwrap();
    let text = format!(
        "AWS4-HMAC-SHA256\n{}\n{}\n{}",
        header(&request.headers, "x-amz-date"),
        scope.join("/"),
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for step in [date, region, service, "aws4_request"] {
        key = hmac(&key, step.as_bytes());
    }
    if hex(&hmac(&key, text.as_bytes())) != part("Signature=")? {
        return Err(format!("the signature is not that of\n{canonical}"));
    }
    Ok(service.to_owned())
}

/// HMAC-SHA-256 (RFC 2104) with a key of at most a block.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
