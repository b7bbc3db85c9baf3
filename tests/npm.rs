//! npm's packages that Lambda functions use most: each is imported and does one real thing in a function of its own, as a CommonJS and
//! as an ES module. `docs/compatibility.md` is made from what happens.

mod aws;
mod databases;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::support::{Project, lacking, post, wait_for};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/npm");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compatibility.md");

/// The segment that every invocation belongs to.
const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

#[test]
fn the_packages_that_functions_use_most_do_what_the_page_says() {
    let Some(directory) = install() else {
        return lacking("`npm` command");
    };
    let services = Services::start();
    let cases = cases();
    let mut results = BTreeMap::new();
    for kind in [Kind::CommonJs, Kind::EsModule] {
        let project = Project::new(&services.manifest(&directory, &cases, kind), &[]);
        let server = project.up();
        for (case, outcome) in cases.iter().zip(invoke_all(server.endpoint(), &cases, kind)) {
            results.insert((case.name.as_str(), kind), outcome);
        }
    }

    let wrong: Vec<String> = cases
        .iter()
        .flat_map(|case| [Kind::CommonJs, Kind::EsModule].map(|kind| (case, kind)))
        .filter_map(|(case, kind)| {
            let outcome = &results[&(case.name.as_str(), kind)];
            let right = match (&case.expected, outcome) {
                (Ok(expected), Ok(value)) => expected == value,
                (Err(expected), Err(message)) => message.contains(expected),
                _ => false,
            };
            (!right).then(|| {
                let Case { name, expected, .. } = case;
                format!("{name} ({kind:?})\n  expected {expected:?}\n  happened {outcome:?}")
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let page = page(&cases);
    if std::env::var_os("HIKIGANE_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        kept == page,
        "docs/compatibility.md is out of date: HIKIGANE_WRITE_DOCS=1 cargo test --release --test e2e npm"
    );
}

/// How a function's file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    CommonJs,
    EsModule,
}

/// One file of `tests/npm/functions`: what it uses, what it does, what its handler must return.
struct Case {
    /// The file's name, which is the function's, too.
    name: String,
    /// The packages, the first being the one that is shown.
    packages: Vec<String>,
    /// What it does, for people.
    does: String,
    /// What the handler returns, or what its error's message contains.
    expected: Result<Value, String>,
    source: String,
}

/// Reads all cases. The first two lines of each are `// PACKAGE[, PACKAGE..]: what it does` and `// => JSON` or `// => error JSON`.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = std::fs::read_dir(Path::new(SOURCES).join("functions"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let source = std::fs::read_to_string(&path).unwrap();
            let mut lines = source.lines();
            let head = lines.next().and_then(|line| line.strip_prefix("// ")).unwrap();
            let (packages, does) = head.split_once(": ").unwrap();
            let packages = packages.split(", ").map(str::to_owned).collect();
            let does = does.to_owned();
            let expected = lines.next().and_then(|line| line.strip_prefix("// => ")).unwrap();
            let expected = match expected.strip_prefix("error ") {
                Some(message) => Err(serde_json::from_str(message).unwrap()),
                None => Ok(serde_json::from_str(expected).unwrap_or_else(|error| panic!("{name}: {error}"))),
            };
            Case {
                name,
                packages,
                does,
                expected,
                source,
            }
        })
        .collect();
    cases.sort_by(|a, b| a.packages.cmp(&b.packages));
    cases
}

impl Case {
    /// Writes the file of this kind beside `node_modules`. Returns its handler.
    fn write(&self, directory: &Path, kind: Kind) -> String {
        let (module, extension, text) = match kind {
            Kind::CommonJs => (format!("{}-cjs", self.name), "cjs", common_js(&self.source)),
            Kind::EsModule => (format!("{}-esm", self.name), "mjs", self.source.clone()),
        };
        std::fs::write(directory.join(format!("{module}.{extension}")), text).unwrap();
        format!("{module}.handler")
    }
}

/// An ES module as CommonJS, in the way of TypeScript with `esModuleInterop`: what most functions that call `require` are made by.
fn common_js(module: &str) -> String {
    let mut text = String::new();
    for line in module.lines() {
        let import = line.strip_prefix("import ").and_then(|line| line.strip_suffix(';'));
        let line = match import.map(|import| import.rsplit_once(" from ").ok_or(import)) {
            Some(Err(path)) => format!("require({path});"),
            Some(Ok((names, path))) => match names.strip_prefix("* as ") {
                Some(name) => format!("const {name} = require({path});"),
                None if names.starts_with('{') => format!("const {} = require({path});", names.replace(" as ", ": ")),
                None => format!("const {names} = importDefault(require({path}));"),
            },
            None => line.replace("export const handler", "exports.handler"),
        };
        text += &line;
        text.push('\n');
    }
    text + "function importDefault(module) { return module && module.__esModule ? module.default : module; }\n"
}

/// A directory with the packages in `node_modules`, installed when the lock file is another than last time. `None` without npm.
pub fn install() -> Option<PathBuf> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    INSTALLED.get_or_init(install_once).clone()
}

fn install_once() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm");
    let lock = std::fs::read_to_string(Path::new(SOURCES).join("package-lock.json")).unwrap();
    let done = directory.join("installed");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == lock) {
        return Some(directory);
    }
    std::fs::create_dir_all(&directory).unwrap();
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(Path::new(SOURCES).join(file), directory.join(file)).unwrap();
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    match npm.current_dir(&directory).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    std::fs::write(done, lock).unwrap();
    Some(directory)
}

