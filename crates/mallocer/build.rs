//! Tells the crate whether the compiler is a nightly one, so that the feature
//! `nightly` adds what only nightly has and takes nothing from stable.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(mallocer_nightly)");
    if std::env::var_os("CARGO_FEATURE_NIGHTLY").is_some() && unstable_features() {
        println!("cargo::rustc-cfg=mallocer_nightly");
    }
}

/// Whether the compiler admits `#![feature(…)]`. One that does not say its version
/// counts as stable.
fn unstable_features() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    version.is_ok_and(|version| version.contains("-nightly") || version.contains("-dev"))
}
