"""Units matched to atoms: the score is twice the gain in log-posterior, and each client's match is the best one."""

import numpy as np
import pytest
from reference.pfnm import every_assignment, log_posterior

from skfusion.merge.clients._beta_bernoulli import Atoms, Prior, matched, scores, scores_of_new

PRIORS = [Prior(1.0, 1.0, 1.0), Prior(0.5, 2.0, 4.0), Prior(2.0, 0.7, 0.1)]


def draws(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("prior", PRIORS, ids=str)
def test_a_score_is_twice_the_gain_in_log_posterior(prior):
    first, second, third = draws(3, 4), draws(2, 4, seed=1), draws(1, 4, seed=2)
    before = [[0, 1, 2], [1, 3]]
    atoms = Atoms(4, 3, prior)
    atoms.sums, atoms.counts = np.zeros((4, 4)), np.zeros(4, np.int64)
    for units, places in zip((first, second), before, strict=True):
        atoms.sums[places] += units
        atoms.counts[places] += 1

    def gain(atom):
        def posterior(*given):
            return log_posterior([first, second, third][: len(given)], given, prior.sigma, prior.sigma0, prior.gamma)

        # the process counts J = 3 clients in any case: a third one without units brings nothing
        with_third = log_posterior([first, second, third], [*before, [atom]], prior.sigma, prior.sigma0, prior.gamma)
        without = log_posterior([first, second, third[:0]], [*before, []], prior.sigma, prior.sigma0, prior.gamma)
        return with_third - without

    found = scores(third, atoms.sums, atoms.counts, 3, prior)[0] / 2
    new = scores_of_new(third, 1, 3, prior)[0] / 2
    np.testing.assert_allclose(np.r_[found, new], [gain(atom) for atom in range(5)])


@pytest.mark.parametrize("prior", PRIORS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_match_of_a_client_is_the_best_of_all(prior, seed):
    first, second = draws(3, 2, seed=seed), draws(3, 2, seed=seed + 10)
    atoms = Atoms(2, 2, prior)
    atoms.match(first)
    found = atoms.match(second)

    def posterior(of_second):
        return log_posterior([first, second], [[0, 1, 2], [*of_second]], prior.sigma, prior.sigma0, prior.gamma)

    best = max(posterior(places) for places in every_assignment(3, 3))
    assert posterior(found) == pytest.approx(best)


def test_taking_a_client_out_undoes_its_match():
    prior, rng = Prior(1.0, 1.0, 1e3), np.random.default_rng(0)
    first, second = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    atoms = Atoms(3, 2, prior)
    atoms.match(first)
    sums, counts = atoms.sums.copy(), atoms.counts.copy()
    number = atoms.remove(second, atoms.match(second))
    np.testing.assert_allclose(atoms.sums, sums)
    assert (atoms.counts == counts).all()
    assert (number[:4] == np.arange(4)).all()
    assert (number[4:] == -1).all()


def test_more_sweeps_do_not_lower_the_posterior():
    units = [draws(6, 3, seed=seed) for seed in range(3)]

    def posterior(n_sweeps):
        found, _ = matched(units, Prior(1.0, 1.0, 1.0), n_sweeps, np.random.default_rng(0))
        total = 0.0
        for atom in {a for of_client in found for a in of_client}:  # the part that does not depend on an order
            own = np.array([u[of_client == atom].sum(0) for u, of_client in zip(units, found, strict=True)])
            n = sum((of_client == atom).sum() for of_client in found)
            total += (own.sum(0) ** 2).sum() / (1 + n) / 2
        return total

    assert posterior(5) >= posterior(0)


def test_a_width_is_never_below_that_of_a_client():
    units = [draws(4, 3), draws(7, 3, seed=1)]
    for most in (1, 5, 9):
        found, width = matched(units, Prior(0.01, 1.0, 1e9, most), 3, np.random.default_rng(0))
        assert width == max(7, min(most, 11))
        assert [len({*of_client.tolist()}) for of_client in found] == [4, 7]


@pytest.mark.parametrize("name", ["sigma", "sigma0", "gamma"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_priors_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a positive number"):
        Prior(**{"sigma": 1.0, "sigma0": 1.0, "gamma": 1.0, name: value}).check("PFNM()")
    with pytest.raises(ValueError, match="max_width must be a whole number"):
        Prior(1.0, 1.0, 1.0, 0).check("PFNM()")
