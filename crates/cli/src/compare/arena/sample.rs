//! One measurement of one workload on one backend, in this process.
//!
//! Workloads of one thread run on an [`Arena`], those of several on a [`SharedArena`].
//! Chunks are freed in the way that serves the backend best: on flist by their pointer, on
//! the libraries with their size.

#![cfg_attr(
    not(any(feature = "flist", feature = "malloc", feature = "jemalloc", feature = "mimalloc")),
    expect(dead_code, reason = "a build may have no backend")
)]

use std::alloc::GlobalAlloc;

use mallocer::{Arena, Backend, Mallocer, SharedArena};
use mallocer_workloads::{Library, Subject, Workload};

use crate::args::SampleArgs;
use crate::failure::Failure;

/// Runs the hidden command: prints the nanoseconds of an operation.
pub(crate) fn run(args: &SampleArgs) -> Result<(), Failure> {
    let backend: Backend = args.backend.parse().map_err(Failure::usage)?;
    let workload = Workload::named(&args.workload)
        .ok_or_else(|| Failure::Usage(format!("no workload is called `{}`", args.workload)))?;
    let task = Task { workload, args };
    crate::terminal::print(&task.on(backend)?.to_string())
}

/// What is to be measured.
struct Task<'a> {
    workload: Workload,
    args: &'a SampleArgs,
}

impl Task<'_> {
    /// Measures a backend: each is a type of its own.
    fn on(&self, backend: Backend) -> Result<f64, Failure> {
        match backend {
            #[cfg(feature = "flist")]
            Backend::Flist if self.args.global => Ok(self.library(mallocer::global::Flist)),
            #[cfg(feature = "flist")]
            Backend::Flist => {
                use mallocer_workloads::ByPointer;
                type Heaps = (mallocer::Flist, mallocer::SharedFlist);
                Ok(self.arenas::<Heaps, _, _>(ByPointer, ByPointer))
            }
            #[cfg(feature = "malloc")]
            Backend::Malloc if self.args.global => Ok(self.library(mallocer::global::Malloc)),
            #[cfg(feature = "malloc")]
            Backend::Malloc => Ok(self.sized::<(mallocer::Malloc, mallocer::SharedMalloc)>()),
            #[cfg(feature = "jemalloc")]
            Backend::Jemalloc if self.args.global => Ok(self.library(mallocer::global::Jemalloc)),
            #[cfg(feature = "jemalloc")]
            Backend::Jemalloc => Ok(self.sized::<(mallocer::Jemalloc, mallocer::SharedJemalloc)>()),
            #[cfg(feature = "mimalloc")]
            Backend::Mimalloc if self.args.global => Ok(self.library(mallocer::global::Mimalloc)),
            #[cfg(feature = "mimalloc")]
            Backend::Mimalloc => Ok(self.sized::<(mallocer::Mimalloc, mallocer::SharedMimalloc)>()),
            #[cfg(not(all(
                feature = "flist",
                feature = "malloc",
                feature = "jemalloc",
                feature = "mimalloc"
            )))]
            missing => {
                Err(Failure::usage(mallocer::BackendError::NotCompiled { backend: missing }))
            }
        }
    }

    /// A library as a global allocator.
    fn library<A: GlobalAlloc + Copy + Sync>(&self, library: A) -> f64 {
        let (workload, threads) = (&self.workload, self.args.threads);
        let open = || Library(library);
        workload.sample(|count| workload.measure_shared(&open, count, threads))
    }

    /// A backend's arenas, whose chunks are freed with their size.
    fn sized<H: Heaps>(&self) -> f64 {
        self.arenas::<H, _, _>(|arena| arena, |arena| arena)
    }

    /// A backend's arenas, as the subjects that these functions make of them.
    fn arenas<H: Heaps, A: Subject, B: Subject + Sync>(
        &self,
        single: impl Fn(Arena<H::Single>) -> A,
        shared: impl Fn(SharedArena<H::Shared>) -> B,
    ) -> f64 {
        let (workload, capacity) = (&self.workload, self.args.capacity);
        if workload.is_threaded() {
            let open = || {
                let built = SharedArena::<H::Shared>::builder().capacity(capacity).build();
                shared(built.unwrap_or_else(|refusal| panic!("{refusal}")))
            };
            workload.sample(|count| workload.measure_shared(&open, count, self.args.threads))
        } else {
            let open = || {
                let built = Arena::<H::Single>::builder().capacity(capacity).build();
                single(built.unwrap_or_else(|refusal| panic!("{refusal}")))
            };
            workload.sample(|count| workload.measure(&open, count))
        }
    }
}

/// The two heaps of a backend: for one thread, and for several.
trait Heaps {
    type Single: Mallocer;
    type Shared: Mallocer + Send + Sync;
}

impl<M: Mallocer, S: Mallocer + Send + Sync> Heaps for (M, S) {
    type Single = M;
    type Shared = S;
}
