"""One real file, real other processes, real kills."""

from __future__ import annotations

import random
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager, suppress

import pytest

from oracle.jobs.errors import JournalError
from oracle.node import database
from oracle.node.database import Database, JournalUnavailable, version_of

MIGRATIONS = (("CREATE TABLE pairs (left INTEGER, right INTEGER)",),)
OPEN = """
import sys
from pathlib import Path
from oracle.node.database import Database
db = Database(Path(sys.argv[1]), (("CREATE TABLE pairs (left INTEGER, right INTEGER)",),))
"""
HOLD = OPEN + "print('open', flush=True); sys.stdin.read()"
DIE_INSIDE = (
    OPEN
    + """
with db.transaction() as t:
    t.execute("INSERT INTO pairs VALUES (1, 1)")
with db.transaction() as t:
    t.execute("UPDATE pairs SET left = 2")
    t.executemany("INSERT INTO pairs VALUES (?, ?)", [(n, -n) for n in range(100_000)])  # more than a page cache holds
    print("inside", flush=True)
    sys.stdin.read()
"""
)
WRITE_ON = (
    OPEN
    + """
print("open", flush=True)
for n in range(1_000_000):
    with db.transaction() as t:
        t.execute("INSERT INTO pairs VALUES (?, 0)", (n,))
        t.execute("UPDATE pairs SET right = left WHERE left = ?", (n,))
    print(n, flush=True)
"""
)


@contextmanager
def process(code, path):
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline().strip(), "it did not start"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


def pairs(path) -> list[tuple[int, int]]:
    with closing(Database(path, MIGRATIONS)) as db:
        return [tuple(row) for row in db.rows("SELECT * FROM pairs")]


def content(folder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".lock"}


def test_open__while_another_process_has_it__is_refused_and_names_it(path):
    with process(HOLD, path) as other:
        with pytest.raises(JournalError, match=f"another node is using it \\(process {other.pid}\\)"):
            Database(path, MIGRATIONS)
        other.send_signal(signal.SIGKILL)
        other.wait()

        Database(path, MIGRATIONS).close()


def test_open__after_a_kill_inside_a_transaction__has_all_that_was_committed_and_nothing_else(path):
    with process(DIE_INSIDE, path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()

    assert pairs(path) == [(1, 1)]


def test_open__after_kills_at_any_moment__has_whole_transactions_up_to_the_last_one_reported(path):
    chance = random.Random(5)
    for _ in range(4):
        with process(WRITE_ON, path) as other:
            for _ in range(chance.randrange(2, 60)):
                reported = other.stdout.readline()
            other.send_signal(signal.SIGKILL)
            reported = other.stdout.read().split("\n")[-2:-1] or [reported]

        found = pairs(path)
        assert all(left == right for left, right in found)
        assert (int(reported[-1]),) * 2 in found


def test_transaction__failing__undoes_everything(path):
    with closing(Database(path, MIGRATIONS)) as db:
        with pytest.raises(ZeroDivisionError), db.transaction() as t:
            t.execute("INSERT INTO pairs VALUES (1, 1)")
            raise ZeroDivisionError

        assert db.rows("SELECT * FROM pairs") == []


def test_transaction__part_of_another_failing__undoes_that_part(path):
    with closing(Database(path, MIGRATIONS)) as db:
        with db.transaction() as t:
            t.execute("INSERT INTO pairs VALUES (1, 1)")
            with suppress(ZeroDivisionError), db.transaction() as part:
                part.execute("INSERT INTO pairs VALUES (2, 2)")
                raise ZeroDivisionError
            t.execute("INSERT INTO pairs VALUES (3, 3)")

        assert [row[0] for row in db.rows("SELECT left FROM pairs")] == [1, 3]


def test_transaction__disk_full__writes_nothing_and_works_again_once_there_is_room(path):
    with closing(Database(path, MIGRATIONS)) as db:
        many = [(n, n) for n in range(50_000)]
        pages = db.row("PRAGMA page_count")[0]
        db.row(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(JournalUnavailable, match="full.*free some space"), db.transaction() as t:
            t.execute("INSERT INTO pairs VALUES (1, 1)")
            t.executemany("INSERT INTO pairs VALUES (?, ?)", many)
        assert db.rows("SELECT * FROM pairs") == []

        db.row("PRAGMA max_page_count = 1000000")
        with db.transaction() as t:
            t.executemany("INSERT INTO pairs VALUES (?, ?)", many)
        assert db.row("SELECT COUNT(*) FROM pairs")[0] == 50_000


def test_transaction__part_of_one_that_the_full_disk_undid__raises_in_the_end(path):
    with closing(Database(path, MIGRATIONS)) as db:
        db.row(f"PRAGMA max_page_count = {db.row('PRAGMA page_count')[0] + 2}")
        with pytest.raises(JournalUnavailable), db.transaction(), db.transaction() as part:
            part.executemany("INSERT INTO pairs VALUES (?, ?)", [(n, n) for n in range(50_000)])

        assert db.rows("SELECT * FROM pairs") == []


def test_transaction__operating_system_refuses_to_write__writes_nothing_and_works_again(path):
    """A limit on the size of files: what the disk says is an error of input and output."""
    with closing(Database(path, MIGRATIONS)) as db:
        with db.transaction() as t:
            t.execute("INSERT INTO pairs VALUES (1, 1)")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("journal.db-wal").stat().st_size + 100, hard))
        try:
            with pytest.raises(JournalUnavailable, match="cannot be used now"), db.transaction() as t:
                t.execute("INSERT INTO pairs VALUES (2, 2)")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with db.transaction() as t:
            t.execute("INSERT INTO pairs VALUES (3, 3)")

        assert [row[0] for row in db.rows("SELECT left FROM pairs")] == [1, 3]


