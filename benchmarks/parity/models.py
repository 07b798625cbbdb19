"""The models whose conversion is compared: builders of unfitted estimators, alone and behind preprocessing."""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold, chi2
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

CATEGORIES, NUMBERS = ["city", "channel"], ["age", "income", "visits", "member", "rate"]


class Model(NamedTuple):
    """An estimator under its name, and what it stands behind."""

    library: str
    name: str
    behind: str
    build: Callable[[], Any]
    regression: bool = False
    texts: bool = False  # it reads the table with the features `body` and `subject`


def ordinal() -> Any:
    """Categories as numbers; numbers as they are, with what is missing."""
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer((encode, CATEGORIES), ("passthrough", NUMBERS))


def one_hot(**options: Any) -> Any:
    """A column per category; numbers without what is missing, scaled."""
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32, **options)
    return make_column_transformer((encode, CATEGORIES), (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS))


def numbers_alone(*steps: Any) -> Any:
    """Numbers alone, through these steps."""
    return make_column_transformer((make_pipeline(*steps) if steps else "passthrough", NUMBERS))


BEHIND: dict[str, Callable[[], Any] | None] = {
    "the features themselves": None,
    "numbers": numbers_alone,
    "imputed numbers": lambda: numbers_alone(SimpleImputer()),
    "ordinal": ordinal,
    "one-hot, imputed, scaled": one_hot,
}
TREES = ("numbers", "ordinal", "one-hot, imputed, scaled")
DENSE = ("imputed numbers", "one-hot, imputed, scaled")


def classifiers() -> dict[str, tuple[tuple[str, ...], Callable[[], Any]]]:
    logistic = lambda: LogisticRegression(max_iter=500)  # noqa: E731
    small_forest = lambda: RandomForestClassifier(20, max_depth=6, random_state=0)  # noqa: E731
    return {
        "LogisticRegression": (DENSE, logistic),
        "LogisticRegressionCV": (
            DENSE[1:],
            lambda: LogisticRegressionCV(Cs=3, cv=3, l1_ratios=(0,), use_legacy_attributes=False, max_iter=500),
        ),
        "GridSearchCV(LogisticRegression)": (DENSE[1:], lambda: GridSearchCV(logistic(), {"C": [0.1, 1]}, cv=3)),
        "SGDClassifier(log_loss)": (DENSE, lambda: SGDClassifier(loss="log_loss", random_state=0)),
        "LinearDiscriminantAnalysis": (DENSE, LinearDiscriminantAnalysis),
        "QuadraticDiscriminantAnalysis": (DENSE[:1], lambda: QuadraticDiscriminantAnalysis(reg_param=0.1)),
        "GaussianNB": (DENSE, GaussianNB),
        "BernoulliNB": (DENSE, BernoulliNB),
        "KNeighborsClassifier": (DENSE, KNeighborsClassifier),
        "KNeighborsClassifier(distance)": (DENSE, lambda: KNeighborsClassifier(weights="distance")),
        "SVC(probability)": (DENSE[1:], lambda: SVC(probability=True, random_state=0)),
        "MLPClassifier": (DENSE[1:], lambda: MLPClassifier(max_iter=60, random_state=0)),
        "GaussianProcessClassifier": (DENSE[1:], lambda: GaussianProcessClassifier(random_state=0)),
        "DecisionTreeClassifier": (TREES, lambda: DecisionTreeClassifier(random_state=0)),
        "ExtraTreeClassifier": (TREES, lambda: ExtraTreeClassifier(random_state=0)),
        "RandomForestClassifier": (TREES, lambda: RandomForestClassifier(50, random_state=0)),
        "ExtraTreesClassifier": (TREES, lambda: ExtraTreesClassifier(50, random_state=0)),
        "BaggingClassifier of trees": (TREES, lambda: BaggingClassifier(n_estimators=20, random_state=0)),
        "AdaBoostClassifier": (DENSE, lambda: AdaBoostClassifier(n_estimators=20, random_state=0)),
        "GradientBoostingClassifier": (DENSE, lambda: GradientBoostingClassifier(random_state=0)),
        "HistGradientBoostingClassifier": (TREES, lambda: HistGradientBoostingClassifier(random_state=0)),
        "HistGradientBoostingClassifier(native categories)": (
            ("ordinal",),
            lambda: HistGradientBoostingClassifier(categorical_features=[0, 1], random_state=0),
        ),
        "StackingClassifier": (
            DENSE[1:],
            lambda: StackingClassifier([("forest", small_forest()), ("linear", logistic())], logistic(), cv=3),
        ),
        "VotingClassifier(soft)": (
            DENSE[1:],
            lambda: VotingClassifier([("forest", small_forest()), ("linear", logistic())], voting="soft"),
        ),
        "VotingClassifier(soft, weights)": (
            ("ordinal",),
            lambda: VotingClassifier(
                [("forest", small_forest()), ("boosting", HistGradientBoostingClassifier(max_iter=30, random_state=0))],
                voting="soft",
                weights=[1, 2],
            ),
        ),
        "VotingClassifier(soft) of pipelines": (
            ("the features themselves",),
            lambda: VotingClassifier(
                [
                    ("linear", make_pipeline(one_hot(), logistic())),
                    ("forest", make_pipeline(ordinal(), small_forest())),
                ],
                voting="soft",
            ),
        ),
        "CalibratedClassifierCV(LinearSVC)": (
            DENSE[1:],
            lambda: CalibratedClassifierCV(LinearSVC(random_state=0), cv=3),
        ),
        "CalibratedClassifierCV(sigmoid)": (DENSE[1:], lambda: CalibratedClassifierCV(logistic(), cv=3)),
        "CalibratedClassifierCV(isotonic)": (
            DENSE[1:],
            lambda: CalibratedClassifierCV(logistic(), method="isotonic", cv=3),
        ),
        "CalibratedClassifierCV(temperature)": (
            DENSE[1:],
            lambda: CalibratedClassifierCV(logistic(), method="temperature", cv=3),
        ),
        "TunedThresholdClassifierCV": (DENSE[1:], lambda: TunedThresholdClassifierCV(logistic(), cv=3)),
        "FixedThresholdClassifier": (DENSE[1:], lambda: FixedThresholdClassifier(logistic(), threshold=0.4)),
    }


