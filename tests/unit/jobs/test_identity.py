from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.jobs.errors import InputError
from oracle.jobs.identity import did_pkh, parse_address

CHECKSUMMED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # an example of EIP-55


@pytest.mark.parametrize("text", [CHECKSUMMED, CHECKSUMMED.lower(), "0x" + CHECKSUMMED[2:].upper()])
def test_parse_address__any_accepted_spelling__is_checksummed(text):
    assert parse_address(text) == CHECKSUMMED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        CHECKSUMMED[2:],
        CHECKSUMMED[:-1],
        CHECKSUMMED + "0",
        CHECKSUMMED + "\n",
        " " + CHECKSUMMED,
        CHECKSUMMED[:-1] + "g",
        "0X" + CHECKSUMMED[2:],
        "vitalik.eth",
        None,
        5,
        b"\x01" * 20,
        ["0x"],
    ],
)
def test_parse_address__no_address__is_refused_with_the_field(text):
    with pytest.raises(InputError) as refused:
        parse_address(text, "oracle")

    assert refused.value.field == "oracle"


def test_parse_address__one_letter_in_the_wrong_case__is_refused():
    with pytest.raises(InputError, match="wrong checksum"):
        parse_address(CHECKSUMMED.replace("aAeb", "AAeb"))


@given(st.binary(min_size=20, max_size=20))
def test_parse_address__its_own_answer__is_taken_again(raw):
    address = parse_address("0x" + raw.hex())

    assert parse_address(address) == address
    assert bytes.fromhex(address[2:]) == raw


def test_did_pkh__lower_case_address__names_chain_and_checksummed_account():
    assert did_pkh(31337, CHECKSUMMED.lower()) == f"did:pkh:eip155:31337:{CHECKSUMMED}"


def test_did_pkh__no_address__is_refused():
    with pytest.raises(InputError):
        did_pkh(1, "0x12")
