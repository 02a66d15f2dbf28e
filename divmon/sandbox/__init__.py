"""Runs model-written Python in a process that can harm nothing.

A program runs in new user, mount, process, network, IPC, host-name and cgroup namespaces, without capabilities, under a
seccomp filter and resource limits, with an environment of five variables:

- **Files.** It writes to an empty scratch folder in memory (its working folder, ``/tmp``) and to ``/dev/shm``, both of
  limited size and gone with it. It can read the system's ``/usr`` (with ``/lib`` and ``/bin``), the Python installation
  (without the packages of a virtual environment), the loader's cache and a few devices. There is no other file: no
  home, no ``/etc/passwd``, no ``/tmp`` of the machine, no working folder of the caller.
- **Network.** None, not even to this machine; sockets of any family but AF_UNIX are refused.
- **Processes.** It sees only its own children; when it ends or must end, the kernel kills them all. It is nobody where
  divmon runs as root, else divmon's user.
- **Limits** on wall clock, processor time, memory, processes, file size and output: `Limits`.

Where the kernel gives no namespaces, `run_python` refuses and says why. With ``allow_weaker=True`` it then uses
Landlock (Linux 6.2: the same files by rules, without ``/proc``) and seccomp (no sockets, no signals, no leaving the
process group), or seccomp alone: then nothing can be written at all, but all that the user may read can be read.

What it is not: a defence against holes in the kernel (for a model trained to find them, use a virtual machine), against
timing channels, or against a program's learning what ``/usr``, ``/proc/cpuinfo`` and the clock tell about the machine.
Running code is up to the caller: nothing in divmon runs a model's code unless it is told to.
"""

from divmon.sandbox.run import isolation, run_python
from divmon.sandbox.suite import SuiteResult, run_tests
from divmon.sandbox.values import Level, Limits, Result, SandboxError

__all__ = [
    "Level",
    "Limits",
    "Result",
    "SandboxError",
    "SuiteResult",
    "isolation",
    "run_python",
    "run_tests",
]
