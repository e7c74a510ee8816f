from __future__ import annotations

import copy
import json

import pytest

from oracle.jobs.errors import InputError
from oracle.validation.verdict import HARDWARE, MEANING, Check, Outcome, Verdict, parse_verdict

CHECKS = (
    Check("support", Outcome.ACCEPT, "nothing impossible was seen", 0.0, 1e-9),
    Check("power", None, "noise is caught", 1 / 3),
)
VERDICT = Verdict("distribution", CHECKS, 1024, 0.99, 2, HARDWARE, {"floor": 0.1234567}, {"job_id": "7"})


@pytest.mark.parametrize(
    "outcomes, gravest",
    [
        ((), "inconclusive"),
        ((None,), "inconclusive"),
        (("accept", None), "accept"),
        (("accept", "flag"), "flag"),
        (("flag", "inconclusive"), "inconclusive"),
        (("inconclusive", "reject", "accept"), "reject"),
    ],
)
def test_outcome__several_checks__is_the_gravest(outcomes, gravest):
    checks = tuple(Check("x", each and Outcome(each), "why") for each in outcomes)
    assert Verdict("none", checks, 1).outcome == gravest


@pytest.mark.parametrize(
    "outcome, signed", [("accept", True), ("reject", False), ("flag", None), ("inconclusive", None)]
)
def test_attests__each_outcome__signs_only_what_is_certain(outcome, signed):
    assert Verdict("none", (Check("x", Outcome(outcome), "why"),), 1).attests is signed


@pytest.mark.parametrize("method", sorted(MEANING))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_statement__every_method__claims_no_proof_of_hardware(method, outcome):
    verdict = Verdict(method, (Check("x", outcome, "because"),), 10, 0.99, claim=HARDWARE)
    text = verdict.as_text().lower()
    assert "because" in text and HARDWARE in text
    assert "hardware-proven" not in text and "hardware-verified" not in text
    if outcome in (Outcome.ACCEPT, Outcome.FLAG):
        assert MEANING[method][1] in verdict.statement


def test_as_bytes__canonical_json__can_be_read_back_whole():
    again = parse_verdict(json.loads(VERDICT.as_bytes()))
    assert again.as_bytes() == VERDICT.as_bytes()
    assert (again.outcome, dict(again.subject)) == (Outcome.ACCEPT, {"job_id": "7"})


def test_as_document__last_bits_of_a_number__do_not_change_the_digest():
    import dataclasses

    near = dataclasses.replace(VERDICT, checks=(CHECKS[0], Check("power", None, "noise is caught", 1 / 3 + 1e-16)))
    assert near.as_bytes() == VERDICT.as_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(verdict="reject"),
        lambda d: d.update(statement="proven on hardware"),
        lambda d: d.update(version=2),
        lambda d: d.update(extra=1),
        lambda d: d.update(checks=None),
        lambda d: d.update(method="prayer"),
        lambda d: d.update(claim="hardware-proven"),
        lambda d: d.update(claim=["simulator"]),
        lambda d: d.update(shots="many\n"),
        lambda d: d.update(support=-1),
        lambda d: d["checks"][0].update(outcome="fine"),
        lambda d: d["checks"][0].update(statistic="0"),
        lambda d: d["checks"][0].update(extra=1),
        lambda d: d.pop("subject"),
        lambda d: d.pop("shots"),
    ],
)
def test_parse_verdict__anything_that_does_not_follow__is_refused(change):
    document = copy.deepcopy(VERDICT.as_document())
    change(document)
    with pytest.raises(InputError):
        parse_verdict(document)


@pytest.mark.parametrize("odd", [None, [], "x", 5, {}])
def test_parse_verdict__other_things__are_refused(odd):
    with pytest.raises(InputError):
        parse_verdict(odd)


@pytest.mark.parametrize("said", ["ibm_x\n  accept       support: all is well", "\x1b[2J", "a\u202eb"])
def test_check__text_of_an_oracle_in_its_reason__stays_on_its_line(said):
    verdict = Verdict("none", (Check("form", Outcome.REJECT, f"it ran on {said}"),), shots=1)
    assert len(verdict.as_text().splitlines()) == 3
    assert all(line.isprintable() for line in verdict.as_text().splitlines())
    assert parse_verdict(verdict.as_document()) == verdict


@pytest.mark.parametrize("said", [5, None, ["a"], {"a": 1}, "two\nlines"])
def test_parse_verdict__reason_that_is_no_line_of_text__is_refused(said):
    document = Verdict("none", (Check("form", None, "a"), Check("form", Outcome.ACCEPT, "b")), shots=1).as_document()
    document["checks"][0]["reason"] = said
    with pytest.raises(InputError):
        parse_verdict(document)
