"""Kinds of settings: how a value is written in a file or a variable, what it may be, and how it is shown.

A kind reads what TOML gives (:meth:`Kind.parse`, strict about types) and plain text from the environment or an option
(:meth:`Kind.parse_text`). Its ``str`` is the description in the operators' manual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.jobs.amounts import MAX_AMOUNT, format_wei, parse_amount
from oracle.jobs.errors import InputError

_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Kind:
    """What a setting may be. All methods raise :class:`InputError` without a field: the caller knows where it stood."""

    def parse(self, raw: Any) -> Any:
        """The value that ``raw`` from a TOML file means."""
        raise NotImplementedError

    def parse_text(self, text: str) -> Any:
        """The value that ``text`` from the environment or an option means."""
        return self.parse(text.strip())

    def check(self, value: Any) -> None:
        """Refuse a value that is out of range; every parsed one is in range."""

    def show(self, value: Any) -> str:
        """``value`` as one would write it in the file, without secrets."""
        return _quoted("" if value is None else str(value))


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number; with ``word`` that word stands for none."""

    least: int = 0
    most: int = 2**53
    word: str = ""

    def parse(self, raw: Any) -> int | None:
        """See :class:`Kind`."""
        if self.word and raw == self.word:
            return None
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise InputError(f"{_short(raw)} is no whole number", remedy=f"write {self._example()}")
        self.check(raw)
        return raw

    def parse_text(self, text: str) -> int | None:
        """See :class:`Kind`."""
        plain = text.strip()
        digits = plain.removeprefix("-").replace("_", "")
        return self.parse(int(plain.replace("_", "")) if digits.isascii() and digits.isdigit() else plain)

    def check(self, value: Any) -> None:
        """See :class:`Kind`."""
        if value is not None and not self.least <= value <= self.most:
            raise InputError(f"{value} is out of range", remedy=f"use {self._range()}")

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return _quoted(self.word) if value is None else str(value)

    def _example(self) -> str:
        return f"{max(self.least, 1)}, without quotes{f', or {_quoted(self.word)}' if self.word else ''}"

    def _range(self) -> str:
        return f"{self.least} or more" if self.most == 2**53 else f"{self.least} to {self.most}"

    def __str__(self) -> str:
        return f"whole number, {self._range()}" + (f", or {_quoted(self.word)}" if self.word else "")


@dataclass(frozen=True)
class Seconds(Kind):
    """A time in seconds, whole or not; ``above`` is excluded."""

    above: float = -1.0
    most: float = 7 * 24 * 3600.0

    def parse(self, raw: Any) -> float:
        """See :class:`Kind`."""
        if isinstance(raw, bool) or not isinstance(raw, (int, float)):
            raise InputError(f"{_short(raw)} is no number of seconds", remedy="write 1.5, without quotes")
        self.check(raw)
        return raw

    def parse_text(self, text: str) -> float:
        """See :class:`Kind`."""
        try:
            return self.parse(float(text) if text.isascii() else text)
        except ValueError:
            return self.parse(text)

    def check(self, value: Any) -> None:
        """See :class:`Kind`."""
        if not math.isfinite(value) or value < 0 or not self.above < value <= self.most:
            raise InputError(f"{value} is out of range", remedy=f"use {self._range()} seconds")

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return _number(value)

    def _range(self) -> str:
        most = _number(self.most)
        return f"more than {_number(self.above)} and at most {most}" if self.above >= 0 else f"0 to {most}"

    def __str__(self) -> str:
        return f"seconds, {self._range()}"


@dataclass(frozen=True)
class Share(Kind):
    """A number above 0, at most 1; ``word`` stands for none."""

    word: str = "off"

    def parse(self, raw: Any) -> float | None:
        """See :class:`Kind`."""
        if raw == self.word:
            return None
        if isinstance(raw, bool) or not isinstance(raw, (int, float)):
            raise InputError(
                f"{_short(raw)} is no number", remedy=f"write 0.08, without quotes, or {_quoted(self.word)}"
            )
        self.check(raw)
        return raw

    def parse_text(self, text: str) -> float | None:
        """See :class:`Kind`."""
        try:
            return self.parse(float(text) if text.isascii() else text)
        except ValueError:
            return self.parse(text.strip())

    def check(self, value: Any) -> None:
        """See :class:`Kind`."""
        if value is not None and not 0 < value <= 1:
            raise InputError(f"{value} is out of range", remedy="use more than 0 and at most 1")

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return _quoted(self.word) if value is None else _number(value)

    def __str__(self) -> str:
        return f"number above 0, at most 1, or {_quoted(self.word)}"


