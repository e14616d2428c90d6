"""The state of a module in training, read after every step."""

import torch
from torch import nn

from skfusion.nets._live_state import LiveState


def module():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def assert_is_the_state(live, net):
    expected, found = net.state_dict(), live.now()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], v) for k, v in expected.items())
    assert not any(t.requires_grad for t in found.values())


def test_steps_of_an_optimiser_are_seen_without_the_state_being_made_anew():
    net = module()
    live, optimizer = LiveState(net), torch.optim.Adam(net.parameters())
    first = live.now()
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
        assert_is_the_state(live, net)
    assert live.now() is first


def test_tensors_that_are_replaced_are_seen():
    net = module()
    live = LiveState(net)
    with torch.no_grad():
        net[0].weight.data = torch.ones(4, 3)
        assert_is_the_state(live, net)
        net[2].bias = nn.Parameter(torch.full((2,), 5.0))
        assert_is_the_state(live, net)
        net[1].running_mean = torch.full((4,), 7.0)
        assert_is_the_state(live, net)
        net.double()
    assert_is_the_state(live, net)


def test_a_state_of_other_things_than_tensors_of_the_module_is_asked_for_every_time():
    class Renamed(nn.Linear):
        def state_dict(self, *args, **kwargs):
            return {f"own.{k}": v + 1 for k, v in super().state_dict(*args, **kwargs).items()}

    net = Renamed(2, 2)
    live = LiveState(net)
    with torch.no_grad():
        net.weight.fill_(3.0)
    assert float(live.now()["own.weight"][0, 0]) == 4.0


def test_tied_tensors_stand_under_all_their_names():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    live = LiveState(net)
    with torch.no_grad():
        net[0].weight.fill_(2.0)
    assert_is_the_state(live, net)
    assert live.now()["0.weight"].data_ptr() == live.now()["1.weight"].data_ptr()
