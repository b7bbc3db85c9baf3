//! The trigger `schedule`: events at set times, as Amazon EventBridge sends them.
//!
//! A binding is an expression, or an object:
//!
//! ```yaml
//! events:
//!   - schedule: rate(5 minutes)
//!   - schedule: { rate: "cron(0 2 * * ? *)", timezone: Europe/Paris, overlap: skip, catchUp: last, input: { full: true } }
//! ```
//!
//! [`expression`] says when it fires, and what happens when the clocks change.
//!
//! **Invariant:** every slot ran, or its skip has a reason. The last *decided* slot of a binding is durable; it advances
//! in the same transaction that queues the event or records the skip, never before. A slot that could not be decided,
//! because the disk was full or the process was down, is decided later:
//!
//! - More than [`MISSED_AFTER`] late it counts as missed, and `catchUp` decides: `none` skips it, `last` runs only the
//!   last missed one, `all` runs them in order, one at a time, up to the setting `catchUpLimit`.
//! - Otherwise it is due, and `overlap` decides when the binding's previous event is not done: `skip` it, `allow` it
//!   to run beside, `queue` it behind.
//!
//! Under a virtual clock nothing is late while the source runs: however far the clock jumps, each slot is decided in
//! order as due. What lies before the start is missed.
//!
//! A schedule begins when it is first seen: nothing before counts as missed, and a rate counts from then. It begins anew
//! when its expression or time zone changes, and when it was removed or disabled for a start: so the source runs even
//! when it has no bindings, to forget those that it had.
//!
//! When the clock is set back, no slot is decided twice: a schedule rests until the clock shows what it had decided. But
//! a rate goes on at once, and what a clock decided that was more than a day ahead does not count.
//!
//! docs/schedules.md tells users.

mod announcement;
mod config;
mod event;
pub mod expression;
mod schedule;
mod source;

use hikigane_trigger::schemars::Schema;
use hikigane_trigger::{Source, SourceSpec, SpecErrors, TriggerPlugin};

pub use schedule::MISSED_AFTER;

/// The key under `events:` and `sources:`.
const KIND: &str = "schedule";

/// The plug-in for `events: - schedule:` and `sources: schedule:`.
pub fn plugin() -> impl TriggerPlugin {
    Plugin
}

struct Plugin;

impl TriggerPlugin for Plugin {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn binding_schema(&self) -> Schema {
        config::binding_schema()
    }

    fn settings_schema(&self) -> Schema {
        config::settings_schema()
    }

    fn events_matter(&self) -> bool {
        false
    }

    fn runs_without_bindings(&self) -> bool {
        true
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, SpecErrors> {
        let (settings, bindings) = config::read(spec)?;
        Ok(Box::new(source::ScheduleSource::new(settings, bindings)))
    }
}
