//! The `mallocer` program: compare allocators on one's own data, and look at ladders.
//!
//! * `args`: the command line and its help;
//! * [`compare`]: the same work on every backend, side by side;
//! * [`run`]: a program on libmallocer.so;
//! * `backends`, `slabs`: the other commands;
//! * `size`, `terminal`, `failure`: what all of them need.
//!
//! The program's own memory comes from the system's allocator, and no index that is
//! measured has any of it.

mod args;
mod backends;
mod compare;
mod failure;
mod run;
mod size;
mod slabs;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use terminal::Terminal;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = Terminal::detect(arguments.no_color);
    let result = match &arguments.command {
        Command::Compare(args) => compare::run(args, terminal),
        Command::Backends(args) => backends::run(args, terminal),
        Command::Slabs(args) => slabs::run(args, terminal),
        Command::Run(args) => match run::run(args, terminal) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Command::Round(args) => compare::round::run(args),
        Command::Sample(args) => compare::arena::sample(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("error: {message}");
            }
            failure.exit_code()
        }
    }
}
