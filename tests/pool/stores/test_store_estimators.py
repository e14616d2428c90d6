"""Estimators in folders of pools: they come back, by types that are trusted only."""

import builtins
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pools_on_disk import files, member, write_index
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier
from skfusion.nets import mlp_classifier
from skfusion.pool import DirectoryStore, Member, MemoryStore, ModelPool, PoolFormatError
from skfusion.pool.stores import _writer

TREE = "sklearn.tree._tree.Tree"
rng = np.random.RandomState(0)
X = rng.normal(size=(60, 3))
y = np.where(X[:, 0] + 0.1 * rng.normal(size=60) > 0, "b", "a")


def estimators():
    return {
        "linear": LogisticRegression().fit(X, y),
        "pipeline": make_pipeline(StandardScaler(), GaussianNB()).fit(X, y),
        "support vectors": SVC().fit(X, y),
        "ridge": Ridge().fit(X, (y == "b").astype(float)),
    }


def forest():
    return RandomForestClassifier(3, random_state=0).fit(X, y)


def test_estimators_come_back_beside_networks(tmp_path):
    rows = np.arange(5, dtype=np.uint64)
    given = [
        Member(name, estimator=e, score=0.5, meta={"of": name}, rows=rows, predictions=X[:2])
        for name, e in estimators().items()
    ]
    ModelPool([*given, member("net", 3, rows=rows)], classes=["a", "b"]).save(tmp_path)
    loaded = ModelPool.load(tmp_path)
    assert [m.is_network for m in loaded] == [False] * 4 + [True]
    for m in given:
        found = loaded[m.name]
        assert type(found.estimator) is type(m.estimator)
        assert np.array_equal(found.estimator.predict(X), m.estimator.predict(X))
        assert (found.score, found.meta, found.rows.tolist()) == (0.5, {"of": m.name}, rows.tolist())
        assert np.array_equal(found.predictions, X[:2])
        with pytest.raises(TypeError, match=rf"{m.name}.*has no weights"):
            found.state  # noqa: B018
    assert loaded["net"].state["w"][0, 0] == 3.0
    assert len([*tmp_path.glob("rows-*")]) == 1


def test_equal_estimators_give_equal_files(tmp_path):
    for folder in "ab":
        ModelPool([Member(name, estimator=e) for name, e in estimators().items()]).save(tmp_path / folder)
    ModelPool.load(tmp_path / "a").save(tmp_path / "c")
    assert files(tmp_path / "a") == files(tmp_path / "b") == files(tmp_path / "c")
    read = ModelPool.load(tmp_path / "a", lazy=False)
    read.save(tmp_path / "d")
    again = ModelPool.load(tmp_path / "d")
    assert all(np.array_equal(m.estimator.predict(X), again[m.name].estimator.predict(X)) for m in read)


def test_files_are_the_same_in_another_process(tmp_path):
    source = """
        import sys, numpy as np
        from sklearn.linear_model import Ridge
        from skfusion.pool import DirectoryStore, Member
        X = np.arange(12.0).reshape(6, 2) ** 2
        DirectoryStore(sys.argv[1]).put(Member("r", estimator=Ridge().fit(X, X[:, 0])))
    """
    for folder in "ab":
        code = "import textwrap; exec(textwrap.dedent('''" + source + "'''))"
        subprocess.run([sys.executable, "-c", code, str(tmp_path / folder)], check=True, cwd=Path(__file__).parents[3])
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_sparse_matrices_are_kept(tmp_path):
    S = sparse.csr_matrix(np.where(X > 0.5, X, 0))
    given = SVC().fit(S, y)
    DirectoryStore(tmp_path).put(Member("s", estimator=given))
    trusted = ["scipy.sparse._csr.csr_matrix"]
    found = DirectoryStore(tmp_path, trusted).get("s").estimator
    assert np.array_equal(found.predict(S), given.predict(S))


