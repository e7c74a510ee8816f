"""IBM in a box: a stand-in for IBM's REST API on this machine, for demonstrations and tests.

The unmodified ``qiskit-ibm-runtime`` talks to it: it exchanges API keys for access tokens, lists instances and
backends, takes jobs, queues them, runs them on Aer with the noise of a real device's calibration, and can be told to
fail in the ways a provider does. Nothing that comes out of it is from hardware, and nothing says so.

It decodes what the client posts, which is for trusted clients only: bind it to loopback.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oracle.jobs.errors import InputError

INSTANCE = (
    "crn:v1:bluemix:public:quantum-computing:us-east:a/00000000000000000000000000000000:"
    "00000000-0000-0000-0000-000000000000::"
)
DEFAULT_DEVICES = ("fake_manila", "fake_guadalupe")
PREFIX = "box_"
TOKEN_PREFIX = "box-"
"""What the API keys of boxes begin with, so that nobody takes one for a key to IBM, or the other way round."""
TOKEN_SECONDS = 3600
RAN_TOO_LONG = 1305
_API = "/api/v1"
_FINAL = ("Completed", "Failed", "Cancelled")
_SAMPLER = "sampler"

# What can be done to a job instead of running it.
FAIL, HOLD, CANCEL, OVERRUN = "fail", "hold", "cancel", "overrun"
# What can be done to a request besides answering it with a status: do what it asks and then never answer, or claim
# a failure.
HANG, DONE_BUT_500 = "hang", "done-but-500"


class _Refused(Exception):
    def __init__(self, status: int, text: str, code: int = 0):
        self.status, self.code = status, code
        super().__init__(text)


@dataclass
class BoxJob:
    """A job in the box, as IBM's API tells of it."""

    number: str
    backend: str
    body: dict[str, Any]
    posted: str
    status: str = "Queued"
    reason: str = ""
    reason_code: int | None = None
    result: str | None = None
    times: dict[str, str | None] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def tags(self) -> list[str]:
        """The tags it was submitted with."""
        return self.body.get("tags") or []

    def described(self) -> dict[str, Any]:
        """The answer to ``GET /jobs/{id}``."""
        state = {"status": self.status, "reason": self.reason, "reason_code": self.reason_code}
        return {
            "id": self.number,
            "backend": self.backend,
            "state": {key: value for key, value in state.items() if value},
            "status": self.status,
            "program": {"id": self.body["program_id"]},
            "created": self.times["created"],
            "tags": self.tags,
            "cost": self.body.get("cost") or 10800,
            "private": bool(self.body.get("private")),
            "estimated_running_time_seconds": 2.0,
        }