def regressors() -> dict[str, tuple[tuple[str, ...], Callable[[], Any]]]:
    return {
        "LinearRegression": (DENSE, LinearRegression),
        "Ridge": (DENSE[1:], Ridge),
        "RidgeCV": (DENSE[1:], RidgeCV),
        "BayesianRidge": (DENSE[1:], BayesianRidge),
        "Lasso": (DENSE[1:], lambda: Lasso(0.01)),
        "ElasticNet": (DENSE[1:], lambda: ElasticNet(0.01)),
        "HuberRegressor": (DENSE[1:], lambda: HuberRegressor(max_iter=1000)),
        "QuantileRegressor": (DENSE[1:], lambda: QuantileRegressor(alpha=0.01)),
        "PoissonRegressor": (DENSE[1:], PoissonRegressor),
        "GammaRegressor": (DENSE[1:], GammaRegressor),
        "TweedieRegressor": (DENSE[1:], lambda: TweedieRegressor(power=1.5)),
        "KNeighborsRegressor": (DENSE[1:], KNeighborsRegressor),
        "SVR": (DENSE[1:], SVR),
        "MLPRegressor": (DENSE[1:], lambda: MLPRegressor(max_iter=60, random_state=0)),
        "DecisionTreeRegressor": (TREES[1:2], lambda: DecisionTreeRegressor(random_state=0)),
        "BaggingRegressor of trees": (TREES[1:2], lambda: BaggingRegressor(n_estimators=20, random_state=0)),
        "AdaBoostRegressor": (DENSE[1:], lambda: AdaBoostRegressor(n_estimators=20, random_state=0)),
        "RandomForestRegressor": (TREES, lambda: RandomForestRegressor(50, random_state=0)),
        "ExtraTreesRegressor": (TREES[1:2], lambda: ExtraTreesRegressor(50, random_state=0)),
        "GradientBoostingRegressor": (DENSE[1:], lambda: GradientBoostingRegressor(random_state=0)),
        "HistGradientBoostingRegressor": (TREES, lambda: HistGradientBoostingRegressor(random_state=0)),
        "HistGradientBoostingRegressor(poisson)": (
            TREES[1:2],
            lambda: HistGradientBoostingRegressor(loss="poisson", random_state=0),
        ),
        "HistGradientBoostingRegressor(gamma)": (
            TREES[1:2],
            lambda: HistGradientBoostingRegressor(loss="gamma", random_state=0),
        ),
        "HistGradientBoostingRegressor(quantile)": (
            TREES[1:2],
            lambda: HistGradientBoostingRegressor(loss="quantile", quantile=0.8, random_state=0),
        ),
        "StackingRegressor": (
            DENSE[1:],
            lambda: StackingRegressor(
                [("linear", Ridge()), ("forest", RandomForestRegressor(20, random_state=0))], Ridge(), cv=3
            ),
        ),
        "VotingRegressor": (
            DENSE[1:],
            lambda: VotingRegressor([("linear", Ridge()), ("forest", RandomForestRegressor(20, random_state=0))]),
        ),
        "TransformedTargetRegressor(log)": (
            DENSE[1:],
            lambda: TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
        ),
    }


