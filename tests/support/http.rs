use serde_json::Value;

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// One request on a connection of its own.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    try_request(method, url, headers, body).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

/// As [`request`], for a server that may go away meanwhile.
pub fn try_request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = if body.is_empty() {
        agent.run(request.body(()).unwrap())
    } else {
        agent.run(request.body(body).unwrap())
    };
    let response = response?;
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = response
        .into_body()
        .into_with_config()
        .limit(64 * 1024 * 1024)
        .read_to_vec()?;
    Ok(Answer { status, headers, body })
}

pub fn get(url: &str) -> Answer {
    request("GET", url, &[], &[])
}

pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    request("POST", url, headers, body)
}

/// Lambda's Invoke, RequestResponse.
pub fn invoke(endpoint: &str, function: &str, event: &str) -> Answer {
    post(
        &format!("{endpoint}/2015-03-31/functions/{function}/invocations"),
        &[],
        event.as_bytes(),
    )
}

/// Lambda's Invoke, Event.
pub fn invoke_event(endpoint: &str, function: &str, event: &str) -> Answer {
    let url = format!("{endpoint}/2015-03-31/functions/{function}/invocations");
    post(&url, &[("x-amz-invocation-type", "Event")], event.as_bytes())
}
