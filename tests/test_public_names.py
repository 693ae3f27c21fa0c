"""What `from opengato import …` gives: the thing itself, and the same one after its module was imported."""

import subprocess
import sys
from types import ModuleType

import opengato


def test_every_public_name_is_a_thing_and_no_module():
    for _ in range(2):
        for name in opengato.__all__:
            assert not isinstance(getattr(opengato, name), ModuleType) and callable(getattr(opengato, name))


def test_nothing_heavy_is_imported_before_it_is_used():
    code = "import sys, opengato; assert not {'torch', 'gymnasium', 'pyarrow'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
