//! What arrays, texts and pools are measured on, generic over who does it.
//!
//! A job is the same code for the standard library's `Vec`, `String` and `Box` and for ours.
//! The example `arrays` runs the jobs large and each in a process of its own, so that peaks of
//! memory can be told; the bench `arrays` runs them smaller, with criterion's statistics.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::ops::DerefMut;
use std::ptr::{self, NonNull};

use allocator_api2::alloc::{AllocError, Allocator};
use mallocer::array::{Placing, Pool, Pooled, Source};

/// How often a piece is appended to each text.
pub const PIECES: usize = 8;

/// Appends pieces of 3 to 12 bytes to each of `texts` in turn, eight times.
pub fn texts<T>(texts: &mut [T], push: impl Fn(&mut T, &str)) {
    const LETTERS: &str = "the quick brown fox jumps over the lazy dog";
    let mut random = 1u64;
    for _ in 0..PIECES {
        for text in &mut *texts {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (from, len) = ((random >> 40) as usize % 30, 3 + (random >> 50) as usize % 10);
            push(text, &LETTERS[from..from + len]);
        }
    }
    black_box(texts);
}

/// A node of a search tree that is pointed at by `P`.
pub struct Node<P> {
    key: u64,
    left: Option<P>,
    right: Option<P>,
}

impl<P> Node<P> {
    /// A node without children.
    pub fn new(key: u64) -> Node<P> {
        Node { key, left: None, right: None }
    }
}

/// What a `P` points at, which leads to the node.
pub trait IsNode<P> {
    /// The node.
    fn node(&mut self) -> &mut Node<P>;
}

/// A node in a [`Pool`] that places by the rule `R`.
pub struct PoolNode<'p, S: Source, R: Placing>(Node<Pooled<'p, PoolNode<'p, S, R>, S, R>>);

impl<'p, S: Source, R: Placing> IsNode<Pooled<'p, PoolNode<'p, S, R>, S, R>>
    for PoolNode<'p, S, R>
{
    #[inline(always)]
    fn node(&mut self) -> &mut Node<Pooled<'p, PoolNode<'p, S, R>, S, R>> {
        &mut self.0
    }
}

/// The job [`tree`] with nodes in a pool, wherever there is a slot.
pub fn tree_in_pool<S: Source>(keys: &mut [u64], source: S) {
    let pool = Pool::new_in(source);
    tree(keys, |_, key| pool.insert(PoolNode(Node::new(key))));
}

/// The job [`tree`] with nodes in a pool, each near to the one that leads to it.
pub fn tree_near<S: Source>(keys: &mut [u64], source: S) {
    let pool = Pool::near_in(source);
    tree(keys, |link, key| pool.insert_near(link, PoolNode(Node::new(key))));
}

/// The link that leads to `key`, or where it would be.
#[inline]
fn find<P: DerefMut<Target: IsNode<P>>>(mut at: &mut Option<P>, key: u64) -> &mut Option<P> {
    while at.as_mut().is_some_and(|node| node.node().key != key) {
        let node = at.as_mut().expect("it is some").node();
        at = if key < node.key { &mut node.left } else { &mut node.right };
    }
    at
}

/// Takes a node out of the tree and drops it.
#[inline]
fn delete<P: DerefMut<Target: IsNode<P>>>(link: &mut Option<P>) {
    let Some(mut gone) = link.take() else { return };
    let (left, right) = (gone.node().left.take(), gone.node().right.take());
    *link = match (left, right) {
        (None, one) | (one, None) => one,
        (left, mut right) => {
            // The next node in order takes the place.
            let mut at = &mut right;
            while at.as_mut().is_some_and(|node| node.node().left.is_some()) {
                at = &mut at.as_mut().expect("it is some").node().left;
            }
            let mut next = at.take().expect("there is a next one");
            *at = next.node().right.take();
            next.node().left = left;
            next.node().right = right;
            Some(next)
        }
    };
}

/// Makes a tree of a node for each of `keys`, which are random, then as many times drops a
/// random node and makes another, then drops the tree. Where the link lies that is going to lead
/// to a node is told to who makes it.
pub fn tree<P: DerefMut<Target: IsNode<P>>>(
    keys: &mut [u64],
    make: impl Fn(*const Option<P>, u64) -> P,
) {
    let mut random = 1u64;
    let mut key = || {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    };
    let mut root: Option<P> = None;
    for place in &mut *keys {
        let key = key();
        *place = key;
        let link = find(&mut root, key);
        *link = Some(make(link, key));
    }
    for _ in 0..keys.len() {
        let (new, which) = (key(), key() as usize % keys.len());
        let old = std::mem::replace(&mut keys[which], new);
        delete(find(&mut root, old));
        let link = find(&mut root, new);
        *link = Some(make(link, new));
    }
}

/// A library's global allocator as what `allocator-api2`'s `Vec` and `Box` take: a type of no
/// size, so that they are as large and as fast as the standard library's on it.
#[derive(Clone, Copy, Default)]
pub struct Std<G>(G);

// SAFETY: every call goes to the library, and all values stand for the same one. What is of
// no size never reaches it.
unsafe impl<G: GlobalAlloc + Copy> Allocator for Std<G> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let start = match layout.size() {
            0 => ptr::without_provenance_mut(layout.align()),
            // SAFETY: the size is not 0.
            _ => unsafe { self.0.alloc(layout) },
        };
        let start = NonNull::new(start).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(start, layout.size()))
    }

    #[inline]
    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: passed on.
            unsafe { self.0.dealloc(start.as_ptr(), layout) }
        }
    }

    #[inline]
    unsafe fn grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() == 0 {
            return self.allocate(new);
        }
        debug_assert_eq!(old.align(), new.align());
        // SAFETY: passed on.
        let start = unsafe { self.0.realloc(start.as_ptr(), old, new.size()) };
        let start = NonNull::new(start).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(start, new.size()))
    }
}
