//! What a queue promises, one promise a test.

use bytes::Bytes;
use chrono::TimeDelta;
use hikigane_model::{BindingId, Qualifier};

use super::*;
use crate::{DeadLetter, EventQueue, Lease, RunFilter, Settlement, StoreError};

contracts! {
    every_field_comes_back
    due_events_are_leased_oldest_first
    functions_at_their_limit_are_passed_over
    a_leased_event_is_not_given_twice
    a_lease_that_is_not_held_is_refused
    retry_waits_and_keeps_the_number
    release_undoes_a_lease
    what_follows_is_queued_with_the_settlement_or_not_at_all
    one_group_runs_in_order_one_at_a_time
    a_group_waits_for_the_retry_of_its_earliest
    next_due_is_when_a_lease_would_give_something
    what_is_due_too_late_is_due_now
    pending_counts_one_binding_until_it_is_done
    buried_events_are_listed_newest_first
    redriven_events_are_fresh
    purged_letters_are_gone
}

fn ids(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.event.request_id.as_str()).collect()
}

async fn lease_all(queue: &dyn EventQueue, seconds: i64) -> Vec<Lease> {
    queue.lease(at(seconds), 100, &[]).await.unwrap()
}

async fn every_field_comes_back(queue: &dyn EventQueue) {
    let full = NewEvent {
        version: Qualifier::Version(7),
        client_context: Some("{}".into()),
        trace: Some("Root=1".into()),
        group: Some("g".into()),
        payload: Bytes::from_static(b"{\"k\": \"\xc3\xa9\", \"n\": 1.0}"),
        accepted_at: at(3) + TimeDelta::microseconds(123_456),
        ..event("f", "full")
    };
    let bare = NewEvent {
        binding: None,
        version: Qualifier::Alias("live".into()),
        accepted_at: at(4),
        ..event("f", "bare")
    };
    for event in [&full, &bare] {
        queue.enqueue(event.clone(), vec![]).await.unwrap();
    }
    let leases = lease_all(queue, 10).await;
    assert_eq!(
        leases.iter().map(|lease| &lease.event).collect::<Vec<_>>(),
        [&full, &bare]
    );
    assert!(leases.iter().all(|lease| (lease.attempts, lease.throttles) == (0, 0)));
    assert!(leases[0].id < leases[1].id);
    queue
        .settle(&leases[0], Settlement::Bury(burial()), None, None)
        .await
        .unwrap();
    let letters = queue.dead_letters(None, 10).await.unwrap();
    let letter = queue.dead_letter(letters[0].id).await.unwrap().unwrap();
    assert_eq!((&letter.event, &letter.burial), (&full, &burial()));
    let brief = DeadLetter {
        event: NewEvent {
            payload: Bytes::new(),
            ..full
        },
        burial: Burial {
            response: None,
            ..burial()
        },
        ..letter
    };
    assert_eq!(letters, [brief]);
    assert_eq!(queue.dead_letter(letters[0].id + 1).await.unwrap(), None);
}

async fn due_events_are_leased_oldest_first(queue: &dyn EventQueue) {
    for (name, id, seconds) in [
        ("b", "2", 2),
        ("a", "1", 1),
        ("a", "3", 3),
        ("b", "1b", 1),
        ("c", "later", 20),
    ] {
        queue
            .enqueue(
                NewEvent {
                    accepted_at: at(seconds),
                    ..event(name, id)
                },
                vec![],
            )
            .await
            .unwrap();
    }
    assert!(queue.lease(at(10), 0, &[]).await.unwrap().is_empty());
    assert_eq!(ids(&queue.lease(at(10), 3, &[]).await.unwrap()), ["1", "1b", "2"]);
    assert_eq!(ids(&queue.lease(at(10), 3, &[]).await.unwrap()), ["3"]);
    assert_eq!(ids(&lease_all(queue, 20).await), ["later"]);
    assert_eq!(queue.depth().await.unwrap(), 5);
}

