"""Random circuits of all three formats, through gate, parser and analysis, in confined processes.

``python fuzz.py SEED CASES`` writes how many cases came to which end as JSON, and ends with 0 only if nothing but
rejections came out of them. A case is made from its number and the seed alone; a process takes a batch of them, so a
crash costs a batch and names its first case that did not end.

Cases are mostly grammatical (a gate that refuses everything would prove nothing about the parser), then damaged a
little, or a lot.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from oracle.circuits.confine import confine, prepare
from oracle.circuits.instructions import _GATES
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import FORMATS
from oracle.circuits.load import load
from oracle.circuits.qsim import absence
from oracle.circuits.run import RunRequest
from oracle.circuits.simulate import analysis_of
from oracle.circuits.worker import _WARM_UP
from oracle.jobs.errors import CircuitRejected

LIMITS = CircuitLimits(
    qubits=8, clbits=16, statements=200, expanded_gates=400, cpu_seconds=30, wall_seconds=45, memory_bytes=2**30
)
BATCH = 500
KINDS = ("counts", "counts", "counts", "memory", "expectation")
# Words that the grammars know, or that parsers have stumbled over.
WORDS = """
    OPENQASM include qreg creg qubit bit gate opaque if else measure reset barrier U CX h x cx rz u3 pi tau sin ln sqrt
    inf nan while for in def extern defcal cal pragma array input const let ctrl inv pow @ box delay switch int uint
    true false -> == != <= ! ; , ( ) [ ] { } + - * / ^ ** % & | ~ . .. : 0 1 2 3.0 1e9 1e400 0x10 1_0 .5 5.
    "qelib1.inc" "stdgates.inc" "/etc/passwd" // /* */ $0 # ? ' ` q c r
    """.split()  # noqa: SIM905
VALUES = (None, True, -1, 0, 0.5, 10**30, 1e308, "", "q", "\u202e", [], [[]], {}, {"a": 1}, "NaN", -0.0)
ANGLES = ("0", "pi", "-pi/4", "0.25", "1e-3", "2*pi/3", "(1+2)*0.1", "-(pi)", "sin(0.5)", "3^2", "1/0", "ln(0)", "a")


def main(seed: int, cases: int) -> int:
    """Run ``cases`` cases and report; the exit code."""
    warm_up()
    ends: Counter[str] = Counter()
    faults: list[str] = []
    for first in range(0, cases, BATCH):
        ended, fault = run_batch(seed, range(first, min(first + BATCH, cases)))
        ends += ended
        faults += [fault] if fault else []
    print(json.dumps({"seed": seed, "cases": cases, "ends": dict(ends), "faults": faults}))
    return 1 if faults else 0


def warm_up() -> None:
    """Import everything before the processes that may open no file, as the sandbox's worker does."""
    for format, source in _WARM_UP:
        load(source, format, CircuitLimits())
    absence()  # of qsim: looks for its files, once
    prepare()


