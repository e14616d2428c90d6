"""An optimiser with the protocol of schedule-free ones, which keeps both of its points and all of its steps."""

import torch


class ScheduleFree(torch.optim.Optimizer):
    """Schedule-free SGD (Defazio et al., 2024): gradients at y, steps of z, and x, the mean of these, to be judged.

    Steps in the mode of evaluation are refused, as the published optimisers do.
    """

    def __init__(self, params, lr=0.1, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.training, self.n_switches = False, 0

    def _points(self):
        for group in self.param_groups:
            for p in group["params"]:
                point = self.state[p]
                if not point:
                    point.update(x=p.detach().clone(), z=p.detach().clone(), steps=[], weight=0.0)
                yield group, p, point

    @torch.no_grad()
    def train(self):
        self.n_switches += not self.training
        if not self.training:
            for group, p, point in self._points():
                p.copy_((1 - group["momentum"]) * point["z"] + group["momentum"] * point["x"])
        self.training = True

    @torch.no_grad()
    def eval(self):
        if self.training:
            for _, p, point in self._points():
                p.copy_(point["x"])
        self.training = False

    @torch.no_grad()
    def step(self, closure=None):
        assert self.training, "a step in the mode of evaluation"
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group, p, point in self._points():
            if p.grad is None:
                continue
            point["z"] -= group["lr"] * p.grad
            share = group["lr"] ** 2  # with a warm-up it would be that of the largest rate so far
            point["weight"] += share
            point["x"] += share / point["weight"] * (point["z"] - point["x"])
            point["steps"].append(point["z"].clone())
            p.copy_((1 - group["momentum"]) * point["z"] + group["momentum"] * point["x"])
        return loss
