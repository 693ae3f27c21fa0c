"""What `from opengato import …` gives: the thing itself, and the same one after its module was imported."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import opengato


def test_every_public_name_is_a_thing_and_no_module():
    for _ in range(2):
        for name in opengato.__all__:
            assert not isinstance(getattr(opengato, name), ModuleType) and callable(getattr(opengato, name))


def test_nothing_heavy_is_imported_before_it_is_used():
    code = "import sys, opengato; assert not {'torch', 'gymnasium', 'pyarrow'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_large_tensors_have_huge_pages_where_the_machine_gives_them():
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.is_file() or "[never]" in setting.read_text():
        pytest.skip("this machine has no huge pages to give")
    code = (
        "import opengato, torch; x = torch.ones(2**24); print(sum(int(l.split()[1]) for l in open('/proc/self/smaps') if 'AnonHuge' in l))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 0  # kB: of the 64 MiB as much as there is
