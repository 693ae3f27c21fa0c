"""What all commands share: where they register, and how options that several have are spelled."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from opengato.console import Verbosity
from opengato.errors import OpenGatoError

commands: dict[str, Callable[..., None]] = {}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command, named like its function, less an underscore at the end; one inside it stands for a space."""
    commands[function.__name__.rstrip("_").replace("_", " ")] = function
    return function


def split(arguments: list[str]) -> tuple[str, list[str]]:
    """The name of the command, of one word or two, and its arguments."""
    if (two := " ".join(arguments[:2])) in commands:
        return two, arguments[2:]
    return (arguments or [""])[0], arguments[1:]


_GENERAL = """With every command: -q, --quiet: no progress bars and notices; -v, --verbose: details, and tracebacks of errors;
--config FILE: the arguments of a run, as it left them in its folder's run.json, in place of the defaults."""


def general(arguments: list[str]) -> tuple[Verbosity | None, Path | None, list[str]]:
    """What every command takes, wherever it stands: how much is said, None where nothing says it, a run.json; and all other arguments."""
    verbosity: Verbosity | None = None
    config, rest, waiting = None, [], iter(arguments)
    for argument in waiting:
        if argument in ("-q", "--quiet"):
            verbosity = "quiet"
        elif argument in ("-v", "--verbose"):
            verbosity = "debug"
        elif argument == "--config":
            if (following := next(waiting, None)) is None:
                raise OpenGatoError("--config is without a file: name the run.json of a run's folder")
            config = Path(following)
        elif argument == "--":
            rest += [argument, *waiting]
        else:
            rest.append(argument)
    return verbosity, config, rest


def described(function: Callable[..., None]) -> str:
    """What a command's help begins with."""
    return (inspect.getdoc(function) or "").split("\n\nArgs:")[0] + f"\n\n{_GENERAL}"


def overview() -> str:
    """All commands, each with the first paragraph of its docstring."""
    lines = ["usage: opengato COMMAND …", "", "OpenGato: one transformer, one set of weights, many bodies.", ""]
    wide = 1 + max(map(len, commands))
    for name, function in commands.items():
        about = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        lines += textwrap.wrap(about, 100, initial_indent=f"  {name:{wide}}", subsequent_indent=(wide + 2) * " ")
    return "\n".join([*lines, "", *textwrap.wrap(_GENERAL, 100), "", "`opengato COMMAND --help` tells a command's options."])


# As opengato.model.precision has it, which needs torch.
Precision = Literal["float32", "bfloat16", "int8"]


def print_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of plain text: of hundreds of rows, rich takes longer than all else."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    print("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (header, *rows)), flush=True)


def print_json(data: object) -> None:
    """Print it, indented by one."""
    print(json.dumps(data, indent=1))
