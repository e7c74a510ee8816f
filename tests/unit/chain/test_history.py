"""The real contracts, one job per ending; what :func:`replay` makes of the events must equal the contracts' views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from oracle.chain.history import JobHistory, fetch_job, replay
from oracle.jobs.errors import InputError
from oracle.jobs.states import State, Tier
from oracle.jobs.terms import ZERO_ADDRESS, Terms

RESULT = b"\x77" * 32
CHARGE = 400_000
EXTRA = 30_000
FEE = 50_000
BOND = 1_000
METHOD = 1  # Replayed
DAY = 24 * 3600


class Story:
    """One job on the way to its end, with the calls the wrappers do not have yet."""

    def __init__(self, world, **changes):
        self.world, self.escrow = world, world.client.escrow
        self.job_id, self.terms = world.create(**changes)

    def does(self, who: str, name: str, *args, value: int = 0) -> Story:
        self.world.send(who, self.escrow._call(name, name, self.job_id, self.terms.to_abi(), *args, value=value))
        if name == "accept" and self.terms.is_open:
            self.terms = self.terms.taken_by(self.world.address(who))
        if name == "promote":
            self.terms = self.terms.promoted_to(self.terms.budget + value)
        return self

    def reports(self, who: str, *states: State) -> Story:
        self.world.send(who, self.escrow.report([(self.job_id, state, b"\0" * 32) for state in states]))
        return self

    def waits(self, seconds: int) -> Story:
        self.world.wait(seconds)
        return self

    def verdict(self, accepted: bool) -> tuple:
        """An attestation on :data:`RESULT`, signed by the validator."""
        blank = (accepted, METHOD, 0, b"\x99" * 32, b"")
        digest = self.escrow._read("attestationDigest", self.job_id, self.terms.to_abi(), RESULT, blank)
        signature = self.world.senders["validator"].account.unsafe_sign_hash(digest).signature
        return (*blank[:4], bytes(signature))


def judged(world, **changes) -> Story:
    parties = {"validator": world.address("validator"), "arbiter": world.address("arbiter")}
    return Story(world, **{**parties, "challenge_period": DAY, "validator_fee": FEE, "bond": BOND, **changes})


def delivered(story: Story) -> Story:
    return story.does("oracle", "accept").does("oracle", "deliver", CHARGE, RESULT)


def _open_job(world) -> Story:
    story = Story(world, oracle=ZERO_ADDRESS, bond=BOND)
    story.reports("oracle", State.SIMULATED).does("oracle", "accept")
    story.reports("oracle", State.SIMULATED, State.RUNNING).reports("stranger", State.APPROVED)
    return story.does("oracle", "deliver", CHARGE, RESULT)


def _attested(world) -> Story:
    story = judged(world).does("oracle", "accept")
    return story.does("oracle", "deliverAttested", CHARGE, RESULT, story.verdict(True))


def _validated(world, accepted: bool, **changes) -> Story:
    story = delivered(judged(world, **changes))
    return story.does("stranger", "validate", story.verdict(accepted))


def _promoted(world) -> Story:
    story = Story(world, bond=BOND).does("oracle", "accept")
    return story.does("requester", "promote", EXTRA, b"\x66" * 32, value=EXTRA)


def _disputed(world, who: str = "requester") -> Story:
    return delivered(judged(world)).does(who, "dispute", b"\x88" * 32, value=BOND)


ENDINGS: dict[str, tuple[Callable[..., Story], State, Tier]] = {
    "created": (lambda w: Story(w), State.CREATED, Tier.UNVERIFIED),
    "cancelled": (lambda w: Story(w).does("requester", "cancel"), State.CANCELLED, Tier.UNVERIFIED),
    "declined": (
        lambda w: Story(w).does("oracle", "reject", b"busy".ljust(32, b"\0")),
        State.REJECTED,
        Tier.UNVERIFIED,
    ),
    "not accepted": (lambda w: Story(w).waits(3601).does("stranger", "claimRefund"), State.EXPIRED, Tier.UNVERIFIED),
    "accepted": (lambda w: Story(w, bond=BOND).does("oracle", "accept"), State.ACCEPTED, Tier.UNVERIFIED),
    "promoted": (_promoted, State.APPROVED, Tier.UNVERIFIED),
    "promoted and delivered": (
        lambda w: _promoted(w).does("oracle", "deliver", CHARGE + EXTRA, RESULT),
        State.SETTLED,
        Tier.UNVERIFIED,
    ),
    "promoted and given up": (
        lambda w: _promoted(w).does("oracle", "fail", b"broken".ljust(32, b"\0")),
        State.FAILED,
        Tier.UNVERIFIED,
    ),
    "promoted and not delivered": (
        lambda w: _promoted(w).waits(7201).does("stranger", "claimRefund"),
        State.EXPIRED,
        Tier.UNVERIFIED,
    ),
    "not delivered": (
        lambda w: Story(w, bond=BOND).does("oracle", "accept").waits(7201).does("stranger", "claimRefund"),
        State.EXPIRED,
        Tier.UNVERIFIED,
    ),
    "given up": (
        lambda w: Story(w, bond=BOND).does("oracle", "accept").does("oracle", "fail", b"broken".ljust(32, b"\0")),
        State.FAILED,
        Tier.UNVERIFIED,
    ),
    "delivered at once": (lambda w: Story(w).does("oracle", "deliver", CHARGE, RESULT), State.SETTLED, Tier.UNVERIFIED),
    "open job": (_open_job, State.SETTLED, Tier.UNVERIFIED),
    "delivered with attestation": (_attested, State.SETTLED, Tier.REPLAYED),
    "waiting for a verdict": (lambda w: delivered(judged(w)), State.COMPLETED, Tier.UNVERIFIED),
    "accepted by the validator": (lambda w: _validated(w, True), State.SETTLED, Tier.REPLAYED),
    "rejected for good": (lambda w: _validated(w, False, arbiter=ZERO_ADDRESS), State.REJECTED, Tier.REPLAYED),
    "rejected, not answered yet": (lambda w: _validated(w, False), State.COMPLETED, Tier.UNVERIFIED),
    "rejected, never answered": (
        lambda w: _validated(w, False).waits(DAY + 1).does("stranger", "settle"),
        State.REJECTED,
        Tier.REPLAYED,
    ),
    "silence": (
        lambda w: delivered(judged(w)).waits(DAY + 1).does("stranger", "settle"),
        State.SETTLED,
        Tier.UNCHALLENGED,
    ),
    "disputed": (_disputed, State.DISPUTED, Tier.UNVERIFIED),
    "ruled for the oracle": (lambda w: _disputed(w).does("arbiter", "rule", 10_000), State.SETTLED, Tier.RULED),
    "ruled for the requester": (lambda w: _disputed(w).does("arbiter", "rule", 0), State.REJECTED, Tier.RULED),
    "ruled in between": (lambda w: _disputed(w).does("arbiter", "rule", 2_500), State.SETTLED, Tier.RULED),
    "oracle disputes a rejection and wins": (
        lambda w: (
            _validated(w, False).does("oracle", "dispute", b"\x88" * 32, value=BOND).does("arbiter", "rule", 10_000)
        ),
        State.SETTLED,
        Tier.RULED,
    ),
    "arbiter silent": (
        lambda w: _disputed(w).waits(14 * DAY + 1).does("stranger", "settle"),
        State.SETTLED,
        Tier.UNCHALLENGED,
    ),
}


def credits(world) -> dict[str, int]:
    return {who: world.client.escrow.credit_of(world.address(who)) for who in world.senders}


@pytest.mark.parametrize("ending", ENDINGS)
def test_replay__each_ending__equals_what_the_contracts_say(world, ending):
    tell, state, tier = ENDINGS[ending]

    story = tell(world)
    job = fetch_job(world.client, story.job_id)

    escrow = world.client.escrow
    assert (job.state, job.tier) == (state, tier)
    assert job.state == escrow.state_of(job.job_id)
    assert job.tier == escrow.tier_of(job.job_id)
    assert escrow.matches(job.job_id, job.terms)
    assert job.terms == story.terms
    if job.state == State.COMPLETED or job.state == State.DISPUTED:
        assert job.charge == escrow.delivery_of(job.job_id)[0]
    if job.result is not None:
        assert job.result == world.client.nft.result_of(job.job_id)
    assert job.is_terminal == (escrow.deadline_of(job.job_id) == 0)
    assert job.ruled == (tier == Tier.RULED)


@pytest.mark.parametrize("ending", ENDINGS)
def test_replay__each_ending__its_money_is_what_the_contracts_credited(world, ending):
    tell, _, _ = ENDINGS[ending]

    job = fetch_job(world.client, tell(world).job_id)

    credited, stake = credits(world), world.client.registry.stake_of(world.address("oracle"))
    assert job.held == (0 if job.is_terminal else job.terms.budget)
    assert job.slashed == 10**18 - stake[0]
    assert credited["validator"] == job.to_validator
    if "disput" not in ending and "ruled" not in ending and ending != "arbiter silent":
        assert credited["oracle"] == job.to_oracle
        assert credited["requester"] == job.to_payer + job.slashed
    held_by_contract = world.client.balance(world.client.escrow.address)
    stakes_of_disputes = held_by_contract - sum(credited.values()) - job.held
    assert stakes_of_disputes == (BOND if job.state == State.DISPUTED else 0)


def test_replay__many_jobs__gives_the_same_as_each_alone(world):
    endings = ("created", "declined", "open job", "not delivered", "rejected for good", "ruled in between")
    stories = [ENDINGS[ending][0](world) for ending in endings]

    jobs = replay(world.client.events(0, world.client.block().number))

    assert sorted(jobs) == sorted(story.job_id for story in stories)
    for story in stories:
        assert jobs[story.job_id] == fetch_job(world.client, story.job_id)


def test_replay__steps__tell_the_story_without_strangers_reports(world):
    job = fetch_job(world.client, _open_job(world).job_id)

    assert [step.state for step in job.steps] == [
        State.CREATED,
        State.ACCEPTED,
        State.SIMULATED,
        State.RUNNING,
        State.COMPLETED,
        State.SETTLED,
    ]
    assert [step.block for step in job.steps] == sorted(step.block for step in job.steps)
    assert job.steps[4].note == f"ipfs://f01551220{RESULT.hex()}"


@pytest.mark.parametrize(("ending", "reason"), [("declined", "busy"), ("given up", "broken"), ("cancelled", "")])
def test_replay__reason__is_readable(world, ending, reason):
    job = fetch_job(world.client, ENDINGS[ending][0](world).job_id)

    assert job.reason == reason


def test_replay__verdict__is_a_step_by_the_validator(world):
    job = fetch_job(world.client, _validated(world, False).job_id)

    (step,) = [step for step in job.steps if step.state == State.VALIDATED]
    assert (step.actor, step.note) == (world.address("validator"), "rejected")


def test_replay__events_of_jobs_created_before__are_left_out(world):
    job_id, terms = world.create()
    start = world.client.block().number + 1
    world.send("requester", world.client.escrow.cancel(job_id, terms))

    assert replay(world.client.events(start, world.client.block().number)) == {}


@pytest.mark.parametrize("job_id", [0, -1, 999, 2**256])
def test_fetch_job__no_such_job__says_how_many_there_are(world, job_id):
    world.create()

    with pytest.raises(InputError, match="there is no job") as refused:
        fetch_job(world.client, job_id)

    assert "jobs so far: 1" in refused.value.remedy


def test_held__running_job__is_the_budget():
    terms = Terms(*[ZERO_ADDRESS] * 6, 10, 0, 0, 1, 2, 0, b"\1" * 32, b"\2" * 32)

    job = JobHistory(1, replace(terms, budget=10), 1)

    assert job.held == 10
    assert not job.is_terminal
