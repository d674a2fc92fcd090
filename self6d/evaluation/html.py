"""A self-contained HTML report: one file, no network, tables and pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from self6d.datasets.base import Dataset
from self6d.evaluation.figures import Curves, curve_figure, error_figure, jpeg, overlay_rows
from self6d.evaluation.report import Report
from self6d.files import check_new
from self6d.scene import ObjectModel
from self6d.storage import atomic_write

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; }
body { padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .45rem; text-align: right; } td { white-space: nowrap; }
th { vertical-align: bottom; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
thead th { border-bottom: 1px solid; } tr.first td { border-top: 1px solid #8886; }
tr.mean { font-weight: 600; } tr.paper { font-style: italic; opacity: .8; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; margin-bottom: 1rem; }
figure { margin: 0; flex: 1 1 300px; max-width: 480px; } img { max-width: 100%; display: block; }
figcaption { font-size: .85rem; opacity: .8; } .plot { background: white; border-radius: 4px; }
"""


def write_html(
    path: str | Path,
    report: Report,
    *,
    dataset: Dataset | None = None,
    models: Sequence[ObjectModel] = (),
    curves: Mapping[str, Curves] | None = None,
    title: str = "Evaluation",
    pictures: int = 6,
    replace: bool = False,
) -> Path:
    """Write a report with tables, error plots, overlays of every run and training curves.

    Args:
        path: file to write.
        report: what to show.
        dataset: the evaluated frames, for overlays; None leaves them out. models: their CAD.
        curves: run label -> its scalars (`RunFolder.curves`).
        title: heading. pictures: how many frames to show.
        replace: a file that is there gives way.

    Returns:
        `path`.

    Raises:
        InputError: the file exists.
    """
    path = Path(path)
    if not replace:
        check_new(path)
    parts = [
        f"<h1>{escape(title)}</h1><p>{escape(report.caption())}</p>",
        f"<p><strong>{escape(report.change())}</strong></p>" if report.change() else "",
        _table(report),
        *(f"<p>{escape(remark)}</p>" for remark in report.remarks()),
        "<p>Shares are per cent. ADD-S is used for symmetric objects. Medians count a miss as "
        "infinitely wrong.</p>",
        "<h2>Errors</h2>",
        html_image(error_figure(report.results), "Recall and error histograms", "plot"),
    ]
    if dataset is not None and models:
        parts.append("<h2>Frames</h2>")
        for name, row in overlay_rows(report, dataset, models, pictures):
            shown = [
                f"<figure>{html_image(jpeg(picture), f'{name}, {label}', encoding='jpeg')}"
                f"<figcaption>{escape(label)}</figcaption></figure>"
                for label, picture in row
            ]
            parts.append(f"<p>{escape(name)}</p><div class='row'>{''.join(shown)}</div>")
    for label, scalars in (curves or {}).items():
        drawn = curve_figure(scalars)
        if drawn is not None:
            parts.append(f"<h2>Training of {escape(label)}</h2>")
            parts.append(html_image(drawn, f"Training curves of {label}", "plot"))
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, html_page(title, parts).encode())
    return path


def html_page(title: str, parts: Sequence[str]) -> str:
    """A page that needs nothing beside itself."""
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _table(report: Report) -> str:
    columns = report.columns
    head = "".join(f"<th>{escape(c.title)}</th>" for c in columns)
    lines = [f"<thead><tr><th>object</th><th>run</th><th>n</th>{head}</tr></thead><tbody>"]
    previous = None
    for name, label, row in report.rows():
        kind = ("first " if name != previous else "") + ("mean" if name == "mean" else "")
        cells = "".join(f"<td>{escape(c.show(row))}</td>" for c in columns)
        lines.append(
            f"<tr class='{kind}'><td>{escape(name) if name != previous else ''}</td>"
            f"<td>{escape(label)}</td><td>{row.targets}</td>{cells}</tr>"
        )
        previous = name
    for method, value in report.paper():
        lines.append(
            f"<tr class='paper'><td></td><td>paper: {escape(method)}</td><td></td>"
            f"<td>{value:.1f}</td>{'<td></td>' * (len(columns) - 1)}</tr>"
        )
    return f"<div class='scroll'><table>{''.join(lines)}</tbody></table></div>"


def html_image(data: bytes, text: str, kind: str = "", encoding: str = "png") -> str:
    """An encoded picture within the page. text: what it shows. kind: its CSS class."""
    source = f"data:image/{encoding};base64,{base64.b64encode(data).decode()}"
    return f"<img class='{kind}' alt='{escape(text)}' src='{source}'>"
