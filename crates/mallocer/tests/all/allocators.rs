//! The `Allocator` traits, and collections on them.

use std::alloc::Layout;

use mallocer::collections::{Box, HashMap, HashSet, Vec};
use mallocer::{Arena, Backend, SharedArena};

use crate::{bytes, fill, holds};

/// Holds an implementation of the trait in `$api` to what the trait says.
macro_rules! contract {
    ($name:ident, $($api:ident)::+) => {
        #[test]
        fn $name() {
            fn check<A: $($api)::+::Allocator>(arena: &A, held: impl Fn() -> usize) {
                let layout = |size, align| Layout::from_size_align(size, align).unwrap();
                // SAFETY: every block is used as it was returned last, with a layout
                // that fits it, and given back once.
                unsafe {
                    // Size 0 takes nothing, and is aligned.
                    let empty = arena.allocate(layout(0, 4096)).unwrap();
                    assert_eq!((empty.len(), held()), (0, 0));
                    assert!(empty.cast::<u8>().addr().get().is_multiple_of(4096));
                    arena.deallocate(empty.cast(), layout(0, 4096));

                    // From size 0 to something, on, further aligned, back to size 0.
                    let block = arena.allocate_zeroed(layout(0, 1)).unwrap();
                    let block = arena.grow(block.cast(), layout(0, 1), layout(10, 1)).unwrap();
                    assert!(block.len() >= 10 && held() >= 10);
                    fill(block, 5);
                    let block = arena.grow(block.cast(), layout(10, 1), layout(70, 64)).unwrap();
                    assert!(block.cast::<u8>().addr().get().is_multiple_of(64));
                    assert!(holds(first(block, 10), 5));
                    fill(block, 6);
                    let block = arena.shrink(block.cast(), layout(70, 64), layout(7, 2)).unwrap();
                    assert!(holds(first(block, 7), 6));
                    let block = arena.shrink(block.cast(), layout(7, 2), layout(0, 8)).unwrap();
                    assert_eq!((block.len(), held()), (0, 0));

                    // Zeroed are all bytes past those that were asked for before.
                    for (old, new) in [(0, 50), (50, 60), (100, 5000), (5000, 1_000_000)] {
                        let block = arena.allocate(layout(old, 8)).unwrap();
                        fill(block, 0xff);
                        let block =
                            arena.grow_zeroed(block.cast(), layout(old, 8), layout(new, 8)).unwrap();
                        assert!(block.len() >= new && holds(first(block, old), 0xff));
                        let behind = block.cast::<u8>().add(old);
                        let behind =
                            std::ptr::NonNull::slice_from_raw_parts(behind, block.len() - old);
                        assert!(holds(behind, 0), "{old} to {new} bytes");
                        arena.deallocate(block.cast(), layout(new, 8));
                    }
                    let zeroed = arena.allocate_zeroed(layout(3000, 8)).unwrap();
                    assert!(holds(zeroed, 0));
                    arena.deallocate(zeroed.cast(), layout(3000, 8));

                    // A block that shrinks, grows or is aligned further where it is fits
                    // the layout it has then, and is given back with that.
                    for (old, new) in [
                        (layout(100, 8), layout(99, 8)),
                        (layout(100, 8), layout(60, 8)),
                        (layout(5000, 8), layout(2600, 8)),
                        (layout(1 << 20, 8), layout((1 << 19) + 1, 8)),
                        (layout(20, 1), layout(20, 16)),
                        (layout(20, 1), layout(22, 16)),
                        (layout(40, 8), layout(40, 32)),
                        (layout(64, 64), layout(64, 1)),
                    ] {
                        let blocks: [_; 20] =
                            std::array::from_fn(|_| arena.allocate(old).unwrap());
                        for block in blocks {
                            let block = if new.size() < old.size() {
                                arena.shrink(block.cast(), old, new)
                            } else {
                                arena.grow(block.cast(), old, new)
                            };
                            let block = block.unwrap().cast::<u8>();
                            assert!(block.addr().get().is_multiple_of(new.align()));
                            arena.deallocate(block, new);
                        }
                        assert_eq!(held(), 0, "{old:?} to {new:?}");
                    }

                    // A refusal leaves the block as it was.
                    let block = arena.allocate(layout(1000, 8)).unwrap();
                    fill(block, 8);
                    arena.grow(block.cast(), layout(1000, 8), layout(1 << 30, 8)).unwrap_err();
                    assert!(holds(block, 8));
                    arena.deallocate(block.cast(), layout(1000, 8));
                }
                assert_eq!(held(), 0);
            }

            for &backend in Backend::compiled() {
                let arena = Arena::builder().backend(backend).capacity(64 << 20).build().unwrap();
                check(&&arena, || arena.info().alloc);
                let arena =
                    SharedArena::builder().backend(backend).capacity(64 << 20).build().unwrap();
                check(&arena, || arena.info().alloc);
            }
        }
    };
}

