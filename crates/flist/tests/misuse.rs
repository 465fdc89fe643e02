//! Every misuse, one to a child process: caught, with a message that says what it was.
//!
//! The one test runs this program again for each case, with the case's name in an
//! environment variable, and reads how the child ended.

use std::alloc::{GlobalAlloc, Layout};
use std::env;
use std::process::{Command, ExitCode};
use std::ptr::{self, NonNull};

use mallocer_core::{Config, Mallocer};
use mallocer_flist::{Flist, Global, SharedFlist};

const CASE: &str = "MISUSE_CASE";

/// What a case does to a heap of its own.
type Act = fn(&dyn Heap);

struct Case {
    name: &'static str,
    /// What the message must hold.
    says: &'static [&'static str],
    act: Act,
}

/// The heap under test: both forms, without their types.
trait Heap {
    fn alloc(&self, size: usize, align: usize) -> NonNull<u8>;
    fn free(&self, chunk: NonNull<u8>);
    fn free_sized(&self, chunk: NonNull<u8>, size: usize, align: usize);
    fn realloc(&self, chunk: NonNull<u8>, size: usize);
    fn chunk_len(&self, chunk: NonNull<u8>) -> usize;
    fn release(&self);
    fn purge(&self);
    fn another(&self) -> Box<dyn Heap>;
}

// Every call here is a misuse or prepares one: the safety rules are broken on purpose,
// and the heap must catch it before memory is harmed.
impl<M: Mallocer + 'static> Heap for M {
    fn alloc(&self, size: usize, align: usize) -> NonNull<u8> {
        self.try_alloc(Layout::from_size_align(size, align).unwrap()).unwrap().cast()
    }

    fn free(&self, chunk: NonNull<u8>) {
        // SAFETY: none; see above.
        unsafe { Mallocer::free(self, chunk) }
    }

    fn free_sized(&self, chunk: NonNull<u8>, size: usize, align: usize) {
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: none; see above.
        unsafe { Mallocer::free_sized(self, chunk, layout) }
    }

    fn realloc(&self, chunk: NonNull<u8>, size: usize) {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: none; see above.
        let _ = unsafe { self.try_realloc(chunk, layout) };
    }

    fn chunk_len(&self, chunk: NonNull<u8>) -> usize {
        // SAFETY: none; see above.
        unsafe { Mallocer::chunk_len(self, chunk) }
    }

    fn release(&self) {
        // SAFETY: none; see above.
        unsafe { Mallocer::release(self) }
    }

    fn purge(&self) {
        Mallocer::purge(self);
    }

    fn another(&self) -> Box<dyn Heap> {
        Box::new(M::open(&Config::default()).unwrap())
    }
}

fn offset(chunk: NonNull<u8>, bytes: usize) -> NonNull<u8> {
    NonNull::new(chunk.as_ptr().wrapping_add(bytes)).unwrap()
}

/// The sizes at which what depends on size is tried: small and large chunks of pools,
/// and an extent.
macro_rules! at_each_size {
    ($($case:ident $says:expr, $act:expr;)*) => {
        &[$(
            Case { name: concat!(stringify!($case), "-8"), says: $says, act: |heap| $act(heap, 8) },
            Case { name: concat!(stringify!($case), "-4096"), says: $says, act: |heap| $act(heap, 4096) },
            Case { name: concat!(stringify!($case), "-262144"), says: $says, act: |heap| $act(heap, 256 << 10) },
        )*]
    };
}

