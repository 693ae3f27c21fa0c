"""Corrections: the labels are the expert's in the very states that the student reached, and nothing else takes them for demonstrations."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("minari")
sys.path.insert(0, str(Path(__file__).parent))

from collect_tasks import cartpole, overshooting

from opengato.collection import Student, collect, record_episode
from opengato.collection.worker import record
from opengato.dagger import Rounds, dagger, student_in
from opengato.datasets.minari import load_minari
from opengato.domains import get_task
from opengato.domains.starts import evaluation_seeds, start_of
from opengato.domains.task import Task
from opengato.episode import leaves
from opengato.errors import OpenGatoError
from opengato.jobs import Begun, Done, Failed


class Wanders:
    """Acts at random, a function of the episode's seed; `done`: by slot, what it did."""

    def __init__(self, task: Task, slots: int = 1):
        self._spaces = [copy.deepcopy(task.action_space) for _ in range(slots)]
        self.done: list[list[Any]] = [[] for _ in range(slots)]

    def reset(self, slot: int, seed: int) -> None:
        self._spaces[slot].seed(seed + 1)
        self.done[slot] = []

    def act(self, observations: dict[int, Any]) -> dict[int, Any]:
        for slot in observations:
            self.done[slot].append(self._spaces[slot].sample())
        return {slot: self.done[slot][-1] for slot in observations}


def wanderer(beta: float = 0.0, round: int = 1, digest: str = "w") -> Student:
    return Student(Wanders, beta, round, digest)


def equal(one: Any, other: Any) -> bool:
    pairs = list(zip(leaves(one), leaves(other), strict=True))
    return all(a[0] == b[0] and np.array_equal(np.asarray(a[1]), np.asarray(b[1])) for a, b in pairs)


def step_of(nested: Any, t: int) -> Any:
    if isinstance(nested, dict):
        return {key: step_of(value, t) for key, value in nested.items()}
    return nested[t]


REACHED = ["babyai/pickup-loc", "metaworld/button-press-topdown", "dm-control/reacher-easy", "memory/t-maze-short"]


@pytest.mark.parametrize("name", REACHED)
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_labels_are_what_a_fresh_expert_says_in_the_states_that_were_reached(name: str, beta: float) -> None:
    task, seed, first = get_task(name), 3, 40
    pytest.importorskip(task.requires)
    student, acting = wanderer(beta), Wanders(task)
    episode, _ = record_episode(task, task.make(), task.make_expert(), seed, 0.0, student, acting)
    assert episode.source == "student of round 1" and episode.info["beta"] == beta
    env, expert = task.make(), task.make_expert()
    observation, _ = env.reset(seed=seed)
    expert.reset(env, observation, seed)
    yielded = differs = 0
    for t in range(min(first, len(episode))):
        assert equal(step_of(episode.observations, t), observation), t
        advice = expert.act(observation)
        np.testing.assert_allclose(
            episode.actions[t], np.clip(advice, env.action_space.low, env.action_space.high) if hasattr(env.action_space, "low") else advice
        )
        expected = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 1, t])).random() < beta
        executed = episode.actions[t] if expected else acting.done[0][t]
        yielded += expected
        differs += not np.array_equal(executed, episode.actions[t])
        observation, reward, *_ = env.step(executed)
        assert episode.rewards[t] == np.float32(reward)
    assert differs > 0 and (yielded > 0) == (beta > 0)


def test_a_beta_of_one_is_plain_collection(tmp_path: Path) -> None:
    for task in (cartpole(), overshooting()):
        collect([task], 4, tmp_path / "plain", workers=1, progress=False)
        collect([task], 4, tmp_path / "beta", workers=1, progress=False, student=wanderer(1.0))
        plain, beta = (list(load_minari(f"opengato/{task.id}-v0", tmp_path / n)) for n in ("plain", "beta"))
        assert [e.seed for e in plain] == [e.seed for e in beta]
        for one, other in zip(plain, beta):
            assert equal(one.observations, other.observations) and equal(one.actions, other.actions) and equal(one.rewards, other.rewards)
            assert (one.source, other.source) == ("expert", "student of round 1")


def test_episodes_beside_one_another_are_those_alone(tmp_path: Path) -> None:
    """Three times as many as there are slots, so that most begin beside others that are in their middle."""
    task, student = cartpole(), wanderer(0.3)
    collect([task], 50, tmp_path, workers=1, progress=False, student=student)
    found = list(load_minari("opengato/test/cartpole-v0", tmp_path))
    assert len(found) == 50 and len({len(e) for e in found}) > 5
    for episode in found:
        alone, _ = record_episode(task, task.make(), task.make_expert(), episode.seed, 0.0, student, Wanders(task))
        assert equal(episode.observations, alone.observations) and equal(episode.actions, alone.actions)
        assert equal(episode.rewards, alone.rewards)


def test_an_episode_that_fails_leaves_those_beside_it_alone() -> None:
    messages = list(record(replace(cartpole(), make_expert=Fussy), 0.0, wanderer(), tuple(range(1000, 1040))))
    ended = {kind: {m.seed for m in messages if isinstance(m, kind)} for kind in (Begun, Done, Failed)}
    assert ended[Begun] == set(range(1000, 1040)) and ended[Failed] == {1000 + 7 * k for k in range(6)}
    assert ended[Done] == ended[Begun] - ended[Failed]