contract!(allocator_api2_0_2, allocator_api2::alloc);

#[cfg(feature = "allocator-api2-04")]
contract!(allocator_api2_0_4, allocator_api2_04::alloc);

#[cfg(mallocer_nightly)]
contract!(core_on_nightly, core::alloc);

/// The first `len` bytes of a block.
fn first(block: std::ptr::NonNull<[u8]>, len: usize) -> std::ptr::NonNull<[u8]> {
    std::ptr::NonNull::slice_from_raw_parts(block.cast(), len)
}

#[repr(align(64))]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Aligned(u64);

fn fill_collections<A: allocator_api2::alloc::Allocator + Clone>(arena: A) {
    let mut vec = Vec::new_in(arena.clone());
    vec.extend(0..100_000u64);
    vec.retain(|number| number % 3 == 0);
    vec.shrink_to_fit();
    assert!(vec.iter().copied().eq((0..100_000).step_by(3)));

    let mut aligned = Vec::with_capacity_in(3, arena.clone());
    aligned.extend((0..100).map(Aligned));
    assert!(aligned.as_ptr().addr().is_multiple_of(64) && aligned[99] == Aligned(99));

    let unit = Box::new_in((), arena.clone());
    let nothing: Vec<(), A> =
        std::iter::repeat_n((), 1000).fold(Vec::new_in(arena.clone()), |mut vec, unit| {
            vec.push(unit);
            vec
        });
    assert_eq!((nothing.len(), *unit), (1000, ()));

    let mut map = HashMap::new_in(arena.clone());
    for number in 0..5000u32 {
        let mut list = Vec::new_in(arena.clone());
        list.extend_from_slice(&[number; 5]);
        map.insert(number, Box::new_in(list, arena.clone()));
    }
    map.retain(|number, _| number % 2 == 0);
    map.shrink_to_fit();
    assert!(map.len() == 2500 && map.iter().all(|(number, list)| ***list == [*number; 5]));

    let mut set = HashSet::new_in(arena);
    set.extend("to be or not to be".split(' '));
    assert!(set.len() == 4 && set.contains("not"));
}

#[test]
fn collections_live_in_an_arena_and_give_everything_back() {
    for &backend in Backend::compiled() {
        let arena = Arena::builder().backend(backend).capacity(64 << 20).build().unwrap();
        fill_collections(&arena);
        assert_eq!(arena.info().alloc, 0, "{backend}");
        let arena = SharedArena::builder().backend(backend).capacity(64 << 20).build().unwrap();
        fill_collections(arena.clone());
        assert_eq!(arena.info().alloc, 0, "{backend}");
    }
}

#[test]
fn a_collection_is_told_when_its_arena_is_full() {
    for &backend in Backend::compiled() {
        let arena = Arena::builder().backend(backend).capacity(1 << 20).build().unwrap();
        let mut vec: Vec<u8, _> = Vec::new_in(&arena);
        assert!(vec.try_reserve(2 << 20).is_err(), "{backend}");
        vec.try_reserve(1000).unwrap();
        vec.extend_from_slice(&[1; 1000]);
        let chunk = arena.alloc(bytes(100));
        assert!(chunk.len() >= 100 && vec.iter().all(|&byte| byte == 1), "{backend}");
    }
}
