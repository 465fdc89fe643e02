//! What happens once: at the first call, when the library is loaded, and at exit.
//!
//! ```text
//! first call ──▶ configure: read MALLOCER ──▶ open the heap ──▶ opened: clusters, signal
//! loaded     ──▶ the same, if nobody has called yet
//! exit       ──▶ statistics, if they were asked for
//! ```

use core::ffi::{c_char, c_int};
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use core::time::Duration;

use mallocer_core::{Config, Ladder};
use mallocer_flist::Process;

use crate::environment;
use crate::heap::HEAP;
use crate::options::Options;
use crate::output::say;
use crate::report;

/// What the options say for later: written by `configure`, before there is a heap.
static AT_EXIT: AtomicBool = AtomicBool::new(false);
static JSON: AtomicBool = AtomicBool::new(false);
/// The descriptor that statistics are written to.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(libc::STDERR_FILENO);

/// What the heap is to be.
pub(crate) fn configure() -> Config {
    let options = read();
    let mut config = Config::default();
    config.ladder = Ladder::ALIGNED_16;
    config.decay = options.decay_ms.map(Duration::from_millis);
    config
}

fn read() -> Options {
    environment::with_variable(|text| {
        Options::parse(text, &mut |complaint| say(format_args!("{complaint}\n")))
    })
}

/// What is to be done when there is a heap.
pub(crate) fn opened(heap: &'static Process) {
    // Read again, since there is no place to keep it; complaints were made the first time.
    let options = environment::with_variable(|text| Options::parse(text, &mut |_| {}));
    AT_EXIT.store(options.at_exit, Relaxed);
    JSON.store(options.json, Relaxed);
    if let Some(huge) = options.huge {
        heap.advise_huge(huge);
    }
    for cluster in options.clusters() {
        let (size, chunks) = (cluster.size, cluster.chunks);
        if heap.prepare(size, chunks).is_err() {
            say(format_args!(
                "mallocer: MALLOCER: no memory for {chunks} chunks of {size} bytes\n"
            ));
        }
    }
    if !options.path().is_empty() && (options.at_exit || options.signal != 0) {
        DESCRIPTOR.store(open(options.path()), Relaxed);
    }
    if options.signal != 0 {
        listen(options.signal);
    }
}

/// A descriptor of the file at `path`, in which `%p` is the process's number; standard
/// error's if there is no such file.
fn open(path: &[u8]) -> c_int {
    let mut name = [0u8; 512];
    let mut len = 0;
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        if rest.starts_with(b"%p") {
            // SAFETY: the call has no conditions.
            let mut number = unsafe { libc::getpid() };
            let start = len;
            while number > 0 && len < name.len() - 1 {
                name[len] = b'0' + (number % 10) as u8;
                number /= 10;
                len += 1;
            }
            name[start..len].reverse();
            rest = &rest[2..];
            continue;
        }
        if len == name.len() - 1 {
            break;
        }
        name[len] = byte;
        len += 1;
        rest = after;
    }
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the name ends with a zero byte.
    let file = unsafe { libc::open(name.as_ptr().cast::<c_char>(), flags, 0o644) };
    if file < 0 {
        let path = core::str::from_utf8(path).unwrap_or("?");
        say(format_args!("mallocer: MALLOCER: file={path} cannot be written; using stderr\n"));
        return libc::STDERR_FILENO;
    }
    file
}

/// Has statistics written at a signal.
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
extern "C" fn on_signal(_: c_int) {
    // SAFETY: the address is that of the calling thread's own variable.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if HEAP.is_at_rest() {
        report::write(DESCRIPTOR.load(Relaxed), JSON.load(Relaxed));
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
    if AT_EXIT.load(Relaxed) {
        report::write(DESCRIPTOR.load(Relaxed), JSON.load(Relaxed));
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;

#[used]
#[unsafe(link_section = ".fini_array")]
static EXIT: extern "C" fn() = exit;
