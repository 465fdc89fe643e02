//! An ordered index with many versions, in one shared arena.
//!
//! One writer makes a new version of the index for each change: it copies the path from
//! the root to what changes, and publishes the new root by one store. Readers take the root
//! and read *their* version for as long as they like, without a lock. What a version has
//! replaced is freed once no reader can have it any more: crossbeam-epoch knows when.
//!
//! ```text
//!   root ──▶ version 7        a reader of version 6 goes on with its own path
//!              ╱    ╲
//!         copy       (shared with version 6)
//!        ╱    ╲
//!   copy       (shared)
//! ```
//!
//! The index holds accounts, and each version moves money from one to another. So every
//! version has the same total, and a reader that sees another total, an order that is wrong,
//! or a node that was freed, has seen a torn or a dead version. None does. Chunks are allocated
//! by the writer and freed by whichever thread collects.
//!
//! `.ci/sanitize.sh mvcc` runs this program under ThreadSanitizer, with the arena, the engine
//! and crossbeam-epoch instrumented, and then with two mistakes, which it must find:
//! `--cfg mvcc_mistake="frees_at_once"` frees what a reader may still have, and
//! `--cfg mvcc_mistake="publishes_relaxed"` publishes a version before its nodes are written.

use std::alloc::Layout;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};

use crossbeam_epoch::{Collector, Guard, LocalHandle};
use mallocer::{BuildError, SharedArena};

const ACCOUNTS: u64 = 2_000;
const MONEY: u64 = 1_000;
const VERSIONS: u64 = 20_000;
const READERS: usize = 3;

/// What a node has while it is alive, and afterwards.
const ALIVE: u64 = 0xA11F_E000;
const DEAD: u64 = 0xDEAD;

struct Node {
    state: u64,
    key: u64,
    value: u64,
    left: *const Node,
    right: *const Node,
}

struct Index {
    arena: SharedArena,
    root: AtomicPtr<Node>,
    /// Knows which threads read, and what may be freed.
    collector: Collector,
}

// SAFETY: nodes do not change once they are published; the root is atomic, and written by
// one thread.
unsafe impl Sync for Index {}

/// A version of the index, as long as its guard is held.
#[derive(Clone, Copy)]
struct Version<'g> {
    root: *const Node,
    _guard: &'g Guard,
}

impl Index {
    /// The index of all accounts, balanced.
    fn new(arena: SharedArena) -> Index {
        let root = AtomicPtr::new(ptr::null_mut());
        let index = Index { arena, root, collector: Collector::new() };
        index.publish(index.build(0, ACCOUNTS));
        index
    }

    /// A thread's way to the index.
    fn enter(&self) -> LocalHandle {
        self.collector.register()
    }

    /// Makes `root` that of the newest version, which is whole.
    fn publish(&self, root: *const Node) {
        let order = if cfg!(mvcc_mistake = "publishes_relaxed") { Relaxed } else { Release };
        self.root.store(root.cast_mut(), order);
    }

    fn build(&self, from: u64, to: u64) -> *const Node {
        if from == to {
            return ptr::null();
        }
        let middle = (from + to) / 2;
        let (left, right) = (self.build(from, middle), self.build(middle + 1, to));
        self.node(middle, MONEY, left, right)
    }

    fn node(&self, key: u64, value: u64, left: *const Node, right: *const Node) -> *const Node {
        let node = self.arena.alloc(Layout::new::<Node>()).cast::<Node>();
        // SAFETY: the chunk is large enough, and nobody else has it yet.
        unsafe { node.write(Node { state: ALIVE, key, value, left, right }) };
        node.as_ptr()
    }

    /// A copy of the path to `key`, with `change` made there. What it replaces goes to
    /// `replaced`.
    fn changed(
        &self,
        node: *const Node,
        key: u64,
        change: i64,
        replaced: &mut Vec<*const Node>,
    ) -> *const Node {
        // SAFETY: a node of the newest version, which only this thread replaces.
        let Node { key: at, value, left, right, .. } = unsafe { node.read() };
        replaced.push(node);
        match key.cmp(&at) {
            std::cmp::Ordering::Less => {
                self.node(at, value, self.changed(left, key, change, replaced), right)
            }
            std::cmp::Ordering::Greater => {
                self.node(at, value, left, self.changed(right, key, change, replaced))
            }
            std::cmp::Ordering::Equal => {
                self.node(at, value.wrapping_add_signed(change), left, right)
            }
        }
    }

