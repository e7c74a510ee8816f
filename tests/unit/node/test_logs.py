from __future__ import annotations

import base64
import json
import logging
from datetime import datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.jobs.errors import InputError
from oracle.node.logs import HIDDEN, MAX_TEXT, Redactor, event, writing

PASSWORD = 'correct "horse" ünd\\battery'
KEY = bytes(range(32))
URL = "https://alice:s3cr3t-pass@node.example/v3/abcdef0123456789?apikey=zyxwvu987654"


@pytest.fixture
def log(tmp_path):
    """Everything logged in the block, as text."""

    def read(format: str = "json", level: str = "info"):
        return _Log(tmp_path / "node.log", format, level)

    return read


class _Log:
    def __init__(self, path, format, level):
        self._path = path
        self._options = {"format": format, "level": level, "file": path}

    def __enter__(self):
        self._context = writing(**self._options)
        self.redactor = self._context.__enter__()
        return self

    def __exit__(self, *exc):
        self._context.__exit__(*exc)

    @property
    def text(self) -> str:
        return self._path.read_text()

    @property
    def entries(self) -> list[dict]:
        return [json.loads(line) for line in self.text.splitlines()]


def test_event__json__is_one_object_a_line_with_time_level_and_facts(log):
    with log() as written:
        event("step", job=7, step="ran", tx=KEY, seconds=0.5)

    (entry,) = written.entries
    assert datetime.fromisoformat(entry.pop("ts")).utcoffset().total_seconds() == 0
    assert entry == {"level": "info", "event": "step", "job": 7, "step": "ran", "tx": "0x" + KEY.hex(), "seconds": 0.5}


def test_event__text__is_one_line_for_people(log):
    with log("text") as written:
        event("step", "warning", job=7, note="two\nlines\x1b[2J")

    (line,) = written.text.splitlines()
    assert line.split(maxsplit=2)[2] == r"warning step  job=7  note=two lines\x1b[2J"


@pytest.mark.parametrize("facts", [{"counts": {"00": 500}}, {"note": {"00": 500}}, {"note": b"OPENQASM 2.0;" * 9}])
def test_event__circuits_and_counts__are_not_written(log, facts):
    with log() as written:
        event("step", job=7, **facts)

    assert set(written.entries[0]) == {"ts", "level", "event", "job"}


def test_event__long_text__is_cut(log):
    with log() as written:
        event("step", note="x" * 5_000)

    assert len(written.entries[0]["note"]) == MAX_TEXT


def test_event__below_the_level__is_not_written(log):
    with log(level="warning") as written:
        event("step", job=1)
        event("trouble", "error", job=2)

    assert [entry["job"] for entry in written.entries] == [2]


def test_event__exception__says_what_and_where_but_not_with_which_values(log):
    def inner(counts):
        raise ValueError("broken")

    with log() as written:
        try:
            inner({"secret-looking-value": 1})
        except ValueError as err:
            event("internal error", "error", job=3, exception=err)

    (entry,) = written.entries
    assert entry["error"] == "ValueError: broken"
    assert "test_logs.py" in entry["where"] and "inner" in entry["where"]
    assert "secret-looking-value" not in written.text


def ways_to_leak(log) -> str:
    """Everything a careless line of code might log, in every format; returns the whole output."""
    output = []
    for format in ("json", "text"):
        with log(format, "debug") as written:
            written.redactor.learn(PASSWORD, KEY)
            written.redactor.learn_authorization("Basic aHVudGVyMg==")
            written.redactor.learn_url(URL)
            event("step", note=f"password is {PASSWORD}", reason=PASSWORD, error=json.dumps({"p": PASSWORD}))
            event("step", note=f"0x{KEY.hex()}", error=KEY.hex().upper(), reason=base64.b64encode(KEY).decode())
            event(PASSWORD, url=URL, note=quote(PASSWORD, safe=""))
            event("step", note="Authorization: Basic aHVudGVyMg==", error="basic aHVudGVyMg==")
            logging.getLogger("urllib3").error("POST %s failed with %r", URL, {"Authorization": "Bearer tok3n-tok3n"})
            logging.getLogger("web3").warning("x", exc_info=RuntimeError(f"{URL} {PASSWORD}"))
        output.append(written.text)
    return "".join(output)


@pytest.mark.parametrize(
    "secret",
    [
        PASSWORD,
        json.dumps(PASSWORD)[1:-1],
        quote(PASSWORD, safe=""),
        KEY.hex(),
        base64.b64encode(KEY).decode(),
        "s3cr3t-pass",
        "alice",
        "abcdef0123456789",
        "zyxwvu987654",
        "aHVudGVyMg==",
        "tok3n-tok3n",
    ],
)
def test_writing__whatever_is_logged__no_secret_is_in_the_output(log, secret):
    output = ways_to_leak(log)

    assert secret.lower() not in output.lower()
    assert output.count(HIDDEN) > 10


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://user:pw@host/x", f"http://{HIDDEN}@host/x"),
        ("wss://token@host", f"wss://{HIDDEN}@host"),
        ("authorization: Bearer abc.def", f"authorization: {HIDDEN}"),
        ('{"Authorization": "Basic abcd"}', f'{{"Authorization": "{HIDDEN}"}}'),
        ("QSCROW_PRIVATE_KEY=0x1234", f"QSCROW_PRIVATE_KEY={HIDDEN}"),
        ("password=hunter2 and more", f"password={HIDDEN} and more"),
        ("a basic gate on qubit 3 at http://host/path", "a basic gate on qubit 3 at http://host/path"),
        ("mail bob@example.org", "mail bob@example.org"),
    ],
)
def test_clean__what_looks_like_a_secret__is_hidden_and_nothing_else(text, clean):
    assert Redactor().clean(text) == clean


@given(st.text(min_size=4, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_clean__any_secret_anywhere__is_not_in_the_output(secret, before, after):
    redactor = Redactor()
    redactor.learn(secret)

    left = redactor.clean(before + secret + after)

    assert secret not in left.replace(HIDDEN, "\0")


def test_learn__secrets_too_short_to_tell_from_words__leave_the_log_readable():
    redactor = Redactor()
    redactor.learn("a", "", None, b"")

    assert redactor.clean("a small step") == "a small step"


def test_writing__file_rotated_away__goes_on_in_a_new_one(log, tmp_path):
    with log() as written:
        event("step", job=1)
        (tmp_path / "node.log").rename(tmp_path / "node.log.1")
        event("step", job=2)

    assert [entry["job"] for entry in written.entries] == [2]


def test_writing__ended__leaves_logging_as_it_was(tmp_path):
    before = logging.getLogger().handlers[:], logging.getLogger().level

    with writing(file=tmp_path / "log"):
        pass

    assert (logging.getLogger().handlers[:], logging.getLogger().level) == before


def test_writing__file_cannot_be_opened__is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be written"), writing(file=tmp_path / "nowhere" / "log"):
        pass


def test_writing__no_file__goes_to_stderr(capsys):
    with writing():
        event("step", job=1)

    assert "step  job=1" in capsys.readouterr().err
