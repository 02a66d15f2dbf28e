"""Files of completions in the forms that tools write; `divmon.generations` finds and reads them."""

from __future__ import annotations

from divmon.formats import jsonl, lighteval, lm_eval, trl
from divmon.formats.record import Format

FORMATS: dict[str, Format] = {each.name: each for each in (lm_eval.FORMAT, lighteval.FORMAT, trl.FORMAT, jsonl.FORMAT)}
"""By name, in the order in which a file is tried."""

__all__ = ["FORMATS", "Format"]
