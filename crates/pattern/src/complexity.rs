//! How complex the wildcards of a pattern are, as EventBridge measures it.

use std::collections::HashSet;

use crate::alternative::{Test, Wildcard};
use crate::{Branch, PatternError};

/// The most beginnings of a leaf's wildcards that one text may match at once. AWS publishes the measure (aws/event-ruler,
/// `MachineComplexityEvaluator`), and not its limit: eleven are refused, eight are not.
const MOST: usize = 10;

/// The most states that are looked at: EventBridge gives up, too, where it takes too long to tell.
const LOOKED_AT: usize = 20_000;

/// Refuses wildcards that EventBridge calls too complex.
pub(crate) fn check(branches: &[Branch]) -> Result<(), PatternError> {
    let too_complex = |tests: &[Test]| {
        let mut wildcards = Vec::new();
        collect(tests, &mut wildcards);
        !wildcards.is_empty() && exceeds(&wildcards)
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
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Character(char),
    /// `*`.
    Any,
    /// Behind the last piece; begins no further.
    End,
}

/// Whether some text matches more than [`MOST`] beginnings of these wildcards at once.
///
/// The beginnings of all wildcards stand in one list, each as the place of the piece that comes after it. What a text matches is a set of such places; the
/// sets are looked at from the empty text on, each once.
fn exceeds(wildcards: &[&Wildcard]) -> bool {
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
    let mut alphabet: Vec<Piece> = pieces
        .iter()
        .copied()
        .filter(|piece| matches!(piece, Piece::Character(_)))
        .collect();
    alphabet.sort_unstable_by_key(|piece| match piece {
        Piece::Character(character) => *character,
        Piece::Any | Piece::End => '\0',
    });
    alphabet.dedup();
    // A character that stands in none of the wildcards.
    alphabet.push(Piece::End);

    let mut seen = HashSet::new();
    let mut waiting = vec![firsts];
    while let Some(places) = waiting.pop() {
        for &character in &alphabet {
            let next = step(&pieces, &places, character);
            if next.len() > MOST || seen.len() > LOOKED_AT {
                return true;
            }
            if !next.is_empty() && seen.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    false
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
