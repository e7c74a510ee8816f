"""Which jobs a node takes, and what it charges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import PolicyDenied
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig


def charge_for(spec: Mapping[str, Any], config: NodeConfig, executions: int = 1, *, hardware: bool = False) -> int:
    """What a job with this spec costs here, in wei, if it runs that many circuits."""
    here = config.price_base + config.price_per_shot * spec["quantum"]["shots"] * executions
    return here + config.price_hardware if hardware else here


def check_terms(terms: Terms, config: NodeConfig, *, now: int, free_stake: int) -> None:
    """Raise :class:`PolicyDenied` unless the node takes jobs on such terms. ``now`` is the chain's clock."""
    if terms.token != ZERO_ADDRESS:
        raise PolicyDenied("token_not_taken", f"pays in {terms.token}", field="token", remedy="pay in native currency")
    if terms.validator != ZERO_ADDRESS and terms.validator not in config.trusted_validators:
        raise PolicyDenied(
            "validator_not_trusted", f"names {terms.validator}", field="validator", remedy="name one this oracle trusts"
        )
    if terms.arbiter != ZERO_ADDRESS and terms.arbiter not in config.trusted_arbiters:
        raise PolicyDenied(
            "arbiter_not_trusted", f"names {terms.arbiter}", field="arbiter", remedy="name one this oracle trusts"
        )
    if terms.bond > min(config.max_bond, free_stake):
        raise PolicyDenied(
            "bond_too_high",
            f"asks for {format_wei(terms.bond)}, free here are {format_wei(min(config.max_bond, free_stake))}",
            field="bond",
            remedy="ask for a smaller bond",
        )
    if now + config.margin_seconds > terms.deliver_by:
        raise PolicyDenied("too_little_time", f"ends {terms.deliver_by - now} s from now", field="deliver_by")


def check_spec(spec: Mapping[str, Any], terms: Terms, config: NodeConfig, *, chain_id: int) -> None:
    """Raise :class:`PolicyDenied` unless the spec and the terms on chain say the same, a validator would hardly reject
    an honest result, and the price of one circuit is covered."""
    expected = f"did:pkh:eip155:{chain_id}:{terms.requester}"
    if spec["requester"].lower() != expected.lower():
        raise PolicyDenied("requester_mismatch", f"is {spec['requester']}, not {expected}", field="requester")
    if int(spec["budget"]["amount"]) != terms.budget:
        raise PolicyDenied(
            "budget_mismatch", f"is {spec['budget']['amount']}, locked are {terms.budget}", field="budget.amount"
        )
    confidence, least = spec["validation"].get("confidence"), config.min_confidence
    if terms.validator != ZERO_ADDRESS and None not in (confidence, least) and confidence < least:
        raise PolicyDenied(
            "confidence_too_low",
            f"is {confidence:g}: an honest result would be rejected once in {1 / (1 - confidence):.3g}",
            field="validation.confidence",
            remedy=f"ask for {least:g} or more",
        )
    check_price(spec, terms, config)


def check_price(spec: Mapping[str, Any], terms: Terms, config: NodeConfig, executions: int = 1) -> None:
    """Raise :class:`PolicyDenied` unless the budget covers the price of so many circuits."""
    charge, cap = charge_for(spec, config, executions), terms.budget - terms.validator_fee
    if charge > cap:
        raise PolicyDenied(
            "budget_too_low",
            f"is {format_wei(cap)}, the job costs {format_wei(charge)}",
            field="budget.amount",
            remedy="lock more, or ask for fewer shots",
        )
