"""An alert as W&B sends it: a short title, and Markdown that holds what the model wrote without reading it."""

from __future__ import annotations

from divmon.alerts import Alert
from divmon.metrics import NAMES
from divmon.sinks.wandb_text import fenced, inert

TITLE_CHARACTERS = 63
"""What W&B takes."""
EXAMPLE_CHARACTERS = 300
_NO_ANSWER = "(no answer)"


def title(alert: Alert) -> str:
    """What happened, when and to which metrics, in at most ``TITLE_CHARACTERS``."""
    what = "Diversity collapse" if alert.kind == "collapse" else "Completions may rot"
    return inert(f"{what} at step {alert.step}: {', '.join(NAMES[name] for name in alert.metrics)}", TITLE_CHARACTERS)


def text(alert: Alert) -> str:
    """The numbers, two completions before and now, and what to try, as Markdown of at most some 3,000 characters."""
    if alert.kind == "collapse":
        threshold = f"{100 * alert.threshold:.0f}%"
        head = f"At step {alert.step} the 95% interval of what is retained of the baseline lies below {threshold}:"
    else:
        head = f"At step {alert.step} {alert.why}. Retained of the baseline, with the 95% interval:"
    parts = [head, "\n".join(f"- **{NAMES[name]}** {kept}" for name, kept in alert.metrics.items())]
    for example in alert.examples:
        parts += [
            "**Prompt**",
            fenced(example.prompt, EXAMPLE_CHARACTERS),
            "**Before**",
            fenced(example.before or _NO_ANSWER, EXAMPLE_CHARACTERS),
            "**Now**",
            fenced(example.now or _NO_ANSWER, EXAMPLE_CHARACTERS),
        ]
    return "\n\n".join([*parts, f"**What to try.** {alert.advice}"])
