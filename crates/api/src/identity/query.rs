//! AWS's query protocol: parameters from a form, answers and errors in XML.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hikigane_model::RequestId;
use serde_json::{Value, json};

use crate::error::REQUEST_ID;
use crate::sigv4::SignatureError;

/// The largest form: a policy has at most 10,240 characters (IAM user guide, "IAM and AWS STS quotas"), each of them up to 12 bytes in a form.
pub(crate) const REQUEST: usize = 256 * 1024;

/// The parameters of a call.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Those of the query, and those of the body, a form.
    pub(crate) fn read(query: &str, body: &[u8]) -> Self {
        let both = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body));
        Self(
            both.map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs.find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, QueryError> {
        self.get(name)
            .ok_or_else(|| invalid("null", name, "Member must not be null"))
    }

    /// A name: 1 to `longest` characters of `[\w+=,.@-]` (IAM API reference).
    pub(crate) fn name(&self, name: &str, longest: usize) -> Result<&str, QueryError> {
        let value = self.required(name)?;
        let quoted = format!("'{value}'");
        if value.len() > longest {
            let rule = format!("Member must have length less than or equal to {longest}");
            return Err(invalid(&quoted, name, &rule));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if value.is_empty() || !value.chars().all(legal) {
            let rule = "Member must satisfy regular expression pattern: [\\w+=,.@-]+";
            return Err(invalid(&quoted, name, rule));
        }
        Ok(value)
    }

    /// A path, `/` unless given: it begins and ends with `/` (IAM API reference).
    pub(crate) fn path(&self) -> Result<String, QueryError> {
        let path = self.get("Path").unwrap_or("/");
        let legal = path.len() <= 512 && path.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
        if legal && path.starts_with('/') && path.ends_with('/') {
            return Ok(path.to_owned());
        }
        let quoted = format!("'{path}'");
        let rule = "Member must satisfy regular expression pattern: (\\u002F)|(\\u002F[\\u0021-\\u007F]+\\u002F)";
        Err(invalid(&quoted, "Path", rule))
    }

    /// A policy: a JSON object.
    pub(crate) fn policy(&self, name: &str) -> Result<String, QueryError> {
        let text = self.required(name)?;
        match serde_json::from_str::<serde_json::Map<String, Value>>(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(QueryError::new(
                400,
                "MalformedPolicyDocument",
                "This policy contains invalid Json",
            )),
        }
    }

    /// A number from `least` to `most`.
    pub(crate) fn number(&self, name: &str, (least, most): (u32, u32)) -> Result<Option<u32>, QueryError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => {
                let rule = format!("Member must have value between {least} and {most}");
                Err(invalid(&format!("'{text}'"), name, &rule))
            }
        }
    }

    /// `TagKeys.member.1`, `.2` and so on.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let members = (1..).map_while(|number| self.get(&format!("{name}.member.{number}")));
        members.map(str::to_owned).collect()
    }

    /// `Tags.member.1.Key`, `Tags.member.1.Value` and so on.
    pub(crate) fn tags(&self) -> Vec<(String, String)> {
        let member = |number: usize, field| self.get(&format!("Tags.member.{number}.{field}"));
        let pair = |number| Some((member(number, "Key")?, member(number, "Value").unwrap_or_default()));
        let pairs = (1..).map_while(pair);
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

/// An error of the query protocol.
#[derive(Debug)]
pub(crate) struct QueryError {
    status: u16,
    code: &'static str,
    message: String,
}

impl QueryError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(crate) fn not_found(message: String) -> Self {
        Self::new(404, "NoSuchEntity", message)
    }

    pub(crate) fn exists(message: String) -> Self {
        Self::new(409, "EntityAlreadyExists", message)
    }

    pub(crate) fn unknown_action(parameters: &Parameters) -> Self {
        let field = |name| parameters.get(name).unwrap_or_default();
        let message = format!(
            "Could not find operation {} for version {}",
            field("Action"),
            field("Version")
        );
        Self::new(400, "InvalidAction", message)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request must be smaller than {REQUEST} bytes"),
        )
    }

    pub(crate) fn response(&self, service: &str) -> Response {
        let error = json!({"Type": "Sender", "Code": self.code, "Message": self.message});
        respond(
            self.status,
            service,
            "ErrorResponse",
            |id| json!({"Error": error, "RequestId": id}),
        )
    }
}

