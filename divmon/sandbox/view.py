"""What a sandboxed program sees of the file system: a mount namespace's view, or Landlock's rules.

Readable are the system's ``/usr`` with ``/lib`` and ``/bin``, the Python installation, and a few devices; nothing of
``/etc`` but the loader's cache, no home, no ``/tmp`` of the machine, no ``/sys``. Writable is the scratch folder alone.
"""

from __future__ import annotations

import os
import struct

from divmon.sandbox import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SCRATCH = "/tmp"  # of the sandbox: an empty file system of its own, in memory
_SYSTEM = ("/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")  # links into /usr on most systems
_FILES = ("/etc/ld.so.cache",)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_KEPT_FLAGS = {  # flags of a mount that a remount may not drop
    "noexec": kernel.MS_NOEXEC,
    "noatime": kernel.MS_NOATIME,
    "nodiratime": kernel.MS_NODIRATIME,
    "relatime": kernel.MS_RELATIME,
}


def enter_view(trees: Sequence[str], disk_bytes: int, owner: int) -> None:
    """Replace this mount namespace's root with one that holds ``trees`` read-only and an empty scratch folder.

    The process must be process 1 of new user, mount and process namespaces.

    Args:
        trees: Absolute folders to show read-only beside the system's, at their own paths.
        disk_bytes: Size of the scratch folder's file system, and of ``/dev/shm``'s; both are memory.
        owner: User and group number of the scratch folder.
    """
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    # The new root is mounted over a folder that may hide a source, so the sources are opened first.
    sources = _open_sources([*_SYSTEM, *_FILES, *_DEVICES, "/usr", *trees])
    root = "/tmp"
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=1m")
    for path in _SYSTEM:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
    for path, source in sources.items():
        _bind(source, root + path)
    os.makedirs(root + "/proc", exist_ok=True)
    kernel.mount("proc", root + "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    size = f"mode=0700,nr_inodes=8192,size={disk_bytes}"
    for path in (SCRATCH, "/dev/shm"):
        os.makedirs(root + path, exist_ok=True)
        kernel.mount("tmpfs", root + path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, size)
        os.chown(root + path, owner, owner)
    kernel.pivot_root(root)
    _make_read_only(keep=(SCRATCH, "/dev/shm"))


def _open_sources(paths: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in paths:
        covered = any(path == tree or path.startswith(tree + "/") for tree in found)
        if not covered and os.path.exists(path) and not (path in _SYSTEM and os.path.islink(path)):
            found[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
    return found


def _bind(source: int, target: str) -> None:
    link = f"/proc/self/fd/{source}"
    if os.path.isdir(link):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    kernel.mount(link, target, None, kernel.MS_BIND | kernel.MS_REC)
    os.close(source)


def _make_read_only(keep: Sequence[str]) -> None:
    """Remount everything but ``keep``; a recursive bind mount keeps its parts writable."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mounts = [line.split() for line in file]
    for fields in mounts:
        # Field 5 is the mount point, with white space as octal escapes; field 6 its options.
        path = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1").decode()
        if path in keep:
            continue
        flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID
        if not path.startswith("/dev/"):
            flags |= kernel.MS_NODEV
        for option in fields[5].split(","):
            flags |= _KEPT_FLAGS.get(option, 0)
        kernel.mount("none", path, None, flags)


# ---------------------------------------------------------------------------------------------------------
# Without namespaces
# ---------------------------------------------------------------------------------------------------------

# Rights of Landlock's third version (Linux 6.2), the first that covers truncation.
LANDLOCK_NEEDED = 3
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_RIGHTS = (1 << 15) - 1
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14  # what a rule on a file may name; bit 14: truncate


def restrict_files(trees: Sequence[str], scratch: str) -> None:
    """Put this process under Landlock: the same files as in `enter_view`, without ``/proc``."""
    ruleset = kernel.landlock_ruleset(struct.pack("=Q", _ALL_RIGHTS))
    read = _EXECUTE | _READ_FILE | _READ_DIR
    rights = dict.fromkeys(["/usr", *_SYSTEM, *_FILES, *trees], read)
    rights |= dict.fromkeys(_DEVICES, _READ_FILE | _WRITE_FILE) | {scratch: _ALL_RIGHTS}
    for path, allowed in rights.items():
        if os.path.exists(path):
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = allowed if os.path.isdir(path) else allowed & _FILE_RIGHTS
            kernel.landlock_allow(ruleset, struct.pack("=Qi", allowed, parent))
            os.close(parent)
    kernel.landlock_restrict(ruleset)
    os.close(ruleset)
