"""Nobody is told who uses this package: neither by it nor by the packages that it uses."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

# Every process that Python starts with this on its path writes down whom it asks for, and refuses.
WATCH = """
import os, sys

def _watch(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host is None or host in ("localhost", "::1", "", "0.0.0.0") or str(host).startswith("127."):
        return
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{host} {sys.argv[:3]}\\n")
    raise OSError(f"no network for {host}")

sys.addaudithook(_watch)
"""
ASKS = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), timeout=1)\nexcept OSError: pass"
SETTINGS = """
import json, opengato
found = {}
try:
    from ray._common.usage import usage_lib
    found["ray"] = usage_lib.usage_stats_enabled()
except ImportError:
    pass
try:
    from huggingface_hub import constants
    found["huggingface_hub"] = not constants.HF_HUB_DISABLE_TELEMETRY
except ImportError:
    pass
try:
    from wandb import env
    found["wandb"] = env.error_reporting_enabled()
except ImportError:
    pass
print(json.dumps(found))
"""


def run(code, tmp_path, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
def test_packages_that_report_their_use_do_not(tmp_path):
    done = run(SETTINGS, tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found and not any(found.values()), found
    if find_spec("ray") is not None:  # whoever wants it has the last word
        said = run("import opengato, os; print(os.environ['RAY_USAGE_STATS_ENABLED'])", tmp_path, RAY_USAGE_STATS_ENABLED="1")
        assert said.stdout == "1\n"


@pytest.mark.slow
def test_collecting_training_and_evaluating_ask_nobody(tmp_path):
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    asked = tmp_path / "asked"
    watched = {
        "PYTHONPATH": f"{tmp_path / 'watch'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "ASKED": str(asked),
        "OPENGATO_CACHE": str(tmp_path / "cache"),
        "TRACKIO_DIR": str(tmp_path / "trackio"),
    }
    run(ASKS, tmp_path, **watched)
    assert asked.read_text().startswith("192.0.2.1")  # it watches
    asked.unlink()
    trackers = [name for name in ("wandb", "trackio") if find_spec(name) is not None]
    main = "import sys; from opengato.cli import main; main(sys.argv[1:])"
    data = "opengato/memory/t-maze-short-v0"
    commands = [
        ["collect", "memory/t-maze-short", "--episodes", "2", "--out", "data", "--workers", "1"],
        ["train", "swift-nano", "--data", data, "--root", "data", "--steps", "2", "--batch", "2", "--workers", "0", "--out", "run"]
        + (["--tracker", *trackers] if trackers else []),
        ["eval", "run/checkpoint", "--episodes", "1", "--workers", "1"],
    ]
    for command in commands:
        done = run(main, tmp_path, *command, **watched)
        assert done.returncode == 0, done.stderr
    assert not asked.exists(), asked.read_text()
