"""Where the contracts are, one JSON file per chain: ``deployments/<chain id>.json``."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from oracle.jobs.canonical import parse_json
from oracle.jobs.errors import InputError
from oracle.jobs.identity import parse_address


@dataclass(frozen=True)
class Deployment:
    """Addresses of the three contracts on one chain and the block they appeared in."""

    chain_id: int
    block: int
    job_escrow: str
    oracle_registry: str
    result_nft: str

    def save(self, folder: Path) -> Path:
        """Write ``<folder>/<chain id>.json`` in one step; returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.chain_id}.json"
        names = {_FILE_NAMES[key]: value for key, value in asdict(self).items()}
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(json.dumps(names, indent=2) + "\n")
        os.replace(file.name, path)
        return path

    @classmethod
    def load(cls, folder: Path, chain_id: int) -> Deployment:
        """Read the file for ``chain_id``. Raises :class:`InputError` if absent, malformed or for another chain."""
        path = folder / f"{chain_id}.json"
        try:
            document = parse_json(path.read_bytes(), path.name, 64 * 1024)
        except FileNotFoundError:
            raise InputError(
                f"no deployment of the contracts is known for chain {chain_id}",
                field=str(path),
                remedy="deploy with `brownie run deploy`, start `qscrow localnet`, or copy the file there",
            ) from None
        except OSError as err:
            raise InputError(f"cannot be read ({err.strerror})", field=str(path)) from None
        try:
            values = {key: document[name] for key, name in _FILE_NAMES.items()}
        except (KeyError, TypeError):
            raise InputError(f"must hold {', '.join(_FILE_NAMES.values())}", field=str(path)) from None
        if values["chain_id"] != chain_id:
            raise InputError(f"is for chain {values['chain_id']}, not {chain_id}", field=str(path))
        if not isinstance(values["block"], int) or values["block"] < 0:
            raise InputError("deployedAtBlock must be a block number", field=str(path))
        for key in ("job_escrow", "oracle_registry", "result_nft"):
            values[key] = parse_address(values[key], f"{path}: {_FILE_NAMES[key]}")
        return cls(**values)


_FILE_NAMES = {
    "chain_id": "chainId",
    "block": "deployedAtBlock",
    "job_escrow": "jobEscrow",
    "oracle_registry": "oracleRegistry",
    "result_nft": "resultNFT",
}
