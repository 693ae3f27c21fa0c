"""Imports point one way: what stands left in the road that data takes knows nothing of what stands right of it."""

import ast
from pathlib import Path

import pytest

import opengato

PACKAGE = Path(opengato.__file__).parent
RIGHT_OF = {
    "tokens": {"torch", "opengato.datasets", "opengato.mixture", "opengato.model", "opengato.training", "opengato.policy"},
    "model": {"opengato.datasets", "opengato.mixture", "opengato.training", "opengato.policy", "opengato.evaluation", "opengato.serving"},
    "mixture": {"torch", "opengato.training", "opengato.policy", "opengato.evaluation", "opengato.serving"},
    "training": {"opengato.policy", "opengato.evaluation", "opengato.serving", "opengato.robots", "opengato.demo"},
    "policy": {"opengato.training", "opengato.mixture", "opengato.evaluation", "opengato.serving", "opengato.robots"},
}


def imports(tree):
    """The modules that are imported anywhere, but for those that only a reader of types needs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        yield from imports(node)


@pytest.mark.parametrize("room", RIGHT_OF)
def test_a_room_imports_nothing_right_of_it(room):
    files = list((PACKAGE / room).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {module}"
        for file in files
        for module in imports(ast.parse(file.read_text()))
        for forbidden in RIGHT_OF[room]
        if module == forbidden or module.startswith(forbidden + ".")
    ]
    assert not wrong
