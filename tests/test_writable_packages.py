"""Objects of other packages after a load: what docs/writable.md says of each is what happens."""

import collections
import functools
import importlib.util
import io
import pickle
import re
import warnings
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np
import pytest

import fastser

PAGE = Path(__file__).resolve().parents[1] / "docs" / "writable.md"
PACKAGES = {"NumPy": "numpy", "scikit-learn": "sklearn", "SciPy": "scipy", "statsmodels": "statsmodels", "Matplotlib": "matplotlib",
            "pandas": "pandas", "Polars": "polars", "PyTorch": "torch", "NetworkX": "networkx", "Python": "sys"}  # fmt: skip


class Row(NamedTuple):
    package: str
    object: str
    use: str
    works: bool  # by default; else it takes writable=True
    make: Callable[[], Any]
    call: Callable[[Any], Any]  # what it returns is compared with what it returns after a load by pickle

    def __str__(self):
        return f"| {self.package} | {self.object} | {self.use} | {'works' if self.works else '`writable=True`'} |"


ROWS: list[Row] = []


def row(package, object, use, make, call, *, works=True):
    ROWS.append(Row(package, object, use, works, make, call))


# --- data ----------------------------------------------------------------------------------------------------------------


@functools.cache
def data():
    """Features, classes, values: as large as what is a view."""
    random = np.random.default_rng(0)
    features = random.random((300, 20))
    return features, (features[:, 0] > 0.5).astype(int), features @ random.random(20)


def X():
    return data()[0].copy()


def y():
    return data()[1].copy()


def values():
    return data()[2].copy()


def done(obj, *names):
    """What is compared of an object that was changed in place."""
    return [np.array(getattr(obj, name)) for name in names]


# --- scikit-learn ----------------------------------------------------------------------------------------------------------


def sklearn(module, name):
    return getattr(importlib.import_module(f"sklearn.{module}"), name)


def estimator(module, name, target=None, **options):
    made = sklearn(module, name)(**options)
    return made.fit(X()) if target is None else made.fit(X(), target())


def partial_fit(*names, target=None):
    def call(model):
        model.partial_fit(X()) if target is None else model.partial_fit(X(), target())
        return done(model, *names)

    return call


row("scikit-learn", "`SGDClassifier`, `SGDRegressor`, `Perceptron`", "`partial_fit`",
    lambda: [estimator("linear_model", "SGDClassifier", y, random_state=0), estimator("linear_model", "Perceptron", y)],
    lambda models: [partial_fit("coef_", "intercept_", target=y)(model) for model in models])  # fmt: skip
row("scikit-learn", "`MLPClassifier`", "`partial_fit`",
    lambda: estimator("neural_network", "MLPClassifier", y, random_state=0, max_iter=5), lambda m: partial_fit("loss_", target=y)(m))  # fmt: skip
row("scikit-learn", "`GaussianNB`, `MultinomialNB`", "`partial_fit`",
    lambda: [estimator("naive_bayes", "GaussianNB", y), estimator("naive_bayes", "MultinomialNB", y)],
    lambda models: [partial_fit("class_count_", target=y)(model) for model in models])  # fmt: skip
row("scikit-learn", "`MiniBatchKMeans`, `IncrementalPCA`, `StandardScaler`", "`partial_fit`",
    lambda: [estimator("cluster", "MiniBatchKMeans", random_state=0), estimator("decomposition", "IncrementalPCA"), estimator("preprocessing", "StandardScaler")],
    lambda models: [partial_fit(name)(model) for model, name in zip(models, ("cluster_centers_", "components_", "mean_"), strict=True)])  # fmt: skip
row("scikit-learn", "`LatentDirichletAllocation`, `MiniBatchDictionaryLearning`", "`partial_fit`",
    lambda: [estimator("decomposition", "LatentDirichletAllocation", random_state=0), estimator("decomposition", "MiniBatchDictionaryLearning", random_state=0, max_iter=2)],
    lambda models: [partial_fit("components_")(model) for model in models])  # fmt: skip
