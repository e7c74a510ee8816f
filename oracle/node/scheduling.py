"""Which jobs to start now. Pure decisions: no clock, no files, no network.

Five kinds of work, in this order:

* **earned**: what brings in money or frees a bond already (seal, deliver, reject, fail);
* **away**: jobs that are to run, or run, at a provider. They need no worker and have time; a few at once, so that a
  provider that does not answer keeps nobody else waiting;
* **owed**: jobs accepted and not run yet. The earliest deadline first, whoever asked: only that order keeps the
  promise that accepting made;
* **delivered**: jobs to be settled once their challenge period is over. Many are looked at in vain and nothing is lost
  by looking later, so a few at once: however many there are, they keep nobody else waiting;
* **new**: jobs to look at and to accept. Requesters take turns, measured in the worker seconds they were given, and
  each one's jobs go by deadline. A requester with ten thousand jobs gets what one with a single job gets, as long as
  both have some.

A job is accepted only if everybody can still be served in time: in order of deadline, each job starts when the work
before it, shared by the workers, is done (Graham's bound for list scheduling), and has to end by its deadline less
the margin. If estimates are upper bounds, workers stay and memory suffices for one run on each, no job accepted is
late.

One payer with many addresses cannot be told from many payers, and gets as many turns.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from heapq import heapify, heappop, heappush

from oracle.jobs.errors import InputError
from oracle.node.journal import Step

# What a turn costs that takes no worker: the time of a transaction.
TURN_SECONDS = 0.05


class Kind(StrEnum):
    """What kind of work a job's next step is; see the module."""

    EARNED = "earned"
    AWAY = "away"
    OWED = "owed"
    DELIVERED = "delivered"
    NEW = "new"


KINDS = {
    Step.SEEN: Kind.NEW,
    Step.CHECKED: Kind.NEW,
    Step.ACCEPTED: Kind.OWED,
    Step.SIMULATED: Kind.AWAY,
    Step.SUBMITTED: Kind.AWAY,
    Step.RAN: Kind.EARNED,
    Step.SEALED: Kind.EARNED,
    Step.DELIVERED: Kind.DELIVERED,
    Step.DECLINING: Kind.EARNED,
}


class Why(StrEnum):
    """Why a job is not started now."""

    LATER = "waits_to_be_tried_again"
    NODE_FULL = "node_full"
    PROVIDER_BUSY = "provider_busy"
    OTHERS_SETTLE = "others_are_settled"
    REQUESTER_LIMIT = "requester_limit"
    WORKERS_BUSY = "workers_busy"
    NO_WORKERS = "no_workers"
    MEMORY = "memory_taken"
    QUEUE_FULL = "queue_full"
    OVERBOOKED = "others_would_be_late"
    TOO_LATE = "too_late"


@dataclass(frozen=True)
class Job:
    """A job with something left to do. Times are Unix seconds.

    ``deadline`` is when its delivery has to be on chain: ``deliver_by``, or ``accept_by`` for a job that is delivered
    without being accepted (which is owed, step ``ACCEPTED``, once it is taken). ``seconds`` and ``memory_bytes`` are
    upper guesses of its run; for a job not checked yet, what runs usually take. ``retry_at`` is when it may be tried
    next.
    """

    job_id: int
    requester: str
    step: Step
    deadline: float
    seconds: float = 0.0
    memory_bytes: int = 0
    retry_at: float = 0.0

    @property
    def kind(self) -> Kind:
        """The kind of its next step."""
        return KINDS[self.step]


@dataclass(frozen=True)
class SchedulingLimits:
    """How much at a time.

    ``in_flight`` bounds all jobs worked on, ``away`` those of them that talk to a provider, ``delivered`` those that
    wait to be settled; ``queue`` those accepted and not run; ``per_requester`` those of one requester that are new in
    flight or accepted and not run; ``memory_bytes`` what runs take together (0: no bound). ``ahead_seconds`` of work
    per worker are handed out beyond what runs, so that no worker waits for the next decision. ``margin_seconds`` are
    kept free before every deadline, for sealing and delivery.
    """

    in_flight: int = 64
    per_requester: int = 32
    queue: int = 1_000
    memory_bytes: int = 0
    ahead_seconds: float = 2.0
    margin_seconds: float = 60.0
    away: int = 2
    delivered: int = 2

    def __post_init__(self) -> None:
        for name in ("in_flight", "per_requester", "queue", "away", "delivered"):
            if getattr(self, name) < 1:
                raise InputError("must be more than zero", field=name)


@dataclass(frozen=True)
class Choice:
    """Ids of jobs to ``start``, most important first, and why every other one is ``waiting``."""

    start: list[int]
    waiting: dict[int, Why]

    def hopeless(self) -> list[int]:
        """Jobs that cannot be done in time any more, to be declined: failing one that is accepted, while there is
        time for that, frees its bond."""
        return [job_id for job_id, why in self.waiting.items() if why == Why.TOO_LATE]

    def reasons(self) -> Counter[Why]:
        """How many wait for each reason."""
        return Counter(self.waiting.values())


