from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from oracle.jobs.errors import InputError, JournalError
from oracle.node.approvals import Approvals, Request

ASKED = Request(7, "ab" * 27, "0x1", "family", "12", "unknown_requester", 0.0)


@pytest.fixture
def approvals(tmp_path):
    return Approvals.beside(tmp_path / "journal.db")


def test_ask__first_time__waits_and_is_remembered_by_others(approvals, tmp_path, caplog):
    assert approvals.waiting() == []

    with caplog.at_level(logging.INFO):
        asked = approvals.ask(ASKED)
        approvals.ask(ASKED)

    assert caplog.messages == ["waits for approval"]
    assert asked.approved is None
    assert Approvals.beside(tmp_path / "journal.db").waiting() == [asked]


def test_answer__yes__makes_family_and_requester_known(approvals):
    approvals.ask(ASKED)
    assert not approvals.knows_family("family")

    answered = approvals.answer(7, True, "fine by me")

    assert (answered.approved, answered.note) == (True, "fine by me")
    assert approvals.waiting() == []
    assert approvals.knows_family("family") and approvals.knows_requester("0x1")


def test_answer__no__makes_nothing_known(approvals):
    approvals.ask(ASKED)
    approvals.answer(7, False)
    assert not approvals.knows_family("family") and not approvals.knows_requester("0x1")
    assert approvals.of(7).approved is False


def test_answer__twice__the_last_counts(approvals):
    approvals.ask(ASKED)
    approvals.answer(7, False)
    approvals.answer(7, True)
    assert approvals.of(7).approved is True


def test_answer__nobody_asked__is_refused(approvals):
    with pytest.raises(InputError, match="nobody asks"):
        approvals.answer(8, True)


def test_ask__again__keeps_the_answer(approvals):
    approvals.ask(ASKED)
    approvals.answer(7, True)
    assert approvals.ask(ASKED).approved is True


def test_ask__another_job_of_that_number__is_a_new_question(approvals):
    approvals.ask(ASKED)
    approvals.answer(7, True)
    assert approvals.ask(replace(ASKED, terms="cd" * 27)).approved is None


def test_waiting__damaged_file__is_named(approvals, tmp_path):
    approvals.ask(ASKED)
    (tmp_path / "journal.approvals" / "7.json").write_text("{")
    with pytest.raises(JournalError, match="7.json"):
        approvals.waiting()
