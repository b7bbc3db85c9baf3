//! How often the end of one invocation has led to another: what stops circles of destinations.
//!
//! The count travels in the trace header, as on AWS (AWS documentation, "Use Lambda recursive loop detection"), so that it outlives retries and
//! restarts with the event. The part is our own: `Lineage=name:3|other:2` counts by function how often a destination has led there.

use chrono::Utc;
use hikigane_model::{FunctionName, new_trace};

const PART: &str = "Lineage=";

/// How often destinations have led to `function` on the way to this event.
pub fn count(trace: Option<&str>, function: &FunctionName) -> u32 {
    let mut counts = counts(trace.unwrap_or_default());
    let found = counts.find(|(name, _)| *name == function.as_str());
    found.map_or(0, |(_, count)| count)
}

/// The trace header of an event for `function` that follows from one with the header `trace`.
pub fn extend(trace: Option<&str>, function: &FunctionName) -> String {
    let begun = trace.map_or_else(|| new_trace(Utc::now()), str::to_owned);
    let others = counts(&begun).filter(|(name, _)| *name != function.as_str());
    let mut lineage: Vec<String> = others.map(|(name, count)| format!("{name}:{count}")).collect();
    lineage.push(format!("{function}:{}", count(trace, function).saturating_add(1)));
    let mut parts: Vec<&str> = parts(&begun).filter(|part| !part.starts_with(PART)).collect();
    let lineage = format!("{PART}{}", lineage.join("|"));
    parts.push(&lineage);
    parts.join(";")
}

fn parts(trace: &str) -> impl Iterator<Item = &str> {
    trace.split(';').map(str::trim).filter(|part| !part.is_empty())
}

fn counts(trace: &str) -> impl Iterator<Item = (&str, u32)> {
    let lineage = parts(trace).find_map(|part| part.strip_prefix(PART));
    let entries = lineage.unwrap_or_default().split('|');
    entries.filter_map(|entry| {
        let (name, count) = entry.rsplit_once(':')?;
        Some((name, count.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn each_function_has_a_count_of_its_own() {
        let (a, b) = (FunctionName::new("a").unwrap(), FunctionName::new("b").unwrap());
        let first = extend(Some("Root=1-0-0;Sampled=0"), &a);
        assert_eq!(first, "Root=1-0-0;Sampled=0;Lineage=a:1");
        let again = extend(Some(&extend(Some(&first), &b)), &a);
        assert_eq!(again, "Root=1-0-0;Sampled=0;Lineage=b:1|a:2");
        assert_eq!((count(Some(&again), &a), count(Some(&again), &b)), (2, 1));
        assert!(extend(None, &a).starts_with("Root=1-"));
    }

    #[test]
    fn a_header_that_somebody_made_up_counts_for_nothing() {
        let a = FunctionName::new("a").unwrap();
        for trace in [
            "",
            ";;",
            "Lineage=",
            "Lineage=a",
            "Lineage=a:x|:|a",
            "Lineage=a:-1",
            "Lineage=ab:7",
        ] {
            assert_eq!(count(Some(trace), &a), 0, "{trace}");
            assert_eq!(count(Some(&extend(Some(trace), &a)), &a), 1, "{trace}");
        }
        assert_eq!(count(Some(&extend(Some("Lineage=a:4294967295"), &a)), &a), u32::MAX);
    }
}
