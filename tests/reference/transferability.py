"""Scores of transferability as the papers state them, by loops, whole matrices and brute force."""

import math

import numpy as np
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf


def log_evidence(F, y, alpha, beta):
    """The logarithm of the density of y, whose weights are integrated out by hand: it is normal."""
    n = len(y)
    return multivariate_normal.logpdf(y, np.zeros(n), np.eye(n) / beta + F @ F.T / alpha, allow_singular=True)


def logme_by_brute_force(F, Y):
    """The mean over columns of the largest evidence a row, by a search over alpha and beta from many starts."""
    found = []
    for y in Y.T:
        runs = [
            minimize(
                lambda logs, y=y: -log_evidence(F, y, *np.exp(logs)),
                (a, b),
                method="Nelder-Mead",
                bounds=[(-12, 25), (-12, 20)],
                options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000},
            )
            for a in (-3, 8)
            for b in (-1, 4)
        ]
        found.append(max(-run.fun for run in runs) / len(y))
    return float(np.mean(found))


def logme_by_iteration(F, Y, steps=20000):
    """The mean over columns of the evidence a row where the iteration of the paper ends."""
    n, d = F.shape
    found = []
    for y in Y.T:
        alpha = beta = 1.0
        for _ in range(steps):
            A = alpha * np.eye(d) + beta * F.T @ F
            m = beta * np.linalg.solve(A, F.T @ y)
            eigenvalues = np.linalg.eigvalsh(beta * F.T @ F)
            gamma = (eigenvalues / (alpha + eigenvalues)).sum()
            before = alpha, beta
            after = gamma / (m @ m), (n - gamma) / ((F @ m - y) ** 2).sum()
            if not all(0 < a < 1e8 for a in after):  # it runs away, where the best weights are zero or exact
                break
            alpha, beta = after
            if np.allclose(before, after, rtol=1e-9):
                break
        A = alpha * np.eye(d) + beta * F.T @ F
        m = beta * np.linalg.solve(A, F.T @ y)
        evidence = n / 2 * math.log(beta) + d / 2 * math.log(alpha) - n / 2 * math.log(2 * math.pi)
        evidence -= beta / 2 * ((F @ m - y) ** 2).sum() + alpha / 2 * m @ m + np.linalg.slogdet(A)[1] / 2
        found.append(evidence / n)
    return float(np.mean(found))


def leep(theta, y):
    """The mean log-likelihood of the labels, by the table of source and target classes."""
    n, sources = theta.shape
    joint = {(c, z): sum(theta[i, z] for i in range(n) if y[i] == c) / n for c in set(y) for z in range(sources)}
    marginal = [sum(joint[c, z] for c in set(y)) for z in range(sources)]
    total = 0.0
    for i in range(n):
        total += math.log(sum(joint[y[i], z] / marginal[z] * theta[i, z] for z in range(sources) if marginal[z]))
    return total / n


def nce(z, y):
    """Minus the conditional entropy, by counting."""
    n, total = len(y), 0.0
    for source in set(z):
        for c in set(y):
            both = sum(a == source and b == c for a, b in zip(z, y, strict=True)) / n
            alone = sum(a == source for a in z) / n
            total += both * math.log(both / alone) if both else 0.0
    return total


def class_means(F, y):
    """Each row's class mean."""
    return np.stack([F[y == c].mean(axis=0) for c in y])


def h_score(F, y):
    """The trace of one covariance in units of the other."""
    return float(np.trace(np.linalg.pinv(np.cov(F, rowvar=False)) @ np.cov(class_means(F, y), rowvar=False)))


def regularized_h_score(F, y):
    """The same with scikit-learn's shrunk covariance."""
    shrunk = LedoitWolf().fit(F)
    between = np.cov(class_means(F, y), rowvar=False, bias=True)
    return float(np.trace(np.linalg.inv(shrunk.covariance_) @ ((1 - shrunk.shrinkage_) * between)))


def trans_rate(F, y, eps):
    """The coding rate of all rows, minus those of the classes, by determinants."""
    Z = F - F.mean(axis=0)
    Z = Z / math.sqrt(np.trace(Z @ Z.T) / len(Z))

    def rate(Z):
        return np.linalg.slogdet(np.eye(Z.shape[1]) + Z.T @ Z / (len(Z) * eps))[1] / 2

    return rate(Z) - sum((y == c).mean() * rate(Z[y == c]) for c in set(y))
