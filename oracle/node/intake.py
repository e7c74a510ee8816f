"""What events mean for the journal: which jobs are ours, where the chain has them, and which to look at again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from oracle.chain.events import Event
from oracle.chain.history import JobHistory, replay
from oracle.jobs.states import TAKEN, TERMINAL, State
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.node.journal import JobRow, Journal, News, Placement, Step

_STATES = {Step.SEEN: State.CREATED, Step.ACCEPTED: State.ACCEPTED, Step.DELIVERED: State.COMPLETED}
"""Where the chain has a job that nobody began work on, by its step."""


@dataclass(frozen=True)
class Intake:
    """Sorts events for one oracle. ``job_events(job id)`` answers all events of a job up to the blocks read now."""

    journal: Journal
    escrow: str
    oracle: str
    take_open_jobs: bool

    def sorted(
        self, events: Iterable[Event], job_events: Callable[[int], list[Event]]
    ) -> tuple[list[Placement], list[News]]:
        """From events in chain order: jobs nobody began work on, where they are now, and news of the others."""
        telling = [event for event in events if event.address == self.escrow and _tells(event)]
        known = self.journal.known({event.job_id for event in telling})
        stories: dict[int, list[Event]] = {}
        news: list[News] = []
        for event in telling:
            if event.job_id in stories:
                stories[event.job_id].append(event)
            elif event.job_id in known:
                if event.name == "JobCreated":
                    continue  # read before
                if known[event.job_id]:
                    stories[event.job_id] = [event]
                else:
                    news.append(self._news(event))
            elif event.name == "JobCreated" and self._is_for_us(event):
                stories[event.job_id] = [event]
            elif self._is_by_us(event):  # an open job taken earlier, or its creation was lost
                stories[event.job_id] = job_events(event.job_id)
        rows = [row for job_id in stories if job_id in known and (row := self.journal.job(job_id)) is not None]
        placed = [*self._new(stories, known), *self._moved(stories, rows)]
        moved = {placement.job_id for placement in placed}
        news += [self._news(e) for row in rows if row.job_id not in moved for e in stories[row.job_id]]
        return placed, news

    def placement(self, row: JobRow, events: Iterable[Event]) -> Placement:
        """Where the chain has a known job, from all events about it."""
        history = replay(events)[row.job_id]
        return self._placement(history, row.block_hash, max(event.block for event in events))

    def _new(self, stories: dict[int, list[Event]], known: dict[int, bool]) -> Iterable[Placement]:
        for job_id, story in stories.items():
            if job_id not in known and (history := replay(story).get(job_id)) is not None:
                placed = story[-1].block if len(story) > 1 else None
                yield self._placement(history, story[0].block_hash, placed)

    def _moved(self, stories: dict[int, list[Event]], rows: list[JobRow]) -> Iterable[Placement]:
        for row in rows:
            if row.step not in _STATES:
                continue
            before = JobHistory(row.job_id, row.terms, row.block, _STATES[row.step], result=row.digest)
            history = replay(stories[row.job_id], [before])[row.job_id]
            if (self._step(history), history.terms) != (row.step, row.terms):
                yield self._placement(history, row.block_hash, stories[row.job_id][-1].block)

    def _placement(self, history: JobHistory, block_hash: bytes, placed: int | None) -> Placement:
        step = self._step(history)
        return Placement(
            job_id=history.job_id,
            terms=history.terms,
            block=history.created_block,
            block_hash=block_hash,
            step=step,
            reason=history.state.label if step == Step.CLOSED else "",
            digest=history.result if history.terms.oracle == self.oracle else None,
            placed=placed,
        )

    def _step(self, history: JobHistory) -> Step:
        if history.state in TERMINAL or history.terms.oracle not in (self.oracle, ZERO_ADDRESS):
            return Step.CLOSED
        if history.state in (State.COMPLETED, State.DISPUTED):
            return Step.DELIVERED
        return Step.ACCEPTED if history.state in TAKEN else Step.SEEN

    def _is_for_us(self, event: Event) -> bool:
        addressee = event.args["oracle"]
        return addressee == self.oracle or (addressee == ZERO_ADDRESS and self.take_open_jobs)

    def _is_by_us(self, event: Event) -> bool:
        by = event.args.get("oracle") if event.name == "JobDelivered" else event.args.get("actor")
        return event.name in ("JobDelivered", "JobStateChanged") and by == self.oracle

    def _news(self, event: Event) -> News:
        state = event.args.get("state")
        taken = event.name == "JobStateChanged" and state == State.ACCEPTED and event.args["actor"] != self.oracle
        return News(event.key, event.block, event.job_id, taken or state in TERMINAL)


def _tells(event: Event) -> bool:
    """Whether the event moves a job. Anybody can report progress, and evidence changes nothing."""
    if event.job_id is None or event.name == "JobEvidence":
        return False
    return event.name != "JobStateChanged" or not State.SIMULATED <= event.args["state"] <= State.RUNNING
