//! The heap of the process gives back what its program does not need. Alone in its process, whose only heap it is.

use std::alloc::{GlobalAlloc, Layout};
use std::thread;
use std::time::{Duration, Instant};

use mallocer_flist::Global;

const MIB: usize = 1 << 20;

/// Takes and frees a chunk, which looks at the time.
fn look() {
    let layout = Layout::from_size_align(3 * MIB, 8).unwrap();
    // SAFETY: the layout has bytes; freed once.
    unsafe {
        let chunk = Global.alloc(layout);
        assert!(!chunk.is_null());
        Global.dealloc(chunk, layout);
    }
}

#[test]
fn empty_memory_goes_back_by_itself() {
    // Longer than any machine is busy: nothing is said about how long it takes.
    const PATIENCE: Duration = Duration::from_secs(120);
    let layout = Layout::from_size_align(2 * MIB, 8).unwrap();
    // SAFETY: the layout has bytes; each is freed once.
    unsafe {
        let chunks: Vec<*mut u8> = (0..50).map(|_| Global.alloc(layout)).collect();
        assert!(chunks.iter().all(|chunk| !chunk.is_null()));
        assert!(Global::info().heap >= 100 * MIB);
        chunks.into_iter().for_each(|chunk| Global.dealloc(chunk, layout));
    }
    let begin = Instant::now();
    while Global::info().heap > 8 * MIB {
        assert!(begin.elapsed() < PATIENCE, "{}", Global::info());
        thread::sleep(Duration::from_millis(50));
        look();
    }
}
