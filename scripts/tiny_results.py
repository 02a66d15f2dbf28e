"""Tables, claims and the figure of the tiny reproduction, from the run folders of several seeds.

    python scripts/tiny_results.py RUNS/seed-0 RUNS/seed-1 RUNS/seed-2 --output-dir recipes/tiny/results

Each folder is the ``--output-dir`` of ``divmon recipe run recipes/tiny recipes/tiny/ablations --seed N``. Everything
is computed from the ledgers in it; nothing is trained or sampled.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiny_claims import CLAIMS, Claim

from divmon import lineage_report as report
from divmon import stats
from divmon.errors import DivmonError, InputError
from divmon.ledger import Ledger
from divmon.lineage import Attribution, Part, attribute, checkpoints_of_records, paper_attribution, records_of_runs
from divmon.measurement import NO_INTERVAL, Measurement
from divmon.metrics import METRICS, NAMES
from divmon.provenance import git_state, package_versions
from divmon.tinyworld.questions import SUMS

LINEAGES = {
    "think": ("think-sft", "think-dpo", "think-rl"),
    "instruct": ("instruct-sft", "instruct-dpo", "instruct-rl"),
    "rl_zero": ("rl-zero-math", "rl-zero-if", "rl-zero-general"),
}
ABLATIONS = (
    "think-rl-kl",
    "instruct-rl-kl",
    "sft-1-source",
    "sft-2-sources",
    "sft-8-sources",
    "think-sft-suppressed",
    "think-dpo-suppressed",
    "think-rl-suppressed",
)
# Tasks that diversity is not averaged over (see tiny_claims).
LEFT_OUT = frozenset(SUMS)
STAGES = ("base", *(stage for stages in LINEAGES.values() for stage in stages), *ABLATIONS)
PAPER = paper_attribution()


class Seed:
    """The last measurement of every stage of one seed.

    Args:
        folder: Its run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        records = [_stage_record(folder / stage) for stage in STAGES]
        if any(record["smoke"] for record in records):
            raise InputError(f"{folder} is a smoke run: its numbers mean nothing.")
        if len(seeds := {record["seed"] for record in records}) > 1:
            raise InputError(f"{folder} has stages of the seeds {', '.join(map(str, sorted(seeds)))}: expected one.")
        self.name = str(records[0]["seed"])
        self.measurements: dict[str, Measurement] = {}
        for stage in STAGES:
            run = Ledger.of(folder / stage).read()
            if run is None or not run.measurements:
                raise InputError(f"{folder / stage} has no measurement: run recipes/tiny and recipes/tiny/ablations.")
            self.measurements[stage] = run.measurements[-1]

    def per_task(self, metric: str, stage: str) -> dict[str, np.ndarray]:
        """Task -> one value a prompt."""
        measurement = self.measurements[stage]
        summary = measurement.accuracy if metric == "accuracy" else measurement.metrics[metric]
        tasks = measurement.prompts.tasks
        return {
            task: np.array([v for v, of in zip(summary.per_prompt, tasks, strict=True) if of == task], dtype=float)
            for task in dict.fromkeys(tasks)
        }

    def percent(self, needs: Sequence[tuple[str, str]]) -> tuple[dict[Any, float], dict[Any, np.ndarray]]:
        """Percent of base, averaged over tasks: exact, and over 2,000 paired bootstrap resamples of prompts.

        Diversity is averaged over the tasks without word problems, accuracy over all.
        """
        exact: dict[Any, list[float]] = {need: [] for need in needs}
        drawn: dict[Any, list[np.ndarray]] = {need: [] for need in needs}
        metrics = list(dict.fromkeys(metric for metric, _ in needs))
        for number, task in enumerate(self.per_task(metrics[0], "base")):
            bases = [self.per_task(metric, "base")[task] for metric in metrics]
            columns = np.stack([*bases, *(self.per_task(*need)[task] for need in needs)])
            columns = columns[:, ~np.isnan(columns).any(axis=0)]
            resampled = stats.resampled_means(columns, seed=number)
            for place, need in enumerate(needs, len(metrics)):
                if need[0] != "accuracy" and task in LEFT_OUT:
                    continue
                base = metrics.index(need[0])
                for means, into in ((columns.mean(axis=1), exact), (resampled, drawn)):
                    scale = 100 if need[0] == "accuracy" else 100 / means[base]
                    into[need].append(means[place] * scale)
        return (
            {need: float(np.mean(values)) for need, values in exact.items()},
            {need: np.mean(values, axis=0) for need, values in drawn.items()},
        )


