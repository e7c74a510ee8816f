"""The link's process: the only one that holds the token, and the only one that talks to IBM.

Started by :class:`oracle.backends.ibm.account.Account` as ``python -m oracle.backends.ibm.link``. Speaks
length-prefixed JSON on stdin and stdout: one message, one answer. A failure is answered as
``{"failure": kind, "message": text}`` with one of the kinds below; key and access token are cut out of every text.
"""

from __future__ import annotations

import json
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from oracle.backends.ibm import isa
from oracle.circuits.worker import read_frame, write_frame

# What a failure is: of the service or on the way there, of the settings, of what was asked, or an unknown job.
UNAVAILABLE, CONFIGURATION, REFUSED, UNKNOWN = "unavailable", "configuration", "refused", "unknown"
LOCAL = "local"
MOST_TOKEN_BYTES = 4096
# What the client gets for the key: a JSON web token, good for an hour (RFC 7519, three parts in base64url).
_ACCESS_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+(\.[\w-]*)?")
_LONGEST_MESSAGE = 300
_MOST_LISTED = 50


class Failure(Exception):
    """Something to be told to the node as ``kind``."""

    def __init__(self, kind: str, text: str):
        self.kind = kind
        super().__init__(text)


def main() -> None:
    """Serve messages until stdin closes."""
    warnings.simplefilter("ignore")
    messages, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    hello = read_frame(messages)
    secrets: list[str] = []
    service = _guarded(lambda: _opened(hello, secrets), secrets)
    failed = isinstance(service, dict)
    write_frame(answers, service if failed else {"ready": True})
    while not failed and (message := read_frame(messages)) is not None:
        write_frame(answers, _guarded(lambda message=message: _serve(service, message), secrets))


def read_token(path: str) -> str:
    """The first line of a file that only its owner may read. Raises :class:`Failure`."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise Failure(CONFIGURATION, f"{path} is no regular file")
            if mode & 0o077:
                raise Failure(CONFIGURATION, f"other users of this machine may read {path}: run chmod 600 on it")
            text = file.read(MOST_TOKEN_BYTES).decode("ascii", "replace")
    except OSError as err:
        raise Failure(CONFIGURATION, f"{path} cannot be read ({err.strerror})") from None
    token = next(iter(text.splitlines()), "").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise Failure(CONFIGURATION, f"{path} holds no token in its first line")
    return token


# -------------------------------------------------------------------------------------------------- service


def _opened(hello: Mapping[str, Any], secrets: list[str]) -> _Remote | _Local:
    if hello["channel"] == LOCAL:
        return _Local()
    token = read_token(hello["token_file"])
    secrets.append(token)
    return _Remote(hello, token)


class _Remote:
    """IBM's service, or another one that speaks its protocol."""

    def __init__(self, hello: Mapping[str, Any], token: str):
        from qiskit_ibm_runtime import QiskitRuntimeService

        url = hello["url"]
        elsewhere = {"url": url, "url_resolver": lambda *_: f"{url}/api/v1"} if url else {}
        self.service = QiskitRuntimeService(
            channel=hello["channel"], token=token, instance=hello["instance"], **elsewhere
        )
        self.service.usage()  # the client takes a refused token for an instance without backends; this does not
        self._devices: dict[str, Any] = {}

    def listed(self) -> list[Any]:
        return self.service.backends()

    def device(self, name: str) -> Any:
        if name not in self._devices:
            self._devices[name] = self.service.backend(name)
        return self._devices[name]

    def job(self, number: str) -> Any:
        return self.service.job(number)

    def tagged(self, tag: str) -> list[Any]:
        return self.service.jobs(limit=_MOST_LISTED, job_tags=[tag], descending=False)

    def since(self, tag: str, moment: datetime) -> list[Any]:
        return self.service.jobs(limit=None, job_tags=[tag], created_after=moment)

    def usage(self) -> Mapping[str, Any]:
        return self.service.usage()

    def labels(self, job: Any) -> tuple[list[str], datetime | None]:
        """Tags of a job and when it was created."""
        return list(job.tags or []), job.creation_date

    def remember(self, job: Any, tags: list[str]) -> None:
        """The service does."""