@pytest.mark.parametrize("trusted", [[TREE], [TREE, "numpy.ndarray"], (t for t in [TREE])])
def test_types_that_are_trusted_are_built(tmp_path, trusted):
    DirectoryStore(tmp_path).put(Member("forest", estimator=forest()))
    found = ModelPool.load(tmp_path, trusted=trusted)["forest"].estimator
    assert np.array_equal(found.predict_proba(X), forest().predict_proba(X))


def test_types_may_be_given_as_types(tmp_path):
    from sklearn.tree._tree import Tree  # the type in the message, which the user would import from there

    DirectoryStore(tmp_path).put(Member("forest", estimator=forest()))
    assert DirectoryStore(tmp_path, [Tree]).get("forest").estimator.n_classes_ == 2


def test_what_a_store_has_put_itself_needs_no_trust(tmp_path):
    store, other = DirectoryStore(tmp_path / "a"), DirectoryStore(tmp_path / "b")
    store.put(Member("forest", estimator=forest()))
    assert store.get("forest").estimator.n_classes_ == 2
    other.put(DirectoryStore(tmp_path / "a").get("forest"))  # of which nothing was built
    for foreign in (other, DirectoryStore(tmp_path / "a"), pickle.loads(pickle.dumps(store))):
        with pytest.raises(PoolFormatError, match="not trusted"):
            foreign.get("forest").estimator  # noqa: B018
    DirectoryStore(tmp_path / "a").put(Member("forest", estimator=forest().set_params(verbose=1)))
    with pytest.raises(PoolFormatError, match="not trusted"):  # it is that of another
        store.get("forest").estimator  # noqa: B018


def test_types_that_are_not_trusted_are_refused(tmp_path):
    ModelPool([Member("forest", estimator=forest()), Member("ok", estimator=GaussianNB().fit(X, y))]).save(tmp_path)
    DirectoryStore(tmp_path).put(Member("hist", estimator=HistGradientBoostingClassifier(max_iter=2).fit(X, y)))
    for loaded in (ModelPool.load(tmp_path), DirectoryStore(tmp_path)):
        get = loaded.get if isinstance(loaded, DirectoryStore) else loaded.__getitem__
        with pytest.raises(PoolFormatError, match=rf"member 'forest', has types.*trusted=\['{TREE}'\]\)") as caught:
            get("forest").estimator  # noqa: B018
        assert "DirectoryStore(path, trusted=...)" in str(caught.value)
        assert get("ok").estimator.predict(X).tolist() == GaussianNB().fit(X, y).predict(X).tolist()
    with pytest.raises(PoolFormatError, match=rf"member 'hist'.*trusted=\['{TREE}', 'sklearn.*TreePredictor'\]"):
        ModelPool.load(tmp_path, trusted=[TREE])["hist"].estimator  # noqa: B018
    with pytest.raises(PoolFormatError, match="not trusted"):
        ModelPool.load(tmp_path, lazy=False)
    with pytest.raises(TypeError, match=f"trusted must be a list.*{TREE}"):
        ModelPool.load(tmp_path, trusted=TREE)


def test_what_is_not_trusted_can_be_copied_renamed_and_recovered(tmp_path):
    DirectoryStore(tmp_path / "a").put(Member("forest", estimator=forest(), score=0.5))
    copied = ModelPool.load(tmp_path / "a")
    copied.replace([copied[0].replace(name="other", score=0.25)], classes=["a", "b"]).save(tmp_path / "b")
    (tmp_path / "b" / "pool.json").unlink()
    found = ModelPool.recover(tmp_path / "b")
    assert (found.names, found["other"].score, found.classes.tolist()) == (["other"], 0.25, ["a", "b"])
    with pytest.raises(PoolFormatError, match="not trusted"):
        found["other"].estimator  # noqa: B018
    trusted = ModelPool.recover(tmp_path / "b", trusted=[TREE])
    assert np.array_equal(trusted["other"].estimator.predict(X), forest().predict(X))


