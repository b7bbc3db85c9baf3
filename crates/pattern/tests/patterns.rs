//! Patterns against events: AWS's recorded verdicts, and the rules case by case.
#![allow(clippy::unwrap_used, clippy::expect_used)]

// A recording that is not here is no failure, also with CI.
#[allow(dead_code)]
#[path = "../../../tests/support/absent.rs"]
mod absent;

use std::time::{Duration, Instant};

use hikigane_pattern::Pattern;
use proptest::prelude::*;
use serde_json::{Value, json};

fn matches(pattern: Value, event: Value) -> bool {
    Pattern::compile(&pattern)
        .unwrap_or_else(|error| panic!("{pattern}: {error}"))
        .matches(&event)
}

fn reason(pattern: Value) -> String {
    match Pattern::compile(&pattern) {
        Ok(_) => panic!("{pattern} compiles"),
        Err(error) => error
            .to_string()
            .strip_prefix("Event pattern is not valid. Reason: ")
            .unwrap()
            .to_owned(),
    }
}

/// AWS's recorded verdicts; kept beside the repository, not in it.
fn recorded(file: &str) -> Vec<Value> {
    let path = format!("{}/../../../shared/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read_to_string(&path) else {
        absent::skipped(&format!(
            "nothing is compared with {file}, AWS's recorded verdicts, which are not here"
        ));
        return Vec::new();
    };
    serde_json::from_str(&text).unwrap()
}

#[test]
fn agrees_with_aws() {
    for case in recorded("event_patterns.json")
        .into_iter()
        .chain(recorded("event_pattern_arrays.json"))
    {
        let name = case["name"].as_str().unwrap();
        let verdict = Pattern::compile(&case["rule"])
            .map(|pattern| pattern.matches(&case["event"]))
            .map_err(|e| e.to_string());
        let expected = match (case["match"].as_bool(), case["aws"].as_str()) {
            (Some(verdict), _) => Ok(verdict),
            (_, Some("exception")) => Err(case["aws_message"].as_str().unwrap().lines().next().unwrap().to_owned()),
            (_, aws) => Ok(aws == Some("match")),
        };
        assert_eq!(verdict, expected, "{name}");
    }
}

#[test]
fn alternatives() {
    // The alternatives of field "f", the event's value, whether it matches.
    let cases = [
        (json!(["a", "b"]), json!("b"), true),
        (json!(["a"]), json!("A"), false),
        (json!([null]), json!(null), true),
        (json!([null]), json!(""), false),
        (json!([true]), json!(true), true),
        (json!([true]), json!("true"), false),
        (json!([300]), json!(300.0), true),
        (json!([3.018e2]), json!(301.8), true),
        (json!([300]), json!("300"), false),
        (json!(["300"]), json!(300), false),
        (json!([123456789012u64]), json!(123456789012u64), true),
        (json!([123456789012u64]), json!(123456789013u64), false),
        (json!(["10.0.0.1"]), json!("10.0.0.1"), true),
        (json!(["2001:db8::1"]), json!("2001:0db8:0:0:0:0:0:1"), true),
        (json!([{"exactly": "a"}]), json!("a"), true),
        (json!([{"prefix": "in/"}]), json!("in/a.csv"), true),
        (json!([{"prefix": "1"}]), json!(12), false),
        (json!([{"prefix": {"equals-ignore-case": "ÀB"}}]), json!("àbc"), true),
        (json!([{"suffix": ".csv"}]), json!("a.csv"), true),
        (json!([{"suffix": ""}]), json!("a"), true),
        (
            json!([{"suffix": {"equals-ignore-case": ".CSV"}}]),
            json!("a.Csv"),
            true,
        ),
        (json!([{"equals-ignore-case": "STRASSE"}]), json!("strasse"), true),
        (json!([{"wildcard": "a*b*c"}]), json!("a-b-b-c"), true),
        (json!([{"wildcard": "a*b*c"}]), json!("a-c-b"), false),
        (json!([{"wildcard": "ab*ba"}]), json!("aba"), false),
        (json!([{"wildcard": "*"}]), json!(""), true),
        (json!([{"wildcard": "a\\*\\\\*"}]), json!("a*\\x"), true),
        (json!([{"wildcard": "a\\*"}]), json!("ab"), false),
        (json!([{"wildcard": "abc"}]), json!("abc"), true),
        (json!([{"wildcard": "*1"}]), json!(1), false),
        (json!([{"numeric": [">", 0, "<=", 5]}]), json!(5), true),
        (json!([{"numeric": [">", 0, "<=", 5]}]), json!(0), false),
        (json!([{"numeric": [">=", -1.5, "<", 5]}]), json!(-1.5), true),
        (json!([{"numeric": ["=", 0.3]}]), json!(0.3), true),
        (json!([{"numeric": ["<", 5]}]), json!(-4.99e9), true),
        (json!([{"numeric": [">", 5]}]), json!(6e9), false),
        (json!([{"exists": true}]), json!(null), true),
        (json!([{"exists": true}]), json!({"inner": 1}), false),
        (json!([{"exists": true}]), json!([]), false),
        (json!([{"exists": false}]), json!([]), true),
        (json!([{"exists": false}]), json!({"inner": 1}), true),
        (json!([{"cidr": "10.0.0.77/24"}]), json!("10.0.0.1"), true),
        (json!([{"cidr": "10.0.0.0/24"}]), json!("10.0.1.0"), false),
        (json!([{"cidr": "0.0.0.0/0"}]), json!("255.255.255.255"), true),
        (json!([{"cidr": "::/0"}]), json!("10.0.0.1"), false),
        (json!([{"cidr": "10.0.0.0/8"}]), json!("not an address"), false),
        (json!([{"anything-but": "a"}]), json!("b"), true),
        (json!([{"anything-but": "a"}]), json!(null), true),
        (json!([{"anything-but": [1, 2]}]), json!(2.0), false),
        (json!([{"anything-but": [1, 2]}]), json!("2"), true),
        (json!([{"anything-but": {"prefix": ["a", "b"]}}]), json!("bc"), false),
        (json!([{"anything-but": {"wildcard": "*/x/*"}}]), json!("/x/"), false),
        (json!([{"anything-but": "a"}]), json!(["a", "b"]), true),
        (json!([{"anything-but": "a"}]), json!(["a"]), false),
        (json!([{"anything-but": "a"}]), json!([]), false),
        (json!(["a"]), json!([["x"], ["a"]]), true),
    ];
    for (alternatives, value, expected) in cases {
        let (pattern, event) = (json!({"f": alternatives}), json!({"f": value}));
        assert_eq!(
            matches(pattern.clone(), event.clone()),
            expected,
            "{pattern} on {event}"
        );
    }
}

