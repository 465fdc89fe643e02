"""A measurement: jobs under allocators in interleaved rounds, until all have enough.

A job is a program of the suite or a scenario of real programs; what it is about, whether it
counts in the means and how one run is made is all that a session has to know of it.
"""

import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from . import page, tables
from .allocators import Allocator, choose
from .measure import Sample
from .results import Results


@dataclass
class Job:
    name: str
    about: str
    identity: str  # changes when the program does
    run: Callable[[Allocator], Sample]
    means: bool = True
    renew: Callable[[Path], None] = lambda folder: None  # as `Allocator.renew`, of its program


def add_arguments(parser, into: Path, stem: str) -> None:
    """What both scripts can be told."""
    add = parser.add_argument
    add("--only", nargs="+", metavar="NAME", help="these; --list shows all")
    add("--allocators", nargs="+", metavar="NAME", help="these, as allocators.toml calls them")
    add("--hardened", action="store_true", help="mallocer in its hardened mode, too")
    add("--library", metavar="PATH", help="where libmallocer.so is")
    add("--skip-missing", action="store_true", help="go on without what is not there")
    add("--rounds", type=int, default=5, help="until every pair has so many (default 5)")
    add("--seconds", type=float, help="begin nothing further after so many seconds")
    add("--limit", type=int, default=90, metavar="SECONDS", help="a run is killed after (90)")
    add("--results", type=Path, default=into / f"{stem}.json", help="the file with the samples")
    add("--page", type=Path, default=into / f"{stem}.html", help="a page with pictures")
    add("--pictures", type=Path, metavar="FOLDER", help="the pictures alone, as SVG files")
    add("--fresh", action="store_true", help="forget earlier results")
    add("--check", action="store_true", help="one round of glibc and mallocer, no figures")
    add("--table", action="store_true", help="measure nothing, print what is recorded")
    add("--markdown", action="store_true", help="tables in Markdown")
    add("--list", action="store_true", help="list what there is")


def named(everything: list[str], only: list[str] | None) -> list[str]:
    """Those of `everything` that `only` names; ends the program at a name that is unknown."""
    for name in only or []:
        if name not in everything:
            sys.exit(f"nothing is called {name}; there are {', '.join(everything)}")
    return [name for name in everything if not only or name in only]


def allocators_of(options) -> list[Allocator]:
    names = options.allocators
    if options.check:
        names = names or ["glibc", "mallocer"]
        options.rounds = 1
    chosen = choose(names, options.library, options.skip_missing)
    if options.check and not any(allocator.ours for allocator in chosen):
        sys.exit("--check is of libmallocer.so, which is not there or was not named")
    if options.hardened:
        chosen += choose(["hardened"], options.library, False)
    return chosen


def one_run(job: Job, allocator: Allocator, results: Results) -> bool:
    """Adds a sample; what is printed must be what the first run printed."""
    entry = results.data["programs"][job.name]
    sample = job.run(allocator)
    if not sample.failure:
        entry["output"] = entry["output"] or sample.output
        if sample.output != entry["output"]:
            sample.failure = "its output is another one than before"
    results.add(job.name, allocator.name, sample)
    if sample.failure:
        print(f"\n{job.name} under {allocator.name}: {sample.failure}", file=sys.stderr)
        print(sample.stderr.strip()[-1500:], file=sys.stderr)
    return not sample.failure


def rounds(jobs: list[Job], chosen: list[Allocator], results: Results, options) -> bool:
    """Measures; false if anything failed. An allocator that fails a job is not tried again."""
    # Kept until the end, since a copy would else lie where the one before has lain.
    with tempfile.TemporaryDirectory(prefix="copies-", dir=options.results.parent.resolve()) as copies:
        return rounds_with(Path(copies), jobs, chosen, results, options)


def rounds_with(
    copies: Path, jobs: list[Job], chosen: list[Allocator], results: Results, options
) -> bool:
    good, began = True, time.monotonic()
    end = "\r" if sys.stderr.isatty() else "\n"
    for at in range(options.rounds):
        folder = copies / str(at)
        folder.mkdir()
        for one in chosen + jobs:
            one.renew(folder)
        for number, job in enumerate(jobs):
            failures = results.data["programs"][job.name]["failures"]
            # In another order each time, since a program finds the machine as the one before has left
            # it; the very first is glibc, whose output counts.
            order = chosen[:1] + random.sample(chosen[1:], len(chosen) - 1)
            if at > 0:
                random.shuffle(order)
            todo = [
                allocator
                for allocator in order
                if results.rounds(job.name, allocator.name) <= at
                and not failures.get(allocator.name)
            ]
            for allocator in todo:
                if options.seconds and time.monotonic() - began > options.seconds:
                    print(f"\nstopped in round {at + 1}; call again", file=sys.stderr)
                    results.write()
                    return good
                text = f"round {at + 1} of {options.rounds}, {number + 1} of {len(jobs)}: "
                text += f"{job.name} under {allocator.name}"
                print(f"{text:60}", end=end, file=sys.stderr, flush=True)
                good = one_run(job, allocator, results) and good
            if todo:
                results.write()
    return good


def measure(jobs: list[Job], chosen: list[Allocator], options, title: str) -> int:
    """The whole of it: measure, print, write; the exit status."""
    results = Results(options.results, options.fresh)
    if options.table:
        # What was recorded, whatever has been built since.
        for name in (a.name for a in chosen if results.is_of_another(a.name, a.identity)):
            print(f"{name} was measured with another build than is here now", file=sys.stderr)
        good = True
    else:
        for allocator in chosen:
            results.declare_allocator(allocator.name, allocator.identity)
        for job in jobs:
            results.declare_program(job.name, job.identity, job.means, job.about)
        good = rounds(jobs, chosen, results, options)

    if options.check:
        said = "all is as under glibc" if good else "there were failures"
        print(f"{len(jobs)} programs under {', '.join(a.name for a in chosen)}: {said}")
        return 0 if good else 1
    names, which = [a.name for a in chosen], [job.name for job in jobs]
    ours = {a.name for a in chosen if a.ours}
    colour = sys.stdout.isatty()

    def style(header, body):
        if options.markdown:
            return tables.markdown(header, body, ours)
        return tables.terminal(header, body, ours, colour)

    print(tables.both(results, names, ours, which, style))
    page.write(options.page, results, names, ours, which, title)
    if options.pictures:
        stem = options.results.stem
        page.write_pictures(options.pictures, stem, results, names, ours, which)
    print(f"\nresults: {options.results}\npage:    {options.page}", file=sys.stderr)
    return 0 if good else 1
