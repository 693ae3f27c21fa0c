"""Demonstrations of many tasks: which seeds are recorded next, on which workers, until there are enough."""

from __future__ import annotations

import math
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opengato import console
from opengato.collection.assembly import assemble
from opengato.collection.claim import claimed
from opengato.collection.staging import full_disk_is_an_error, save_episode
from opengato.collection.student import Student
from opengato.collection.worker import STUDENT_SLOTS, record
from opengato.domains.starts import SEEDS
from opengato.domains.task import Task, dataset_id
from opengato.episode import is_relabelled
from opengato.errors import OpenGatoError
from opengato.jobs import TIMEOUT_S, Job, Result, Workers

_STAGED = ".staged"
_CHUNK_SECONDS = 2.0  # a job has as many seeds as take about this long
_CHUNK_EPISODES = 20
_MOST_NOISE = 0.4
_MOST_PASSED = 200  # seeds of evaluation's starts in a row: then all of the task's are


class _Collection:
    """What one task has and still needs.

    Seeds are taken in order, so that the N episodes are those of the first N seeds that work and whose starts are not evaluation's.
    """

    def __init__(
        self,
        task: Task,
        episodes: int,
        seed: int,
        root: Path,
        noise: float,
        budget: float | None,
        deadline: float,
        student: Student | None = None,
    ):
        from opengato.datasets.minari import recorded_episodes

        self.task, self.episodes, self.seed, self.noise, self.budget, self.deadline = task, episodes, seed, noise, budget, deadline
        self.student = student
        self.dataset = root / dataset_id(task)
        # Of each student its own: what another one left unfinished is none of this one's.
        self.staging = root / _STAGED / (f"round-{student.round}-{student.digest}" if student is not None else "") / task.id
        with full_disk_is_an_error(root):
            self.staging.mkdir(parents=True, exist_ok=True)
        recorded = recorded_episodes(self.dataset)
        if student is not None and (others := {by for _, name, by in recorded if name == student.source} - {student.digest}):
            raise OpenGatoError(
                f"{self.dataset} has corrections of round {student.round} by another student or another beta, {min(others)!r} and not "
                f"{student.digest!r}: give the next --round"
            )
        have = {seed for seed, _, _ in recorded}
        staged = {int(p.stem) for p in self.staging.glob("*.npz")} - have
        have |= staged
        mine = [name for _, name, _ in recorded if (not is_relabelled(name) if student is None else name == student.source)]
        self.done = len(mine) + len(staged)
        kept = range(0) if task.few_starts else SEEDS
        self._tried = max(have, default=-1)  # up to here what is not recorded is mostly evaluation's, and says nothing of what is to come
        self._unused = (s for s in range(seed, seed + 100_000_000) if s not in have and s not in kept)
        self.under_way = 0
        self.used, self.added, self.passed = 0.0, 0, 0
        self.quickest = math.inf  # seconds of an episode
        self.bytes = 0  # of the episodes that were added
        self.failures: list[tuple[int, str]] = []

    @property
    def begun(self) -> bool:
        return self.under_way > 0 or self.used > 0 or self.done >= self.episodes

    @property
    def bytes_missing(self) -> float:
        """What the episodes that are still to come will take, as far as those that came tell."""
        return (self.episodes - self.done) * self.bytes / max(self.added, 1)

    @property
    def seconds_each(self) -> float:
        return self.used / max(self.added + len(self.failures), 1)

    def take(self) -> list[int]:
        """The next seeds to record; empty when enough are done or under way, or when the time is used up."""
        spent = time.monotonic() >= self.deadline or (self.budget is not None and self.used >= self.budget)
        hopeless = len(self.failures) > 5 + 2 * self.episodes or self.passed > _MOST_PASSED
        missing = self.episodes - self.done - self.under_way
        if hopeless or missing <= 0 or (spent and self.done + self.under_way > 0):
            return []
        known = self.added + len(self.failures) > 0
        # By the quickest, as a job's first episode has its simulator made, which may take far longer; so that one episode is none of the
        # first ones, there are two in every job at least.
        quick = max(2, int(_CHUNK_SECONDS / max(self.quickest, 1e-3))) if known and not spent else 1
        if self.student is not None and known and not spent:
            quick = 4 * STUDENT_SLOTS  # beside one another, or else little is gained; the more, the less of the time the last one is alone
        else:
            quick = min(quick, _CHUNK_EPISODES)
        seeds = [next(self._unused) for _ in range(max(1, min(quick, missing)))]
        self.under_way += len(seeds)
        return seeds

    def give(self, result: Result) -> None:
        """What became of a seed."""
        self.under_way -= 1
        self.used += result.seconds / (STUDENT_SLOTS if self.student is not None else 1)  # beside one another
        self.quickest = min(self.quickest, result.seconds)
        if result.failure is not None:
            self.failures.append((result.seed, result.failure))
            return
        if result.value is None:
            self.passed += result.seed > self._tried
            return
        self.passed = 0
        save_episode(self.staging / f"{result.seed:08d}.npz", result.value)
        self.bytes += len(result.value)
        self.done += 1
        self.added += 1


