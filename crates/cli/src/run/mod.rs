//! `mallocer run`: a program on libmallocer.so, set up and summed up.
//!
//! The options become the variable `MALLOCER`, the library goes into `LD_PRELOAD`, and the
//! program has the terminal to itself. At its exit the library writes a report, which is
//! shown on standard error: what the program prints is its own.

mod library;
mod summary;

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::{env, io, process};

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Exit codes of shells for a program that is not there, or cannot be started.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

/// Runs the program; returns the exit code that it ended with.
pub(crate) fn run(args: &RunArgs, terminal: Terminal) -> Result<ExitCode, Failure> {
    let library = library::find(args.library.as_deref())?;
    let reports = Reports::new()?;
    let (program, rest) = args.command.split_first().expect("clap asks for a program");
    let mut command = Command::new(program);
    command
        .args(rest)
        .env("LD_PRELOAD", preload(&library))
        .env("MALLOCER", options(args, &reports));
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("error: {}: {error}", Path::new(program).display());
            let missing = error.kind() == io::ErrorKind::NotFound;
            return Ok(ExitCode::from(if missing { NOT_FOUND } else { NOT_STARTED }));
        }
    };
    let number = child.id();
    let status = wait(child)?;
    let report = fs::read(reports.of(number)).ok();
    match report {
        Some(text) => {
            if !args.quiet {
                summary::print(&text, terminal)?;
            }
            if let Some(path) = &args.json {
                fs::write(path, &text).map_err(|error| {
                    Failure::Failed(format!("{} cannot be written: {error}", path.display()))
                })?;
            }
        }
        None if !args.quiet => eprintln!("mallocer: {}", why_no_report(status)),
        None => {}
    }
    drop(reports);
    Ok(ended(status))
}

/// Why the library wrote nothing.
fn why_no_report(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("no summary: the program was ended by signal {signal}"),
        None => "no summary: the program did not load the library (is it linked statically, or \
                 does it run with more rights?), or left without its exit handlers"
            .to_string(),
    }
}

/// What `LD_PRELOAD` is to be: the library before whatever is there.
fn preload(library: &Path) -> OsString {
    let mut all = library.as_os_str().to_owned();
    if let Some(others) = env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        all.push(":");
        all.push(others);
    }
    all
}

/// What `MALLOCER` is to be: what is there, then the arguments, of which the last counts.
fn options(args: &RunArgs, reports: &Reports) -> OsString {
    let mut all = env::var_os("MALLOCER").unwrap_or_default();
    let mut add = |option: String| {
        if !all.is_empty() {
            all.push(",");
        }
        all.push(option);
    };
    for cluster in &args.clusters {
        add(format!("cluster={}x{}", cluster.bytes, cluster.chunks));
    }
    if let Some(decay) = &args.decay {
        add(format!("decay={decay}"));
    }
    if let Some(huge) = args.huge {
        add(format!("huge={}", u8::from(huge)));
    }
    if args.hardened {
        add("hardened=1".to_string());
    }
    if let Some(signal) = args.signal {
        add(format!("stats=signal:{signal}"));
    }
    add(format!("stats=exit,format=json,file={}", reports.pattern().display()));
    all
}

/// Waits for the program. Signals of the terminal are the program's to answer, so they do
/// not end this one before it.
fn wait(mut child: Child) -> Result<ExitStatus, Failure> {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: to ignore a signal has no conditions; the program was started before, with
        // its own answers to them.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    child.wait().map_err(|error| Failure::Failed(format!("waiting for the program: {error}")))
}

/// Ends as the program did: with its exit code, or by the same signal.
fn ended(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        // SAFETY: the usual answer to a signal may always be set; raising it ends this
        // process, which has nothing left to do, or does nothing. No core of this one.
        unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return ExitCode::from(128u8.wrapping_add(signal as u8));
    }
    ExitCode::from(status.code().unwrap_or(1) as u8)
}

/// The folder that the program and its children write their reports to, one file each;
/// removed at the end.
struct Reports(PathBuf);

impl Reports {
    fn new() -> Result<Reports, Failure> {
        let folder = env::temp_dir().join(format!("mallocer-run-{}", process::id()));
        fs::create_dir_all(&folder).map_err(|error| {
            Failure::Failed(format!("{} cannot be made: {error}; set TMPDIR", folder.display()))
        })?;
        Ok(Reports(folder))
    }

    fn pattern(&self) -> PathBuf {
        self.0.join("%p")
    }

    fn of(&self, process: u32) -> PathBuf {
        self.0.join(process.to_string())
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        // What is left behind in a folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
