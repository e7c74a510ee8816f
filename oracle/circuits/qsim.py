"""Dense circuits on qsim, in single precision: the extra ``fast``.

Of the package qsimcirq only the compiled simulator is loaded, in milliseconds: the package itself would import Cirq for
three seconds and 150 MB. Circuits are handed over gate by gate as matrices, so nothing parses them again. Everything
but :func:`absence` runs inside the sandbox only.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from oracle.jobs.errors import CircuitRejected

PACKAGE, VERSION = "qsimcirq", "0.22.1"
NOT_INSTALLED = "not installed; pip install 'qscrow[fast]'"
# The best on circuits of 20 to 25 qubits, and part of what makes counts repeatable: gates are fused to so many qubits.
_FUSED_QUBITS = 3
# One build for all machines: the others round otherwise and draw other outcomes. That for AVX-512 is a third faster.
_BUILD = "avx2"
_INSTRUCTIONS_WITH_AVX2 = (0, 1)  # what its detection answers for AVX-512 and AVX2
# Its options are a dictionary that has to be complete; those for graphics cards are of no use here.
# One thread: on two it was no faster, and its counts are the same.
_OPTIONS = {
    "t": 1,
    "v": 0,
    "z": False,
    "i": "",
    "r": 1,
    "g": False,
    "gmode": 0,
    "gsst": 512,
    "gdb": 16,
    "f": _FUSED_QUBITS,
}


@cache
def absence() -> str:
    """Why nothing can run on qsim here, and what would help; empty if it can."""
    try:
        found = version(PACKAGE) if importlib.util.find_spec(PACKAGE) else ""
    except PackageNotFoundError:
        found = ""
    if not found:
        return NOT_INSTALLED
    if found != VERSION:
        return f"{PACKAGE} {found} is installed, and only {VERSION} was tried; pip install 'qscrow[fast]'"
    try:
        best = _module("decide").detect_instructions()
    except ImportError as err:
        return f"{PACKAGE} cannot be loaded ({str(err)[:100]})"
    return "" if best in _INSTRUCTIONS_WITH_AVX2 else "it needs a processor with AVX2, and this one has none"


def sample(circuit: Any, shots: int, seed: int, outcomes: int) -> dict[str, int]:
    """Counts of a circuit of Qiskit's gates that ends with its measurements; like Aer's, bit 0 last.

    Raises :class:`CircuitRejected` with code ``too_many_outcomes`` if there are more than ``outcomes``, and with
    ``simulation_failed``. Where a state finds no room the process dies, so memory has to be checked before.
    """
    import numpy as np

    program, written = _program(circuit)
    found = _library().qsim_sample_final({**_OPTIONS, "c": program, "s": seed}, shots)
    if len(found) != shots:  # it says why on stderr only
        raise CircuitRejected("simulation_failed", "the simulator gave up", field="circuit")
    measured = sum({1 << qubit for qubit in written.values()})
    numbers, repeats = np.unique(np.array(found, np.uint64) & np.uint64(measured), return_counts=True)
    if len(numbers) > outcomes:
        raise CircuitRejected(
            "too_many_outcomes",
            f"it gave {len(numbers)} distinct outcomes, the limit is {outcomes}",
            remedy="ask for fewer shots or measure fewer qubits",
        )
    width = circuit.num_clbits
    bits = np.full((len(numbers), width), ord("0"), dtype=np.uint8)
    for clbit, qubit in written.items():
        bits[:, width - 1 - clbit] += ((numbers >> np.uint64(qubit)) & np.uint64(1)).astype(np.uint8)
    digits = bits.tobytes().decode()
    return {digits[row * width : (row + 1) * width]: int(repeat) for row, repeat in enumerate(repeats)}


def _program(circuit: Any) -> tuple[Any, dict[int, int]]:
    """``circuit`` as qsim has it, on those of its qubits that anything happens to; and for each classical bit, the
    number there of the qubit that was measured into it last."""
    library = _library()
    program, matrices = library.Circuit(), {}
    qubits: dict[Any, int] = {}
    clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
    written: dict[int, int] = {}
    for time, step in enumerate(circuit.data):
        if step.name == "barrier":
            continue
        places = [qubits.setdefault(bit, len(qubits)) for bit in step.qubits]
        if step.name == "measure":
            written[clbits[step.clbits[0]]] = places[0]
        elif places:  # a global phase has none
            key = (step.name, *step.params)
            if key not in matrices:
                matrices[key] = _matrix(step.operation)
            # A moment for each gate: packed into fewer, they are fused worse. The first qubit is the highest digit.
            library.add_matrix_gate(time, places[::-1], matrices[key], program)
    program.num_qubits = len(qubits)
    return program, written


def _matrix(gate: Any) -> list[float]:
    """Row by row, real and imaginary parts in turn."""
    import numpy as np

    return np.ascontiguousarray(gate.to_matrix(), dtype=complex).view(float).ravel().tolist()


@cache
def _library() -> Any:
    return _module(_BUILD)


def _module(part: str) -> Any:
    """A compiled part of the package, without the package. Raises :class:`ImportError`."""
    package = importlib.util.find_spec(PACKAGE)
    spec = PathFinder.find_spec(f"qsim_{part}", package.submodule_search_locations if package else [])
    if spec is None or spec.loader is None:
        raise ImportError(f"it has no part {part}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