const SIZED_CASES: &[Case] = at_each_size! {
    double_free &["misuse in free(0x"],
        |heap: &dyn Heap, size| {
            let chunk = heap.alloc(size, 8);
            heap.free(chunk);
            heap.free(chunk);
        };
    double_free_later &["misuse in free(0x"],
        |heap: &dyn Heap, size| {
            let chunks: Vec<_> = (0..1000).map(|_| heap.alloc(size, 8)).collect();
            chunks.iter().for_each(|&chunk| heap.free(chunk));
            heap.free(chunks[500]);
        };
    interior &["misuse in free(0x", "inside a chunk, not at its start", "; chunk 0x", " + 1;", "; slab "],
        |heap: &dyn Heap, size| heap.free(offset(heap.alloc(size, 8), 1));
    other_arena &["misuse in free(0x", "belongs to another arena"],
        |heap: &dyn Heap, size| {
            heap.alloc(size, 8);
            heap.free(heap.another().alloc(size, 8));
        };
    released &["misuse in free(0x"],
        |heap: &dyn Heap, size| {
            let chunk = heap.alloc(size, 8);
            heap.release();
            heap.free(chunk);
        };
    released_and_in_use_again &["misuse in free(0x"],
        |heap: &dyn Heap, size| {
            let old = heap.alloc(size, 8);
            heap.release();
            let other = heap.another();
            (0..100).for_each(|_| { other.alloc(size, 8); });
            heap.free(old);
        };
    wrong_size &["misuse in free_sized(0x", "the size is wrong", "; slab "],
        |heap: &dyn Heap, size| heap.free_sized(heap.alloc(size, 8), 3 * size, 8);
    wrong_alignment &["misuse in free_sized(0x", "the alignment is wrong", ", alignment "],
        |heap: &dyn Heap, size| {
            // A chunk that is not at the start of a run.
            let chunks = [heap.alloc(size, 8), heap.alloc(size, 8)];
            let aligned = |chunk: &&NonNull<u8>| chunk.addr().get().is_multiple_of(65536);
            match chunks.iter().find(|chunk| !aligned(chunk)) {
                Some(&chunk) => heap.free_sized(chunk, size, 65536),
                // An extent always is.
                None => heap.free_sized(chunks[0], size, 1 << 31),
            }
        };
    realloc_of_freed &["misuse in realloc(0x"],
        |heap: &dyn Heap, size| {
            let chunk = heap.alloc(size, 8);
            heap.free(chunk);
            heap.realloc(chunk, 2 * size);
        };
    // An address that differs from a chunk's only above the bits that tell runs apart.
    as_far_as_the_reservation_is_large &["misuse in free(0x", "foreign"],
        |heap: &dyn Heap, size| {
            let chunk = heap.alloc(size, 8);
            heap.free(offset(chunk, 16 << 40));
        };
    length_of_freed &["misuse in chunk_len(0x"],
        |heap: &dyn Heap, size| {
            let chunk = heap.alloc(size, 8);
            heap.free(chunk);
            heap.chunk_len(chunk);
        };
};

const CASES: &[Case] = &[
    Case {
        name: "double-free-in-full",
        says: &["misuse in free(0x", "freed twice", "; chunk 0x", "; slab 104; pool 0x"],
        act: |heap| {
            let chunk = heap.alloc(100, 8);
            heap.free(chunk);
            heap.free(chunk);
        },
    },
    Case {
        name: "double-free-of-an-overwritten-chunk",
        says: &["misuse in free(0x", "freed twice", "; slab 104"],
        act: |heap| {
            let chunk = heap.alloc(100, 8);
            heap.free(chunk);
            // SAFETY: none; see above. The memory is the arena's still.
            unsafe { chunk.write_bytes(7, 100) };
            // The shared form finds out when the second copy reaches the pool.
            heap.free(chunk);
            heap.purge();
        },
    },
    Case {
        name: "double-free-of-an-extent",
        says: &["misuse in free(0x", "freed twice"],
        act: |heap| {
            let chunk = heap.alloc(1 << 20, 8);
            heap.free(chunk);
            heap.free(chunk);
        },
    },
    Case {
        name: "foreign-stack",
        says: &["misuse in free(0x", "foreign"],
        act: |heap| {
            heap.alloc(8, 8);
            heap.free(NonNull::from(&0u8));
        },
    },
    Case {
        name: "foreign-box",
        says: &["misuse in free(0x", "foreign"],
        act: |heap| heap.free(NonNull::from(Box::leak(Box::new(0u8)))),
    },
    Case {
        name: "foreign-static",
        says: &["misuse in free(0x", "foreign"],
        act: |heap| heap.free(NonNull::from(&CASES.len()).cast()),
    },
    Case {
        name: "foreign-far",
        says: &["misuse in free(0xfffffffffffffff8)", "foreign"],
        act: |heap| heap.free(NonNull::new(ptr::without_provenance_mut(usize::MAX - 7)).unwrap()),
    },
    Case {
        name: "never-used",
        says: &["misuse in free(0x", "foreign"],
        act: |heap| heap.free(offset(heap.alloc(8, 8), 1 << 40)),
    },
    Case {
        name: "not-yet-handed-out",
        says: &["misuse in free(0x", "not handed out"],
        act: |heap| heap.free(offset(heap.alloc(8, 8), 1024)),
    },
    Case {
        name: "behind-the-last-chunk",
        says: &["misuse in free(0x", "not at its start"],
        // 64 KiB hold 218 chunks of 300 bytes (slab 312 has 210), and a rest.
        act: |heap| heap.free(offset(heap.alloc(312, 8), 210 * 312)),
    },
    Case {
        name: "deep-inside-an-extent",
        says: &["misuse in free(0x", "inside a chunk", " + 1000000;", "; slab 4194304"],
        act: |heap| heap.free(offset(heap.alloc(4 << 20, 8), 1_000_000)),
    },
    Case {
        name: "extent-of-another-length",
        says: &["misuse in free_sized(0x", "the size is wrong", "; slab 102400"],
        // Both sizes are served by the same slab of the ladder.
        act: |heap| heap.free_sized(heap.alloc(100_000, 8), 102_401, 8),
    },
    Case {
        name: "aligned-by-chance",
        says: &["misuse in free_sized(0x", "the alignment is wrong"],
        act: |heap| heap.free_sized(heap.alloc(24, 8), 24, 16),
    },
];

fn cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(SIZED_CASES)
}

