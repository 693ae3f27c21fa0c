"""The generalist: what a budget buys, and the whole road in small."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengato.collection import collect, dataset_id
from opengato.datasets.minari import recorded_episodes
from opengato.domains import get_task
from opengato.episode import is_relabelled
from opengato.errors import OpenGatoError
from opengato.generalist.plan import COLLECT, FEWEST, SHARES, Budget, Demonstrations, Plan, plan
from opengato.generalist.run import _demonstrate_more, generalist
from opengato.generalist.tasks import PARTS, TASKS, Part
from opengato.recipes import HELD_OUT


def test_two_hundred_tasks_with_experts_none_of_them_held_out():
    assert len(TASKS) == len(set(TASKS)) >= 200
    assert all(get_task(task).make_expert is not None for task in TASKS)
    assert not set(TASKS) & set(HELD_OUT) and {task.split("/")[0] for task in TASKS} <= set(SHARES)


_PARTS = st.lists(
    st.builds(
        Part,
        st.just("memory"),
        st.integers(1, 9).map(lambda n: tuple(map(str, range(n)))),
        st.integers(1, 500),
        st.floats(0.01, 50),
        share=st.floats(0.5, 3),
    ),
    min_size=1,
    max_size=6,
).map(lambda parts: [Part(f"d{i}", p.tasks, p.episodes, p.seconds, share=p.share) for i, p in enumerate(parts)])


@given(_PARTS, st.floats(0.01, 30), st.integers(1, 8))
def test_a_plan_spends_what_there_is_and_no_more(parts, hours, cores):
    budget = Budget(hours, cores, 1e9)
    try:
        found = plan(budget, parts)
    except OpenGatoError:
        return
    total = hours * 3600 * COLLECT * cores
    spent = sum(d.seconds for d in found.demonstrations.values())
    assert spent <= total * (1 + 1e-9)
    of = {part.domain: part for part in parts}
    kept = {task: of[task.split("/")[0]] for task in found.demonstrations}
    level = {task: d.seconds / kept[task].share for task, d in found.demonstrations.items()}
    full = {task for task, d in found.demonstrations.items() if d.seconds >= kept[task].episodes * kept[task].seconds * (1 - 1e-9)}
    # Whatever is not full has the same level, which none is above; and where something is not full, all is spent.
    open_ones = [level[task] for task in level if task not in full]
    if open_ones:
        assert max(open_ones) == pytest.approx(min(open_ones)) and spent == pytest.approx(total)
        assert max(level.values()) <= max(open_ones) * (1 + 1e-9)
    assert set(found.left_out) | set(found.demonstrations) == {task for part in parts for task in part.ids}


def test_slow_experts_are_left_out_and_their_time_goes_to_the_others():
    quick, slow = Part("quick", ("a",), 10_000, 0.1), Part("slow", ("b",), 100, 60.0)
    found = plan(Budget(1.2, 1, 100), [quick, slow])
    assert found.left_out == () and found.demonstrations["slow/b"].episodes >= FEWEST - 1
    found = plan(Budget(0.5, 1, 100), [quick, slow])
    assert found.left_out == ("slow/b",) and found.demonstrations["quick/a"].seconds == pytest.approx(0.5 * 3600 * COLLECT)
    with pytest.raises(OpenGatoError, match=r"hours is 0\.001"):
        plan(Budget(0.001, 1, 100), [slow])


def test_a_small_disk_buys_fewer_demonstrations():
    part = Part("a", ("b", "c"), 1000, 0.1, kilobytes=1000)
    found = plan(Budget(100, 1, 0.5), [part])
    assert found.gigabytes <= 0.5 and found.demonstrations["a/b"].episodes == 250
    with pytest.raises(OpenGatoError, match="disk is 0"):
        Budget(1, 1, 0)


def test_unknown_domains_are_refused():
    with pytest.raises(OpenGatoError, match="'metaworlds' is not among"):
        plan(Budget(1, 1, 1), domains=["metaworlds"])
    assert {p.domain for p in PARTS} >= {"babyai", "metaworld"}


def test_later_rounds_get_more_demonstrations_of_what_is_not_solved(tmp_path):
    tasks = [get_task("memory/t-maze-short"), get_task("memory/t-maze")]
    collect(tasks, 5, tmp_path / "data", workers=1, progress=False)
    (tmp_path / "scores.json").write_text(json.dumps({"tasks": {tasks[0].id: {"score": 20.0}, tasks[1].id: {"score": 95.0}}}))
    bought = Plan({task.id: Demonstrations(5, 1.0, 0.0, most=12) for task in tasks}, (), 1.0, 10, 0.1)
    _demonstrate_more(tasks, bought, Budget(0.1, 1, 1), tmp_path / "data", tmp_path, 1, 0)
    found = [recorded_episodes(tmp_path / "data" / dataset_id(task)) for task in tasks]
    assert [len(episodes) for episodes in found] == [12, 5] and not any(is_relabelled(by) for _, by, _ in found[0])


def test_demonstrations_alone_to_train_elsewhere(tmp_path):
    budget = Budget(0.002, 1, 1)
    bought = plan(budget, [Part("memory", ("t-maze-short",), 30, 0.01)])
    assert generalist(bought, budget, tmp_path, demonstrations_only=True) is None
    recorded = len(recorded_episodes(tmp_path / "data" / dataset_id(get_task("memory/t-maze-short"))))
    assert recorded >= 10 and not (tmp_path / "round-0" / "checkpoint").exists()
    with pytest.raises(OpenGatoError, match="round 1 needs the scores of the one before"):
        generalist(bought, budget, tmp_path, rounds=2, demonstrations_only=True)
    # What has all its demonstrations has no corrections then, there being no agent to correct.
    (tmp_path / "round-0" / "scores.json").write_text(json.dumps({"tasks": {"memory/t-maze-short": {"score": 20.0}}}))
    full = Plan({"memory/t-maze-short": Demonstrations(5, 1.0, 0.0, most=recorded)}, (), 1.0, 10, 0.1)
    assert generalist(full, budget, tmp_path, rounds=2, demonstrations_only=True) is None
    assert len(recorded_episodes(tmp_path / "data" / dataset_id(get_task("memory/t-maze-short")))) == recorded


@pytest.mark.slow
def test_two_rounds_of_a_small_generalist(tmp_path, monkeypatch):
    monkeypatch.setattr("opengato.showcase._SAMPLES", 4)  # an agent that learned little speaks at length
    budget = Budget(0.004, 1, 1)
    bought = plan(budget, [Part("memory", ("t-maze-short",), 60, 0.01)])
    found = generalist(bought, budget, tmp_path, rounds=1, recipe="swift-nano", data=("captions/emoji",))
    assert found["tasks"]["memory/t-maze-short"]["n"] == bought.rollouts
    assert {row["who"] for row in found["words"]} == {"agent", "most frequent", "nearest picture"}
    report = (tmp_path / "report.html").read_text()
    assert "<td>captions/emoji test</td><td>nearest picture</td>" in report
    with pytest.raises(OpenGatoError, match=r"was begun with seed 0, not 1"):
        generalist(bought, budget, tmp_path, recipe="swift-nano", data=("captions/emoji",), seed=1)
    first = (tmp_path / "round-0" / "scores.json").stat().st_mtime_ns
    again = generalist(bought, budget, tmp_path, rounds=2, recipe="swift-nano", data=("captions/emoji",))
    assert (tmp_path / "round-0" / "scores.json").stat().st_mtime_ns == first  # kept
    until = [json.loads((tmp_path / f"round-{n}" / "training.json").read_text())["until"] for n in (0, 1)]
    assert until[1] == pytest.approx(2 * until[0])
    facts = json.loads((tmp_path / "round-1" / "checkpoint" / "config.json").read_text())["facts"]
    sources = facts["data"]["memory/t-maze-short"]["by"]
    assert ("student of round 1" in sources) == (found["tasks"]["memory/t-maze-short"]["score"] < 90)
    assert again["model"] == "swift-nano" and "round 0: train" in again["seconds"] and "memory/t-maze-short" in report
