"""The command ``skfusion diagnose``: it builds the architecture, judges checkpoints, and says what is wrong."""

import re
import shlex
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from torch import nn
from typer.testing import CliRunner

from skfusion import EnsembleClassifier, ModelPool, SoupClassifier
from skfusion.checkpoints import read_checkpoint
from skfusion.cli import app
from skfusion.cli._diagnose import in_python, recipes_for, short
from skfusion.cli._modules import ran_a_module
from skfusion.diagnose import diagnose
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier, with_module
from skfusion.pool import Member

CODE = """
import os
import sys

import torch
from torch import nn


class Net(nn.Sequential):
    def __init__(self, n_in, n_out, hidden=(8,), act="relu"):
        acts = {"relu": nn.ReLU, "tanh": nn.Tanh}
        sizes, layers = [n_in, *hidden], []
        for n, m in zip(sizes, sizes[1:]):
            layers += [nn.Linear(n, m), acts[act]()]
        super().__init__(*layers, nn.Linear(sizes[-1], n_out))


class Tokens(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.table = nn.Embedding(5, 3)
        self.head = nn.Linear(3, n_out)

    def forward(self, ids):
        return self.head(self.table(ids).mean(1))


class Probabilities(Net):
    def forward(self, X):
        return super().forward(X).softmax(1)


class Sigmoids(Net):
    def forward(self, X):
        return super().forward(X).sigmoid()


class Norms(nn.Sequential):
    def __init__(self, n_in, n_out):
        super().__init__(nn.Linear(n_in, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, n_out))


class Picky(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, X):  # fails with a mean of its weights
        return X[:, :1] * {0.0: 0.0, 1.0: 1.0}[float(self.weight)]


class Watched(nn.Linear):
    at_import, later = os.getcwd() in sys.path, []

    def forward(self, X):
        self.later.append(os.getcwd() in sys.path)
        return super().forward(X)


class Broken(nn.Module):
    def __init__(self):
        raise RuntimeError("no such GPU")


def make(n_in, n_out=1):
    return Net(n_in, n_out)


built = Net(4, 3)
number = 7
"""

