"""Digests of what fits give, before and after a change of the house that may not change any result.

    OMP_NUM_THREADS=1 python tests/recorded_cases.py            # compare with tests/recorded_cases.json
    OMP_NUM_THREADS=1 python tests/recorded_cases.py record     # write it anew

The digests are those of one processor with one thread, so both runs are made on the same machine. No test runs this.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import skfusion as sf
from skfusion import align, collect, combine, compare, connect, forests, merge, nets, tuning
from skfusion.checkpoints import merge_checkpoints
from skfusion.diagnose import diagnose, pairwise
from skfusion.pool import ModelPool

torch.set_num_threads(1)
digits = load_digits()
D, T = (digits.data / 16).astype(np.float32)[:300], digits.target[:300]
E, U = (digits.data / 16).astype(np.float32)[300:500], digits.target[300:500]
iris = load_iris()
diabetes = load_diabetes()
B, V = diabetes.data.astype(np.float32)[:200], diabetes.target[:200]


def digest(*values) -> str:
    """Return a short hash of arrays, states, pools, frames and numbers."""
    h = hashlib.sha256()

    def put(v):
        if isinstance(v, ModelPool):
            for m in v:
                put(m.name)
                put(m.state)
                put(-1.0 if m.score is None else float(m.score))
                put([] if m.rows is None else np.asarray(m.rows))
                put(json.dumps([r.get("train_loss") for r in m.meta.get("history", [])], default=float))
        elif isinstance(v, pd.DataFrame):
            put(list(map(str, v.columns)))
            for c in v.columns:
                if not any(word in str(c) for word in ("time", "second", "_us_")):
                    put([str(x) for x in v[c]])
        elif isinstance(v, dict):
            for k in v:
                put(k)
                put(v[k])
        elif isinstance(v, torch.Tensor):
            put(v.detach().numpy())
        elif isinstance(v, np.ndarray):
            h.update(str((v.dtype, v.shape)).encode() + np.ascontiguousarray(v).tobytes())
        elif isinstance(v, (list, tuple)):
            for x in v:
                put(x)
        else:
            h.update(repr(v).encode())

    for value in values:
        put(value)
    return h.hexdigest()[:20]


def mlp(**more):
    return nets.mlp_classifier(**({"max_epochs": 6, "lr": 0.01} | more))


def reg(**more):
    return nets.mlp_regressor(**({"max_epochs": 6, "lr": 0.01} | more))


def soup_default():
    est = sf.SoupClassifier(mlp(), random_state=0).fit(D, T)
    return digest(est.pool_, est.state_, est.predict_proba(E))


def soup_aligned_repaired_weights():
    w = np.arange(300) % 3 + 0.5
    net = mlp(module__norm="batch")
    est = sf.SoupClassifier(
        net, collect=collect.Seeds(3), align=align.WeightMatching(), merge=merge.Uniform(), random_state=1
    )
    est.fit(D, T, sample_weight=w)
    return digest(est.pool_, est.state_, est.predict_proba(E))


def soups_of_fine_tunes():
    out = []
    for merger in [
        merge.TIES(),
        merge.DARE(),
        merge.Fisher(),
        merge.RegMean(),
        merge.Learned(),
        merge.AdaMerging(),
        merge.RobustSoup(),
    ]:
        est = sf.SoupClassifier(mlp(), collect=collect.FineTunes(n_members=3), merge=merger, random_state=2).fit(D, T)
        out += [est.state_, est.predict_proba(E)]
    return digest(out)


def ensembles():
    groups = np.arange(300) // 3
    out = []
    for c, k in [
        (collect.Bootstrap(4), combine.EnsembleSelection()),
        (collect.Snapshots(3), combine.Stack()),
        (collect.FastGeometric(), combine.Vote()),
        (collect.Averages(2), combine.WeightedAverage()),
        (collect.Tail(), combine.Average()),
        (collect.Boosting(3), combine.GeometricAverage()),
        (collect.Hyper([{"lr": 0.01}, {"lr": 0.03}, {"lr": 0.05, "module__hidden": (8,)}]), combine.DynamicSelection()),
    ]:
        est = sf.EnsembleClassifier(mlp(), collect=c, combine=k, random_state=3).fit(D, T, groups=groups)
        out += [est.pool_, est.predict_proba(E)]
    return digest(out)


def regressions():
    est = sf.EnsembleRegressor(reg(), collect=collect.Seeds(3), random_state=0).fit(B, V)
    avg = sf.WeightAveragingRegressor(reg(), random_state=0).fit(B, V, groups=np.arange(200) // 2)
    snap = sf.SnapshotEnsembleRegressor(reg(), random_state=0).fit(B, V, sample_weight=np.arange(200) % 4 + 1.0)
    boost = sf.BoostingFusion(reg(), random_state=0).fit(B, V)
    bag = sf.BaggingFusion(reg(), random_state=0).fit(B, V)
    X, Y = make_regression(120, 5, n_targets=2, random_state=0)
    two = sf.SoupRegressor(reg(), random_state=0).fit(X.astype(np.float32), Y)
    each = [est, avg, snap, boost, bag]
    return digest([e.predict(B) for e in each], [e.pool_ for e in each], two.predict(X.astype(np.float32)))


def stacking_and_rebasin():
    X, y = iris.data.astype(np.float32), iris.target
    st = sf.StackingFusion(
        estimators=[("a", mlp()), ("b", mlp(lr=0.03)), ("c", LogisticRegression())], random_state=0, cv=3
    )
    st.fit(X, y, sample_weight=np.arange(150) % 2 + 1.0)
    rb = sf.ReBasinMerger(mlp(), random_state=0).fit(X, y)
    return digest(st.predict_proba(X), rb.predict_proba(X), rb.pool_)


def curves():
    out = []
    for c in [connect.Bezier(), connect.PolyChain(), connect.Fourier(), connect.Line()]:
        net = mlp(module__norm="batch") if isinstance(c, connect.Bezier) else mlp()
        est = sf.CurveClassifier(net, collect=collect.Seeds(2), connect=c, random_state=0).fit(D, T)
        out += [est.predict_proba(E), est.pool_]
    am = sf.CurveRegressor(reg(), collect=collect.Seeds(2), align=align.ActivationMatching(), random_state=0).fit(B, V)
    return digest(out, am.predict(B))


def space(trial):
    return {"merge": [merge.Uniform(), merge.Greedy()][trial.suggest_int("merge", 0, 1)]}


def searches_and_leaderboards():
    table = compare.compare_fusions(
        {
            "soup": sf.SoupClassifier(mlp(), random_state=0),
            "ensemble": sf.EnsembleClassifier(mlp(), random_state=0),
            "swa": sf.WeightAveragingClassifier(mlp(), random_state=0),
        },
        D,
        T,
        cv=2,
        random_state=0,
    )
    search = tuning.FusionSearch(sf.SoupClassifier(mlp(), random_state=0), space, n_trials=3, cv=2, random_state=0)
    search.fit(D, T)
    sw = sf.SoupClassifier(
        mlp(), collect=collect.FineTunes(n_members=3), merge=tuning.SoupWeights(n_trials=8), random_state=0
    ).fit(D, T)
    scores = cross_val_score(sf.SoupClassifier(mlp(), random_state=0), D, T, cv=3)
    return digest(
        table if isinstance(table, pd.DataFrame) else str(table),
        search.best_score_,
        search.predict_proba(E),
        sw.state_,
        scores,
    )


def students_and_dropout():
    y = T.copy()
    y[::2] = -1
    te = sf.TemporalEnsemblingClassifier(mlp(), random_state=0).fit(D, y)
    pi = sf.PiModelClassifier(mlp(), random_state=0).fit(D, y)
    teacher = sf.EnsembleClassifier(mlp(), collect=collect.Seeds(2), random_state=0)
    di = sf.DistillClassifier(mlp(), teacher=teacher, random_state=0).fit(D, T)
    dr = sf.DropoutEnsembleClassifier(mlp(module__dropout=0.2), random_state=0).fit(D, T)
    ea = sf.EnsembleOfAveragesClassifier(mlp(), random_state=0).fit(D, T)
    fg = sf.FastGeometricEnsembleRegressor(reg(), random_state=0).fit(B, V)
    return digest([e.predict_proba(E) for e in (te, pi, di, dr, ea)], fg.predict(B))


def deep_forests():
    a = forests.DeepForestClassifier(random_state=0).fit(D[:120], T[:120])
    b = forests.DeepForestRegressor(random_state=0).fit(B, V)
    c = forests.NeuralDecisionForestClassifier(mlp(), random_state=0).fit(D, T)
    return digest(a.predict_proba(E), b.predict(B), c.predict_proba(E))


def pools_files_and_reports():
    est = sf.EnsembleClassifier(mlp(), collect=collect.Seeds(3), random_state=0).fit(D, T)
    pool = est.pool_
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for m in pool:
            torch.save(m.state, root / f"{m.name}.pt")
        merge_checkpoints([root / f"{m.name}.pt" for m in pool], root / "out.safetensors", merge.Uniform())
        merged = hashlib.sha256((root / "out.safetensors").read_bytes()).hexdigest()
    report = diagnose(pool, E, U, random_state=0)
    line = pairwise(pool, E, U)
    found = sf.SoupClassifier(mlp(), collect=pool, merge=merge.Greedy()).fit(E, U)
    return digest(merged, report.pairs, report.members, line, found.state_, found.predict_proba(D))


CASES = [
    soup_default,
    soup_aligned_repaired_weights,
    soups_of_fine_tunes,
    ensembles,
    regressions,
    stacking_and_rebasin,
    curves,
    searches_and_leaderboards,
    students_and_dropout,
    deep_forests,
    pools_files_and_reports,
]


def main() -> int:
    """Run the cases; return the number of those that differ."""
    file = Path(__file__).with_suffix(".json")
    names = set(sys.argv[1:]) - {"record"}
    was = json.loads(file.read_text()) if file.exists() else {}
    now, bad = {}, 0
    for case in CASES:
        if names and case.__name__ not in names:
            continue
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                now[case.__name__] = case()
            except Exception as error:  # shown, and the other cases go on
                traceback.print_exc()
                now[case.__name__] = repr(error)
        same = was.get(case.__name__) == now[case.__name__]
        bad += not same
        seconds = time.perf_counter() - begin
        print(f"{case.__name__:34} {now[case.__name__]} {'same' if same else 'DIFFERS'} {seconds:.1f} s")
    if "record" in sys.argv:
        file.write_text(json.dumps(was | now, indent=1) + "\n")
    return bad


if __name__ == "__main__":
    sys.exit(main())
