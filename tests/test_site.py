"""The documentation builds as a site without a warning, and has the API's names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    api = (tmp_path / "site" / "api" / "index.html").read_text()
    for name in ("Policy", "from_pretrained", "Task", "evaluate", "push_to_hub"):
        assert f"{name}</span>" in api or f'.{name}"' in api, name
    home = (tmp_path / "site" / "index.html").read_text()
    assert "One transformer" in home and 'href="tutorial-gymnasium/"' in home