class Box:
    """The service. Use as a context manager, or call :meth:`close`.

    ``devices`` are names of the client's fake backends; they are offered as ``box_…``. A job waits ``queue_seconds``,
    and runs ``run_seconds`` longer than its simulation takes; ``waiting`` is how many jobs of others stand before it,
    by backend. ``token`` is the one API key it takes, a fresh one by default. With ``seed`` its results repeat;
    with ``echo_keys`` it names the API keys it refuses.
    """

    def __init__(
        self,
        devices: Sequence[str] = DEFAULT_DEVICES,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "",
        queue_seconds: float = 0.0,
        run_seconds: float = 0.0,
        waiting: Mapping[str, int] | None = None,
        seed: int | None = None,
        echo_keys: bool = False,
    ):
        self.token = token or TOKEN_PREFIX + secrets.token_urlsafe(30)
        self.instance = INSTANCE
        self.queue_seconds, self.run_seconds = queue_seconds, run_seconds
        self.waiting = dict(waiting or {})
        self.jobs: dict[str, BoxJob] = {}
        self.requests: list[tuple[str, str]] = []
        self.offline: set[str] = set()
        self._seed, self._echo_keys = seed, echo_keys
        self._faults: list[list[Any]] = []
        self._fates: deque[str] = deque()
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._signing_key = secrets.token_hex(32)
        self._devices = {name.replace("fake_", PREFIX, 1): _Device(name) for name in devices}
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(self))
        except OSError as err:
            raise InputError(
                f"port {port} cannot be used ({err.strerror})", field="port", remedy="choose another"
            ) from err
        self._server.daemon_threads = True
        self._work = {name: _Worker(self, device) for name, device in self._devices.items()}
        self._serving = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._serving.start()

    @property
    def url(self) -> str:
        """Where it listens; the setting ``ibm_url``."""
        host, port = self._server.server_address[:2]
        return f"http://{host}:{port}"

    @property
    def backends(self) -> list[str]:
        """Names of its backends."""
        return list(self._devices)

    def inject(self, request: str, what: int | str, times: int = 1) -> None:
        """Answer the next ``times`` requests such as ``"POST /jobs"`` or ``"GET /jobs/*"`` with an HTTP status,
        :data:`HANG` or :data:`DONE_BUT_500`."""
        with self._lock:
            self._faults.append([request, what, times])

    def doom(self, *fates: str) -> None:
        """What becomes of the next jobs: :data:`FAIL`, :data:`HOLD` (until cancelled), :data:`CANCEL`,
        :data:`OVERRUN`."""
        self._fates.extend(fates)

    def calm(self) -> None:
        """Forget all that it was told to do wrong, and cancel what has not ended."""
        with self._lock:
            for job in self.jobs.values():
                self._end(job, "Cancelled", "the box was calmed")
            self._faults.clear()
            self._fates.clear()
            self.waiting.clear()
            self.offline.clear()
            self.queue_seconds = self.run_seconds = 0.0

    def properties(self, backend: str) -> dict[str, Any]:
        """The calibration it publishes of ``backend``."""
        return self._devices[backend].properties

    def close(self) -> None:
        """Stop serving and running."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        for worker in self._work.values():
            worker.end()

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def wait_until_closed(self) -> None:
        """Serve until interrupted."""
        self._closing.wait()

    # ---------------------------------------------------------------------------------------------- serving

    def answer(self, method: str, path: str, query: dict[str, list[str]], headers: Any, body: str) -> tuple[int, str]:
        """Status and text for a request."""
        with self._lock:
            self.requests.append((method, path))
            fault = self._fault(method, path.removeprefix(_API))
        if isinstance(fault, int):
            return fault, _error("the box was told to fail", 0)
        try:
            status, text = self._served(method, path, query, headers, body)
        except _Refused as err:
            return err.status, _error(str(err), err.code)
        if fault == HANG:
            self._closing.wait()
        return (500, _error("the box was told to fail", 0)) if fault == DONE_BUT_500 else (status, text)

    def _served(self, method: str, path: str, query: dict[str, list[str]], headers: Any, body: str) -> tuple[int, str]:
        if path == "/identity/token":
            return 200, json.dumps(self._access_token(parse_qs(body)))
        self._check_access(headers.get("Authorization") or "")
        if path == "/v3/resources/search":
            return 200, json.dumps({"items": [_listed_instance()], "limit": 100})
        if path.startswith("/catalog/"):
            return 200, json.dumps(_PLAN)
        if not path.startswith(f"{_API}/"):
            raise _Refused(404, "there is nothing here")
        if headers.get("Service-CRN") != self.instance:
            raise _Refused(403, "the instance is not yours", 1200)
        parts = path.removeprefix(f"{_API}/").split("/")
        if parts[0] == "backends":
            return 200, json.dumps(self._about_backends(parts[1:]))
        if parts == ["instances", "usage"]:
            return 200, json.dumps(self._usage())
        if parts[0] == "jobs":
            return self._about_jobs(method, parts[1:], query, body)
        raise _Refused(404, "there is nothing here")

    def _access_token(self, form: dict[str, list[str]]) -> dict[str, Any]:
        import jwt

        if form.get("apikey") != [self.token]:
            told = form.get("apikey") if self._echo_keys else ""
            raise _Refused(400, f"Provided API key could not be found. {told}")
        now = int(time.time())
        claims = {"iat": now, "exp": now + TOKEN_SECONDS, "iss": self.url, "iam_id": "box"}
        access = jwt.encode(claims, self._signing_key)
        return {
            "access_token": access,
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "expiration": now + TOKEN_SECONDS,
        }

    def _check_access(self, authorization: str) -> None:
        import jwt

        kind, _, access = authorization.partition(" ")
        try:
            if kind != "Bearer":
                raise _Refused(401, "no access token", 1201)
            jwt.decode(access, self._signing_key, algorithms=["HS256"], options={"verify_iss": False})
        except jwt.InvalidTokenError:
            raise _Refused(401, "the access token is not valid", 1201) from None

    def _about_backends(self, parts: list[str]) -> dict[str, Any]:
        if not parts:
            return {"devices": [self._listed_backend(name) for name in self._devices]}
        if len(parts) != 2 or parts[0] not in self._devices:
            raise _Refused(404, "Backend not found.", 1007)
        name, what = parts
        device = self._devices[name]
        if what == "configuration":
            return {**device.configuration, "backend_name": name, "simulator": False}
        if what == "properties":
            return {**device.properties, "backend_name": name}
        if what != "status":
            raise _Refused(404, "there is nothing here")
        working = name not in self.offline
        return {
            "state": working,
            "status": "active" if working else "maintenance",
            "length_queue": self._queue_length(name),
            "backend_version": "1.0",
        }

    def _listed_backend(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "qubits": self._devices[name].configuration["n_qubits"],
            "status": {"name": "offline" if name in self.offline else "online", "reason": "available"},
            "queue_length": self._queue_length(name),
            "processor_type": {"family": "box"},
        }

    def _queue_length(self, name: str) -> int:
        with self._lock:
            ours = sum(job.backend == name and job.status == "Queued" for job in self.jobs.values())
        return ours + self.waiting.get(name, 0)

    def _usage(self) -> dict[str, Any]:
        with self._lock:
            used = sum(job.seconds for job in self.jobs.values())
        return {
            "instance_id": self.instance,
            "usage_consumed_seconds": used,
            "usage_limit_seconds": 600,
            "usage_limit_reached": used >= 600,
        }

    # ------------------------------------------------------------------------------------------------- jobs

    def _about_jobs(self, method: str, parts: list[str], query: dict[str, list[str]], body: str) -> tuple[int, str]:
        if not parts:
            return 200, json.dumps(self._submit(body) if method == "POST" else self._list(query))
        with self._lock:
            job = self.jobs.get(parts[0])
            if job is None:
                raise _Refused(404, "Job not found.", 1291)
            what = parts[1] if len(parts) > 1 else ""
            if what == "cancel" and method == "POST":
                if job.status in _FINAL:
                    raise _Refused(409, "Job is in a final state", 1293)
                self._end(job, "Cancelled", "by its user")
                return 204, ""
            if what == "results":
                return 200, self._result(job)
            if what == "metrics":
                return 200, json.dumps(_metrics(job))
            if not what and method == "GET":
                return 200, json.dumps(job.described())
        raise _Refused(404, "there is nothing here")

    def _submit(self, posted: str) -> dict[str, Any]:
        body = json.loads(posted)
        if body.get("program_id") != _SAMPLER:
            raise _Refused(400, "the box runs the sampler only")
        if body.get("backend") not in self._devices:
            raise _Refused(404, "Backend not found.", 1007)
        number = uuid.uuid4().hex[:20]
        job = BoxJob(number, body["backend"], {key: value for key, value in body.items() if key != "params"}, posted)
        job.times = {"created": _now(), "running": None, "finished": None}
        with self._lock:
            self.jobs[number] = job
        self._work[job.backend].take(job, self._fates.popleft() if self._fates else "")
        return {"id": number, "backend": job.backend}

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        after = query.get("created_after", [""])[0]
        with self._lock:
            jobs = [
                job.described()
                for job in self.jobs.values()
                if set(query.get("tags", [])) <= set(job.tags)
                and (not after or _moment(job.times["created"] or "") >= _moment(after))
                and job.backend in query.get("backend", [job.backend])
            ]
        if query.get("sort") != ["ASC"]:
            jobs.reverse()
        start, limit = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["200"])[0])
        return {"jobs": jobs[start : start + limit], "count": len(jobs), "limit": limit, "offset": start}

    def _result(self, job: BoxJob) -> str:
        if job.status in ("Failed", "Cancelled"):
            return job.reason
        text = job.result
        if text is None:
            raise _Refused(404, "there is no result", 1301)
        if job.body.get("private"):
            job.result, job.posted = None, ""
        return text

    def run(self, job: BoxJob, fate: str, device: _Device) -> None:
        """What a worker does with ``job``."""
        self._closing.wait(self.queue_seconds)
        if fate == HOLD or not self._begin(job):
            return
        if fate == CANCEL:
            return self._end(job, "Cancelled", "by the provider")
        if fate == FAIL:
            return self._end(job, "Failed", "the control electronics lost synchronisation", 1010)
        try:
            result, seconds = device.simulate(job.posted, self._seed)
        except Exception as err:
            return self._end(job, "Failed", f"{type(err).__name__}: {err}"[:200], 1517)
        self._closing.wait(self.run_seconds)
        if fate == OVERRUN or seconds > (job.body.get("cost") or 10800):
            return self._end(job, "Cancelled", "it ran too long", RAN_TOO_LONG)
        with self._lock:
            if job.status == "Running":
                job.result, job.seconds = result, seconds
                self._end(job, "Completed")

    def _begin(self, job: BoxJob) -> bool:
        with self._lock:
            if job.status != "Queued" or self._closing.is_set():
                return False
            job.status, job.times["running"] = "Running", _now()
            return True

    def _end(self, job: BoxJob, status: str, reason: str = "", code: int | None = None) -> None:
        with self._lock:
            if job.status not in _FINAL:
                job.status, job.reason, job.reason_code = status, reason, code
                job.times["finished"] = _now()

    def _fault(self, method: str, path: str) -> int | str | None:
        for fault in self._faults:
            known, what, times = fault
            wanted_method, _, wanted = known.partition(" ")
            if method == wanted_method and times > 0 and _matches(path, wanted):
                fault[2] -= 1
                return what
        return None


class _Device:
    """One of the client's fake backends, and Aer with its noise."""

    def __init__(self, name: str):
        from qiskit_ibm_runtime import fake_provider

        # The client's own look-up builds all of them, which takes seconds.
        known = {getattr(each, "backend_name", None): each for each in vars(fake_provider).values()}
        if not name.startswith("fake_") or name not in known:
            raise InputError(
                f"{name[:40]!r} is none of the client's fake backends",
                field="device",
                remedy="take for example fake_manila or fake_torino",
            )
        fake = known[name]()
        folder = Path(fake.dirname)
        self._fake = fake
        self._simulator: Any = None
        self.configuration = json.loads((folder / fake.conf_filename).read_text())
        self.properties = json.loads((folder / fake.props_filename).read_text())

    def simulate(self, posted: str, seed: int | None) -> tuple[str, float]:
        """The encoded result of a posted job, and the seconds a device would have taken."""
        from qiskit_aer import AerSimulator
        from qiskit_aer.primitives import SamplerV2
        from qiskit_ibm_runtime.json import RuntimeDecoder, RuntimeEncoder

        if self._simulator is None:
            self._simulator = AerSimulator.from_backend(self._fake)
        pubs = [_pub(each) for each in json.loads(posted, cls=RuntimeDecoder)["params"]["pubs"]]
        result = SamplerV2.from_backend(self._simulator, seed=seed).run(pubs).result()
        shots = sum(pub[2] or 0 for pub in pubs)
        return json.dumps(result, cls=RuntimeEncoder), 2.0 + 0.00025 * shots


