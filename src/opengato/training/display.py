"""The live display of a training run: progress, time left, loss by domain, speed."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from opengato.console import is_quiet


class Display:
    """A context manager; `update` takes a row of the log."""

    def __init__(self, total: int, done: int, show: bool = True):
        self.progress = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()
        )
        self.bar = self.progress.add_task("training", total=total, completed=done)
        self.validation: float | None = None  # the last one measured
        self.live = Live(self.progress, refresh_per_second=2, transient=False) if show and not is_quiet() else None

    def __enter__(self) -> Display:
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.live:
            self.live.__exit__(*exception)

    def update(self, row: dict[str, Any], done: float) -> None:
        """Show one row, {"step", "loss", "loss/<domain>", "timesteps_per_s", …}, and how much is done, in the bar's units."""
        self.progress.update(self.bar, completed=done)
        if not self.live:
            return
        table = Table.grid(padding=(0, 2))
        table.add_row("loss", f"{row['loss']:.3f}", f"{row['timesteps_per_s']:,.0f} timesteps/s", f"{row['tokens_per_s']:,.0f} positions/s")
        for key, value in row.items():
            if key.startswith("loss/"):
                table.add_row(f"  {key.removeprefix('loss/')}", f"{value:.3f}", "", "")
        self.validation = row.get("validation/loss", self.validation)
        if self.validation is not None:
            table.add_row("validation", f"{self.validation:.3f}", "", "")
        self.live.update(Group(self.progress, table))
