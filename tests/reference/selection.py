"""Forward selection with replacement, with the whole average and its score computed anew for every candidate."""

import numpy as np


def average_score(P, members, score):
    """Return the score of the plain mean of some members, who may be named many times."""
    total = np.zeros(P.shape[1:])
    for k in members:
        total = total + P[k]
    return score(total / len(members))


def forward_selection(P, score, n_rounds=25, candidates=None, max_members=None, perfect=0.0):
    """Return the members up to the best average, in the order of their addition, and the score after each.

    Scores after the first round are compared to six decimals, and to one more for every zero that the loss of the first
    has after its point, counted from a perfect score. Of equal ones members come first that are in already, then those
    of the lower position.
    """
    candidates = list(range(len(P)) if candidates is None else candidates)
    chosen, scores, compared = [], [], []
    digits = None
    for turn in range(n_rounds if len(candidates) > 1 else 1):
        allowed = candidates
        if max_members is not None and len(set(chosen)) >= max_members:
            allowed = [k for k in candidates if k in chosen]
        found = [average_score(P, [*chosen, k], score) for k in allowed]
        if turn == 0:
            digits = 6
            while 0 < abs(perfect - max(found)) * 10 ** (digits - 6) <= 0.1:
                digits += 1
            ranked = found
        else:
            ranked = [round(s, digits) for s in found]
        best = max(ranked)
        tied = [i for i, s in enumerate(ranked) if abs(s - best) <= 1e-12 * abs(best)]
        known = [i for i in tied if allowed[i] in chosen]
        place = (known or tied)[0]
        chosen.append(allowed[place])
        scores.append(found[place])
        compared.append(round(found[place], digits))
    n = compared.index(max(compared)) + 1
    return chosen[:n], scores[:n]


def log_loss_score(y, weight=None):
    """Return the negative mean log-loss of classes as a function of the average."""

    def score(p):
        losses = [-np.log(max(p[i, y[i]], 2.2e-16)) for i in range(len(y))]
        return -np.average(losses, weights=weight)

    return score


def accuracy_score(y, weight=None):
    """Return the share of right rows as a function of the average."""

    def score(p):
        right = [max(range(p.shape[1]), key=lambda c: (p[i, c], -c)) == y[i] for i in range(len(y))]
        return np.average(np.array(right, float), weights=weight)

    return score
