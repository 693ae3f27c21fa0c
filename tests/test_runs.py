"""What a run leaves of what it was asked for, and that it is done again from there; and how much a program says."""

import json
import sys

import pytest

from opengato import console
from opengato.cli import main

TINY = ["--steps", "2", "--batch", "2", "--workers", "0", "--model.context", "64", "--device", "cpu"]


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(console.VARIABLE, "normal")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speech.txt").write_text("four score and seven years ago our fathers brought forth " * 40)


def record(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.mark.slow
def test_a_training_is_done_again_from_its_record(tmp_path, capsys):
    main(
        [
            "train",
            "swift-nano",
            "--data",
            f"text:{tmp_path / 'speech.txt'}",
            "--out",
            "one",
            "--seed",
            "5",
            *TINY,
            "--optimiser.clip",
            "0.5",
        ]
    )
    first = record(tmp_path / "one")
    assert first["command"] == "train" and first["seed"] == 5 and first["versions"]["python"] == sys.version.split()[0]
    settings = first["arguments"]["settings"]
    assert settings["batch"] == 2 and settings["checkpoint_every"] == 30.0  # also what was left to the recipe
    assert first["arguments"]["optimiser"]["clip"] == 0.5 and first["arguments"]["optimiser"]["weight_decay"] == 0.2
    main(["train", "--config", "one/run.json", "--out", "two", "-q"])
    one, two = (json.loads((tmp_path / name / "train.json").read_text()) for name in ("one", "two"))
    assert one == two and record(tmp_path / "two")["arguments"] == first["arguments"] | {"out": "two"}
    weights = [(tmp_path / name / "checkpoint" / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    main(["train", "--config", "one/run.json", "--out", "three", "--seed", "6"])  # the line has the last word
    assert record(tmp_path / "three")["seed"] == 6
    assert json.loads((tmp_path / "three" / "train.json").read_text())["train"]["batch"] == 2


@pytest.mark.slow
def test_collect_and_eval_are_done_again_from_their_records(tmp_path, capsys):
    main(["collect", "memory/t-maze-short", "--episodes", "1", "--out", "data", "--workers", "1"])
    first = record(tmp_path / "data")
    assert first["arguments"]["task"] == ["memory/t-maze-short"] and first["seed"] == 0
    metadata = next((tmp_path / "data").rglob("metadata.json"))
    assert json.loads(metadata.read_text())["opengato_versions"] == first["versions"]
    main(["collect", "--config", "data/run.json", "--out", "again"])
    names = [sorted(str(p.relative_to(tmp_path / root)) for p in (tmp_path / root).rglob("*.hdf5")) for root in ("data", "again")]
    assert names[0] == names[1] and names[0]
    data = [f"minari:{path.parent.parent}" for path in sorted((tmp_path / "data").rglob("metadata.json"))]
    main(["eval", "look", "--baseline", "lookup", "--data", *data, "--episodes", "1", "--workers", "1", "--out", "kept", "--timeout", "77"])
    kept = record(tmp_path / "kept")
    assert kept["arguments"]["playing"]["timeout"] == 77 and kept["arguments"]["baseline"] == "lookup"
    main(["eval", "--config", "kept/run.json", "--out", "other", "--json", "-q"])
    episodes = [sorted(p.name for p in (tmp_path / name).glob("*.jsonl")) for name in ("kept", "other")]
    assert episodes[0] == episodes[1] and len(episodes[0]) == len(data)
    assert all((tmp_path / "kept" / name).read_text() == (tmp_path / "other" / name).read_text() for name in episodes[0])


def test_a_run_that_is_refused_leaves_no_record(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", "swift-nano", "--data", "text:nowhere.txt", "--out", "runs/new", *TINY])
    assert not (tmp_path / "runs" / "new").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"command": "eval"}, "is of `opengato eval`, not of `opengato train`"),
        ({"arguments": {"colour": 1}}, "has 'colour', which `opengato train` does not take"),
        ({"versions": 3}, "is no run.json of a run"),
    ],
)
def test_records_of_something_else_are_refused(tmp_path, capsys, change, sentence):
    (tmp_path / "run.json").write_text(json.dumps({"command": "train", "arguments": {}, "versions": {}} | change))
    with pytest.raises(SystemExit):
        main(["train", "--config", "run.json"])
    assert sentence in capsys.readouterr().err


def test_other_versions_are_named(tmp_path, capsys):
    (tmp_path / "run.json").write_text(json.dumps({"command": "train", "arguments": {"show_list": True}, "versions": {"torch": "1.0"}}))
    main(["train", "--config", "run.json"])
    assert "torch 1.0, now 2" in capsys.readouterr().err


@pytest.mark.slow
def test_quiet_and_verbose(tmp_path, capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setenv(console.VARIABLE, "normal")
        main(["train", "swift-nano", "--data", f"text:{tmp_path / 'speech.txt'}", *TINY, *arguments])
        return capsys.readouterr()

    normal, quiet, verbose = run("--out", "n"), run("-q", "--out", "q"), run("--out", "v", "--verbose")
    assert "training" in normal.out and "debug:" not in normal.err
    assert quiet.out == "q/checkpoint: 2 steps\n" and quiet.err == ""
    assert "debug: " in verbose.err
    with pytest.raises(SystemExit):
        run("--out", "v", "--seed", "3", "-v")
    wrong = capsys.readouterr().err
    assert "Traceback" in wrong and wrong.splitlines()[-1].startswith("error: ")