row("scikit-learn", "`RandomForestClassifier`, `SVC`, `KNeighborsClassifier`", "`predict`, `fit` again",
    lambda: [estimator("ensemble", "RandomForestClassifier", y, n_estimators=5, random_state=0), estimator("svm", "SVC", y), estimator("neighbors", "KNeighborsClassifier", y)],
    lambda models: [(model.predict(X()), model.fit(X(), y()).predict(X())) for model in models])  # fmt: skip
row("scikit-learn", "`Lasso(warm_start=True)`", "`fit` again",
    lambda: estimator("linear_model", "Lasso", values, alpha=0.01, warm_start=True), lambda m: m.fit(X(), values()).coef_)  # fmt: skip
row("scikit-learn", "`make_pipeline(StandardScaler(), SGDClassifier())`", "`partial_fit` of its steps",
    lambda: sklearn("pipeline", "make_pipeline")(sklearn("preprocessing", "StandardScaler")(), sklearn("linear_model", "SGDClassifier")(random_state=0)).fit(X(), y()),
    lambda m: partial_fit("coef_", target=y)(m[-1]))  # fmt: skip
row("scikit-learn", "`KDTree`, `BallTree`", "`query`",
    lambda: [sklearn("neighbors", name)(X()) for name in ("KDTree", "BallTree")], lambda trees: [tree.query(X()[:5]) for tree in trees])  # fmt: skip
row("scikit-learn", "`load_iris()`", "`bunch.data += 1`",
    lambda: sklearn("datasets", "load_iris")(), lambda bunch: np.add(bunch.data, 1, out=bunch.data))  # fmt: skip
row("scikit-learn", "`(X, y, model)`, where the model was made of `X`", "`X += 1`, the model sees it",
    lambda: (lambda features: (features, estimator_of(features)))(X()), lambda pair: (np.add(pair[0], 1, out=pair[0]), pair[1]._fit_X is pair[0]))  # fmt: skip


def estimator_of(features):
    return sklearn("neighbors", "KNeighborsClassifier")(algorithm="brute").fit(features, y())


# --- SciPy -----------------------------------------------------------------------------------------------------------------


def scipy(module, name):
    return getattr(importlib.import_module(f"scipy.{module}"), name)


def sparse(kind):
    return getattr(scipy("sparse", "random_array")((200, 200), density=0.1, format="csr", rng=np.random.default_rng(0)), f"to{kind}")()


def sparse_in_place(m):
    m *= 2.0
    m.sort_indices()
    m[0, 0] = 5.0
    return m.toarray()


row("SciPy", "`csr_array`, `csc_array`", "`m @ x`, `m + m`, `m.sum()`, `m[3:5]`",
    lambda: [sparse("csr"), sparse("csc")], lambda ms: [(m @ np.ones(200), (m + m).toarray(), m.sum(), m[3:5].toarray()) for m in ms])  # fmt: skip
row("SciPy", "`csr_array`, `csc_array` of 512 bytes and more", "`m *= 2`, `m.sort_indices()`, `m[0, 0] = 5`",
    lambda: [sparse("csr"), sparse("csc")], lambda ms: [sparse_in_place(m) for m in ms], works=False)  # fmt: skip
row("SciPy", "a `csr_array` within what a reducer makes", "`m *= 2`, `m.sort_indices()`, `m[0, 0] = 5`",
    lambda: functools.partial(max, sparse("csr")), lambda holder: sparse_in_place(holder.args[0]))  # fmt: skip
row("SciPy", "`gaussian_kde` of few points", "`kde(points)`",
    lambda: scipy("stats", "gaussian_kde")(X()[:30, 0]), lambda kde: kde([0.1, 0.5]))  # fmt: skip
row("SciPy", "`gaussian_kde` of 512 bytes of points and more", "`kde(points)`",
    lambda: scipy("stats", "gaussian_kde")(X()[:, :2].T), lambda kde: kde(X()[:5, :2].T), works=False)  # fmt: skip
row("SciPy", "`sos = butter(4, 0.1, output=\"sos\")`", "`sosfilt(sos, x)`",
    lambda: scipy("signal", "butter")(4, 0.1, output="sos"), lambda sos: scipy("signal", "sosfilt")(sos, values()))  # fmt: skip
