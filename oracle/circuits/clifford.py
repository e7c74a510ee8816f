"""Clifford circuits: which gates are, at which angles, and sampling them with stim. Runs inside the sandbox only."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from oracle.circuits.noise import stim_words
from oracle.jobs.errors import CircuitRejected
from oracle.jobs.noise import NOISELESS, Noise

# Angles come from text such as pi/2; an error this small in each of 200 000 gates is far below any shot noise.
_TOLERANCE = 1e-11
_CHUNK_SHOTS = 16_384
# Steps are (name, places among the gate's qubits). The names are Qiskit's.
Steps = tuple[tuple[str, tuple[int, ...]], ...]

_AS_THEY_ARE = {
    **{name: 1 for name in ("id", "x", "y", "z", "h", "s", "sdg", "sx", "sxdg")},
    **{name: 2 for name in ("cx", "cy", "cz", "swap")},
}
_STIM = {
    "id": "I", "x": "X", "y": "Y", "z": "Z", "h": "H", "s": "S", "sdg": "S_DAG", "sx": "SQRT_X", "sxdg": "SQRT_X_DAG",
    "cx": "CX", "cy": "CY", "cz": "CZ", "swap": "SWAP", "reset": "R",
}  # fmt: skip
_PHASES = ("", "s", "z", "sdg")
_X_TURNS = ("", "sx", "x", "sxdg")


def clifford_steps(name: str, parameters: list[Any]) -> Steps | None:
    """The gate as plain Clifford gates, up to a global phase; ``None`` if it is none at these angles."""
    if name in _AS_THEY_ARE:
        return ((name, tuple(range(_AS_THEY_ARE[name]))),)
    if name == "global_phase":
        return ()
    if name == "ecr":  # its definition: rzx(pi/4), x, rzx(-pi/4)
        return (("s", (0,)), ("sx", (1,)), ("cx", (0, 1)), ("x", (0,)))
    turns = [_quarter_turns(value) for value in parameters]
    if None in turns:
        return None
    build = _ROTATIONS.get(name)
    return build(*turns) if build else None


def as_clifford(circuit: Any) -> Any | None:
    """``circuit`` of plain Clifford gates, measurements, resets and barriers; ``None`` if it has anything else."""
    if _AS_THEY_ARE.keys() | {"measure", "reset", "barrier"} >= circuit.count_ops().keys():
        return circuit
    from qiskit.circuit import library

    known, plain = library.get_standard_gate_name_mapping(), circuit.copy_empty_like()
    for step in circuit.data:
        if step.name in ("measure", "reset", "barrier"):
            plain.append(step)
            continue
        steps = None if step.is_control_flow() else clifford_steps(step.name, step.params)
        if steps is None:
            return None
        for name, places in steps:
            plain.append(known[name], [step.qubits[place] for place in places])
    return plain


def sample(circuit: Any, shots: int, seed: int, outcomes: int, noise: Noise = NOISELESS) -> dict[str, int]:
    """Counts of a circuit from :func:`as_clifford`, by stim; like Aer's, bit 0 last. With ``noise``, which follows
    every gate of ``circuit`` once, its gates need not be plain ones.

    Raises :class:`CircuitRejected` with code ``too_many_outcomes`` as soon as there are more than ``outcomes``.
    """
    import numpy as np
    import stim

    width = circuit.num_clbits
    text, columns = _as_stim(circuit, noise)
    sampler = stim.Circuit(text).compile_sampler(seed=seed)
    places, numbers = [width - 1 - clbit for clbit in columns], list(columns.values())
    counts: Counter[str] = Counter()
    for first in range(0, shots, _CHUNK_SHOTS):
        # Records that are equal are counted before anything else is done with them.
        records, repeats = _distinct(sampler.sample_bit_packed(min(_CHUNK_SHOTS, shots - first)))
        bits = np.full((len(records), width), ord("0"), dtype=np.uint8)
        bits[:, places] += np.unpackbits(records, axis=1, bitorder="little")[:, numbers]
        digits = bits.tobytes().decode()
        for row, repeat in enumerate(repeats):
            counts[digits[row * width : (row + 1) * width]] += repeat
        if len(counts) > outcomes:
            raise CircuitRejected(
                "too_many_outcomes",
                f"it gave more than {outcomes} distinct outcomes",
                remedy="ask for fewer shots or measure fewer qubits",
            )
    return dict(counts)


def _distinct(rows: Any) -> tuple[Any, list[int]]:
    """The distinct rows of an array of bytes, in order of appearance, and how often each is there."""
    import numpy as np

    data, size = rows.tobytes(), rows.shape[1]
    found = Counter(data[start : start + size] for start in range(0, len(data), size))
    return np.frombuffer(b"".join(found), np.uint8).reshape(len(found), size), list(found.values())


def _quarter_turns(angle: Any) -> int | None:
    """``angle`` in quarter turns, modulo 8 of them, if it is a whole number of them.

    By sine and cosine of half of it, like the gates: they are exact however large it is, a quotient is not.
    """
    try:
        half = float(angle) / 2
        turns = math.atan2(math.sin(half), math.cos(half)) / (math.pi / 4)
    except (TypeError, ValueError):
        return None
    whole = round(turns)
    return whole % 8 if abs(turns - whole) < _TOLERANCE else None


def _on(name: str, *places: int) -> Steps:
    return ((name, places),) if name else ()


def _z_turn(turns: int, place: int = 0) -> Steps:
    return _on(_PHASES[turns % 4], place)


def _x_turn(turns: int) -> Steps:
    return _on(_X_TURNS[turns % 4], 0)


def _y_turn(turns: int) -> Steps:
    """A turn about y is one about x, seen from a frame turned about z."""
    return _on("sdg", 0) + _x_turn(turns) + _on("s", 0) if turns % 4 else ()


def _u(theta: int, phi: int, lam: int) -> Steps:
    return _z_turn(lam) + _y_turn(theta) + _z_turn(phi)


def _controlled_phase(turns: int) -> Steps | None:
    return None if turns % 2 else _on("cz" if turns % 4 else "", 0, 1)


def _controlled_z_turn(turns: int) -> Steps | None:
    """diag(1, 1, e^(-it/2), e^(it/2)): for half turns a phase of the control, then a controlled phase."""
    return None if turns % 2 else _z_turn(-turns // 2) + (_controlled_phase(turns) or ())


def _zz(turns: int) -> Steps:
    return _on("cx", 0, 1) + _z_turn(turns, 1) + _on("cx", 0, 1) if turns % 4 else ()


def _xx(turns: int) -> Steps:
    frame = _on("h", 0) + _on("h", 1)
    return frame + _zz(turns) + frame


_ROTATIONS = {
    "p": _z_turn, "u1": _z_turn, "rz": _z_turn, "rx": _x_turn, "ry": _y_turn,
    "u": _u, "u3": _u, "u2": lambda phi, lam: _u(1, phi, lam),
    "cp": _controlled_phase, "cu1": _controlled_phase, "crz": _controlled_z_turn, "rzz": _zz, "rxx": _xx,
}  # fmt: skip


def _as_stim(circuit: Any, noise: Noise) -> tuple[str, dict[int, int]]:
    """``circuit`` in stim's language; and for each classical bit, the number of the measurement that wrote it last."""
    qubits = {bit: str(index) for index, bit in enumerate(circuit.qubits)}
    clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
    words: list[str] = []
    written: list[int] = []
    measure, after = stim_words(noise)
    for step in circuit.data:
        name = step.name
        if name == "barrier":
            continue
        targets = [qubits[bit] for bit in step.qubits]
        if name == "measure":
            words += ["\n", measure, *targets]
            written.append(clbits[step.clbits[0]])
            continue
        if name in _STIM:
            words += ["\n", _STIM[name], *targets]
        else:
            for plain, places in clifford_steps(name, step.params) or ():
                words += ["\n", _STIM[plain], *[targets[place] for place in places]]
        if name != "reset" and len(targets) in after:
            words += ["\n", after[len(targets)], *targets]
    return " ".join(words), {bit: number for number, bit in enumerate(written)}