def _stage_record(folder: Path) -> dict[str, Any]:
    state = folder / "stage.json"
    try:
        return json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{state} cannot be read ({error}): expected the output of a recipe run.") from error


def tested(claim: Claim, seeds: Sequence[Seed]) -> dict[str, Any]:
    """A claim's margin in each seed, with its interval, and the verdict over seeds."""
    margins = []
    for seed in seeds:
        exact, drawn = seed.percent(claim.needs)
        low, high = stats.percentile_interval(claim.margin(drawn))
        margins.append({"seed": seed.name, "margin": float(claim.margin(exact)), "low": low, "high": high})
    held = sum(found["margin"] > 0 for found in margins)
    verdict = "holds" if held == len(margins) else "mixed" if held else "fails"
    return {"claim": claim.name, "says": claim.says, "verdict": verdict, "seeds": margins}


def stage_rows(seeds: Sequence[Seed]) -> list[dict[str, Any]]:
    """A row a seed and stage: each metric's value and percent of base, accuracy and validity."""
    rows = []
    for seed in seeds:
        for stage, measurement in seed.measurements.items():
            row: dict[str, Any] = {"seed": seed.name, "stage": stage}
            for metric in METRICS:
                exact, _ = seed.percent([(metric, stage)])
                row |= {metric: measurement.metrics[metric].mean, f"{metric}_percent": exact[metric, stage]}
            valid = measurement.validity
            row["accuracy"] = measurement.accuracy.mean
            row |= {name: getattr(valid, name) for name in ("empty", "unclosed", "truncated", "repeated")}
            row |= {"mean_length": valid.mean_length, "entropy": valid.entropy}
            for task, part in measurement.accuracy.tasks.items():
                row[f"accuracy_{task}"] = part.mean
            bases = seed.per_task("sbert", "base")
            for task, values in seed.per_task("sbert", stage).items():
                both = ~np.isnan(values) & ~np.isnan(bases[task])
                row[f"sbert_percent_{task}"] = float(100 * values[both].mean() / bases[task][both].mean())
            rows.append(row)
    return rows


def _over_seeds(rows: Sequence[Mapping[str, Any]], stage: str, column: str, scale: float = 1) -> str:
    values = [scale * row[column] for row in rows if row["stage"] == stage]
    mean, low, high = np.mean(values), min(values), max(values)
    return f"{mean:.0f} ({low:.0f}-{high:.0f})" if high - low >= 0.5 else f"{mean:.0f}"


def markdown(seeds: Sequence[Seed], rows: Sequence[Mapping[str, Any]], claims: Sequence[Mapping[str, Any]]) -> str:
    """The results as Markdown."""
    names = ", ".join(seed.name for seed in seeds)
    blocks = [
        "# Results of the tiny reproduction",
        f"Seeds {names}. Mean over seeds (lowest-highest). Diversity is in percent of the base model, averaged over "
        "the tasks without word problems, answers only; accuracy is the share of completions that verify, over all.",
        "## Claims",
        "| | claim | verdict | margin in each seed, percent points [95% interval over prompts] |\n|---|---|---|---|\n"
        + "\n".join(
            f"| {c['claim']} | {c['says']} | **{c['verdict']}** | "
            + "; ".join(f"{s['margin']:+.1f} [{s['low']:+.1f}, {s['high']:+.1f}]" for s in c["seeds"])
            + " |"
            for c in claims
        ),
        "## Stages",
        "| stage | "
        + " | ".join(f"{NAMES[m]} %" for m in METRICS)
        + " | accuracy % | truncated % | empty % | tokens |\n"
        "|---|" + "---:|" * (len(METRICS) + 4) + "\n" + "\n".join(_stage_line(rows, stage) for stage in STAGES),
        "## Accuracy by task, %",
        _by_task(rows, "accuracy_", 100),
        "## SBERT by task, % of base",
        _by_task(rows, "sbert_percent_", 1),
        "## SBERT lost at each stage, percent of base",
        _attribution(seeds),
    ]
    return "\n\n".join(blocks) + "\n"


def _stage_line(rows: Sequence[Mapping[str, Any]], stage: str) -> str:
    cells = [_over_seeds(rows, stage, f"{metric}_percent") for metric in METRICS]
    cells += [_over_seeds(rows, stage, name, 100) for name in ("accuracy", "truncated", "empty")]
    return f"| {stage} | " + " | ".join([*cells, _over_seeds(rows, stage, "mean_length")]) + " |"


