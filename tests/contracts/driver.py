"""Playing commands on the model and on the real contracts, and finding the first difference.

The model goes first and says what every call will do and what every view will answer. Then a whole sequence runs in
one ``eth_simulateV1`` request to anvil: a block for each command, at its second, followed by the views. That is the
real EVM with the real contracts, starts from the same state every time, and costs a fraction of a millisecond a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any

from eth_abi import decode, encode
from eth_account import Account
from eth_utils import keccak, to_checksum_address
from model import Authorization, BatchedDelivery, Command, Event, Model, Outcome, Place, Signature

from oracle.chain import events as chain_events
from oracle.chain.history import JobHistory, replay
from oracle.jobs.terms import ABI_TYPES, ZERO_ADDRESS, Terms

RICH = 10**45
"""Wei that every actor has at the start: enough for a stake that no account can hold."""
BALANCE_READER = "0x" + "ba" * 20
BALANCE_READER_CODE = "0x5f35315f5260205ff3"  # returns the balance of the address in calldata
TERMS_TYPE = (
    "Terms(address requester,address payer,address oracle,address validator,address arbiter,address token,"
    "uint96 budget,uint96 validatorFee,uint96 bond,uint32 acceptBy,uint32 deliverBy,uint32 challengePeriod,"
    "bytes32 spec,bytes32 sealTo)"
)
SIGNED_TYPES = {
    "Attestation": "Attestation(uint256 jobId,bytes32 termsHash,bytes32 result,bool accepted,uint8 method,"
    "uint32 distance,bytes32 report)",
    "CreateJob": "CreateJob(Terms terms,uint256 nonce)" + TERMS_TYPE,
    "Withdrawal": "Withdrawal(address account,address token,address to,uint256 fee,uint256 nonce,uint256 deadline)",
    "Permit": "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
    "ReceiveWithAuthorization": "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
    "uint256 validBefore,bytes32 nonce)",
}
TOKEN_SIGNED = ("Permit", "ReceiveWithAuthorization")


@dataclass(frozen=True)
class View:
    """A question to a contract and the answer the model gives: 32-byte words, or None for a refusal."""

    label: tuple
    address: str
    data: str
    expected: bytes | None


@dataclass(frozen=True)
class Step:
    """What the model says of one command, and the views to look at afterwards."""

    command: Command
    outcome: Outcome
    views: list[View]


@dataclass(frozen=True)
class Mismatch:
    """The first difference: the command's index, what differs, and what each side says."""

    index: int
    what: str
    model: Any
    contracts: Any

    def __str__(self) -> str:
        return f"call {self.index}: {self.what}\n  model:     {self.model}\n  contracts: {self.contracts}"


