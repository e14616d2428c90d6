"""Names as they are drawn."""

import pytest

from skfusion.plots._text import distinct, plain, wrapped


def test_names_of_forty_characters_are_whole():
    names = [f"{'x' * 38}{k:02d}" for k in range(12)]
    assert distinct(names) == names


@pytest.mark.parametrize(
    "names",
    [
        [f"{'b' * 30}{k}{'e' * 30}" for k in range(5)],  # which differ where the middle is left out
        [f"{'x' * 25}{'y' * 20}{k}{'z' * 40}" for k in range(5)],
        [f"{'b' * 60}{k}{'e' * 60}" for k in range(40)],
        ["short", *(f"{'b' * 60}{k}{'e' * 60}" for k in range(3))],
    ],
)
@pytest.mark.parametrize("most", [16, 20, 48])
def test_names_that_differ_never_look_the_same(names, most):
    shown = distinct(names, most)
    assert len({*shown}) == len(names)
    assert max(map(len, shown)) <= most + 8


def test_equal_names_stay_equal():
    assert distinct(["a" * 99, "a" * 99], 20)[0] == plain("a" * 99, 20)


def test_dollars_are_no_mathematics():
    assert distinct(["lr=$1", "lr=$2"]) == [r"lr=\$1", r"lr=\$2"]


def test_lines_are_wrapped_but_mathematics_is_not():
    assert wrapped("the loss of all networks\nmore", 12) == "the loss of\nall networks\nmore"
    assert wrapped("$a + b + c + d + e$", 5) == "$a + b + c + d + e$"
    assert wrapped(r"pay \$5 and \$6", 8) == "pay \\$5\nand \\$6"
