"""Several oracles, one spec: each commits to its counts, then all reveal, then they are compared."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.errors import InputError
from oracle.validation.counts import Counts
from oracle.validation.distribution import IDEAL, Policy
from oracle.validation.samples import Comparison, compare, tells_from_uniform
from oracle.validation.verdict import SIMULATOR, Check, Outcome, Verdict

SALT_SIZE = 32


def commit_counts(counts: Any, salt: bytes, *, oracle: str, spec: str) -> str:
    """Hex commitment: sha256(salt ‖ canonical {counts, oracle, spec}).

    Naming the oracle keeps another one from committing to the same bytes and revealing them after. Raises
    :class:`InputError`.
    """
    if len(salt) != SALT_SIZE:
        raise InputError(f"must be {SALT_SIZE} bytes", field="salt")
    content = {"counts": Counts.parse(counts).as_dict(), "oracle": oracle.lower(), "spec": spec.lower()}
    return hashlib.sha256(salt + canonical_bytes(content)).hexdigest()


def opens(commitment: str, counts: Any, salt: bytes, *, oracle: str, spec: str) -> bool:
    """Whether the revealed counts and salt are what ``oracle`` committed to."""
    return hmac.compare_digest(
        commitment.removeprefix("0x").lower().encode(), commit_counts(counts, salt, oracle=oracle, spec=spec).encode()
    )


@dataclass(frozen=True)
class _Panel:
    """The revealed counts, the pairs that disagree, and the largest set of oracles that all agree."""

    counts: dict[str, Counts]
    pairs: dict[frozenset[str], Comparison]
    apart: frozenset[frozenset[str]]

    def agree(self, oracles: tuple[str, ...]) -> bool:
        return not any(frozenset(pair) in self.apart for pair in itertools.combinations(oracles, 2))

    def majority(self) -> tuple[str, ...]:
        """The one set of more than half the oracles that agree pairwise, or nobody."""
        names = sorted(self.counts)
        for size in range(len(names), len(names) // 2, -1):
            found = [group for group in itertools.combinations(names, size) if self.agree(group)]
            if found:
                return found[0] if len(found) == 1 else ()
        return ()


MAX_ORACLES = 12


def judge_agreement(
    results: Mapping[str, Any], policy: Policy | None = None, *, seeded: bool = False, claim: str = SIMULATOR
) -> dict[str, Verdict]:
    """A verdict for each oracle, by name, from the revealed counts of all.

    ``seeded`` results (one simulator, one seed) must be equal. Others are compared pairwise with a two-sample test,
    its risk divided by the number of pairs; with a noisy policy only a distance certainly beyond ``max_excess`` parts
    two of them, for two honest devices are never the same. With a majority that agrees pairwise, its members are
    accepted and the others rejected; without, nobody can say who is right. Raises :class:`InputError`.
    """
    policy = policy or Policy()
    if not 0 < len(results) <= MAX_ORACLES:
        raise InputError(f"must be of 1 to {MAX_ORACLES} oracles", field="results")
    counts = {name: Counts.parse(found, field=f"results.{name}") for name, found in results.items()}
    if len({known.width for known in counts.values()}) > 1:
        raise InputError("have outcomes of different widths", field="results")
    risk = (1 - policy.confidence) / max(len(counts) * (len(counts) - 1) // 2, 1)
    panel = _compared(counts, policy, risk, seeded)
    majority = panel.majority() if len(counts) > 1 else ()
    outliers = sorted(set(counts) - set(majority)) if majority else []
    shared = _power_check(panel, majority, policy, risk, seeded)
    return {
        name: Verdict(
            method="agreement",
            checks=tuple(_checks(name, panel, majority, seeded) + shared),
            shots=counts[name].shots,
            confidence=None if seeded else policy.confidence,
            claim=claim,
            thresholds={
                **asdict(policy),
                "risk_per_pair": risk,
                "seeded": seeded,
                "oracles": sorted(counts),
                "majority": list(majority),
                "outliers": outliers,
            },
        )
        for name in counts
    }


def _compared(counts: dict[str, Counts], policy: Policy, risk: float, seeded: bool) -> _Panel:
    if seeded:
        pairs = itertools.combinations(counts, 2)
        apart = [frozenset(pair) for pair in pairs if counts[pair[0]].as_dict() != counts[pair[1]].as_dict()]
        return _Panel(counts, {}, frozenset(apart))
    compared = {
        frozenset((one, other)): compare(counts[one], counts[other], risk=risk, draws=policy.draws, seed=policy.seed)
        for one, other in itertools.combinations(counts, 2)
    }
    apart = [pair for pair, found in compared.items() if _differ(found, policy, risk)]
    return _Panel(counts, compared, frozenset(apart))


def _differ(found: Comparison, policy: Policy, risk: float) -> bool:
    if policy.noise == IDEAL and policy.strict:
        return found.p_value <= risk
    return found.excess - found.slack > policy.max_excess


def _checks(name: str, panel: _Panel, majority: tuple[str, ...], seeded: bool) -> list[Check]:
    others = sorted(set(panel.counts) - {name})
    if not others:
        return [Check("agreement", Outcome.INCONCLUSIVE, "there is nobody to agree with")]
    apart = [other for other in others if frozenset((name, other)) in panel.apart]
    told = f"differs from {', '.join(apart)}" if apart else "agrees with every other oracle"
    worst = max((found.excess for pair, found in panel.pairs.items() if name in pair), default=None)
    if not majority:
        return [Check("agreement", Outcome.INCONCLUSIVE, f"{told}; no majority agrees, so nobody can say who is right")]
    if name not in majority:
        return [Check("agreement", Outcome.REJECT, f"{told}; the majority is {', '.join(majority)}", worst)]
    checks = [Check("agreement", Outcome.ACCEPT, told, worst)]
    return checks if seeded else checks + _copies(name, panel)


def _copies(name: str, panel: _Panel) -> list[Check]:
    """Independent runs do not give equal counts, unless few counts are possible at all."""
    mine = panel.counts[name]
    twins = [other for other, found in panel.counts.items() if other != name and found.as_dict() == mine.as_dict()]
    chance = mine.repeat_chance()
    if not twins or chance > 1e-6:
        return []
    return [Check("copies", Outcome.FLAG, f"the same counts as {', '.join(twins)}, by chance {chance:.2g}", chance)]


def _power_check(panel: _Panel, majority: tuple[str, ...], policy: Policy, risk: float, seeded: bool) -> list[Check]:
    """Agreement means something only if one who reports noise would not agree."""
    if seeded or not majority:
        return []
    known = panel.counts[majority[0]]
    told = tells_from_uniform(known, known.shots, risk=risk, draws=policy.draws, seed=policy.seed)
    if told:
        return []
    return [
        Check("power", Outcome.INCONCLUSIVE, "uniform noise would agree as well: too few shots for so many outcomes")
    ]
