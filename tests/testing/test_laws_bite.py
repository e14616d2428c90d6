"""Every law fails on a component that breaks it."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.dataset import ValidSplit

from skfusion import EnsembleClassifier, ModelPool, SoupClassifier, nets
from skfusion._component import Component
from skfusion.align import ActivationMatching, Aligner, Alignment, PermutationAlignment, Transport, WeightMatching
from skfusion.average import EMA, Accumulator, Average, Running
from skfusion.collect import Seeds
from skfusion.combine import Combiner
from skfusion.connect import Bezier, Connector, Line, Path, PathBasis, SimplexPerMode, Spokes, StarDomain
from skfusion.merge import Merger, Uniform
from skfusion.nets import mlp_classifier
from skfusion.pool import Member, MemoryStore
from skfusion.repair import Recalibrate, Repairer
from skfusion.reuse import Found, Reuser, Search
from skfusion.select import Selector, TopK
from skfusion.state import Fused, check_compatible, map_tensors, weighted_sum
from skfusion.symmetry import Symmetry
from skfusion.testing import _problems as problems
from skfusion.testing import laws
from skfusion.testing._laws_chance import memorising_net
from skfusion.widths import resized

SMALL_NET = mlp_classifier(max_epochs=2, module__hidden=(4,))


def search(call):
    """A search of a given call ``(pool, X, y)``."""
    return type("Broken", (Search,), {"__call__": lambda self, pool, X, y=None: call(pool, X, y)})()


class Broken(Reuser):
    """Predicts as a function of the models, in the order in which the pool has them, and of rows."""

    def __init__(self, predict=None):
        self.predict = predict

    def fit(self, found, X, y, classes, seed):
        self.pool_ = found.pool
        return self

    def __call__(self, X):
        return self.predict(self.pool_, X)


def reuser(predict):
    """A reuser that predicts by a function of the pool and of rows."""
    return Broken(predict)


class Forgetting(Reuser):
    """Loses what it has learned when it is pickled."""

    def fit(self, found, X, y, classes, seed):
        self.P_ = np.array([1.0, 0.0, 0.0])
        return self

    def __call__(self, X):
        return np.tile(self.P_, (len(X), 1))

    def __setstate__(self, stored):
        vars(self).update(P_=np.array([0.0, 1.0, 0.0]))


def merger(call, **attributes):
    """A merger of a given call ``(self, states)``."""

    def __call__(self, states, base=None, objective=None):
        return call(self, states)

    return type("Broken", (Merger,), {"__call__": __call__, **attributes})()


def average(coefficients=None, **methods):
    """A mean of all states, some of whose methods are others; ``coefficients(n)`` may be given as well."""

    def begin(self, total):
        return type("Broken", (AllStates,), methods)()

    def equal(self, n):
        return [1 / n] * n if coefficients is None else coefficients(n)

    return type("Broken", (Average,), {"begin": begin, "coefficients": equal})()


class AllStates(Running):
    """Adds up all states."""

    def __init__(self):
        self.kept = Accumulator()

    def update(self, number, state):
        self.kept.mix(1, state, 1)
        self.n += 1

    def result(self):
        return self.kept.mean()


def keeps_references(self, number, state):
    """Keep the live tensors, which are all the last state in the end."""
    self.n += 1
    self.states = [*getattr(self, "states", []), state]


def mean_of_references(self):
    return weighted_sum(self.states, [1 / self.n] * self.n)


def keeps_all(self, number, state):
    AllStates.update(self, number, state)
    self.copies = [*getattr(self, "copies", []), map_tensors(torch.clone, state)]


def adds_in_half_precision(self, number, state):
    self.n += 1
    before = getattr(self, "total", {k: torch.zeros_like(v) for k, v in state.items()})
    self.total = {k: before[k] + v for k, v in state.items() if v.is_floating_point()}


def repairer(call):
    """A repairer of a given call ``(state, members, objective)``."""
    return type("Broken", (Repairer,), {"__call__": lambda self, *args: call(*args)})()


def aligner(call, align_all=None, table=None):
    """An aligner of a given call ``(state, reference, symmetry, objective)``."""

    def as_alignment(perms, symmetry):
        if isinstance(perms, Transport):
            return perms
        if table is None:
            return PermutationAlignment(perms, symmetry)
        methods = {"apply": lambda self, state: symmetry.permute(perms, state), "describe": lambda self: table}
        return type("Described", (Alignment,), methods)()

    def __call__(self, state, reference, symmetry=None, objective=None):
        return as_alignment(call(state, reference, symmetry, objective), symmetry)

    def of_all(self, states, symmetry=None, objective=None):
        return [as_alignment(perms, symmetry) for perms in align_all(states, symmetry)]

    methods = {} if align_all is None else {"align_all": of_all}
    return type("Broken", (Aligner,), {"__call__": __call__, **methods})()


def matched(state, reference, symmetry, objective):
    return WeightMatching()(state, reference, symmetry)


def resting(state, reference, symmetry, objective):
    return symmetry.identity()


def transporting(out, into, n_groups=None):
    """A call that returns a transport of some groups, whose maps are multiples of the identity."""

    def call(state, reference, symmetry, objective):
        eyes = {g: np.eye(p.shape[-1]) for g, p in [*symmetry.identity().items()][:n_groups]}
        return Transport({g: (out * eye, into * eye) for g, eye in eyes.items()}, symmetry)

    return call


def by_the_first_batch(state, reference, symmetry, objective):
    return ActivationMatching(n_batches=1)(state, reference, symmetry, objective)


def without_weights(state, reference, symmetry, objective):
    plain = problems.fed(objective, [b._replace(weight=None) for b in objective.batches()])
    return ActivationMatching()(state, reference, symmetry, plain)


def shuffling(state, reference, symmetry, objective):
    return symmetry.sample(0)


def doubling(state, reference, symmetry, objective):
    """Units 0 and 1 both take the place of unit 0."""
    return {g: np.where(p == 1, 0, p) for g, p in matched(state, reference, symmetry, objective).items()}


class Careless(Symmetry):
    """Does not look at permutations."""

    def complete(self, perms):
        return {**self.identity(), **perms}


def unchecked(state, reference, symmetry, objective):
    symmetry.__class__ = Careless
    return doubling(state, reference, symmetry, objective)


def first_of(*args):
    """Leave out all groups but the first."""
    return dict([*matched(*args).items()][:1])


def connector(call, **attributes):
    """A connector of a given call ``(states, objective)``."""

    def __call__(self, states, objective=None):
        return call(states, objective)

    return type("Broken", (Connector,), {"__call__": __call__, **attributes})()


def line_with(weights):
    """A connector whose line has the coefficients ``weights(t)``."""
    basis = type("Odd", (PathBasis,), {"weights": lambda self, t, n: np.asarray(weights(t))})()
    return connector(lambda states, objective: Path(line(states).controls, basis))


def line_whose(**methods):
    """A connector whose line has a basis with other methods."""
    weights = {"weights": lambda self, t, n: np.array([1 - t, t])}
    basis = type("Odd", (PathBasis,), weights | methods)()
    return connector(lambda states, objective: Path(line(states).controls, basis))


def line_of(change):
    """A connector whose line joins other states: ``change(states)``."""
    return connector(lambda states, objective: Path(change(line(states).controls), Line()))


def bent(change, **attributes):
    """A connector that draws a curve with the bends ``change(a, b, middle, away)``; the last is noise."""

    def call(states, objective):
        a, b = line(states).controls
        generator = torch.Generator().manual_seed(0)
        noise = {k: torch.randn(v.shape, generator=generator).to(v.dtype) for k, v in a.items()}
        middle = line(states).at(0.5)
        away = {k: v + noise[k] * v.std() if v.dim() == 2 else v for k, v in middle.items()}
        return Path([a, *change(middle, away), b], Bezier())

    return connector(call, **attributes)


def star(change):
    """A connector of two networks to a centre off their line, of the states ``change(centre, a, b)``."""

    def call(states, objective):
        check_compatible(states, ["first", "second"][: len(states)])
        path = bent(lambda middle, away: [away])(states[:2], objective)
        a, centre, b = path.controls
        return StarDomain(change(weighted_sum([a, centre], [0.9, 0.1]), a, b), Spokes(2))

    return connector(call, n_states=None)


def selector(call):
    """A selector of a given call ``(pool, objective)``."""
    return type("Broken", (Selector,), {"__call__": lambda self, pool, objective=None: call(pool, objective)})()


def collector(call):
    """A collector of a given call ``(net, rows, rng, n_jobs)``."""

    def __call__(self, net, rows, rng, *, n_jobs=None, progress=None):
        return call(net, rows, rng, n_jobs)

    return type("Broken", (Seeds,), {"__call__": __call__})()


def vectorizing(change):
    """A collector that changes the members by ``change(member)`` where it vectorizes them."""

    def __call__(self, net, rows, rng, *, n_jobs=None, progress=None):
        pool = seeds(net, rows, rng)
        return pool.replace([change(member) for member in pool]) if self.vectorize is True else pool

    return type("Broken", (Seeds,), {"__call__": __call__})()


def lossless(row):
    return {**row, "train_loss": 0.0}


def combiner(call, **attributes):
    """A combiner of a given call ``(self, P)``."""
    return type("Broken", (Combiner,), {"__call__": call, **attributes})()


def store(**methods):
    """A store with some methods replaced."""
    return type("Broken", (MemoryStore,), methods)()


def estimator(**methods):
    """An ensemble with some methods replaced."""
    return type("Broken", (EnsembleClassifier,), methods)(clone(SMALL_NET), collect=Seeds(2))


def mean(states):
    return Uniform()(states)


def seeds(net, rows, rng, n_jobs=None):
    return Seeds(2)(net, rows, rng)


# ---- all components ----------------------------------------------------------------------------------------------


def with_parameter(**attributes):
    """A merger with a parameter ``k``."""

    def __init__(self, k=1):
        self.k = k

    return merger(lambda self, states: mean(states), **{"__init__": __init__, **attributes})


def converts(self, k=1):
    self.k = [k]


def sets_more(self, k=1):
    self.k, self.more = k, 1


def mutable_default(self, k=[]):  # noqa: B006
    self.k = k


def takes_anything(self, **params):
    vars(self).update(params)
    return self


def counts_up(self, states):
    self.k += 1
    return mean(states)


def by_place(self, states):
    first, *others = states
    columns = zip(*(s.values() for s in others), strict=True)
    found = {k: [t for t in c if t.shape == v.shape] for (k, v), c in zip(first.items(), columns, strict=True)}
    return {k: torch.stack([v, *found[k]]).amax(0) for k, v in first.items()}


def by_memory(self, states):
    return scaled(len({t.data_ptr() for t in states[0].values()}))(self, states)


def writes(self, states):
    states[0]["0.bias"].add_(1)
    return mean(states)


def draws(self, states):
    torch.rand(1)
    return mean(states)


def draws_from_numpy(self, states):
    np.random.rand()  # noqa: NPY002
    return mean(states)


def true_noise(self, states):
    return mean(states) | {"3.bias": torch.from_numpy(np.frombuffer(os.urandom(8), np.int32) / 1e9).float()}


# ---- mergers -----------------------------------------------------------------------------------------------------


def scaled(factor):
    def call(self, states):
        return {k: v * factor if v.is_floating_point() else v for k, v in mean(states).items()}

    return call


def shrinks_single(self, states):
    return mean([*states, scaled(0.5)(self, states)]) if len(states) == 1 else mean(states)


def sorts_units(self, states):
    found = mean(states)
    return found | {"0.bias": found["0.bias"].sort().values}


def sums_counters(self, states):
    key = "1.num_batches_tracked"
    return mean(states) | {key: sum(s[key] for s in states)}


def of_the_last(self, states):
    key = "1.num_batches_tracked"
    return mean(states) | {key: states[0][key].clone()}


def unties(self, states):
    return {k: v.clone() for k, v in mean(states).items()}


def twice_as_wide(share, with_module=True):
    """A merger that has each hidden unit twice, and reads each of them by a share."""

    def call(self, states):
        state = mean(states)
        wide = {
            k: torch.cat([v, v], problems.HIDDEN_AXES[k]) if k in problems.HIDDEN_AXES else v for k, v in state.items()
        }
        wide["3.weight"] = share * wide["3.weight"]
        net = resized(problems.module(), problems.inputs(), {"0": 2 * problems.N_HIDDEN})
        return Fused(wide, net.to(state["0.weight"].dtype) if with_module else None)

    return call


def without_nan(self, states):
    return map_tensors(lambda *t: torch.stack(t).nan_to_num(0, 0, 0).double().mean(0).to(t[0].dtype), *states)


def what_fits(self, states):
    first = states[0]
    return {k: mean([{k: s[k]} for s in states if k in s and s[k].shape == v.shape])[k] for k, v in first.items()}


# ---- repairers ---------------------------------------------------------------------------------------------------


def recalibrate(state, members, objective):
    return Recalibrate()(state, members, objective)


def always_writes(state, members, objective):
    found = recalibrate(state, [], objective)
    return {**found, "1.running_mean": found["1.running_mean"] + 1}


def half_way(state, members, objective):
    return weighted_sum([state, Recalibrate()(state, members, objective)], [0.5, 0.5])


def drops_the_counter(state, members, objective):
    return {k: v for k, v in recalibrate(state, members, objective).items() if "tracked" not in k}


def reads_labels(state, members, objective):
    shift = sum(float(batch.y.sum()) for batch in objective.batches())
    return {**state, "3.bias": state["3.bias"] + shift}


def leaves_eval(state, members, objective):
    found = recalibrate(state, members, objective)
    objective.module.eval()
    return found


def leaves_hooks(state, members, objective):
    next(objective.module.children()).register_forward_pre_hook(lambda module, args: None)
    return recalibrate(state, members, objective)


def leaves_train_after_an_error(state, members, objective):
    modes = [(m, m.training) for m in objective.module.modules()]
    objective.module.train()
    for batch in objective.batches():
        objective.forward(state, batch.x)
    for module, mode in modes:
        module.training = mode
    return state


# ---- connectors --------------------------------------------------------------------------------------------------


def line(states, objective=None):
    return Line()(states)


def without_the_second(states, objective):
    complex_of = SimplexPerMode(n_connectors=0)(states)
    return complex_of.replace(own_states=(0,))


def nudged(states):
    a, b = states
    return [a, b | {"3.bias": b["3.bias"] + 1e-6}]


class Crooked(Path):
    """Goes through its points at another speed than its coefficients say."""

    def at(self, t):
        return Path.at(self, t**2)


class Casting(Path):
    """Gives other tensors than it was made of, but for its ends."""

    def at(self, t):
        found = Path.at(self, t)
        return found if t in (0, 1) else {k: self.change(v) for k, v in found.items()}

    change = staticmethod(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


class Lengthening(Casting):
    """Adds an axis."""

    change = staticmethod(lambda tensor: tensor[None])


def leaves_training(states, objective):
    objective.module.train()
    return line(states)


def leaves_training_after_an_error(states, objective):
    modes = [(m, m.training) for m in objective.module.modules()]
    objective.module.train()
    for batch in objective.batches():
        objective.forward(states[0], batch.x)
    for module, mode in modes:
        module.training = mode
    return line(states)


def writes_to_the_module(states, objective):
    with torch.no_grad():
        objective.module[3].bias.add_(1)
    return line(states)


def the_outer_two(states, objective):
    return line([states[0], states[-1]])


def of_any_number(states, objective):
    if len(states) != 2:
        raise ValueError("This joins two networks.")
    return line(states)


def unlike_too(states, objective):
    return line(states) if len(states) != 2 or finite(states) != [True, True] else Path(states, Line())


def tersely(states, objective):
    if any(a.keys() ^ b.keys() or any(a[k].shape != b[k].shape for k in a) for a, b in [states[:2]] if states[1:]):
        raise ValueError("The networks are of unlike architectures.")
    return line(states)


def finite(states):
    return [all(bool(v.isfinite().all()) for v in s.values()) for s in states]


def diverged_too(states, objective):
    return line([{k: v.nan_to_num(0, 0, 0) for k, v in s.items()} for s in states])


def without_a_name(states, objective):
    if not all(finite(states)):
        raise ValueError("A network holds NaN or infinity.")
    return line(states)


# ---- combiners ---------------------------------------------------------------------------------------------------


def constant(self, P):
    return np.full(P.shape[1:], 1 / P.shape[2])


def total(self, P):
    return P.sum(axis=0)


def first_column(self, P):
    return P.mean(axis=0)[:, :1]


def centred(self, P):
    return P.mean(axis=0) - P.mean(axis=(0, 1))


def shifted(self, P):
    return P.mean(axis=0) + self.shift


def fit_without_weights(self, P, y, task, sample_weight=None):
    self.shift = P.mean()
    return self


def no_regression(self, task):
    if task == "regression":
        raise ValueError("no values")


def fit_all(self, P, y, task, sample_weight=None):
    return self


def refuse_all(self, task):
    raise ValueError("nothing is good enough")


# ---- stores ------------------------------------------------------------------------------------------------------


def put_single_precision(self, member):
    MemoryStore.put(self, member.replace(score=float(np.float32(member.score))))


def put_once(self, member):
    if member.name not in self.names():
        MemoryStore.put(self, member)


def put_last(self, member):
    self._members.pop(member.name, None)
    MemoryStore.put(self, member)


def put_itself(self, member):
    self._members[member.name] = member


def put_unfitted(self, member):
    MemoryStore.put(self, member)
    if not member.is_network:
        self._members[member.name] = member.replace(estimator=clone(member.estimator).fit([[0], [1]], ["b", "a"]))


def refuse_estimators(self, member):
    if not member.is_network:
        raise ValueError("no estimators here")
    MemoryStore.put(self, member)


def put_and_refuse(self, member):
    MemoryStore.put(self, member)
    if not member.is_network:
        raise ValueError(f"no estimators here, as {member.name!r}")


# ---- estimators --------------------------------------------------------------------------------------------------


def turned(self, X):
    return EnsembleClassifier._predict(self, X)[:, [1, 2, 0]]


def fuse_less(self, pool, X, y, sample_weight=None, held_out=None):
    return EnsembleClassifier.fuse(self, pool[:1], X, y)


def fuse_networks(self, pool, X, y, sample_weight=None, held_out=None):
    """Other members are dropped without a word."""
    networks = [m for m in pool if m.is_network]
    return EnsembleClassifier.fuse(self, pool.replace(networks), X, y, sample_weight, held_out)


def refuse_all_pools(self, pool, X, y, sample_weight=None, held_out=None):
    if all(m.is_network for m in pool):
        return EnsembleClassifier.fuse(self, pool, X, y, sample_weight, held_out)
    raise TypeError("no")


class Forgetful(EnsembleClassifier):
    """Loses members in a pickle."""

    def __setstate__(self, state):
        vars(self).update({**state, "members_": state["members_"][:1]})


def fit_first(change):
    """A fit that does something else first."""

    def fit(self, X, y, sample_weight=None, groups=None):
        change(self, X)
        return EnsembleClassifier.fit(self, X, y, sample_weight, groups)

    return fit


def forgetting(self, X, y, *others, **named):
    """Rows that are taken for different ones, though they are copies."""
    rows = SoupClassifier._rows(self, X, y, *others, **named)
    vars(rows).update(dict.fromkeys(("keys", "input_keys"), np.arange(len(rows), dtype=np.uint64)))
    return rows


def repeating(self, X, y, sample_weight=None, groups=None):
    """Weights are repetitions before the rows are split, with which they lose who is who."""
    times = np.ones(len(y), int) if sample_weight is None else sample_weight.astype(int)
    noise = 1e-4 * np.random.RandomState(0).normal(size=(times.sum(), X.shape[1]))
    return SoupClassifier.fit(self, np.repeat(X, times, axis=0) + noise, np.repeat(y, times))


def bare(net, rows, rng, n_jobs):
    """Networks that validate on copies, as skorch splits rows."""
    fitted = clone(net).set_params(max_epochs=15).fit(rows.X, rows.y)
    return ModelPool([Member("bare", nets.state_of(fitted), meta={"history": nets.history_of(fitted)})])


def ungrouped(net, rows, rng, n_jobs):
    return seeds(net.set_params(train_split=ValidSplit(0.3)), replace(rows, groups=None), rng, n_jobs)


def memorising(**methods):
    return type("Broken", (SoupClassifier,), methods)(memorising_net(), collect=Seeds(2))


def noisy(self, X):
    return EnsembleClassifier._predict(self, X) + np.frombuffer(os.urandom(2), np.uint16)[0]


def raise_cv(self, X):
    self.cv = 99


def write(self, X):
    X[0, 0] += 1


BROKEN = {
    # all
    "check_init_only_stores": [with_parameter(__init__=converts), with_parameter(__init__=sets_more)],
    "check_clone_keeps_the_parameters": [with_parameter(__sklearn_clone__=lambda self: self)],
    "check_set_params_takes_what_get_params_gives": [
        with_parameter(set_params=lambda self, **params: None),
        with_parameter(set_params=lambda self, **params: self),
    ],
    "check_unknown_parameters_are_refused": [with_parameter(set_params=takes_anything)],
    "check_repr_names_what_differs_from_the_defaults": [
        with_parameter(__repr__=lambda self: "Merger"),
        with_parameter(__repr__=lambda self: f"Broken(k={self.k})"),
    ],
    "check_pickle_keeps_the_parameters": [with_parameter(__reduce__=lambda self: (Uniform, ([1, 2],)))],
    "check_defaults_are_immutable": [with_parameter(__init__=mutable_default)],
    "check_docstring_names_a_source_and_runs_an_example": [
        with_parameter(),
        with_parameter(__doc__="References\n---\n"),
        with_parameter(__doc__=">>> 1\n1"),
    ],
    "check_inputs_are_not_written": [merger(writes)],
    "check_parameters_are_not_changed_by_a_call": [
        with_parameter(__call__=lambda self, states, *_: counts_up(self, states))
    ],
    "check_same_inputs_give_the_same_result": [merger(true_noise)],
    "check_names_may_stand_in_any_order": [merger(by_place)],
    "check_ties_of_one_state_are_no_ties": [merger(by_memory)],
    "check_global_random_state_is_untouched": [merger(draws), merger(draws_from_numpy)],
    "check_unlike_architectures_are_refused": [merger(what_fits), connector(unlike_too), connector(tersely)],
    "check_diverged_states_are_refused": [merger(without_nan), connector(diverged_too), connector(without_a_name)],
    "check_module_is_left_as_it_was": [
        repairer(leaves_eval),
        repairer(leaves_hooks),
        repairer(leaves_train_after_an_error),
        connector(leaves_training),
        connector(leaves_training_after_an_error),
        connector(writes_to_the_module),
    ],
    # mergers
    "check_merge_keeps_names_shapes_dtypes_and_devices": [
        merger(lambda self, states: {k: v.float() for k, v in mean(states).items()}),
        merger(lambda self, states: {k: v[None] for k, v in mean(states).items()}),
        merger(lambda self, states: {k: v for k, v in mean(states).items() if "tracked" not in k}),
        merger(twice_as_wide(0.5, with_module=False), takes_widths=True),
        merger(lambda self, states: Fused(mean(states), twice_as_wide(0.5)(self, states).net), takes_widths=True),
    ],
    "check_merge_of_copies_is_the_copy": [merger(scaled(3)), merger(twice_as_wide(1.0), takes_widths=True)],
    "check_one_member_gives_that_member": [
        merger(shrinks_single),
        merger(twice_as_wide(1.0), takes_widths=True),
    ],
    "check_order_of_members_does_not_matter": [merger(lambda self, states: mean(states[:1])), merger(of_the_last)],
    "check_merge_commutes_with_a_permutation_of_units": [merger(sorts_units), merger(sorts_units, takes_widths=True)],
    "check_integer_buffers_are_kept": [merger(sums_counters)],
    "check_tied_tensors_stay_tied": [merger(unties)],
    "check_result_shares_no_memory_with_the_members": [merger(lambda self, states: dict(states[0]))],
    "check_what_was_chosen_is_repeated": [
        merger(lambda self, states: mean(states), repeated=lambda self, reported: lambda states, *_: mean(states[:1])),
        merger(
            lambda self, states: mean(states),
            needs_objective=True,
            needs_labels=True,
            repeated=lambda self, reported: lambda states, base, data: mean(states) if data.score(states[0]) else {},
        ),
    ],
    "check_an_empty_pool_is_refused": [merger(lambda self, states: {}), merger(lambda self, states: int("none"))],
    # repairers
    # averages
    "check_stream_and_stored_trajectory_agree": [average(update=keeps_references, result=mean_of_references)],
    "check_weights_of_states_sum_to_one": [
        average(lambda n: [1.0] * n),
        average(lambda n: [1 / n] * (n - 1)),
        average(lambda n: [float("nan")] * n),
    ],
    "check_average_is_the_sum_by_coefficients": [average(lambda n: EMA(0.5).coefficients(n))],
    "check_average_of_what_stays_is_what_stays": [
        average(result=lambda self: weighted_sum([self.kept.mean()], [self.n / (self.n + 1)])),
    ],
    "check_states_that_entered_are_counted": [average(lambda n: EMA(0.5).coefficients(n))],
    "check_memory_does_not_grow_with_the_run": [average(update=keeps_all)],
    "check_the_run_changes_only_where_that_is_said": [average(rewrite=lambda self, weights: weights[0].zero_())],
    "check_half_precision_is_averaged_in_more": [
        average(
            update=adds_in_half_precision,
            result=lambda self: {k: v / self.n for k, v in self.total.items()},
        )
    ],
    "check_equal_members_need_no_repair": [repairer(always_writes)],
    "check_statistics_match_the_data": [repairer(lambda state, members, objective: state)],
    "check_statistics_before_have_no_influence": [repairer(half_way)],
    "check_repair_keeps_names_shapes_and_dtypes": [repairer(drops_the_counter)],
    "check_network_without_statistics_is_returned_as_it_is": [
        repairer(lambda state, members, objective: dict(state)),
        repairer(lambda state, members, objective: objective.batches() and state),
    ],
    "check_labels_are_not_read": [repairer(reads_labels)],
    # connectors
    "check_coefficients_sum_to_one": [line_with(lambda t: [1 - t, t if t != 0.3 else 0.31])],
    "check_random_points_stay_in_the_domain": [
        line_whose(sample=lambda self, rng, n: 1.2 * rng.uniform()),
        line_whose(spread=lambda self, n_points, rng, n: np.linspace(-1, 1, n_points).tolist()),
    ],
    "check_points_are_nearest_to_themselves": [line_whose(nearest=lambda self, products: 0.5)],
    "check_ends_are_the_states_bit_for_bit": [
        line_of(nudged),
        connector(without_the_second, needs_objective=False, n_states=None),
        star(lambda centre, a, b: [centre, *nudged([a, b])]),
    ],
    "check_points_keep_names_shapes_and_dtypes": [
        connector(lambda states, objective, kind=kind: kind(line(states).controls, Line()))
        for kind in (Casting, Lengthening)
    ],
    "check_points_are_sums_of_the_controls": [
        connector(lambda states, objective: Crooked(line(states).controls, Line()))
    ],
    "check_training_moves_every_bend": [
        bent(lambda middle, away: [middle]),
        bent(lambda middle, away: [weighted_sum([middle, away], [0.9, 0.1]), middle]),
        star(lambda centre, a, b: [weighted_sum([a, b], [0.5, 0.5]), a, b]),
    ],
    "check_path_is_never_worse_than_the_segment": [
        bent(lambda middle, away: [weighted_sum([middle, away], [-7.0, 8.0])]),
        star(lambda centre, a, b: [weighted_sum([centre, a], [80.0, -79.0]), a, b]),
    ],
    "check_curves_have_no_direction": [line_with(lambda t: [1 - min(2 * t, 1), min(2 * t, 1)])],
    "check_states_that_are_not_two_are_refused": [connector(the_outer_two), connector(of_any_number)],
    # aligners
    "check_permutations_are_of_every_group": [aligner(doubling), aligner(first_of)],
    "check_alignment_describes_every_group": [aligner(matched, table=[])],
    "check_maps_have_rows_that_sum_to_one": [
        aligner(transporting(1.0, 0.5)),
        aligner(transporting(0.5, 1.0)),
        aligner(transporting(1.0, 1.0, n_groups=1)),
    ],
    "check_alignment_keeps_the_function": [aligner(unchecked)],
    "check_alignment_with_itself_is_the_identity": [aligner(shuffling)],
    "check_planted_permutation_is_recovered": [aligner(resting), aligner(shuffling)],
    "check_distance_never_grows": [aligner(shuffling)],
    "check_copies_are_aligned_with_one_another": [
        aligner(resting),
        aligner(matched, align_all=lambda states, symmetry: [symmetry.identity() for _ in states]),
    ],
    "check_alignment_does_not_depend_on_the_batches": [aligner(by_the_first_batch), aligner(without_weights)],
    # selectors
    "check_selection_is_a_part_of_the_pool_in_its_order": [
        selector(lambda pool, objective: pool[::-1]),
        selector(lambda pool, objective: [*pool]),
        selector(lambda pool, objective: pool.replace(base=None)),
        selector(lambda pool, objective: pool.replace([m.replace(state=dict(m.state)) for m in pool])),
    ],
    "check_selection_is_never_empty": [selector(lambda pool, objective: pool[1:])],
    "check_reported_score_is_the_score_used": [
        selector(lambda pool, objective: TopK()(pool)),
        selector(lambda pool, objective: pool.replace([m.replace(score=0.0) for m in TopK()(pool, objective)])),
    ],
    "check_estimators_are_chosen_by_their_scores": [
        selector(lambda pool, objective: pool[::-1]),
        selector(lambda pool, objective: pool.replace([m.replace(estimator=5) if m.estimator else m for m in pool])),
    ],
    # collectors
    "check_collection_is_not_empty": [collector(lambda *args: [])],
    "check_member_names_are_unique": [
        collector(lambda *a: (p := seeds(*a)).replace([m.replace(name=f"{m.meta['seed']}") for m in p]))
    ],
    "check_other_seeds_give_other_members": [
        collector(lambda net, rows, rng, n_jobs: seeds(net, rows, np.random.RandomState(0)))
    ],
    "check_members_fit_the_net": [
        collector(lambda *a: (p := seeds(*a)).replace([m.replace(state={}) for m in p])),
        collector(
            lambda *a: (p := seeds(*a)).replace([m.replace(state={k: v / 0 for k, v in m.state.items()}) for m in p])
        ),
    ],
    "check_net_is_not_fitted_in_place": [
        collector(lambda net, *a: seeds(net.set_params(module__n_in=3, module__n_out=3).initialize(), *a)),
        collector(lambda net, *a: seeds(net.set_params(lr=0.1), *a)),
    ],
    "check_members_do_not_depend_on_n_jobs": [
        collector(lambda net, rows, rng, n_jobs: seeds(net, rows, np.random.RandomState(n_jobs)))
    ],
    "check_training_rows_are_recorded": [
        collector(lambda *a, rows=rows: (p := seeds(*a)).replace([m.replace(rows=rows) for m in p]))
        for rows in (None, np.array([7], np.uint64))
    ],
    "check_vectorized_members_are_looped_members": [
        vectorizing(lambda m: m.replace(name=f"vectorized-{m.name}")),
        vectorizing(lambda m: m.replace(meta={**m.meta, "seed": m.meta["seed"] + 1})),
        vectorizing(lambda m: m.replace(meta={**m.meta, "history": m.meta["history"][1:]})),
        vectorizing(lambda m: m.replace(meta={**m.meta, "history": [{**r, "x": 1} for r in m.meta["history"]]})),
        vectorizing(lambda m: m.replace(meta={**m.meta, "history": [lossless(r) for r in m.meta["history"]]})),
        vectorizing(lambda m: m.replace(state={k: v + 1e-4 for k, v in m.state.items()})),
        vectorizing(lambda m: m.replace(state={k: v for k, v in m.state.items() if "x_" not in k})),
    ],
    "check_random_labels_give_chance_in_training": [collector(bare), collector(ungrouped)],
    # combiners
    "check_one_member_gives_its_prediction": [combiner(constant)],
    "check_unanimous_members_are_obeyed": [combiner(total), combiner(constant)],
    "check_probabilities_sum_to_one": [combiner(total), combiner(lambda self, P: P.mean(0) / 2)],
    "check_a_class_that_a_member_does_not_know_leaves_probabilities": [
        combiner(lambda self, P: np.where((P > 0).all(0), P.mean(0), np.nan)),
        combiner(total),
    ],
    "check_output_has_a_row_a_sample_and_a_column_an_output": [combiner(first_column)],
    "check_rows_are_combined_one_by_one": [combiner(centred)],
    "check_weights_count_as_repetitions": [combiner(shifted, fit=fit_without_weights)],
    "check_refused_tasks_are_refused_in_fit": [
        combiner(total, check=no_regression, fit=fit_all),
        combiner(total, check=refuse_all),
    ],
    # searches
    "check_weights_are_on_the_simplex": [
        search(lambda pool, X, y: Found(pool, np.array([2.0, -1.0, 0.0]), np.zeros(3), "score")),
        search(lambda pool, X, y: Found(pool, np.array([0.5, 0.0, 0.0]), np.zeros(3), "score")),
        search(lambda pool, X, y: Found(pool, np.array([1.0, 0.0, 0.0]), np.full(3, np.nan), "score")),
    ],
    "check_order_of_the_pool_does_not_matter": [search(lambda pool, X, y: Found.best_of(pool, [3, 2, 1], "place"))],
    "check_labels_are_read_only_where_they_are_needed": [
        search(lambda pool, X, y: Found.best_of(pool, np.roll([3, 2, 1], 0 if y is None else 1), "labels"))
    ],
    # reusers
    "check_reused_probabilities_sum_to_one": [
        reuser(lambda offers, X: np.ones((len(X), 3))),
        reuser(lambda offers, X: np.tile([2.0, -1.0, 0.0], (len(X), 1))),
        reuser(lambda offers, X: np.ones((len(X), 1))),
    ],
    "check_order_of_models_does_not_matter": [
        reuser(lambda pool, X: pool[0].predictions(X)),
    ],
    "check_a_fitted_reuser_is_pickled": [Forgetting()],
    # stores
    "check_get_returns_what_was_put": [store(put=put_single_precision)],
    "check_put_replaces_a_member_of_the_same_name": [store(put=put_once), store(put=put_last)],
    "check_put_keeps_a_copy": [store(put=put_itself)],
    "check_estimators_come_back_or_are_refused": [
        store(put=put_itself),
        store(put=put_unfitted),
        store(put=refuse_estimators),
        store(put=put_and_refuse),
    ],
    "check_names_are_in_the_order_of_puts": [store(names=lambda self: sorted(self._members))],
    "check_delete_forgets_one_member": [
        store(delete=lambda self, name: None),
        store(delete=lambda self, name: self._members.clear()),
    ],
    "check_unknown_names_are_key_errors": [
        store(get=lambda self, name: self._members.get(name)),
        store(delete=lambda self, name: self._members.pop(name, None)),
    ],
    # estimators
    "check_one_member_is_its_own_fusion": [estimator(_predict=turned)],
    "check_fuse_repeats_fit": [estimator(fuse=fuse_less)],
    "check_estimators_as_members_are_taken_or_refused": [
        estimator(fuse=fuse_networks),
        estimator(fuse=refuse_all_pools, _takes_estimators=False),
    ],
    "check_pickle_predicts_the_same": [Forgetful(SMALL_NET, collect=Seeds(2))],
    "check_wrapped_net_stays_unfitted": [
        estimator(fit=fit_first(lambda self, X: self.estimator.set_params(lr=0.5))),
        estimator(fit=fit_first(lambda self, X: setattr(self, "estimator", mlp_classifier(max_epochs=1)))),
        estimator(
            fit=fit_first(lambda self, X: self.estimator.set_params(module__n_in=4, module__n_out=3).initialize())
        ),
    ],
    "check_fit_keeps_the_parameters": [estimator(fit=fit_first(raise_cv))],
    "check_fit_leaves_the_global_random_state": [estimator(fit=fit_first(lambda self, X: torch.rand(1)))],
    "check_same_random_state_gives_the_same_predictions": [estimator(_predict=noisy)],
    "check_fit_does_not_write_its_data": [estimator(fit=fit_first(write))],
    "check_random_labels_give_chance": [memorising(_rows=forgetting), memorising(fit=repeating)],
}

LAWS = {law.__name__: law for law in laws()}


@pytest.mark.parametrize(
    ("name", "broken"),
    [pytest.param(name, thing, id=f"{name}-{i}") for name, things in BROKEN.items() for i, thing in enumerate(things)],
)
def test_law_fails_on_what_breaks_it(name, broken):
    with pytest.raises(AssertionError):
        LAWS[name](broken)


OF_CONNECTORS = [
    *(law.__name__ for law in laws(Connector) if law not in laws(Component)),
    "check_unlike_architectures_are_refused",
    "check_diverged_states_are_refused",
    "check_module_is_left_as_it_was",
]


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        pytest.param(name, thing, id=f"{name}-{i}")
        for name in OF_CONNECTORS
        for i, thing in enumerate(BROKEN[name])
        if isinstance(thing, Connector)
    ],
)
def test_a_broken_connector_breaks_one_law(name, broken):
    for other in OF_CONNECTORS:
        if other != name:
            LAWS[other](broken)


def test_every_law_is_tried():
    assert LAWS.keys() == BROKEN.keys()
    assert all(BROKEN.values())
