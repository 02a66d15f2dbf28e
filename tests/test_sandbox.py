"""Model-written programs run, and the machine is as it was; each hostile program is a thing that was tried."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from pathlib import Path

import pytest

from divmon.errors import InputError
from divmon.sandbox import Limits, SandboxError, isolation, run, run_python, run_tests, suite
from divmon.sandbox.process import run_task
from tests.conftest import available

ROOMY = Limits(seconds=20, memory_mb=128, processes=8, disk_mb=4, output_kb=16)  # for what ends by itself
QUICK = Limits(seconds=0.4, memory_mb=128, processes=8, disk_mb=4, output_kb=16)


@pytest.fixture(params=["namespaces", "landlock", "seccomp"])
def level(request):
    return available(request.param)


@pytest.fixture(params=["namespaces", "landlock"])
def level_with_view(request):
    return available(request.param)


@pytest.fixture
def token():
    """In the command line of the program and its forks; none of them may be left."""
    token = f"divmon-test-{uuid.uuid4().hex}"
    yield token
    assert not processes(token)


@pytest.fixture
def victim(tmp_path_factory):
    """A folder that anyone may write to, with a file; and a signal that must not come."""
    folder = tmp_path_factory.getbasetemp() / f"victim-{uuid.uuid4().hex}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    (folder / "precious").write_text("precious")
    received = []
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, lambda *n: received.append(n)) for number in numbers}
    yield folder
    for number, handler in before.items():
        signal.signal(number, handler)
    assert [path.name for path in folder.iterdir()] == ["precious"]
    assert (folder / "precious").read_text() == "precious"
    assert (folder.stat().st_mode & 0o777, received) == (0o777, [])


def processes(*words):
    """The processes whose command line has all of these."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if all(word.encode() in line for word in words):
            found.append(path.parent.name)
    return found


def eventually(condition):
    """Wait for up to about 20 s; a machine that stands still for a while may take longer."""
    return any(condition() or time.sleep(0.02) for _ in range(1000))


def go(program, level, token="", limits=ROOMY, **task):
    files = {"program.py": textwrap.dedent(program)}
    return run_task({"arguments": [*run.FLAGS, run._BOOT, token], "files": files} | task, limits, level)


# ---------------------------------------------------------------------------------------------------------
# Ordinary programs
# ---------------------------------------------------------------------------------------------------------


def test_an_ordinary_program(level, token):
    result = go("import sys, math\nprint(math.pi)\nprint('oh', file=sys.stderr)\nsys.exit(3)", level, token)
    assert (result.status, result.exit_code, result.isolation) == ("error", 3, level)
    assert (result.stdout, result.stderr, result.truncated) == ("3.141592653589793\n", "oh\n", False)
    assert 0 < result.seconds < 1


def test_statuses(level):
    assert go("", level).status == "ok"
    assert go("exit()", level).status == "ok"  # what site would have defined
    assert go("raise SystemExit(0)", level).exit_code == 0
    failed = go("x = 1\n1 / 0", level)
    assert (failed.status, failed.exit_code) == ("error", 1)
    assert 'File "program.py", line 2' in failed.stderr
    assert failed.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "SyntaxError" in go("x = = 1", level).stderr
    aborted = go("import os; os.abort()", level)
    assert (aborted.status, aborted.exit_code) == ("error", -signal.SIGABRT)


def test_the_program_is_main_and_standard_input_is_given(sandbox):
    program = "import sys\nif __name__ == '__main__': print(sorted(sys.stdin.read().split()), input)\n"
    assert run_python(program, stdin="b\na\u00e9\n").stdout.startswith("['a\u00e9', 'b'] <built-in")
    assert run_python("print(repr(__import__('sys').stdin.read()))").stdout == "''\n"


def test_text_that_is_no_text(sandbox):
    assert run_python("print(len('\ud800'))").stdout == "1\n"
    assert run_python("print(1)\0").status == "error"
    assert run_python("import os\nos.write(1, b'\\xff\\xfe')").stdout == "\ufffd\ufffd"


def test_the_scratch_folder_is_empty_and_works(level_with_view):
    program = """
        import os, pathlib, tempfile, subprocess, sys, threading, multiprocessing
        assert os.listdir() == ["program.py"], os.listdir()
        pathlib.Path("a/b").mkdir(parents=True)
        pathlib.Path("a/b/c").write_text("x")
        os.rename("a/b/c", "d")
        if len(sys.argv) > 1: raise SystemExit(7)
        with tempfile.TemporaryDirectory(dir=os.environ["HOME"]) as folder:
            assert os.listdir(folder) == []
        assert subprocess.run([sys.executable, "-S", "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
        thread = threading.Thread(target=print, args=("thread",)); thread.start(); thread.join()
        print(open("d").read(), sys.argv, sys.flags.hash_randomization)
    """
    result = go(program, level_with_view)
    assert (result.stdout, result.stderr) == ("thread\nx ['program.py'] 0\n", "")


