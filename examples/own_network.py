"""Average the weights of a convolutional network of your own, with and without new BatchNorm statistics.

Averaged weights meet activations that no member has seen, so the statistics that BatchNorm kept in training need not
fit them. By default they are estimated again from the training data, exactly. Here that is also switched off, to show
when it matters: little while the members are close to each other, a lot when a large learning rate drives them apart.

    python examples/own_network.py [--quick]
"""

import argparse

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn, optim

from skfusion import SoupClassifier
from skfusion.collect import Tail
from skfusion.merge import Uniform
from skfusion.repair import Repairer


class ConvNet(nn.Module):
    """Two convolutions with BatchNorm. ``n_out`` is set to the number of classes."""

    def __init__(self, n_out, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * width, n_out),
        )

    def forward(self, X):  # X shape: (n_samples, 1, 8, 8)
        return self.layers(X / 16)


class MeanStatistics(Repairer):
    """Repair nothing: the averaged network keeps the average of the members' statistics."""

    def __call__(self, state, members, objective):
        return state


class LastStatistics(Repairer):
    """Take the statistics of the last member, as averaging the parameters alone does."""

    def __call__(self, state, members, objective):
        return {key: members[-1][key] if "running" in key else value for key, value in state.items()}


def main():
    """Train once for each learning rate; fuse in four ways."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few epochs")
    args = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 1, 8, 8)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    net = NeuralNetClassifier(
        ConvNet,
        criterion=nn.CrossEntropyLoss,
        optimizer=optim.SGD,
        optimizer__momentum=0.9,
        lr=0.2,
        max_epochs=4 if args.quick else 16,
        batch_size=32,
        iterator_train__shuffle=True,
        train_split=None,
    )
    for lr in (0.5, 1.0):
        collect = Tail(burn_in=0.5, lr=lr)  # checkpoints of the second half of one training
        soup = SoupClassifier(net, collect=collect, merge=Uniform(), random_state=0).fit(X_train, y_train)
        pool = soup.pool_
        fused = {  # none of these trains again
            "last checkpoint": clone(soup).fuse(pool[-1:], X_train, y_train),
            "mean weights, statistics of the last": clone(soup).set_params(repair=LastStatistics()),
            "mean weights, mean statistics": clone(soup).set_params(repair=MeanStatistics()),
            "mean weights, statistics estimated again": soup,
        }
        print(f"{len(pool)} checkpoints, learning rate {lr:3}               accuracy  log-loss")
        for name, estimator in fused.items():
            if not hasattr(estimator, "pool_"):
                estimator.fuse(pool, X_train, y_train)
            loss = log_loss(y_test, estimator.predict_proba(X_test))
            print(f"  {name:42} {estimator.score(X_test, y_test):.4f}    {loss:.4f}")


if __name__ == "__main__":
    main()
