"""TensorBoard: intervals, categories and validity as scalars, a layout of charts, and completions as text.

| tag | what |
|---|---|
| ``train/divmon/...`` | the scalars of the trainer's log, through transformers' own callback |
| ``divmon/{intervals,validity,within}/...`` | bounds of 95% intervals, validity, means of categories |
| ``divmon/completions/<prompt>`` | text: a prompt that every measurement shows, with four completions |
| ``divmon/completions/moved_<n>`` | text: a prompt whose completions are now furthest from the baseline's |
| ``divmon/alerts``, ``divmon/settings`` | text |

A measurement adds at most 32 completions of 8 prompts, less than 40,000 characters, whatever K and the prompts are.
TensorBoard itself shows ten steps of a text unless it is started with ``--samples_per_plugin=text=1000``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from divmon.logged import PREFIX
from divmon.measurement import Measurement
from divmon.metrics import NAMES
from divmon.sinks.base import View
from divmon.sinks.grouped import grouped, mean_bounds, retained_bounds
from divmon.sinks.text import alerts_markdown, prompt_markdown, prompts_shown, settings_markdown
from divmon.sinks.wandb_values import key_parts, validity_key, within_key

if TYPE_CHECKING:
    from transformers import TrainerCallback

_LOGGED = f"train/{PREFIX}"  # what transformers' callback makes of `divmon/...`


class TensorBoardSink:
    """Adds to the event file that transformers' callback writes.

    Args:
        callback: transformers' ``TensorBoardCallback``.
    """

    name = "TensorBoard"

    def __init__(self, callback: TrainerCallback) -> None:
        self._callback: Any = callback
        self._begun: Any = None

    def measured(self, view: View) -> None:
        """Write one measurement; nothing where no file is open."""
        writer = self._callback.tb_writer
        if writer is None:
            return
        step = view.measurement.step
        if writer is not self._begun:
            writer.add_custom_scalars(layout(view.measurement))  # at most once for a writer
            writer.add_text(f"{PREFIX}settings", settings_markdown(view), step)
            self._begun = writer
        for key, value in grouped(view.measurement, view.baseline).items():
            writer.add_scalar(key, value, step)
        for tag, text in completion_texts(view).items():
            writer.add_text(tag, text, step)
        if view.alerts:
            writer.add_text(f"{PREFIX}alerts", alerts_markdown(view), step)
        writer.flush()


def completion_texts(view: View) -> dict[str, str]:
    """Markdown for each prompt that is shown, by tag."""
    prompts = prompts_shown(view)
    followed = [rows for rows in prompts if rows[0]["chosen"] == "followed"]
    moved = [rows for rows in prompts if rows[0]["chosen"] != "followed"]
    several = len({rows[0]["task"] for rows in prompts}) > 1
    # A number for those that are called alike.
    names = [f"{rows[0]['task']}-{rows[0]['prompt_id']}" if several else rows[0]["prompt_id"] for rows in followed]
    parts = key_parts(f"{name} {names[:place].count(name) or ''}" for place, name in enumerate(names))
    tags = [*parts.values(), *(f"moved_{number}" for number in range(1, len(moved) + 1))]
    return {
        f"{PREFIX}completions/{tag}": prompt_markdown(rows) for tag, rows in zip(tags, [*followed, *moved], strict=True)
    }


def layout(measurement: Measurement) -> dict[str, dict[str, list[Any]]]:
    """The charts of TensorBoard's tab "Custom Scalars", as ``SummaryWriter.add_custom_scalars`` takes them."""
    names = list(measurement.metrics)
    means = {NAMES[name]: ["Margin", [_LOGGED + name, *mean_bounds(name)]] for name in names}
    if measurement.accuracy is not None:
        means["accuracy"] = ["Margin", [f"{_LOGGED}accuracy", *mean_bounds("accuracy")]]
    parts = {
        part.replace("_", " "): ["Margin", [f"{_LOGGED}sbert_{part}", *mean_bounds(f"sbert_{part}")]]
        for part in ("genuine", "quality_control")
    }
    shares = validity_key("(empty|unclosed|truncated|repeated)$")
    nats = validity_key("(entropy|logprob|base_logprob|base_gap)$")
    charts = {
        "divmon: diversity, with 95% intervals": means,
        "divmon: retained of the baseline, with 95% intervals": {
            NAMES[name]: ["Margin", [f"{_LOGGED}{name}_retained", *retained_bounds(name)]] for name in names
        },
        **({"divmon: SBERT's loss in two parts, with 95% intervals": parts} if measurement.accuracy else {}),
        "divmon: are the completions sound?": {
            "shares of completions": ["Multiline", [shares]],
            "nats a token": ["Multiline", [nats]],
        },
        "divmon: by category": {NAMES[name]: ["Multiline", [within_key("[^/]+", f"{name}$")]] for name in names},
    }
    return {title: dict(reversed(of.items())) for title, of in charts.items()}  # TensorBoard shows the last first
