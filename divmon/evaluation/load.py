"""From what a user named to a model and its tokenizer, and to what tells whether it is the same model again."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divmon.encoders.folder import weight_files
from divmon.encoders.hub import hub_reachable, why_unreachable
from divmon.errors import InputError, ModelNotFoundError, in_a_line, near_miss, said_as
from divmon.evaluation.models import CHECKPOINTS
from divmon.evaluation.subject import Subject
from divmon.fingerprint import beside, fingerprint

_TOKENIZER = "tokenizer_config.json"


@dataclass(frozen=True)
class Located:
    """Where the parts of a model are, and what identifies them.

    Attributes:
        model: Folder or hub name of the weights.
        revision: Their commit on the hub.
        adapter: Likewise of a PEFT adapter on them; None without one.
        adapter_revision: Its commit.
        identity: What must agree for completions to be the same model's: the digest of a folder's weights, tokenizer
            and settings, or the commit of a hub model; of the weights and of the adapter.
    """

    model: str
    revision: str | None
    adapter: str | None
    adapter_revision: str | None
    identity: dict[str, str | None]


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to sample from.

    Attributes:
        model: The model, in eval mode on its device.
        tokenizer: Its tokenizer.
        located: Where it came from.
    """

    model: Any
    tokenizer: Any
    located: Located

    @property
    def context(self) -> int | None:
        """The most tokens that the model's positions reach; None where its config does not say."""
        from divmon.sampling.guard import text_config_of

        found = getattr(text_config_of(self.model), "max_position_embeddings", None)
        return found if isinstance(found, int) and found > 0 else None


def locate(subject: Subject) -> Located:
    """Find a model's parts, without its weights where those are on the hub.

    Raises:
        ModelNotFoundError: If one is not to be had here.
        InputError: If a base is given for what is no adapter.
    """
    model, adapter, revision, adapter_revision = subject.model, subject.adapter, subject.revision, None
    if adapter is None and not Path(model).is_dir():
        config = _adapter_config(model, subject.revision)
        if config is not None:  # what was named is an adapter on the hub
            adapter, adapter_revision, revision = model, subject.revision, None
            base = subject.base or config.get("base_model_name_or_path")
            if not base:
                raise ModelNotFoundError(f"The adapter {model} does not say which model it is for: give --base.")
            model, revision = str(base), None if subject.base else config.get("revision")
        elif subject.base:
            raise InputError(f"--base stands in for the base that an adapter names: {model} is no adapter.")
    found, revision = _weights(model, revision)
    identity: dict[str, str | None] = {"weights": found, "adapter": None}
    if adapter is not None:
        identity["adapter"], adapter_revision = _adapter(adapter, adapter_revision)
    return Located(model, revision, adapter, adapter_revision, identity)


def load(located: Located, dtype: str, device: Any) -> Loaded:
    """Load a model and its tokenizer; an adapter's own tokenizer comes before its base's.

    Args:
        located: Its parts.
        dtype: A torch dtype's name, or ``auto`` for the checkpoint's own.
        device: A torch device.

    Raises:
        ModelNotFoundError: If it cannot be loaded.
        InputError: For a device that is not to be had.
    """
    from transformers import AutoModelForCausalLM

    from divmon.recipes.models import loaded_whole

    local = not hub_reachable()
    with loaded_whole(), _not_found("model", located.model):
        options = {"revision": located.revision, "dtype": dtype, "local_files_only": local}
        model: Any = AutoModelForCausalLM.from_pretrained(located.model, **_given(options))
    tokenizer = _tokenizer(located, local)
    if located.adapter is not None:
        from peft import PeftModel

        with loaded_whole(), _not_found("adapter", located.adapter):
            if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
                model.resize_token_embeddings(len(tokenizer))  # tokens that the adapter was trained with
            model = PeftModel.from_pretrained(
                model, located.adapter, torch_device="cpu", **_given({"revision": located.adapter_revision})
            )
    try:
        return Loaded(model.to(device).eval(), tokenizer, located)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise InputError(f"The model {located.model} cannot be put on {device} ({in_a_line(error)}).") from error


def _weights(model: str, revision: str | None) -> tuple[str, str | None]:
    """What identifies the weights, and the revision to load."""
    folder = Path(model)
    if folder.is_dir():
        files = weight_files(folder)
        if not files:
            raise ModelNotFoundError(f"{folder} holds no weights (model.safetensors or pytorch_model.bin), or not all.")
        return f"digest {fingerprint([*files, *beside(folder)])}", None
    from transformers import AutoConfig

    with _not_found("model", model):
        options = {"revision": revision, "local_files_only": not hub_reachable()}
        config = AutoConfig.from_pretrained(model, **_given(options))
    commit = getattr(config, "_commit_hash", None)
    return f"{model} at {commit or revision or 'main'}", commit or revision


def _adapter(adapter: str, revision: str | None) -> tuple[str, str | None]:
    folder = Path(adapter)
    if folder.is_dir():
        files = sorted(folder.glob("adapter_model.*"))
        if not files:
            raise ModelNotFoundError(f"{folder} holds no adapter's weights (adapter_model.safetensors).")
        return f"digest {fingerprint([*files, *beside(folder)])}", None
    from transformers.utils.hub import extract_commit_hash

    path = _adapter_config_file(adapter, revision)
    if path is None:
        raise ModelNotFoundError(f"There is no adapter {adapter!r} here, as a folder or on the hub{_offline()}.")
    commit = extract_commit_hash(path, None)
    return f"{adapter} at {commit or revision or 'main'}", commit or revision


def _adapter_config(name: str, revision: str | None) -> dict[str, Any] | None:
    """The adapter config of a hub repository; None where that is no adapter's."""
    path = _adapter_config_file(name, revision)
    if path is None:
        return None
    with _not_found("adapter", name):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def _adapter_config_file(name: str, revision: str | None) -> str | None:
    from transformers.utils.peft_utils import find_adapter_config_file

    with _not_found("model", name):
        return find_adapter_config_file(name, revision=revision, local_files_only=not hub_reachable())


def _tokenizer(located: Located, local: bool) -> Any:
    from transformers import AutoTokenizer

    own = located.adapter is not None and _has_tokenizer(located.adapter, located.adapter_revision, local)
    name = located.adapter if own and located.adapter else located.model
    revision = located.adapter_revision if own else located.revision
    with _not_found("tokenizer", name):
        return AutoTokenizer.from_pretrained(name, **_given({"revision": revision, "local_files_only": local}))


def _has_tokenizer(name: str, revision: str | None, local: bool) -> bool:
    if Path(name).is_dir():
        return (Path(name) / _TOKENIZER).is_file()
    from transformers.utils import cached_file

    found = cached_file(
        name,
        _TOKENIZER,
        revision=revision,
        local_files_only=local,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found is not None


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _offline() -> str:
    return "" if hub_reachable() else f" ({why_unreachable()})"


def _not_found(what: str, name: str) -> AbstractContextManager[None]:
    def sentence(reason: str) -> str:
        known = [checkpoint.hub for checkpoint in CHECKPOINTS]
        near = near_miss(name, known)
        hint = f" {near[0].upper()}{near[1:]}" if near.startswith("did you mean") and name not in known else ""
        return (
            f"The {what} {name!r} cannot be loaded here{_offline()}: {reason}. Expected a folder, or a name on the "
            f"hub.{hint}"
        )

    return said_as(ModelNotFoundError, sentence)
