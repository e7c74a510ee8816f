"""Who somebody is: ``did:pkh`` for an account on a chain."""

from __future__ import annotations

from functools import lru_cache

from oracle.jobs.errors import InputError


@lru_cache(4096)
def checksummed(address: str) -> str:
    """A 20-byte address in hex with its checksum (ERC-55). Remembered, for the same few occur in every event."""
    from eth_utils import to_checksum_address

    return to_checksum_address(address)


def did_pkh(chain_id: int, address: str) -> str:
    """``did:pkh:eip155:<chain id>:<address>`` (CAIP-10 account inside the did:pkh method)."""
    return f"did:pkh:eip155:{chain_id}:{parse_address(address)}"


def parse_address(text: object, field: str = "address") -> str:
    """``text`` as a checksummed address. Raises :class:`InputError`, also for a wrong checksum (EIP-55)."""
    from eth_utils import is_checksum_address, is_hex_address, to_checksum_address

    if not isinstance(text, str) or not is_hex_address(text) or not text.startswith("0x"):
        raise InputError(f"{str(text)[:60]!r} is not an address", field=field, remedy="give 0x and 40 hex digits")
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(text):
        raise InputError(f"{text} has a wrong checksum", field=field, remedy="copy the address again")
    return to_checksum_address(text)
