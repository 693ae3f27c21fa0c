"""What `opengato doctor` and `opengato cache` say of a machine, against what is really there."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from opengato import cache, doctor
from opengato.cli import main
from opengato.errors import OpenGatoError

ROOT = Path(__file__).parent.parent


def test_extras_are_those_of_the_project_and_what_is_missing_is_named():
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {extra.name for extra in doctor.extras()} == set(written["optional-dependencies"])
    assert {r.name for r in doctor.needed()} == {Requirement(line).name for line in written["dependencies"]}
    of_demo = {r.name.lower() for r in doctor.needed("demo")}
    assert {"minari", "minigrid", "ale-py", "imageio-ffmpeg"} <= of_demo and not {"numpy", "vizdoom", "opengato"} & of_demo
    assert doctor.missing(Requirement("numpy>=2")) is None
    assert doctor.missing(Requirement("no-such-package-0>=3")) == "no-such-package-0>=3"
    assert re.fullmatch(r"numpy<1 \(there is 2\.[\d.]+\)", doctor.missing(Requirement("numpy<1")))


def test_an_extra_that_is_missing_comes_with_its_command(monkeypatch):
    monkeypatch.setattr(doctor, "missing", lambda requirement: "minigrid>=9" if requirement.name == "minigrid" else None)
    monkeypatch.setattr("opengato.domains.task._installed", lambda module: module != "procgen")
    doctor.extras.cache_clear()
    try:
        lacking = {extra.name: extra for extra in doctor.extras() if extra.missing}
    finally:
        doctor.extras.cache_clear()
    assert {"procgen", "babyai"} <= set(lacking) and "metaworld" not in lacking
    assert lacking["babyai"].missing == ("minigrid>=9",) and lacking["babyai"].command == 'pip install "opengato[babyai]"'
    assert lacking["procgen"].missing == ("procgen",) and "--no-deps" in lacking["procgen"].command


@pytest.mark.slow
def test_drawing_is_really_tried(monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert doctor.drawing()["works"] is True
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", "/nowhere.json")  # no driver is found
    found = doctor.drawing()
    assert found["works"] is False and found["problem"] and "apt-get install libegl1" in found["command"]


@pytest.mark.slow
def test_the_report_is_of_this_process():
    import torch

    done = subprocess.run([sys.executable, "-m", "opengato", "doctor", "--json"], capture_output=True, text=True, timeout=120)
    report = json.loads(done.stdout)
    assert done.returncode == (1 if report["problems"] else 0)
    assert report["python"] == sys.version.split()[0] and report["versions"]["torch"] == torch.__version__
    assert report["processor"]["cores"] == len(os.sched_getaffinity(0))
    assert report["disks"]["here"]["folder"] == os.getcwd() and report["disks"]["here"]["free"] > 0


def test_the_cache_is_listed_and_cleared_by_its_parts(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENGATO_CACHE", str(tmp_path))
    for name, size in {"tokens/shards/1": 3000, "tokens/index/a.json": 20, "surveys/b.json": 7, "not-ours": 1}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    main(["cache", "list", "--json"])
    listed = {part["name"]: part for part in json.loads(capsys.readouterr().out)}
    assert listed["tokens"]["bytes"] == 3020 and listed["tokens"]["files"] == 2 and listed["surveys"]["bytes"] == 7
    with pytest.raises(OpenGatoError, match="did you mean 'tokens'"):
        cache.clear(["token"])
    main(["cache", "clear", "surveys"])
    assert not (tmp_path / "surveys").exists() and (tmp_path / "tokens" / "shards" / "1").is_file()
    main(["cache", "clear"])
    assert not (tmp_path / "tokens").exists() and (tmp_path / "not-ours").is_file()


def test_every_folder_that_the_package_writes_to_the_cache_is_listed():
    written = {
        name for path in (ROOT / "src" / "opengato").rglob("*.py") for name in re.findall(r'cache_root\(\)\)? / "(\w+)"', path.read_text())
    }
    assert written == set(cache.PARTS)
