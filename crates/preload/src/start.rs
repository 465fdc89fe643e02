//! What happens once: at the first call, when the library is loaded, and at exit.
//!
//! ```text
//! first call ──▶ configure: read MALLOCER ──▶ open the heap ──▶ opened: clusters, signal
//! loaded     ──▶ the same, if nobody has called yet
//! exit       ──▶ what a hardened heap keeps back is checked; statistics, if asked for
//! ```

use core::ffi::c_int;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;

use mallocer_core::{Config, Ladder};
use mallocer_flist::Process;

#[cfg(target_arch = "x86_64")]
use crate::deepbind;
use crate::environment;
use crate::foreign;
use crate::heap::HEAP;
use crate::options::{Cluster, Complaint, Options};
use crate::output::say;
use crate::report;

/// Whether statistics are written at exit.
static AT_EXIT: AtomicBool = AtomicBool::new(false);

/// Whether it is to be hardened; asked before [`configure`], which complains.
pub(crate) fn is_hardened() -> bool {
    options(&mut |_| {}).hardened
}

/// What the heap is to be.
pub(crate) fn configure() -> Config {
    let options = options(&mut complain);
    let mut config = Config::default();
    config.ladder = Ladder::QUARTERS;
    config.decay = options.decay_ms.map(Duration::from_millis);
    config
}

/// What the variable says; nothing where there is none.
fn options(complain: &mut dyn FnMut(Complaint<'_>)) -> Options {
    let mut options = Options::DEFAULT;
    environment::with_variable(&mut |text| options = Options::parse(text, complain));
    options
}

#[cold]
#[inline(never)]
fn complain(complaint: Complaint<'_>) {
    say(format_args!("{complaint}\n"));
}

/// What is to be done when there is a heap.
pub(crate) fn opened(heap: &'static Process<true>) {
    foreign::begin();
    // Read again, since there is no place to keep it; complaints were made the first time.
    let options = options(&mut |_| {});
    if let Some(huge) = options.huge {
        heap.advise_huge(huge);
    }
    #[cfg(target_arch = "x86_64")]
    if options.deepbind {
        deepbind::keep();
    }
    for &cluster in options.clusters() {
        have_ready(heap, cluster);
    }
    if options.at_exit || options.signal != 0 {
        report::aim(options.path(), options.json);
        AT_EXIT.store(options.at_exit, Relaxed);
    }
    if options.signal != 0 {
        listen(options.signal);
    }
}

#[cold]
#[inline(never)]
fn have_ready(heap: &'static Process<true>, cluster: Cluster) {
    let Cluster { size, chunks } = cluster;
    if heap.prepare(size, chunks).is_err() {
        say(format_args!("mallocer: MALLOCER: no memory for {chunks} chunks of {size} bytes\n"));
    }
}

/// Has statistics written at a signal.
#[cold]
#[inline(never)]
fn listen(signal: c_int) {
    // SAFETY: all zero bytes is a valid action; the handler is for one argument.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &action, ptr::null_mut());
    }
}

/// Writes statistics, unless the thread that the signal stopped is at work in the heap.
#[cold]
#[inline(never)]
extern "C" fn on_signal(_: c_int) {
    // SAFETY: the address is that of the calling thread's own variable.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if HEAP.is_at_rest() {
        report::deliver();
    } else {
        say(format_args!("mallocer: the heap is busy: send the signal again for statistics\n"));
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

extern "C" fn loaded() {
    HEAP.is_open();
}

extern "C" fn exit() {
    HEAP.check();
    if AT_EXIT.load(Relaxed) {
        report::deliver();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;

#[used]
#[unsafe(link_section = ".fini_array")]
static EXIT: extern "C" fn() = exit;
