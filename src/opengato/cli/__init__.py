"""The command line: one function a command, in modules named like the rooms they call; nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys

from opengato.cli import demo, domains, evaluation, model, policy, robots, serving, training  # noqa: F401  registers their commands
from opengato.cli.app import app


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `opengato`."""
    from opengato.errors import OpenGatoError

    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app.cli(args=arguments, prog="opengato", description="OpenGato: one transformer, one set of weights, many bodies.")
    except OpenGatoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped: what was finished is kept, the same command goes on from there", file=sys.stderr)
        sys.exit(130)
