//! The whole life of an arena in ten lines.
//!
//! ```text
//! cargo run -p mallocer --example quickstart
//! ```

use std::alloc::Layout;

use mallocer::{Arena, Backend, Ladder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arena = Arena::builder()
        .backend(Backend::from_env()?)
        .capacity(1 << 30)
        .ladder(Ladder::between(96, 1 << 20)?)
        .build()?;
    let chunk = arena.try_alloc(Layout::new::<[u64; 14]>())?;
    println!("{}: 112 bytes asked, {} bytes to use", arena.backend_name(), chunk.len());
    println!("{}", arena.info());
    // SAFETY: the chunk is from this arena, and nobody uses it afterwards.
    unsafe { arena.free(chunk.cast()) };
    arena.release();
    Ok(())
}
