"""Whatever chain and node do, in whatever order: in the end the journal says what the chain says.

A chain of blocks on paper stands for the real one, which takes a second for what takes a hundred runs here.
"""

from __future__ import annotations

import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.chain.client import Block
from oracle.chain.events import Event
from oracle.chain.history import replay
from oracle.jobs.errors import ChainError, ChainUnavailable
from oracle.jobs.states import TAKEN, State
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig
from oracle.node.ingest import SWEEP_SECONDS, Ingest
from oracle.node.journal import ACTIVE, Forgotten, Journal, Step

US, THEM, ESCROW = ("0x" + digits * 20 for digits in ("22", "44", "11"))
FINALITY = 6
STEPS = {State.CREATED: Step.SEEN, State.ACCEPTED: Step.ACCEPTED, State.COMPLETED: Step.DELIVERED}


@dataclass
class PaperChain:
    """As much of a :class:`~oracle.chain.client.ChainClient` as ingestion asks for."""

    chain_id: int = 31337
    deployment: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(block=0, job_escrow=ESCROW))
    escrow: PaperChain = field(init=False)
    ranges_served: int | None = None
    blocks: list[tuple[Block, list[Event]]] = field(default_factory=list)
    numbers: count = field(default_factory=count)

    def __post_init__(self) -> None:
        self.escrow = self
        self.mine([])

    def mine(self, acts: list[tuple[str, int, str]]) -> None:
        """A block with the events of those ``acts`` that the contract would take."""
        number = len(self.blocks)
        parent = self.blocks[-1][0].hash if number else bytes(32)
        block = Block(number, next(self.numbers).to_bytes(32, "big"), parent, number)
        events: list[Event] = []
        self.blocks.append((block, events))
        for act, choice, who in acts:
            found = self._event(act, choice, who)
            if found is not None:
                name, args = found
                events.append(Event(name, ESCROW, args, number, block.hash, block.hash, len(events)))

    def fork(self, depth: int) -> None:
        """Take the newest blocks away and mine as many empty ones and one more."""
        del self.blocks[len(self.blocks) - min(depth, len(self.blocks) - 1) :]
        for _ in range(depth + 1):
            self.mine([])

    def jobs(self):
        """Histories of all jobs."""
        return replay(event for _, events in self.blocks for event in events)

    def _event(self, act: str, choice: int, who: str):
        jobs = self.jobs()
        if act == "create":
            spec = next(self.numbers).to_bytes(32, "big")
            terms = Terms(THEM, THEM, who, *[ZERO_ADDRESS] * 3, 10, 0, 5, 100, 200, 9, spec, b"k" * 32)
            return "JobCreated", {"jobId": len(jobs) + 1, "oracle": who, "terms": terms.to_abi()}
        job = jobs.get(choice % len(jobs) + 1) if jobs else None
        if job is None:
            return None
        actor = who if job.terms.is_open and who != ZERO_ADDRESS else job.terms.oracle
        if act == "accept" and job.state == State.CREATED and actor != ZERO_ADDRESS:
            return _changed(job.job_id, State.ACCEPTED, actor)
        if act == "deliver" and job.state in (State.CREATED, *TAKEN) and not job.terms.is_open:
            args = {"oracle": job.terms.oracle, "result": b"r" * 32, "charge": 3, "state": State.COMPLETED, "tier": 0}
            return "JobDelivered", {"jobId": job.job_id, **args}
        if act == "end" and not job.is_terminal:
            return _changed(job.job_id, State.CANCELLED, THEM)
        return None

    def block(self, which="latest") -> Block:
        top = len(self.blocks) - 1
        number = {"latest": top, "finalized": max(0, top - FINALITY)}.get(which, which)
        if number > top:
            raise ChainError(f"block {number} not found")
        return self.blocks[number][0]

    def events_in_ranges(self, first: int, last: int):
        for begin in range(first, last + 1, 3):
            if self.ranges_served is not None:
                if not self.ranges_served:
                    raise ChainUnavailable("lost on the way")
                self.ranges_served -= 1
            until = min(begin + 2, last)
            yield begin, until, [event for _, events in self.blocks[begin : until + 1] for event in events]

    def job_events(self, job_id: int, first: int, last: int) -> list[Event]:
        return [e for _, events in self.blocks[first : last + 1] for e in events if e.job_id == job_id]

    def state_of(self, job_id: int) -> State:
        job = self.jobs().get(job_id)
        return job.state if job else State.NONE

    def deadline_of(self, job_id: int) -> int:
        return 10**6


def _changed(job_id: int, state: State, actor: str):
    return "JobStateChanged", {"jobId": job_id, "state": state, "actor": actor, "evidence": bytes(32)}