/// The process-wide heap: it aborts, after one line on standard error.
const GLOBAL_CASES: &[GlobalCase] = &[
    GlobalCase {
        name: "global-null",
        says: &["misuse in dealloc(0x0", "the pointer is null"],
        // SAFETY: none; see above.
        act: || unsafe { Global.dealloc(ptr::null_mut(), Layout::new::<u64>()) },
    },
    GlobalCase {
        name: "global-double-free",
        says: &["misuse in dealloc(0x", "freed twice", "; slab 8"],
        act: || {
            let layout = Layout::new::<u64>();
            // SAFETY: none; see above.
            unsafe {
                let chunk = Global.alloc(layout);
                Global.dealloc(chunk, layout);
                Global.dealloc(chunk, layout);
            }
        },
    },
    GlobalCase {
        name: "global-double-free-late",
        says: &["misuse in free(0x", "freed twice", "; slab 104"],
        act: || {
            free_twice_overwritten();
            Global::purge();
        },
    },
    GlobalCase {
        name: "global-double-free-at-the-end-of-a-thread",
        says: &["misuse in free(0x", "freed twice", "; slab 104"],
        act: || std::thread::spawn(free_twice_overwritten).join().unwrap(),
    },
    GlobalCase {
        name: "global-double-free-of-what-an-ended-thread-freed",
        says: &["misuse in dealloc(0x", "freed twice", "; slab 104"],
        act: || {
            let layout = Layout::new::<[u64; 13]>();
            // SAFETY: none; see above.
            let address = unsafe { Global.alloc(layout) }.expose_provenance();
            let free = move || {
                // SAFETY: none; see above.
                unsafe { Global.dealloc(std::ptr::with_exposed_provenance_mut(address), layout) }
            };
            std::thread::spawn(free).join().unwrap();
            free();
        },
    },
    GlobalCase {
        name: "global-as-far-as-the-reservation-is-large",
        says: &["misuse in dealloc(0x", "foreign"],
        act: || {
            let layout = Layout::new::<[u64; 9]>();
            // SAFETY: none; see above.
            unsafe { Global.dealloc(Global.alloc(layout).wrapping_add(16 << 40), layout) };
        },
    },
    GlobalCase {
        name: "global-interior",
        says: &["misuse in dealloc(0x", "inside a chunk"],
        act: || {
            let layout = Layout::new::<[u64; 9]>();
            // SAFETY: none; see above.
            unsafe { Global.dealloc(Global.alloc(layout).wrapping_add(8), layout) };
        },
    },
    GlobalCase {
        name: "global-wrong-size",
        says: &["misuse in dealloc(0x", "the size is wrong"],
        // SAFETY: none; see above.
        act: || unsafe {
            Global.dealloc(Global.alloc(Layout::new::<u64>()), Layout::new::<[u64; 9]>());
        },
    },
];

/// Frees a chunk twice that the program overwrites between, so that its tag is gone.
fn free_twice_overwritten() {
    let layout = Layout::new::<[u8; 100]>();
    // SAFETY: none; see above.
    unsafe {
        let chunk = Global.alloc(layout);
        Global.dealloc(chunk, layout);
        chunk.write_bytes(7, 100);
        Global.dealloc(chunk, layout);
    }
}

struct GlobalCase {
    name: &'static str,
    says: &'static [&'static str],
    act: fn(),
}

/// What a child does: its case, and then the success that must not be reached.
fn child(name: &str) -> ExitCode {
    for case in cases() {
        if name == format!("flist-{}", case.name) {
            (case.act)(&Flist::open(&Config::default()).unwrap());
        } else if name == format!("shared-{}", case.name) {
            (case.act)(&SharedFlist::open(&Config::default()).unwrap());
        }
    }
    for case in GLOBAL_CASES {
        if name == case.name {
            (case.act)();
        }
    }
    ExitCode::SUCCESS
}

fn run(name: &str) -> (bool, String) {
    let output = Command::new(env::current_exe().unwrap())
        .env(CASE, name)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn main() -> ExitCode {
    if let Ok(name) = env::var(CASE) {
        return child(&name);
    }
    let mut expected: Vec<(String, &[&str])> = Vec::new();
    for case in cases() {
        expected.push((format!("flist-{}", case.name), case.says));
        expected.push((format!("shared-{}", case.name), case.says));
    }
    expected.extend(GLOBAL_CASES.iter().map(|case| (case.name.to_string(), case.says)));
    // A child that does nothing wrong ends well: the parent can tell the difference.
    assert!(run("no such case").0);

    let mut failures = 0;
    for (name, says) in &expected {
        let (success, stderr) = run(name);
        let missing = says.iter().find(|part| !stderr.contains(**part));
        if success || missing.is_some() || !stderr.contains("mallocer: misuse in") {
            failures += 1;
            eprintln!("NOT CAUGHT {name}: success {success}, missing {missing:?}\n{stderr}");
        }
    }
    println!("{} of {} misuses caught", expected.len() - failures, expected.len());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
