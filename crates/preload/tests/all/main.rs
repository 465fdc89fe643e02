//! libmallocer.so under real programs: each test compiles a small C program, runs it with
//! the library preloaded, and looks at what it says and how it ends.
//!
//! The library is built for it with the profile `drop-in`, as users build it. With
//! `MALLOCER_LIBRARY` the tests take another one: CI has them run on a debug build, too.

mod clusters;
mod family;
mod hardened;
mod harness;
mod library;
mod misuse;
mod operators;
mod options;
mod resident;
mod statistics;
mod survival;