row("SciPy", "`CubicSpline`, `RBFInterpolator`, `RegularGridInterpolator`", "`f(x)`",
    lambda: [scipy("interpolate", "CubicSpline")(np.arange(300.0), X()), scipy("interpolate", "RBFInterpolator")(X()[:, :2], values()),
             scipy("interpolate", "RegularGridInterpolator")((np.arange(300.0), np.arange(20.0)), X())],
    lambda fs: [f(x) for f, x in zip(fs, (3.3, X()[:5, :2], [[3.3, 2]]), strict=True)])  # fmt: skip
row("SciPy", "`KDTree`, `Delaunay`", "`query`, `find_simplex`",
    lambda: [scipy("spatial", "KDTree")(X()), scipy("spatial", "Delaunay")(X()[:, :2])], lambda ts: (ts[0].query(X()[:5]), ts[1].find_simplex(X()[:5, :2])))  # fmt: skip
row("SciPy", "`lu_factor(a)`, `cho_factor(a)`", "`lu_solve`, `cho_solve`",
    lambda: [scipy("linalg", "lu_factor")(X()[:20]), scipy("linalg", "cho_factor")(X()[:20] @ X()[:20].T + np.eye(20))],
    lambda fs: (scipy("linalg", "lu_solve")(fs[0], np.ones(20)), scipy("linalg", "cho_solve")(fs[1], np.ones(20))))  # fmt: skip
row("SciPy", "what `minimize` returns", "`result.x *= 2`",
    lambda: scipy("optimize", "minimize")(lambda x: (x**2).sum(), np.ones(80)), lambda result: np.multiply(result.x, 2, out=result.x))  # fmt: skip


# --- statsmodels -----------------------------------------------------------------------------------------------------------


def series():
    return np.cumsum(np.random.default_rng(1).standard_normal(200))


def fitted(module, name, *arguments, fit=(), **options):
    return getattr(importlib.import_module(f"statsmodels.{module}"), name)(*arguments, **options).fit(**dict(fit))


def summary(result):
    """Without the time at which it was made."""
    return re.sub(r"Date:.*|Time:.*", "", str(result.summary()))


row("statsmodels", "results of `ARIMA`, `SARIMAX`", "`forecast`, `predict`, `summary`, `append`",
    lambda: [fitted("tsa.arima.model", "ARIMA", series(), order=(1, 1, 1)), fitted("tsa.statespace.sarimax", "SARIMAX", series(), fit={"disp": 0})],
    lambda rs: [(r.forecast(5), r.predict(), summary(r), r.append(series()[:5]).forecast(2)) for r in rs])  # fmt: skip
row("statsmodels", "results of `ExponentialSmoothing`, `AutoReg`", "`forecast`, `summary`",
    lambda: [fitted("tsa.holtwinters", "ExponentialSmoothing", series(), trend="add"), fitted("tsa.ar_model", "AutoReg", series(), 2)],
    lambda rs: [(r.forecast(5), summary(r)) for r in rs])  # fmt: skip