class _Local:
    """The client's local mode: IBM's fake backends, simulated here with the noise of a real device. Its jobs last as
    long as this process."""

    def __init__(self) -> None:
        from qiskit_ibm_runtime import QiskitRuntimeService

        self._devices = {backend.name: backend for backend in QiskitRuntimeService(channel=LOCAL).backends()}
        self._jobs: dict[str, tuple[Any, list[str], datetime]] = {}

    def listed(self) -> list[Any]:
        return list(self._devices.values())

    def device(self, name: str) -> Any:
        return self._devices[name]

    def job(self, number: str) -> Any:
        if number not in self._jobs:
            raise Failure(UNKNOWN, f"no job is known as {number[:40]!r}")
        return self._jobs[number][0]

    def tagged(self, tag: str) -> list[Any]:
        return [job for job, tags, _ in self._jobs.values() if tag in tags]

    def since(self, tag: str, moment: datetime) -> list[Any]:
        return [job for job, tags, created in self._jobs.values() if tag in tags and created >= moment]

    def usage(self) -> Mapping[str, Any]:
        return {}

    def labels(self, job: Any) -> tuple[list[str], datetime | None]:
        return self._jobs[job.job_id()][1:]

    def remember(self, job: Any, tags: list[str]) -> None:
        self._jobs[job.job_id()] = (job, tags, datetime.now(UTC))


# ------------------------------------------------------------------------------------------------- messages


