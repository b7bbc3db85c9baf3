//! One running schedule: which slots it decided, and what it decides about the next one.

use std::collections::VecDeque;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hikigane_trigger::model::{BindingId, Event, StateWrite};
use hikigane_trigger::{Accepted, Clock, Context, EmitError};
use serde::Deserialize;
use serde_json::json;

use crate::config::{Binding, CatchUp, Overlap};
use crate::event::{scheduled_event, with_context};
use crate::expression::{Gap, Slot};

/// A slot that is decided later than this was missed: the process was down, the machine asleep or the disk full.
pub const MISSED_AFTER: TimeDelta = TimeDelta::seconds(60);

/// Skips of missed slots that get a record of their own; older ones share one.
const SKIP_RECORDS: usize = 100;
/// How far the clock may be set back without a slot being decided twice: more than a day, and more than any two time zones lie apart.
/// Waiting for longer would be silence.
const SET_BACK: TimeDelta = TimeDelta::hours(26);
/// The same for a rate, whose slots are no times of day: it only keeps its beat over small corrections.
const RATE_SET_BACK: TimeDelta = TimeDelta::minutes(1);
/// Missed slots that are counted before others may do something.
const COUNTED_AT_ONCE: usize = 1_000;
const NO_CATCH_UP: &str = "catchUp is none";
const ONLY_THE_LAST: &str = "catchUp runs only the last missed slot";
const NOT_DONE: &str = "the previous run is still going, or waits for its next attempt";
const FILTERED: &str = "the filter does not match the event";
/// The wait after the first failed attempt to store something; it doubles with each further one.
const FIRST_RETRY: TimeDelta = TimeDelta::seconds(1);
/// The longest wait between two attempts.
const LONGEST_RETRY: TimeDelta = TimeDelta::seconds(5);

/// The durable state of a schedule: what it decided last, and under which expression.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Decided {
    slot: DateTime<Utc>,
    expression: String,
    timezone: String,
}

impl Decided {
    /// The state that `bytes` hold; unreadable ones hold none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The part of the keys that all schedules share; the binding's id follows.
pub(crate) const KEY_PREFIX: &str = "decided/";

/// The key of the binding's durable state.
pub(crate) fn state_key(binding: &BindingId) -> String {
    format!("{KEY_PREFIX}{binding}")
}

/// When a slot counts as missed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lateness {
    started: DateTime<Utc>,
    is_virtual: bool,
}

impl Lateness {
    /// The rule for a source that was opened at `started`.
    pub fn new(clock: &Clock, started: DateTime<Utc>) -> Self {
        Self {
            started,
            is_virtual: clock.is_virtual(),
        }
    }

    fn is_missed(self, slot: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        if self.is_virtual {
            slot <= self.started
        } else {
            now - slot > MISSED_AFTER
        }
    }
}

/// A schedule at work.
#[derive(Debug)]
pub(crate) struct Schedule {
    binding: Binding,
    catch_up_limit: usize,
    /// Every slot up to here is decided.
    decided: DateTime<Utc>,
    /// What is to be done next, in order; at most [`SKIP_RECORDS`] or the catch-up limit, and a few.
    plan: VecDeque<Step>,
    /// Failed attempts to do the first of them.
    failures: u32,
}

/// One decision about a slot, or about several that share a record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    slot: DateTime<Utc>,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// The slot is due.
    Run,
    /// The slot was missed and is made up for, one at a time, in order.
    MakeUp,
    /// The slot is skipped for this reason.
    Skip(String),
}

impl Schedule {
    /// The schedule of `binding`, which `known` is the durable state of. Without any, or when it is of another
    /// expression or zone, the schedule begins at `now`.
    pub fn new(binding: Binding, catch_up_limit: usize, known: Option<Decided>, now: DateTime<Utc>) -> Self {
        let known = known
            .filter(|known| known.expression == binding.expression.as_str())
            .filter(|known| known.timezone == binding.timezone.name());
        let mut schedule = Self {
            binding,
            catch_up_limit,
            decided: known.map_or_else(|| whole_second(now), |known| known.slot),
            plan: VecDeque::new(),
            failures: 0,
        };
        schedule.look_at_clock(now);
        schedule
    }

    /// Takes note of the time, in case that the clock was set back, now or before the start.
    pub fn look_at_clock(&mut self, now: DateTime<Utc>) {
        // What was planned for missed slots does not hold for slots that are now to come.
        if self.plan.front().is_some_and(|step| step.slot > now) {
            self.plan.clear();
        }
        let ahead = self.decided - now;
        let most = match self.binding.expression.rate() {
            Some(_) => RATE_SET_BACK,
            None => SET_BACK,
        };
        if ahead > most && !self.is_over() {
            self.decided = whole_second(now);
        }
    }

    /// What the manifest says of it.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Every slot up to here is decided.
    pub fn decided(&self) -> DateTime<Utc> {
        self.decided
    }

