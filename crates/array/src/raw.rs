//! The chunk of an array: where its length is, and how much fits.
//!
//! ```text
//! word
//!   │
//!   ▼        OFFSET                          at = OFFSET + len × SIZE      chunk length
//!   │ len │ (pad) │ element │ element │ … │ element │ free …                 │
//! ```
//!
//! The length is the only thing that is stored. How much fits is the chunk's length,
//! which the heap knows. Asking for it costs a few loads, which a push would feel, so most
//! pushes do not ask:
//!
//! A chunk's end, as far as an array uses it, is a multiple of a *granule* that grows with
//! the chunk. Who has filled a chunk up to `at`, and is not at a multiple of the granule,
//! knows without asking that it goes on up to the next one:
//!
//! ```text
//! granule(at) = 8 below 4 KiB, 64 below 256 KiB, 4096 from there on
//! end(L) = L rounded down to a multiple of granule(L)       capacity = (end(L) − OFFSET) / SIZE
//!
//! a chunk holds `more` bytes behind at > OFFSET, if   more ≤ −at mod granule(at)
//! ```
//!
//! since `at ≤ end(L)`, granules divide each other, and so `end(L)` is a multiple of
//! `granule(at)`. At most a sixty-fourth of a chunk is lost to it, and nothing of one whose
//! length is a multiple of 4096 or of a slab below 4 KiB. All requests are for multiples
//! of the granule.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop};
use core::ptr::{self, NonNull};

use mallocer_core::{AllocError, Chunks};

use crate::source::Source;

/// Bytes that hold the length, at the start of a chunk.
pub(crate) const LEN_BYTES: usize = size_of::<usize>();

/// Chunks of at least this many bytes are asked to grow where they are. Smaller ones have
/// neighbours of their own slab.
const LEAST_IN_PLACE: usize = 32 << 10;

/// Bytes that a first chunk holds elements in, at least.
const FIRST_BYTES: usize = 24;

/// The length to ask for when a chunk of `now` bytes is full.
///
/// Where many arrays grow side by side, the chunks that they have outgrown stay with their
/// slabs, since each pool still has some in use. Growing by a factor of `r`, all that they
/// ever had is up to `r / (r − 1)` of what they have, and they have `(r − 1) / ln r` of what
/// they need on the way from one length to the next. The product, `r / ln r`, is least for
/// `r = e`. Larger chunks leave their pools together, so that these serve other slabs, and
/// then a small factor is better.
const fn larger(now: usize) -> usize {
    match now {
        0..64 => now + now / 2 + now,
        64..128 => 2 * now,
        _ => now + now / 2,
    }
}

/// What every chunk's end is a multiple of, as far as an array uses it.
const LEAST_GRANULE: usize = 8;

/// What an array's chunk end, and each request, is a multiple of.
#[inline(always)]
const fn granule(at: usize) -> usize {
    if at < 4 << 10 {
        LEAST_GRANULE
    } else if at < 256 << 10 {
        64
    } else {
        4096
    }
}

/// `bytes`, rounded up to the granule.
const fn request(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(granule(bytes))
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveError {
    /// More elements than any address space has room for.
    CapacityOverflow,
    /// The heap refused.
    Alloc(AllocError),
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The words of the standard library's collections.
            ReserveError::CapacityOverflow => f.write_str("capacity overflow"),
            ReserveError::Alloc(refusal) => refusal.fmt(f),
        }
    }
}

impl core::error::Error for ReserveError {}

impl From<AllocError> for ReserveError {
    fn from(refusal: AllocError) -> ReserveError {
        ReserveError::Alloc(refusal)
    }
}

#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn refuse(refusal: ReserveError) -> ! {
    panic!("{refusal}")
}

/// The words of an array, and its chunk; the elements are its user's to drop.
pub(crate) struct Raw<T, S: Source> {
    word: NonNull<u8>,
    beside: S::Beside,
    owns: PhantomData<(T, S)>,
}

impl<T, S: Source> Raw<T, S> {
    const SIZE: usize = size_of::<T>();
    const ALIGN: usize = if align_of::<T>() > LEN_BYTES { align_of::<T>() } else { LEN_BYTES };
    /// Where the elements begin.
    pub(crate) const OFFSET: usize = Self::ALIGN;

    #[inline]
    pub(crate) fn new_in(source: S) -> Self {
        let (word, beside) = source.enter();
        Raw { word, beside, owns: PhantomData }
    }

    /// The words around a chunk.
    ///
    /// # Safety
    ///
    /// The chunk is the source's, aligned to `ALIGN`, with a length at its start for which
    /// there are elements and room.
    pub(crate) unsafe fn from_chunk(chunk: NonNull<u8>, source: S) -> Self {
        let mut raw = Raw::new_in(source);
        raw.word = chunk;
        raw
    }

