//! Workloads do what they say: seen by a subject that counts and checks.

use std::alloc::{Layout, System};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Mutex;

use super::*;
use crate::Library;

/// The C library's malloc, with a list of what is handed out.
#[derive(Default)]
struct Checked {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: HashMap<usize, usize>,
    most: usize,
    taken: u64,
    freed: u64,
    moved: u64,
    threads: u64,
}

const LIBRARY: Library<System> = Library(System);

impl Subject for &Checked {
    fn alloc(&self, layout: Layout) -> NonNull<u8> {
        let chunk = LIBRARY.alloc(layout);
        let mut state = self.state.lock().unwrap();
        state.live.insert(chunk.addr().get(), layout.size());
        state.taken += 1;
        state.most = state.most.max(state.live.len());
        chunk
    }

    unsafe fn free(&self, chunk: NonNull<u8>, layout: Layout) {
        let mut state = self.state.lock().unwrap();
        assert_eq!(state.live.remove(&chunk.addr().get()), Some(layout.size()));
        state.freed += 1;
        // SAFETY: passed on.
        unsafe { LIBRARY.free(chunk, layout) }
    }

    unsafe fn realloc(&self, chunk: NonNull<u8>, layout: Layout, size: usize) -> NonNull<u8> {
        let mut state = self.state.lock().unwrap();
        assert_eq!(state.live.remove(&chunk.addr().get()), Some(layout.size()));
        // SAFETY: passed on.
        let chunk = unsafe { LIBRARY.realloc(chunk, layout, size) };
        state.live.insert(chunk.addr().get(), size);
        state.moved += 1;
        chunk
    }

    unsafe fn release(&mut self) {
        let mut state = self.state.lock().unwrap();
        for (address, size) in std::mem::take(&mut state.live) {
            let chunk = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
            // SAFETY: the chunk is live, of this size, and nobody uses it.
            unsafe { LIBRARY.free(chunk, crate::random::layout(size)) };
        }
    }

    fn thread_ends(&self) {
        self.state.lock().unwrap().threads += 1;
    }
}

/// Runs one iteration of `name`, and gives the counts; everything is free in the end.
fn run(name: &str, iterations: u64) -> State {
    let workload = Workload::named(name).unwrap();
    let checked = Checked::default();
    let time = workload.measure_shared(&|| &checked, iterations, 2);
    assert!(time.as_nanos() > 0, "{name} takes time");
    let state = checked.state.into_inner().unwrap();
    assert_eq!(state.live.len(), 0, "{name} leaves chunks");
    state
}

#[test]
fn every_workload_frees_what_it_takes_and_holds_what_it_says() {
    for workload in SET.iter().filter(|workload| !workload.big) {
        let state = run(workload.name, 1);
        let most = match workload.kind {
            Kind::Pair => 1,
            Kind::Lifo | Kind::Strings => 1000,
            Kind::Replace(live, _) => live,
            Kind::Grow(_) | Kind::FreeAll(_) | Kind::Release => 100_000,
            Kind::Buffer => 1,
            Kind::Large => 10,
            Kind::Own => 20_000,
            // How many chunks are on their way depends on timing.
            Kind::Handover | Kind::Larson | Kind::Generations | Kind::Crowd => state.most,
        };
        assert_eq!(state.most, most, "{}", workload.name);
        if workload.kind_is_release() {
            assert_eq!((state.taken, state.freed), (100_000, 0));
        } else {
            assert_eq!(state.taken, state.freed, "{}", workload.name);
        }
        assert_eq!(state.threads > 0, workload.is_threaded(), "{}", workload.name);
    }
}

impl Workload {
    fn kind_is_release(&self) -> bool {
        matches!(self.kind, Kind::Release)
    }
}

#[test]
fn operations_are_counted_right() {
    let more = |name: &str, count: fn(&State) -> u64| {
        let workload = Workload::named(name).unwrap();
        let (few, many) = (run(name, 1), run(name, 3));
        assert_eq!(count(&many) - count(&few), 2 * workload.operations, "{name}");
    };
    for name in ["pair", "lifo", "replace-1k", "mixed-1k", "free-random", "grow", "large"] {
        more(name, |state| state.freed);
    }
    more("buffer", |state| state.moved);
    // Two threads.
    let (few, many) = (run("own", 2), run("own", 12));
    assert_eq!(many.freed - few.freed, 2 * 10);
    let (few, many) = (run("generations", 2), run("generations", 12));
    assert_eq!(many.freed - few.freed, 2 * 10 * threads::LIFE as u64);
    let (few, many) = (run("handover", 200), run("handover", 1200));
    assert_eq!(many.freed - few.freed, 1000);
}

#[test]
fn names_are_words_and_distinct() {
    for (at, workload) in SET.iter().enumerate() {
        assert!(workload.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        assert!(SET[..at].iter().all(|other| other.name != workload.name));
        assert_eq!(Workload::named(workload.name).unwrap().name, workload.name);
    }
    assert!(Workload::named("none").is_none());
}
