//! `cargo bench`: the invoke path of the release binary, over loopback.
//!
//! Prints a table of warm calls through the HTTP gateway and through Lambda's Invoke at 1 and 16 connections, beside a floor taken in the
//! same run (the same bytes sent and answered by a thread that does nothing else), and the first calls of functions never called
//! before. Figures depend on the machine and on what else it does: quote the ratios.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use support::Project;

/// How long each row is measured, after a tenth of it as a warm-up.
const MEASURE: Duration = Duration::from_secs(4);
/// Functions that are called for the first time.
const FRESH: usize = 60;

fn main() {
    let mut manifest = String::from(
        "functions:\n  hello: { code: ./hello.mjs, timeout: 10s, events: [{ http: \"ANY /{proxy+}\" }] }\n  echo: { code: ./echo.mjs, timeout: 10s }\n",
    );
    for n in 0..FRESH {
        manifest.push_str(&format!("  fresh{n}: {{ code: ./fresh.mjs, timeout: 10s }}\n"));
    }
    manifest.push_str("sources: { http: { listen: 127.0.0.1:0 } }\n");
    let hello = "export const handler = async (event, context) => ({ statusCode: 200, headers: { \"content-type\": \"application/json\" }, \
                 body: JSON.stringify({ path: event.rawPath, q: event.queryStringParameters, id: context.awsRequestId }) });\n";
    let echo = "export const handler = async (event) => event;\n";
    let project = Project::new(
        &manifest,
        &[("hello.mjs", hello), ("echo.mjs", echo), ("fresh.mjs", echo)],
    );
    let server = project.up();

    let event = format!(r#"{{"Records":[{{"pad":"{}"}}]}}"#, "x".repeat(960));
    let get = "GET /a/b?c=d HTTP/1.1\r\nhost: localhost:HOST\r\n\r\n".to_owned();
    let invoke = |function: &str| {
        format!(
            "POST /2015-03-31/functions/{function}/invocations HTTP/1.1\r\nhost: localhost:HOST\r\ncontent-length: {}\r\n\r\n{event}",
            event.len()
        )
    };
    let floor = floor();

    println!("| what | connections | requests/s | p50 us | p99 us | p50 / floor |");
    println!("|---|---|---|---|---|---|");
    for connections in [1, 16] {
        let base = row("floor: bytes there and back", &floor, &get, connections, None);
        row("HTTP gateway, warm", server.gateway(), &get, connections, Some(base));
        row(
            "Invoke, 1 KB event, warm",
            server.endpoint(),
            &invoke("echo"),
            connections,
            Some(base),
        );
    }

    let address = server.endpoint().strip_prefix("http://").unwrap().to_owned();
    let mut first: Vec<Duration> = (0..FRESH)
        .map(|n| {
            // A spare worker is made meanwhile, as it would be in life.
            std::thread::sleep(Duration::from_millis(60));
            let mut stream = connect(&address);
            let begun = Instant::now();
            exchange(
                &mut stream,
                &invoke(&format!("fresh{n}")).replace("HOST", port(&address)),
            );
            begun.elapsed()
        })
        .collect();
    first.sort();
    println!(
        "\nfirst call of a function: p50 {:.1} ms, p99 {:.1} ms over {FRESH} functions",
        ms(first[FRESH / 2]),
        ms(first[FRESH - 1])
    );
}

/// Measures one row, prints it, and returns its median.
fn row(what: &str, url: &str, request: &str, connections: usize, floor: Option<Duration>) -> Duration {
    let address = url.strip_prefix("http://").unwrap();
    let request = request.replace("HOST", port(address));
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|_| scope.spawn(|| client(address, &request)))
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    times.sort();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let rate = times.len() as f64 / MEASURE.as_secs_f64();
    let ratio = floor
        .map(|floor| format!("{:.1}", p50.as_secs_f64() / floor.as_secs_f64()))
        .unwrap_or_default();
    println!(
        "| {what} | {connections} | {rate:.0} | {} | {} | {ratio} |",
        p50.as_micros(),
        p99.as_micros()
    );
    p50
}

/// One connection, one request after the other.
fn client(address: &str, request: &str) -> Vec<Duration> {
    let mut stream = connect(address);
    let warm = Instant::now();
    while warm.elapsed() < MEASURE / 10 {
        exchange(&mut stream, request);
    }
    let mut times = Vec::with_capacity(100_000);
    let begun = Instant::now();
    while begun.elapsed() < MEASURE {
        let sent = Instant::now();
        exchange(&mut stream, request);
        times.push(sent.elapsed());
    }
    times
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends a request and reads the whole answer, which must be a 200.
fn exchange(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::with_capacity(4096);
    let mut piece = [0u8; 8192];
    loop {
        let read = stream.read(&mut piece).unwrap();
        assert!(
            read > 0,
            "the server closed the connection: {}",
            String::from_utf8_lossy(&answer)
        );
        answer.extend_from_slice(&piece[..read]);
        let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let length: usize = text
            .split("content-length: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        if answer.len() == head + 4 + length {
            return;
        }
    }
}

/// A server that answers 1 KB to whatever comes, one thread a connection: what the machine's sockets and wake-ups cost.
fn floor() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve_floor(stream));
        }
    });
    url
}

fn serve_floor(mut stream: TcpStream) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}", "x".repeat(1000));
    let mut piece = [0u8; 8192];
    while stream.read(&mut piece).is_ok_and(|read| read > 0) {
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
