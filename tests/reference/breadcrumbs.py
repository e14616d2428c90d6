"""Model breadcrumbs of one tensor, by sorting."""


def breadcrumbs(base, members, densities, gammas, scale, weights=None):
    """Return the merged tensor as a list of numbers; bounds are kept, and so is all that equals them."""
    n = len(base)
    merged = list(base)
    for member, density, gamma, weight in zip(members, densities, gammas, weights or [1] * len(members), strict=True):
        kept = max(1, round(density * n))
        out = min(round(gamma * n), n - kept)
        change = [t - b for t, b in zip(member, base, strict=True)]
        band = sorted(map(abs, change), reverse=True)[out : out + kept]
        for i, c in enumerate(change):
            if band[-1] <= abs(c) <= band[0]:
                merged[i] += scale * weight * c
    return merged
