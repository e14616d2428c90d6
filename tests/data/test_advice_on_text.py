"""What the error on columns of text advises works as it stands, and also with categories that are new in prediction."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier


def test_the_advised_pipeline_takes_many_and_new_categories():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=60), "name": [f"name {i}" for i in range(60)]})
    y = (frame["size"] > 0).astype(int)
    ensemble = EnsembleClassifier(mlp_classifier(max_epochs=2), collect=Seeds(1), random_state=0)
    with pytest.raises(ValueError, match="PortfolioClassifier") as raised:
        ensemble.fit(frame, y)
    advice = re.search(r"make_column_transformer\(.*\)(?=\.)", str(raised.value)).group()
    known = {"make_column_transformer": make_column_transformer, "OneHotEncoder": OneHotEncoder}
    model = make_pipeline(eval(advice, known), ensemble).fit(frame[:40], y[:40])
    assert model.predict(frame[40:]).shape == (20,)
