"""``qscrow init``, ``simulate``, ``quote`` and ``submit``: from an empty folder to a funded job."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli.canaries import open_openings
from oracle.cli.context import Account, PasswordFile, Rpc, open_chain, open_content, open_keys, party_address
from oracle.cli.output import Json, facts, histogram, progress, say, show_json, when
from oracle.cli.routing import show_decision
from oracle.cli.settings import Settings, load_settings
from oracle.jobs.amounts import format_wei, parse_amount
from oracle.jobs.errors import InputError, PolicyDenied
from oracle.jobs.noise import Noise
from oracle.jobs.terms import ZERO_ADDRESS

if TYPE_CHECKING:
    from oracle.requester.canaries import Mixed
    from oracle.requester.quote import Profile, Quote
    from oracle.requester.submit import Parties, Submission

Draft = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The draft.")]
ANY_ORACLE = "open"


def init(
    path: Annotated[Path, typer.Argument(metavar="[JOB.yaml]", help="Where to write it.")] = Path("job.yaml"),
    example: Annotated[
        str,
        typer.Option(
            help="ghz, bernstein_vazirani, grover, qft, vqe_ansatz (OpenQASM 3), instructions (JSON), sweep (JSON: "
            "parameter sets and expectation values) or too_wide (OpenQASM 2; more than a simulator holds)."
        ),
    ] = "ghz",
    json: Json = False,
) -> None:
    """Write a draft and its circuit to start from."""
    from oracle.requester.draft import write_example

    written = [str(file) for file in write_example(path, example)]
    if json:
        return show_json({"written": written})
    say(f"wrote {' and '.join(written)}")
    say(f"Next: qscrow simulate {path}")


def simulate(
    draft: Draft,
    shots: Annotated[int | None, typer.Option(min=1, help="Instead of the draft's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Instead of the draft's.")] = None,
    noise: Annotated[
        str | None,
        typer.Option(metavar="RATES", help="Instead of the draft's, such as two_qubit=0.01,readout=0.02, or none."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what could run it, and why; run nothing.")] = False,
    json: Json = False,
) -> None:
    """Run a draft's circuit on this machine, without any chain."""
    from oracle.requester.draft import load_draft
    from oracle.requester.results import lines_of
    from oracle.requester.simulate import explain as weigh
    from oracle.requester.simulate import simulate as run_locally
    from oracle.requester.simulate import with_noise

    loaded = load_draft(draft)
    if noise is not None:
        loaded = with_noise(loaded, _rates(noise))
    if explain:
        with progress("analysing", quiet=json):
            decision = weigh(loaded, shots=shots, seed=seed)
        return show_json(decision.as_dict()) if json else show_decision(decision)
    with progress("simulating", quiet=json):
        run = run_locally(loaded, shots=shots, seed=seed)
    if json:
        return show_json(asdict(run))
    noisy = f", noise {Noise(**run.noise)}" if run.noise else ""
    say(f"{run.shots} shots on {run.engine}: {run.qubits} qubits, depth {run.depth}, seed {run.seed}{noisy}")
    for line in lines_of(run.runs) if run.runs else histogram(run.counts):
        say(line)


def _rates(text: str) -> dict[str, float]:
    """Rates by name, as in a draft's section quantum.noise; empty for ``none``."""
    if text.strip() == "none":
        return {}
    pairs = [part.partition("=") for part in text.split(",")]
    remedy = "write for example one_qubit=0.001,two_qubit=0.01,readout=0.02"
    try:
        rates = {name.strip(): float(rate) for name, _, rate in pairs}
    except ValueError:
        raise InputError(f"{text[:60]!r} is no list of rates", field="noise", remedy=remedy) from None
    if len(rates) < len(pairs):
        raise InputError(f"{text[:60]!r} says one rate twice", field="noise", remedy=remedy)
    return rates


