//! Random lives of a schedule, with stops, kills and runs that take long, against a model of what is decided about each slot.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use chrono::{DateTime, TimeDelta, Utc};
use hikigane_trigger::SourceSpec;
use proptest::prelude::*;
use serde_json::json;
use support::{Machine, Record, binding, utc};

const BEGIN: &str = "2026-01-01T00:00:00Z";
const CATCH_UP_LIMIT: usize = 7;
/// Skipped slots that have a record of their own; older ones share one.
const SKIP_RECORDS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    Skip,
    Allow,
    Queue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CatchUp {
    None,
    Last,
    All,
}

/// Something that happens to the server; times in minutes, each of which has a slot.
#[derive(Debug, Clone)]
enum Happening {
    Passes(u32),
    /// It is stopped, for so long.
    Stops(u32),
    /// So much time passes at once, or is made up for at a start; in the midst of it the server is killed, and is down for a while.
    Dies {
        starting: bool,
        passes: u32,
        turns: u32,
        down: u32,
    },
    /// The previous run goes on from now on, or is done.
    Pending(bool),
}

/// What is decided about a slot, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decision {
    Run,
    Beside,
    NotDone,
    Missed,
    /// So many missed slots, the last of them is the record's.
    Shared(usize),
}

/// The rules, in the plainest form.
struct Model {
    overlap: Overlap,
    catch_up: CatchUp,
    pending: bool,
    decided: DateTime<Utc>,
    records: Vec<(DateTime<Utc>, Decision)>,
}

impl Model {
    fn slots_until(&self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let minutes = (now - self.decided).num_minutes();
        (1..=minutes)
            .map(|minute| self.decided + TimeDelta::minutes(minute))
            .collect()
    }

    fn due(&self) -> Decision {
        match self.overlap {
            Overlap::Skip if self.pending => Decision::NotDone,
            Overlap::Allow => Decision::Beside,
            Overlap::Skip | Overlap::Queue => Decision::Run,
        }
    }

    fn decide(&mut self, slot: DateTime<Utc>, decision: Decision) {
        self.records.push((slot, decision));
        self.decided = slot;
    }

    fn passes(&mut self, now: DateTime<Utc>) {
        for slot in self.slots_until(now) {
            self.decide(slot, self.due());
        }
    }

    fn starts(&mut self, now: DateTime<Utc>) {
        let slots = self.slots_until(now);
        let alone = match self.catch_up {
            CatchUp::None => SKIP_RECORDS,
            CatchUp::Last => SKIP_RECORDS + 1,
            CatchUp::All => CATCH_UP_LIMIT,
        };
        let (older, recent) = slots.split_at(slots.len().saturating_sub(alone));
        if let Some(last) = older.last() {
            self.decide(*last, Decision::Shared(older.len()));
        }
        for (index, slot) in recent.iter().enumerate() {
            let decision = match self.catch_up {
                CatchUp::All => Decision::Run,
                CatchUp::Last if index + 1 == recent.len() => self.due(),
                CatchUp::Last | CatchUp::None => Decision::Missed,
            };
            self.decide(*slot, decision);
        }
    }

    /// The server died when it had made so many records.
    fn forget_after(&mut self, records: usize, decided_before: DateTime<Utc>) {
        self.records.truncate(records);
        self.decided = self.records.last().map_or(decided_before, |(slot, _)| *slot);
    }
}

fn read(record: &Record) -> (DateTime<Utc>, Decision) {
    match record {
        Record::Event { event, .. } if event.group.is_some() => (event.time, Decision::Run),
        Record::Event { event, .. } => (event.time, Decision::Beside),
        Record::Skip { time, reason, .. } => {
            let decision = if reason.starts_with("the previous run") {
                Decision::NotDone
            } else if reason.starts_with("missed by") {
                Decision::Missed
            } else {
                let count = reason.strip_prefix("missed ").and_then(|rest| rest.split(' ').next());
                Decision::Shared(count.unwrap().parse().unwrap())
            };
            (*time, decision)
        }
    }
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        3 => (0_u32..6).prop_map(Happening::Passes),
        2 => prop_oneof![0_u32..6, 90_u32..130].prop_map(Happening::Stops),
        3 => (any::<bool>(), 0_u32..12, 0_u32..24, prop_oneof![0_u32..6, 90_u32..130])
            .prop_map(|(starting, passes, turns, down)| Happening::Dies { starting, passes, turns, down }),
        2 => any::<bool>().prop_map(Happening::Pending),
    ];
    prop::collection::vec(happening, 1..12)
}

async fn live(overlap: Overlap, catch_up: CatchUp, happenings: &[Happening]) {
    let word = |word: String| word.to_lowercase();
    let config = json!({
        "rate": "rate(1 minute)",
        "overlap": word(format!("{overlap:?}")),
        "catchUp": word(format!("{catch_up:?}")),
    });
    let spec = SourceSpec {
        settings: Some(json!({ "catchUpLimit": CATCH_UP_LIMIT })),
        bindings: vec![binding("f/x", config)],
        ..SourceSpec::default()
    };
    let mut now = utc(BEGIN);
    let machine = Machine::at(BEGIN);
    let mut model = Model {
        overlap,
        catch_up,
        pending: false,
        decided: now,
        records: Vec::new(),
    };
    let mut server = machine.start_with(spec.clone()).await;
    for happening in happenings {
        let mut pass = |minutes: u32| {
            now += TimeDelta::minutes(minutes.into());
            machine.clock.advance_to(now);
            now
        };
        match happening {
            Happening::Passes(minutes) => model.passes(pass(*minutes)),
            Happening::Stops(minutes) => {
                server.stop().await;
                model.starts(pass(*minutes));
                server = machine.start_with(spec.clone()).await;
            }
            Happening::Dies {
                starting,
                passes,
                turns,
                down,
            } => {
                let decided = model.decided;
                if *starting {
                    server.stop().await;
                    model.starts(pass(*passes));
                    server = machine.start_with(spec.clone()).await;
                } else {
                    model.passes(pass(*passes));
                }
                for _ in 0..*turns {
                    tokio::task::yield_now().await;
                }
                server.kill().await;
                let made = machine.records().len();
                assert!(made <= model.records.len());
                model.forget_after(made, decided);
                model.starts(pass(*down));
                server = machine.start_with(spec.clone()).await;
            }
            Happening::Pending(pending) => {
                model.pending = *pending;
                machine.change(|world| world.pending = (*pending).into());
            }
        }
        machine.until(|world| world.records.len() >= model.records.len()).await;
        let records: Vec<_> = machine.records().iter().map(read).collect();
        assert_eq!(records, model.records, "after {happening:?}");
    }
    server.stop().await;
    assert_eq!(machine.records().len(), model.records.len());
}

proptest! {
    #[test]
    fn every_slot_is_decided_once_and_as_the_model_says(
        overlap in prop::sample::select(vec![Overlap::Skip, Overlap::Allow, Overlap::Queue]),
        catch_up in prop::sample::select(vec![CatchUp::None, CatchUp::Last, CatchUp::All]),
        happenings in happenings(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(overlap, catch_up, &happenings));
    }
}
