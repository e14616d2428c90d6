"""Plurality votes, counted by hand."""


def vote_shares(P):
    """Return the share of the votes for each class; a tie of a member's own classes goes to the first of them."""
    n_members, n_samples, n_classes = P.shape
    shares = [[0.0] * n_classes for _ in range(n_samples)]
    for i in range(n_samples):
        for k in range(n_members):
            best = 0
            for c in range(n_classes):
                if P[k, i, c] > P[k, i, best]:
                    best = c
            shares[i][best] += 1 / n_members
    return shares


def winners(P):
    """Return the class of most votes for each sample; a tie goes to the first."""
    return [max(range(len(row)), key=lambda c: (round(row[c] * len(P)), -c)) for row in vote_shares(P)]
