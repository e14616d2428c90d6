"""ONNX files predict what the estimator predicts, or are not written."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier, SoupRegressor
from skfusion.collect import Seeds
from skfusion.combine import Calibrated, GeometricAverage, Median, Stack
from skfusion.estimators.serving import _onnx
from skfusion.nets import mlp_classifier, mlp_regressor, tabm_classifier, tabular_classifier

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

X, CODES = make_classification(100, 8, n_informative=5, n_classes=3, random_state=0)
X = X.astype(np.float32)
X[:, 7] = CODES  # codes of categories
NAMES = np.array(["c", "a", "b"])[CODES]
SHORT = {"max_epochs": 2}


def run(session, inputs):
    named = inputs if isinstance(inputs, dict) else {"X": inputs}
    (out,) = session.run(None, named)
    return session.get_outputs()[0].name, out


def check(estimator, path, inputs=X):
    estimator.to_onnx(path, inputs)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    values = not hasattr(estimator, "predict_proba")
    for n in (1, 3, len(X)):
        part = {k: v[:n] for k, v in inputs.items()} if isinstance(inputs, dict) else inputs[:n]
        name, found = run(session, part)
        expected = estimator.predict(part) if values else estimator.predict_proba(part)
        assert name == ("predictions" if values else "probabilities")
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten())
        self.head = nn.Linear(12, 3)

    def forward(self, X):
        return self.head(self.layers(X.reshape(len(X), 1, -1)))  # len, which export follows in one of its ways only


@pytest.mark.parametrize(
    ("net", "combine"),
    [
        (tabular_classifier(module__categorical=[7], **SHORT), Calibrated(GeometricAverage())),
        (tabm_classifier(k=2, **SHORT), Stack()),
        (NeuralNetClassifier(Pictures, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0, **SHORT), Median()),
    ],
    ids=["tabular", "TabM", "convolutional"],
)
def test_files_of_ensembles_of_classifiers(net, combine, tmp_path):
    ensemble = EnsembleClassifier(net, collect=Seeds(2), combine=combine, cv=2, random_state=0)
    check(ensemble.fit(X, NAMES), tmp_path / "model.onnx")


def test_files_of_regressors(tmp_path):
    far = np.stack([1e6 + X[:, 0], X[:, 1]], 1)
    check(SoupRegressor(mlp_regressor(**SHORT), random_state=0).fit(X, far), tmp_path / "model.onnx")


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(10, 4), nn.Linear(4 + 8, 3)

    def forward(self, words, numbers):
        return self.head(torch.cat([self.table(words).mean(1), numbers], 1))


def test_inputs_by_name(tmp_path):
    net = NeuralNetClassifier(Words, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0, **SHORT)
    inputs = {"words": np.random.RandomState(0).randint(10, size=(len(X), 4)), "numbers": X}
    ensemble = EnsembleClassifier(net, collect=Seeds(2), random_state=0).fit(inputs, NAMES)
    check(ensemble, tmp_path / "model.onnx", inputs)


# ---- what ONNX cannot take -------------------------------------------------------------------------------------------


class Spectrum(nn.Module):
    def forward(self, X):
        return torch.linalg.svdvals(X.reshape(-1, 4, 2)).squeeze(1)


class Turns(nn.Module):
    def forward(self, X):
        return X if X.sum() > 0 else -X


class Around(nn.Sequential):
    def __init__(self, layer, n_hidden):
        super().__init__(nn.Linear(8, 8), layer, nn.Linear(n_hidden, 3))


@pytest.mark.parametrize(("layer", "n_hidden", "why"), [(Spectrum(), 2, "no operator for aten"), (Turns(), 8, "")])
def test_the_layer_is_named_and_nothing_is_written(layer, n_hidden, why, tmp_path):
    net = NeuralNetClassifier(
        Around,
        module__layer=layer,
        module__n_hidden=n_hidden,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        verbose=0,
        **SHORT,
    )
    soup = SoupClassifier(net, random_state=0).fit(X, NAMES)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=rf"modules_\.0\.1', {type(layer).__name__}: .*{why}.* Nothing was written"):
        soup.to_onnx(path, X)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


class NoKernel:
    def __init__(self, content, **options):
        raise NotImplementedError("no kernel")


def test_files_are_loaded_and_compared_before_they_are_written(tmp_path, monkeypatch):
    soup = SoupClassifier(mlp_classifier(**SHORT), random_state=0).fit(X, NAMES)
    path, plain, made, exported = tmp_path / "model.onnx", soup.predict_proba, [], _onnx._exported

    def once(*args, **options):
        made.append(made[0] if made else exported(*args, **options))
        return made[0]

    monkeypatch.setattr(_onnx, "_exported", once)
    with monkeypatch.context() as patch:
        patch.setattr(soup, "predict_proba", lambda X: plain(X) + 1e-3, raising=False)
        with pytest.raises(RuntimeError, match=r"differ by 1.0e-03.* Nothing was written"):
            soup.to_onnx(path, X)
    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime.InferenceSession, "run", lambda *_: 1 / 0)
        with pytest.raises(RuntimeError, match=r"does not take 100 rows.* Nothing was written"):
            soup.to_onnx(path, X)
    with monkeypatch.context() as patch:  # as of what is in ONNX, but in ONNX Runtime for other dtypes only
        patch.setattr(onnxruntime, "InferenceSession", NoKernel)
        with pytest.raises(ValueError, match=r"the layer 'networks.*Linear: .*no kernel\. Nothing was written"):
            soup.to_onnx(path, X)
    assert not [*tmp_path.iterdir()]
    with monkeypatch.context() as patch:  # where there is no runtime, a file is written all the same
        patch.setattr(_onnx, "find_spec", lambda name: None if name == "onnxruntime" else name)
        soup.to_onnx(str(path), X[:1])
    found = run(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]), X)[1]
    np.testing.assert_allclose(found, soup.predict_proba(X), atol=1e-6)
    assert all(program is made[0] for program in made)


def test_a_place_where_no_file_can_be_is_named_before_anything_is_exported(tmp_path, monkeypatch):
    soup = SoupClassifier(mlp_classifier(**SHORT), random_state=0).fit(X, NAMES)
    monkeypatch.setattr(_onnx, "_exported", lambda *_, **__: 1 / 0)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        soup.to_onnx(tmp_path, X)
    with pytest.raises(FileNotFoundError, match=r"folder .*none of the file does not exist"):
        soup.to_onnx(tmp_path / "none" / "model.onnx", X)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    soup = SoupClassifier(mlp_classifier(**SHORT), random_state=0).fit(X, NAMES)
    monkeypatch.setattr(_onnx, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ImportError, match=r"needs onnxscript: pip install skfusion\[onnx\]"):
        soup.to_onnx(tmp_path / "model.onnx", X)
