"""The greedy soup, with the plain mean of its members computed anew for every trial."""

import torch


def plain_mean(states):
    """Return the mean of states in float64."""
    return {key: torch.stack([state[key].double() for state in states]).mean(0) for key in states[0]}


def greedy_soup(states, score, strict=False, order="score", n_passes=1):
    """Return the positions of the chosen members, in the order in which they joined."""
    ranked = sorted(range(len(states)), key=lambda k: score(plain_mean([states[k]])), reverse=True)
    chosen = ranked[:1]
    line = ranked if order == "score" else range(len(states))
    for turn in range(n_passes):
        for k in line:
            if turn == 0 and k == ranked[0]:
                continue
            before = score(plain_mean([states[i] for i in chosen]))
            after = score(plain_mean([states[i] for i in [*chosen, k]]))
            if after > before or (after == before and not strict and turn == 0):
                chosen.append(k)
    return chosen
