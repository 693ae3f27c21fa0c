"""Figures: what they show is what a count by hand says, and they are whole files."""

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from opengato.cli import main
from opengato.domains.task import Reference
from opengato.evaluation.figures import colour_of, standalone, threshold_chart
from opengato.evaluation.score import THRESHOLDS, summarise, task_score

SVG = "{http://www.w3.org/2000/svg}"


def scores_of(domains, seed=0):
    """Tasks with scores and successes drawn at random, one in four without references."""
    rng = np.random.default_rng(seed)
    found = []
    for domain, count in domains.items():
        for i in range(count):
            reference = Reference(0, 10, 50, 10, "") if rng.random() < 0.75 else None
            returns = rng.uniform(-3, 15) + rng.normal(size=4)
            found.append(
                task_score(f"{domain}/{i}", dict(enumerate(returns)), reference, dict(enumerate((rng.random(4) < rng.random()).tolist())))
            )
    return found


def bars(figure):
    """(threshold, domain) -> tasks and the height of their part; and the numbers above the bars."""
    root = ElementTree.fromstring(figure)
    found = {}
    for rect in root.iter(f"{SVG}rect"):
        if (title := rect.find(f"{SVG}title")) is not None:
            domain, count, threshold = re.fullmatch(r"(.+): (\d+) of \d+ at (\d+)% or more", title.text).groups()
            found[int(threshold), domain] = int(count), float(rect.get("height")), float(rect.get("y"))
    tops = [int(text.text) for text in root.iter(f"{SVG}text") if text.get("class") == "number"]
    return found, tops


@pytest.mark.parametrize("share", ["score", "success"])
def test_thresholds_count_as_by_hand(share):
    scores = scores_of({"arm": 9, "grid": 14, "games": 5})
    found, tops = bars(standalone(threshold_chart(scores, share)))
    values = [(s.task.split("/")[0], s.score if share == "score" else 100 * s.success) for s in scores]
    values = [(domain, value) for domain, value in values if value is not None]
    assert (len(values) < len(scores)) == (share == "score")
    for number, threshold in enumerate(THRESHOLDS):
        bottom = None
        for domain in ("arm", "games", "grid"):
            count = sum(1 for of, value in values if of == domain and value >= threshold)
            if not count:
                assert (threshold, domain) not in found
                continue
            said, height, y = found[threshold, domain]
            assert said == count and height == pytest.approx(184 * count / len(values), abs=0.01)
            assert bottom is None or y + height == pytest.approx(bottom, abs=0.2)  # stands on the one before
            bottom = y
        assert tops[number] == sum(1 for _, value in values if value >= threshold)


def test_thresholds_of_several_files_are_those_of_all_their_tasks(tmp_path, capsys):
    scores = scores_of({"arm": 6, "grid": 6})
    for name in ("arm", "grid"):
        part = summarise([s for s in scores if s.domain == name], {"arm/lost": {7: "gone"}} if name == "arm" else None)
        (tmp_path / f"{name}.json").write_text(json.dumps(part))
    files = [str(tmp_path / "arm.json"), str(tmp_path / "grid.json")]
    main(["figure", "thresholds", *files, "--out", str(tmp_path / "figure.svg")])
    assert bars((tmp_path / "figure.svg").read_text()) == bars(standalone(threshold_chart(scores)))
    values = [s.score for s in scores if s.score is not None]
    half = sum(value >= 50 for value in values)
    assert f"{half} of {len(values)} tasks have a score of 50% or more; {12 - len(values)} without one" in capsys.readouterr().out


def test_thresholds_say_what_is_wrong(tmp_path, capsys):
    def refused(*arguments):
        with pytest.raises(SystemExit):
            main(["figure", "thresholds", *map(str, arguments)])
        return capsys.readouterr().err

    bare = [task_score("arm/a", {0: 1.0}, None, {0: True})]
    for name, text in (("bare", json.dumps(summarise(bare))), ("list", "[1]"), ("torn", "{"), ("other", '{"tasks": {"a": 1}}')):
        (tmp_path / f"{name}.json").write_text(text)
    assert "has a score: draw it --by success" in refused(tmp_path / "bare.json")
    for name in ("list", "torn", "other"):
        assert "holds no scores" in refused(tmp_path / f"{name}.json")
    assert "cannot be read: No such file" in refused(tmp_path / "none.json")
    (tmp_path / "again.json").write_text((tmp_path / "bare.json").read_text())
    assert "'arm/a' is in" in refused(tmp_path / "bare.json", tmp_path / "again.json")
    assert "ends in .svg" in refused(tmp_path / "bare.json", "--out", "figure.png")
    assert "results is empty" in refused()
    main(["figure", "thresholds", str(tmp_path / "bare.json"), "--by", "success", "--out", str(tmp_path / "figure.svg")])
    assert bars((tmp_path / "figure.svg").read_text())[1] == [1] * len(THRESHOLDS)


@pytest.mark.parametrize("count", [1, 8, 9, 20, 50])
def test_no_two_names_have_one_colour(count):
    colours = colour_of([f"name {i}" for i in range(count)])
    assert len(set(colours.values())) == count and all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours.values())
