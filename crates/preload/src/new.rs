//! The two forms of `operator new` that programs call most.
//!
//! The C++ library's own calls `malloc`, and that is two calls more for what is at hand mostly. So here they
//! take a chunk at hand themselves. Whatever else there is to do needs C++: if there is no memory, the
//! C++ library's own runs the new-handler, and throws.
//!
//! ```text
//! new(size) ──at hand──▶ chunk
//!     └────▶ malloc ──memory──▶ chunk
//!               └──none──jump──▶ the C++ library's operator new
//! new[](size) ─▶ new(size), here; or ──jump──▶ the program's own
//! ```
//!
//! It jumps and does not call, so that what is thrown finds no frame of this library on its way; in a build that is not
//! optimised it finds that of a function which lets it pass. The other forms are the C++ library's: they end in these two, or in `malloc`.

use core::arch::naked_asm;
use core::ffi::{CStr, c_void};

use libc::size_t;

use crate::family::malloc_slow;
use crate::foreign::next;
use crate::heap::HEAP;
use crate::operators::Chosen;
use crate::output::say;

static NEW: Chosen = Chosen::new(NAME);
const NAME: &CStr = c"_Znwm";

/// Where the C++ library is that a library which was opened later brought along for itself alone.
const LIBRARIES: [&CStr; 3] = [c"libstdc++.so.6", c"libc++abi.so.1", c"libc++.so.1"];

/// `operator new(std::size_t)`.
#[unsafe(export_name = "_Znwm")]
extern "C-unwind" fn new(size: size_t) -> *mut c_void {
    match HEAP.alloc_at_hand(size) {
        Some(chunk) => chunk.cast().as_ptr(),
        None => new_slow(size),
    }
}

/// `operator new[](std::size_t)`.
#[unsafe(export_name = "_Znam")]
extern "C-unwind" fn new_array(size: size_t) -> *mut c_void {
    match NEW.is_here().then(|| HEAP.alloc_at_hand(size)).flatten() {
        Some(chunk) => chunk.cast().as_ptr(),
        None => new_array_slow(size),
    }
}

#[unsafe(naked)]
extern "C-unwind" fn new_slow(size: size_t) -> *mut c_void {
    // No byte is one, as in C++ libraries. The size is kept across the call, which has the stack at a
    // multiple of 16 bytes.
    naked_asm!(
        ".cfi_startproc",
        "cmp rdi, 1",
        "adc rdi, 0",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "call {malloc}",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "test rax, rax",
        "je {refused}",
        "ret",
        ".cfi_endproc",
        malloc = sym malloc_slow,
        refused = sym refused,
    )
}

/// A function that jumps to the one whose address `$to` returns, with the size that both get.
macro_rules! jumping {
    ($(#[$doc:meta])* fn $name:ident to $to:ident) => {
        $(#[$doc])*
        #[unsafe(naked)]
        extern "C-unwind" fn $name(size: size_t) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "call {to}",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "jmp rax",
                ".cfi_endproc",
                to = sym $to,
            )
        }
    };
}

jumping! {
    /// Has the C++ library say that there is no memory.
    fn refused to behind
}

jumping! {
    fn new_array_slow to chosen
}

/// The `operator new` that the loader has chosen.
extern "C" fn chosen() -> *const c_void {
    NEW.elsewhere().unwrap_or(new as extern "C-unwind" fn(size_t) -> *mut c_void as *const c_void)
}

/// The C++ library's own.
#[cold]
extern "C" fn behind(size: size_t) -> *const c_void {
    next(NAME).or_else(beside).unwrap_or_else(|| {
        say(format_args!(
            "mallocer: no memory for {size} bytes, and no C++ library to throw bad_alloc\n"
        ));
        // SAFETY: `abort` has no conditions.
        unsafe { libc::abort() }
    })
}

/// The same, if only some of the program's libraries see it.
fn beside() -> Option<*const c_void> {
    LIBRARIES.into_iter().find_map(|library| {
        // SAFETY: both names end with a zero byte. The library is there already, or is not opened.
        let found = unsafe {
            let opened = libc::dlopen(library.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
            if opened.is_null() {
                return None;
            }
            libc::dlsym(opened, NAME.as_ptr())
        };
        (!found.is_null()).then_some(found.cast_const())
    })
}
