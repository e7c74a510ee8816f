"""The compiled contracts that ship with the package (written by ``scripts/artifacts.py``)."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

CONTRACTS = ("JobEscrow", "OracleRegistry", "ResultNFT")
ARBITRATION = ("ArbitrationBridge", "PanelArbitrator")


@cache
def artifact(name: str) -> dict[str, Any]:
    """ABI, creation bytecode and compiler settings of one of :data:`CONTRACTS` or :data:`ARBITRATION`."""
    return json.loads(resources.files("oracle.chain").joinpath(f"abi/{name}.json").read_text())


@cache
def errors_by_selector() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Custom errors of all shipped contracts: 4-byte selector as 0x-hex to (name, [(argument, type)])."""
    from eth_utils import keccak

    table = {}
    for contract in CONTRACTS + ARBITRATION:
        for entry in artifact(contract)["abi"]:
            if entry["type"] == "error":
                inputs = [(argument["name"], argument["type"]) for argument in entry["inputs"]]
                signature = f"{entry['name']}({','.join(kind for _, kind in inputs)})"
                table["0x" + keccak(text=signature)[:4].hex()] = (entry["name"], inputs)
    return table
