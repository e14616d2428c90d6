"""Members as runs of MLflow, and fitted estimators as its models, in its file store."""

import os
import warnings

os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # read when mlflow opens the store

import numpy as np
import pytest
import skops.io
from skorch.callbacks import MlflowLogger

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.collect import Seeds
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier, replay

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow, about its own code
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    for part in ("mlflow.pyfunc", "mlflow.sklearn"):  # which it would import later
        pytest.importorskip(part)

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 4)).astype(np.float32)
y = np.where(X[:, 0] > 0, "yes", "no")


@pytest.fixture
def client(tmp_path):
    """A tracker in a folder, instead of that of the user."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)


def net():
    return mlp_classifier(max_epochs=3)


def test_each_member_is_a_run_below_that_of_the_fit(client):
    ensemble = EnsembleClassifier(net(), collect=Seeds(2), random_state=0)
    with mlflow.start_run(run_name="ensemble") as parent:
        for member in ensemble.fit(X, y).pool_:
            with mlflow.start_run(nested=True, run_name=member.name):
                mlflow.log_params({k: v for k, v in member.meta.items() if k != "history"})
                replay(member, MlflowLogger(create_artifact=False, terminate_after_train=False))
    runs = {run.info.run_name: run for run in client.search_runs(["0"])}
    assert runs.keys() == {"ensemble", "seed-0", "seed-1"}
    for member in ensemble.pool_:
        run = runs[member.name]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["seed"] == str(member.meta["seed"])
        logged = client.get_metric_history(run.info.run_id, "train_loss")
        expected = [(k + 1, row["train_loss"]) for k, row in enumerate(member.meta["history"])]
        assert sorted((metric.step, metric.value) for metric in logged) == expected


def test_the_files_of_a_member_are_its_weights(client):
    pool = EnsembleClassifier(net(), collect=Seeds(1), random_state=0).fit(X, y).pool_
    with mlflow.start_run() as run:
        replay(pool[0], MlflowLogger(terminate_after_train=False))
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"params.pth", "optimizer.pth", "criterion.pth", "history.json"}


@pytest.mark.parametrize(
    "estimator",
    [
        EnsembleClassifier(net(), collect=Seeds(2), random_state=0),
        SoupClassifier(net(), collect=Seeds(2), merge=Uniform(), random_state=0),
    ],
    ids=["ensemble", "soup"],
)
def test_a_fitted_estimator_is_a_model_without_pickles(client, estimator):
    fitted = estimator.fit(X, y)
    types = skops.io.get_untrusted_types(data=skops.io.dumps(fitted))
    assert {name.partition(".")[0] for name in types} <= {"skfusion", "skorch", "torch"}
    with mlflow.start_run():
        info = mlflow.sklearn.log_model(
            fitted,
            name="model",
            serialization_format="skops",
            skops_trusted_types=types,
            signature=mlflow.models.infer_signature(X, fitted.predict(X)),
            pip_requirements=["skfusion"],
        )
    again = mlflow.sklearn.load_model(info.model_uri)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(info.model_uri).predict(X), fitted.predict(X))
