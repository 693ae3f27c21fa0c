"""The command line as its users type it: what it prints, and what it says when something is wrong."""

import json
import re
import subprocess
import sys

import pytest


def opengato(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "opengato", *arguments], capture_output=True, text=True, timeout=120)


def test_help_names_every_command_and_imports_nothing_heavy():
    done = opengato("--help")
    assert done.returncode == 0
    for command in (
        "tasks",
        "info",
        "collect",
        "reference",
        "eval",
        "compare",
        "play",
        "figure thresholds",
        "figure attention",
        "figure embedding",
        "caption",
        "ask",
        "chat",
        "train",
        "demo",
        "serve",
        "robot",
        "doctor",
        "cache list",
        "cache clear",
    ):
        assert command in done.stdout
    code = "import sys; sys.argv = ['opengato', '--help']\nimport opengato.cli\ntry: opengato.cli.main()\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'pyarrow', 'gymnasium', 'sentencepiece', 'aiohttp'} & set(sys.modules), 'heavy'"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_version_is_that_of_the_package(capsys):
    import opengato
    from opengato.cli import main

    main(["--version"])
    assert capsys.readouterr().out == f"opengato {opengato.__version__}\n" and opengato.__version__[0].isdigit()


def test_tasks_are_objects_with_all_their_keys():
    tasks = json.loads(opengato("tasks", "--json").stdout)
    scores = {"random_score", "expert_score", "human_score", "n"}
    keys = {"id", "domain", "observation_space", "action_space", "expert", "extra", "available"} | scores
    assert len(tasks) > 100 and all(set(t) == keys for t in tasks)
    arms = json.loads(opengato("tasks", "--domain", "metaworld", "--json").stdout)
    assert len(arms) == 50 and {t["domain"] for t in arms} == {"metaworld"}


def test_info_of_a_preset():
    facts = json.loads(opengato("info", "gato-79m", "--json").stdout)
    assert facts["parameters"] == pytest.approx(79e6, rel=0.025) and facts["layers"] == 8 and facts["context"] == 1024
    assert "context" in opengato("info", "swift-nano").stdout


def test_training_reads_datasets_of_the_root(tmp_path, monkeypatch):
    from opengato.cli import main
    from opengato.training import train

    heard = []
    for name in ("train", "finetune"):
        monkeypatch.setattr(train, name, lambda *arguments, root, **settings: heard.append(root))
    main(["train", "swift-nano", "--data", "opengato/any-v0", "--root", str(tmp_path)])
    main(["finetune", "generalist", "--data", "captions/emoji", "--root", str(tmp_path), "--out", str(tmp_path / "run")])
    assert heard == [tmp_path, tmp_path]


@pytest.mark.parametrize(
    "family, knows, lora, rate",
    [
        ("swift", True, [], 1e-4),
        ("swift", False, [], 5e-4),
        ("swift", True, ["--lora", "4"], 1e-3),
        ("swift", True, ["--optimiser.learning-rate", "2e-4"], 2e-4),
        ("gato", False, ["--lora", "4"], 1e-5),
    ],
)
def test_a_checkpoint_is_fine_tuned_as_its_family_is(family, knows, lora, rate, tmp_path, monkeypatch):
    """The paper's as in the paper (gato.md, 5.2: Adam at a constant 1e-5); swift's by Adam too, not by its Muon."""
    from opengato.cli import main
    from opengato.pretrained import agent_folder
    from opengato.training import train

    heard = []
    monkeypatch.setattr(train, "finetune", lambda folder, chosen, *arguments, **settings: heard.append(chosen.train.optimiser))
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    generalist = json.loads((agent_folder("generalist") / "config.json").read_text())
    tasks = {task: layout for task, layout in generalist["tasks"].items() if knows or task.startswith("babyai/")}
    (checkpoint / "config.json").write_text(json.dumps({"format": 4, "model": {"family": family}, "tasks": tasks}))
    main(["finetune", str(checkpoint), "--data", "captions/emoji", "--out", str(tmp_path / "run"), *lora])
    assert (heard[0].kind, heard[0].learning_rate) == ("adamw", rate)
    assert heard[0].schedule == ("constant" if family == "gato" else "linear")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["arguments"]["optimiser"]["learning_rate"] == rate


def test_datasets_are_tokenised_and_verified(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path))
    (tmp_path / "speech.txt").write_text("four score and seven years ago")
    names = [f"text:{tmp_path / 'speech.txt'}", "captions/emoji"]
    done = opengato("tokenize", *names)
    assert done.returncode == 0 and "text/speech, 1 episodes, 1 timesteps, 8 tokens" in done.stdout and "captions/emoji, 1,5" in done.stdout
    (shard,) = (tmp_path / "tokens" / "shards").iterdir()
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    again = opengato("tokenize", "captions/emoji", "--verify")
    assert again.returncode == 0 and f"{shard.name} is damaged" in again.stderr.replace("\n", "") and again.stdout in done.stdout
    refused = opengato("tokenize", "captions/emoji", "--skip-bad", "2")
    assert refused.returncode == 1 and "skip_bad is 2: give a share" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian", "swift-nano"], "did you mean 'train'"),
        (["info", "gato-79n"], "did you mean 'gato-79m'"),
        (["train", "swift-nona", "--data", "text/plain"], "did you mean 'swift-nano'"),
        (["collect", "metaworld/reech"], "did you mean 'metaworld/reach'"),
        (["tasks", "--domain", "metaword"], "did you mean 'metaworld'"),
        (["eval", "nowhere"], "no checkpoint"),
        (["serve", "nowhere"], "no checkpoint"),
        (["serve", "nowhere", "--host", "0.0.0.0"], "give a --token-file"),
    ],
)
def test_errors_are_one_sentence_with_a_remedy(arguments, sentence):
    done = opengato(*arguments)
    assert done.returncode == 1 and sentence in done.stderr
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_hours_choose_the_network_and_the_run_goes_on_with_it(tmp_path):
    command = ["train", "--hours", "0.002", "--data", "captions/emoji", "--out", str(tmp_path)]
    refused = opengato(*command, "--seconds", "5")
    assert refused.returncode != 0 and "leave recipe, steps and seconds out" in refused.stderr
    done = opengato(*command)
    assert done.returncode == 0, done.stderr
    said = re.search(r"0.002 hours here: (swift-d\d+), ", done.stderr)
    kept = json.loads((tmp_path / "run.json").read_text())["arguments"]
    assert said and said[1] == kept["recipe"] == json.loads((tmp_path / "train.json").read_text())["recipe"]["model"]
    assert kept["hours"] is None and kept["settings"]["seconds"] == pytest.approx(7.2)
    again = opengato(*command)
    assert again.returncode == 0 and "hours here" not in again.stderr