def test_open__new_or_readable_by_others__is_the_owners_alone(path):
    for _ in range(2):
        with closing(Database(path, MIGRATIONS)) as db, db.transaction() as t:
            t.execute("INSERT INTO pairs VALUES (1, 1)")
            beside = [path, *path.parent.glob(f"{path.name}-*")]
            assert len(beside) == 3 and {file.stat().st_mode & 0o777 for file in beside} == {0o600}
        path.chmod(0o644)  # as earlier versions made it


def test_open__new_migrations_on_a_readable_file__keeps_the_backup_from_others(path):
    Database(path, MIGRATIONS).close()
    Database(path, (*MIGRATIONS, ("CREATE TABLE more (left INTEGER)",))).close()
    assert {file.stat().st_mode & 0o077 for file in path.parent.glob(f"{path.name}*")} == {0}


def test_open__folder_that_cannot_be_made__says_so(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(JournalUnavailable, match="cannot be used now"):
        Database(tmp_path / "file" / "journal.db", MIGRATIONS)


def test_open__new_migrations__runs_them_in_order_after_a_backup(path):
    with closing(Database(path, MIGRATIONS)) as db, db.transaction() as t:
        t.execute("INSERT INTO pairs VALUES (1, 2)")
    more = (*MIGRATIONS, ("ALTER TABLE pairs ADD sum INTEGER",), ("UPDATE pairs SET sum = left + right",))

    with closing(Database(path, more)) as db:
        assert [tuple(row) for row in db.rows("SELECT * FROM pairs")] == [(1, 2, 3)]

    assert version_of(path) == 3
    backup = path.with_name("journal.db.schema1")
    assert version_of(backup) == 1
    with closing(sqlite3.connect(backup)) as db:
        assert db.execute("SELECT * FROM pairs").fetchall() == [(1, 2)]
    assert not backup.with_name(backup.name + ".part").exists()


def test_open__migration_that_fails__leaves_the_schema_before_it(path):
    Database(path, MIGRATIONS).close()
    bad = (*MIGRATIONS, ("ALTER TABLE pairs ADD sum INTEGER",), ("DROP TABLE pairs", "DROP TABLE pairs"))

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        Database(path, bad)

    assert version_of(path) == 2
    with closing(Database(path, bad[:2])) as db:
        assert db.rows("SELECT sum FROM pairs") == []


def test_open__newer_schema__is_refused_and_left_alone(path):
    Database(path, (*MIGRATIONS, ())).close()
    before = content(path.parent)

    with pytest.raises(JournalError, match="schema 2, this Qscrow knows 1; update Qscrow"):
        Database(path, MIGRATIONS)

    assert content(path.parent) == before


def test_open__no_database__is_refused_and_left_alone(path):
    path.write_bytes(b"this is no database" * 100)

    with pytest.raises(JournalError, match="is damaged.*qscrow oracle rebuild"):
        Database(path, MIGRATIONS)

    assert content(path.parent) == {"journal.db": b"this is no database" * 100}


def test_open__another_programs_database__is_refused(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE songs (title TEXT)")

    with pytest.raises(JournalError, match="names no schema"):
        Database(path, MIGRATIONS)


def damage(path) -> None:
    """Write over a page in the middle of a file that is closed."""
    with closing(Database(path, MIGRATIONS)) as db, db.transaction() as t:
        t.executemany("INSERT INTO pairs VALUES (?, ?)", [(n, n) for n in range(20_000)])
    data = bytearray(path.read_bytes())
    middle = len(data) // 8192 * 4096
    data[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(data)


def test_open__damaged_page__is_refused_and_left_alone(path):
    damage(path)
    before = content(path.parent)

    with pytest.raises(JournalError, match="is damaged.*qscrow oracle rebuild"):
        Database(path, MIGRATIONS)

    assert content(path.parent) == before


def test_rows__damage_in_a_file_too_large_to_look_at__is_said_when_it_is_met(path, monkeypatch):
    damage(path)
    monkeypatch.setattr(database, "CHECKED_BYTES", 4096)

    with closing(Database(path, MIGRATIONS)) as db, pytest.raises(JournalError, match="is damaged"):
        db.rows("SELECT * FROM pairs")


def test_version_of__nothing_there_yet__is_zero(path):
    assert version_of(path) == 0
    path.touch()
    assert version_of(path) == 0


def test_version_of__damaged_file__is_refused(path):
    path.write_bytes(b"no database at all" * 100)

    with pytest.raises(JournalError, match="is damaged"):
        version_of(path)
