"""The command that goes the whole road: demo."""

from __future__ import annotations

from pathlib import Path

from opengato.cli.app import command
from opengato.runs import recorded


@command
def demo(minutes: float = 15.0, out: Path = Path("demo"), seed: int = 0) -> None:
    """The whole road: collect from experts, train one network on all of it, evaluate, write a report. Finished stages are kept.

    Args:
        minutes: how long it may take on two cores.
        out: folder of the data, the checkpoint, scores.json and report.html.
        seed: of everything random.
    """
    arguments = dict(locals())
    from opengato.demo import demo as run

    with recorded(out, "demo", arguments):
        run(minutes, out, seed)
