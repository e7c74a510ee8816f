"""What a validator's reading of the chain costs; what it reads is in tests/integration/test_validator.py."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

from oracle.chain.client import Block
from oracle.jobs.states import State
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig
from oracle.node.ingest import EXAMINED_AT_ONCE
from oracle.node.journal import Step
from oracle.validator.intake import ValidatorIngest
from oracle.validator.journal import ValidatorJournal

VALIDATOR, ESCROW = "0x" + "44" * 20, "0x" + "11" * 20
TERMS = Terms(*["0x" + "33" * 20] * 3, VALIDATOR, *[ZERO_ADDRESS] * 2, 10, 1, 5, 10, 20, 600, b"s" * 32, b"k" * 32)


def test_reopen_undone__many_verdicts_to_confirm__asks_for_a_few_a_sweep_in_turn(tmp_path):
    asked = []
    undone = 7
    escrow = SimpleNamespace(
        state_of=lambda job_id: asked.append(job_id) or State.COMPLETED,
        deadline_of=lambda job_id: 1_000,
        delivery_of=lambda job_id: (b"", job_id != undone),
    )
    chain = SimpleNamespace(escrow=escrow, deployment=SimpleNamespace(job_escrow=ESCROW))
    silent, judged = 1, range(2, EXAMINED_AT_ONCE + 12)
    with closing(ValidatorJournal(tmp_path / "v.db", chain_id=1, escrow=ESCROW, oracle=VALIDATOR)) as journal:
        for job_id in (silent, *judged):
            journal.add_job(job_id, TERMS, 3, b"h" * 32, step=Step.DELIVERED)
            report = {} if job_id == silent else {"sealed": b"report %d" % job_id}
            journal.advance(journal.job(job_id), Step.CLOSED, **report)
        ingest = ValidatorIngest(chain, journal, VALIDATOR, NodeConfig())

        for sweep, number in enumerate((50, 50, 51), start=1):
            ingest._reopen_undone(Block(number, b"b" * 32, b"a" * 32, 500), read=10)
            assert len(asked) <= EXAMINED_AT_ONCE * sweep

        assert sorted(set(asked)) == [*judged]
        assert journal.job(undone).step == Step.DELIVERED
        assert journal.counts() == {"closed": len(judged), "delivered": 1}
