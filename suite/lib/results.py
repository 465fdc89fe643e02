"""Results as a JSON file that grows: samples by program and allocator.

Slices of a longer measurement add up in one file. Samples are of a certain binary and a
certain library; when one of the two has changed, those of the old one are dropped.
"""

import json
import os
import platform
import statistics
from pathlib import Path


def machine() -> dict:
    """What the figures were measured on."""
    processor = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.split(":", 1)[1].strip()
            break
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / 1048576, 1),
        "kernel": platform.release(),
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
    }


class Results:
    def __init__(self, path: Path, fresh: bool):
        self.path = path
        self.data = {"machine": machine(), "libraries": {}, "programs": {}}
        if path.exists() and not fresh:
            self.data = json.loads(path.read_text())

    def is_of_another(self, name: str, identity: str) -> bool:
        """Whether the samples of an allocator are of another library than this one."""
        return self.data["libraries"].get(name, identity) != identity

    def declare_allocator(self, name: str, identity: str) -> None:
        """Drops the samples of a library that is another one now; what is added is of here."""
        self.data["machine"] = machine()
        if self.data["libraries"].get(name) != identity:
            self.data["libraries"][name] = identity
            for program in self.data["programs"].values():
                program["samples"].pop(name, None)
                program["failures"].pop(name, None)

    def declare_program(self, name: str, identity: str, means: bool, about: str) -> None:
        """Drops the samples of a program that is another one now."""
        program = self.data["programs"].get(name)
        if not program or program["identity"] != identity:
            program = {"identity": identity, "samples": {}, "failures": {}, "output": None}
            self.data["programs"][name] = program
        program["means"], program["about"] = means, about

    def rounds(self, program: str, allocator: str) -> int:
        """How many rounds there are, failures included."""
        entry = self.data["programs"][program]
        return len(entry["samples"].get(allocator, [])) + len(entry["failures"].get(allocator, []))

    def add(self, program: str, allocator: str, sample) -> None:
        entry = self.data["programs"][program]
        if sample.failure:
            entry["failures"].setdefault(allocator, []).append(sample.failure)
        else:
            entry["samples"].setdefault(allocator, []).append(sample.as_json())

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.data, indent=1) + "\n")
        fresh.replace(self.path)

    def median(self, program: str, allocator: str, what: str) -> float | None:
        """Of seconds, or of KiB; None where no run has succeeded, or one has failed."""
        entry = self.data["programs"].get(program)
        if not entry or entry["failures"].get(allocator) or not entry["samples"].get(allocator):
            return None
        return statistics.median(sample[what] for sample in entry["samples"][allocator])

    def failures(self) -> list[tuple[str, str, str]]:
        """Program, allocator and what happened."""
        return [
            (name, allocator, why)
            for name, program in self.data["programs"].items()
            for allocator, all_of_them in program["failures"].items()
            for why in all_of_them
        ]
