"""Real HTTP servers that fail in every way, in front of nothing: what they answer is set by the test."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oracle.chain.client import connect
from oracle.chain.endpoints import BEHIND_BLOCKS, PROBE_SECONDS, provider
from oracle.jobs.errors import ChainUnavailable, InputError

CHAIN = 31337
BUSY = {"error": {"code": -32005, "message": "rate limit exceeded"}}
REVERT = {"error": {"code": 3, "message": "execution reverted", "data": "0x12345678"}}


class Node:
    """One endpoint. ``answers`` by method; ``status``, ``body`` and ``headers`` override everything."""

    def __init__(self, chain_id: int = CHAIN, head: int = 100):
        self.answers = {"eth_chainId": {"result": hex(chain_id)}, "eth_blockNumber": {"result": hex(head)}}
        self.status, self.body, self.headers = 200, None, {}
        self.asked: list[str] = []
        self.seen_headers: Message | None = None
        self.url = ""

    def sees(self, method: str) -> int:
        """How often it was asked."""
        return self.asked.count(method)


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 64


@contextmanager
def serving(node: Node):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            node.asked.append(request["method"])
            node.seen_headers = self.headers
            answer = node.answers.get(request["method"], {"result": "0x2a"})
            body = node.body if node.body is not None else json.dumps({"jsonrpc": "2.0", "id": 1, **answer}).encode()
            self.send_response(node.status)
            for name, value in {"Content-Length": str(len(body)), **node.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    node.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()


class Clock:
    """Time that passes when told."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def nodes():
    with serving(Node()) as first, serving(Node()) as second:
        yield first, second


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def both(nodes, clock):
    """A provider over both, probed already."""
    made = provider([node.url for node in nodes], clock=clock, jitter=lambda: 1.0, timeout=5)
    made.make_request("eth_gasPrice", [])
    return made


def states(made) -> list[str]:
    return [health.state for health in made.endpoints.health()]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 500},
        {"status": 503, "body": b"<html>"},
        {"status": 401, "body": b"no"},
        {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}, "body": b""},
        {"body": b"<html>welcome</html>"},
        {"body": b'{"jsonrpc":"2.0","id":1,"res'},
        {"body": b"[" * 100_000},
        {"body": b"[]"},
        {"body": b'{"jsonrpc":"2.0","id":1}'},
        {"body": b'{"error":"text"}'},
        {"headers": {"Content-Length": "999999999999"}},
        {"answers": {"eth_gasPrice": BUSY}},
        {"answers": {"eth_gasPrice": {"error": {"code": -32000, "message": "header not found"}}}},
    ],
    ids=str,
)
def test_make_request__first_endpoint_fails__the_second_answers_and_is_kept(nodes, both, clock, fault):
    first, second = nodes
    for name, value in fault.items():
        setattr(first, name, {**first.answers, **value} if name == "answers" else value)
    second.answers["eth_gasPrice"] = {"result": "0x7"}

    assert both.make_request("eth_gasPrice", [])["result"] == "0x7"
    asked = len(first.asked)
    assert both.make_request("eth_gasPrice", [])["result"] == "0x7"

    assert len(first.asked) == asked  # left alone for a while
    assert states(both) == ["failing", "ok"]
    assert both.endpoint_uri == second.url


def test_make_request__endpoint_is_gone__the_other_answers(both, nodes):
    gone = provider(["http://127.0.0.1:1", nodes[1].url], timeout=5)

    assert gone.make_request("eth_gasPrice", [])["result"] == "0x2a"


@pytest.mark.parametrize("answer", [REVERT, {"error": {"code": -32000, "message": "nonce too low"}}])
def test_make_request__error_that_is_an_answer__is_passed_on(nodes, both, answer):
    nodes[0].answers["eth_call"] = answer

    assert both.make_request("eth_call", [])["error"] == answer["error"]
    assert nodes[1].sees("eth_call") == 0
    assert states(both) == ["ok", "ok"]


def test_make_request__range_of_logs_is_too_long__is_the_callers_to_shorten(nodes, both):
    nodes[0].answers["eth_getLogs"] = {"error": {"code": -32005, "message": "query returned more than 10000 results"}}

    assert both.make_request("eth_getLogs", [])["error"]["code"] == -32005
    assert states(both) == ["ok", "ok"]


def test_make_request__all_busy__the_last_error_is_passed_on(nodes, both):
    for node in nodes:
        node.answers["eth_gasPrice"] = BUSY

    assert both.make_request("eth_gasPrice", [])["error"] == BUSY["error"]


def test_make_request__all_gone__names_each_without_secrets():
    gone = provider(["http://user:secret@127.0.0.1:1/apikey", "http://127.0.0.1:2"], timeout=5)

    with pytest.raises(ChainUnavailable) as met:
        gone.make_request("eth_gasPrice", [])

    assert "http://127.0.0.1:1 (NewConnectionError), http://127.0.0.1:2" in str(met.value)
    assert "secret" not in str(met.value) and "apikey" not in str(met.value)


