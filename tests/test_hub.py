"""Checkpoints to the Hub and from it, against a Hub on this machine; and no network for whoever does not ask for one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub

pytest.importorskip("huggingface_hub")

RELEASED = Path(__file__).parent / "checkpoints" / "format-1" / "swift"

# In a process of its own: huggingface_hub reads where the Hub is, and where its cache, as it is imported.
PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from opengato import Policy
from opengato.cli import main
from opengato.errors import OpenGatoError

folder = Path(sys.argv[1])
main(["release", str(folder / "whole"), str(folder / "small"), "--about", "An arm.", "--push", "hub:somebody/arm"])
seen = np.load(folder / "whole" / "expected.npz")["arm/follow|observations"]
actions = []
for name in (folder / "small", "hub:somebody/arm", "hub:somebody/arm@main"):
    policy = Policy.from_pretrained(name, temperature=0.0)
    policy.reset("arm/follow")
    actions.append([policy.act(one).tolist() for one in seen])
said = []
for name in ("hub:nobody/nothing", "hub:arm"):
    try:
        Policy.from_pretrained(name)
    except OpenGatoError as error:
        said.append(str(error))
main(["info", "hub:somebody/arm", "--json"])
print(json.dumps({"actions": actions, "said": said}), file=sys.stderr)
"""


def run(folder, address, program=PROGRAM):
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(folder / "hf"), "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=240, env=environment)


@pytest.mark.slow
def test_what_is_pushed_comes_back_as_the_same_agent(tmp_path):
    shutil.copytree(RELEASED, tmp_path / "whole")
    hub = Hub()
    try:
        done = run(tmp_path, hub.address)
        assert done.returncode == 0, done.stderr
        files = hub.repositories["somebody/arm"]
        assert set(files) == {p.name for p in (tmp_path / "small").iterdir()} and hub.private["somebody/arm"]
        assert files["model.safetensors"] == (tmp_path / "small" / "model.safetensors").read_bytes()
        assert files["README.md"].startswith(b"---\nlibrary_name: opengato")
        found = json.loads(done.stderr.splitlines()[-1])
        np.testing.assert_array_equal(found["actions"][0], found["actions"][1])
        np.testing.assert_array_equal(found["actions"][0], found["actions"][2])
        assert np.ptp(found["actions"][0]) > 0.1
        assert "hub:nobody/nothing cannot be had from the Hub" in found["said"][0]
        assert "hub:arm is no name on the Hub: write hub:OWNER/NAME" in found["said"][1]
        assert json.loads(done.stdout[done.stdout.index("{") :])["tasks"]
    finally:
        hub.shutdown()


def test_without_a_name_of_the_hub_nobody_asks_the_network(tmp_path):
    hub = Hub()
    try:
        program = f"import sys\nfrom opengato import Policy\nPolicy.from_pretrained({str(RELEASED)!r})\n"
        done = run(tmp_path, hub.address, program + "assert 'huggingface_hub' not in sys.modules")
        assert done.returncode == 0, done.stderr
        assert hub.asked == []
    finally:
        hub.shutdown()
