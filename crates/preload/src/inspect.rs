//! What a program may ask and tell the allocator beside memory.

use core::fmt::{self, Write};

use libc::{c_int, size_t};
use mallocer_core::SlabUse;
use mallocer_flist::{Block, BlockKind};

use crate::errno;
use crate::heap::HEAP;
use crate::report;

/// Statistics as glibc's `mallinfo2` has them, with what they mean here.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct MallInfo<T> {
    /// Bytes taken for pools and extents: heap.
    arena: T,
    /// Chunks that are free, of pools.
    ordblks: T,
    /// Always 0.
    smblks: T,
    /// Extents in use.
    hblks: T,
    /// Bytes in them; also counted in `arena`.
    hblkhd: T,
    /// Always 0.
    usmblks: T,
    /// Always 0.
    fsmblks: T,
    /// Bytes that the program holds: alloc.
    uordblks: T,
    /// Bytes that it does not: heap − alloc.
    fordblks: T,
    /// Always 0.
    keepcost: T,
}

/// What the heap is and has, as [`MallInfo`].
#[unsafe(no_mangle)]
extern "C" fn mallinfo2() -> MallInfo<size_t> {
    let info = HEAP.info();
    let (mut free_chunks, mut extents, mut extent_bytes) = (0, 0, 0);
    let mut blocks = [Block::default(); 64];
    let mut number = 0;
    loop {
        let count = HEAP.blocks(number, &mut blocks);
        for block in &blocks[..count] {
            match block.kind {
                BlockKind::Pool => free_chunks += (block.bytes - block.used) / block.slab,
                BlockKind::Extent => {
                    extents += 1;
                    extent_bytes += block.bytes;
                }
                _ => {}
            }
        }
        number += count;
        if count < blocks.len() {
            break;
        }
    }
    MallInfo {
        arena: info.heap,
        ordblks: free_chunks,
        hblks: extents,
        hblkhd: extent_bytes,
        uordblks: info.alloc,
        fordblks: info.heap.saturating_sub(info.alloc),
        ..MallInfo::default()
    }
}

/// The same in too few bits, each figure as large as fits.
#[unsafe(no_mangle)]
extern "C" fn mallinfo() -> MallInfo<c_int> {
    let info = mallinfo2();
    let fit = |figure| c_int::try_from(figure).unwrap_or(c_int::MAX);
    MallInfo {
        arena: fit(info.arena),
        ordblks: fit(info.ordblks),
        hblks: fit(info.hblks),
        hblkhd: fit(info.hblkhd),
        uordblks: fit(info.uordblks),
        fordblks: fit(info.fordblks),
        ..MallInfo::default()
    }
}

/// Writes to standard error what the heap is and has, and how each slab is used.
#[unsafe(no_mangle)]
extern "C" fn malloc_stats() {
    report::write(libc::STDERR_FILENO, false);
}

/// Writes what the heap has, and each slab with memory, to `stream` as XML. `options` must
/// be 0.
///
/// # Safety
///
/// The stream is open for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 {
        errno::set(libc::EINVAL);
        return -1;
    }
    let mut stream = Stream(stream);
    // A stream notes its own errors.
    let _ = write_info(&mut stream);
    0
}

fn write_info(stream: &mut Stream) -> fmt::Result {
    let seen = HEAP.statistics();
    writeln!(stream, "<malloc version=\"mallocer-1\">")?;
    let mut result = Ok(());
    HEAP.each_slab_use(&mut |slab: SlabUse| {
        let SlabUse { slab, pools, chunks, heap, alloc, .. } = slab;
        let line = writeln!(
            stream,
            "<slab size=\"{slab}\" pools=\"{pools}\" chunks=\"{chunks}\" in_use=\"{alloc}\" \
             heap=\"{heap}\"/>"
        );
        result = result.and(line);
    });
    result?;
    writeln!(stream, "<system type=\"current\" size=\"{}\"/>", seen.heap)?;
    writeln!(stream, "<system type=\"max\" size=\"{}\"/>", seen.peak_heap)?;
    writeln!(stream, "</malloc>")
}

/// A stream of the C library's.
struct Stream(*mut libc::FILE);

impl Write for Stream {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the stream is open, as its maker promised, and the text has its length.
        unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), self.0) };
        Ok(())
    }
}

/// Gives empty memory back to the system; 1 if there was any. What is kept on top is not
/// for the program to say, so `pad` is not looked at.
#[unsafe(no_mangle)]
extern "C" fn malloc_trim(_pad: size_t) -> c_int {
    c_int::from(HEAP.purge() > 0)
}

/// Declines: none of glibc's settings has a meaning here.
#[unsafe(no_mangle)]
extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    0
}
