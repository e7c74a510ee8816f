"""What an oracle may say about where its result comes from, and what of it is believed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.validation.verdict import HARDWARE, SIMULATOR, STAND_IN
from oracle.validator.claims import MOST_READOUT_ERROR, claim_of, readout_error
from oracle.validator.findings import Wrong

PROVIDER = {"name": "ibm", "backend": "ibm_fez", "job_id": "d1"}
DEVICE = {"backend": {"engine": "hardware-claimed"}, "provider": PROVIDER}
BOX = {"backend": {"engine": "ibm-stand-in"}, "provider": PROVIDER}
HERE = {"backend": {"engine": "aer-statevector"}, "routing": {"choice": "local_simulator"}}
OWN = {"name": "local", "backend": "aer", "job_id": "1:0x5f:7"}
PUBLIC, LOCAL = 1, 31337


def spec(policy, *backends):
    return {"quantum": {"backend_policy": policy, "constraints": {"allowed_backends": list(backends)}}}


@pytest.mark.parametrize(
    "document, policy, chain, claim",
    [
        (HERE, "simulator", PUBLIC, SIMULATOR),
        (HERE, "ibm_or_simulator", PUBLIC, SIMULATOR),
        ({**HERE, "provider": OWN}, "simulator", PUBLIC, SIMULATOR),
        (DEVICE, "ibm", PUBLIC, HARDWARE),
        (DEVICE, "any", PUBLIC, HARDWARE),
        (BOX, "ibm_or_simulator", PUBLIC, STAND_IN),
        (BOX, "ibm", LOCAL, STAND_IN),
    ],
)
def test_claim_of__what_was_ordered__is_taken_at_its_word(document, policy, chain, claim):
    assert claim_of(document, spec(policy), chain) == claim


@pytest.mark.parametrize(
    "document, policy, chain",
    [
        (DEVICE, "simulator", PUBLIC),
        (BOX, "simulator", LOCAL),
        (HERE, "ibm", PUBLIC),
        ({**HERE, "provider": OWN}, "ibm", PUBLIC),
        ({**DEVICE, "provider": OWN}, "any", PUBLIC),
        (BOX, "ibm", PUBLIC),
        ({**HERE, "routing": {"choice": "ibm_quantum_backend"}}, "any", PUBLIC),
        ({**HERE, "backend": {"engine": "hardware-claimed"}}, "any", PUBLIC),
        ({**DEVICE, "provider": {**PROVIDER, "job_id": ""}}, "any", PUBLIC),
        ({**DEVICE, "provider": {**PROVIDER, "backend": 7}}, "any", PUBLIC),
        ({**DEVICE, "provider": "ibm"}, "any", PUBLIC),
    ],
)
def test_claim_of__something_else_or_without_a_reference__is_wrong(document, policy, chain):
    with pytest.raises(Wrong):
        claim_of(document, spec(policy), chain)


def test_claim_of__device_that_was_not_allowed__is_wrong():
    assert claim_of(DEVICE, spec("any", "ibm_fez"), PUBLIC) == HARDWARE
    with pytest.raises(Wrong, match="ibm_fez"):
        claim_of(DEVICE, spec("any", "ibm_torino"), PUBLIC)


def test_claim_of__device_although_simulated_noise_was_ordered__is_wrong():
    noisy = spec("any")
    noisy["quantum"]["noise"] = {"one_qubit": 0, "two_qubit": 0.01, "readout": 0}
    assert claim_of(HERE, noisy, PUBLIC) == SIMULATOR
    with pytest.raises(Wrong, match="noise on a simulator"):
        claim_of(DEVICE, noisy, PUBLIC)


def calibrated(**scopes):
    return {"provider": {**PROVIDER, "calibration": scopes}}


def test_readout_error__used_qubits__come_before_the_device_and_are_bounded():
    device = {"readout_error": 0.03}
    assert readout_error(calibrated(used={"readout_error": 0.01}, device=device)) == 0.01
    assert readout_error(calibrated(device=device)) == 0.03
    assert readout_error(calibrated(used={"readout_error": 0.49})) == MOST_READOUT_ERROR
    assert readout_error({}) == 0.0


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_readout_error__whatever_is_written_there__is_a_rate_within_bounds(value):
    for document in (calibrated(used={"readout_error": value}), calibrated(used=value), {"provider": value}):
        assert 0.0 <= readout_error(document) <= MOST_READOUT_ERROR
