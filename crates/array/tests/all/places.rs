//! Arrays in arenas that move, are shared, or are nested in each other.

use std::sync::Mutex;

use mallocer_array::{Array, In, Text, With};
use mallocer_core::{Config, Mallocer};
use mallocer_flist::{Flist, SharedFlist};
use mallocer_mimalloc::Mimalloc;

#[test]
fn an_arena_may_move_between_two_borrows() {
    let first = Flist::open(&Config::default()).unwrap();
    let kept = {
        let mut array = Array::new_in(In::new(&first));
        array.extend([1u8, 2, 3]);
        array.into_chunk().unwrap()
    };
    let moved = Box::new(first);
    let source = In::new(&*moved);
    // SAFETY: the chunk is of this arena, and nobody else has it.
    let mut array = unsafe { Array::from_chunk(kept.cast(), 3, source) }.unwrap();
    array.extend(std::iter::repeat_n(7, 100_000));
    assert_eq!(array[..4], [1, 2, 3, 7]);
    let copy = array.clone();
    assert_eq!(copy.len(), 100_003);
    drop((array, copy));
    assert_eq!(moved.info().alloc, 0);
}

#[test]
fn arrays_of_arrays_in_one_arena() {
    let heap = Flist::open(&Config::default()).unwrap();
    let source = In::new(&heap);
    let mut rows = Array::new_in(source);
    for row in 0..1000usize {
        let mut texts = Array::new_in(source);
        for column in 0..row % 7 {
            texts.push(Text::format_in(format_args!("{row}/{column}"), source));
        }
        rows.push(texts);
    }
    rows.retain(|row| row.len() != 3);
    assert_eq!(rows[4][3], "5/3");
    drop(rows);
    assert_eq!(heap.info().alloc, 0);
}

#[test]
fn handed_over_between_threads() {
    let heap = SharedFlist::open(&Config::default()).unwrap();
    let source = In::new(&heap);
    let desk = Mutex::new(Array::new_in(source));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let desk = &desk;
            scope.spawn(move || {
                for number in 0..500 {
                    let mut mine = Array::new_in(source);
                    mine.extend(std::iter::repeat_n(thread, number));
                    let other = {
                        let mut desk = desk.lock().unwrap();
                        desk.push(mine);
                        let at = number % desk.len();
                        desk.swap_remove(at)
                    };
                    assert!(other.iter().all(|value| *value == other[0]));
                }
            });
        }
    });
    drop(desk);
    assert_eq!(heap.info().alloc, 0);
}

#[test]
fn from_one_heap_into_another() {
    let (one, other) =
        (Flist::open(&Config::default()).unwrap(), Mimalloc::open(&Config::default()).unwrap());
    let mut ours = Array::from_slice_in(&[1, 2, 3], In::new(&one));
    let mut theirs = Array::from_slice_in(&[4, 5], With::new(&other));
    ours.append(&mut theirs);
    assert_eq!(ours, [1, 2, 3, 4, 5]);
    assert!(theirs.is_empty());
    theirs.append(&mut ours);
    assert_eq!(theirs, [1, 2, 3, 4, 5]);
}
