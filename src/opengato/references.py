"""Reference scores: the random agent's and the expert's returns, measured by the code that records episodes.

Many tasks go in one run, on all workers. Every finished episode is kept as a line of a file of its task, so that a run that was interrupted
goes on where it stopped, and as what it was measured with changes, it is measured anew.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import gymnasium as gym

from opengato.atomic import write_text
from opengato.collection import record_episode
from opengato.console import progress
from opengato.domains.task import Expert, Reference, Task, reference_scores
from opengato.errors import OpenGatoError
from opengato.jobs import TIMEOUT_S, Begun, Done, Job, Result, Workers

FIRST_SEED = 10_000
RANDOM_EPISODES = 50
_JOB = 5  # episodes of a job

Row = dict[str, Any]  # of an episode: agent, seed, return, length, success, seconds (of a processor)


def expert_episodes(seconds: float) -> int:
    """How many episodes of an expert are measured, one of which takes so many seconds of a processor."""
    return 20 if seconds < 5 else 10 if seconds < 60 else 5


class RandomAgent:
    """Draws every action uniformly from the action space, seeded by the episode."""

    def reset(self, env: gym.Env, observation: Any, seed: int) -> None:
        self._space = env.action_space
        self._space.seed(seed)

    def act(self, observation: Any) -> Any:
        return self._space.sample()


def _episodes(task: Task, agent: str, seeds: tuple[int, ...]) -> Iterator[Begun | Done]:
    """The work of a measuring process: a row an episode."""
    yield Begun(seeds[0])  # making them is part of it
    env = task.make()
    acting: Expert = RandomAgent()
    if agent == "expert":
        assert task.make_expert is not None
        acting = task.make_expert()
    try:
        for seed in seeds:
            yield Begun(seed)
            begun = time.process_time()
            episode = record_episode(task, env, acting, seed)[0]
            took = round(time.process_time() - begun, 3)
            row: Row = {"agent": agent, "seed": seed, "return": episode.episode_return, "length": len(episode)}
            yield Done(seed, row | {"success": episode.success, "seconds": took})
    finally:
        env.close()


@dataclass(frozen=True)
class Counts:
    """How many episodes of each agent; `expert` None: as its first one tells, see `expert_episodes`."""

    random: int = RANDOM_EPISODES
    expert: int | None = None

    def __post_init__(self) -> None:
        if min(self.random, 1 if self.expert is None else self.expert) < 1:
            raise OpenGatoError(f"episodes is {self.random} and expert_episodes {self.expert}: measure 1 or more of each")


class _Measuring:
    """What one task has and still needs. `kept`: the file of its episodes; None: they are kept in memory alone."""

    def __init__(self, task: Task, counts: Counts, seed: int, kept: Path | None):
        if task.make_expert is None:
            raise OpenGatoError(f"task {task.id!r} has no expert: there is nothing to measure a score against")
        if not task.available:
            task.make()  # says which extra is missing
        self.task, self.counts, self.seed, self.kept = task, counts, seed, kept
        self.rows: dict[tuple[str, int], Row] = {}
        self.failures: dict[tuple[str, int], str] = {}
        self._given: set[tuple[str, int]] = set()
        if kept is not None and kept.is_file():
            self._read(kept)

    def _read(self, kept: Path) -> None:
        for line in kept.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # it was being written as the machine went down
            if row.pop("made_with") == self.task.made_with:
                self.rows[row["agent"], row["seed"]] = row

    def wanted(self, agent: str) -> range:
        """The seeds to measure, as far as they are known: how many of the expert, its first episode tells."""
        first = self.rows.get(("expert", self.seed))
        if agent == "random":
            count = self.counts.random
        elif self.counts.expert is not None:
            count = self.counts.expert
        elif ("expert", self.seed) in self.failures:
            count = expert_episodes(0.0)
        else:
            count = expert_episodes(first["seconds"]) if first else 1
        return range(self.seed, self.seed + count)

    def missing(self, agent: str) -> list[int]:
        done = self.rows.keys() | self.failures.keys()
        return [seed for seed in self.wanted(agent) if (agent, seed) not in done]

    def take(self, first: bool) -> Job | None:
        """Some seeds that nobody has been given yet; `first`: of the expert, whose first episode tells how many there will be."""
        for agent in ("expert",) if first else ("expert", "random"):
            seeds = [seed for seed in self.missing(agent) if (agent, seed) not in self._given][: 1 if first else _JOB]
            if seeds and not (first and seeds[0] != self.seed):
                self._given |= {(agent, seed) for seed in seeds}
                return Job((self.task.id, agent), (self.task, agent), tuple(seeds))
        return None

    def give(self, agent: str, result: Result) -> None:
        """What became of a seed."""
        if result.failure is not None:
            self.failures[agent, result.seed] = result.failure
            return
        self.rows[agent, result.seed] = result.value
        if self.kept is not None:
            with open(self.kept, "a") as file:  # a newline first ends whatever an interruption left half written
                file.write(f"\n{json.dumps(result.value | {'made_with': self.task.made_with})}\n")

    def reference(self) -> Reference:
        """Of the episodes that were wanted. Raises OpenGatoError where the random agent failed, or the expert always."""
        failed = [seed for seed in self.wanted("random") if ("random", seed) in self.failures]
        if failed:
            reason = self.failures["random", failed[0]]
            raise OpenGatoError(f"the random agent's episode {failed[0]} of {self.task.id!r} failed: {reason}")
        rows = {
            agent: [self.rows[agent, seed] for seed in self.wanted(agent) if (agent, seed) in self.rows] for agent in ("random", "expert")
        }
        if not rows["expert"]:  # an episode that the expert fails to finish is left out
            raise OpenGatoError(f"the expert of {self.task.id!r} finished no episode: it cannot be a reference")
        counts = f"--episodes {len(self.wanted('random'))} --expert-episodes {len(self.wanted('expert'))}"
        (random, random_sd), (expert, expert_sd) = (_mean_and_deviation([row["return"] for row in rows[a]]) for a in ("random", "expert"))
        returns = {agent: [float(f"{row['return']:.6g}") for row in rows[agent]] for agent in rows}
        random_success, expert_success = (_share([row["success"] for row in rows[agent]]) for agent in ("random", "expert"))
        return Reference(
            random,
            expert,
            len(rows["random"]),
            len(rows["expert"]),
            f"opengato reference {self.task.id} {counts}",
            random_sd,
            expert_sd,
            returns["random"],
            returns["expert"],
            expert_success,
            random_success,
            self.task.made_with,
        )


def _share(successes: list[bool | None]) -> float | None:
    """Of episodes that succeeded; None where some do not tell."""
    told = [success for success in successes if success is not None]
    return sum(told) / len(told) if len(told) == len(successes) else None


def _mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Of a sample; the same in whichever order the episodes come."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def measure(
    tasks: list[Task],
    counts: Counts = Counts(),
    *,
    workers: int | None = None,
    seed: int = FIRST_SEED,
    folder: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    show: bool = False,
) -> Iterator[tuple[Task, Reference | OpenGatoError]]:
    """Returns of `action_space.sample` and of the expert, over episodes of the same seeds; each task's reference as it is ready.

    Args:
        counts: episodes of each agent.
        workers: processes; default: one a core. The references do not depend on how many there are.
        seed: of the first episode.
        folder: where finished episodes are kept; what is there is not measured again. None: nowhere.
        timeout_s: an episode that takes longer fails.
        show: a progress bar.

    Yields, in place of the reference, what keeps a task from having one: the random agent fails to finish an episode, or the expert all.
    Raises OpenGatoError, before any work, where a task has no expert or its simulator is not installed.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    parts = {t.id: _Measuring(t, counts, seed, folder / f"{t.id.replace('/', '--')}.jsonl" if folder else None) for t in tasks}
    waiting = dict(parts)

    def take() -> Job | None:
        # How long the experts take is known first.
        return next((job for first in (True, False) for part in parts.values() if (job := part.take(first)) is not None), None)

    def ready() -> Iterator[tuple[Task, Reference | OpenGatoError]]:
        for part in [part for part in waiting.values() if not part.missing("expert") and not part.missing("random")]:
            del waiting[part.task.id]
            try:
                yield part.task, part.reference()
            except OpenGatoError as error:
                yield part.task, error

    columns = (TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with progress(*columns, show=show) as bar, Workers(workers, timeout_s=timeout_s) as pool:
        line = bar.add_task("episodes")

        def told() -> None:
            wanted = sum(len(part.wanted(agent)) for part in parts.values() for agent in ("random", "expert"))
            missing = sum(len(part.missing(agent)) for part in parts.values() for agent in ("random", "expert"))
            bar.update(line, total=wanted, completed=wanted - missing)

        told()
        yield from ready()
        for result in pool.run(_episodes, take):
            name, agent = cast(tuple[str, str], result.name)
            parts[name].give(agent, result)
            told()
            yield from ready()


def write_references(
    tasks: list[Task], out: Path, counts: Counts = Counts(), *, workers: int | None = None, folder: Path | None = None, show: bool = False
) -> None:
    """Measure the tasks' references into a table, which keeps what it has of others, after each task; says each.

    Args:
        out: a JSON file, task id -> the fields of `Reference`. counts, workers, folder, show: as in `measure`.

    Raises OpenGatoError where `out` belongs to an installed package.
    """
    if {"site-packages", "dist-packages"} & set(out.absolute().parts):
        raise OpenGatoError(f"out is {out}, a file of an installed package: name one of your own, and set $OPENGATO_REFERENCES to it")
    for task, found in measure(tasks, counts, workers=workers, folder=folder, show=show):
        if isinstance(found, OpenGatoError):
            print(f"{task.id}: {found}", flush=True)
            continue
        table = json.loads(out.read_text()) if out.is_file() else {}
        table[task.id] = asdict(found)
        write_text(out, _as_text(table))
        reference_scores.cache_clear()
        if found.problem:
            print(f"{task.id}: {found.problem}, so that it has no score: mend the expert", flush=True)
        print(f"{task.id}: random {found.random:.4g} (n={found.n_random}), expert {found.expert:.4g} (n={found.n_expert})", flush=True)


def _as_text(table: dict[str, Any]) -> str:
    """JSON with a line a field, of the returns too: hundreds of them stand in a row."""
    entries = []
    for task, fields in sorted(table.items()):
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(fields.items()))
        entries.append(f" {json.dumps(task)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def check(tasks: list[Task], *, workers: int | None = None, say: Callable[[str], Any] = print) -> int:
    """Say of every task whether its stored reference is still right, and return how many are not.

    What a reference was measured with is compared, and its first episodes are run again: of a reference that tells its returns, the random
    agent's shows what has changed in the environment, and the expert's what has in the expert.
    """
    table = {task.id: task.reference for task in tasks if task.measured}
    wrong = {task.id: ["it has none"] for task in tasks if task.id not in table}
    told = {task.id: changed for task in tasks if task.id in table and (changed := table[task.id].changed(task))}
    wrong |= {task: [changed] for task, changed in told.items()}
    rerun = [task for task in tasks if task.id in table and table[task.id].random_returns]
    for task, found in measure(rerun, Counts(1, 1), workers=workers):
        if isinstance(found, OpenGatoError):
            wrong.setdefault(task.id, []).append(str(found))
            continue
        for agent in ("random", "expert"):
            then, now = (getattr(reference, f"{agent}_returns")[0] for reference in (table[task.id], found))
            if abs(then - now) > 1e-4 * max(1.0, abs(then)):
                wrong.setdefault(task.id, []).append(f"the first episode of {agent} gives {now:.6g} in place of {then:.6g}")
    for task in tasks:
        if task.id in wrong:
            say(f"{task.id}: {'; '.join(wrong[task.id])}: measure it again")
    return len(wrong)
