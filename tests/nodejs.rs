//! What Node.js gives to a program is there: its globals and its modules, with and without their prefix.

use serde_json::json;

use crate::support::{Project, call, serve};

#[test]
fn the_globals_of_nodejs_are_there() {
    let code = "export const handler = async (event) => await eval(`(async () => (${event.js}))()`);";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", code)])]);
    for (js, expected) in [
        ("typeof Deno", json!("undefined")),
        ("'Deno' in globalThis && globalThis.Deno !== undefined", json!(false)),
        (
            "typeof __bootstrap + typeof bootstrap + typeof hikigane",
            json!("undefinedundefinedundefined"),
        ),
        ("Buffer.from('äb').toString('base64')", json!("w6Ri")),
        (
            "process.version.split('.')[0] + process.versions.node.split('.')[0]",
            json!("v2222"),
        ),
        ("process.platform + process.arch", json!("linuxx64")),
        ("typeof process.pid", json!("number")),
        ("process.cwd() === process.env.LAMBDA_TASK_ROOT", json!(true)),
        (
            "await new Promise((done) => setTimeout(done, 1, 'timeout'))",
            json!("timeout"),
        ),
        (
            "await new Promise((done) => setImmediate(done, 'immediate'))",
            json!("immediate"),
        ),
        (
            "await new Promise((done) => process.nextTick(done, 'tick'))",
            json!("tick"),
        ),
        (
            "await new Promise((done) => queueMicrotask(() => done('micro')))",
            json!("micro"),
        ),
        (
            "await new Promise((done) => { let n = 0; const t = setInterval(() => { if (++n === 3) { clearInterval(t); done(n); } }, 1); })",
            json!(3),
        ),
        (
            "new URL('../b?x=1#h', 'https://a.example/c/d').href",
            json!("https://a.example/b?x=1#h"),
        ),
        (
            "new URLSearchParams({ a: '1 2', b: 'é' }).toString()",
            json!("a=1+2&b=%C3%A9"),
        ),
        ("[...new TextEncoder().encode('é')]", json!([195, 169])),
        ("new TextDecoder().decode(new Uint8Array([195, 169]))", json!("é")),
        ("structuredClone(new Map([[1, { a: [2] }]])).get(1)", json!({"a": [2]})),
        (
            "typeof fetch + typeof Request + typeof Response + typeof Headers + typeof FormData",
            json!("functionfunctionfunctionfunctionfunction"),
        ),
        ("await new Response('{\"a\":1}').json()", json!({"a": 1})),
        ("crypto.randomUUID().length", json!(36)),
        (
            "Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode('a'))).toString('hex').slice(0, 8)",
            json!("ca978112"),
        ),
        ("atob(btoa('x'))", json!("x")),
        (
            "[navigator.userAgent, navigator.platform, navigator.language, String(navigator), navigator.hardwareConcurrency > 0]",
            json!(["Node.js/22", "linux", "en-US", "[object Navigator]", true]),
        ),
        // What browsers have and Node.js has not.
        (
            "[typeof FileReader, typeof EventSource, typeof Worker, typeof window, typeof location]",
            json!(["undefined", "undefined", "undefined", "undefined", "undefined"]),
        ),
        ("new AbortController().signal.aborted", json!(false)),
        ("typeof performance.now()", json!("number")),
        ("typeof global + (global === globalThis)", json!("objecttrue")),
        (
            "await new Promise((done) => { const c = new MessageChannel(); c.port1.onmessage = (e) => { c.port1.close(); done(e.data); }; c.port2.postMessage('m'); })",
            json!("m"),
        ),
        ("new Intl.NumberFormat('de-DE').format(1234.5)", json!("1.234,5")),
        (
            "await new Response(new Blob(['ab']).stream().pipeThrough(new CompressionStream('gzip')).pipeThrough(new DecompressionStream('gzip'))).text()",
            json!("ab"),
        ),
        (
            "new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])) instanceof WebAssembly.Module",
            json!(true),
        ),
    ] {
        assert_eq!(call(&server, "f", &json!({ "js": js }).to_string()), expected, "{js}");
    }
}