def run_batch(seed: int, numbers: range) -> tuple[Counter[str], str]:
    """How the cases ``numbers`` ended, and what went wrong, if anything did."""
    inlet, outlet = os.pipe()
    child = os.fork()
    if child == 0:
        run_child(seed, numbers, outlet)
    os.close(outlet)
    text, late = read_all(inlet, LIMITS.wall_seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    lines = text.decode().splitlines()
    ends = Counter(line.split(" ")[0] for line in lines if line)
    crashes = [line for line in lines if line.startswith(("uncontained", "parser_crash"))]
    if crashes:
        return ends, f"seed {seed}: {crashes[0]}"
    if len(lines) < len(numbers):
        number = numbers[len(lines)]
        what = "ran out of time" if late else f"ended the process (status {status})"
        return ends, f"seed {seed}, case {number} {what}"
    return ends, ""


def run_child(seed: int, numbers: range, outlet: int) -> None:
    """In the child: confined, one line for every case."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1)
        os.dup2(devnull, 2)
        confine(LIMITS)
        for number in numbers:
            os.write(outlet, (end_of(seed, number) + "\n").encode())
        os.close(outlet)
    finally:
        os._exit(0)


def end_of(seed: int, number: int) -> str:
    """``accepted``, the code of the rejection, or ``uncontained`` and what it was."""
    try:
        analysis_of(case(seed, number))
        return "accepted"
    except CircuitRejected as err:
        return f"{err.code} case {number}" if err.code == "parser_crash" else err.code
    except BaseException as err:
        return f"uncontained case {number}: {type(err).__name__} {str(err)[:200]!r}"


def read_all(inlet: int, seconds: float) -> tuple[bytes, bool]:
    """What comes until the end, and whether it did not come in time."""
    data, deadline = bytearray(), time.monotonic() + seconds
    while select.select([inlet], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(inlet, 2**16)
        if not part:
            os.close(inlet)
            return bytes(data), False
        data += part
    os.close(inlet)
    return bytes(data), True


# -------------------------------------------------------------------------------------------------- cases


def case(seed: int, number: int) -> RunRequest:
    """Case ``number`` of ``seed``."""
    rng = random.Random(f"{seed}:{number}")
    format = FORMATS[number % len(FORMATS)]
    kind = rng.choice(KINDS)
    source = good(rng, format, kind)
    damage = rng.choice(DAMAGE)
    source = damage(rng, source)
    observables = ((("Z" * rng.randint(1, 4), 1.0),),) if kind == "expectation" else ()
    return RunRequest(source, format, 1, 1, LIMITS, kind, observables)


def good(rng: random.Random, format: str, kind: str) -> bytes:
    """A circuit that should be taken, most of the time."""
    wires = rng.randint(1, 4)
    if format == "qscrow-json":
        return json_document(rng, wires, kind)
    return (qasm2 if format == "openqasm2" else qasm3)(rng, wires, kind)


def qasm2(rng: random.Random, wires: int, kind: str) -> bytes:
    lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', *definitions(rng), f"qreg q[{wires}];", f"creg c[{wires}];"]
    for line in statements(rng, wires):
        lines.append(f"if(c=={rng.randint(0, 3)}) {line}" if rng.random() < 0.1 else line)
    return "\n".join([*lines, *(["measure q -> c;"] if kind != "expectation" else [])]).encode()


def qasm3(rng: random.Random, wires: int, kind: str) -> bytes:
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', *definitions(rng), f"qubit[{wires}] q;", f"bit[{wires}] c;"]
    for line in statements(rng, wires, known=("h", "x", "s", "t", "rx", "rz", "cx", "cz", "ccx", "swap", "crz", "cp")):
        test = rng.choice((f"c == {rng.randint(0, 3)}", "c[0]", "!c[0]", "c[0] == true"))
        lines.append(f"if ({test}) {{ {line} {line} }}" if rng.random() < 0.1 else line)
    return "\n".join([*lines, *(["c = measure q;"] if kind != "expectation" else [])]).encode()


def definitions(rng: random.Random) -> Iterator[str]:
    if rng.random() < 0.3:
        yield "gate mine(a) x,y { cx x,y; rz(a/2) y; barrier x,y; }"
        yield "gate ours x,y { mine(0.5) x,y; mine(-pi) y,x; }"


def statements(rng: random.Random, wires: int, known: tuple[str, ...] = ()) -> Iterator[str]:
    for _ in range(rng.randint(0, 6)):
        name = rng.choice(known or tuple(_GATES))
        operands, angles = _GATES[name]
        places = ",".join(f"q[{rng.randrange(wires)}]" for _ in range(operands))
        if operands <= wires:
            places = ",".join(f"q[{place}]" for place in rng.sample(range(wires), operands))
        given = ",".join(rng.choice(ANGLES[:-3] if rng.random() < 0.95 else ANGLES) for _ in range(angles))
        yield f"{name}({given}) {places};" if angles else f"{name} {places};"
        if rng.random() < 0.2:
            yield rng.choice(("reset q[0];", "barrier q;", "h q;", "measure q[0] -> c[0];", "barrier q[0],q[0];"))


def json_document(rng: random.Random, wires: int, kind: str) -> bytes:
    circuit = json_circuit(rng, wires, kind)
    if rng.random() < 0.4:
        return json.dumps(circuit).encode()
    named = {**json_circuit(rng, wires, kind), "parameters": ["a"]}
    named["instructions"].insert(0, ["rx", [0], ["a"]])
    pubs = [{"circuit": 0}, {"circuit": 1, "parameters": [[rng.uniform(-9, 9)] for _ in range(rng.randint(1, 3))]}]
    if kind == "expectation":
        pubs[1]["observables"] = [[["".join(rng.choice("IXYZ") for _ in range(wires)), rng.uniform(-2, 2)]]]
    circuits = [circuit, named]
    if rng.random() < 0.3:
        circuits[0] = {"format": "openqasm2", "source": qasm2(rng, wires, kind).decode()}
    return json.dumps({"circuits": circuits, "pubs": pubs}).encode()


def json_circuit(rng: random.Random, wires: int, kind: str) -> dict[str, Any]:
    steps: list[Any] = [["barrier", [], []]]
    for _ in range(rng.randint(0, 6)):
        name = rng.choice(tuple(_GATES))
        operands, angles = _GATES[name]
        if operands <= wires or rng.random() < 0.05:
            places = rng.sample(range(max(wires, operands)), operands)
            steps.append([name, places, [rng.choice((rng.uniform(-9, 9), 0, 1e-300, 2)) for _ in range(angles)]])
    if kind != "expectation":
        steps.append(["measure", list(range(wires)), list(range(wires))])
    return {"wires": wires, "instructions": steps}


# ------------------------------------------------------------------------------------------------- damage


def unharmed(rng: random.Random, source: bytes) -> bytes:
    return source


def flip_bytes(rng: random.Random, source: bytes) -> bytes:
    data = bytearray(source)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.choice((rng.randrange(256), rng.randrange(32, 127)))
    return bytes(data)


def swap_words(rng: random.Random, source: bytes) -> bytes:
    words = source.decode().split(" ")
    for _ in range(rng.randint(1, 5)):
        words[rng.randrange(len(words))] = rng.choice(WORDS)
    return " ".join(words).encode()


def insert_words(rng: random.Random, source: bytes) -> bytes:
    lines = source.decode().split("\n")
    lines.insert(rng.randint(0, len(lines)), " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 12))))
    return "\n".join(lines).encode()


def shuffle_lines(rng: random.Random, source: bytes) -> bytes:
    lines = source.split(b"\n")
    rng.shuffle(lines)
    return b"\n".join(lines)


def repeat_part(rng: random.Random, source: bytes) -> bytes:
    start = rng.randrange(len(source))
    end = min(len(source), start + rng.randint(1, 40))
    return source[:start] + source[start:end] * rng.choice((2, 5, 50)) + source[end:]


def cut(rng: random.Random, source: bytes) -> bytes:
    start, end = sorted(rng.randrange(len(source)) for _ in range(2))
    return source[:start] + source[end:] if rng.random() < 0.5 else source[:end]


def only_words(rng: random.Random, source: bytes) -> bytes:
    head = source[: source.find(b";") + 1]
    return head + " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 60))).encode()


def graft(rng: random.Random, source: bytes) -> bytes:
    """JSON with a strange value somewhere; text stays."""
    try:
        document = json.loads(source)
    except ValueError:
        return source
    spots = list(places_in(document))
    holder, key = rng.choice(spots)
    holder[key] = rng.choice(VALUES)
    return json.dumps(document).encode()


def places_in(document: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield document, key
        yield from places_in(document[key])


DAMAGE: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    unharmed, unharmed, flip_bytes, swap_words, insert_words, shuffle_lines, repeat_part, cut, only_words, graft,
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
