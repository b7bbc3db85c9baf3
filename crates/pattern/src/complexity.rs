//! How complex the wildcards of a pattern are, as EventBridge measures it.

use std::collections::HashSet;

use crate::alternative::{Test, Wildcard};
use crate::{Branch, PatternError};

/// The most beginnings of a leaf's wildcards that one text may match at once. AWS publishes the measure (aws/event-ruler,
/// `MachineComplexityEvaluator`), and not its limit: eleven are refused, eight are not.
const MOST: usize = 10;

/// The most steps that are taken for a whole pattern: EventBridge gives up, too, where it takes too long to tell.
const STEPS: usize = 100_000;

/// Refuses wildcards that EventBridge calls too complex.
pub(crate) fn check(branches: &[Branch]) -> Result<(), PatternError> {
    let mut steps = 0;
    let mut too_complex = |tests: &[Test]| {
        let mut wildcards = Vec::new();
        collect(tests, &mut wildcards);
        !wildcards.is_empty() && exceeds(&wildcards, &mut steps)
    };
    // Branches share their leaves: each is measured once.
    let mut measured = HashSet::new();
    let mut leaves = branches.iter().flat_map(Branch::values);
    if leaves.any(|tests| measured.insert(tests.as_ptr()) && too_complex(tests)) {
        return Err(PatternError::new(
            "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character",
        ));
    }
    Ok(())
}

fn collect<'a>(tests: &'a [Test], wildcards: &mut Vec<&'a Wildcard>) {
    for test in tests {
        match test {
            Test::Wildcard(wildcard) => wildcards.push(wildcard),
            Test::AnythingBut(tests) => collect(tests, wildcards),
            _ => {}
        }
    }
}

/// One piece of a wildcard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Character(char),
    /// `*`.
    Any,
    /// Behind the last piece; begins no further.
    End,
}

/// Whether some text matches more than [`MOST`] beginnings of these wildcards at once, or `steps` pass [`STEPS`] before that is known.
///
/// The beginnings of all wildcards stand in one list, each as the place of the piece that comes after it. What a text matches is a set of such places; the
/// sets are looked at from the empty text on, each once.
fn exceeds(wildcards: &[&Wildcard], steps: &mut usize) -> bool {
    let mut pieces = Vec::new();
    let mut firsts = Vec::new();
    for wildcard in wildcards {
        firsts.push(pieces.len());
        // AWS compares texts with the quotes around them.
        pieces.push(Piece::Character('"'));
        for (position, literal) in wildcard.literals().iter().enumerate() {
            if position > 0 {
                pieces.push(Piece::Any);
            }
            pieces.extend(literal.chars().map(Piece::Character));
        }
        pieces.extend([Piece::Character('"'), Piece::End]);
    }

    let mut seen = HashSet::new();
    let mut waiting = vec![firsts];
    while let Some(places) = waiting.pop() {
        for character in awaited(&pieces, &places) {
            *steps += 1;
            let next = step(&pieces, &places, character);
            if next.len() > MOST || *steps > STEPS {
                return true;
            }
            if !next.is_empty() && seen.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    false
}

/// The characters that lead on from these places, each once, and `End` for all others, which are alike.
fn awaited(pieces: &[Piece], places: &[usize]) -> Vec<Piece> {
    let mut awaited: Vec<Piece> = places
        .iter()
        .map(|place| pieces[*place])
        .filter(|piece| matches!(piece, Piece::Character(_)))
        .collect();
    awaited.sort_unstable();
    awaited.dedup();
    awaited.push(Piece::End);
    awaited
}

/// The places after one more character. A beginning that ends before a `*` is one with it, too.
fn step(pieces: &[Piece], places: &[usize], character: Piece) -> Vec<usize> {
    let mut next = Vec::new();
    let mut reach = |place: usize| {
        next.push(place);
        if pieces[place] == Piece::Any {
            next.push(place + 1);
        }
    };
    for &place in places {
        // Behind a `*`, any character leads back to the same place.
        if place > 0 && pieces[place - 1] == Piece::Any {
            reach(place);
        }
        if pieces[place] == character && character != Piece::End {
            reach(place + 1);
        }
    }
    next.sort_unstable();
    next.dedup();
    next
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// `*P*Q`, with `length` different characters each for P and Q, none of which another wildcard has.
    fn long(number: u32, length: u32) -> Wildcard {
        let literal = |half: u32| {
            let first = 0x4e00 + (number * 2 + half) * length;
            (first..first + length).filter_map(char::from_u32).collect::<String>()
        };
        Wildcard::parse(&format!("*{}*{}", literal(0), literal(1))).unwrap()
    }

    /// Steps for these wildcards, and whether they are too complex.
    fn cost(wildcards: &[Wildcard]) -> (usize, bool) {
        let mut steps = 0;
        let exceeds = exceeds(&wildcards.iter().collect::<Vec<_>>(), &mut steps);
        (steps, exceeds)
    }

    #[test]
    fn a_set_costs_a_step_for_each_character_that_it_waits_for_and_not_for_the_whole_alphabet() {
        // 1,200 places, with few characters to wait for at each: the alphabet times the places were 1.4 million.
        let (steps, exceeds) = cost(&[long(0, 600)]);
        assert!(!exceeds);
        assert!(steps < 10_000, "{steps}");
        // Three of them have too many sets to look at, and are given up in time.
        let (steps, _) = cost(&[long(0, 600), long(1, 600), long(2, 600)]);
        assert!(steps <= STEPS + 1, "{steps}");
    }

    #[test]
    fn the_steps_of_all_leaves_count_together() {
        let leaf = |number| -> std::sync::Arc<[Test]> { [Test::Wildcard(long(number, 100))].into() };
        let one = cost(&[long(0, 100)]).0;
        let leaves = u32::try_from(STEPS / one).unwrap() + 1;
        let branch = |count: u32| -> Branch {
            (0..count)
                .map(|number| (number.to_string().into(), leaf(number)))
                .collect()
        };
        assert!(check(&[branch(leaves - 1)]).is_ok());
        assert!(check(&[branch(leaves)]).is_err());
    }
}
