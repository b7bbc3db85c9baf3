//! What is said about each mistake, and where.

use crate::demo::{check, check_function};

#[test]
fn yaml_syntax() {
    check(
        "functions:\n\tf: 1\n",
        r#"2:2 error [f] this is not YAML: tabs disallowed within this context (block indentation) -> indent with spaces: YAML does not allow tabs there"#,
    );
    check(
        "functions:\n  f: * * * * *\n",
        r#"2:6 error [*] this is not YAML: while scanning an anchor or alias, did not find expected alphabetic or numeric character -> text that begins with `*` or `&` needs quotes: "* * * * *""#,
    );
    check(
        "functions: [\n",
        r#"1:12 error [[] this is not YAML: `[` is not closed -> add its partner, `]`"#,
    );
    check(
        "functions: {f: {code: f.js]}\n",
        r#"1:16 error [{] this is not YAML: mismatched bracket '{' closed by ']'"#,
    );
    check(
        "service: 'x\nfunctions: {}\n",
        r#"1:10 error ['] this is not YAML: `'` is not closed -> add its partner, `'`; if line 2 belongs inside, indent it further"#,
    );
    check(
        "functions:\n  f:\n    code: \"a b # isn't\n    timeout: 3\n",
        r#"3:11 error ["] this is not YAML: `"` is not closed -> add its partner, `"`; if line 4 belongs inside, indent it further"#,
    );
    check(
        "# it's \"here\"\nfunctions: # don't\n  'f:\n    code: f.js\n",
        r#"3:3 error ['] this is not YAML: `'` is not closed -> add its partner, `'`"#,
    );
    check(
        "functions:\n  f:\n    layers: [a, b\n    code: f.js\n",
        r#"3:13 error [[] this is not YAML: `[` is not closed -> add its partner, `]`; if line 4 belongs inside, indent it further"#,
    );
    check(
        "functions:\n  f: { code: f.js\n  g: { code: g.js }\n",
        r#"2:6 error [{] this is not YAML: `{` is not closed -> add its partner, `}`; if line 3 belongs inside, indent it further"#,
    );
    check(
        "functions:\n  f:\n    code: f.js # the code\n      timeout: 3\n",
        r#"3:16 error [#] this is not YAML: comment intercepting the multiline text -> check the indentation of the line below: it is taken for more of this text"#,
    );
    check(
        "service: a: b\n",
        r#"1:11 error [:] this is not YAML: mapping values are not allowed in this context -> check the indentation of this line and of the one above; text with `: ` in it needs quotes"#,
    );
    check(
        "service: @x\n",
        r#"1:10 error [@] this is not YAML: unexpected character: `@' -> text that begins with this character needs quotes"#,
    );
    check(
        "functions:\n  f:\n    code: f.js\n   timeout: 3\n",
        r#"4:4 error [t] this is not YAML: while parsing a block mapping, did not find expected key -> write `key: value`, at the same indentation as the other keys"#,
    );
    check(
        "functions: {f: {code: ${env:HOST}}}\n",
        r#"1:24 error [{] this is not YAML: while parsing a flow mapping, did not find expected ',' or '}' -> put values with `${...}` between quotes"#,
    );
    check(
        "%YAML 1.2\n---\nfunctions: {}\n",
        r#"1:1 error [%] this is not YAML: YAML directives are disallowed -> delete the line: directives are not supported"#,
    );
    check(
        "é: \"ü\" x\n",
        r#"1:8 error [x] this is not YAML: invalid trailing content after double-quoted scalar -> check the quotes: each needs its partner"#,
    );
}

