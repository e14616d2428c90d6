"""The networks of the last round: they are saved, loaded and run in the widths that clients trained them in."""

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale

from skfusion import EnsembleClassifier, FederatedClassifier, ModelPool, SoupClassifier
from skfusion.merge import PFNM, FedMA, Uniform
from skfusion.nets import mlp_classifier

X, Y = load_wine(return_X_y=True)
X = scale(X).astype(np.float32)
CLIENT = np.arange(len(Y)) % 3
NET = mlp_classifier(module__hidden=(6,), batch_size=16, lr=0.02)


def widths(pool):
    return {member.state["layers.0.weight"].shape[0] for member in pool}


@pytest.mark.parametrize("n_rounds", [1, 2])
@pytest.mark.parametrize("fuse", [PFNM(gamma=1e4, sigma=0.05), FedMA(gamma=1e4, sigma=0.05)], ids=repr)
def test_members_of_an_older_width_are_loaded_with_the_net_of_the_user_and_with_that_of_the_server(
    fuse, n_rounds, tmp_path
):
    federated = FederatedClassifier(NET, fuse=fuse, n_rounds=n_rounds, local_epochs=3, random_state=0)
    federated.fit(X, Y, groups=CLIENT)
    before, after = 6 * 3 ** (n_rounds - 1), 6 * 3**n_rounds  # every unit of every client is new
    assert widths(federated.pool_) == {before}
    assert federated.state_["layers.0.weight"].shape[0] == after
    federated.pool_.save(tmp_path)
    expected = EnsembleClassifier(collect=federated.pool_).fit(X, Y).predict_members(X)
    for net in (NET, federated.net_):
        loaded = ModelPool.load(tmp_path, net)
        for ensemble in (EnsembleClassifier(collect=loaded), EnsembleClassifier(net, collect=federated.pool_)):
            np.testing.assert_allclose(ensemble.fit(X, Y).predict_members(X), expected, atol=1e-6)
        soup = SoupClassifier(net, collect=loaded, merge=Uniform()).fit(X, Y)
        assert soup.state_["layers.0.weight"].shape[0] == before
        assert soup.predict(X).shape == Y.shape


def test_a_net_of_a_wrong_width_is_still_refused_where_no_fusion_has_changed_it(tmp_path):
    federated = FederatedClassifier(NET, n_rounds=1, local_epochs=1, random_state=0).fit(X, Y, groups=CLIENT)
    federated.pool_.save(tmp_path)
    wide = mlp_classifier(module__hidden=(9,))
    with pytest.raises(ValueError, match="trained with another architecture"):
        EnsembleClassifier(collect=ModelPool.load(tmp_path, wide)).fit(X, Y)


def test_a_net_of_another_depth_is_refused_by_name():
    federated = FederatedClassifier(NET, fuse=PFNM(gamma=1e4, sigma=0.05), n_rounds=1, local_epochs=1, random_state=0)
    federated.fit(X, Y, groups=CLIENT)
    deep = mlp_classifier(module__hidden=(6, 6))
    with pytest.raises(ValueError, match=r"'layers\.2\.weight'.*trained with another architecture"):
        EnsembleClassifier(deep, collect=federated.pool_).fit(X, Y)
