//! What the system says of this process: resident memory, page faults and
//! processor time.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Resident memory of this process, in bytes; `None` where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    /// Now.
    pub(crate) now: Option<u64>,
    /// At most since the last [`forget_peak`].
    pub(crate) peak: Option<u64>,
}

impl Resident {
    /// Reads `/proc/self/status`.
    pub(crate) fn read() -> Resident {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Resident { now: field(&status, "VmRSS:"), peak: field(&status, "VmHWM:") }
    }
}

/// Lets the peak of resident memory begin anew at what is resident now.
///
/// Where the system does not allow it, the peak counts from the start of the process.
pub(crate) fn forget_peak() {
    // What is refused here shows as a peak that is too high, never as one too low.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// A field of `/proc/self/status` that is given in kB, in bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// What this process has cost since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Page faults.
    pub(crate) faults: Faults,
    /// Time on processors, in the program and in the system, all threads together.
    pub(crate) processor: Duration,
}

/// Page faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// Served without reading from a disk.
    pub(crate) minor: u64,
    /// Served from a disk.
    pub(crate) major: u64,
}

impl Cost {
    /// Asks the system.
    pub(crate) fn so_far() -> Cost {
        // SAFETY: all zero bits are a value of this struct of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a struct of the type that the call fills in.
        let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
        if result != 0 {
            return Cost::default();
        }
        let time = |time: libc::timeval| {
            Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
        };
        Cost {
            faults: Faults { minor: usage.ru_minflt as u64, major: usage.ru_majflt as u64 },
            processor: time(usage.ru_utime) + time(usage.ru_stime),
        }
    }

    /// The cost since `earlier`.
    pub(crate) fn since(self, earlier: Cost) -> Cost {
        Cost {
            faults: Faults {
                minor: self.faults.minor.saturating_sub(earlier.faults.minor),
                major: self.faults.major.saturating_sub(earlier.faults.major),
            },
            processor: self.processor.saturating_sub(earlier.processor),
        }
    }
}

/// The machine that figures come from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor, by its own name.
    pub(crate) processor: String,
    /// How many threads can run at once.
    pub(crate) cores: usize,
    /// The operating system and its version.
    pub(crate) system: String,
}

impl Machine {
    /// Describes this machine.
    pub(crate) fn describe() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let named = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let processor = named.map(|rest| rest.trim_start_matches([' ', '\t', ':']).trim());
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            processor: processor.unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, release.trim()).trim().to_owned(),
        }
    }

    /// One line about it.
    pub(crate) fn line(&self) -> String {
        let cores = if self.cores == 1 { "1 core".into() } else { format!("{} cores", self.cores) };
        format!("{}, {cores}, {}", self.processor, self.system)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_bytes() {
        let status = "Name:\tmallocer\nVmHWM:\t    2048 kB\nVmRSS:\t1024 kB\n";
        assert_eq!(field(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(field(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn touching_memory_shows_as_faults() {
        let before = Cost::so_far();
        let pages = vec![1u8; 8 << 20];
        assert!(Cost::so_far().since(before).faults.minor > 0);
        drop(pages);
    }
}