#[test]
fn fields_and_branches() {
    let or = json!({"a": [1], "$or": [{"b": [1], "c": {"d": [1]}}, {"e": [1]}]});
    let two_ors = json!({"$or": [{"a": [1]}, {"b": [1]}], "x": {"$or": [{"c": [1]}, {"d": [1]}]}});
    let cases = [
        (
            json!({"a": [1], "b": {"c": ["x"]}}),
            json!({"a": 1, "b": {"c": "x"}}),
            true,
        ),
        (json!({"a": [1], "b": {"c": ["x"]}}), json!({"a": 1}), false),
        (json!({"a": [1], "b": [{"exists": false}]}), json!({"a": 1}), true),
        (
            json!({"a": [1], "b": [{"exists": false}, "x"]}),
            json!({"a": 1, "b": "x"}),
            true,
        ),
        (json!({"a": {"b": {"c": [1]}}}), json!({"a.b": {"c": 1}}), true),
        (or.clone(), json!({"a": 1, "b": 1, "c": {"d": 1}}), true),
        (or.clone(), json!({"a": 1, "b": 1}), false),
        (or.clone(), json!({"a": 1, "e": 1}), true),
        (or, json!({"e": 1}), false),
        (two_ors.clone(), json!({"b": 1, "x": {"c": 1}}), true),
        (two_ors, json!({"b": 1, "x": {}}), false),
        // An element of its own for each array, and one element for all paths of an array.
        (
            json!({"p": {"x": [1]}, "q": {"x": [2]}}),
            json!({"p": [{"x": 0}, {"x": 1}], "q": [{"x": 2}]}),
            true,
        ),
        (
            json!({"p": {"x": [1], "y": [2]}}),
            json!({"p": [{"x": 1, "y": 0}, {"x": 0, "y": 2}]}),
            false,
        ),
        (
            json!({"p": {"x": [1], "y": [{"exists": false}]}}),
            json!({"p": [{"x": 1, "y": 0}, {"x": 1}]}),
            true,
        ),
        (
            json!({"p": {"q": {"x": [1]}, "y": [2]}}),
            json!({"p": [{"q": [{"x": 1}], "y": 0}, {"q": [{"x": 1}, {}], "y": 2}]}),
            true,
        ),
        (json!({"p": [1], "z": [1]}), json!([{"p": 1, "z": 1}]), false),
        (json!({"p": [1]}), json!("p"), false),
    ];
    for (pattern, event, expected) in cases {
        assert_eq!(
            matches(pattern.clone(), event.clone()),
            expected,
            "{pattern} on {event}"
        );
    }
}

