"""Replies of a judge, kept on disk under what was asked of whom."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from divmon.judge.chat import Message

logger = logging.getLogger(__name__)


def user_folder() -> Path:
    """Where replies are kept if nothing else is said: ``judge`` in the user's cache folder."""
    from platformdirs import user_cache_path

    return user_cache_path("divmon") / "judge"


class Replies:
    """A folder with a file a reply; several processes may read and write it at once.

    Args:
        folder: The folder; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._warned = False

    def get(self, model: Mapping[str, Any], messages: Sequence[Message]) -> str | None:
        """The reply of a model (its ``identity``) to messages; None where none is kept, or what is kept is damaged."""
        path = self._path(model, messages)
        try:
            reply = None if path is None else json.loads(path.read_text(encoding="utf-8"))["reply"]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return reply if isinstance(reply, str) else None

    def put(self, model: Mapping[str, Any], messages: Sequence[Message], reply: str) -> None:
        """Keep a reply; where that cannot be done it is said once."""
        path = self._path(model, messages)
        if path is None:
            return
        temporary = ""
        try:
            # Whole files only: other processes read here, and this one may be ended at any time.
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"reply": reply, "model": dict(model)}, file)
            os.replace(temporary, path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            if not self._warned:
                self._warned = True
                logger.warning("divmon: the judge's replies cannot be kept in %s (%s).", self._folder, error.strerror)

    def _path(self, model: Mapping[str, Any], messages: Sequence[Message]) -> Path | None:
        if self._folder is None:
            return None
        asked = [dict(model), [dict(message) for message in messages]]
        key = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
        return self._folder / key[:2] / f"{key}.json"
