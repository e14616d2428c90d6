"""Members that are trained independently: deep ensembles, bagging, ensembles over hyperparameters.

A file here is a subclass of :class:`skfusion.collect.Collector` whose runs differ in their seeds (``_seeds``), their
rows (``_bootstrap``) or their settings (``_hyper``), or whose one run leaves many members (``_tabm_members``). It may
import what :mod:`skfusion.collect` may, which also exports it. To add one, copy ``_seeds``.
"""
