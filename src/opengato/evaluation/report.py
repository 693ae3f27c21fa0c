"""The report: one HTML file that holds everything."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from opengato.evaluation.figures import COLOURS, STYLE, loss_chart, score_chart, threshold_chart
from opengato.evaluation.language import Row
from opengato.evaluation.score import (
    BEATEN,
    SCORED_BY_SUCCESS,
    TaskScore,
    describe_failures,
    mean_intervals,
    number,
    scored,
    spread,
    summarise,
)

# ruff: noqa: E501
_STYLE = (
    f"{COLOURS}{STYLE}"
    + """*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:900px;margin:0 auto;padding:48px 24px 96px}h1{font-size:30px;margin:0 0 4px}h2{font-size:19px;margin:48px 0 12px}
.lead{display:flex;gap:40px;flex-wrap:wrap;margin:28px 0}.lead b{display:block;font-size:40px;line-height:1.1;font-variant-numeric:tabular-nums}
.lead span,.muted{color:var(--muted)}table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th{font-weight:500;color:var(--muted);text-align:right;border-bottom:1px solid var(--rule);padding:4px 8px}td{text-align:right;padding:4px 8px;
border-bottom:1px solid var(--rule)}th:first-child,td:first-child{text-align:left;padding-left:0}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:18px}figure{margin:0}
figure video{width:100%;border-radius:6px;background:#000;display:block}figcaption{font-size:13px;color:var(--muted);margin-top:4px}
.small{grid-template-columns:repeat(auto-fill,minmax(130px,1fr))}.small img{width:64px;height:64px;border-radius:6px;image-rendering:auto;background:#fff}
.said{color:var(--ink)}blockquote{margin:0 0 14px;padding:10px 14px;background:var(--card);border:1px solid var(--rule);border-radius:6px;white-space:pre-wrap}
dl{display:grid;grid-template-columns:200px 1fr;gap:4px 16px;font-size:14px}dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
"""
)


@dataclass(frozen=True)
class Voice:
    """What an agent says, under a heading and a remark.

    Attributes:
        captions, answers: {"png": bytes, "said": str, "truth": str} of pictures, and of questions about them, whose `truth` begins with the
            question. texts: {"prompt": str, "said": str}.
    """

    heading: str
    about: str
    captions: Sequence[Mapping[str, Any]] = ()
    answers: Sequence[Mapping[str, Any]] = ()
    texts: Sequence[Mapping[str, str]] = ()


def _voice(voice: Voice) -> str:
    pictures = [*voice.captions, *voice.answers]
    if not (pictures or voice.texts):
        return ""
    figures = "".join(
        f'<figure><img alt="{escape(c["truth"], quote=True)}" src="{_data("image/png", c["png"])}"><figcaption><span class=said>{escape(c["said"])}</span>'
        f"<br>{escape(c['truth'])}</figcaption></figure>"
        for c in pictures
    )
    texts = "".join(f"<blockquote><span class=muted>{escape(t['prompt'])}</span>{escape(t['said'])}</blockquote>" for t in voice.texts)
    return (
        f"<h2>{escape(voice.heading)}</h2><p class=muted>{escape(voice.about)}</p>"
        + (f"<div class='grid small'>{figures}</div>" if figures else "")
        + texts
    )


def _word_table(rows: Sequence[Row]) -> str:
    """Of every dataset who was scored, and how; the simplest writers, who are the same beside every agent, once."""
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td>{escape(dataset)}</td><td>{escape(who)}</td><td>{count}</td><td>{escape(', '.join(f'{name} {value:.3g}' for name, value in scores))}</td></tr>"
        for dataset, who, count, scores in dict.fromkeys((r.dataset, r.who, r.count, tuple(r.scores.items())) for r in rows)
    )
    return f"<h2>Words about pictures that were never seen</h2><table><tr><th>data</th><th>who</th><th>of</th><th>scores</th></tr>{cells}</table>"


def _table(scores: Sequence[TaskScore]) -> str:
    rows = "".join(
        f"<tr><td>{escape(s.label)}</td><td>{number(s.score, '.1f')}</td><td>{spread((s.ci_low, s.ci_high), '.0f')}</td>"
        f"<td>{number(s.success, '.0%')}</td><td>{spread(s.success_interval, '.0%')}</td>"
        f"<td>{s.mean_return:.4g}</td><td>{number(s.random, '.4g')}</td><td>{number(s.expert, '.4g')}</td>"
        f"<td>{s.n}</td><td>{number(s.starts, 'd')}</td><td>{number(s.seen, '.0%')}</td></tr>"
        for s in scores
    )
    return (
        "<table><tr><th>task</th><th>score %</th><th>95% interval</th><th>success</th><th>95% interval</th><th>return</th><th>random</th><th>expert</th>"
        f"<th>episodes</th><th>starts</th><th>seen</th></tr>{rows}</table>"
    )


def _remarks(scores: Sequence[TaskScore]) -> str:
    """What a reader should know before trusting a score."""
    rows = [f"{s.task} has no score: {s.unmeasurable}." for s in scores if s.unmeasurable]
    rows += [
        f"{s.task}: the agent beats its expert by half, which is a poor measure of it then." for s in scored(scores) if s.score > BEATEN
    ]
    rows += [f"{s.task}: {SCORED_BY_SUCCESS}." for s in scores if s.by_success]
    rows += [f"{s.task}: {s.seen:.0%} of the episodes began as episodes that the agent was trained on." for s in scores if s.seen]
    return "".join(f"<p>{escape(row)}</p>" for row in rows)


def _failures(failed: Mapping[str, Mapping[int, str]], mean: float | None) -> str:
    """The episodes that did not finish, of which the scores know nothing; `mean`: the score that counts them."""
    if not failed:
        return ""
    rows = "".join(f"<dt>{escape(task)}</dt><dd>seed {escape(describe_failures(seeds))}</dd>" for task, seeds in failed.items())
    beside = "" if mean is None else f"; with them as the random agent, the mean score is {mean:.0f}%"
    return f"<p>Episodes that failed twice and are in no score{beside}:</p><dl>{rows}</dl>"


def _data(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def write_report(
    path: Path,
    *,
    title: str,
    scores: Sequence[TaskScore],
    losses: Sequence[Mapping[str, Any]],
    videos: Mapping[str, bytes],
    voices: Sequence[Voice],
    facts: Mapping[str, str],
    unscored: Mapping[str, Mapping[int, str]] | None = None,
    words: Sequence[Row] = (),
) -> None:
    """Write one self-contained HTML file.

    Args:
        losses: rows of the training log. videos: task -> MP4.
        voices: what agents say, in this order. words: how their words were scored. facts: name -> value, shown last.
        unscored: task -> (seed -> reason) of tasks of which no episode finished.
    """
    percents = scored(scores)
    found = summarise(scores, unscored) if scores else {"mean_score": None, "mean_success": None, "mean_score_failures_as_random": None}
    over_tasks, over_episodes = mean_intervals(scores) if percents else (None, None)
    names = sorted({key for row in losses for key in row if key.startswith("loss/")})
    series = {n.removeprefix("loss/"): ([r["step"] for r in losses if n in r], [r[n] for r in losses if n in r]) for n in names}
    above = sum(s.score > 0 for s in percents)
    parts = [
        f"<h1>{escape(title)}</h1><div class=muted>One network, one set of weights, every task below.</div>",
        f"<div class=lead><div><b>{number(found['mean_score'], '.0f')}%</b><span>of the expert, mean over {len(percents)} control tasks, each counted at most 100</span></div>"
        f"<div><b>{number(found['mean_success'], '.0%')}</b><span>success, mean over {sum(s.success is not None for s in scores)} tasks that define it</span></div>"
        f"<div><b>{sum(s.score >= 50 for s in percents)}</b><span>tasks at half the expert or better</span></div>"
        f"<div><b>{above}/{len(percents)}</b><span>tasks above the random agent</span></div></div>",
        "<h2>Scores</h2><p class=muted>0 is the random agent, 100 the expert that made the demonstrations; lines are 95% intervals, rings the share of "
        f"successes. The mean's 95% interval: {spread(over_tasks, '.0f')} over tasks and episodes, {spread(over_episodes, '.0f')} for these tasks alone; "
        f"unclipped mean {number(found.get('mean_score_unclipped'), '.0f')}, interquartile mean {number(found.get('interquartile_mean'), '.0f')}.</p>",
        score_chart(scores),
        _table(scores),
        _remarks(scores),
        _failures({**{s.task: s.failed for s in scores if s.failed}, **(unscored or {})}, found["mean_score_failures_as_random"]),
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
    parts += [_word_table(words), *map(_voice, voices)]
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
