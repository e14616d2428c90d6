"""The posterior of matched units, written out: the logarithm that PFNM climbs (Yurochkin et al., 2019, section 3)."""

import math

import numpy as np


def log_posterior(units, atoms, sigma, sigma0, gamma):
    """Return the log-posterior of an assignment with each atom at its best place, without constants of the units.

    ``units[j][l]`` is a vector, and ``atoms[j][l]`` the number of its atom. Clients come in their order, as in the
    process: each shares an atom of m former clients with odds m / (J - m), and brings new ones.
    """
    total, n_clients = 0.0, len(units)
    for atom in {a for of_client in atoms for a in of_client}:
        own = [v for u, a in zip(units, atoms, strict=True) for v, b in zip(u, a, strict=True) if b == atom]
        best = sum(own) / sigma**2 / (1 / sigma0**2 + len(own) / sigma**2)
        total -= sum(((v - best) ** 2).sum() for v in own) / (2 * sigma**2) + (best**2).sum() / (2 * sigma0**2)
    seen = {}
    for of_client in atoms:
        new = [a for a in of_client if a not in seen]
        for a in of_client:
            total += math.log(seen[a] / (n_clients - seen[a])) if a in seen else 0.0
        total += len(new) * math.log(gamma / n_clients) - math.lgamma(len(new) + 1)
        for a in of_client:
            seen[a] = seen.get(a, 0) + 1
    constant = sum((v**2).sum() for u in units for v in u) / (2 * sigma**2)
    return total + constant


def every_assignment(n_units, n_old):
    """Yield each way to give units different atoms, of old ones and new ones that are numbered in order."""

    def extend(done):
        if len(done) == n_units:
            yield done
            return
        n_new = max([a - n_old + 1 for a in done if a >= n_old], default=0)
        for atom in [*range(n_old), n_old + n_new]:
            if atom not in done:
                yield from extend([*done, atom])

    for atoms in extend([]):
        yield np.array(atoms)