async fn functions_at_their_limit_are_passed_over(queue: &dyn EventQueue) {
    for (name, id) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        queue.enqueue(event(name, id), vec![]).await.unwrap();
    }
    assert_eq!(
        ids(&queue
            .lease(at(1), 10, &[function("a"), function("none")])
            .await
            .unwrap()),
        ["2", "4"]
    );
    assert_eq!(ids(&lease_all(queue, 1).await), ["1", "3"]);
}

async fn a_leased_event_is_not_given_twice(queue: &dyn EventQueue) {
    queue.enqueue(event("f", "1"), vec![]).await.unwrap();
    let lease = lease_all(queue, 1).await.remove(0);
    assert!(lease_all(queue, 100_000).await.is_empty());
    queue.settle(&lease, Settlement::Done, None, None).await.unwrap();
    assert!(lease_all(queue, 100_000).await.is_empty());
    assert_eq!(queue.depth().await.unwrap(), 0);
}

async fn a_lease_that_is_not_held_is_refused(store: &dyn Store) {
    store.enqueue(event("f", "1"), vec![]).await.unwrap();
    let first = lease_all(store, 1).await.remove(0);
    store.settle(&first, Settlement::Release, None, None).await.unwrap();
    let again = lease_all(store, 1).await.remove(0);
    assert_eq!(first.id, again.id);
    assert!(first.token < again.token);
    let retry = Settlement::Retry {
        due: at(9),
        attempts: 1,
        throttles: 0,
    };
    for settlement in [Settlement::Done, retry, Settlement::Bury(burial()), Settlement::Release] {
        let refused = store.settle(&first, settlement, Some(run("f", "1")), None).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    }
    assert!(
        store
            .runs(RunFilter {
                limit: 10,
                ..RunFilter::default()
            })
            .await
            .unwrap()
            .is_empty()
    );
    store.settle(&again, Settlement::Done, None, None).await.unwrap();
    assert!(matches!(
        store.settle(&again, Settlement::Done, None, None).await,
        Err(StoreError::LeaseLost)
    ));
}

async fn retry_waits_and_keeps_the_number(store: &dyn Store) {
    store.enqueue(event("f", "1"), vec![]).await.unwrap();
    let first = lease_all(store, 1).await.remove(0);
    let retry = Settlement::Retry {
        due: at(60),
        attempts: 1,
        throttles: 4,
    };
    store.settle(&first, retry, Some(run("f", "1")), None).await.unwrap();
    assert_eq!(
        store
            .runs(RunFilter {
                limit: 10,
                ..RunFilter::default()
            })
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(lease_all(store, 59).await.is_empty());
    let second = lease_all(store, 60).await.remove(0);
    assert_eq!((second.id, second.attempts, second.throttles), (first.id, 1, 4));
    assert_eq!(second.event, first.event);
}

async fn release_undoes_a_lease(queue: &dyn EventQueue) {
    queue.enqueue(event("f", "1"), vec![]).await.unwrap();
    let lease = lease_all(queue, 1).await.remove(0);
    queue
        .settle(
            &lease,
            Settlement::Retry {
                due: at(60),
                attempts: 1,
                throttles: 2,
            },
            None,
            None,
        )
        .await
        .unwrap();
    let lease = lease_all(queue, 61).await.remove(0);
    queue.settle(&lease, Settlement::Release, None, None).await.unwrap();
    assert_eq!(queue.next_due(&[]).await.unwrap(), Some(at(60)));
    let again = lease_all(queue, 60).await.remove(0);
    assert_eq!((again.attempts, again.throttles), (1, 2));
}

async fn what_follows_is_queued_with_the_settlement_or_not_at_all(queue: &dyn EventQueue) {
    queue.enqueue(event("f", "1"), vec![]).await.unwrap();
    let lease = lease_all(queue, 1).await.remove(0);
    let follow = || Some(event("g", "2"));
    queue.settle(&lease, Settlement::Done, None, follow()).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 1);
    let refused = queue.settle(&lease, Settlement::Done, None, follow()).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    let leases = lease_all(queue, 1).await;
    assert_eq!(
        leases.iter().map(|lease| &lease.event).collect::<Vec<_>>(),
        [&event("g", "2")]
    );
    queue
        .settle(&leases[0], Settlement::Bury(burial()), None, follow())
        .await
        .unwrap();
    assert_eq!(ids(&lease_all(queue, 1).await), ["2"]);
}