def test_nothing_comes_along(level, monkeypatch):
    monkeypatch.setenv("DIVMON_SECRET", "hunter2")
    program = """
        import os, sys
        print(sorted(os.environ), sys.path == [p for p in sys.path if "site-packages" not in p])
        for number in range(3, 1024):
            try: print("open:", number, os.fstat(number))
            except OSError: pass
    """
    result = go(program, level)
    names = "['HOME', 'LANG', 'MALLOC_ARENA_MAX', 'PATH', 'PYTHONHASHSEED']"
    assert (result.stdout, result.stderr) == (f"{names} True\n", "")


def test_long_programs_and_long_input(sandbox):
    program = "import sys\nx = 0\n" + "x += 1  # " + "y" * 100 + "\n"
    program = program + "x += 1\n" * 40_000 + "print(x, len(sys.stdin.read()))"
    assert run_python(program, stdin="z" * 2_000_000).stdout == "40001 2000000\n"


@pytest.mark.parametrize("bad", [{"seconds": 0}, {"memory_mb": 1}, {"processes": 2.5}, {"output_kb": True}])
def test_limits_are_checked(bad):
    with pytest.raises(InputError, match=f"{next(iter(bad))}: expected a number of at least"):
        Limits(**bad)


# ---------------------------------------------------------------------------------------------------------
# Hostile programs
# ---------------------------------------------------------------------------------------------------------


def test_infinite_loop(level, token):
    started = time.monotonic()
    result = go("while True: pass", level, token, QUICK)
    assert (result.status, result.exit_code) == ("timeout", None)
    assert time.monotonic() - started < 4


def test_one_that_ignores_signals(level, token):
    program = """
        import signal, time
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        while True: time.sleep(1)
    """
    assert go(program, level, token, QUICK).status == "timeout"


def test_fork_bomb(level, token):
    program = """
        import os
        while True:
            try: os.fork()
            except OSError: pass
    """
    result = go(program, level, token, QUICK)
    assert result.status in ("processes", "timeout", "memory")


def test_fork_bomb_of_processes_that_end_at_once(level, token):
    program = """
        import os, signal
        try: signal.signal(signal.SIGHUP, signal.SIG_IGN); os.setsid()
        except OSError: pass
        while True:
            try:
                if os.fork(): os._exit(0)
            except OSError: pass
    """
    go(program, level, token, QUICK)


def test_thread_bomb(level, token):
    program = """
        import threading, time
        count = 0
        try:
            while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); count += 1
        except RuntimeError: print("stopped", count < 100, flush=True)
        import os; os._exit(5)
    """
    result = go(program, level, token)
    assert (result.stdout, result.exit_code) == ("stopped True\n", 5)


def test_memory_bomb(level, token):
    result = go("x = bytearray(1 << 30)", level, token)
    assert result.status == "error"
    assert result.stderr.endswith("MemoryError\n")
    grown = go("x = []\nwhile True: x.append('a' * 1_000_000 + str(len(x)))", level, token)
    assert grown.status in ("error", "memory")


def test_memory_bomb_of_many_processes(level, token):
    program = """
        import os, time
        for _ in range(4):
            if os.fork() == 0: break
        x = bytearray(60 << 20)  # 5 times 60 MB and a limit of 128
        time.sleep(20)
    """
    assert go(program, level, token).status == "memory"


