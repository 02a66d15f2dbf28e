"""AST, syntactic diversity of Python programs: how few subtrees their syntax trees share."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from divmon.errors import InputError
from divmon.text import extract_code

Subtrees = Counter[Hashable]
"""How often each subtree occurs in a program; equal keys are equal subtrees."""

MOST_CHARACTERS = 50_000
"""A longer text is not parsed; this bounds what one program may cost."""
_MOST_HEIGHT = 50


def ast_subtrees(
    groups: Sequence[Sequence[str]],
    correct: Sequence[Sequence[bool]] | None = None,
    *,
    min_height: int = 1,
    max_height: int = 4,
    names: bool = False,
) -> NDArray[np.float64]:
    """Mean distance between the syntax trees of each prompt's programs.

    A program is the multiset of its subtrees: each node of its tree (Python's own ``ast``, where ``Load`` and ``Add``
    are nodes too) with all that is below it, if that is from ``min_height`` to ``max_height`` nodes high (a node
    without children: 1). With a(s) and b(s) for how often subtree s occurs in program A and B::

        distance(A, B) = 1 - sum over s of min(a(s), b(s)) / sum over s of max(a(s), b(s))

    which is the Jaccard distance of multisets; the value is its mean over the pairs i < j of the prompt's programs.

    Range 0 to 1, no unit, higher is more diverse. 0: all programs have the same structure. 1: no two share a subtree,
    which does not occur with subtrees of height 1, as ``Load`` alone is one. It tells form from form, not algorithm
    from algorithm, and programs that grow longer move apart; the syntax that parses is that of the running Python.

    What is a subtree's own is the types of its nodes and how they are arranged. Names and constants count by their
    type alone, so renaming and other wording change nothing (EAD sees those). With ``names`` they count too:
    ``min_height=4, names=True`` is what the public code of arXiv 2604.16027 computes.

    The program is the code block of the answer, as the verifier ``code`` takes it, or all of it; one that begins
    indented goes on inside a function. It is parsed, never run, in time and memory linear in its length. Left out are
    answers that are no Python (cut off, say, or over 50,000 characters), hold no statement, or no subtree of these
    heights.

    Args:
        groups: For each of P prompts its completions, think blocks already taken off.
        correct: For each of them whether it is right; wrong ones are left out. Without it all count.
        min_height: Least height of a subtree, at least 1.
        max_height: Greatest height, at least ``min_height`` and at most 50.
        names: Let identifiers and the values of constants count.

    Returns:
        Array (P,); NaN where a prompt has fewer than two (correct) programs.

    Raises:
        InputError: If the heights make no sense or ``correct`` is not of the form of ``groups``.

    Source:
        arXiv 2604.16027, whose public code takes whole subtrees of height 4 with names and constants
        (``ast.dump``); structure alone beside structure with values: Song et al. 2025, "Measuring LLM Code
        Generation Stability via Structural Entropy" (arXiv 2508.14288).
    """
    if not 1 <= min_height <= max_height <= _MOST_HEIGHT:
        raise InputError(
            f"AST needs heights from 1 to {_MOST_HEIGHT}, got min_height={min_height} and max_height={max_height}."
        )
    chosen = groups if correct is None else select(groups, correct)
    return mean_distances([[subtrees(text, min_height, max_height, names) for text in group] for group in chosen])


def select(groups: Sequence[Sequence[str]], correct: Sequence[Sequence[bool]]) -> list[list[str]]:
    """The completions that ``correct`` says are right.

    Raises:
        InputError: If it does not have one truth value for each completion.
    """
    if [len(group) for group in groups] != [len(mask) for mask in correct]:
        raise InputError("correct: expected a list for each prompt with true or false for each of its completions.")
    return [[text for text, right in zip(*pair, strict=True) if right] for pair in zip(groups, correct, strict=True)]


def subtrees(answer: str, min_height: int = 1, max_height: int = 4, names: bool = False) -> Subtrees | None:
    """The subtrees of the program in an answer, as `ast_subtrees` defines them.

    Returns:
        How often each occurs; None where there is no program, or none of its subtrees is of these heights.
    """
    body = parse_program(extract_code(answer))
    if not body:
        return None
    nodes: list[ast.AST] = []
    parents: list[int] = []
    stack: list[tuple[ast.AST, int]] = [(ast.Module(body=body, type_ignores=[]), -1)]
    while stack:  # not recursion: a tree may be deep
        node, parent = stack.pop()
        stack.extend((child, len(nodes)) for child in ast.iter_child_nodes(node))
        nodes.append(node)
        parents.append(parent)
    heights = [1] * len(nodes)
    below: list[list[Hashable]] = [[] for _ in nodes]
    found = Subtrees()
    for place in reversed(range(len(nodes))):  # children stand after their parents, the first one last
        height, parent = heights[place], parents[place]
        if parent >= 0:
            heights[parent] = max(heights[parent], height + 1)
        if height > max_height:
            continue
        key = (_label(nodes[place], names), *below[place])
        below[place] = []
        if parent >= 0:
            below[parent].append(key)
        if height >= min_height:
            found[key] += 1
    return found or None


def parse_program(code: str) -> list[ast.stmt]:
    """The statements of a program that a model wrote; none where it is no Python.

    Nothing is run, and no warning of the parser (of an invalid escape, say) gets out.
    """
    if len(code) > MOST_CHARACTERS:
        return []
    inside = bool(code.strip()) and code.lstrip("\n\r\f")[:1] in (" ", "\t")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(f"def begun():\n{code}" if inside else code).body
    # ValueError: null bytes, halves of surrogate pairs, integers of thousands of digits; the last two: nesting.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [*body[0].body, *body[1:]] if inside and isinstance(body[0], ast.FunctionDef) else body


def _label(node: ast.AST, names: bool) -> Hashable:
    """What a node is without its children: its type, where children stand in it, and its names and constants."""

    def of(value: object) -> Hashable:
        if isinstance(value, list):
            return tuple(map(of, value))
        if isinstance(value, ast.AST):
            return ...
        kind = type(value).__name__
        return (kind, value) if names else kind

    return (type(node).__name__, *(of(value) for _, value in ast.iter_fields(node)))


def mean_distances(groups: Sequence[Sequence[Subtrees | None]]) -> NDArray[np.float64]:
    """Mean multiset Jaccard distance over the pairs of each prompt's programs.

    Args:
        groups: For each of P prompts the subtrees of its programs; None for what is none.

    Returns:
        Array (P,); NaN where a prompt has fewer than two programs.
    """
    return np.array([_mean_distance([each for each in group if each]) for group in groups], dtype=np.float64)


def _mean_distance(programs: Sequence[Subtrees]) -> float:
    if len(programs) < 2:
        return float("nan")
    # The n-th occurrence of a subtree becomes a thing of its own, a number: multisets become sets of numbers, whose
    # intersection holds min(a, b) and whose union max(a, b) of each subtree.
    number: dict[tuple[Hashable, int], int] = {}
    sets = [
        {number.setdefault((key, n), len(number)) for key, count in program.items() for n in range(count)}
        for program in programs
    ]
    total = 0.0
    for one, other in combinations(sets, 2):
        shared = len(one & other)
        total += 1 - shared / (len(one) + len(other) - shared)
    return total / (len(sets) * (len(sets) - 1) / 2)
