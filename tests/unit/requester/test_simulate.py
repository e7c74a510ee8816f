from __future__ import annotations

import pytest

from oracle.jobs.errors import CircuitRejected, InputError
from oracle.requester.draft import load_draft, write_example
from oracle.requester.simulate import simulate


def test_simulate__same_seed__gives_the_same_counts(draft):
    first, again = simulate(draft), simulate(draft, shots=1024, seed=7)

    assert first.counts == again.counts
    assert set(first.counts) == {"00000", "11111"}
    assert (first.shots, first.seed) == (again.shots, again.seed) == (1024, 7)


def test_simulate__no_shots__is_refused(draft):
    with pytest.raises(InputError) as caught:
        simulate(draft, shots=0)

    assert caught.value.field == "shots"


def test_simulate__beyond_a_nodes_limits__is_rejected(tmp_path):
    path = tmp_path / "job.yaml"
    write_example(path, "too_wide")

    with pytest.raises(CircuitRejected, match="40 qubits"):
        simulate(load_draft(path))
