"""Where a model of some name may be had: a folder, the hub's cache, a package of the index, the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from divmon.encoders import hub
from divmon.encoders.folder import weight_files
from divmon.encoders.packaged import PACKAGED, installed, packaged_folder
from divmon.protocols import Origin

Role = Literal["sentence encoder", "NLI classifier"]

CODE_ENCODER = "microsoft/unixcoder-base"
# Plain models, used as sentence encoders: they bring no file that says how to pool, so none is missing.
_WITHOUT_POOLING = (
    CODE_ENCODER,
    "microsoft/unixcoder-base-nine",
    "microsoft/unixcoder-base-unimodal",
    "microsoft/codebert-base",
    "microsoft/graphcodebert-base",
)

# Whose model a name without owner may be, first come first served; "" is the name as it stands.
_OWNERS: dict[Role, tuple[str, ...]] = {
    "sentence encoder": ("sentence-transformers/", ""),
    "NLI classifier": ("FacebookAI/", "cross-encoder/", ""),
}


@dataclass(frozen=True)
class Option:
    """A place where a model may be had.

    Attributes:
        name: The model's full name, or its path.
        origin: What kind of place it is.
        get: Gives the model's folder, checked; raises ModelNotFoundError.
        peek: What a dry run does instead of a `get` that may download or unpack; raises likewise.
    """

    name: str
    origin: Origin
    get: Callable[[], Path]
    peek: Callable[[], object] | None = None


def locate(role: Role, asked: str | Path, tried: list[str], *, local: bool = False) -> Iterator[Option]:
    """Give the places where a model may be had, best first; the hub is asked only when all others failed.

    Args:
        role: What the model is for.
        asked: A path, a name on the hub, or a name without its owner.
        tried: Takes a note for each place that is ruled out.
        local: Leave the hub out.
    """
    folder = Path(asked).expanduser()
    is_model = any((folder / file).is_file() for file in ("config.json", "modules.json"))
    if is_model and weight_files(folder):
        yield Option(str(folder), "path", lambda: folder)
        return
    if _is_path(asked):
        lacks = "is not there" if not folder.is_dir() else f"holds no {'weights' if is_model else 'config.json'}"
        tried.append(f"the folder {folder} {lacks}")
        return
    name = str(asked)
    names = [name] if "/" in name else [owner + name for owner in _OWNERS[role]]

    for name in names:
        pools = role == "sentence encoder" and name not in _WITHOUT_POOLING
        if snapshot := hub.cached_snapshot(name, sentence=pools):
            yield Option(name, "cache", partial(Path, snapshot))
    tried.append("not in the hub's local cache")

    for model in [PACKAGED[name] for name in names if name in PACKAGED]:
        if installed(model) is None:
            tried.append("its packages are not installed")
        else:
            peek = partial(installed, model) if model.archive else None
            yield Option(model.repo_id, "package", partial(packaged_folder, model), peek)

    if not local:
        if hub.hub_reachable():
            for name in names:
                yield Option(name, "hub", partial(hub.download, name), partial(hub.listing, name))
        else:
            tried.append(hub.why_unreachable())


def _is_path(asked: str | Path) -> bool:
    return isinstance(asked, Path) or asked.startswith(("/", ".", "~")) or asked.count("/") > 1
