"""One run of a program under an allocator: how long, how much memory, what it printed."""

import hashlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .allocators import SUITE, Allocator


@dataclass
class Sample:
    seconds: float
    peak_kib: int
    user: float
    system: float
    faults: int
    output: str  # a digest of what it printed, and of the files it left
    failure: str | None  # why the run does not count
    stderr: str = ""

    def as_json(self) -> dict:
        return {
            "seconds": self.seconds,
            "peak_kib": self.peak_kib,
            "user": self.user,
            "system": self.system,
            "faults": self.faults,
        }


def build_launcher(into: Path) -> Path:
    """Builds measure.c; it is static, so that it is smaller than what it measures."""
    launcher = into / "measure"
    source = SUITE / "lib/measure.c"
    if not launcher.exists() or launcher.stat().st_mtime < source.stat().st_mtime:
        compiler = os.environ.get("CC", "cc")
        command = [compiler, "-O2", "-Wall", "-Wextra", "-static", str(source), "-o", str(launcher)]
        subprocess.run(command, check=True)
    return launcher


def digest_folder(folder: Path) -> str:
    """One digest for names and contents of all files in a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(folder)).encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def run(
    launcher: Path,
    allocator: Allocator,
    command: list[str],
    limit_s: int,
    folder: Path | None = None,
    produced: Path | None = None,
    variables: dict | None = None,
) -> Sample:
    """Runs `command` in `folder`; the files in `produced` count as output."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("LD_PRELOAD", "MALLOCER") and not key.startswith("MALLOC_")
    }
    environment.update(variables or {})
    environment.update(allocator.variables)
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        done = subprocess.run(
            [str(launcher), report.name, str(limit_s), allocator.preload, *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        stderr = done.stderr.decode(errors="replace")
        text = Path(report.name).read_text()
    if not text:
        return Sample(0, 0, 0, 0, 0, "", "measure itself failed", stderr)
    took = json.loads(text)
    failure = None
    if "cannot be preloaded" in stderr:
        failure = f"{allocator.preload} was not loaded"
    elif took["late"]:
        failure = f"not done after {limit_s} s"
    elif took["signal"]:
        failure = f"killed by signal {took['signal']}"
    elif took["exit"]:
        failure = f"ended with status {took['exit']}"
    output = hashlib.sha256(done.stdout).hexdigest()
    if produced and not failure:
        output += digest_folder(produced)
    return Sample(
        took["seconds"],
        took["peak_kib"],
        took["user"],
        took["system"],
        took["faults"],
        hashlib.sha256(output.encode()).hexdigest()[:16],
        failure,
        stderr,
    )