row("statsmodels", "results of `OLS`, `GLM`, `Logit`, `MixedLM`", "`predict`, `summary`",
    lambda: [fitted("api", "OLS", values(), X()), fitted("api", "GLM", y(), X()), fitted("api", "Logit", y(), X()[:, 1:], fit={"disp": 0}),
             fitted("api", "MixedLM", values(), X()[:, :2], groups=np.arange(300) // 30)],
    lambda rs: [summary(r) for r in rs])  # fmt: skip


# --- Matplotlib ------------------------------------------------------------------------------------------------------------


def figure():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3)
    axes = axes.ravel()
    axes[0].plot(X()[:, 0], X()[:, 1])
    axes[1].scatter(X()[:, 0], X()[:, 1], c=values())
    axes[2].imshow(X())
    axes[3].contourf(X())
    axes[4].hist(values(), 50)
    axes[5].pcolormesh(X())
    pyplot.close(figure)
    return figure


def drawn(figure):
    figure.axes[0].set_xlim(0, 3)
    figure.axes[0].set_yscale("log")
    file = io.BytesIO()
    figure.savefig(file, format="raw")
    return np.frombuffer(file.getvalue(), np.uint8)


row("Matplotlib", "a figure of lines, points, images, contours, bars, meshes", "`savefig`, other limits and scales", figure, drawn)


# --- pandas, Polars, PyTorch, NetworkX --------------------------------------------------------------------------------------


def frame():
    import pandas as pd

    made = pd.DataFrame(X())
    made["time"] = pd.date_range("2020-01-01", periods=300)
    made["kind"] = pd.Categorical(["a", "b"] * 150)
    made["text"] = ["x", "y"] * 150
    return made


def frame_in_place(frame):
    import pandas as pd

    frame.iloc[0, 0] = 1.5
    frame.loc[frame[0] > 0.5, 1] = 0.0
    frame.loc[3, "time"] = pd.Timestamp("2021-01-01")
    frame.loc[3, "kind"] = "a"
    frame.replace({2: {0.0: 1.0}}, inplace=True)
    return frame.to_csv()


def set_array(frame):
    import pandas as pd

    frame["time"].array[0] = pd.Timestamp("2021-01-01")
    return frame.to_csv()


row("pandas", "`DataFrame`", "`frame.iloc[0, 0] = 1.5`, `frame.loc[mask, 1] = 0`, `replace(inplace=True)`", frame, frame_in_place)
row("pandas", "`Series`", "`series.iloc[0] = 1.5`, `series += 1`",
    lambda: frame()[0], lambda s: (s.iloc.__setitem__(0, 1.5), s.__iadd__(1).to_csv()))  # fmt: skip
row("pandas", "`DataFrame`", "`groupby`, `merge`, `rolling`, `resample`, `pivot_table`", frame, lambda f: [
    f.groupby("kind", observed=True)[[0, 1]].sum().to_csv(), f.merge(f, on="time").to_csv(), f[[0, 1]].rolling(3).mean().to_csv(),
    f.set_index("time")[[0, 1]].resample("7D").sum().to_csv(), f.pivot_table(index="kind", values=0, observed=True).to_csv()])  # fmt: skip
row("pandas", "`DataFrame`, which copies on write", "`frame[\"time\"].array[0] = t`", frame, set_array, works=False)
row("Polars", "`DataFrame`", "`with_columns`, `sort`, `to_numpy(writable=True)`",
    lambda: importlib.import_module("polars").DataFrame({"a": X()[:, 0], "b": values()}),
    lambda f: (f.with_columns(c=f["a"] * 2).sort("b").rows(), np.multiply(f["a"].to_numpy(writable=True), 2)))  # fmt: skip
row("PyTorch", "a tensor, a module", "`t += 1`, `weight.data.mul_(2)`",
    lambda: (lambda torch: [torch.ones(1000), torch.nn.Linear(20, 50)])(importlib.import_module("torch")),
    lambda ts: (ts[0].add_(1).numpy(), ts[1].weight.data.mul_(2).numpy()))  # fmt: skip
row("NetworkX", "a graph", "`add_edge`, `pagerank`",
    lambda: importlib.import_module("networkx").gnp_random_graph(50, 0.1, seed=0),
    lambda g: (g.add_edge(1, 99), sorted(importlib.import_module("networkx").pagerank(g).items())))  # fmt: skip


# --- NumPy and Python -------------------------------------------------------------------------------------------------------


class Plain:
    def __init__(self, weights):
        self.weights = weights


class Stated(Plain):
    def __getstate__(self):
        return dict(vars(self))

    def __setstate__(self, state):
        vars(self).update(state)


class Stateful(np.ndarray):
    def __setstate__(self, state):
        super().__setstate__(state)


def subclasses():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return [np.ma.masked_array(X(), X() > 0.5), np.matrix(X()), np.ones(100, [("a", "f8")]).view(np.recarray)]


def doubled(array):
    array *= 2
    return np.array(array)


row("NumPy", "an array below 512 bytes, wherever it is", "`a *= 2`", lambda: [np.arange(10.0)], lambda found: doubled(found[0]))
row("NumPy", "an array of 512 bytes and more in a list, tuple, dict", "`a *= 2`", lambda: {"a": [X()]}, lambda found: doubled(found["a"][0]), works=False)
row("NumPy", "an array of objects, of `StringDType`", "`a[0] = x`", lambda: np.array([1, "x"] * 500, object), lambda a: (a.__setitem__(0, 5), a.tolist()))
row("NumPy", "`MaskedArray`, `matrix`, `recarray` of 512 bytes and more", "`a.sum()`, `a + 1`, `a[1:]`", subclasses,
    lambda found: [(a[1:].sum(), a.mean(0), np.asarray(a + 1)) for a in found[:2]] + [found[2].a[1:].sum(), found[2][3]])  # fmt: skip
row("NumPy", "`MaskedArray`, `matrix`, `recarray` of 512 bytes and more", "`a *= 2`, `a[0] = np.ma.masked`", subclasses,
    lambda found: [doubled(found[1]), found[0].__setitem__(0, np.ma.masked), found[0].mask], works=False)  # fmt: skip
row("NumPy", "a subclass of `ndarray` with a `__reduce__` or `__setstate__`", "`a *= 2`", lambda: X().view(Stateful), doubled)
row("NumPy", "`Generator`, `RandomState`", "`random()`", lambda: [np.random.default_rng(1), np.random.RandomState(1)], lambda gs: [gs[0].random(5), gs[1].rand(5)])
row("Python", "`OrderedDict`, `defaultdict`, `deque`, `SimpleNamespace` of arrays of 512 bytes and more", "`a *= 2`",
    lambda: collections.OrderedDict(a=X()), lambda found: doubled(found["a"]), works=False)  # fmt: skip
row("Python", "`partial(f, a)`, `lambda: a`, `OSError(a)`", "`a *= 2`",
    lambda: [functools.partial(max, X()), OSError(X())], lambda found: [doubled(found[0].args[0]), doubled(found[1].args[0])])  # fmt: skip
row("Python", "an instance whose class has `__reduce__`, `__getstate__` or `__setstate__`", "`obj.weights *= 2`", lambda: Stated(X()), lambda m: doubled(m.weights))
row("Python", "an instance that is its fields, with an array of 512 bytes and more", "`obj.weights *= 2`", lambda: Plain(X()), lambda m: doubled(m.weights), works=False)


# --- the test --------------------------------------------------------------------------------------------------------------


def test_the_page_has_these_rows():
    listed = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(tuple(f"| {name} |" for name in PACKAGES))]
    assert listed == [str(row) for row in ROWS]


