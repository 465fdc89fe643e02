//! Who competes, as a table.
//!
//! Each is opened in the configuration that serves it best here; the README says why
//! that is its best. A [`Visitor`] sees them one after the other, each with its own
//! type, so that nothing stands between a workload and the allocator.

use mallocer::{Arena, Mallocer, SharedArena, global};
use mallocer::{Flist, Jemalloc, Malloc, Mimalloc};
use mallocer::{SharedFlist, SharedJemalloc, SharedMalloc, SharedMimalloc};
use mallocer_workloads::{ByPointer, Competitor, FreeList, Library, Visitor};

use crate::peers::Bump;
#[cfg(feature = "peers")]
use crate::peers::Rpmalloc;

/// Capacity of every arena: more than any workload uses, so that none is refused.
const CAPACITY_BYTES: usize = 64 << 30;

fn arena<M: Mallocer>() -> Arena<M> {
    Arena::<M>::builder().capacity(CAPACITY_BYTES).build().expect("an arena of 64 GiB")
}

fn shared<M: Mallocer + Send + Sync>() -> SharedArena<M> {
    SharedArena::<M>::builder().capacity(CAPACITY_BYTES).build().expect("an arena of 64 GiB")
}

/// What a competitor is to others, which decides whom it is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of the forms of flist.
    Own,
    /// An allocator that flist is measured by.
    Peer,
    /// Neither: a peer's arena where the peer itself competes, a bump arena, the limit.
    Other,
}

/// What the competitor of this name is.
pub fn role(name: &str) -> Role {
    match name {
        name if name.starts_with("flist") => Role::Own,
        "bump" | "limit" => Role::Other,
        _ => Role::Peer,
    }
}

/// Shows every competitor to `visitor`, flist's forms first, then the peers themselves,
/// then the arenas of the facade on them, then the rest.
pub fn each(visitor: &mut impl Visitor) {
    visitor.visit(Competitor::heap("flist", || ByPointer(arena::<Flist>())));
    visitor.visit(Competitor::heap("flist-sized", arena::<Flist>));
    visitor.visit_shared(Competitor::heap("flist-shared", || ByPointer(shared::<SharedFlist>())));
    visitor.visit_shared(Competitor::heap("flist-shared-sized", shared::<SharedFlist>));
    visitor.visit_shared(Competitor::library("flist-global", || Library(global::Flist)));

    visitor.visit_shared(Competitor::library("jemalloc", || Library(global::Jemalloc)));
    visitor.visit_shared(Competitor::library("mimalloc", || Library(global::Mimalloc)));
    #[cfg(feature = "peers")]
    {
        visitor.visit_shared(Competitor::library("snmalloc", || Library(snmalloc_rs::SnMalloc)));
        visitor.visit_shared(Competitor::library("rpmalloc", Rpmalloc::new));
    }
    visitor.visit_shared(Competitor::library("glibc", || Library(std::alloc::System)));

    visitor.visit(Competitor::heap("jemalloc-arena", arena::<Jemalloc>));
    visitor.visit_shared(Competitor::heap("jemalloc-shared", shared::<SharedJemalloc>));
    visitor.visit(Competitor::heap("mimalloc-arena", arena::<Mimalloc>));
    visitor.visit_shared(Competitor::heap("mimalloc-shared", shared::<SharedMimalloc>));
    visitor.visit(Competitor::heap("malloc-arena", arena::<Malloc>));
    visitor.visit_shared(Competitor::heap("malloc-shared", shared::<SharedMalloc>));

    visitor.visit(Competitor { frees: false, ..Competitor::heap("bump", Bump::default) });
    visitor.visit(Competitor { any_size: false, ..Competitor::heap("limit", FreeList::default) });
}
