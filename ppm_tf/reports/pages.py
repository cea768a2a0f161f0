"""A page of a report: its parts as Markdown, with plots beside it, and as HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from ppm_tf.reports.markdown import markdown_table
from ppm_tf.reports.sheet import _data_uri

ALARM = "ALARM"  # a line that begins with it stands out
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 75rem; color: #222; background: #fff; } h1 { font-size: 1.4rem; }
h2 { font-size: 1.1rem; margin-top: 1.6rem; } table { border-collapse: collapse; display: block; overflow-x: auto; } img { max-width: 100%; }
th, td { padding: .15rem .7rem; text-align: right; font-variant-numeric: tabular-nums; border-top: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } .alarm { color: #b00020; font-weight: 600; }
"""


class Link(NamedTuple):
    """A cell that leads to another page: its text, and where the Markdown and the HTML of that page lie, relative to this one."""

    text: str
    markdown: str
    html: str


class Part(NamedTuple):
    """A part of the report: a heading, sentences, a table and a plot, each of which may be empty."""

    title: str
    lines: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str | Link]] = ()
    plot: str = ""


def page_markdown(title: str, parts: Sequence[Part], plots: Mapping[str, Path]) -> str:
    """The page in Markdown; its plots lie in `plots/` beside it."""
    blocks = [f"# {title}"]
    for part in parts:
        blocks += [f"## {part.title}"] if part.title else []
        blocks += list(part.lines)
        blocks += [markdown_table(part.header, [[_in_markdown(cell) for cell in row] for row in part.rows])] if part.rows else []
        blocks += [f"![{part.title}](plots/{part.plot}.png)"] if part.plot in plots else []
    return "\n\n".join(blocks) + "\n"


def page_html(title: str, parts: Sequence[Part], plots: Mapping[str, Path]) -> str:
    """The page as one HTML file, with its plots inside."""
    body = [f"<h1>{escape(title)}</h1>"]
    for part in parts:
        body += [f"<h2>{escape(part.title)}</h2>"] if part.title else []
        body += [f'<p class="alarm">{escape(line)}</p>' if line.startswith(ALARM) else f"<p>{escape(line)}</p>" for line in part.lines]
        if part.rows:
            head = "".join(f"<th>{escape(cell)}</th>" for cell in part.header)
            rows = "".join(f"<tr>{''.join(f'<td>{_in_html(cell)}</td>' for cell in row)}</tr>" for row in part.rows)
            body.append(f"<table><tr>{head}</tr>{rows}</table>")
        if part.plot in plots:
            body.append(f'<img alt="{escape(part.title)}" src="{_data_uri(plots[part.plot].read_bytes(), "png")}">')
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _in_markdown(cell: str | Link) -> str:
    text = f"[{cell.text}]({cell.markdown})" if isinstance(cell, Link) else cell
    return text.replace("|", "\\|")


def _in_html(cell: str | Link) -> str:
    return f'<a href="{escape(cell.html, quote=True)}">{escape(cell.text)}</a>' if isinstance(cell, Link) else escape(cell)
