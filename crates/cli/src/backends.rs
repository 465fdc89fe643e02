//! `mallocer backends`: what each backend is, and which this build has.

use mallocer::{Arena, Backend};
use serde::Serialize;

use crate::args::BackendsArgs;
use crate::failure::Failure;
use crate::terminal::{Terminal, figure, head, print, print_json};

/// The variable that programs on mallocer read, unless they choose themselves.
const VARIABLE: &str = "MALLOCER_BACKEND";

/// The JSON of `backends --json`.
#[derive(Debug, Serialize)]
struct Document {
    schema: &'static str,
    version: u32,
    variable: &'static str,
    /// The backend that a program takes in this environment.
    chosen: Option<&'static str>,
    backends: Vec<Described>,
}

/// One backend.
#[derive(Debug, Serialize)]
struct Described {
    name: &'static str,
    compiled: bool,
    /// Whether it is the one taken if nobody says which.
    default: bool,
    what: &'static str,
    release: &'static str,
    /// How many chunk sizes it has; unknown if it is not compiled in.
    slabs: Option<usize>,
}

/// Runs the command.
pub(crate) fn run(args: &BackendsArgs, terminal: Terminal) -> Result<(), Failure> {
    let chosen = Backend::from_env();
    let document = Document {
        schema: "mallocer.backends",
        version: 1,
        variable: VARIABLE,
        chosen: chosen.as_ref().ok().map(|backend| backend.name()),
        backends: Backend::ALL.into_iter().map(describe).collect(),
    };
    if args.json {
        print_json(&document)?;
    } else {
        print(&table(&document, terminal))?;
    }
    chosen.map(drop).map_err(|error| Failure::Usage(format!("{VARIABLE}: {error}")))
}

fn describe(backend: Backend) -> Described {
    let (what, release) = match backend {
        Backend::Flist => (
            "mallocer's own engine: slabs of a ladder in pools, misuse always caught",
            "gives back pools, not chunks",
        ),
        Backend::Malloc => (
            "the C library's malloc, with a bitmap of what is handed out",
            "frees every live chunk",
        ),
        Backend::Jemalloc => {
            ("jemalloc, an arena of its own for each Arena", "destroys the jemalloc arena")
        }
        Backend::Mimalloc => {
            ("mimalloc, a heap of its own for each Arena", "destroys the mimalloc heap")
        }
    };
    Described {
        name: backend.name(),
        compiled: backend.is_compiled(),
        default: Backend::preferred() == Ok(backend),
        what,
        release,
        slabs: Arena::builder()
            .backend(backend)
            .build()
            .ok()
            .map(|arena: Arena| arena.slabs().len()),
    }
}

fn table(document: &Document, terminal: Terminal) -> String {
    let mut table = terminal.table();
    table.set_header([
        head("backend", true),
        head("compiled in", true),
        head("sizes", false),
        head("what it is", true),
        head("release", true),
    ]);
    for backend in &document.backends {
        let compiled = match (backend.compiled, backend.default) {
            (true, true) => "yes, default",
            (true, false) => "yes",
            (false, _) => "no",
        };
        table.add_row([
            comfy_table::Cell::new(backend.name),
            comfy_table::Cell::new(compiled),
            figure(backend.slabs.map_or("–".to_owned(), |count| count.to_string())),
            comfy_table::Cell::new(backend.what),
            comfy_table::Cell::new(backend.release),
        ]);
    }
    let chosen = document.chosen.unwrap_or("none");
    let note = format!("{VARIABLE} chooses one by its name; in this environment: {chosen}");
    format!("{}\n{}", table.trim_fmt(), terminal.faint(&note))
}
