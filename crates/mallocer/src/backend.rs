//! Which backend: its name, whether it is compiled in, and how a program picks one.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The environment variable that [`Backend::from_env`] reads.
const VARIABLE: &str = "MALLOCER_BACKEND";

/// One of the allocators that can stand behind an arena.
///
/// All four are named in every build; [`compiled`](Backend::compiled) lists those
/// that this build can open.
///
/// # Examples
///
/// ```
/// use mallocer::Backend;
///
/// let backend: Backend = "JEmalloc".parse()?;
/// assert_eq!(backend, Backend::Jemalloc);
/// assert_eq!(backend.to_string(), "jemalloc");
/// # Ok::<(), mallocer::BackendError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Backend {
    /// mallocer's own slab engine.
    Flist,
    /// The C library's malloc.
    Malloc,
    /// jemalloc.
    Jemalloc,
    /// mimalloc.
    Mimalloc,
}

impl Backend {
    /// Every backend there is, in order of precedence.
    pub const ALL: [Backend; 4] =
        [Backend::Flist, Backend::Malloc, Backend::Jemalloc, Backend::Mimalloc];

    /// The name, in lower case: also that of the Cargo feature that compiles it in.
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Flist => "flist",
            Backend::Malloc => "malloc",
            Backend::Jemalloc => "jemalloc",
            Backend::Mimalloc => "mimalloc",
        }
    }

    /// The backends of this build, in order of precedence.
    pub const fn compiled() -> &'static [Backend] {
        &[
            #[cfg(feature = "flist")]
            Backend::Flist,
            #[cfg(feature = "malloc")]
            Backend::Malloc,
            #[cfg(feature = "jemalloc")]
            Backend::Jemalloc,
            #[cfg(feature = "mimalloc")]
            Backend::Mimalloc,
        ]
    }

    /// Whether this build can open this backend.
    pub const fn is_compiled(self) -> bool {
        match self {
            Backend::Flist => cfg!(feature = "flist"),
            Backend::Malloc => cfg!(feature = "malloc"),
            Backend::Jemalloc => cfg!(feature = "jemalloc"),
            Backend::Mimalloc => cfg!(feature = "mimalloc"),
        }
    }

    /// The backend to take if nobody says which: the first that is compiled in.
    ///
    /// # Errors
    ///
    /// [`BackendError::None`] if none is.
    pub fn preferred() -> Result<Backend, BackendError> {
        Backend::compiled().first().copied().ok_or(BackendError::None)
    }

    /// The backend that the environment variable `MALLOCER_BACKEND` names, in any
    /// case; the [`preferred`](Backend::preferred) one if it is unset or empty.
    ///
    /// # Errors
    ///
    /// [`BackendError`]; so a backend that is returned can be opened.
    pub fn from_env() -> Result<Backend, BackendError> {
        Backend::from_setting(std::env::var_os(VARIABLE).as_deref())
    }

    /// What a value of the environment variable stands for.
    fn from_setting(value: Option<&OsStr>) -> Result<Backend, BackendError> {
        match value {
            Some(name) if !name.is_empty() => name.to_string_lossy().parse::<Backend>()?.checked(),
            _ => Backend::preferred(),
        }
    }

    /// This backend, if it is compiled in.
    pub(crate) fn checked(self) -> Result<Backend, BackendError> {
        if self.is_compiled() { Ok(self) } else { Err(BackendError::NotCompiled { backend: self }) }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Backend, BackendError> {
        let name = name.trim();
        let found = Backend::ALL.into_iter().find(|all| all.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| BackendError::Unknown { name: name.to_owned() })
    }
}

/// Why a backend cannot be had.
///
/// Every message ends with the backends that this build has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No backend has this name.
    #[error("no backend is called `{name}`; {}", Present)]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// The backend exists, and is not part of this build.
    #[error(
        "the {backend} backend is not compiled in; enable mallocer's feature `{backend}`; {}",
        Present
    )]
    NotCompiled {
        /// The backend that was asked for.
        backend: Backend,
    },
    /// This build has no backend at all.
    #[error("{}", Present)]
    None,
}

/// Displays the backends of this build, as the end of a message.
struct Present;

impl fmt::Display for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |backends: &[Backend]| {
            backends.iter().map(|backend| backend.name()).collect::<Vec<_>>().join(", ")
        };
        match Backend::compiled() {
            [] => write!(
                f,
                "no backend is compiled in: enable at least one of mallocer's features {}",
                names(&Backend::ALL)
            ),
            compiled => write!(f, "compiled in: {}", names(compiled)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_setting(value: &str) -> Result<Backend, BackendError> {
        Backend::from_setting(Some(OsStr::new(value)))
    }

    #[test]
    fn names_parse_in_any_case_and_display_in_lower_case() {
        for backend in Backend::ALL {
            assert_eq!(backend.name().parse(), Ok(backend));
            assert_eq!(backend.name().to_uppercase().parse(), Ok(backend));
            assert_eq!(format!("{backend:>9}"), format!("{:>9}", backend.name()));
        }
        let unknown = "tcmalloc".parse::<Backend>().unwrap_err();
        assert_eq!(unknown, BackendError::Unknown { name: "tcmalloc".to_owned() });
    }

    #[test]
    fn compiled_backends_keep_the_order_of_precedence() {
        let expected: Vec<_> = Backend::ALL.into_iter().filter(|all| all.is_compiled()).collect();
        assert_eq!(Backend::compiled(), expected);
        assert_eq!(Backend::preferred().ok(), expected.first().copied());
    }

    #[test]
    fn the_environment_names_a_backend_that_can_be_opened() {
        assert_eq!(Backend::from_setting(None), Backend::preferred());
        assert_eq!(from_setting(""), Backend::preferred());
        for backend in Backend::ALL {
            let expected = if backend.is_compiled() {
                Ok(backend)
            } else {
                Err(BackendError::NotCompiled { backend })
            };
            assert_eq!(from_setting(backend.name()), expected);
        }
        assert_eq!(from_setting("none"), Err(BackendError::Unknown { name: "none".to_owned() }));
    }

    #[test]
    fn messages_name_what_is_wrong_and_what_there_is() {
        let unknown = BackendError::Unknown { name: "x".to_owned() }.to_string();
        assert!(unknown.starts_with("no backend is called `x`; "), "{unknown}");
        let absent = BackendError::NotCompiled { backend: Backend::Mimalloc }.to_string();
        assert!(absent.contains("feature `mimalloc`"), "{absent}");
        for message in [unknown, absent] {
            match Backend::compiled() {
                [] => assert!(message.ends_with("flist, malloc, jemalloc, mimalloc"), "{message}"),
                compiled => {
                    let (_, listed) = message.split_once("compiled in: ").unwrap();
                    let listed: Vec<Backend> =
                        listed.split(", ").map(|name| name.parse().unwrap()).collect();
                    assert_eq!(listed, compiled);
                }
            }
        }
    }
}
