"""Processes that die, hang or raise cost their own seeds and nothing else, on this machine and on a Ray cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import hostile_tasks
from hostile_tasks import WAYS, hostile

from opengato.checkpoint import Checkpoint
from opengato.domains.starts import SEEDS as STARTS
from opengato.errors import OpenGatoError
from opengato.evaluation.evaluate import Evaluation, evaluate
from opengato.evaluation.rollout import Rollout
from opengato.jobs import Job, Result, Workers
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def run(pool: Workers, work: Any, jobs: list[Job]) -> list[Result]:
    waiting = iter(jobs)
    return sorted(pool.run(work, lambda: next(waiting, None)), key=lambda r: (str(r.name), r.seed))


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(process: int) -> bool:
    for _ in range(100):
        if not alive(process):
            return True
        time.sleep(0.1)
    return False


# ---- the processes --------------------------------------------------------------------------------------------------------------


def test_every_seed_gives_its_result_whatever_the_workers() -> None:
    jobs = [Job("a", (), (1, 2, 3)), Job("b", (), (2,)), Job("c", (), (7, 8))]
    for count in (1, 3):
        with Workers(count) as pool:
            found = run(pool, hostile_tasks.square, jobs)
            again = run(pool, hostile_tasks.square, jobs[:1])  # the same processes
        assert [(r.name, r.seed, r.value, r.failure) for r in found] == [
            (name, seed, seed**2, None) for name, seeds in (("a", (1, 2, 3)), ("b", (2,)), ("c", (7, 8))) for seed in seeds
        ]
        assert [r.value for r in again] == [1, 4, 9]


def test_job_that_no_process_survives_fails_alone() -> None:
    with Workers(2) as pool:
        found = run(pool, hostile_tasks.fall_over_the_job, [Job("a", (), (0, 1, 2, 3))])
    assert [(r.seed, r.value) for r in found if r.failure is None] == [(0, 0), (1, 1), (3, 9)]
    assert [r.seed for r in found if r.failure is not None and "exit code 5" in r.failure] == [2]


def test_processes_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with Workers(1) as pool:
        assert len(run(pool, hostile_tasks.chatter, [Job("a", (), (1,))])) == 1
    said = capfd.readouterr()
    assert "speaks" not in said.out + said.err


@needs_proc
def test_what_a_simulator_started_is_killed_with_it(tmp_path: Path) -> None:
    with Workers(1, timeout_s=3) as pool:
        (result,) = run(pool, hostile_tasks.leave_a_child, [Job("a", (tmp_path,), (1,))])
        assert result.failure == "it took longer than 3 s" and result.seconds > 3
        assert gone(int((tmp_path / "child").read_text()))


def test_temporary_files_go_with_their_process_however_it_ends(tmp_path: Path) -> None:
    with Workers(1, timeout_s=3) as pool:
        found = run(pool, hostile_tasks.leave_files, [Job("a", (tmp_path,), (1, 2))])
        assert [r.failure is None for r in sorted(found, key=lambda r: r.seed)] == [True, False]
    paths = [Path((tmp_path / seed).read_text()) for seed in "12"]
    assert not any(path.exists() or path.parent.exists() for path in paths)
    assert Path(tempfile.gettempdir()) not in {path.parent.parent for path in paths}


def test_errors_say_what_to_do() -> None:
    with pytest.raises(OpenGatoError, match="workers is 0: ask for 1"):
        Workers(0)
    with pytest.raises(OpenGatoError, match="timeout is 0 s: give"):
        Workers(1, timeout_s=0)
    with pytest.raises(OpenGatoError, match="no weights here"), Workers(1, hostile_tasks.refuse) as pool:
        run(pool, hostile_tasks.square, [Job("a", (), (1,))])
    with (
        pytest.raises(OpenGatoError, match=r"end before they can work .*exit code 7.*Try --workers 1"),
        Workers(2, hostile_tasks.die) as pool,
    ):
        run(pool, hostile_tasks.square, [Job("a", (), (1,))])


HANG = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import signal
import hostile_tasks
from opengato.jobs import Job, Workers
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the tests run in the background
    jobs = iter([Job("a", (Path({folder!r}),), (1,))])
    with Workers(1) as pool:
        list(pool.run(hostile_tasks.leave_a_child, lambda: next(jobs, None)))
"""


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_hanging_process_ends_with_its_parent(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(HANG.format(here=str(Path(__file__).parent), folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, str(tmp_path / "run.py")], stderr=subprocess.DEVNULL)
    for _ in range(600):
        if (tmp_path / "child").exists():
            break
        time.sleep(0.05)
    child = int((tmp_path / "child").read_text())
    worker = int(Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert alive(worker)
    os.kill(parent.pid, how)
    assert parent.wait(10) != 0
    assert gone(worker)
    if alive(child):  # the parent had no time to end it
        assert how == signal.SIGKILL
        os.kill(child, signal.SIGKILL)


# ---- a Ray cluster --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster of one node with two cores, in processes of its own, as `ray start` makes it."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Where its processes find the tasks of the tests.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        node = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield node.address
    node.shutdown()


@pytest.fixture(params=["this machine", pytest.param("ray", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest) -> str | None:
    """The address of the cluster, or None."""
    return request.getfixturevalue("cluster") if request.param == "ray" else None


def test_address_without_a_cluster_is_one_sentence() -> None:
    pytest.importorskip("ray")
    done = subprocess.run(
        [sys.executable, "-m", "opengato", "collect", "babyai/go-to-obj", "--ray", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and done.stderr.startswith("error: no Ray cluster answers at '127.0.0.1:1'")
    assert "ray start --head" in done.stderr and done.stderr.count("\n") == 1


def test_missing_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    with pytest.raises(OpenGatoError, match=r'pip install "opengato\[ray\]"'):
        Workers(1, ray="auto")


# ---- evaluation -----------------------------------------------------------------------------------------------------------------

SEEDS = STARTS[:7]
BAD = SEEDS[2]
REASONS = {
    "raise": "RuntimeError('the physics exploded')",
    "exit": "exit code 3",
    "kill": "SIGKILL",
    "segfault": "SIGSEGV",
    "hang": "longer than 6 s",
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("memory")
    return [hostile("good", (BAD,), folder), *(hostile(how, (BAD,), folder) for how in WAYS), hostile("raise", (), folder)]


@pytest.fixture(scope="module")
def agent(tasks: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent that has learned nothing, but whose actions are far from uniform."""
    torch.manual_seed(0)
    model = Gato(ModelConfig("swift", 1, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=2))
    torch.nn.init.normal_(model.embedding.tokens.common.weight, std=0.3)
    folder = tmp_path_factory.mktemp("agent")
    Checkpoint(model, TextTokenizer.load(), {t.id: Layout(t.observation_space, t.action_space) for t in tasks}).save(folder)
    return folder


def evaluated(agent: Path, tasks: list[Any], **settings: Any) -> tuple[Evaluation, dict[str, dict[int, Rollout]]]:
    heard: dict[str, dict[int, Rollout]] = {}
    found = evaluate(
        agent, tasks, len(SEEDS), show=False, timeout_s=6, finished=lambda s, r: heard.update({s.task: {e.seed: e for e in r}}), **settings
    )
    return found, heard


@pytest.fixture(scope="module")
def undisturbed(agent: Path, tasks: list[Any]) -> dict[int, Rollout]:
    return evaluated(agent, tasks[:1], batch=1, workers=1)[1]["test/good"]


def test_failing_simulators_cost_their_own_seed_alone(place: str | None, agent: Path, tasks: list[Any], undisturbed: dict) -> None:
    for memory in tasks[-1].make_env.args[-1].glob("*"):
        memory.unlink()
    found, heard = evaluated(agent, tasks, batch=3, workers=2, ray=place)
    assert [s.task for s in found.scores] == [t.id for t in tasks[:-1]] and list(found.unscored) == ["test/raise-always"]
    assert set(found.unscored["test/raise-always"]) == set(SEEDS)
    assert len({r.episode_return for r in undisturbed.values()}) > 3  # the seeds can be told apart
    for score in found.scores:
        how = score.task.removeprefix("test/")
        if how in REASONS:
            assert list(score.failed) == [BAD] and score.n == len(SEEDS) - 1
            assert REASONS[how] in score.failed[BAD] or (place and "cluster died" in score.failed[BAD])
        else:
            assert not score.failed and score.n == len(SEEDS)
        assert heard[score.task] == {seed: undisturbed[seed] for seed in SEEDS if seed not in score.failed}


def test_engine_that_raises_fails_the_seed_it_raises_for(agent: Path, tasks: list[Any], undisturbed: dict) -> None:
    """What the agent cannot read comes from one environment, though all of a batch are read together."""
    import dataclasses
    from functools import partial

    task = dataclasses.replace(tasks[0], make_env=partial(hostile_tasks.make_unreadable, BAD))
    found, heard = evaluated(agent, [task], batch=7, workers=1)
    assert list(found.scores[0].failed) == [BAD]
    assert heard[task.id] == {seed: undisturbed[seed] for seed in SEEDS if seed != BAD}


# ---- collection -----------------------------------------------------------------------------------------------------------------


def test_failing_simulators_are_collected_around(place: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("minari")
    from test_collect import same

    from opengato.collection import collect
    from opengato.datasets.minari import load_minari

    chosen = [hostile(how, (1,), tmp_path) for how in ("good", *WAYS)]
    collect(chosen[:1], 5, tmp_path / "whole", workers=1, noise=0.2, timeout_s=6, progress=False)
    collect(chosen, 4, tmp_path / "data", workers=2, noise=0.2, timeout_s=6, ray=place, progress=False)
    whole = {e.seed: e for e in load_minari("opengato/test/good-v0", tmp_path / "whole")}
    said = capsys.readouterr().err
    for task in chosen:
        how = task.id.removeprefix("test/")
        found = list(load_minari(f"opengato/{task.id}-v0", tmp_path / "data"))
        assert [e.seed for e in found] == ([0, 2, 3, 4] if how in REASONS else [0, 1, 2, 3])
        for episode in found:
            wanted = whole[episode.seed]
            assert same(episode.observations, wanted.observations) and same(episode.actions, wanted.actions)
            assert episode.info == wanted.info
        assert (f"{task.id}: 1 seeds gave no episode, the first 1: " in said) == (how in REASONS)
