"""How long work will still take: by the pace of its present phase, or by how long each thing took before."""

import pytest

from skfusion._progress._pace import FEWEST, WINDOW, Pace, PaceByName, clock


def test_an_even_pace_gives_the_time_that_is_left():
    pace = Pace()
    assert pace.left(0) is None
    for second in range(5):
        pace.report(second, second, 10)
    assert pace.left(4) == 6
    assert pace.left(6) == 4  # time goes on where nothing is reported


def test_nothing_is_known_before_there_is_a_pace_and_nothing_is_left_at_the_end():
    pace = Pace()
    pace.report(0, 0, 10)
    assert pace.left(5) is None
    for second in range(1, 11):
        pace.report(second, second, 10)
    assert pace.left(10) is None


def test_where_it_is_slower_than_it_was_the_time_left_grows_and_is_never_over():
    pace = Pace()
    for second in range(9):
        pace.report(second, second, 10)
    late = [pace.left(8 + wait) for wait in (1, 2, 5, 50)]
    assert all(left > 0 for left in late)
    assert late[1] < late[2] < late[3]


def two_passes(first, second, size=100):
    """The reports of a merge that reads all for some seconds, and then merges all for other ones."""
    reports = [(k * first / size, "Surveying", k) for k in range(1, size + 1)]
    return reports + [(first + k * second / size, "Merging", size + k) for k in range(1, size + 1)]


@pytest.mark.parametrize(("first", "second"), [(30, 40), (10, 90), (3, 300), (50, 50)])
def test_the_time_left_of_two_passes_is_that_of_both(first, second):
    pace, end = Pace(), first + second
    for now, phase, done in two_passes(first, second):
        pace.report(now, done, 200, phase)
        left = pace.left(now)
        if phase == "Surveying" and done > 5:  # what follows is taken to be as fast
            assert left == pytest.approx((200 - done) * first / 100, rel=0.05)
        if phase == "Merging" and 105 < done < 200:
            assert left == pytest.approx(end - now, rel=0.05)  # and not 0, nor by the pace of the first pass


def test_a_pass_that_begins_anew_is_not_measured_by_the_one_before():
    pace = Pace()
    for second in range(11):
        pace.report(second / 10, second, 10, "Merging")
    pace.report(2, 4, 10, "Hashing")
    assert pace.left(2) is None
    pace.report(4, 6, 10, "Hashing")
    assert pace.left(4) == 4


def test_the_pace_is_that_of_the_last_half_minute_and_of_some_reports_at_least():
    pace = Pace()
    for second in range(101):  # slow at first
        pace.report(second, second / 10, 1000)
    for second in range(101, 201):
        pace.report(second, 10 + (second - 100), 1000)
    assert pace.left(200) == pytest.approx(1000 - 110, rel=0.05)
    assert len(pace._reports) <= WINDOW + 2
    rare = Pace()
    for k in range(12):
        rare.report(600 * k, k, 20)
    assert rare.left(6600) == 600 * 9
    assert len(rare._reports) == FEWEST


def test_many_reports_take_no_memory():
    pace = Pace()
    for k in range(100_000):
        pace.report(k / 10_000, k, 100_000)
    assert len(pace._reports) < 100
    assert pace.left(10) == pytest.approx(0, abs=1e-3)


def test_what_takes_long_in_each_round_is_known_by_its_name():
    seconds = {"trains the members": 60, "soup": 1, "ensemble": 2}
    pace, now = PaceByName(seconds, 3), 0
    for round_ in range(3):
        for name, taken in seconds.items():
            pace.begin(name, now)
            expected = 63 * 3 - now if round_ else None
            assert pace.left(now) == (None if name == "trains the members" and not round_ else expected)
            assert pace.left(now + taken / 2) == (expected if expected is None else expected - taken / 2)
            now += taken
            pace.end(name, now)
    assert pace.left(now) is None


def test_what_takes_longer_than_usual_does_not_use_up_the_time_of_others():
    pace = PaceByName(["a", "b"], 2)
    for k, name in enumerate(["a", "b"]):
        pace.begin(name, 10 * k)
        pace.end(name, 10 * k + 10)
    pace.begin("a", 20)
    assert pace.left(500) == 10


def test_seconds_are_shown_as_on_a_clock():
    assert [clock(s) for s in (-1, 0.4, 61, 3723.6, 90_000)] == [
        "0:00:00",
        "0:00:00",
        "0:01:01",
        "1:02:04",
        "1 day, 1:00:00",
    ]
