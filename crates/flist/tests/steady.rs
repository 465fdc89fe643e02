//! In steady state there is no system call: the kernel is told to end the process at the
//! first one.
//!
//! A forked child warms up, enters the strict mode of seccomp, in which anything but
//! `read`, `write` and the end of the thread is answered by a signal, and goes on with
//! its work. One test shows that this would notice.
//!
//! The process-wide form is tried without a decay time. With one, as `Global` has it, memory that nobody
//! needed for so long is given back, and that takes a call: when, is a matter of how fast the machine is.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::ptr::NonNull;

use mallocer_conformance::Random;
use mallocer_core::{Config, Mallocer};
use mallocer_flist::{Flist, Process, SharedFlist, abort};

/// Chunks that are alive.
const LIVE: usize = 20_000;
/// Half as many more are alive while the work warms up. How many chunks a slab has goes up and down
/// with what is replaced at random; later, no slab has more than it had.
const SPARE: usize = LIVE / 2;
/// Replaces before the window, and in it.
const WARM: usize = 2_000_000;
const WINDOW: usize = 2_000_000;

/// What the work needs of an allocator.
trait Heap {
    fn take(&self, layout: Layout) -> NonNull<u8>;
    fn give(&self, chunk: NonNull<u8>, layout: Layout);
}

struct Own<M>(M);

impl<M: Mallocer> Heap for Own<M> {
    fn take(&self, layout: Layout) -> NonNull<u8> {
        self.0.try_alloc(layout).unwrap().cast()
    }

    fn give(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: the work frees what it has taken, once.
        unsafe { self.0.free_sized(chunk, layout) }
    }
}

/// A heap as `Global` is one, but for its decay time.
// SAFETY: nothing else in this program uses such a heap.
static PROCESS: Process<true> = unsafe { Process::sole(Config::default, abort) };

struct Wide;

impl Heap for Wide {
    fn take(&self, layout: Layout) -> NonNull<u8> {
        PROCESS.alloc(layout).unwrap().cast()
    }

    fn give(&self, chunk: NonNull<u8>, layout: Layout) {
        // SAFETY: the work frees what it has taken, once.
        unsafe { PROCESS.free_sized("dealloc", chunk.as_ptr(), layout) }
    }
}

fn open<M: Mallocer>() -> M {
    let mut config = Config::default();
    config.capacity = 1 << 30;
    M::open(&config).unwrap()
}

/// Live chunks of 16 to 1024 bytes, some of 64 KiB, of which one at random is replaced.
struct Work<'h, H> {
    heap: &'h H,
    held: Vec<(NonNull<u8>, Layout)>,
    random: Random,
}

impl<'h, H: Heap> Work<'h, H> {
    fn new(heap: &'h H) -> Work<'h, H> {
        let held = Vec::with_capacity(LIVE + SPARE);
        let mut work = Work { heap, held, random: Random::new(3) };
        for _ in 0..LIVE + SPARE {
            let chunk = work.take();
            work.held.push(chunk);
        }
        work
    }

    fn take(&mut self) -> (NonNull<u8>, Layout) {
        let size =
            if self.random.below(1000) == 0 { 64 << 10 } else { self.random.within(16, 1024) };
        let layout = Layout::from_size_align(size, 8).unwrap();
        let chunk = self.heap.take(layout);
        // SAFETY: the chunk has 16 bytes at least.
        unsafe { chunk.cast::<usize>().write(size) };
        (chunk, layout)
    }

    fn warm_up(&mut self) {
        self.replace(WARM);
        for (chunk, layout) in self.held.drain(LIVE..) {
            self.heap.give(chunk, layout);
        }
    }

    fn replace(&mut self, count: usize) {
        for _ in 0..count {
            let at = self.random.below(self.held.len());
            let (chunk, layout) = self.held[at];
            self.heap.give(chunk, layout);
            self.held[at] = self.take();
        }
    }
}

/// What became of a child that works in the strict mode: its exit status, or the signal.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done(i32),
    Signal(i32),
}

/// Warms up, and does `work` in a child that may make no system call.
fn watched<H: Heap>(heap: &H, window: impl FnOnce(&mut Work<'_, H>)) -> End {
    let mut work = Work::new(heap);
    // SAFETY: the child is a copy of this thread alone. It calls nothing that another
    // thread may have locked: the work allocates from its own heap only.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "a process can be forked");
    if child == 0 {
        work.warm_up();
        // SAFETY: from here on the kernel ends this process at any other call. The end of
        // its only thread is its own end.
        unsafe {
            if libc::prctl(libc::PR_SET_SECCOMP, 1) != 0 {
                libc::_exit(77);
            }
            window(&mut work);
            libc::syscall(libc::SYS_exit, 0);
        }
        unreachable!("the thread has ended");
    }
    let mut status = 0;
    // SAFETY: the child was forked above.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(waited, child);
    // Every chunk is the parent's, too.
    for (chunk, layout) in work.held {
        heap.give(chunk, layout);
    }
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Done(libc::WEXITSTATUS(status))
    }
}

fn steady<H: Heap>(heap: &H) {
    assert_eq!(watched(heap, |work| work.replace(WINDOW)), End::Done(0), "no system call");
}

#[test]
fn a_system_call_would_be_noticed() {
    let end = watched(&Own(open::<Flist>()), |_| {
        // SAFETY: the call has no conditions; the child does not survive it.
        unsafe { libc::syscall(libc::SYS_getpid) };
    });
    assert_eq!(end, End::Signal(libc::SIGKILL));
}

#[test]
fn the_single_form_makes_no_system_call() {
    steady(&Own(open::<Flist>()));
}

#[test]
fn the_shared_form_makes_no_system_call() {
    steady(&Own(open::<SharedFlist>()));
}

#[test]
fn the_process_wide_form_makes_no_system_call() {
    steady(&Wide);
}
