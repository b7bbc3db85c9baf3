//! Which route takes a request.
//!
//! A tree of path segments. API Gateway chooses the most specific route: a full match before a greedy one, and that before
//! `$default` (API Gateway developer guide, "Create routes for HTTP APIs"). Among full matches a static segment beats a
//! parameter, the earliest segment first; of one path's routes the one with the request's method beats ANY. A request
//! visits each node at most twice, so no path can make the search slow.

use std::time::Duration;

use hikigane_model::{BindingId, InvokeMode};
use hikigane_trigger::proxy::percent;

use crate::route::{Methods, Pattern, RoutePath, Segment, Verb};

/// A binding's route, as the manifest has it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) binding: BindingId,
    pub(crate) pattern: Pattern,
    pub(crate) mode: InvokeMode,
    pub(crate) timeout: Duration,
}

/// A route, prepared for events.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) binding: BindingId,
    pub(crate) mode: InvokeMode,
    /// How long a caller waits.
    pub(crate) timeout: Duration,
    /// The route key: `GET /p/{id}`.
    pub(crate) key: String,
    /// The names of the parameters, in the path's order.
    pub(crate) parameters: Vec<String>,
}

/// All routes.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    targets: Vec<Target>,
    root: Node,
    default: Option<usize>,
}

/// The route that takes a request, and what its parameters matched, still encoded.
#[derive(Debug)]
pub(crate) struct Match<'t, 'p> {
    pub(crate) target: &'t Target,
    pub(crate) values: Vec<&'p str>,
}

/// Two routes that take the same requests: the places of the bindings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) first: BindingId,
    pub(crate) first_key: String,
    pub(crate) second: BindingId,
    pub(crate) second_key: String,
}

impl RouteTable {
    /// Prepares the routes; or all pairs that take the same requests.
    pub(crate) fn new(routes: Vec<Route>) -> Result<Self, Vec<Conflict>> {
        let mut table = Self::default();
        let mut conflicts = Vec::new();
        for route in routes {
            let index = table.targets.len();
            let target = Target::new(&route);
            let slot = match &route.pattern {
                Pattern::Default => &mut table.default,
                Pattern::Path(methods, path) => table.root.slot(*methods, path),
            };
            match *slot {
                None => *slot = Some(index),
                Some(first) => conflicts.push(Conflict {
                    first: table.targets[first].binding.clone(),
                    first_key: table.targets[first].key.clone(),
                    second: target.binding.clone(),
                    second_key: target.key.clone(),
                }),
            }
            table.targets.push(target);
        }
        if conflicts.is_empty() {
            Ok(table)
        } else {
            Err(conflicts)
        }
    }

    /// Every route, in the order of the manifest.
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The route that takes a request for `path`, the path as it was sent.
    pub(crate) fn find<'p>(&self, verb: Verb, path: &'p str) -> Option<Match<'_, 'p>> {
        let rest = path.strip_prefix('/')?;
        let mut values = Vec::new();
        let full = self.root.full(verb, Some(rest), &mut values);
        let index = full
            .or_else(|| self.root.greedy(verb, rest, &mut values))
            .or(self.default)?;
        self.targets.get(index).map(|target| Match { target, values })
    }
}

impl Target {
    fn new(route: &Route) -> Self {
        let parameters = match &route.pattern {
            Pattern::Default => Vec::new(),
            Pattern::Path(_, path) => path.parameters().map(str::to_owned).collect(),
        };
        Self {
            binding: route.binding.clone(),
            mode: route.mode,
            timeout: route.timeout,
            key: route.pattern.to_string(),
            parameters,
        }
    }
}

/// A place in the tree, reached by the segments above it.
#[derive(Debug, Default)]
struct Node {
    /// Ordered by text.
    statics: Vec<(String, Node)>,
    parameter: Option<Box<Node>>,
    /// Routes that end here.
    full: Endpoints,
    /// Routes that take all that follows.
    greedy: Endpoints,
}

/// The routes of one path: indices into the table's targets.
#[derive(Debug, Default)]
struct Endpoints {
    by_verb: [Option<usize>; Verb::ALL.len()],
    any: Option<usize>,
}

impl Endpoints {
    fn get(&self, verb: Verb) -> Option<usize> {
        self.by_verb[verb as usize].or(self.any)
    }

    fn slot(&mut self, methods: Methods) -> &mut Option<usize> {
        match methods {
            Methods::Only(verb) => &mut self.by_verb[verb as usize],
            Methods::Any => &mut self.any,
        }
    }
}

impl Node {
    /// Where a route with this path belongs.
    fn slot(&mut self, methods: Methods, path: &RoutePath) -> &mut Option<usize> {
        let end = path.segments.iter().fold(self, |node, segment| node.child(segment));
        if path.greedy.is_some() {
            end.greedy.slot(methods)
        } else {
            end.full.slot(methods)
        }
    }

    fn child(&mut self, segment: &Segment) -> &mut Node {
        match segment {
            Segment::Param(_) => self.parameter.get_or_insert_default(),
            Segment::Static(text) => {
                let place = self
                    .statics
                    .binary_search_by(|(key, _)| key.cmp(text))
                    .unwrap_or_else(|place| {
                        self.statics.insert(place, (text.clone(), Node::default()));
                        place
                    });
                &mut self.statics[place].1
            }
        }
    }

    fn static_child(&self, segment: &str) -> Option<&Node> {
        let segment = percent::decode(segment);
        let place = self
            .statics
            .binary_search_by(|(key, _)| key.as_str().cmp(&*segment))
            .ok()?;
        Some(&self.statics[place].1)
    }

    /// The most specific route that matches all segments of `rest`; `None`: no segment is left.
    fn full<'p>(&self, verb: Verb, rest: Option<&'p str>, values: &mut Vec<&'p str>) -> Option<usize> {
        let Some(rest) = rest else { return self.full.get(verb) };
        let (segment, tail) = split(rest);
        let by_text = self
            .static_child(segment)
            .and_then(|child| child.full(verb, tail, values));
        by_text.or_else(|| self.by_parameter(segment, values, |child, values| child.full(verb, tail, values)))
    }

    /// The most specific greedy route: the longest way into the tree that ends in one.
    fn greedy<'p>(&self, verb: Verb, rest: &'p str, values: &mut Vec<&'p str>) -> Option<usize> {
        if let (segment, Some(tail)) = split(rest) {
            let by_text = self
                .static_child(segment)
                .and_then(|child| child.greedy(verb, tail, values));
            let deeper = by_text
                .or_else(|| self.by_parameter(segment, values, |child, values| child.greedy(verb, tail, values)));
            if deeper.is_some() {
                return deeper;
            }
        }
        let index = self.greedy.get(verb).filter(|_| !rest.is_empty())?;
        values.push(rest);
        Some(index)
    }

    /// Goes on with `segment` as a parameter's value; takes the value back when that leads nowhere.
    fn by_parameter<'p>(
        &self,
        segment: &'p str,
        values: &mut Vec<&'p str>,
        go_on: impl FnOnce(&Node, &mut Vec<&'p str>) -> Option<usize>,
    ) -> Option<usize> {
        let child = self.parameter.as_deref().filter(|_| !segment.is_empty())?;
        let depth = values.len();
        values.push(segment);
        let found = go_on(child, values);
        if found.is_none() {
            values.truncate(depth);
        }
        found
    }
}

/// The first segment and what follows its slash.
fn split(rest: &str) -> (&str, Option<&str>) {
    rest.split_once('/')
        .map_or((rest, None), |(segment, tail)| (segment, Some(tail)))
}
