"""How a run shows itself in a notebook.

The HTML stands by itself: no script, no style sheet, no address. Its text and its curves take the page's own colour, so
that they are legible in light and dark themes; where a sanitiser drops styles and curves, a plain table is left.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from divmon.measurement import UNMEASURED, Measurement, MetricSummary
from divmon.metrics import AXES, NAMES
from divmon.reading import format_number, format_percent, measured, too_few
from divmon.shown import Shown, details, endings, left_out, plain, said, soundness, spread

_WIDTH, _HEIGHT, _EDGE = 96, 28, 2  # of a curve, in pixels
_FAINT = "opacity:.7"
_CELL = "text-align:right;padding:2px 8px;vertical-align:top;white-space:nowrap"
_BOX = "border-left:3px solid #D55E00;padding:2px 0 2px 10px;margin:6px 0"


def as_html(shown: Shown) -> str:
    """A run as one HTML element: the verdict, alerts, a table of some of its steps with a curve of each metric, and
    where the records are. Everything in it that was written elsewhere is escaped.
    """
    heading = f"<strong>{_escaped(shown.name)}</strong> <span style='{_FAINT}'>{_escaped(details(shown))}</span>"
    parts = [f"<div>{heading}</div>"]
    parts.append(f"<div style='margin:4px 0'>{'<br>'.join(map(_escaped, said(shown)))}</div>")
    parts += [_alert(alert) for alert in shown.last_alerts]
    if shown.measurements:
        parts.append(_table(shown))
    parts += [f"<div style='{_FAINT}'>{_escaped(line)}</div>" for line in (*left_out(shown), *endings(shown))]
    return f"<div style='line-height:1.45;overflow-x:auto'>{''.join(parts)}</div>"


def _table(shown: Shown) -> str:
    heads = [f"{NAMES[metric]}<br><small style='{_FAINT}'>{AXES[metric]}</small>" for metric in shown.metrics]
    heads += ["accuracy"] * shown.verified
    heads += ["entropy", "base log-<br>likelihood", "cut off", "repeats"]
    curves = [_curve(shown, metric) for metric in shown.metrics]
    curves += [""] * (len(heads) - len(curves))
    rows = []
    for measurement in shown.rows:
        is_first = not measurement.baseline
        cells = [_metric_cell(measurement.metrics.get(metric, UNMEASURED), is_first) for metric in shown.metrics]
        cells += [_accuracy_cell(measurement)] * shown.verified
        rows.append(_row("td", f"{measurement.step:,}", [*cells, *soundness(measurement)]))
    return (
        "<table style='border-collapse:collapse;margin:6px 0;font-size:inherit;font-variant-numeric:tabular-nums'>"
        f"<thead>{_row('th', 'step', heads)}{_row('td', '', curves)}</thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _row(kind: str, head: str, cells: Sequence[str]) -> str:
    """A table's row: its heading, and cells that are HTML already."""
    rest = "".join(f"<{kind} style='{_CELL}'>{cell}</{kind}>" for cell in cells)
    return f"<tr><th style='{_CELL}'>{head}</th>{rest}</tr>"


def _metric_cell(found: MetricSummary, is_baseline: bool) -> str:
    if is_baseline:
        return f"{format_number(found.mean)}<br><small>baseline</small>"
    low, high = (100 * bound for bound in found.retained_interval)
    kept = "not comparable" if math.isnan(found.retained) else f"{format_percent(found.retained)} left"
    few = too_few(measured(found.per_prompt)) and kept != "not comparable"
    interval = " (too few prompts)" if few else "" if math.isnan(low) else f" [{low:.0f}, {high:.0f}]"
    return f"{format_number(found.mean)}<br><small>{kept}{interval}</small>"


def _accuracy_cell(measurement: Measurement) -> str:
    found = measurement.accuracy
    if found is None:
        return "-"
    change = "not comparable" if math.isnan(found.change) else f"{100 * found.change:+.0f} points"
    return f"{format_percent(found.mean)}<br><small>{change}</small>"


def _curve(shown: Shown, metric: str) -> str:
    """The metric over steps with its 95% interval, the baseline dashed; nothing for fewer than two values."""
    known = [made for made in shown.measurements if not math.isnan(made.metrics.get(metric, UNMEASURED).mean)]
    points = [(made.step, made.metrics[metric]) for made in spread(known, _WIDTH)]
    if len(points) < 2:
        return ""
    reference = shown.baseline.metrics.get(metric, UNMEASURED).mean if shown.baseline else math.nan
    under, over = ([_bound(made, side) for _, made in points] for side in (0, 1))
    floor = 1.0 if metric == "vendi" else 0.0  # else the curve of a metric that stays would be all noise
    levels = [value for value in (*under, *over, reference, floor) if not math.isnan(value)]
    top, span = max(levels), (max(levels) - min(levels)) or 1.0
    first, last = points[0][0], points[-1][0]

    def at(step: int, value: float) -> str:
        x = _EDGE + (_WIDTH - 2 * _EDGE) * (step - first) / (last - first)
        return f"{x:.1f},{_EDGE + (_HEIGHT - 2 * _EDGE) * (top - value) / span:.1f}"

    steps = [step for step, _ in points]
    band = [*map(at, steps, over), *reversed([*map(at, steps, under)])]
    line = [at(step, made.mean) for step, made in points]
    label = f"{NAMES[metric]} from {format_number(points[0][1].mean)} to {format_number(points[-1][1].mean)}"
    dashes = f"{at(first, reference)} {at(last, reference)}" if not math.isnan(reference) else ""
    return (
        f"<svg role='img' aria-label='{label}' width='{_WIDTH}' height='{_HEIGHT}' viewBox='0 0 {_WIDTH} {_HEIGHT}'>"
        f"<polygon points='{' '.join(band)}' fill='currentColor' opacity='.18'/>"
        f"<polyline points='{dashes}' fill='none' stroke='currentColor' stroke-dasharray='3 3' opacity='.5'/>"
        f"<polyline points='{' '.join(line)}' fill='none' stroke='currentColor' stroke-width='1.6'/></svg>"
    )


def _bound(found: MetricSummary, side: int) -> float:
    return found.mean if math.isnan(found.interval[side]) else found.interval[side]


def _alert(alert: Mapping[str, Any]) -> str:
    """An alert, with what to try and its examples folded away."""
    examples = "".join(
        f"<p style='margin:4px 0'><em>{_escaped(example.get('prompt'))}</em><br>"
        f"before: {_escaped(example.get('before') or '-')}<br>now: {_escaped(example.get('now') or '-')}</p>"
        for example in alert.get("examples") or ()
    )
    title, advice = _escaped(alert.get("title")), _escaped(alert.get("advice"))
    return f"<details style='{_BOX}'><summary><strong>{title}</strong></summary>{advice}{examples}</details>"


def _escaped(text: object) -> str:
    return html.escape(plain(text))
