"""What the link tells of a failure, whose text others wrote."""

from __future__ import annotations

import base64

import pytest

from oracle.backends.ibm.link import UNAVAILABLE, _guarded

ACCESS = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"RS256"}', b'{"iam_id":1}', b"x" * 9)
)


@pytest.mark.parametrize("said", ["key-1", ACCESS, f"Bearer {ACCESS}", "\x1b[2J", "\u202e", "key-\n1"])
def test_guarded__secret_or_control_character_in_an_error__is_cut_out(said):
    def fail():
        raise OSError(f"the service says {said} to it")

    found = _guarded(fail, ["key-1", "key-\n1"])
    assert found["failure"] == UNAVAILABLE
    assert found["message"].startswith("OSError: the service says") and found["message"].endswith("to it")
    assert said not in found["message"] and ACCESS not in found["message"] and found["message"].isprintable()


def test_guarded__nobody_answers__does_not_blame_the_token() -> None:
    from qiskit_ibm_runtime.accounts import InvalidAccountError

    def nobody_listens() -> None:
        try:
            raise ConnectionRefusedError("127.0.0.1")
        except OSError as err:
            raise InvalidAccountError("Please check that you are using a valid API token.") from err

    answer = _guarded(nobody_listens, [])

    assert answer["failure"] == UNAVAILABLE
    assert "token" not in answer["message"] and "ConnectionRefusedError" in answer["message"]
