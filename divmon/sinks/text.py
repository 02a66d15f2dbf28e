"""What a backend without tables or a config of its own gets as text: completions, alerts, the monitor's settings.

All of it is Markdown in which whatever a model or a data set wrote stands in blocks of code: nothing in it acts.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from divmon.measurement import to_plain
from divmon.sinks.base import View
from divmon.sinks.wandb_alerts import text as alert_text
from divmon.sinks.wandb_table import COMPLETION_CHARACTERS, PROMPT_CHARACTERS, table_rows
from divmon.sinks.wandb_text import fenced
from divmon.visible import cut

SETTING_CHARACTERS = 500
LINE_CHARACTERS = 110


def prompts_shown(view: View) -> list[list[dict[str, Any]]]:
    """The completions that are shown of a measurement, a list for each prompt: 32 at most (`wandb_table`)."""
    prompts: list[list[dict[str, Any]]] = []
    for row in table_rows(view.rows, view.measurement.step):
        if row["index"] == 0:
            prompts.append([])
        prompts[-1].append(row)
    return prompts


def prompt_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A prompt and its completions as Markdown.

    Args:
        rows: The completions shown of one prompt, of `prompts_shown`.
    """
    first = rows[0]
    parts = [
        "**Prompt**",
        fenced(f"{first['task']}, {first['category']}, {first['prompt_id']}", PROMPT_CHARACTERS),
        fenced(first["prompt"], PROMPT_CHARACTERS),
    ]
    for row in rows:
        parts += [f"**Completion {row['index']}**{_remarks(row)}", fenced(row["completion"], COMPLETION_CHARACTERS)]
    return _folded("\n\n".join(parts))


def alerts_markdown(view: View) -> str:
    """The alerts of a measurement as Markdown, with their examples and what to try; empty where there are none."""
    return _folded("\n\n".join(f"**{alert.title}**\n\n{alert_text(alert)}" for alert in view.alerts))


def settings_markdown(view: View) -> str:
    """The settings of `described` as Markdown."""
    text = "\n".join(f"{name}: {value}" for name, value in described(view).items())
    return _folded(f"**What divmon measures, and how**\n\n{fenced(text, 64 * SETTING_CHARACTERS)}")


def described(view: View) -> dict[str, str]:
    """The monitor's settings and where its numbers come from, flat, each in at most some ``SETTING_CHARACTERS``."""
    measurement, provenance = view.measurement, view.measurement.provenance
    plain = to_plain(
        {
            "run_id": measurement.run_id,
            "ledger": view.folder,
            **view.settings,
            "prompts": f"{len(measurement.prompts.keys)}, {measurement.prompts.source}",
            "prompts_digest": measurement.prompts.digest,
            "baseline": f"step {view.baseline.step} of run {view.baseline.run_id} ({view.baseline.kind})",
            "sentence_encoder_used": measurement.protocol.get("sentence_encoder"),
            "nli_used": measurement.protocol.get("nli"),
            "git": provenance.get("git"),
            "packages": provenance.get("packages"),
        }
    )
    return {
        name: cut(value if isinstance(value, str) else json.dumps(value), SETTING_CHARACTERS)
        for name, value in plain.items()
        if value not in (None, "", [], {})
    }


def _folded(markdown: str) -> str:
    """Long lines folded: blocks of code are shown as they are, and would run out of sight."""
    lines = []
    for line in markdown.split("\n"):
        long = len(line) > LINE_CHARACTERS
        lines += textwrap.wrap(line, LINE_CHARACTERS, expand_tabs=False, break_on_hyphens=False) if long else [line]
    return "\n".join(lines)


def _remarks(row: Mapping[str, Any]) -> str:
    remarks = []
    if row["baseline_distance"] is not None:
        remarks.append(f"distance to the baseline's nearest {row['baseline_distance']:.2f}")
    if row["near_duplicate"]:
        remarks.append(f"says nearly what {row['near_duplicate_of']} says")
    return f" ({'; '.join(remarks)})" if remarks else ""
