"""Fuse skorch nets that are fitted already, without training a network: soups, an ensemble, a stack and a search.

python examples/reuse_networks.py [--quick]
"""

import argparse
import copy
import tempfile
import warnings

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, ModelPool, SoupClassifier, StackingFusion
from skfusion.merge import Greedy, OneMemberWarning, Uniform
from skfusion.select import TopK

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--quick", action="store_true", help="few epochs")
args = parser.parse_args()

X, y = load_digits(return_X_y=True)
X, y = (X / 16).astype("float32"), y.astype("int64")
X_train, X_rest, y_train, y_rest = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
X_val, X_test, y_val, y_test = train_test_split(
    X_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=0
)

# ---- what you may have already: fine-tunes of one network, here with other learning rates -------------------------


def fitted(module, lr, n_epochs):
    """Return a skorch net that has trained a copy of ``module``."""
    net = NeuralNetClassifier(
        copy.deepcopy(module),
        criterion=nn.CrossEntropyLoss,
        lr=lr,
        max_epochs=n_epochs,
        batch_size=32,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return net.fit(X_train, y_train)


torch.manual_seed(0)
start = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
trained = fitted(start, 0.1, 3 if args.quick else 20).module_
tuned = [
    (f"lr {lr}", fitted(trained, lr, 2 if args.quick else 15))
    for lr in (0.01, 0.03, 0.1, 0.2, 0.3)
]

# ---- from here on nothing is trained ------------------------------------------------------------------------------

pool = ModelPool.from_estimators(
    tuned, X_train, y_train
)  # with the training data, it can warn of leakage
with tempfile.TemporaryDirectory() as folder:
    pool.save(folder)  # safetensors and JSON; no code
    pool = ModelPool.load(
        folder, net=tuned[0][1], lazy=False
    )  # the folder is removed below
print(pool)

for name, net in tuned:
    print(f"{name:20} {net.score(X_test, y_test):.4f}")
fusions = {
    "uniform soup": SoupClassifier(collect=pool, merge=Uniform()),
    "greedy soup": SoupClassifier(collect=pool, merge=Greedy()),
    "ensemble": EnsembleClassifier(collect=pool),
}
warnings.simplefilter("ignore", OneMemberWarning)  # the shares below tell it
for name, fusion in fusions.items():
    fusion.fit(X_val, y_val)  # rows that no member has seen: they judge the members
    print(f"{name:20} {fusion.score(X_test, y_test):.4f}")
shares = fusions["greedy soup"].member_weights_
print(
    "shares in the greedy soup:",
    ", ".join(f"{name}: {share:.2f}" for name, share in shares.items()),
)

stack = StackingFusion(tuned[0][1]).fuse(pool, X_val, y_val)
print(f"{'stack':20} {stack.score(X_test, y_test):.4f}")

search = GridSearchCV(
    SoupClassifier(collect=pool),
    {"merge": [Uniform(), Greedy()], "select": [None, TopK(2), TopK(3)]},
    cv=3,
)
search.fit(X_val, y_val)
print(
    f"{'best of a search':20} {search.score(X_test, y_test):.4f} {search.best_params_}"
)
