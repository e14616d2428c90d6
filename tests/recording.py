"""A net that writes down what a collector does to it."""

from skorch.callbacks import Callback

from skfusion import nets
from skfusion.testing import _problems as problems

ROWS = problems.rows()


class Recorder(Callback):
    """Writes down learning rates of steps and states of epochs."""

    rates: list = []  # noqa: RUF012
    states: dict = {}  # noqa: RUF012

    def on_train_begin(self, net, **_):
        self.rates.clear()
        self.states.clear()

    def on_batch_end(self, net, training=False, **_):
        if training:
            self.rates.append(net.optimizer_.param_groups[0]["lr"])

    def on_epoch_end(self, net, **_):
        self.states[len(net.history)] = nets.state_of(net)


def collect(collector, **params):
    net = problems.net(callbacks=[("record", Recorder())], **params)
    return collector.collect(net, ROWS.X, ROWS.y, random_state=0)
