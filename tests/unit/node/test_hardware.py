"""Asking a provider about its backends without letting it hold anybody up. All else: tests/integration/test_ibm.py."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from oracle.jobs.errors import BackendUnavailable, InputError
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.hardware import RUNS_SECONDS, SILENCE_SECONDS, Hardware

DESCRIPTION = {
    "name": "ibm_fez",
    "qubits": 156,
    "basis": ["cz"],
    "queue_seconds": 1.0,
    "two_qubit_error": 0.003,
    "open": True,
    "price": 7,
}
TERMS = Terms("0x" + "33" * 20, "0x" + "33" * 20, *[ZERO_ADDRESS] * 4, 10, 0, 0, 100, 200, 0, b"s" * 32, b"k" * 32)


class Backend:
    """Answers, fails or hangs as it is told."""

    name = "ibm_fez"

    def __init__(self):
        self.asked, self.failure, self.hold, self.begun = 0, None, None, threading.Event()

    def description(self, price):
        self.asked += 1
        self.begun.set()
        if self.hold:
            self.hold.wait(10)
        if self.failure:
            raise self.failure
        return {**DESCRIPTION, "price": price}


@pytest.fixture
def backend():
    return Backend()


@pytest.fixture
def clock():
    return SimpleNamespace(now=100.0)


@pytest.fixture
def hardware(backend, clock):
    def use(since):
        if backend.failure:
            raise backend.failure
        backend.asked += 1
        return SimpleNamespace(total=backend.asked)

    provider = SimpleNamespace(backends=[backend], account=SimpleNamespace(use=use))
    chain = SimpleNamespace(chain_id=1, deployment=SimpleNamespace(job_escrow="0xescrow"))
    return Hardware(SimpleNamespace(provider=provider, chain=chain), None, None, lambda: clock.now)


@pytest.mark.parametrize("failure", [BackendUnavailable("HTTP 503"), InputError("a wrong token")])
def test_candidates__no_answer__is_said_and_not_asked_again_for_a_while(hardware, backend, clock, failure):
    backend.failure = failure
    assert [each.silence for each in hardware.candidates(7)] == [failure.message]
    backend.failure = None
    assert [each.silence for each in hardware.candidates(7)] == [failure.message]
    assert backend.asked == 1

    clock.now += SILENCE_SECONDS
    assert [(each.silence, each.price) for each in hardware.candidates(7)] == [("", 7)]


def test_candidates__another_job_waits_for_the_answer__does_not_wait_as_well(hardware, backend, monkeypatch):
    monkeypatch.setattr("oracle.node.hardware.ASK_SECONDS", 0.01)
    backend.hold = threading.Event()
    first = threading.Thread(target=hardware.candidates, args=(7,))
    first.start()
    assert backend.begun.wait(10)

    (candidate,) = hardware.candidates(7)
    backend.hold.set()
    first.join()

    assert "has not answered another question yet" in candidate.silence
    assert backend.asked == 1


def test_runs_in_a_day__asked_once_a_minute__keeps_the_last_answer(hardware, backend, clock):
    assert [hardware.runs_in_a_day(), hardware.runs_in_a_day()] == [1, 1]
    clock.now += RUNS_SECONDS + 1
    assert hardware.runs_in_a_day() == 2
    backend.failure = BackendUnavailable("HTTP 503")
    clock.now += RUNS_SECONDS + 1
    assert hardware.runs_in_a_day() == 2


def test_tag__what_acceptance_and_promotion_change__changes_nothing(hardware):
    tag = hardware.tag(7, TERMS)

    assert tag.startswith("1:0xescrow:7:")
    assert hardware.tag(7, replace(TERMS, oracle="0x" + "22" * 20, budget=99)) == tag
    assert hardware.tag(7, replace(TERMS, deliver_by=201)) != tag
