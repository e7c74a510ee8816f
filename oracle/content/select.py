"""Which store to use: the embedded one, or the Kubo node that the environment names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from oracle.content.kubo import HttpRpc, IpfsHttpClientRpc, KuboStore
from oracle.content.store import BlockStore, ContentStore
from oracle.jobs.errors import InputError


def open_store(root: Path, env: Mapping[str, str]) -> ContentStore:
    """The embedded store under ``root``, or with ``KUBO_API`` set that node.

    ``KUBO_API`` is a URL or a multiaddr such as ``/ip4/127.0.0.1/tcp/5001``; ``KUBO_AUTHORIZATION`` (or a file named
    by ``KUBO_AUTHORIZATION_FILE``) is sent along; ``KUBO_CLIENT`` is ``httpx`` or ``ipfshttpclient``. Raises
    :class:`InputError` naming the variable.
    """
    address = env.get("KUBO_API", "").strip()
    if not address:
        return BlockStore(root)
    client = env.get("KUBO_CLIENT", "httpx")
    if client == "httpx":
        return KuboStore(HttpRpc(_url(address), authorization=_authorization(env)))
    if client == "ipfshttpclient":
        return KuboStore(IpfsHttpClientRpc(_multiaddr(address)))
    raise InputError(f"{client!r} is not a client", field="KUBO_CLIENT", remedy="use httpx or ipfshttpclient")


def _url(address: str) -> str:
    parts = address.split("/")
    if len(parts) >= 5 and parts[1] in ("ip4", "ip6", "dns", "dns4", "dns6") and parts[3] == "tcp":
        host = f"[{parts[2]}]" if parts[1] == "ip6" else parts[2]
        scheme = "https" if "https" in parts[5:] else "http"
        address = f"{scheme}://{host}:{parts[4]}"
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise InputError(
            f"{address[:80]!r} is neither a URL nor a multiaddr", field="KUBO_API", remedy="use http://127.0.0.1:5001"
        )
    return address


def _multiaddr(address: str) -> str:
    url = urlsplit(_url(address))
    kind = "ip6" if ":" in (url.hostname or "") else "ip4" if (url.hostname or "")[:1].isdigit() else "dns"
    port = url.port or (443 if url.scheme == "https" else 80)
    return f"/{kind}/{url.hostname}/tcp/{port}/{url.scheme}"


def _authorization(env: Mapping[str, str]) -> str | None:
    path = env.get("KUBO_AUTHORIZATION_FILE")
    if not path:
        return env.get("KUBO_AUTHORIZATION") or None
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"cannot be read ({type(err).__name__})", field="KUBO_AUTHORIZATION_FILE") from None