@dataclass(frozen=True)
class Words(Kind):
    """Some of ``choices``; in text, with commas between."""

    choices: tuple[str, ...] = ()

    def parse(self, raw: Any) -> frozenset[str]:
        """See :class:`Kind`."""
        if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
            raise InputError(f"{_short(raw)} is not a list of words", remedy=f"write [{_quoted(self.choices[0])}]")
        found = frozenset(raw)
        self.check(found)
        return found

    def parse_text(self, text: str) -> frozenset[str]:
        """See :class:`Kind`."""
        return self.parse([each.strip() for each in text.split(",") if each.strip()])

    def check(self, value: Any) -> None:
        """See :class:`Kind`."""
        for unknown in sorted(value - set(self.choices)):
            raise InputError(f"{_short(unknown)} is unknown", remedy=f"use some of {', '.join(self.choices)}")

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return f"[{', '.join(map(_quoted, sorted(value)))}]"

    def __str__(self) -> str:
        return f"list of some of {', '.join(f'`{choice}`' for choice in self.choices)}"


class Money(Kind):
    """An amount of native currency, in wei once parsed."""

    def parse(self, raw: Any) -> int:
        """See :class:`Kind`."""
        try:
            return parse_amount(raw)
        except InputError as err:
            raise InputError(err.message, remedy='write it in quotes with its unit: "0.01 ether", "25 gwei"') from None

    def check(self, value: Any) -> None:
        """See :class:`Kind`."""
        if not 0 <= value <= MAX_AMOUNT:
            raise InputError(f"{value} is out of range", remedy="use zero or more, within 96 bits")

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return _quoted(format_wei(value))

    def __str__(self) -> str:
        return "amount with its unit (`ether`, `gwei`, `wei`)"


class Flag(Kind):
    """Yes or no."""

    def parse(self, raw: Any) -> bool:
        """See :class:`Kind`."""
        if not isinstance(raw, bool):
            raise InputError(f"{_short(raw)} is neither true nor false", remedy="write true or false, without quotes")
        return raw

    def parse_text(self, text: str) -> bool:
        """See :class:`Kind`."""
        word = text.strip().lower()
        return True if word in _YES else False if word in _NO else self.parse(text)

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return str(value).lower()

    def __str__(self) -> str:
        return "`true` or `false`"


@dataclass(frozen=True)
class Text(Kind):
    """A word or a line, one of ``choices`` if there are any."""

    choices: tuple[str, ...] = ()

    def parse(self, raw: Any) -> str:
        """See :class:`Kind`."""
        if not isinstance(raw, str):
            raise InputError(f"{_short(raw)} is not text", remedy="put it in quotes")
        self.check(raw)
        return raw

    def check(self, value: Any) -> None:
        """See :class:`Kind`."""
        if self.choices and value not in self.choices:
            raise InputError(f"{_short(value)} is unknown", remedy=f"use {' or '.join(self.choices)}")

    def __str__(self) -> str:
        return " or ".join(f"`{choice}`" for choice in self.choices) or "text"


class File(Kind):
    """A path; ``~`` is the user's home."""

    def parse(self, raw: Any) -> Path:
        """See :class:`Kind`."""
        if not isinstance(raw, str) or not raw:
            raise InputError(f"{_short(raw)} is not a path", remedy="put it in quotes")
        return Path(raw).expanduser()

    def __str__(self) -> str:
        return "path"