ACTS = st.tuples(
    st.sampled_from(["create", "create", "accept", "deliver", "end"]),
    st.integers(0, 3),
    st.sampled_from([US, THEM, ZERO_ADDRESS]),
)
EVENTS = st.one_of(
    st.tuples(st.just("mine"), st.lists(ACTS, min_size=1, max_size=4)),
    st.tuples(st.just("mine"), st.lists(ACTS, min_size=1, max_size=4)),
    st.tuples(st.just("mine"), st.lists(ACTS, min_size=1, max_size=4)),
    st.tuples(st.just("fork"), st.sampled_from([1, 1, 1, 2, 3, FINALITY - 1])),
    st.tuples(st.just("hear"), st.none()),
    st.tuples(st.just("hear"), st.none() | st.integers(0, 2)),
    st.tuples(st.just("work"), st.sampled_from([step for step in Step if step != Step.SEEN])),
    st.tuples(st.just("restart"), st.none()),
)


class Life:
    """A node's memory and what happens around it."""

    def __init__(self, path: Path):
        self.path = path
        self.chain = PaperChain()
        self.now = 0.0
        self.worked: set[tuple[int, bytes]] = set()
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.path, chain_id=31337, escrow=ESCROW, oracle=US)
        config = NodeConfig(confirmations=0, backup_sweep_blocks=4)
        self.ingest = Ingest(self.chain, self.journal, US, config, clock=lambda: self.now)

    def happens(self, what: str, how) -> None:
        if what == "mine":
            self.chain.mine(how)
        elif what == "fork":
            self.chain.fork(how)
        elif what == "hear":
            self.now += SWEEP_SECONDS / 2
            self.chain.ranges_served = how
            with suppress(ChainUnavailable):
                self.ingest.run_once()
            self.chain.ranges_served = None
        elif what == "work":
            for job in self.journal.due(0.0, 1):
                row = self.journal.job(job.job_id)
                with suppress(Forgotten):
                    self.journal.advance(row, how)
                    self.worked.add((row.job_id, row.block_hash))
        elif what == "restart":
            self.journal.close()
            self.start()

    def expected(self) -> dict[int, tuple[bytes, bytes]]:
        """Creation block and spec of every job a node like ours must know."""
        created = {
            event.job_id: (event.block_hash, Terms.from_abi(event.args["terms"]))
            for _, events in self.chain.blocks
            for event in events
            if event.name == "JobCreated"
        }
        return {n: (at, terms.spec) for n, (at, terms) in created.items() if terms.oracle in (US, ZERO_ADDRESS)}


@settings(max_examples=120, deadline=None)
@given(st.lists(EVENTS, min_size=20, max_size=40))
def test_run_once__after_anything__the_journal_says_what_the_chain_says(happenings):
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder) / "journal.db")
        with closing_journal(life):
            for what, how in happenings:
                life.happens(what, how)
            for _ in range(3):  # hear, notice what is closed here and open there, ask
                life.chain.mine([])
                life.now += SWEEP_SECONDS
                life.ingest.run_once()
            judge(life)


def judge(life: Life) -> None:
    journal, histories = life.journal, life.chain.jobs()
    head = life.chain.block()
    assert journal.last_block() == (head.number, head.hash)
    assert all(life.chain.block(number).hash == named for number, named in journal.blocks(10**9))

    rows = {row.job_id: row for row in journal.jobs()}
    assert {n: (row.block_hash, row.terms.spec) for n, row in rows.items()} == life.expected()
    for number, row in rows.items():
        history = histories[number]
        if (number, row.block_hash) in life.worked:
            # Closed here is over there; an open job that was closed untaken is left to others.
            gone = history.is_terminal or history.terms.oracle == THEM
            assert row.step != Step.CLOSED or gone or row.terms.is_open
            assert number not in journal.unconfirmed()
        else:
            mine = history.terms.oracle in (US, ZERO_ADDRESS)
            assert row.step == (STEPS.get(history.state, Step.CLOSED) if mine else Step.CLOSED)
            assert row.terms == history.terms
        assert row.step == Step.CLOSED or journal.history(number)[-1].step == row.step
    for table in ("history", "pins", "events"):
        strays = f"SELECT COUNT(*) FROM {table} WHERE job_id NOT IN (SELECT job_id FROM jobs)"
        assert journal._db.row(strays)[0] == 0, table
    assert {job.job_id for job in journal.due(0.0, 99)} == {row.job_id for row in journal.jobs(ACTIVE)}


def closing_journal(life: Life):
    """Closes whichever journal is open in the end."""
    return closing(SimpleNamespace(close=lambda: life.journal.close()))