def transformers() -> dict[str, Callable[[], Any]]:
    """Preprocessing, each before a logistic regression."""
    one_column_per_category = lambda **options: make_column_transformer(  # noqa: E731
        (OneHotEncoder(sparse_output=False, **options), CATEGORIES),
        (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
    )
    imputed = lambda *steps: numbers_alone(SimpleImputer(), *steps)  # noqa: E731
    return {
        "OneHotEncoder(min_frequency)": lambda: one_column_per_category(
            min_frequency=60, handle_unknown="infrequent_if_exist"
        ),
        "OneHotEncoder(max_categories)": lambda: one_column_per_category(max_categories=8, handle_unknown="ignore"),
        "OneHotEncoder(drop)": lambda: one_column_per_category(drop="first", handle_unknown="ignore"),
        "TargetEncoder": lambda: make_column_transformer(
            (TargetEncoder(), CATEGORIES), (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS)
        ),
        "OrdinalEncoder(encoded_missing_value)": lambda: make_column_transformer(
            (
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
                CATEGORIES,
            ),
            (SimpleImputer(), NUMBERS),
        ),
        "OrdinalEncoder(min_frequency)": lambda: make_column_transformer(
            (
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=60),
                CATEGORIES,
            ),
            (SimpleImputer(), NUMBERS),
        ),
        "SimpleImputer of texts": lambda: make_column_transformer(
            (
                make_pipeline(
                    SimpleImputer(missing_values="", strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
                ),
                CATEGORIES,
            ),
            (SimpleImputer(), NUMBERS),
        ),
        "SimpleImputer(add_indicator)": lambda: numbers_alone(SimpleImputer(add_indicator=True)),
        "SimpleImputer(median)": lambda: numbers_alone(SimpleImputer(strategy="median"), StandardScaler()),
        "SimpleImputer(constant)": lambda: numbers_alone(SimpleImputer(strategy="constant", fill_value=-1)),
        "IterativeImputer": lambda: numbers_alone(IterativeImputer(max_iter=3, random_state=0), StandardScaler()),
        "KNNImputer": lambda: numbers_alone(KNNImputer(), StandardScaler()),
        "KNNImputer(distance)": lambda: numbers_alone(KNNImputer(weights="distance"), StandardScaler()),
        "MissingIndicator": lambda: make_column_transformer(
            (make_union(SimpleImputer(), MissingIndicator(features="all")), NUMBERS)
        ),
        "StandardScaler, mean 1e9": lambda: make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), ["account"]), (SimpleImputer(), NUMBERS)
        ),
        "MinMaxScaler": lambda: imputed(MinMaxScaler()),
        "MaxAbsScaler": lambda: imputed(MaxAbsScaler()),
        "RobustScaler": lambda: imputed(RobustScaler()),
        "Normalizer": lambda: imputed(Normalizer()),
        "PowerTransformer": lambda: imputed(PowerTransformer()),
        "PowerTransformer, then imputed": lambda: numbers_alone(PowerTransformer(), SimpleImputer()),
        "QuantileTransformer": lambda: imputed(QuantileTransformer(n_quantiles=100)),
        "QuantileTransformer(normal)": lambda: imputed(
            QuantileTransformer(n_quantiles=100, output_distribution="normal")
        ),
        "KBinsDiscretizer": lambda: imputed(
            KBinsDiscretizer(encode="onehot-dense", quantile_method="averaged_inverted_cdf")
        ),
        "KBinsDiscretizer(ordinal)": lambda: imputed(
            KBinsDiscretizer(encode="ordinal", quantile_method="averaged_inverted_cdf")
        ),
        "Binarizer": lambda: imputed(StandardScaler(), Binarizer()),
        "PolynomialFeatures": lambda: imputed(StandardScaler(), PolynomialFeatures(2)),
        "SplineTransformer": lambda: imputed(StandardScaler(), SplineTransformer()),
        "FunctionTransformer(log1p)": lambda: imputed(FunctionTransformer(np.log1p)),
        "SelectKBest": lambda: imputed(StandardScaler(), SelectKBest(k=3)),
        "SelectFromModel": lambda: imputed(StandardScaler(), SelectFromModel(Lasso(0.01))),
        "VarianceThreshold": lambda: imputed(VarianceThreshold(0.1)),
        "PCA": lambda: imputed(StandardScaler(), PCA(3)),
        "TruncatedSVD": lambda: imputed(StandardScaler(), TruncatedSVD(3, random_state=0)),
        "Nystroem": lambda: imputed(StandardScaler(), Nystroem(n_components=20, random_state=0)),
    }


