from __future__ import annotations

import pytest
import requests
from eth_abi import encode
from eth_tester.exceptions import TransactionFailed
from hypothesis import given
from hypothesis import strategies as st
from web3 import exceptions as web3_errors

from oracle.chain.artifacts import errors_by_selector
from oracle.chain.failures import REMEDIES, Reverted, revert_data, translated
from oracle.jobs.errors import ChainError, ChainUnavailable, InputError

SAMPLES = {
    "address": "0x" + "ab" * 20,
    "uint256": 7,
    "uint8": 1,
    "bytes32": b"budget".ljust(32, b"\0"),
    "string": "text",
}
ERRORS = sorted(errors_by_selector().items())


def translation_of(err: Exception, url: str = "http://node") -> ChainError:
    with pytest.raises(ChainError) as translation, translated(url):
        raise err
    return translation.value


@pytest.mark.parametrize(("selector", "entry"), ERRORS, ids=[entry[0] for _, entry in ERRORS])
def test_translated__each_custom_error__keeps_its_name_and_arguments(selector, entry):
    name, inputs = entry
    values = [SAMPLES[kind] for _, kind in inputs]
    data = selector + encode([kind for _, kind in inputs], values).hex()

    remote = translation_of(web3_errors.ContractCustomError(data, data=data))
    local = translation_of(TransactionFailed(f"execution reverted: {bytes.fromhex(data[2:])!r}"))

    for refusal in (remote, local):
        assert isinstance(refusal, Reverted)
        assert refusal.name == name
        assert list(refusal.arguments) == [argument for argument, _ in inputs]
        assert list(refusal.arguments.values()) == values
        assert name in str(refusal)
        assert refusal.remedy == REMEDIES.get(name)


def test_translated__wrong_state__says_the_state_in_words():
    (selector,) = [key for key, (name, _) in ERRORS if name == "WrongState"]

    known = translation_of(web3_errors.ContractCustomError("", data=selector + encode(["uint256"] * 2, [7, 10]).hex()))
    future = translation_of(web3_errors.ContractCustomError("", data=selector + encode(["uint256"] * 2, [7, 77]).hex()))

    assert "jobId=7, state=Settled" in str(known)
    assert "state=77" in str(future)


def test_translated__invalid_terms__says_the_field_in_words():
    (selector,) = [key for key, (name, _) in ERRORS if name == "InvalidTerms"]

    refusal = translation_of(web3_errors.ContractCustomError("", data=selector + b"bond".ljust(32, b"\0").hex()))

    assert "InvalidTerms(field=bond)" in str(refusal)


def test_translated__reason_text_of_another_contract__is_shown():
    data = "0x08c379a0" + encode(["string"], ["ERC20: no"]).hex()

    assert "ERC20: no" in str(translation_of(web3_errors.ContractLogicError("", data=data)))


@pytest.mark.parametrize("data", [None, "", "0x", "0x12", "0xdeadbeef", {}, {"data": None}, 7, b"\0"])
def test_translated__revert_without_a_known_error__is_a_chain_error(data):
    refusal = translation_of(web3_errors.ContractLogicError("execution reverted", data=data))

    assert not isinstance(refusal, Reverted)
    assert "refused the call" in str(refusal)
    assert data == "0xdeadbeef" or "check the deployment file and the chain" in refusal.remedy


@given(
    st.sampled_from([key for key, _ in ERRORS] + ["0x08c379a0"]),
    st.one_of(st.binary(max_size=70).map(bytes.hex), st.text(max_size=8)),
)
def test_translated__hostile_revert_data__is_still_a_chain_error(selector, rest):
    translation_of(web3_errors.ContractCustomError("x", data=selector + rest))


@pytest.mark.parametrize(
    ("err", "kind"),
    [
        (requests.ConnectionError("to http://user:secret@node"), ChainUnavailable),
        (requests.Timeout(), ChainUnavailable),
        (requests.HTTPError("500 for http://user:secret@node"), ChainUnavailable),
        (ConnectionResetError(), ChainUnavailable),
        (web3_errors.TimeExhausted("x"), ChainUnavailable),
        (web3_errors.BadFunctionCallOutput("x"), ChainError),
        (web3_errors.Web3RPCError("insufficient funds for gas"), ChainError),
        (ValueError("line\nline"), ChainError),
        (KeyError(), ChainError),
    ],
)
def test_translated__anything_web3_raises__is_one_line_that_names_the_endpoint_only(err, kind):
    shown = translation_of(err)

    assert type(shown) is kind
    assert "secret" not in str(shown)
    assert "\n" not in str(shown)


def test_translated__our_own_error__passes_through():
    own = InputError("mine")

    with pytest.raises(InputError) as passed, translated():
        raise own

    assert passed.value is own


@pytest.mark.parametrize(
    "text", ["execution reverted: b'", "execution reverted: b'\\x'", "execution reverted: hello", ""]
)
def test_revert_data__no_bytes_in_the_message__is_none(text):
    assert revert_data(TransactionFailed(text)) is None


@given(st.binary(max_size=100))
def test_revert_data__bytes_in_the_message__are_found(data):
    assert revert_data(TransactionFailed(f"execution reverted: {data!r}")) == data