/// Module, what is done with it (`m`), what comes of it.
const BUILTINS: &[(&str, &str, &str)] = &[
    (
        "fs",
        "m.readFileSync(root + '/data.txt', 'utf8') + m.existsSync(root + '/nothing')",
        "hellofalse",
    ),
    ("fs/promises", "await m.readFile(root + '/data.txt', 'utf8')", "hello"),
    (
        "path",
        "m.join('/a', '../b', 'c.txt') + m.extname('x.tar.gz')",
        "/b/c.txt.gz",
    ),
    (
        "crypto",
        "m.createHash('sha256').update('a').digest('hex').slice(0, 8) + m.createHmac('sha1', 'k').update('a').digest('base64').length",
        "ca97811228",
    ),
    (
        "zlib",
        "m.gunzipSync(m.gzipSync(Buffer.from('zipped'))).toString()",
        "zipped",
    ),
    (
        "util",
        "m.format('%s=%j', 'a', { b: 1 }) + (await m.promisify((done) => done(null, '!'))())",
        "a={\"b\":1}!",
    ),
    (
        "events",
        "(await new Promise((done) => { const e = new m.EventEmitter(); e.once('x', done); e.emit('x', 'emitted'); }))",
        "emitted",
    ),
    (
        "stream",
        "(await m.Readable.from(['a', 'b']).pipe(new m.PassThrough({ objectMode: true })).toArray()).join('-')",
        "a-b",
    ),
    (
        "stream/promises",
        "await (async () => { const out = new PassThrough(); await m.pipeline(Readable.from(['piped']), out); return out.read().toString(); })()",
        "piped",
    ),
    (
        "os",
        "m.EOL.length + m.platform() + m.type() + m.homedir() + m.userInfo().username + (m.availableParallelism() > 0)",
        "1linuxLinux/home/sbx_user1051sbx_user1051true",
    ),
    (
        "http",
        "await served(m.createServer((q, r) => r.end(q.method + q.url)), (port) => new Promise((y, n) => m.get({ port, path: '/p' }, (r) => r.on('data', (d) => y(String(d)))).on('error', n)))",
        "GET/p",
    ),
    (
        "https",
        "await new Promise((y) => m.get('https://127.0.0.1:1/').on('error', (error) => y(error.code))) + m.globalAgent.defaultPort",
        "ECONNREFUSED443",
    ),
    (
        "http2",
        "await served(m.createServer().on('stream', (s, h) => { s.respond({ ':status': 200 }); s.end('h2' + h[':path']); }), (port) => new Promise((y, n) => { const c = m.connect('http://127.0.0.1:' + port); c.on('error', n); c.request({ ':path': '/p' }).on('data', (d) => { y(String(d)); c.close(); }); }))",
        "h2/p",
    ),
    ("constants", "m.O_RDONLY + m.SIGTERM + ''", "15"),
    ("v8", "m.deserialize(m.serialize(new Map([['k', 'v']]))).get('k')", "v"),
    (
        "timers",
        "await new Promise((done) => m.setTimeout(done, 1, 'timed'))",
        "timed",
    ),
    ("url", "m.fileURLToPath('file:///a%20b')", "/a b"),
    ("querystring", "m.stringify({ a: ['1', '2'] })", "a=1&a=2"),
    (
        "assert",
        "(() => { try { m.strictEqual(1, 2); } catch (error) { return error.code; } })()",
        "ERR_ASSERTION",
    ),
    ("buffer", "m.Buffer.alloc(2, 'ab').toString()", "ab"),
    (
        "string_decoder",
        "new m.StringDecoder('utf8').write(Buffer.from('é'))",
        "é",
    ),
    ("timers/promises", "await m.setTimeout(1, 'slept')", "slept"),
    (
        "async_hooks",
        "await new m.AsyncLocalStorage().run('stored', async function () { return 'ran'; })",
        "ran",
    ),
    (
        "perf_hooks",
        "(m.performance.mark('a'), m.performance.measure('from a', 'a').name)",
        "from a",
    ),
    (
        "readline",
        "await (async () => { const lines = []; for await (const line of m.createInterface({ input: Readable.from(['a\\nb\\n']) })) { lines.push(line); } return lines.join(); })()",
        "a,b",
    ),
    ("process", "m.platform", "linux"),
    (
        "console",
        "(() => { const out = new PassThrough(); new m.Console(out).log('%d', 4); return out.read().toString(); })()",
        "4\n",
    ),
    ("module", "String(m.isBuiltin('node:fs'))", "true"),
    ("vm", "m.runInThisContext('40 + 2') + ''", "42"),
    (
        "dns",
        "(await m.promises.lookup('localhost', { family: 4 })).address",
        "127.0.0.1",
    ),
    (
        "net",
        "await served(m.createServer((c) => c.end('spoken')), (port) => new Promise((y, n) => m.connect(port, '127.0.0.1').on('data', (d) => y(String(d))).on('error', n)))",
        "spoken",
    ),
    (
        "tls",
        "await served(m.createServer({ key: KEY, cert: CERT }, (c) => c.end('whispered')), (port) => new Promise((y, n) => m.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }).on('data', (d) => y(String(d))).on('error', n)))",
        "whispered",
    ),
    ("punycode", "m.toASCII('mañana.com')", "xn--maana-pta.com"),
    ("diagnostics_channel", "m.channel('c').name", "c"),
];

