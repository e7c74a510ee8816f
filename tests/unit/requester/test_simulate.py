from __future__ import annotations

from dataclasses import replace

import pytest

from oracle.jobs.errors import CircuitRejected, InputError
from oracle.requester.draft import load_draft, write_example
from oracle.requester.simulate import explain, simulate
from oracle.routing.candidates import IBM, Candidate


def test_simulate__same_seed__gives_the_same_counts(draft):
    first, again = simulate(draft), simulate(draft, shots=1024, seed=7)

    assert first.counts == again.counts
    assert set(first.counts) == {"00000", "11111"}
    assert (first.shots, first.seed) == (again.shots, again.seed) == (1024, 7)


def test_explain__drafts_policy_and_hardware__are_weighed(draft):
    fez = Candidate("ibm_fez", IBM, 156)
    here = explain(draft, hardware=(fez,))
    there = explain(replace(draft, fields={**draft.fields, "quantum": quantum(draft, "ibm")}), hardware=(fez,))

    assert here.choice == "local_simulator" and codes(here)["ibm_fez"] == "simulator_only"
    assert (there.choice, there.backend) == (IBM, "ibm_fez")
    assert {code for name, code in codes(there).items() if name != "ibm_fez"} == {"hardware_only", "not_offered"}


def test_explain__seed_in_the_draft__leaves_stim_out(draft):
    decision = explain(draft)

    assert next(verdict.code for verdict in decision.verdicts if verdict.method == "stim") == "not_reproducible"


def codes(decision):
    return {verdict.name: verdict.code for verdict in decision.verdicts}


def quantum(draft, policy):
    return {**draft.fields["quantum"], "backend_policy": policy}


def test_simulate__no_shots__is_refused(draft):
    with pytest.raises(InputError) as caught:
        simulate(draft, shots=0)

    assert caught.value.field == "shots"


def test_simulate__beyond_a_nodes_limits__is_rejected(tmp_path):
    path = tmp_path / "job.yaml"
    write_example(path, "too_wide")

    with pytest.raises(CircuitRejected, match="40 qubits"):
        simulate(load_draft(path))
