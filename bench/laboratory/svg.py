# SPDX-License-Identifier: Apache-2.0
"""Pictures as SVG text: bars in small multiples, intervals around 1, lines over rates. Everything that is written is escaped,
every number has its unit in the title of its axis, and room for text is taken by its length."""

import math
from xml.sax.saxutils import escape

TEXT, FAINT, GRID = "#1b1b1b", "#4a4a4a", "#d9d9d9"
PALETTE = ["#1f6f8b", "#c0622d", "#5b8c3a", "#7d4f9e", "#8c6d1f", "#a83250", "#3f5fa8", "#2f7f6f", "#6b6b6b"]
VERDICT_COLOURS = {"wins": "#2e7d32", "ties": "#5f6368", "loses": "#b3261e", "undecided": "#b08900"}
CHARACTER = 6.9  # average width of one at 12 px, a little generous
ROW = 24


def text(x, y, words, anchor="start", colour=TEXT, size=12, weight="normal"):
    """With a white rim, so that lines behind it do not run through the letters."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}" font-weight="{weight}" '
            f'stroke="#ffffff" stroke-width="3" paint-order="stroke">{escape(words)}</text>')


def line(x1, y1, x2, y2, colour=GRID, width=1, dash=""):
    extra = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{extra}/>'


def document(width, height, title, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
            f'role="img" aria-label="{escape(title, {chr(34): "&quot;"})}" font-family="sans-serif">'
            f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>')


def label_width(labels):
    return max((len(l) for l in labels), default=0) * CHARACTER + 14


def number(value):
    """Three digits that count, thousands and millions by letter."""
    if value is None:
        return "none"
    for limit, unit, letter in ((999500, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / unit:.3g}{letter}" if value < 1000 * unit else f"{value / unit:,.0f}{letter}"
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 0.001:
        return f"{value:.3g}"
    return f"{value:.6f}".rstrip("0") if abs(value) >= 0.00001 else f"{value:.0e}"


def nice_ticks(high, count=4):
    if high <= 0:
        return [0, 1]
    rough = high / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    return [i * step for i in range(int(high / step + 1e-9) + 1)]


def bars(title, unit, rows, columns, values, colours, reference=None):
    """A row per label, a column per heading. values[row, column] is a Spread or None; the bar is the median, the line the middle half.
    Every column has a scale of its own. `reference`: draw a line at this value in every column."""
    left, top, gap = label_width(rows), 58, 18
    column_width = max(190, (1080 - left) / max(len(columns), 1) - gap)
    width, height = left + len(columns) * (column_width + gap), top + len(rows) * ROW + 46
    parts = [text(0, 18, title, size=15, weight="bold")]
    for i, label in enumerate(rows):
        parts.append(text(left - 8, top + i * ROW + 16, label, "end"))
    for c, heading in enumerate(columns):
        x0 = left + c * (column_width + gap)
        parts.append(text(x0, 44, heading, weight="bold"))
        parts += bar_column(x0, top, column_width, unit, rows, heading, values, colours, reference)
    return document(width, height, title, parts)


def bar_column(x0, top, width, unit, rows, heading, values, colours, reference):
    found = [values.get((row, heading)) for row in rows]
    high = max([v.high for v in found if v] + [reference or 0]) or 1
    room = width - 62  # for the number behind the longest bar
    scale = room / high
    bottom = top + len(rows) * ROW
    parts = []
    for tick in nice_ticks(high, 3):
        x = x0 + tick * scale
        parts += [line(x, top, x, bottom), text(x, bottom + 15, number(tick), "middle" if tick else "start", FAINT, 11)]
    parts.append(text(x0, bottom + 33, unit, "start", FAINT, 11))
    for i, (row, v) in enumerate(zip(rows, found)):
        y = top + i * ROW
        if v is None:
            parts.append(text(x0 + 4, y + 16, "not measured", colour=FAINT, size=11))
            continue
        parts.append(f'<rect x="{x0:.1f}" y="{y + 4:.1f}" width="{max(v.median * scale, 1):.1f}" height="{ROW - 9}" fill="{colours[row]}"/>')
        parts += [line(x0 + v.low * scale, y + 11.5, x0 + v.high * scale, y + 11.5, TEXT, 1.5)]
        parts.append(text(x0 + max(v.high, v.median) * scale + 5, y + 16, number(v.median)))
    if reference is not None:
        parts.append(line(x0 + reference * scale, top - 4, x0 + reference * scale, bottom, TEXT, 1, "4 3"))
    return parts


def intervals(title, unit, rows):
    """rows: (label, Spread of a ratio, verdict, name of the verdict). A point at the median, a line over the middle half; 1 in the middle
    of a logarithmic axis."""
    if not rows:
        return ""
    left, top, plot = label_width([r[0] for r in rows]), 40, 520
    widest = max([max(abs(math.log2(max(r[1].low, 1e-3))), abs(math.log2(max(r[1].high, 1e-3)))) for r in rows] + [0.15]) * 1.08
    bottom, middle = top + len(rows) * ROW, left + plot / 2

    def at(ratio):
        return middle + math.log2(max(ratio, 1e-3)) / widest * plot / 2

    parts = [text(0, 18, title, size=15, weight="bold")]
    for tick in ratio_ticks(2 ** widest):
        strong = tick == 1
        parts += [line(at(tick), top, at(tick), bottom, TEXT if strong else GRID, 1.5 if strong else 1),
                  text(at(tick), bottom + 15, f"{tick:.4g}", "middle", FAINT, 11)]
    parts.append(text(left, bottom + 33, unit, "start", FAINT, 11))
    for i, (label, v, verdict, words) in enumerate(rows):
        y, colour = top + i * ROW + 12, VERDICT_COLOURS[verdict]
        parts += [text(left - 8, y + 4, label, "end"), line(at(v.low), y, at(v.high), y, colour, 3),
                  f'<circle cx="{at(v.median):.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>',
                  text(left + plot + 14, y + 4, f"{v.median:.2f}  {words}", colour=colour, weight="bold")]
    return document(left + plot + 14 + label_width(["0.00  " + r[3] for r in rows]), bottom + 46, title, parts)


def ratio_ticks(widest):
    steps = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 100]
    step = next((s for s in steps if (widest - 1) / s <= 4), 1000)
    above = [1 + i * step for i in range(1, 5) if 1 + i * step <= widest]
    # The same distances below 1, as far as they are to be written apart.
    below = [round(1 / a, 4) for a in above] if step >= 0.5 else [round(1 - i * step, 4) for i in range(1, 5) if 1 - i * step >= 1 / widest]
    return sorted(below) + [1] + above


def lines(title, unit, series, columns, points, colours):
    """A panel per column, its values over the x of points[series, column] = [(x text, Spread or None)]; a logarithmic axis that all share."""
    found = [v for p in points.values() for _, v in p if v and v.median > 0]
    if not found:
        return ""
    low = math.floor(math.log10(min(v.low for v in found if v.low > 0)))
    high = max(math.ceil(math.log10(max(v.high for v in found))), low + 1)
    left, top, tall, gap = 62, 84, 230, 46
    panel = (1080 - left) / max(len(columns), 1) - gap
    bottom = top + tall

    def at(value):
        return bottom - (math.log10(max(value, 10 ** low)) - low) / (high - low) * tall

    parts = [text(0, 18, title, size=15, weight="bold")]
    x = 0.0
    for name in series:
        parts += [line(x, 40, x + 22, 40, colours[name], 3), text(x + 28, 44, name)]
        x += 28 + label_width([name]) + 12
    for c, heading in enumerate(columns):
        x0 = left + c * (panel + gap)
        parts += [text(x0, 72, heading, weight="bold")]
        for power in range(low, high + 1):
            y = at(10 ** power)
            parts += [line(x0, y, x0 + panel, y)]
            if c == 0:
                parts.append(text(x0 - 8, y + 4, number(10 ** power), "end", FAINT, 11))
        parts += line_panel(x0, bottom, panel, series, heading, points, colours, at)
    parts.append(text(0, bottom + 46, unit, "start", FAINT, 11))
    return document(1080, bottom + 58, title, parts)


def line_panel(x0, bottom, panel, series, heading, points, colours, at):
    parts, labels = [], []
    for name in series:
        given = points.get((name, heading), [])
        step = panel / max(len(given), 1)
        labels = labels or [label for label, _ in given]
        path = [(x0 + (i + 0.5) * step, v) for i, (_, v) in enumerate(given) if v and v.median > 0]
        if len(path) > 1:
            joined = " ".join(f"{x:.1f},{at(v.median):.1f}" for x, v in path)
            parts.append(f'<polyline points="{joined}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        for x, v in path:
            parts += [line(x, at(v.low), x, at(v.high), colours[name], 1.5),
                      f'<circle cx="{x:.1f}" cy="{at(v.median):.1f}" r="4" fill="{colours[name]}"/>']
    for i, label in enumerate(labels):
        parts.append(text(x0 + (i + 0.5) * panel / len(labels), bottom + 18, label, "middle", FAINT, 11))
    return parts