def texts() -> list[Model]:
    """Models of text. Trees get float32 weights, as ONNX computes: they split at differences of the last digit."""

    def of_body(vectorizer: Any, *steps: Any) -> Any:
        return make_pipeline(make_column_transformer((vectorizer, "body")), *steps)

    def of_all(classifier: Any) -> Any:
        encode = make_column_transformer(
            (TfidfVectorizer(min_df=2, dtype=np.float32), "body"),
            (TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3), min_df=5, dtype=np.float32), "subject"),
            (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
            (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
            sparse_threshold=0,
        )
        return make_pipeline(encode, classifier)

    def few_components(classifier: Any) -> Any:
        return of_body(TfidfVectorizer(min_df=2), TruncatedSVD(20, random_state=0), classifier)

    logistic = lambda: LogisticRegression(C=30, max_iter=500)  # noqa: E731
    boosting = lambda: HistGradientBoostingClassifier(max_iter=50, random_state=0)  # noqa: E731
    before_logistic = {
        "TfidfVectorizer": TfidfVectorizer,
        "TfidfVectorizer(word pairs)": lambda: TfidfVectorizer(ngram_range=(1, 2), min_df=2),
        "TfidfVectorizer(char)": lambda: TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=5),
        "TfidfVectorizer(char_wb)": lambda: TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=5),
        "TfidfVectorizer(strip_accents, stop_words, sublinear_tf)": lambda: TfidfVectorizer(
            strip_accents="unicode", stop_words="english", sublinear_tf=True
        ),
        "TfidfVectorizer(a tokenizer of one's own)": lambda: TfidfVectorizer(tokenizer=str.split, token_pattern=None),
        "TfidfVectorizer, then SelectKBest": lambda: make_pipeline(TfidfVectorizer(), SelectKBest(chi2, k=50)),
        "CountVectorizer": CountVectorizer,
        "CountVectorizer(binary)": lambda: CountVectorizer(binary=True),
        "CountVectorizer, then TfidfTransformer": lambda: make_pipeline(CountVectorizer(), TfidfTransformer()),
        "CountVectorizer, then TfidfTransformer(sublinear_tf)": lambda: make_pipeline(
            CountVectorizer(), TfidfTransformer(sublinear_tf=True)
        ),
        "HashingVectorizer": lambda: HashingVectorizer(n_features=2**12),
    }
    others: dict[tuple[str, str], Callable[[], Any]] = {
        ("CountVectorizer", "before MultinomialNB"): lambda: of_body(CountVectorizer(), MultinomialNB()),
        ("CountVectorizer", "before ComplementNB"): lambda: of_body(CountVectorizer(), ComplementNB()),
        ("TfidfVectorizer", "before SGDClassifier(log_loss)"): lambda: of_body(
            TfidfVectorizer(), SGDClassifier(loss="log_loss", random_state=0)
        ),
        ("TfidfVectorizer", "before CalibratedClassifierCV(LinearSVC)"): lambda: of_body(
            TfidfVectorizer(), CalibratedClassifierCV(LinearSVC(random_state=0), cv=3)
        ),
        ("TfidfVectorizer, then TruncatedSVD", "before HistGradientBoostingClassifier"): lambda: few_components(
            boosting()
        ),
        ("TfidfVectorizer, then TruncatedSVD", "before GradientBoostingClassifier"): lambda: few_components(
            GradientBoostingClassifier(n_estimators=50, random_state=0)
        ),
        ("Two texts, categories, numbers", "before LogisticRegression"): lambda: of_all(logistic()),
        ("Two texts, categories, numbers", "before RandomForestClassifier"): lambda: of_all(
            RandomForestClassifier(50, random_state=0)
        ),
        ("Two texts, categories, numbers", "before HistGradientBoostingClassifier"): lambda: of_all(boosting()),
    }
    found = [
        Model("scikit-learn", name, "before LogisticRegression", lambda make=make: of_body(make(), logistic()))
        for name, make in before_logistic.items()
    ]
    found += [Model("scikit-learn", name, behind, build) for (name, behind), build in others.items()]
    found.append(
        Model("scikit-learn", "TfidfVectorizer", "before Ridge", lambda: of_body(TfidfVectorizer(), Ridge()), True)
    )
    if importlib.util.find_spec("lightgbm"):
        from lightgbm import LGBMClassifier

        few = {"n_estimators": 50, "verbosity": -1, "random_state": 0}
        found += [
            Model(
                "lightgbm",
                "TfidfVectorizer, then TruncatedSVD",
                "before LGBMClassifier",
                lambda: few_components(LGBMClassifier(**few)),
            ),
            Model(
                "lightgbm",
                "Two texts, categories, numbers",
                "before LGBMClassifier",
                lambda: of_all(LGBMClassifier(**few)),
            ),
        ]
    return [model._replace(texts=True) for model in found]