def test_memory_outside_of_the_address_space(level, token):
    """Files in memory and shared segments would stay when they are no longer mapped."""
    program = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        for call in (lambda: os.memfd_create("x"), lambda: libc.shmget(0, 1 << 20, 0o1600)):
            try: print(call() == -1 and "refused")
            except OSError: print("refused")
    """
    assert go(program, level, token).stdout == "refused\nrefused\n"


def test_disk_bomb(level, token):
    program = """
        import os
        written = 0
        try:
            for n in range(50):
                with open(f"f{n}", "wb") as file: written += file.write(bytes(1 << 20))
        except OSError as error: print(error.strerror)
        finally: print(written >> 20)
    """
    result = go(program, level, token, limits=Limits(seconds=20, disk_mb=4, memory_mb=128))
    if level == "namespaces":
        assert result.stdout in ("No space left on device\n3\n", "No space left on device\n4\n")
    else:  # a file's size is limited, not their number
        big = "try:\n    open('f', 'wb').write(bytes(8 << 20))\nexcept OSError as error: print(error.errno > 0)"
        assert go(big, level, token).stdout == "True\n"


def test_files_without_end(level, token):
    """Empty files take no room, but each is an entry somewhere; without namespaces it is the clock that ends them."""
    program = """
        made = 0
        try:
            while True: open(f"f{made}", "w").close(); made += 1
        except OSError as error: print(error.strerror, made < 9000)
    """
    result = go(program, level, token, limits=ROOMY if level == "namespaces" else QUICK)
    if level == "namespaces":
        assert result.stdout == "No space left on device True\n"
    else:
        assert result.status in ("timeout", "ok")


def test_descriptors_without_end(level, token):
    program = """
        import os
        held = []
        try:
            while True: held.append(os.dup(1))
        except OSError as error: print(error.strerror, len(held) < 2000)
    """
    assert go(program, level, token).stdout == "Too many open files True\n"


def test_one_that_crashes_the_interpreter(level, token):
    result = go("import ctypes\nctypes.string_at(0)", level, token)
    assert (result.status, result.exit_code) == ("error", -signal.SIGSEGV)
    assert not list(Path.cwd().glob("core*"))


def test_processor_time_of_children(level, token):
    program = """
        import os
        for _ in range(3):
            if os.fork() == 0: break
        while True: pass
    """
    started = time.monotonic()
    assert go(program, level, token, QUICK).status == "timeout"
    assert time.monotonic() - started < 4


def test_huge_output(level, token):
    result = go("while True: print('x' * 100_000)", level, token)
    assert (result.status, result.truncated) == ("output", True)
    assert result.stdout == "x" * 16 * 1024
    kept = go("import sys\nprint('y' * 50_000)\nsys.stderr.write('z' * 50_000)", level, token)
    assert (kept.status, len(kept.stdout), len(kept.stderr), kept.truncated) == ("ok", 16384, 16384, True)


def test_a_child_that_outlives_its_parent(level, token):
    program = """
        import os, time, sys
        for _ in range(2):
            if os.fork(): os._exit(0) if _ else print("parent", flush=True); break
            try: os.setsid()
            except OSError: pass
        else:
            time.sleep(60)
        os._exit(0)
    """
    started = time.monotonic()
    result = go(program, level, token)
    assert result.status == "ok"
    assert time.monotonic() - started < 3


def test_deleting_and_overwriting(level, token, victim):
    program = f"""
        import os, shutil, subprocess
        def attempt(call, *arguments, **options):
            try: call(*arguments, **options)
            except OSError: pass
        victim = {str(victim)!r}
        precious = victim + "/precious"
        attempt(shutil.rmtree, victim)
        attempt(os.unlink, precious)
        attempt(os.rename, precious, victim + "/other")
        attempt(os.truncate, precious, 0)
        attempt(os.chmod, victim, 0)
        attempt(os.chown, victim, 65534, 65534)
        attempt(os.link, precious, victim + "/link")
        attempt(os.symlink, precious, victim + "/symlink")
        attempt(os.mkdir, victim + "/folder")
        attempt(os.mkfifo, victim + "/pipe")
        attempt(os.setxattr, precious, b"user.x", b"1")
        attempt(os.utime, precious, (1, 1))
        ways = (os.O_WRONLY, os.O_RDWR, os.O_TRUNC, os.O_WRONLY | os.O_CREAT, os.O_TMPFILE | os.O_RDWR)
        for flags in ways:
            for path in (precious, victim + "/new", victim):
                attempt(os.open, path, flags, 0o666)
        attempt(subprocess.run, ["/bin/rm", "-rf", victim], stderr=subprocess.PIPE)
        attempt(os.symlink, victim, "way-out")  # followed by whoever clears the scratch folder away?
        attempt(os.chmod, ".", 0)
    """
    before = os.stat(victim / "precious").st_mtime_ns
    result = go(program, level, token)
    assert (result.status, result.stderr) == ("ok", "")
    assert os.stat(victim / "precious").st_mtime_ns == before


def test_writing_outside_of_the_scratch_folder(level, token, victim):
    name = f"divmon-escape-{uuid.uuid4().hex}"
    folders = ["/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/usr", "/etc", "/run", "/proc/self", str(Path.home())]
    folders += [str(Path.cwd()), str(victim), os.path.realpath(sys.base_prefix), str(Path(suite.__file__).parent)]
    program = f"""
        import os
        for folder in {folders!r}:
            try: open(os.path.join(folder, {name!r}), "w")
            except OSError: pass
    """
    assert go(program, level, token).stderr == ""
    assert not [folder for folder in folders if os.path.exists(os.path.join(folder, name))]


def test_reading_what_is_not_its_business(level_with_view, token, victim, monkeypatch):
    monkeypatch.setenv("DIVMON_SECRET", "hunter2")
    paths = ["/etc/shadow", "/etc/passwd", "/etc/hostname", str(victim / "precious"), str(Path.cwd() / "README.md")]
    paths += [str(Path.home()), "/root", "/var/log", "/sys", "/run", f"/proc/{os.getpid()}/environ", "/proc/1/environ"]
    program = f"""
        import glob, os
        for path in {paths!r} + glob.glob("/proc/*/environ") + glob.glob("/proc/*/fd"):
            try:
                if os.path.isdir(path):
                    found = [name for name in os.listdir(path)]
                else:
                    found = open(path, "rb").read()
            except OSError: continue
            if b"hunter2" in found or path in {paths!r}: print(path, found)
        print("looked")
    """
    result = go(program, level_with_view, token)
    lines = result.stdout.splitlines()
    # The way to Python may lead through a home, which is then an otherwise empty folder of the view.
    way = [line for line in lines[:-1] if not os.path.realpath(sys.base_prefix).startswith(line.split()[0] + "/")]
    assert (way, lines[-1], result.stderr) == ([], "looked", "")


def test_network(level, token):
    """Not to this machine's servers, not by UDP, not to the host of a virtual machine, not to the kernel's sockets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        program = f"""
            import socket
            families = [socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_ALG, 40]
            for family in families:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
                    try: socket.socket(family, kind)
                    except OSError: pass
                    else: print("made", family, kind)
            try: socket.create_connection(("127.0.0.1", {port}), timeout=0.5)
            except OSError: print("no way")
            left, right = socket.socketpair(); left.send(b"x"); assert right.recv(1) == b"x"
        """
        result = go(program, level, token)
        assert (result.stdout, result.stderr) == ("no way\n", "")
        with pytest.raises(TimeoutError):
            server.accept()