#[test]
fn refusals() {
    let leaf = |alternative: Value| json!({"f": [alternative]});
    let cases = [
        (json!([]), "Filter is not an object"),
        (json!({}), "Empty objects are not allowed"),
        (json!({"a": {}}), "Empty objects are not allowed"),
        (json!({"a": []}), "Empty arrays are not allowed"),
        (json!({"a": null}), "\"a\" must be an object or an array"),
        (
            json!({"a": [[1]]}),
            "Match value must be String, number, true, false, or null",
        ),
        (
            json!({"a.b": [1], "a": {"b": [2]}}),
            "Path `a.b` cannot be allowed multiple times",
        ),
        (json!({"$or": {"a": [1]}}), "It must be an Array followed with $or."),
        (
            json!({"$or": [{"a": [1]}]}),
            "There must have at least 2 Objects in $or relationship.",
        ),
        (
            json!({"$or": [{"a": [1]}, 2]}),
            "Only JSON object is allowed in array of $or relationship.",
        ),
        (
            json!({"$or": [{"a": [1]}, {"prefix": [1]}]}),
            "prefix is Ruler reserved fieldName which cannot be used inside $or.",
        ),
        (leaf(json!({})), "Match expression name not found"),
        (
            leaf(json!({"prefix": "a", "suffix": "b"})),
            "Only one key allowed in match expression",
        ),
        (
            leaf(json!({"prefix": {"wildcard": "b"}})),
            "Unsupported prefix pattern: wildcard",
        ),
        (
            leaf(json!({"exists": "yes"})),
            "exists match pattern must be either true or false.",
        ),
        (
            leaf(json!({"wildcard": "a**b"})),
            "Consecutive wildcard characters at pos 2",
        ),
        (leaf(json!({"wildcard": "a\\b"})), "Invalid escape character at pos 2"),
        (leaf(json!({"cidr": "10.0.0.0/32"})), "IPv4 mask bits must be < 32"),
        (
            leaf(json!({"cidr": "10.0.0.0/-1"})),
            "Malformed CIDR, mask bits must not be negative",
        ),
        (leaf(json!({"cidr": "300.0.0.0/8"})), "Invalid IP address: 300.0.0.0"),
        (leaf(json!({"cidr": "1::2::3/8"})), "Invalid IP address: 1::2::3"),
        (leaf(json!({"cidr": "10.0.0/8"})), "Nonstandard IP address: 10.0.0"),
        (leaf(json!({"numeric": []})), "Invalid member in numeric match: ]"),
        (
            leaf(json!({"numeric": ["!", 1]})),
            "Unrecognized numeric range operator: !",
        ),
        (leaf(json!({"numeric": ["=", "1"]})), "Value of equals must be numeric"),
        (
            leaf(json!({"numeric": ["=", 1, "<", 2]})),
            "Too many elements in numeric expression",
        ),
        (
            leaf(json!({"numeric": [">", 1, ">", 2]})),
            "Bad numeric range operator: >",
        ),
        (
            leaf(json!({"numeric": [">", 2, "<", 2]})),
            "Bottom must be less than top",
        ),
        (
            leaf(json!({"numeric": [">", 6e9]})),
            "Value must be between -5.0E9 and 5.0E9, inclusive",
        ),
        (
            leaf(json!({"anything-but": []})),
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        ),
        (
            leaf(json!({"anything-but": [1, "a"]})),
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        ),
        (
            leaf(json!({"anything-but": {"numeric": [1]}})),
            "Unsupported anything-but pattern: numeric",
        ),
    ];
    for (pattern, expected) in cases {
        assert_eq!(reason(pattern.clone()), expected, "{pattern}");
    }
}

#[test]
fn a_refusal_says_where() {
    for (pattern, place) in [
        (json!([]), ""),
        (json!({"a": {"b": []}}), "a/b"),
        (json!({"a": 1}), "a"),
        (json!({"a": {"b": ["x", {"prefx": "y"}]}}), "a/b/1"),
        (json!({"$or": [{"a": [1]}, {"b": {"c": [[]]}}]}), "$or/1/b/c/0"),
        (json!({"$or": [{"a": [1]}, 2]}), "$or/1"),
        (json!({"x": {"$or": [{"a": [1]}]}}), "x/$or"),
        (json!({"$or": [{"a": [1]}, {"prefix": [1]}]}), "$or/1/prefix"),
    ] {
        let error = Pattern::compile(&pattern).unwrap_err();
        assert_eq!(error.place.join("/"), place, "{pattern}: {error}");
    }
}

