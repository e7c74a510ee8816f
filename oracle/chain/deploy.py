"""Putting the contracts on a chain: one transaction, the escrow creates the other two."""

from __future__ import annotations

from typing import Any

from oracle.chain.artifacts import artifact
from oracle.chain.contracts import Call
from oracle.chain.deployments import Deployment
from oracle.chain.failures import endpoint_name, translated
from oracle.chain.sender import Sender


def deploy(w3: Any, account: Any) -> Deployment:
    """Deploy from ``account`` and say where the contracts are. Raises :class:`ChainError`."""
    receipt = Sender(w3, account).send(Call("deploy", "", artifact("JobEscrow")["bytecode"]))
    with translated(endpoint_name(w3)):
        address = w3.eth.get_transaction_receipt(receipt.tx_hash)["contractAddress"]
        escrow = w3.eth.contract(address=address, abi=artifact("JobEscrow")["abi"])
        return Deployment(
            chain_id=w3.eth.chain_id,
            block=receipt.block,
            job_escrow=address,
            oracle_registry=escrow.functions.oracleRegistry().call(),
            result_nft=escrow.functions.resultNFT().call(),
        )
