"""What the documents tell their readers to type: the blocks that are marked run as they stand, and all commands and options are there."""

import inspect
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from documents import DOCUMENTS, ROOT, blocks

import opengato.cli  # noqa: F401  registers the commands
from opengato.cli.app import commands

FIXTURES = ROOT / "tests" / "datasets" / "official"
# What a document's reader has already, of which the repository has a small one.
READERS_HAVE = {"docs/tutorial-lerobot.md": {"so101_pick": FIXTURES / "lerobot_v3"}}
SECONDS = 600

_RUNNING = [path for path in DOCUMENTS if any(block.runs and block.file is None for block in blocks(path))]
_SLOW = [path for path in _RUNNING if any(block.slow for block in blocks(path))]


def _run(document: Path, folder: Path) -> None:
    name = str(document.relative_to(ROOT))
    for there, source in READERS_HAVE.get(name, {}).items():
        shutil.copytree(source, folder / there)
    environment = {**os.environ, "OPENGATO_CACHE": str(folder / "cache"), "PATH": f"{_commands(folder)}{os.pathsep}{os.environ['PATH']}"}
    background = []
    try:
        for number, block in enumerate(block for block in blocks(document) if block.runs):
            if block.file is not None:
                (folder / block.file).write_text(block.code)
                continue
            path = folder / f"block-{number}.{'py' if block.language == 'python' else 'sh'}"
            path.write_text(block.code)
            command = ["python", str(path)] if block.language == "python" else ["bash", "-euo", "pipefail", str(path)]
            if block.port is not None:
                background.append(subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True))
                _wait(block.port, background[-1])
                continue
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
            assert done.returncode == 0, f"{name}, block {number}:\n{block.code}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    finally:
        for process in background:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _commands(folder: Path) -> Path:
    """A folder with `opengato` and `python` as a reader has them, of this interpreter and this checkout."""
    places = os.environ.get("PYTHONPATH", "")
    begin = f'#!/bin/sh\nexport PYTHONPATH="${{PYTHONPATH:-}}:{folder}:{ROOT / "src"}:{places}"\nexec {sys.executable} '
    (folder / "bin").mkdir()
    for name, rest in {"opengato": '-m opengato "$@"\n', "python": '"$@"\n'}.items():
        (folder / "bin" / name).write_text(begin + rest)
        (folder / "bin" / name).chmod(0o755)
    return folder / "bin"


def _wait(port: int, process: subprocess.Popen) -> None:
    for _ in range(4 * SECONDS):
        assert process.poll() is None, "it has ended"
        with socket.socket() as knocking:
            if knocking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.25)
    raise AssertionError(f"nobody listens at {port}")


@pytest.mark.parametrize("document", [path for path in _RUNNING if path not in _SLOW], ids=lambda path: path.name)
def test_what_is_written_runs(document, tmp_path):
    _run(document, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("document", _SLOW, ids=lambda path: path.name)
def test_what_is_written_runs_slowly(document, tmp_path):
    _run(document, tmp_path)
    if document.name == "tutorial-gymnasium.md":  # it must also work
        import json

        scores = json.loads((tmp_path / "scores.json").read_text())["tasks"]["gym/hand:Hand-v0"]
        assert scores["success"] >= 0.8 and (tmp_path / "hand.mp4").stat().st_size > 1000


def _options(function) -> set[str]:
    """The options of a command, as they are typed."""
    found = {"--help", "--config", "--quiet", "--verbose"}

    def add(hints: dict[str, object], prefix: str) -> None:
        for name, hint in hints.items():
            marked = [mark for mark in getattr(hint, "__metadata__", ()) if hasattr(mark, "name")]
            plain = typing.get_args(hint)[0] if marked else hint
            spelled = marked[0].name if marked and marked[0].name is not None else name
            if is_dataclass(plain) or typing.is_typeddict(plain):
                add(typing.get_type_hints(plain, include_extras=True), f"{prefix}{spelled}." if spelled else prefix)
                continue
            option = (prefix + spelled).replace("_", "-")
            found.update({f"--{option}", f"--no-{option}"})

    add({name: hint for name, hint in typing.get_type_hints(function, include_extras=True).items() if name != "return"}, "")
    return found


def _lines(code: str) -> list[str]:
    return [line.split("#")[0].strip() for line in code.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_option_is_there(document):
    for block in blocks(document):
        if block.language not in ("bash", "sh"):
            continue
        for line in _lines(block.code):
            for part in re.split(r"&&|\|(?!\|)|;", line):
                words = shlex.split(part.replace("…", " "))
                if "opengato" not in words[:3]:
                    continue
                rest = words[words.index("opengato") + 1 :]
                name = " ".join(rest[:2]) if " ".join(rest[:2]) in commands else (rest or [""])[0]
                assert name in commands, f"{document.name}: {line}"
                function = commands[name]
                assert inspect.isfunction(function)
                for word in rest:
                    if word.startswith("--"):
                        assert word.split("=")[0].replace("_", "-") in _options(function), f"{document.name}: {word} in {line}"
