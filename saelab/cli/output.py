"""How the command line speaks: tables, notes, progress with a rate and an estimate, JSON on request."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from saelab.atomic import write_bytes

WIDE = 160  # columns of a table that goes to a file or a pipe, where rich would assume 80


class Terminal(Console):
    """Breaks tables at the terminal's width, and lines of text nowhere: paths and commands in them can be copied."""

    def print(self, *objects: Any, **how: Any) -> None:
        if all(isinstance(thing, str) for thing in objects):
            how.setdefault("soft_wrap", True)
        if (columns := os.environ.get("COLUMNS", "")).isdigit():  # as it is now; rich keeps what it was at first
            self.width = int(columns)
        elif not self.is_terminal:
            self.width = WIDE
        super().print(*objects, **how)


console = Terminal(highlight=False)

json_option = click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Also write the table as JSON."
)
set_option = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change one setting; may be given many times."
)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their column names; numbers stand right-aligned."""
    view = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        view.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        view.add_row(*[shown(value) for value in row])
    console.print(view)


def shown(value: Any) -> str:
    """A value as a person reads it: three to four digits, thousands apart, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).replace("[", "\\[")  # rich reads [..] as markup
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def write_json(path: Path | None, content: Any) -> None:
    """Write `content` when the user asked for it."""
    if path is not None:
        text = json.dumps(content, indent=2, default=str) + "\n"
        if path.exists() and not path.is_file():  # a pipe or /dev/stdout: nothing can be put in its place
            path.write_text(text, encoding="utf-8")
        else:
            write_bytes(path, text.encode())
        console.print(f"wrote {path}")


class Bar:
    """Progress on the terminal: a bar there, a line every ten seconds where there is no terminal."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.task: TaskID | None = None
        self.what, self.unit, self.total, self.done = "", "", 0, 0
        self.started = self.spoken = time.monotonic()

    def start(self, what: str, total: int, unit: str) -> None:
        self.finish()
        self.what, self.unit, self.total, self.done = what, unit, total, 0
        self.started = self.spoken = time.monotonic()
        self.task = self.bars.add_task(what, total=max(1, total), pace="")

    def advance(self, done: int, **figures: float) -> None:
        self.done += done
        pace = self._pace(figures)
        if self.task is not None:
            self.bars.update(self.task, advance=done, pace=pace)
        if not console.is_terminal and time.monotonic() - self.spoken > 10:
            self.spoken = time.monotonic()
            console.print(f"{self.what}: {self.done:,}/{self.total:,} {self.unit}, {pace}", markup=False)

    def note(self, text: str) -> None:
        console.print(text, markup=False)

    def finish(self) -> None:
        """Replace the bar of the stage that ended by one line that stays."""
        if self.task is None:
            return
        self.bars.remove_task(self.task)
        self.task = None
        seconds = time.monotonic() - self.started
        if seconds > 2:
            console.print(f"{self.what}: {self.done:,} {self.unit} in {seconds:.0f} s ({self._rate()})", markup=False)

    def _rate(self) -> str:
        rate = self.done / max(1e-9, time.monotonic() - self.started)
        return f"{rate:,.0f} {self.unit}/s" if rate >= 10 or not rate else f"{rate:.2g} {self.unit}/s"

    def _pace(self, figures: dict[str, float]) -> str:
        elapsed = time.monotonic() - self.started
        left = elapsed * (self.total - self.done) / max(1, self.done)
        beside = "".join(f"  {name} {value:.4g}" for name, value in figures.items())
        return f"{self._rate()}, {left:.0f} s left{beside}"


@contextmanager
def progress() -> Iterator[Bar]:
    """A Bar for the duration of one piece of work."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = Bar(bars)
        yield bar
        bar.finish()
