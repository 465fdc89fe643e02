//! What the environment variable `MALLOCER` says.
//!
//! ```text
//! MALLOCER="tiny=64x100000,4k=200,decay=2s,stats=exit,file=/tmp/heap.%p"
//!           └──────┬─────┘ └─┬─┘
//!           clusters: chunks that are ready from the start
//! ```
//!
//! It is read before anything else in the process has run, so nothing here allocates. What
//! cannot be understood is told in one line, and stays at its default; the rest holds.

use core::fmt;
use core::str;

/// The most clusters that are taken.
const MOST_CLUSTERS: usize = 32;
/// The longest name of a file.
const MOST_PATH: usize = 256;

/// The settings of the process's heap.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    clusters: [Cluster; MOST_CLUSTERS],
    count: usize,
    /// How long empty memory is kept, in milliseconds; `None` for ever.
    pub(crate) decay_ms: Option<u64>,
    /// Whether the system is to use huge pages; `None` leaves it to the system.
    pub(crate) huge: Option<bool>,
    pub(crate) hardened: bool,
    /// Whether libraries that are opened with `RTLD_DEEPBIND` may have it.
    pub(crate) deepbind: bool,
    /// Whether statistics are written at exit.
    pub(crate) at_exit: bool,
    /// The signal at which they are written; 0 for none.
    pub(crate) signal: i32,
    /// Whether as JSON.
    pub(crate) json: bool,
    path: [u8; MOST_PATH],
    path_len: usize,
}

/// A number of chunks to have ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Bytes of each.
    pub(crate) size: usize,
    pub(crate) chunks: usize,
}

impl Options {
    pub(crate) const DEFAULT: Options = Options {
        clusters: [Cluster { size: 0, chunks: 0 }; MOST_CLUSTERS],
        count: 0,
        decay_ms: Some(500),
        huge: None,
        hardened: false,
        deepbind: false,
        at_exit: false,
        signal: 0,
        json: false,
        path: [0; MOST_PATH],
        path_len: 0,
    };

    pub(crate) fn clusters(&self) -> &[Cluster] {
        &self.clusters[..self.count]
    }

    /// The file that statistics go to, with `%p` for the process's number; empty for
    /// standard error.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path[..self.path_len]
    }

    /// Reads options; calls `complain` for each that cannot be understood.
    #[cold]
    #[inline(never)]
    pub(crate) fn parse(text: &[u8], complain: &mut dyn FnMut(Complaint<'_>)) -> Options {
        let mut options = Options::DEFAULT;
        for option in text.split(|&byte| byte == b',') {
            let option = option.trim_ascii();
            if option.is_empty() {
                continue;
            }
            let Ok(option) = str::from_utf8(option) else {
                complain(Complaint { option: "?", accepted: "text in UTF-8" });
                continue;
            };
            if let Err(accepted) = options.set(option) {
                complain(Complaint { option, accepted });
            }
        }
        options
    }

    /// Sets one option, or says what would be accepted.
    fn set(&mut self, option: &str) -> Result<(), &'static str> {
        let (name, value) = option.split_once('=').ok_or(NAMES)?;
        match name {
            "tiny" | "small" | "cluster" => {
                let accepted = "SIZExCHUNKS, as in tiny=64x100000";
                let (size, chunks) = value.split_once('x').ok_or(accepted)?;
                let size = bytes(size).ok_or(accepted)?;
                self.add(size, number(chunks).ok_or(accepted)?)?;
            }
            "decay" => {
                let accepted = "a time as in decay=500ms or decay=2s, or decay=never";
                self.decay_ms = if value == "never" {
                    None
                } else {
                    Some(milliseconds(value).ok_or(accepted)?)
                };
            }
            "huge" => self.huge = Some(flag(value).ok_or("huge=1 or huge=0")?),
            "hardened" => self.hardened = flag(value).ok_or("hardened=1 or hardened=0")?,
            "deepbind" => self.deepbind = flag(value).ok_or("deepbind=1 or deepbind=0")?,
            "stats" => match value.split_once(':').unwrap_or((value, "")) {
                ("exit", "") => self.at_exit = true,
                ("signal", "") => self.signal = libc::SIGUSR2,
                ("signal", which) => self.signal = signal(which).ok_or(STATS)?,
                _ => return Err(STATS),
            },
            "format" => {
                self.json = match value {
                    "text" => false,
                    "json" => true,
                    _ => return Err("format=text or format=json"),
                }
            }
            "file" => {
                let accepted = "a name of 1 to 255 bytes, in which %p is the process's number";
                if value.is_empty() || value.len() >= MOST_PATH {
                    return Err(accepted);
                }
                self.path[..value.len()].copy_from_slice(value.as_bytes());
                self.path_len = value.len();
            }
            // The name is a size.
            _ => {
                let size = bytes(name).ok_or(NAMES)?;
                self.add(size, number(value).ok_or("SIZE=CHUNKS, as in 512=20000")?)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, size: usize, chunks: usize) -> Result<(), &'static str> {
        let place = self.clusters.get_mut(self.count).ok_or("at most 32 clusters")?;
        if size == 0 || size.checked_mul(chunks).is_none_or(|bytes| bytes > 1 << 40) {
            return Err("clusters of 1 B to 1 TiB");
        }
        *place = Cluster { size, chunks };
        self.count += 1;
        Ok(())
    }
}

const NAMES: &str = "tiny=SIZExCHUNKS, small=SIZExCHUNKS, SIZE=CHUNKS, decay=TIME, huge=0|1, \
                     hardened=0|1, deepbind=0|1, stats=exit|signal, format=text|json, \
                     file=NAME";
const STATS: &str = "stats=exit, stats=signal (SIGUSR2) or stats=signal:NUMBER, 1 to 64";

/// An option that cannot be understood. Displays as one line.
pub(crate) struct Complaint<'a> {
    option: &'a str,
    accepted: &'static str,
}

impl fmt::Display for Complaint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Complaint { option, accepted } = self;
        write!(f, "mallocer: MALLOCER: `{option}` is ignored; accepted is {accepted}")
    }
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok()
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "yes" | "on" => Some(true),
        "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A size in bytes: a number, with `k`, `m` or `g` for KiB, MiB, GiB.
fn bytes(text: &str) -> Option<usize> {
    let units = [('k', 10), ('K', 10), ('m', 20), ('M', 20), ('g', 30), ('G', 30)];
    let scaled = |(unit, shift)| Some((text.strip_suffix(unit)?, shift));
    let (digits, shift) = units.into_iter().find_map(scaled).unwrap_or((text, 0));
    number(digits)?.checked_mul(1 << shift)
}

/// A time: a number of milliseconds, or one with its unit.
fn milliseconds(text: &str) -> Option<u64> {
    let (digits, factor) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1000),
        (None, None) => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn signal(text: &str) -> Option<i32> {
    text.parse().ok().filter(|number| (1..=64).contains(number))
}
