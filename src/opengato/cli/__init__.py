"""The command line: one function a command, in modules named like the rooms they call; nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys
import traceback

import tyro

import opengato
from opengato.cli import (  # noqa: F401  registers their commands
    dagger,
    data,
    datasets,
    demo,
    domains,
    evaluation,
    figures,
    generalist,
    machine,
    model,
    policy,
    robots,
    serving,
    training,
)
from opengato.cli.app import commands, described, general, overview, split
from opengato.console import is_debugging, set_verbosity
from opengato.errors import OpenGatoError, unknown


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `opengato`."""
    try:
        verbosity, config, left = general(sys.argv[1:] if arguments is None else arguments)
        name, rest = split(left)
        if name in ("", "-h", "--help"):
            print(overview())
            sys.exit(0 if name else 2)
        if name == "--version":
            print(f"opengato {opengato.__version__}")
            return
        if verbosity is not None:
            set_verbosity(verbosity)
        if name not in commands:
            inner = [command for command in commands if command.startswith(f"{name} ")]
            raise OpenGatoError(f"say what: {', '.join(inner)}") if inner else unknown("command", name, commands)
        function = commands[name]
        if config is not None:
            from opengato.runs import replayed

            function = replayed(function, name, config)
        tyro.cli(function, args=rest, prog=f"opengato {name}", description=described(function))
    except OpenGatoError as error:
        if is_debugging():
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped: what was finished is kept, the same command goes on from there", file=sys.stderr)
        sys.exit(130)
