"""References go on where they stopped, are as many as the rule says, and are known to be old when what they measured has changed."""

import json
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from collect_tasks import cartpole, make_cartpole

from opengato import references
from opengato.domains.task import Reference, reference_scores
from opengato.errors import OpenGatoError
from opengato.references import Counts, check, expert_episodes, measure, write_references


def measured(tasks, counts=None, **options):
    return {task.id: found for task, found in measure(tasks, counts or Counts(6, 4), workers=2, **options)}


def test_an_interrupted_measurement_goes_on_and_gives_the_same(tmp_path):
    tasks = [cartpole(name=name) for name in ("a", "b", "c")]
    whole = measured(tasks, folder=tmp_path / "whole")
    for _ in measure(tasks, Counts(6, 4), workers=1, folder=tmp_path / "cut"):
        break  # after the first task that is ready
    begun = {file.name: file.read_text() for file in (tmp_path / "cut").iterdir()}
    assert 0 < sum(text.count("seed") for text in begun.values()) < 30
    with open(tmp_path / "cut" / "test--a.jsonl", "a") as file:
        file.write('\n{"agent": "random", "se')  # as the machine went down
    assert measured(tasks, folder=tmp_path / "cut") == whole
    for name, text in begun.items():  # what was there is not measured again
        assert (tmp_path / "cut" / name).read_text().startswith(text)
    kept = [json.loads(line) for line in (tmp_path / "whole" / "test--b.jsonl").read_text().splitlines() if line]
    assert len({(row["agent"], row["seed"]) for row in kept}) == len(kept) == 10


def test_more_episodes_are_added_to_those_there_are(tmp_path):
    (few,) = measured([cartpole()], folder=tmp_path).values()
    (more,) = measured([cartpole()], Counts(9, 7), folder=tmp_path).values()
    assert more.random_returns[:6] == few.random_returns and more.expert_returns[:4] == few.expert_returns
    assert (len(more.random_returns), len(more.expert_returns)) == (9, 7)
    assert (tmp_path / "test--cartpole.jsonl").read_text().count("seed") == 16


def test_episodes_of_another_expert_are_not_taken_for_its_own(tmp_path):
    measured([cartpole()], folder=tmp_path)
    measured([replace(cartpole(), expert_name="another")], folder=tmp_path)
    assert (tmp_path / "test--cartpole.jsonl").read_text().count("seed") == 20


@pytest.mark.parametrize(("seconds", "count"), [(0.1, 20), (4.9, 20), (5, 10), (59, 10), (60, 5), (1000, 5)])
def test_the_rule(seconds, count, monkeypatch):
    assert expert_episodes(seconds) == count
    task = cartpole()
    part = references._Measuring(task, Counts(), references.FIRST_SEED, None)
    assert len(part.wanted("random")) == 50 and len(part.wanted("expert")) == 1
    row = {"agent": "expert", "seed": references.FIRST_SEED, "seconds": seconds}
    part.rows["expert", references.FIRST_SEED] = row
    assert len(part.wanted("expert")) == count and len(part.missing("expert")) == count - 1


def test_the_expert_counts_its_own_episodes_by_the_rule():
    (found,) = measured([cartpole()], Counts(2)).values()
    assert (found.n_random, found.n_expert) == (2, 20)


def test_an_expert_that_fails_is_left_out_where_it_fails():
    """Of the first episode too, which tells how many there will be."""
    (found,) = measured([cartpole(fails=(10_000, 10_003))], Counts(2)).values()
    assert (found.n_random, found.n_expert) == (2, 18)
    (none,) = measured([cartpole(fails=tuple(range(10_000, 10_020)))], Counts(2)).values()
    assert isinstance(none, OpenGatoError) and "finished no episode" in str(none)


def test_what_has_changed_is_found(monkeypatch, tmp_path):
    task = cartpole()
    (found,) = measured([task]).values()
    (tmp_path / "mine.json").write_text(json.dumps({task.id: asdict(found)}))
    monkeypatch.setenv("OPENGATO_REFERENCES", str(tmp_path / "mine.json"))
    reference_scores.cache_clear()
    said = []
    assert task.reference == found and found.changed(task) is None
    assert check([task], workers=1, say=said.append) == 0 and not said
    shorter = replace(task, make_env=partial(make_cartpole, 5))  # another horizon, which nothing but its episodes tell
    assert shorter.reference.changed(shorter) is None
    assert check([shorter], workers=1, say=said.append) == 1 and "the first episode of random gives 5 in place of" in said[0]
    other = replace(task, expert_name="another")
    assert "expert was linear controller, and is another" in other.reference.changed(other)
    assert check([cartpole(name="unknown")], workers=1, say=said.append) == 1 and "it has none" in said[-1]
    reference_scores.cache_clear()


def test_no_installed_package_is_written_to(tmp_path):
    with pytest.raises(OpenGatoError, match=r"a file of an installed package: name one of your own, and set \$OPENGATO_REFERENCES"):
        write_references([cartpole()], tmp_path / "site-packages" / "x" / "references.json")


def test_the_stored_references_are_readable():
    for task, fields in reference_scores().items():
        assert Reference(**fields).command.startswith(f"opengato reference {task} "), task
