"""
One row in twenty: weights or a threshold
=========================================

What a plain ensemble, one with weights of classes, and a plain one with a moved threshold find of a rare class, and
what becomes of their probabilities.
"""

# %%
# Made data: one row in twenty leaves.

from sklearn.datasets import make_classification
from sklearn.metrics import log_loss, recall_score
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split

from skfusion import EnsembleClassifier
from skfusion.collect import Seeds
from skfusion.nets import mlp_classifier

X, y = make_classification(
    6000,
    n_features=8,
    n_informative=4,
    weights=[0.95],
    class_sep=0.8,
    flip_y=0.02,
    random_state=0,
)
X, X_test, y, y_test = train_test_split(
    X, y, train_size=2000, stratify=y, random_state=0
)
net = mlp_classifier(max_epochs=15)
plain = EnsembleClassifier(net, collect=Seeds(3), random_state=0)
models = {
    "plain": plain,
    'class_weight="balanced"': EnsembleClassifier(
        net, collect=Seeds(3), class_weight="balanced", random_state=0
    ),
    "plain, threshold moved": TunedThresholdClassifierCV(
        plain, scoring="balanced_accuracy", cv=3
    ),
}
found = {}
for name, model in models.items():
    model.fit(X, y)
    rare, frequent = recall_score(
        y_test, model.predict(X_test), average=None, labels=[1, 0]
    )
    found[name] = (rare, frequent, log_loss(y_test, model.predict_proba(X_test)))
    print(
        f"{name}: finds {rare:.2f} of the rare class and {frequent:.2f} of the other, log-loss {found[name][2]:.3f}"
    )

# %%
# On the left decisions, of which the mean of both bars is the balanced accuracy; on the right probabilities, where
# less is better.

from matplotlib import pyplot as plt

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3), sharey=True, layout="constrained"
)
places = range(len(found))
left.barh(
    [p - 0.18 for p in places],
    [f[0] for f in found.values()],
    0.34,
    color="#D55E00",
    label="rare class",
)
left.barh(
    [p + 0.18 for p in places],
    [f[1] for f in found.values()],
    0.34,
    color="#56B4E9",
    label="frequent class",
)
left.set_yticks(places, list(found))
left.invert_yaxis()
left.set(xlabel="share of the class that is found", xlim=(0, 1))
left.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
right.barh(places, [f[2] for f in found.values()], 0.5, color="0.6")
_ = right.set(xlabel="log-loss on test rows, nats")
