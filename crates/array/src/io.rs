//! Arrays of bytes as something to write to.

use std::io;

use crate::array::Array;
use crate::source::Source;

impl<S: Source> io::Write for Array<u8, S> {
    /// Puts `bytes` at the end. A heap that refuses is an error of the kind `OutOfMemory`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.try_reserve(bytes.len())
            .map_err(|refusal| io::Error::new(io::ErrorKind::OutOfMemory, refusal))?;
        self.extend_trusted(bytes.iter().copied());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
