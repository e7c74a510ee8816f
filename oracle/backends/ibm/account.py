"""The node's side of the link: one account at IBM, and what its failures mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.backends.ibm.link import CONFIGURATION, LOCAL, REFUSED, UNKNOWN
from oracle.backends.ibm.process import Process
from oracle.backends.ibm.result import HARDWARE, NOISY, STAND_IN
from oracle.jobs.errors import BackendUnavailable, CircuitRejected, InputError

# The client tries a failing request again for about 16 s, and reads answers for as long as they take.
CALL_SECONDS = 120.0
MARK = "qscrow"
IBM = "quantum.cloud.ibm.com"
# Where the operator's network is described; nothing else of the environment reaches the link.
_NETWORK = (
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
)


@dataclass(frozen=True)
class HardwareUse:
    """``runs`` are jobs submitted, by backend, whatever became of them; seconds are the instance's own count for the
    current period, ``None`` where IBM does not tell."""

    runs: dict[str, int]
    consumed_seconds: float | None
    remaining_seconds: float | None

    @property
    def total(self) -> int:
        """Runs on all backends together."""
        return sum(self.runs.values())


class Account:
    """An instance at IBM, or at ``url``; with channel ``local`` the client's fake backends, without any account.

    The token stays in the file ``token_file`` and in the link's process.
    """

    def __init__(
        self,
        *,
        channel: str = "ibm_quantum_platform",
        token_file: Path | None = None,
        instance: str = "",
        url: str = "",
        call_seconds: float = CALL_SECONDS,
    ):
        self._call_seconds = call_seconds
        self._opened = False
        url = url.rstrip("/")
        self.engine = NOISY if channel == LOCAL else STAND_IN if url else HARDWARE
        self.endpoint = LOCAL if channel == LOCAL else _host(url) if url else IBM
        hello = {"channel": channel, "token_file": str(token_file or ""), "instance": instance, "url": url}
        self.process = Process("oracle.backends.ibm.link", lambda: hello, self._greeted, _environment(url))

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """The link's answer.

        Raises :class:`InputError` for an unknown job, and for settings that do not work as long as nothing ever did;
        after that they are a :class:`BackendUnavailable` like all that may pass. What IBM refuses for its content is
        a :class:`CircuitRejected` with code ``provider_refused``.
        """
        answer = self.process.call({"ask": what, **arguments}, self._call_seconds)
        if "failure" in answer:
            if answer["failure"] == CONFIGURATION:
                self.process.restart()  # which reads the token anew: it may have been replaced
            raise self._failure(answer)
        return answer

    def backends(self) -> list[str]:
        """Names of the backends this account may use."""
        return self.ask("backends")["backends"]

    def use(self, since: float) -> HardwareUse:
        """What this node and others with the account have had run for Qscrow since a Unix time, from IBM's records."""
        answer = self.ask("use", tag=MARK, since=since)
        return HardwareUse(answer["runs"], answer["consumed_seconds"], answer["remaining_seconds"])

    def close(self) -> None:
        """End the link."""
        self.process.close()

    def _greeted(self, answer: Mapping[str, Any]) -> None:
        if "failure" in answer:
            raise self._failure(answer)
        self._opened = True

    def _failure(self, answer: Mapping[str, Any]) -> Exception:
        kind, text = answer["failure"], f"{self.endpoint}: {answer['message']}"
        if kind == UNKNOWN:
            return InputError(text, field="reference")
        if kind == REFUSED:
            return CircuitRejected("provider_refused", text)
        if kind == CONFIGURATION and not self._opened:
            return InputError(text, field="execution.ibm_token_file", remedy="correct token and instance")
        return BackendUnavailable(text, field="execution.ibm_backends")


def _environment(url: str) -> dict[str, str]:
    """The network's settings; and for another service than IBM's, where its parts are: the client takes these three
    from the environment alone."""
    network = {name: value for known in _NETWORK for name in (known, known.lower()) if (value := os.environ.get(name))}
    if not url:
        return network
    return {**network, "IAM_URL": url, "GLOBAL_SEARCH_URL": url, "GLOBAL_CATALOG_URL": f"{url}/catalog"}


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).netloc.rpartition("@")[2]