class Plan:
    """Owed work in order of deadline, shared by ``workers`` that first have ``running_seconds`` to finish together."""

    def __init__(
        self,
        owed: Iterable[tuple[float, float]],
        now: float,
        *,
        workers: int,
        running_seconds: float = 0.0,
        margin_seconds: float = 0.0,
    ):
        """``owed`` holds pairs of deadline and seconds."""
        self._owed = sorted(owed)
        self._start, self._workers = now + margin_seconds, workers
        self._running = running_seconds
        self._reckon()

    def __len__(self) -> int:
        return len(self._owed)

    def can_meet(self, deadline: float, seconds: float) -> bool:
        """Whether a job of ``seconds`` can be done by ``deadline`` and all owed ones still by theirs."""
        if self._workers < 1:
            return False
        # Among equal deadlines the order is open: the job counts as last for itself and as first for the others.
        last, first = bisect_right(self._owed, (deadline, math.inf)), bisect_left(self._owed, (deadline, -math.inf))
        in_time = self._start + self._ahead[last] / self._workers + seconds <= deadline
        return in_time and self._slack[first] >= seconds / self._workers

    def add(self, deadline: float, seconds: float) -> None:
        """Owe one more."""
        insort(self._owed, (deadline, seconds))
        self._reckon()

    def _reckon(self) -> None:
        """For every place: the work ahead of it, and by how much all from it on can be put off."""
        workers = max(1, self._workers)
        self._ahead, self._slack = [self._running], []
        for deadline, seconds in self._owed:
            self._slack.append(deadline - seconds - self._ahead[-1] / workers - self._start)
            self._ahead.append(self._ahead[-1] + seconds)
        self._slack.append(math.inf)
        for place in range(len(self._owed) - 1, -1, -1):
            self._slack[place] = min(self._slack[place], self._slack[place + 1])


class Scheduler:
    """Remembers how much each requester was given; everything else is told with each question."""

    def __init__(self, limits: SchedulingLimits):
        self._limits = limits
        self._given: dict[str, float] = {}

    def choose(self, jobs: Sequence[Job], in_flight: Mapping[int, Job], now: float, *, workers: int) -> Choice:
        """What to start of ``jobs``: all that were taken and are not in flight, also those to be tried later, and as
        many new ones as may be wanted. ``workers`` circuits run at a time.

        ``in_flight`` holds jobs being worked on as they were when started. A job started is expected back before it
        changes its kind, or is accepted: between looking at it, accepting it and running it there is a choice.
        """
        turn = _Turn(self._limits, jobs, in_flight.values(), now, workers)
        kinds: dict[Kind, list[Job]] = defaultdict(list)
        for job in jobs:
            if job.retry_at > now:
                turn.waiting[job.job_id] = Why.LATER
            else:
                kinds[job.kind].append(job)
        for job in sorted(kinds[Kind.EARNED], key=_by_deadline):
            turn.offer_earned(job)
        for job in sorted(kinds[Kind.AWAY], key=_by_deadline):
            turn.offer_away(job)
        for job in sorted(kinds[Kind.OWED], key=_by_deadline):
            turn.offer_owed(job)
        for job in sorted(kinds[Kind.DELIVERED], key=_by_deadline):
            turn.offer_delivered(job)
        for job in self._by_turns(kinds[Kind.NEW], turn.held):
            if turn.offer_new(job):
                self._given[job.requester] += _price(job)
        return Choice(turn.start, turn.waiting)

    def _by_turns(self, jobs: list[Job], held: Mapping[str, int]) -> Iterator[Job]:
        """``jobs``, the next one always from whoever was given least; among equals, from whoever asked first."""
        queues: dict[str, list[Job]] = defaultdict(list)
        for job in sorted(jobs, key=_by_deadline, reverse=True):
            queues[job.requester].append(job)
        self._level(queues.keys() | held.keys())
        order = [(self._given[name], min(job.job_id for job in queue), name) for name, queue in queues.items()]
        heapify(order)
        while order:
            _, asked, name = heappop(order)
            yield queues[name].pop()
            if queues[name]:
                heappush(order, (self._given[name], asked, name))

    def _level(self, here: Iterable[str]) -> None:
        """Nobody saves up turns: who comes back is level with whoever was given least of those ``here``."""
        given = {name: self._given.get(name) for name in here}
        floor = min((amount for amount in given.values() if amount is not None), default=0.0)
        ahead = {name: amount for name, amount in self._given.items() if amount > floor}
        self._given = {**ahead, **{name: max(floor, amount or floor) for name, amount in given.items()}}


