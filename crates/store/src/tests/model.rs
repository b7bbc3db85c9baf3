//! The queue against a model of it that is too simple to be wrong.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::{EventQueue, Lease, Settlement, StoreError};

const FUNCTIONS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Enqueue { function: usize, group: Option<u8> },
    Lease { max: usize, busy: usize },
    Settle { which: usize, how: How },
    SettleAgain,
    Wait { seconds: i64 },
    Redrive { function: Option<usize> },
    RedriveNewest,
    Purge { function: Option<usize> },
    Restart,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Done,
    Retry { after: i64 },
    Bury,
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![
        3 => Just(How::Done),
        2 => (0..40i64).prop_map(|after| How::Retry { after }),
        2 => Just(How::Bury),
        1 => Just(How::Release),
    ];
    prop_oneof![
        8 => (0..3usize, prop::option::of(0..3u8)).prop_map(|(function, group)| Step::Enqueue { function, group }),
        5 => (0..5usize, 0..8usize).prop_map(|(max, busy)| Step::Lease { max, busy }),
        8 => (any::<prop::sample::Index>(), how).prop_map(|(which, how)| Step::Settle { which: which.index(1_000), how }),
        1 => Just(Step::SettleAgain),
        3 => (0..30i64).prop_map(|seconds| Step::Wait { seconds }),
        1 => prop::option::of(0..3usize).prop_map(|function| Step::Redrive { function }),
        1 => Just(Step::RedriveNewest),
        1 => prop::option::of(0..3usize).prop_map(|function| Step::Purge { function }),
        1 => Just(Step::Restart),
    ]
}

#[derive(Debug, Clone)]
struct Entry {
    event: NewEvent,
    due: DateTime<Utc>,
    attempts: u32,
    leased: bool,
}

/// In order of acceptance.
#[derive(Default)]
struct Model {
    queue: Vec<Entry>,
    dead: Vec<NewEvent>,
}

impl Model {
    fn add(&mut self, event: NewEvent) {
        self.queue.push(Entry {
            due: event.accepted_at,
            event,
            attempts: 0,
            leased: false,
        });
    }

    fn ready(&self, busy: &[FunctionName]) -> Vec<usize> {
        let mut groups = HashSet::new();
        let mut ready = Vec::new();
        for (index, entry) in self.queue.iter().enumerate() {
            let first = entry
                .event
                .group
                .as_ref()
                .is_none_or(|group| groups.insert(group.clone()));
            if first && !entry.leased && !busy.contains(&entry.event.function) {
                ready.push(index);
            }
        }
        ready.sort_by_key(|index| (self.queue[*index].due, *index));
        ready
    }

    fn position(&self, lease: &Lease) -> usize {
        self.queue
            .iter()
            .position(|entry| entry.event.request_id == lease.event.request_id)
            .unwrap()
    }

    fn take_dead(&mut self, wanted: impl Fn(&NewEvent) -> bool) -> Vec<NewEvent> {
        let (taken, left) = std::mem::take(&mut self.dead).into_iter().partition(wanted);
        self.dead = left;
        taken
    }
}

