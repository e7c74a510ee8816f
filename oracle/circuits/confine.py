"""Taking a process's powers away before it touches a stranger's circuit (Linux: rlimits, no_new_privs,
seccomp)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from contextlib import suppress
from functools import cache

from oracle.circuits.limits import CircuitLimits

OPEN_FILES = 32
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 38, 22, 2
_AUDIT_ARCH_X86_64 = 0xC000003E
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_IF_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_X32_BIT = 0x40000000
_CLONE, _CLONE3, _CLONE_THREAD = 56, 435, 0x10000
# What arithmetic on warm pages needs, by x86-64 number. All else is refused: files, sockets, programs,
# processes, signals to others, and whatever the next kernel adds.
_ALLOWED = (
    # On descriptors it holds: read, write, writev, close, fstat, lseek, poll, pselect6.
    (0, 1, 20, 3, 5, 8, 7, 270)
    + (9, 10, 11, 12, 25, 28)  # mmap, mprotect, munmap, brk, mremap, madvise
    + (13, 14, 15, 131)  # rt_sigaction, rt_sigprocmask, rt_sigreturn, sigaltstack: its own signals
    # sched_yield, futex, set_robust_list, set_tid_address, rseq, membarrier, gettid, getpid
    + (24, 202, 273, 218, 334, 324, 186, 39)
    + (35, 230, 228, 229, 96, 201, 100, 98)  # nanosleep, clock_*, gettimeofday, time, times, getrusage
    + (63, 99, 204, 309, 318)  # uname, sysinfo, sched_getaffinity, getcpu, getrandom
    + (60, 231, 219)  # exit, exit_group, restart_syscall
)


def prepare() -> None:
    """Build what :func:`confine` needs, so that every child forked later finds it ready."""
    _libc(), _filter()


def confine(limits: CircuitLimits) -> str:
    """Confine this process for good; says how: ``seccomp+rlimits``, or ``rlimits`` without seccomp."""
    _limit_resources(limits)
    if not (sys.platform == "linux" and platform.machine() == "x86_64"):
        return "rlimits"
    return "seccomp+rlimits" if _filter_system_calls() else "rlimits"


def die_with_parent(parent: int) -> None:
    """End this process when ``parent`` ends, even if it is killed (Linux; elsewhere the clocks have to
    do)."""
    if sys.platform != "linux":
        return
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def die_first() -> None:
    """Have the system, when it runs out of memory, kill this process before any other (Linux)."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _limit_resources(limits: CircuitLimits) -> None:
    bounds = {
        resource.RLIMIT_CPU: (limits.cpu_seconds, limits.cpu_seconds + 1),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_NOFILE: (OPEN_FILES, OPEN_FILES),
    }
    if sys.platform == "linux":  # macOS takes the call and ignores it
        memory = _address_space() + limits.memory_bytes
        bounds[resource.RLIMIT_AS] = (memory, memory)
    for which, (soft, hard) in bounds.items():
        allowed = resource.getrlimit(which)[1]
        if allowed != resource.RLIM_INFINITY:
            soft, hard = min(soft, allowed), min(hard, allowed)
        resource.setrlimit(which, (soft, hard))


def _address_space() -> int:
    """Bytes mapped already: what is warm counts for nobody's circuit."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _filter_system_calls() -> bool:
    libc = _libc()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(_filter()), 0, 0) == 0


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@cache
def _filter() -> _Program:
    program = [
        _instruction(_LOAD, 0, 0, 4),  # the architecture
        _instruction(_JUMP_EQUAL, 1, 0, _AUDIT_ARCH_X86_64),
        _instruction(_RETURN, 0, 0, _KILL),
        _instruction(_LOAD, 0, 0, 0),  # the call's number
        _instruction(_JUMP_AT_LEAST, 0, 1, _X32_BIT),  # numbers of the x32 ABI would slip past the list
        _instruction(_RETURN, 0, 0, _KILL),
    ]
    for number in _ALLOWED:
        program.append(_instruction(_JUMP_EQUAL, 0, 1, number))
        program.append(_instruction(_RETURN, 0, 0, _ALLOW))
    program += [
        # Threads are allowed (Aer waits in one), processes are not. clone3 hides its flags behind a pointer;
        # told that it does not exist, libc falls back to clone.
        _instruction(_JUMP_EQUAL, 0, 1, _CLONE3),
        _instruction(_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        _instruction(_JUMP_EQUAL, 0, 3, _CLONE),
        _instruction(_LOAD, 0, 0, 16),  # the first argument: flags
        _instruction(_JUMP_IF_BITS, 0, 1, _CLONE_THREAD),
        _instruction(_RETURN, 0, 0, _ALLOW),
        _instruction(_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]
    code = b"".join(program)
    return _Program(len(program), code)


class _Program(ctypes.Structure):
    """``struct sock_fprog``; keeps the bytes it points to."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    """``struct sock_filter``."""
    return struct.pack("HBBI", code, if_true, if_false, value)
