//! Who competes, as a table.
//!
//! Each is opened in the configuration that serves it best here; the README says why
//! that is its best. A [`Visitor`] sees them one after the other, each with its own
//! type, so that nothing stands between a workload and the allocator.

use mallocer::{Arena, Backend, Mallocer, SharedArena, global};
use mallocer::{Flist, Jemalloc, Malloc, Mimalloc};
use mallocer::{SharedFlist, SharedJemalloc, SharedMalloc, SharedMimalloc};

use crate::limit::FreeList;
use crate::{Bump, Library, Subject, WithoutSize};

/// An allocator that competes.
#[derive(Clone, Copy)]
pub struct Competitor<S> {
    /// How it is called in results.
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

/// What sees all competitors.
pub trait Visitor {
    /// Looks at one.
    fn visit<S: Subject>(&mut self, competitor: Competitor<S>);
}

/// Capacity of every arena: more than any workload uses, so that none is refused.
const CAPACITY_BYTES: usize = 8 << 30;

fn arena<M: Mallocer>() -> Arena<M> {
    Arena::<M>::builder().capacity(CAPACITY_BYTES).build().expect("an arena of 8 GiB")
}

fn shared<M: Mallocer + Send + Sync>() -> SharedArena<M> {
    SharedArena::<M>::builder().capacity(CAPACITY_BYTES).build().expect("an arena of 8 GiB")
}

fn chosen() -> Arena {
    let builder = Arena::builder().backend(Backend::Flist).capacity(CAPACITY_BYTES);
    builder.build().expect("an arena of 8 GiB")
}

/// A heap: it can do everything.
fn heap<S>(name: &'static str, open: fn() -> S) -> Competitor<S> {
    Competitor { name, open, any_size: true, frees: true, releases: true }
}

/// A library as a global allocator: it has no heap to release.
fn library<S>(name: &'static str, open: fn() -> S) -> Competitor<S> {
    Competitor { releases: false, ..heap(name, open) }
}

/// Shows every competitor to `visitor`, mallocer's own first.
pub fn each(visitor: &mut impl Visitor) {
    visitor.visit(heap("flist", arena::<Flist>));
    visitor.visit(heap("flist, size unknown", || WithoutSize(arena::<Flist>())));
    visitor.visit(heap("flist, chosen at run time", chosen));
    visitor.visit(heap("flist, shared", shared::<SharedFlist>));
    visitor.visit(library("flist, global", || Library(global::Flist)));
    visitor.visit(heap("malloc", arena::<Malloc>));
    visitor.visit(heap("malloc, shared", shared::<SharedMalloc>));
    visitor.visit(heap("jemalloc", arena::<Jemalloc>));
    visitor.visit(heap("jemalloc, shared", shared::<SharedJemalloc>));
    visitor.visit(heap("mimalloc", arena::<Mimalloc>));
    visitor.visit(heap("mimalloc, shared", shared::<SharedMimalloc>));

    visitor.visit(library("glibc itself", || Library(std::alloc::System)));
    visitor.visit(library("jemalloc itself", || Library(tikv_jemallocator::Jemalloc)));
    visitor.visit(library("mimalloc itself", || Library(mimalloc::MiMalloc)));

    #[cfg(feature = "peers")]
    {
        visitor.visit(library("snmalloc", || Library(snmalloc_rs::SnMalloc)));
        visitor.visit(library("rpmalloc", || Library(rpmalloc::RpMalloc)));
    }
    visitor.visit(Competitor { frees: false, ..heap("bumpalo", Bump::default) });
    visitor.visit(Competitor { any_size: false, ..heap("bare free list", FreeList::default) });
}