class Chain:
    """The deployed contracts behind ``request(method, params)``, and the keys of the accounts that sign."""

    def __init__(
        self,
        request: Callable[[str, list], Any],
        chain_id: int,
        place: Place,
        abis: dict[str, list],
        keys: dict[str, bytes],
        actors: list[str],
    ):
        self._request = request
        self._chain_id = chain_id
        self.place = place
        self._keys = keys
        self.actors = actors
        self._addresses = {"escrow": place.escrow, "registry": place.registry, "nft": place.nft}
        self._functions = {kind: _functions(abi) for kind, abi in abis.items()}
        self._events = {kind: _events(abi) for kind, abi in abis.items()}
        self._errors = {selector: entry for abi in abis.values() for selector, entry in _errors(abi).items()}
        self._kinds = {address: name for name, address in self._addresses.items()}
        self._signed: dict[Signature, bytes] = {}
        self.logs: list[dict] = []  # of the last comparison

    # ------------------------------------------------------------------------------------------- comparing

    def compare(self, model: Model, commands: list[Command], look_every: int) -> Mismatch | None:
        """Play ``commands`` on both; the first difference, if any. Compares all views every ``look_every`` calls."""
        steps = self._predict(model, commands, look_every)
        self.logs = []
        for index, (step, (call, *views)) in enumerate(zip(steps, self._play(steps), strict=True)):
            found = self._difference(step, call)
            if found is None and call["status"] == "0x1":
                self.logs += call["logs"]
            for view, answer in zip(step.views, views, strict=True):
                found = found or _view_difference(view, answer)
            if found:
                return Mismatch(index, *found)
        return None

    def histories(self) -> dict[int, JobHistory]:
        """What the product's own reader makes of the events of the last :meth:`compare`."""
        decoded = [chain_events.decode_log(_as_web3(log)) for log in self.logs]
        return replay(event for event in decoded if event is not None and event.address == self.place.escrow)

    def _predict(self, model: Model, commands: list[Command], look_every: int) -> list[Step]:
        steps = []
        for index, command in enumerate(commands, 1):
            outcome = model.outcome(command)
            look = index % look_every == 0 or index == len(commands)
            steps.append(Step(command, outcome, list(self._views(model)) if look else []))
        return steps

    def _play(self, steps: list[Step]) -> list[list[dict]]:
        """The answers to each step's call and views. Raises :class:`RuntimeError` for one request that is too large."""
        blocks = []
        for step in steps:
            command = step.command
            call = {
                "from": command.sender,
                "to": self._addresses.get(command.target, command.target),
                "value": hex(command.value),
                "data": "0x" + self._calldata(command).hex(),
            }
            views = [{"to": view.address, "data": view.data} for view in step.views]
            blocks.append({"blockOverrides": {"time": hex(command.second)}, "calls": [call, *views]})
        blocks[0]["stateOverrides"] = {
            BALANCE_READER: {"code": BALANCE_READER_CODE},
            **{actor: {"balance": hex(RICH)} for actor in self.actors},
        }
        answer = self._request("eth_simulateV1", [{"blockStateCalls": blocks, "validation": False}, "latest"])
        if "error" in answer:
            raise RuntimeError(f"eth_simulateV1: {answer['error']}")
        return [block["calls"] for block in answer["result"]]

    def _difference(self, step: Step, answer: dict) -> tuple | None:
        said = step.outcome
        admitted = sorted(said.errors, key=str)
        if answer["status"] == "0x1":
            if not said.succeeds:
                return "the contracts make a call that the model refuses", admitted, "success"
            expected, found = self._by_contract(said.events), self._by_contract(map(self._event, answer["logs"]))
            return None if expected == found else ("events", expected, found)
        error = self._error(bytes.fromhex(answer["returnData"][2:]))
        if said.succeeds:
            return "the contracts refuse a call that the model makes", "success", error
        return None if error in said.errors else ("error", admitted, error)

    @staticmethod
    def _by_contract(events: Iterable[Event]) -> dict[str, list[tuple]]:
        """Events in their order, apart for each contract; transfers of no token at all are no event."""
        found: dict[str, list[tuple]] = {}
        for event in events:
            if event.name != "Transfer" or event.args.get("value") != 0:
                found.setdefault(event.address, []).append((event.name, event.args))
        return found

    # --------------------------------------------------------------------------------------------- looking

    def _views(self, model: Model) -> Iterator[View]:
        """Everything there is to see, and what it must be."""
        place, books = self.place, model.books
        assets = (ZERO_ADDRESS, *place.tokens)
        for number, job in books.jobs.items():
            delivery = (job.charge, job.rejected_by is not None, job.disputed_by) if job.deadline else (0, False, 0)
            yield self._view("escrow", "stateOf", (number,), job.state)
            yield self._view("escrow", "tierOf", (number,), job.tier)
            yield self._view("escrow", "deadlineOf", (number,), job.deadline)
            yield self._view("escrow", "deliveryOf", (number,), *delivery)
            yield self._view("escrow", "matches", (number, job.terms), True)
            yield self._view("nft", "ownerOf", (number,), books.owners.get(number))
            yield self._view("nft", "resultOf", (number,), books.results.get(number))
        yield self._view("escrow", "jobCount", (), len(books.jobs))
        yield self._view("escrow", "stateOf", (len(books.jobs) + 1,), 0)
        for actor in self.actors:
            stake, leaving = books.stakes.get(actor), books.unstaking.get(actor)
            key, profile = books.keys.get(actor, (bytes(32), bytes(32)))
            yield self._view("registry", "stakeOf", (actor,), *(_values(stake) or (0, 0)))
            yield self._view("registry", "unstakingOf", (actor,), *(_values(leaving) or (0, 0)))
            yield self._view("registry", "sealingKeyOf", (actor,), key)
            yield self._view("registry", "profileOf", (actor,), profile)
            for nonce_key in (0, 1):
                sequence = books.nonces.get((actor, nonce_key), 0)
                packed = (nonce_key << 64) + sequence
                yield self._view("escrow", "nonces(address,uint192)", (actor, nonce_key), packed)
            for asset in assets:
                yield self._view("escrow", "creditOf", (actor, asset), books.credits.get((asset, actor), 0))
        for account in (*self.actors, place.escrow, place.registry):
            start = RICH if account in self.actors else 0
            balance = start + books.balances.get((ZERO_ADDRESS, account), 0)
            yield View(("balance", account), BALANCE_READER, "0x" + _word(account).hex(), _word(balance))
            for token in place.tokens:
                balance = books.balances.get((token, account), 0)
                yield self._view(token, "balanceOf", (account,), balance)

    def _view(self, target: str, function: str, args: tuple, *expected: object) -> View:
        selector, _ = self._functions[self._kind(target)][function]
        data = selector + b"".join(map(_word, args))  # no view takes anything of changing size
        answer = None if expected == (None,) else b"".join(map(_word, expected))
        address = self._addresses.get(target, target)
        return View((target, function, args), address, "0x" + data.hex(), answer)

    # -------------------------------------------------------------------------------------------- encoding

    def _kind(self, target: str) -> str:
        return target if target in self._addresses else "token"

    def _calldata(self, command: Command) -> bytes:
        selector, types = self._functions[self._kind(command.target)][command.method]
        return selector + encode(types, self._arguments(command))

    def _arguments(self, command: Command) -> list:
        values = [self._encodable(value) for value in command.args]
        if command.method == "createJobWithPermit":  # (v, r, s) instead of bytes
            *values, signature = values
            values += _parts(signature)
        return values

    def _encodable(self, value: Any) -> Any:
        if isinstance(value, Terms):
            return value.to_abi()
        if isinstance(value, Signature):
            return self.sign(value)
        if isinstance(value, Authorization):
            parts = _parts(self.sign(value.signature))
            return (value.valid_after, value.valid_before, value.salt, *parts)
        if isinstance(value, BatchedDelivery):
            attested = value.attestation is not None
            attestation = self._encodable(value.attestation) if attested else (False, 0, 0, bytes(32), b"")
            return (value.job, value.terms.to_abi(), value.charge, value.result, attested, attestation)
        if is_dataclass(value):
            return tuple(self._encodable(getattr(value, each.name)) for each in fields(value))
        return tuple(map(self._encodable, value)) if isinstance(value, tuple) else value

    def sign(self, signature: Signature) -> bytes:
        """65 bytes by the signer's key, over a digest made here from the documentation."""
        if signature not in self._signed:
            key = Account.from_key(self._keys[signature.signer])
            digest = keccak(b"\x19\x01" + self._domain(signature) + _struct_hash(signature))
            self._signed[signature] = bytes(key.unsafe_sign_hash(digest).signature)
        return self._signed[signature]

    def _domain(self, signature: Signature) -> bytes:
        name = "Signed" if signature.kind in TOKEN_SIGNED else "Qscrow"
        return _domain(name, self._chain_id, signature.verifier)

    # -------------------------------------------------------------------------------------------- decoding

    def _event(self, log: dict) -> Event:
        address = _checksummed(log["address"])
        kind = self._kinds.get(address, "token")
        name, inputs = self._events[kind][log["topics"][0]]
        indexed = [each for each in inputs if each["indexed"]]
        plain = [each for each in inputs if not each["indexed"]]
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"][1:]]
        args = {each["name"]: decode([each["type"]], topic)[0] for each, topic in zip(indexed, topics, strict=True)}
        values = decode([_type(each) for each in plain], bytes.fromhex(log["data"][2:]))
        args.update({each["name"]: value for each, value in zip(plain, values, strict=True)})
        types = {each["name"]: each["type"] for each in inputs}
        return Event(address, name, {key: _readable(types[key], value) for key, value in args.items()})

    def _error(self, data: bytes) -> tuple:
        if not data:
            return ("",)
        name, types = self._errors.get(data[:4], (data[:4].hex(), []))
        values = [_readable(kind, value) for kind, value in zip(types, decode(types, data[4:]), strict=True)]
        if name == "InvalidTerms":
            values = [values[0].rstrip(b"\0").decode()]
        return (name, *values)


