"""What is held against a result before anything is run for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from oracle.circuits.limits import CircuitLimits
from oracle.circuits.observables import estimate, parse_observables
from oracle.content.store import BlockStore
from oracle.validator.evidence import Examiner
from oracle.validator.findings import Wrong

CIRCUIT = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; h q[0];'


@pytest.mark.parametrize("method", ["replay", "distribution"])
@pytest.mark.parametrize("place", ["head", "runs"])
def test_evidence__values_that_do_not_follow_from_the_counts__speak_against_the_result(tmp_path, method, place):
    store = BlockStore(tmp_path)
    tools = SimpleNamespace(store=store, limits=CircuitLimits(), sender=SimpleNamespace(address="0x" + "11" * 20))
    observables = [[["X", 1.0]]]
    spec = {
        "quantum": {
            "circuit": str(store.put(CIRCUIT)), "format": "openqasm2", "shots": 10, "seed": 1,
            "result": "expectation", "observables": observables,
        },
        "privacy": {"circuit": "public"},
        "validation": {"method": method},
    }  # fmt: skip
    bases = [{"basis": "X", "counts": {"0": 10}}]
    values, errors = estimate(parse_observables(observables), [("X", bases[0]["counts"])])
    told = {"values": values, "standard_errors": errors}
    run = {"pub": 0, "set": 0, "bases": bases, **told}
    document = {"counts": {"0": 10}, "shots": 10, "runs": [run], **told}
    lie = {"values": [-1.0]}
    document |= lie if place == "head" else {"runs": [run | lie]}
    with pytest.raises(Wrong, match="values"):
        Examiner(tools, None)._evidence(None, None, spec, document, 0.0)
