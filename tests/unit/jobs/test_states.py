from __future__ import annotations

import re
from pathlib import Path

import pytest

from oracle.jobs.states import ON_CHAIN, TERMINAL, State, Tier

INTERFACE = Path(__file__).resolve().parents[3] / "interfaces" / "IJobEscrow.sol"


def solidity_enum(name: str) -> list[str]:
    body = re.search(rf"\benum {name} \{{([^}}]*)\}}", INTERFACE.read_text())
    return [word.strip() for word in body[1].split(",") if word.strip()]


@pytest.mark.parametrize("enum", [State, Tier])
def test_enum__against_the_interface__has_the_same_words_in_the_same_order(enum):
    assert [member.label for member in enum] == solidity_enum(enum.__name__)
    assert [int(member) for member in enum] == list(range(len(enum)))


def test_tier__of_an_attestation__follows_the_methods_of_the_interface():
    methods = solidity_enum("Method")

    assert [Tier(Tier.STATISTICAL + number).label for number in range(len(methods))] == methods


def test_on_chain__every_other_state__is_an_event_only():
    events_only = set(State) - ON_CHAIN - {State.NONE}

    assert events_only == {
        State.SIMULATED,
        State.SUBMITTED,
        State.QUEUED,
        State.RUNNING,
        State.VALIDATED,
    }


def test_terminal__states__are_stored():
    assert TERMINAL < ON_CHAIN
    assert not TERMINAL & {State.CREATED, State.ACCEPTED, State.COMPLETED, State.DISPUTED}
