//! Memory of something that grows by copies of itself. Alone in its process, since what lies behind an
//! arena's memory decides.

use std::alloc::Layout;
use std::ptr::NonNull;

use mallocer_core::{Config, Mallocer};
use mallocer_flist::SharedFlist;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// Copies of ever twice the size, as a vector makes that grows; returns the last one.
fn grow<M: Mallocer>(heap: &M, largest: usize) -> NonNull<u8> {
    let take = |size| heap.try_alloc(layout(size)).unwrap().cast::<u8>();
    let (mut size, mut old) = (128 << 10, take(128 << 10));
    while size < largest {
        size *= 2;
        let new = take(size);
        // SAFETY: allocated above, and freed once.
        unsafe { heap.free(old) };
        old = new;
    }
    old
}

/// The next vector finds what one has left, and a little more lies in front of it.
fn copies_in_turn<M: Mallocer>() {
    const LARGEST: usize = 16 << 20;
    let heap = M::open(&Config::default()).unwrap();
    for round in 0..4 {
        // SAFETY: allocated there, and freed once.
        unsafe { heap.free(grow(&heap, LARGEST)) };
        let between = heap.try_alloc(layout(70_000 + round * 65_536));
        assert!(between.is_ok());
    }
    let info = heap.info();
    println!("{}: {info}", heap.name());
    // All copies of one vector are twice as long as the last one.
    assert!(info.heap <= 2 * LARGEST + (3 << 20), "{info}");
}

#[test]
fn the_copies_of_one_vector_serve_the_next() {
    copies_in_turn::<SharedFlist>();
}
