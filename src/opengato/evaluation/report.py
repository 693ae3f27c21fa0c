"""The report: one HTML file that holds everything."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from opengato.evaluation.figures import loss_chart, score_chart, threshold_chart
from opengato.evaluation.score import TaskScore, describe_failures, number, scored

# ruff: noqa: E501
_STYLE = """
:root{--ink:#1d2126;--muted:#6b7480;--rule:#dfe3e8;--paper:#fbfbfa;--card:#fff;--accent:#4269d0}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--muted:#98a1ad;--rule:#2e343c;--paper:#14171b;--card:#1b1f25;--accent:#8aa8f2}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:900px;margin:0 auto;padding:48px 24px 96px}h1{font-size:30px;margin:0 0 4px}h2{font-size:19px;margin:48px 0 12px}
.lead{display:flex;gap:40px;flex-wrap:wrap;margin:28px 0}.lead b{display:block;font-size:40px;line-height:1.1;font-variant-numeric:tabular-nums}
.lead span,.muted{color:var(--muted)}table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th{font-weight:500;color:var(--muted);text-align:right;border-bottom:1px solid var(--rule);padding:4px 8px}td{text-align:right;padding:4px 8px;
border-bottom:1px solid var(--rule)}th:first-child,td:first-child{text-align:left;padding-left:0}
.figure{width:100%;height:auto;font-size:12.5px}.figure text{fill:var(--ink)}.figure text[fill]{fill:revert-layer}.figure .muted{fill:var(--muted)}
.figure .number{font-variant-numeric:tabular-nums}.figure .rule{stroke:var(--rule)}.figure .whisker{stroke:var(--ink);stroke-width:1.4;opacity:.65}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:18px}figure{margin:0}
figure video{width:100%;border-radius:6px;background:#000;display:block}figcaption{font-size:13px;color:var(--muted);margin-top:4px}
.small{grid-template-columns:repeat(auto-fill,minmax(130px,1fr))}.small img{width:64px;height:64px;border-radius:6px;image-rendering:auto;background:#fff}
.said{color:var(--ink)}blockquote{margin:0 0 14px;padding:10px 14px;background:var(--card);border:1px solid var(--rule);border-radius:6px;white-space:pre-wrap}
dl{display:grid;grid-template-columns:200px 1fr;gap:4px 16px;font-size:14px}dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
"""


def _table(scores: Sequence[TaskScore]) -> str:
    rows = "".join(
        f"<tr><td>{escape(s.task)}</td><td>{number(s.score, '.1f')}</td><td>{number(s.ci_low, '.0f')} … {number(s.ci_high, '.0f')}</td>"
        f"<td>{s.mean_return:.4g}</td><td>{number(s.random, '.4g')}</td><td>{number(s.expert, '.4g')}</td><td>{number(s.success, '.0%')}</td><td>{s.n}</td></tr>"
        for s in scores
    )
    return (
        "<table><tr><th>task</th><th>score %</th><th>95% interval</th><th>return</th><th>random</th><th>expert</th><th>success</th><th>episodes</th></tr>"
        f"{rows}</table>"
    )


def _failures(failed: Mapping[str, Mapping[int, str]]) -> str:
    """The episodes that did not finish, of which the scores know nothing."""
    if not failed:
        return ""
    rows = "".join(f"<dt>{escape(task)}</dt><dd>seed {escape(describe_failures(seeds))}</dd>" for task, seeds in failed.items())
    return f"<p>Episodes that failed twice and are in no score:</p><dl>{rows}</dl>"


def _data(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def write_report(
    path: Path,
    *,
    title: str,
    scores: Sequence[TaskScore],
    losses: Sequence[Mapping[str, Any]],
    videos: Mapping[str, bytes],
    captions: Sequence[Mapping[str, Any]],
    texts: Sequence[Mapping[str, str]],
    facts: Mapping[str, str],
    unscored: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Write one self-contained HTML file.

    Args:
        losses: rows of the training log. videos: task -> MP4.
        captions: [{"png": bytes, "said": str, "truth": str}]. texts: [{"prompt": str, "said": str}]. facts: name -> value, shown last.
        unscored: task -> (seed -> reason) of tasks of which no episode finished.
    """
    percents = scored(scores)
    mean = number(sum(s.counted for s in percents) / len(percents) if percents else None, ".0f")
    names = sorted({key for row in losses for key in row if key.startswith("loss/")})
    series = {n.removeprefix("loss/"): ([r["step"] for r in losses if n in r], [r[n] for r in losses if n in r]) for n in names}
    above = sum(s.score > 0 for s in percents)
    parts = [
        f"<h1>{escape(title)}</h1><div class=muted>One network, one set of weights, every task below.</div>",
        f"<div class=lead><div><b>{mean}%</b><span>of the expert, mean over {len(percents)} control tasks, each counted at most 100</span></div>"
        f"<div><b>{sum(s.score >= 50 for s in percents)}</b><span>tasks at half the expert or better</span></div>"
        f"<div><b>{above}/{len(percents)}</b><span>tasks above the random agent</span></div></div>",
        "<h2>Scores</h2><p class=muted>0 is the random agent, 100 the expert that made the demonstrations; lines are 95% intervals over episodes.</p>",
        score_chart(scores),
        _table(scores),
        _failures({**{s.task: s.failed for s in scores if s.failed}, **(unscored or {})}),
        "<h2>Tasks at or above each share of the expert</h2>",
        threshold_chart(scores),
    ]
    if videos:
        parts.append(
            "<h2>The agent at work</h2><div class=grid>"
            + "".join(
                f'<figure><video src="{_data("video/mp4", video)}" autoplay loop muted playsinline controls></video><figcaption>{escape(task)}</figcaption></figure>'
                for task, video in videos.items()
            )
            + "</div>"
        )
    if captions:
        parts.append(
            "<h2>Captions</h2><p class=muted>What the agent says, and below it the picture's name. Held-out pictures were never seen in "
            "training.</p><div class='grid small'>"
            + "".join(
                f'<figure><img alt="{escape(c["truth"], quote=True)}" src="{_data("image/png", c["png"])}"><figcaption><span class=said>{escape(c["said"])}</span>'
                f"<br>{escape(c['truth'])}</figcaption></figure>"
                for c in captions
            )
            + "</div>"
        )
    if texts:
        parts.append(
            "<h2>Text</h2>"
            + "".join(f"<blockquote><span class=muted>{escape(t['prompt'])}</span>{escape(t['said'])}</blockquote>" for t in texts)
        )
    chart = loss_chart(series)
    if chart:
        parts.append("<h2>Training loss by domain</h2>" + chart)
    parts.append(
        "<h2>How this was made</h2><dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()) + "</dl>"
    )
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><main>{''.join(parts)}</main></html>"
    )
    path.write_text(page, encoding="utf-8")
