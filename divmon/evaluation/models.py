"""The published checkpoints of the paper, and their small relatives, by lineage and stage.

The names are those of the model cards of Olmo 3 (arXiv 2512.13961) and OLMo 2; whether the hub still has them under
these names was not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from divmon.errors import InputError, near_miss

OLMO3 = "allenai/Olmo-3-1025-7B"
OLMO2_1B = "allenai/OLMo-2-0425-1B"


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint.

    Attributes:
        label: What its evaluation is called; it tells the stage, so that `divmon.lineage` reads it.
        hub: Its name on the hub.
        lineage: The lineage it belongs to; of the base of several, the family.
        stage: ``base``, ``sft``, ``dpo`` or ``rl``.
        parent: Label of the checkpoint that its training started from; empty for a base.
        base: Label of the base that its lineage counts from; of a base, its own.
        thinks: Whether it writes its chain of thought in a ``<think>`` block.
        architecture: The hub's name of the model whose published config it shares.
    """

    label: str
    hub: str
    lineage: str
    stage: str
    parent: str = ""
    base: str = "base"
    thinks: bool = False
    architecture: str = OLMO3

    @property
    def reasons(self) -> bool:
        """Whether it writes long chains of thought, in a block or, as RL-Zero's checkpoints, in plain text."""
        return self.thinks or self.lineage == "olmo3-rl-zero"

    @property
    def parameters(self) -> int:
        """How many parameters it has, by its config."""
        from divmon.recipes.known import known_architecture
        from divmon.shape import Shape

        config = known_architecture(self.architecture)
        assert config is not None
        return Shape.of(config).parameters


def _zero(domain: str, version: str = "3") -> Checkpoint:
    label = f"rl-zero-{domain.lower()}" + ("" if version == "3" else f"-{version}")
    return Checkpoint(label, f"allenai/Olmo-{version}-7B-RL-Zero-{domain}", "olmo3-rl-zero", "rl", "base")


def _small(stage: str, hub: str, parent: str) -> Checkpoint:
    return Checkpoint(f"olmo2-1b-{stage}", hub, "olmo2-1b", stage, parent, base="olmo2-1b-base", architecture=OLMO2_1B)


CHECKPOINTS = (
    Checkpoint("base", OLMO3, "olmo3", "base"),
    Checkpoint("think-sft", "allenai/Olmo-3-7B-Think-SFT", "olmo3-think", "sft", "base", thinks=True),
    Checkpoint("think-dpo", "allenai/Olmo-3-7B-Think-DPO", "olmo3-think", "dpo", "think-sft", thinks=True),
    Checkpoint("think-rl", "allenai/Olmo-3-7B-Think", "olmo3-think", "rl", "think-dpo", thinks=True),
    Checkpoint("instruct-sft", "allenai/Olmo-3-7B-Instruct-SFT", "olmo3-instruct", "sft", "think-sft"),
    Checkpoint("instruct-dpo", "allenai/Olmo-3-7B-Instruct-DPO", "olmo3-instruct", "dpo", "instruct-sft"),
    Checkpoint("instruct-rl", "allenai/Olmo-3-7B-Instruct", "olmo3-instruct", "rl", "instruct-dpo"),
    *(_zero(domain) for domain in ("Math", "Code", "IF", "General")),
    *(_zero(domain, "3.1") for domain in ("Math", "Code")),
    _small("base", OLMO2_1B, ""),
    _small("sft", f"{OLMO2_1B}-SFT", "olmo2-1b-base"),
    _small("dpo", f"{OLMO2_1B}-DPO", "olmo2-1b-sft"),
    _small("rl", f"{OLMO2_1B}-Instruct", "olmo2-1b-dpo"),
)
"""The thirteen of Olmo 3 and the four of OLMo 2 1B; a base stands before what counts from it."""

FAMILIES = {"olmo3": ("olmo3", "olmo3-think", "olmo3-instruct", "olmo3-rl-zero"), "olmo2-1b": ("olmo2-1b",)}
LINEAGES = ("olmo3-think", "olmo3-instruct", "olmo3-rl-zero", "olmo2-1b")


def checkpoint_of(hub: str) -> Checkpoint | None:
    """The checkpoint that the hub knows by this name, or None."""
    return next((checkpoint for checkpoint in CHECKPOINTS if checkpoint.hub.lower() == hub.lower()), None)


def checkpoints_of(names: str | Sequence[str]) -> list[Checkpoint]:
    """The checkpoints of lineages, each lineage's base first.

    Args:
        names: Lineages, in one string with commas between them or as a list; ``olmo3`` is its three lineages, ``all``
            every checkpoint.

    Raises:
        InputError: For a name that is no lineage's, or none.
    """
    given = names.split(",") if isinstance(names, str) else names
    asked = [name.strip().lower() for name in given if name.strip()]
    known = {**{name: (name,) for name in LINEAGES}, **FAMILIES, "all": LINEAGES}
    for name in asked:
        if name not in known:
            raise InputError(f"Unknown lineage {name!r}: {near_miss(name, known)}")
    wanted = {lineage for name in asked for lineage in known[name]}
    members = [checkpoint for checkpoint in CHECKPOINTS if checkpoint.lineage in wanted]
    if not members:
        raise InputError(f"Expected at least one lineage of {', '.join(known)}.")
    bases = {checkpoint.base for checkpoint in members}
    return [checkpoint for checkpoint in CHECKPOINTS if checkpoint in members or checkpoint.label in bases]
