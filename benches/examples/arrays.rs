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
//! Each subject runs each round in a process of its own, in turns, and each round begins with
//! another one. Time is the median of the rounds, in milliseconds, beside the least and the
//! most; its part of the best `std` is the median over the rounds of the part in each, of the
//! library whose median is the least. System time and page faults say where the difference
//! between rounds comes from. Memory is the peak of resident bytes, less what the process had
//! before. The arena has the hint `HOT` for the tree; `near` is a pool in which a node goes
//! beside the one that leads to it. A `Vec`, `String` or `Box` is the standard library's, on a
//! global allocator that asks one predicted branch for which library it is to be.

use std::alloc::{GlobalAlloc, Layout};
use std::env;
use std::hint::black_box;
use std::iter::repeat_n;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use mallocer::array::{Array, In, Source, Text};
use mallocer::{Arena, Flist, Hints, global};
use mallocer_benches::structures::{self, IsNode, Node};

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

/// Who runs a job: `Vec` and its like on a library, or ours in a place; and whether it is a
/// peer.
const SUBJECTS: [(&str, &str, bool); 8] = [
    ("std, glibc", "glibc", true),
    ("std, jemalloc", "jemalloc", true),
    ("std, mimalloc", "mimalloc", true),
    ("std, flist", "flist", false),
    ("ours, flist arena", "arena", false),
    ("ours, flist global", "global", false),
    ("near, flist arena", "near-arena", false),
    ("near, flist global", "near-global", false),
];
/// The last ones place nodes near to others, which only the tree has.
const NEAR: usize = 2;

const JOBS: [&str; 3] = ["push", "texts", "tree"];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [job, subject, "one"] = &arguments.iter().map(|word| &**word).collect::<Vec<_>>()[..] {
        return measure(job, subject);
    }
    let rounds = arguments.get(1).map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
    for job in JOBS.iter().filter(|job| arguments.first().is_none_or(|named| named == *job)) {
        compare(job, rounds);
    }
}

/// Runs a job by each subject in turns, and prints a line for each.
fn compare(job: &str, rounds: usize) {
    let subjects = &SUBJECTS[..SUBJECTS.len() - if job == "tree" { 0 } else { NEAR }];
    let mut figures = SUBJECTS.map(|_| Vec::new());
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let subject = (round + turn) % subjects.len();
            figures[subject].push(run(job, subjects[subject].1));
        }
    }
    let figure = |subject: usize, which: usize| {
        let mut all: Vec<f64> = figures[subject].iter().map(|round| round[which]).collect();
        all.sort_by(f64::total_cmp);
        (all[all.len() / 2], all[0], all[all.len() - 1])
    };
    let best = (0..subjects.len())
        .filter(|&subject| subjects[subject].2)
        .min_by(|&one, &other| figure(one, 0).0.total_cmp(&figure(other, 0).0))
        .expect("there are peers");
    println!(
        "{job:<20} {:>8} {:>8} {:>8} {:>6} {:>7} {:>8} {:>9} {:>9}",
        "ms", "least", "most", "part", "sys ms", "faults", "peak MB", "copied MB"
    );
    for (subject, (name, ..)) in subjects.iter().enumerate() {
        let rounds = figures[subject].iter().zip(&figures[best]);
        let mut parts: Vec<f64> = rounds.map(|(one, best)| one[0] / best[0]).collect();
        parts.sort_by(f64::total_cmp);
        let (time, least, most) = figure(subject, 0);
        let [system, faults, peak, copied] = [1, 2, 3, 4].map(|which| figure(subject, which).0);
        println!(
            "{name:<20} {time:>8.1} {least:>8.1} {most:>8.1} {:>6.2} {system:>7.1} {faults:>8.0} \
             {peak:>9.1} {:>9}",
            parts[parts.len() / 2],
            if copied.is_nan() { "-".to_owned() } else { format!("{copied:.1}") }
        );
    }
    println!();
}

/// Milliseconds, those in the system, page faults, peak and copied megabytes.
const FIGURES: usize = 5;

/// One round in a process of its own.
fn run(job: &str, subject: &str) -> [f64; FIGURES] {
    let program = env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args([job, subject, "one"])
        .env("MALLOCER_SUBJECT", subject)
        .output()
        .expect("this program can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().map(|word| word.parse().unwrap_or(f64::NAN));
    [(); FIGURES].map(|()| words.next().unwrap_or(f64::NAN))
}

fn measure(job: &str, subject: &str) {
    let hints = if job == "tree" { Hints::HOT } else { Hints::NONE };
    let arena = Arena::<Flist>::builder().hints(hints).build().expect("a flist arena");
    let before = resident("VmHWM");
    let (system, faults) = usage();
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
        ("tree", "near-arena") => tree_near(In::from(&arena)),
        ("tree", "near-global") => tree_near(global::Flist),
        ("tree", _) => tree_box(),
        _ => panic!("{job} is none of {JOBS:?}"),
    };
    let time = began.elapsed().as_secs_f64() * 1e3;
    let peak = resident("VmHWM").saturating_sub(before);
    let (system, faults) = (usage().0 - system, usage().1 - faults);
    // What texts of ours copy goes past the global allocator.
    let counted = job != "texts" || !matches!(subject, "arena" | "global");
    let copied = if counted { copied as f64 / 1e6 } else { f64::NAN };
    println!("{time} {system} {faults} {} {copied}", peak as f64 / 1e6);
}

/// Milliseconds that the process has spent in the system, and its page faults.
fn usage() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let numbers: Vec<f64> = fields.map(|field| field.parse().unwrap_or(f64::NAN)).collect();
    // Fields 15 and 10 of the whole line; a tick is 10 ms.
    (numbers.get(12).map_or(f64::NAN, |ticks| 10.0 * ticks), numbers.get(7).copied().unwrap_or(0.0))
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
    let mut texts: Vec<T> = Vec::with_capacity(TEXTS);
    texts.resize_with(TEXTS, new);
    let before = COPIED.load(Relaxed);
    structures::texts(&mut texts, push);
    COPIED.load(Relaxed) - before
}

const NODES: usize = 1_000_000;

struct BoxNode(Node<Box<BoxNode>>);

impl IsNode<Box<BoxNode>> for BoxNode {
    #[inline(always)]
    fn node(&mut self) -> &mut Node<Box<BoxNode>> {
        &mut self.0
    }
}

fn tree_box() -> usize {
    structures::tree(&mut vec![0; NODES], |_, key| Box::new(BoxNode(Node::new(key))));
    0
}

fn tree_pool<S: Source>(source: S) -> usize {
    let mut keys = Array::from_iter_in(repeat_n(0, NODES), source);
    structures::tree_in_pool(&mut keys, source);
    0
}

fn tree_near<S: Source>(source: S) -> usize {
    let mut keys = Array::from_iter_in(repeat_n(0, NODES), source);
    structures::tree_near(&mut keys, source);
    0
}
