"""Weights of a soup tuned by Optuna's own loop, from the formula."""

import numpy as np
import optuna


def tuned_weights(states, score, make_sampler, n_trials, bound):
    """Return the best weights of starts and trials; ``score(weights)`` judges weights in the order of the states."""
    K = len(states)
    own = [score(np.eye(K)[k]) for k in range(K)]
    ranked = sorted(range(K), key=lambda k: -own[k])
    members = [ranked[0]]
    for k in ranked[1:]:
        grown = [*members, k]
        if score(share(grown, K)) >= score(share(members, K)):
            members = grown
    starts = [np.full(K, 1 / K), share(members, K), *(np.eye(K)[k] for k in ranked)]
    best = max(starts, key=score)
    told = []
    for weights in starts:
        if not any(np.array_equal(weights, known) for known in told):
            told.append(weights)
    best_score = score(best)
    study = optuna.create_study(direction="maximize", sampler=make_sampler())
    for weights in told:
        low = -bound if (weights == 0).any() else 0.0
        high = bound if (weights == 0).any() else 0.0
        study.enqueue_trial({f"rank{r}": high if weights[k] > 0 else low for r, k in enumerate(ranked)})

    def value(trial):
        nonlocal best, best_score
        z = [trial.suggest_float(f"rank{r}", -bound, bound) for r in range(K)]
        if trial.number < len(told):
            return score(told[trial.number])
        weights = np.zeros(K)
        for r, k in enumerate(ranked):
            weights[k] = np.exp(z[r]) / np.sum(np.exp(z))
        found = score(weights)
        if found > best_score:
            best, best_score = weights, found
        return found

    study.optimize(value, n_trials=len(told) + n_trials)
    return best


def share(members, K):
    """Return the weights of the uniform soup of some members."""
    return np.array([1 / len(members) if k in members else 0.0 for k in range(K)])
