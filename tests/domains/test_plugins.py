"""Domains that packages bring: the documented example installed as its users would, and packages that are wrong in every way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import opengato
from opengato.errors import OpenGatoError

EXAMPLE = Path(__file__).parents[2] / "examples" / "opengato-example-domain"
SIMULATORS = ("minigrid", "metaworld", "mujoco", "dm_control", "ale_py", "torch")


def run(*arguments: str, path: Path) -> subprocess.CompletedProcess:
    """A Python program that finds what is installed in `path`, and this package."""
    places = os.pathsep.join([str(path), str(Path(opengato.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": places}
    )


def command(*arguments: str, path: Path) -> subprocess.CompletedProcess:
    return run("-m", "opengato", *arguments, path=path)


def package(folder: Path, name: str, domain: str, module: str, source: str) -> None:
    """A package as an installer leaves it: its module, and the facts beside it that name its entry point."""
    (folder / f"{module}.py").write_text(source)
    facts = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[opengato.domains]\n{domain} = {module}\n")


LISTED = """
from dataclasses import replace
from opengato.domains.memory import TASKS as _MAZES
TASKS = [replace(_MAZES[0], id=name) for name in {names}]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example, installed by pip from a copy: building leaves files beside the source."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*install, "--target", str(folder / "target"), str(folder / "source")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "target"


def test_the_example_is_listed_with_its_own_references(installed):
    listed = {row["id"]: row for row in json.loads(command("tasks", "--domain", "puck", "--json", path=installed).stdout)}
    stated = json.loads((EXAMPLE / "opengato_example_domain" / "references.json").read_text())
    assert set(listed) == set(stated) == {"puck/near", "puck/far"}
    for name, row in listed.items():
        assert (row["random_score"], row["expert_score"]) == (stated[name]["random"], stated[name]["expert"]) and row["available"]
    (row,) = (r for r in json.loads(command("domains", "--json", path=installed).stdout) if r["name"] == "puck")
    assert row["package"] == "opengato-example-domain" and row["tasks"] == 2 and row["problem"] is None
    assert "puck/near" in command("tasks", path=installed).stdout


SOLVE = """
from opengato.collection import record_episode
from opengato.domains import get_task
for name in ("puck/near", "puck/far"):
    task = get_task(name)
    env = task.make()
    found = [record_episode(task, env, task.make_expert(), seed)[0] for seed in range(20)]
    assert all(e.success for e in found)
    mean = sum(e.episode_return for e in found) / len(found)
    assert abs(mean - task.reference.expert) < 2 * task.reference.expert_sd, mean
"""


def test_the_examples_expert_solves_it_as_its_references_say(installed):
    done = run("-c", SOLVE, path=installed)
    assert done.returncode == 0, done.stderr


SAVE = """
import sys, torch
from pathlib import Path
from opengato.checkpoint import Checkpoint
from opengato.domains import get_task
from opengato.model.config import ModelConfig
from opengato.model.gato import Gato
from opengato.tokens.layout import Layout
from opengato.tokens.text import TextTokenizer
torch.manual_seed(0)
task = get_task("puck/near")
model = Gato(ModelConfig("swift", 1, 2, 32, 64, 16, context=64, set_width=32, patches_per_position=2)).eval()
Checkpoint(model, TextTokenizer.load(), {task.id: Layout(task.observation_space, task.action_space)}).save(Path(sys.argv[1]))
"""


def test_the_example_is_collected_from_and_evaluated(installed, tmp_path):
    pytest.importorskip("minari")
    from opengato.datasets.minari import load_minari

    collected = command("collect", "puck/near", "--episodes", "3", "--out", str(tmp_path / "data"), "--workers", "1", path=installed)
    assert collected.returncode == 0 and collected.stdout.split()[-1] == "opengato/puck/near-v0", collected.stderr
    episodes = load_minari("opengato/puck/near-v0", tmp_path / "data")
    assert episodes.task == "puck/near" and len(episodes) == 3 and all(e.success and len(e) == 100 for e in episodes)
    stated = json.loads((EXAMPLE / "opengato_example_domain" / "references.json").read_text())["puck/near"]
    assert (episodes.metadata["ref_min_score"], episodes.metadata["ref_max_score"]) == (stated["random"], stated["expert"])
    assert run("-c", SAVE, str(tmp_path / "agent"), path=installed).returncode == 0
    arguments = ["eval", str(tmp_path / "agent"), "--episodes", "2", "--workers", "1", "--json", "--out", str(tmp_path / "out")]
    done = command(*arguments, path=installed)
    assert done.returncode == 0, done.stderr
    score = json.loads(done.stdout)["tasks"]["puck/near"]
    assert score["n"] == 2 and score["successes"] is not None
    share = (np.mean(score["returns"]) - stated["random"]) / (stated["expert"] - stated["random"])
    assert score["score"] == pytest.approx(100 * share)


