"""The card of a model that is given away: what it does, how well, what it was made of, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opengato.checkpoint import Checkpoint

_FRONT = """---
library_name: opengato
license: apache-2.0
tags: [generalist-agent, gato, imitation-learning]
---
"""


_LIMITS = """It knows these tasks, their spaces and their simulators' versions, and nothing else. It imitates its demonstrations.
No robot has been moved by it, and it should move none without limits of speed and place."""


def model_card(name: str, checkpoint: Checkpoint, about: str, trained_with: str, scores: Mapping[str, Any] | None) -> str:
    """A card in Markdown.

    Args:
        name: of the weights. about: its first paragraph. trained_with: the commands that made it, "" where they are not known.
        scores: what `opengato eval --json` printed of these weights; None: not measured.
    """
    model, tasks = checkpoint.model, list(checkpoint.layouts)
    parts = [f"{_FRONT}# {name}", about, _use(name, tasks)]
    size, config = model.parameter_count(embeddings=False), model.config
    parts.append(
        f"{size:,} parameters outside the embeddings, {config.blocks} blocks {config.width} wide, family `{config.family}`; "
        f"{checkpoint.facts.get('steps', 0):,} steps; {len(tasks)} tasks."
    )
    if trained_with:
        parts.append(f"## How it was made\n\n```bash\n{trained_with.strip()}\n```")
    parts.append("## What it reaches\n\n" + (_table(scores) if scores else "Not measured."))
    parts.append(f"## Limits\n\n{_LIMITS}")
    return "\n\n".join(parts) + "\n"


def _use(name: str, tasks: list[str]) -> str:
    return f"```bash\nopengato play {name} {tasks[0]}\nopengato eval {name} --tasks {tasks[0]} --episodes 20\n```"


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
