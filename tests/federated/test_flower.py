"""The strategy for Flower: messages as Flower makes them, and a federation on its simulation engine."""

import os

import pytest
import torch
from torch import nn

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # read when flwr is imported
flwr = pytest.importorskip("flwr", reason="the extra flower is not installed")

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.serverapp import ServerApp  # noqa: E402
from flwr.supercore.task_identity import TaskIdentity  # noqa: E402

from skfusion.align import WeightMatching  # noqa: E402
from skfusion.federated import FusionStrategy  # noqa: E402
from skfusion.merge import PFNM, FedAvgM, FedMA, Uniform  # noqa: E402
from skfusion.objective import Batch, ModuleObjective, call  # noqa: E402
from skfusion.repair import Recalibrate  # noqa: E402
from skfusion.state import weighted_sum  # noqa: E402
from skfusion.tracing import symmetry_of  # noqa: E402
from skfusion.widths import resized_as  # noqa: E402

X = torch.linspace(-1, 1, 12).reshape(4, 3)


@pytest.fixture(autouse=True)
def a_run(monkeypatch):
    """Messages are those of a run, which an engine numbers."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def perceptron(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))


def state_of(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def reply(state, n=1, **metrics):
    """What a client answers, as Flower packs it."""
    content = RecordDict(
        {"arrays": ArrayRecord(state), "metrics": MetricRecord({"num-examples": n, "loss": float(n), **metrics})}
    )
    return Message(content=content, dst_node_id=1, message_type="train")


class Grid:
    """Nodes that are asked by nobody."""

    def get_node_ids(self):
        return [1, 2]


def sent(strategy, state):
    """Let a strategy send a state, and return it."""
    messages = [*strategy.configure_train(1, ArrayRecord(state), ConfigRecord(), Grid())]
    assert len(messages) == 2
    return strategy


def test_without_parts_it_is_the_mean_by_examples():
    states = [state_of(perceptron(seed)) for seed in range(3)]
    strategy = sent(FusionStrategy(perceptron(), X), states[0])
    arrays, metrics = strategy.aggregate_train(1, [reply(s, n) for s, n in zip(states, (1, 2, 5), strict=True)])
    expected = weighted_sum(states, [1 / 8, 2 / 8, 5 / 8])
    torch.testing.assert_close(dict(arrays.to_torch_state_dict()), expected)
    assert metrics["loss"] == pytest.approx((1 + 4 + 25) / 8)


@pytest.mark.parametrize("parts", [{"align": WeightMatching()}, {"merge": PFNM(correct=True)}, {"merge": FedMA()}])
def test_units_are_matched_before_they_are_averaged(parts):
    net = perceptron()
    state, symmetry = state_of(net), symmetry_of(net, X)
    turned = symmetry.permute(symmetry.sample(1), state)
    strategy = sent(FusionStrategy(perceptron(4), X, **parts), state)
    arrays, _ = strategy.aggregate_train(1, [reply(state, 1), reply(turned, 3)])
    torch.testing.assert_close(call(net, dict(arrays.to_torch_state_dict()), X), net(X))


def test_a_wider_network_is_loaded_in_its_widths():
    states = [state_of(perceptron(seed)) for seed in range(2)]
    strategy = sent(FusionStrategy(perceptron(), X, merge=PFNM(gamma=1e9)), states[0])
    counts = {"class-counts": [3.0, 4.0]}
    arrays, _ = strategy.aggregate_train(1, [reply(s, 7, **counts) for s in states])
    fused = dict(arrays.to_torch_state_dict())
    assert fused["0.weight"].shape == (12, 3)
    module = resized_as(perceptron(), fused)
    torch.testing.assert_close(module(X), strategy.module_(X))
    sent(strategy, fused)  # and the next round begins with it
    arrays, _ = strategy.aggregate_train(2, [reply(fused), reply(fused)])
    assert arrays.to_torch_state_dict()["0.weight"].shape[0] >= 12


def test_the_optimizer_of_the_server_remembers_rounds():
    start = {name: torch.zeros_like(tensor) for name, tensor in state_of(perceptron()).items()}
    ones = {name: torch.ones_like(tensor) for name, tensor in start.items()}
    strategy = sent(FusionStrategy(perceptron(), X, server=FedAvgM(momentum=0.5)), start)
    arrays, _ = strategy.aggregate_train(1, [reply(ones)])
    arrays, _ = sent(strategy, dict(arrays.to_torch_state_dict())).aggregate_train(2, [reply(ones)])
    assert torch.allclose(arrays.to_torch_state_dict()["0.bias"], torch.tensor(1.5))


def test_tied_tensors_which_arrays_do_not_show_stay_equal():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    start, after = state_of(net), {name: tensor + 1 for name, tensor in state_of(net).items()}
    strategy = sent(FusionStrategy(net, X, server=FedAvgM(lr=0.5)), start)
    arrays, _ = strategy.aggregate_train(1, [reply(after)])
    state = dict(arrays.to_torch_state_dict())
    torch.testing.assert_close(state["0.weight"], start["0.weight"] + 0.5)
    torch.testing.assert_close(state["2.weight"], state["0.weight"])


def test_weights_that_are_not_finite_are_left_out():
    state = state_of(perceptron())
    diverged = {name: tensor * float("nan") for name, tensor in state.items()}
    strategy = sent(FusionStrategy(perceptron(), X), state)
    with pytest.warns(UserWarning, match="1 of 2 clients return weights that are NaN"):
        arrays, metrics = strategy.aggregate_train(1, [reply(state, 3), reply(diverged, 5)])
    torch.testing.assert_close(dict(arrays.to_torch_state_dict()), state)
    assert metrics["loss"] == 3
    with pytest.warns(UserWarning, match="1 of 1 clients"):
        assert strategy.aggregate_train(1, [reply(diverged)]) == (None, None)


@pytest.mark.parametrize("merge", [None, FedMA(gamma=1e9)])
def test_statistics_are_those_of_rows_that_the_server_has(merge):
    net = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    other = {name: t + 1 if t.is_floating_point() else t for name, t in state_of(net).items()}
    data = ModuleObjective(net, lambda: [Batch(X, torch.zeros(4))])
    strategy = sent(FusionStrategy(net, X, merge=merge, objective=data, repair=Recalibrate()), state_of(net))
    arrays, _ = strategy.aggregate_train(1, [reply(state_of(net)), reply(other)])
    state = dict(arrays.to_torch_state_dict())
    before = X @ state["0.weight"].T + state["0.bias"]
    torch.testing.assert_close(state["1.running_mean"], before.mean(0))
    torch.testing.assert_close(state["1.running_var"], before.var(0))
    with pytest.raises(ValueError, match="give objective="):
        FusionStrategy(net, X, repair=Recalibrate())


def test_errors_are_left_out_and_bad_replies_named():
    state = state_of(perceptron())
    failed = Message(error=flwr.app.Error(0, "gone"), reply_to=reply(state))
    strategy = sent(FusionStrategy(perceptron(), X, merge=Uniform()), state)
    assert strategy.aggregate_train(1, [failed]) == (None, None)
    arrays, _ = strategy.aggregate_train(1, [failed, reply(state)])
    torch.testing.assert_close(dict(arrays.to_torch_state_dict()), state)
    with pytest.raises(ValueError, match="no metric 'rows'"):
        sent(FusionStrategy(perceptron(), X, weighted_by_key="rows"), state).aggregate_train(1, [reply(state)])
    with pytest.raises(TypeError, match="align must be of the class Aligner"):
        FusionStrategy(perceptron(), X, align=Uniform())


def trained(state, seed):
    """A step of gradient descent on the rows of a client."""
    net = perceptron()
    net.load_state_dict(state)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
    loss = nn.functional.cross_entropy(net(x), (x[:, 0] > 0).long())
    loss.backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= 0.1 * parameter.grad
    return state_of(net), float(loss.detach())


def client_app(shift):
    """A client of its own rows, whose units are in an order of their own; its functions travel to other processes."""
    app = ClientApp()

    @app.train()
    def train(message, context):
        k = int(context.node_config["partition-id"])
        state, loss = trained(dict(message.content["arrays"].to_torch_state_dict()), k)
        order = torch.arange(6).roll(k * shift)
        state |= {"0.weight": state["0.weight"][order], "0.bias": state["0.bias"][order]}
        state["2.weight"] = state["2.weight"][:, order]
        metrics = MetricRecord({"num-examples": k + 1, "loss": loss})
        return Message(RecordDict({"arrays": ArrayRecord(state), "metrics": metrics}), reply_to=message)

    return app


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of flwr and ray
def test_a_federation_on_the_simulation_engine_of_flower():
    from flwr.simulation import run_simulation

    results, app = [], ServerApp()

    @app.main()
    def main(grid, context):
        strategy = FusionStrategy(perceptron(), X, align=WeightMatching(), min_train_nodes=3, fraction_evaluate=0.0)
        results.append(strategy.start(grid, ArrayRecord(perceptron().state_dict()), num_rounds=2))

    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(app, client_app(shift=2), num_supernodes=3, backend_config=resources)
    state = state_of(perceptron())
    for _ in range(2):
        state = weighted_sum([trained(state, k)[0] for k in range(3)], [1 / 6, 2 / 6, 3 / 6])
    torch.testing.assert_close(dict(results[0].arrays.to_torch_state_dict()), state)