def equal(one, other):
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, (np.ndarray, float)):
        return np.allclose(one, other, equal_nan=True)
    return one == other


def outcome(row, obj):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return row.call(obj)


READ_ONLY = "read-only|readonly|immutable"


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.package}-{row.object[:30]}-{row.use[:20]}" for row in ROWS])
def test_objects_can_be_used_as_the_page_says(row, tmp_path):
    module = PACKAGES[row.package]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = row.make()
    pickled = pickle.dumps(made)
    expected = outcome(row, pickle.loads(pickled))
    frame = fastser.dumps(made)
    before = bytes(bytearray(frame))
    again = pickle.loads(pickled)
    path = tmp_path / "frame"
    fastser.dump(made, path)
    sources = {
        "bytes": lambda **options: fastser.loads(frame, **options),
        "Packed": lambda **options: fastser.loads(fastser.pack(again), **options),
        "mapping": lambda **options: fastser.load(path, mmap_mode="r", **options),
    }
    works = row.works
    if row.object == "`DataFrame`, which copies on write":
        from fastser.integrations.pandas import writes_in_place

        works = writes_in_place()
    for name, load in sources.items():
        if works:
            assert equal(expected, outcome(row, load())), name
        else:
            with pytest.raises((ValueError, TypeError), match=READ_ONLY):
                outcome(row, load())
        assert equal(expected, outcome(row, load(writable=True))), name
    # What was used is what was loaded: neither the bytes, nor what was packed, nor the file.
    assert frame == before
    assert path.read_bytes() == before or row.package == "Matplotlib"  # whose figures are never written alike
    assert equal(expected, outcome(row, again))
    assert equal(expected, outcome(row, fastser.loads(frame, writable=True)))
    assert equal(expected, outcome(row, fastser.load(path)))  # read into memory of its own