/// Invokes every function once, as many at a time as there are processors. Returns what each answered: its value or its error's message.
fn invoke_all(endpoint: &str, cases: &[Case], kind: Kind) -> Vec<Result<Value, String>> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let url = format!("{endpoint}/2015-03-31/functions/{}/invocations", case.name);
                    let answer = post(&url, &[("x-amzn-trace-id", TRACE)], b"{}");
                    assert_eq!(answer.status, 200, "{} ({kind:?}): {}", case.name, answer.text());
                    let value = answer.json();
                    let outcome = match answer.header("x-amz-function-error") {
                        None => Ok(value),
                        Some(_) => Err(format!(
                            "{}: {}",
                            value["errorType"],
                            value["errorMessage"].as_str().unwrap_or_default()
                        )),
                    };
                    answers.lock().unwrap().insert(case.name.clone(), outcome);
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap();
    cases.iter().map(|case| answers.remove(&case.name).unwrap()).collect()
}

/// What the packages talk to: HTTP, the X-Ray daemon, databases.
struct Services {
    http: u16,
    x_ray: u16,
    databases: [(&'static str, u16); 3],
    _runtime: tokio::runtime::Runtime,
}

/// What the HTTP server answers from.
#[derive(Default)]
struct Http {
    aws: aws::Aws,
    /// The segments that the X-Ray daemon received.
    segments: Mutex<Vec<String>>,
}

impl Services {
    fn start() -> Self {
        let http = Arc::new(Http::default());
        let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
        let x_ray = daemon.local_addr().unwrap().port();
        let state = http.clone();
        std::thread::spawn(move || {
            let mut datagram = vec![0; 64 * 1024];
            while let Ok(length) = daemon.recv(&mut datagram) {
                // A line of JSON that says that JSON follows (X-Ray's documentation, "Sending segment documents").
                let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
                if let Some((_, segment)) = text.split_once('\n') {
                    state.segments.lock().unwrap().push(segment.to_owned());
                }
            }
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = axum::Router::new().fallback(answer).with_state(http);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            http: port,
            x_ray,
            databases: [
                ("POSTGRES", databases::serve(databases::postgres)),
                ("MYSQL", databases::serve(databases::mysql)),
                ("REDIS", databases::serve(databases::redis)),
            ],
            _runtime: runtime,
        }
    }

    /// A manifest with a function for each case, whose files it writes.
    fn manifest(&self, directory: &Path, cases: &[Case], kind: Kind) -> String {
        let Self { http, x_ray, .. } = self;
        let mut env = json!({
            "URL": format!("http://127.0.0.1:{http}"),
            "AWS_ENDPOINT_URL": format!("http://127.0.0.1:{http}"),
            "AWS_XRAY_DAEMON_ADDRESS": format!("127.0.0.1:{x_ray}"),
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        });
        for (name, port) in self.databases {
            env[name] = json!(port.to_string());
        }
        let functions: serde_json::Map<String, Value> = cases
            .iter()
            .map(|case| {
                let handler = case.write(directory, kind);
                let function = json!({"code": directory, "handler": handler, "allow": {"net": ["*"]}});
                (case.name.clone(), function)
            })
            .collect();
        // JSON is YAML. Node.js 24 is the first whose require() loads ES modules on AWS, too.
        json!({
            "defaults": {"runtime": "nodejs24.x", "timeout": "30s", "memory": "256MB", "env": env},
            "functions": functions,
        })
        .to_string()
    }
}

/// Answers AWS's clients, and everybody else by the path.
async fn answer(State(http): State<Arc<Http>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if headers
        .get("authorization")
        .is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"))
    {
        return http.aws.answer(aws::Request {
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers,
            body,
        });
    }
    match uri.path() {
        "/echo" => {
            let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok());
            let body = String::from_utf8_lossy(&body);
            axum::Json(json!({"method": method.as_str(), "type": kind, "body": body})).into_response()
        }
        "/busy" => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        path => match path.strip_prefix("/segments/") {
            Some(request) => {
                let request = request.to_owned();
                let find = move || {
                    let segments = http.segments.lock().unwrap();
                    segments.iter().find(|segment| segment.contains(&request)).cloned()
                };
                let segment = tokio::task::spawn_blocking(|| wait_for("a segment", find))
                    .await
                    .unwrap();
                segment.into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

/// `docs/compatibility.md`.
fn page(cases: &[Case]) -> String {
    let manifest = std::fs::read_to_string(Path::new(SOURCES).join("package.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let mut page = HEAD.to_owned();
    for case in cases.iter().filter(|case| case.expected.is_ok()) {
        row(&mut page, case, &manifest, "runs");
    }
    page += FAILING;
    for case in cases.iter().filter(|case| case.expected.is_err()) {
        row(&mut page, case, &manifest, "does not run");
    }
    page
}

fn row(page: &mut String, case: &Case, manifest: &Value, result: &str) {
    let versions = case.packages.iter().map(|package| {
        let version = manifest["dependencies"][package].as_str();
        version.unwrap_or_else(|| panic!("{package} is not in package.json"))
    });
    let versions: Vec<&str> = versions.collect();
    writeln!(
        page,
        "| {} | {} | {result} | {result} | {} |",
        case.packages.join(", "),
        versions.join(", "),
        case.does
    )
    .unwrap();
}

const HEAD: &str = "\
# Packages

What runs of npm's packages that Lambda functions use most. This page is written by a test (`tests/npm.rs`), which installs the packages, runs
each in a function of its own on the real program, compares what the function returns with what it must, and fails when this page says
something else. The functions are in `tests/npm/functions`. `require` stands for a CommonJS function, `import` for an ES module; both run as
`nodejs24.x`.

| package | version | `require` | `import` | in the test it |
|---|---|---|---|---|
";

const FAILING: &str = "
Native addons do not run: code outside V8 would be outside the sandbox's reach. A package that brings one says so when it is loaded.

| package | version | `require` | `import` | in the test it |
|---|---|---|---|---|
";
