from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oracle.cli.output import BAR_WIDTH, TOP_OUTCOMES, histogram, printable, when

COUNTS = st.dictionaries(st.text("01", min_size=1, max_size=8), st.integers(1, 10**6), min_size=1, max_size=60)


@given(COUNTS)
def test_histogram__any_counts__every_shot_is_on_some_line(counts):
    lines = histogram(counts)

    shown = [int(line.split()[-3]) for line in lines]
    assert sum(shown) == sum(counts.values())
    assert len(lines) == min(len(counts), TOP_OUTCOMES + (len(counts) > TOP_OUTCOMES))


def test_histogram__more_than_sixteen__the_rest_is_one_line():
    lines = histogram({f"{n:05b}": 100 - n for n in range(20)})

    assert len(lines) == 17
    assert lines[0].split()[0] == "00000"
    assert "other" in lines[-1] and " 330 " in lines[-1]


def test_histogram__bars__are_in_proportion(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    lines = histogram({"0": 300, "1": 100, "2": 1})

    assert [line.count("█") for line in lines] == [BAR_WIDTH, round(BAR_WIDTH / 3), 0]
    assert "▏" in lines[2]


def test_histogram__narrow_terminal__lines_fit(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")

    assert all(len(line) <= 60 for line in histogram({"0" * 20: 3, "1" * 20: 1}))


def test_histogram__very_long_outcome__is_cut():
    assert max(map(len, histogram({"1" * 5000: 1}))) < 150


@given(st.text())
def test_printable__any_text__cannot_steer_a_terminal(text):
    assert all(c.isprintable() or c == "\n" for c in printable(text))


def test_printable__ordinary_text__is_left_alone():
    assert printable("Größe: 5 ✓\nnext") == "Größe: 5 ✓\nnext"
    assert printable("\x1b[31m\r\t") == r"\x1b[31m\r\t"


def test_when__unix_time__is_utc_and_never_fails():
    assert when(0) == "1970-01-01 00:00:00 UTC"
    assert when(10**30) == f"second {10**30}"
