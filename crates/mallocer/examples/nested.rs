//! A server's memory as a tree of budgets: each part has its own, none can take more
//! than the server has, and a session that ends gives everything back at once.

use std::alloc::Layout;

use mallocer::collections::Vec;
use mallocer::{AllocError, Arena, BuildError, Bytes};

const MIB: usize = 1 << 20;

fn main() -> Result<(), BuildError> {
    let server = Arena::new(64 * MIB)?;
    let cache = server.child().capacity(32 * MIB).build()?;
    let first = server.child().build()?;
    let second = server.child().build()?;

    let mut cached: Vec<u8, _> = Vec::new_in(&cache);
    cached.resize(20 * MIB, 0);
    show("the cache holds 20 MiB", &server);

    // The cache is stopped by its own capacity, though the server has more.
    let refused = cache.try_alloc(Layout::new::<[u8; 20 * MIB]>());
    println!("20 MiB more: {}\n", refused.expect_err("40 MiB do not fit into 32"));

    // A session has no limit of its own: the server's is what stops it.
    let refusal = take(&first, 20).expect_err("64 MiB hold the cache's 20 and no more than 44");
    println!("a session is at {}: {refusal}", Bytes(first.info().heap));
    show("the first session is full", &server);
    println!("the second gets: {:?}\n", take(&second, 8).map_err(|refusal| refusal.to_string()));

    // What ends gives everything back, and others can have it.
    first.release();
    show("the first session has ended", &server);
    println!("the second gets: {:?}", take(&second, 8));
    show("the second session holds 8 chunks", &server);
    Ok(())
}

/// Takes `count` chunks of 3 MiB, and leaves them to the release.
fn take(session: &Arena, count: usize) -> Result<(), AllocError> {
    (0..count).try_for_each(|_| session.try_alloc(Layout::new::<[u8; 3 * MIB]>()).map(|_| ()))
}

fn show(when: &str, server: &Arena) {
    println!("{when}: the server has {} of its {}", Bytes(server.info().heap), Bytes(64 * MIB));
}
