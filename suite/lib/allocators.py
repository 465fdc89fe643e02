"""The allocators of allocators.toml, and where their libraries are."""

import hashlib
import os
import shutil
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

SUITE = Path(__file__).resolve().parent.parent
ROOT = SUITE.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()


def digest(path: Path) -> str:
    """The first half of a file's SHA-256: enough to tell that it is another one."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


@dataclass
class Allocator:
    name: str
    library: Path | None  # None: the C library itself
    variables: dict = field(default_factory=dict)
    ours: bool = False
    copy: Path | None = None  # what is loaded instead, in a round

    @property
    def preload(self) -> str:
        """What LD_PRELOAD is to name."""
        return str(self.copy or self.library or "")

    def renew(self, folder: Path) -> None:
        """Has a copy in `folder` loaded from now on."""
        if self.library:
            self.copy = renewed(self.library, folder / self.name)

    @property
    def identity(self) -> str:
        """Changes when the library does."""
        return digest(self.library) if self.library else os.confstr("CS_GNU_LIBC_VERSION")


def renewed(file: Path, copy: Path) -> Path:
    """Copies a file, so that its contents lie elsewhere in memory: that alone makes differences
    of up to a fifth where a short loop runs through a library and its program."""
    shutil.copy(file, copy)
    return copy


def choose(names: list[str] | None, library: str | None, skip_missing: bool) -> list[Allocator]:
    """Those that are named, or the default ones. Ends the program, with the remedy, where one
    is missing."""
    entries = tomllib.loads((SUITE / "allocators.toml").read_text())["allocator"]
    known = [entry["name"] for entry in entries]
    for name in names or []:
        if name not in known:
            sys.exit(f"no allocator is called {name}; there are {', '.join(known)}")
    chosen, missing = [], []
    for entry in entries:
        if entry["name"] not in names if names else not entry.get("default", True):
            continue
        paths = [Path(path.format(target=TARGET)) for path in entry["library"]]
        if library and entry.get("ours"):
            paths = [Path(library).absolute()]
        found = next((path for path in paths if path.exists()), None)
        if paths and not found:
            missing.append((entry, paths))
            continue
        chosen.append(
            Allocator(
                entry["name"],
                found.resolve() if found else None,
                entry.get("variables", {}),
                entry.get("ours", False),
            )
        )
    for entry, paths in missing:
        print(f"{entry['name']}: {paths[0]} is not there; {entry['remedy']}", file=sys.stderr)
    if missing and not skip_missing:
        sys.exit("name those to use with --allocators, or go on without with --skip-missing")
    return chosen


def libc() -> Path:
    """The C library, to be preloaded before an allocator that a program links."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("/libc.so.6"):
            return Path(line.split()[-1])
    sys.exit("the C library is not in this process's map; is it not glibc?")