async fn play(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = super::open_in(dir.path()).unwrap();
    let mut model = Model::default();
    let mut held: Vec<Lease> = Vec::new();
    let mut lost: Vec<Lease> = Vec::new();
    let mut now = 0;
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Enqueue { function, group } => {
                let new = NewEvent {
                    group: group.map(|group| group.to_string()),
                    accepted_at: at(now),
                    ..event(FUNCTIONS[function], &number.to_string())
                };
                store.enqueue(new.clone(), vec![]).await.unwrap();
                model.add(new);
            }
            Step::Lease { max, busy } => {
                let busy: Vec<_> = (0..3)
                    .filter(|bit| busy >> bit & 1 == 1)
                    .map(|bit| function(FUNCTIONS[bit]))
                    .collect();
                let leases = store.lease(at(now), max, &busy).await.unwrap();
                let mut expected = model.ready(&busy);
                expected.retain(|index| model.queue[*index].due <= at(now));
                expected.truncate(max);
                let expected: Vec<_> = expected
                    .into_iter()
                    .map(|index| {
                        model.queue[index].leased = true;
                        (model.queue[index].event.clone(), model.queue[index].attempts)
                    })
                    .collect();
                assert_eq!(
                    leases.iter().map(|l| (l.event.clone(), l.attempts)).collect::<Vec<_>>(),
                    expected
                );
                held.extend(leases);
            }
            Step::Settle { which, how } if !held.is_empty() => {
                let lease = held.swap_remove(which % held.len());
                let index = model.position(&lease);
                let settlement = match how {
                    How::Done => {
                        model.queue.remove(index);
                        Settlement::Done
                    }
                    How::Bury => {
                        model.dead.push(model.queue.remove(index).event);
                        Settlement::Bury(burial())
                    }
                    How::Retry { after } => {
                        let entry = &mut model.queue[index];
                        (entry.due, entry.attempts, entry.leased) = (at(now + after), entry.attempts + 1, false);
                        Settlement::Retry {
                            due: entry.due,
                            attempts: entry.attempts,
                            throttles: 0,
                        }
                    }
                    How::Release => {
                        model.queue[index].leased = false;
                        Settlement::Release
                    }
                };
                store
                    .settle(&lease, settlement, Some(run("a", "1")), None)
                    .await
                    .unwrap();
                lost.push(lease);
            }
            Step::Settle { .. } => {}
            Step::SettleAgain => {
                for lease in &lost {
                    let refused = store.settle(lease, Settlement::Done, None, None).await;
                    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
                }
            }
            Step::Wait { seconds } => now += seconds,
            Step::Redrive { function: name } => {
                let name = name.map(|name| function(FUNCTIONS[name]));
                let moved = model.take_dead(|event| name.as_ref().is_none_or(|name| *name == event.function));
                assert_eq!(
                    store.redrive(None, name.as_ref(), at(now)).await.unwrap(),
                    moved.len() as u64
                );
                for event in moved {
                    model.add(NewEvent {
                        accepted_at: at(now),
                        ..event
                    });
                }
            }
            Step::RedriveNewest => {
                if let Some(letter) = store.dead_letters(None, 1).await.unwrap().first() {
                    let event = model.dead.pop().unwrap();
                    assert_eq!(store.dead_letter(letter.id).await.unwrap().unwrap().event, event);
                    assert_eq!(store.redrive(Some(letter.id), None, at(now)).await.unwrap(), 1);
                    model.add(NewEvent {
                        accepted_at: at(now),
                        ..event
                    });
                }
            }
            Step::Purge { function: name } => {
                let name = name.map(|name| function(FUNCTIONS[name]));
                let gone = model.take_dead(|event| name.as_ref().is_none_or(|name| *name == event.function));
                assert_eq!(store.purge(None, name.as_ref()).await.unwrap(), gone.len() as u64);
            }
            Step::Restart => {
                drop(store);
                store = super::open_in(dir.path()).unwrap();
                lost.append(&mut held);
                model.queue.iter_mut().for_each(|entry| entry.leased = false);
            }
        }
        let next = model.ready(&[]).first().map(|index| model.queue[*index].due);
        assert_eq!(store.next_due(&[]).await.unwrap(), next);
        assert_eq!(store.depth().await.unwrap(), model.queue.len() as u64);
    }
    let letters = store.dead_letters(None, 1_000).await.unwrap();
    let ids = letters.iter().map(|letter| &letter.event.request_id);
    assert!(ids.eq(model.dead.iter().rev().map(|event| &event.request_id)));
    for name in FUNCTIONS {
        let binding = BindingId::new(&function(name), "drop");
        let count = model
            .queue
            .iter()
            .filter(|entry| entry.event.binding.as_ref() == Some(&binding))
            .count();
        assert_eq!(store.pending(&binding).await.unwrap(), count as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_is_like_its_model(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(steps));
    }
}
