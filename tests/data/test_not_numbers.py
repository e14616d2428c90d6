"""Inputs and targets that are no numbers are named, with what to do."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from skorch import NeuralNetClassifier
from skorch.helper import SliceDict
from torch import nn

from skfusion import EnsembleClassifier, EnsembleRegressor, SoupClassifier
from skfusion.collect import Seeds
from skfusion.data import as_numbers, check_inputs
from skfusion.merge import Greedy
from skfusion.nets import mlp_classifier, mlp_regressor

X, Y = load_iris(return_X_y=True)
FRAME = pd.DataFrame(X, columns=[*"abcd"])
CITY = ["Rome", "Oslo", "Bonn"] * 50
WHEN = pd.date_range("2020-01-01", periods=150)
NET = mlp_classifier(max_epochs=1, module__hidden=(4,))


def ensemble(net=NET):
    return EnsembleClassifier(net, collect=Seeds(2), random_state=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (FRAME.assign(city=CITY), r"1 column of X is none: 'city' \(text\).*OneHotEncoder\(.*\), \['city'\]"),
        (FRAME.assign(city=pd.Categorical(CITY)), r"'city' \(text\)"),
        (FRAME.assign(city=pd.array(CITY, "string")), r"'city' \(text\)"),
        (FRAME.assign(when=WHEN), r"1 column of X is none: 'when' \(dates\).*turn dates into numbers"),
        (FRAME.assign(when=WHEN.tz_localize("Asia/Tokyo")), r"'when' \(dates\)"),
        (FRAME.assign(took=pd.to_timedelta(range(150), unit="h")), r"'took' \(dates\)"),
        (
            FRAME.assign(when=WHEN, city=CITY),
            r"2 columns of X are none: 'when' \(dates\), 'city' \(text\).*OneHotEncoder\(.*\), \['city'\].*turn dates",
        ),
        (pd.DataFrame({"when": WHEN}), r"'when' \(dates\)"),
        (FRAME.assign(city=CITY).to_numpy(), r"1 column of X is none: 4 \(text\)"),
        (FRAME.assign(city=CITY).to_numpy().tolist(), r"4 \(text\)"),
        (WHEN.to_numpy()[:, None], r"0 \(dates\)"),
        (np.array([["x"] * 7] * 150), r"7 columns of X are none: 0 \(text\), .*, 4 \(text\), \.\.\."),
    ],
)
def test_columns_of_text_and_dates_are_named(data, message):
    with pytest.raises(ValueError, match=message):
        ensemble().fit(data, Y)


@pytest.mark.parametrize(
    "dates",
    [WHEN, WHEN.tz_localize("Asia/Tokyo"), pd.to_timedelta(range(150), unit="h")],
    ids=["plain", "zone", "took"],
)
def test_the_proposed_code_makes_days_as_portfolios_do_and_encodes_text(dates):
    table = FRAME.assign(when=dates, city=CITY, size=["small", "large"] * 75)
    with pytest.raises(ValueError, match="turn dates into numbers") as caught:
        ensemble().fit(table, Y)
    encoder, days = re.search(
        r"by (make_.*?), and turn dates into numbers, such as days: (.*?)\.(?: Or fit .*)?$", str(caught.value)
    ).groups()
    names = {"X": table, "pd": pd, "make_column_transformer": make_column_transformer, "OneHotEncoder": OneHotEncoder}
    in_days = eval(days, names)
    np.testing.assert_allclose(in_days, as_numbers(table[["when"]])[:, 0])
    ready = make_pipeline(eval(encoder, names), ensemble()).fit(table.assign(when=in_days), Y)
    assert ready.predict(table.assign(when=in_days)).shape == (150,)


def test_the_proposed_encoder_takes_many_and_new_categories():
    frame = FRAME.assign(city=[f"city {i}" for i in range(150)])
    with pytest.raises(ValueError, match="Or fit a PortfolioClassifier") as caught:
        ensemble().fit(frame, Y)
    encoder = re.search(r"make_column_transformer\(.*\)(?=\.)", str(caught.value)).group()
    names = {"make_column_transformer": make_column_transformer, "OneHotEncoder": OneHotEncoder}
    ready = make_pipeline(eval(encoder, names), ensemble()).fit(frame[::2], Y[::2])
    assert ready.predict(frame[1::2]).shape == (75,)


def test_columns_are_named_in_prediction_too():
    fitted = ensemble().fit(FRAME, Y)
    with pytest.raises(ValueError, match=r"'b' \(text\)"):
        fitted.predict(FRAME.assign(b="x"))
    with pytest.raises(ValueError, match=r"'b' \(dates\)"):
        fitted.predict(FRAME.assign(b=WHEN))


def test_text_of_numbers_is_numbers_and_other_errors_stay():
    found = check_inputs(ensemble(), FRAME.astype(str), Y, reset=True)[0]
    np.testing.assert_allclose(found, X, rtol=1e-6)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        ensemble().fit(FRAME.assign(a=np.nan), Y)


def test_inputs_of_a_dict_are_named():
    net = NeuralNetClassifier(nn.Linear(2, 3), criterion=nn.CrossEntropyLoss)
    with pytest.raises(ValueError, match=r"X\['ids'\] holds text, and networks take numbers: give indices of tokens"):
        ensemble(net).fit({"ids": np.array(CITY)}, Y)
    with pytest.raises(ValueError, match=r"X\['ids'\] has rows of different lengths: pad them"):
        ensemble(net).fit({"ids": [[1, 2], [3]] * 75}, Y)
    with pytest.raises(ValueError, match=r"X\['when'\] holds dates"):
        ensemble(net).fit({"when": WHEN}, Y)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, ids):
        return self.out(self.words(ids).mean(1))


def words():
    return NeuralNetClassifier(Words, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0)


def test_a_dict_is_cut_by_cross_validation_as_skorchs_slice_dict():
    ids = np.random.RandomState(0).randint(10, size=(60, 5))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[1, 60\]"):  # as the guide quotes it
        cross_validate(ensemble(words()), {"ids": ids}, ids[:, 0] % 2)
    assert len(cross_val_score(ensemble(words()), SliceDict(ids=ids), ids[:, 0] % 2, cv=2)) == 2


def wants_more(estimator, X, y):
    return estimator.coef_.sum()


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        (wants_more, "asks for more than there is .classification.: 'what is scored' object has no attribute 'coef_'"),
        ("neg_log_loss", "what is scored has none of the following attributes: predict_proba"),
    ],
)
def test_scores_that_ask_for_more_than_predictions_name_no_private_class(scoring, message):
    soup = SoupClassifier(NET, collect=Seeds(2), merge=Greedy(), scoring=scoring, random_state=0)
    y = Y
    if isinstance(scoring, str):
        soup, y = EnsembleRegressor(mlp_regressor(max_epochs=1), collect=Seeds(2), scoring=scoring), X[:, 0]
    with pytest.raises(ValueError, match=message) as caught:
        soup.fit(X, y) if y is Y else _scored(soup, y)
    assert "Known" not in str(caught.value)


def _scored(ensemble, y):
    from skfusion._rows import Rows
    from skfusion.data import score_function

    rows = Rows(X.astype(np.float32), y[:, None])
    return score_function(ensemble.scoring, "regression")(y[:, None], rows)


# ---- indices, weights of classes, and names of parameters ----------------------------------------------------------


@pytest.mark.parametrize("vectorize", [True, False])
def test_the_embedding_that_lacks_an_index_is_named(vectorize):
    ids = np.random.RandomState(0).randint(10, size=(600, 5))
    y = ids[:, 0] % 2
    made = EnsembleClassifier(words(), collect=Seeds(2, vectorize=vectorize), random_state=0)
    far, low = ids.copy(), ids - 1
    far[-1, 0], far[0, 0] = 17, 12
    message = "Embedding 'words' has 10 rows, for indices from 0 to 9, and is given indices from 0 to 17: give it num_"
    with pytest.raises(IndexError, match=message):
        made.fit({"ids": far}, y)
    with pytest.raises(IndexError, match="is given indices from -1 to 8: number from 0"):
        made.fit({"ids": low}, y)
    fitted = made.fit({"ids": ids}, y)
    hooks = [len(part._forward_pre_hooks) for part in fitted.estimators_[0].module_.modules()]
    with pytest.raises(IndexError, match=message):
        fitted.predict({"ids": far})
    assert [len(part._forward_pre_hooks) for part in fitted.estimators_[0].module_.modules()] == hooks
    assert len(fitted.predict({"ids": ids})) == 600


class Reaching(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(100, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, ids):
        return self.out(self.words(ids).mean(1))[:, [0, 5]]


def test_another_index_error_stays_what_it_is():
    net = NeuralNetClassifier(Reaching, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0)
    ids = np.random.RandomState(0).randint(10, size=(60, 5))
    with pytest.raises(IndexError, match="out of bounds"):
        ensemble(net).fit({"ids": ids}, ids[:, 0] % 2)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (torch.ones(2), ValueError, r"criterion__weight has the shape \(2,\), and y has 3 classes: give a tensor of 3"),
        (torch.ones(3, 1), ValueError, r"criterion__weight has the shape \(3, 1\)"),
        ([1.0, 2.0, 3.0], TypeError, r"criterion__weight must be a tensor, torch.tensor\(\[1.0, 2.0, 3.0\]\)"),
    ],
)
def test_weights_of_classes_are_one_a_class(weight, error, message):
    with pytest.raises(error, match=message):
        ensemble(mlp_classifier(max_epochs=1, criterion__weight=weight)).fit(X, Y)


def test_weights_of_labels_are_one_a_label_and_right_ones_pass():
    labels = np.eye(3, dtype=int)[Y]
    many = mlp_classifier(multilabel=True, max_epochs=1, module__hidden=(4,))
    with pytest.raises(ValueError, match=r"criterion__pos_weight has the shape \(2,\), and y has 3 labels"):
        ensemble(many.set_params(criterion__pos_weight=torch.ones(2))).fit(X, labels)
    ensemble(many.set_params(criterion__pos_weight=torch.ones(3))).fit(X, labels)
    with pytest.raises(ValueError, match="criterion__weight has the shape"):
        ensemble(mlp_classifier(max_epochs=1, criterion=nn.CrossEntropyLoss(torch.ones(2)))).fit(X, Y)
    ensemble(mlp_classifier(max_epochs=1, criterion=nn.CrossEntropyLoss(torch.ones(3)))).fit(X, Y)
    two = NeuralNetClassifier(nn.Linear(4, 1), criterion=nn.BCEWithLogitsLoss, max_epochs=1, verbose=0)
    with pytest.raises(ValueError, match=r"for two classes it is one number, shape \(1,\)"):
        ensemble(two.set_params(criterion__pos_weight=torch.ones(2))).fit(X[Y < 2], Y[Y < 2])


@pytest.mark.parametrize("make", [mlp_classifier, mlp_regressor])
@pytest.mark.parametrize(("name", "value"), [("hidden", (8,)), ("dropout", 0.1), ("norm", "layer")])
def test_parameters_of_the_network_are_told_from_those_of_the_net(make, name, value):
    with pytest.raises(TypeError, match=rf"{name} is a parameter of the network, .*{make.__name__}\(module__{name}="):
        make(**{name: value})
    assert make(**{f"module__{name}": value}).get_params()[f"module__{name}"] == value


def test_one_number_of_hidden_units_is_no_sequence():
    with pytest.raises(TypeError, match=r"hidden is a sequence with the units of each layer, such as \(64,\); got 64"):
        ensemble(mlp_classifier(module__hidden=64)).fit(X, Y)