#[test]
fn the_document() {
    check("", r#"1:1 error [] the manifest is empty -> begin with `functions:`"#);
    check(
        "# nothing yet\n",
        r#"1:1 error [] the manifest is empty -> begin with `functions:`"#,
    );
    check(
        "---\n",
        r#"1:4 error [] the manifest has no `functions` -> add `functions:`, with a name and its `code`; or `functions: {}` when all are deployed through the API"#,
    );
    check(
        "- a\n",
        r#"1:1 error [- a] expected a mapping, found a list -> write `key: value` lines"#,
    );
    check(
        "text",
        r#"1:1 error [text] expected a mapping, found the text `text` -> write `key: value` lines"#,
    );
    check(
        "service: x\n",
        r#"1:1 error [service: x] the manifest has no `functions` -> add `functions:`, with a name and its `code`; or `functions: {}` when all are deployed through the API"#,
    );
    check(
        "functions: {}\n---\nfunctions: {}\n",
        r#"2:1 error [---] a second document begins here; a manifest is one document -> delete the `---` line, or move what follows to another file"#,
    );
    check(
        "functions: 5\nservice: [x]\ndefaults: x\nsources: 1\n",
        r#"
            1:12 error [5] expected a mapping, found the number `5` -> write `key: value` lines
            2:10 error [[x]] expected text, found a list -> write one value
            3:11 error [x] expected a mapping, found the text `x` -> write `key: value` lines
            4:10 error [1] expected a mapping, found the number `1` -> write `key: value` lines
        "#,
    );
    check(
        "functions: {}\nlayers: {}\nprovider: {}\nservise: x\nbanana: 1\n",
        r#"
            2:1 error [layers] `layers` is not supported yet -> delete it
            3:1 error [provider] unknown key `provider` -> did you mean `defaults`?
            4:1 error [servise] unknown key `servise` -> did you mean `service`?
            5:1 error [banana] unknown key `banana` -> the keys here are: `service`, `defaults`, `functions`, `sources`, `accessKeys`, `sandbox`, `s3Endpoint`, `accountConcurrency`
        "#,
    );
}

#[test]
fn addresses_of_s3_services() {
    for url in [
        "127.0.0.1:9100",
        "https://s3.example.com",
        "http://",
        "http://a/b",
        "http://user@host",
        "http://a?b",
        "http://a b",
    ] {
        check(
            &format!("functions: {{}}\ns3Endpoint: '{url}'\n"),
            &format!(
                "2:13 error ['{url}'] `{url}` is not the address of an S3 service -> write `http://`, a host and a port, as `http://127.0.0.1:9100`"
            ),
        );
    }
}

#[test]
fn ambiguous_spellings() {
    check_function(
        "env:\n  A1: yes\n  A2: No\n  A3: 010\n  A4: .inf\n  A5: !Ref x\n  A6: \"yes\"\n  A7: !!str no\n  A8: 99999999999999999999\n",
        r#"
            5:11 error [yes] `yes` is a boolean to some readers of YAML and text to others -> write true, or "yes" for the text
            6:11 error [No] `No` is a boolean to some readers of YAML and text to others -> write false, or "No" for the text
            7:11 error [010] `010` looks like an octal number -> write the number without leading zeros, or "010" for the text
            8:11 error [.inf] `.inf` is not a number that JSON can hold -> write ".inf" for the text
            9:11 error [!Ref] the tag `!Ref` has no meaning in a manifest -> delete the tag, or quote the value if it is text
            12:11 error [99999999999999999999] `99999999999999999999` is not a number that JSON can hold -> write "99999999999999999999" for the text
        "#,
    );
    check_function(
        "events:\n  - demo: s\n    enabled: on\n  - other: {slot: off}\n",
        r#"
            6:18 error [on] `on` is a boolean to some readers of YAML and text to others -> write true, or "on" for the text
            7:23 error [off] `off` is a boolean to some readers of YAML and text to others -> write false, or "off" for the text
        "#,
    );
    check_function(
        "events:\n  - demo: s\n    enabled: 'true'\n",
        r#"6:18 error ['true'] expected true or false, found the text `true` -> write `true` or `false`, without quotes"#,
    );
}

#[test]
fn keys() {
    check(
        "functions:\n  f: {code: f.js}\n  f: {code: dir}\n",
        r#"3:3 error [f] the key `f` is given twice -> it is also on line 2: delete one of them"#,
    );
    check(
        "functions: {f: {code: f.js, code: f.js}}\nfunctions: {}\n",
        r#"
            1:29 error [code] the key `code` is given twice -> it is also on line 1: delete one of them
            2:1 error [functions] the key `functions` is given twice -> it is also on line 1: delete one of them
        "#,
    );
    check(
        "functions: {f: {code: f.js}}\n? [a]\n: b\n: c\n",
        r#"
            2:3 error [[a]] a key must be text, but this is a list
            4:1 error [] a key is missing before the `:`
        "#,
    );
    check_function(
        "timout: 3\nTimeout: 3\nmemorySize: 128\nmaximumRetryAttempts: 1\n",
        r#"
            4:5 error [timout] unknown key `timout` -> did you mean `timeout`?
            5:5 error [Timeout] unknown key `Timeout` -> did you mean `timeout`?
            6:5 error [memorySize] unknown key `memorySize` -> did you mean `memory`?
            7:5 error [maximumRetryAttempts] unknown key `maximumRetryAttempts` -> did you mean `async: { retries: ... }`?
        "#,
    );
    check_function(
        "async: {deadLetter: x}\n",
        r#"
            4:13 error [deadLetter] `deadLetter` is not supported yet -> delete it
        "#,
    );
    check_function(
        "async: {onFailure: x, onSuccess: 'function:a b'}\n",
        r#"
            4:24 error [x] `x` is not a destination -> write `function:` and the name of a function, as `function:report`
            4:38 error ['function:a b'] `function:a b` is not a destination -> write `function:` and the name of a function, as `function:report`
        "#,
    );
    check_function(
        "url: {auth: none, cors: {allowOrigins: [5, 'https://a.example*'], allowMethods: [get], maxAge: 2 days}}\n",
        r#"
            4:45 error [5] expected text, found the number `5` -> put the value in quotes
            4:48 error ['https://a.example*'] "https://a.example*" has a "*" in it -> write whole origins, or "http://*", "https://*" or "*" for all
            4:86 error [get] "get" is not a method -> did you mean "GET"?
            4:100 error [2 days] `2 days` is not a duration -> did you mean `48h`?
        "#,
    );
    check_function(
        "url: {auth: none, cors: {allowOrigins: ['*'], allowCredentials: true}}\n",
        r#"
            4:69 error [true] credentials would be sent along from every site -> name the origins, as in "allowOrigins: [http://localhost:5173]"
        "#,
    );
    check_function(
        "url: {cors: maybe, invokeMode: RESPONSE_STREAM}\n",
        r#"
            4:10 error [{cors: maybe, invokeMode: RESPONSE_STREAM}] the URL does not say who may call it -> add `auth: none` for everybody, or `auth: iam`
            4:17 error [maybe] expected true or false, found the text `maybe` -> write `true` or `false`, without quotes
            4:36 error [RESPONSE_STREAM] expected one of `buffered`, `response_stream`, found `RESPONSE_STREAM` -> did you mean `response_stream`?
        "#,
    );
}

#[test]
fn anchors_and_aliases() {
    check(
        "functions:\n  f: &f {code: f.js, timout: 3}\n  g: *f\n  h: *nobody\n",
        r#"
            2:22 error [timout] unknown key `timout` -> did you mean `timeout`?
            4:6 error [*nobody] no anchor `&nobody` before this alias -> anchors are defined with `&name` in front of a value, above their first use; text that begins with `*` needs quotes
        "#,
    );
    check(
        "functions: {f: &a {code: f.js, env: *a}}\n",
        r#"1:37 error [*a] the alias stands inside the value that it names"#,
    );
    check(
        "functions:\n  f: {<<: 5, code: f.js}\n  g: {<<: [*x], code: f.js}\n",
        r#"
            2:11 error [5] `<<` merges a mapping or a list of mappings, but this is the number `5` -> write `<<: *name`, where `&name` stands in front of a mapping
            3:12 error [*x] no anchor `&x` before this alias -> anchors are defined with `&name` in front of a value, above their first use; text that begins with `*` needs quotes
        "#,
    );
}

#[test]
fn variables() {
    check_function(
        "env:\n  AA: \"${env:NOPE} and ${env:ALSO_NOPE}\"\n  BB: ${secret:token}\n  CC: ${self:custom.x}\n  DD: ${HOST}\n  EE: ${env:HOST\n  FF: |\n    ${env:NOPE}\n",
        r#"
            5:12 error [${env:NOPE}] the environment variable `NOPE` is not set -> set it, or give a default: `${env:NOPE, 'default'}`
            5:28 error [${env:ALSO_NOPE}] the environment variable `ALSO_NOPE` is not set -> set it, or give a default: `${env:ALSO_NOPE, 'default'}`
            6:11 error [${secret:token}] `${secret:...}` is not supported yet -> use `${env:NAME}`
            7:11 error [${self:custom.x}] `${self:custom.x}` is not a variable -> write `${env:NAME}`, `${env:NAME, 'default'}` or `${dir}`, or `$${` for a plain `${`
            8:11 error [${HOST}] `${HOST}` is not a variable -> write `${env:HOST}`, or `$${HOST}` for the text itself
            9:11 error [${env:HOST] `${` is not closed -> add the `}`, or write `$${` for a plain `${`
            11:9 error [${env:NOPE}] the environment variable `NOPE` is not set -> set it, or give a default: `${env:NOPE, 'default'}`
        "#,
    );
    check_function(
        "timeout: ${env:HOST}\nmemory: \"${env:NOPE, '5'}\"\nevents:\n  - demo: {slot: \"${env:NOPE}\"}\n",
        r#"
            4:14 error [${env:HOST}] `example.com` is not a duration -> write seconds (`30`), or numbers with units: `500ms`, `30s`, `5m`, `6h`
            5:13 error ["${env:NOPE, '5'}"] `5` is out of range -> AWS Lambda allows 128 to 10240 MB
            7:23 error [${env:NOPE}] the environment variable `NOPE` is not set -> set it, or give a default: `${env:NOPE, 'default'}`
        "#,
    );
}

#[test]
fn functions() {
    check(
        "functions:\n  f:\n  a b: {code: f.js}\n  g: {timeout: 5}\n  h: [x]\n",
        r#"
            2:3 error [f] function `f` has no `code` -> add `code:` with a directory, a .zip, or a .js, .mjs, .cjs or .ts file
            3:3 error [a b] `a b` is not a function name -> use 1 to 64 letters, digits, `-` and `_`
            4:3 error [g] function `g` has no `code` -> add `code:` with a directory, a .zip, or a .js, .mjs, .cjs or .ts file
            5:6 error [[x]] expected a mapping, found a list -> write `key: value` lines
        "#,
    );
    check_function(
        "timeout: 20m\nmemory: 1TB\nephemeralStorage: 100\nreservedConcurrency: 950\nlogFormat: JSON\n",
        r#"
            4:14 error [20m] `20m` is out of range -> AWS Lambda allows 1s to 15m
            5:13 error [1TB] `1TB` is not a size -> write megabytes (`256`), `256MB` or `1GB`
            6:23 error [100] `100` is out of range -> AWS Lambda allows 512 to 10240 MB
            7:26 error [950] all functions together reserve 950, but at most 900 can be reserved -> of 1000 concurrent executions 100 must stay for functions without a reservation; `accountConcurrency` raises the whole
            8:16 error [JSON] expected one of `text`, `json`, found `JSON` -> did you mean `json`?
        "#,
    );
    check_function(
        "timeout: 1500ms\nmemory: [128]\nephemeralStorage: -5\nreservedConcurrency: '5'\nlogFormat: xml\n",
        r#"
            4:14 error [1500ms] `1500ms` is not a whole number of seconds -> write seconds (`30`), or numbers with units: `30s`, `5m`, `1h`
            5:13 error [[128]] expected a size, found a list -> write megabytes (`256`), `256MB` or `1GB`
            6:23 error [-5] `-5` is not a size -> write megabytes (`256`), `256MB` or `1GB`
            7:26 error ['5'] expected a whole number from 0 to 99900, found the text `5` -> write digits only, without quotes
            8:16 error [xml] expected one of `text`, `json`, found `xml` -> write one of: `text`, `json`
        "#,
    );
    check_function(
        "logLevel: debug\nlogFormat: text\n",
        r#"
            4:15 error [debug] text lines have no least level -> add `logFormat: json`: AWS Lambda leaves lines out by their level in that format only
        "#,
    );
    check_function(
        "timeout: 1.5\nmemory: true\nreservedConcurrency: 1.5\nlogFormat: 5\ndescription: 5\nhandler:\n",
        r#"
            4:14 error [1.5] `1.5` is not a whole number of seconds -> write seconds (`30`), or numbers with units: `30s`, `5m`, `1h`
            5:13 error [true] expected a size, found `true` -> write megabytes (`256`), `256MB` or `1GB`
            6:26 error [1.5] expected a whole number from 0 to 99900, found the number `1.5` -> write digits only, without quotes
            7:16 error [5] expected one of `text`, `json`, found the number `5` -> write one of these words
            8:18 error [5] expected text, found the number `5` -> put the value in quotes
            9:5 error [handler] expected text, found nothing -> give it a value, or delete the key
        "#,
    );
    check_function(
        "async: {retries: 3, maxAge: 30}\ndescription: ok\n",
        r#"
            4:22 error [3] `3` is out of range -> AWS Lambda allows 0 to 2
            4:33 error [30] `30` is out of range -> AWS Lambda allows 1m to 6h
        "#,
    );
    check_function(
        &format!("description: {}\n", "x".repeat(257)),
        r#"4:18 error [xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx] a description has at most 256 characters"#,
    );
}

#[test]
fn reservations() {
    check(
        "functions:\n  f: {code: f.js, reservedConcurrency: 500}\n  g: {code: f.js, reservedConcurrency: 401}\n  h: {code: f.js, reservedConcurrency: 1}\n",
        r#"3:40 error [401] all functions together reserve 902, but at most 900 can be reserved -> of 1000 concurrent executions 100 must stay for functions without a reservation; `accountConcurrency` raises the whole"#,
    );
    check(
        "functions:\n  f: {code: f.js, reservedConcurrency: 500, provisionedConcurrency: 501}\n  g: {code: f.js, provisionedConcurrency: 401}\n",
        r#"
            2:69 error [501] 501 environments are provisioned of 500 reserved -> raise `reservedConcurrency`, which holds them, or delete it
            3:43 error [401] all functions together reserve 901, but at most 900 can be reserved -> of 1000 concurrent executions 100 must stay for functions without a reservation; `accountConcurrency` raises the whole
        "#,
    );
    check(
        "accountConcurrency: 99\nfunctions:\n  f: {code: f.js, reservedConcurrency: 1}\n",
        r#"3:40 error [1] all functions together reserve 1, but at most 0 can be reserved -> of 99 concurrent executions 100 must stay for functions without a reservation; `accountConcurrency` raises the whole"#,
    );
    check(
        "accountConcurrency: 0\nfunctions:\n  f: {code: f.js, provisionedConcurrency: 0}\n",
        r#"
            1:21 error [0] `0` is out of range -> AWS Lambda allows 1 to 100000
            3:43 error [0] `0` is out of range -> AWS Lambda allows 1 to 99900
        "#,
    );
}

#[test]
fn runtimes() {
    check(
        "defaults: {runtime: node20}\nfunctions: {f: {code: f.js, runtime: python3.12}, g: {code: f.js, runtime: nodejs26.x}}\n",
        r#"
            1:21 error [node20] the runtime `node20` is not supported -> did you mean `nodejs20.x`?
            2:38 error [python3.12] the runtime `python3.12` is not supported -> only Node.js functions run here: write `nodejs22.x`
            2:76 warning [nodejs26.x] `nodejs26.x` is newer than the runtimes known here -> it runs as `nodejs24.x` does
        "#,
    );
}

#[test]
fn code_and_handler() {
    check(
        "functions:\n  f: {code: nope}\n  g: {code: pack.zip}\n  h: {code: f.py}\n  i: {code: ''}\n  j: {code: ./nope.mjs}\n",
        r#"
            2:13 warning [nope] there is no `nope` -> the path starts at the manifest's directory; it was looked for at `BASE/nope`
            4:13 error [f.py] `f.py` is not a directory or a JavaScript file -> give a directory, a .zip, or a .js, .mjs, .cjs or .ts file
            5:13 error [''] `code` is empty -> give a directory, a .zip, or a .js, .mjs, .cjs or .ts file
            6:13 warning [./nope.mjs] there is no `./nope.mjs` -> the path starts at the manifest's directory; it was looked for at `BASE/nope.mjs`
        "#,
    );
    check(
        "functions:\n  f: {code: dir, handler: app.handler}\n  g: {code: dir, handler: lib/app.run}\n  h: {code: f.js, handler: index.run}\n  i: {code: dir, handler: lib/nope.run}\n",
        r#"
            2:27 warning [app.handler] there is no `app.js`, .mjs, .cjs or .ts for the handler `app.handler` -> it was looked for in `BASE/dir`
            4:28 warning [index.run] the handler `index.run` is not in `f.js` -> write `f.run`
            5:27 warning [lib/nope.run] there is no `nope.js`, .mjs, .cjs or .ts for the handler `lib/nope.run` -> it was looked for in `BASE/dir/lib`
        "#,
    );
    check(
        "functions:\n  f: {code: dir, handler: index}\n  g: {code: dir, handler: ../x.y}\n  h: {code: dir, handler: .x}\n",
        r#"
            2:27 error [index] `index` is not a handler -> write `file.export`, as in `index.handler`
            3:27 error [../x.y] `../x.y` is not a handler -> the file must be inside the code: write no `..`
            4:27 error [.x] `.x` is not a handler -> write `file.export`, as in `index.handler`
        "#,
    );
}

#[test]
fn environment() {
    check(
        "defaults: {env: {AWS_REGION: x}}\nfunctions: {f: {code: f.js, env: {_HANDLER: x, A: x, B-B: x, CC: [], DD: , EE: {}}}, g: {code: f.js}}\n",
        r#"
            1:18 error [AWS_REGION] the environment variable `AWS_REGION` is reserved -> AWS Lambda sets it itself: use another name
            2:35 error [_HANDLER] the environment variable `_HANDLER` is reserved -> AWS Lambda sets it itself: use another name
            2:48 error [A] `A` is not a name for an environment variable -> use two or more letters, digits and `_`, a letter first
            2:54 error [B-B] `B-B` is not a name for an environment variable -> use two or more letters, digits and `_`, a letter first
            2:66 error [[]] expected text, found a list -> an environment variable is one text
            2:70 error [DD] the variable has no value -> write "" for an empty one
            2:80 error [{}] expected text, found a mapping -> an environment variable is one text
        "#,
    );
    let large = "x".repeat(2500);
    check(
        &format!(
            "defaults:\n  env:\n    AA: {large}\nfunctions:\n  f: {{code: f.js}}\n  g:\n    code: f.js\n    env:\n      BB: {large}\n"
        ),
        "8:5 error [env] the environment variables with those of `defaults` have 5017 bytes as JSON -> AWS Lambda allows 4096: put large values in a file beside the code",
    );
}

#[test]
fn allow() {
    check(
        "defaults: {allow: {net: [\"a b\"]}}\nfunctions:\n  f:\n    code: f.js\n    allow:\n      raed: [.]\n      read: x\n      write: [5, '']\n      net: ['https://x.y/z', '*.x.y', '::1', '*']\n",
        r#"
            1:26 error ["a b"] `a b` is not a host -> write `host`, `host:port`, a block of addresses as `10.0.0.0/8`, or `"*"` for the whole network
            6:7 error [raed] unknown key `raed` -> did you mean `read`?
            7:13 error [x] expected a list, found the text `x` -> begin each item with `- `, or write `[a, b]`
            8:15 error [5] expected text, found the number `5` -> put the value in quotes
            8:18 error [''] the path is empty -> write `.` for the manifest's directory
            9:13 error ['https://x.y/z'] `https://x.y/z` is not a host -> write the host without scheme and path: `x.y`
            9:30 error ['*.x.y'] `*.x.y` is not a host -> name each host, or write `"*"` for the whole network
            9:39 error ['::1'] `::1` is not a host -> write an IPv6 address in brackets: `[::1]`
        "#,
    );
}

#[test]
fn timezones() {
    check(
        "defaults: {timezone: europe/pariss}\nfunctions: {}\n",
        r#"1:22 error [europe/pariss] `europe/pariss` is not a time zone -> did you mean `Europe/Paris`?"#,
    );
    check(
        "defaults: {timezone: Middle Earth}\nfunctions: {}\n",
        r#"1:22 error [Middle Earth] `Middle Earth` is not a time zone -> write an IANA name, as `Europe/Paris` or `UTC`"#,
    );
}

#[test]
fn events() {
    check_function(
        "events: {demo: x}\n",
        r#"4:13 error [{demo: x}] expected a list, found a mapping -> begin each item with `- `, or write `[a, b]`"#,
    );
    check_function(
        "events:\n  - demo\n  - dmeo: x\n  - name: x\n  - other: a\n    demo: b\n  - banana: x\n",
        r#"
            5:9 error [demo] an event is a mapping with its trigger's kind as a key, but this is the text `demo` -> the kinds are `demo`, `other`
            6:9 error [dmeo] unknown trigger `dmeo` -> did you mean `demo`?
            7:9 error [name: x] the event has no trigger -> add one of `demo`, `other`
            9:9 error [demo] this event has two triggers: `other` and `demo` -> write two events, each beginning with `- `
            10:9 error [banana] unknown trigger `banana` -> the kinds are `demo`, `other`
        "#,
    );
    check_function(
        "events:\n  - demo: x\n    filter: ${env:NOPE}\n",
        r#"6:17 error [${env:NOPE}] the environment variable `NOPE` is not set -> set it, or give a default: `${env:NOPE, 'default'}`"#,
    );
    check_function(
        "events:\n  - demo:\n    slot: x\n",
        r#"
            5:9 error [demo] write a slot
            6:9 error [slot] unknown key `slot` -> if it belongs to `demo`, indent it further than `demo`
        "#,
    );
    check_function(
        "events:\n  - demo: x\n    nmae: x\n    invoke: asinc\n    filter: {detail: 5}\n    enabled: 1\n",
        r#"
            6:9 error [nmae] unknown key `nmae` -> did you mean `name`?
            7:17 error [asinc] expected one of `sync`, `async`, found `asinc` -> did you mean `async`?
            8:26 error [5] the filter is not an event pattern: "detail" must be an object or an array -> a pattern has the shape of the events it wants, with a list of alternatives in the place of each value
            9:18 error [1] expected true or false, found the number `1` -> write `true` or `false`, without quotes
        "#,
    );
    check_function(
        "events:\n  - demo: x\n    filter:\n      detail:\n        kind: [{prefixx: a}]\n",
        r#"8:21 error [prefixx] the filter is not an event pattern: Unrecognized match type prefixx -> did you mean `prefix`?"#,
    );
    check_function(
        "events:\n  - demo: x\n    filter: { $or: [{ a: [1] }, { b: [x, { is: 1 }] }] }\n",
        r#"6:48 error [is] the filter is not an event pattern: Unrecognized match type is -> the operators are: `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`, `exists`, `cidr`, `exactly`"#,
    );
}

#[test]
fn event_names() {
    check_function(
        "events:\n  - demo: x\n  - demo: y\n",
        r#"
            5:9 error [demo] two `demo` events in function `f`: give each a `name` -> history and catch-up follow the name, so that the events can be reordered
            6:9 error [demo] two `demo` events in function `f`: give each a `name` -> history and catch-up follow the name, so that the events can be reordered
        "#,
    );
    check_function(
        "events:\n  - demo: x\n  - {demo: y, name: second}\n  - {demo: z, name: third}\n",
        r#"5:9 error [demo] 3 `demo` events in function `f`: give each a `name` -> history and catch-up follow the name, so that the events can be reordered"#,
    );
    check_function(
        "events:\n  - {demo: x, name: one}\n  - {demo: y, name: one}\n  - {other: z, name: a/b}\n",
        r#"
            6:25 error [one] another event of function `f` has the name `one` -> it is on line 5: give one of them another `name`
            7:26 error [a/b] `a/b` is not a name for an event -> use 1 to 64 letters, digits, `-`, `_` and `.`
        "#,
    );
    check_function(
        "events:\n  - {demo: x, name: other}\n  - other: y\n",
        r#"6:9 error [other] another event of function `f` has the name `other` -> it is on line 5: give one of them another `name`"#,
    );
}

#[test]
fn mistakes_that_plugins_find() {
    check_function(
        "events:\n  - demo: {slot: 5, tags: [a, 5]}\n  - other:\n      tags: [a]\n",
        r#"
            5:22 error [5] a slot is text
            5:35 error [5] a tag is text
            6:9 error [other] needs a `slot`
        "#,
    );
    check(
        "sources:\n  demo:\n    lsten: x\n    listen: 5\n  dmeo: {}\n  other: [x]\nfunctions: {}\n",
        r#"
            3:12 error [x] unknown setting `lsten`
            4:13 error [5] not an address
            5:3 error [dmeo] unknown trigger `dmeo` -> did you mean `demo`?
            6:10 error [[x]] settings are a mapping
        "#,
    );
    check(
        "functions:\n  f: {code: f.js, events: [{demo: x}]}\n  g: {code: f.js, events: [{demo: x}]}\n",
        r#"3:35 error [x] `f/demo` has the same slot"#,
    );
    check_function(
        "events:\n  - demo: {slot: \"${env:NOPE}\", tags: 5}\n",
        r#"5:23 error [${env:NOPE}] the environment variable `NOPE` is not set -> set it, or give a default: `${env:NOPE, 'default'}`"#,
    );
}

#[test]
fn disabled_events_are_checked_but_claim_nothing() {
    check_function(
        "events:\n  - demo: {slot: 5}\n    enabled: false\n",
        r#"5:22 error [5] a slot is text"#,
    );
    check_function(
        "events:\n  - {demo: x, name: old, enabled: false}\n  - {demo: x, name: new}\n",
        "",
    );
}

#[test]
fn two_sources_may_not_claim_one_resource() {
    check(
        "functions: {}\nsources:\n  demo: {listen: \"127.0.0.1:80\"}\n  other: {listen: \"127.0.0.1:80\"}\n",
        r#"4:3 error [other] `other` and `demo` both claim the address 127.0.0.1:80 -> give one of them another"#,
    );
    check(
        "functions: {}\nsources:\n  demo: {listen: \"127.0.0.1:80\"}\n  other: {listen: \"0.0.0.0:80\"}\n",
        r#"4:3 error [other] `other` and `demo` both claim the address 0.0.0.0:80 -> give one of them another"#,
    );
    check(
        "functions: {}\nsources:\n  demo: {listen: \"127.0.0.1:0\"}\n  other: {listen: \"127.0.0.1:0\"}\n",
        "",
    );
    check(
        "functions: {}\nsources:\n  demo: {listen: \"127.0.0.1:80\"}\n  other: {listen: \"127.0.0.2:80\"}\n",
        "",
    );
}

#[test]
fn one_mistake_hides_no_other() {
    check(
        "service: yes\ndefaults: {timezone: Mars}\nfunctions:\n  a b:\n    code: f.py\n    timout: 3\n    env: {A: \"${env:NOPE}\"}\n    events:\n      - demo: {slot: 5}\n      - banana: x\nsources:\n  other: {lsten: x}\n",
        r#"
            1:10 error [yes] `yes` is a boolean to some readers of YAML and text to others -> write true, or "yes" for the text
            2:22 error [Mars] `Mars` is not a time zone -> write an IANA name, as `Europe/Paris` or `UTC`
            4:3 error [a b] `a b` is not a function name -> use 1 to 64 letters, digits, `-` and `_`
            5:11 error [f.py] `f.py` is not a directory or a JavaScript file -> give a directory, a .zip, or a .js, .mjs, .cjs or .ts file
            6:5 error [timout] unknown key `timout` -> did you mean `timeout`?
            7:11 error [A] `A` is not a name for an environment variable -> use two or more letters, digits and `_`, a letter first
            7:15 error [${env:NOPE}] the environment variable `NOPE` is not set -> set it, or give a default: `${env:NOPE, 'default'}`
            9:22 error [5] a slot is text
            10:9 error [banana] unknown trigger `banana` -> the kinds are `demo`, `other`
            12:18 error [x] unknown setting `lsten`
        "#,
    );
}

#[test]
fn layers() {
    check_function(
        "layers: [dir, pack.zip, nope]\n",
        r#"
            4:29 warning [nope] there is no `nope` -> the path starts at the manifest's directory; it was looked for at `BASE/nope`
        "#,
    );
    check_function(
        "layers: [f.js, dir, dir]\n",
        r#"
            4:14 error [f.js] `f.js` is not a directory or a .zip -> a layer has packages in its `nodejs/node_modules`
            4:25 error [dir] the layer `dir` is there twice -> name each layer once
        "#,
    );
    check_function(
        "layers: [dir, pack.zip, dir/lib, ., dir/.., ./dir/../dir/lib]\n",
        r#"
            4:49 error [./dir/../dir/lib] Cannot reference more than 5 layers.
        "#,
    );
}

#[test]
fn nothing_is_allowed_over_what_is_the_functions_own() {
    check_function(
        "allow: {read: [/, /var, /opt/app], write: [/tmp, /tmp/shared, /var/task/]}\n",
        r#"
            4:20 error [/] `/` holds what is the function's own -> a function has its code at /var/task, its layers at /opt and its own /tmp: name a directory beside or below them
            4:23 error [/var] `/var` holds what is the function's own -> a function has its code at /var/task, its layers at /opt and its own /tmp: name a directory beside or below them
            4:29 warning [/opt/app] there is no `/opt/app` -> the path starts at the manifest's directory; it was looked for at `/opt/app`
            4:48 error [/tmp] `/tmp` holds what is the function's own -> a function has its code at /var/task, its layers at /opt and its own /tmp: name a directory beside or below them
            4:54 warning [/tmp/shared] there is no `/tmp/shared` -> the path starts at the manifest's directory; it was looked for at `/tmp/shared`
            4:67 error [/var/task/] `/var/task/` holds what is the function's own -> a function has its code at /var/task, its layers at /opt and its own /tmp: name a directory beside or below them
        "#,
    );
}

#[test]
fn access_keys() {
    let with = |keys: &str| format!("functions: {{}}\naccessKeys: {keys}\n");
    check(
        &with("[]"),
        "2:13 error [[]] there is no access key here -> add one, or delete `accessKeys` to ask for no signatures",
    );
    check(
        &with(""),
        "2:1 error [accessKeys] expected a list of access keys, or the path of a file, found nothing -> give it a value, or delete the key",
    );
    check(
        &with("[{ id: a/b, secret: short }, { secret: 0123456789abcdefg }, { id: x, secrett: y }]"),
        r#"
            2:14 error [{ id: a/b, secret: short }] `a/b` is not the id of an access key -> use 1 to 128 letters, digits, `-` and `_`
            2:14 error [{ id: a/b, secret: short }] the secret of the access key `a/b` has fewer than 16 characters -> make one that nobody can guess: `openssl rand -base64 30`
            2:42 error [{ secret: 0123456789abcdefg }] the access key has no `id` -> write `- { id: ..., secret: ... }`
            2:73 error [{ id: x, secrett: y }] the access key has no `secret` -> write `- { id: ..., secret: ... }`
            2:82 error [secrett] unknown key `secrett` -> did you mean `secret`?
        "#,
    );
    check(
        &with("[{ id: a, secret: 0123456789abcdefg }, { id: a, secret: 0123456789abcdefh }]"),
        "2:52 error [{ id: a, secret: 0123456789abcdefh }] the access key `a` is there twice",
    );
    check(
        &with("absent.ini"),
        "2:13 error [absent.ini] cannot read the access keys in `BASE/absent.ini`: No such file or directory (os error 2)",
    );
}
