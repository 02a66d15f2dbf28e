"""What the pictures share: panels, colours and markers, through matplotlib's object interface.

pyplot would keep global state in a training process.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for colour-blind readers; dashes and markers differ too.
COLOURS = {"ead": "#0072B2", "sbert": "#D55E00", "nli": "#009E73", "vendi": "#CC79A7", "ast": "#E69F00"}
OF_RUNS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
MARKERS = "os^Dv"
_RANGES = {
    "ead": "share of distinct n-grams, 0 to 1",
    "sbert": "1 - mean cosine",
    "nli": "1 - mean (P(e) - P(c))",
    "ast": "mean distance of syntax trees, 0 to 1",
}


def value_label(metric: str) -> str:
    """What an axis of a metric's values shows."""
    return _RANGES.get(metric, "effective number of modes")


def lowest(metric: str) -> float:
    """The lowest value that a metric can have."""
    return 1.0 if metric == "vendi" else 0.0


def grid(count: int, title: str, across: str = "optimizer step") -> tuple[Figure, Any]:
    """A figure of ``count`` panels, two a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = (count + 1) // 2
    figure = Figure(figsize=(9, 1 + 2.9 * rows), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13, fontweight="bold", parse_math=False)
    panels = figure.subplots(rows, 2, squeeze=False).ravel()
    for panel in panels[count:]:
        panel.set_visible(False)
    for panel in panels[max(0, count - 2) : count]:
        panel.set_xlabel(across, fontsize=9)
    return figure, panels


def dress(panel: Any, title: str, label: str) -> None:
    """Title, axis label and grid of a panel."""
    from matplotlib.ticker import MaxNLocator

    panel.set_title(title, fontsize=10 if len(title) < 50 else 8.5, loc="left")
    panel.set_ylabel(label, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def saved(figure: Figure, path: str | Path) -> Path:
    """Write a figure, its folder made where it is not there; ``path``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a name in a script that the font lacks
        figure.savefig(path)
    return path
