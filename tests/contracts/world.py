"""What the contract tests act on: actors, terms, signed verdicts, and how calls are refused."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
from brownie import web3
from eth_abi import decode, encode
from eth_account import Account
from eth_account.messages import encode_typed_data

from oracle.chain.artifacts import errors_by_selector
from oracle.jobs.states import State, Tier
from oracle.jobs.terms import ABI_TYPES, ZERO_ADDRESS, Terms

BUDGET, CHARGE, FEE, BOND = 1_000_003, 400_001, 50_001, 70_003
RESULT, REPORT, EVIDENCE = b"\x11" * 32, b"\x22" * 32, b"\x33" * 32
ACCEPT_SECONDS, DELIVER_SECONDS, CHALLENGE = 1_000, 2_000, 500
RULING = 14 * 24 * 3600
STATISTICAL = 0
EXTRA = 30_007
PROMOTION_NOTICE = 3_600
VALIDATOR_KEY = Account.from_key("0x" + "5a" * 32)
_numbers = itertools.count(1)


@dataclass
class World:
    """What a test acts on. Amounts are deliberately odd, so that rounding and mix-ups show."""

    escrow: object
    registry: object
    nft: object
    token: object
    funder: object
    requester: object
    oracle: object
    arbiter: object
    stranger: object
    other_oracle: object
    sponsor: object
    validator: object = field(default_factory=lambda: VALIDATOR_KEY)

    # ------------------------------------------------------------------------------------- terms and jobs

    def terms(self, *, judged: bool = False, arbitrated: bool = False, open: bool = False, **changes) -> Terms:
        """Terms that make sense. ``judged`` names a validator with a fee, ``arbitrated`` an arbiter."""
        start = now()
        base = Terms(
            requester=self.requester.address,
            payer=self.requester.address,
            oracle=ZERO_ADDRESS if open else self.oracle.address,
            validator=self.validator.address if judged else ZERO_ADDRESS,
            arbiter=self.arbiter.address if arbitrated else ZERO_ADDRESS,
            token=ZERO_ADDRESS,
            budget=BUDGET,
            validator_fee=FEE if judged else 0,
            bond=BOND,
            accept_by=start + ACCEPT_SECONDS,
            deliver_by=start + ACCEPT_SECONDS + DELIVER_SECONDS,
            challenge_period=CHALLENGE if judged or arbitrated else 0,
            spec=bytes(web3.keccak(next(_numbers).to_bytes(32, "big"))),  # digests have no zeros to save gas with
            seal_to=b"s" * 32,
        )
        return replace(base, **changes)

    def create(self, terms: Terms, sender=None) -> int:
        """Create the job; returns its id."""
        value = terms.budget if terms.token == ZERO_ADDRESS else 0
        self.escrow.createJob(terms.to_abi(), {"from": sender or self.requester, "value": value})
        return self.escrow.jobCount()

    def accepted(self, terms: Terms) -> tuple[int, Terms]:
        """A job that the oracle has accepted, and its terms from then on."""
        job = self.create(terms)
        self.escrow.accept(job, terms.to_abi(), {"from": self.oracle})
        return job, terms.taken_by(self.oracle.address)

    def promotable(self, **options) -> Terms:
        """Terms with time enough to promote the job."""
        return self.terms(**{"deliver_by": now() + 4 * PROMOTION_NOTICE, **options})

    def promoted(self, terms: Terms, extra: int = EXTRA) -> tuple[int, Terms]:
        """A job that its requester has promoted, and its terms from then on."""
        job, terms = self.accepted(terms)
        value = extra if terms.token == ZERO_ADDRESS else 0
        self.escrow.promote(job, terms.to_abi(), extra, EVIDENCE, {"from": self.requester, "value": value})
        return job, terms.promoted_to(terms.budget + extra)

    def delivered(self, terms: Terms) -> tuple[int, Terms]:
        """A job that is delivered; Completed if its terms have a challenge period."""
        job, terms = self.accepted(terms)
        self.escrow.deliver(job, terms.to_abi(), CHARGE, RESULT, {"from": self.oracle})
        return job, terms

    def rejected_by_validator(self, terms: Terms) -> tuple[int, Terms]:
        """A delivered job with a rejecting verdict."""
        job, terms = self.delivered(terms)
        self.escrow.validate(job, terms.to_abi(), self.attestation(job, terms, accepted=False), {"from": self.stranger})
        return job, terms

    def disputed(self, terms: Terms, by=None) -> tuple[int, Terms]:
        """A delivered job before its arbiter."""
        job, terms = self.delivered(terms)
        self.escrow.dispute(job, terms.to_abi(), EVIDENCE, {"from": by or self.requester, "value": terms.bond})
        return job, terms

    # -------------------------------------------------------------------------------------- attestations

    def attestation(self, job: int, terms: Terms, *, accepted: bool = True, method: int = STATISTICAL, **changes):
        """A signed verdict, made without asking the contract. ``changes`` override what is signed."""
        message = {
            "jobId": job,
            "termsHash": terms.hash().ljust(32, b"\0"),
            "result": RESULT,
            "accepted": accepted,
            "method": method,
            "distance": 12_345,
            "report": REPORT,
        }
        domain = self.domain(
            chainId=changes.pop("chain_id", web3.eth.chain_id),
            verifyingContract=changes.pop("contract", self.escrow.address),
        )
        key = changes.pop("signer", self.validator)
        message.update(changes)
        signed = key.sign_message(encode_typed_data(full_message=typed_attestation(domain, message)))
        return (accepted, method, 12_345, REPORT, bytes(signed.signature))

    def domain(self, **changes) -> dict:
        """The escrow's EIP-712 domain."""
        fixed = {"name": "Qscrow", "version": "1", "chainId": web3.eth.chain_id}
        return {**fixed, "verifyingContract": self.escrow.address, **changes}

    # ------------------------------------------------------------------------------------------- looking

    def state(self, job: int) -> State:
        """Stored state."""
        return State(self.escrow.stateOf(job))

    def tier(self, job: int) -> Tier:
        """Stored tier."""
        return Tier(self.escrow.tierOf(job))

    def credit(self, account, token: str = ZERO_ADDRESS) -> int:
        """What the escrow owes ``account``."""
        return self.escrow.creditOf(getattr(account, "address", account), token)

    def stake(self, oracle=None) -> tuple[int, int]:
        """(stake, locked) of the oracle."""
        return tuple(self.registry.stakeOf(oracle or self.oracle))

    def money(self) -> SimpleNamespace:
        """Everything a refused call must leave alone."""
        tokens = (ZERO_ADDRESS, self.token.address)
        parties = (self.requester, self.oracle, self.validator, self.arbiter, self.stranger, self.other_oracle)
        return SimpleNamespace(
            credits=[self.credit(party, token) for party in parties for token in tokens],
            stakes=[self.stake(), self.stake(self.other_oracle)],
            escrow=(web3.eth.get_balance(self.escrow.address), self.token.balanceOf(self.escrow)),
            jobs=self.escrow.jobCount(),
        )