class Files(Kind):
    """Paths in a certain order; in text, with commas between."""

    def parse(self, raw: Any) -> tuple[Path | None, ...]:
        """See :class:`Kind`. An empty one is ``None``."""
        if isinstance(raw, str):
            raw = [raw]
        if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
            raise InputError(f"{_short(raw)} is not a list of paths", remedy='write ["/a/file", "/another"]')
        return tuple(Path(each).expanduser() if each else None for each in raw)

    def parse_text(self, text: str) -> tuple[Path | None, ...]:
        """See :class:`Kind`."""
        return self.parse([each.strip() for each in text.split(",")] if text.strip() else [])

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return f"[{', '.join(_quoted(str(path or '')) for path in value)}]"

    def __str__(self) -> str:
        return "list of paths"


class Secret(Kind):
    """Something that is never shown."""

    def parse(self, raw: Any) -> str:
        """See :class:`Kind`."""
        if not isinstance(raw, str):
            raise InputError("is not text", remedy="put it in quotes")
        return raw.strip()

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return "set, not shown" if value else '""'

    def __str__(self) -> str:
        return "secret"


@dataclass(frozen=True)
class Url(Secret):
    """An http(s) URL, or with ``multiaddr`` also such an address. It may hold credentials, but not in its host."""

    multiaddr: bool = False

    def parse(self, raw: Any) -> str:
        """See :class:`Kind`."""
        url = super().parse(raw)
        if not url or _is_http(url) or (self.multiaddr and url.startswith("/")):
            return url
        raise InputError("is not an http(s) URL", remedy="give http://host:port")  # not quoted: it may hold credentials

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return _quoted(_shown_url(value)) if value else '""'

    def __str__(self) -> str:
        return "http(s) URL"


@dataclass(frozen=True)
class Urls(Kind):
    """One http(s) URL or several; in text, with commas or line ends between."""

    multiaddr: bool = False

    def parse(self, raw: Any) -> tuple[str, ...]:
        """See :class:`Kind`."""
        if isinstance(raw, str):
            raw = [raw]
        if not isinstance(raw, list) or not all(isinstance(each, str) and each.strip() for each in raw):
            raise InputError("is not a list of URLs", remedy='write ["https://one", "https://another"]')
        urls = tuple(Url(self.multiaddr).parse(each) for each in raw)
        if len(set(urls)) < len(urls):
            raise InputError("names the same URL twice", remedy="remove one")
        return urls

    def parse_text(self, text: str) -> tuple[str, ...]:
        """See :class:`Kind`."""
        return self.parse([each.strip() for each in text.replace("\n", ",").split(",") if each.strip()])

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return f"[{', '.join(map(Url().show, value))}]"

    def __str__(self) -> str:
        return f"list of http(s) URLs{' or multiaddrs' if self.multiaddr else ''}"


class Addresses(Kind):
    """Accounts on the chain; in text, with commas between."""

    def parse(self, raw: Any) -> frozenset[str]:
        """See :class:`Kind`."""
        from oracle.jobs.identity import parse_address

        if not isinstance(raw, list):
            raise InputError(f"{_short(raw)} is not a list of addresses", remedy='write ["0x…", "0x…"]')
        try:
            return frozenset(parse_address(each) for each in raw)
        except InputError as err:
            raise InputError(err.message, remedy=err.remedy) from None

    def parse_text(self, text: str) -> frozenset[str]:
        """See :class:`Kind`."""
        return self.parse([each.strip() for each in text.split(",") if each.strip()])

    def show(self, value: Any) -> str:
        """See :class:`Kind`."""
        return f"[{', '.join(map(_quoted, sorted(value)))}]"

    def __str__(self) -> str:
        return "list of addresses"


def _shown_url(url: str) -> str:
    """Scheme and host; ``/…`` says that there is more, which may be an API key."""
    from urllib.parse import urlsplit

    from oracle.chain.failures import shown_url

    if url.startswith("/"):
        return url  # a multiaddr
    parts = urlsplit(url)
    return shown_url(url) + ("/…" if parts.path.strip("/") or parts.query else "")


def _is_http(url: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        return bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:  # unbalanced brackets, a port that is no number
        return False


def _number(value: float) -> str:
    """In digits alone, and all of them."""
    return str(int(value)) if value == int(value) else repr(value)


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)  # TOML's basic strings are JSON's


def _short(value: Any) -> str:
    return repr(value)[:40]
