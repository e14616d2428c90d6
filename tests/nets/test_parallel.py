"""Jobs run on any backend of joblib, and an error in one of them is never taken for a backend's refusal."""

import pytest
from joblib import delayed, parallel_config, register_parallel_backend
from joblib.parallel import BACKENDS, ThreadingBackend
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from skfusion.collect import Seeds
from skfusion.compare import compare_fusions
from skfusion.nets import in_order
from skfusion.pool import Member
from skfusion.testing import _problems as problems

ROWS = problems.rows()
MESSAGE = "the generator of return_as refuses"


class WithoutGenerators(ThreadingBackend):
    """As those of ray and multiprocessing, and without their processes."""

    supports_return_generator = False


@pytest.fixture
def without_generators():
    register_parallel_backend("without-generators", WithoutGenerators)
    try:
        with parallel_config(backend="without-generators", n_jobs=2):
            yield
    finally:
        del BACKENDS["without-generators"]


def square(x):
    return x * x


def fail(seen, k):
    seen.append(k)
    if k == 1:
        raise ValueError(MESSAGE)
    return k


def check_order_and_error():
    assert [*in_order([delayed(square)(k) for k in range(5)], None)] == [0, 1, 4, 9, 16]
    seen = []
    with pytest.raises(ValueError, match=MESSAGE):
        [*in_order([delayed(fail)(seen, k) for k in range(4)], None)]
    assert len(seen) == len(set(seen))  # no job is run a second time


@pytest.mark.parametrize("backend", ["threading", "sequential"])
def test_backends_that_hand_out_results_one_by_one(backend):
    with parallel_config(backend=backend, n_jobs=2):
        check_order_and_error()


def test_a_backend_without_generators(without_generators):
    check_order_and_error()


def test_comparisons_run_on_a_backend_without_generators(without_generators):
    seen = []
    fusions = {"logistic": LogisticRegression(max_iter=500)}
    table = compare_fusions(fusions, *load_iris(return_X_y=True), cv=3, callback=lambda *done: seen.append(done))
    assert table["accuracy_mean"].item() > 0.9
    assert seen == [("logistic", fold) for fold in range(3)]


def test_an_error_of_a_training_is_raised_whatever_it_says(monkeypatch):
    failed = []

    def train(net, rows, runs, vectorized, progress):
        if runs[0].name == "seed-0" and not failed:  # an error that does not come again
            failed.append(runs[0])
            raise ValueError(MESSAGE)
        return [([Member(run.name, {})], None) for run in runs], None

    monkeypatch.setattr("skfusion.collect._train_runs._train_chunk", train)
    with parallel_config(backend="threading"), pytest.raises(ValueError, match=MESSAGE):
        Seeds(2, vectorize=False).collect(problems.net(), ROWS.X, ROWS.y, random_state=0, n_jobs=2)
    assert len(failed) == 1
