//! Arrays, texts and pools beside `Vec`, `String` and `Box` on other allocators.
//!
//! ```text
//! cargo run --release -p mallocer-benches --example arrays [push|texts|tree] [rounds]
//! ```
//!
//! | job | what is done |
//! |---|---|
//! | `push` | 100 million `u32`, pushed one by one into one array; bytes that moved to another address |
//! | `texts` | a million strings at once, to each of which 8 pieces of 3 to 12 bytes are appended in turn |
//! | `tree` | a search tree of 1 000 000 nodes: made, then as many times a random node deleted and another inserted, then dropped |
//!
//! Each subject runs each round in a process of its own, in turns. Time is the median of
//! the rounds, in milliseconds; memory is the peak of resident bytes, less what the process
//! had before. A `Vec`, `String` or `Box` is the standard library's, on a global allocator
//! that asks one predicted branch for which library it is to be.

use std::alloc::{GlobalAlloc, Layout};
use std::env;
use std::hint::black_box;
use std::ops::DerefMut;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use mallocer::array::{Array, In, Pool, Pooled, Source, Text};
use mallocer::{Arena, Flist, global};

/// The allocator of the whole process: which one, its environment says.
struct Chosen;

static CHOICE: AtomicUsize = AtomicUsize::new(0);
/// Bytes that a reallocation copied.
static COPIED: AtomicUsize = AtomicUsize::new(0);

#[cold]
fn choose() -> usize {
    // SAFETY: the name ends with a zero byte; nobody changes the environment.
    let name = unsafe { getenv(c"MALLOCER_SUBJECT".as_ptr()) };
    let mut choice = 1;
    if !name.is_null() {
        // SAFETY: a variable's value ends with a zero byte.
        choice = match unsafe { *name } as u8 {
            b'j' => 2,
            b'm' => 3,
            b'f' => 4,
            _ => 1,
        };
    }
    CHOICE.store(choice, Relaxed);
    choice
}

unsafe extern "C" {
    fn getenv(name: *const std::ffi::c_char) -> *const std::ffi::c_char;
}

macro_rules! pass_on {
    ($one:ident => $act:expr) => {{
        let choice = CHOICE.load(Relaxed);
        match if choice == 0 { choose() } else { choice } {
            2 => {
                let $one = global::Jemalloc;
                $act
            }
            3 => {
                let $one = global::Mimalloc;
                $act
            }
            4 => {
                let $one = global::Flist;
                $act
            }
            _ => {
                let $one = global::Malloc;
                $act
            }
        }
    }};
}

// SAFETY: every call goes to the one allocator that was chosen by the first.
unsafe impl GlobalAlloc for Chosen {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        unsafe { pass_on!(one => one.alloc(layout)) }
    }

    #[inline]
    unsafe fn dealloc(&self, chunk: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { pass_on!(one => one.dealloc(chunk, layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, chunk: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: passed on. glibc says in front of a chunk whether it is a mapping, which
        // it moves without copying.
        unsafe {
            let mapping = CHOICE.load(Relaxed) == 1 && chunk.sub(8).cast::<usize>().read() & 2 != 0;
            let moved = pass_on!(one => one.realloc(chunk, layout, size));
            if moved != chunk && !mapping {
                COPIED.fetch_add(layout.size(), Relaxed);
            }
            moved
        }
    }
}

#[global_allocator]
static GLOBAL: Chosen = Chosen;

/// Who runs a job: `Vec` and its like on a library, or ours in a place.
const SUBJECTS: [(&str, &str); 6] = [
    ("std, glibc", "glibc"),
    ("std, jemalloc", "jemalloc"),
    ("std, mimalloc", "mimalloc"),
    ("std, flist", "flist"),
    ("ours, flist arena", "arena"),
    ("ours, flist global", "global"),
];

const JOBS: [&str; 3] = ["push", "texts", "tree"];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [job, subject, "one"] = &arguments.iter().map(|word| &**word).collect::<Vec<_>>()[..] {
        return measure(job, subject);
    }
    let rounds = arguments.get(1).map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
    for job in JOBS.iter().filter(|job| arguments.first().is_none_or(|named| named == *job)) {
        println!("{job:<20} {:>9} {:>12} {:>14}", "ms", "peak MB", "copied MB");
        let mut figures = SUBJECTS.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((_, subject), figures) in SUBJECTS.iter().zip(&mut figures) {
                figures.push(run(job, subject));
            }
        }
        for ((name, _), figures) in SUBJECTS.iter().zip(&mut figures) {
            figures.sort_by(|one, other| one[0].total_cmp(&other[0]));
            let [time, peak, copied] = figures[figures.len() / 2];
            println!("{name:<20} {time:>9.1} {peak:>12.1} {copied:>14.1}");
        }
        println!();
    }
}

