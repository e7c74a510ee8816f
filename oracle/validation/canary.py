"""Hidden circuits with known answers among the real ones.

:func:`dress` writes a circuit in a plain form: a general one-qubit gate before every CX on both its qubits and at the
end, nothing else. :func:`trap` keeps that form gate by gate and replaces the angles, so that the outcome is one known
bit string. A dressed circuit and its trap have the same width, depth, gate counts and connections; only the angles
differ. Whoever simulates the circuits, or looks at the angles, can tell them apart: real angles have a structure
where traps have chance, and a trap never entangles its qubits (as in the accreditation protocol of Ferracin et al.,
arXiv:2103.06603, where the idea of traps is from). Canaries catch the lazy and the broken, not the studious.
"""

from __future__ import annotations

import cmath
import hashlib
import hmac
import math
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from oracle.jobs.canonical import canonical_bytes, parse_json
from oracle.jobs.errors import InputError
from oracle.validation.counts import Counts
from oracle.validation.distribution import IDEAL, Policy
from oracle.validation.verdict import SIMULATOR, Check, Outcome, Verdict

if TYPE_CHECKING:
    from oracle.circuits.instructions import Circuit

OPENING_TYPE = "qscrow.canaries"
VERSION = 1
SALT_SIZE = 32
MAX_CIRCUITS = 10_000
_COMMITMENT_DOMAIN = b"qscrow.canaries.v1"
# How often a simulator may miss a certain answer: rounding of double precision.
_LEAK = 1e-9
# A state this close to a basis state (squared) is taken for it: rounding, over thousands of gates. What is left over
# adds up, so more would let a requester commit to an answer that is not quite certain.
_APART = 1e-22


@dataclass(frozen=True)
class Canary:
    """A circuit at ``position`` (from 0) of a job, whose every shot must give the bit string ``expected``."""

    position: int
    expected: str


@dataclass(frozen=True)
class CanaryPlan:
    """``circuits`` (of Qiskit) are what to submit, in order; ``commitment`` goes into the spec; the rest is secret."""

    circuits: tuple[Any, ...]
    canaries: tuple[Canary, ...]
    salt: bytes

    @property
    def commitment(self) -> str:
        """Hex sha-256 that fixes the canaries without telling them."""
        return commitment(self.canaries, self.salt)

    def document(self) -> bytes:
        """The circuits as ``qscrow-json``: a canary can only be checked in this format, gate by gate."""
        from oracle.circuits.plain import described

        return canonical_bytes({"circuits": [described(circuit) for circuit in self.circuits]})

    def opening(self) -> dict[str, Any]:
        """The document that opens the commitment, to be shown once the result is delivered."""
        return {
            "type": OPENING_TYPE,
            "version": VERSION,
            "salt": self.salt.hex(),
            "canaries": _as_list(self.canaries),
        }

    def block(self) -> bytes:
        """The bytes whose sha-256 is the commitment: pinned after delivery, they open it for whoever reads the spec."""
        return _block(self.canaries, self.salt)

    def real_positions(self) -> list[int]:
        """Where the real circuits went, in their order."""
        hidden = {canary.position for canary in self.canaries}
        return [position for position in range(len(self.circuits)) if position not in hidden]


def plan_canaries(circuits: Sequence[Any], number: int, *, rng: random.Random | None = None) -> CanaryPlan:
    """Dress the real ``circuits`` and hide ``number`` traps among them, each made from one of them.

    The real ones stay in order. ``rng`` is for tests; by default everything is drawn from the system's randomness,
    since the angles are public and must not give the positions away. Raises :class:`InputError`.
    """
    if not circuits or number < 1 or len(circuits) + number > MAX_CIRCUITS:
        raise InputError(f"must leave 1 to {MAX_CIRCUITS} circuits", field="canaries")
    rng = rng or secrets.SystemRandom()
    real = [dress(circuit, rng) for circuit in circuits]
    traps = [trap(rng.choice(real), rng) for _ in range(number)]
    positions = sorted(rng.sample(range(len(real) + number), number))
    queue, hidden = iter(real), dict(zip(positions, traps, strict=True))
    mixed = [hidden[place][0] if place in hidden else next(queue) for place in range(len(real) + number)]
    canaries = tuple(Canary(place, hidden[place][1]) for place in positions)
    return CanaryPlan(tuple(mixed), canaries, rng.randbytes(SALT_SIZE))


def commitment(canaries: Sequence[Canary], salt: bytes) -> str:
    """Hex of sha256("qscrow.canaries.v1" ‖ salt ‖ canonical [{expected, position}])."""
    return hashlib.sha256(_block(canaries, salt)).hexdigest()


