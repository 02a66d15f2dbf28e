"""The diversity metrics: pure functions from completions or embeddings to one value a prompt."""

from divmon.metrics.ast_subtrees import ast_subtrees
from divmon.metrics.ead import ead
from divmon.metrics.nli import nli
from divmon.metrics.sbert import sbert
from divmon.metrics.vendi import vendi

METRICS: tuple[str, ...] = ("ead", "sbert", "nli", "vendi")
"""Names of the metrics that are measured where none is named, in the order in which they are reported."""
BY_NAME: tuple[str, ...] = ("ast",)
"""Further ones, which are measured where they are named only."""
KNOWN = (*METRICS, *BY_NAME)
CODE_METRICS: tuple[str, ...] = ("ead", "sbert", "vendi", "ast")
"""What is measured on programs: NLI means nothing there."""

NAMES = {"ead": "EAD", "sbert": "SBERT", "nli": "NLI", "vendi": "Vendi", "ast": "AST"}
AXES = {
    "ead": "lexical",
    "sbert": "semantic",
    "nli": "logical",
    "vendi": "effective modes",
    "ast": "syntactic",
}

__all__ = [
    "AXES",
    "BY_NAME",
    "CODE_METRICS",
    "KNOWN",
    "METRICS",
    "NAMES",
    "ast_subtrees",
    "ead",
    "nli",
    "sbert",
    "vendi",
]