def models() -> list[Model]:
    """All models; those of libraries that are not installed are left out."""
    found = [
        Model("scikit-learn", name, behind, _pipeline(BEHIND[behind], build), regression)
        for kinds, regression in ((classifiers(), False), (regressors(), True))
        for name, (places, build) in kinds.items()
        for behind in places
    ]
    found += [
        Model(
            "scikit-learn",
            name,
            "before LogisticRegression",
            _pipeline(build, lambda: LogisticRegression(max_iter=500)),
        )
        for name, build in transformers().items()
    ]
    for library, kinds in OTHERS.items():
        if importlib.util.find_spec(library):
            found += [
                Model(library, name, behind, _pipeline(BEHIND[behind], build), regression)
                for name, (places, build, regression) in kinds().items()
                for behind in places
            ]
    return found + texts()


def _pipeline(before: Callable[[], Any] | None, build: Callable[[], Any]) -> Callable[[], Any]:
    return build if before is None else lambda: make_pipeline(before(), build())


Others = dict[str, tuple[tuple[str, ...], Callable[[], Any], bool]]


def _lightgbm() -> Others:
    from lightgbm import LGBMClassifier, LGBMRegressor

    few = {"n_estimators": 50, "verbosity": -1, "random_state": 0}
    forest = few | {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}
    return {
        "LGBMClassifier": (TREES, lambda: LGBMClassifier(**few), False),
        "LGBMClassifier(dart)": (TREES[1:2], lambda: LGBMClassifier(boosting_type="dart", **few), False),
        "LGBMClassifier(rf)": (TREES[1:2], lambda: LGBMClassifier(**forest), False),
        "LGBMRegressor": (TREES[1:2], lambda: LGBMRegressor(**few), True),
        "LGBMRegressor(poisson)": (TREES[1:2], lambda: LGBMRegressor(objective="poisson", **few), True),
        "LGBMRegressor(mape)": (TREES[1:2], lambda: LGBMRegressor(objective="mape", **few), True),
    }