X, y = load_digits(return_X_y=True)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with an architecture in a module, which no other test knows."""
    monkeypatch.chdir(tmp_path)
    name = f"nets_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CODE)
    yield name
    for known in [k for k in sys.modules if k.partition(".")[0] == name]:
        del sys.modules[known]


def net(n_in, n_out, seed, hidden=(8,)):
    torch.manual_seed(seed)
    sizes, layers = [n_in, *hidden], []
    for n, m in pairwise(sizes):
        layers += [nn.Linear(n, m), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_out))


def save(n_in, n_out, n=2, hidden=(8,)):
    states = [net(n_in, n_out, seed, hidden).state_dict() for seed in range(n)]
    for k, state in enumerate(states):
        safetensors.torch.save_file(state, f"run{k}.safetensors")
    return states, [f"run{k}.safetensors" for k in range(n)]


def run(*words, code=0, width=200):
    path = list(sys.path)
    result = CliRunner().invoke(app, ["diagnose", *map(str, words)], env={"COLUMNS": str(width)})
    assert result.exit_code == code, result.output
    assert sys.path == path
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


# ---- what it does ------------------------------------------------------------------------------------------------


def test_it_says_what_the_function_says(here):
    states, files = save(64, 10, hidden=(8, 6))
    np.savez("test.npz", X=X[:200], y=y[:200])
    words = ("--module", f"{here}:Net", "--param", "hidden=[8, 6]", "--data", "test.npz", "--n-points", 5)
    text = run(*files, *words, "--html", "out.html")
    architecture = with_module(mlp_classifier(), net(64, 10, 0, (8, 6)))
    pool = ModelPool([Member(f"run{k}", s, net=architecture) for k, s in enumerate(states)])
    expected = diagnose(pool, X[:200].astype(np.float32), y[:200], n_points=5)
    for sentence in (*expected.recommendation, *expected.advice["why"]):
        assert sentence in text
    for state, score in zip(states, expected.members["score"], strict=True):
        module = net(64, 10, 0, (8, 6))
        module.load_state_dict(state)
        with torch.no_grad():
            assert accuracy_score(y[:200], module(torch.from_numpy(X[:200]).float()).argmax(1)) == score
    page = Path("out.html").read_text(encoding="utf-8")
    assert expected.advice["why"]["ensemble"].replace("'", "&#x27;") in page
    assert "The report is in out.html" in text
    assert "known to about" in text
    assert "The outputs are taken as 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, in this order" in text


def test_weights_alone(here):
    _, files = save(64, 10)
    text = run(*files)
    assert "run0 – run1" in text
    assert "no member was trained on" in text
    assert "soup: maybe" in text
    assert run(*files, "--module", f"{here}:Net", "--param", "n_in=64", "--param", "n_out=10") == text


def test_base_gives_the_angle(here):
    _, files = save(64, 10, 3)
    text = run(*files[:2], "--base", files[2])
    assert "cosine" in text
    assert "They have a common start" in text


def test_pools_prefixes_wrappers_and_other_dtypes(here):
    states, _ = save(64, 10)
    ModelPool([Member("one", states[0]), Member("two", states[1])]).save("pool")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": t for k, t in states[0].items()}}, "a.pt")
    torch.save({f"net.model.{k}": t.half() for k, t in states[1].items()}, "b.pt")
    words = ("--module", f"{here}:Net", "--data", "digits", "--n-points", 3)
    text = run("pool", *words)
    assert "one – two" in text
    text = run("a.pt", "b.pt", *words)
    assert "a.pt: its entry 'state_dict' is read. The entries epoch are left aside" in text
    assert "a.pt: the prefix module. is taken off" in text
    assert "b.pt: the prefix net.model. is taken off" in text
    assert "b.pt: 4 tensors are converted to torch.float32" in text


def test_sizes_come_from_the_data_and_other_things_make_networks(here):
    _, files = save(4, 3)
    for name in ("Net", "make", "built"):
        text = run(*files, "--module", f"{here}:{name}", "--data", "iris", "--n-points", 3)
        assert "The outputs are taken as 0, 1, 2" in text
    text = run(*files, "--module", f"{here}:Net", "--param", "act=tanh", "--data", "iris", "--n-points", 3)
    assert "on 150 rows" in text


def test_installed_modules_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k in range(2):
        torch.save(nn.Linear(4, 3).state_dict(), f"{k}.pt")
    words = ("--param", "in_features=4", "--param", "out_features=3", "--data", "iris", "--n-points", 3)
    assert "on 150 rows" in run("0.pt", "1.pt", "--module", "torch.nn:Linear", *words)


def test_tables_are_taken_as_they_are(here):
    states, files = save(2, 2)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"row": np.arange(40), "const": 1.0, "kind": np.where(rng.random(40) < 0.5, "yes", "no")})
    frame.loc[3, "kind"] = None
    frame.to_csv("table.csv", index=False)
    frame.to_parquet("table.parquet")
    text = run(*files, "--module", f"{here}:Net", "--data", "table.csv", "--target", "kind", "--n-points", 3)
    assert "Dropped 1 of 40 rows, which have no 'kind'" in text
    assert "The outputs are taken as no, yes, in this order" in text
    module = net(2, 2, 0)
    module.load_state_dict(states[0])
    kept = frame[frame["kind"].notna()]
    with torch.no_grad():
        out = module(torch.tensor(kept[["row", "const"]].to_numpy(np.float32))).argmax(1).numpy()
    assert f"{np.mean(np.array(['no', 'yes'])[out] == kept['kind']):.3f}" in text
    words = ("--data", "table.parquet", "--target", "kind", "--n-points", 3)
    assert run(*files, "--module", f"{here}:Net", *words) == text


def test_regression_and_one_output_for_two_classes(here):
    _, files = save(2, 1)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(50, 2))
    np.savez("values.npz", X=inputs, y=inputs.sum(1))
    assert "R2" in run(*files, "--module", f"{here}:make", "--data", "values.npz", "--n-points", 3)
    np.savez("column.npz", X=inputs, y=inputs.sum(1, keepdims=True))
    assert "R2" in run(*files, "--module", f"{here}:make", "--data", "column.npz", "--n-points", 3)
    np.savez("classes.npz", X=inputs, y=(inputs[:, 0] > 0).astype(int))
    text = run(*files, "--module", f"{here}:Net", "--param", "n_out=1", "--data", "classes.npz", "--n-points", 3)
    assert "BCEWithLogitsLoss accuracy" in text
    _, files = save(2, 3)
    np.savez("several.npz", X=inputs, y=np.stack([inputs[:, 0]] * 3, 1))
    assert "R2" in run(*files, "--module", f"{here}:Net", "--data", "several.npz", "--n-points", 3)


def test_tokens_stay_whole_and_probabilities_are_seen(here):
    rng = np.random.default_rng(0)
    np.savez("tokens.npz", X=rng.integers(5, size=(40, 6)), y=rng.integers(2, size=40))
    for k in range(2):
        torch.manual_seed(k)
        table, head = nn.Embedding(5, 3), nn.Linear(3, 2)
        torch.save({"table.weight": table.weight, "head.weight": head.weight, "head.bias": head.bias}, f"{k}.pt")
    assert "on 40 rows" in run("0.pt", "1.pt", "--module", f"{here}:Tokens", "--data", "tokens.npz", "--n-points", 3)
    _, files = save(4, 3)
    text = run(*files, "--module", f"{here}:Probabilities", "--data", "iris", "--n-points", 3)
    logits = run(*files, "--module", f"{here}:Net", "--data", "iris", "--n-points", 3)
    pattern = r"run0 67 [\d.]+ ([\d.]+) ([\d.]+)"
    found, expected = (re.search(pattern, t).groups() for t in (text, logits))
    assert found == expected  # loss and score of softmax and of logits are the same
    assert "NLLLoss" in text


def test_one_output_is_read_by_all_rows_and_networks(here):
    _, files = save(4, 1)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 4)).astype(np.float32)
    np.savez("two.npz", X=inputs, y=(inputs[:, 0] > 0).astype(int))
    words = ("--param", "n_out=1", "--data", "two.npz", "--n-points", 3)
    shares = run(*files, "--module", f"{here}:Sigmoids", *words)
    odds = run(*files, "--module", f"{here}:Net", *words)
    assert "The output is read as a probability, that of 1 and not 0" in shares
    assert "The output is read as log-odds, those of 1 and not 0" in odds
    pattern = r"run0 49 [\d.]+ ([\d.]+) ([\d.]+)"
    found, expected = (re.search(pattern, t).groups() for t in (shares, odds))
    assert found == expected  # loss and score of sigmoids and of their logits are the same
    assert "BCELoss accuracy" in shares


def test_what_few_rows_or_one_network_give_decides_nothing(here):
    """The first network gives 0.5 for all rows, and the other one leaves [0, 1] behind the first thousand rows."""
    constant = {"weight": torch.zeros(1, 2), "bias": torch.full((1,), 0.5)}
    torch.save(constant, "a.pt")
    torch.save({**constant, "weight": torch.tensor([[1.0, 0.0]])}, "b.pt")
    inputs = np.zeros((1100, 2), np.float32)
    words = ("--module", "torch.nn:Linear", "--param", "in_features=2", "--param", "out_features=1", "--n-points", 3)
    for value, told in ((0.0, "as a probability"), (-3.0, "as log-odds")):
        inputs[-1, 0] = value
        np.savez("rows.npz", X=inputs, y=np.arange(1100) % 2)
        assert f"The output is read {told}" in run("a.pt", "b.pt", *words, "--data", "rows.npz")


def test_several_outputs_say_how_they_are_read(here):
    _, files = save(4, 3)
    words = ("--data", "iris", "--n-points", 3)
    text = run(*files, "--module", f"{here}:Sigmoids", *words)
    assert "read as logits of classes that exclude each other, though all are between 0 and 1 without a sum" in text
    assert "losses and the score of averaged predictions do not" in text
    text = run(*files, "--module", f"{here}:Net", *words)
    assert "The outputs are read as logits of classes that exclude each other." in text
    text = run(*files, "--module", f"{here}:Probabilities", *words)
    assert "The outputs are read as probabilities: they sum to 1" in text


def with_norms():
    states = []
    for seed in range(2):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 10))
        module(torch.from_numpy(X[:500]).float())  # which sets the statistics
        states.append(module.state_dict())
        torch.save(states[-1], f"norm{seed}.pt")
    return states, ["norm0.pt", "norm1.pt"]


def test_statistics_may_come_from_other_rows(here):
    states, files = with_norms()
    np.savez("test.npz", X=X[500:700], y=y[500:700])
    np.savez("train.npz", X=X[:500], y=y[:500])
    words = (*files, "--module", f"{here}:Norms", "--data", "test.npz", "--n-points", 3)
    same, other = run(*words), run(*words, "--fit-data", "train.npz")
    assert "estimated and activations were matched on the 200 rows that are judged" in same
    assert "--fit-data takes others" in same
    assert "matched on 500 rows of their own (--fit-data), and scores are of 200 others" in other
    module = nn.Sequential(nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 10))
    architecture = with_module(mlp_classifier(), module)
    pool = ModelPool([Member(f"norm{k}", s, net=architecture) for k, s in enumerate(states)])
    held = X[500:700].astype(np.float32), y[500:700]
    expected = diagnose(pool, *held, X_fit=X[:500].astype(np.float32), n_points=3)
    assert expected.pool["soup"] != diagnose(pool, *held, n_points=3).pool["soup"]
    for sentence in expected.advice["why"][["soup", "ensemble", "align then soup"]]:
        assert sentence in other


@pytest.mark.parametrize("kind", ["npz", "csv", "csv with the target", "built-in"])
def test_rows_for_statistics_need_no_labels(here, kind):
    _, files = with_norms()
    frame = pd.DataFrame(X, columns=[f"p{k}" for k in range(64)])
    frame.assign(label=y)[500:700].to_csv("test.csv", index=False)
    frame[:500].to_csv("train.csv", index=False)
    frame.assign(label=np.nan)[:500].to_csv("labelled.csv", index=False)
    np.savez("train.npz", X=X[:500])
    source = {"npz": "train.npz", "csv": "train.csv", "csv with the target": "labelled.csv", "built-in": "digits"}[kind]
    words = ("--module", f"{here}:Norms", "--data", "test.csv", "--target", "label", "--n-points", 3)
    text = run(*files, *words, "--fit-data", source)
    n = len(X) if kind == "built-in" else 500
    assert f"matched on {n} rows of their own (--fit-data), and scores are of 200 others" in text
    if kind != "built-in":
        np.savez("full.npz", X=X[:500].astype(np.float32), y=y[:500])
        assert run(*files, *words, "--fit-data", "full.npz") == text


def test_rows_for_statistics_that_cannot_be_read(here):
    _, files = with_norms()
    words = ("--module", f"{here}:Norms", "--data", "digits", "--n-points", 3, "--fit-data")
    np.savez("named.npz", data=X)
    np.savez("one.npz", X=X[:1])
    np.savez("bad.npz", X=np.full((9, 64), np.inf))
    assert "named.npz has no array 'X'; it has data. Save X=." in run(*files, *words, "named.npz", code=2)
    assert "--fit-data one.npz has 1 rows" in run(*files, *words, "one.npz", code=2)
    assert "missing or infinite" in run(*files, *words, "bad.npz", code=2)
    assert "There is no file 'none.csv'. --fit-data takes a file" in run(*files, *words, "none.csv", code=2)


def test_code_of_the_directory_is_imported_by_its_name_only(here):
    for k in range(2):
        torch.save(nn.Linear(4, 3).state_dict(), f"{k}.pt")
    words = ("--param", "in_features=4", "--param", "out_features=3", "--data", "iris", "--n-points", 3)
    run("0.pt", "1.pt", "--module", f"{here}:Watched", *words)
    watched = sys.modules[here].Watched
    assert watched.at_import
    assert len(watched.later) > 2
    assert not any(watched.later)


# ---- what it says to do ------------------------------------------------------------------------------------------


def near(n=3):
    """Networks beside one, whose mean is nearer to it than they are."""
    start = net(64, 10, 0)
    optimizer = torch.optim.Adam(start.parameters(), 0.01)
    inputs, labels = torch.from_numpy(X[:800]).float(), torch.from_numpy(y[:800])
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(start(inputs), labels).backward()
        optimizer.step()
    torch.manual_seed(1)
    noise = [{k: 0.15 * torch.randn(t.shape) for k, t in start.state_dict().items()} for _ in range(n)]
    return [{k: t + some[k] for k, t in start.state_dict().items()} for some in noise]


def pasted(files, *words):
    """Run the lines of Python that a diagnosis gives, as they stand in a narrow terminal; return what they define."""
    given = ["diagnose", *map(str, files), *map(str, words)]
    result = CliRunner().invoke(app, given, env={"COLUMNS": "60"})
    assert result.exit_code == 0, result.output
    lines = result.output[result.output.index("Note: In Python") :].splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith(("from ", "import ")))
    scope = {}
    exec("\n".join(lines[first:]), scope)
    return scope


@pytest.mark.parametrize("kind", ["Net", "Probabilities", "one", "instance"])
def test_lines_of_python_make_the_net_that_was_judged(here, kind, monkeypatch):
    monkeypatch.syspath_prepend(".")
    n_in, n_out, name = {"one": (4, 1, "make"), "instance": (4, 3, "built")}.get(kind, (64, 10, kind))
    labels, inputs = (y > 4, X[:, 10:14]) if kind == "one" else (y, X)
    if kind == "instance":
        labels, inputs = y % 3, X[:, 10:14]
    _, files = save(n_in, n_out)
    torch.save({f"module.{k}": t for k, t in net(n_in, n_out, 5).state_dict().items()}, "with-a-rather-long-name.pt")
    names = np.array(["b", "c"])[labels.astype(int)] if kind == "one" else labels
    np.savez("rows.npz", X=inputs, y=names)
    files = [*files, "with-a-rather-long-name.pt"]
    words = ["--module", f"{here}:{name}", "--data", "rows.npz", "--n-points", 3]
    words += {"Net": ["--param", "act=tanh"], "one": ["--param", "n_out=1"]}.get(kind, [])
    scope = pasted(files, *words)
    inputs = inputs.astype(np.float32)
    pool, skorch = scope["members"], scope["net"]
    assert pool.names == ["run0", "run1", "with-a-rather-long-name"]
    score = EnsembleClassifier(skorch, collect=pool).fit(inputs, names).score(inputs, names)
    text = run(*files, *words)
    assert f"The averaged predictions of all 3 score {score:.3f}" in text


def test_recommended_lines_run_as_they_are_printed(here, monkeypatch):
    monkeypatch.syspath_prepend(".")
    states = near()
    for name, axis in (("0.weight", 0), ("0.bias", 0), ("2.weight", 1)):
        states[1][name] = states[1][name].flip(axis)  # the same network with its units in another order
    for k, state in enumerate(states):
        torch.save(state, f"my {k}.pt")
    np.savez("test.npz", X=X[800:], y=y[800:])
    words = ("my 0.pt", "my 1.pt", "my 2.pt", "--module", f"{here}:Net", "--data", "test.npz", "--n-points", 3)
    text = run(*words)
    code = re.search(r"SoupClassifier\(net, .*?\)(?= makes it, after the lines of Python below)", text)[0]
    assert "align=" in code
    assert "()" in code.partition("align=")[2]
    scope = pasted(words[:3], *words[3:])
    inputs = X[800:].astype(np.float32)
    score = eval(code, scope).fit(inputs, y[800:]).score(inputs, y[800:])
    assert f"its accuracy is {score:.3f}" in text
    assert re.search(r"(MergeMany|ActivationMatching)\(\) matches each unit to the one", text)


def test_recommendations_are_commands_and_code_that_run(here, monkeypatch):
    states = near()
    for k, state in enumerate(states):
        torch.save(state, f"my {k}.pt")
    files = [f"my {k}.pt" for k in range(3)]
    np.savez("test.npz", X=X[800:], y=y[800:])
    text = run(*files, "--module", f"{here}:Net", "--data", "test.npz", "--n-points", 3, width=10000)
    command = re.search(r"skfusion (merge .*?) makes it", text)[1]
    assert command == "merge 'my 0.pt' 'my 1.pt' 'my 2.pt' -o merged.safetensors --method uniform"
    assert "pool" not in text.replace("skfusion.pool", "").replace("ModelPool", "")
    assert CliRunner().invoke(app, shlex.split(command)).exit_code == 0
    merged = net(64, 10, 0)
    merged.load_state_dict(read_checkpoint("merged.safetensors"))
    with torch.no_grad():
        score = accuracy_score(y[800:], merged(torch.from_numpy(X[800:]).float()).argmax(1))
    assert f"take the uniform soup: its accuracy is {score:.3f}" in text
    recipes = recipes_for([Path(f) for f in files], files, [f"my {k}" for k in range(3)])
    words = ("--module", f"{here}:Net", "--data", "test.npz", "--n-points", 3)
    monkeypatch.syspath_prepend(".")
    scope = pasted(files, *words)
    assert scope["net"].module(torch.zeros(1, 64)).shape == (1, 10)
    members = scope["members"]
    assert members.names == [f"my {k}" for k in range(3)]
    soup = SoupClassifier(scope["net"], collect=members, merge=Uniform())
    assert soup.fit(X[800:].astype(np.float32), y[800:]).score(X[800:].astype(np.float32), y[800:]) == score
    for code in (recipes.ensemble(), recipes.soup(None, "weights"), recipes.soup(members.names[:2], "line")):
        assert "members" in code or code.startswith("skfusion merge 'my 0.pt' 'my 1.pt' -o")
    ensemble = eval(recipes.ensemble().partition(" makes it")[0], scope | {"EnsembleClassifier": EnsembleClassifier})
    assert f"{ensemble.fit(X[800:].astype(np.float32), y[800:]).score(X[800:].astype(np.float32), y[800:]):.3f}" in text


def test_keys_and_prefixes_are_in_the_lines_of_python(tmp_path):
    paths = [tmp_path / f"{k}.pt" for k in "ab"]
    for k, path in enumerate(paths):
        torch.save({"ema": {"module.net.w": torch.full((2,), float(k))}}, path)
    note = in_python(paths, [*map(str, paths)], ["a", "b"], ["net.", "net."], None, [], "", ("ema", ["module"]))
    space = {}
    exec(note.partition("\n")[2], space)
    assert [member.state["w"].tolist() for member in space["members"]] == [[0, 0], [1, 1]]


def test_members_of_pools_are_read_in_python(here):
    states = near(2)
    ModelPool([Member("one", states[0]), Member("two", states[1])]).save("saved")
    torch.save(states[0], "three.pt")
    for inputs, names in ((["saved"], ["one", "two"]), (["saved", "three.pt"], ["one", "two", "three"])):
        checkpoints = [f"saved[{n}]" if n in ("one", "two") else f"{n}.pt" for n in names]
        recipes = recipes_for([Path(i) for i in inputs], checkpoints, names)
        note = in_python([Path(i) for i in inputs], checkpoints, names, [""] * len(names), None, [], "")
        scope = {}
        exec(note.partition("\n")[2], scope)
        members = scope["members"]
        assert members.names == names
        assert recipes.soup(None, "line").startswith(f"skfusion merge {' '.join(inputs)} -o")
        assert recipes.soup(["one", "two"], "line").startswith("SoupClassifier(net, collect=members[['one', 'two']]")


def test_merged_statistics_of_batch_norm_are_warned_of(here):
    _, files = with_norms()
    recipes = recipes_for([Path(f) for f in files], files, ["norm0", "norm1"])
    assert "skfusion.repair.Recalibrate" in replace(recipes, batch_norm=True).soup(None, "line")
    assert "Recalibrate" not in recipes.soup(None, "line")


def test_labels_that_the_rows_lack_are_numbers_from_zero(here):
    _, files = save(64, 10)
    some = y < 4
    np.savez("some.npz", X=X[some], y=y[some])
    words = ("--module", f"{here}:Net", "--data", "some.npz", "--n-points", 3)
    text = run(*files, *words, "--param", "n_out=10")
    assert "The outputs are taken as 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in text
    assert "Tensor '2.weight' is (10, 8) in run0.safetensors and (4, 8) in the module" in run(*files, *words, code=2)


def test_names_of_files_are_short_and_tell_them_apart():
    assert short(["x/a.pt", "y/b.pt"]) == ["a", "b"]
    assert short(["x/a.pt", "x/a.bin"]) == ["a.pt", "a.bin"]
    assert short(["x/a.pt", "y/a.pt"]) == ["x/a.pt", "y/a.pt"]
    assert short(["pool[seed-0]", "pool[seed-1]"]) == ["seed-0", "seed-1"]
    assert short(["a.pt", "a.pt"]) == ["a.pt (1)", "a.pt (2)"]


def test_the_output_fits_a_narrow_terminal(here):
    _, files = save(64, 10)
    result = CliRunner().invoke(
        app,
        ["diagnose", *files, "--module", f"{here}:Net", "--data", "digits", "--n-points", "3"],
        env={"COLUMNS": "80"},
    )
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    assert "…" not in result.output


# ---- what is wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Net", "must be package.module:Class, such as my_nets:Net; got 'Net'"),
        ("a b:Net", "must be package.module:Class"),
        ("nowhere.nets:Net", "there is no module 'nowhere', neither in the current directory nor installed"),
        ("{here}.more:Net", "there is no module '{here}.more'"),
        ("{here}:Missing", "'{here}' has no 'Missing'. It has the networks Net, Tokens, Probabilities, Sigmoids"),
        ("{here}:number", "is a int, neither a class nor a function"),
        ("{here}:Broken", "cannot be built: RuntimeError: no such GPU"),
        ("fails:Net", "importing 'fails' failed: ZeroDivisionError: division by zero"),
        ("lacks:Net", "'lacks' imports 'no_such_library', which is not installed"),
        ("builtins:dict", "makes a dict, and not a torch.nn.Module"),
    ],
    ids=["no-colon", "no-name", "no-package", "no-module", "no-class", "number", "broken", "fails", "lacks", "dict"],
)
def test_architectures_that_cannot_be_had(here, name, message):
    _, files = save(64, 10)
    Path("fails.py").write_text("1 / 0")
    Path("lacks.py").write_text("import no_such_library")
    assert message.format(here=here) in run(*files, "--module", name.format(here=here), code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--module", "{here}:Net", "--param", "hidden"], "--param must be name=value"),
        (["--module", "{here}:Net", "--param", "hidden=[8"], "--param hidden is no JSON"),
        (["--module", "{here}:Net", "--param", "n_in=64"], "missing 1 required positional argument: 'n_out'"),
        (["--module", "{here}:Net", "--param", "n_in=64"], "Give --param n_out=..., or --data, which determines it"),
        (["--module", "{here}:built", "--param", "n_in=64"], "is a network that is built already; leave --param out"),
        (["--param", "n_in=64"], "--param is for --module, which is not given"),
        (["--data", "digits"], "--data needs --module"),
        (["--target", "y"], "--target is for --data, which is not given"),
        (["--task", "regression"], "--task is for --data, which is not given"),
        (["--fit-data", "digits"], "--fit-data is for --data, which is not given"),
        (["--n-points", "4"], "n_points must be odd"),
        (["--module", "{here}:built"], "Tensor '0.weight' is (8, 64) in run0.safetensors and (8, 4) in the module"),
        (["--module", "{here}:Tokens", "--param", "n_out=2"], "Tensor 'table.weight' is missing in run0.safetensors"),
        (["--base", "none.pt"], "none.pt: No such file or directory"),
        (["--module", "{here}:Net", "--data", "none.csv"], "There is no file 'none.csv'"),
        (["--module", "{here}:Net", "--data", "set.txt"], "Unknown --data 'set.txt'"),
        (["--module", "{here}:Net", "--data", "digits", "--task", "no"], "Unknown --task 'no'"),
        (["--module", "{here}:Net", "--data", "iris"], "Tensor '0.weight' is (8, 64) in run0.safetensors and (8, 4)"),
        (["--html", "no/folder/x.html"], "no/folder/x.html: No such file or directory"),
    ],
    ids=range(19),
)
def test_options_that_cannot_be_followed(here, words, message):
    _, files = save(64, 10)
    assert message in run(*files, *(w.format(here=here) for w in words), code=2)


def test_checkpoints_that_cannot_be_compared(here):
    _, files = save(64, 10)
    assert "at least two checkpoints; got run0.safetensors alone" in run(files[0], code=2)
    assert "none.pt: No such file or directory" in run(files[0], "none.pt", code=2)
    torch.save(net(64, 9, 0).state_dict(), "other.pt")
    text = run(files[0], "other.pt", code=2)
    assert "Tensor '2.bias' has shape (10,) in member 'run0' and (9,) in member 'other'" in text
    assert "can be combined by their predictions: EnsembleClassifier" in text
    text = run(files[0], "other.pt", "--module", f"{here}:Net", "--data", "digits", code=2)
    assert "Tensor '2.weight' is (9, 8) in other.pt and (10, 8) in the module" in text
    torch.save(nn.Linear(2, 2), "whole.pt")
    assert "whole.pt is refused" in run(files[0], "whole.pt", code=2)


def test_rows_that_cannot_be_used(here):
    _, files = save(64, 10)
    words = ("--module", f"{here}:Net", "--param", "n_in=64", "--param", "n_out=10", "--data")

    def refused(name="x.npz", *more, **arrays):
        if arrays:
            np.savez(name, **arrays)
        return run(*files, *words, name, *more, code=2)

    assert "5 rows are too few" in refused(X=X[:5], y=y[:5])
    assert "has no array 'y'; it has X. Save X= and y=." in refused(X=X)
    assert "1797 rows in X and 3 in y" in refused(X=X, y=y[:3])
    assert "must be numbers of shape (n_rows, ...)" in refused(X=y, y=y)
    assert "Object arrays cannot be loaded" in refused(X=X, y=np.array([{}] * len(y), dtype=object))
    assert "missing or infinite" in refused(X=np.where(X == 3, np.nan, X), y=y)
    assert "cannot run on rows of shape (63,): RuntimeError" in refused(X=X[:, 1:], y=y)
    assert "the target has 11 classes" in refused(X=X, y=y + (X[:, 2] > 12) * (y == 9))
    assert "the target has 2 classes (-1, 1), and the networks give 10 numbers" in refused(X=X, y=np.sign(y - 4.5))
    assert "give one label a row" in refused("x.npz", "--task", "classification", X=X, y=np.stack([y, y], 1))
    assert "--target is for tables" in refused("x.npz", "--target", "y")
    Path("bad.npz").write_text("no archive")
    assert "bad.npz cannot be read" in refused("bad.npz")
    pd.DataFrame({"a": ["x"] * 20, "y": [0, 1] * 10}).to_csv("text.csv", index=False)
    assert "Say which column to predict: --target, one of a, y" in refused("text.csv")
    assert "no column 'z' for --target; there are a, y" in refused("text.csv", "--target", "z")
    assert "Column 'a' is no number" in refused("text.csv", "--target", "y")
    pd.DataFrame({"a": [1.0] * 20, "y": [np.nan] * 20}).to_csv("empty.csv", index=False)
    assert "No row has a target 'y'" in refused("empty.csv", "--target", "y")


def test_modules_that_fail_late_are_told_of(here):
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, size=(40, 6))
    tokens[30, 2] = 7
    np.savez("tokens.npz", X=tokens, y=rng.integers(2, size=40))
    for k in range(2):
        torch.manual_seed(k)
        table, head = nn.Embedding(5, 3), nn.Linear(3, 2)
        torch.save({"table.weight": table.weight, "head.weight": head.weight, "head.bias": head.bias}, f"{k}.pt")
    text = run("0.pt", "1.pt", "--module", f"{here}:Tokens", "--data", "tokens.npz", code=2)
    assert "cannot run on rows of shape (6,): IndexError: index out of range in self" in text
    for k in range(2):
        torch.save({"weight": torch.full((1,), float(k))}, f"{k}.pt")
    np.savez("rows.npz", X=rng.normal(size=(40, 2)), y=rng.integers(2, size=40))
    text = run("0.pt", "1.pt", "--module", f"{here}:Picky", "--data", "rows.npz", code=2)
    assert "The module failed as networks were run on the rows: KeyError" in text


def test_errors_of_others_are_not_laid_to_the_module():
    class Failing(nn.Module):
        def forward(self, X):
            raise KeyError("x")

    for fail, expected in ((lambda: Failing()(1), True), (lambda: {}["x"], False)):
        with pytest.raises(KeyError) as caught:
            fail()
        assert ran_a_module(caught.value) == expected


def test_help_names_the_options():
    text = run("--help")
    options = "module param data fit-data target task base n-points tolerance seed html"
    for option in options.split():
        assert f"--{option}" in text
