"""The four diversity metrics: pure functions from completions or embeddings to one value a prompt."""

from divmon.metrics.ead import ead
from divmon.metrics.nli import nli
from divmon.metrics.sbert import sbert
from divmon.metrics.vendi import vendi

METRICS: tuple[str, ...] = ("ead", "sbert", "nli", "vendi")
"""Names of the metrics, in the order in which they are reported."""

__all__ = ["METRICS", "ead", "nli", "sbert", "vendi"]
