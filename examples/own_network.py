"""Average the weights of a convolutional network of your own, with and without new BatchNorm statistics.

Averaged weights meet activations that no member has seen. The statistics that BatchNorm kept in training do not fit
them, so they are estimated again from the training data, exactly. This is the default; here it is switched off to
show what it is good for.

    python examples/own_network.py [--quick]
"""

import argparse

from sklearn.base import clone
from sklearn.datasets import load_digits
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


class KeepStatistics(Repairer):
    """Repair nothing: the averaged network keeps the average of the members' statistics."""

    def __call__(self, state, members, objective):
        return state


def main():
    """Train once; fuse twice."""
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
        lr=0.05,
        max_epochs=4 if args.quick else 16,
        batch_size=64,
        iterator_train__shuffle=True,
        train_split=None,
    )
    # A high constant learning rate at the end makes the checkpoints differ.
    collect = Tail(start=0.5, lr=0.2)
    soup = SoupClassifier(net, collect=collect, merge=Uniform(), random_state=0).fit(X_train, y_train)

    last = clone(soup).fuse(soup.pool_[-1:], X_train, y_train)  # a pool of one: that member as it is
    plain = clone(soup).set_params(repair=KeepStatistics()).fuse(soup.pool_, X_train, y_train)
    print(f"{len(soup.pool_)} checkpoints of one training: {', '.join(soup.pool_.names)}")
    print(f"last checkpoint                          {last.score(X_test, y_test):.4f}")
    print(f"mean weights, mean statistics            {plain.score(X_test, y_test):.4f}")
    print(f"mean weights, statistics estimated again {soup.score(X_test, y_test):.4f}")


if __name__ == "__main__":
    main()