    /// Whether it has decided its last slot: whatever the clock shows, a one-time schedule does not fire twice.
    fn is_over(&self) -> bool {
        let before = self.decided - TimeDelta::seconds(1);
        self.slot_after(self.decided).is_none() && self.slot_after(before).is_some_and(|slot| slot.at() == self.decided)
    }

    /// Its durable state as it is now.
    pub fn state(&self) -> StateWrite {
        self.state_after(self.decided)
    }

    /// The next time after `now` at which it fires.
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = match self.binding.expression.rate() {
            // A rate keeps the beat that it has counted so far.
            Some(every) if self.decided < now => {
                let turns = (now - self.decided).num_seconds() / every.num_seconds();
                self.decided + TimeDelta::seconds(turns * every.num_seconds())
            }
            _ => now.max(self.decided),
        };
        self.binding.expression.next_after(after, self.binding.timezone)
    }

    /// When [`Self::decide`] has something to do; `None`: never again.
    pub fn wake(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.failures > 0 {
            return Some(now + retry_after(self.failures));
        }
        match self.plan.front() {
            Some(step) => Some(step.slot),
            None => self.slot_after(self.decided).map(|slot| slot.at()),
        }
    }

    /// Decides the next slot that is due. When the event or the record cannot be stored, the slot stays undecided: then
    /// the second value says so.
    pub async fn decide(mut self, context: &Context, lateness: Lateness) -> (Self, Option<String>) {
        if self.plan.is_empty() {
            self.plan = self.make_plan(context.clock.now(), lateness).await;
        }
        let Some(step) = self.plan.front() else {
            return (self, None);
        };
        match self.carry_out(step, context).await {
            Ok(()) => {
                self.decided = step.slot;
                self.plan.pop_front();
                self.failures = 0;
                (self, None)
            }
            Err(error) => {
                let slot = step.slot.to_rfc3339_opts(SecondsFormat::Secs, true);
                let trouble = format!("{} at {slot} has to wait: {error}", self.binding.id);
                self.failures = self.failures.saturating_add(1);
                // By the next attempt the slot may count as missed, and others with it.
                self.plan.clear();
                (self, Some(trouble))
            }
        }
    }

    /// What to do about the slots that are due or missed by `now`. Due slots are planned one by one.
    async fn make_plan(&self, now: DateTime<Utc>, lateness: Lateness) -> VecDeque<Step> {
        match self.slot_after(self.decided) {
            Some(Slot::Fires(at)) if at <= now && !lateness.is_missed(at, now) => [Step {
                slot: at,
                action: Action::Run,
            }]
            .into(),
            Some(Slot::Gap(gap)) if gap.at <= now && !lateness.is_missed(gap.at, now) => [self.gap_step(&gap)].into(),
            Some(slot) if slot.at() <= now => self.make_up_plan(now, lateness).await,
            _ => VecDeque::new(),
        }
    }

    /// What to do about the missed slots: the catch-up rule.
    async fn make_up_plan(&self, now: DateTime<Utc>, lateness: Lateness) -> VecDeque<Step> {
        let catch_up = self.binding.catch_up;
        let keep = match catch_up {
            CatchUp::None => SKIP_RECORDS,
            CatchUp::Last => SKIP_RECORDS + 1,
            CatchUp::All => self.catch_up_limit,
        };
        let mut recent: VecDeque<Slot> = VecDeque::with_capacity(keep + 1);
        let mut older: Option<Older> = None;
        let mut after = self.decided;
        let mut counted = 0;
        while let Some(slot) = self.slot_after(after)
            && slot.at() <= now
            && lateness.is_missed(slot.at(), now)
        {
            after = slot.at();
            recent.push_back(slot);
            if recent.len() > keep
                && let Some(slot) = recent.pop_front()
            {
                older = Some(Older::with(older, slot.at()));
            }
            counted += 1;
            if counted % COUNTED_AT_ONCE == 0 {
                // A year of minutes takes a second or so, which the server and its other triggers share.
                tokio::task::yield_now().await;
            }
        }
        let last_to_fire = recent.iter().rposition(|slot| matches!(slot, Slot::Fires(_)));
        let mut plan: VecDeque<Step> = older.map(|older| older.step(catch_up, keep)).into_iter().collect();
        plan.extend(recent.iter().enumerate().map(|(index, slot)| match (slot, catch_up) {
            (Slot::Gap(gap), _) => self.gap_step(gap),
            (Slot::Fires(at), CatchUp::All) => Step {
                slot: *at,
                action: Action::MakeUp,
            },
            // One slot to make up for is like a due one: `overlap` holds.
            (Slot::Fires(at), CatchUp::Last) if last_to_fire == Some(index) => Step {
                slot: *at,
                action: Action::Run,
            },
            (Slot::Fires(at), CatchUp::Last) => missed(*at, now, ONLY_THE_LAST),
            (Slot::Fires(at), CatchUp::None) => missed(*at, now, NO_CATCH_UP),
        }));
        plan
    }

    fn gap_step(&self, gap: &Gap) -> Step {
        let zone = self.binding.timezone.name();
        let first = gap.first;
        let reason = match gap.count {
            1 => format!("{first} does not exist: clocks go forward in {zone}"),
            count => format!("{count} slots from {first} on do not exist: clocks go forward in {zone}"),
        };
        Step {
            slot: gap.at,
            action: Action::Skip(reason),
        }
    }

    async fn carry_out(&self, step: &Step, context: &Context) -> Result<(), EmitError> {
        let id = &self.binding.id;
        let overlap = self.binding.overlap;
        match &step.action {
            Action::Skip(reason) => return self.skip(step.slot, reason, context).await,
            Action::Run if overlap == Overlap::Skip && context.events.pending(id).await? > 0 => {
                return self.skip(step.slot, NOT_DONE, context).await;
            }
            Action::Run | Action::MakeUp => {}
        }
        let payload = match &self.binding.input {
            Some(input) => with_context(input, id, step.slot, self.failures + 1),
            None => scheduled_event(id, step.slot).into(),
        };
        let mut event = Event::new(payload, step.slot);
        // With `skip`, too: what was running when the server was killed runs again, and what is made up for comes behind it.
        let in_order = overlap != Overlap::Allow || step.action == Action::MakeUp;
        event.group = in_order.then(|| id.to_string());
        match context.events.emit(id, event, vec![self.state_after(step.slot)]).await {
            Ok(Accepted::Queued(_)) => Ok(()),
            // A filter that never matches must not be silence.
            Ok(Accepted::Filtered) => self.skip(step.slot, FILTERED, context).await,
            // It would be too large the next time, too.
            Err(error @ EmitError::TooLarge { .. }) => self.skip(step.slot, &error.to_string(), context).await,
            Err(error) => Err(error),
        }
    }

    async fn skip(&self, slot: DateTime<Utc>, reason: &str, context: &Context) -> Result<(), EmitError> {
        context
            .events
            .skip(&self.binding.id, slot, reason, vec![self.state_after(slot)])
            .await
    }

    fn slot_after(&self, after: DateTime<Utc>) -> Option<Slot> {
        self.binding.expression.slot_after(after, self.binding.timezone)
    }

    /// The durable state once `slot` is decided.
    fn state_after(&self, slot: DateTime<Utc>) -> StateWrite {
        let state = json!({
            "slot": slot.to_rfc3339_opts(SecondsFormat::Secs, true),
            "expression": self.binding.expression.as_str(),
            "timezone": self.binding.timezone.name(),
        });
        StateWrite {
            key: state_key(&self.binding.id),
            value: Some(state.to_string().into_bytes()),
        }
    }
}

