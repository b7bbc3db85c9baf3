//! The trace header.

use chrono::{DateTime, Utc};

/// A trace header for what came without one at this time: the time and a random number (AWS X-Ray documentation, "Tracing header").
pub fn new_trace(time: DateTime<Utc>) -> String {
    let random = uuid::Uuid::new_v4().as_u128() >> 32;
    format!("Root=1-{:08x}-{random:024x}", time.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_a_time_and_24_digits() {
        let time = DateTime::from_timestamp(0x6a51_45a9, 0).unwrap_or_default();
        let trace = new_trace(time);
        let random = trace.strip_prefix("Root=1-6a5145a9-").unwrap_or_default();
        assert_eq!(random.len(), 24, "{trace}");
        assert!(random.bytes().all(|byte| byte.is_ascii_hexdigit()), "{trace}");
        assert_ne!(trace, new_trace(time));
    }
}