class _Turn:
    """One question: what is taken so far, and what still fits. ``held`` counts what each requester has taken up."""

    def __init__(
        self, limits: SchedulingLimits, jobs: Iterable[Job], in_flight: Iterable[Job], now: float, workers: int
    ):
        self.start: list[int] = []
        self.waiting: dict[int, Why] = {}
        self._limits, self._now, self._workers = limits, now, workers
        flying = list(in_flight)
        runs = [job for job in flying if job.kind == Kind.OWED]
        owed = [job for job in jobs if job.kind == Kind.OWED]
        accepting = [job for job in flying if job.step == Step.CHECKED]
        self.held = Counter(job.requester for job in (*owed, *flying) if job.kind in (Kind.OWED, Kind.NEW))
        self._flying, self._runs = len(flying), len(runs)
        self._away = sum(job.kind == Kind.AWAY for job in flying)
        self._delivered = sum(job.kind == Kind.DELIVERED for job in flying)
        self._run_seconds = sum(job.seconds for job in runs)
        self._run_memory = sum(job.memory_bytes for job in runs)
        self._run_blocked: Why | None = None
        self._owed = {job.job_id: job for job in (*owed, *accepting)}

    @cached_property
    def _plan(self) -> Plan:
        """What is owed behind the runs handed out: made when the first new job asks, after the owed ones."""
        return Plan(
            [(job.deadline, job.seconds) for job in self._owed.values()],
            self._now,
            workers=self._workers,
            running_seconds=self._run_seconds,
            margin_seconds=self._limits.margin_seconds,
        )

    def offer_earned(self, job: Job) -> None:
        self._answer(job, Why.NODE_FULL if self._flying >= self._limits.in_flight else None)

    def offer_away(self, job: Job) -> None:
        busy = Why.PROVIDER_BUSY if self._away >= self._limits.away else None
        if self._answer(job, busy or (None if self._has_room() else Why.NODE_FULL)):
            self._away += 1

    def offer_owed(self, job: Job) -> None:
        if self._now + job.seconds > job.deadline:
            self._answer(job, Why.TOO_LATE)
            return
        # Once one has to wait, so do all after it: small jobs that slip past a large one may do so for ever.
        self._run_blocked = self._run_blocked or self._run_objection(job)
        if self._answer(job, self._run_blocked):
            del self._owed[job.job_id]
            self._runs += 1
            self._run_seconds += job.seconds
            self._run_memory += job.memory_bytes

    def offer_delivered(self, job: Job) -> None:
        busy = Why.OTHERS_SETTLE if self._delivered >= self._limits.delivered else None
        if self._answer(job, busy or (None if self._has_room() else Why.NODE_FULL)):
            self._delivered += 1

    def offer_new(self, job: Job) -> bool:
        taken = self._answer(job, self._new_objection(job))
        if taken:
            self.held[job.requester] += 1
            if job.step == Step.CHECKED:
                self._plan.add(job.deadline, job.seconds)
        return taken

    def _answer(self, job: Job, why: Why | None) -> bool:
        if why is not None:
            self.waiting[job.job_id] = why
            return False
        self.start.append(job.job_id)
        self._flying += 1
        return True

    def _run_objection(self, job: Job) -> Why | None:
        limits = self._limits
        if self._workers < 1:
            return Why.NO_WORKERS
        if self._runs >= self._workers and self._run_seconds >= limits.ahead_seconds * self._workers:
            return Why.WORKERS_BUSY
        if not self._has_room():
            return Why.NODE_FULL
        # One that is larger than the bound is tried alone: its size is a guess.
        if limits.memory_bytes and self._runs and self._run_memory + job.memory_bytes > limits.memory_bytes:
            return Why.MEMORY
        return None

    def _new_objection(self, job: Job) -> Why | None:
        limits = self._limits
        if self._now + job.seconds + limits.margin_seconds > job.deadline:
            return Why.TOO_LATE
        if not self._has_room():
            return Why.NODE_FULL
        if self._workers < 1:
            return Why.NO_WORKERS
        if len(self._plan) >= limits.queue:
            return Why.QUEUE_FULL
        if self.held[job.requester] >= limits.per_requester:
            return Why.REQUESTER_LIMIT
        return None if self._plan.can_meet(job.deadline, job.seconds) else Why.OVERBOOKED

    def _has_room(self) -> bool:
        """One place is kept for what is earned."""
        return self._flying < max(1, self._limits.in_flight - 1)


def _price(job: Job) -> float:
    """What taking up a new job counts against its requester, in worker seconds."""
    return TURN_SECONDS if job.step == Step.SEEN else max(job.seconds, TURN_SECONDS)


def _by_deadline(job: Job) -> tuple[float, int]:
    return job.deadline, job.job_id