/// How long to wait after so many failed attempts, at least one, to store something.
pub(crate) fn retry_after(failures: u32) -> TimeDelta {
    let wait = FIRST_RETRY * 2_i32.saturating_pow(failures.clamp(1, 10) - 1);
    wait.min(LONGEST_RETRY)
}

/// The beginning of a schedule that begins at `time`: what is durable knows no fractions.
fn whole_second(time: DateTime<Utc>) -> DateTime<Utc> {
    time - TimeDelta::nanoseconds(time.timestamp_subsec_nanos().into())
}

fn missed(slot: DateTime<Utc>, now: DateTime<Utc>, rule: &str) -> Step {
    Step {
        slot,
        action: Action::Skip(format!("missed by {}; {rule}", in_words(now - slot))),
    }
}

/// Missed slots that share one record.
struct Older {
    count: u64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

impl Older {
    fn with(older: Option<Self>, slot: DateTime<Utc>) -> Self {
        older.map_or(
            Self {
                count: 1,
                first: slot,
                last: slot,
            },
            |older| Self {
                count: older.count + 1,
                last: slot,
                ..older
            },
        )
    }

    fn step(self, catch_up: CatchUp, keep: usize) -> Step {
        let rule = match catch_up {
            CatchUp::None => NO_CATCH_UP.to_owned(),
            CatchUp::Last => ONLY_THE_LAST.to_owned(),
            CatchUp::All => format!("catchUpLimit is {keep}"),
        };
        let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (first, last) = (text(self.first), text(self.last));
        let slots = if self.count == 1 { "slot" } else { "slots" };
        let reason = format!("missed {} {slots} from {first} to {last}; {rule}", self.count);
        Step {
            slot: self.last,
            action: Action::Skip(reason),
        }
    }
}

/// A span in its two largest units: `2h 5m`.
fn in_words(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let units = [
        ("d", seconds / 86_400),
        ("h", seconds / 3_600 % 24),
        ("m", seconds / 60 % 60),
        ("s", seconds % 60),
    ];
    let first = units
        .iter()
        .position(|(_, count)| *count > 0)
        .unwrap_or(units.len() - 1);
    let parts: Vec<String> = units[first..]
        .iter()
        .take(2)
        .enumerate()
        .filter(|(index, (_, count))| *index == 0 || *count > 0)
        .map(|(_, (unit, count))| format!("{count}{unit}"))
        .collect();
    parts.join(" ")
}
