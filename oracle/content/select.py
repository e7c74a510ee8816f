"""Which stores to use: the embedded one, and the Kubo nodes and gateways that the environment names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from oracle.content.kubo import KuboStore
from oracle.content.mirrors import CachedStore, Mirrors, Place
from oracle.content.remote import GatewayStore
from oracle.content.store import BlockStore, ContentStore
from oracle.jobs.errors import InputError

_MULTIADDR = re.compile(r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]+)/tcp/(?P<port>\d+)(/(?P<scheme>https?))?/?")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_PATH = re.compile(r"[!-~]*")
_MAX_AUTHORIZATION = 4096
_MAX_PLACES = 16


def open_store(root: Path, env: Mapping[str, str], *, max_bytes: int | None = None) -> ContentStore:
    """The store that ``env`` asks for, with what it keeps on this machine under ``root``.

    With nothing set, the embedded store. With ``KUBO_API`` set, these Kubo nodes. With ``QSCROW_GATEWAYS`` set, the
    embedded store first and then these gateways (and Kubo nodes): see :class:`CachedStore`.

    ``KUBO_API`` is one or several (comma-separated) URLs or multiaddrs such as ``/ip4/127.0.0.1/tcp/5001``.
    ``KUBO_AUTHORIZATION`` is sent to the only one; ``KUBO_AUTHORIZATION_FILE`` names a file with the header for each,
    in the same order, and nothing between two commas for a node that wants none. ``KUBO_CLIENT`` is ``http`` or
    ``ipfshttpclient``. ``QSCROW_GATEWAYS`` is comma-separated URLs. ``max_bytes`` caps the embedded store. Raises
    :class:`InputError` naming the variable.
    """
    kubo, gateways = _kubo_nodes(env), _gateways(env)
    if kubo and not gateways:
        return Mirrors(kubo, root / "owed")
    local = BlockStore(root, max_bytes=max_bytes)
    return CachedStore(local, Mirrors([*kubo, *gateways], root / "owed", source=local)) if gateways else local


def open_node_store(
    root: Path, env: Mapping[str, str], *, max_bytes: int | None = None, upload_quota: int = 2**30
) -> CachedStore:
    """The store of a node that runs a gateway.

    It always keeps everything here as well, because the gateway serves only what is here; it also reads what strangers
    uploaded, and keeps its own copy of what it read. ``upload_quota`` caps the uploads, in bytes; ``env`` as for
    :func:`open_store`. Raises :class:`InputError`.
    """
    uploads = BlockStore(root / "uploads", max_bytes=upload_quota)
    local = BlockStore(root, max_bytes=max_bytes)
    places = open_places(env)
    mirrors = Mirrors(places, root / "owed", source=local) if places else None
    return CachedStore(local, mirrors, uploads=uploads)


def open_places(env: Mapping[str, str]) -> list[Place]:
    """Each Kubo node and then each gateway of ``env`` by itself; as for :func:`open_store`."""
    return [*_kubo_nodes(env), *_gateways(env)]


def _kubo_nodes(env: Mapping[str, str]) -> list[Place]:
    urls = [_url(address, "KUBO_API", "http://127.0.0.1:5001") for address in _listed(env, "KUBO_API")]
    client = env.get("KUBO_CLIENT", "").strip() or "http"
    headers = _authorizations(env, len(urls))
    return [KuboStore(url, authorization=header, client=client) for url, header in zip(urls, headers, strict=True)]


def _gateways(env: Mapping[str, str]) -> list[Place]:
    addresses = _listed(env, "QSCROW_GATEWAYS")
    return [GatewayStore(_url(address, "QSCROW_GATEWAYS", "http://oracle.example:8080")) for address in addresses]


def _listed(env: Mapping[str, str], name: str) -> list[str]:
    addresses = [address.strip() for address in env.get(name, "").split(",") if address.strip()]
    if len(addresses) > _MAX_PLACES:
        raise InputError(f"names more than {_MAX_PLACES} places", field=name)
    return list(dict.fromkeys(addresses))


def _url(address: str, field: str, example: str) -> str:
    try:
        url = urlsplit(_as_url(address))
        usable = url.scheme in ("http", "https") and _HOST.fullmatch(url.hostname or "") and url.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        usable = False
    if not usable or url.query or url.fragment or not _PATH.fullmatch(url.path):
        raise InputError("is neither a URL nor a multiaddr", field=field, remedy=f"use {example}")
    if "@" in url.netloc:  # it would turn up in messages
        raise InputError("holds a password", field=field, remedy="put it into KUBO_AUTHORIZATION_FILE")
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/').removesuffix('/api/v0')}"


def _as_url(address: str) -> str:
    match = _MULTIADDR.fullmatch(address)
    if match is None:
        return address
    host = f"[{match['host']}]" if match["kind"] == "ip6" else match["host"]
    return f"{match['scheme'] or 'http'}://{host}:{match['port']}"


def _authorizations(env: Mapping[str, str], count: int) -> Sequence[str | None]:
    """One header for each of ``count`` nodes. Nobody's secret is sent to anybody else."""
    files = env.get("KUBO_AUTHORIZATION_FILE", "").strip()
    value = env.get("KUBO_AUTHORIZATION", "").strip()
    given = [part.strip() for part in files.split(",")] if files else [""] * count
    if files and len(given) != count:
        raise InputError(
            f"names {len(given)} files for {count} nodes", field="KUBO_AUTHORIZATION_FILE", remedy="name one for each"
        )
    if files or not value:
        return [_from_file(path) if path else None for path in given]
    if count > 1:
        raise InputError(
            "would go to several nodes", field="KUBO_AUTHORIZATION", remedy="use KUBO_AUTHORIZATION_FILE, one for each"
        )
    return [_header_value(value, "KUBO_AUTHORIZATION")] * count


def _from_file(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            value = file.read(_MAX_AUTHORIZATION + 1).strip()
    except (OSError, ValueError) as err:
        raise InputError(f"cannot be read ({type(err).__name__})", field="KUBO_AUTHORIZATION_FILE") from None
    if not value:
        raise InputError("names an empty file", field="KUBO_AUTHORIZATION_FILE")
    return _header_value(value, "KUBO_AUTHORIZATION_FILE")


def _header_value(value: str, field: str) -> str:
    if len(value) > _MAX_AUTHORIZATION or not value.isascii() or not value.isprintable():
        raise InputError("cannot be sent as a header", field=field, remedy="give one line, such as 'Bearer …'")
    return value
