"""Paragraphs that the docstrings of elastic bands share."""

BAND = {
    "lr": """\
lr : float, default=0.1
    Learning rate of SGD for half of the training; then it falls linearly to a hundredth at nine tenths of it.""",
    "steps": """\
momentum : float, default=0.9
    Momentum of SGD.
weight_decay : float, default=0.0
    L2 penalty λ on each pivot. That of the networks' own training is a good value.
spring : float, default=inf
    Stiffness of springs between neighbours, which keep pivots apart along the band. Infinite, pivots are moved along
    the band to their distances before each step, which needs no tuning.
random_state : int, default=0
    Seed of the order of the rows.""",
    "notes": """\
A step is one of SGD for each pivot, on a mini-batch that all share, so that their losses can be compared; the
gradients of all are computed as one program where the module allows it. Memory is that of two states a pivot.
BatchNorm uses the statistics of the batch, and is recalibrated where the loss along the band is measured. That is done
on the rows that are trained on, and the straight line is returned where its highest loss is the lower one.

What is equal in both networks stays as it is, and what the module does not train is at each pivot what it is as far
along the straight line.""",
    "references": """\
Henkelman and Jónsson, "Improved tangent estimate in the nudged elastic band method for finding minimum energy paths
and saddle points", Journal of Chemical Physics 113, 2000, doi:10.1063/1.1323224. Draxler et al., "Essentially no
barriers in neural network energy landscape", ICML 2018, arXiv:1803.00885.""",
}
"""What steps of a band do, what they cost, and the papers."""
