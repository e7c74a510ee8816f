"""Noise as the simulators take it. Which gates it follows does not depend on the simulator: ``docs/circuits.md``."""

from __future__ import annotations

from functools import cache
from typing import Any

from oracle.jobs.noise import Noise

# What all of Aer's methods that hold a state run as one gate; anything else is unfolded to these first.
_ONE_QUBIT = ("id", "x", "y", "z", "h", "s", "sdg", "sx", "sxdg", "t", "tdg", "p", "r", "rx", "ry", "rz", "u", "u1",
              "u2", "u3")  # fmt: skip
_TWO_QUBIT = ("cx", "cy", "cz", "cp", "swap", "ecr", "rxx", "ryy", "rzz", "rzx")
NOISY_GATES = frozenset((*_ONE_QUBIT, *_TWO_QUBIT))
"""The gates of a circuit that is to run with noise; each is followed by noise on its qubits."""


@cache
def aer_model(noise: Noise) -> Any:
    """``noise`` as Aer's ``NoiseModel``; its ``depolarizing_error(p, n)`` has the convention of :class:`Noise`."""
    from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

    model = NoiseModel()
    for rate, qubits, gates in ((noise.one_qubit, 1, _ONE_QUBIT), (noise.two_qubit, 2, _TWO_QUBIT)):
        if rate:
            model.add_all_qubit_quantum_error(depolarizing_error(rate, qubits), list(gates))
    if noise.readout:
        right, wrong = 1 - noise.readout, noise.readout
        model.add_all_qubit_readout_error(ReadoutError([[right, wrong], [wrong, right]]))
    return model


def stim_words(noise: Noise) -> tuple[str, dict[int, str]]:
    """``noise`` in stim's language: its measurement, and what follows a gate on so many qubits, if anything does.

    stim's ``DEPOLARIZE1(q)`` and ``DEPOLARIZE2(q)`` apply each of the 4ⁿ - 1 Pauli strings other than the identity with
    probability q / (4ⁿ - 1) (stim's gate reference). The maximally mixed state is the mean over all 4ⁿ strings, so that
    q = p (4ⁿ - 1) / 4ⁿ.
    """
    rates = {1: noise.one_qubit, 2: noise.two_qubit}
    after = {n: f"DEPOLARIZE{n}({p * (4**n - 1) / 4**n!r})" for n, p in rates.items() if p}
    return f"M({noise.readout!r})" if noise.readout else "M", after
