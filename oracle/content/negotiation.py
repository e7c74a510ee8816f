"""What a request to a trustless gateway asks for. Spec: https://specs.ipfs.tech/http-gateways/trustless-gateway/"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

from oracle.content.cid import CID
from oracle.content.remote import CAR_TYPE, RAW_TYPE
from oracle.jobs.errors import ContentError

PROBE = "bafkqaaa"
"""The CID of nothing, inline: whoever answers it is a trustless gateway."""
PROBE_BYTES = b"\x01\x55\x00\x00"
SCOPES = ("all", "entity", "block")
_TARGET = re.compile(r"/ipfs/([A-Za-z0-9]{1,128})(/[^?]*)?(?:\?(.*))?")
_CAR_CHOICES = {"version": ("1",), "order": ("dfs", "unk"), "dups": ("n",)}
_MAX_PARAMETERS = 16
_MAX_ACCEPT = 1024


class Refused(Exception):
    """A request that is answered with an error: ``status``, one line of ``reason`` and more ``headers``."""

    def __init__(self, status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None):
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


@dataclass(frozen=True)
class Wanted:
    """One thing asked for: ``format`` is ``raw`` or ``car``; ``cid`` is ``None`` for the probe.

    ``text`` is the CID as it was written. ``in_query`` tells whether the URL alone says the format.
    """

    text: str
    cid: CID | None
    format: str
    scope: str
    in_query: bool

    @property
    def etag(self) -> str:
        """Strong for a block; weak for an archive, whose bytes are not unique."""
        return f'"{self.text}.raw"' if self.format == "raw" else f'W/"{self.text}.car.{self.scope}"'

    @property
    def content_type(self) -> str:
        """The media type of the answer."""
        return RAW_TYPE if self.format == "raw" else f"{CAR_TYPE}; version=1; order=dfs; dups=n"

    @property
    def file_name(self) -> str:
        """What to save the answer as."""
        return f"{self.text}.{'bin' if self.format == 'raw' else 'car'}"

    @property
    def location(self) -> str:
        """The URL, from the root, that means this answer whatever the ``Accept`` header."""
        scope = f"&dag-scope={self.scope}" if self.format == "car" else ""
        return f"/ipfs/{self.text}?format={self.format}{scope}"


def wanted(target: str, accept: str | None) -> Wanted:
    """Read a request's target and ``Accept`` header. Raises :class:`Refused`."""
    match = _TARGET.fullmatch(target)
    if match is None:
        known = target.startswith("/ipfs/")
        raise Refused(HTTPStatus.BAD_REQUEST if known else HTTPStatus.NOT_FOUND, "only /ipfs/<cid> is served here")
    text, path, query = match[1], match[2], _parameters(match[3] or "")
    format_, options = _format(query, accept)
    if path and format_ == "raw":
        raise Refused(HTTPStatus.BAD_REQUEST, "a block has no paths below it")
    cid = None if text == PROBE else _cid(text)
    if path:
        raise Refused(HTTPStatus.NOT_FOUND, "only files are kept here, and files have no paths below them")
    if format_ == "raw":
        return Wanted(text, cid, format_, "block", "format" in query)
    return Wanted(text, cid, format_, _archive_scope(query, options), "format" in query)


def _cid(text: str) -> CID:
    try:
        return CID.parse(text)
    except ContentError as err:
        raise Refused(HTTPStatus.BAD_REQUEST, err.message) from None


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS, errors="strict")
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, "the query cannot be read") from None
    if len(dict(pairs)) != len(pairs):
        raise Refused(HTTPStatus.BAD_REQUEST, "a parameter is given twice")
    return dict(pairs)


def _format(query: Mapping[str, str], accept: str | None) -> tuple[str, dict[str, str]]:
    """``raw`` or ``car``, and the parameters of the media type that asked for it. The query counts more."""
    if "format" in query:
        if query["format"] not in ("raw", "car"):
            raise Refused(HTTPStatus.NOT_ACCEPTABLE, "only format=raw and format=car are served here")
        options = next((options for kind, options in _media_types(accept or "") if kind == CAR_TYPE), {})
        return query["format"], options
    if accept is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "say format=raw or format=car")
    for kind, options in _media_types(accept):
        if kind == RAW_TYPE:
            return "raw", options
        if kind == CAR_TYPE and _is_servable(options):
            return "car", options
    raise Refused(HTTPStatus.NOT_ACCEPTABLE, f"only {RAW_TYPE} and {CAR_TYPE}; version=1; dups=n are served here")


def _media_types(accept: str) -> list[tuple[str, dict[str, str]]]:
    """The types of an ``Accept`` header with their parameters, best first."""
    found = []
    for part in accept[:_MAX_ACCEPT].lower().split(","):
        kind, *rest = (piece.strip() for piece in part.split(";"))
        options = {name.strip(): value.strip(' "') for name, _, value in (piece.partition("=") for piece in rest)}
        weight = options.pop("q", "1")
        quality = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 0.0
        if quality > 0:
            found.append((quality, kind, options))
    return [(kind, options) for _, kind, options in sorted(found, key=lambda entry: -entry[0])]


def _is_servable(options: Mapping[str, str]) -> bool:
    return all(options.get(name, choices[0]) in choices for name, choices in _CAR_CHOICES.items())


def _archive_scope(query: Mapping[str, str], options: Mapping[str, str]) -> str:
    merged = {name: query.get(f"car-{name}", options.get(name, choices[0])) for name, choices in _CAR_CHOICES.items()}
    if not _is_servable(merged):
        raise Refused(HTTPStatus.NOT_ACCEPTABLE, "only version=1, order=dfs and dups=n are served here")
    if "entity-bytes" in query:
        raise Refused(HTTPStatus.BAD_REQUEST, "entity-bytes is not served here; ask for the blocks you need")
    scope = query.get("dag-scope", "all")
    if scope not in SCOPES:
        raise Refused(HTTPStatus.BAD_REQUEST, f"dag-scope is one of {', '.join(SCOPES)}")
    return scope
