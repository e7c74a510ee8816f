"""Circuits in the plainest form there is: the gates ``u`` and ``cx`` and measurements, as JSON instructions."""

from __future__ import annotations

from functools import cache
from typing import Any

from oracle.circuits.instructions import Circuit
from oracle.circuits.load import load_all
from oracle.circuits.run import RunRequest
from oracle.circuits.simulate import _unfolded as unfolded
from oracle.jobs.errors import CircuitRejected

_GATES = ("u", "cx")


def plain_document(request: RunRequest) -> dict[str, Any]:
    """The circuits of ``request`` in order, parameters filled in, as a ``qscrow-json`` document; barriers are left out.

    Runs inside the sandbox only: it parses. Raises :class:`CircuitRejected`, also (``not_plain``) for a circuit that
    resets or branches.
    """
    return {"circuits": [described(_translated(circuit)) for _, circuit in load_all(request)]}


def described(circuit: Any) -> dict[str, Any]:
    """A Qiskit circuit of ``u``, ``cx`` and measurements as JSON instructions. Raises :class:`CircuitRejected`."""
    places = {bit: index for bits in (circuit.qubits, circuit.clbits) for index, bit in enumerate(bits)}
    instructions = []
    for step in circuit.data:
        wires, bits = [[places[bit] for bit in among] for among in (step.qubits, step.clbits)]
        if step.name == "measure":
            instructions.append(["measure", wires, bits])
        elif step.name in _GATES:
            instructions.append([step.name, wires, [float(angle) for angle in step.params]])
        elif step.name != "barrier":
            text = f"has {step.name}, and only gates and measurements can be written plainly"
            raise CircuitRejected("not_plain", text, field="circuit")
    return {"wires": circuit.num_qubits, "bits": circuit.num_clbits, "instructions": instructions}


def built(circuit: Circuit) -> Any:
    """The Qiskit circuit of plain instructions that :func:`oracle.circuits.instructions.read_work` has checked."""
    from qiskit import QuantumCircuit

    made = QuantumCircuit(circuit.wires, circuit.bits)
    for name, wires, values in circuit.instructions:
        if name == "measure":
            made.measure(wires, values)
        elif name in _GATES:
            getattr(made, name)(*values, *wires)
        else:
            raise CircuitRejected("not_plain", f"has {name[:40]}", field="circuit")
    return made


def _translated(circuit: Any) -> Any:
    return _translator().run(unfolded(circuit))


@cache
def _translator() -> Any:
    from qiskit.circuit.equivalence_library import SessionEquivalenceLibrary
    from qiskit.transpiler import PassManager
    from qiskit.transpiler.passes import BasisTranslator, UnrollCustomDefinitions

    gates = [*_GATES, "measure", "barrier", "reset", "if_else"]
    return PassManager([step(SessionEquivalenceLibrary, gates) for step in (UnrollCustomDefinitions, BasisTranslator)])
