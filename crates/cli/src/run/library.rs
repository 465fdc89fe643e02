//! Where libmallocer.so is.

use std::env;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

const NAME: &str = "libmallocer.so";

/// The library at `named`, or the first that is found: named by the environment, beside
/// this program, where cargo puts it, or in the `lib` beside this program's folder.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return absolute(path).ok_or_else(|| {
            Failure::Usage(format!("--library {}: there is no such file", path.display()))
        });
    }
    let places = places();
    places.iter().find_map(|place| absolute(place)).ok_or_else(|| {
        let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        Failure::Usage(format!(
            "{NAME} is not there; looked for {}. Build it with \
             `cargo build --profile drop-in -p mallocer-preload`, or name it with --library",
            looked.join(", ")
        ))
    })
}

fn places() -> Vec<PathBuf> {
    let mut places: Vec<_> =
        env::var_os("MALLOCER_LIBRARY").map(PathBuf::from).into_iter().collect();
    if let Some(folder) = env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.push(folder.join(NAME));
        places.push(folder.join("../drop-in").join(NAME));
        places.push(folder.join("../lib").join(NAME));
    }
    places
}

/// The file at `path` without any `..`, as programs in other folders must name it.
fn absolute(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|path| path.is_file())
}