def typed_attestation(domain: dict, message: dict) -> dict:
    """EIP-712 typed data of an attestation, as the interface documents it."""
    fields = "jobId:uint256 termsHash:bytes32 result:bytes32 accepted:bool method:uint8 distance:uint32 report:bytes32"
    return typed_data(domain, message, "Attestation", Attestation=fields)


def typed_data(domain: dict, message: dict, primary: str, **types: str) -> dict:
    """EIP-712 typed data; each type is given as ``name:type`` words in order."""
    known = {"EIP712Domain": "name:string version:string chainId:uint256 verifyingContract:address", **types}
    return {
        "types": {
            name: [dict(zip(("name", "type"), part.split(":"), strict=True)) for part in text.split()]
            for name, text in known.items()
        },
        "primaryType": primary,
        "domain": domain,
        "message": message,
    }


def signature(key, domain: dict, message: dict, primary: str, **types: str) -> bytes:
    """65 bytes by ``key`` over typed data made here, from the documentation."""
    signed = key.sign_message(encode_typed_data(full_message=typed_data(domain, message, primary, **types)))
    return bytes(signed.signature)


def refusal(function, *args, sender, value: int = 0) -> str:
    """Name of the custom error that a call meets; fails the test if it would succeed."""
    return _refusal(function, args, sender, value)[0]


