"""Which jobs start: fairness, order, limits, and promises that are kept."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.jobs.errors import InputError
from oracle.node.journal import ACTIVE, Step
from oracle.node.scheduling import KINDS, Job, Kind, Plan, Scheduler, SchedulingLimits, Why

NOW = 1_000.0
FAR = NOW + 10_000
ROOMY = SchedulingLimits(margin_seconds=0)


def job(job_id: int, step: Step = Step.CHECKED, **changes: object) -> Job:
    return replace(Job(job_id, "alice", step, FAR, seconds=1.0), **changes)


def choose(*jobs: Job, limits: SchedulingLimits = ROOMY, in_flight: tuple[Job, ...] = (), workers: int = 2):
    return Scheduler(limits).choose(jobs, {flying.job_id: flying for flying in in_flight}, NOW, workers=workers)


def test_kinds__every_step_that_leaves_something_to_do__has_one() -> None:
    assert set(KINDS) == set(ACTIVE)


# -------------------------------------------------------------------------------------------------- order


def test_choose__all_kinds__earned_then_owed_then_new() -> None:
    jobs = [job(1, Step.SEEN), job(2, Step.ACCEPTED), job(3, Step.SEALED), job(4), job(5, Step.DECLINING)]
    assert choose(*jobs).start == [3, 5, 2, 1, 4]


def test_choose__jobs_at_a_provider__need_no_worker_and_are_few_at_once() -> None:
    away = [job(n, Step.SUBMITTED, deadline=FAR + n) for n in range(1, 4)]
    busy = (job(8, Step.ACCEPTED, seconds=100.0), job(9, Step.ACCEPTED, seconds=100.0))
    choice = choose(*away, job(5, Step.SEALED), in_flight=busy, workers=2)
    assert choice.start == [5, 1, 2]
    assert choice.waiting == {3: Why.PROVIDER_BUSY}


def test_choose__many_delivered_jobs__are_few_at_once_and_keep_nobody_waiting() -> None:
    delivered = [job(n, Step.DELIVERED, deadline=NOW + n) for n in range(1, 30)]
    limits = replace(ROOMY, in_flight=6)
    choice = choose(*delivered, job(50), job(51, Step.RAN), job(52, Step.ACCEPTED), limits=limits)
    assert choice.start == [51, 52, 1, 2, 50]
    assert set(choice.waiting.values()) == {Why.OTHERS_SETTLE}
    assert choose(*delivered, limits=limits, in_flight=(job(60, Step.DELIVERED),)).start == [1]


def test_choose__owed_jobs_of_several__the_earliest_deadline_runs_first() -> None:
    owed = [job(n, Step.ACCEPTED, requester=who, deadline=NOW + due) for n, who, due in
            ((1, "alice", 30), (2, "bob", 20), (3, "alice", 10), (4, "carol", 40))]  # fmt: skip
    choice = choose(*owed, workers=2, limits=replace(ROOMY, ahead_seconds=0))
    assert choice.start == [3, 2]
    assert choice.waiting == {1: Why.WORKERS_BUSY, 4: Why.WORKERS_BUSY}


def test_choose__new_jobs_of_one_requester__by_deadline() -> None:
    jobs = [job(n, deadline=FAR + due) for n, due in ((1, 3), (2, 1), (3, 2))]
    assert choose(*jobs).start == [2, 3, 1]


def test_choose__ten_thousand_jobs_of_one__others_take_turns_with_it() -> None:
    flood = [job(n) for n in range(10_000)]
    others = [job(20_000, requester="bob"), job(20_001, requester="carol")]
    choice = choose(*flood, *others, limits=replace(ROOMY, in_flight=6))
    assert choice.start == [0, 20_000, 20_001, 1, 2]


def test_choose__dear_jobs_and_cheap_ones__turns_are_measured_in_worker_seconds() -> None:
    dear = [job(n, seconds=10.0) for n in range(10)]
    cheap = [job(n, requester="bob", seconds=1.0) for n in range(100, 130)]
    limits = replace(ROOMY, in_flight=23)
    started = Counter("dear" if number < 100 else "cheap" for number in choose(*dear, *cheap, limits=limits).start)
    assert started == {"dear": 2, "cheap": 20}


def test_choose__newcomer_after_a_long_absence__gets_one_turn_and_not_all() -> None:
    scheduler, limit = Scheduler(replace(ROOMY, in_flight=2)), {}
    for n in range(50):
        assert scheduler.choose([job(n)], limit, NOW, workers=2).start == [n]
    both = [job(n) for n in range(50, 60)] + [job(n, requester="bob") for n in range(60, 70)]
    order = []
    for _ in range(10):
        order += scheduler.choose([j for j in both if j.job_id not in order], limit, NOW, workers=2).start
    assert Counter(number >= 60 for number in order) == {True: 5, False: 5}


# -------------------------------------------------------------------------------------------------- reasons


@pytest.mark.parametrize(
    ("candidate", "changes", "why"),
    [
        (job(1, retry_at=NOW + 1), {}, Why.LATER),
        (job(1), {"limits": replace(ROOMY, in_flight=3), "in_flight": (job(8), job(9))}, Why.NODE_FULL),
        (job(1, Step.SEALED), {"limits": replace(ROOMY, in_flight=2), "in_flight": (job(8), job(9))}, Why.NODE_FULL),
        (job(1), {"limits": replace(ROOMY, per_requester=1), "in_flight": (job(8, Step.ACCEPTED),)},
         Why.REQUESTER_LIMIT),
        (job(1), {"limits": replace(ROOMY, queue=1), "in_flight": (job(8, requester="bob"),)}, Why.QUEUE_FULL),
        (job(1, Step.SUBMITTED), {"limits": replace(ROOMY, away=1), "in_flight": (job(8, Step.SIMULATED),)},
         Why.PROVIDER_BUSY),
        (job(1, Step.SIMULATED), {"limits": replace(ROOMY, in_flight=3), "in_flight": (job(8), job(9))}, Why.NODE_FULL),
        (job(1), {"workers": 0}, Why.NO_WORKERS),
        (job(1, Step.ACCEPTED), {"workers": 0}, Why.NO_WORKERS),
        (job(1, deadline=NOW + 60, seconds=1), {"limits": replace(ROOMY, margin_seconds=60)}, Why.TOO_LATE),
        (job(1, Step.ACCEPTED, deadline=NOW + 1, seconds=2), {}, Why.TOO_LATE),
        (job(1, deadline=NOW + 10, seconds=2), {"in_flight": (job(8, Step.ACCEPTED, seconds=17),)}, Why.OVERBOOKED),
        (job(1, Step.ACCEPTED, memory_bytes=5),
         {"limits": replace(ROOMY, memory_bytes=8), "in_flight": (job(8, Step.ACCEPTED, memory_bytes=4),)}, Why.MEMORY),
    ],
)  # fmt: skip
def test_choose__job_that_has_to_wait__says_why(candidate: Job, changes: dict, why: Why) -> None:
    choice = choose(candidate, **changes)
    assert choice.start == [] and choice.waiting == {1: why} and choice.reasons() == {why: 1}
    assert choice.hopeless() == ([1] if why == Why.TOO_LATE else [])


def test_choose__node_full_of_new_jobs__one_place_is_left_for_what_is_earned() -> None:
    limits = replace(ROOMY, in_flight=3)
    assert choose(*(job(n) for n in range(9)), limits=limits).start == [0, 1]
    assert choose(job(9, Step.SEALED), limits=limits, in_flight=(job(1), job(2))).start == [9]


def test_choose__owed_job_too_large_for_now__smaller_ones_do_not_slip_past() -> None:
    large = job(1, Step.ACCEPTED, deadline=NOW + 100, memory_bytes=7)
    small = job(2, Step.ACCEPTED, deadline=NOW + 200, memory_bytes=1)
    limits = replace(ROOMY, memory_bytes=8)
    busy = job(3, Step.ACCEPTED, memory_bytes=4)
    assert choose(large, small, limits=limits, in_flight=(busy,)).start == []
    assert choose(large, small, limits=limits).start == [1, 2]


def test_choose__owed_job_larger_than_all_memory__runs_alone() -> None:
    limits = replace(ROOMY, memory_bytes=8)
    choice = choose(job(1, Step.ACCEPTED, memory_bytes=99), job(2, Step.ACCEPTED), limits=limits)
    assert choice.start == [1] and choice.waiting == {2: Why.MEMORY}


def test_choose__short_runs__are_handed_out_ahead_of_the_workers() -> None:
    owed = [job(n, Step.ACCEPTED, seconds=0.1) for n in range(100)]
    assert len(choose(*owed, workers=2, limits=replace(ROOMY, ahead_seconds=2.0)).start) == 40
    long = [job(n, Step.ACCEPTED, seconds=90) for n in range(100)]
    assert len(choose(*long, workers=2, limits=replace(ROOMY, ahead_seconds=2.0)).start) == 2


@pytest.mark.parametrize("name", ["in_flight", "per_requester", "queue"])
def test_limits__of_nothing__are_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        SchedulingLimits(**{name: 0})
    assert caught.value.field == name


# ------------------------------------------------------------------------------------------------- can meet


@pytest.mark.parametrize(
    ("owed", "workers", "deadline", "seconds", "possible"),
    [
        ([], 1, 10, 10, True),
        ([], 1, 10, 11, False),
        ([], 0, 10, 1, False),
        ([(5, 5)], 1, 10, 5, True),
        ([(5, 5)], 1, 10, 6, False),
        ([(5, 5), (5, 5)], 2, 10, 5, True),
        ([(20, 15)], 1, 10, 5, True),  # before the other, which can wait
        ([(20, 16)], 1, 10, 5, False),  # before the other, which cannot
        ([(10, 5)], 1, 10, 5, True),
        ([(10, 5)], 1, 10, 6, False),
    ],
)
def test_can_meet__work_owed__counts_what_is_ahead_and_what_it_delays(
    owed: list[tuple[float, float]], workers: int, deadline: float, seconds: float, possible: bool
) -> None:
    assert Plan(owed, 0, workers=workers).can_meet(deadline, seconds) is possible


def test_can_meet__margin_and_running_work__come_off_the_time_there_is() -> None:
    plan = Plan([], 0, workers=2, running_seconds=4, margin_seconds=3)
    assert plan.can_meet(10, 5) and not plan.can_meet(10, 5.1)


work = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20)), max_size=12)


@given(work, st.tuples(st.integers(1, 60), st.integers(1, 20)), st.integers(1, 4))
@settings(deadline=None)
def test_can_meet__any_work__agrees_with_the_schedule_written_out(
    owed: list[tuple[int, int]], new: tuple[int, int], workers: int
) -> None:
    plan = Plan([], 0, workers=workers)
    for deadline, seconds in owed:
        if plan.can_meet(deadline, seconds):
            before = list(plan._owed)
            plan.add(deadline, seconds)
            assert len(plan) == len(before) + 1
    if plan.can_meet(*new):
        for order in ([*plan._owed, new], [new, *plan._owed]):  # equal deadlines: either way
            free = [0.0] * workers
            for deadline, seconds in sorted(order, key=lambda item: item[0]):
                free.sort()
                free[0] += seconds
                assert free[0] <= deadline


# ----------------------------------------------------------------------------------------------- properties


requesters = st.sampled_from(["alice", "bob", "carol", "dave"])
steps = st.sampled_from(ACTIVE)


@st.composite
def job_lists(draw, first: int = 0, most: int = 25):
    rows = draw(
        st.lists(
            st.tuples(requesters, steps, st.integers(-5, 200), st.integers(0, 20), st.integers(0, 5), st.booleans()),
            max_size=most,
        )
    )
    return [
        Job(first + n, who, step, NOW + due, seconds, memory, NOW + 5 if later else 0.0)
        for n, (who, step, due, seconds, memory, later) in enumerate(rows)
    ]


limit_sets = st.builds(
    SchedulingLimits,
    in_flight=st.integers(1, 12),
    per_requester=st.integers(1, 5),
    queue=st.integers(1, 8),
    memory_bytes=st.integers(0, 10),
    ahead_seconds=st.integers(0, 10),
    margin_seconds=st.integers(0, 10),
)


@given(job_lists(), job_lists(first=1000, most=6), limit_sets, st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_choose__anything__stays_within_limits_and_accounts_for_every_job(
    jobs: list[Job], flying: list[Job], limits: SchedulingLimits, workers: int
) -> None:
    in_flight = {j.job_id: j for j in flying}
    choice = Scheduler(limits).choose(jobs, in_flight, NOW, workers=workers)
    by_id = {j.job_id: j for j in jobs}
    assert sorted([*choice.start, *choice.waiting]) == sorted(by_id)
    started = [by_id[number] for number in choice.start]
    assert [list(Kind).index(j.kind) for j in started] == sorted(list(Kind).index(j.kind) for j in started)
    assert len(started) <= max(0, limits.in_flight - len(flying))
    new = [j for j in started if j.kind == Kind.NEW]
    owed = [j for j in jobs if j.kind == Kind.OWED]
    accepting = [j for j in (*flying, *new) if j.step == Step.CHECKED]
    if any(j.step == Step.CHECKED for j in new):
        queued = [j for j in owed if j.job_id in choice.waiting]
        assert len(queued) + len(accepting) <= limits.queue
    held = Counter(j.requester for j in (*owed, *flying, *new) if j.kind in (Kind.OWED, Kind.NEW))
    assert all(held[j.requester] <= limits.per_requester for j in new)
    assert all(j.retry_at <= NOW for j in started)
    for kind, most in ((Kind.AWAY, limits.away), (Kind.DELIVERED, limits.delivered)):
        assert not any(j.kind == kind for j in started) or sum(j.kind == kind for j in (*flying, *started)) <= most
    runs = [j for j in started if j.kind == Kind.OWED]
    before = [j for j in flying if j.kind == Kind.OWED]
    if runs and limits.memory_bytes and len(before) + len(runs) > 1:
        assert sum(j.memory_bytes for j in (*before, *runs)) <= limits.memory_bytes
    busy = [*before, *runs[:-1]]
    if runs and workers <= len(busy):
        assert sum(j.seconds for j in busy) < limits.ahead_seconds * workers
    for kind in (Kind.EARNED, Kind.OWED):
        due = [j.deadline for j in started if j.kind == kind]
        assert due == sorted(due)
    for who in {j.requester for j in new}:
        due = [j.deadline for j in new if j.requester == who]
        assert due == sorted(due)


@given(job_lists(), limit_sets, st.integers(0, 4), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_choose__same_question_in_another_order__same_answer(
    jobs: list[Job], limits: SchedulingLimits, workers: int, shuffler: random.Random
) -> None:
    first = Scheduler(limits).choose(jobs, {}, NOW, workers=workers)
    shuffler.shuffle(jobs)
    again = Scheduler(limits).choose(jobs, {}, NOW, workers=workers)
    assert (first.start, first.waiting) == (again.start, again.waiting)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=9), st.integers(2, 5))
@settings(deadline=None)
def test_choose__requesters_with_any_backlog__each_is_served_within_one_round_of_turns(
    backlogs: list[int], in_flight: int
) -> None:
    scheduler = Scheduler(SchedulingLimits(in_flight=in_flight, per_requester=100, margin_seconds=0))
    left = {
        1000 * who + n: job(1000 * who + n, requester=str(who))
        for who, backlog in enumerate(backlogs)
        for n in range(backlog)
    }
    served: list[str] = []
    while left:
        started = scheduler.choose(list(left.values()), {}, NOW, workers=2).start
        assert started
        served += [left.pop(number).requester for number in started]
    for who, backlog in enumerate(backlogs):
        turns = [place for place, name in enumerate(served) if name == str(who)]
        gaps = [later - earlier for earlier, later in zip([-1, *turns], turns, strict=False)]
        assert len(turns) == backlog and max(gaps) <= len(backlogs)


arrivals = st.lists(
    st.tuples(requesters, st.integers(0, 40), st.integers(1, 60), st.integers(1, 12), st.integers(0, 12)), max_size=25
)


@given(arrivals, st.integers(1, 3), st.integers(0, 6))
@settings(max_examples=200, deadline=None)
def test_choose__runs_no_longer_than_expected__every_job_accepted_is_in_time(
    rows: list[tuple[str, int, int, int, int]], workers: int, ahead: int
) -> None:
    """Seconds pass one by one; jobs come, are accepted, run first come first served, and end early or in time."""
    scheduler = Scheduler(SchedulingLimits(per_requester=100, ahead_seconds=ahead, margin_seconds=0))
    coming = {n: Job(n, who, Step.CHECKED, at + due, seconds) for n, (who, at, due, seconds, _) in enumerate(rows)}
    arrival = {n: row[1] for n, row in enumerate(rows)}
    needs = {n: min(row[3], row[4]) for n, row in enumerate(rows)}
    owed: dict[int, Job] = {}
    handed: deque[int] = deque()
    running: dict[int, int] = {}  # job to when it ends
    flying: dict[int, Job] = {}
    ended: dict[int, int] = {}
    accepted: set[int] = set()
    for now in range(130):
        progress = True
        while progress:
            for number in [n for n, end in running.items() if end <= now]:
                ended[number] = running.pop(number)
                del flying[number]
            here = [j for n, j in coming.items() if arrival[n] <= now]
            started = scheduler.choose([*owed.values(), *here], flying, now, workers=workers).start
            for number in started:
                if number in owed:
                    flying[number] = owed.pop(number)
                    handed.append(number)
                else:
                    owed[number] = replace(coming.pop(number), step=Step.ACCEPTED)
                    accepted.add(number)
            while handed and len(running) < workers:
                number = handed.popleft()
                running[number] = now + needs[number]
            progress = bool(started) or any(end <= now for end in running.values())
    assert set(ended) == accepted
    for number in accepted:
        assert ended[number] <= rows[number][1] + rows[number][2]
