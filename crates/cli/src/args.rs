//! The arguments of the program, and its help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::size::parse_size;

/// One API over four memory allocators, and the tools to choose among them.
#[derive(Debug, Parser)]
#[command(name = "mallocer", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = MAIN_EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Never colour the output; the same as a non-empty NO_COLOR.
    #[arg(long, global = true, display_order = 900)]
    pub(crate) no_color: bool,
}

const MAIN_EXAMPLES: &str = "\
Examples:
  mallocer compare                       the same work on every backend, side by side
  mallocer compare --threads 4 src docs  four threads on one arena, words of two directories
  mallocer compare --workload arena      single operations, one table for all backends
  mallocer backends                      which backends there are
  mallocer slabs --request 67            which slab serves 67 bytes, and what it wastes
  mallocer run -- python3 big.py         a program on libmallocer.so, with a summary

Exit codes:
  0  done
  1  the work failed: a backend crashed, or the contents of two backends differ
  2  the arguments, the input or the configuration are wrong";

/// What the program is to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Compare(CompareArgs),
    Backends(BackendsArgs),
    Slabs(SlabsArgs),
    Run(RunArgs),
    #[command(name = crate::compare::ROUND_COMMAND, hide = true)]
    Round(RoundArgs),
    #[command(name = crate::compare::arena::SAMPLE_COMMAND, hide = true)]
    Sample(SampleArgs),
}

/// Does the same work on every backend and shows the figures side by side.
///
/// The work is one of two. `index` reads text files and builds from their words, in an arena of each backend, an
/// ordered index as a storage engine would: nodes, keys, posting arrays that
/// grow, versions replaced while older ones are still held, deletes in another
/// order, a scan, and a release of everything at once; the contents must come out
/// the same on all backends. `arena` is a set of small workloads, from single pairs
/// of alloc and free to crowds of threads. Each round of a backend runs in a process
/// of its own; rounds of the backends take turns.
#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub(crate) struct CompareArgs {
    /// What is done: an index over the words of files, or the set of small workloads
    #[arg(long, value_name = "NAME", value_enum, default_value_t = WorkloadSet::Index)]
    pub(crate) workload: WorkloadSet,
    /// Of `arena`, these workloads alone, with commas between; the large ones run only
    /// when they are named [default: all that take less than a gigabyte]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Files and directories to take the words from [default: .]
    ///
    /// Directories are read recursively, in the order of their names, without
    /// hidden entries, `target`, `node_modules`, and files that are not text.
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Backends to compare, with commas between [default: all that are compiled in]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) backends: Vec<String>,
    /// Threads at work on one arena; for the index, 1 takes the single-threaded arena
    /// [default: 1; in the workloads of `arena` that have several, 2]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// Rounds of each backend [default: 7, or as many as 20 seconds allow; of `arena` 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: Option<u32>,
    /// How often the words are indexed, each copy under keys of its own
    /// [default: as often as a small input needs to make the work measurable]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) scale: Option<u32>,
    /// Bytes of text to read at most
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "2MiB")]
    pub(crate) limit: usize,
    /// Capacity of each arena
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "16GiB")]
    pub(crate) capacity: usize,
    /// Seed of the orders in which keys are updated and deleted
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write all figures as JSON to a file; `-` is standard output, instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// What `compare` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkloadSet {
    /// An ordered index over the words of files, as a storage engine builds it.
    Index,
    /// Small workloads, each measured by the time of one operation.
    Arena,
}

const COMPARE_EXAMPLES: &str = "\
Examples:
  mallocer compare                                  the sources in this directory
  mallocer compare --threads 4 /usr/share/doc       four threads on a shared arena
  mallocer compare --backends flist,jemalloc        two of the backends
  mallocer compare --rounds 15 --scale 10           longer, for steadier figures
  mallocer compare --json figures.json              everything, for other programs
  mallocer compare --workload arena                 single operations, and threads
  mallocer compare --workload arena --only pair,larson --rounds 9
  mallocer compare --json - | jq '.backends[].metrics.total_ns.median'

What the rows mean, how they are measured, and the JSON: docs/cli.md.
Exit code 1 if a backend fails or contents differ, 2 if there is nothing to read.";

/// Lists the backends: what each is, and which are compiled in.
#[derive(Debug, Args)]
#[command(after_help = BACKENDS_EXAMPLES)]
pub(crate) struct BackendsArgs {
    /// Write JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

const BACKENDS_EXAMPLES: &str = "\
Examples:
  mallocer backends
  mallocer backends --json | jq -r '.backends[] | select(.compiled) | .name'
  MALLOCER_BACKEND=jemalloc mallocer backends      what programs under it would take";

/// Runs a program on libmallocer.so, and shows what its heap was like.
///
/// The program is not rebuilt: the library takes the place of the C library's `malloc` by
/// LD_PRELOAD, and catches misuse of it. What the program prints is left alone; the summary
/// goes to standard error. Children of the program run on the library, too.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunArgs {
    /// The library [default: beside this program, or where cargo builds it]
    #[arg(long, value_name = "FILE")]
    pub(crate) library: Option<PathBuf>,
    /// Chunks to have ready from the start; may be given several times
    #[arg(long = "cluster", value_name = "SIZExCHUNKS", value_parser = parse_cluster)]
    pub(crate) clusters: Vec<Cluster>,
    /// How long empty memory is kept: 500ms, 2s, or never
    #[arg(long, value_name = "TIME")]
    pub(crate) decay: Option<String>,
    /// Ask the system for huge pages, or forbid them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) huge: Option<bool>,
    /// Catch what costs more to catch: overflows, writes after a free, stale contents
    #[arg(long)]
    pub(crate) hardened: bool,
    /// Also write a report when the program gets this signal
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..=64))]
    pub(crate) signal: Option<i32>,
    /// Write the whole report as JSON to a file, every block of the heap included
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Show no summary
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// The program and its arguments
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