def test_abstract_unix_sockets_of_the_machine(level, token):
    name = f"\0divmon-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        program = (
            f"import socket\ntry: socket.socket(socket.AF_UNIX).connect({name!r})\nexcept OSError: print('no way')"
        )
        assert go(program, level, token).stdout == "no way\n"


def test_signals_to_the_parent(level, token, victim):
    program = f"""
        import os, signal
        for pid in (os.getppid(), {os.getpid()}, {os.getppid()}, 1, -1, -{os.getpgrp()}, 0):
            for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGKILL):
                if pid in (-1, 0) and number != signal.SIGUSR1: continue
                if pid in (-1, 0): signal.signal(number, signal.SIG_IGN)
                try: os.kill(pid, number)
                except OSError: pass
        print("alive", flush=True)
    """
    result = go(program, level, token)
    assert (result.status, result.stdout, result.stderr) == ("ok", "alive\n", "")


def test_signals_that_the_kernel_sends_for_a_file(level, token, victim):
    """A file's owner is signalled when something can be read: any process of the same user."""
    program = f"""
        import fcntl, os, signal, socket, struct
        F_SETOWN, F_SETSIG, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP = 8, 10, 15, 0x8901, 0x8902
        for pid in (os.getppid(), {os.getpid()}):
            owner = struct.pack("i", pid)
            ways = (
                lambda end: fcntl.fcntl(end, F_SETOWN, pid),
                lambda end: fcntl.fcntl(end, F_SETOWN_EX, struct.pack("ii", 1, pid)),
                lambda end: fcntl.ioctl(end, FIOSETOWN, owner),
                lambda end: fcntl.ioctl(end, SIOCSPGRP, owner),
            )
            for way in ways:
                end, other = socket.socketpair()
                for call in (
                    lambda: fcntl.fcntl(end, F_SETSIG, signal.SIGUSR1),
                    lambda: way(end),
                    lambda: fcntl.fcntl(end, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK),
                ):
                    try: call()
                    except OSError: pass
                other.send(b"x")
        print("alive")
    """
    before, received = signal.signal(signal.SIGIO, lambda *n: received.append(n)), []
    try:
        assert go(program, level, token).stdout == "alive\n"
    finally:
        signal.signal(signal.SIGIO, before)
    assert received == []


