"""The command that lets an expert correct its student: dagger."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from opengato.cli.app import command
from opengato.runs import recorded


@command
def dagger(
    task: Positional[list[str]],
    rounds: int = 3,
    demonstrations: int = 100,
    corrections: int = 50,
    seconds: float = 300.0,
    beta: float = 0.0,
    evaluation: int = 50,
    budget: float | None = None,
    recipe: str = "swift-nano",
    seed: int = 0,
    workers: int | None = None,
    out: Path = Path("runs/dagger"),
) -> None:
    """Rounds of corrections: the student acts, the expert labels its states, the student learns from all of it. Finished stages are kept.

    Args:
        task: ids, domains or patterns.
        rounds: of corrections, after a first training on demonstrations alone.
        demonstrations: episodes of each task before the first round.
        corrections: episodes of each task in every round.
        seconds: of training in every round, and before the first.
        beta: chance, at every timestep, that the expert's action is executed in place of the student's.
        evaluation: episodes of each task after every round.
        budget: seconds of all stages together, after which no new round begins.
        recipe: of the model and its training, see `train --list`.
        seed: of everything random.
        workers: processes; default: one a core.
        out: folder of the data and the rounds; the last round's `train/checkpoint` is the agent.
    """
    arguments = dict(locals())
    from opengato.dagger import Rounds
    from opengato.dagger import dagger as run
    from opengato.domains import match_tasks

    plan = Rounds(rounds, demonstrations, corrections, seconds, beta, evaluation, budget, recipe, seed, workers)
    with recorded(out, "dagger", arguments):
        results = run(match_tasks(task, with_expert=True), plan, out)
    for result in results:
        for name, score in result["scores"].items():
            told = f"score {score['score']:.1f}%" if score["score"] is not None else f"return {score['return']:.4g}"
            print(f"round {result['round']}  {name:32} {told}  {result['seconds']:.0f} s")
    print(f"the agents are in {out}/round-N/train/checkpoint")