def collect(
    tasks: list[Task],
    episodes: int | dict[str, int],
    out: Path | None = None,
    *,
    workers: int | None = None,
    seed: int = 0,
    noise: float | dict[str, float] = 0.0,
    timeout_s: float = TIMEOUT_S,
    time_budget_s: float | dict[str, float] | None = None,
    ray: str | None = None,
    progress: bool = True,
    student: Student | None = None,
) -> list[str]:
    """Record expert demonstrations until every task has `episodes` of them; returns the ids of the datasets.

    Run again, it goes on where it stopped; asked for more, it extends the datasets. An episode whose expert or simulator fails twice
    (raises, takes too long, or takes its process down) is reported, and replaced by that of the next seed.

    Args:
        tasks: each must have an expert and be importable by name in another process (no lambdas).
        episodes: of each task, or by task id.
        out: the folder of the datasets; default: Minari's own ($MINARI_DATASETS_PATH).
        workers: processes; default: one a core, of this machine or the cluster.
        seed: of the first episode; the others follow.
        noise: see `record_episode`, in [0, 0.4]; one number, or by task id.
        timeout_s: the process of an episode that takes longer is killed: its expert or its simulator hangs.
        time_budget_s: no new episode begins after this, though every task gets at least one. A number: seconds of the whole
            collection. By task id: seconds that workers have spent on this task.
        ray: the address of a Ray cluster to record on; the episodes are staged here.
        student: who acts while the expert labels. Until every task has `episodes` of this student's: they become part of the datasets that
            the demonstrations are in, at seeds of their own.
    """
    from opengato.datasets.minari import default_root

    root = (out if out is not None else default_root()).absolute()
    budgets = time_budget_s if isinstance(time_budget_s, dict) else {}
    deadline = time.monotonic() + time_budget_s if isinstance(time_budget_s, int | float) else math.inf
    with full_disk_is_an_error(root):
        (root / _STAGED).mkdir(parents=True, exist_ok=True)
    with claimed(root / _STAGED, tasks):
        jobs = []
        for task in tasks:
            wanted = episodes[task.id] if isinstance(episodes, dict) else episodes
            share = noise.get(task.id, 0.0) if isinstance(noise, dict) else noise
            _validate(task, wanted, share)
            if student is not None and share:
                raise OpenGatoError(f"noise is {share} for {task.id!r}, where a student acts: leave one of the two out")
            jobs.append(_Collection(task, wanted, seed, root, share, budgets.get(task.id), deadline, student))

        _record_all(jobs, root, lambda: Workers(workers, timeout_s=timeout_s, ray=ray), progress)
        _assemble_all([job for job in jobs if job.done], workers)
        for job in jobs:
            if job.failures:
                first, reason = min(job.failures)
                console.notice(f"{job.task.id}: {len(job.failures)} seeds gave no episode, the first {first}: {reason}")
            elif job.begun and job.passed > _MOST_PASSED and 0 < job.done < job.episodes:
                console.notice(f"{job.task.id}: {job.done} of {job.episodes} episodes: every start that is left is kept for evaluation")
        for job in jobs:
            if job.done == 0:
                reason = min(job.failures)[1] if job.failures else "every start is kept for evaluation" if job.passed else "no time"
                raise OpenGatoError(f"no episode of {job.task.id!r} could be recorded: {reason}")
    return [dataset_id(t) for t in tasks]


