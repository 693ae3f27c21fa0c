"""Evaluations that go on where they stopped, and two agents side by side."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("minigrid")

import opengato
from opengato.checkpoint import Checkpoint
from opengato.domains import get_task
from opengato.domains.starts import evaluation_seeds
from opengato.domains.task import Reference
from opengato.errors import OpenGatoError
from opengato.evaluation import evaluate as evaluating
from opengato.evaluation.compare import compare, comparison_to_json, mean_difference
from opengato.evaluation.evaluate import evaluate
from opengato.evaluation.results import Results, _code, default_folder, settings_of
from opengato.evaluation.rollout import Rollout
from opengato.evaluation.score import read_scores, summarise, task_score
from opengato.evaluation.table import print_comparison
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer

TASK = get_task("babyai/go-to-obj")


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    torch.manual_seed(0)
    model = Gato(ModelConfig("swift", 1, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=2)).eval()
    Checkpoint(model, TextTokenizer.load(), {TASK.id: Layout(TASK.observation_space, TASK.action_space)}).save(folder)
    return folder


def kept(folder: Path) -> list[str]:
    return sorted(line for line in (folder / "babyai--go-to-obj.jsonl").read_text().splitlines() if line)


# ---- results --------------------------------------------------------------------------------------------------------------------


def test_more_episodes_run_only_the_new_ones(agent, tmp_path, monkeypatch):
    first = evaluate(agent, [TASK], 3, workers=1, out=tmp_path, show=False)
    before = kept(tmp_path)
    whole = evaluate(agent, [TASK], 5, workers=1, show=False)
    more = evaluate(agent, [TASK], 5, workers=1, out=tmp_path, show=False)
    assert more == whole != first and set(before) < set(kept(tmp_path)) and len(kept(tmp_path)) == 5
    asked = []
    monkeypatch.setattr(evaluating, "_work", lambda *a: asked.append(a))  # nothing is left to do
    assert evaluate(agent, [TASK], 5, workers=1, out=tmp_path, show=False) == whole and asked == []


@pytest.mark.slow
def test_an_evaluation_that_is_killed_goes_on_where_it_stopped(agent, tmp_path):
    command = [sys.executable, "-m", "opengato", "eval", str(agent), "--episodes", "24", "--workers", "1", "--batch", "4", "--json"]
    command += ["--out", str(tmp_path / "kept")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    file = tmp_path / "kept" / "babyai--go-to-obj.jsonl"
    try:
        while process.poll() is None and (not file.is_file() or len(file.read_text().splitlines()) < 8):
            time.sleep(0.05)
        assert process.poll() is None, "it was over before it could be killed"
    finally:
        process.kill()
        process.wait()
    before = kept(tmp_path / "kept")
    with open(file, "a") as torn:
        torn.write('{"seed": 1000')  # as the machine went down
    resumed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert set(before) <= set(kept(tmp_path / "kept")) and 0 < len(before) < 24
    command[-1] = str(tmp_path / "other")
    assert resumed == subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(resumed)["tasks"][TASK.id]["seeds"] == sorted(evaluation_seeds(TASK, 24))


def test_results_of_other_settings_are_refused(agent, tmp_path):
    settings = settings_of(agent, temperature=None)
    Results(tmp_path, settings)
    Results(tmp_path, settings)
    with pytest.raises(OpenGatoError, match=r"results of another temperature \(None, not 0.5\): name another folder with --out"):
        Results(tmp_path, {**settings, "temperature": 0.5})
    assert default_folder(agent, settings) != default_folder(agent, {**settings, "temperature": 0.5})


def test_results_of_other_code_are_not_taken_for_todays(agent, monkeypatch, tmp_path):
    before = settings_of(agent)
    shutil.copytree(Path(opengato.__file__).parent / "domains", tmp_path / "domains")
    monkeypatch.setattr(opengato, "__file__", str(tmp_path / "__init__.py"))
    _code.cache_clear()
    one = settings_of(agent)
    with open(tmp_path / "domains" / "atari.py", "a") as file:
        file.write("# another start\n")
    _code.cache_clear()
    other = settings_of(agent)
    monkeypatch.undo()
    _code.cache_clear()
    assert len({s["code"] for s in (before, one, other)}) == 3 and settings_of(agent) == before


def test_a_line_that_was_torn_costs_its_episode_only(tmp_path):
    results = Results(tmp_path, {})
    episodes = [Rollout(seed, 0.1 * seed, 3, True, 2**63 + seed, seed) for seed in (1, 2, 3)]
    for episode in episodes[:2]:
        results.add("a/b", episode)
    path = tmp_path / "a--b.jsonl"
    path.write_text(path.read_text()[:-20])
    results.add("a/b", episodes[2])
    assert results.of("a/b") == {1: episodes[0], 3: episodes[2]} and results.of("a/c") == {}


def test_scores_read_back_with_every_episode(agent):
    found = evaluate(agent, [TASK], 3, workers=1, show=False)
    data = json.loads(json.dumps(summarise(found.scores)))
    assert read_scores(data) == found.scores
    assert data["tasks"][TASK.id]["seeds"] == sorted(evaluation_seeds(TASK, 3)) and len(data["tasks"][TASK.id]["returns"]) == 3


def test_starts_that_were_trained_on_are_counted(agent, tmp_path):
    plain = evaluate(agent, [TASK], 4, workers=1, out=tmp_path / "a", show=False).scores[0]
    assert plain.seen is None
    episodes = Results(tmp_path / "a", json.loads((tmp_path / "a" / "settings.json").read_text())).of(TASK.id)
    checkpoint = Checkpoint.load(agent)
    checkpoint.starts = {TASK.id: np.array([sorted(e.start for e in episodes.values())[0]], np.uint64)}
    checkpoint.save(tmp_path / "agent")
    assert evaluate(tmp_path / "agent", [TASK], 4, workers=1, show=False).scores[0].seen == 0.25


# ---- two agents -----------------------------------------------------------------------------------------------------------------


def scored(task, returns, reference=None, successes=None):
    return task_score(task, returns, reference or Reference(0, 10, 50, 10, ""), successes)


def test_paired_seeds_tell_apart_what_scores_side_by_side_do_not():
    easy = np.random.default_rng(0).uniform(0, 9, 40)  # how easy each start is
    one = scored("a/b", dict(enumerate(easy)))
    other = scored("a/b", dict(enumerate(easy + np.random.default_rng(1).normal(0.8, 0.3, 40))))
    assert other.ci_low < one.score < other.score < one.ci_high  # side by side: nobody knows
    (found,) = compare([one], [other])
    assert found.n == 40 and found.ci_low > 0 and found.better > 30
    assert found.difference == pytest.approx(other.score - one.score)
    (back,) = compare([other], [one])
    assert (back.difference, back.ci_low, back.better) == pytest.approx((-found.difference, -found.ci_high, found.worse))


def test_only_common_seeds_and_tasks_are_compared(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    first = [scored("a/x", {1: 0.0, 2: 5.0}), scored("a/y", {1: 20.0}), scored("a/z", {1: 1.0})]
    second = [scored("a/y", {1: 30.0}), scored("a/x", {2: 10.0, 3: 0.0})]
    found = compare(first, second)
    assert [(d.task, d.n, d.first, d.second) for d in found] == [("a/x", 1, 50, 100), ("a/y", 1, 200, 300)]
    assert mean_difference(found)[0] == 25  # each counts at most 100
    assert json.loads(json.dumps(comparison_to_json(found)))["tasks"]["a/x"]["by_seed"] == {"2": 50.0}
    print_comparison(found)
    assert "the second is ahead by +25.0 points over 2 tasks, each counted at most 100" in capsys.readouterr().out
    with pytest.raises(OpenGatoError, match="no common task"):
        compare(first[2:], second)
    with pytest.raises(OpenGatoError, match="no seed in common"):
        compare([scored("a/x", {1: 0.0})], [scored("a/x", {2: 0.0})])


def test_without_references_successes_are_compared():
    bad = Reference(3, 1, 50, 10, "")
    (found,) = compare([scored("a/b", {1: 0, 2: 0}, bad, {1: True, 2: False})], [scored("a/b", {1: 0, 2: 0}, bad, {1: True, 2: True})])
    assert (found.measure, found.first, found.second, found.better) == ("success", 50, 100, 1)
    assert compare([scored("a/b", {1: 0}, bad)], [scored("a/b", {1: 0}, bad)]) == []


@pytest.mark.slow
def test_compare_is_a_command(agent, tmp_path):
    command = [sys.executable, "-m", "opengato", "compare", str(agent), str(agent), "--episodes", "3", "--workers", "1", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout)
    assert found["mean_difference"] == 0 and found["tasks"][TASK.id]["n"] == 3