def shrink(model: Model, commands: list[Command], fails: Callable[[list[Command]], Any]) -> list[Command]:
    """Fewer commands that still fail: drops ever smaller stretches while it can. Jobs are numbered anew."""
    born = {}
    for index, command in enumerate(commands):
        before = len(model.books.jobs)
        model.outcome(command)
        born.update({number: index for number in range(before + 1, len(model.books.jobs) + 1)})

    def without(indexes: list[int]) -> list[Command]:
        living = [number for number in sorted(born) if born[number] in set(indexes)]
        numbers = {number: place for place, number in enumerate(living, 1)}
        return [_renumbered(commands[index], numbers) for index in indexes]

    kept, size = list(range(len(commands))), len(commands) // 2
    while size:
        start = 0
        before = len(kept)
        while start < len(kept):
            fewer = kept[:start] + kept[start + size :]
            if fewer and fails(without(fewer)):
                kept = fewer
            else:
                start += size
        size = size if size == 1 and len(kept) < before else size // 2  # one by one until nothing goes any more
    return without(kept)


def _renumbered(command: Command, numbers: dict[int, int]) -> Command:
    """The command with other numbers for the jobs; 0 for one that is not there any more."""

    def changed(value: Any) -> Any:
        if isinstance(value, Signature):
            number, *rest = value.content
            return replace(value, content=(of(number), *rest)) if value.kind == "Attestation" else value
        if isinstance(value, tuple):
            return tuple(map(changed, value))
        if is_dataclass(value):
            return replace(value, **{each.name: changed(getattr(value, each.name)) for each in fields(value)})
        return value

    def of(number: int) -> int:
        return numbers.get(number, 0)

    args = list(map(changed, command.args))
    if command.method in ("deliverBatch", "validateBatch"):
        args = [tuple(replace(item, job=of(item.job)) for item in args[0])]
    elif command.method == "report":
        args[0] = tuple(map(of, args[0]))
    elif command.target == "escrow" and args and isinstance(args[0], int):
        args[0] = of(args[0])
    elif command.method == "transferFrom":
        args[-1] = of(args[-1])
    return replace(command, args=tuple(args))


