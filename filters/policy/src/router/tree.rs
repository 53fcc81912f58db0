//! The paths of all routes, as one tree of their segments.

/// The number of no node and of no route.
pub(super) const NONE: u32 = u32::MAX;
/// The node before the first segment.
const ROOT: u32 = 0;
/// As many children as there is room for at first.
const ROOM: usize = 16;
/// Spreads bits to the highest: 2^32 over the golden ratio, as Knuth multiplies (TAOCP 6.4).
const SPREAD: u32 = 0x9e37_79b1;

/// A tree. Case does not matter.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// The written segments, one behind the other.
    texts: Vec<u8>,
    /// The children with a written segment, by parent and text: a hash table of their numbers, at most half full.
    children: Vec<u32>,
}

/// What a path has come to after some segments. Parents have smaller numbers than children.
#[derive(Debug, Clone)]
struct Node {
    parent: u32,
    /// Whether its segment is written: neither a parameter nor a rest.
    is_written: bool,
    /// That segment, in `texts`.
    text: (usize, usize),
    /// Its hash.
    hash: u32,
    /// The child whose segment is a parameter.
    parameter: u32,
    /// The child that takes all segments there are.
    rest: u32,
    /// The first of the routes that end here.
    first: u32,
}

/// A segment of a path.
#[derive(Clone, Copy)]
struct Segment<'p> {
    text: &'p [u8],
    /// For the hash table, without regard to case. The texts there are the operator's: no one chooses some that
    /// collide.
    hash: u32,
}

