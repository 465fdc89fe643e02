//! What it costs that an array's capacity is asked for, not stored: nanoseconds a push, where
//! there is room for all of them.
//!
//! ```text
//! cargo run --release -p mallocer-benches --example asking
//! ```
//!
//! | column | each push |
//! |---|---|
//! | `Vec` | compares with the capacity that it has stored |
//! | `granule` | asks for the chunk's length at each multiple of a granule: what `Array` does |
//! | `every` | asks for the chunk's length every time |
//!
//! Medians of 31 interleaved rounds over arrays that are filled, emptied and filled again.

use std::hint::black_box;
use std::time::Instant;

use mallocer::array::{Array, In, Source, With};
use mallocer::{Arena, Flist, global};

const PUSHES: usize = 400_000;
const ROUNDS: usize = 31;

fn vec<T: Copy>(len: usize, value: T) -> f64 {
    let mut vec = Vec::with_capacity(len);
    timed(|| {
        for _ in 0..PUSHES / len {
            vec.clear();
            for _ in 0..len {
                vec.push(black_box(value));
            }
            black_box(&vec);
        }
    })
}

fn array<T: Copy, S: Source>(len: usize, value: T, source: S, every: bool) -> f64 {
    let mut array = Array::with_capacity_in(len, source);
    timed(|| {
        for _ in 0..PUSHES / len {
            array.clear();
            for _ in 0..len {
                if every {
                    array.reserve(1);
                }
                array.push(black_box(value));
            }
            black_box(&array);
        }
    })
}

/// Nanoseconds a push.
fn timed(act: impl FnOnce()) -> f64 {
    let began = Instant::now();
    act();
    began.elapsed().as_nanos() as f64 / PUSHES as f64
}

fn rows<T: Copy + Default>(name: &str) {
    let arena = Arena::<Flist>::builder().build().expect("a flist arena");
    for len in [16, 400, 20_000] {
        let subjects: [&dyn Fn() -> f64; 8] = [
            &|| vec(len, T::default()),
            &|| array(len, T::default(), global::Flist, false),
            &|| array(len, T::default(), global::Flist, true),
            &|| array(len, T::default(), In::from(&arena), false),
            &|| array(len, T::default(), In::from(&arena), true),
            &|| array(len, T::default(), With::from(&arena), false),
            &|| array(len, T::default(), With::from(&arena), true),
            &|| array(len, T::default(), global::Malloc, false),
        ];
        let mut figures = subjects.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (subject, figures) in subjects.iter().zip(&mut figures) {
                figures.push(subject());
            }
        }
        print!("{name:<5} {len:>7}");
        for figures in &mut figures {
            figures.sort_by(f64::total_cmp);
            print!(" {:>9.2}", figures[ROUNDS / 2]);
        }
        println!();
    }
}

fn main() {
    println!("{:13} {:>9} {:^19} {:^19} {:^19} {:^9}", "", "Vec", "global", "In", "With", "malloc");
    print!("{:13} {:>9}", "type   length", "");
    (0..3).for_each(|_| print!(" {:>9} {:>9}", "granule", "every"));
    println!(" {:>9}", "granule");
    rows::<u8>("u8");
    rows::<u32>("u32");
    rows::<u64>("u64");
}
