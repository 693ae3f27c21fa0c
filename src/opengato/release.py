"""The card of a model that is given away: what it does, how well, what it was made of and how, and what it cannot do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opengato.checkpoint import Checkpoint
from opengato.hub import CARD
from opengato.licences import origin_of
from opengato.tokens.layout import Layout
from opengato.word_tasks import picture_tasks, talk_tasks, text_tasks

_FRONT = """---
library_name: opengato
license: apache-2.0
tags: [generalist-agent, gato, imitation-learning]
---
"""


_LIMITS = """It knows these tasks, their spaces and their simulators' versions, and nothing else. It imitates its demonstrations, and is no
better where they are bad. No robot has been moved by it, and it should move none without limits of speed and place."""
_WORDS = "What it writes is the style of the texts that it was trained on: nothing of it is to be relied upon, and nothing filters it."

_SETTINGS = (
    *("batch", "seed", "steps", "seconds"),
    *("optimiser.kind", "optimiser.learning_rate", "optimiser.weight_decay", "optimiser.warmup", "optimiser.schedule"),
)


def write(
    folder: Path,
    checkpoint: Checkpoint,
    about: str,
    trained_with: str = "",
    scores: Mapping[str, Any] | None = None,
    licences: Mapping[str, str] | None = None,
    words: Sequence[Mapping[str, Any]] | None = None,
    bits: int = 16,
) -> None:
    """A checkpoint as it is given away, with its card. `bits`: of a weight, see `Checkpoint.save`; the others: see `model_card`."""
    checkpoint.save(folder, bits)
    (folder / CARD).write_text(model_card(folder.name, checkpoint, about, trained_with, scores, licences, words))


def model_card(
    name: str,
    checkpoint: Checkpoint,
    about: str,
    trained_with: str,
    scores: Mapping[str, Any] | None,
    licences: Mapping[str, str] | None = None,
    words: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """A card in Markdown.

    Args:
        name: of the weights. about: its first paragraph. trained_with: the commands that made it, "" where they are not known.
        scores: what `opengato eval --json` printed of these weights; None: not measured.
        licences: domain -> licence of its data, in place of what the installed packages say.
        words: rows of what its words are worth, as `opengato words --json` prints them.
    """
    model, tasks = checkpoint.model, list(checkpoint.layouts)
    parts = [f"{_FRONT}# {name}", about, _use(name, checkpoint.layouts)]
    size, config = model.parameter_count(embeddings=False), model.config
    parts.append(
        f"{size:,} parameters outside the embeddings, {config.blocks} blocks {config.width} wide, family `{config.family}`; "
        f"{checkpoint.facts.get('steps', 0):,} steps; {len(tasks)} tasks."
    )
    parts.append("## Data\n\n" + _data(checkpoint, licences or {}))
    if recipe := _recipe(checkpoint, trained_with):
        parts.append(f"## How it was made\n\n{recipe}")
    reached = [_table(scores)] if scores else []
    reached += [_word_table(words)] if words else []
    parts.append("## What it reaches\n\n" + ("\n\n".join(reached) or "Not measured."))
    parts.append("## Limits\n\n" + " ".join(_limits(checkpoint, scores)))
    return "\n\n".join(parts) + "\n"


def _use(name: str, layouts: Mapping[str, Layout]) -> str:
    said = {*picture_tasks(layouts, question=False), *picture_tasks(layouts, question=True), *talk_tasks(layouts), *text_tasks(layouts)}
    done = [task for task in layouts if task not in said]
    lines = [f"opengato play {name} {done[0]}", f"opengato eval {name} --tasks {done[0]} --episodes 20"] if done else []
    lines += [f"opengato caption {name} picture.png"] if picture_tasks(layouts, question=False) else []
    lines += [f'opengato ask {name} picture.png "what is it?"'] if picture_tasks(layouts, question=True) else []
    lines += [f"opengato chat {name}"] if talk_tasks(layouts) else []
    return "```bash\n" + "\n".join(lines) + "\n```"


def _data(checkpoint: Checkpoint, licences: Mapping[str, str]) -> str:
    """A row for every domain: its tasks, what was trained on, where that comes from, and under which licence."""
    by_domain: dict[str, list[str]] = defaultdict(list)
    for task in checkpoint.layouts:
        by_domain[task.split("/")[0]].append(task)
    counts = checkpoint.facts.get("data", {})
    rows = ["| domain | tasks | episodes | timesteps | by | data | licence |", "|---|---|---|---|---|---|---|"]
    for domain, tasks in by_domain.items():
        known = [counts[task] for task in tasks if task in counts]
        episodes, timesteps = (f"{sum(found[key] for found in known):,}" if known else "" for key in ("episodes", "timesteps"))
        agents = ", ".join(sorted({agent for found in known for agent in found["by"]}))
        origins = dict.fromkeys(origin_of(task) for task in tasks)
        licence = licences.get(domain) or ", ".join(sorted({said for _, said in origins if said})) or "not stated"
        names = ", ".join(f"`{task.split('/', 1)[1]}`" for task in tasks)
        what = ", ".join(dict.fromkeys(origin for origin, _ in origins))
        rows.append(f"| {domain} | {names} | {episodes} | {timesteps} | {agents} | {what} | {licence} |")
    return "\n".join(rows)


def _recipe(checkpoint: Checkpoint, trained_with: str) -> str:
    facts = checkpoint.facts
    parts = [f"```bash\n{trained_with.strip()}\n```"] if trained_with else []
    if "train" in facts:
        settings = {**facts["train"], **{f"optimiser.{name}": value for name, value in facts["train"]["optimiser"].items()}}
        parts.append("; ".join(f"{name} {settings[name]}" for name in _SETTINGS if settings.get(name) is not None) + ".")
    if "versions" in facts:
        parts.append("With " + ", ".join(f"{name} {version}" for name, version in facts["versions"].items()) + ".")
    return "\n\n".join(parts)


def _limits(checkpoint: Checkpoint, scores: Mapping[str, Any] | None) -> list[str]:
    parts = [_LIMITS]
    if any(any(field.count is None for field in layout.action) for layout in checkpoint.layouts.values()):
        parts.append(_WORDS)
    found = scores["tasks"] if scores else {}
    if weak := [task for task, score in found.items() if score.get("success") is not None and score["success"] < 0.5]:
        parts.append(f"It fails more often than not at {', '.join(weak)}.")
    if low := [task for task, score in found.items() if score.get("score") is not None and score["score"] < 50 and task not in weak]:
        parts.append(f"It is nearer to a random agent than to the expert at {', '.join(low)}.")
    if untold := [task for task in checkpoint.layouts if task not in found] if scores else []:
        parts.append(f"Not measured: {', '.join(untold)}.")
    return parts


def _word_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| held out | who | of | |", "|---|---|---|---|"]
    for row in rows:
        scores = ", ".join(f"{name} {value:.3g}" for name, value in row["scores"].items())
        lines.append(f"| {row['dataset']} | {row['who']} | {row['count']} | {scores} |")
    return "\n".join(lines)


def _table(scores: Mapping[str, Any]) -> str:
    rows = ["| task | success | score | return | n |", "|---|---|---|---|---|"]
    for task, found in scores["tasks"].items():
        success = "" if found.get("success") is None else f"{found['success']:.0%}"
        score = "" if found.get("score") is None else f"{found['score']:.0f}"
        rows.append(f"| `{task}` | {success} | {score} | {found.get('return') or 0:.4g} | {found['n']} |")
    means = [
        f"mean success {scores['mean_success']:.1%}" if scores.get("mean_success") is not None else "",
        f"mean score {scores['mean_score']:.1f}% of the expert, each task counted at most 100"
        if scores.get("mean_score") is not None
        else "",
    ]
    return "\n".join(rows) + "\n\n" + "; ".join(part for part in means if part) + "."