def _record_all(jobs: list[_Collection], root: Path, make_workers: Callable[[], Workers], progress: bool) -> None:
    """Every episode that is missing, staged."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    with console.progress(*columns, show=progress) as bar:
        had = {j.task.id: min(j.done, j.episodes) for j in jobs}
        line = {j.task.id: bar.add_task(j.task.id, total=j.episodes, completed=had[j.task.id], visible=len(jobs) < 30) for j in jobs}
        total = bar.add_task("total", total=sum(j.episodes for j in jobs), completed=sum(had.values()))
        by_id = {job.task.id: job for job in jobs}
        known = False
        with make_workers() as pool:
            for result in pool.run(record, lambda: _next(jobs)):
                job = by_id[str(result.name)]
                job.give(result)
                if not known and all(j.added or j.done >= j.episodes or j.failures for j in jobs):
                    known = True  # an episode of every task comes first
                    _check_disk(jobs, root, bar.console.print if progress and not console.is_quiet() else None)
                recorded = result.failure is None and result.value is not None
                bar.update(line[job.task.id], advance=recorded)
                bar.update(total, advance=recorded)


def _validate(task: Task, episodes: int, noise: float) -> None:
    if task.make_expert is None:
        raise OpenGatoError(f"task {task.id!r} has no expert to record: name one that has, as `opengato tasks` says")
    if not task.available:
        task.make()  # says which extra is missing
    if episodes < 1:
        raise OpenGatoError(f"episodes is {episodes} for {task.id!r}: ask for 1 or more")
    if not 0 <= noise <= _MOST_NOISE:
        raise OpenGatoError(f"noise is {noise} for {task.id!r}: choose a share from 0 to {_MOST_NOISE}")
    try:
        pickle.dumps(task)
    except Exception as error:
        raise OpenGatoError(f"task {task.id!r} cannot be sent to another process ({error}): make it from named functions") from None


def _next(jobs: list[_Collection]) -> Job | None:
    """First an episode of every task, which tells how long they take (and early what does not work), then the longest first."""
    fresh = [job for job in jobs if not job.begun]
    for job in fresh or sorted(jobs, key=lambda j: -j.seconds_each):
        if seeds := job.take():
            return Job(job.task.id, (job.task, job.noise, job.student), tuple(seeds))
    return None


def _check_disk(jobs: list[_Collection], root: Path, say: Callable[[str], Any] | None) -> None:
    """Say what disk the collection will take; raises OpenGatoError where there is less."""
    needed, free = sum(job.bytes_missing for job in jobs), shutil.disk_usage(root).free
    if needed > free:
        raise OpenGatoError(
            f"the episodes still to be recorded need about {needed / 1e9:.1f} GB, and the disk of {root} has {free / 1e9:.1f} GB left: "
            "free some space, ask for fewer --episodes, or name another --out; what was recorded is kept"
        )
    if say is not None:
        say(f"about {needed / 1e9:.2g} GB of disk will be needed, {free / 1e9:,.0f} GB are free")


def _assemble_all(jobs: list[_Collection], workers: int | None) -> None:
    """Make the staged episodes part of the tasks' Minari datasets, some of them at once: of many short episodes it takes a while.

    They are staged here, so that it is this machine's work, wherever they were recorded.
    """
    parts = iter([Job(j.task.id, (j.task, j.dataset, j.staging, _command(j)), (j.seed,)) for j in jobs if any(j.staging.iterdir())])
    with Workers(workers, timeout_s=math.inf) as pool:
        for result in pool.run(assemble, lambda: next(parts, None)):
            if result.failure is not None:
                raise OpenGatoError(f"the episodes of {result.name!r}, staged beside the dataset, are not part of it yet: {result.failure}")
    for job in jobs:
        shutil.rmtree(job.staging, ignore_errors=True)


def _command(job: _Collection) -> str:
    if job.student is not None:
        how = f"--student {job.student.digest.split('-')[0] or 'STUDENT'} --beta {job.student.beta:g} --round {job.student.round}"
    else:
        how = f"--noise {job.noise:g}"
    return f"opengato collect {job.task.id} --episodes {job.episodes} --seed {job.seed} {how}"