def opening_of(block: bytes) -> dict[str, Any]:
    """The opening document in a pinned :meth:`CanaryPlan.block`. Raises :class:`InputError`."""
    start = len(_COMMITMENT_DOMAIN)
    if not block.startswith(_COMMITMENT_DOMAIN):
        raise InputError("is no opening of canaries", field="opening")
    canaries = parse_json(block[start + SALT_SIZE :], "opening", len(block))
    salt = block[start : start + SALT_SIZE]
    return {"type": OPENING_TYPE, "version": VERSION, "salt": salt.hex(), "canaries": canaries}


def block_of(opening: Any) -> bytes:
    """The block to pin for an opening document: its sha-256 is the commitment. Raises :class:`InputError`."""
    canaries, salt = _parsed(opening)
    return _block(canaries, salt)


def open_canaries(opening: Any, committed: str) -> tuple[Canary, ...]:
    """The canaries of an opening document. Raises :class:`InputError` unless it is the one committed to."""
    canaries, salt = _parsed(opening)
    if not hmac.compare_digest(commitment(canaries, salt).encode(), committed.removeprefix("0x").lower().encode()):
        raise InputError("is not the opening of the commitment in the spec", field="opening")
    return canaries


def _parsed(opening: Any) -> tuple[tuple[Canary, ...], bytes]:
    """The canaries and the salt of an opening document, well formed."""
    try:
        if (opening["type"], opening["version"]) != (OPENING_TYPE, VERSION):
            raise InputError(f"is not a version {VERSION} {OPENING_TYPE} document", field="opening")
        salt = bytes.fromhex(opening["salt"])
        canaries = tuple(Canary(entry["position"], entry["expected"]) for entry in opening["canaries"])
        positions = [canary.position for canary in canaries]
        well_formed = len(salt) == SALT_SIZE and all(type(place) is int and place >= 0 for place in positions)
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(f"is malformed ({type(err).__name__})", field="opening") from None
    if not well_formed or not canaries or positions != sorted(set(positions)):
        raise InputError("is malformed", field="opening")
    return canaries, salt


def check_answers(circuits: Sequence[Circuit], canaries: Sequence[Canary]) -> None:
    """Raise :class:`InputError` unless each canary's circuit really gives the answer it is said to give.

    A requester who commits to wrong answers could have honest results rejected. Traps never entangle their qubits, so
    this takes a moment at any width; a circuit that does is not accepted as a canary. ``circuits`` come from
    strangers, and nothing parses them here: they are lists of instructions, which
    :func:`oracle.circuits.instructions.read_work` has checked.
    """
    for canary in canaries:
        if canary.position >= len(circuits):
            raise InputError(f"has no circuit {canary.position}", field="canaries")
        if answer_of(circuits[canary.position]) != canary.expected:
            raise InputError(f"is not the answer of circuit {canary.position}", field="canaries")


def answer_of(circuit: Circuit) -> str:
    """The one bit string a circuit gives whose qubits stay apart. Raises :class:`InputError` for any other circuit."""
    if not circuit.instructions:
        raise InputError("must be written as JSON instructions", field="canaries")
    states = [np.array([1, 0], dtype=complex) for _ in range(circuit.wires)]
    clbits = ["0"] * circuit.bits
    for name, wires, values in circuit.instructions:
        if name == "cx":
            states[wires[0]], states[wires[1]] = _through_cx(states[wires[0]], states[wires[1]])
        elif name == "measure":
            for wire, bit in zip(wires, values, strict=True):
                off = np.abs(states[wire]) ** 2
                if off.min() > _APART:
                    raise InputError("has no certain outcome", field="canaries")
                clbits[bit] = str(int(off[1] > off[0]))
        elif name == "u":
            states[wires[0]] = _u(*values) @ states[wires[0]]
        elif name != "barrier":
            raise InputError(f"has {name[:40]}, which no canary has", field="canaries")
    return "".join(reversed(clbits))


def judge_canaries(
    results: Sequence[Any], canaries: Sequence[Canary], policy: Policy | None = None, *, claim: str = SIMULATOR
) -> Verdict:
    """Judge a job by its canaries. ``results`` are the counts of all its circuits, in order.

    Without noise every shot must give the known answer; with it, as large a share as ``min_polarisation`` makes
    certain, for each canary by itself. Raises :class:`InputError`.
    """
    policy = policy or Policy()
    if not canaries:
        raise InputError("are missing", field="canaries")
    if any(canary.position >= len(results) for canary in canaries):
        raise InputError(f"has {len(results)} circuits, fewer than the canaries need", field="results")
    risk = policy.risk / len(canaries)
    checks = [_canary_check(results[canary.position], canary, policy, risk) for canary in canaries]
    known = [Counts.parse(results[canary.position]) for canary in canaries]
    return Verdict(
        method="canary",
        checks=(*checks, _escape_note(len(canaries), len(results), policy)),
        shots=sum(each.shots for each in known),
        confidence=policy.confidence,
        claim=claim,
        thresholds={
            "noise": policy.noise,
            "min_polarisation": policy.min_polarisation,
            "risk_per_canary": risk,
            "canaries": len(canaries),
            "circuits": len(results),
        },
    )