def _serve(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    return _ANSWERS[message["ask"]](service, message)


def _backends(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    return {"backends": [backend.name for backend in service.listed()]}


def _device(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    backend = service.device(message["backend"])
    if isinstance(service, _Local):
        return {"configuration": _fake(backend, "conf_filename"), "properties": _fake(backend, "props_filename")}
    backend.refresh()
    properties = backend.properties()
    return {
        "configuration": _as_json(backend.configuration().to_dict()),
        "properties": _as_json(properties.to_dict()) if properties else None,
    }


def _queue(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    backend = service.device(message["backend"])
    if isinstance(service, _Local):
        return {"operational": True, "pending": 0, "message": "simulated here"}
    status = backend.status()
    working = bool(status.operational) and status.status_msg == "active"
    return {"operational": working, "pending": int(status.pending_jobs), "message": str(status.status_msg)[:80]}


def _submit(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    from qiskit_ibm_runtime import SamplerV2

    backend = service.device(message["backend"])
    options: dict[str, Any] = {"environment": {"job_tags": message["tags"], "private": message["private"]}}
    if isinstance(service, _Remote):
        options["max_execution_time"] = message["max_execution_seconds"]
    pubs = [(isa.circuit(circuit),) for circuit in message["circuits"]]
    job = SamplerV2(mode=backend, options=options).run(pubs, shots=message["shots"])
    service.remember(job, message["tags"])
    return {"id": job.job_id()}


def _find(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    return {"jobs": [_seen(service, job) for job in service.tagged(message["tag"])]}


def _look(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    return _seen(service, service.job(message["id"]))


def _cancel(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError

    try:
        service.job(message["id"]).cancel()
    except RuntimeInvalidStateError:  # it has ended already
        return {"cancelled": False}
    return {"cancelled": True}


def _fetch(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    """What a job that is done measured, circuit by circuit, and what IBM says about the run."""
    job = service.job(message["id"])
    answer: dict[str, Any] = {"properties": None, "metrics": {}, "private": False}
    if isinstance(service, _Remote):  # before the result: that of a private job can be read only once
        properties = job.properties()
        metrics = job.metrics()
        answer = {
            "properties": _as_json(properties.to_dict()) if properties else None,
            "metrics": {
                "timestamps": _as_json(metrics.get("timestamps") or {}),
                "quantum_seconds": (metrics.get("usage") or {}).get("quantum_seconds"),
                "charged_seconds": (metrics.get("usage") or {}).get("qpu_charge_time_seconds"),
            },
            "private": bool(job.private),
        }
    outcomes = [_outcomes(each.data, message["memory"]) for each in job.result()]
    return {**answer, "outcomes": outcomes}


def _outcomes(data: Any, memory: bool) -> dict[str, Any]:
    """Counts over all registers, the last one first, and with ``memory`` every shot in order."""
    bits = _joined(data, sorted(data, key=lambda name: int(name[1:])))
    told: dict[str, Any] = {"counts": {key: int(number) for key, number in bits.get_counts().items()}}
    if memory:
        told["memory"] = bits.get_bitstrings()
    return told


def _use(service: _Remote | _Local, message: Mapping[str, Any]) -> dict[str, Any]:
    """Jobs with our tag since a moment, by backend, and what is left of the instance's allowance."""
    since = datetime.fromtimestamp(message["since"], UTC)
    runs: dict[str, int] = {}
    for job in service.since(message["tag"], since):
        name = job.backend().name
        runs[name] = runs.get(name, 0) + 1
    usage = service.usage()
    return {
        "runs": runs,
        "consumed_seconds": usage.get("usage_consumed_seconds"),
        "remaining_seconds": usage.get("usage_remaining_seconds"),
    }


_ANSWERS: dict[str, Callable[[Any, Mapping[str, Any]], dict[str, Any]]] = {
    "backends": _backends,
    "device": _device,
    "queue": _queue,
    "submit": _submit,
    "find": _find,
    "look": _look,
    "cancel": _cancel,
    "fetch": _fetch,
    "use": _use,
}


def _seen(service: _Remote | _Local, job: Any) -> dict[str, Any]:
    tags, created = service.labels(job)
    status = job.status()
    name = str(getattr(status, "name", status))  # those of local jobs are an enum
    failed = name == "ERROR"
    return {
        "id": job.job_id(),
        "status": name,
        "backend": job.backend().name,
        "tags": tags,
        "created": created.isoformat() if created else "",
        "reason": _reason(job) if failed else "",
        "too_long": failed and _ran_too_long(job),
    }


def _reason(job: Any) -> str:
    return "".join(c if 32 <= ord(c) < 127 else " " for c in str(job.error_message() or ""))[:_LONGEST_MESSAGE]


def _ran_too_long(job: Any) -> bool:
    """Whether a failed job was stopped at its ``max_execution_time``; the client tells so by this exception alone."""
    from qiskit_ibm_runtime.exceptions import RuntimeJobMaxTimeoutError

    try:
        job.result()
    except RuntimeJobMaxTimeoutError:
        return True
    except Exception:
        return False
    return False


def _joined(data: Any, names: list[str]) -> Any:
    from qiskit.primitives import BitArray

    return BitArray.concatenate_bits([data[name] for name in names])


def _fake(backend: Any, which: str) -> Any:
    with open(os.path.join(backend.dirname, getattr(backend, which))) as file:
        return json.load(file)


def _as_json(value: Any) -> Any:
    """With dates as text and complex numbers as pairs, the way IBM writes them."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    return [value.real, value.imag] if isinstance(value, complex) else value.isoformat()


# ------------------------------------------------------------------------------------------------- failures


def _guarded(work: Callable[[], Any], secrets: list[str]) -> Any:
    try:
        return work()
    except Failure as err:
        kind, text = err.kind, str(err)
    except Exception as err:
        kind, text = _kind(err), _told(err)
    for secret in secrets:
        text = text.replace(secret, "…")
    text = "".join(c if c.isprintable() else " " for c in _ACCESS_TOKEN.sub("…", text))
    return {"failure": kind, "message": " ".join(text.split())[:_LONGEST_MESSAGE]}


def _told(err: BaseException) -> str:
    """What went wrong; where nobody answered, that, for which the client blames the token."""
    lost = next((each for each in _chain(err) if isinstance(each, OSError)), None)
    if type(err).__name__ == "InvalidAccountError" and lost is not None and _kind(err) == UNAVAILABLE:
        return f"cannot be reached or does not answer as it should ({type(lost).__name__})"
    return f"{type(err).__name__}: {err}"


def _kind(err: BaseException) -> str:
    """The kind of a failure, from the client's class and what is behind it: the client wraps errors more than once."""
    from qiskit_ibm_runtime.accounts import InvalidAccountError
    from qiskit_ibm_runtime.exceptions import IBMInputValueError, IBMNotAuthorizedError, RuntimeJobNotFound

    if isinstance(err, RuntimeJobNotFound):
        return UNKNOWN
    chain = list(_chain(err))
    status = next((code for each in chain if isinstance(code := getattr(each, "status_code", None), int)), None)
    if any(isinstance(each, IBMNotAuthorizedError) for each in chain) or status in (401, 403):
        return CONFIGURATION
    if isinstance(err, InvalidAccountError):  # also when the network is down; IAM answers an unknown key with 400
        lost = status is None and any(isinstance(each, OSError) for each in chain)
        return UNAVAILABLE if lost or status not in (None, 400) else CONFIGURATION
    if isinstance(err, IBMInputValueError):  # an instance that is not the account's
        return CONFIGURATION
    if status in (400, 413, 422):
        return REFUSED
    # What the client itself finds wrong with a circuit before it sends it is a plain ValueError.
    return REFUSED if type(err) in (ValueError, TypeError) and status is None else UNAVAILABLE


def _chain(err: BaseException | None) -> Iterator[BaseException]:
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__


if __name__ == "__main__":
    main()
