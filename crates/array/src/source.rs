//! Where an array's memory comes from, and how a handle of one word finds it.
//!
//! ```text
//!                    no chunk yet            a chunk                   words
//! a process's heap   word ─▶ NOTHING         word ─▶ │ len │ …         1
//! In (flist)         word ─▶ heap, bit 0 set word ─▶ │ len │ …  ─ ─▶ heap   1
//! With (any heap)    word ─▶ NOTHING         word ─▶ │ len │ …         2
//!                    beside ─▶ heap          beside ─▶ heap
//! ```
//!
//! An array that never had an element has no chunk. Its word then leads to the heap by
//! itself, or to [`NOTHING`], a length of 0 in static memory that is read like that of a
//! chunk, so that there no read asks whether there is one.

use core::ptr::NonNull;

use mallocer_core::{Ambient, Chunks, Locate, Mallocer};

/// What a chunk begins with.
#[repr(C, align(64))]
pub(crate) struct Header {
    /// How many elements there are.
    pub(crate) len: usize,
}

/// What an array without a chunk reads: no elements. Never written.
pub(crate) static NOTHING: Header = Header { len: 0 };

/// The word of an array: [`NOTHING`].
pub(crate) fn nothing() -> NonNull<u8> {
    NonNull::from(&NOTHING).cast()
}

/// A heap as an array carries it, in as few words as that heap allows.
///
/// A [`Ambient`] heap is a source as it is, [`In`] is one for a heap that its chunks lead
/// to, and [`With`] for any other. Sealed: what a word means is settled here.
pub trait Source: Copy + sealed::Words {}

impl<S: Copy + sealed::Words> Source for S {}

/// A heap that is found from its chunks' addresses: an array in it is one word.
///
/// # Examples
///
/// ```
/// use mallocer_array::{Array, In};
/// use mallocer_core::{Config, Mallocer};
/// use mallocer_flist::Flist;
///
/// let heap = Flist::open(&Config::default())?;
/// let mut squares = Array::new_in(In::new(&heap));
/// squares.extend((0..100u64).map(|number| number * number));
/// assert_eq!(squares[9], 81);
/// assert_eq!(size_of_val(&squares), size_of::<usize>());
/// # Ok::<(), mallocer_core::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct In<'a, M>(&'a M);

impl<'a, M: Locate> In<'a, M> {
    /// The heap, which stays where it is as long as it is borrowed.
    #[inline]
    pub fn new(heap: &'a M) -> In<'a, M> {
        heap.settle();
        In(heap)
    }
}

/// A heap that an array carries beside its word.
///
/// # Examples
///
/// ```
/// use mallocer_array::{Array, With};
/// use mallocer_core::{Config, Mallocer};
/// use mallocer_jemalloc::Jemalloc;
///
/// let heap = Jemalloc::open(&Config::default())?;
/// let mut squares = Array::new_in(With::new(&heap));
/// squares.extend((0..100u64).map(|number| number * number));
/// assert_eq!(squares[9], 81);
/// # Ok::<(), mallocer_core::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct With<'a, M>(&'a M);

impl<'a, M: Mallocer> With<'a, M> {
    /// The heap.
    #[inline]
    pub fn new(heap: &'a M) -> With<'a, M> {
        With(heap)
    }
}

impl<M> Clone for In<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for In<'_, M> {}

impl<M> Clone for With<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for With<'_, M> {}

pub(crate) mod sealed {
    use super::*;

    /// How a handle's words lead to its heap and its header.
    ///
    /// # Safety
    ///
    /// `source` gives back what `enter` was given, for its words and for those whose word
    /// was replaced by a chunk of that heap; `known_len` is the chunk's length.
    pub unsafe trait Words: Sized {
        /// What serves.
        type Heap: Chunks;
        /// What the handle keeps beside its word.
        type Beside: Copy;

        /// The words of an array without a chunk.
        fn enter(self) -> (NonNull<u8>, Self::Beside);

        /// Whether the word leads to a chunk.
        fn has_chunk(word: NonNull<u8>) -> bool;

        /// Whether a word without a chunk leads to something that is not a header.
        const TAGGED: bool;
        /// What an address without a chunk is a multiple of, if it is not asked for more.
        const ALIGN: usize;

        /// The length at the start of the chunk; 0 if there is none.
        ///
        /// # Safety
        ///
        /// As [`source`](Words::source).
        unsafe fn len(word: NonNull<u8>) -> usize;

        /// Where the chunk begins; a multiple of `ALIGN` if there is none.
        fn start(word: NonNull<u8>) -> *mut u8;

        /// The source again.
        ///
        /// # Safety
        ///
        /// The words are those of an array of this source that is alive.
        unsafe fn source(word: NonNull<u8>, beside: Self::Beside) -> Self;

        /// The heap.
        fn heap(&self) -> &Self::Heap;

        /// As [`Chunks::want_huge_pages`].
        ///
        /// # Safety
        ///
        /// As there.
        unsafe fn want_huge_pages(&self, chunk: NonNull<u8>, want: bool) {
            // SAFETY: passed on.
            unsafe { self.heap().want_huge_pages(chunk, want) }
        }

