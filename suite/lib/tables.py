"""Tables: every allocator's ratio to the best peer, program by program.

The best peer of a program is the best of all allocators but our own, so a figure below
1.00 in our columns says that nobody else is as good. A peer's own figure of 1.00 says that
it is the best one.
"""

import math

from .results import Results

KINDS = {"seconds": "time", "peak_kib": "peak memory"}


def amount(value: float, what: str) -> str:
    if what == "seconds":
        return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"
    return f"{value / 1024:.1f} MiB" if value < 102400 else f"{value / 1024:.0f} MiB"


def ratios(results: Results, names: list[str], ours: set[str], what: str, programs: list[str]):
    """For each program the best peer's value and name, and the ratio of each to it."""
    rows = []
    for program in programs:
        values = {name: results.median(program, name, what) for name in names}
        peers = [(v, n) for n, v in values.items() if v is not None and n not in ours]
        if not peers:
            continue
        best, best_name = min(peers)
        ratio = {n: (v / best if v is not None else None) for n, v in values.items()}
        rows.append((program, best, best_name, ratio))
    return rows


def means(results: Results, rows, names: list[str]) -> dict:
    """Geometric means over the programs that all of the allocators ran, and that count."""
    counted = [
        ratio
        for program, _, _, ratio in rows
        if results.data["programs"][program]["means"] and None not in ratio.values()
    ]
    if not counted:
        return {}
    return {n: math.exp(sum(math.log(r[n]) for r in counted) / len(counted)) for n in names}


def grid(results: Results, names: list[str], ours: set[str], what: str, programs: list[str]):
    """Header and rows of text, of which ours are marked where they lose."""
    rows = ratios(results, names, ours, what, programs)
    header = ["program", "best peer", "", *names]
    body = []
    for program, best, best_name, ratio in rows:
        cells = [
            "failed" if ratio[n] is None and results.data["programs"][program]["failures"].get(n)
            else "–" if ratio[n] is None
            else f"{ratio[n]:.2f}"
            for n in names
        ]
        body.append([program, best_name, amount(best, what), *cells])
    mean = means(results, rows, names)
    if mean:
        body.append(["geometric mean", "", "", *(f"{mean[n]:.3f}" for n in names)])
    return header, body


def terminal(header, body, ours: set[str], colour: bool) -> str:
    widths = [max(len(row[i]) for row in [header, *body]) for i in range(len(header))]
    lines = []
    for at, row in enumerate([header, *body]):
        cells = []
        for i, cell in enumerate(row):
            text = cell.ljust(widths[i]) if i < 2 else cell.rjust(widths[i])
            lost = at > 0 and header[i] in ours and (cell == "failed" or cell > "1.00")
            if colour and lost:
                text = f"\x1b[31m{text}\x1b[0m"
            elif colour and at > 0 and header[i] in ours:
                text = f"\x1b[32m{text}\x1b[0m"
            cells.append(text)
        lines.append("  ".join(cells).rstrip())
        if at == 0 or (at == len(body) - 1 and body[-1][0] == "geometric mean"):
            lines.append("─" * (sum(widths) + 2 * len(widths) - 2))
    return "\n".join(lines)


def markdown(header, body, ours: set[str]) -> str:
    lines = ["| " + " | ".join(header) + " |"]
    lines.append("|" + "|".join("---" if i < 2 else "--:" for i in range(len(header))) + "|")
    for row in body:
        bold = [
            f"**{cell}**" if header[i] in ours and "." in cell and float(cell) <= 1.0 else cell
            for i, cell in enumerate(row)
        ]
        lines.append("| " + " | ".join(bold) + " |")
    return "\n".join(lines)


def both(results: Results, names: list[str], ours: set[str], programs: list[str], style) -> str:
    """Time and memory, one below the other, `style(header, body)` each."""
    parts = []
    for what, title in KINDS.items():
        header, body = grid(results, names, ours, what, programs)
        if body:
            heading = f"{title[0].upper()}{title[1:]}, ratio to the best peer"
            parts.append(f"{heading}\n\n{style(header, body)}")
    for program, allocator, why in results.failures():
        parts.append(f"{program} under {allocator}: {why}")
    return "\n\n".join(parts)
