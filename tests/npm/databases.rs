//! Just enough of three databases' protocols for a driver to connect and ask one thing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};

/// The query that the two relational databases answer, with the row `1, "one"`.
const QUERY: &[u8] = b"SELECT n, name FROM things";

/// Serves every connection on a free port of 127.0.0.1, until the test ends. Returns the port.
pub fn serve(speak: fn(TcpStream) -> Result<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that leaves in the middle is the test's to notice.
            std::thread::spawn(move || speak(connection));
        }
    });
    port
}

fn take(from: &mut impl Read, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// PostgreSQL 3.0, simple queries, no authentication (PostgreSQL documentation, "Message Formats").
pub fn postgres(mut stream: TcpStream) -> Result<()> {
    fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], length.as_slice(), &body].concat()
    }
    fn body(stream: &mut TcpStream) -> Result<Vec<u8>> {
        let length = take(stream, 4)?;
        let length = u32::from_be_bytes(length.try_into().unwrap_or_default()) as usize;
        take(stream, length.saturating_sub(4))
    }
    let ready = message(b'Z', &[b"I"]);
    body(&mut stream)?;
    stream.write_all(&[message(b'R', &[&[0; 4]]), ready.clone()].concat())?;
    loop {
        let kind = take(&mut stream, 1)?[0];
        let text = body(&mut stream)?;
        let answer = match kind {
            b'X' => return Ok(()),
            b'Q' if text.strip_suffix(b"\0") == Some(QUERY) => {
                let column = |name: &str, kind: u32| {
                    let parts: [&[u8]; 5] = [
                        name.as_bytes(),
                        &[0; 7],
                        &kind.to_be_bytes(),
                        &[0, 4, 0, 0, 0, 0],
                        &[0, 0],
                    ];
                    parts.concat()
                };
                [
                    message(b'T', &[&[0, 2], &column("n", 23), &column("name", 25)]),
                    message(b'D', &[&[0, 2, 0, 0, 0, 1], b"1", &[0, 0, 0, 3], b"one"]),
                    message(b'C', &[b"SELECT 1\0"]),
                ]
                .concat()
            }
            _ => message(b'E', &[b"SERROR\0C42601\0Mnot the one query\0\0"]),
        };
        stream.write_all(&answer)?;
        stream.write_all(&ready)?;
    }
}

/// MySQL's protocol 10, any password (MySQL documentation, "Client/Server Protocol").
pub fn mysql(mut stream: TcpStream) -> Result<()> {
    fn packets(first: u8, bodies: &[Vec<u8>]) -> Vec<u8> {
        let packet = |(number, body): (u8, &Vec<u8>)| {
            let length = u32::try_from(body.len()).unwrap().to_le_bytes();
            [&length[..3], &[number], body].concat()
        };
        (first..).zip(bodies).flat_map(packet).collect()
    }
    fn text(text: &str) -> Vec<u8> {
        [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    }
    fn body(stream: &mut TcpStream) -> Result<Vec<u8>> {
        let head = take(stream, 4)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        take(stream, length as usize)
    }
    const GREETING: [&[u8]; 6] = [
        // Protocol, version, connection, scramble.
        b"\x0a8.0.0\0\x01\0\0\0abcdefgh\0",
        // Long passwords, protocol 4.1, secure connection; utf8mb4; autocommit.
        &[0x01, 0x82, 45, 2, 0],
        // Authentication by plug-in; length of the scramble.
        &[0x08, 0, 21],
        &[0; 10],
        b"abcdefghijkl\0",
        b"mysql_native_password\0",
    ];
    stream.write_all(&packets(0, &[GREETING.concat()]))?;
    body(&mut stream)?;
    stream.write_all(&packets(2, &[vec![0, 0, 0, 2, 0, 0, 0]]))?;
    loop {
        let command = body(&mut stream)?;
        let answer = match command.split_first() {
            Some((3, query)) if query == QUERY => {
                let column = |name: &str, kind: u8| {
                    let names = [text("def"), text(""), text(""), text(""), text(name), text("")].concat();
                    [names.as_slice(), &[12, 45, 0, 255, 0, 0, 0, kind, 0, 0, 0, 0, 0]].concat()
                };
                let end = vec![0xfe, 0, 0, 2, 0];
                let row = [text("1"), text("one")].concat();
                packets(
                    1,
                    &[vec![2], column("n", 3), column("name", 253), end.clone(), row, end],
                )
            }
            Some((1, _)) | None => return Ok(()),
            _ => packets(1, &[b"\xff\x28\x04#42000not the one query".to_vec()]),
        };
        stream.write_all(&answer)?;
    }
}

/// Redis's protocol 2 (Redis documentation, "RESP").
pub fn redis(stream: TcpStream) -> Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    let mut values: HashMap<String, String> = HashMap::new();
    fn line(input: &mut impl BufRead) -> Result<String> {
        let mut line = String::new();
        input.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    loop {
        let head = line(&mut input)?;
        let Some(count) = head.strip_prefix('*').and_then(|count| count.parse::<usize>().ok()) else {
            return Ok(());
        };
        let mut words = Vec::new();
        for _ in 0..count {
            line(&mut input)?;
            words.push(line(&mut input)?);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = match (words[0].to_ascii_uppercase().as_str(), &words[1..]) {
            ("PING", []) => "+PONG\r\n".to_owned(),
            ("INFO", _) => bulk("redis_version:7.0.0\r\nloading:0"),
            ("SET", [key, value]) => {
                values.insert((*key).to_owned(), (*value).to_owned());
                "+OK\r\n".to_owned()
            }
            ("GET", [key]) => values.get(*key).map_or("$-1\r\n".to_owned(), |value| bulk(value)),
            ("CLIENT" | "SELECT" | "QUIT", _) => "+OK\r\n".to_owned(),
            (other, _) => format!("-ERR unknown command '{other}'\r\n"),
        };
        output.write_all(answer.as_bytes())?;
        if words[0].eq_ignore_ascii_case("QUIT") {
            return Ok(());
        }
    }
}