/// The codes of IAM and STS (IAM API reference, "Common errors").
impl From<&SignatureError> for QueryError {
    fn from(error: &SignatureError) -> Self {
        let (status, code) = match error {
            SignatureError::Missing => (403, "MissingAuthenticationToken"),
            SignatureError::Incomplete(_) | SignatureError::Unsupported(_) => (400, "IncompleteSignature"),
            SignatureError::Unrecognized => (403, "InvalidClientTokenId"),
            SignatureError::ExpiredToken => (403, "ExpiredToken"),
            SignatureError::OutOfScope(_) | SignatureError::Mismatch => (403, "SignatureDoesNotMatch"),
        };
        Self::new(status, code, error.to_string())
    }
}

fn invalid(value: &str, name: &str, rule: &str) -> QueryError {
    let mut place = name.to_owned();
    if let Some(first) = place.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let message =
        format!("1 validation error detected: Value {value} at '{place}' failed to satisfy constraint: {rule}");
    QueryError::new(400, "ValidationError", message)
}

/// `<ActionResponse><ActionResult>..</ActionResult><ResponseMetadata>..</ResponseMetadata></ActionResponse>`
pub(crate) fn answer(service: &str, action: &str, result: &Value) -> Response {
    respond(200, service, &format!("{action}Response"), |id| {
        let mut members = serde_json::Map::new();
        if !result.is_null() {
            members.insert(format!("{action}Result"), result.clone());
        }
        members.insert("ResponseMetadata".to_owned(), json!({"RequestId": id}));
        members.into()
    })
}

fn respond(status: u16, service: &str, root: &str, members: impl FnOnce(&str) -> Value) -> Response {
    let id = RequestId::random();
    let namespace = match service {
        "sts" => "https://sts.amazonaws.com/doc/2011-06-15/",
        _ => "https://iam.amazonaws.com/doc/2010-05-08/",
    };
    let mut xml = format!("<{root} xmlns=\"{namespace}\">");
    write(&members(id.as_str()), &mut xml);
    xml.push_str(&format!("</{root}>"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/xml")),
        (
            REQUEST_ID,
            HeaderValue::from_str(id.as_str()).unwrap_or(HeaderValue::from_static("-")),
        ),
    ];
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, headers, xml).into_response()
}

/// JSON as XML: the members of an object are elements, those of a list are each a `<member>`.
fn write(value: &Value, xml: &mut String) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                xml.push_str(&format!("<{name}>"));
                write(value, xml);
                xml.push_str(&format!("</{name}>"));
            }
        }
        Value::Array(items) => {
            for item in items {
                xml.push_str("<member>");
                write(item, xml);
                xml.push_str("</member>");
            }
        }
        Value::String(text) => escape(text, xml),
        Value::Null => {}
        other => xml.push_str(&other.to_string()),
    }
}

/// What XML 1.0 cannot hold becomes U+FFFD.
fn escape(text: &str, xml: &mut String) {
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#xD;"),
            '\n' | '\t' => xml.push(c),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_xml() {
        let mut xml = String::new();
        write(
            &json!({"A": "<&\"\u{1}>\r", "B": [{"C": 1}, true], "D": [], "E": null, "F": {}}),
            &mut xml,
        );
        assert_eq!(
            xml,
            "<A>&lt;&amp;&quot;\u{fffd}&gt;&#xD;</A><B><member><C>1</C></member><member>true</member></B><D></D><E></E><F></F>"
        );
    }

    #[test]
    fn parameters_are_checked_by_aws_rules() {
        let parameters = Parameters::read(
            "Action=X",
            b"RoleName=a+b&Path=%2Fp%2F&N=3&Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.3.Key=no&P=%7B%7D&Q=%5B%5D",
        );
        assert_eq!(parameters.path().ok().as_deref(), Some("/p/"));
        assert_eq!(parameters.tags(), [("k".to_owned(), "v".to_owned())]);
        assert!(parameters.policy("P").is_ok());
        assert!(parameters.policy("Q").is_err());
        assert_eq!(parameters.number("N", (1, 3)).ok(), Some(Some(3)));
        assert!(parameters.number("N", (4, 5)).is_err());
        let message = |result: Result<&str, QueryError>| result.err().map(|error| error.message).unwrap_or_default();
        assert_eq!(
            message(parameters.name("RoleName", 64)),
            "1 validation error detected: Value 'a b' at 'roleName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+"
        );
        assert_eq!(
            message(parameters.name("PolicyName", 128)),
            "1 validation error detected: Value null at 'policyName' failed to satisfy constraint: Member must not be null"
        );
    }
}