/// One round in a process of its own: milliseconds, peak and copied megabytes.
fn run(job: &str, subject: &str) -> [f64; 3] {
    let program = env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args([job, subject, "one"])
        .env("MALLOCER_SUBJECT", subject)
        .output()
        .expect("this program can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().map(|word| word.parse().unwrap_or(f64::NAN));
    [(); 3].map(|()| words.next().unwrap_or(f64::NAN))
}

fn measure(job: &str, subject: &str) {
    let arena = Arena::<Flist>::builder().build().expect("a flist arena");
    let before = resident("VmHWM");
    let began = Instant::now();
    let copied = match (job, subject) {
        ("push", "arena") => push_array(In::from(&arena)),
        ("push", "global") => push_array(global::Flist),
        ("push", _) => push_vec(),
        ("texts", "arena") => texts(|| Text::new_in(In::from(&arena)), Text::push_str),
        ("texts", "global") => texts(|| Text::new_in(global::Flist), Text::push_str),
        ("texts", _) => texts(String::new, String::push_str),
        ("tree", "arena") => tree_pool(In::from(&arena)),
        ("tree", "global") => tree_pool(global::Flist),
        ("tree", _) => tree_box(),
        _ => panic!("{job} is none of {JOBS:?}"),
    };
    let time = began.elapsed().as_secs_f64() * 1e3;
    let peak = resident("VmHWM").saturating_sub(before);
    println!("{time} {} {}", peak as f64 / 1e6, copied as f64 / 1e6);
}

/// Bytes of `/proc/self/status`.
fn resident(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found.and_then(|text| text.split_whitespace().nth(1)?.parse::<usize>().ok()).unwrap_or(0) << 10
}

const PUSHES: u32 = 100_000_000;

fn push_vec() -> usize {
    let mut vec = Vec::new();
    let before = COPIED.load(Relaxed);
    for number in 0..PUSHES {
        vec.push(black_box(number));
    }
    black_box(&vec);
    COPIED.load(Relaxed) - before
}

fn push_array<S: Source>(source: S) -> usize {
    let mut array = Array::new_in(source);
    let (mut copied, mut at) = (0, array.as_ptr());
    for block in 0..PUSHES / 1000 {
        for number in 0..1000 {
            array.push(black_box(block * 1000 + number));
        }
        if array.as_ptr() != at {
            at = array.as_ptr();
            copied += 4 * array.len();
        }
    }
    black_box(&array);
    copied
}

const TEXTS: usize = 1_000_000;

fn texts<T>(new: impl Fn() -> T, push: impl Fn(&mut T, &str)) -> usize {
    const LETTERS: &str = "the quick brown fox jumps over the lazy dog";
    let mut texts: Vec<T> = Vec::with_capacity(TEXTS);
    texts.resize_with(TEXTS, new);
    let mut random = 1u64;
    let before = COPIED.load(Relaxed);
    for _ in 0..8 {
        for text in &mut texts {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (from, len) = ((random >> 40) as usize % 30, 3 + (random >> 50) as usize % 10);
            push(text, &LETTERS[from..from + len]);
        }
    }
    black_box(&texts);
    COPIED.load(Relaxed) - before
}

const NODES: usize = 1_000_000;

/// A node that is pointed at by `P`.
struct Node<P> {
    key: u64,
    left: Option<P>,
    right: Option<P>,
}

type Boxed = Box<BoxedNode>;
struct BoxedNode(Node<Boxed>);

struct PoolNode<'p, S: Source>(Node<Pooled<'p, PoolNode<'p, S>, S>>);

trait IsNode<P> {
    fn node(&mut self) -> &mut Node<P>;
}

impl IsNode<Boxed> for BoxedNode {
    #[inline(always)]
    fn node(&mut self) -> &mut Node<Boxed> {
        &mut self.0
    }
}

impl<'p, S: Source> IsNode<Pooled<'p, PoolNode<'p, S>, S>> for PoolNode<'p, S> {
    #[inline(always)]
    fn node(&mut self) -> &mut Node<Pooled<'p, PoolNode<'p, S>, S>> {
        &mut self.0
    }
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

fn tree<P: DerefMut<Target: IsNode<P>>>(make: impl Fn(u64) -> P) -> usize {
    let mut random = 1u64;
    let mut key = || {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    };
    let mut root: Option<P> = None;
    let mut keys = Vec::with_capacity(NODES);
    for _ in 0..NODES {
        let key = key();
        keys.push(key);
        *find(&mut root, key) = Some(make(key));
    }
    for _ in 0..NODES {
        let (new, which) = (key(), key() as usize % NODES);
        let old = std::mem::replace(&mut keys[which], new);
        delete(find(&mut root, old));
        *find(&mut root, new) = Some(make(new));
    }
    drop(root);
    0
}

fn tree_box() -> usize {
    tree(|key| Box::new(BoxedNode(Node { key, left: None, right: None })))
}

fn tree_pool<S: Source>(source: S) -> usize {
    let pool = Pool::new_in(source);
    tree(|key| pool.insert(PoolNode(Node { key, left: None, right: None })))
}