async fn one_group_runs_in_order_one_at_a_time(queue: &dyn EventQueue) {
    for (id, group) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")] {
        queue.enqueue(grouped("f", id, group), vec![]).await.unwrap();
    }
    let leases = lease_all(queue, 1).await;
    assert_eq!(ids(&leases), ["a1", "b1"]);
    queue.settle(&leases[0], Settlement::Done, None, None).await.unwrap();
    let leases = lease_all(queue, 1).await;
    assert_eq!(ids(&leases), ["a2"]);
    queue
        .settle(&leases[0], Settlement::Bury(burial()), None, None)
        .await
        .unwrap();
    // One that comes while another of the group is out waits, too.
    let leases = lease_all(queue, 1).await;
    assert_eq!(ids(&leases), ["a3"]);
    queue.enqueue(grouped("f", "a4", "a"), vec![]).await.unwrap();
    assert!(lease_all(queue, 1).await.is_empty());
    queue.settle(&leases[0], Settlement::Done, None, None).await.unwrap();
    assert_eq!(ids(&lease_all(queue, 1).await), ["a4"]);
}

async fn a_group_waits_for_the_retry_of_its_earliest(queue: &dyn EventQueue) {
    for id in ["1", "2"] {
        queue.enqueue(grouped("f", id, "g"), vec![]).await.unwrap();
    }
    let lease = lease_all(queue, 1).await.remove(0);
    queue
        .settle(
            &lease,
            Settlement::Retry {
                due: at(60),
                attempts: 1,
                throttles: 0,
            },
            None,
            None,
        )
        .await
        .unwrap();
    assert!(lease_all(queue, 59).await.is_empty());
    assert_eq!(ids(&lease_all(queue, 60).await), ["1"]);
}

async fn next_due_is_when_a_lease_would_give_something(queue: &dyn EventQueue) {
    assert_eq!(queue.next_due(&[]).await.unwrap(), None);
    queue
        .enqueue(
            NewEvent {
                accepted_at: at(5),
                ..event("a", "a")
            },
            vec![],
        )
        .await
        .unwrap();
    queue
        .enqueue(
            NewEvent {
                accepted_at: at(9),
                ..grouped("b", "b1", "g")
            },
            vec![],
        )
        .await
        .unwrap();
    queue
        .enqueue(
            NewEvent {
                accepted_at: at(8),
                ..grouped("b", "b2", "g")
            },
            vec![],
        )
        .await
        .unwrap();
    assert_eq!(queue.next_due(&[]).await.unwrap(), Some(at(5)));
    // Not 8: that event waits for the one before it.
    assert_eq!(queue.next_due(&[function("a")]).await.unwrap(), Some(at(9)));
    assert_eq!(queue.next_due(&[function("a"), function("b")]).await.unwrap(), None);
    assert_eq!(ids(&lease_all(queue, 9).await), ["a", "b1"]);
    assert_eq!(queue.next_due(&[]).await.unwrap(), None);
}

async fn what_is_due_too_late_is_due_now(queue: &dyn EventQueue) {
    for (id, seconds) in [("now", 5), ("soon", 300), ("late", 301), ("later", 9_000)] {
        let accepted_at = at(seconds);
        queue
            .enqueue(
                NewEvent {
                    accepted_at,
                    ..event("f", id)
                },
                vec![],
            )
            .await
            .unwrap();
    }
    queue.hasten(at(300), at(10)).await.unwrap();
    assert_eq!(ids(&lease_all(queue, 10).await), ["now", "late", "later"]);
    assert_eq!(ids(&lease_all(queue, 300).await), ["soon"]);
}

