"""What a majority vote gains beside how much right answers differ: the runs' own points and the paper's."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from divmon.quality import paper
from divmon.quality.grades import FILE
from divmon.quality.paper import Vote
from divmon.report.bounds import MOST_GROUPS, MOST_OF_A_NAME
from divmon.report.chart import Table, written
from divmon.report.runs import NamedRun
from divmon.report.text import cut

_SHAPES = 5  # markers that can be told apart


@dataclass(frozen=True)
class Votes:
    """Points of a scatter plot.

    Attributes:
        points: The runs' own, each with the place of its run.
        paper: The paper's.
        notes: What could not be read, in words.
    """

    points: tuple[tuple[int, Vote], ...]
    paper: tuple[Vote, ...]
    notes: tuple[str, ...]

    @property
    def tasks(self) -> dict[str, tuple[str, int]]:
        """Task -> its title and the shape of its marker; the paper's tasks first."""
        names = dict.fromkeys([vote.task for vote in self.paper] + [vote.task for _, vote in self.points])
        return {
            name: (paper.TASKS.get(name, cut(name, MOST_OF_A_NAME)), number % _SHAPES)
            for number, name in enumerate(names)
        }

    @property
    def correlation(self) -> str:
        """Of the paper's points, over all and by task."""
        parts = [
            f"{title} {paper.correlation(tuple(vote for vote in self.paper if vote.task == task)):.2f}"
            for task, (title, _) in self.tasks.items()
            if any(vote.task == task for vote in self.paper)
        ]
        return f"{paper.correlation(self.paper):.2f} over all {len(self.paper)} points ({', '.join(parts)})"

    def chart(self) -> dict[str, Any]:
        """What the page draws: points by D_c."""
        tasks = self.tasks
        made = [
            {
                "name": f"{vote.model}, the paper" if place is None else vote.model,
                "task": tasks[vote.task][0],
                "shape": tasks[vote.task][1],
                "style": place,
                "x": vote.d_correct,
                "y": vote.gain,
                "k": vote.k,
            }
            for place, vote in [*((None, vote) for vote in self.paper), *self.points]
        ]
        return {"id": "votes", "title": "Majority vote", "points": sorted(made, key=lambda point: point["x"])}

    def table(self) -> Table:
        """The same as text, the runs first."""
        rows = [
            (
                whose,
                self.tasks[vote.task][0],
                written(vote.d_correct, "number"),
                f"{100 * vote.gain:+.1f}",
                str(vote.k),
            )
            for whose, vote in [
                *((vote.model, vote) for _, vote in self.points),
                *((f"{vote.model} (the paper)", vote) for vote in self.paper),
            ]
        ]
        return Table(("model", "task", "D_c", "gain in points", "K"), tuple(rows))


def votes_of(runs: Sequence[NamedRun]) -> Votes | None:
    """The points of the runs that were graded (`divmon grade`), with the paper's; None where none was.

    A run's own come out of ``grades.json`` in its ledger's folder. What cannot be read there is a note, not an error.
    """
    found: list[tuple[int, Vote]] = []
    notes: list[str] = []
    for place, named in enumerate(runs):
        path = named.run.ledger.folder / FILE
        if not path.is_file():
            continue
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document.get("run_id", named.run.run_id) != named.run.run_id:
                notes.append(f"{named.name}: its {FILE} is of another run; grade it again.")
                continue
            made = [_vote(named.name, task, entry) for task, entry in document["tasks"].items()]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            notes.append(f"{named.name}: its {FILE} cannot be read ({type(error).__name__}); grade it again.")
            continue
        step = document.get("step")
        if isinstance(step, int) and named.last is not None and step != named.last.step:
            notes.append(f"{named.name}: its grades are of step {step:,}, not of the last measurement.")
        found += [(place, vote) for vote in made[:MOST_GROUPS] if math.isfinite(vote.d_correct + vote.gain)]
    if not found and not notes:
        return None
    return Votes(tuple(found), paper.votes() if found else (), tuple(notes))


def _vote(name: str, task: str, entry: dict[str, Any]) -> Vote:
    def number(field: str) -> float:
        value = entry[field]
        return math.nan if value is None else float(value)

    gain = number("majority_at_k") - number("accuracy_at_1")
    return Vote(name, task, number("d_correct"), gain, int(entry["k"]))