def _by_task(rows: Sequence[Mapping[str, Any]], prefix: str, scale: float) -> str:
    tasks = [name for name in rows[0] if name.startswith(prefix)]
    lines = [
        "| stage | " + " | ".join(t.removeprefix(prefix) for t in tasks) + " |",
        "|---|" + "---:|" * len(tasks),
    ]
    lines += [f"| {s} | " + " | ".join(_over_seeds(rows, s, task, scale) for task in tasks) + " |" for s in STAGES]
    return "\n".join(lines)


def lineage_of(seed: Seed) -> Attribution:
    """The attribution of one seed, as ``divmon lineage`` gives it, but averaged without the tasks that are left out."""
    found = attribute(
        *checkpoints_of_records(records_of_runs([str(seed.folder / s) for stages in LINEAGES.values() for s in stages]))
    )
    for lineages in found.values():
        for tasks in lineages.values():
            kept = [parts for task, parts in tasks.items() if task not in {*LEFT_OUT, "average"}]
            tasks["average"] = {
                name: Part(float(np.mean([parts[name].percent for parts in kept])), NO_INTERVAL) for name in kept[0]
            }
    return found


def _attribution(seeds: Sequence[Seed]) -> str:
    found = [lineage_of(seed)["sbert"] for seed in seeds]
    lines = ["| lineage | part | here | paper (Olmo 3 7B) |", "|---|---|---:|---:|"]
    for lineage in LINEAGES:
        for part in found[0][lineage]["average"]:
            values = [one[lineage]["average"][part].percent for one in found]
            here = f"{np.mean(values):z.0f} ({min(values):z.0f} to {max(values):z.0f})"
            lines.append(f"| {lineage} | {part} | {here} | {PAPER['sbert'][lineage]['average'][part].percent:.0f} |")
    return "\n".join(lines)


def mean_of(found: Sequence[Attribution]) -> Attribution:
    """The mean over seeds, without intervals."""
    return {
        metric: {
            lineage: {
                task: {
                    name: Part(float(np.mean([one[metric][lineage][task][name].percent for one in found])), NO_INTERVAL)
                    for name in parts
                }
                for task, parts in tasks.items()
            }
            for lineage, tasks in lineages.items()
        }
        for metric, lineages in found[0].items()
    }


def _write(path: Path, make: Callable[[], str]) -> None:
    path.write_text(make(), encoding="utf-8")
    print(path)


def main() -> None:
    """Read the seeds, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args()
    seeds = [Seed(folder) for folder in arguments.runs]
    rows = stage_rows(seeds)
    claims = [tested(claim, seeds) for claim in CLAIMS]
    out = arguments.output_dir
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "results.md", lambda: markdown(seeds, rows, claims))
    _write(
        out / "claims.json", lambda: json.dumps({"claims": claims, **made_by(seeds)}, indent=1, default=_plain) + "\n"
    )
    with (out / "stages.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    print(out / "stages.csv")
    attributions = [lineage_of(seed) for seed in seeds]
    print(report.plot(mean_of(attributions), out / "lineages.png", PAPER, attributions))


def made_by(seeds: Sequence[Seed]) -> dict[str, Any]:
    """The commands, and the commit and versions of the runs and of these tables.

    Raises:
        InputError: If a seed is there twice, or stages were run from different commits or with other versions.
    """
    if len({seed.name for seed in seeds}) < len(seeds):
        raise InputError(f"A seed is there twice: {', '.join(seed.name for seed in seeds)}.")
    first = seeds[0].measurements["base"]
    for seed in seeds:
        for stage, measurement in seed.measurements.items():
            for part in ("git", "packages"):
                if measurement.provenance.get(part) != first.provenance.get(part):
                    raise InputError(f"{seed.folder / stage} was run with another {part} than {seeds[0].folder}/base.")
    model = first.provenance["model"]  # whose name is a folder of the machine it ran on
    return {
        "commands": [
            f"divmon recipe run recipes/tiny recipes/tiny/ablations --output-dir RUNS/seed-{name} --seed {name}"
            for name in (seed.name for seed in seeds)
        ]
        + ["python scripts/tiny_results.py RUNS/seed-* --output-dir recipes/tiny/results"],
        "runs": {**first.provenance, "model": {**model, "name": Path(str(model["name"])).name}},
        "tables": {"git": git_state(), "versions": package_versions()},
        "protocol": first.protocol,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value)


if __name__ == "__main__":
    try:
        main()
    except DivmonError as error:
        sys.exit(f"tiny_results: {error}")