    /// Makes a version in which `money` went from one account to another.
    fn transfer(&self, writer: &LocalHandle, from: u64, to: u64, money: i64) {
        let mut replaced = Vec::new();
        let root = self.root.load(Relaxed);
        let one = self.changed(root, from, -money, &mut replaced);
        let both = self.changed(one, to, money, &mut replaced);
        self.publish(both);
        let guard = &writer.pin();
        for node in replaced {
            let arena = self.arena.clone();
            let node = node.expose_provenance();
            // SAFETY: the new version does not lead to the node, and who has an older one is
            // pinned: it runs after all of them. The arena is alive with its handle.
            unsafe {
                let free = move || {
                    let node = ptr::with_exposed_provenance_mut::<Node>(node);
                    (*node).state = DEAD;
                    arena.free(NonNull::new_unchecked(node).cast());
                };
                if cfg!(mvcc_mistake = "frees_at_once") {
                    free()
                } else {
                    guard.defer_unchecked(free)
                }
            }
        }
    }

    fn version<'g>(&self, guard: &'g Guard) -> Version<'g> {
        Version { root: self.root.load(Acquire), _guard: guard }
    }
}

impl Version<'_> {
    /// Visits all accounts in order.
    fn each(self, visit: &mut impl FnMut(u64, u64)) {
        if self.root.is_null() {
            return;
        }
        // SAFETY: the guard keeps every node of the version.
        let Node { state, key, value, left, right } = unsafe { self.root.read() };
        assert_eq!(state, ALIVE, "a reader sees a node that was freed");
        Version { root: left, ..self }.each(visit);
        visit(key, value);
        Version { root: right, ..self }.each(visit);
    }

    /// Checks the whole version.
    fn check(self) {
        let (mut next, mut total) = (0, 0);
        self.each(&mut |key, value| {
            assert_eq!(key, next, "a reader sees accounts out of order");
            next += 1;
            total += value;
        });
        assert_eq!((next, total), (ACCOUNTS, ACCOUNTS * MONEY), "a reader sees a torn version");
    }
}

/// Lets crossbeam collect what is due.
fn collect(thread: &LocalHandle) {
    for _ in 0..2_000 {
        thread.pin().flush();
    }
}

fn main() -> Result<(), BuildError> {
    let arena = SharedArena::new(256 << 20)?;
    let index = Index::new(arena.clone());
    let alone = arena.info().alloc;
    println!("{ACCOUNTS} accounts in {} KiB on {}", alone >> 10, arena.backend_name());

    let writer = index.enter();
    let (done, read) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let readers = [(); READERS].map(|()| {
            scope.spawn(|| {
                let reader = index.enter();
                while !done.load(Relaxed) {
                    index.version(&reader.pin()).check();
                    read.fetch_add(1, Relaxed);
                }
            })
        });
        let mut random = 1u64;
        let mut account = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % ACCOUNTS
        };
        for _ in 0..VERSIONS {
            index.transfer(&writer, account(), account(), 5);
        }
        done.store(true, Relaxed);
        for reader in readers {
            reader.join().expect("a reader that saw whole versions only");
        }
    });
    println!("{VERSIONS} versions written, {} read whole by {READERS} readers", read.load(Relaxed));
    collect(&writer);
    println!("  alive afterwards: {} KiB", arena.info().alloc >> 10);

    // A reader that stays with an old version holds on to what was replaced since.
    let guard = writer.pin();
    let old = index.version(&guard);
    for version in 0..2_000 {
        index.transfer(&writer, version % ACCOUNTS, (version + 7) % ACCOUNTS, 3);
    }
    let held = arena.info().alloc;
    println!("2000 versions while one reader holds an old one: {} KiB", held >> 10);
    old.check();
    drop(guard);
    for round in 1..=3 {
        for version in 0..500 {
            index.transfer(&writer, version, ACCOUNTS - 1 - version, 1);
        }
        collect(&writer);
        let flat = arena.info().alloc;
        println!("  after it has gone, round {round}: {} KiB", flat >> 10);
        assert!(flat < held / 4, "memory comes back when readers stop");
    }
    index.version(&writer.pin()).check();
    Ok(())
}