def dress(circuit: Any, rng: random.Random) -> Any:
    """The same circuit as general one-qubit gates and CX, one of the former before every CX on both its qubits.

    Rotations that commute with a CX are put before it and taken back behind, so that no gate looks like the identity.
    The measurements at the end stay. Raises :class:`InputError` for a circuit that measures before its end, resets,
    branches or has parameters.
    """
    plain = _plain(circuit)
    dressed = plain.copy_empty_like()
    pending = [np.eye(2, dtype=complex) for _ in plain.qubits]
    ends = []
    for instruction in plain.data:
        wires = [plain.find_bit(qubit).index for qubit in instruction.qubits]
        if instruction.operation.name == "cx":
            control, target = wires
            turns = _z_turn(rng.uniform(-math.pi, math.pi)), _x_turn(rng.uniform(-math.pi, math.pi))
            for wire, turn in zip((control, target), turns, strict=True):
                _append_u(dressed, wire, turn @ pending[wire])
                pending[wire] = turn.conj().T
            dressed.cx(control, target)
        elif instruction.operation.name == "measure":
            ends.append(instruction)
        else:
            pending[wires[0]] = instruction.operation.to_matrix() @ pending[wires[0]]
    for wire, matrix in enumerate(pending):
        _append_u(dressed, wire, matrix)
    for instruction in ends:
        dressed.append(instruction)
    return dressed


def trap(dressed: Any, rng: random.Random) -> tuple[Any, str]:
    """A circuit of the same form as ``dressed`` and the bit string it gives with certainty.

    Each qubit is led through random states of its own. Before a CX either the control is made 1 (the target is
    flipped) or the target is made minus (the control gets a sign), so that the qubits stay apart and the gate cannot
    be left out unnoticed.
    """
    result = dressed.copy_empty_like()
    states = [np.array([1, 0], dtype=complex) for _ in dressed.qubits]
    answers = [rng.randrange(2) for _ in dressed.qubits]
    clbits = ["0"] * dressed.num_clbits
    wanted = list(_wanted_states(dressed, answers, rng))
    for instruction in dressed.data:
        wires = [dressed.find_bit(qubit).index for qubit in instruction.qubits]
        name = instruction.operation.name
        if name == "u":
            goal = wanted.pop(0)
            _append_u(result, wires[0], _moving(states[wires[0]], goal, rng))
            states[wires[0]] = goal
        elif name == "cx":
            result.cx(*wires)
            states[wires[0]], states[wires[1]] = _after_cx(states[wires[0]], states[wires[1]])
        else:
            result.append(instruction)
            clbits[dressed.find_bit(instruction.clbits[0]).index] = str(answers[wires[0]])
    return result, "".join(reversed(clbits))


# ------------------------------------------------------------------------------------------------- judging


def _canary_check(result: Any, canary: Canary, policy: Policy, risk: float) -> Check:
    known = Counts.parse(result, width=len(canary.expected), field=f"results.{canary.position}")
    right = known.as_dict().get(canary.expected, 0)
    chance_level = 2.0 ** -min(known.width, 1_000)
    share, name = right / known.shots, f"canary {canary.position}"
    needed = 1 - _LEAK if policy.noise == IDEAL else chance_level + policy.min_polarisation * (1 - chance_level)
    reason = f"{right} of {known.shots} shots gave the known answer"
    if stats.binom.cdf(right, known.shots, needed) <= risk:
        return Check(name, Outcome.REJECT, f"{reason}, too few", share, needed)
    blind = stats.binom.ppf(policy.power, known.shots, chance_level)
    if stats.binom.cdf(blind, known.shots, needed) > risk:
        return Check(name, Outcome.INCONCLUSIVE, f"{reason}, but so few shots could be guessed", share, needed)
    return Check(name, Outcome.ACCEPT, reason, share, needed)


def _escape_note(canaries: int, circuits: int, policy: Policy) -> Check:
    """What share of the circuits could be faked and still miss every canary with a probability worth mentioning."""
    share = 1 - (1 - policy.power) ** (1 / canaries)
    reason = (
        f"an oracle that fakes {100 * share:.0f} % or more of the {circuits} circuits meets a canary"
        f" with probability {policy.power:g}"
    )
    return Check("coverage", None, reason, share)


def _block(canaries: Sequence[Canary], salt: bytes) -> bytes:
    return _COMMITMENT_DOMAIN + salt + canonical_bytes(_as_list(canaries))


def _as_list(canaries: Sequence[Canary]) -> list[dict[str, Any]]:
    return [{"position": canary.position, "expected": canary.expected} for canary in canaries]


