//! A search tree of a million nodes in a pool, beside one of boxes.
//!
//! Nodes are made and dropped one by one, in any order. In a `Pool` each is one slot, freed
//! by a push on a list, and the whole tree's memory goes at once with its arena; a handle is
//! used like a `Box`, so the code of the tree is the same for both.

use std::ops::DerefMut;
use std::time::Instant;

use mallocer::array::{In, Pool, Pooled, Source};
use mallocer::{Arena, BuildError, Flist};

const NODES: u64 = 1_000_000;

/// A node that is held by `P`: what it points at leads back to the node.
struct Node<P> {
    key: u64,
    left: Option<P>,
    right: Option<P>,
}

struct Boxed(Node<Box<Boxed>>);
struct InPool<'p, S: Source>(Node<Handle<'p, S>>);
type Handle<'p, S> = Pooled<'p, InPool<'p, S>, S>;

trait Holds<P> {
    fn node(&mut self) -> &mut Node<P>;
}

impl Holds<Box<Boxed>> for Boxed {
    fn node(&mut self) -> &mut Node<Box<Boxed>> {
        &mut self.0
    }
}

impl<'p, S: Source> Holds<Handle<'p, S>> for InPool<'p, S> {
    fn node(&mut self) -> &mut Node<Handle<'p, S>> {
        &mut self.0
    }
}

/// The link that leads to `key`, or where it would be.
fn find<P: DerefMut<Target: Holds<P>>>(mut at: &mut Option<P>, key: u64) -> &mut Option<P> {
    while at.as_mut().is_some_and(|node| node.node().key != key) {
        let node = at.as_mut().expect("it is some").node();
        at = if key < node.key { &mut node.left } else { &mut node.right };
    }
    at
}

/// Takes the least node out of a tree that is not empty.
fn take_least<P: DerefMut<Target: Holds<P>>>(mut at: &mut Option<P>) -> P {
    while at.as_mut().is_some_and(|node| node.node().left.is_some()) {
        at = &mut at.as_mut().expect("it is some").node().left;
    }
    let mut least = at.take().expect("the tree is not empty");
    *at = least.node().right.take();
    least
}

/// Drops the node at `link`; the next one in order takes its place.
fn delete<P: DerefMut<Target: Holds<P>>>(link: &mut Option<P>) {
    let Some(mut gone) = link.take() else { return };
    let (left, mut right) = (gone.node().left.take(), gone.node().right.take());
    *link = match (left, right.is_some()) {
        (left, false) => left,
        (None, true) => right,
        (left, true) => {
            let mut next = take_least(&mut right);
            next.node().left = left;
            next.node().right = right;
            Some(next)
        }
    };
}

/// Makes a tree, replaces half of its nodes, and drops it; returns nodes made.
fn work<P: DerefMut<Target: Holds<P>>>(make: impl Fn(u64) -> P) -> u64 {
    let key = |number: u64| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut root = None;
    for number in 0..NODES {
        *find(&mut root, key(number)) = Some(make(key(number)));
    }
    for number in 0..NODES / 2 {
        delete(find(&mut root, key(number * 2)));
        let new = key(NODES + number);
        *find(&mut root, new) = Some(make(new));
    }
    NODES + NODES / 2
}

fn main() -> Result<(), BuildError> {
    let began = Instant::now();
    let made = work(|key| Box::new(Boxed(Node { key, left: None, right: None })));
    println!("{made} nodes in boxes, by the program's allocator: {:?}", began.elapsed());

    let arena = Arena::<Flist>::builder().capacity(1 << 30).build()?;
    let began = Instant::now();
    let pool = Pool::new_in(In::from(&arena));
    let made = work(|key| pool.insert(InPool(Node { key, left: None, right: None })));
    println!("{made} nodes in a pool: {:?}", began.elapsed());
    println!(
        "  {:.2} bytes of memory for each of {NODES}",
        arena.info().heap as f64 / NODES as f64
    );
    println!(
        "  a node is {} bytes, a handle {}",
        size_of::<Boxed>(),
        size_of::<Handle<In<Flist>>>()
    );
    assert!(pool.is_empty());
    Ok(())
}
