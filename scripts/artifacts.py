"""Compile the contracts into the artefacts that ship inside ``oracle/chain/abi/``.

    python scripts/artifacts.py           write them
    python scripts/artifacts.py --check   compare with what is committed; exit 1 on a difference
    python scripts/artifacts.py --standard-json FILE
                                          write the compiler's whole input, for source verification

One file per contract: ABI, creation bytecode, and its share of the compiler's input, so that running Qscrow needs
Python alone and anyone can check that the bytes come from these sources.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "oracle" / "chain" / "abi"
SOLC = "0.8.37"
CONTRACTS = {
    "JobEscrow": "contracts/JobEscrow.sol",
    "OracleRegistry": "contracts/OracleRegistry.sol",
    "ResultNFT": "contracts/ResultNFT.sol",
    "ArbitrationBridge": "contracts/arbitration/ArbitrationBridge.sol",
    "PanelArbitrator": "contracts/arbitration/PanelArbitrator.sol",
}
SETTINGS = {
    "evmVersion": "cancun",
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 3_000},
    "remappings": ["@openzeppelin/=node_modules/@openzeppelin/"],
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
}


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--standard-json"] and len(arguments) == 2:
        Path(arguments[1]).write_text(json.dumps(verification_input(), indent=1) + "\n")
        print(f"wrote {arguments[1]}")
        return 0
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    return write_or_check(check=bool(arguments))


def write_or_check(*, check: bool) -> int:
    built = build()
    if not check:
        OUT.mkdir(parents=True, exist_ok=True)
        for name, text in built.items():
            (OUT / name).write_text(text)
        print(f"wrote {len(built)} artefacts to {OUT.relative_to(ROOT)}")
        return 0
    stale = [n for n, text in built.items() if not (OUT / n).exists() or (OUT / n).read_text() != text]
    if stale:
        print(f"stale: {', '.join(stale)}; run `make artifacts` and commit the result", file=sys.stderr)
        return 1
    print(f"{len(built)} artefacts match the sources")
    return 0


def build() -> dict[str, str]:
    """File name to JSON text for every shipped contract."""
    import solcx

    standard_input = compiler_input()
    output = solcx.compile_standard(standard_input, solc_version=SOLC, base_path=str(ROOT), allow_paths=str(ROOT))
    files = {}
    for name, path in CONTRACTS.items():
        compiled = output["contracts"][path][name]
        artifact = {
            "contractName": name,
            "compiler": {"version": SOLC, "evmVersion": SETTINGS["evmVersion"], **SETTINGS["optimizer"]},
            "sourcesDigest": sources_digest(standard_input),
            "abi": compiled["abi"],
            "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
        }
        files[f"{name}.json"] = json.dumps(artifact, indent=1, sort_keys=True) + "\n"
    return files


def compiler_input() -> dict:
    """The compiler's standard-JSON input, but for the library it imports."""
    folders = ("contracts", "interfaces")
    paths = sorted(p for folder in folders for p in (ROOT / folder).rglob("*.sol") if "test" not in p.parts)
    sources = {str(p.relative_to(ROOT)): {"content": p.read_text()} for p in paths}
    return {"language": "Solidity", "sources": sources, "settings": SETTINGS}


def verification_input() -> dict:
    """:func:`compiler_input` with the library's sources in it as well, so that it compiles without any file."""
    import solcx

    complete = compiler_input()
    wanted = {**complete["settings"], "outputSelection": {"*": {"*": ["metadata"]}}}
    output = solcx.compile_standard(
        {**complete, "settings": wanted}, solc_version=SOLC, base_path=str(ROOT), allow_paths=str(ROOT)
    )
    for name, path in CONTRACTS.items():
        metadata = json.loads(output["contracts"][path][name]["metadata"])
        for source in metadata["sources"]:
            complete["sources"].setdefault(source, {"content": (ROOT / source).read_text()})
    return complete


def sources_digest(standard_input: dict) -> str:
    """sha-256 over the canonical JSON of the sources and settings."""
    text = json.dumps(standard_input, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
