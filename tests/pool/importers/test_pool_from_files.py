"""Pools of experts from elsewhere, each with its own rows: in one line, up to fusions that use these."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.merge import AdaMerging, Fisher, RegMean, TaskArithmetic, Uniform
from skfusion.pool import LeakageWarning, Member, ModelPool

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = np.array(["bad", "good"])[(X[:, 0] > 0).astype(int)]
PARTS = {"movie": (X[:30], Y[:30]), "book": (X[20:50], Y[20:50])}


def module():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


def net(given=None):
    return NeuralNetClassifier(
        given or module(), criterion=nn.CrossEntropyLoss, max_epochs=5, lr=0.1, verbose=0, train_split=None
    )


@pytest.fixture
def paths(tmp_path):
    torch.manual_seed(0)
    start = module()
    torch.save(start.state_dict(), tmp_path / "base.pt")
    for name, (x, y) in PARTS.items():
        expert = net(module())
        expert.initialize()
        expert.module_.load_state_dict(start.state_dict())
        expert.partial_fit(x, (y == "good").astype(np.int64))
        torch.save({"state_dict": expert.module_.state_dict()}, tmp_path / f"{name}.pt")
    return {name: tmp_path / f"{name}.pt" for name in PARTS}


@pytest.mark.parametrize("merge", [Fisher(), RegMean(), AdaMerging(n_steps=3), TaskArithmetic(scale=0.3)])
def test_experts_with_their_own_rows_in_one_line(paths, merge):
    given = ModelPool.from_files(paths, module=net(), base=paths["movie"].with_name("base.pt"), rows=PARTS)
    assert given.names == ["movie", "book"]
    assert given.classes.tolist() == ["bad", "good"]
    soup = SoupClassifier(collect=given, merge=merge, random_state=0).fit(X, Y)
    assert set(soup.classes_) == {"bad", "good"}
    if merge.needs_objective:
        assert soup.merge_report_["n_rows"] == {"movie": 30, "book": 30}


def test_rows_matter_to_what_is_merged(paths):
    own = ModelPool.from_files(paths, module=net(), rows=PARTS)
    none = ModelPool.from_files(paths, module=net(), classes=["bad", "good"])
    assert [m.rows for m in none] == [None, None]
    a, b = (SoupClassifier(collect=p, merge=RegMean(), random_state=0).fit(X, Y).state_ for p in (own, none))
    assert (a["2.weight"] - b["2.weight"]).abs().max() > 1e-4


def test_the_rows_of_an_expert_do_not_judge_it(paths):
    given = ModelPool.from_files(paths, module=net(), rows=PARTS)
    with pytest.warns(LeakageWarning, match="50 of the 60 rows"):
        SoupClassifier(collect=given).fit(X, Y)
    SoupClassifier(collect=given).fit(X[50:], Y[50:])  # a warning is an error


def test_what_is_kept_of_the_files(paths):
    given = ModelPool.from_files([*paths.values()], rows=PARTS["movie"])
    assert given.names == ["movie", "book"]
    assert given.base is None
    assert given["movie"].rows is given["book"].rows
    assert given["movie"].meta == {"source": str(paths["movie"])}
    assert torch.equal(given["book"].state["2.bias"], torch.load(paths["book"])["state_dict"]["2.bias"])
    with_module = ModelPool.from_files(paths, module=module(), base=given["movie"].state)
    assert [m.net for m in with_module] == [None, None]
    assert with_module.base is given["movie"].state
    assert ModelPool.from_files(paths, rows={"book": (X, X[:, :1])}).classes is None  # values
    EnsembleClassifier(net(), collect=given).fit(X[50:], Y[50:])


def test_what_does_not_fit_is_named(paths, tmp_path):
    def refused(error, words, given=paths, **kwargs):
        with pytest.raises(error, match=words) as caught:
            ModelPool.from_files(given, **kwargs)
        assert "\n" not in str(caught.value)

    refused(TypeError, "module is the class Linear: give an instance", module=nn.Linear)
    refused(
        ValueError,
        r"'0.weight' is \(6, 4\) in member 'movie' and \(5, 4\) in module",
        module=nn.Sequential(nn.Linear(4, 5)),
    )
    refused(ValueError, r"rows has \['novel'\], which are no members", rows={"novel": (X, Y)})
    refused(ValueError, r"rows of member 'movie' must be a pair \(X, y\); got a ndarray", rows={"movie": X})
    refused(
        ValueError, r"rows of member 'movie' cannot be used: .*different numbers of rows", rows={"movie": (X, Y[:3])}
    )
    refused(TypeError, r"got one path: from_files\(\['a.pt'\]\)", "a.pt")
    refused(TypeError, r"got a OrderedDict. A state in memory becomes a member by Member", {"a": module().state_dict()})
    refused(TypeError, "got a int", 3)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "movie.pt").write_bytes(paths["movie"].read_bytes())
    refused(
        ValueError,
        r"called \['movie'\], so their members need names",
        [paths["movie"], tmp_path / "other" / "movie.pt"],
    )
    ModelPool([Member("a", module().state_dict())]).save(tmp_path / "pool")
    refused(ValueError, r"is a pool, not a checkpoint: read it by ModelPool\.load", {"a": tmp_path / "pool"})
    refused(FileNotFoundError, "none.pt", {"a": tmp_path / "none.pt"})


def test_uniform_is_the_mean_of_the_files(paths):
    soup = SoupClassifier(collect=ModelPool.from_files(paths, module=net(), rows=PARTS), merge=Uniform()).fit(X, Y)
    states = [torch.load(path)["state_dict"]["2.bias"] for path in paths.values()]
    assert torch.allclose(soup.state_["2.bias"], sum(states) / 2)
