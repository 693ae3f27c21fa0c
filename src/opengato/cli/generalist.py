"""The command that makes one agent of everything: generalist."""

from __future__ import annotations

import os
from pathlib import Path

from opengato.cli.app import command
from opengato.runs import recorded


@command
def generalist(
    hours: float = 8.0,
    cores: int | None = None,
    disk: float = 20.0,
    rounds: int = 1,
    domains: list[str] | None = None,
    recipe: str = "swift-tiny",
    data: tuple[str, ...] = (),
    out: Path = Path("generalist"),
    seed: int = 0,
    plan: bool = False,
    demonstrations_only: bool = False,
) -> None:
    """One network for every domain that has quick experts, and for words: collect, train, evaluate, correct, report, within a budget.

    It says first what the budget buys. Interrupted, it goes on where it stopped; with more --rounds it goes on from the last one, with more
    data of what that one's agent has not solved: demonstrations, and once there are enough of those, corrections of what it does.

    Args:
        hours: of one round, on the clock.
        cores: that collect and evaluate; default: all.
        disk: GB that the demonstrations may take.
        rounds: in all, those that are finished included; the first has demonstrations, the others more of them, and corrections.
        domains: those to take; default: all of the generalist's list.
        recipe: of the model and its training, see `train --list`.
        data: of texts, captions, questions, pages and talk, as for `train`; default: what comes along.
        out: folder of the data, the training, a folder a round with its checkpoint and scores.json, and report.html.
        seed: of everything random.
        plan: say what the budget buys, and do nothing.
        demonstrations_only: end with the demonstrations of the last round, to train on them elsewhere (`tokenize --pack`).
    """
    arguments = dict(locals())
    from opengato.generalist.plan import Budget
    from opengato.generalist.plan import plan as plan_of

    budget = Budget(hours, cores or os.cpu_count() or 1, disk)
    bought = plan_of(budget, domains=domains)
    print("\n".join(bought.lines()), flush=True)
    if plan:
        return
    from opengato.generalist.run import generalist as run

    with recorded(out, "generalist", arguments):
        words = {"data": data} if data else {}
        found = run(bought, budget, out, rounds=rounds, recipe=recipe, seed=seed, demonstrations_only=demonstrations_only, **words)
    if found is None:
        print(out / "data")
        return
    half = found["count_at_or_above"]["50"]
    print(f"mean score {found['mean_score']:.1f}% of the expert; {half} of {len(found['tasks'])} tasks at half of it or better")
    print(out / "report.html")
