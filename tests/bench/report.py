# SPDX-License-Identifier: LGPL-2.1-or-later
"""The results of a run: a table of text, JSON, and a picture a section."""
import json
import re
from html import escape

from measure import systems_of

WIDTH, LABEL, BAR, GAP = 860, 300, 13, 9
COLOURS = ("#2f6f3e", "#4e79a7", "#f28e2b", "#b07aa1", "#9c755f", "#edc948",
           "#e15759", "#76b7b2", "#bab0ac", "#59a14f")


def number(value):
    """Three figures, and no more zeros than must be."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1g}"


# ---- Text -------------------------------------------------------------------

def _tests(rows):
    """{(test, mode): {system: row}}, in order."""
    tests = {}
    for row in rows:
        tests.setdefault((row.test, row.mode), {})[row.system] = row
    return tests


def _cell(value, own):
    text = number(value)
    if not own:
        return text
    ratio = value / own
    return text + (f" ({ratio:,.0f}×)" if ratio >= 10 else f" ({ratio:.2g}×)")


def _lines(tests, systems):
    """Cells of a section, a p99 line below what has one."""
    for (test, mode), found in tests.items():
        unit = next(iter(found.values())).unit
        own = found.get("coppice")
        label = f"{test}, {mode}" if mode else test
        for what, suffix in (("median", f" [{unit}]"), ("p99", "    p99")):
            values = {name: getattr(row, what) for name, row in found.items()}
            if not any(v is not None for v in values.values()):
                continue
            base = getattr(own, what) if own else None
            cells = ["" if values.get(name) is None else
                     _cell(values[name], None if name == "coppice" else base)
                     for name in systems]
            yield [label + suffix if what == "median" else suffix, *cells]


def table(results, titles):
    """The whole of it as text.  (n×) is that many times Coppice's figure."""
    out = []
    for section, title in titles.items():
        rows = [row for row in results.rows() if row.section == section]
        if not rows:
            continue
        systems = systems_of(rows)
        lines = [[title, *systems], *_lines(_tests(rows), systems)]
        widths = [max(len(line[i]) for line in lines)
                  for i in range(len(lines[0]))]
        for line in lines:
            out.append("  ".join([line[0].ljust(widths[0])] + [
                cell.rjust(width)
                for cell, width in zip(line[1:], widths[1:])]).rstrip())
        out.insert(len(out) - len(lines) + 1,
                   "-" * (sum(widths) + 2 * len(widths) - 2))
        out.append("")
    if out:
        out.append("(n×): so many times Coppice's figure.")
    for what, why in results.left_out.items():
        out.append(f"left out: {what}: {why}")
    for failure in results.failures:
        out.append(f"failed: {failure}")
    return "\n".join(out) + "\n"


# ---- JSON -------------------------------------------------------------------

def as_json(results, about):
    return json.dumps({**about,
                       "rows": [row.as_json() for row in results.rows()],
                       "left_out": results.left_out,
                       "failures": results.failures}, indent=1) + "\n"


# ---- Pictures ---------------------------------------------------------------

def _group(found, systems, top, label):
    """The bars of one test; each test has a scale of its own."""
    most = max(row.median for row in found.values()) or 1
    room = WIDTH - LABEL - 90
    yield (f'<text x="{LABEL - 8}" y="{top + BAR - 2}" text-anchor="end">'
           f'{escape(label)}</text>')
    for row in found.values():
        colour = COLOURS[systems.index(row.system) % len(COLOURS)]
        width = max(1, room * row.median / most)
        yield (f'<rect x="{LABEL}" y="{top}" width="{width:.1f}" '
               f'height="{BAR - 2}" fill="{colour}"/>'
               f'<text x="{LABEL + width + 4:.1f}" y="{top + BAR - 3}">'
               f'{number(row.median)} {escape(row.unit)}</text>')
        top += BAR


def picture(rows, title):
    """Bars: a group a test, a colour a system."""
    systems = systems_of(rows)
    body, top = [f'<text x="10" y="20" font-size="15">{escape(title)}</text>'
                 ], 34
    for i, name in enumerate(systems):
        x, y = 10 + (i % 5) * 165, top + (i // 5) * 16
        body.append(f'<rect x="{x}" y="{y}" width="10" height="10" '
                    f'fill="{COLOURS[i % len(COLOURS)]}"/>'
                    f'<text x="{x + 14}" y="{y + 9}">{escape(name)}</text>')
    top += 16 * ((len(systems) + 4) // 5) + GAP
    for (test, mode), found in _tests(rows).items():
        label = f"{test}, {mode}" if mode else test
        body.extend(_group(found, systems, top, label))
        top += BAR * len(found) + GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
            f'height="{top}" font-family="sans-serif" font-size="10">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(body) + "\n</svg>\n")


def write(results, titles, about, out, json_file=None):
    """All files of a run; returns the table."""
    out.mkdir(parents=True, exist_ok=True)
    text = table(results, titles)
    (out / "table.txt").write_text(text)
    data = as_json(results, about)
    (out / "results.json").write_text(data)
    if json_file:
        json_file.write_text(data)
    sections = {row.section for row in results.rows()}
    for section, title in titles.items():
        if section in sections:
            name = re.sub(r"\W+", "-", section)
            (out / f"{name}.svg").write_text(picture(
                [row for row in results.rows() if row.section == section],
                title))
    return text