def _view_difference(view: View, answer: dict) -> tuple | None:
    found = bytes.fromhex(answer["returnData"][2:]) if answer["status"] == "0x1" else None
    if found == view.expected:
        return None
    return f"view {view.label}", view.expected and view.expected.hex(), found and found.hex()


def _struct_hash(signature: Signature) -> bytes:
    kind, content = signature.kind, signature.content
    if kind == "Attestation":
        number, terms, *rest = content
        types = ["uint256", "bytes32", "bytes32", "bool", "uint8", "uint32", "bytes32"]
        values = [number, terms.hash().ljust(32, b"\0"), *rest]
    elif kind == "CreateJob":
        terms, nonce = content
        types = ["bytes32", "uint256"]
        values = [keccak(keccak(text=TERMS_TYPE) + _encoded(terms)), nonce]
    elif kind == "Withdrawal":
        types, values = ["address"] * 3 + ["uint256"] * 3, list(content)
    elif kind == "Permit":
        types, values = ["address"] * 2 + ["uint256"] * 3, list(content)
    else:
        *values, (terms, salt) = content
        types = ["address"] * 2 + ["uint256"] * 3 + ["bytes32"]
        values.append(keccak(_encoded(terms) + salt))
    return keccak(keccak(text=SIGNED_TYPES[kind]) + encode(types, values))


