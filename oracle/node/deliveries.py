"""Posting sealed results: one transaction for all that are ready, smaller ones if something spoils the batch.

A transaction's purpose names its jobs, so a restarted node knows from its outbox what may still be mined. The
contract skips what can no longer be delivered, so a job that turns up in two batches is delivered once.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Protocol

from oracle.chain.contracts import Call, Delivery
from oracle.chain.events import decode_log
from oracle.chain.failures import Reverted
from oracle.chain.sender import MinedButReverted, Receipt, TooManyInFlight
from oracle.jobs.canonical import digest
from oracle.jobs.errors import ChainError, ChainUnavailable
from oracle.jobs.states import State
from oracle.node.journal import Forgotten, JobRow, Step, is_due
from oracle.node.pipeline import Report, Tools
from oracle.node.purposes import action_of, is_about, job_ids, purpose_of

NUDGE_SECONDS = 10.0


class Worker(Protocol):
    """Who works on the jobs between, and says where one is that cannot be sent: :class:`Pipeline`, for example."""

    report: Report

    def as_on_chain(self, job: JobRow, why: str, *, too_late: bool = False) -> JobRow:
        """Put ``job`` where the chain says it is."""

    def postpone(self, job: JobRow, why: str) -> JobRow:
        """Try the job's step again later."""


class Deliveries:
    """Takes jobs from SEALED to DELIVERED, or to CLOSED if the delivery settled at once."""

    action = "deliver"

    def __init__(self, tools: Tools, pipeline: Worker):
        self._t = tools
        self._pipeline = pipeline
        self._ready_since: dict[int, float] = {}
        attempts = tools.journal.open_attempts(tools.sender.address)
        self._watched = {attempt.purpose for attempt in attempts if action_of(attempt.purpose) == self.action}
        self._nudged: dict[str, float] = {}

    def run_once(self, *, idle: bool) -> None:
        """Follow what was sent and send what is ready; ``idle`` says that nothing more will be ready soon.

        Raises :class:`ChainUnavailable`; everything else wrong ends up in the journal.
        """
        under_way = self._follow()
        now = time.time()
        sealed = self._t.journal.jobs((Step.SEALED,))
        ready = [job for job in sealed if job.job_id not in under_way and is_due(job.retry_at, now)]
        self._ready_since = {job.job_id: self._ready_since.get(job.job_id, now) for job in ready}
        size = self._t.config.batch_size
        for first in range(0, len(ready), size):
            batch = ready[first : first + size]
            waited = now - min(self._ready_since[job.job_id] for job in batch)
            if idle or len(batch) == size or waited >= self._t.config.batch_delay_seconds:
                self._send(batch)

    # ------------------------------------------------------------------------------------------ sending

    def _send(self, batch: list[JobRow]) -> None:
        try:
            purpose = purpose_of(self.action, batch)
            self._t.sender.start(self._call(batch), purpose)
            self._watched.add(purpose)
        except TooManyInFlight:
            return  # the next tick tries again
        except ChainUnavailable:
            raise
        except ChainError as err:
            if len(batch) > 1:  # one of them is at fault: halve until it is alone
                middle = len(batch) // 2
                self._send(batch[:middle])
                self._send(batch[middle:])
            elif isinstance(err, Reverted):
                self._pipeline.as_on_chain(batch[0], str(err), too_late=err.name == "TooLate")
            else:
                self._pipeline.postpone(batch[0], str(err))

    def _call(self, batch: list[JobRow]) -> Call:
        escrow = self._t.chain.escrow
        items = [Delivery(job.job_id, job.terms, _charge(job), digest(job.sealed or b"")) for job in batch]
        return escrow.deliver(*items[0][:4]) if len(items) == 1 else escrow.deliver_batch(items)

    # ---------------------------------------------------------------------------------------- following

    def _follow(self) -> set[int]:
        """Learn what became of the transactions sent; returns the jobs whose delivery may still be mined."""
        under_way: set[int] = set()
        for purpose in sorted(self._watched):
            try:
                receipt = self._t.sender.outcome(purpose)
            except MinedButReverted as err:
                self._conclude(purpose, set(), str(err))
                continue
            if receipt is None:
                under_way |= set(job_ids(purpose))
                self._nudge(purpose)
            else:
                self._conclude(purpose, self._included(receipt), "the batch left it out")
        return under_way

    def _nudge(self, purpose: str) -> None:
        """Once in a while, start again what another transaction may have overtaken; harmless if it is under way."""
        now = time.monotonic()
        if now - self._nudged.setdefault(purpose, now) < NUDGE_SECONDS:
            return
        self._nudged[purpose] = now
        jobs = [self._t.journal.job(job_id) for job_id in job_ids(purpose)]
        batch = [job for job in jobs if job is not None and job.step == Step.SEALED and is_about(purpose, job)]
        with suppress(ChainError):  # it can still be mined, or will be seen to be lost
            self._t.sender.start(self._call(batch), purpose)

    def _conclude(self, purpose: str, delivered: set[int], otherwise: str) -> None:
        """Write what a mined transaction did to each of its jobs."""
        rows = [self._t.journal.job(job_id) for job_id in job_ids(purpose)]
        jobs = [job for job in rows if job is not None and job.step == Step.SEALED and is_about(purpose, job)]
        with self._t.journal.together():
            for job in jobs:
                if job.job_id in delivered:
                    with suppress(Forgotten):
                        self._advance(job)
        for job in jobs:
            if job.job_id not in delivered:
                with suppress(Forgotten):
                    self._pipeline.as_on_chain(job, otherwise)
        self._watched.discard(purpose)
        self._nudged.pop(purpose, None)

    def _advance(self, job: JobRow) -> None:
        step, reason = (Step.DELIVERED, "") if job.terms.challenge_period else (Step.CLOSED, State.SETTLED.label)
        self._t.journal.advance(job, step, reason=reason)
        self._pipeline.report(job.job_id, step, reason)

    def _included(self, receipt: Receipt) -> set[int]:
        """The jobs to which a mined transaction did what it was for."""
        return jobs_of(receipt, "JobDelivered")


def _charge(job: JobRow) -> int:
    return json.loads(job.result or "")["charge"]


def jobs_of(receipt: Receipt, name: str) -> set[int]:
    """The jobs about which the transaction emitted the event ``name``."""
    events = [event for event in map(decode_log, receipt.logs) if event is not None]
    return {event.job_id for event in events if event.name == name}
