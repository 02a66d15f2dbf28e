"""From runs to the text of the page."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from typing import Any

import divmon
from divmon.metrics import KNOWN, NAMES
from divmon.reading import counted
from divmon.report import paper, summary
from divmon.report.bounds import MOST_ALERTS, MOST_GAPS, MOST_OF_A_NAME
from divmon.report.changes import Changes, metric_choices
from divmon.report.chart import table_of
from divmon.report.curves import accuracy_charts, apart_within, metric_charts, soundness_charts, soundness_rows
from divmon.report.origin import origin_of
from divmon.report.quality import DETAILS, quality_of
from divmon.report.runs import COMPLETIONS, Grouping, NamedRun, compared, grouped, metrics_of, without_steps
from divmon.report.said import Said, said
from divmon.report.stages import Stages
from divmon.report.text import cut, embedded, visible
from divmon.report.votes import votes_of

_SCRIPTS = ("dom.js", "charts.js", "stages.js", "scatter.js", "prompts.js", "map.js", "cards.js", "main.js")
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_SECTIONS = {
    "summary": "Summary",
    "stages": "Stages",
    "curves": "Over the steps",
    "sound": "Soundness",
    "quality": "Right answers",
    "alerts": "Alerts",
    "where": "Where it went",
    "prompts": "Prompts",
    "origin": "Provenance",
}


def page(runs: Sequence[NamedRun], title: str, stages: Stages | None, no_stages: str, changes: Changes | None) -> str:
    """The page as one HTML document.

    Args:
        runs: One run, or several to be compared.
        title: Heading.
        stages: The lineage that they form, or None.
        no_stages: Why they form none although they are named after stages; empty where they are not.
        changes: What each prompt lost; None where nothing was measured.
    """
    from markupsafe import Markup

    style, script = _asset("style.css"), _script()
    context = _context(runs, title, stages, no_stages, changes)
    data = context.pop("document")
    return _template().render(
        **context,
        # Our own files, and JSON in which nothing can end the element.
        style=Markup(style),
        script=Markup(script),
        data=Markup(embedded(data)),
        policy=Markup(_policy(style, script)),
    )


@functools.cache
def _template() -> Any:
    """The page's template. Whatever it shows is made visible, so that no value can be forgotten."""
    import jinja2
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    return environment.get_template("page.html.j2")


