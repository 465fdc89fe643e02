//! Compiling the programs, and running them with the library preloaded.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock};

use crate::library::library;

/// A file in the folder of test programs.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

/// The program that is compiled from `programs/<name>`, once in a run of the tests; from a source
/// in the folder `shared`, a shared library.
pub(crate) fn compiled(name: &str) -> PathBuf {
    static COMPILED: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    let mut compiled =
        COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(|e| e.into_inner());
    if let Some(program) = compiled.get(name) {
        return program.clone();
    }
    let file = name.replace(['/', '.'], "_");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&file);
    // Tests in other processes may run the program that is there already.
    let fresh = program.with_extension(std::process::id().to_string());
    let is_cpp = name.ends_with(".cpp");
    let (variable, usual) = if is_cpp { ("CXX", "c++") } else { ("CC", "cc") };
    let compiler = env::var_os(variable).unwrap_or_else(|| OsString::from(usual));
    // Nothing is optimised: a compiler may drop a malloc that nobody looks at.
    let mut command = Command::new(&compiler);
    command.args(["-O0", "-w", "-fno-builtin", "-D_GNU_SOURCE", "-pthread"]);
    if is_cpp {
        command.args(["-std=c++17", "-fsized-deallocation"]);
    }
    if name.starts_with("shared/") {
        command.args(["-shared", "-fPIC"]);
    }
    command.arg("-I").arg(source("")).arg("-o").arg(&fresh).arg(source(name)).arg("-ldl");
    let output = command.output().unwrap_or_else(|error| panic!("{compiler:?}: {error}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&fresh, &program).expect("both are in one folder");
    compiled.insert(name.to_string(), program.clone());
    program
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stderr: String,
}

impl Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            signal: output.status.signal(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The program ended well, and said nothing of errors.
    #[track_caller]
    pub(crate) fn well(self) -> Ended {
        assert_eq!((self.code, self.signal), (Some(0), None), "{self:#?}");
        self
    }

    /// The program was stopped, with one line that tells of misuse and has `words`.
    #[track_caller]
    pub(crate) fn caught(&self, words: &str) {
        assert_eq!(self.signal, Some(6), "not stopped by abort: {self:#?}");
        let line = self.stderr.trim_end();
        assert!(line.starts_with("mallocer: misuse in ") && !line.contains('\n'), "{self:#?}");
        assert!(line.contains(words), "not said: {words}\n{self:#?}");
    }

    /// Whether the system stopped it at an access that it may not make.
    pub(crate) fn faulted(&self) -> bool {
        self.signal == Some(11)
    }

    /// Stopped for a misuse that it says of itself: by a message with these words, or, if there
    /// are none, by a fault.
    #[track_caller]
    pub(crate) fn stopped(&self, words: &str) {
        if words.is_empty() {
            assert!(self.faulted(), "no fault: {self:#?}");
        } else {
            self.caught(words);
        }
    }
}

/// A run of a program that is being prepared.
pub(crate) struct Run(Command);

/// Runs `program` with the library preloaded and `options` in `MALLOCER`.
pub(crate) fn run(program: impl AsRef<Path>, options: &str) -> Run {
    let mut command = Command::new(program.as_ref());
    command.env("LD_PRELOAD", library()).env("MALLOCER", options);
    Run(command)
}

impl Run {
    pub(crate) fn arg(mut self, arg: impl ToString) -> Run {
        self.0.arg(arg.to_string());
        self
    }

    pub(crate) fn end(mut self) -> Ended {
        Ended::from(self.0.output().expect("the program was compiled"))
    }
}

/// Compiles and runs `programs/<name>`.
pub(crate) fn run_source(name: &str, options: &str) -> Run {
    run(compiled(name), options)
}
