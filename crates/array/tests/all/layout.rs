//! How large handles are, and that nothing is kept that the heap knows.

use std::sync::Arc;

use mallocer_array::{Array, In, ReserveError, Source, Text, With};
use mallocer_core::{AllocError, Chunks, Config, Mallocer};
use mallocer_flist::{Flist, Global, SharedFlist};
use mallocer_jemalloc::Jemalloc;

use crate::on_every_source;

const WORD: usize = size_of::<usize>();

#[test]
fn a_handle_is_one_word_where_the_heap_is_found() {
    assert_eq!(size_of::<Array<u8, Global>>(), WORD);
    assert_eq!(size_of::<Array<u8, mallocer_malloc::Global>>(), WORD);
    assert_eq!(size_of::<Array<u8, mallocer_jemalloc::Global>>(), WORD);
    assert_eq!(size_of::<Array<u8, mallocer_mimalloc::Global>>(), WORD);
    assert_eq!(size_of::<Array<String, In<Flist>>>(), WORD);
    assert_eq!(size_of::<Array<u8, In<SharedFlist>>>(), WORD);
    assert_eq!(size_of::<Text<In<Flist>>>(), WORD);
    assert_eq!(size_of::<Option<Array<u8, Global>>>(), WORD);
    assert_eq!(size_of::<Option<Array<u8, In<Flist>>>>(), WORD);
    assert_eq!(size_of::<Option<Text<In<Flist>>>>(), WORD);
    assert_eq!(size_of::<Array<u8, With<Jemalloc>>>(), 2 * WORD);
    assert_eq!(size_of::<Option<Array<u8, With<Jemalloc>>>>(), 2 * WORD);
}

#[test]
fn handles_go_where_their_heap_and_elements_may() {
    fn sent<T: Send + Sync>() {}
    sent::<Array<u8, Global>>();
    sent::<Array<Arc<u8>, In<SharedFlist>>>();
    sent::<Text<In<SharedFlist>>>();
}

fn nothing_beside_the_length<S: Source>(source: S) {
    // No memory before the first element.
    let empty = Array::<u64, S>::new_in(source);
    assert_eq!((empty.len(), empty.capacity()), (0, 0));
    for len in [1, 2, 7, 100, 511, 4000, 40_000, 300_000] {
        let mut bytes = Array::<u8, S>::with_capacity_in(len, source);
        let (capacity, start) = (bytes.capacity(), bytes.as_ptr());
        while bytes.len() < capacity {
            bytes.push(bytes.len() as u8);
        }
        assert_eq!(start, bytes.as_ptr(), "all of the capacity is used before it moves");
        let chunk = bytes.into_chunk().unwrap();
        // The chunk is what the heap says, begins with the length, and has the bytes
        // behind it up to less than a granule before its end.
        let first = chunk.cast::<u8>();
        assert_eq!(first.addr().get() + WORD, start.addr());
        // SAFETY: the chunk is the heap's.
        unsafe {
            assert_eq!(Chunks::chunk_len(source.heap(), first), chunk.len());
            assert_eq!(chunk.cast::<usize>().read(), capacity);
            let unused = chunk.len() - WORD - capacity;
            assert!(unused < 8 || unused * 64 <= chunk.len(), "{unused} of {}", chunk.len());
            let again = Array::from_chunk(first, 5, source).unwrap();
            assert_eq!(again, [0, 1, 2, 3, 4]);
            let again = again.into_chunk().unwrap();
            let too_long = Array::<u8, S>::from_chunk(again.cast(), chunk.len(), source);
            assert_eq!(too_long.unwrap_err(), first);
            Chunks::free(source.heap(), first);
        }
    }
}

#[test]
fn the_chunk_is_the_whole_bookkeeping_on_every_source() {
    on_every_source!(nothing_beside_the_length);
}

#[test]
fn a_refusal_leaves_the_array_as_it_was() {
    let mut config = Config::default();
    config.capacity = 64 << 10;
    let heap = Flist::open(&config).unwrap();
    let mut array = Array::new_in(In::new(&heap));
    array.extend(0..1000u32);
    let refusal = array.try_reserve(100_000).unwrap_err();
    assert!(matches!(refusal, ReserveError::Alloc(AllocError::Capacity { .. })), "{refusal}");
    assert_eq!(array.try_reserve(usize::MAX / 8), Err(ReserveError::CapacityOverflow));
    assert_eq!(array.try_reserve_exact(usize::MAX), Err(ReserveError::CapacityOverflow));
    assert!(array.iter().copied().eq(0..1000));
    // Up to the last byte: pushing grows by less when it cannot grow by much.
    let mut pushed = 0u32;
    while array.try_reserve(1).is_ok() {
        array.push(pushed);
        pushed += 1;
    }
    assert!(array.len() * 4 > 28 << 10, "{} elements", array.len());
}

#[test]
fn shrinking_gives_back() {
    let heap = Flist::open(&Config::default()).unwrap();
    let mut array = Array::new_in(In::new(&heap));
    array.extend(0..100_000u64);
    let full = heap.info().alloc;
    array.truncate(10);
    array.shrink_to_fit();
    assert!(heap.info().alloc < full / 1000);
    assert!(array.iter().copied().eq(0..10));
    array.clear();
    array.shrink_to_fit();
    assert_eq!(heap.info().alloc, 0);
    array.push(1);
    assert_eq!(array, [1]);
}
