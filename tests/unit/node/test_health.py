from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request

import pytest

from oracle.jobs.errors import InputError
from oracle.node.config import NodeConfig
from oracle.node.health import Health, serving

CONFIG = NodeConfig(health_silence_seconds=60, max_lag_blocks=10, low_balance_wei=10**16, poll_seconds=1)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(CONFIG, clock)


def get(url: str) -> tuple[int, dict]:
    """Status and JSON body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as err:
        return err.code, json.loads(err.read())


def test_health__just_started__is_well_but_not_ready(health):
    assert health.problems() == {}
    assert not health.is_ready()


def test_health__after_a_look__is_ready(health):
    health.beat()

    assert health.is_ready()
    assert health.document()["ticks"] == 1


def test_health__silent_for_too_long__says_so_until_the_next_look(health, clock):
    health.beat()
    clock.now += 60
    assert health.problems() == {}

    clock.now += 1
    assert set(health.problems()) == {"silent"}
    assert not health.is_ready()

    health.beat()
    assert health.problems() == {}


def test_health__catching_up_for_long__is_not_silence(health, clock):
    for _ in range(5):
        clock.now += 50
        health.alive()

    assert health.problems() == {}
    assert not health.is_ready()


@pytest.mark.parametrize(("last", "wrong"), [(90, False), (89, True)])
def test_health__too_far_behind_what_could_be_read__is_not_well(health, last, wrong):
    health.beat()
    health.at(head=200, target=100, last=last)

    assert ("behind" in health.problems()) == wrong
    assert health.document()["behind"] == 100 - last


@pytest.mark.parametrize(("balance", "wrong"), [(10**16, False), (10**16 - 1, True)])
def test_health__little_money__is_not_well(health, balance, wrong):
    health.holds(balance)

    assert ("balance" in health.problems()) == wrong
    assert health.document()["balance"] == str(balance)


def test_health__journal_cannot_be_written__says_so_until_it_can(health):
    health.beat()
    health.journal("disk full")
    assert health.problems() == {"journal": "disk full"}

    health.journal()
    assert health.problems() == {}


def test_health__halted__stays_so(health):
    health.beat()
    health.halt("block 7 was final")
    health.beat()
    health.journal()

    assert health.problems() == {"halted": "block 7 was final"}
    assert health.is_halted


def test_health__draining__is_well_and_not_ready_however_long_it_takes(health, clock):
    health.beat()
    health.drain()
    clock.now += 1_000

    assert health.problems() == {}
    assert not health.is_ready()


def test_serving__each_path__answers_with_its_page(health, clock):
    health.beat()
    pages = {"/health": health.health_page, "/ready": health.ready_page}
    with serving(pages, 0) as url:
        assert get(f"{url}/health?verbose=1")[0] == 200
        assert get(f"{url}/ready") == (200, {"ready": True})
        clock.now += 61
        status, body = get(f"{url}/health")
        assert (status, body["status"]) == (503, "failing")
        assert "61 s" in body["problems"]["silent"]
        assert get(f"{url}/ready") == (503, {"ready": False})
        assert get(f"{url}/secrets") == (404, {"known": ["/health", "/ready"]})


def test_serving__other_methods__are_refused_and_head_has_no_body(health):
    with serving({"/health": health.health_page}, 0) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        connection.request("HEAD", "/health")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        connection.request("POST", "/health", b"x")
        assert connection.getresponse().status == 501
        connection.close()


def test_serving__page_that_fails__is_a_500_and_the_next_is_served(health):
    def broken():
        raise RuntimeError("with a secret in it")

    with serving({"/broken": broken, "/health": health.health_page}, 0) as url:
        assert get(f"{url}/broken") == (500, {"error": "RuntimeError"})
        assert get(f"{url}/health")[0] == 200


def test_serving__port_taken__is_an_input_error_with_a_remedy():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InputError, match="cannot be used") as caught, serving({}, other.getsockname()[1]):
            pass

    assert caught.value.remedy


def test_serving__ended__nobody_listens(health):
    with serving({"/health": health.health_page}, 0) as url:
        pass

    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/health", timeout=5)
