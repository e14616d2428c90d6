"""Optimisers with a mode of training and one of evaluation, as schedule-free ones have."""

import pytest
import torch
from averaging import LABELS, X, Y, assert_close
from averaging import net as small_net
from schedule_free import ScheduleFree
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import nets
from skfusion.average import EMA, LowPrecision, Mean
from skfusion.collect import HWA, PAPA, Averages, Seeds, Snapshots
from skfusion.nets import AverageWeights


class Watching(Callback):
    """Keeps the net, in which mode its optimiser is at each event, and the state there."""

    nets: list = []  # noqa: RUF012
    modes: list = []  # noqa: RUF012
    states: list = []  # noqa: RUF012

    def see(self, net, event):
        self.modes.append((event, net.optimizer_.training))
        self.states.append(nets.state_of(net))

    def on_train_begin(self, net, **_):
        for kept in (self.nets, self.modes, self.states):
            kept.clear()
        self.nets.append(net)

    def on_batch_begin(self, net, training=False, **_):
        self.see(net, "step" if training else "validation")

    def on_epoch_end(self, net, **_):
        self.see(net, "end")

    def on_train_end(self, net, **_):
        self.see(net, "left")


def collect(collector=None, **params):
    defaults = {"optimizer": ScheduleFree, "train_split": None, "module__n_out": 2, "classifier": True}
    callbacks = [("watching", Watching())] if params.pop("watched", True) else []
    net = small_net(*callbacks, **{**defaults, **params})
    collector = Seeds(1, vectorize=False) if collector is None else collector
    return [*collector.collect(net, X, LABELS, random_state=0)]


def steps_of():
    """The points z after each step, by the names of the parameters."""
    (net,) = Watching.nets
    found = {name: net.optimizer_.state[p]["steps"] for name, p in net.module_.named_parameters()}
    n_steps = len(next(iter(found.values())))
    return [{name: steps[i] for name, steps in found.items()} for i in range(n_steps)]


def mean_of(steps):
    return {name: torch.stack([s[name].double() for s in steps]).mean(0) for name in steps[0]}


def test_a_member_is_the_mean_of_the_steps():
    (member,) = collect()
    assert len(steps_of()) == 16
    assert_close(member.state, mean_of(steps_of()), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(next(iter(member.state.values())), next(iter(steps_of()[-1].values())))


def test_without_interpolation_it_is_sgd_with_the_mean_of_polyak():
    (member,) = collect(optimizer__momentum=0.0)
    (polyak,) = collect(Averages(1, average=Mean(2)), optimizer=torch.optim.SGD, watched=False)
    assert_close(member.state, polyak.state, rtol=1e-5, atol=1e-6)


def test_what_does_not_move_is_what_it_was():
    (member,) = collect(lr=1e-30)
    (start,) = collect(optimizer=torch.optim.SGD, lr=0.0, watched=False)
    assert_close(member.state, start.state, rtol=0, atol=0)


def test_steps_are_in_one_mode_and_all_else_in_the_other():
    collect(train_split=ValidSplit(4))
    modes = set(Watching.modes)
    assert modes == {("step", True), ("validation", False), ("end", False), ("left", False)}
    (net,) = Watching.nets
    assert net.optimizer_.n_switches == 4  # once an epoch


def test_validation_sees_the_mean_of_the_steps_so_far():
    collect(train_split=ValidSplit(4))
    events, n = [event for event, _ in Watching.modes], 0
    for event, state in zip(events, Watching.states, strict=True):
        n += event == "step"
        if event in ("validation", "end", "left"):
            assert_close(state, mean_of(steps_of()[:n]), rtol=1e-5, atol=1e-6)
    assert "validation" in events


def test_states_that_a_collector_keeps_are_means():
    pool = collect(Snapshots(2))
    rates = [m.meta["epoch"] for m in pool]
    assert rates == [2, 4]
    (net,) = Watching.nets
    for member, epoch in zip(pool, rates, strict=True):
        ends = [s for (event, _), s in zip(Watching.modes, Watching.states, strict=True) if event == "end"]
        assert_close(member.state, ends[epoch - 1], rtol=0, atol=0)
    for name, p in net.module_.named_parameters():
        torch.testing.assert_close(pool[-1].state[name], net.optimizer_.state[p]["x"])


def test_an_average_of_steps_reads_means_and_leaves_the_steps_alone():
    collect()
    alone = steps_of()
    (member,) = collect(Averages(1, average=EMA(0.5)))
    for one, other in zip(alone, steps_of(), strict=True):
        assert_close(other, one, rtol=1e-5, atol=1e-6)
    means = [mean_of(alone[: i + 1]) for i in range(16)]
    assert_close(member.state, EMA(0.5).of([means[0], *means]), rtol=1e-5, atol=1e-6)


def test_statistics_are_those_at_the_mean():
    (member,) = collect(train_split=ValidSplit(4), module__norm=True)
    module = Watching.nets[0].module_
    train, _ = Watching.nets[0].get_split_datasets(torch.from_numpy(X), torch.from_numpy(LABELS))
    x = torch.from_numpy(X)[train.indices]
    norm = next(name for name, part in module.named_modules() if isinstance(part, nn.BatchNorm1d))
    seen = []
    hook = module.get_submodule(norm).register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    with torch.no_grad():
        module.eval()(x)
    hook.remove()
    torch.testing.assert_close(member.state[f"{norm}.running_mean"], seen[0].mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(member.state[f"{norm}.running_var"], seen[0].var(0), rtol=1e-4, atol=1e-5)
    validated = [s for (event, _), s in zip(Watching.modes, Watching.states, strict=True) if event == "validation"]
    assert_close(validated[-1], {f"{norm}.running_mean": seen[0].mean(0)}, rtol=1e-4, atol=1e-5)


def test_statistics_do_not_change_the_steps():
    class Plain(ScheduleFree):
        """The same steps, whose modes are switched by hand and never for a validation."""

        train = eval = None

        def __init__(self, params, **settings):
            super().__init__(params, **settings)
            ScheduleFree.train(self)

    collect(module__norm=True)
    steps = steps_of()
    collect(module__norm=True, optimizer=Plain)
    for one, other in zip(steps, steps_of(), strict=True):
        assert_close(other, one, rtol=1e-5, atol=1e-6)


def test_it_is_not_vectorized_and_says_why():
    with pytest.warns(UserWarning, match="ScheduleFree"):
        collect(Seeds(4, vectorize=True))


def test_what_changes_weights_between_steps_is_refused():
    with pytest.raises(ValueError, match="optimiser has the methods train.. and eval.., as schedule-free ones have"):
        small_net(AverageWeights(EMA()), optimizer=ScheduleFree).fit(X, Y)
    with pytest.raises(
        ValueError, match=r"LowPrecision\(\) changes the weights after each step, which a schedule-free"
    ):
        collect(Averages(1, average=LowPrecision()))
    for population in (PAPA(2), HWA(1)):
        with pytest.raises(ValueError, match="change each other's weights between two steps, and a schedule-free"):
            collect(population)
