"""Figures as SVG text: no plotting library, readable in light and dark."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from opengato.evaluation.score import THRESHOLDS, Share, TaskScore, scored, shares

PALETTE = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#a463f2", "#9c6b4e", "#97bbf5", "#3ca951")

COLOURS = """
:root{--ink:#1d2126;--muted:#6b7480;--rule:#dfe3e8;--paper:#fbfbfa;--card:#fff;--accent:#4269d0}
@media(prefers-color-scheme:dark){
:root{--ink:#e6e8eb;--muted:#98a1ad;--rule:#2e343c;--paper:#14171b;--card:#1b1f25;--accent:#8aa8f2}}
"""
STYLE = """
.figure{width:100%;height:auto;font-size:12.5px}.figure text{fill:var(--ink)}.figure text[fill]{fill:revert-layer}
.figure .muted{fill:var(--muted)}.figure .number{font-variant-numeric:tabular-nums}.figure .rule{stroke:var(--rule)}
.figure .name{font-size:10px;stroke:var(--paper);stroke-width:3;paint-order:stroke}
.figure .whisker{stroke:var(--ink);stroke-width:1.4;opacity:.65}.figure .ring{fill:var(--paper);stroke:var(--ink);stroke-width:1.4}
"""


def colour_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for every name, the same in every figure; beyond eight, hues that are equally far apart, light and dark in turns."""
    different = sorted(set(names))
    if len(different) <= len(PALETTE):
        return dict(zip(different, PALETTE))
    levels = [colorsys.hls_to_rgb(i / len(different), (0.42, 0.62)[i % 2], 0.62) for i in range(len(different))]
    return {name: "#" + "".join(f"{round(255 * part):02x}" for part in level) for name, level in zip(different, levels)}


def standalone(figure: str) -> str:
    """A figure as a file of its own: with its style, and what lies behind it."""
    behind = '<rect width="100%" height="100%" fill="var(--paper)"/>'
    style = f"<style>{COLOURS}{STYLE}.figure{{font-family:system-ui,sans-serif}}</style>"
    return figure.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace("</title>", f"</title>{style}{behind}", 1) + "\n"


def _svg(width: float, height: float, title: str, body: list[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title, quote=True)}" class="figure">'
        f"<title>{escape(title)}</title>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str = "start", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(text)}</text>'


def score_chart(scores: Sequence[TaskScore]) -> str:
    """A bar for every task between random (0%) and expert (100%), with its 95% interval, grouped by domain; a ring is its success.

    Tasks without references are left out; empty where there is no other.
    """
    rows = sorted(scored(scores), key=lambda s: (s.domain, -s.score))
    colours = colour_of([s.domain for s in rows])
    if not rows:
        return ""
    left, right, step, width = 230.0, 60.0, 24.0, 820.0
    low = min(0.0, *(min(s.score, s.ci_low) for s in rows))
    high = max(110.0, *(min(max(s.score, s.ci_high), 200.0) for s in rows))
    low = max(low, -50.0)

    def x(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * (width - left - right)

    height = 40 + step * len(rows) + 6 * len(colours)
    body, y, domain = [], 30.0, ""
    for mark, name in ((0, "random"), (50, "50%"), (100, "expert")):
        body.append(f'<line x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="24" y2="{height - 6:.1f}" class="rule"/>')
        body.append(_text(x(mark), 16, name, "middle", 'class="muted"'))
    for s in rows:
        if domain and s.domain != domain:
            y += 6
        domain = s.domain
        a, b = sorted((x(0), x(s.score)))
        body.append(_text(left - 10, y + 14, s.task, "end"))
        body.append(
            f'<rect x="{a:.1f}" y="{y + 3:.1f}" width="{max(b - a, 1):.1f}" height="{step - 8:.1f}" rx="2" fill="{colours[domain]}"/>'
        )
        body.append(f'<line x1="{x(s.ci_low):.1f}" x2="{x(s.ci_high):.1f}" y1="{y + 11:.1f}" y2="{y + 11:.1f}" class="whisker"/>')
        ends = [b, x(s.ci_high), x(0)]
        if s.whole.success is not None:
            ends.append(x(100 * s.whole.success) + 4)
            ring = f'cx="{x(100 * s.whole.success):.1f}" cy="{y + 11:.1f}" r="4"'
            body.append(f'<circle {ring} class="ring"><title>success {s.whole.success:.0%}</title></circle>')
        body.append(_text(max(ends) + 6, y + 15, f"{s.score:.0f}", "start", 'class="number"'))
        y += step
    return _svg(width, height, "Score of every task as a percentage of its expert", body)


def loss_chart(series: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """Lines of (step, loss), smoothed a little, each named at its end."""
    width, height, left, right, top, bottom = 820.0, 300.0, 46.0, 110.0, 12.0, 30.0
    series = {k: v for k, v in series.items() if len(v[0]) > 1}
    if not series:
        return ""
    last_step = max(max(x) for x, _ in series.values())
    top_loss = max(float(np.percentile(y, 98)) for _, y in series.values())
    colours = colour_of(list(series))

    def px(step: float) -> float:
        return left + step / last_step * (width - left - right)

    def py(loss: float) -> float:
        return top + (1 - min(loss, top_loss) / top_loss) * (height - top - bottom)

    body = []
    for tick in np.linspace(0, top_loss, 5):
        body.append(f'<line x1="{left}" x2="{width - right}" y1="{py(tick):.1f}" y2="{py(tick):.1f}" class="rule"/>')
        body.append(_text(left - 6, py(tick) + 4, f"{tick:.1f}", "end", 'class="muted number"'))
    body.append(_text(width - right, height - 8, f"step {last_step:,.0f}", "end", 'class="muted"'))
    ends: list[tuple[float, str]] = []
    for name, (steps, losses) in series.items():
        weight = np.ones(min(5, len(losses)))
        smooth = np.convolve(losses, weight, mode="same") / np.convolve(np.ones(len(losses)), weight, mode="same")
        points = " ".join(f"{px(s):.1f},{py(v):.1f}" for s, v in zip(steps, smooth))
        body.append(f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="1.8"/>')
        ends.append((py(float(smooth[-1])), name))
    ends.sort()
    for i in range(1, len(ends)):  # names that would overlap move down
        ends[i] = (max(ends[i][0], ends[i - 1][0] + 15), ends[i][1])
    for y, name in ends:
        body.append(_text(width - right + 8, float(y) + 4, str(name), "start", f'fill="{colours[str(name)]}"'))
    return _svg(width, height, "Training loss by domain", body)


def threshold_chart(scores: Sequence[TaskScore], share: Share = "score") -> str:
    """How many tasks reach each share of the expert, or of success, stacked by domain (paper, Figure 5); empty where none has it."""
    rows = shares(scores, share)
    if not rows:
        return ""
    colours = colour_of([domain for domain, _ in rows])
    width, left, top, bottom = 820.0, 46.0, 22.0, 34.0
    high = max(184.0, 17.0 * len(colours))  # of a bar of all tasks, and of the names beside it
    height = top + high + bottom
    right = max(150.0, 20 + 7.2 * max(map(len, colours)))  # of the names: of a letter some seven pixels
    bar = (width - left - right) / len(THRESHOLDS)
    body = []
    for part in (0.0, 0.5, 1.0):
        y = height - bottom - part * high
        body.append(f'<line x1="{left}" x2="{width - right:g}" y1="{y:.1f}" y2="{y:.1f}" class="rule"/>')
        body.append(_text(left - 6, y + 4, f"{part * len(rows):g}", "end", 'class="muted number"'))
    for i, threshold in enumerate(THRESHOLDS):
        y, x = height - bottom, left + i * bar + 4
        for domain, colour in colours.items():
            values = [value for of, value in rows if of == domain]
            if count := sum(value >= threshold for value in values):
                size = count / len(rows) * high
                y -= size
                about = f"<title>{escape(domain)}: {count} of {len(values)} at {threshold}% or more</title>"
                body.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar - 8:.1f}" height="{size:.2f}" fill="{colour}">{about}</rect>')
        body.append(_text(x + bar / 2 - 4, y - 5, str(sum(value >= threshold for _, value in rows)), "middle", 'class="number"'))
        body.append(_text(x + bar / 2 - 4, height - 14, f"{threshold}%", "middle", 'class="muted number"'))
    for i, (domain, colour) in enumerate(colours.items()):
        body.append(_text(width - right + 8, top + 10 + 17 * i, domain, "start", f'fill="{colour}"'))
    of = "the expert" if share == "score" else "success"
    return _svg(width, height, f"Number of tasks at or above each share of {of}", body)


def scatter_chart(points: np.ndarray, labels: Sequence[str], title: str) -> str:
    """Points (N, 2) of a map whose axes mean nothing, a colour a label, whose name stands over its points, too."""
    colours = colour_of(labels)
    side, margin, row = 560.0, 16.0, 16.0
    height = max(side, 2 * margin + row * len(colours))
    low, span = points.min(0), float(np.ptp(points, axis=0).max()) or 1.0
    at = margin + (points - low + (span - np.ptp(points, axis=0)) / 2) / span * (side - 2 * margin)
    body, names, of = [], [], np.array(labels)
    for i, (label, colour) in enumerate(colours.items()):
        own = at[of == label]
        circles = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in own)
        body.append(f'<g fill="{colour}" fill-opacity="0.75"><title>{escape(label)}</title>{circles}</g>')
        x, y = np.median(own[:, 0]), np.percentile(own[:, 1], 10)
        names.append(_text(float(x), max(float(y) - 8, 10), label.rpartition("/")[2], "middle", 'class="name"'))
        body.append(f'<circle cx="{side + 12:g}" cy="{margin + row * i:g}" r="4" fill="{colour}"/>')
        body.append(_text(side + 22, margin + row * i + 4, label))
    return _svg(820.0, height, title, body + names)
