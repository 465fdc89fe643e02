//! The three ways to say which backend serves an arena.
//!
//! ```text
//! cargo run -p mallocer --example choose_backend
//! MALLOCER_BACKEND=malloc cargo run -p mallocer --example choose_backend
//! cargo run -p mallocer --example choose_backend --features jemalloc -- jemalloc
//! ```

use std::alloc::Layout;

use mallocer::{Arena, Backend, Mallocer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names: Vec<_> = Backend::compiled().iter().map(|backend| backend.name()).collect();
    println!("compiled in: {}", names.join(", "));
    println!("preferred:   {}", Backend::preferred()?);

    // At run time, from an argument or the environment.
    let backend = match std::env::args().nth(1) {
        Some(name) => name.parse()?,
        None => Backend::from_env()?,
    };
    println!("chosen:      {backend}\n");
    let chosen = Arena::builder().backend(backend).capacity(64 << 20).build()?;
    show("at run time", &chosen);

    // At compile time, as a type: no dispatch, and only this backend is linked.
    #[cfg(feature = "flist")]
    show("at compile time", &Arena::<mallocer::Flist>::builder().capacity(64 << 20).build()?);

    // By nobody: the preferred one.
    show("by default", &Arena::new(64 << 20)?);

    // One that is not compiled in is an error that says what is.
    for absent in Backend::ALL.into_iter().filter(|backend| !backend.is_compiled()) {
        println!("\n{}", Arena::builder().backend(absent).build().unwrap_err());
    }
    Ok(())
}

fn show<M: Mallocer>(how: &str, arena: &Arena<M>) {
    let chunk = arena.alloc(Layout::new::<[u8; 67]>());
    println!("{how}, {}: 67 bytes asked, {} to use", arena.backend_name(), chunk.len());
}
