//! The library under test. The tests of the program `mallocer`, which runs others on it, have
//! this file by its path.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// libmallocer.so: built as users build it, once in a run of the tests, unless
/// `MALLOCER_LIBRARY` names one.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let named = env::var_os("MALLOCER_LIBRARY").map(PathBuf::from);
        let library = named.unwrap_or_else(build);
        assert!(library.is_file(), "{} is not there", library.display());
        library.canonicalize().expect("it is there")
    })
}

fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in target");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "drop-in", "-p", "mallocer-preload"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.expect("cargo runs").success(), "the library could not be built");
    target.join("drop-in/libmallocer.so")
}
