//! Work for a global allocator: the standard collections, threads, big and aligned
//! blocks, all with contents checked.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc;
use std::thread;

#[repr(align(4096))]
struct OsPage([u8; 4096]);

/// Runs all of it, on several threads at once.
pub(crate) fn run() {
    let (send, receive) = mpsc::channel();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let send = send.clone();
            thread::spawn(move || {
                maps(thread);
                grow_and_shrink();
                aligned();
                zeroed();
                for number in 0..1000 {
                    send.send(Box::new([thread, number])).unwrap();
                }
            })
        })
        .collect();
    drop(send);
    // Freed here, allocated there.
    let sum: usize = receive.into_iter().map(|pair| pair[1]).sum();
    assert_eq!(sum, 4 * 499_500);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn maps(seed: usize) {
    let mut ordered = BTreeMap::new();
    let mut hashed = HashMap::new();
    for number in 0..20_000 {
        let key = (number * 7919 + seed) % 10_007;
        let text = format!("number {key}");
        if ordered.insert(key, text.clone()).is_some() {
            hashed.remove(&text);
        }
        hashed.insert(text, key);
    }
    assert_eq!(ordered.len(), hashed.len());
    assert!(ordered.iter().all(|(key, text)| hashed[text] == *key));
}

fn grow_and_shrink() {
    let mut bytes = Vec::new();
    for number in 0..3_000_000u32 {
        bytes.push(number as u8);
    }
    bytes.truncate(1000);
    bytes.shrink_to_fit();
    assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == at as u8));
}

fn aligned() {
    let os_pages: Vec<_> = (0..50).map(|number| Box::new(OsPage([number; 4096]))).collect();
    for (number, os_page) in os_pages.iter().enumerate() {
        assert!(std::ptr::from_ref(&**os_page).addr().is_multiple_of(4096));
        assert!(os_page.0.iter().all(|&byte| byte == number as u8));
    }
}

fn zeroed() {
    for shift in 3..22 {
        drop(vec![0xffu8; 1 << shift]);
        let layout = Layout::from_size_align(1 << shift, 1 << (shift % 8)).unwrap();
        // SAFETY: the size is not 0; the block is read within its size and given back
        // with its own layout.
        unsafe {
            let block = alloc_zeroed(layout);
            assert!(!block.is_null());
            assert!((0..layout.size()).all(|at| block.add(at).read() == 0), "{layout:?}");
            dealloc(block, layout);
        }
    }
}
