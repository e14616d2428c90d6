"""What a specification reveals: how close its points come to training rows, and whether it tells who was one.

For tables of digits and of breast cancer, n rows are training rows and n others are not. The first column of figures
is the median distance of a point from its nearest training row, relative to the median distance of a new row from its
nearest training row: 1 says that points are no closer than new rows are. The second is the share of points that
are closer than a tenth of that distance: all but copies of rows. The last is the area under the ROC curve of the
simplest attack, which calls a row a training row if it is close to a point: 0.5 is chance, 1 is certainty. Means of
five draws.

    python benchmarks/specification_privacy.py
"""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import pairwise_distances, roc_auc_score
from sklearn.preprocessing import StandardScaler

from skfusion.reuse import Specification


def revealed(X, n_rows, n_points, seed):
    """Return how close points come, the share of copies, and the area under the curve of the attack."""
    order = np.random.RandomState(seed).permutation(len(X))
    known, others = X[order[:n_rows]], X[order[n_rows : 2 * n_rows]]
    specification = Specification(n_points).fit(known)
    points = specification.points_[specification.weights_ > 0]
    apart = np.median(pairwise_distances(others, known).min(axis=1))
    near = pairwise_distances(points, known).min(axis=1) / apart
    attack = [-pairwise_distances(rows, points).min(axis=1) for rows in (known, others)]
    auc = roc_auc_score(np.repeat([1, 0], n_rows), np.concatenate(attack))
    return len(points), np.median(near), (near < 0.1).mean(), auc, specification.error_


def main():
    """Print a row for each table, number of rows and number of points."""
    tables = {
        "digits": (load_digits().data / 16, (60, 250, 850)),
        "breast cancer": (StandardScaler().fit_transform(load_breast_cancer().data), (60, 250)),
    }
    print("| table | rows | points | distance | copies | attack | error |\n|---|---|---|---|---|---|---|")
    for name, (X, sizes) in tables.items():
        for n_rows in sizes:
            for n_points in (n for n in (5, 10, 40, 100, None) if n is None or n <= 2 * n_rows / 3):
                numbers = np.mean([revealed(X, n_rows, n_points, seed) for seed in range(5)], axis=0)
                points, near, copies, auc, error = numbers
                print(f"| {name} | {n_rows} | {points:.0f} | {near:.2f} | {copies:.0%} | {auc:.2f} | {error:.3f} |")


if __name__ == "__main__":
    main()
