"""What a circuit could run on: each method of a simulator, here or on a cluster, and each IBM backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oracle.circuits.analysis import METHODS, QSIM
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.qsim import NOT_INSTALLED
from oracle.jobs.errors import InputError

LOCAL, MANAGED, IBM = "local_simulator", "managed_simulator", "ibm_quantum_backend"
SIMULATORS = (LOCAL, MANAGED)
# What people look for among the simulators and do not find, and why.
NOT_OFFERED = {"aer.extended_stabilizer": "its counts are wrong (Qiskit/qiskit-aer#2315)"}


@dataclass(frozen=True)
class Candidate:
    """A backend on offer, and for a simulator with a ``method`` that one alone.

    ``name`` is unique among the candidates, ``backend`` (the name, if not given) what the decision names and a spec
    lists under ``allowed_backends``. ``queue_seconds`` is the wait that is expected now, ``price`` what a run would
    cost, in the smallest unit of the job's token. Simulators have ``limits`` and methods, but for those ``absent``
    there, which says why; the rest is for hardware:
    ``two_qubit_error`` is the median, ``operational`` whether it takes jobs, ``dynamic`` whether gates may depend on
    outcomes. Of one that gives no answer only the names are known, and ``silence`` is why.
    """

    name: str
    kind: str
    max_qubits: int
    backend: str = ""
    method: str | None = None
    limits: CircuitLimits = field(default_factory=CircuitLimits)
    absent: Mapping[str, str] = field(default_factory=lambda: {QSIM: NOT_INSTALLED}, hash=False)
    queue_seconds: float = 0.0
    price: int = 0
    basis: tuple[str, ...] = ()
    two_qubit_error: float | None = None
    operational: bool = True
    dynamic: bool = False
    silence: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "backend", self.backend or self.name)

    @property
    def is_simulator(self) -> bool:
        """Whether it computes what hardware would measure."""
        return self.kind in SIMULATORS

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Candidate:
        """An IBM backend as its adapter describes it: ``name``, ``qubits``, ``basis``, ``queue_seconds``,
        ``two_qubit_error``, ``open``, ``price``, and perhaps ``dynamic``. Raises :class:`InputError`."""
        try:
            error = description["two_qubit_error"]
            return cls(
                name=str(description["name"]),
                kind=IBM,
                max_qubits=int(description["qubits"]),
                queue_seconds=float(description["queue_seconds"]),
                price=int(description["price"]),
                basis=tuple(map(str, description["basis"])),
                two_qubit_error=None if error is None else float(error),
                operational=bool(description["open"]),
                dynamic=bool(description.get("dynamic", False)),
            )
        except (KeyError, TypeError, ValueError) as err:
            raise InputError(f"is no description of a backend ({err})", field="backend") from None

    @classmethod
    def unanswering(cls, name: str, why: str) -> Candidate:
        """An IBM backend that gives no answer now."""
        return cls(name, IBM, 0, operational=False, silence=why or "it gives no answer")


def by_method(simulator: Candidate) -> list[Candidate]:
    """``simulator`` with each of its methods, named such as ``aer.statevector``."""
    return [replace(simulator, name=f"{simulator.name}.{method}", method=method) for method in METHODS]
