"""
How different the mistakes of members are
=========================================

The squared error of an ensemble is that of its members in the mean, less what they
disagree by. Members that differ because some of them are worse gain little by it.
"""

# %%
# Five members of each kind are trained on half of the digits.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skfusion import EnsembleClassifier
from skfusion.collect import Bootstrap, Seeds, Snapshots
from skfusion.nets import mlp_classifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)
collectors = {"snapshots": Snapshots(5), "seeds": Seeds(5), "bootstrap": Bootstrap(5)}
ensembles = {
    name: EnsembleClassifier(mlp_classifier(), collect=collect, random_state=0).fit(
        X_train, y_train
    )
    for name, collect in collectors.items()
}

# %%
# The share of test rows to which each two members give other labels. Above stands the
# loss of the average: what its members lose in the mean, less what they disagree by.

from skfusion.plots import DiversityDisplay

displays = {
    name: DiversityDisplay.from_estimator(ensemble, X_test, y_test)
    for name, ensemble in ensembles.items()
}
displays["snapshots"].plot()
displays["seeds"].plot()
for name, display in displays.items():
    parts = display.decomposition
    print(
        f"{name}: members {parts['mean_loss']:.3f} - ambiguity {parts['ambiguity']:.3f}"
        f" = ensemble {parts['ensemble_loss']:.3f}"
    )
