"""A tiny world for tiny models: a synthetic corpus and the data of every post-training stage, from a seed.

Twelve voices answer open questions, word problems and format instructions; ``divmon.tinyworld.stages`` has the rows.
"""

from divmon.tinyworld.rows import DATASETS, dataset, evaluation_rows

__all__ = ["DATASETS", "dataset", "evaluation_rows"]