    /// The chunk, if there is one; the words do not lead to it any more.
    pub(crate) fn into_chunk(self) -> Option<NonNull<u8>> {
        let raw = ManuallyDrop::new(self);
        raw.has_chunk().then_some(raw.word)
    }

    #[inline(always)]
    pub(crate) fn has_chunk(&self) -> bool {
        S::has_chunk(self.word)
    }

    #[inline]
    pub(crate) fn source(&self) -> S {
        // SAFETY: the words are those of this array.
        unsafe { S::source(self.word, self.beside) }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the words are those of this array.
        unsafe { S::len(self.word) }
    }

    /// The length; takes a first chunk, for `more` elements, if the word leads to none.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn len_for(&mut self, more: usize) -> usize {
        if S::TAGGED && !self.has_chunk() {
            self.begin(more);
        }
        // SAFETY: a chunk begins with a length, and so does what a word without tag leads to.
        unsafe { self.word.cast::<usize>().read() }
    }

    /// Takes a first chunk, for `more` elements.
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn begin(&mut self, more: usize) {
        if let Err(refusal) = self.grow(0, more) {
            refuse(refusal);
        }
    }

    /// Sets the length. An array without a chunk has none but 0.
    ///
    /// # Safety
    ///
    /// There are as many elements, and a chunk for them.
    #[inline(always)]
    pub(crate) unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(self.has_chunk());
        // SAFETY: a chunk begins with its length.
        unsafe { self.word.cast::<usize>().write(len) }
    }

    /// The first element, or where it would be: aligned, and valid for `capacity`.
    #[inline(always)]
    pub(crate) fn start(&self) -> *mut T {
        if Self::ALIGN > S::ALIGN && !self.has_chunk() {
            return ptr::without_provenance_mut(Self::ALIGN);
        }
        // Where there is no chunk, an address that nothing is read at.
        S::start(self.word).wrapping_add(Self::OFFSET).cast()
    }

    /// The element at `index`, or where it would be.
    ///
    /// # Safety
    ///
    /// There is a chunk, with room for it.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, index: usize) -> *mut T {
        debug_assert!(self.has_chunk());
        // SAFETY: the caller's promise.
        unsafe { self.word.add(Self::OFFSET).cast::<T>().add(index).as_ptr() }
    }

    /// How many elements fit: what the heap says of the chunk.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        if !self.has_chunk() {
            return 0;
        }
        if Self::SIZE == 0 {
            return usize::MAX;
        }
        // SAFETY: there is a chunk.
        Self::fitting(unsafe { S::known_len(self.word, self.beside) })
    }

    /// How many elements fit into a chunk of `bytes` bytes.
    #[inline(always)]
    pub(crate) fn fitting(bytes: usize) -> usize {
        let end = bytes & !(granule(bytes) - 1);
        (end - Self::OFFSET) / Self::SIZE
    }

    /// Whether `more` elements behind `len` surely fit, as far as is known without asking.
    #[inline(always)]
    pub(crate) fn surely_fit(&self, len: usize, more: usize) -> bool {
        if Self::SIZE == 0 {
            return self.has_chunk() && len.checked_add(more).is_some();
        }
        let at = Self::OFFSET + len * Self::SIZE;
        // The least granule first: of small elements, most pushes end here.
        let room = |granule: usize| (at.wrapping_neg() & (granule - 1)) / Self::SIZE;
        (Self::SIZE < LEAST_GRANULE && more <= room(LEAST_GRANULE)) || more <= room(granule(at))
    }

    /// Makes room for `more` elements behind `len`.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn make_room(&mut self, len: usize, more: usize) {
        if !self.surely_fit(len, more)
            && self.capacity() - len < more
            && let Err(refusal) = self.grow(len, more)
        {
            refuse(refusal);
        }
    }

    /// Grows by a part of what there is, and at least by `more` elements behind `len`.
    #[cold]
    #[inline(never)]
    pub(crate) fn grow(&mut self, len: usize, more: usize) -> Result<(), ReserveError> {
        let least = Self::bytes_for(len.checked_add(more))?;
        if !self.has_chunk() {
            return self.first(least.max(Self::OFFSET + FIRST_BYTES), least);
        }
        // SAFETY: there is a chunk, which this array has.
        unsafe {
            let source = self.source();
            let now = S::known_len(self.word, self.beside);
            let much = request(least.max(larger(now))).unwrap_or(least);
            if now < LEAST_IN_PLACE {
                return self.replace(&source, len, much, least);
            }
            let some = request(least.max(now + now / 8)).unwrap_or(least);
            if source.heap().resize_in_place(self.word, some).is_some() {
                return Ok(());
            }
            match self.realloc(&source, much) {
                Err(_) if much > least => self.realloc(&source, least),
                result => result,
            }
        }
    }

    /// Moves `len` elements to a chunk of `wanted` bytes, or of `least`.
    ///
    /// # Safety
    ///
    /// There is a chunk with as many elements, and both hold them.
    unsafe fn replace(
        &mut self,
        source: &S,
        len: usize,
        wanted: usize,
        least: usize,
    ) -> Result<(), ReserveError> {
        let new = match source.heap().try_alloc(Self::layout(wanted)?) {
            Err(_) if wanted > least => source.heap().try_alloc(Self::layout(least)?),
            result => result,
        }?
        .cast::<u8>();
        // SAFETY: the new chunk is another one, and both hold so much; the old one is
        // this array's, and not used any more.
        unsafe {
            new.copy_from_nonoverlapping(self.word, Self::OFFSET + len * Self::SIZE);
            source.heap().free(self.word);
        }
        self.word = new;
        Ok(())
    }

    /// Makes room for exactly `capacity` elements, or a few more: a chunk's worth.
    pub(crate) fn grow_exact(&mut self, capacity: usize) -> Result<(), ReserveError> {
        let least = Self::bytes_for(Some(capacity))?;
        if !self.has_chunk() {
            return if capacity == 0 { Ok(()) } else { self.first(least, least) };
        }
        if Self::SIZE == 0 || self.capacity() >= capacity {
            return Ok(());
        }
        let source = self.source();
        // SAFETY: there is a chunk, which this array has.
        unsafe {
            if source.heap().resize_in_place(self.word, least).is_some() {
                return Ok(());
            }
            self.realloc(&source, least)
        }
    }

    /// Gives back what `capacity` elements, at least the length, do not need.
    pub(crate) fn shrink(&mut self, capacity: usize) -> Result<(), ReserveError> {
        if !self.has_chunk() {
            return Ok(());
        }
        let source = self.source();
        if capacity == 0 {
            let (word, beside) = source.enter();
            let chunk = mem::replace(&mut self.word, word);
            self.beside = beside;
            // SAFETY: the chunk was this array's, which has no elements.
            unsafe { source.heap().free(chunk) };
            return Ok(());
        }
        let bytes = Self::bytes_for(Some(capacity))?;
        // SAFETY: there is a chunk, which this array has.
        unsafe {
            if Self::SIZE == 0 || bytes >= S::known_len(self.word, self.beside) {
                return Ok(());
            }
            self.realloc(&source, bytes)
        }
    }

    /// Bytes of a chunk for `capacity` elements.
    fn bytes_for(capacity: Option<usize>) -> Result<usize, ReserveError> {
        capacity
            .and_then(|capacity| capacity.checked_mul(Self::SIZE))
            .and_then(|bytes| bytes.checked_add(Self::OFFSET))
            .and_then(request)
            .filter(|&bytes| bytes <= isize::MAX as usize + 1 - Self::ALIGN)
            .ok_or(ReserveError::CapacityOverflow)
    }

    fn layout(bytes: usize) -> Result<Layout, ReserveError> {
        Layout::from_size_align(bytes, Self::ALIGN).map_err(|_| ReserveError::CapacityOverflow)
    }

    /// Takes a first chunk of `wanted` bytes, or of `least`.
    fn first(&mut self, wanted: usize, least: usize) -> Result<(), ReserveError> {
        let source = self.source();
        let wanted = request(wanted).unwrap_or(least);
        let chunk = match source.heap().try_alloc(Self::layout(wanted)?) {
            Err(_) if wanted > least => source.heap().try_alloc(Self::layout(least)?),
            result => result,
        }?;
        self.word = chunk.cast();
        // SAFETY: no elements.
        unsafe { self.set_len(0) };
        Ok(())
    }

    /// # Safety
    ///
    /// There is a chunk, and `bytes` hold its elements.
    unsafe fn realloc(&mut self, source: &S, bytes: usize) -> Result<(), ReserveError> {
        let layout = Self::layout(bytes)?;
        // SAFETY: the chunk is this array's, which uses what is returned.
        let chunk = unsafe { source.heap().try_realloc(self.word, layout) }?;
        debug_assert!(chunk.len() >= bytes);
        self.word = chunk.cast();
        Ok(())
    }
}

impl<T, S: Source> Drop for Raw<T, S> {
    #[inline]
    fn drop(&mut self) {
        if self.has_chunk() {
            // SAFETY: the chunk is this array's, and ends with it.
            unsafe { self.source().heap().free(self.word) };
        }
    }
}

// SAFETY: an array owns its elements, and its chunk as if it were `S` that owned it: a heap
// that is shared with another thread is `Sync` if a source of it is `Send`.
unsafe impl<T: Send, S: Source + Send> Send for Raw<T, S> {}
// SAFETY: as above.
unsafe impl<T: Sync, S: Source + Sync> Sync for Raw<T, S> {}
