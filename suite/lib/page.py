"""One page with pictures: a dot for every allocator on a line for every program."""

import html
import math
from pathlib import Path

from . import tables
from .results import Results

COLOURS = ["#6b7280", "#b45309", "#2563eb", "#0d9488", "#7c3aed", "#db2777", "#0891b2", "#65a30d"]
OURS = "#dc2626"
LEFT, WIDTH, STEP, LARGEST = 150, 560, 22, 4.0


def picture(rows, mean, names, ours) -> str:
    """Ratios from 0.25 to 4 on a logarithmic scale; further ones stand at the edge."""
    def x(ratio: float) -> float:
        bounded = min(max(ratio, 1 / LARGEST), LARGEST)
        return LEFT + WIDTH * (math.log(bounded) / math.log(LARGEST) + 1) / 2

    lines = [(program, ratio) for program, _, _, ratio in rows]
    if mean:
        lines.append(("geometric mean", mean))
    height = STEP * len(lines) + 72
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
        'role="img" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for tick in (0.25, 0.5, 1.0, 2.0, 4.0):
        stroke = "#111" if tick == 1.0 else "#ddd"
        at = f"{x(tick):.0f}"
        line = f'<line x1="{at}" x2="{at}" y1="46" y2="{height - 10}" stroke="{stroke}"/>'
        out.append(line + f'<text x="{at}" y="40" text-anchor="middle">{tick:g}</text>')
    for at, (program, ratio) in enumerate(lines):
        y = 62 + STEP * at
        word = html.escape(program)
        out.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{word}</text>')
        for name in sorted(names, key=lambda n: n in ours):
            if ratio.get(name) is None:
                continue
            colour = OURS if name in ours else COLOURS[names.index(name) % len(COLOURS)]
            radius = 6 if name in ours else 4
            out.append(
                f'<circle cx="{x(ratio[name]):.1f}" cy="{y}" r="{radius}" fill="{colour}">'
                f"<title>{html.escape(name)} {ratio[name]:.2f}</title></circle>"
            )
    out.append("</svg>")
    return "\n".join(out)


def legend(names, ours) -> str:
    """A line of SVG that says which colour is whose."""
    out = [f'<svg width="{LEFT + WIDTH + 20}" height="20">']
    x = 20
    for name in names:
        colour = OURS if name in ours else COLOURS[names.index(name) % len(COLOURS)]
        out.append(f'<circle cx="{x}" cy="10" r="5" fill="{colour}"/>')
        out.append(f'<text x="{x + 9}" y="14">{html.escape(name)}</text>')
        x += 30 + 7 * len(name)
    return "".join(out) + "</svg>"


def write_pictures(folder: Path, stem: str, results: Results, names, ours, programs) -> None:
    """The pictures alone, as files for documentation."""
    for what, kind in (("seconds", "time"), ("peak_kib", "memory")):
        rows = tables.ratios(results, names, ours, what, programs)
        if rows:
            drawn = picture(rows, tables.means(results, rows, names), names, ours)
            drawn = drawn.replace("</svg>", f'{legend(names, ours)}</svg>')
            (folder / f"{stem}-{kind}.svg").write_text(drawn + "\n")


def write(path: Path, results: Results, names, ours, programs, title: str) -> None:
    machine = results.data["machine"]
    key = " ".join(
        f'<span style="color:{OURS if n in ours else COLOURS[names.index(n) % len(COLOURS)]}">'
        f"● {html.escape(n)}</span>"
        for n in names
    )
    parts = []
    for what, kind in tables.KINDS.items():
        rows = tables.ratios(results, names, ours, what, programs)
        if not rows:
            continue
        header, body = tables.grid(results, names, ours, what, programs)
        cells = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in body
        )
        heads = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        parts.append(
            f"<h2>{kind[0].upper()}{kind[1:]}, ratio to the best peer</h2><p>{key}</p>"
            f"{picture(rows, tables.means(results, rows, names), names, ours)}"
            f"<table><tr>{heads}</tr>{cells}</table>"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>body{{font:15px system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}}
svg{{width:100%}}table{{border-collapse:collapse;font-size:13px}}
td,th{{padding:2px 8px;text-align:right}}td:first-child{{text-align:left}}</style>
<h1>{html.escape(title)}</h1>
<p>{html.escape(machine['processor'])}, {machine['cores']} cores, {machine['memory_gib']} GiB,
Linux {html.escape(machine['kernel'])}, {html.escape(machine['libc'])}. Medians; less is better;
1 is the best peer of that program.</p>
{''.join(parts)}</html>
"""
    )