def test_make_request__credentials_in_the_url__travel_in_a_header(nodes):
    made = provider([nodes[0].url.replace("://", "://user:secret@")])

    made.make_request("eth_gasPrice", [])

    assert nodes[0].seen_headers["Authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert "secret" not in made.endpoint_uri


@pytest.mark.parametrize(("header", "rest"), [("120", 120), ("Wed, 21 Oct 2099 07:28:00 GMT", 2), ("99999", 300)])
def test_make_request__retry_after__is_respected(nodes, both, clock, header, rest):
    first, _ = nodes
    first.status, first.headers = 429, {"Retry-After": header}
    both.make_request("eth_gasPrice", [])

    clock.now += rest - 0.5
    assert states(both) == ["failing", "ok"]
    clock.now += 1
    assert states(both) == ["ok", "ok"]


def test_make_request__failing_again_and_again__rests_longer_up_to_a_minute(nodes, both, clock):
    nodes[0].status = 500
    rests = []
    for _ in range(9):
        both.endpoints._in_use = both.endpoints._members[0]
        both.make_request("eth_gasPrice", [])
        rests.append(both.endpoints._members[0].resting_until - clock.now)
        clock.now = both.endpoints._members[0].resting_until

    assert rests == [2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_make_request__endpoint_of_another_chain__is_never_asked_for_anything_else(clock):
    with serving(Node()) as right, serving(Node(chain_id=1)) as wrong:
        made = provider([wrong.url, right.url], clock=clock)
        made.endpoints.expect_chain(CHAIN)

        for _ in range(3):
            made.make_request("eth_gasPrice", [])

        assert wrong.sees("eth_gasPrice") == 0
        assert states(made) == ["other chain", "ok"]
        wrong.answers["eth_chainId"] = {"result": hex(CHAIN)}
        clock.now += PROBE_SECONDS
        made.make_request("eth_gasPrice", [])
        assert states(made) == ["ok", "ok"]


def test_make_request__every_endpoint_on_another_chain__says_so(clock):
    with serving(Node(chain_id=1)) as one, serving(Node(chain_id=2)) as two:
        made = provider([one.url, two.url], clock=clock)
        made.endpoints.expect_chain(CHAIN)

        with pytest.raises(ChainUnavailable, match=r"every endpoint is on another chain than 31337: .*\(1\).*\(2\)"):
            made.make_request("eth_gasPrice", [])


@pytest.mark.parametrize(("lag", "expected"), [(BEHIND_BLOCKS, "ok"), (BEHIND_BLOCKS + 1, "behind")])
def test_make_request__endpoint_that_lags__is_asked_only_while_it_is_near(nodes, both, clock, lag, expected):
    first, second = nodes
    first.answers["eth_blockNumber"] = {"result": hex(1_000 - lag)}
    second.answers["eth_blockNumber"] = {"result": hex(1_000)}
    clock.now += PROBE_SECONDS

    before = second.sees("eth_gasPrice")
    both.make_request("eth_gasPrice", [])

    assert states(both) == [expected, "ok"]
    assert second.sees("eth_gasPrice") - before == (expected == "behind")


def test_make_request__head_that_is_no_number__counts_as_failure(nodes, both, clock):
    nodes[0].answers["eth_blockNumber"] = {"result": "soon"}
    clock.now += PROBE_SECONDS

    both.make_request("eth_gasPrice", [])

    assert states(both) == ["failing", "ok"]


def test_make_request__transaction__goes_to_every_endpoint(nodes, both):
    nodes[0].answers["eth_sendRawTransaction"] = {"error": {"code": -32000, "message": "txpool is full"}}
    nodes[1].answers["eth_sendRawTransaction"] = {"result": "0x" + "11" * 32}

    assert both.make_request("eth_sendRawTransaction", ["0x"])["result"] == "0x" + "11" * 32
    assert [node.sees("eth_sendRawTransaction") for node in nodes] == [1, 1]


def test_make_request__transaction_known_to_one_and_refused_by_the_other__is_known(nodes, both):
    nodes[0].answers["eth_sendRawTransaction"] = {"error": {"code": -32000, "message": "already known"}}
    nodes[1].answers["eth_sendRawTransaction"] = {"error": {"code": -32000, "message": "txpool is full"}}

    assert "known" in both.make_request("eth_sendRawTransaction", ["0x"])["error"]["message"]


def test_make_request__transaction_and_one_endpoint_gone__is_sent_to_the_other(nodes):
    made = provider(["http://127.0.0.1:1", nodes[1].url], timeout=5)

    assert "result" in made.make_request("eth_sendRawTransaction", ["0x"])


def test_make_request__transaction_refused_by_one_and_no_word_from_the_other__may_have_arrived(nodes, both):
    nodes[0].status = 500
    nodes[1].answers["eth_sendRawTransaction"] = {"error": {"code": -32000, "message": "txpool is full"}}

    with pytest.raises(ChainUnavailable):
        both.make_request("eth_sendRawTransaction", ["0x"])


def test_make_request__many_threads__all_are_answered(nodes, both):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(both.make_request("eth_gasPrice", [])["result"]))
        for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == ["0x2a"] * 40


def test_health__one_endpoint__is_not_probed(nodes):
    made = provider([nodes[0].url])
    made.make_request("eth_gasPrice", [])

    (health,) = made.endpoints.health()

    assert nodes[0].asked == ["eth_gasPrice"]
    assert (health.name, health.state, health.failures, health.head) == (nodes[0].url, "ok", 0, None)
    assert health.seconds > 0


@pytest.mark.parametrize("urls", [[], ["http://a", "ws://b"], ["http://a", ""]])
def test_connect__any_url_unusable__is_refused(urls):
    with pytest.raises(InputError, match="http"):
        connect(urls)
