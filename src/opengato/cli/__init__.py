"""The command line: one function a command, in modules named like the rooms they call; nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys

import tyro

from opengato.cli import (  # noqa: F401  registers their commands
    dagger,
    data,
    datasets,
    demo,
    domains,
    evaluation,
    machine,
    model,
    policy,
    robots,
    serving,
    training,
)
from opengato.cli.app import commands, overview, split
from opengato.errors import OpenGatoError, unknown


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `opengato`."""
    name, rest = split(sys.argv[1:] if arguments is None else arguments)
    if name in ("", "-h", "--help"):
        print(overview())
        sys.exit(0 if name else 2)
    try:
        if name not in commands:
            inner = [command for command in commands if command.startswith(f"{name} ")]
            raise OpenGatoError(f"say what: {', '.join(inner)}") if inner else unknown("command", name, commands)
        tyro.cli(commands[name], args=rest, prog=f"opengato {name}")
    except OpenGatoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped: what was finished is kept, the same command goes on from there", file=sys.stderr)
        sys.exit(130)
