"""One HTML file with tables and pictures that needs nothing else: the pictures' library is in it."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from saelab.atomic import write_bytes

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
"""


@runtime_checkable
class Figure(Protocol):
    """What plotly draws."""

    def to_html(self, *, full_html: bool, include_plotlyjs: bool) -> str:
        """Its picture as HTML."""


def html_page(title: str, heading: str, below: str, body: Sequence[str | Figure]) -> str:
    """The whole page: a heading, a line below it, then markup and figures in their order."""
    figures = [part for part in body if not isinstance(part, str)]
    parts = [
        part if isinstance(part, str) else part.to_html(full_html=False, include_plotlyjs=part is figures[0])
        for part in body
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
        f"<h1>{escape(heading)}</h1><p>{escape(below)}</p>{''.join(parts)}</html>\n"
    )


def html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows under their column names."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(plain(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_list(lines: Sequence[str]) -> str:
    """One point per line."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def plain(cell: Any) -> str:
    """A value as a person reads it: four digits, thousands apart, a dash for nothing."""
    if cell is None:
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)


def write_page(path: Path, page: str) -> None:
    """Write the page to `path`, whose folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, page.encode("utf-8"))