# ------------------------------------------------------------------------------------------------ circuits


def _plain(circuit: Any) -> Any:
    """The circuit in u and cx, barriers dropped, measured only at its end."""
    from qiskit.exceptions import QiskitError
    from qiskit.transpiler import generate_preset_pass_manager
    from qiskit.transpiler.passes import RemoveBarriers

    try:
        bare = RemoveBarriers()(circuit)
        plain = generate_preset_pass_manager(1, basis_gates=["u", "cx"]).run(bare)
    except QiskitError as err:
        raise InputError(
            f"cannot be written in u and cx ({' '.join(str(err).split())[:120]})", field="circuit"
        ) from None
    measured = set()
    for instruction in plain.data:
        if instruction.operation.name not in ("u", "cx", "measure") or plain.parameters:
            raise InputError(
                f"has {instruction.operation.name}, and canaries need gates and final measurements only",
                field="circuit",
            )
        if measured & set(instruction.qubits):
            raise InputError("measures before its end", field="circuit")
        if instruction.operation.name == "measure":
            measured |= set(instruction.qubits)
    if not measured:
        raise InputError("measures nothing", field="circuit")
    return plain


def _wanted_states(dressed: Any, answers: list[int], rng: random.Random) -> Iterator[np.ndarray]:
    """The state each one-qubit gate must lead to, in the order of the gates."""
    goals: list[np.ndarray | None] = []
    last: dict[int, int] = {}
    for instruction in dressed.data:
        wires = [dressed.find_bit(qubit).index for qubit in instruction.qubits]
        if instruction.operation.name == "u":
            last[wires[0]] = len(goals)
            goals.append(None)
        elif instruction.operation.name == "cx":
            control, target = (last[wire] for wire in wires)
            if rng.randrange(2):
                goals[control], goals[target] = np.array([0, 1], dtype=complex), _random_state(rng)
            else:
                goals[control], goals[target] = _random_state(rng), np.array([1, -1]) / math.sqrt(2)
    for wire, place in last.items():
        goals[place] = np.eye(2, dtype=complex)[answers[wire]]
    return (goal for goal in goals if goal is not None)


def _through_cx(control: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The states after a CX that leaves two qubits apart; :class:`InputError` if it would not."""
    if abs(control[1]) ** 2 < _APART or abs(target[0] - target[1]) ** 2 / 2 < _APART:
        return control, target
    if abs(control[0]) ** 2 < _APART or abs(target[0] + target[1]) ** 2 / 2 < _APART:
        return _after_cx(control, target)
    raise InputError("entangles its qubits", field="canaries")


def _after_cx(control: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The states after a CX that finds its control 1 or its target minus."""
    if abs(control[0]) ** 2 < _APART:
        return control, target[::-1]
    return control * np.array([1, -1]), target


def _random_state(rng: random.Random) -> np.ndarray:
    parts = [rng.gauss(0, 1) for _ in range(4)]
    state = np.array([complex(parts[0], parts[1]), complex(parts[2], parts[3])])
    return state / np.linalg.norm(state)


def _moving(start: np.ndarray, goal: np.ndarray, rng: random.Random) -> np.ndarray:
    """A unitary that takes ``start`` to ``goal``, otherwise random."""
    phase = cmath.exp(1j * rng.uniform(-math.pi, math.pi))
    return np.outer(goal, start.conj()) + phase * np.outer(_orthogonal(goal), _orthogonal(start).conj())


def _orthogonal(state: np.ndarray) -> np.ndarray:
    return np.array([-state[1].conj(), state[0].conj()])


def _u(theta: float, phi: float, lam: float) -> np.ndarray:
    """The gate ``u`` (OpenQASM 3 specification, §U), up to a phase."""
    cosine, sine = math.cos(theta / 2), math.sin(theta / 2)
    turns = [cmath.exp(1j * angle) for angle in (lam, phi, phi + lam)]
    return np.array([[cosine, -turns[0] * sine], [turns[1] * sine, turns[2] * cosine]])


def _z_turn(angle: float) -> np.ndarray:
    return np.diag([cmath.exp(-0.5j * angle), cmath.exp(0.5j * angle)])


def _x_turn(angle: float) -> np.ndarray:
    cosine, sine = math.cos(angle / 2), math.sin(angle / 2)
    return np.array([[cosine, -1j * sine], [-1j * sine, cosine]])


def _append_u(circuit: Any, wire: int, matrix: np.ndarray) -> None:
    """Append the gate ``u`` that is ``matrix`` up to a phase."""
    circuit.u(*_decomposer().angles(matrix), wire)


@cache
def _decomposer() -> Any:
    from qiskit.synthesis import OneQubitEulerDecomposer

    return OneQubitEulerDecomposer("U")
