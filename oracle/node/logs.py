"""The node's log: one line per event, as text for people or JSON for machines, and never a secret.

Only the fields of :data:`FIELDS` are written, each as a short scalar, so that no circuit and no counts end up here by
accident. Everything written goes through a :class:`Redactor`, also what other libraries log.
"""

from __future__ import annotations

import base64
import json
import logging
import logging.handlers
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from oracle.jobs.errors import InputError

FIELDS = (
    "job",
    "step",
    "reason",
    "note",
    "tx",
    "purpose",
    "nonce",
    "block",
    "head",
    "behind",
    "endpoint",
    "seconds",
    "error",
    "where",
    "chain_id",
    "oracle",
    "workers",
    "version",
    "signal",
    "number",
    "url",
)
MAX_TEXT = 300
MIN_SECRET = 4  # shorter ones cannot be told from ordinary words
HIDDEN = "[hidden]"
_LOGGER = logging.getLogger("qscrow")
_PATTERNS = (
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@\"']+@", re.I), rf"\1{HIDDEN}@"),
    (re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic)\s+)?[^\s\"',;]+", re.I), rf"\1{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(r"((?:password|passwd|secret|token|api_?key|private_?key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;]+", re.I),
        rf"\1{HIDDEN}",
    ),
)


def event(name: str, level: str = "info", *, exception: BaseException | None = None, **facts: Any) -> None:
    """Write that ``name`` happened. Of ``facts`` only the scalar ones among :data:`FIELDS` are written."""
    _LOGGER.log(logging.getLevelName(level.upper()), name, exc_info=exception, extra={"facts": facts})


class Redactor:
    """Hides the secrets it has learnt, in all the forms they travel in, and what looks like one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, *secrets: str | bytes | None) -> None:
        """Hide these from now on: texts, or keys as bytes."""
        forms = {form for secret in secrets if secret for form in _forms(secret) if len(form) >= MIN_SECRET}
        with self._lock:
            self._known |= forms
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def learn_url(self, url: str) -> None:
        """Hide what a URL may hold besides its scheme and host."""
        parts = urlsplit(url)
        segments = [segment for segment in parts.path.split("/") if len(segment) >= 8]
        values = [value for pair in parts.query.split("&") for value in pair.split("=")[1:]]
        self.learn(parts.username, parts.password, *segments, *values)

    def learn_authorization(self, header: str) -> None:
        """Hide an Authorization header, with and without its scheme."""
        self.learn(header, *header.split()[1:])

    def clean(self, text: str) -> str:
        """``text`` without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


@contextmanager
def writing(
    *, format: str = "text", level: str = "info", file: Path | None = None, redactor: Redactor | None = None
) -> Iterator[Redactor]:
    """Write the log to ``file`` (which may be rotated away meanwhile), else to stderr, until the block ends.

    Raises :class:`InputError` if the file cannot be opened.
    """
    redactor = redactor or Redactor()
    handler = _handler(file)
    handler.setFormatter((JsonLines if format == "json" else TextLines)(redactor))
    root = logging.getLogger()
    before = root.handlers[:], root.level, _LOGGER.level
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # other libraries have to have a reason
    _LOGGER.setLevel(level.upper())
    try:
        yield redactor
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        _LOGGER.setLevel(before[2])
        handler.close()


class JsonLines(logging.Formatter):
    """One JSON object a line: ``ts`` (ISO 8601, UTC), ``level``, ``event``, then the facts."""

    def __init__(self, redactor: Redactor):
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        name, facts = _content(record, self._redactor)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry = {"ts": f"{moment}.{int(record.msecs):03d}Z", "level": record.levelname.lower(), "event": name, **facts}
        return json.dumps(entry, ensure_ascii=False)


class TextLines(JsonLines):
    """The same for people: time, level, event, facts."""

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        name, facts = _content(record, self._redactor)
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        told = "".join(f"  {key}={value}" for key, value in facts.items())
        return f"{moment} {record.levelname.lower():<7} {name}{told}"


def _content(record: logging.LogRecord, redactor: Redactor) -> tuple[str, dict[str, Any]]:
    """The event's name and its facts, clean."""
    given = getattr(record, "facts", None)
    if given is None:  # another library's
        name, given = "library", {"where": record.name, "note": record.getMessage()}
    else:
        name = record.msg
    if record.exc_info and record.exc_info[1] is not None:
        given = {**given, **_of_exception(record.exc_info[1])}
    facts = {key: _scalar(given[key], redactor) for key in FIELDS if key in given}
    return _scalar(name, redactor), {key: value for key, value in facts.items() if value not in (None, "")}


def _of_exception(err: BaseException) -> dict[str, str]:
    """What an exception is and where it came up; not the values around it."""
    places, frame = [], err.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        places.append(f"{Path(code.co_filename).name}:{frame.tb_lineno} {code.co_name}")
        frame = frame.tb_next
    return {"error": f"{type(err).__name__}: {err}", "where": " > ".join(places[-6:])}


def _scalar(value: Any, redactor: Redactor) -> Any:
    """``value`` if it is a number or a truth value, its short and printable text if it is one, else ``None``."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, bytes) and len(value) <= 32:  # a hash; anything longer is content
        return "0x" + value.hex()
    if not isinstance(value, str):
        return None
    text = " ".join(redactor.clean(value).split())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _forms(secret: str | bytes) -> Iterator[str]:
    if isinstance(secret, bytes):
        yield from (secret.hex(), secret.hex().upper(), base64.b64encode(secret).decode())
        return
    raw = unquote(secret)
    yield from (secret, raw, quote(raw, safe=""), json.dumps(raw)[1:-1], base64.b64encode(raw.encode()).decode())


def _handler(file: Path | None) -> logging.Handler:
    logging.raiseExceptions = False  # a full disk must not fill the terminal as well
    if file is None:
        return logging.StreamHandler(sys.stderr)
    try:
        return logging.handlers.WatchedFileHandler(file, encoding="utf-8")
    except OSError as err:
        raise InputError(
            f"cannot be written ({err.strerror})", field=str(file), remedy="choose another --log-file"
        ) from None
