"""The sandbox's worker process: warm once, then fork one confined child per circuit.

Started by :class:`oracle.circuits.sandbox.Sandbox` as ``python -m oracle.circuits.worker``. Speaks
length-prefixed JSON on stdin and stdout and ends when stdin does. The warm process itself never parses a
circuit from outside; with ``--single-use``, for systems where a warm process cannot safely fork, it confines
itself, runs one and ends.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import select
import signal
import sys
import time
from typing import Any, BinaryIO

from oracle.circuits.analysis import ANALYSE, BUILT_IN, DENSITY_MATRIX, METHODS, MPS, PLAIN, QSIM, STABILIZER, STIM
from oracle.circuits.confine import confine, die_first, die_with_parent, prepare
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import EXPECTATION
from oracle.circuits.observables import parse_observables
from oracle.circuits.plain import plain_document
from oracle.circuits.qsim import absence
from oracle.circuits.run import RunRequest
from oracle.circuits.simulate import analysis_of, pass_manager, simulate
from oracle.jobs.errors import CircuitRejected
from oracle.jobs.noise import Noise

SINGLE_USE = "--single-use"
MAX_FRAME_BYTES = 64 * 2**20
MAX_MESSAGE = 300


def main(arguments: list[str]) -> None:
    """Serve requests until stdin closes."""
    # Without a buffer, so that whatever has come and is not read yet shows in select().
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    _silence_standard_streams()
    _warm_up()
    write_frame(answers, {"ready": True})
    while (message := read_frame(requests)) is not None:
        if "cancel" in message:  # of a run that has ended
            continue
        if SINGLE_USE in arguments:
            write_frame(answers, _answer(as_request(message)))
            return
        answer = _serve(message, requests)
        if answer is None:  # nobody is left to hear it
            return
        write_frame(answers, answer)


def read_frame(stream: BinaryIO, limit: int = MAX_FRAME_BYTES) -> Any:
    """One JSON message, or ``None`` at the end of the stream. Raises :class:`ValueError` for others."""
    header = _read(stream, 4)
    size = int.from_bytes(header, "big")
    if size > limit:
        raise ValueError(f"a frame of {size} bytes")
    body = _read(stream, size) if len(header) == 4 else b""
    return json.loads(body) if body and len(body) == size else None


def write_frame(stream: BinaryIO, message: Any) -> None:
    """Send one JSON message."""
    body = json.dumps(message).encode()
    stream.write(len(body).to_bytes(4, "big") + body)
    stream.flush()


def diagnose(number: int, why: str, limits: CircuitLimits, cpu_seconds: float = 0.0) -> dict[str, Any]:
    """What to say of a run without an answer: ended by signal ``number`` (0: none), stopped for ``why``, after
    ``cpu_seconds``."""
    if why == "time":
        return {"code": "time_limit", "message": f"it ran longer than {limits.wall_seconds} s"}
    if why == "output":
        return {"code": "output_limit", "message": f"its result is more than {limits.output_bytes} bytes"}
    # A process that ignores SIGXCPU is killed by the hard limit a second later.
    if number == signal.SIGXCPU or (number == signal.SIGKILL and cpu_seconds >= limits.cpu_seconds):
        return {"code": "cpu_limit", "message": f"it used more than {limits.cpu_seconds} s of CPU"}
    if number == signal.SIGKILL:
        return {"code": "killed", "message": "the system killed it, usually for want of memory"}
    return {"code": "crashed", "message": f"the simulator died on it (signal {number})"}


def as_request(message: dict[str, Any]) -> RunRequest:
    """The request in a message from the sandbox."""
    source = base64.b64decode(message["source"])
    return RunRequest(
        source,
        message["format"],
        message["shots"],
        message["seed"],
        CircuitLimits(**message["limits"]),
        message["method"],
        message["threads"],
        message["result"],
        parse_observables(message["observables"]),
        tuple(message["methods"]),
        message["insisted"],
        Noise(**message["noise"]),
    )


def _serve(message: dict[str, Any], requests: BinaryIO) -> dict[str, Any] | None:
    """The answer of a confined child, or why it has none; ``None`` if ``requests`` closed meanwhile."""
    request = as_request(message)
    inlet, outlet = os.pipe()
    worker = os.getpid()
    child = os.fork()
    if child == 0:
        _run_child(request, outlet, worker)
    os.close(outlet)
    try:
        answer, why = _collect(inlet, requests, message["number"], request.limits)
    finally:
        os.close(inlet)
        _kill(child)  # changes nothing for one that is ending already: its status stands
        _, status, used = os.wait4(child, 0)
    if why == "abandoned":
        return None
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return answer or diagnose(number, why, request.limits, used.ru_utime + used.ru_stime)


def _run_child(request: RunRequest, outlet: int, worker: int) -> None:
    """In the child: confine, simulate, answer, vanish. Nothing returns from here into the worker's loop."""
    try:
        die_with_parent(worker)
        die_first()
        os.dup2(outlet, 3)
        os.closerange(4, 1024)
        os.closerange(0, 3)
        data = memoryview(json.dumps(_answer(request)).encode())
        while data:
            data = data[os.write(3, data) :]
    finally:
        os._exit(0)


