//! One running schedule: which slots it decided, and what it decides about the next one.

use std::collections::VecDeque;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hikigane_trigger::model::{BindingId, Event, StateWrite};
use hikigane_trigger::{Clock, Context, EmitError};
use serde::Deserialize;
use serde_json::json;

use crate::config::{Binding, CatchUp, Overlap};
use crate::event::scheduled_event;
use crate::expression::{Gap, Slot};

/// A slot that is decided later than this was missed: the process was down, the machine asleep or the disk full.
pub const MISSED_AFTER: TimeDelta = TimeDelta::seconds(60);

/// Skips of missed slots that get a record of their own; older ones share one.
const SKIP_RECORDS: usize = 100;
const NO_CATCH_UP: &str = "catchUp is none";
const ONLY_THE_LAST: &str = "catchUp runs only the last missed slot";
/// The wait after the first failed attempt to decide a slot; it doubles with each further one.
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
        // A state from the future was written by a clock that ran ahead: waiting for that time would be silence.
        let latest = now + TimeDelta::hours(1);
        let decided = known
            .filter(|known| known.expression == binding.expression.as_str())
            .filter(|known| known.timezone == binding.timezone.name())
            .filter(|known| known.slot <= latest)
            .map_or(
                now - TimeDelta::nanoseconds(now.timestamp_subsec_nanos().into()),
                |known| known.slot,
            );
        Self {
            binding,
            catch_up_limit,
            decided,
            plan: VecDeque::new(),
            failures: 0,
        }
    }

    /// Its durable state as it is now.
    pub fn state(&self) -> StateWrite {
        self.state_after(self.decided)
    }

    /// The next time after `now` at which it fires.
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut after = now;
        loop {
            match self.slot_after(after)? {
                Slot::Fires(at) => return Some(at),
                Slot::Gap(gap) => after = gap.at,
            }
        }
    }

    /// When [`Self::decide`] has something to do; `None`: never again.
    pub fn wake(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.failures > 0 {
            let wait = FIRST_RETRY * 2_i32.saturating_pow(self.failures.min(10) - 1);
            return Some(now + wait.min(LONGEST_RETRY));
        }
        match self.plan.front() {
            Some(step) => Some(step.slot),
            None => self.slot_after(self.decided).map(|slot| slot.at()),
        }
    }

    /// Decides the next slot that is due. When the event or the record cannot be stored, the slot stays undecided.
    pub async fn decide(mut self, context: &Context, lateness: Lateness) -> Self {
        if self.plan.is_empty() {
            self.plan = self.make_plan(context.clock.now(), lateness);
        }
        if let Some(step) = self.plan.front() {
            match self.carry_out(step, context).await {
                Ok(()) => {
                    self.decided = step.slot;
                    self.plan.pop_front();
                    self.failures = 0;
                }
                Err(_) => {
                    self.failures = self.failures.saturating_add(1);
                    // By the next attempt the slot may count as missed, and others with it.
                    self.plan.clear();
                }
            }
        }
        self
    }

    /// What to do about the slots that are due or missed by `now`. Due slots are planned one by one.
    fn make_plan(&self, now: DateTime<Utc>, lateness: Lateness) -> VecDeque<Step> {
        match self.slot_after(self.decided) {
            Some(Slot::Fires(at)) if at <= now && !lateness.is_missed(at, now) => [Step {
                slot: at,
                action: Action::Run,
            }]
            .into(),
            Some(Slot::Gap(gap)) if gap.at <= now && !lateness.is_missed(gap.at, now) => [self.gap_step(&gap)].into(),
            Some(slot) if slot.at() <= now => self.make_up_plan(now, lateness),
            _ => VecDeque::new(),
        }
    }

    /// What to do about the missed slots: the catch-up rule.
    fn make_up_plan(&self, now: DateTime<Utc>, lateness: Lateness) -> VecDeque<Step> {
        let catch_up = self.binding.catch_up;
        let keep = match catch_up {
            CatchUp::None => SKIP_RECORDS,
            CatchUp::Last => SKIP_RECORDS + 1,
            CatchUp::All => self.catch_up_limit,
        };
        let mut recent: VecDeque<Slot> = VecDeque::with_capacity(keep + 1);
        let mut older: Option<Older> = None;
        let mut after = self.decided;
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
        let in_order = match &step.action {
            Action::Skip(reason) => return self.skip(step.slot, reason, context).await,
            Action::MakeUp => true,
            Action::Run if overlap == Overlap::Skip && context.events.pending(id).await? > 0 => {
                return self.skip(step.slot, "the previous run is still going", context).await;
            }
            Action::Run => overlap == Overlap::Queue,
        };
        let payload = match &self.binding.input {
            Some(input) => input.clone(),
            None => scheduled_event(id, step.slot).into(),
        };
        let mut event = Event::new(payload, step.slot);
        event.group = in_order.then(|| id.to_string());
        match context.events.emit(id, event, vec![self.state_after(step.slot)]).await {
            Ok(_) => Ok(()),
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
pub(crate) fn in_words(span: TimeDelta) -> String {
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
