"""`python -m opengato`, for launchers that start modules (torchrun)."""

from opengato.cli import main

main()