/// A number of chunks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) bytes: usize,
    pub(crate) chunks: usize,
}

fn parse_cluster(text: &str) -> Result<Cluster, String> {
    let wrong = || format!("`{text}` is not SIZExCHUNKS, as in 64x100000 or 4KiBx200");
    let (size, chunks) = text.rsplit_once('x').ok_or_else(wrong)?;
    Ok(Cluster { bytes: parse_size(size)?, chunks: chunks.parse().map_err(|_| wrong())? })
}

const RUN_EXAMPLES: &str = "\
Examples:
  mallocer run -- sqlite3 shop.db 'select count(*) from sales'
  mallocer run --hardened -- ./server --port 8080      overflows and late writes, too
  mallocer run --cluster 64x100000 --cluster 4KiBx200 -- ./engine
                                                       no system call within these
  mallocer run --quiet --json heap.json -- ./engine    every block, for other programs
  mallocer run --signal 10 -- ./server & kill -USR1 %1 a report while it runs

The same by hand, and all options of the variable: docs/drop-in.md.
  LD_PRELOAD=/path/to/libmallocer.so MALLOCER=hardened=1,stats=exit ./server

The exit code is the program's, and a signal that ends it ends this one; 127 if there is no
such program, 126 if it cannot be started, 2 if the library is not found.";

/// Shows a ladder: its slabs, the requests each serves, and what they waste.
///
/// A request gets the smallest slab that holds it. Bounds must be multiples of
/// the alignment. SIZE is a number of bytes, or a number with KiB, MiB, GiB or TiB.
#[derive(Debug, Args)]
#[command(after_help = SLABS_EXAMPLES)]
pub(crate) struct SlabsArgs {
    /// The smallest block (minblock); 0 stands for one alignment [default: 0]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min: Option<usize>,
    /// The largest block (maxblock), at most 1 TiB [default: 1TiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) max: Option<usize>,
    /// What every slab is a multiple of: 8 or 16 [default: 8]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) align: Option<usize>,
    /// Which part of a chunk is used at least, from 0.5 to 0.999 [default: 0.95]
    #[arg(long, value_name = "PART")]
    pub(crate) utilization: Option<f64>,
    /// The ladder given whole: its slabs, ascending, with commas between
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = parse_size)]
    #[arg(conflicts_with_all = ["min", "max", "align", "utilization"])]
    pub(crate) list: Option<Vec<usize>>,
    /// Show, instead of the ladder, which slab serves a request of SIZE bytes, at
    /// alignment ALIGN if given; may be repeated
    #[arg(long, value_name = "SIZE[:ALIGN]", value_parser = parse_request)]
    pub(crate) request: Vec<Request>,
    /// Show only the first N slabs of the ladder
    #[arg(long, value_name = "N", conflicts_with = "json")]
    pub(crate) head: Option<usize>,
    /// Write JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

const SLABS_EXAMPLES: &str = "\
Examples:
  mallocer slabs --min 96 --max 1MiB               183 slabs from 96 bytes to 1 MiB
  mallocer slabs --request 67 --request 5000       72 and 5120 serve them
  mallocer slabs --list 70,72,96 --request 67:8    alignment 8 skips the slab of 70
  mallocer slabs --min 0 --max 1TiB --align 8 --json | jq .count

Exit code 2 if there is no such ladder, or a request is above its largest slab.";

/// What `slabs --request` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The size, in bytes.
    pub(crate) size: usize,
    /// The alignment, in bytes: a power of two.
    pub(crate) align: usize,
}

fn parse_request(text: &str) -> Result<Request, String> {
    let (size, align) = text.split_once(':').unwrap_or((text, "1"));
    let (size, align) = (parse_size(size)?, parse_size(align)?);
    if !align.is_power_of_two() {
        return Err(format!("alignment {align} is not a power of two; give 1, 2, 4, 8, …"));
    }
    Ok(Request { size, align })
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=256) => Ok(count),
        _ => Err(format!("`{text}` is not a number of threads; give 1 to 256")),
    }
}

/// One round of one backend, in a process of its own: reads the work from standard
/// input and writes the figures to standard output.
#[derive(Debug, Args)]
pub(crate) struct RoundArgs {
    /// The backend to run on.
    #[arg(long)]
    pub(crate) backend: String,
    /// Capacity of the arena, in bytes.
    #[arg(long)]
    pub(crate) capacity: usize,
    /// Measure the latency of single calls, and not the phases.
    #[arg(long)]
    pub(crate) latency: bool,
}

/// One measurement of one workload of `arena` on one backend, in a process of its own:
/// writes the nanoseconds of an operation to standard output.
#[derive(Debug, Args)]
pub(crate) struct SampleArgs {
    /// The backend to measure.
    #[arg(long)]
    pub(crate) backend: String,
    /// The workload.
    #[arg(long)]
    pub(crate) workload: String,
    /// Threads of a workload that has several.
    #[arg(long)]
    pub(crate) threads: usize,
    /// Capacity of the arena, in bytes.
    #[arg(long)]
    pub(crate) capacity: usize,
    /// The library itself, as a global allocator, instead of an arena.
    #[arg(long)]
    pub(crate) global: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn requests_parse() {
        assert_eq!(parse_request("67"), Ok(Request { size: 67, align: 1 }));
        assert_eq!(parse_request("4KiB:64"), Ok(Request { size: 4096, align: 64 }));
        assert!(parse_request("67:3").unwrap_err().contains("alignment 3"));
        assert!(parse_request("x:8").unwrap_err().contains("`x`"));
    }
}
