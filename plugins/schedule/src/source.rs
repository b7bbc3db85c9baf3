//! The source: one task that drives all schedules.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hikigane_trigger::model::StateWrite;
use hikigane_trigger::{
    Announcement, Clock, Context, PluginState, Reports, Resource, Source, SourceError, async_trait,
};

use crate::announcement::announce;
use crate::config::{Binding, Settings};
use crate::schedule::{Decided, KEY_PREFIX, Lateness, Schedule, retry_after, state_key};

/// All schedules of a manifest.
pub(crate) struct ScheduleSource {
    settings: Settings,
    bindings: Vec<Binding>,
    /// Once it is open.
    opened: Option<Opened>,
}

/// What opening found out.
struct Opened {
    /// Slots from here on are decided by this source.
    at: DateTime<Utc>,
    /// The schedules as they were left.
    schedules: Vec<Schedule>,
    /// What has to become durable first, and could not.
    unwritten: Vec<StateWrite>,
}

impl ScheduleSource {
    pub fn new(settings: Settings, bindings: Vec<Binding>) -> Self {
        Self {
            settings,
            bindings,
            opened: None,
        }
    }
}

#[async_trait]
impl Source for ScheduleSource {
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// A first start is made durable here, before anybody is told that the server is up: what a crash before the first slot misses is
    /// known, however early it comes. The state of schedules that are gone is deleted.
    async fn open(&mut self, clock: &Clock, state: &PluginState) -> Result<Vec<Announcement>, SourceError> {
        let now = clock.now();
        let known = state.scan(KEY_PREFIX).await;
        let mut known: BTreeMap<_, _> = known
            .map_err(|error| SourceError(error.to_string()))?
            .into_iter()
            .collect();
        let mut schedules = Vec::with_capacity(self.bindings.len());
        let mut writes = Vec::new();
        for binding in self.bindings.drain(..) {
            let before = known.remove(&state_key(&binding.id));
            let decided = before.as_deref().and_then(Decided::from_bytes);
            let schedule = Schedule::new(binding, self.settings.catch_up_limit, decided, now);
            if schedule.state().value != before {
                writes.push(schedule.state());
            }
            schedules.push(schedule);
        }
        writes.extend(known.into_keys().map(|gone| StateWrite { key: gone, value: None }));
        if !writes.is_empty() && state.write(writes.clone()).await.is_ok() {
            writes.clear();
        }
        let announcements = schedules.iter().map(|schedule| announce(schedule, now)).collect();
        self.opened = Some(Opened {
            at: now,
            schedules,
            unwritten: writes,
        });
        Ok(announcements)
    }

    async fn run(self: Box<Self>, context: Context) -> Result<(), SourceError> {
        let opened = self
            .opened
            .ok_or_else(|| SourceError("schedules run once they are open".into()))?;
        let shutdown = context.shutdown.clone();
        tokio::select! {
            // First, so that what a stopping server refuses is no trouble to speak of.
            biased;
            // What is being stored when the token fires is stored whole or not at all.
            () = shutdown.cancelled() => Ok(()),
            () = opened.drive(&context) => Ok(()),
        }
    }
}

impl Opened {
    /// Decides every slot of every schedule when its time has come; ends only when it is dropped.
    async fn drive(self, context: &Context) {
        let clock = &context.clock;
        let lateness = Lateness::new(clock, self.at);
        let reports = Reports::of(crate::KIND);
        store(context, self.unwritten, &reports).await;
        let mut waiting = Waiting::default();
        for schedule in self.schedules {
            waiting.add(schedule, clock.now());
        }
        let mut deciding = FuturesUnordered::new();
        let mut latest = clock.now();
        // Time when those in `deciding` were due.
        let mut moment = DateTime::<Utc>::MIN_UTC;
        loop {
            let now = clock.now();
            if now < latest {
                waiting.look_at_clock(now);
                waiting.say_who_rests(now, &reports);
            }
            latest = now;
            while let Some(due) = waiting.next().filter(|due| *due <= now) {
                // A jump of a virtual clock replays the time between: one moment after the other, over all schedules.
                if clock.is_virtual() && due != moment && !deciding.is_empty() {
                    break;
                }
                moment = due;
                // Those due together are stored together: the store commits in groups.
                deciding.extend(waiting.take().map(|schedule| schedule.decide(context, lateness)));
            }
            tokio::select! {
                Some((schedule, trouble)) = deciding.next() => {
                    if let Some(trouble) = trouble {
                        say_trouble(&reports, &trouble);
                    }
                    waiting.add(schedule, clock.now());
                }
                () = until(clock, waiting.next()), if waiting.next().is_none_or(|due| due > now) => {}
            }
        }
    }
}

/// Repeats a write that the plug-in's state refuses until it succeeds.
async fn store(context: &Context, writes: Vec<StateWrite>, reports: &Reports) {
    let mut failures = 0;
    while !writes.is_empty()
        && let Err(error) = context.state.write(writes.clone()).await
    {
        say_trouble(reports, &format!("all schedules have to wait: {error}"));
        failures = u32::saturating_add(failures, 1);
        let again = context.clock.now() + retry_after(failures);
        context.clock.sleep_until(again).await;
    }
}

/// Says that something cannot be stored: one subject, however many schedules it holds up.
fn say_trouble(reports: &Reports, trouble: &str) {
    reports.say_about("the store", &format!("{trouble}; it is tried again"));
}

async fn until(clock: &Clock, time: Option<DateTime<Utc>>) {
    match time {
        Some(time) => clock.sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Schedules that have nothing to do yet, ordered by the time when they have, then as they came.
#[derive(Default)]
struct Waiting {
    schedules: BTreeMap<(DateTime<Utc>, u64), Schedule>,
    added: u64,
}

impl Waiting {
    /// Adds a schedule, unless it has come to its end.
    fn add(&mut self, mut schedule: Schedule, now: DateTime<Utc>) {
        schedule.look_at_clock(now);
        if let Some(wake) = schedule.wake(now) {
            self.schedules.insert((wake, self.added), schedule);
            self.added += 1;
        }
    }

    /// Lets all look at a clock that was set back.
    fn look_at_clock(&mut self, now: DateTime<Utc>) {
        for (_, schedule) in std::mem::take(&mut self.schedules) {
            self.add(schedule, now);
        }
    }

    /// Says that schedules rest because the clock went back to `now`: silence would look like a fault.
    fn say_who_rests(&self, now: DateTime<Utc>, reports: &Reports) {
        let decided = self.schedules.values().map(Schedule::decided);
        if let Some(until) = decided.max().filter(|decided| *decided - now > TimeDelta::minutes(1)) {
            let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
            let (now, until) = (text(now), text(until));
            reports.say(&format!(
                "the clock went back to {now}; slots until {until} were decided before, and none is run twice"
            ));
        }
    }

    fn next(&self) -> Option<DateTime<Utc>> {
        self.schedules.first_key_value().map(|((wake, _), _)| *wake)
    }

    fn take(&mut self) -> Option<Schedule> {
        self.schedules.pop_first().map(|(_, schedule)| schedule)
    }
}
