//! What a program did wrong with its memory, in words.

use core::fmt;

/// The kind of a [`Misuse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MisuseKind {
    /// A null pointer.
    Null,
    /// A pointer to memory that the backend does not manage.
    Foreign,
    /// A pointer to a chunk of another arena.
    OtherArena,
    /// A pointer that this arena did not hand out, where the backend cannot tell
    /// foreign memory from another arena's chunk.
    NotThisArena,
    /// A pointer into a chunk, not to its start.
    Interior,
    /// A chunk that is free already.
    DoubleFree,
    /// A pointer to memory that an arena has given back, by release or purge.
    Released,
    /// A sized free with a size that the chunk cannot have been asked for.
    WrongSize,
    /// A sized free with an alignment that the chunk does not have.
    WrongAlignment,
    /// The bytes behind a chunk were written to (hardened mode).
    Overflow,
    /// The bytes before a chunk were written to (hardened mode).
    Underflow,
    /// A chunk was written to after it was freed (hardened mode).
    WrittenAfterFree,
}

impl fmt::Display for MisuseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MisuseKind::Null => "the pointer is null",
            MisuseKind::Foreign => "the pointer is foreign: no arena handed it out",
            MisuseKind::OtherArena => "the chunk belongs to another arena",
            MisuseKind::NotThisArena => {
                "this arena did not hand it out: the pointer is foreign, or another arena's"
            }
            MisuseKind::Interior => "the pointer is inside a chunk, not at its start",
            MisuseKind::DoubleFree => "the chunk is not handed out: freed twice",
            MisuseKind::Released => "the memory is released: its arena has given it back",
            MisuseKind::WrongSize => "the size is wrong: the chunk was not allocated with it",
            MisuseKind::WrongAlignment => {
                "the alignment is wrong: the chunk was not allocated with it"
            }
            MisuseKind::Overflow => "the program wrote behind the end of the chunk",
            MisuseKind::Underflow => "the program wrote before the start of the chunk",
            MisuseKind::WrittenAfterFree => "the chunk was written to after it was freed",
        })
    }
}

/// A misuse of memory: which pointer, which chunk, which slab and pool, and what
/// was wrong with it.
///
/// Displays as one line that begins with `mallocer: misuse in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Misuse {
    /// What was wrong.
    pub kind: MisuseKind,
    /// What the program called: `free`, `realloc`, …
    pub operation: &'static str,
    /// The address that was passed.
    pub pointer: usize,
    /// The start of the chunk it belongs to, if it belongs to one.
    pub chunk: Option<usize>,
    /// The slab of that chunk, in bytes.
    pub slab: Option<usize>,
    /// The pool (or extent) of that chunk: its start and its length in bytes.
    pub pool: Option<(usize, usize)>,
    /// The size and alignment that were passed, in bytes.
    pub layout: Option<(usize, usize)>,
}

impl Misuse {
    /// A misuse of which nothing but the pointer is known yet.
    pub fn new(kind: MisuseKind, operation: &'static str, pointer: usize) -> Misuse {
        Misuse { kind, operation, pointer, chunk: None, slab: None, pool: None, layout: None }
    }

    /// Stops the program: panics with this misuse as the message.
    ///
    /// # Panics
    ///
    /// Always.
    #[cold]
    #[track_caller]
    pub fn raise(self) -> ! {
        panic!("{self}")
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mallocer: misuse in {}({:#x}", self.operation, self.pointer)?;
        if let Some((size, align)) = self.layout {
            write!(f, ", size {size}, alignment {align}")?;
        }
        write!(f, "): {}", self.kind)?;
        if let Some(chunk) = self.chunk {
            write!(f, "; chunk {chunk:#x}")?;
            if self.pointer > chunk {
                write!(f, " + {}", self.pointer - chunk)?;
            }
        }
        if let Some(slab) = self.slab {
            write!(f, "; slab {slab}")?;
        }
        if let Some((start, bytes)) = self.pool {
            write!(f, "; pool {start:#x} + {bytes} bytes")?;
        }
        Ok(())
    }
}
