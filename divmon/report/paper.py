"""The paper's own levels, to set a run's curves beside."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from divmon.lineage import AVERAGE, RL_ZERO, STAGES, paper_attribution, paper_checkpoints
from divmon.measurement import Measurement
from divmon.report.chart import Level
from divmon.report.runs import NamedRun
from divmon.report.text import cut, without_folders

LINEAGES = ("instruct", "think", RL_ZERO)

Levels = Mapping[str, tuple[Level, ...]]


@functools.cache
def kept_levels(metric: str) -> Levels:
    """Lineage -> the fraction of the base's diversity that the paper's checkpoints keep, stage by stage.

    Empty for a metric that the paper does not have.
    """
    found: dict[str, tuple[Level, ...]] = {}
    for lineage, tasks in _attribution().get(metric, {}).items():
        parts, percent, levels = tasks[AVERAGE], 100.0, []
        for stage in STAGES:
            if stage in parts:
                percent += parts[stage].percent
                levels.append(Level(stage.upper(), percent / 100))
        found[lineage] = tuple(levels) or (Level("RL", parts["retained"].percent / 100),)
    return found


@functools.cache
def value_levels(metric: str) -> Levels:
    """Lineage -> the values of the paper's base and checkpoints, each the mean over its tasks; empty likewise."""
    base, checkpoints = paper_checkpoints()
    if metric not in base:
        return {}
    before = Level("base", _mean(base[metric]))
    found: dict[str, tuple[Level, ...]] = {}
    for lineage in LINEAGES:
        members = [checkpoint for checkpoint in checkpoints if checkpoint.lineage == lineage]
        if lineage == RL_ZERO:
            levels = [Level("RL", float(np.mean([_mean(member.values[metric]) for member in members])))]
        else:
            levels = [Level(member.stage.upper(), _mean(member.values[metric])) for member in members]
        found[lineage] = (before, *levels)
    return found


def likely_lineage(runs: Sequence[NamedRun]) -> str:
    """The lineage whose levels are shown first, by the runs' names and by whether the models think."""
    names = " ".join(named.name.lower() for named in runs)
    for word, lineage in (("think", "think"), ("instruct", "instruct"), ("zero", RL_ZERO)):
        if word in names:
            return lineage
    last = next((named.last for named in runs if named.last), None)
    thinking = part(last.protocol, "sampling").get("thinking") if last else None
    return "think" if thinking == "full" else "instruct"


def differences(last: Measurement) -> list[str]:
    """What the paper did otherwise than a run, in words; a model by its name."""
    protocol = _tables()["source"]["protocol"]
    sampling = part(last.protocol, "sampling")
    here = {
        "SBERT encoder": (_name(last.protocol.get("sentence_encoder")), short_name(protocol["sbert"])),
        "NLI classifier": (_name(last.protocol.get("nli")), short_name(protocol["nli"])),
        "samples a prompt": (sampling.get("samples"), protocol["num_samples"]),
        "temperature": (sampling.get("temperature"), protocol["temperature"]),
        "top-p": (sampling.get("top_p"), protocol["top_p"]),
        "longest completion in tokens": (sampling.get("max_new_tokens"), protocol["max_new_tokens"]),
        "prompts": (
            len(last.prompts.ids),
            f"about {protocol['num_prompts']} of each of {len(_tables()['num_prompts'])} tasks",
        ),
    }
    return [
        f"{what}: {'none' if run is None else cut(str(run))} (the paper: {paper})"
        for what, (run, paper) in here.items()
        if str(run) != str(paper)
    ]


@functools.cache
def _attribution() -> Any:
    return paper_attribution()


@functools.cache
def _tables() -> Mapping[str, Any]:
    resource = importlib.resources.files("divmon.data").joinpath("olmo3_paper_tables.json")
    return json.loads(resource.read_text(encoding="utf-8"))


def _mean(tasks: Mapping[str, Any]) -> float:
    return float(np.mean([np.mean(values) for values in tasks.values()]))


def _name(identity: Any) -> str | None:
    name = identity.get("name") if isinstance(identity, Mapping) else identity
    return None if name is None else short_name(str(name))


def part(record: Any, name: str) -> Mapping[str, Any]:
    """A part of a protocol or of provenance; empty where it is not there."""
    found = record.get(name) if isinstance(record, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def short_name(name: str) -> str:
    """A model's name without its owner, or a local path without its folders."""
    return without_folders(name).rsplit("/", 1)[-1]