        /// The length of the chunk that the word leads to.
        ///
        /// # Safety
        ///
        /// As [`source`](Words::source), and there is a chunk.
        unsafe fn known_len(word: NonNull<u8>, beside: Self::Beside) -> usize;
    }

    // SAFETY: every value is the same heap. `NOTHING` is nobody's chunk.
    unsafe impl<P: Ambient> Words for P {
        type Heap = P;
        type Beside = ();

        const TAGGED: bool = false;
        const ALIGN: usize = align_of::<Header>();

        #[inline(always)]
        fn enter(self) -> (NonNull<u8>, ()) {
            const { assert!(size_of::<P>() == 0) };
            (nothing(), ())
        }

        #[inline(always)]
        fn has_chunk(word: NonNull<u8>) -> bool {
            word != nothing()
        }

        #[inline(always)]
        unsafe fn len(word: NonNull<u8>) -> usize {
            // SAFETY: a chunk and `NOTHING` begin with a length.
            unsafe { word.cast::<usize>().read() }
        }

        #[inline(always)]
        fn start(word: NonNull<u8>) -> *mut u8 {
            word.as_ptr()
        }

        #[inline(always)]
        unsafe fn source(_: NonNull<u8>, (): ()) -> P {
            P::default()
        }

        #[inline(always)]
        fn heap(&self) -> &P {
            self
        }

        #[inline(always)]
        unsafe fn known_len(word: NonNull<u8>, (): ()) -> usize {
            // SAFETY: passed on.
            unsafe { P::default().known_len(word) }
        }
    }

    /// Set in a word that leads to a heap. A chunk begins with a length, so its address is
    /// a multiple of 8; so is a heap's.
    const HEAP: usize = 1;

    // SAFETY: a chunk leads to its heap, which settled when the source was made and has
    // been borrowed, and so has not moved, since. A word with `HEAP` is a reference's.
    unsafe impl<'a, M: Locate> Words for In<'a, M> {
        type Heap = M;
        type Beside = ();

        const TAGGED: bool = true;
        const ALIGN: usize = align_of::<M>();

        #[inline(always)]
        fn enter(self) -> (NonNull<u8>, ()) {
            const { assert!(align_of::<M>() > HEAP) };
            (NonNull::from(self.0).cast::<u8>().map_addr(|address| address | HEAP), ())
        }

        #[inline(always)]
        fn has_chunk(word: NonNull<u8>) -> bool {
            word.addr().get() & HEAP == 0
        }

        #[inline(always)]
        unsafe fn len(word: NonNull<u8>) -> usize {
            // SAFETY: a chunk begins with a length.
            if Self::has_chunk(word) { unsafe { word.cast::<usize>().read() } } else { 0 }
        }

        #[inline(always)]
        fn start(word: NonNull<u8>) -> *mut u8 {
            word.as_ptr().map_addr(|address| address & !HEAP)
        }

        #[inline]
        unsafe fn source(word: NonNull<u8>, (): ()) -> In<'a, M> {
            // SAFETY: a word with `HEAP` is the reference that `enter` made it of. A chunk
            // is this heap's, and the caller has it.
            unsafe {
                if Self::has_chunk(word) {
                    return In(M::locate(word));
                }
                In(&*word.as_ptr().map_addr(|address| address & !HEAP).cast::<M>())
            }
        }

        #[inline(always)]
        fn heap(&self) -> &M {
            self.0
        }

        #[inline(always)]
        unsafe fn known_len(word: NonNull<u8>, (): ()) -> usize {
            // SAFETY: passed on.
            unsafe { M::located_len(word) }
        }

        unsafe fn want_huge_pages(&self, chunk: NonNull<u8>, want: bool) {
            // SAFETY: passed on.
            unsafe { M::located_huge(chunk, want) }
        }
    }

    // SAFETY: the reference is kept beside.
    unsafe impl<'a, M: Mallocer> Words for With<'a, M> {
        type Heap = M;
        type Beside = &'a M;

        const TAGGED: bool = false;
        const ALIGN: usize = align_of::<Header>();

        #[inline(always)]
        fn enter(self) -> (NonNull<u8>, &'a M) {
            (nothing(), self.0)
        }

        #[inline(always)]
        fn has_chunk(word: NonNull<u8>) -> bool {
            word != nothing()
        }

        #[inline(always)]
        unsafe fn len(word: NonNull<u8>) -> usize {
            // SAFETY: a chunk and `NOTHING` begin with a length.
            unsafe { word.cast::<usize>().read() }
        }

        #[inline(always)]
        fn start(word: NonNull<u8>) -> *mut u8 {
            word.as_ptr()
        }

        #[inline(always)]
        unsafe fn source(_: NonNull<u8>, heap: &'a M) -> With<'a, M> {
            With(heap)
        }

        #[inline(always)]
        fn heap(&self) -> &M {
            self.0
        }

        #[inline(always)]
        unsafe fn known_len(word: NonNull<u8>, heap: &'a M) -> usize {
            // SAFETY: passed on.
            unsafe { Chunks::known_len(heap, word) }
        }
    }
}
