use std::io::Read;

use serde_json::Value;

/// An answer of Lambda's InvokeWithResponseStream, read as it comes. Dropped: the client leaves.
pub struct Stream {
    pub status: u16,
    headers: ureq::http::HeaderMap,
    body: Box<dyn Read + Send>,
}

/// One event of it.
#[derive(Debug, PartialEq)]
pub enum StreamEvent {
    Chunk(Vec<u8>),
    /// The members of `InvokeComplete`.
    Complete(Value),
}

impl Stream {
    /// Sends the request and waits for the head of the answer.
    pub fn open(endpoint: &str, function: &str, headers: &[(&str, &str)], event: &str) -> Self {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("{endpoint}/2021-11-15/functions/{function}/response-streaming-invocations");
        let mut request = ureq::http::Request::builder().method("POST").uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = agent.run(request.body(event.as_bytes()).unwrap()).unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: Box::new(response.into_body().into_reader()),
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The next event; `None` at the end of the answer, which must be the end of a message.
    pub fn next(&mut self) -> Option<StreamEvent> {
        let mut prelude = [0; 12];
        let read = self.body.read(&mut prelude).unwrap();
        if read == 0 {
            return None;
        }
        self.body.read_exact(&mut prelude[read..]).unwrap();
        let number = |at: usize| u32::from_be_bytes(prelude[at..at + 4].try_into().unwrap()) as usize;
        let mut rest = vec![0; number(0) - prelude.len()];
        self.body.read_exact(&mut rest).unwrap();
        let (headers, payload) = rest.split_at(number(4));
        let payload = payload[..payload.len() - 4].to_vec();
        let headers = String::from_utf8_lossy(headers);
        Some(if headers.contains("PayloadChunk") {
            StreamEvent::Chunk(payload)
        } else {
            assert!(headers.contains("InvokeComplete"), "{headers:?}");
            StreamEvent::Complete(serde_json::from_slice(&payload).unwrap())
        })
    }

    /// The next event, which must be a chunk.
    #[track_caller]
    pub fn chunk(&mut self) -> Vec<u8> {
        match self.next() {
            Some(StreamEvent::Chunk(bytes)) => bytes,
            other => panic!("no chunk: {other:?}"),
        }
    }

    /// All bytes that are left, and the members of `InvokeComplete`, which must come last.
    pub fn rest(mut self) -> (Vec<u8>, Value) {
        let mut bytes = Vec::new();
        loop {
            match self.next().expect("an answer ends with InvokeComplete") {
                StreamEvent::Chunk(chunk) => bytes.extend(chunk),
                StreamEvent::Complete(complete) => {
                    assert_eq!(self.next(), None, "something comes after InvokeComplete");
                    return (bytes, complete);
                }
            }
        }
    }

    /// The body of an answer that is no event stream.
    pub fn text(mut self) -> String {
        let mut text = String::new();
        self.body.read_to_string(&mut text).unwrap();
        text
    }
}