def test_a_plugin_that_cannot_be_imported_takes_down_no_other(tmp_path):
    package(tmp_path, "opengato-broken", "broken", "broken_domain", "import a_simulator_that_is_not_there\n")
    package(tmp_path, "opengato-sound", "sound", "sound_domain", LISTED.format(names=["sound/maze"]))
    done = command("tasks", "--json", path=tmp_path)
    names = {row["id"] for row in json.loads(done.stdout)}
    assert done.returncode == 0 and {"sound/maze", "memory/t-maze"} <= names
    sentence = "domain 'broken' of package 'opengato-broken' cannot be imported (ModuleNotFoundError: No module named"
    assert done.stderr.startswith(sentence) and done.stderr.count("\n") == 1
    listed = command("domains", path=tmp_path)
    assert listed.returncode == 0 and listed.stderr.startswith(sentence) and "opengato-sound" in listed.stdout
    assert command("tasks", "--domain", "memory", path=tmp_path).stderr == ""  # it is not concerned
    for arguments in (["collect", "broken/any"], ["collect", "broken"], ["tasks", "--domain", "broken"]):
        asked = command(*arguments, path=tmp_path)
        assert asked.returncode == 1 and asked.stderr.startswith(f"error: {sentence}") and asked.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("", "has no list TASKS of `Task`s in wrong_domain"),
        ("TASKS = ['wrong/a']", "has no list TASKS of `Task`s in wrong_domain"),
        (LISTED.format(names=["other/a"]), "lists 'other/a', which is another domain's: name it 'wrong/…'"),
        (LISTED.format(names=["wrong/a", "wrong/b", "wrong/b"]), "lists 'wrong/b' twice"),
        ("raise RuntimeError('two\\nlines')", "cannot be imported (RuntimeError: two lines)"),
    ],
)
def test_a_module_that_is_no_domain_is_named(source, sentence, tmp_path):
    package(tmp_path, "opengato-wrong", "wrong", "wrong_domain", source)
    done = command("tasks", path=tmp_path)
    assert done.returncode == 0 and f"domain 'wrong' of package 'opengato-wrong' {sentence}" in done.stderr
    assert done.stderr.count("\n") == 1 and "memory/t-maze" in done.stdout


@pytest.mark.parametrize("domain", ["twin", "babyai"])
def test_two_domains_of_the_same_name_are_refused(domain, tmp_path):
    for name in ("one", "other"):
        package(tmp_path, f"opengato-{name}", domain, f"{name}_domain", LISTED.format(names=[f"{domain}/{name}"]))
    done = command("tasks", path=tmp_path)
    first, second = ("opengato-one", "opengato-other") if domain == "twin" else ("opengato", "opengato-one")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: two packages bring a domain '{domain}', '{first}' and '{second}': uninstall one of them")


def test_seven_hundred_tasks_are_listed_without_a_simulator(tmp_path):
    names = [f"many/{number}" for number in range(500)]
    package(tmp_path, "opengato-many", "many", "many_domain", LISTED.format(names=names))
    code = "import sys, opengato.cli; opengato.cli.main(['tasks'])\n"
    code += f"heavy = set({SIMULATORS}) & set(sys.modules); assert not heavy, heavy"
    done = run("-c", code, path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 700 and {line.split()[0] for line in done.stdout.splitlines()} >= {*names, "memory/t-maze"}


def test_every_own_domain_is_sound_and_of_this_package():
    from opengato.domains import broken_domains, domains, find_task, get_task

    own = {name: domain for name, domain in domains().items() if domain.package == "opengato"}
    assert {"babyai", "metaworld", "dm-control", "atari", "memory", "gym"} <= set(own) and not broken_domains()
    assert all(domain.about for domain in own.values())
    assert find_task("nowhere/at-all") is None and find_task("memory/t-maze") is get_task("memory/t-maze")
    with pytest.raises(OpenGatoError, match="domain 'gym' lists no tasks"):
        get_task("gym")
