//! The text that the words come from: real files, read in a fixed order.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mallocer_core::Bytes;
use serde::Serialize;

use crate::failure::Failure;

/// Directories that hold no sources, beside hidden ones.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// A file with a zero byte among its first so many is not text.
const LOOKED_AT: usize = 8 << 10;

/// The text of some files, and what is to be said of it.
#[derive(Debug, Serialize)]
pub(crate) struct Corpus {
    /// The bytes of all files, one after the other, each ended by a line end.
    #[serde(skip)]
    pub(crate) text: Vec<u8>,
    /// How many files are in it.
    pub(crate) files: usize,
    /// Its length.
    pub(crate) bytes: usize,
    /// Whether the limit cut it short.
    pub(crate) cut: bool,
    /// What could not be read.
    pub(crate) unreadable: Vec<String>,
}

impl Corpus {
    /// Reads `paths` (the current directory if there are none), up to `limit` bytes.
    ///
    /// A path that is named must be readable; what is found in directories is
    /// passed over if it is not, and noted.
    pub(crate) fn read(paths: &[PathBuf], limit: usize) -> Result<Corpus, Failure> {
        let mut corpus =
            Corpus { text: Vec::new(), files: 0, bytes: 0, cut: false, unreadable: Vec::new() };
        let here = [PathBuf::from(".")];
        let paths = if paths.is_empty() { &here } else { paths };
        for path in paths {
            let named = |error| Failure::Usage(format!("cannot read {}: {error}", path.display()));
            if fs::metadata(path).map_err(named)?.is_dir() {
                let entries = sorted(path).map_err(named)?;
                entries.into_iter().for_each(|entry| corpus.walk(entry, limit));
            } else {
                corpus.add(path, limit).map_err(named)?;
            }
        }
        corpus.bytes = corpus.text.len();
        if corpus.files == 0 {
            let places: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(Failure::Usage(format!(
                "no text found in {}; name files or directories with text in them, as in \
                 `mallocer compare src docs`",
                places.join(", ")
            )));
        }
        Ok(corpus)
    }

    /// Takes what a directory holds.
    fn walk(&mut self, entry: fs::DirEntry, limit: usize) {
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if self.cut || hidden {
            return;
        }
        let read = match entry.file_type() {
            Ok(kind) if kind.is_dir() && SKIPPED.iter().any(|&skipped| name == skipped) => Ok(()),
            Ok(kind) if kind.is_dir() => sorted(&path)
                .map(|entries| entries.into_iter().for_each(|entry| self.walk(entry, limit))),
            Ok(kind) if kind.is_file() => self.add(&path, limit),
            // A link may lead anywhere, around in a circle too.
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = read {
            self.unreadable.push(format!("{}: {error}", path.display()));
        }
    }

    /// Takes one file, if it is text and there is room.
    fn add(&mut self, path: &Path, limit: usize) -> io::Result<()> {
        let start = self.text.len();
        let room = limit.saturating_sub(start);
        // One byte more than there is room for tells whether there is more.
        fs::File::open(path)?.take(room as u64 + 1).read_to_end(&mut self.text)?;
        let read = &self.text[start..];
        if read.is_empty() || read[..read.len().min(LOOKED_AT)].contains(&0) {
            self.text.truncate(start);
            return Ok(());
        }
        if read.len() > room {
            self.cut = true;
            self.text.truncate(start + room);
            if room == 0 {
                return Ok(());
            }
        }
        self.text.push(b'\n');
        self.files += 1;
        Ok(())
    }

    /// One line about it.
    pub(crate) fn describe(&self) -> String {
        let files = if self.files == 1 { "1 file".into() } else { format!("{} files", self.files) };
        let cut = if self.cut { " (cut: --limit reads more)" } else { "" };
        let unreadable = match self.unreadable.len() {
            0 => String::new(),
            count => format!(" ({count} could not be read)"),
        };
        format!("{files}, {}{cut}{unreadable}", Bytes(self.bytes))
    }
}

/// The entries of a directory in the order of their names.
fn sorted(path: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is removed at the end of the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("mallocer-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }

        fn file(&self, name: &str, contents: &[u8]) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }

        fn read(&self, limit: usize) -> Result<Corpus, Failure> {
            Corpus::read(std::slice::from_ref(&self.0), limit)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn text_is_read_in_the_order_of_names_and_the_rest_is_not() {
        let directory = Directory::new("order");
        directory.file("b.rs", b"beta");
        directory.file("a/z.md", b"alpha");
        directory.file("binary", b"\x7fELF\0\0");
        directory.file(".git/config", b"hidden");
        directory.file("target/out.rs", b"built");
        directory.file("empty", b"");
        let corpus = directory.read(1 << 20).unwrap();
        assert_eq!(corpus.text, b"alpha\nbeta\n");
        assert_eq!((corpus.files, corpus.bytes, corpus.cut), (2, 11, false));
    }

    #[test]
    fn the_limit_cuts_and_says_so() {
        let directory = Directory::new("limit");
        directory.file("a", &[b'x'; 100]);
        directory.file("b", &[b'y'; 100]);
        let corpus = directory.read(150).unwrap();
        assert!(corpus.cut && corpus.describe().contains("--limit"));
        assert_eq!(corpus.files, 2);
        let corpus = directory.read(1000).unwrap();
        assert!(!corpus.cut);
    }

    #[test]
    fn nothing_to_read_is_an_error_with_a_remedy() {
        let directory = Directory::new("nothing");
        directory.file("binary", b"\0");
        let failure = directory.read(1000).unwrap_err();
        assert!(failure.message().unwrap().contains("name files or directories with text"));
        let missing = Corpus::read(&[directory.0.join("missing")], 1000).unwrap_err();
        assert!(missing.message().unwrap().starts_with("cannot read "));
    }
}
