"""What a job will cost at an oracle, by the prices in the profile it has published; nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oracle.chain.client import ChainClient
from oracle.content.store import ContentStore, get_object
from oracle.jobs.amounts import format_wei, parse_amount
from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import InputError
from oracle.jobs.spec import DEFAULTS
from oracle.requester.draft import Draft

PROFILE_TYPE, PROFILE_VERSION = "qscrow.profile", 1
MAX_PROFILE_BYTES = 64 * 1024
_REMEDY = "ask its operator, or give the prices yourself"


@dataclass(frozen=True)
class Profile:
    """What an oracle offers: prices in wei, and the most it takes (``None``: it does not say). ``hardware`` names its
    backends, a run on which costs ``price_hardware`` more."""

    price_base: int
    price_per_shot: int
    max_qubits: int | None = None
    max_shots: int | None = None
    formats: tuple[str, ...] | None = None
    hardware: tuple[str, ...] | None = None
    price_hardware: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Profile:
        """From the document that an oracle published. Raises :class:`InputError`."""
        document = parse_json(data, "profile", MAX_PROFILE_BYTES)
        kind = (document.get("type"), document.get("version")) if isinstance(document, Mapping) else None
        if kind != (PROFILE_TYPE, PROFILE_VERSION):
            raise InputError(f"is not a version {PROFILE_VERSION} profile", field="profile", remedy=_REMEDY)
        return cls(
            *(_wei(document, name) for name in ("price_base", "price_per_shot")),
            *(_most(document, name) for name in ("max_qubits", "max_shots")),
            *(_names(document, name) for name in ("formats", "hardware")),
            _wei({"price_hardware": "0", **document}, "price_hardware"),
        )


@dataclass(frozen=True)
class Quote:
    """``charge`` for ``executions`` circuits of ``shots`` shots each, in wei; ``budget`` is the draft's, if it names
    one. ``objections`` say why the oracle would refuse the job as it is, one line each; ``hardware``: it is for no
    simulator."""

    charge: int
    executions: int
    shots: int
    budget: int | None
    objections: tuple[str, ...]
    hardware: bool = False


def published_profile(chain: ChainClient, store: ContentStore, oracle: str) -> Profile:
    """The profile that ``oracle`` names on chain.

    Raises :class:`InputError` if it has none, :class:`~oracle.jobs.errors.ContentError` if it cannot be had.
    """
    digest = chain.registry.profile_of(oracle)
    if not any(digest):
        raise InputError(f"{oracle} has published no profile", field="oracle", remedy=_REMEDY)
    return Profile.parse(get_object(store, digest, MAX_PROFILE_BYTES))


def quote(draft: Draft, profile: Profile) -> Quote:
    """What ``draft`` will cost. Raises :class:`InputError` for a budget that cannot be read."""
    quantum = {**DEFAULTS["quantum"], **draft.fields["quantum"]}
    shots, executions = quantum["shots"], draft.lint.executions
    charge = profile.price_base + profile.price_per_shot * shots * executions
    hardware = quantum["backend_policy"] == "ibm"  # else simulators come first
    if hardware:
        charge += profile.price_hardware
    amount = (draft.fields.get("budget") or {}).get("amount")
    budget = None if amount is None else parse_amount(amount, "budget.amount")
    objections = tuple(_objections(draft, profile, charge, budget, shots * executions))
    return Quote(charge, executions, shots, budget, objections, hardware)


def _objections(draft: Draft, profile: Profile, charge: int, budget: int | None, shots: int) -> list[str]:
    found = []
    if budget is not None and budget < charge:
        found.append(f"the budget of {format_wei(budget)} does not cover it; lock {format_wei(charge)} or more")
    if profile.formats is not None and draft.format not in profile.formats:
        found.append(f"it takes {', '.join(profile.formats)}, not {draft.format}")
    if draft.fields["quantum"].get("backend_policy") == "ibm" and profile.formats is not None and not profile.hardware:
        found.append("it offers no hardware, which is all that the job takes")
    for what, asked, most in (("qubits", draft.lint.qubits, profile.max_qubits), ("shots", shots, profile.max_shots)):
        if most is not None and asked > most:
            found.append(f"it takes {most} {what} at most, the job has {asked}")
    return found


def _names(document: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    names = document.get(name)
    if names is not None and not (isinstance(names, list) and all(isinstance(each, str) for each in names)):
        raise InputError("is not a list of names", field=f"profile.{name}", remedy=_REMEDY)
    return None if names is None else tuple(names)


def _wei(document: Mapping[str, Any], name: str) -> int:
    text = document.get(name)
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 30):
        raise InputError("is not an amount in wei", field=f"profile.{name}", remedy=_REMEDY)
    return int(text)


def _most(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise InputError("is not a whole number", field=f"profile.{name}", remedy=_REMEDY)
    return value
