from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.jobs.amounts import MAX_AMOUNT
from oracle.jobs.errors import InputError
from oracle.node.kinds import Addresses, File, Files, Flag, Money, Seconds, Secret, Share, Text, Url, Urls, Whole, Words

ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
URLS = st.from_regex(r"https?://[a-z]{1,8}\.example(:[1-9][0-9]{0,3})?", fullmatch=True)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Whole(), True),
        (Whole(), 1.0),
        (Whole(), "4"),
        (Whole(1), 0),
        (Whole(0, 5), 6),
        (Whole(word="off"), "of"),
        (Seconds(), "1"),
        (Seconds(), False),
        (Seconds(), -0.1),
        (Seconds(above=0), 0),
        (Seconds(), math.inf),
        (Seconds(), math.nan),
        (Money(), 0.5),
        (Money(), "0.5 bitcoin"),
        (Money(), True),
        (Money(), "-1 ether"),
        (Flag(), "true"),
        (Flag(), 1),
        (Text(), 5),
        (Text(("a", "b")), "c"),
        (File(), 5),
        (File(), ""),
        (Files(), 5),
        (Files(), ["a", 5]),
        (Secret(), 5),
        (Url(), "ftp://x"),
        (Url(), "/ip4/127.0.0.1/tcp/5001"),
        (Url(), "http://"),
        (Url(), "http://[::1"),
        (Urls(), 5),
        (Urls(), ["http://a", 5]),
        (Urls(), ["http://a", "nonsense"]),
        (Urls(), ["http://a", "http://a"]),
        (Share(), 0),
        (Share(), 1.5),
        (Share(), True),
        (Share(), "much"),
        (Words(("a", "b")), "a"),
        (Words(("a", "b")), ["a", "c"]),
        (Words(("a", "b")), ["a", 5]),
        (Addresses(), "0x1"),
        (Addresses(), ["0x1"]),
        (Addresses(), [ADDRESS.replace("C", "c", 1)]),
    ],
)
def test_parse__not_of_the_kind__is_refused_with_a_remedy(kind, raw):
    with pytest.raises(InputError) as caught:
        kind.parse(raw)

    assert caught.value.remedy
    assert caught.value.field is None


@pytest.mark.parametrize("kind", [Url(), Urls(), Secret()])
def test_parse__unusable_secret__is_not_quoted(kind):
    with pytest.raises(InputError) as caught:
        kind.parse(["https//user:hunter2@host"] if isinstance(kind, Urls) else 5)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Whole(), " 1_000 ", 1_000),
        (Whole(word="off"), "off", None),
        (Seconds(), "1.5", 1.5),
        (Money(), "25 gwei", 25 * 10**9),
        (Money(), "7", 7),
        (Flag(), "Yes", True),
        (Flag(), "0", False),
        (Text(), " x ", "x"),
        (Secret(), "x\n", "x"),
        (Files(), "/a, ,/b", (Path("/a"), None, Path("/b"))),
        (Files(), " ", ()),
        (Urls(), "http://a, http://b\n", ("http://a", "http://b")),
        (Urls(multiaddr=True), "/ip4/127.0.0.1/tcp/5001", ("/ip4/127.0.0.1/tcp/5001",)),
        (Addresses(), f"{ADDRESS},{ADDRESS.lower()}", frozenset({ADDRESS})),
        (Share(), "0.25", 0.25),
        (Share(), "off", None),
        (Words(("a", "b")), "b, a", frozenset({"a", "b"})),
    ],
)
def test_parse_text__as_people_write_it__is_understood(kind, text, value):
    assert kind.parse_text(text) == value


@pytest.mark.parametrize("kind", [Whole(), Whole(word="off"), Seconds(), Share(), Flag(), Money(), Addresses()])
@pytest.mark.parametrize("text", ["", "soon", "١", "1e", "--5", "0x10", "nan"])
def test_parse_text__nonsense__is_an_input_error(kind, text):
    if isinstance(kind, Addresses) and not text:
        return
    with pytest.raises(InputError):
        kind.parse_text(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:hunter2@node.example:8545/v3/hunter2?key=hunter2", '"https://node.example:8545/…"'),
        ("https://node.example/", '"https://node.example"'),
        ("http://127.0.0.1:8545", '"http://127.0.0.1:8545"'),
    ],
)
def test_show__url__keeps_everything_secret_to_itself(url, shown):
    assert Url().show(Url().parse(url)) == shown
    assert Urls().show((url,)) == f"[{shown}]"


def test_show__secret__says_only_whether_there_is_one():
    assert Secret().show("hunter2") == "set, not shown"
    assert Secret().show("") == '""'


def through_toml(kind, value):
    """``value`` written to a file and read back."""
    return kind.parse(tomllib.loads(f"x = {kind.show(value)}")["x"])


@given(st.one_of(st.none(), st.integers(0, 2**53)))
def test_show__whole__is_read_back(value):
    assert through_toml(Whole(word="off"), value) == value


@given(st.integers(0, MAX_AMOUNT))
def test_show__money__is_read_back(value):
    assert through_toml(Money(), value) == value


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"))))
def test_show__text__is_read_back(value):
    assert through_toml(Text(), value) == value


@given(st.lists(URLS, unique=True).map(tuple))
def test_show__urls__are_read_back(value):
    assert through_toml(Urls(), value) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Flag(), True),
        (Flag(), False),
        (Seconds(), 0.5),
        (Addresses(), frozenset({ADDRESS})),
        (Files(), (Path("/a"), None)),
        (Share(), 0.08),
        (Share(), None),
        (Words(("a", "b")), frozenset({"a", "b"})),
    ],
)
def test_show__others__are_read_back(kind, value):
    assert through_toml(kind, value) == value
