use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::PATIENCE;

/// A debugger: a WebSocket (RFC 6455) that speaks the Chrome DevTools Protocol.
pub struct Debugger {
    stream: TcpStream,
    last: i64,
    events: VecDeque<Value>,
    /// Where the scripts lie, by V8's ids.
    urls: HashMap<String, String>,
}

impl Debugger {
    /// Attaches to a `ws://HOST:PORT/ID`.
    #[track_caller]
    pub fn attach(url: &str) -> Self {
        Self::try_attach(url, "").unwrap_or_else(|refusal| panic!("{url}: {refusal}"))
    }

    /// As [`Debugger::attach`], with more lines of headers; gives the answer when it is refused.
    pub fn try_attach(url: &str, headers: &str) -> Result<Self, String> {
        let (address, id) = url.strip_prefix("ws://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = if headers.contains("Host:") {
            String::new()
        } else {
            format!("Host: {address}\r\n")
        };
        write!(
            stream,
            "GET /{id} HTTP/1.1\r\n{host}{headers}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(head);
        }
        // The answer to the key of RFC 6455, 1.3.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Ok(Self {
            stream,
            last: 0,
            events: VecDeque::new(),
            urls: HashMap::new(),
        })
    }

    /// Sends a command and waits for its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        let answer = self.answer(id);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends a command; gives its id.
    pub fn send(&mut self, method: &str, params: Value) -> i64 {
        self.last += 1;
        let text = json!({"id": self.last, "method": method, "params": params}).to_string();
        self.write(1, text.as_bytes());
        self.last
    }

    /// Waits for the answer to a command.
    #[track_caller]
    pub fn answer(&mut self, id: i64) -> Value {
        loop {
            let message = self.read().expect("the connection was closed before the answer came");
            if message["id"] == id {
                return message;
            }
            assert!(message["id"].is_null(), "nobody asked for {message}");
            self.events.push_back(message);
        }
    }

    /// Waits for an event; gives its parameters.
    #[track_caller]
    pub fn event(&mut self, method: &str) -> Value {
        self.event_where(method, |_| true)
    }

    /// Waits for an event whose parameters are as `wanted`.
    #[track_caller]
    pub fn event_where(&mut self, method: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let is = |event: &Value| event["method"] == method && wanted(&event["params"]);
        if let Some(place) = self.events.iter().position(is) {
            return self.events.remove(place).unwrap()["params"].take();
        }
        loop {
            let mut message = self
                .read()
                .unwrap_or_else(|| panic!("the connection was closed before {method} came"));
            if is(&message) {
                return message["params"].take();
            }
            self.events.push_back(message);
        }
    }

    /// Where a script lies that V8 has told of.
    #[track_caller]
    pub fn url_of(&self, script: &Value) -> String {
        self.urls[script.as_str().unwrap()].clone()
    }

    /// Waits until the server closes the connection.
    pub fn closed(mut self) {
        while self.read().is_some() {}
    }

    /// A masked frame (clients must mask; the mask is 0).
    fn write(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ ..126 => frame.push(0x80 | length as u8),
            length @ ..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next message; `None`: there is no more.
    fn read(&mut self) -> Option<Value> {
        let (mut head, mut length) = ([0; 2], [0; 8]);
        if let Err(error) = self.stream.read_exact(&mut head) {
            let gone = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
            assert!(gone.contains(&error.kind()), "{error}");
            return None;
        }
        let size = match head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        self.stream.read_exact(&mut length[8 - size..]).unwrap();
        let length = if size == 0 {
            u64::from(head[1])
        } else {
            u64::from_be_bytes(length)
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        match head[0] {
            0x81 => {
                let message: Value = serde_json::from_slice(&payload).unwrap();
                if message["method"] == "Debugger.scriptParsed" {
                    let text = |name: &str| message["params"][name].as_str().unwrap().to_owned();
                    self.urls.insert(text("scriptId"), text("url"));
                }
                Some(message)
            }
            0x88 => None,
            other => panic!("a frame that was not expected: {other:#x}"),
        }
    }

    /// Sends a ping, and waits for the pong.
    pub fn ping(&mut self) {
        self.write(9, b"still there?");
        let mut frame = [0; 14];
        self.stream.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"\x8a\x0cstill there?");
    }
}
