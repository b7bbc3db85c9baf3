//! Functions that may set themselves off by the files they write.
//!
//! AWS follows such a circle through S3 by the trace in an object's metadata and ends it (AWS documentation, "Use Lambda
//! recursive loop detection"). A file tells nothing of who wrote it, so all there is is a word in time.

use std::borrow::Cow;
use std::path::Path;

use hikigane_model::FunctionConfig;
use hikigane_trigger::Feed;

use crate::diagnostic::Problems;
use crate::event::Event;
use crate::source::Named;

/// Warns of each event that its own function's `allow.write` may bring about. With a filter the author has thought of it.
pub(crate) fn check(events: &[Event], functions: &[FunctionConfig], sources: &[Named], problems: &mut Problems) {
    let feeds = sources.iter().flat_map(|(_, source)| source.fed_by());
    for Feed {
        binding,
        directory,
        remedy,
    } in feeds
    {
        let Some(event) = events
            .iter()
            .find(|event| event.id == binding && event.filter.is_none())
        else {
            continue;
        };
        let function = functions
            .iter()
            .find(|config| Some(&config.name) == event.function.as_ref());
        let writes = function.map(|config| config.allow.write.as_slice()).unwrap_or_default();
        let directory = without_links(&directory);
        if writes.iter().any(|path| {
            let path = without_links(path);
            path.starts_with(&directory) || directory.starts_with(&path)
        }) {
            problems
                .warning(
                    event.kind_span,
                    "the function may write where each new file calls it again, without end",
                )
                .help(format!("let it write elsewhere, or {remedy}"));
        }
    }
}

/// Where the path leads, as far as it exists.
fn without_links(path: &Path) -> Cow<'_, Path> {
    for known in path.ancestors() {
        if let Ok(target) = known.canonicalize() {
            let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
            return target.join(rest).into();
        }
    }
    path.into()
}