/// A key and its self-signed certificate, of nobody.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgeBaD8RnGc+0bQ62G\n\
    nK7bI2ph1T410QB/C79XHkkbxiWhRANCAATBGZWboiwRXm8X9nCCDBw3HtEZZHcG\n\
    3/E8Wef9SQ+3K/YFKwdj3MsA9/e34QgYcycdd+9mDBB2hNlAiPWLWZmy\n\
    -----END PRIVATE KEY-----\n\n";
const CERT: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBfzCCASWgAwIBAgIUEWxmjbsdHyLGuOkw76CoHocnuoIwCgYIKoZIzj0EAwIw\n\
    FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNTE5MDY0MVoYDzIxMjYxMTAx\n\
    MTkwNjQxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n\
    PQMBBwNCAATBGZWboiwRXm8X9nCCDBw3HtEZZHcG3/E8Wef9SQ+3K/YFKwdj3MsA\n\
    9/e34QgYcycdd+9mDBB2hNlAiPWLWZmyo1MwUTAdBgNVHQ4EFgQUg84qEqwZqt9t\n\
    mOUavCH+gsgsBKMwHwYDVR0jBBgwFoAUg84qEqwZqt9tmOUavCH+gsgsBKMwDwYD\n\
    VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA+5Fc6M19SjILmtVA3yd1\n\
    1Af4OqPMzc6VDkOAL1c/j/sCICZV4esJ38Xxlz6rIj+GuHG/X12VkrNEs4h/2z8a\n\
    6mYH\n\
    -----END CERTIFICATE-----\n\n";

#[test]
fn the_modules_of_nodejs_work_with_and_without_their_prefix() {
    let helpers = "const KEY = readFileSync(root + '/key.pem'); const CERT = readFileSync(root + '/cert.pem');\n\
        const served = async (server, use) => { await new Promise((done) => server.listen(0, '127.0.0.1', done)); try { return await use(server.address().port); } finally { server.close(); } };\n";
    let mut required = format!(
        "const root = __dirname; const results = {{}};\nconst {{ PassThrough, Readable }} = require('stream'); const {{ readFileSync }} = require('fs');\n{helpers}exports.handler = async () => {{\n"
    );
    let mut imported = String::new();
    let mut uses = String::new();
    for (index, (name, js, _)) in BUILTINS.iter().enumerate() {
        for prefix in ["", "node:"] {
            required += &format!(
                "  try {{ const m = require('{prefix}{name}'); results['{prefix}{name}'] = {js}; }} catch (error) {{ results['{prefix}{name}'] = String(error.stack); }}\n"
            );
        }
        imported += &format!("import m{index} from '{name}'; import * as n{index} from 'node:{name}';\n");
        for (prefix, variable) in [("", 'm'), ("node:", 'n')] {
            uses += &format!(
                "  try {{ const m = {variable}{index}; results['{prefix}{name}'] = {js}; }} catch (error) {{ results['{prefix}{name}'] = String(error.stack); }}\n"
            );
        }
    }
    required += "  return results;\n};\n";
    let imported = format!(
        "{imported}import {{ PassThrough, Readable }} from 'node:stream'; import {{ readFileSync }} from 'node:fs';\nconst root = import.meta.dirname; const results = {{}};\n{helpers}export const handler = async () => {{\n{uses}  return results;\n}};\n"
    );
    let (key, cert) = (("key.pem", KEY), ("cert.pem", CERT));
    let (_project, server) = serve(&[
        (
            "required",
            "handler: index.handler, timeout: 60s, allow: { net: [\"*\"] }",
            &[("index.js", &required), ("data.txt", "hello"), key, cert],
        ),
        (
            "imported",
            "handler: index.handler, timeout: 60s, allow: { net: [\"*\"] }",
            &[("index.mjs", &imported), ("data.txt", "hello"), key, cert],
        ),
    ]);
    for function in ["required", "imported"] {
        let results = call(&server, function, "{}");
        let wrong: Vec<_> = BUILTINS
            .iter()
            .flat_map(|(name, _, expected)| [(name.to_string(), expected), (format!("node:{name}"), expected)])
            .filter(|(name, expected)| results[name] != **expected)
            .map(|(name, expected)| format!("{name}: {} instead of {expected}", results[&name]))
            .collect();
        assert_eq!(wrong, Vec::<String>::new(), "{function}");
    }
}

