"""What a confined process can still do. Each test confines a process of its own: there is no way back."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILTERED = sys.platform == "linux" and platform.machine() == "x86_64"
PREAMBLE = """
import ctypes, json, os, signal, socket, subprocess, threading
from oracle.circuits.confine import confine
from oracle.circuits.limits import CircuitLimits
victim = os.getppid()
how = confine(CircuitLimits(memory_bytes=2**26, cpu_seconds=1))
def outcome(deed):
    try:
        return repr(deed())
    except BaseException as err:
        return type(err).__name__
"""


def confined(expression: str) -> Any:
    """What ``expression`` gives in a confined process; it is printed as JSON, the only way out."""
    script = f"{PREAMBLE}\nprint(json.dumps({expression}), flush=True)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.returncode


def test_confine__this_machine__says_how() -> None:
    assert confined("how") == ("seccomp+rlimits" if FILTERED else "rlimits")


DEEDS = {
    "read a file": "open('/etc/passwd').read()",
    "write a file": "open('/tmp/qscrow-escape', 'w').write('x')",
    "list a folder": "os.listdir('/')",
    "see whether a file is there": "os.stat('/etc/passwd')",
    "read the environment of the parent": "open(f'/proc/{victim}/environ').read()",
    "open a socket": "socket.socket()",
    "make a socket pair": "socket.socketpair()",
    "fork": "os.fork()",
    "run a program": "os.execv('/bin/true', ['true'])",
    "start a process": "subprocess.run(['/bin/true'])",
    "signal the parent": "os.kill(victim, 0)",
    "lower the parent's limits": "__import__('resource').prlimit(victim, 7, (10, 10))",
    "leave the process group": "os.setsid()",
    "make a folder": "os.mkdir('/tmp/qscrow-escape-dir')",
    "remove a file": "os.unlink('/tmp/qscrow-nothing')",
    "change identity": "os.setuid(0)",
    "raise the memory limit": "__import__('resource').setrlimit(__import__('resource').RLIMIT_AS, (-1, -1))",
    "make a file in memory": "os.memfd_create('x')",
    "make a pipe": "os.pipe()",
}


@pytest.mark.skipif(not FILTERED, reason="system calls are filtered on x86-64 Linux only")
def test_confine__filtered_system_calls__all_refused() -> None:
    deeds = ", ".join(f"{name!r}: outcome(lambda: {deed})" for name, deed in DEEDS.items())
    expected = {**dict.fromkeys(DEEDS, "PermissionError"), "raise the memory limit": "ValueError"}
    assert confined(f"{{{deeds}}}") == expected


def test_confine__threads_and_arithmetic__still_work() -> None:
    thread = "[t.start() or t.join() for t in [threading.Thread(target=lambda: done.append(sum(range(1000))))]]"
    assert confined(f"[(done := []), {thread}, done][2]") == [499500]


def test_confine__too_much_memory__is_a_memory_error() -> None:
    assert confined("outcome(lambda: bytearray(2**27))") == "MemoryError"


def test_confine__endless_loop__ends_by_signal() -> None:
    assert confined("any(iter(int, 1))") == -24  # SIGXCPU


@pytest.mark.skipif(not FILTERED, reason="system calls are filtered on x86-64 Linux only")
def test_confine__32_bit_door__kills() -> None:
    x32_getpid = "ctypes.CDLL(None).syscall(0x40000000 + 39)"
    assert confined(f"outcome(lambda: {x32_getpid})") == -31  # SIGSYS
