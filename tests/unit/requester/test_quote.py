"""What a job will cost, before anything is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from oracle.jobs.errors import InputError
from oracle.requester.draft import EXAMPLES, Draft, load_draft, write_example
from oracle.requester.quote import Profile, quote

DOCUMENT = {
    "type": "qscrow.profile",
    "version": 1,
    "engines": ["aer"],
    "formats": ["openqasm3", "qscrow-json"],
    "max_qubits": 30,
    "max_shots": 5_000,
    "price_base": "1000",
    "price_per_shot": "10",
}
PROFILE = Profile(1_000, 10, 30, 5_000, ("openqasm3", "qscrow-json"))


def example(tmp_path: Any, name: str) -> Draft:
    return load_draft(write_example(tmp_path / "job.yaml", name)[0])


def test_parse__published_document__is_the_profile() -> None:
    assert Profile.parse(json.dumps(DOCUMENT).encode()) == PROFILE
    bare = {name: DOCUMENT[name] for name in ("type", "version", "price_base", "price_per_shot")}
    assert Profile.parse(json.dumps(bare).encode()) == Profile(1_000, 10)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "another"}, "profile"),
        ({"version": 2}, "profile"),
        ({"price_base": 1000}, "profile.price_base"),
        ({"price_base": "-1"}, "profile.price_base"),
        ({"price_per_shot": "1" * 31}, "profile.price_per_shot"),
        ({"price_per_shot": "\u0661"}, "profile.price_per_shot"),
        ({"max_qubits": "30"}, "profile.max_qubits"),
        ({"max_shots": True}, "profile.max_shots"),
        ({"formats": "openqasm3"}, "profile.formats"),
        ({"formats": [3]}, "profile.formats"),
        ({"hardware": "ibm_fez"}, "profile.hardware"),
        ({"price_hardware": 5}, "profile.price_hardware"),
    ],
)
def test_parse__odd_document__names_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        Profile.parse(json.dumps({**DOCUMENT, **changes}).encode())
    assert caught.value.field == field


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{", b"\xff"])
def test_parse__no_document__is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        Profile.parse(data)


@pytest.mark.parametrize("name", EXAMPLES)
def test_quote__every_example__has_a_price(tmp_path: Any, name: str) -> None:
    found = quote(example(tmp_path, name), Profile(1_000, 10))
    assert found.charge == 1_000 + 10 * found.shots * found.executions
    assert found.executions == (8 if name == "sweep" else 1)  # four parameter sets, each in two bases
    assert (found.budget, found.objections) == (10**16, ())


def test_quote__draft_without_a_budget__has_a_price_and_no_objection(tmp_path: Any) -> None:
    path, _ = write_example(tmp_path / "job.yaml", "ghz")
    path.write_text(path.read_text().replace("budget:\n  amount: 0.01 ether\n", ""))
    found = quote(load_draft(path), PROFILE)
    assert (found.charge, found.budget, found.objections) == (11_240, None, ())


@pytest.mark.parametrize(
    ("profile", "name", "said"),
    [
        (replace(PROFILE, price_base=10**17), "ghz", "does not cover it"),
        (PROFILE, "too_wide", "openqasm2"),
        (PROFILE, "too_wide", "30 qubits at most, the job has 40"),
        (PROFILE, "sweep", "5000 shots at most, the job has 8192"),
    ],
)
def test_quote__job_that_would_be_refused__says_why(tmp_path: Any, profile: Profile, name: str, said: str) -> None:
    assert any(said in line for line in quote(example(tmp_path, name), profile).objections)


@pytest.mark.parametrize(
    ("policy", "charge"), [("simulator", 11_240), ("ibm_or_simulator", 11_240), ("ibm", 11_240 + 500)]
)
def test_quote__job_for_hardware__costs_what_hardware_costs(tmp_path: Any, policy: str, charge: int) -> None:
    draft = example(tmp_path, "ghz")
    fields = {**draft.fields, "quantum": {**draft.fields["quantum"], "backend_policy": policy}}
    profile = replace(PROFILE, hardware=("ibm_fez",), price_hardware=500)

    assert quote(replace(draft, fields=fields), profile).charge == charge
    offered = quote(replace(draft, fields=fields), PROFILE).objections
    assert ("it offers no hardware, which is all that the job takes" in offered) == (policy == "ibm")
