//! Arrays and texts on every kind of source: beside the standard library's, and where a
//! value must not be lost or dropped twice.

mod differential;
mod drops;
mod layout;
mod near;
mod places;
mod pools;
mod texts;
mod texts_differential;

/// Calls a function that is generic over its source with one of every kind: each process's
/// heap, flist in both forms by one word, and every backend by two.
macro_rules! on_every_source {
    ($check:path) => {{
        use mallocer_array::{In, With};
        use mallocer_core::{Config, Mallocer};

        $check(mallocer_flist::Global);
        $check(mallocer_malloc::Global);
        $check(mallocer_jemalloc::Global);
        $check(mallocer_mimalloc::Global);

        let config = Config::default();
        let flist = mallocer_flist::Flist::open(&config).unwrap();
        $check(In::new(&flist));
        $check(With::new(&flist));
        let shared = mallocer_flist::SharedFlist::open(&config).unwrap();
        $check(In::new(&shared));
        $check(With::new(&shared));
        let malloc = mallocer_malloc::Malloc::open(&config).unwrap();
        $check(With::new(&malloc));
        let jemalloc = mallocer_jemalloc::Jemalloc::open(&config).unwrap();
        $check(With::new(&jemalloc));
        let mimalloc = mallocer_mimalloc::Mimalloc::open(&config).unwrap();
        $check(With::new(&mimalloc));
        // What the checks held is free again.
        for heap in [flist.info(), shared.info(), malloc.info(), jemalloc.info(), mimalloc.info()] {
            assert_eq!(heap.alloc, 0);
        }
    }};
}

pub(crate) use on_every_source;

std::thread_local!(static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });

/// Runs a test whose panics are what is tested, without their messages.
pub(crate) fn quiet(test: impl FnOnce()) {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
    QUIET.set(false);
    if let Err(payload) = ended {
        std::panic::resume_unwind(payload);
    }
}
