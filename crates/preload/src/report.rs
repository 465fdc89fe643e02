//! Statistics, as text and as JSON.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mallocer_core::{Bytes, SlabUse};
use mallocer_flist::{Block, Statistics};

use crate::delivery;
use crate::heap::HEAP;
use crate::output::Output;

/// How many blocks are looked at with one look at the heap.
const BLOCKS_AT_ONCE: usize = 32;

/// Whether reports are JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Says where reports go, and in which form.
#[cold]
#[inline(never)]
pub(crate) fn aim(path: &[u8], json: bool) {
    JSON.store(json, Relaxed);
    // SAFETY: called once, when the heap is opened; only after that reports are asked for.
    unsafe { delivery::aim(path) };
}

/// Writes a report where reports go.
#[cold]
#[inline(never)]
pub(crate) fn deliver() {
    delivery::to_aim(|descriptor| write(descriptor, JSON.load(Relaxed)));
}

/// Writes all there is to say of the heap to `descriptor`.
#[cold]
#[inline(never)]
pub(crate) fn write(descriptor: i32, json: bool) {
    let mut output = Output::new(descriptor);
    let seen = HEAP.statistics();
    // The output takes everything, so there are no errors.
    let _ = if json { as_json(&mut output, &seen) } else { as_text(&mut output, &seen) };
}

fn process() -> i32 {
    // SAFETY: the call has no conditions.
    unsafe { libc::getpid() }
}

#[cold]
#[inline(never)]
fn as_text(output: &mut Output, seen: &Statistics) -> fmt::Result {
    writeln!(output, "mallocer: statistics of process {}", process())?;
    writeln!(output, "  max heap size      {}", Bytes(seen.max_heap))?;
    writeln!(output, "  peak heap size     {}", Bytes(seen.peak_heap))?;
    writeln!(output, "  current heap size  {}", Bytes(seen.heap))?;
    writeln!(output, "  current use        {}", Bytes(seen.in_use))?;
    writeln!(output, "  overhead           {}", Bytes(seen.overhead))?;
    let (now, most, all) = (seen.misses, seen.most_misses, seen.all_misses);
    writeln!(output, "  misses             {now} in a row, at most {most}, {all} in all")?;
    writeln!(output, "  blocks             {}", seen.blocks)?;
    writeln!(output, "          slab   pools      chunks         in use           heap")?;
    let mut result = Ok(());
    HEAP.each_slab_use(&mut |slab: SlabUse| {
        let SlabUse { slab, pools, chunks, heap, alloc, .. } = slab;
        let line = writeln!(output, "  {slab:>12} {pools:>7} {chunks:>11} {alloc:>14} {heap:>14}");
        result = result.and(line);
    });
    result
}

#[cold]
#[inline(never)]
fn as_json(output: &mut Output, seen: &Statistics) -> fmt::Result {
    write!(output, "{{\"pid\":{},\"max_heap\":{}", process(), seen.max_heap)?;
    write!(output, ",\"peak_heap\":{},\"heap\":{}", seen.peak_heap, seen.heap)?;
    write!(output, ",\"in_use\":{},\"overhead\":{}", seen.in_use, seen.overhead)?;
    write!(output, ",\"misses\":{},\"most_misses\":{}", seen.misses, seen.most_misses)?;
    write!(output, ",\"all_misses\":{},\"blocks\":{}", seen.all_misses, seen.blocks)?;
    write!(output, ",\"slabs\":[")?;
    let (mut result, mut comma) = (Ok(()), "");
    HEAP.each_slab_use(&mut |slab: SlabUse| {
        let SlabUse { slab, pools, chunks, heap, alloc, .. } = slab;
        let one = write!(
            output,
            "{comma}{{\"slab\":{slab},\"pools\":{pools},\"chunks\":{chunks},\
             \"in_use\":{alloc},\"heap\":{heap}}}"
        );
        comma = ",";
        result = result.and(one);
    });
    result?;
    write!(output, "],\"block_list\":[")?;
    let (mut blocks, mut number) = ([Block::default(); BLOCKS_AT_ONCE], 0);
    loop {
        let count = HEAP.blocks(number, &mut blocks);
        for block in &blocks[..count] {
            let comma = if number == 0 { "" } else { "," };
            let Block { kind, start, bytes, slab, used, .. } = *block;
            write!(
                output,
                "{comma}{{\"kind\":\"{}\",\"start\":\"{start:#x}\",\"bytes\":{bytes},\
                 \"slab\":{slab},\"used\":{used}}}",
                kind.name()
            )?;
            number += 1;
        }
        if count < BLOCKS_AT_ONCE {
            break;
        }
    }
    writeln!(output, "]}}")
}