def test_other_ways_to_reach_a_process(level, token, victim):
    """ptrace, its memory, its limits, its priority, its descriptors."""
    program = f"""
        import ctypes, os, resource
        libc = ctypes.CDLL(None, use_errno=True)
        pids = [os.getppid(), {os.getpid()}, 1]
        buffer = ctypes.create_string_buffer(8)
        vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
        for pid in pids:
            assert libc.ptrace(16, pid, 0, 0) == -1  # PTRACE_ATTACH
            assert libc.process_vm_readv(pid, vector, 1, vector, 1, 0) == -1
            for call in (
                lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (0, 0)),
                lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
                lambda: os.sched_setaffinity(pid, [0]),
                lambda: os.pidfd_open(pid),
                lambda: open(f"/proc/{{pid}}/mem", "r+b"),
                lambda: open(f"/proc/{{pid}}/oom_score_adj", "w").write("1000"),
            ):
                try: call()
                except OSError: pass
    """
    before = resource_state()
    assert go(program, level, token).stderr == ""
    assert resource_state() == before


def resource_state():
    import resource

    return resource.getrlimit(resource.RLIMIT_CPU), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)


def test_more_rights(level, token):
    program = """
        import ctypes, os, resource
        libc = ctypes.CDLL(None, use_errno=True)
        def refused(result): assert result == -1, ctypes.get_errno()
        for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000): refused(libc.unshare(flag))
        refused(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
        refused(libc.mount(None, b"/", None, 0x1020, None))  # remount read-write
        refused(libc.umount2(b"/usr", 2))
        refused(libc.chroot(b"."))
        refused(libc.syscall(425, 1, None))  # io_uring_setup
        refused(libc.syscall(435, None, 0))  # clone3
        refused(libc.syscall(466, 0))  # later than the filter
        refused(libc.personality(0x0040000))
        for call in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
            try: call()
            except OSError: pass
        try: status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        except OSError: status = {}
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"): assert int(status.get(name, "0"), 16) == 0, status
        if status: assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):
            try: resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            except (OSError, ValueError): continue
            raise SystemExit(f"limit {kind} was lifted")
    """
    result = go(program, level, token)
    assert (result.status, result.stderr) == ("ok", "")


def test_devices(level, token):
    program = """
        import os
        try: print(sorted(os.listdir("/dev")))
        except OSError: pass
        for name in ("sda", "vda", "nvme0n1", "mem", "kmsg", "nvidia0", "tty", "fuse", "kvm", "vsock"):
            try: os.open("/dev/" + name, os.O_RDWR)
            except OSError: continue
            print("open", name)
        assert os.open("/dev/zero", os.O_RDONLY) and len(os.urandom(4)) == 4
    """
    result = go(program, level, token)
    assert result.stderr == ""
    assert "open" not in result.stdout
    if level == "namespaces":
        assert result.stdout == "['full', 'null', 'random', 'shm', 'urandom', 'zero']\n"


def test_closing_and_flooding_every_descriptor(level, token):
    assert go("import os\nos.closerange(0, 1024)", level, token).status in ("ok", "error")
    program = "import os\nfor n in range(64):\n    try: os.write(n, b'garbage' * 1000)\n    except OSError: pass"
    result = go(program, level, token)
    assert (result.status, set(result.stdout + result.stderr)) == ("ok", set("garbage"))


