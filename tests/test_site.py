"""The documentation builds as a site without a warning, and has the API's names."""

import os
import re
import subprocess
import sys

import pytest
from documents import DOCUMENTS, ROOT


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


def test_no_document_has_both_sides_of_a_merge():
    texts = {path.name: path.read_text() for path in (*DOCUMENTS, ROOT / "CHANGELOG.md")}
    assert len(texts) > 20 and [name for name, text in texts.items() if re.search(r"^(<{7}|={7}$|>{7})", text, re.MULTILINE)] == []
