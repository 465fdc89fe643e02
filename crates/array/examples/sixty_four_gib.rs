//! 64 GiB of address in one array, and in many, with little memory behind them.
//!
//! An array that grows in a flist arena takes addresses and capacity, and the system backs
//! what is written. So an array may be as large as the data could ever become: it does not
//! move as it grows, and what nobody writes costs nothing.
//!
//! ```text
//! cargo run --release -p mallocer-array --example sixty_four_gib
//! ```

use std::mem::MaybeUninit;

use mallocer_array::{Array, In};
use mallocer_core::{Config, Mallocer};
use mallocer_flist::Flist;

const GIB: usize = 1 << 30;
/// Elements of 8 bytes in a gibibyte.
const PER_GIB: usize = GIB / 8;
/// From one element that is written to the next: 256 MiB.
const APART: usize = PER_GIB / 4;

/// Elements that need not be written: it is sound to have any number of them.
type Sparse<'a> = Array<MaybeUninit<u64>, In<'a, Flist>>;

/// Makes an array longer without writing to it.
fn lengthen(array: &mut Sparse<'_>, more: usize) {
    array.reserve_exact(more);
    // SAFETY: there is room, and the elements may be uninitialised.
    unsafe { array.set_len(array.len() + more) };
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) << 12
}

fn main() {
    let heap = Flist::open(&Config::default()).expect("a heap of 1 TiB of addresses");
    let source = In::new(&heap);
    let before = resident();

    // Half a gibibyte at a time, written at four places in each.
    let mut array: Sparse = Array::new_in(source);
    let mut moves = 0;
    while array.len() < 64 * PER_GIB {
        let (from, was_at) = (array.len(), array.as_ptr());
        lengthen(&mut array, PER_GIB / 2);
        moves += usize::from(from > 0 && was_at != array.as_ptr());
        for at in (from..array.len()).step_by(APART) {
            array[at].write(at as u64);
        }
    }
    let mut written = 0;
    for at in (0..array.len()).step_by(APART) {
        // SAFETY: each of these was written above.
        assert_eq!(unsafe { array[at].assume_init() }, at as u64);
        written += 1;
    }
    let one = resident().saturating_sub(before);
    println!("one array of {} GiB in 128 steps: moved {moves} times", array.len() / PER_GIB);
    println!("  {written} elements written and read again, {} MiB resident", one >> 20);
    println!("  {}", heap.info());
    assert!(one < GIB, "{one} bytes are resident");
    drop(array);

    // Sixty-four of a gibibyte each.
    let mut arrays: Array<Sparse, _> = Array::new_in(source);
    for number in 0..64u64 {
        let mut array: Sparse = Array::new_in(source);
        lengthen(&mut array, PER_GIB);
        array[0].write(number);
        array[PER_GIB - 1].write(!number);
        arrays.push(array);
    }
    for (array, number) in arrays.iter().zip(0..) {
        // SAFETY: both were written above.
        let ends = unsafe { (array[0].assume_init(), array[PER_GIB - 1].assume_init()) };
        assert_eq!(ends, (number, !number));
    }
    let many = resident().saturating_sub(before);
    println!("{} arrays of 1 GiB: {} MiB resident", arrays.len(), many >> 20);
    println!("  {}", heap.info());
    assert!(heap.info().alloc >= 64 * GIB && many < GIB);
}
