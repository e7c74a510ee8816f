"""What is written down about runs, and for whom."""

from __future__ import annotations

import os

import pytest

from oracle.backends.ibm.notes import KeptResults, Notes
from oracle.jobs.errors import JournalError


def test_tags__of_all_notes__leaves_out_what_is_damaged(tmp_path):
    notes = Notes(tmp_path / "notes")
    assert list(notes.tags()) == []
    for tag in ("a:b:1:c", "a:b:2:c"):
        notes.write(tag, {"shots": 1})
    (tmp_path / "notes" / "broken.json").write_text("{")

    assert sorted(tag for tag, _ in notes.tags()) == ["a:b:1:c", "a:b:2:c"]
    notes.forget("a:b:1:c")
    assert [tag for tag, _ in notes.tags()] == ["a:b:2:c"]


def test_write__folder_that_cannot_be_made__is_a_journal_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be written"):
        Notes(tmp_path / "file" / "notes").write("tag", {})


def test_kept_results__until_nobody_needs_them__survive_for_their_owner_alone(tmp_path):
    kept = KeptResults(tmp_path / "kept")
    assert kept.recall("job1") is None
    for reference in ("job1", "job2", "job3"):
        kept.keep(reference, reference.encode())
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "kept").iterdir()} == {0o600}
    newest = max((tmp_path / "kept").iterdir(), key=lambda path: path.read_bytes())
    os.utime(newest, (2_000, 2_000))
    for path in (tmp_path / "kept").iterdir():
        if path != newest:
            os.utime(path, (1_000, 1_000))

    kept.drop(["job1"], older_than=1_500)

    assert [kept.recall(reference) for reference in ("job1", "job2", "job3")] == [b"job1", None, b"job3"]