/// The verdicts are those of aws/event-ruler's measure with EventBridge's limit; the first is recorded.
#[test]
fn wildcards_are_as_complex_as_eventbridge_allows() {
    const REASON: &str = "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character";
    let wildcards =
        |texts: &[&str]| json!({"f": texts.iter().map(|text| json!({"wildcard": text})).collect::<Vec<_>>()});
    for too_complex in [
        wildcards(&["*:*:*:*:*:event-bus/*"]),
        wildcards(&["*a*a*a*a*a*a*"]),
        wildcards(&["*abababababababababababab"]),
        wildcards(&["*/data/*.bif", "*/data/*.tiff", "*/data/*.tif", "*/data/*.svs"]),
        wildcards(&["*.a", "*.b", "*.c", "*.d", "*.e", "*.f"]),
        json!({"f": [{"anything-but": {"wildcard": "*:*:*:*:*:event-bus/*"}}]}),
        json!({"$or": [{"a": [1]}, {"f": [{"wildcard": "*a*a*a*a*a*a*"}]}]}),
    ] {
        assert_eq!(reason(too_complex.clone()), REASON, "{too_complex}");
    }
    for simple in [
        wildcards(&["*"]),
        wildcards(&["arn:aws:events:*:123456789012:event-bus/*"]),
        wildcards(&["*:*:*:*:event-bus/*"]),
        wildcards(&["*a*b*c*d*e*"]),
        wildcards(&["*.a", "*.b", "*.c", "*.d", "*.e"]),
        wildcards(&["*/data/*.bif", "*/data/*.tiff"]),
        wildcards(&[&(0..900).fold("*".to_owned(), |text, n| format!("{text}{n}-"))]),
        json!({"f": [{"wildcard": "*a*a*"}], "g": [{"wildcard": "*a*a*"}], "h": [{"wildcard": "*a*a*"}]}),
    ] {
        assert!(Pattern::compile(&simple).is_ok(), "{simple}");
    }
}

#[test]
fn the_length_is_bounded() {
    let of_length = |length: usize| json!({"f": ["é".repeat(length - r#"{"f":[""]}"#.len())]});
    assert!(Pattern::compile(&of_length(4_096)).is_ok());
    assert_eq!(reason(of_length(4_097)), "it has more than 4096 characters as JSON");
}

/// What stands in every one of a thousand branches costs a reference there.
#[test]
fn the_worst_pattern_is_compiled_at_once() {
    let ten = |name: &str| (0..10).map(|n| json!({format!("{name}{n}"): [n]})).collect::<Vec<_>>();
    let mut pattern = json!({"$or": ten("a"), "x": {"$or": ten("b"), "y": {"$or": ten("c")}}});
    let object = pattern.as_object_mut().unwrap();
    for n in 0.. {
        object.insert(format!("k{n}"), json!([1]));
        if serde_json::to_string(&object).unwrap().len() > 4_080 {
            break;
        }
    }
    let start = Instant::now();
    assert!(!matches(pattern, json!({"a1": 1, "x": {"b1": 1}})));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

proptest! {
    /// Neither compiling nor matching panics or takes long, whatever is given; what compiles can be matched.
    #[test]
    fn no_pattern_hurts(pattern in json_like(), event in json_like()) {
        let start = Instant::now();
        if let Ok(pattern) = Pattern::compile(&pattern) {
            pattern.matches(&event);
        }
        prop_assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

/// JSON made of the words that patterns know, so that much of it is nearly one.
fn json_like() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "a",
        "b",
        "a.b",
        "$or",
        "prefix",
        "suffix",
        "anything-but",
        "numeric",
        "exists",
        "cidr",
        "wildcard",
        "equals-ignore-case",
        "exactly",
        "=",
        "<",
        ">=",
        "*a*",
        "**",
        "\\",
        "10.0.0.1",
        "10.0.0.0/8",
        "::/0",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        "[*a\\\\:é]{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|entries| entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Value>()),
        ]
    })
}

#[test]
fn the_number_of_combinations_is_bounded() {
    let pair = json!([{"a": [1]}, {"b": [1]}]);
    let nest = |depth: usize| {
        (0..depth).fold(
            json!({"z": [1]}),
            |inner, level| json!({format!("l{level}"): inner, "$or": pair}),
        )
    };
    assert!(Pattern::compile(&nest(9)).is_ok());
    assert!(reason(nest(10)).contains("more than 1000 combinations"));
}

/// A pattern with object arrays costs time in proportion to the event. Pairing every element with every other would take
/// minutes here.
#[test]
fn large_arrays_of_objects_do_not_multiply() {
    let elements = (0..5_000)
        .map(|i| json!({"a": i, "b": {"c": [{"d": i}, {"e": i}]}}))
        .collect::<Vec<_>>();
    let event = json!({"x": elements, "y": elements});
    let part = json!({"a": [{"exists": true}], "b": {"c": {"d": [{"exists": true}], "e": [{"exists": false}]}}});
    let start = Instant::now();
    assert!(matches(json!({"x": part, "y": part}), event.clone()));
    assert!(!matches(json!({"x": part, "y": part, "z": [1]}), event));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