def test_the_machine_has_what_it_had(level, token, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def state():
        return Path("/proc/self/mountinfo").read_text(), list(tmp_path.iterdir()), len(os.listdir("/proc/self/fd"))

    before = state()
    go("open('x', 'w').write('y')", level, token)
    go("while True: pass", level, token, limits=Limits(seconds=0.2))
    assert state() == before


HOSTILE = {
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "infinite loop": "while True: pass",
    "memory bomb": "x = []\nwhile True: x.append(bytearray(1 << 24))",
    "file deletion": "import shutil\nfor f in ({victim!r}, '/tmp', '/'): shutil.rmtree(f, ignore_errors=True)",
    "network": "import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=1).send(b'x')",
    "reading the environment": "import glob, os\nprint(os.environ)\n"
    "for path in glob.glob('/proc/*/environ'): print(open(path).read())",
    "signals to the parent": "import os\nfor pid in (os.getppid(), {pid}, 1):\n"
    "    try: os.kill(pid, 15)\n    except OSError: pass",
    "huge output": "while True: print('x' * 100_000)",
}


def test_the_hostile_ones_leave_the_machine_as_it_was(sandbox, token, victim, tmp_path, monkeypatch):
    """One after the other, the way that everybody runs programs: mounts, files, descriptors, limits, processes."""
    monkeypatch.setenv("DIVMON_SECRET", "hunter2")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def state():
        names = Path("/proc/net/dev").read_text().splitlines()
        return (
            Path("/proc/self/mountinfo").read_text(),
            sorted(path.name for path in tmp_path.iterdir()),
            sorted(os.listdir("/proc/self/fd")),
            [line.partition(":")[0] for line in names],
            [os.getcwd(), dict(os.environ)],
            resource_state(),
        )

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        given = {"victim": str(victim), "port": server.getsockname()[1], "pid": os.getpid()}
        before, statuses = state(), {}
        for name, program in HOSTILE.items():
            limits = QUICK if name in ("fork bomb", "infinite loop") else ROOMY  # the others end by themselves
            result = run_python(f"# {token}\n{program.format(**given)}", limits=limits)
            statuses[name] = result.status
            assert "hunter2" not in result.stdout + result.stderr
            assert len(result.stdout) <= QUICK.output_kb * 1024
            assert state() == before, name
        with pytest.raises(TimeoutError):
            server.accept()
    ended = {name: status for name, status in statuses.items() if name in ("infinite loop", "network", "huge output")}
    assert ended == {"infinite loop": "timeout", "network": "error", "huge output": "output"}
    assert statuses["fork bomb"] in ("processes", "timeout", "memory")
    assert statuses["memory bomb"] in ("error", "memory")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_who_asks_may_die(level, token, number, tmp_path):
    """The program dies with the process that waits for it, however that ends."""
    program = f"""
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background inherits "ignored"
        from divmon.sandbox import run, Limits
        from divmon.sandbox.process import run_task
        files = {{"program.py": "import time; print(1, flush=True); time.sleep(60)"}}
        run_task({{"arguments": [*run.FLAGS, run._BOOT, {token!r}], "files": files}}, Limits(seconds=60), {level!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        assert eventually(lambda: processes("Quitter", token))  # the program; the asking process names the token too
        process.send_signal(number)
        process.wait(30)
    assert eventually(lambda: not processes(token) and not list(tmp_path.iterdir()))


# ---------------------------------------------------------------------------------------------------------
# Machines that give less
# ---------------------------------------------------------------------------------------------------------

_UNSHARE, _LANDLOCK = (272, 97), (444, 444)


def refusing(*calls, then):
    """Run ``then`` in a Python whose kernel refuses ``calls``: what a container's profile does."""
    program = f"""
        from divmon.sandbox import SandboxError, isolation, kernel, run_python, seccomp
        kernel.no_new_privileges()
        kernel.install_filter(seccomp._build({calls!r}, []))
        try: {then}
        except SandboxError as error: print("SandboxError", error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_without_namespaces_it_refuses_and_says_why():
    available("seccomp")
    said = refusing(_UNSHARE, then="run_python('print(1)')")
    assert said.startswith("SandboxError Programs are run in Linux namespaces only, which this machine does not give: ")
    assert "unshare: Operation not permitted" in said
    assert "allow_weaker=True" in said


def test_a_second_flag_accepts_less(level):
    calls = {"namespaces": [], "landlock": [_UNSHARE], "seccomp": [_UNSHARE, _LANDLOCK]}[level]
    said = refusing(
        *calls, then="print(isolation(allow_weaker=True), run_python('print(1)', allow_weaker=True).stdout)"
    )
    assert said == f"{level} 1\n\n"


def test_on_another_system_it_refuses(monkeypatch):
    run._fault.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    try:
        with pytest.raises(SandboxError, match="it needs Linux, this is darwin"):
            isolation()
        with pytest.raises(SandboxError, match="not even a weaker one"):
            isolation(allow_weaker=True)
    finally:
        run._fault.cache_clear()


def test_a_python_that_shares_its_folder_with_a_home_is_not_shown(monkeypatch):
    monkeypatch.setattr(sys, "base_prefix", str(Path.home()))
    with pytest.raises(SandboxError, match="holds more than Python"):
        run_task({"arguments": [], "files": {}}, QUICK, "namespaces")


def test_a_sandbox_that_does_not_start_is_an_error_with_the_reason():
    available("seccomp")
    task = {"arguments": [], "files": {"no/such/folder": ""}}
    with pytest.raises(SandboxError, match="could not be started: FileNotFoundError"):
        run_task(task, QUICK, "seccomp")


def test_an_ordinary_user(sandbox):
    """Not root: the same limits, another way into the namespaces."""
    if os.geteuid() != 0:
        pytest.skip("all the other tests run as an ordinary user here, so this one has nothing to add")
    pythons = [Path(sys._base_executable).resolve()]
    pythons += [path for folder in ("/usr/bin", "/usr/local/bin") for path in Path(folder).glob("python3.1[1-9]")]
    python = next((path for path in pythons if all(folder.stat().st_mode & 0o1 for folder in path.parents)), None)
    if python is None:
        pytest.skip(f"root alone can enter the folder of {pythons[0]}, and there is no other Python to take")
    with tempfile.TemporaryDirectory(prefix="divmon-test-") as folder:
        shutil.copytree(
            Path(suite.__file__).parents[1], f"{folder}/divmon", ignore=shutil.ignore_patterns("__pycache__")
        )
        for path in [Path(folder), *Path(folder).rglob("*")]:
            path.chmod(0o755)
        program = """
            from divmon.sandbox import *
            quick = Limits(seconds=0.5, memory_mb=128, processes=8)
            print(run_python("import os; print(os.getuid(), os.listdir('/proc/self/fd'), os.listdir('/tmp'))"))
            signals = "import os\\nos.kill(1, 2); os.kill(1, 9); os.kill(1, 15); print('alive')"
            print(run_python(signals, limits=quick))
            bomb = "import os\\nwhile True:\\n    try: os.fork()\\n    except OSError: pass"
            print(run_python(bomb, limits=quick).status)
            print(run_tests("def f(x): return x + 1", ["assert f(1) == 2", "assert f(1) == 3"]).passed)
        """
        result = subprocess.run(
            [python, "-B", "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            cwd=folder,
            env={},
            user=65534,
            group=65534,
            extra_groups=[],
        )
    assert result.stderr == ""
    first, second, third, fourth = result.stdout.splitlines()
    assert "stdout=\"65534 ['0', '1', '2', '3'] ['program.py']\\n\"" in first
    assert "stdout='alive\\n'" in second
    assert third in ("timeout", "processes", "memory")
    assert fourth == "(True, False)"


# ---------------------------------------------------------------------------------------------------------
# Tests against a program
# ---------------------------------------------------------------------------------------------------------

TESTS = ["assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 5"]


@pytest.fixture(params=["namespaces", "seccomp"])
def at_level(request, monkeypatch):
    level = available(request.param)
    monkeypatch.setattr(suite, "isolation", lambda allow_weaker: level)


def test_each_test_counts(at_level):
    result = run_tests("def f(x): return x + 1", TESTS)
    assert (result.passed, result.status) == ((True, True, False), "ok")
    assert result.detail == "2 AssertionError: "


def test_a_test_does_not_see_what_another_changed(at_level):
    program = "seen = []\ndef f(x): seen.append(x); return len(seen)"
    assert run_tests(program, ["assert f(9) == 1"] * 3).passed == (True, True, True)


def test_a_slow_test_fails_alone(at_level):
    program = "import time\ndef f(x):\n    time.sleep(60 if x == 2 else 0)\n    return x + 1"
    result = run_tests(program, [*TESTS[:2], "assert f(4) == 5"], seconds_a_test=0.3)
    assert (result.passed, result.status) == ((True, False, True), "ok")
    assert result.detail == "1 it took longer than 0.3 seconds"


def test_it_stops_when_enough_have_failed(at_level):
    program = "def f(x): return 0"
    result = run_tests(program, ["import time; time.sleep(0.2); assert f(1)"] * 20, max_failures=1)
    assert result.seconds < 2
    assert result.passed == (False,) * 20


def test_all_time_together_is_limited(at_level):
    program = "import time\ndef f(x): time.sleep(0.4); return x + 1"
    result = run_tests(program, ["assert f(1) == 2"] * 20, total_seconds=1)
    assert result.status == "timeout"
    assert 1 <= sum(result.passed) <= 3


def test_it_needs_a_test():
    with pytest.raises(InputError, match="at least one test"):
        run_tests("", [])


FAKES = {
    "exits early": "import os\nos._exit(0)",
    "exits at the end": "import sys\nsys.exit(0)",
    "exits in the function": "import os\ndef f(x): os._exit(0)",
    "raises SystemExit in the function": "def f(x): raise SystemExit(0)",
    "prints success": "print('passed', 'ok', 1)\nraise SystemExit",
    "kills itself": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)",
    "replaces exec and compile": """
        import builtins
        builtins.exec = lambda *a, **k: None
        builtins.compile = lambda *a, **k: "pass"
        builtins.enumerate = lambda tests: [(n, ("pass", test[1])) for n, test in zip(range(9), tests)]
        builtins.AssertionError = type("Never", (Exception,), {})
        f = lambda x: 0""",
    "replaces os and sys": """
        import os, sys, marshal
        os.fork = lambda: 0
        os._exit = sys.exit = lambda code=0: None
        os.waitpid = lambda *a: (1, 0)
        marshal.loads = lambda data: ([("pass", "t")] * 3, "e", 1, 9)
        f = lambda x: 0""",
    "traces": """
        import sys
        def skip(frame, event, argument):
            return skip
        sys.settrace(skip)
        sys.setprofile(lambda *a: None)
        f = lambda x: 0""",
    "is always equal": """
        class Equal:
            def __eq__(self, other): return True
            def __hash__(self): return 1
        f = lambda x: Equal()""",
    "is a number that is always equal": """
        class Equal(int):
            __eq__ = int.__le__
            __hash__ = int.__hash__
        f = lambda x: Equal(-9)""",
    "hides its class": """
        class Meta(type):
            def __eq__(self, other): return True
            def __hash__(self): return 1
            def __instancecheck__(self, other): return True
        class Equal(metaclass=Meta):
            __class__ = int
            def __eq__(self, other): return True
        f = lambda x: Equal()""",
    "closes the channel": "import os\nos.close(3)\nf = lambda x: x + 1",
    "writes to the channel": "import os\nos.write(3, b'passed 0123\\n')\nf = lambda x: x + 1",
    "floods the channel": "import os\ntry:\n    while True: os.write(3, b'x' * 999)\nexcept OSError: pass",
    "writes a line without end": "import os\nos.write(3, b'passed ' + b'x' * 60_000)\nf = lambda x: x + 1",
    "says ready twice": "import os\nos.write(3, b'ready \\n')\nf = lambda x: x + 1",
    "does not listen": "import os\nos.write(3, b'ready \\n')\nimport time; time.sleep(0.2); os._exit(0)",
    "does not parse": "def f(x) return x + 1",
    "is empty": "",
    "never ends": "while True: pass",
    "needs input": "x = input()\nf = lambda x: x + 1",
}


@pytest.mark.parametrize("name", FAKES)
def test_fakes_pass_nothing(sandbox, name):
    result = run_tests(textwrap.dedent(FAKES[name]), TESTS, seconds_a_test=0.3, total_seconds=0.8)
    assert result.passed == (False, False, False), result


def test_what_went_wrong_is_named(sandbox):
    assert run_tests("import no_such_module", TESTS).status == "broken"
    assert "No module named 'no_such_module'" in run_tests("import no_such_module", TESTS).detail
    assert run_tests(FAKES["writes to the channel"], TESTS).status == "tampered"
    assert run_tests(FAKES["never ends"], TESTS, total_seconds=0.5).status == "timeout"


def test_equality_of_plain_data_and_of_objects(sandbox):
    program = """
        import collections, enum
        Point = collections.namedtuple("Point", "x y")
        Color = enum.IntEnum("Color", "RED GREEN")
        class Vector:
            def __init__(self, *x): self.x = x
            def __eq__(self, other): return self.x == other.x
        count = collections.Counter
        class Name(str): pass
        tree = collections.defaultdict(list, a=[1])
    """
    true = [
        "count('aab') == {'a': 2, 'b': 1}",
        "Point(1, 2) == (1, 2)",
        "Color.RED == 1",
        "Vector(1) == Vector(1)",
        "[Vector(1)] == [Vector(1)]",
        "{1: 2}.keys() == {1}",
        "Name('x') == 'x'",
        "tree == {'a': [1]}",
        "True == 1 == 1.0",
        "bytearray(b'a') == b'a'",
        "None == None",
        "(1, [2, {3: {4}}]) == (1, [2, {3: frozenset([4])}])",
    ]
    false = ["Vector(1) == Vector(2)", "(1, 2) == [1, 2]", "1 == '1'", "float('nan') == float('nan')", "{1} == {1, 2}"]
    result = run_tests(
        textwrap.dedent(program), [f"assert {test}" for test in true] + [f"assert not ({t})" for t in false]
    )
    assert result.passed == (True,) * len(result.passed), result.detail
