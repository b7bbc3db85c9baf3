//! Functions that may set themselves off by the files they write.
//!
//! AWS follows such a circle through S3 by the trace in an object's metadata and ends it (AWS documentation, "Use Lambda
//! recursive loop detection"). A file tells nothing of who wrote it, so all there is is a word in time.

use hikigane_model::FunctionConfig;

use crate::diagnostic::Problems;
use crate::event::Event;
use crate::source::Named;

/// Warns of each event that its own function's `allow.write` may bring about. With a filter the author has thought of it.
pub(crate) fn check(events: &[Event], functions: &[FunctionConfig], sources: &[Named], problems: &mut Problems) {
    for (id, directory) in sources.iter().flat_map(|(_, source)| source.fed_by()) {
        let Some(event) = events.iter().find(|event| event.id == id && event.filter.is_none()) else {
            continue;
        };
        let function = functions
            .iter()
            .find(|config| Some(&config.name) == event.function.as_ref());
        let writes = function.map(|config| config.allow.write.as_slice()).unwrap_or_default();
        if writes
            .iter()
            .any(|path| path.starts_with(&directory) || directory.starts_with(path))
        {
            problems
                .warning(
                    event.kind_span,
                    "the function may write where each new file calls it again, without end",
                )
                .help("let it write elsewhere, or give the event `rules` that leave out what it writes");
        }
    }
}
