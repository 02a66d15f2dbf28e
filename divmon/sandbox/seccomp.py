"""The system calls that a sandboxed program is refused, as a seccomp filter.

The filter stands behind the namespaces: it keeps a program from the parts of the kernel that ordinary Python never
needs (and where most of the kernel's holes were found), from sockets of every family but AF_UNIX (AF_VSOCK is not in
any namespace) and from namespaces of its own. Where there are none it carries more weight: see `sandbox_filter`.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    _Call = tuple[int | None, int | None]
    _Calls = dict[str, _Call]
    _Condition = tuple[_Call, int, int, int, bool]

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the tables, AUDIT_ARCH_...
_LAST_KNOWN = 450  # later calls (451 is cachestat) are answered "not implemented", as an older kernel would

# Tables of calls, from the kernel's unistd.h: (number on x86-64, on arm64), None where there is no such call.

_ALWAYS: _Calls = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmget": (29, 194),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}

# Without a process namespace: nothing that reaches another process, and no leaving the process group, which is
# killed as a whole. Without a view of its own of the file system: nothing that Landlock does not cover.
_WITHOUT_NAMESPACES: _Calls = {
    "chmod": (90, None),
    "chown": (92, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "fremovexattr": (199, 16),
    "fsetxattr": (190, 7),
    "futimesat": (261, None),
    "ioprio_set": (251, 30),
    "kill": (62, 129),
    "lchown": (94, None),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "removexattr": (197, 14),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "setpgid": (109, 154),
    "setpriority": (141, 140),
    "setsid": (112, 157),
    "setxattr": (188, 5),
    "socket": (41, 198),
    "tkill": (200, 130),
    "truncate": (76, 45),
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
}

# Without Landlock: no writing at all.
_WITHOUT_LANDLOCK: _Calls = {
    "creat": (85, None),
    "link": (86, None),
    "linkat": (265, 37),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "openat2": (437, 437),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "rmdir": (84, None),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "unlink": (87, None),
    "unlinkat": (263, 35),
}

# Refused for some arguments only.
_CLONE, _CLONE3 = (56, 220), (435, 435)
_SOCKET = (41, 198)
_TGKILL = (234, 131)
_PRLIMIT64 = (302, 261)
_OPEN, _OPENAT = (2, None), (257, 56)
_FCNTL, _IOCTL = (72, 25), (16, 29)

_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW... of every kind
_WRITING = 0o3 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
_AF_UNIX = 1
# Whom the kernel signals when something can be read: any process of the same user, where there is no namespace.
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902


def supported() -> bool:
    """Whether the numbers of this machine's system calls are known."""
    return os.uname().machine in _ARCHITECTURES


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _argument(index: int) -> bytes:
    return _instruction(_LOAD, 16 + 8 * index)  # the low half of a 64-bit argument


def sandbox_filter(level: str, pid: int) -> bytes:
    """The filter of a program that runs as process ``pid``, for `kernel.install_filter`.

    Args:
        level: What else protects the machine: ``"namespaces"``; ``"landlock"``, for files alone; or, with
            ``"seccomp"``, nothing.
        pid: The process; without namespaces it may signal no other (so that it can still abort).
    """
    calls: _Calls = dict(_ALWAYS)
    # (call, argument, test, value, whether the test's success refuses)
    conditions: list[_Condition] = [(_CLONE, 0, _ANY_BIT, _NEW_NAMESPACES, True)]
    if level == "namespaces":
        conditions.append((_SOCKET, 0, _EQUAL, _AF_UNIX, False))
    else:
        calls |= _WITHOUT_NAMESPACES
        conditions += [(_TGKILL, 0, _EQUAL, pid, False), (_PRLIMIT64, 0, _EQUAL, 0, False)]
        conditions += [(_FCNTL, 1, _EQUAL, command, True) for command in (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)]
        conditions += [(_IOCTL, 1, _EQUAL, command, True) for command in (_FIOSETOWN, _SIOCSPGRP)]
    if level == "seccomp":
        calls |= _WITHOUT_LANDLOCK
        conditions += [(_OPEN, 1, _ANY_BIT, _WRITING, True), (_OPENAT, 2, _ANY_BIT, _WRITING, True)]
    return _build(calls.values(), conditions)


def _build(calls: Iterable[_Call], conditions: Iterable[_Condition]) -> bytes:
    """The filter that refuses ``calls`` with EPERM, and others under their conditions; the rest is allowed."""
    column, architecture = _ARCHITECTURES[os.uname().machine]
    refused, missing = _instruction(_RETURN, _ERROR | _EPERM), _instruction(_RETURN, _ERROR | _ENOSYS)
    number = _instruction(_LOAD, 0)
    code = [
        _instruction(_LOAD, 4),
        _instruction(_EQUAL, architecture, if_true=1),  # a 32-bit call would have other numbers
        _instruction(_RETURN, _KILL),
        number,
        _instruction(_AT_LEAST, _LAST_KNOWN + 1, if_false=1),
        missing,
    ]
    # clone3 hides its flags from a filter; the C library then falls back to clone.
    for call, answer in [*((call, refused) for call in calls), (_CLONE3, missing)]:
        if (known := call[column]) is not None:
            code += [_instruction(_EQUAL, known, if_false=1), answer]
    for call, index, test, value, refuses in conditions:
        if (known := call[column]) is not None:
            code += [_instruction(_EQUAL, known, if_false=4), _argument(index)]
            code += [_instruction(test, value, int(not refuses), int(refuses)), refused, number]
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])
