"""From a draft to a funded job: everything is checked before anything is stored or sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oracle.chain.client import ChainClient
from oracle.chain.contracts import NATIVE
from oracle.chain.events import decode_log
from oracle.chain.sender import Receipt, Sender
from oracle.content.cid import ipfs_uri
from oracle.content.store import ContentStore, put_object
from oracle.jobs.amounts import format_wei
from oracle.jobs.canonical import canonical_bytes, digest
from oracle.jobs.errors import ChainError, ContentError, InputError
from oracle.jobs.identity import did_pkh
from oracle.jobs.spec import normalise
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.requester.draft import Draft
from oracle.requester.sending import send
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import seal


@dataclass(frozen=True)
class Parties:
    """Who takes part besides the requester. ``oracle`` zero means any; amounts in wei."""

    oracle: str = ZERO_ADDRESS
    validator: str = ZERO_ADDRESS
    arbiter: str = ZERO_ADDRESS
    validator_fee: int = 0
    bond: int = 0


@dataclass(frozen=True)
class Submission:
    """A job ready to be sent: its terms and the two blocks that must be pinned first."""

    terms: Terms
    spec: dict[str, Any]
    spec_bytes: bytes
    circuit_bytes: bytes

    @property
    def spec_link(self) -> str:
        """Where the spec will be."""
        return ipfs_uri(self.terms.spec)


@dataclass(frozen=True)
class Submitted:
    """A job on the chain."""

    job_id: int
    receipt: Receipt


def prepare(draft: Draft, parties: Parties, *, chain: ChainClient, requester: str, key: SealingKey) -> Submission:
    """Make terms and blocks out of a draft; nothing is stored or sent.

    ``key`` is the requester's master sealing key; the job gets its own, derived from the spec. Raises
    :class:`InputError` for what the contract or the oracle would refuse, :class:`ChainError` from the chain.
    """
    circuit = _circuit_document(draft, parties, chain, requester)
    link = ipfs_uri(digest(circuit))
    spec = normalise(draft.fields, requester=did_pkh(chain.chain_id, requester), circuit=link)
    _check_money(spec, parties)
    _check_method(spec)
    _check_parties(spec, parties, chain)
    spec_bytes = canonical_bytes(spec)
    spec_digest = digest(spec_bytes)
    accept_by = chain.block().timestamp + spec["timeouts"]["accept_seconds"]
    terms = Terms(
        requester=requester,
        payer=requester,
        oracle=parties.oracle,
        validator=parties.validator,
        arbiter=parties.arbiter,
        token=NATIVE,
        budget=int(spec["budget"]["amount"]),
        validator_fee=parties.validator_fee,
        bond=parties.bond,
        accept_by=accept_by,
        deliver_by=accept_by + spec["timeouts"]["deliver_seconds"],
        challenge_period=spec["timeouts"]["challenge_seconds"],
        spec=spec_digest,
        seal_to=key.for_spec(spec_digest).public,
    )
    return Submission(terms, spec, spec_bytes, circuit)


def check(submission: Submission, *, chain: ChainClient, sender: Sender) -> None:
    """Ask the contract whether it would take the job and whether the sender can pay for it; sends nothing.

    Raises :class:`ChainError`.
    """
    sender.check(chain.escrow.create_job(submission.terms))


def submit(submission: Submission, *, chain: ChainClient, store: ContentStore, sender: Sender) -> Submitted:
    """Pin circuit and spec, then lock the budget. Raises :class:`ChainError` or
    :class:`~oracle.jobs.errors.ContentError`; a refused transaction locks nothing."""
    check(submission, chain=chain, sender=sender)
    _pin(store, submission.circuit_bytes, "quantum.circuit")
    _pin(store, submission.spec_bytes, "spec")
    receipt = send(sender, chain.escrow.create_job(submission.terms))
    for log in receipt.logs:
        event = decode_log(log)
        if event is not None and event.name == "JobCreated" and event.address == chain.deployment.job_escrow:
            return Submitted(event.job_id, receipt)
    raise ChainError(f"transaction 0x{receipt.tx_hash.hex()} created no job", remedy="check the deployment's address")


def _pin(store: ContentStore, data: bytes, field: str) -> None:
    """Store ``data`` under the CID that was promised, or nothing is submitted."""
    stored = put_object(store, data)
    if stored != digest(data):
        raise ContentError(
            f"the store keeps it as {ipfs_uri(stored)}, not as {ipfs_uri(digest(data))}",
            field=field,
            remedy="use another content store",
        )


def _check_money(spec: dict[str, Any], parties: Parties) -> None:
    if spec["budget"]["token"] != "native":
        raise InputError(
            "payment in tokens is not supported yet",
            field="budget.token",
            remedy="leave it out to pay in native currency",
        )
    if parties.validator_fee and parties.validator == ZERO_ADDRESS:
        raise InputError("there is no validator to pay", field="validator_fee", remedy="name one with --validator")
    if parties.validator_fee >= int(spec["budget"]["amount"]):
        raise InputError(
            "leaves nothing of the budget", field="validator_fee", remedy="raise budget.amount or lower it"
        )


def _check_method(spec: dict[str, Any]) -> None:
    method = spec["validation"]["method"]
    if method == "canary" and "commitment" not in spec["validation"]:
        raise InputError(
            "canary needs circuits with known answers among yours",
            field="validation.method",
            remedy="submit with --canaries 2, for example",
        )
    if method == "agreement" and spec["privacy"]["circuit"] == "sealed":
        raise InputError(
            "agreement needs one spec for all oracles, and a sealed circuit is another one for each",
            field="privacy.circuit",
            remedy="leave it public, or use another method",
        )


def _check_parties(spec: dict[str, Any], parties: Parties, chain: ChainClient) -> None:
    _check_oracle(parties, chain)
    validated, arbitrated = parties.validator != ZERO_ADDRESS, parties.arbiter != ZERO_ADDRESS
    for field, party in (("validator", parties.validator), ("arbiter", parties.arbiter)):
        if party != ZERO_ADDRESS and party == parties.oracle:
            raise InputError("is the oracle itself", field=field, remedy="name somebody else")
    if validated and not any(chain.registry.sealing_key_of(parties.validator)):
        raise InputError(
            f"{parties.validator} has registered no sealing key and could not read the result",
            field="validator",
            remedy="choose one that is registered",
        )
    release, challenge = spec["settlement"]["release_on"], spec["timeouts"]["challenge_seconds"]
    if bool(challenge) != (validated or arbitrated):
        raise InputError(
            "goes with a validator or an arbiter, and neither goes without it",
            field="timeouts.challenge_seconds",
            remedy="set both or none",
        )
    if release == "attestation" and not validated:
        raise InputError(
            "attestation needs a validator",
            field="settlement.release_on",
            remedy="name one, or use challenge",
        )


def _check_oracle(parties: Parties, chain: ChainClient) -> None:
    if parties.oracle == ZERO_ADDRESS:
        if parties.bond == 0:
            raise InputError(
                "an open job needs a bond",
                field="bond",
                remedy='give for example --bond "0.01 ether", or name an oracle',
            )
        return
    if not any(chain.registry.sealing_key_of(parties.oracle)):
        raise InputError(
            f"{parties.oracle} is not a registered oracle",
            field="oracle",
            remedy="choose one that is registered",
        )
    stake, locked = chain.registry.stake_of(parties.oracle)
    if stake - locked < parties.bond:
        raise InputError(
            f"the oracle's free stake is {format_wei(stake - locked)}, less than {format_wei(parties.bond)}",
            field="bond",
            remedy="ask for less, or choose another oracle",
        )


def _circuit_document(draft: Draft, parties: Parties, chain: ChainClient, requester: str) -> bytes:
    """The circuit as it is pinned: in the clear, or sealed to the oracle that will run it and the validator, who may
    have to run it again."""
    privacy = draft.fields.get("privacy")
    if not isinstance(privacy, dict) or privacy.get("circuit") != "sealed":
        return draft.circuit
    if parties.oracle == ZERO_ADDRESS:
        raise InputError("a sealed circuit needs an oracle to seal it to", field="privacy.circuit", remedy="name one")
    _check_oracle(parties, chain)
    context = SealContext.for_circuit(chain_id=chain.chain_id, contract=chain.deployment.job_escrow, party=requester)
    readers = [party for party in (parties.oracle, parties.validator) if party != ZERO_ADDRESS]
    keys = {chain.registry.sealing_key_of(party) for party in readers}
    if not all(map(any, keys)):
        raise InputError("has registered no sealing key", field="validator", remedy="choose one that is registered")
    return seal(draft.circuit, context, [Recipient("nacl", key) for key in sorted(keys)])
