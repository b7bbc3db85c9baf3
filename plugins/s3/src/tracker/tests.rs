#![allow(clippy::unwrap_used)]

use super::*;

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_millis(300);

/// A time that lies ahead of the machine's, so that the file's age is zero.
const AHEAD: i128 = u64::MAX as i128;
const SEEN: Identity = Identity::for_test(7, 0);

struct Case {
    tracker: Tracker,
    start: Instant,
    key: ObjectKey,
}

impl Case {
    fn new() -> Self {
        Self {
            tracker: Tracker::new([LONG, SHORT, LONG], 3),
            start: Instant::now(),
            key: ObjectKey::from("a"),
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// What is due at this time, dealt with at once.
    fn due(&mut self, ms: u64) -> Vec<What> {
        let mut all = Vec::new();
        while let Some(due) = self.tracker.take_due(self.at(ms)) {
            self.tracker.finish(&due.key);
            all.push(due.what);
        }
        all
    }
}

fn settled(how: How, stages: Range<usize>) -> Vec<What> {
    vec![What::Settled { how, stages }]
}

#[test]
fn each_settle_time_has_its_turn() {
    let mut case = Case::new();
    case.tracker.closed(&case.key, SEEN, case.start);
    assert_eq!(case.due(99), []);
    assert_eq!(case.due(100), settled(How::Closed(SEEN), 0..1));
    assert_eq!(case.due(299), []);
    assert_eq!(case.due(300), settled(How::Closed(SEEN), 1..2));
    assert_eq!(case.tracker.len(), 0);
    assert_eq!(case.tracker.next_due(), None);
}

#[test]
fn a_late_look_takes_all_at_once() {
    let mut case = Case::new();
    case.tracker.closed(&case.key, SEEN, case.start);
    assert_eq!(case.due(1_000), settled(How::Closed(SEEN), 0..2));
}

#[test]
fn a_writer_that_pauses_is_never_due_before_its_close() {
    let mut case = Case::new();
    case.tracker.appeared(&case.key, case.start);
    case.tracker.opened(&case.key);
    case.tracker.written(&case.key);
    assert_eq!(case.due(20_000), []);
    case.tracker.closed(&case.key, SEEN, case.at(20_000));
    assert_eq!(case.due(20_050), []);
    case.tracker.written(&case.key);
    assert_eq!(case.due(40_000), []);
    case.tracker.closed(&case.key, SEEN, case.at(40_000));
    assert_eq!(case.due(41_000), settled(How::Closed(SEEN), 0..2));
}

#[test]
fn a_new_name_that_is_opened_is_in_doubt_and_its_writer_has_all_the_time() {
    let mut case = Case::new();
    case.tracker.appeared(&case.key, case.start);
    case.tracker.opened(&case.key);
    assert!(case.tracker.is_open(&case.key) && !case.tracker.is_writing(&case.key));
    assert_eq!(case.due(1_000), settled(How::Opened, 0..2));
    case.tracker.held(&case.key);
    assert!(case.tracker.is_writing(&case.key));
    assert_eq!(case.due(10_000), []);
    case.tracker.closed(&case.key, SEEN, case.at(10_000));
    // Said again, late: what is known by now is better.
    case.tracker.held(&case.key);
    assert_eq!(case.due(11_000), settled(How::Closed(SEEN), 0..2));
}

#[test]
fn who_writes_to_a_file_without_a_name_leaves_nothing() {
    let mut case = Case::new();
    case.tracker.appeared(&case.key, case.start);
    case.tracker.gone(&case.key, case.start, Removal::Told, false);
    assert_eq!(case.due(0), [What::Removed(Removal::Told)]);
    case.tracker.written(&case.key);
    assert_eq!(case.tracker.len(), 1);
    case.tracker.ended(&case.key);
    assert_eq!((case.tracker.len(), case.tracker.next_due()), (0, None));
}

#[test]
fn a_name_that_nobody_opens_is_a_link() {
    let mut case = Case::new();
    case.tracker.appeared(&case.key, case.start);
    assert_eq!(case.due(1_000), settled(How::Appeared, 0..2));
}

#[test]
fn a_reader_does_not_hold_an_object_back() {
    let mut case = Case::new();
    case.tracker.closed(&case.key, SEEN, case.start);
    case.tracker.opened(&case.key);
    assert_eq!(case.due(100), settled(How::Closed(SEEN), 0..1));
    case.tracker.appeared(&case.key, case.start);
    assert_eq!(case.due(199), []);
    assert_eq!(case.due(200), settled(How::Appeared, 0..1));
    case.tracker.opened(&case.key);
    assert_eq!(case.due(400), settled(How::Appeared, 1..2));
}

#[test]
fn a_rename_is_due_at_once_for_all() {
    let mut case = Case::new();
    case.tracker.moved_in(&case.key, case.start);
    assert_eq!(case.due(0), settled(How::Moved, 0..2));
}

#[test]
fn a_removal_comes_before_the_next_object_of_the_name() {
    let mut case = Case::new();
    case.tracker.gone(&case.key, case.start, Removal::Told, false);
    case.tracker.moved_in(&case.key, case.start);
    assert_eq!(
        case.due(0),
        [
            What::Removed(Removal::Told),
            What::Settled {
                how: How::Moved,
                stages: 0..2
            }
        ]
    );
}

#[test]
fn a_busy_object_waits() {
    let mut case = Case::new();
    case.tracker.moved_in(&case.key, case.start);
    let first = case.tracker.take_due(case.start).unwrap();
    case.tracker.gone(&case.key, case.start, Removal::Told, false);
    assert_eq!(case.tracker.next_due(), None);
    case.tracker.finish(&first.key);
    assert_eq!(case.due(0), [What::Removed(Removal::Told)]);
}

#[test]
fn what_went_before_it_settled_is_not_due() {
    let mut case = Case::new();
    case.tracker.closed(&case.key, SEEN, case.start);
    case.tracker.gone(&case.key, case.start, Removal::Told, false);
    assert_eq!(case.due(1_000), [What::Removed(Removal::Told)]);
    assert_eq!(case.tracker.len(), 0);
}

#[test]
fn a_scan_restarts_the_quiet_only_when_the_content_differs() {
    let mut case = Case::new();
    let (one, two) = (Identity::for_test(1, AHEAD), Identity::for_test(2, AHEAD));
    case.tracker.found(&case.key, one, case.at(1_000));
    case.tracker.found(&case.key, one, case.at(1_050));
    assert_eq!(case.tracker.next_due(), Some(case.at(1_200)));
    case.tracker.found(&case.key, two, case.at(1_090));
    assert_eq!(case.due(1_289), []);
    assert_eq!(case.due(1_290), settled(How::Found(two), 0..1));
    case.tracker.written(&case.key);
    case.tracker.found(&case.key, one, case.at(1_300));
    assert_eq!(case.due(10_000), []);
}

#[test]
fn after_a_loss_only_removals_and_what_is_under_way_remain() {
    let mut case = Case::new();
    let [removed, quiet, taken] = ["removed", "quiet", "taken"].map(ObjectKey::from);
    case.tracker.gone(&removed, case.at(500), Removal::Told, false);
    case.tracker.closed(&quiet, SEEN, case.start);
    case.tracker.moved_in(&taken, case.start);
    assert_eq!(case.tracker.take_due(case.start).unwrap().key, taken);
    case.tracker.forget();
    assert!(!case.tracker.knows(&quiet));
    case.tracker.finish(&taken);
    assert_eq!(case.due(1_000), [What::Removed(Removal::Told)]);
    assert_eq!(case.tracker.len(), 0);
}

#[test]
fn what_is_old_when_it_is_found_is_due_at_once() {
    let mut case = Case::new();
    let old = Identity::for_test(1, 0);
    case.tracker.found(&case.key, old, case.at(1_000));
    assert_eq!(case.due(1_000), settled(How::Found(old), 0..2));
}

#[test]
fn too_many_are_turned_away_and_said_so() {
    let mut case = Case::new();
    for name in ["a", "b", "c"] {
        case.tracker.closed(&ObjectKey::from(name), SEEN, case.start);
    }
    assert!(!case.tracker.take_dropped());
    case.tracker.closed(&ObjectKey::from("d"), SEEN, case.start);
    case.tracker.closed(&ObjectKey::from("c"), SEEN, case.start);
    assert!(case.tracker.take_dropped());
    assert!(!case.tracker.take_dropped());
    assert_eq!(case.due(100).len(), 3);
}
