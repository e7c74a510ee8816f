"""``brownie run deploy``: put the contracts on the active network and write where they are.

On a development network the first unlocked account pays. Elsewhere ``QSCROW_DEPLOYER`` names a Brownie keystore account
(``brownie accounts new NAME``), whose password is asked for. The addresses go to ``deployments/<chain id>.json``
(``QSCROW_DEPLOYMENTS`` names another folder), which `qscrow` reads. An existing file for a live network is replaced
only with ``QSCROW_FORCE=1``.

``brownie run deploy arbitration`` adds a panel of members (``QSCROW_PANEL``, addresses with commas between), the votes
that decide (``QSCROW_THRESHOLD``, all of them if not set) and its fee in wei (``QSCROW_FEE``, 0), and a bridge that
makes it an arbiter for the deployed escrow. ``QSCROW_RULES`` links to the panel's rules.
"""

from __future__ import annotations

import os
from pathlib import Path

from brownie import ArbitrationBridge, JobEscrow, PanelArbitrator, accounts, web3

from oracle.chain.deployments import Deployment
from oracle.jobs.errors import InputError

DEVELOPMENT_CHAINS = {1337, 31337}


def main() -> None:
    """Deploy once and report the addresses."""
    chain_id = web3.eth.chain_id
    folder = Path(os.environ.get("QSCROW_DEPLOYMENTS", "deployments"))
    _refuse_to_replace(folder / f"{chain_id}.json", chain_id)
    escrow = _deployer(chain_id).deploy(JobEscrow)
    deployment = Deployment(
        chain_id=chain_id,
        block=escrow.tx.block_number,
        job_escrow=escrow.address,
        oracle_registry=escrow.oracleRegistry(),
        result_nft=escrow.resultNFT(),
    )
    path = deployment.save(folder)
    print(f"JobEscrow       {deployment.job_escrow}")
    print(f"OracleRegistry  {deployment.oracle_registry}")
    print(f"ResultNFT       {deployment.result_nft}")
    print(f"written to {path} (chain {chain_id}, block {deployment.block})")


def arbitration() -> None:
    """Deploy a panel and its bridge, and report the arbiter to name in a job's terms."""
    chain_id = web3.eth.chain_id
    members = [member.strip() for member in os.environ.get("QSCROW_PANEL", "").split(",") if member.strip()]
    if not members or not all(web3.is_address(member) for member in members):
        raise SystemExit("error: QSCROW_PANEL must list the members' addresses with commas between")
    try:
        deployed = Deployment.load(Path(os.environ.get("QSCROW_DEPLOYMENTS", "deployments")), chain_id)
    except InputError as err:
        raise SystemExit(f"error: {err}") from None
    deployer = _deployer(chain_id)
    threshold = _number("QSCROW_THRESHOLD", len(members))
    if not 1 <= threshold <= len(members):
        raise SystemExit(f"error: QSCROW_THRESHOLD must be from 1 to the {len(members)} members")
    panel = deployer.deploy(PanelArbitrator, members, threshold, _number("QSCROW_FEE", 0))
    bridge = deployer.deploy(ArbitrationBridge, deployed.job_escrow, panel, b"", os.environ.get("QSCROW_RULES", ""))
    print(f"PanelArbitrator    {panel.address} ({threshold} of {len(members)})")
    print(f"ArbitrationBridge  {bridge.address}: name it as arbiter in a job's terms")


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise SystemExit(f"error: {name} must be a whole number, not {text!r}")
    return int(text)


def _deployer(chain_id: int):
    name = os.environ.get("QSCROW_DEPLOYER")
    if name:
        return accounts.load(name)
    if chain_id in DEVELOPMENT_CHAINS:
        return accounts[0]
    raise SystemExit("error: QSCROW_DEPLOYER is not set; name the Brownie account that deploys")


def _refuse_to_replace(path: Path, chain_id: int) -> None:
    if path.exists() and chain_id not in DEVELOPMENT_CHAINS and os.environ.get("QSCROW_FORCE") != "1":
        raise SystemExit(f"error: {path} exists; the contracts are deployed there already (QSCROW_FORCE=1 replaces it)")