// === impl Tree ===

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::new(NONE)], texts: Vec::new(), children: vec![NONE; 2 * ROOM] }
    }

    /// The node where a template ends, which is a new one if there is none yet.
    #[inline(never)]
    pub(super) fn insert(&mut self, template: &str) -> u32 {
        let mut node = ROOT;
        let mut left = template.as_bytes().strip_prefix(b"/");
        while let Some((segment, after)) = left.map(Segment::first) {
            // A template has braces around parameters alone.
            node = match segment.text {
                [b'{', b'*', ..] => self.child(node, |node| &mut node.rest),
                [b'{', ..] => self.child(node, |node| &mut node.parameter),
                _ => self.written_child(node, segment),
            };
            left = after;
        }
        node
    }

    /// The first route at a node.
    pub(super) fn first(&self, node: u32) -> u32 {
        self.node(node).map_or(NONE, |node| node.first)
    }

    pub(super) fn set_first(&mut self, node: u32, route: u32) {
        if let Some(node) = at_mut(&mut self.nodes, node) {
            node.first = route;
        }
    }

    /// What `accept` makes of the most specific end of a path that it does not refuse. It is given the first route
    /// there.
    ///
    /// A written segment comes before a parameter, and that before a rest; earlier segments count for more.
    #[inline(never)]
    pub(super) fn find<T>(&self, path: &[u8], accept: impl Fn(u32) -> Option<T>) -> Option<T> {
        let mut next = Some((ROOT, Some(path.strip_prefix(b"/")?)));
        let mut later = Vec::new();
        while let Some((number, left)) = next.take().or_else(|| later.pop()) {
            let node = at(&self.nodes, number)?;
            let Some(left) = left else {
                match accept(node.first) {
                    None => continue,
                    found => return found,
                }
            };
            let (segment, after) = Segment::first(left);
            let rest = if left.is_empty() { NONE } else { node.rest };
            let parameter = if segment.text.is_empty() { NONE } else { node.parameter };
            let written = self.find_child(number, segment);
            for (child, left) in [(rest, None), (parameter, after), (written, after)] {
                if child != NONE
                    && let Some(less_specific) = next.replace((child, left))
                {
                    later.push(less_specific);
                }
            }
        }
        None
    }

    /// Whether a parameter and a rest under one node take the same method: neither is more specific. `methods` are
    /// those of the routes at a node, by the first of them, a bit each.
    pub(super) fn contested(&self, methods: impl Fn(u32) -> u16) -> bool {
        // Of the routes at a node and below it.
        let mut below: Vec<u16> = self.nodes.iter().map(|node| methods(node.first)).collect();
        for (number, node) in self.nodes.iter().enumerate().rev() {
            let own = below.get(number).copied().unwrap_or_default();
            if let Some(parent) = at_mut(&mut below, node.parent) {
                *parent |= own;
            }
        }
        let below = |node| at(&below, node).copied().unwrap_or_default();
        self.nodes.iter().any(|node| below(node.parameter) & below(node.rest) != 0)
    }

    /// Whether of two templates one has a parameter where the other has its rest.
    pub(super) fn contest(&self, one: u32, other: u32) -> bool {
        let contests = |rest: u32, other: u32| {
            let beside = self.node(rest).and_then(|node| self.node(node.parent)).filter(|node| node.rest == rest);
            beside.is_some_and(|beside| beside.parameter != NONE && self.passes(other, beside.parameter))
        };
        contests(one, other) || contests(other, one)
    }

    /// Whether the way to a node goes through another one.
    fn passes(&self, mut node: u32, through: u32) -> bool {
        while node != through {
            match self.node(node) {
                Some(there) => node = there.parent,
                None => return false,
            }
        }
        true
    }

    fn node(&self, number: u32) -> Option<&Node> {
        at(&self.nodes, number)
    }

    /// The child that `which` names, new if need be.
    fn child(&mut self, parent: u32, which: impl Fn(&mut Node) -> &mut u32) -> u32 {
        let new = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let Some(child) = at_mut(&mut self.nodes, parent).map(which) else { return NONE };
        if *child != NONE {
            return *child;
        }
        *child = new;
        self.nodes.push(Node::new(parent));
        new
    }

    /// The child with a written segment, new if need be.
    fn written_child(&mut self, parent: u32, segment: Segment<'_>) -> u32 {
        let child = self.find_child(parent, segment);
        if child != NONE {
            return child;
        }
        let new = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let begin = self.texts.len();
        self.texts.extend_from_slice(segment.text);
        let text = (begin, self.texts.len());
        self.nodes.push(Node { is_written: true, text, hash: segment.hash, ..Node::new(parent) });
        if self.nodes.len() > self.children.len() / 2 {
            self.children = vec![NONE; self.children.len().saturating_mul(2)];
            (0..new).for_each(|number| self.remember(number));
        }
        self.remember(new);
        new
    }

    /// The child with a written segment, or [`NONE`].
    fn find_child(&self, parent: u32, segment: Segment<'_>) -> u32 {
        self.place(parent, segment).and_then(|place| self.children.get(place)).copied().unwrap_or(NONE)
    }

    /// Puts a child into the hash table, if its segment is written.
    fn remember(&mut self, number: u32) {
        let written = self.node(number).filter(|node| node.is_written);
        let place =
            written.and_then(|node| self.place(node.parent, Segment { text: self.text(node), hash: node.hash }));
        if let Some(slot) = place.and_then(|place| self.children.get_mut(place)) {
            *slot = number;
        }
    }

    /// Where a child is in the hash table, or where it belongs.
    fn place(&self, parent: u32, segment: Segment<'_>) -> Option<usize> {
        let slots = u64::try_from(self.children.len()).ok()?;
        // Beside others with the same segment, which are under other parents.
        let hash = u64::from(segment.hash ^ parent.wrapping_mul(SPREAD));
        let begin = usize::try_from(hash.wrapping_mul(slots) >> 32).ok()?;
        let (before, after) = self.children.split_at_checked(begin)?;
        let is_it = |number: &u32| {
            let is =
                |node: &Node| node.hash == segment.hash && node.parent == parent && same(self.text(node), segment.text);
            *number == NONE || self.node(*number).is_some_and(is)
        };
        match after.iter().position(is_it) {
            Some(place) => begin.checked_add(place),
            None => before.iter().position(is_it),
        }
    }

    fn text(&self, node: &Node) -> &[u8] {
        self.texts.get(node.text.0..node.text.1).unwrap_or_default()
    }
}

// === impl Node ===

impl Node {
    fn new(parent: u32) -> Self {
        Self { parent, is_written: false, text: (0, 0), hash: 0, parameter: NONE, rest: NONE, first: NONE }
    }
}

// === impl Segment ===

impl<'p> Segment<'p> {
    /// The first of a path, and what comes after the slash that ends it.
    fn first(path: &'p [u8]) -> (Self, Option<&'p [u8]>) {
        let mut hash = 0_u32;
        for (end, byte) in path.iter().enumerate() {
            if *byte == b'/'
                && let Some((text, [_, after @ ..])) = path.split_at_checked(end)
            {
                return (Self { text, hash }, Some(after));
            }
            hash = (hash.rotate_left(5) ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(SPREAD);
        }
        (Self { text: path, hash }, None)
    }
}

/// Whether two texts are the same but for case, which they are nearly always without that.
fn same(one: &[u8], other: &[u8]) -> bool {
    one == other || one.eq_ignore_ascii_case(other)
}

pub(super) fn at<T>(list: &[T], number: u32) -> Option<&T> {
    list.get(usize::try_from(number).ok()?)
}

pub(super) fn at_mut<T>(list: &mut [T], number: u32) -> Option<&mut T> {
    list.get_mut(usize::try_from(number).ok()?)
}
