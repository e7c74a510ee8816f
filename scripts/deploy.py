"""``brownie run deploy``: put the contracts on the active network and write where they are.

On a development network the first unlocked account pays. Elsewhere ``QSCROW_DEPLOYER`` names a Brownie keystore account
(``brownie accounts new NAME``), whose password is asked for. The addresses go to ``deployments/<chain id>.json``
(``QSCROW_DEPLOYMENTS`` names another folder), which `qscrow` reads. An existing file for a live network is replaced
only with ``QSCROW_FORCE=1``.
"""

from __future__ import annotations

import os
from pathlib import Path

from brownie import JobEscrow, accounts, web3

from oracle.chain.deployments import Deployment

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