def _xgboost() -> Others:
    from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

    few = {"n_estimators": 50, "random_state": 0}
    return {
        "XGBClassifier": (TREES, lambda: XGBClassifier(**few), False),
        "XGBClassifier(dart)": (TREES[1:2], lambda: XGBClassifier(booster="dart", **few), False),
        "XGBClassifier(gblinear)": (DENSE[:1], lambda: XGBClassifier(booster="gblinear", **few), False),
        "XGBRFClassifier": (TREES[1:2], lambda: XGBRFClassifier(**few), False),
        "XGBRegressor": (TREES[1:2], lambda: XGBRegressor(**few), True),
        "XGBRegressor(poisson)": (TREES[1:2], lambda: XGBRegressor(objective="count:poisson", **few), True),
    }


def _catboost() -> Others:
    from catboost import CatBoostClassifier, CatBoostRegressor

    few = {"iterations": 50, "verbose": 0, "random_seed": 0, "allow_writing_files": False}
    return {
        "CatBoostClassifier": (TREES, lambda: CatBoostClassifier(**few), False),
        "CatBoostRegressor": (TREES[1:2], lambda: CatBoostRegressor(**few), True),
    }


def _skorch() -> Others:
    import skorch
    import torch

    class Regressor(skorch.NeuralNetRegressor):
        def fit(self, X: Any, y: Any, **parameters: Any) -> Any:
            return super().fit(X, y.reshape(-1, 1), **parameters)

    def network(kind: Any, outputs: int, criterion: Any, *layers: Any) -> Any:
        torch.manual_seed(0)
        first = layers or (torch.nn.LazyLinear(16), torch.nn.BatchNorm1d(16), torch.nn.ReLU())
        module = torch.nn.Sequential(*first, torch.nn.LazyLinear(outputs))
        return kind(module, criterion=criterion, max_epochs=3, lr=0.05, verbose=0)

    deep = lambda: network(skorch.NeuralNetClassifier, 2, torch.nn.CrossEntropyLoss)  # noqa: E731
    convolution = lambda: network(  # noqa: E731
        skorch.NeuralNetClassifier,
        2,
        torch.nn.CrossEntropyLoss,
        torch.nn.Unflatten(1, (1, -1)),
        torch.nn.Conv1d(1, 4, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
    )
    return {
        "NeuralNetClassifier (dense)": (DENSE[1:], deep, False),
        "NeuralNetClassifier (convolution)": (DENSE[1:], convolution, False),
        "NeuralNetRegressor (dense)": (DENSE[1:], lambda: network(Regressor, 1, torch.nn.MSELoss), True),
    }


OTHERS: dict[str, Callable[[], Others]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
    "skorch": _skorch,
}
