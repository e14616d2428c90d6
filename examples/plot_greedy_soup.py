"""
A greedy soup of a sweep
========================

Fine-tunes of one network with other learning rates are averaged, best first, as long as
the mean does not get worse on held-out rows ("model soups"). The result is one network,
as cheap as each of its ingredients.
"""

# %%
# Noise is added to the digits, so that there is something to gain. The fine-tunes of a
# small sweep start from one network that was trained for ten epochs.

import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import SoupClassifier
from skfusion.collect import FineTunes
from skfusion.merge import Greedy
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X = X + np.random.default_rng(0).normal(scale=5, size=X.shape)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
net = mlp_classifier()
sweep = {
    "lr": loguniform(3e-3, 3e-2),
    "optimizer__weight_decay": loguniform(0.1, 1),
    "max_epochs": [5, 10],
}
tunes = FineTunes(sweep, n_members=8, init=10)
soup = SoupClassifier(
    net,
    collect=tunes,
    merge=Greedy(),
    validation_fraction=0.3,
    scoring="neg_log_loss",
    random_state=0,
)
_ = soup.fit(X_train, y_train)

# %%
# Members that joined the soup stand on top, in their order, with the score of the soup
# after each.

from skfusion.plots import SoupDisplay

display = SoupDisplay.from_estimator(soup, X_test, y_test).plot()
print(
    f"best fine-tune {display.scores.max():.3f}, soup {display.soup_score:.3f}: negative log-loss on test rows"
)
print(f"accuracy of the soup: {soup.score(X_test, y_test):.3f}")