def test_members_are_verified_without_being_built(tmp_path):
    rows = np.arange(3, dtype=np.uint64)
    ModelPool([Member("forest", estimator=forest(), rows=rows), member("net", predictions=X)]).save(tmp_path)
    store = DirectoryStore(tmp_path)
    assert [store.verify(name) for name in store.names()] == [None, None]
    with pytest.raises(KeyError, match="'other'.*there are"):
        store.verify("other")
    for kind, name, owner in [
        ("predictions", "net", "the predictions of member 'net'"),
        ("estimator", "forest", "member 'forest'"),
        ("rows", "forest", "member 'forest'"),
        ("state", "net", "member 'net'"),
    ]:
        (path,) = tmp_path.glob(f"{kind}-*")
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(PoolFormatError, match=f"{owner}, is damaged: its content has changed"):
            store.verify(name)
        path.write_bytes(data)
    assert [store.verify(name) for name in store.names()] == [None, None]
    path.unlink()
    with pytest.raises(PoolFormatError, match="member 'net', is missing"):
        store.verify("net")


def refused():
    net = NeuralNetClassifier(nn.Linear(3, 2), max_epochs=1, verbose=0, train_split=None)
    net.fit(X.astype("float32"), (y == "b").astype(int))
    ensemble = EnsembleClassifier(mlp_classifier(max_epochs=1), random_state=0).fit(X, y)
    scaled = make_pipeline(FunctionTransformer(lambda values: 2 * values), GaussianNB()).fit(X, y)
    deep = GaussianNB().fit(X, y)
    for _ in range(2000):
        deep.more = [getattr(deep, "more", None)]
    return {
        "net": (net, r"from_estimators\(\[\(name, net\)"),
        "pipeline of a net": (make_pipeline(StandardScaler(), net), "torch module"),
        "ensemble": (ensemble, "torch module.*its pool_"),
        "lambda": (scaled, r"skops does not hold this Pipeline.*Leave it out"),
        "deep": (deep, "skops does not hold this GaussianNB"),
        "no predict": (StandardScaler().fit(X), "StandardScaler, which has no predict"),
    }


@pytest.mark.parametrize("case", ["net", "pipeline of a net", "ensemble", "lambda", "deep", "no predict"])
def test_what_cannot_be_stored_is_named(tmp_path, case):
    estimator, words = refused()[case]
    store = DirectoryStore(tmp_path)
    store.put(member("a"))
    before = files(tmp_path)
    for act in (store.put, lambda m: ModelPool([member("b"), m]).save(tmp_path)):
        with pytest.raises(ValueError, match=f"Member 'x' .*{words}") as caught:
            act(Member("x", estimator=estimator))
        assert "\n" not in str(caught.value)
        assert files(tmp_path) == before


def test_a_memory_store_keeps_a_copy_of_an_estimator():
    store, given = MemoryStore(), GaussianNB().fit(X, y)
    store.put(Member("x", estimator=given))
    given.theta_[:] = 0
    assert store.get("x").estimator.predict(X).tolist() == GaussianNB().fit(X, y).predict(X).tolist()


