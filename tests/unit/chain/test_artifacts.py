from __future__ import annotations

import re
from pathlib import Path

import pytest
from eth_utils import keccak

from oracle.chain.artifacts import artifact, errors_by_selector

ROOT = Path(__file__).resolve().parents[3]
CONTRACTS = ("JobEscrow", "OracleRegistry", "ResultNFT")


@pytest.mark.parametrize("name", CONTRACTS)
def test_artifact__each_contract__has_abi_bytecode_and_compiler(name):
    shipped = artifact(name)

    assert shipped["contractName"] == name
    assert re.fullmatch(r"0x[0-9a-f]{2000,}", shipped["bytecode"])
    assert {entry["type"] for entry in shipped["abi"]} >= {"function", "error"}
    assert shipped["compiler"]["version"] == "0.8.37"


@pytest.mark.parametrize("name", CONTRACTS)
def test_artifact__against_the_interface__declares_its_errors_and_events(name):
    source = (ROOT / "interfaces" / f"I{name}.sol").read_text()
    declared = {entry["name"] for entry in artifact(name)["abi"] if entry["type"] in ("error", "event")}

    wanted = set(re.findall(r"^\s+(?:error|event) (\w+)\(", source, re.MULTILINE))

    assert wanted
    assert wanted <= declared


def test_errors_by_selector__every_entry__is_keyed_by_the_hash_of_its_signature():
    table = errors_by_selector()

    assert len(table) > 20
    for selector, (name, inputs) in table.items():
        signature = f"{name}({','.join(kind for _, kind in inputs)})"
        assert selector == "0x" + keccak(text=signature)[:4].hex()