class Fussy:
    """An expert that breaks in every seventh episode, at its third timestep."""

    def reset(self, env: Any, observation: Any, seed: int) -> None:
        self._left = 3 if (seed - 1000) % 7 == 0 else 10**6

    def act(self, observation: Any) -> int:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("broken")
        return 0


def test_corrections_join_the_demonstrations_and_say_whose_they_are(tmp_path: Path) -> None:
    task = cartpole()

    def sources() -> list[tuple[str, Any, Any]]:
        data = load_minari("opengato/test/cartpole-v0", tmp_path)
        assert len({e.seed for e in data}) == len(data)
        return [(e.source, e.info.get("round"), e.info.get("student")) for e in data]

    collect([task], 3, tmp_path, workers=1, progress=False)
    collect([task], 2, tmp_path, workers=1, progress=False, student=wanderer())
    collect([task], 2, tmp_path, workers=1, progress=False, student=wanderer())  # there already
    collect([task], 2, tmp_path, workers=1, progress=False, student=wanderer(round=2, digest="v"))
    corrected = [("student of round 1", 1, "w")] * 2 + [("student of round 2", 2, "v")] * 2
    assert sources() == [("expert", None, None)] * 3 + corrected
    collect([task], 4, tmp_path, workers=1, progress=False)  # corrections are no demonstrations
    assert sources() == [("expert", None, None)] * 3 + corrected + [("expert", None, None)]
    with pytest.raises(OpenGatoError, match="another student"):
        collect([task], 3, tmp_path, workers=1, progress=False, student=wanderer(digest="v"))
    with pytest.raises(OpenGatoError, match="leave one of the two out"):
        collect([task], 9, tmp_path, workers=1, progress=False, noise=0.1, student=wanderer())


def test_no_correction_begins_at_a_start_of_evaluation(tmp_path: Path) -> None:
    task = get_task("babyai/go-to-obj-s4")
    pytest.importorskip(task.requires)
    collect([task], 12, tmp_path, workers=1, progress=False, student=wanderer())
    env = task.make()
    kept = set()
    for seed in evaluation_seeds(task, 20):
        observation, _ = env.reset(seed=seed)
        kept.add(f"{start_of(task, env, observation):016x}")
    assert not kept & {e.info["start"] for e in load_minari(f"opengato/{task.id}-v0", tmp_path)}


class Stuck:
    """An expert that knows no more after five timesteps."""

    def reset(self, env: Any, observation: Any, seed: int) -> None:
        self._left = 5

    def act(self, observation: Any) -> int:
        self._left -= 1
        if self._left < 0:
            raise OpenGatoError("no plan")
        return 0


def test_an_episode_ends_where_the_expert_has_no_advice() -> None:
    task = cartpole()
    episode, _ = record_episode(task, task.make(), Stuck(), 0, 0.0, wanderer(), Wanders(task))
    assert len(episode) == 5 and episode.info["ended"] == "no advice" and not episode.info["terminated"]
    assert len(episode.observations) == 5
    with pytest.raises(OpenGatoError, match="no plan"):
        record_episode(task, task.make(), Stuck(), 0)


@pytest.mark.parametrize(("what", "wrong"), [("beta", 1.5), ("beta", -0.1), ("round", 0)])
def test_what_a_student_cannot_be(what: str, wrong: float) -> None:
    with pytest.raises(OpenGatoError, match=f"{what} is"):
        Student(Wanders, **{what: wrong})


@pytest.mark.slow
def test_rounds_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the training of round 1: neither collected nor trained again; a second call does nothing; more rounds extend it."""
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))
    task = get_task("memory/t-maze-short")
    plan = partial(Rounds, demonstrations=6, corrections=3, seconds=2.0, evaluation=4, workers=1)
    from opengato.evaluation import evaluate as module

    whole, calls = module.evaluate, []

    def killed(folder: Path, *arguments: Any, **settings: Any) -> Any:
        calls.append(folder)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(folder, *arguments, **settings)

    monkeypatch.setattr(module, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        dagger([task], plan(1), tmp_path / "run", show=False)
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("model.safetensors")}
    assert len(kept) == 2
    results = dagger([task], plan(1), tmp_path / "run", show=False)
    assert [r["round"] for r in results] == [0, 1] and all(task.id in r["scores"] for r in results)
    assert kept == {p: p.stat().st_mtime_ns for p in kept} and len(calls) == 3
    assert dagger([task], plan(1), tmp_path / "run", show=False) == results and len(calls) == 3
    assert len(dagger([task], plan(5, budget=0.0), tmp_path / "run", show=False)) == 2  # spent
    sources = [e.source for e in load_minari(f"opengato/{task.id}-v0", tmp_path / "run" / "data")]
    assert sources == ["expert"] * 6 + ["student of round 1"] * 3
    digest = student_in(tmp_path / "run/round-0/train/checkpoint", [task]).digest
    assert [e.info.get("student") for e in load_minari(f"opengato/{task.id}-v0", tmp_path / "run" / "data")][-1] == digest
    with pytest.raises(OpenGatoError, match="unknown task of this checkpoint"):  # before anything is recorded
        student_in(tmp_path / "run/round-0/train/checkpoint", [task, replace(task, id="toy/other")])
    with pytest.raises(OpenGatoError, match="begun with beta"):
        dagger([task], plan(1, beta=0.5), tmp_path / "run", show=False)
    assert json.loads((tmp_path / "run/round-1/result.json").read_text()) == results[1]
