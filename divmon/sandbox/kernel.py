"""System calls that Python 3.11 has no function for: namespaces, mounts, prctl, capabilities, Landlock.

Every function raises OSError with the kernel's error number. This module, like ``seccomp``, ``view``, ``watch`` and
``wire``, runs in the launcher, before the program: it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_RELATIME = 0x200000

_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
# The same numbers on x86-64 and arm64.
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, _SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def _syscall(number: int, call: str, *arguments: object) -> int:
    longs = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *longs), call)


def unshare(flags: int) -> None:
    """Put this process into new namespaces (``CLONE_NEW...``)."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount a file system, or with ``MS_BIND`` a part of one, or change how one is mounted."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), options.encode()
    )
    _check(result, f"mount {kind or source} on {target}")


def pivot_root(folder: str) -> None:
    """Make ``folder`` (a mount point) the root of this mount namespace and let go of the old root."""
    os.chdir(folder)
    _syscall(_SYS_PIVOT_ROOT[os.uname().machine], "pivot_root", b".", b".")
    _check(_libc.umount2(b".", ctypes.c_int(_MNT_DETACH)), "umount of the old root")
    os.chdir("/")


def _prctl(call: str, option: int, value: object = 0, pointer: object = 0) -> None:
    words = [ctypes.c_ulong(item) if isinstance(item, int) else item for item in (value, pointer)]
    _check(_libc.prctl(ctypes.c_int(option), *words, ctypes.c_ulong(0), ctypes.c_ulong(0)), call)


def no_new_privileges() -> None:
    """From here on no execve gives more rights: set-user-id files are ordinary files."""
    _prctl("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)


def not_dumpable() -> None:
    """Close this process's memory and /proc entries to others of the same user."""
    _prctl("dumpable", _PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    _prctl("parent-death signal", _PR_SET_PDEATHSIG, 9)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent has ended."""
    _prctl("subreaper", _PR_SET_CHILD_SUBREAPER, 1)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install_filter(instructions: bytes) -> None:
    """Install a seccomp filter (packed ``struct sock_filter``, 8 bytes each); `no_new_privileges` comes first."""
    program = _Filter(len(instructions) // 8, instructions)
    _prctl("seccomp", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))


def bound_capabilities() -> None:
    """Let no execve of this process give a capability, where it may say so (it may as root and before setuid)."""
    for capability in range(64):
        try:
            _prctl("bounding set", _PR_CAPBSET_DROP, capability)
        except OSError:
            break  # not allowed to, or past the last capability of this kernel


def drop_capabilities() -> None:
    """Give up every capability that this process holds."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _syscall(_SYS_CAPSET[os.uname().machine], "capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


def landlock_version() -> int:
    """ABI version of Landlock; 0 where the kernel has none or it is not switched on."""
    try:
        return _syscall(_SYS_LANDLOCK_CREATE_RULESET, "landlock", None, 0, 1)
    except OSError:
        return 0


def landlock_ruleset(attributes: bytes) -> int:
    """Create a ruleset from a packed ``struct landlock_ruleset_attr``: its file descriptor."""
    return _syscall(_SYS_LANDLOCK_CREATE_RULESET, "landlock_create_ruleset", attributes, len(attributes), 0)


def landlock_allow(ruleset: int, rule: bytes) -> None:
    """Add a packed ``struct landlock_path_beneath_attr``."""
    _syscall(_SYS_LANDLOCK_ADD_RULE, "landlock_add_rule", ruleset, 1, rule, 0)


def landlock_restrict(ruleset: int) -> None:
    """Put this process under the ruleset; `no_new_privileges` comes first."""
    _syscall(_SYS_LANDLOCK_RESTRICT_SELF, "landlock_restrict_self", ruleset, 0)
