"""Running a seeded simulator job again: the same seed, circuit and engine give the same counts, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oracle.jobs.canonical import canonical_bytes, digest
from oracle.jobs.errors import InputError
from oracle.validation.counts import Counts
from oracle.validation.verdict import Check, Outcome, Verdict

if TYPE_CHECKING:
    from oracle.circuits.run import RunResult

_SEED_DOMAIN = b"qscrow.seed.v1"
_LONGEST, _MOST_TEXTS = 200, 200
# stim promises the same samples neither between its versions nor between machines with other vector units.
_UNPORTABLE_ENGINES = frozenset({"stim"})
# Python does not touch the random numbers of a simulator.
_NEUTRAL_PACKAGES = frozenset({"python"})
# What a circuit's entry in a result says of its measurements, and of which ones.
_MEASURED = ("pub", "set", "seed", "counts", "memory", "bases")


def derive_seed(chain_id: int, contract: str, job_id: int, block_hash: bytes, spec: bytes) -> int:
    """The seed of a job whose spec names none: 32 bits that neither requester nor oracle can choose.

    ``block_hash`` is the hash of the block in which the job was created, known to nobody before; ``contract`` is
    the escrow's address, ``spec`` the digest of the spec, both hashes 32 bytes. It is the head of
    sha256("qscrow.seed.v1" ‖ chain id ‖ contract ‖ job id ‖ block hash ‖ spec), numbers as 32 bytes. Raises
    :class:`InputError` for lengths that are wrong.
    """
    try:
        address = bytes.fromhex(contract.removeprefix("0x"))
        numbers = [number.to_bytes(32, "big") for number in (chain_id, job_id)]
    except (ValueError, OverflowError, AttributeError):
        raise InputError("is not a contract address and two numbers", field="seed") from None
    if (len(address), len(block_hash), len(spec)) != (20, 32, 32):
        raise InputError("needs an address of 20 bytes and hashes of 32", field="seed")
    hashed = hashlib.sha256(_SEED_DOMAIN + numbers[0] + address + numbers[1] + block_hash + spec)
    return int.from_bytes(hashed.digest()[:4], "big")


@dataclass(frozen=True)
class RunFacts:
    """What makes a simulator run repeatable, and its counts. ``threads`` is ``None`` where nobody recorded it. Of a
    result with ``runs``, ``methods`` has the method of each and ``runs`` the digest of what all of them measured; both
    are empty for the counts of one circuit."""

    counts: Counts
    seed: int
    method: str
    engine: str
    versions: Mapping[str, str]
    transpiled_digest: str
    threads: int | None = None
    runs: bytes = b""
    methods: tuple[str, ...] = ()

    @classmethod
    def of_run(cls, run: RunResult) -> RunFacts:
        """The facts of a run of one's own."""
        return cls(
            Counts.parse(run.counts, shots=run.shots),
            run.seed,
            run.method,
            run.engine,
            run.versions,
            run.transpiled_digest,
            getattr(run, "threads", None),
            *_of_runs(getattr(run, "runs", [])),
        )

    @classmethod
    def of_document(cls, document: Any) -> RunFacts:
        """The facts an oracle states in its result document. Raises :class:`InputError` if any is missing."""
        try:
            backend, circuit = document["backend"], document["circuit"]
            facts = cls(
                Counts.parse(document["counts"], shots=document["shots"]),
                document["seed"],
                backend["method"],
                backend["engine"],
                dict(backend["versions"]),
                circuit["transpiled_digest"],
                backend.get("threads"),
                *_of_runs(document.get("runs", [])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise InputError(f"lacks what a replay needs ({err})", field="result") from None
        for name, value in (("seed", facts.seed), ("shots", document["shots"]), ("threads", facts.threads)):
            if (value is not None or name != "threads") and type(value) is not int:
                raise InputError("is not a whole number", field=f"result.{name}")
        texts = (facts.method, facts.engine, facts.transpiled_digest, *facts.versions, *facts.versions.values())
        if len(texts) > _MOST_TEXTS or not all(
            map(_is_plain, (*texts, *facts.methods))
        ):  # they end up in a report that people read
            raise InputError("has a method, engine, version or digest that is no short text", field="result")
        return facts

    def differences(self, other: RunFacts) -> list[str]:
        """What differs that may change the random numbers, one line each."""
        pairs = [("method", self.method, other.method), ("engine", self.engine, other.engine)]
        if None not in (self.threads, other.threads):
            pairs.append(("threads", str(self.threads), str(other.threads)))
        names = sorted({*self.versions, *other.versions} - _NEUTRAL_PACKAGES)
        pairs += [(name, self.versions.get(name, "none"), other.versions.get(name, "none")) for name in names]
        methods = enumerate(zip(self.methods, other.methods, strict=False))
        pairs += [(f"method of circuit {place}", *each) for place, each in methods if each[0] != each[1]][:1]
        return [f"{name} {mine} there, {theirs} here" for name, mine, theirs in pairs if mine != theirs]


def _of_runs(runs: Any) -> tuple[bytes, tuple[str, ...]]:
    """Digest and methods of the circuits. Expectation values are left out: they follow from what was measured, up to
    rounding that depends on the machine. Raises :class:`InputError` for what is no list of results."""
    if not isinstance(runs, list) or not all(isinstance(run, Mapping) for run in runs):
        raise InputError("is no list of results", field="result.runs")
    measured = [{name: run[name] for name in _MEASURED if name in run} for run in runs]
    return (digest(canonical_bytes(measured)) if runs else b""), tuple(run.get("method") for run in runs)


def _is_plain(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= _LONGEST and text.isprintable()


def judge_replay(
    delivered: RunFacts | RunResult, replayed: RunFacts | RunResult, *, required_seed: int | None = None
) -> Verdict:
    """Compare a delivered run with one's own of the same job.

    Equal counts are accepted whatever else differs. Other counts are rejected only if both runs used the same
    versions, method and threads; otherwise they are not comparable and the verdict is inconclusive. ``required_seed``
    is what the spec or :func:`derive_seed` demands.
    """
    theirs = delivered if isinstance(delivered, RunFacts) else RunFacts.of_run(delivered)
    ours = replayed if isinstance(replayed, RunFacts) else RunFacts.of_run(replayed)
    checks = [_seed_check(theirs, ours, required_seed), _counts_check(theirs, ours)]
    return Verdict(
        method="replay",
        checks=tuple(checks),
        shots=theirs.counts.shots,
        thresholds={
            "seed": ours.seed,
            "method": ours.method,
            "engine": ours.engine,
            "threads": ours.threads,
            "versions": dict(ours.versions),
            "transpiled_digest": ours.transpiled_digest,
        },
    )


def _seed_check(theirs: RunFacts, ours: RunFacts, required: int | None) -> Check:
    wanted = ours.seed if required is None else required
    if ours.seed != wanted:
        return Check("seed", Outcome.INCONCLUSIVE, f"the replay used seed {ours.seed}, not {wanted}")
    if theirs.seed != wanted:
        return Check("seed", Outcome.REJECT, f"seed {theirs.seed} was used, {wanted} was due")
    return Check("seed", Outcome.ACCEPT, f"the seed is the one that was due, {wanted}")


def _counts_check(theirs: RunFacts, ours: RunFacts) -> Check:
    same = theirs.counts.as_dict() == ours.counts.as_dict()
    if same and theirs.runs == ours.runs:
        chance = ours.counts.repeat_chance()
        return Check("counts", Outcome.ACCEPT, f"the same counts; by chance with probability {chance:.2g}", chance)
    differences = theirs.differences(ours)
    if differences:
        return Check("counts", Outcome.INCONCLUSIVE, f"not comparable: {'; '.join(differences)}")
    if unportable := _UNPORTABLE_ENGINES.intersection((theirs.engine.split("-")[0], *theirs.methods)):
        return Check(
            "counts", Outcome.INCONCLUSIVE, f"not comparable: {', '.join(unportable)} promises no equal samples"
        )
    if same:
        return Check("counts", Outcome.REJECT, "the same counts of the first circuit, but not the same results of all")
    if theirs.transpiled_digest != ours.transpiled_digest:
        return Check("counts", Outcome.REJECT, "other counts, from another compiled circuit by the same versions")
    return Check("counts", Outcome.REJECT, "other counts from the same circuit, seed, method and versions")
