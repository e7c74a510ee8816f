from __future__ import annotations

from typing import Any

import pytest

from oracle.circuits.analysis import METHODS
from oracle.jobs.errors import InputError
from oracle.routing.candidates import IBM, LOCAL, Candidate, by_method

DESCRIPTION = {
    "name": "ibm_fez",
    "qubits": 156,
    "basis": ["cz", "rz", "sx", "x"],
    "queue_seconds": 12.5,
    "two_qubit_error": 0.003,
    "open": True,
    "price": 7,
}


def test_from_description__adapters_object__becomes_a_candidate() -> None:
    made = Candidate.from_description(DESCRIPTION)

    assert (made.name, made.backend, made.kind, made.max_qubits) == ("ibm_fez", "ibm_fez", IBM, 156)
    assert (made.basis, made.queue_seconds, made.two_qubit_error) == (("cz", "rz", "sx", "x"), 12.5, 0.003)
    assert (made.operational, made.price, made.dynamic) == (True, 7, False)
    assert Candidate.from_description({**DESCRIPTION, "two_qubit_error": None, "dynamic": True}).dynamic


@pytest.mark.parametrize("change", [{"qubits": "many"}, {"queue_seconds": None}, {"basis": 3}, {"price": "x"}])
def test_from_description__unusable__is_an_input_error(change: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Candidate.from_description({**DESCRIPTION, **change})
    assert caught.value.field == "backend"


def test_by_method__simulator__is_one_candidate_each() -> None:
    offers = by_method(Candidate("aer", LOCAL, 28))

    assert [offer.method for offer in offers] == list(METHODS)
    assert {offer.backend for offer in offers} == {"aer"} and len({offer.name for offer in offers}) == len(METHODS)


def test_unanswering__names_alone__say_why() -> None:
    made = Candidate.unanswering("ibm_fez", "")

    assert (made.backend, made.kind, made.operational, made.silence) == ("ibm_fez", IBM, False, "it gives no answer")