@cache
def _domain(name: str, chain_id: int, verifier: str) -> bytes:
    kind = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    hashes = [keccak(text=kind), keccak(text=name), keccak(text="1")]
    return keccak(b"".join(hashes) + encode(["uint256", "address"], [chain_id, verifier]))


def _parts(signature: bytes) -> tuple[int, bytes, bytes]:
    return signature[64], signature[:32], signature[32:64]


@cache
def _encoded(terms: Terms) -> bytes:
    return encode(ABI_TYPES, terms.to_abi())


@cache
def _checksummed(address: str) -> str:
    return to_checksum_address(address)


def _values(record: Any) -> tuple | None:
    return record and tuple(getattr(record, each.name) for each in fields(record))


def _word(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, Terms):
        return _encoded(value)
    number = int(value, 16) if isinstance(value, str) else int(value)
    return (number % 2**256).to_bytes(32, "big")


def _readable(kind: str, value: Any) -> Any:
    if kind == "address":
        return _checksummed(value)
    return Terms.from_abi(value) if kind == "tuple" else value


def _type(entry: dict) -> str:
    if not entry["type"].startswith("tuple"):
        return entry["type"]
    return f"({','.join(map(_type, entry['components']))}){entry['type'].removeprefix('tuple')}"


def _signature(entry: dict) -> str:
    return f"{entry['name']}({','.join(map(_type, entry['inputs']))})"


def _functions(abi: list) -> dict[str, tuple[bytes, list[str]]]:
    """(selector, argument types) by name and by signature."""
    found = {}
    for entry in abi:
        if entry["type"] == "function":
            call = (keccak(text=_signature(entry))[:4], [_type(each) for each in entry["inputs"]])
            found[entry["name"]] = found[_signature(entry)] = call
    return found


def _events(abi: list) -> dict[str, tuple[str, list[dict]]]:
    declared = [entry for entry in abi if entry["type"] == "event"]
    return {"0x" + keccak(text=_signature(entry)).hex(): (entry["name"], entry["inputs"]) for entry in declared}


def _errors(abi: list) -> dict[bytes, tuple[str, list[str]]]:
    declared = [entry for entry in abi if entry["type"] == "error"]
    own = {keccak(text=_signature(entry))[:4]: (entry["name"], list(map(_type, entry["inputs"]))) for entry in declared}
    solidity = {"Error(string)": ("Error", ["string"]), "Panic(uint256)": ("Panic", ["uint256"])}
    return {**own, **{keccak(text=text)[:4]: entry for text, entry in solidity.items()}}


def _as_web3(log: dict) -> dict:
    """A log as web3 hands it to the product's decoder."""
    from hexbytes import HexBytes

    numbers = ("blockNumber", "logIndex", "transactionIndex")
    return {
        **{name: int(log[name], 16) for name in numbers},
        **{name: HexBytes(log[name]) for name in ("data", "blockHash", "transactionHash")},
        "address": _checksummed(log["address"]),
        "topics": [HexBytes(topic) for topic in log["topics"]],
        "removed": False,
    }
