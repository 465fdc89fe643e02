//! How the library is laid out in memory.
//!
//! Linux maps a file by windows of 64 KiB: a process that touches a byte of one has all of it,
//! as far as its segment reaches, and every process counts it as its own. So segments begin where
//! windows do, share no OS page of the file, and what a small program runs is in one window:
//!
//! ```text
//! 0 ─ symbols, constants │ 64 KiB ─ code that all run │ 128 KiB ─ code aside │ … written to
//! ```

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=layout.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        for option in ["max-page-size=65536", "separate-code", "separate-loadable-segments"] {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,{option}");
        }
        let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-T,{root}/layout.ld");
    }
}
