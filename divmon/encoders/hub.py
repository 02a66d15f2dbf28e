"""The Hugging Face hub and its local cache: asked once whether it is there, never waited for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from divmon.encoders.folder import missing_parts, weight_files
from divmon.errors import ModelNotFoundError, in_a_line

_OTHER_BACKENDS = ("onnx", "openvino", "coreml", "tflite")
_KEPT = re.compile(r".*\.(json|txt|model)|(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")
_SECONDS = 10.0


def hub_reachable(timeout: float = 3.0) -> bool:
    """Whether the hub answers at all, found out within ``timeout`` seconds by one request, once a process.

    False without a request where HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set. HF_ENDPOINT, proxies and
    certificates are those of huggingface_hub, whose session is used.

    Args:
        timeout: Seconds for everything: name look-up, every address, proxy, TLS and answer.
    """
    from huggingface_hub import constants

    return not constants.is_offline_mode() and _answers(constants.ENDPOINT, timeout)


def why_unreachable() -> str:
    """What to say where `hub_reachable` is False."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "the hub is switched off (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)"
    return f"{constants.ENDPOINT} does not answer"


@lru_cache(maxsize=4)
def _answers(endpoint: str, timeout: float) -> bool:
    from huggingface_hub import get_session
    from huggingface_hub.errors import HTTPError  # of the client that the hub's library uses: httpx, later httpx2

    answered: list[bool] = []

    def ask() -> None:
        try:
            if not urlsplit(endpoint).hostname:  # ValueError for what is no address: the client's own is a bare one
                raise ValueError(endpoint)
            response = get_session().request("HEAD", endpoint, timeout=timeout, follow_redirects=False)
            answered.append(response.status_code < 500)
        except (HTTPError, OSError, ValueError):
            answered.append(False)

    # The client's own timeouts count anew for each address and phase and leave out the name look-up, so the
    # whole is bounded from outside; a thread that still hangs then ends with its request or the process.
    thread = threading.Thread(target=ask, name="divmon-hub-probe", daemon=True)
    thread.start()
    thread.join(timeout)
    return bool(answered and answered[0])


def wanted(files: Iterable[str]) -> list[str]:
    """The files of a repository that PyTorch needs: no other backend's, and no weights twice."""
    kept = [
        path
        for path in map(PurePosixPath, files)
        if path.parts[0] not in _OTHER_BACKENDS and _KEPT.fullmatch(path.name)
    ]
    safe = {path.parent for path in kept if path.suffix == ".safetensors"}
    return [
        str(path)
        for path in kept
        if not (path.parent in safe and (path.suffix == ".bin" or path.name.endswith(".bin.index.json")))
    ]


def cached_snapshot(repo_id: str, *, sentence: bool = False) -> Path | None:
    """A complete copy of a model in the hub's local cache, or None; asks no network.

    Complete means: every file that `wanted` names, where the cache knows what the repository holds; else a
    configuration, the weights, a tokenizer, and for a sentence encoder the files that say how it pools.

    Args:
        repo_id: Name on the hub.
        sentence: It is to be a sentence encoder.
    """
    from huggingface_hub import constants, get_cached_repo_tree, try_to_load_from_cache
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, HFValidationError

    cache = constants.HF_HUB_CACHE
    try:
        config = try_to_load_from_cache(repo_id, "config.json", cache_dir=cache)
        if not isinstance(config, str):
            return None
        folder = Path(config).parent
        listed = wanted(entry.path for entry in get_cached_repo_tree(repo_id, cache_dir=cache))
        complete = all((folder / name).is_file() for name in listed) and bool(weight_files(folder))
    except HFValidationError:
        return None
    except CachedRepoTreeNotFoundError:
        complete = not missing_parts(folder, sentence=sentence)
    return folder if complete else None


def listing(repo_id: str) -> list[str]:
    """The files of a model on the hub that PyTorch needs, by one request.

    Raises:
        ModelNotFoundError: If the hub has no such model with PyTorch weights, or does not let us see it.
    """
    from huggingface_hub import HfApi

    with _readable_errors(repo_id):
        info = HfApi().model_info(repo_id, timeout=_SECONDS)
    names = wanted(file.rfilename for file in info.siblings or ())
    if not any(name.endswith((".safetensors", ".bin")) for name in names):
        raise ModelNotFoundError(f"{repo_id} has no PyTorch weights on the hub")
    return names


def download(repo_id: str) -> Path:
    """Bring a model into the hub's local cache, PyTorch weights only.

    Args:
        repo_id: Name on the hub.

    Returns:
        Its folder in the cache.

    Raises:
        ModelNotFoundError: If the hub has no such model, does not let us have it, or the connection failed.
    """
    from huggingface_hub import snapshot_download

    names = listing(repo_id)
    with _readable_errors(repo_id):
        folder = Path(snapshot_download(repo_id, allow_patterns=names, etag_timeout=_SECONDS))
    if not weight_files(folder):
        raise ModelNotFoundError(f"the download of {repo_id} is not complete")
    return folder


@contextmanager
def _readable_errors(repo_id: str) -> Iterator[None]:
    """Turn whatever the hub's client raises into a ModelNotFoundError that says why."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HTTPError, RepositoryNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise ModelNotFoundError(
            f"{repo_id} is gated: accept its terms on its page, then log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"the hub has no model {repo_id}, or it is private (then log in with `hf auth login`)"
        ) from error
    # RuntimeError: the transfer client (hf_xet) has no class of its own.
    except (HTTPError, EntryNotFoundError, OSError, ValueError, RuntimeError) as error:
        raise ModelNotFoundError(f"the hub did not give {repo_id} ({in_a_line(error)})") from error
