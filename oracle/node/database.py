"""One SQLite file for one process: its lock, its schema, its transactions, and errors a person can act on."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from oracle.jobs.errors import JournalError

CHECKED_BYTES = 512 * 2**20
"""Size up to which opening looks for damage, which takes seconds; in a larger file it is found when it is read."""
REBUILD = (
    "`qscrow oracle rebuild` moves it aside and makes a new one from the chain; a validator makes one by itself"
    " once you have moved the file away"
)

_PATIENCE = 5.0  # seconds that a write waits for another's
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_MAY_PASS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_PRIMARY_CODE = 0xFF  # extended result codes carry their kind in the low byte


Migration = Sequence[str | Callable[[sqlite3.Connection], None]]
"""Statements, and steps that SQL alone cannot do, in their order."""


class JournalUnavailable(JournalError):
    """The file cannot be used now, and nothing was half-written; trying again later may work."""


class Database:
    """Exclusive and thread-safe. ``migrations[n]`` leads from schema ``n`` to ``n + 1``; a new file gets all of them.

    Every commit is on the disk when it returns. All methods raise :class:`JournalUnavailable` when the disk does not
    play along and :class:`JournalError` when the file is damaged, of a newer schema or another process's.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration]):
        self.path = path
        self._lock = threading.RLock()
        self._guard = claim_file(path)
        try:
            with translated(path):
                self._connection = _opened(path, migrations)
        except BaseException:
            self._guard.close()
            raise

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()
            self._guard.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; inside another one it is a part that can fail by itself."""
        with self._lock, translated(self.path):
            db = self._connection
            nested = db.in_transaction
            begin, commit, undo = _PART if nested else _WHOLE
            db.execute(begin)
            try:
                yield db
                db.execute(commit)
            except BaseException:
                if db.in_transaction:  # SQLite itself undoes everything when the disk is full
                    for statement in undo:
                        db.execute(statement)
                raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Everything a query answers."""
        with self._lock, translated(self.path):
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Row | None:
        """The first row a query answers."""
        with self._lock, translated(self.path):
            return self._connection.execute(sql, values).fetchone()


_WHOLE = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_PART = ("SAVEPOINT part", "RELEASE part", ("ROLLBACK TO part", "RELEASE part"))


def damaged(path: Path, what: object) -> JournalError:
    """The error for a file whose content cannot be trusted."""
    return JournalError(f"is damaged ({what})", field=str(path), remedy=REBUILD)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection beside whoever has the file open. Raises :class:`JournalError`."""
    if not path.exists():
        raise JournalError(
            "there is no journal",
            field=str(path),
            remedy="start the node once with `qscrow oracle run`, or the validator with `qscrow validator run`",
        )
    with translated(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        yield db


@contextmanager
def holding(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to read what nobody writes to meanwhile, in this process or another. Raises :class:`JournalError`.

    Who holds several takes them in the order of their paths, or two of them could wait for each other.
    """
    address = f"{path.resolve().as_uri()}?mode=rw"
    with translated(path), closing(sqlite3.connect(address, timeout=_PATIENCE, uri=True, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db


def version_of(path: Path) -> int:
    """Schema of the database at ``path``; 0 if there is none yet. Raises :class:`JournalError` if it is damaged."""
    if not path.exists() or not path.stat().st_size:
        return 0
    with reading(path) as db:
        return _version(db, path)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the file into a :class:`JournalError`; mistakes of ours pass."""
    try:
        yield
    except sqlite3.DatabaseError as err:
        code = getattr(err, "sqlite_errorcode", None) or 0
        if code & _PRIMARY_CODE in _DAMAGED:
            raise damaged(path, err) from err
        if code & _PRIMARY_CODE in _MAY_PASS:
            full = code & _PRIMARY_CODE == sqlite3.SQLITE_FULL
            raise JournalUnavailable(
                f"cannot be used now ({err})",
                field=str(path),
                remedy="free some space" if full else "check the disk and the file's permissions",
            ) from err
        raise


def claim_file(path: Path) -> IO[str]:
    """Hold the lock file beside ``path``; the system lets go of it when the process dies, however it dies.

    Close what is returned to let go earlier. Raises :class:`JournalError` if another holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        guard = path.with_suffix(".lock").open("a+")
    except OSError as err:
        raise JournalUnavailable(
            f"cannot be used now ({err.strerror})", field=str(path), remedy="check the disk and its permissions"
        ) from None
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        guard.seek(0)
        holder = guard.read(20).strip()
        guard.close()
        raise JournalError(
            f"another node is using it (process {holder or 'unknown'})",
            field=str(path),
            remedy="stop that node; one journal serves one node",
        ) from None
    with suppress(OSError):  # a disk without room for a few digits: the lock holds all the same
        guard.truncate(0)
        guard.write(str(os.getpid()))
        guard.flush()
    return guard


def _opened(path: Path, migrations: Sequence[Migration]) -> sqlite3.Connection:
    _keep_from_others(path)
    db = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False, isolation_level=None)
    try:
        db.row_factory = sqlite3.Row
        _look_for_damage(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        _migrate(db, path, migrations)
    except BaseException:
        db.close()
        raise
    return db


def _keep_from_others(path: Path) -> None:
    """Results are in it in the clear. SQLite gives the files beside it the same permissions."""
    with suppress(OSError):  # SQLite says what is wrong with the file
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for each in (path, *(path.with_name(path.name + beside) for beside in ("-wal", "-shm"))):
            if each.exists() and each.stat().st_mode & 0o077:
                each.chmod(0o600)


def _look_for_damage(db: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size > CHECKED_BYTES:
        return
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise damaged(path, " ".join(str(found).split()))


def _migrate(db: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    version = _version(db, path)
    if version > len(migrations):
        raise JournalError(
            f"is of schema {version}, this Qscrow knows {len(migrations)}", field=str(path), remedy="update Qscrow"
        )
    if 0 < version < len(migrations):
        _back_up(db, path.with_name(f"{path.name}.schema{version}"))
    for number, statements in enumerate(migrations[version:], start=version + 1):
        db.execute("BEGIN EXCLUSIVE")
        try:
            db.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
            for statement in statements:
                statement(db) if callable(statement) else db.execute(statement)
            db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('schema', ?)", (str(number),))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _version(db: sqlite3.Connection, path: Path) -> int:
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() if "meta" in tables else None
    if row is None or not str(row[0]).isdecimal():
        raise damaged(path, "it names no schema")
    return int(row[0])


def _back_up(db: sqlite3.Connection, path: Path) -> None:
    """A copy as it was, whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.unlink(missing_ok=True)
    _keep_from_others(unfinished)
    with closing(sqlite3.connect(unfinished)) as copy:
        db.backup(copy)
    os.replace(unfinished, path)