def _context(
    runs: Sequence[NamedRun], title: str, stages: Stages | None, no_stages: str, changes: Changes | None
) -> dict[str, Any]:
    single = len(runs) == 1
    metrics = metrics_of(runs)
    metric_groups = {metric: grouped(runs, metric) for metric in metrics}
    alike, accurate = grouped(runs, COMPLETIONS), grouped(runs, "accuracy")
    charts = [chart for metric in metrics for chart in metric_charts(runs, metric, metric_groups[metric])]
    sound = accuracy_charts(runs, accurate) + soundness_charts(runs, alike)
    refusals = _merged([line for found in metric_groups.values() for line in found.refusals] + list(accurate.refusals))
    spoken = said(runs, changes) if changes else None
    alerts = [(named.name, alert) for named in runs for alert in summary.alerts_of(named, MOST_ALERTS // len(runs))]
    gaps = [
        (named.name, step, error) for named in runs for step, error in summary.gaps_of(named, MOST_GAPS // len(runs))
    ]
    where = list(summary.where_it_went(runs[0], metrics)) if single else []
    stage_charts = stages.charts() if stages else []
    quality, votes = quality_of(runs), votes_of(runs)
    loss_charts = list(quality.charts) if quality else []
    verdicts = [summary.verdict_of(named) for named in runs]
    last = next((named.last for named in reversed(runs) if named.last), None)
    context = {
        "title": cut(title, 200),
        "version": divmon.__version__,
        "single": single,
        "facts": _facts(runs),
        "tiles": summary.tiles(runs[0]) if single else [],
        "verdicts": verdicts,
        "named_verdicts": [(named.name, lines) for named, lines in zip(runs, verdicts, strict=True)],
        "run_rows": [summary.run_row(named, metrics, _apart(place, metric_groups)) for place, named in enumerate(runs)],
        "run_names": [named.name for named in runs],
        "metric_names": [NAMES[metric] for metric in metrics],
        "any_accuracy": any(named.last and named.last.accuracy for named in runs),
        "refusals": refusals,
        "stages": stage_charts,
        "stage_tables": stages.tables() if stages else [],
        "no_stages": no_stages,
        "charts": [(chart, table_of(chart)) for chart in charts],
        "sound_rows": soundness_rows(runs[0]) if single else [],
        "sound_charts": [(chart, table_of(chart)) for chart in sound],
        "quality": quality,
        "loss_charts": [(chart, table_of(chart)) for chart in loss_charts],
        "loss_columns": DETAILS,
        "votes": votes,
        "curve_notes": _curve_notes(runs, metrics),
        "stepless": without_steps(runs),
        "compared": any(map(compared, runs)),
        "event_kinds": {event.kind for chart in charts for event in chart.events},
        "lineages": [(name, _title(name)) for name in paper.LINEAGES],
        "lineage": paper.likely_lineage(runs),
        "paper_differences": paper.differences(last) if last else [],
        "alerts": alerts,
        "gaps": gaps,
        "where": where,
        "has_prompts": changes is not None,
        "choices": metric_choices(changes) if changes else [],
        "categories": _labels(changes, "category"),
        "tasks": _labels(changes, "task"),
        "left_out": [*(changes.left_out if changes else ()), *(spoken.notes if spoken else ())],
        "origins": [(named.name, origin_of(named)) for named in runs],
        "document": {
            "charts": {chart.id: chart for chart in charts + sound + loss_charts},
            "stages": stage_charts,
            "votes": votes.chart() if votes and votes.points else None,
            "prompts": _prompts(changes, spoken),
        },
    }
    there = {"summary", "origin", *(["stages"] if stages else []), *(["curves"] if charts else [])}
    there |= {
        name
        for name, value in (("sound", sound or context["sound_rows"]), ("alerts", alerts or gaps), ("where", where))
        if value
    }
    there |= {"quality"} if quality or votes else set()
    there |= {"prompts"} if changes else set()
    titles = _SECTIONS | ({"curves": "Side by side"} if context["stepless"] else {})
    context["sections"] = [(id_, name) for id_, name in titles.items() if id_ in there]
    return context


def _facts(runs: Sequence[NamedRun]) -> list[str]:
    if len(runs) > 1:
        return [f"{len(runs)} runs", ", ".join(named.name for named in runs)]
    named = runs[0]
    if named.last is None:
        return [named.name, "no measurement"]
    last, steps = named.last, [measurement.step for measurement in named.run.measurements]
    samples = paper.part(last.protocol, "sampling").get("samples")
    model = paper.part(last.provenance, "model").get("name")
    return [
        named.name,
        *([f"model {cut(paper.short_name(str(model)), MOST_OF_A_NAME)}"] if model else []),
        f"{counted(len(steps), 'measurement')}, step {steps[0]:,}" + (f" to {steps[-1]:,}" if len(steps) > 1 else ""),
        counted(len(last.prompts.ids)) + (f" × {samples} completions" if samples else ""),
        f"measured until {str(last.time)[:16].replace('T', ' ')} UTC",
    ]


def _apart(place: int, found: Mapping[str, Grouping]) -> list[str]:
    """The metrics in which a run is in another group than the first run that has them."""
    return [metric for metric, grouping in found.items() if any(place in group for group in grouping.groups[1:])]


def _merged(refusals: Sequence[str]) -> list[str]:
    """``metric: why`` of several metrics with the same reason as one line."""
    reasons: dict[str, list[str]] = {}
    for line in refusals:
        metric, _, why = line.partition(": ")
        reasons.setdefault(why, []).append(metric)
    lines = [f"{', '.join(metrics)}: {cut(why, 500)}" for why, metrics in reasons.items()]
    return [_DIGEST.sub(lambda match: f"{match[0][:12]}…", line) for line in lines]


def _curve_notes(runs: Sequence[NamedRun], metrics: Sequence[str]) -> list[str]:
    notes = []
    for named in runs:
        if len(named.run.measurements) > named.most_points:
            count = len(named.run.measurements)
            notes.append(
                f"{named.name}: at most {named.most_points} of {count:,} measurements are drawn, the lowest and those "
                "with an alert among them; the ledger has all."
            )
        for metric in metrics:
            if apart := apart_within(named, metric):
                what = f"{apart[0]} measurements of {NAMES[metric]} are not drawn beside the last"
                notes.append(f"{named.name}: {what}: {cut(apart[1])}.")
    return notes


def _labels(changes: Changes | None, name: str) -> list[str]:
    return sorted({cut(getattr(prompt, name), MOST_OF_A_NAME) for prompt in changes.prompts}) if changes else []


def _prompts(changes: Changes | None, spoken: Said | None) -> dict[str, Any] | None:
    if changes is None or spoken is None:
        return None
    return {
        "columns": changes.columns,
        "over_runs": changes.over_runs,
        "names": {metric: NAMES[metric] for metric in KNOWN if metric in changes.values},
        "scales": changes.scales,
        "values": {metric: table.tolist() for metric, table in changes.values.items()},
        "baseline": {
            metric: table.tolist() if changes.over_runs else table[:, -1].tolist()
            for metric, table in changes.baseline.items()
        },
        "prompts": [
            {name: cut(getattr(p, name), MOST_OF_A_NAME) for name in ("id", "task", "category")}
            | {"text": spoken.prompts.get(p.key, "")}
            for p in changes.prompts
        ],
        "said": {
            "columns": spoken.columns,
            "places": spoken.places,
            "completions": {
                str(row): spoken.completions[p.key]
                for row, p in enumerate(changes.prompts)
                if p.key in spoken.completions
            },
        },
    }


def _title(lineage: str) -> str:
    from divmon.lineage_report import TITLES

    return TITLES.get(lineage, lineage)


def _asset(name: str) -> str:
    return importlib.resources.files("divmon.report").joinpath("assets", name).read_text(encoding="utf-8")


def _script() -> str:
    """The page's scripts as one, with nothing global."""
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _policy(style: str, script: str) -> str:
    """Nothing but our own style and script is applied or run, nothing is loaded, and no text becomes markup."""

    def digest(text: str) -> str:
        return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
