//! EventBridge event patterns: compile and match.