def _answer(request: RunRequest) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        confinement = confine(request.limits)
        if request.method == ANALYSE:
            return {"result": analysis_of(request).as_dict()}
        if request.method == PLAIN:
            return {"result": plain_document(request)}
        return {"result": {**simulate(request, started), "confinement": confinement}}
    except CircuitRejected as err:
        return {"code": err.code, "message": err.message, "field": err.field, "remedy": err.remedy}
    except MemoryError:
        return _memory_limit(request.limits)
    except BaseException as err:  # whatever it is, it is this circuit's own
        return {"code": "simulation_failed", "message": f"{type(err).__name__}: {_printable(str(err))}"}


def _collect(inlet: int, requests: BinaryIO, number: int, limits: CircuitLimits) -> tuple[dict[str, Any] | None, str]:
    """The child's answer, or ``None`` and why: ``time``, ``output``, ``died``, ``cancelled`` or ``abandoned``.

    Nothing is due on ``requests`` before the answer but its end or an order to cancel.
    """
    deadline, received = time.monotonic() + limits.wall_seconds, bytearray()
    while True:
        ready, _, _ = select.select([inlet, requests], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None, "time"
        if requests in ready:
            message = read_frame(requests)
            if message is None:
                return None, "abandoned"
            if message.get("cancel") == number:
                return None, "cancelled"
            continue
        part = os.read(inlet, 2**16)
        if not part:
            break
        received += part
        if len(received) > limits.output_bytes:
            return None, "output"
    try:
        answer = json.loads(received)
    except (ValueError, RecursionError):
        return None, "died"
    return (answer, "") if isinstance(answer, dict) else (None, "died")


def _read(stream: BinaryIO, size: int) -> bytes:
    """``size`` bytes, fewer only at the end of the stream."""
    data = bytearray()
    while len(data) < size and (part := stream.read(size - len(data))):
        data += part
    return bytes(data)


def _memory_limit(limits: CircuitLimits) -> dict[str, Any]:
    return {"code": "memory_limit", "message": f"it needs more than {limits.memory_bytes} bytes of memory"}


def _kill(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
    except ProcessLookupError:
        return


def _printable(text: str) -> str:
    return "".join(c if 32 <= ord(c) < 127 else " " for c in text)[:MAX_MESSAGE]


def _silence_standard_streams() -> None:
    """Libraries print; nothing of it may end up among the answers."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _warm_up() -> None:
    """Import and build everything a child may need: after confinement nothing can be opened any more."""
    # Qiskit imports every transpiler plugin it finds. IBM's brings an HTTP client and 60 MB that each fork would
    # copy the page tables of; a simulator needs none of it.
    sys.modules["qiskit_ibm_runtime"] = None  # type: ignore[assignment]
    limits = CircuitLimits()
    for method in BUILT_IN if absence() else METHODS:
        simulate(RunRequest(_CLIFFORD, "openqasm2", 16, 1, limits, method), time.perf_counter())
        if method not in (STABILIZER, STIM, QSIM):
            pass_manager(method)  # the circuits below would do without it in part
    for format, source in _WARM_UP:
        simulate(RunRequest(source, format, 16, 1, limits), time.perf_counter())
    for method in (MPS, DENSITY_MATRIX):
        simulate(RunRequest(_QASM2_GATES, "openqasm2", 16, 1, limits, method), time.perf_counter())
    estimated = {"result": EXPECTATION, "observables": ((("ZX", 1.0),),)}
    simulate(RunRequest(_CLIFFORD, "openqasm2", 16, 1, limits, **estimated), time.perf_counter())
    for source, method in ((_CLIFFORD, STIM), (_QASM2_GATES, DENSITY_MATRIX)):
        noisy = RunRequest(source, "openqasm2", 16, 1, limits, method, noise=Noise(0.01, 0.01, 0.01))
        simulate(noisy, time.perf_counter())
    prepare()
    gc.collect()
    gc.freeze()  # children share the pages instead of copying them on their first collection


_QASM2_GATES = b"""OPENQASM 2.0; include "qelib1.inc"; qreg q[5]; creg c[5];
gate pair(t) a,b { cx a,b; rz(t/2) b; } u3(0.1,0.2,0.3) q[0]; u2(0.1,0.2) q[0]; u1(0.1) q[0];
u(0.1,0.2,0.3) q[0]; p(0.1) q[0]; id q[0]; x q[0]; y q[0]; z q[0]; h q[0]; s q[0]; sdg q[0]; t q[0];
tdg q[0]; rx(0.1) q[0]; ry(0.1) q[0]; rz(0.1) q[0]; sx q[0]; sxdg q[0]; cz q[0],q[1]; cy q[0],q[1];
swap q[0],q[1]; ch q[0],q[1]; ccx q[0],q[1],q[2]; cswap q[0],q[1],q[2]; crx(0.1) q[0],q[1];
cry(0.1) q[0],q[1]; crz(0.1) q[0],q[1]; cu1(0.1) q[0],q[1]; cp(0.1) q[0],q[1]; cu3(0.1,0.2,0.3) q[0],q[1];
csx q[0],q[1]; cu(0.1,0.2,0.3,0.4) q[0],q[1]; rxx(0.1) q[0],q[1]; rzz(0.1) q[0],q[1]; rccx q[0],q[1],q[2];
rc3x q[0],q[1],q[2],q[3]; c3x q[0],q[1],q[2],q[3]; c3sqrtx q[0],q[1],q[2],q[3];
c4x q[0],q[1],q[2],q[3],q[4]; pair(0.3) q[0],q[1]; reset q[1]; measure q[0] -> c[0]; if(c==1) x q[1];
barrier q; measure q -> c;"""
_QASM3_GATES = b"""OPENQASM 3.0; include "stdgates.inc"; qubit[3] q; bit[3] c; bit d;
gate pair(t) a, b { cx a, b; rz(t/2) b; } U(0.1, 0.2, 0.3) q[0]; gphase(0.1); p(0.1) q[0]; x q[0]; y q[0];
z q[0]; h q[0]; s q[0]; sdg q[0]; t q[0]; tdg q[0]; sx q[0]; rx(pi/3) q[0]; ry(0.1) q[0]; rz(0.1) q[0];
cx q[0], q[1]; cy q[0], q[1]; cz q[0], q[1]; cp(0.1) q[0], q[1]; crx(0.1) q[0], q[1]; cry(0.1) q[0], q[1];
crz(0.1) q[0], q[1]; ch q[0], q[1]; swap q[0], q[1]; ccx q[0], q[1], q[2]; cswap q[0], q[1], q[2];
cu(0.1,0.2,0.3,0.4) q[0], q[1]; CX q[0], q[1]; phase(0.1) q[0]; cphase(0.1) q[0], q[1]; id q[0];
u1(0.1) q[0]; u2(0.1,0.2) q[0]; u3(0.1,0.2,0.3) q[0]; pair(0.3) q[0], q[1]; reset q[1]; d = measure q[0];
if (d == true) { x q[1]; } if (c == 1) { x q[1]; } barrier q; c = measure q;"""
_CLIFFORD = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; measure q -> c;'
_WARM_UP = (("openqasm2", _QASM2_GATES), ("openqasm3", _QASM3_GATES))


if __name__ == "__main__":
    main(sys.argv[1:])