#[test]
fn http_works_in_a_function_that_may_use_the_network() {
    let code = r#"
        import http from 'node:http';
        import net from 'node:net';
        import { once } from 'node:events';
        export const handler = async () => {
          const server = http.createServer((request, response) => response.end(`${request.method} ${request.url}`));
          server.listen(0, '127.0.0.1');
          await once(server, 'listening');
          const { port } = server.address();
          const [response] = await once(http.get({ host: '127.0.0.1', port, path: '/by-http' }), 'response');
          let byHttp = '';
          for await (const chunk of response) { byHttp += chunk; }
          const byFetch = await (await fetch(`http://127.0.0.1:${port}/by-fetch`)).text();
          const socket = net.connect(port, '127.0.0.1');
          socket.end('GET /by-net HTTP/1.0\r\n\r\n');
          let byNet = '';
          for await (const chunk of socket) { byNet += chunk; }
          server.close();
          return { byHttp, byFetch, byNet: byNet.split('\r\n\r\n')[1] };
        };
    "#;
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, timeout: 10s, allow: { net: [\"127.0.0.1\"] }",
        &[("index.mjs", code)],
    )]);
    let expected = json!({"byHttp": "GET /by-http", "byFetch": "GET /by-fetch", "byNet": "GET /by-net"});
    assert_eq!(call(&server, "f", "{}"), expected);
}

#[test]
fn files_may_be_written_where_allowed_and_in_a_tmp_of_the_environments_own() {
    let code = r#"
        const fs = require('node:fs'); const os = require('node:os'); const path = require('node:path');
        exports.handler = async ({ file, text }) => {
          const target = file ?? path.join(os.tmpdir(), 'scratch.txt');
          if (text) { fs.writeFileSync(target, text); }
          return fs.existsSync(target) ? fs.readFileSync(target, 'utf8') : null;
        };
    "#;
    let project = Project::new(
        "functions:\n  one: { code: ./f.js, allow: { write: [./out] } }\n  two: { code: ./f.js }\n",
        &[("f.js", code), ("out/old.txt", "old")],
    );
    let server = project.up();
    let file = project.join("out/new.txt");
    assert_eq!(
        call(&server, "one", &json!({"file": file, "text": "new"}).to_string()),
        "new"
    );
    assert_eq!(std::fs::read_to_string(file).unwrap(), "new");
    for function in ["one", "two"] {
        assert_eq!(call(&server, function, r#"{"text":"mine"}"#), "mine", "{function}");
        assert_eq!(call(&server, function, "{}"), "mine", "{function}");
    }
    let answer = call(&server, "one", r#"{"text":"changed"}"#);
    assert_eq!(
        (answer, call(&server, "two", "{}")),
        (json!("changed"), json!("mine")),
        "two functions share no /tmp"
    );
}

/// A timer that is due before the handler first waits is the case that is easily wrong: a busy machine makes it of any timer. The order is
/// that of AWS's client on Node.js 20, 22 and 24, which calls handlers in the phase before that of immediates.
#[test]
fn ticks_and_immediates_come_before_timers_however_late_it_is() {
    let code = r"
        exports.handler = async () => {
            const order = [];
            setTimeout(() => order.push('timer'), 0);
            setImmediate(() => order.push('immediate'));
            process.nextTick(() => {
                order.push('tick');
                Promise.resolve().then(() => order.push('microtask of a tick'));
            });
            Promise.resolve().then(() => {
                order.push('microtask');
                process.nextTick(() => order.push('tick of a microtask'));
            });
            for (const end = performance.now() + 5; performance.now() < end;);
            order.push('handler');
            await new Promise((done) => setTimeout(done, 20));
            return order;
        };
    ";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.js", code)])]);
    let order = call(&server, "f", "{}");
    assert_eq!(
        order,
        json!([
            "handler",
            "microtask",
            "tick",
            "tick of a microtask",
            "microtask of a tick",
            "immediate",
            "timer"
        ])
    );
}
