"""Canaries from the requester's side: mixed in, kept, and opened not a moment too early."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from types import SimpleNamespace

import pytest

from oracle.content.cid import CID
from oracle.content.store import BlockStore
from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import InputError
from oracle.jobs.states import State
from oracle.requester.canaries import Openings, mix, right_shots
from oracle.requester.draft import load_draft, write_example
from oracle.validation.canary import Canary, CanaryPlan, opening_of

SPEC = bytes(range(32))
PLAN = CanaryPlan((None,) * 3, (Canary(0, "01"), Canary(2, "11")), bytes(32))


@pytest.fixture
def draft(tmp_path):
    write_example(tmp_path / "job.yaml", "ghz")
    return load_draft(tmp_path / "job.yaml")


@pytest.fixture
def openings(tmp_path):
    return Openings(tmp_path / "canaries")


def job(result=b"r" * 32, state=State.COMPLETED):
    return SimpleNamespace(job_id=3, result=result, state=state, is_terminal=False)


def test_mix__example__hides_circuits_of_the_same_form(draft):
    mixed = mix(draft, 2)

    circuits = parse_json(mixed.draft.circuit, "circuit", 2**20)["circuits"]
    forms = {str([(name, wires) for name, wires, _ in each["instructions"]]) for each in circuits}
    assert (len(circuits), len(forms)) == (3, 1)
    assert mixed.draft.lint.executions == 3
    assert mixed.draft.fields["validation"]["commitment"] == mixed.plan.commitment
    assert mixed.draft.fields["validation"]["method"] == "canary"
    assert mixed.draft.fields["quantum"]["format"] == "qscrow-json"
    assert draft.format != "qscrow-json"


@pytest.mark.parametrize(
    "section, changes, field",
    [
        ("validation", {"method": "replay"}, "validation.method"),
        ("validation", {"method": "canary", "commitment": "ab" * 32}, "validation.commitment"),
        ("quantum", {"noise": {"readout": 0.01}}, "quantum.noise"),
        ("quantum", {"result": "expectation", "observables": [[["ZZZ", 1.0]]]}, "quantum.result"),
    ],
)
def test_mix__draft_that_canaries_do_not_go_with__is_refused(draft, section, changes, field):
    fields = {**draft.fields, section: {**draft.fields.get(section, {}), **changes}}
    with pytest.raises(InputError) as refused:
        mix(replace(draft, fields=fields), 1)
    assert refused.value.field == field


def test_keep__opening__is_the_owners_alone_and_comes_back(openings):
    path = openings.keep(SPEC, PLAN)

    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    kept = openings.of(SPEC)
    assert (kept.canaries, kept.circuits, kept.published) == (PLAN.canaries, 3, False)
    assert list(openings.all()) == [kept]
    assert openings.of(bytes(32)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(version=2),
        lambda d: d.update(spec="00" * 32),
        lambda d: d["opening"].update(salt="11" * 32),
        lambda d: d.pop("circuits"),
        lambda d: d.update(more=1),
    ],
)
def test_of__damaged_file__says_which(openings, change):
    path = openings.keep(SPEC, PLAN)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=path.name):
        openings.of(SPEC)


def test_publish__before_the_delivery__is_refused_and_nothing_leaves(openings, tmp_path):
    openings.keep(SPEC, PLAN)
    store = BlockStore(tmp_path / "content")
    with pytest.raises(InputError, match="could cheat"):
        openings.publish(openings.of(SPEC), job(None, State.ACCEPTED), store)
    assert list(store.pins()) == []
    assert not openings.of(SPEC).published


def test_publish__after_it__stands_under_the_commitment_of_the_spec(openings, tmp_path):
    openings.keep(SPEC, PLAN)
    store = BlockStore(tmp_path / "content")
    for _ in range(2):
        link = openings.publish(openings.of(SPEC), job(), store)
    assert link == f"ipfs://f01551220{PLAN.commitment}"
    block = store.get(CID.from_digest(bytes.fromhex(PLAN.commitment)), max_bytes=2**20)
    assert opening_of(block) == PLAN.opening()
    assert openings.of(SPEC).published


def test_right_shots__opened_result__counts_known_answers_only(openings):
    openings.keep(SPEC, PLAN)
    runs = [{"counts": {"01": 9, "00": 1}}, {"counts": {"01": 10}}, {"counts": {"00": 10}}]
    assert right_shots({"runs": runs}, openings.of(SPEC)) == {0: 9, 2: 0}
