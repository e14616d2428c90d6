"""What is no pool is refused in one line that says how it becomes one."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from skfusion.pool import Member, ModelPool
from skfusion.testing import _problems as problems

STATE = nn.Linear(2, 2).state_dict()


class Fitted:
    module_ = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("folder", r"the path 'folder'\. Read the folder of a pool by ModelPool\.load"),
        (Path("a.safetensors"), r"the path 'a\.safetensors'.*ModelPool\.from_files"),
        (["a.safetensors"], r"Item 0 .*the path 'a\.safetensors'.*ModelPool\.from_files"),
        ([Member("a", STATE), STATE], r"Item 1 .*a OrderedDict\. Give a state dict a name: Member\('a', state\)"),
        (STATE, r"one state dict\. Give it a name: ModelPool\(\[Member"),
        ({"a": STATE}, r"got a dict.*Member\(name, s\) for name, s in states\.items\(\).*from_files"),
        ([nn.Linear(2, 2)], r"a module, Linear.*Member\('a', module\.state_dict\(\)\)"),
        ([Fitted()], r"a fitted Fitted.*ModelPool\.from_estimators\(nets\)"),
        ([problems.net()], r"Item 0 .*Members are made by Member\(name, state\)"),
        (Member("a", STATE), r"got a Member\. Give \[member, \.\.\.\]"),
        (3, "list of members; got a int"),
    ],
)
def test_what_is_no_list_of_members(given, words):
    with pytest.raises(TypeError, match=words) as caught:
        ModelPool(given)
    assert "\n" not in str(caught.value)


def test_members_are_looked_up_and_not_searched(monkeypatch):
    many = ModelPool(Member(str(k), OrderedDict(w=torch.zeros(1))) for k in range(200))
    monkeypatch.setattr(ModelPool, "names", property(lambda self: pytest.fail("all names were listed")))
    assert [m.name for m in many[["7", "199"]]] == ["7", "199"]