async fn pending_counts_one_binding_until_it_is_done(queue: &dyn EventQueue) {
    let binding = BindingId::new(&function("a"), "drop");
    for (name, id) in [("a", "1"), ("a", "2"), ("b", "3")] {
        queue.enqueue(event(name, id), vec![]).await.unwrap();
    }
    assert_eq!(queue.pending(&binding).await.unwrap(), 2);
    let leases = queue.lease(at(1), 10, &[function("b")]).await.unwrap();
    queue
        .settle(
            &leases[0],
            Settlement::Retry {
                due: at(60),
                attempts: 1,
                throttles: 0,
            },
            None,
            None,
        )
        .await
        .unwrap();
    assert_eq!(queue.pending(&binding).await.unwrap(), 2);
    queue.settle(&leases[1], Settlement::Done, None, None).await.unwrap();
    assert_eq!(queue.pending(&binding).await.unwrap(), 1);
    assert_eq!(queue.depth().await.unwrap(), 2);
}

/// Buries events with these functions and ids.
async fn bury(queue: &dyn EventQueue, events: Vec<NewEvent>) {
    for event in events {
        queue.enqueue(event, vec![]).await.unwrap();
        for lease in lease_all(queue, 1).await {
            queue
                .settle(&lease, Settlement::Bury(burial()), None, None)
                .await
                .unwrap();
        }
    }
}

async fn letter_ids(queue: &dyn EventQueue, name: Option<&str>) -> Vec<String> {
    let letters = queue.dead_letters(name.map(function).as_ref(), 100).await.unwrap();
    letters
        .iter()
        .map(|letter| letter.event.request_id.to_string())
        .collect()
}

async fn buried_events_are_listed_newest_first(store: &dyn Store) {
    bury(store, vec![event("a", "1"), event("b", "2"), event("a", "3")]).await;
    assert_eq!(letter_ids(store, None).await, ["3", "2", "1"]);
    assert_eq!(letter_ids(store, Some("a")).await, ["3", "1"]);
    assert_eq!(store.dead_letters(None, 1).await.unwrap().len(), 1);
    assert_eq!(
        (store.depth().await.unwrap(), store.next_due(&[]).await.unwrap()),
        (0, None)
    );
}

async fn redriven_events_are_fresh(queue: &dyn EventQueue) {
    bury(
        queue,
        vec![
            event("a", "1"),
            event("b", "2"),
            grouped("a", "3", "g"),
            grouped("a", "4", "g"),
        ],
    )
    .await;
    let two = queue.dead_letters(Some(&function("b")), 1).await.unwrap()[0].id;
    assert_eq!(
        queue.redrive(Some(two), Some(&function("a")), at(100)).await.unwrap(),
        0
    );
    assert_eq!(queue.redrive(Some(two), None, at(100)).await.unwrap(), 1);
    assert_eq!(queue.redrive(Some(two), None, at(100)).await.unwrap(), 0);
    let lease = lease_all(queue, 100).await.remove(0);
    assert_eq!(
        lease.event,
        NewEvent {
            accepted_at: at(100),
            ..event("b", "2")
        }
    );
    assert_eq!((lease.attempts, lease.throttles), (0, 0));

    assert_eq!(queue.redrive(None, Some(&function("a")), at(200)).await.unwrap(), 3);
    assert_eq!(queue.next_due(&[]).await.unwrap(), Some(at(200)));
    assert_eq!(ids(&lease_all(queue, 200).await), ["1", "3"]);
    assert_eq!(
        (letter_ids(queue, None).await.len(), queue.depth().await.unwrap()),
        (0, 4)
    );
}

async fn purged_letters_are_gone(queue: &dyn EventQueue) {
    bury(
        queue,
        vec![event("a", "1"), event("b", "2"), event("a", "3"), event("c", "4")],
    )
    .await;
    let newest = queue.dead_letters(None, 1).await.unwrap()[0].id;
    assert_eq!(queue.purge(Some(newest), None).await.unwrap(), 1);
    assert_eq!(queue.purge(Some(newest), None).await.unwrap(), 0);
    assert_eq!(queue.purge(None, Some(&function("a"))).await.unwrap(), 2);
    assert_eq!(letter_ids(queue, None).await, ["2"]);
    assert_eq!(queue.purge(None, None).await.unwrap(), 1);
}