def test_without_skops_networks_work_and_estimators_name_the_extra(tmp_path, monkeypatch):
    ModelPool([member("net", 2), Member("x", estimator=GaussianNB().fit(X, y))]).save(tmp_path)
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("skops"):
            raise ImportError("No module named 'skops'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    loaded = ModelPool.load(tmp_path)
    assert loaded["net"].state["w"][0, 0] == 2.0
    with pytest.raises(ImportError, match=r"member 'x'.*pip install 'skfusion\[skops\]'"):
        loaded["x"].estimator  # noqa: B018
    with pytest.raises(ImportError, match=r"ember 'y'.*pip install 'skfusion\[skops\]'"):
        DirectoryStore(tmp_path).put(Member("y", estimator=GaussianNB().fit(X, y)))
    DirectoryStore(tmp_path).put(member("z"))
    ModelPool.load(tmp_path).save(tmp_path / "copy")
    assert ModelPool.load(tmp_path / "copy").names == ["net", "x", "z"]


def test_a_library_that_is_missing_is_named(tmp_path):
    module = tmp_path / "their_library.py"
    module.write_text("from sklearn.naive_bayes import GaussianNB\nclass Theirs(GaussianNB): pass\n")
    sys.path.insert(0, str(tmp_path))
    try:
        from their_library import Theirs

        DirectoryStore(tmp_path / "p").put(Member("x", estimator=Theirs().fit(X, y)))
        trusted = ["their_library.Theirs"]
        assert type(DirectoryStore(tmp_path / "p", trusted).get("x").estimator).__name__ == "Theirs"
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["their_library"]
    module.unlink()
    with pytest.raises(ImportError, match="member 'x', needs a library that cannot be imported.*their_library"):
        DirectoryStore(tmp_path / "p", trusted).get("x").estimator  # noqa: B018
    assert "their_library" not in sys.modules


class TestFormats:
    def number(self, path):
        return json.loads((path / "pool.json").read_text())["format"]

    def test_a_pool_without_estimators_has_the_number_of_before(self, tmp_path):
        store = DirectoryStore(tmp_path)
        store.put(member("a"))
        assert self.number(tmp_path) == 2
        store.put(Member("x", estimator=GaussianNB().fit(X, y)))
        assert self.number(tmp_path) == 3
        store.delete("x")
        assert self.number(tmp_path) == 2

    def test_a_journal_never_holds_what_its_index_does_not_announce(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_writer, "SMALL", 300)
        store = DirectoryStore(tmp_path)
        store.put(member("a", meta={"text": "x" * 5000}))
        store.put(member("b"))
        (journal,) = tmp_path.glob("journal-*")
        assert b'"b"' in journal.read_bytes()
        store.put(Member("x", estimator=GaussianNB().fit(X, y)))
        assert self.number(tmp_path) == 3
        assert not journal.exists()
        store.put(Member("y", estimator=GaussianNB().fit(X, y)))
        (journal,) = tmp_path.glob("journal-*")
        assert b'"estimator-' in journal.read_bytes()
        assert ModelPool.load(tmp_path).names == ["a", "b", "x", "y"]

    @pytest.mark.parametrize("number", [1, 2])
    def test_pools_of_earlier_formats_are_read_extended_and_saved_anew(self, tmp_path, number):
        path = tmp_path / "p"
        path.mkdir()
        for file in (Path(__file__).parent / "formats" / str(number)).iterdir():
            (path / file.name).write_bytes(file.read_bytes())
        loaded = ModelPool.load(path)
        names = ["a", "b", "c"][: number + 1]
        assert loaded.names == names
        assert loaded.classes.tolist() == ["no", "yes"]
        assert loaded.base["w"].tolist() == [0, 0]
        assert loaded["a"].state["w"].tolist() == [1, -2.5]
        assert loaded["a"].state["n"].dtype == torch.int64
        assert (loaded["a"].score, loaded["a"].meta) == (0.5, {"epoch": 3, "loss": [0.5, float("inf")]})
        assert loaded["a"].rows.tolist() == [0, 1, 2]
        assert loaded["a"].predictions.tolist() == [[0.25, 0.75]]
        DirectoryStore(path).put(Member("x", estimator=GaussianNB().fit(X, y)))
        assert self.number(path) == 3
        again = ModelPool.load(path)
        assert again.names == [*names, "x"]
        assert again["b"].state["w"].tolist() == [0, 4]
        again[:2].save(path)
        assert self.number(path) == 2
        assert ModelPool.load(path)["a"].state["w"].tolist() == [1, -2.5]

    @pytest.mark.parametrize("change", [{"state": None}, {"estimator": None}, {"estimator": "../x.skops"}, {}])
    def test_an_entry_is_a_network_or_an_estimator(self, tmp_path, change):
        ModelPool([member("a"), Member("x", estimator=GaussianNB().fit(X, y))]).save(tmp_path)
        index = json.loads((tmp_path / "pool.json").read_text())
        network, estimator = index["members"]
        network.update(change if "state" in change else {"estimator": estimator["estimator"]} if not change else {})
        estimator.update(change if "estimator" in change else {})
        write_index(tmp_path, index)
        with pytest.raises(PoolFormatError, match="is damaged"):
            ModelPool.load(tmp_path)
