"""Where a measurement comes from: versions, git state, device."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGES = (
    "divmon",
    "torch",
    "transformers",
    "trl",
    "peft",
    "sentence-transformers",
    "vendi-score",
    "numpy",
)


def package_versions() -> dict[str, str | None]:
    """Installed versions of the packages that can change a number; None for one that is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


@functools.cache
def git_state(folder: Path | None = None) -> dict[str, Any] | None:
    """Commit and dirty flag of the git checkout around ``folder`` (default: the running script's), or None."""
    folder = folder or Path(sys.argv[0] or ".").resolve().parent
    command = ["git", "--no-optional-locks", "-C", str(folder)]  # takes no lock that the user's own git may need
    try:
        head = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, timeout=5)
        if head.returncode:
            return None
        status = subprocess.run(
            [*command, "status", "--porcelain", "--untracked-files=no"], capture_output=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    dirty = None if status.returncode else bool(status.stdout.strip())
    return {"commit": head.stdout.decode("ascii", "replace").strip(), "dirty": dirty}
