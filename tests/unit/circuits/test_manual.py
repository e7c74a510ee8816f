"""docs/circuits.md against the code: every limit with its default and its code, every code there is."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from oracle.circuits.instructions import JSON
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import FORMATS, RESULTS, lint
from oracle.circuits.observables import parse_observables
from oracle.circuits.run import RunRequest
from oracle.circuits.sandbox import Sandbox
from oracle.jobs.errors import CircuitRejected

ROOT = Path(__file__).resolve().parents[3]
MANUAL = (ROOT / "docs" / "circuits.md").read_text()
TABLE = {
    name: (int(default), code)
    for name, default, code in re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \|", MANUAL, re.MULTILINE)
}
H2 = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; '
SPREAD = H2 + b"h q; t q; measure q -> c;"
LOOPING = H2 + b"h q; t q; reset q; " + b"rx(0.3) q; cx q[0],q[1]; " * 500 + b"measure q -> c;"
# For every limit, a request that is fine without it, and what to set it to.
OVER: dict[str, tuple[dict[str, Any], int]] = {
    "source_bytes": ({"source": SPREAD}, 10),
    "qubits": ({"source": SPREAD}, 1),
    "clbits": ({"source": SPREAD}, 1),
    "registers": ({"source": SPREAD}, 1),
    "depth": ({"source": SPREAD}, 1),
    "statements": ({"source": SPREAD}, 3),
    "expanded_gates": ({"source": SPREAD}, 5),
    "gate_definitions": ({"source": H2 + b"gate a x { h x; } gate b x { h x; } measure q -> c;"}, 1),
    "nesting": ({"source": H2 + b"rz((1)) q[0]; measure q -> c;"}, 1),
    "expression_terms": ({"source": H2 + b"rz(1+1) q[0]; measure q -> c;"}, 2),
    "identifier_length": ({"source": SPREAD}, 6),
    "parameters": ({"source": H2 + b"u3(1,(2),sin(3)) q[0]; measure q -> c;"}, 2),
    "circuits": ({"result": "expectation", "observables": parse_observables([[["ZZ", 1], ["XX", 1]]])}, 1),
    "observable_terms": ({"result": "expectation", "observables": parse_observables([[["ZZ", 1], ["IZ", 1]]])}, 1),
    "shots": ({"shots": 50}, 49),
    "outcomes": ({"source": SPREAD}, 3),
    "cpu_seconds": ({"source": LOOPING, "shots": 200_000, "method": "statevector"}, 1),
    "wall_seconds": ({"source": LOOPING, "shots": 200_000, "method": "statevector"}, 1),
    "memory_bytes": ({"source": H2 + b"gate g a { x a; x a; x a; }" + b"g q;" * 24_000 + b"measure q -> c;"}, 2**16),
    "output_bytes": ({"result": "memory", "shots": 1000}, 1000),
}


def test_manual__its_table__has_every_limit_with_its_default() -> None:
    assert {name: default for name, (default, _) in TABLE.items()} == CircuitLimits().as_dict()
    codes = [code for _, code in TABLE.values()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("name", [field.name for field in fields(CircuitLimits)])
def test_limit__request_beyond_it__is_refused_with_the_code_of_the_manual(sandbox: Sandbox, name: str) -> None:
    asked, value = OVER[name]
    limits = CircuitLimits(**{"cpu_seconds": 20, "wall_seconds": 40, name: value})
    request = RunRequest(**{"source": SPREAD, "format": "openqasm2", "shots": 50, "seed": 1, **asked, "limits": limits})
    with pytest.raises(CircuitRejected) as caught:
        sandbox.submit(request).result(timeout=120)
    assert caught.value.code == TABLE[name][1]


def test_manual__codes_of_the_code__are_all_explained() -> None:
    raised = set()
    for path in (ROOT / "oracle" / "circuits").glob("*.py"):
        text = path.read_text()
        raised |= set(re.findall(r'(?:CircuitRejected|_refuse)\(\s*"(\w+)"', text))
        raised |= set(re.findall(r'"code": "(\w+)"', text))
    explained = set(re.findall(r"`(\w+)`", MANUAL))
    assert len(raised) > 30
    assert raised - explained == set()


def test_manual__formats_and_results__are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", MANUAL, re.MULTILINE)
    assert tuple(rows[: len(FORMATS)]) == FORMATS
    assert tuple(rows[len(FORMATS) : len(FORMATS) + len(RESULTS)]) == RESULTS


def test_manual__examples_of_json__are_taken() -> None:
    examples = re.findall(r"```json\n(.*?)```", MANUAL, re.DOTALL)
    assert [lint(text.encode(), JSON, CircuitLimits()).executions for text in examples] == [1, 4]
    assert json.loads(examples[0])["shots"] == 1000