class _Worker:
    """Runs the jobs of one backend, one at a time."""

    def __init__(self, box: Box, device: _Device):
        self._box, self._device = box, device
        self._jobs: deque[tuple[BoxJob, str]] = deque()
        self._more = threading.Semaphore(0)
        self._ending = False
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def take(self, job: BoxJob, fate: str) -> None:
        self._jobs.append((job, fate))
        self._more.release()

    def end(self) -> None:
        self._ending = True
        self._more.release()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            self._more.acquire()
            if self._ending:
                return
            job, fate = self._jobs.popleft()
            self._box.run(job, fate, self._device)


def _handler(box: Box) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing: headers hold tokens."""

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, text = box.answer(self.command, parts.path, parse_qs(parts.query), self.headers, body)
            data = text.encode()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    return Handler


def _pub(posted: Any) -> tuple[Any, Any, int | None]:
    circuit, values, shots = (*posted, None, None)[:3] if isinstance(posted, (list, tuple)) else (posted, None, None)
    return circuit, values if circuit.num_parameters else None, shots


def _metrics(job: BoxJob) -> dict[str, Any]:
    ended = job.status in _FINAL
    return {
        "timestamps": job.times,
        "usage": {
            "status": "final" if ended else "pending",
            "quantum_seconds": job.seconds,
            "qpu_charge_time_seconds": job.seconds,
        },
    }


def _matches(path: str, wanted: str) -> bool:
    parts, pattern = path.strip("/").split("/"), wanted.strip("/").split("/")
    return len(parts) == len(pattern) and all(b in ("*", a) for a, b in zip(parts, pattern, strict=True))


def _listed_instance() -> dict[str, Any]:
    return {
        "crn": INSTANCE,
        "name": "box",
        "service_plan_unique_id": "box",
        "tags": [],
        "doc": {"extensions": {"backends": []}},
    }


_PLAN = {"overview_ui": {"en": {"display_name": "Box"}}, "metadata": {"pricing": {"type": "free"}}}


def _error(text: str, code: int) -> str:
    return json.dumps({"error": {"message": text, "code": code}, "errorMessage": text})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace(" ", "+"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
