"""Imports point one way: what stands left in the road that data takes knows nothing of what stands right of it."""

import ast
from pathlib import Path

import pytest

import opengato

PACKAGE = Path(opengato.__file__).parent
RIGHT_OF = {
    "experts": {"torch", "opengato.domains", "opengato.collection", "opengato.model", "opengato.policy"},
    "tokens": {"torch", "opengato.datasets", "opengato.mixture", "opengato.model", "opengato.training", "opengato.policy"},
    "model": {"opengato.datasets", "opengato.mixture", "opengato.training", "opengato.policy", "opengato.evaluation", "opengato.serving"},
    "mixture": {"torch", "opengato.training", "opengato.policy", "opengato.evaluation", "opengato.serving"},
    "training": {"opengato.policy", "opengato.evaluation", "opengato.serving", "opengato.robots", "opengato.demo"},
    "evaluation": {"opengato.training", "opengato.serving", "opengato.robots", "opengato.demo"},
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


def test_no_modules_import_each_other_in_a_circle():
    """Not even for their readers: what two modules share has a room of its own."""
    files = {
        ".".join(("opengato", *f.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): f for f in PACKAGE.rglob("*.py")
    }
    needs = {
        name: {m for node in ast.walk(ast.parse(file.read_text())) for m in _top(node, files)} - {name} for name, file in files.items()
    }
    done: set[str] = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in sorted(needs[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in sorted(needs):
        visit(name, [])


def _top(node, files):
    """Modules of the package that are imported by this statement; a package that only collects names stands for no module of its own."""
    if isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            if f"{node.module}.{alias.name}" in files:
                yield f"{node.module}.{alias.name}"
            elif node.module in files and files[node.module].name != "__init__.py":
                yield node.module


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