def refused_field(function, *args, sender, value: int = 0) -> str:
    """The field that InvalidTerms names."""
    name, data = _refusal(function, args, sender, value)
    assert name == "InvalidTerms"
    return data.rstrip(b"\0").decode()


def refusal_values(function, *args, sender, value: int = 0) -> tuple:
    """Name of the custom error that a call meets, followed by the values it carries."""
    name, data = _refusal(function, args, sender, value)
    types = [kind for known, inputs in errors_by_selector().values() if known == name for _, kind in inputs]
    values = zip(types, decode(types, data), strict=True)
    return (name, *(web3.to_checksum_address(value) if kind == "address" else value for kind, value in values))


def at(second: int | None, function, *args, sender, value: int = 0) -> str | None:
    """Mine a call, at exactly ``second`` if given. Returns the name of the error it met, nothing if it succeeded."""
    met = _call(function, args, sender, value, {"time": hex(second)} if second else {})
    if second:
        next_second(second)
    fields = {key: hex(item) if isinstance(item, int) else item for key, item in _fields(function, args, sender, value)}
    sent = web3.provider.make_request("eth_sendTransaction", [{**fields, "gas": hex(2_000_000)}])
    receipt = web3.eth.wait_for_transaction_receipt(sent["result"])
    assert second in (None, web3.eth.get_block(receipt["blockNumber"])["timestamp"])
    assert receipt["status"] == (0 if met else 1)
    return met[0] if met else None


def _refusal(function, args, sender, value: int) -> tuple[str, bytes]:
    return _call(function, args, sender, value) or pytest.fail("the call was not refused")


def _call(function, args, sender, value: int, block_overrides: dict | None = None) -> tuple[str, bytes] | None:
    """Name and encoded values of the error a call would meet now (or in an altered block), if any."""
    fields = {key: hex(item) if isinstance(item, int) else item for key, item in _fields(function, args, sender, value)}
    answer = web3.provider.make_request("eth_call", [fields, "latest", {}, block_overrides or {}])
    if "error" not in answer:
        return None
    data = bytes.fromhex(answer["error"].get("data", "0x")[2:])
    return errors_by_selector().get("0x" + data[:4].hex(), (answer["error"]["message"],))[0], data[4:]


def _fields(function, args, sender, value: int):
    data = function.encode_input(*args)
    return {
        "from": getattr(sender, "address", str(sender)),
        "to": function._address,
        "data": data,
        "value": value,
    }.items()


def pass_time(until: int) -> None:
    """Mine a block at second ``until``."""
    web3.provider.make_request("evm_setNextBlockTimestamp", [until])
    web3.provider.make_request("evm_mine", [])


def next_second(second: int) -> None:
    """Let the next transaction happen at exactly ``second``."""
    web3.provider.make_request("evm_setNextBlockTimestamp", [second])


def now() -> int:
    """The chain's clock. Anvil's jumps after a roll-back, so a block is mined to see where it is."""
    web3.provider.make_request("evm_mine", [])
    return web3.eth.get_block("latest")["timestamp"]


def terms_hash(terms: Terms) -> bytes:
    """27 bytes, computed from the ABI alone."""
    return bytes(web3.keccak(encode(ABI_TYPES, terms.to_abi())))[:27]