def quote(
    draft: Draft,
    oracle: Annotated[
        str | None, typer.Option(help="Address or account name of an oracle, for the prices in its profile.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A profile as JSON, instead of --oracle.")
    ] = None,
    price_base: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Price per job, instead of either.")] = None,
    price_per_shot: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Price per shot.")] = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Say what a draft's job will cost, without sending anything. Exits with 7 if the oracle would refuse it."""
    from oracle.requester.draft import load_draft
    from oracle.requester.quote import quote as reckon

    found = reckon(load_draft(draft), _prices(oracle, profile, price_base, price_per_shot, rpc))
    if json:
        amounts = {"charge": str(found.charge), "budget": None if found.budget is None else str(found.budget)}
        show_json({**asdict(found), **amounts})
    else:
        _show_quote(found)
    if found.objections:
        raise typer.Exit(PolicyDenied.exit_code)


def _show_quote(found: Quote) -> None:
    times = f"{found.executions} circuits of {found.shots} shots" if found.executions > 1 else f"{found.shots} shots"
    say(f"{format_wei(found.charge)} for {times} on {'hardware' if found.hardware else 'a simulator'}")
    rows = {"budget": "none yet" if found.budget is None else format_wei(found.budget)}
    if found.budget is not None and found.budget >= found.charge:
        rows["comes back"] = format_wei(found.budget - found.charge)
    facts(rows)
    for line in found.objections:
        say(f"refused: {line}")


def submit(
    draft: Draft,
    oracle: Annotated[
        str, typer.Option(help="Address or account name of the oracle, or `open` for whoever accepts first.")
    ] = ANY_ORACLE,
    bond: Annotated[str, typer.Option(metavar="AMOUNT", help="What the oracle locks, e.g. '0.01 ether'.")] = "0",
    validator: Annotated[str | None, typer.Option(help="Address or account that judges the result.")] = None,
    validator_fee: Annotated[str, typer.Option(metavar="AMOUNT", help="Its part of the budget.")] = "0",
    arbiter: Annotated[str | None, typer.Option(help="Address or account that rules on a dispute.")] = None,
    canaries: Annotated[
        int, typer.Option(min=0, metavar="K", help="Mix K circuits with known answers among yours.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before locking money.")] = False,
    account: Account = None,
    password_file: PasswordFile = None,
    rpc: Rpc = None,
    json: Json = False,
) -> None:
    """Pin circuit and spec, and lock the budget.

    With --canaries, `qscrow canaries open JOB` opens them once the result is delivered; what opens them is kept in the
    home.
    """
    from oracle.chain.sender import Sender
    from oracle.requester.draft import load_draft
    from oracle.requester.submit import check, prepare
    from oracle.requester.submit import submit as lock_and_pin

    if not (yes or dry_run) and (json or not sys.stdin.isatty()):
        raise InputError("nobody can be asked here", field="yes", remedy="give --yes to lock the budget, or --dry-run")
    settings = load_settings(rpc=rpc, account=account, password_file=password_file)
    loaded = load_draft(draft)
    mixed = None
    if canaries:
        from oracle.requester.canaries import mix

        with progress("mixing in canaries", quiet=json):
            mixed = mix(loaded, canaries)
        loaded = mixed.draft
    parties = _parties(settings, oracle, validator, arbiter, validator_fee, bond)
    with progress("checking", quiet=json):
        chain = open_chain(settings)
        signer, key = open_keys(settings)
        ready = prepare(loaded, parties, chain=chain, requester=signer.address, key=key)
        sender = Sender(chain.w3, signer, chain_id=chain.chain_id)
        check(ready, chain=chain, sender=sender)
    if dry_run:
        return _show_dry_run(ready, chain.chain_id, mixed, json)
    if not yes:
        facts(_job_facts(ready, mixed))
        if not typer.confirm(f"Lock {format_wei(ready.terms.budget)}?", err=True):
            say("nothing was sent")
            raise typer.Exit(1)
    if mixed:  # on the disk before any money moves: without it nobody could judge
        open_openings(settings).keep(ready.terms.spec, mixed.plan)
    with progress("submitting", quiet=json):
        done = lock_and_pin(ready, chain=chain, store=open_content(settings), sender=sender)
    transaction = f"0x{done.receipt.tx_hash.hex()}"
    if json:
        gas = {"gas": done.receipt.gas_used, "fee": str(done.receipt.fee)}
        return show_json(
            {"job": done.job_id, "transaction": transaction, **gas, **_job_document(ready, chain.chain_id, mixed)}
        )
    say(f"Job {done.job_id} is on chain {chain.chain_id} ({transaction}, {done.receipt.gas_used} gas)")
    facts(_job_facts(ready, mixed))
    if mixed:
        timeouts = ready.spec["timeouts"]
        longest = timeouts["accept_seconds"] + timeouts["deliver_seconds"]
        say(f"Next: qscrow canaries open {done.job_id} --wait {longest}")
    else:
        say(f"Next: qscrow watch {done.job_id}")


def _prices(
    oracle: str | None, profile: Path | None, price_base: str | None, price_per_shot: str | None, rpc: str | None
) -> Profile:
    from oracle.requester.draft import read_file
    from oracle.requester.quote import MAX_PROFILE_BYTES, Profile, published_profile

    by_hand = price_base is not None or price_per_shot is not None
    if sum((oracle is not None, profile is not None, by_hand)) != 1:
        raise InputError(
            "prices have to come from one place",
            field="oracle",
            remedy="give --oracle, or --profile, or --price-base and --price-per-shot",
        )
    if by_hand:
        base, per_shot = price_base or "0", price_per_shot or "0"
        return Profile(parse_amount(base, "price_base"), parse_amount(per_shot, "price_per_shot"))
    if profile is not None:
        return Profile.parse(read_file(profile, MAX_PROFILE_BYTES, "profile"))
    settings = load_settings(rpc=rpc)
    return published_profile(open_chain(settings), open_content(settings), party_address(settings, oracle, "oracle"))


def _parties(
    settings: Settings, oracle: str, validator: str | None, arbiter: str | None, validator_fee: str, bond: str
) -> Parties:
    from oracle.requester.submit import Parties

    return Parties(
        oracle=ZERO_ADDRESS if oracle == ANY_ORACLE else party_address(settings, oracle, "oracle"),
        validator=party_address(settings, validator, "validator") if validator else ZERO_ADDRESS,
        arbiter=party_address(settings, arbiter, "arbiter") if arbiter else ZERO_ADDRESS,
        validator_fee=parse_amount(validator_fee, "validator_fee"),
        bond=parse_amount(bond, "bond"),
    )


def _show_dry_run(ready: Submission, chain_id: int, mixed: Mixed | None, json: bool) -> None:
    if json:
        return show_json({"dry_run": True, **_job_document(ready, chain_id, mixed), "spec_document": ready.spec})
    say("Nothing was sent. The job would be:")
    facts(_job_facts(ready, mixed))


def _job_document(ready: Submission, chain_id: int, mixed: Mixed | None) -> dict[str, Any]:
    counted = {"circuits": len(mixed.plan.circuits), "canaries": len(mixed.plan.canaries)} if mixed else {}
    return {
        **counted,
        "chain_id": chain_id,
        "locked": str(ready.terms.budget),
        "accept_by": ready.terms.accept_by,
        "deliver_by": ready.terms.deliver_by,
        "spec": ready.spec_link,
        "circuit": ready.spec["quantum"]["circuit"],
        "terms": ready.terms.to_json(),
    }


def _job_facts(ready: Submission, mixed: Mixed | None) -> dict[str, Any]:
    terms = ready.terms
    rows = {
        "requester": terms.requester,
        "oracle": "whoever accepts first" if terms.is_open else terms.oracle,
    }
    if terms.validator != ZERO_ADDRESS:
        rows["validator"] = f"{terms.validator}, {format_wei(terms.validator_fee)} for a verdict"
    if terms.arbiter != ZERO_ADDRESS:
        rows["arbiter"] = terms.arbiter
    if terms.challenge_period:
        rows["challenge period"] = f"{terms.challenge_period} s"
    if mixed:
        rows["circuits"] = f"{len(mixed.plan.circuits)}, {len(mixed.plan.canaries)} of them canaries"
    return rows | {
        "locked budget": format_wei(terms.budget),
        "oracle's bond": format_wei(terms.bond),
        "accept by": when(terms.accept_by),
        "deliver by": when(terms.deliver_by),
        "spec": ready.spec_link,
        "circuit": ready.spec["quantum"]["circuit"],
    }
