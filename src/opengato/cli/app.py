"""What all commands share: the application they register with, and how options that several have are spelled."""

from __future__ import annotations

import json
from typing import Literal

import tyro

app = tyro.extras.SubcommandApp()

# As opengato.model.precision has it, which needs torch.
Precision = Literal["float32", "bfloat16", "int8"]


def print_json(data: object) -> None:
    """Print it, indented by one."""
    print(json.dumps(data, indent=1))
