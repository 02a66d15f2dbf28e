"""What a run shows of itself, and how it reads as lines of a console."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divmon.alerts import alerts
from divmon.measurement import UNMEASURED, Measurement, to_plain
from divmon.metrics import NAMES
from divmon.quality.decomposition import decompose
from divmon.reading import counted, format_kept, format_number, format_percent, verdict
from divmon.visible import cut

MOST_ROWS = 12
MOST_ALERTS = 6
MOST_CHARACTERS = 400
"""Characters of a text that was written elsewhere."""


@dataclass(frozen=True)
class Shown:
    """What is shown of a run.

    Attributes:
        name: Its heading.
        folder: Where its records are; empty where there are none.
        run_id: Its id.
        measurements: By step.
        baseline: What ``retained`` compares with.
        alerts: What it warned of, as the ledger keeps it (`divmon.alerts.Alert` as plain values, with its ``title``).
        failed: Steps that could not be measured.
    """

    name: str
    folder: str = ""
    run_id: str = ""
    measurements: tuple[Measurement, ...] = ()
    baseline: Measurement | None = None
    alerts: tuple[Mapping[str, Any], ...] = ()
    failed: tuple[int, ...] = ()

    @property
    def metrics(self) -> list[str]:
        """The metrics of any of the measurements."""
        return list(dict.fromkeys(name for measurement in self.measurements for name in measurement.metrics))

    @property
    def verified(self) -> bool:
        """Whether any of the measurements has an accuracy."""
        return any(measurement.accuracy for measurement in self.measurements)

    @property
    def rows(self) -> list[Measurement]:
        """At most `MOST_ROWS` of the measurements."""
        return spread(self.measurements, MOST_ROWS)

    @property
    def last_alerts(self) -> tuple[Mapping[str, Any], ...]:
        """At most `MOST_ALERTS` of the alerts, the newest."""
        return self.alerts[-MOST_ALERTS:]


def spread(measurements: Sequence[Measurement], most: int) -> list[Measurement]:
    """At most ``most`` of them, at least 2, spread evenly, the first and the last among them."""
    last = len(measurements) - 1
    places = {round(number * last / (most - 1)) for number in range(most)}
    return [made for place, made in enumerate(measurements) if last < most or place in places]


def past_alerts(
    history: Sequence[Measurement], baseline: Measurement | None, threshold: float | None
) -> tuple[dict[str, Any], ...]:
    """What a run of these measurements warned of on its way, as the ledger keeps it but without examples.

    Args:
        history: By step.
        baseline: What they are compared with.
        threshold: As for ``DiversityCallback(alert_below=...)``.
    """
    if threshold is None:
        return ()
    found = (alerts(history[: number + 1], baseline, threshold) for number in range(len(history)))
    return tuple(to_plain(alert) | {"title": alert.title} for step in found for alert in step)


def summary(shown: Shown) -> str:
    """The run in a line."""
    count = len(shown.measurements)
    where = f", in {plain(shown.folder)}" if shown.folder else ""
    at = f" at {_steps([measurement.step for measurement in shown.measurements])}" if count else ""
    return f"{count} measurement{'s' * (count != 1)}{at}{where}"


def as_text(shown: Shown) -> str:
    """The run as lines: a table of some of its steps, the verdict, alerts, and where the records are."""
    lines = [f"{plain(shown.name)}: {details(shown)}"]
    if shown.measurements:
        accuracy = ["acc"] * shown.verified
        compared = any(measurement.baseline for measurement in shown.measurements)
        left = " left" * compared
        table = [["step", *(f"{NAMES[metric]}{left}" for metric in shown.metrics), *accuracy, *SOUNDNESS]]
        for measurement in shown.rows:
            cells = [str(measurement.step)]
            for metric in shown.metrics:
                found = measurement.metrics.get(metric, UNMEASURED)
                cells.append(format_number(found.mean) + f" {format_kept(found, measurement):>4}" * compared)
            share = measurement.accuracy.mean if measurement.accuracy else math.nan
            table.append([*cells, *[format_percent(share)] * shown.verified, *soundness(measurement)])
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        lines += left_out(shown)
    lines += said(shown)
    lines += [f"Alert: {plain(alert.get('title'))}" for alert in shown.last_alerts]
    return "\n".join([*lines, *endings(shown)])


def said(shown: Shown) -> list[str]:
    """The verdict, and what SBERT's loss is made of where prompts have a verifier."""
    lines = verdict(shown.measurements)
    last, baseline = shown.measurements[-1] if shown.measurements else None, shown.baseline
    loss = decompose(last, baseline) if last and last.baseline and baseline else None
    if loss is not None:
        over = f"{loss.prompts} of {counted(loss.of)} with two right answers in both"
        lines.append(f"SBERT over {over}: {loss.reading}")
    return lines


SOUNDNESS = ("entropy", "base logp", "cut", "same")
"""Headings of `soundness` where there is little room."""


def soundness(measurement: Measurement) -> list[str]:
    """Entropy and log-likelihood under the base in nats a token; shares cut off and repeated."""
    validity = measurement.validity
    numbers = [format_number(validity.entropy, 2), format_number(validity.base_logprob, 2)]
    return [*numbers, format_percent(validity.truncated), format_percent(validity.repeated)]


def details(shown: Shown) -> str:
    """What was measured, and with what."""
    run = f"run {plain(shown.run_id)}" if shown.run_id else "no run yet"
    if not shown.measurements:
        return run
    last = shown.measurements[-1]
    samples = (last.protocol.get("sampling") or {}).get("samples", "?")
    identities = [last.protocol.get(part) for part in ("sentence_encoder", "nli")]
    parts = [run, _steps([measurement.step for measurement in shown.measurements])]
    parts += [f"{counted(len(last.prompts.ids))} x {samples} completions", *map(_encoder, filter(None, identities))]
    return ", ".join(parts)


def left_out(shown: Shown) -> Iterator[str]:
    """Measurements that the table has no room for."""
    if len(shown.measurements) > len(shown.rows):
        yield f"{len(shown.rows)} of {len(shown.measurements):,} measurements; frame() of the loaded run has all."


def endings(shown: Shown) -> Iterator[str]:
    """What else there is to know: more alerts, what failed, the tasks, where the records are."""
    if len(shown.alerts) > MOST_ALERTS:
        yield f"{len(shown.alerts):,} alerts in all."
    if shown.failed:
        yield f"{len(shown.failed):,} not measured ({_steps(sorted(shown.failed))}); the ledger says why."
    tasks = list(shown.measurements[-1].tasks) if shown.measurements else []
    if tasks:
        yield f"Means over {len(tasks)} tasks: {', '.join(map(plain, tasks[:8]))}{' ...' * (len(tasks) > 8)}."
    if shown.folder:
        yield f"Records: {plain(shown.folder)}"


def plain(text: object) -> str:
    """Text that was written elsewhere in one line, cut, with all that would steer how it is shown written out."""
    return " ".join(cut("" if text is None else str(text), MOST_CHARACTERS).split())


def _encoder(identity: Mapping[str, Any]) -> str:
    stands = f" (in place of {plain(identity['fallback_for'])})" if identity.get("fallback_for") else ""
    return f"{plain(identity.get('name'))}{stands}"


def _steps(steps: Sequence[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
