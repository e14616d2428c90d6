"""Members, pools, and pools made of nets that were trained elsewhere."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import sklearn.base
import sklearn.preprocessing
import torch
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import LRScheduler
from torch import nn

from skfusion._rows import Rows
from skfusion.pool import LeakageWarning, Member, ModelPool


class Tied(nn.Module):
    def __init__(self, units=4):
        super().__init__()
        self.first = nn.Linear(units, units)
        self.second = nn.Linear(units, units)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(units)

    def forward(self, X):
        return self.norm(self.second(self.first(X)))


def member(name="a", seed=0, **fields):
    torch.manual_seed(seed)
    return Member(name, Tied().state_dict(), **fields)


def pool(n=3, **fields):
    return ModelPool([member("abcdef"[k], k) for k in range(n)], **fields)


def assert_same_state(a, b):
    assert [*a] == [*b]
    for key in a:
        assert a[key].dtype == b[key].dtype
        assert a[key].shape == b[key].shape
        assert torch.equal(a[key], b[key])


def are_tied(state):
    return state["first.weight"].data_ptr() == state["second.weight"].data_ptr()


class TestSequence:
    def test_positions_and_names(self):
        p = pool()
        assert len(p) == 3
        assert p[0] is p["a"] is p[np.int64(0)]
        assert p[-1].name == "c"
        assert [m.name for m in p] == p.names == ["a", "b", "c"]
        assert p["b"] in p

    @pytest.mark.parametrize(
        ("key", "names"),
        [
            (slice(1, None), ["b", "c"]),
            (slice(None, None, -1), ["c", "b", "a"]),
            (["c", "a"], ["c", "a"]),
            ([2, -3], ["c", "a"]),
            (("b", 0), ["b", "a"]),
            (np.array([1, 0]), ["b", "a"]),
            (np.array(["c", "b"]), ["c", "b"]),
            (np.array([True, False, True]), ["a", "c"]),
            ([False, True, False], ["b"]),
        ],
    )
    def test_parts_are_pools(self, key, names):
        p = pool(base={"w": torch.ones(1)}, classes=[1, 2])
        part = p[key]
        assert isinstance(part, ModelPool)
        assert part.names == names
        assert part.base is p.base
        assert part.classes.tolist() == [1, 2]

    def test_unknown_names_and_positions(self):
        with pytest.raises(KeyError, match=r"'z'.*'a', 'b', 'c'"):
            pool()["z"]
        with pytest.raises(KeyError, match="'z'"):
            pool()[["a", "z"]]
        with pytest.raises(IndexError):
            pool()[3]
        with pytest.raises(IndexError, match=r"mask of 2 entries.*3 members"):
            pool()[[True, False]]

    def test_empty(self):
        with pytest.raises(ValueError, match="at least one member"):
            ModelPool([])
        with pytest.raises(ValueError, match="at least one member"):
            pool()[3:]

    def test_names_are_unique(self):
        with pytest.raises(ValueError, match=r"\['a'\]"):
            ModelPool([member("a"), member("a", 1), member("b")])

    def test_repr_is_short(self):
        assert repr(pool()) == "ModelPool(3 members: a, b, c)"
        many = ModelPool([Member(str(k), {"w": torch.ones(1)}) for k in range(100)])
        assert repr(many) == "ModelPool(100 members: 0, 1, 2, ..., 99)"
        assert repr(member(score=0.5)) == "Member('a', 41 numbers, score=0.5)"


class TestImmutable:
    @pytest.mark.parametrize("name", ["members", "base", "classes", "other"])
    def test_fields(self, name):
        p = pool(classes=[0, 1])
        with pytest.raises(AttributeError, match="immutable"):
            setattr(p, name, None)
        with pytest.raises(AttributeError, match="immutable"):
            delattr(p, name)
        assert len(p) == 3

    def test_items(self):
        with pytest.raises(TypeError):
            pool()[0] = member()
        with pytest.raises(AttributeError):
            member().name = "b"

    def test_classes_do_not_follow_the_caller(self):
        given = np.array([0, 1])
        p = pool(classes=given)
        given[0] = 5
        assert p.classes.tolist() == [0, 1]
        with pytest.raises(ValueError, match="read-only"):
            p.classes[0] = 5

    def test_replace_makes_another(self):
        p = pool()
        q = p.replace(p[:2], classes=["x", "y"])
        assert (len(p), len(q), p.classes, q.classes.tolist()) == (3, 2, None, ["x", "y"])
        assert member().replace(score=1.0).score == 1.0


class TestCopies:
    def test_clone_is_identity(self):
        p = pool()
        assert sklearn.base.clone(p) is p
        assert sklearn.base.clone(NeuralNetClassifier(Tied, criterion=nn.MSELoss)).module is Tied

    @pytest.mark.parametrize("through", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
    @pytest.mark.parametrize("classes", [None, np.array([3, 7], dtype=np.int16), np.array(["no", "yes"])])
    def test_pickle_and_deepcopy(self, through, classes):
        net = NeuralNetClassifier(Tied, module__units=4)
        rows = np.arange(3, dtype=np.uint64)
        first = member(score=0.5, meta={"seed": 1}, rows=rows, net=net)
        p = ModelPool([first, member("b", 1, rows=rows)], base=member(seed=2).state, classes=classes)
        q = through(p)
        assert q is not p
        assert q.names == p.names
        for a, b in zip(p, q, strict=True):
            assert_same_state(a.state, b.state)
            assert are_tied(b.state)
            assert a.state["norm.weight"].data_ptr() != b.state["norm.weight"].data_ptr()
            assert np.array_equal(a.rows, b.rows)
        assert (q[0].score, q[0].meta) == (0.5, {"seed": 1})
        assert np.isnan(q[1].score)
        assert q[0].rows is q[1].rows
        assert q[0].net.get_params()["module__units"] == 4
        assert q[1].net is None
        assert_same_state(q.base, p.base)
        assert are_tied(q.base)
        if classes is None:
            assert q.classes is None
        else:
            assert q.classes.dtype == classes.dtype
            assert q.classes.tolist() == classes.tolist()

    @pytest.mark.parametrize(
        "dtype", [torch.bfloat16, torch.float16, torch.bool, torch.int64, torch.complex64, torch.float8_e4m3fn]
    )
    def test_pickle_keeps_dtypes(self, dtype):
        value = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).to(dtype).T
        state = {"w": value, "tied": value, "scalar": value[0, 0], "empty": value[:0]}
        found = pickle.loads(pickle.dumps(Member("a", state))).state
        assert found["w"].data_ptr() == found["tied"].data_ptr()
        for key, t in found.items():
            assert t.dtype == dtype
            assert t.shape == state[key].shape
            assert t.reshape(-1).contiguous().view(torch.uint8).tolist() == (
                state[key].reshape(-1).contiguous().view(torch.uint8).tolist()
            )

    def test_views_of_other_dtypes_are_no_ties(self):
        state = {"f": torch.ones(2), "i": torch.ones(2)}
        state["i"] = state["f"].view(torch.int32)
        found = pickle.loads(pickle.dumps(Member("a", state))).state
        assert found["f"].dtype == torch.float32
        assert found["i"].dtype == torch.int32

    @pytest.mark.parametrize("through", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
    def test_scores_rows_and_predictions_are_pickled(self, through):
        known = np.array([[0.25, np.nan], [-0.0, 1]], np.float32)
        given = ModelPool([member("a", score=0.5, rows=np.arange(3, dtype=np.uint64), predictions=known), member("b")])
        found = through(given)
        assert found[0].score == 0.5
        assert np.array_equal(found[0].rows, given[0].rows)
        assert found[0].predictions.dtype == np.float32
        assert found[0].predictions.tobytes() == known.tobytes()
        assert found[1].predictions is None
        assert found[0].replace(score=1.0).predictions is found[0].predictions

    def test_a_member_of_a_stack_is_pickled_alone(self):
        stack = torch.zeros(1000, 10)
        assert len(pickle.dumps(Member("a", {"w": stack[3]}))) < 2000
        assert len(pickle.dumps(Member("a", {"w": stack.to(torch.bfloat16)[3]}))) < 3000

    def test_hash_of_equal_pools(self):
        def make(score=0.5):
            fields = {"score": score, "meta": {"seed": 1}, "rows": np.arange(3, dtype=np.uint64)}
            return ModelPool([member("a", **fields), member("b", 1)], member(seed=2).state, ["no", "yes"])

        assert joblib.hash(make()) == joblib.hash(make())
        assert joblib.hash(make()) == joblib.hash(pickle.loads(pickle.dumps(make())))
        assert joblib.hash(make()) == joblib.hash(copy.deepcopy(make()))
        assert joblib.hash(make()) != joblib.hash(make(score=0.6))
        assert joblib.hash(make()) != joblib.hash(make()[::-1])

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e5m2])
    def test_hash_of_dtypes_that_numpy_lacks(self, dtype):
        one, two = (ModelPool([Member("a", {"w": torch.ones(3).to(dtype)})]) for _ in range(2))
        assert joblib.hash(one) == joblib.hash(two)
        assert joblib.hash(one) != joblib.hash(ModelPool([Member("a", {"w": torch.zeros(3).to(dtype)})]))


class TestChecks:
    def test_diverged_member_is_named(self):
        bad = member("b")
        bad.state["norm.bias"][1] = torch.nan
        with pytest.raises(ValueError, match=r"'norm.bias' of member 'b'.*diverged"):
            ModelPool([member(), bad]).check_finite()

    def test_unlike_members_are_named(self):
        odd = Member("odd", Tied(5).state_dict())
        with pytest.raises(ValueError, match=r"\(4, 4\) in member 'a' and \(5, 5\) in member 'odd'"):
            ModelPool([member(), odd]).check_compatible()
        pool().check_compatible()

    def test_warns_of_leakage(self):
        rows = Rows(np.arange(10.0).reshape(5, 2), np.arange(5))
        p = ModelPool([member(rows=rows.take(np.arange(3)).keys), member("b", 1)])
        with pytest.warns(LeakageWarning, match="2 of the 3 rows used to select"):
            assert p.warn_of_leakage(rows.take(np.arange(1, 4)), "to select") == 2
        assert p.warn_of_leakage(rows.take(np.arange(3, 5)), "to select") == 0
        assert pool().warn_of_leakage(rows, "to select") == 0


class Head(nn.Module):
    def __init__(self, hidden=4, outputs=3):
        super().__init__()
        self.hidden = nn.Linear(2, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, X):
        return self.out(self.norm(torch.relu(self.hidden(X))))


X = np.random.default_rng(0).normal(size=(24, 2)).astype(np.float32)
Y = np.arange(24) % 3


def classifier(module=Head, seed=0, **params):
    torch.manual_seed(seed)
    params = {"criterion": nn.CrossEntropyLoss, "max_epochs": 2, "verbose": 0, "train_split": None, **params}
    return NeuralNetClassifier(module, **params)


class TestFromEstimators:
    def test_states_are_copies(self):
        nets = [classifier(seed=k).fit(X, Y) for k in range(2)]
        p = ModelPool.from_estimators(nets)
        assert p.names == ["net-0", "net-1"]
        assert p.classes.tolist() == [0, 1, 2]
        for m, net in zip(p, nets, strict=True):
            assert_same_state(m.state, net.module_.state_dict())
            assert m.meta == {"source": "from_estimators", "epochs": 2}
            assert np.isnan(m.score)
            assert m.rows is None
            before = m.state["out.weight"].clone()
            net.partial_fit(X, Y)
            assert torch.equal(m.state["out.weight"], before)
            assert not m.state["out.weight"].requires_grad

    def test_names(self):
        net = classifier().fit(X, Y)
        assert ModelPool.from_estimators([("x", net), net]).names == ["x", "net-1"]
        assert ModelPool.from_estimators(n for n in [net]).names == ["net-0"]
        with pytest.raises(ValueError, match=r"unique.*'x'"):
            ModelPool.from_estimators([("x", net), ("x", net)])

    def test_ties_are_kept(self):
        net = classifier(Tied, module__units=2).fit(X, Y % 2)
        assert are_tied(ModelPool.from_estimators([net])[0].state)

    def test_compiled_names_are_stripped(self):
        plain, compiled, inner = (classifier().fit(X, Y) for _ in range(3))
        compiled.module_ = torch.compile(compiled.module_, backend="eager")
        inner.module_.hidden = torch.compile(inner.module_.hidden, backend="eager")
        assert "_orig_mod.out.weight" in compiled.module_.state_dict()
        assert "hidden._orig_mod.weight" in inner.module_.state_dict()
        p = ModelPool.from_estimators([plain, compiled, inner])
        p.check_compatible()
        for m in p:
            assert [*m.state] == [*plain.module_.state_dict()]

    def test_net_is_unfitted_and_keeps_its_parameters(self):
        given = classifier(
            module__hidden=6, optimizer=torch.optim.Adam, optimizer__weight_decay=0.1, callbacks__print_log=None
        ).fit(X, Y)
        net = ModelPool.from_estimators([given])[0].net
        assert type(net) is NeuralNetClassifier
        assert not hasattr(net, "module_")
        for name in ["module", "module__hidden", "optimizer", "optimizer__weight_decay", "max_epochs", "train_split"]:
            assert getattr(net, name) == getattr(given, name)
        net.initialize()
        assert net.module_.hidden.weight.shape == (6, 2)
        assert not torch.equal(net.module_.hidden.weight, given.module_.hidden.weight)
        assert len(given.history) == 2

    @pytest.mark.parametrize("where", ["module", "module__inner"])
    def test_net_does_not_hold_trained_instances(self, where, untouched_rng):
        class Wrapped(nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, X):
                return self.inner(X)

        with torch.random.fork_rng():
            trained = Head()
            given = classifier(trained) if where == "module" else classifier(Wrapped, module__inner=trained)
            given.fit(X, Y)
        net = ModelPool.from_estimators([given])[0].net
        fresh = getattr(net, where)
        assert fresh is not trained
        assert not torch.equal(fresh.hidden.weight, trained.hidden.weight)
        assert int(fresh.norm.num_batches_tracked) == 0 < int(trained.norm.num_batches_tracked)
        again = ModelPool.from_estimators([given])[0].net
        assert_same_state(getattr(again, where).state_dict(), fresh.state_dict())

    def test_net_does_not_hold_fitted_callbacks(self):
        scheduler = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1)
        given = classifier(callbacks=[("scheduler", scheduler)]).fit(X, Y)
        assert scheduler.lr_scheduler_ is not None
        found = dict(ModelPool.from_estimators([given])[0].net.callbacks)["scheduler"]
        assert found is not scheduler
        assert getattr(found, "lr_scheduler_", None) is None

    def test_rows_of_a_classifier(self):
        nets = [classifier(seed=k).fit(X, Y) for k in range(2)]
        p = ModelPool.from_estimators(nets, X.astype(np.float64).tolist(), Y.astype(np.int32))
        assert np.array_equal(p[0].rows, Rows(X, Y.astype(np.int64)).marks)
        assert p[0].rows is p[1].rows
        with pytest.warns(LeakageWarning, match="4 of the 4"):
            p.warn_of_leakage(Rows(X[:4], Y[:4].astype(np.int64)), "to select")

    def test_rows_use_codes_in_the_order_of_the_classes(self):
        net = classifier(classes=["b", "a", "c"]).fit(X, Y)
        p = ModelPool.from_estimators([net], X, np.array(["a", "b", "c"])[Y])
        assert p.classes.tolist() == ["b", "a", "c"]
        assert np.array_equal(p[0].rows, Rows(X, np.array([1, 0, 2])[Y]).marks)

    def test_rows_of_a_regressor(self):
        net = NeuralNetRegressor(Head, module__outputs=1, max_epochs=1, verbose=0, train_split=None)
        target = X[:, :1]
        net.fit(X, target)
        p = ModelPool.from_estimators([net], X, target[:, 0].astype(np.float64))
        assert p.classes is None
        assert np.array_equal(p[0].rows, Rows(X, target).marks)

    def test_rows_of_several_inputs(self):
        net = classifier().fit(X, Y)
        given = {"b": np.arange(24, dtype=np.int32), "a": X.astype(np.float64)[:, ::-1], "c": Y == 1}
        kept = {"a": X[:, ::-1].copy(), "b": np.arange(24), "c": (Y == 1).astype(np.int64)}  # as fit reads them
        expected = Rows(kept, Y.astype(np.int64)).marks
        assert np.array_equal(ModelPool.from_estimators([net], given, Y)[0].rows, expected)

    def test_rows_that_cannot_be_known(self):
        net = classifier().fit(X, Y)
        with pytest.raises(ValueError, match="both X and y"):
            ModelPool.from_estimators([net], X)
        with pytest.raises(ValueError, match=r"\[23, 24\]"):
            ModelPool.from_estimators([net], X, Y[:-1])
        with pytest.raises(ValueError, match=r"\[7\]; their classes are \[0, 1, 2\]"):
            ModelPool.from_estimators([net], X, np.where(Y == 2, 7, Y))

    def test_classes_must_agree(self):
        first, second = classifier().fit(X, Y), classifier().fit(X, Y % 2)
        with pytest.raises(ValueError, match=r"'net-0' are \[0, 1, 2\], those of net 'other' are \[0, 1\]"):
            ModelPool.from_estimators([first, ("other", second)])
        regressor = NeuralNetRegressor(Head, module__outputs=1, max_epochs=1, verbose=0, train_split=None)
        regressor.fit(X, X[:, :1])
        with pytest.raises(ValueError, match="'net-1' are none"):
            ModelPool.from_estimators([first, regressor])

    def test_what_is_not_a_fitted_net(self):
        fitted = classifier().fit(X, Y)
        with pytest.raises(ValueError, match=r"Item 1 .*NeuralNetClassifier that is not fitted.*fit first"):
            ModelPool.from_estimators([fitted, classifier()])
        with pytest.raises(TypeError, match=r"Item 1 \('scale'\).*StandardScaler, which has no predict"):
            ModelPool.from_estimators([fitted, ("scale", sklearn.preprocessing.StandardScaler().fit(X))])
        with pytest.raises(TypeError, match=r"Item 0 .*the class NeuralNetClassifier"):
            ModelPool.from_estimators([NeuralNetClassifier])
        with pytest.raises(TypeError, match=r"Item 0 .*Head"):
            ModelPool.from_estimators([Head()])
        with pytest.raises(TypeError, match="Give a list"):
            ModelPool.from_estimators(fitted)
        with pytest.raises(TypeError, match="Give a list"):
            ModelPool.from_estimators(classifier())
        with pytest.raises(ValueError, match="at least one member"):
            ModelPool.from_estimators([])

    def test_extra_state_is_named(self):
        class Odd(Head):
            def get_extra_state(self):
                return "text"

            def set_extra_state(self, state):
                pass

        with pytest.raises(TypeError, match="'_extra_state' in the state of net 'net-0' is a str"):
            ModelPool.from_estimators([classifier(Odd).fit(X, Y)])
