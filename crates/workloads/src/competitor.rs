//! Allocators that compete, seen one after the other.

use crate::Subject;

/// An allocator that competes.
#[derive(Clone, Copy)]
pub struct Competitor<S> {
    /// How it is called in results: one word.
    pub name: &'static str,
    /// Opens it anew: with nothing allocated, where it has heaps at all.
    pub open: fn() -> S,
    /// Whether it serves more than one size.
    pub any_size: bool,
    /// Whether it takes single chunks back.
    pub frees: bool,
    /// Whether it can give back everything at once.
    pub releases: bool,
}

impl<S> Competitor<S> {
    /// A heap: it can do everything.
    pub fn heap(name: &'static str, open: fn() -> S) -> Competitor<S> {
        Competitor { name, open, any_size: true, frees: true, releases: true }
    }

    /// A library as a global allocator: it has no heap to release.
    pub fn library(name: &'static str, open: fn() -> S) -> Competitor<S> {
        Competitor { releases: false, ..Competitor::heap(name, open) }
    }
}

/// What sees competitors: each with its own type.
pub trait Visitor {
    /// Looks at one that is used by one thread.
    fn visit<S: Subject>(&mut self, competitor: Competitor<S>);

    /// Looks at one that may be used by any number of threads.
    fn visit_shared<S: Subject + Sync>(&mut self, competitor: Competitor<S>);
}
