//! Array consistency: which elements of the event's arrays of objects the values found so far lie in.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Step;

/// Every way to choose elements that satisfies the paths visited so far. Ordered by array; at most one step an array.
pub(crate) struct Selections(BTreeSet<Vec<Step>>);

impl Selections {
    /// The state before the first path: one way, which chooses nothing.
    pub fn none() -> Self {
        Self(BTreeSet::from([Vec::new()]))
    }

    /// Whether no way is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Visits one path. `all` are the places of its values, `accepted` of those that satisfy one of its alternatives;
    /// with `or_absent` a way also goes on when it finds no value. Choices in arrays not in `kept` are forgotten.
    pub fn narrow<'p>(
        self,
        all: impl Iterator<Item = &'p [Step]>,
        accepted: impl Iterator<Item = &'p [Step]>,
        or_absent: bool,
        kept: impl Fn(u32) -> bool,
    ) -> Self {
        let accepted = Places::new(accepted);
        let all = if or_absent { Places::new(all) } else { Places::default() };
        let mut next = BTreeSet::new();
        for selection in &self.0 {
            let mut go_on = |mut way: Vec<Step>| {
                way.retain(|step| kept(step.array));
                next.insert(way);
            };
            accepted.visit(selection, &mut Vec::new(), &mut |chosen| {
                let mut way = selection.clone();
                way.extend(chosen);
                way.sort_unstable();
                go_on(way);
            });
            if or_absent && !all.any(selection) {
                go_on(selection.clone());
            }
        }
        Self(next)
    }
}

/// Places of values as a tree, so that only those that agree with a selection are visited.
#[derive(Default)]
struct Places {
    /// Whether a value is right here.
    value: bool,
    /// The values inside arrays, by array and element.
    arrays: BTreeMap<u32, BTreeMap<u32, Places>>,
}

impl Places {
    fn new<'p>(places: impl Iterator<Item = &'p [Step]>) -> Self {
        let mut root = Self::default();
        for place in places {
            let mut node = &mut root;
            for step in place {
                node = node
                    .arrays
                    .entry(step.array)
                    .or_default()
                    .entry(step.index)
                    .or_default();
            }
            node.value = true;
        }
        root
    }

    /// Calls `found` with the choices that each agreeing value adds to the selection.
    fn visit(&self, selection: &[Step], added: &mut Vec<Step>, found: &mut impl FnMut(&[Step])) {
        if self.value {
            found(added);
        }
        for (&array, elements) in &self.arrays {
            if let Some(index) = chosen(selection, array) {
                if let Some(inner) = elements.get(&index) {
                    inner.visit(selection, added, found);
                }
                continue;
            }
            for (&index, inner) in elements {
                added.push(Step { array, index });
                inner.visit(selection, added, found);
                added.pop();
            }
        }
    }

    /// Whether a value agrees with the selection.
    fn any(&self, selection: &[Step]) -> bool {
        self.value
            || self
                .arrays
                .iter()
                .any(|(&array, elements)| match chosen(selection, array) {
                    Some(index) => elements.get(&index).is_some_and(|inner| inner.any(selection)),
                    None => elements.values().any(|inner| inner.any(selection)),
                })
    }
}

/// The element that the selection has chosen in the array.
fn chosen(selection: &[Step], array: u32) -> Option<u32> {
    let at = selection.binary_search_by_key(&array, |step| step.array).ok()?;
    Some(selection[at].index)
}
