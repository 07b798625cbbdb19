"""The types that a model in the skops format may hold, in addition to those that skops trusts.

Each was read in the releases of the tested set: when skops loads it, no code and no name from the file is run, only its
own `__setstate__`, if it has one. Those that hold arrays or text for compiled code do not check them: an altered one
can crash the process. So a bundle is opened only after its signature was checked.

Left out: `PyFuncDistance` of scikit-learn, which calls any function; estimators of the team's own.
"""

TRUSTED_TYPES = [
    "numpy.dtype",  # read from an empty array, which numpy loads without pickle
    "collections.OrderedDict",  # a dict
    "sklearn.utils._bunch.Bunch",  # a dict; its __setstate__ does nothing
    # A bound function, which is one of this list, or a NumPy or SciPy function on numbers that skops trusts.
    "functools.partial",
    # Functions that convert an array or compute statistics of one; FunctionTransformer and SelectKBest refer to them.
    "sklearn.utils.validation.check_array",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.compose._column_transformer.make_column_selector",  # its attributes are set: a pattern and types
    # Nodes as arrays, copied after their shape and type were checked; indices are not checked.
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # Python objects without a __setstate__ of their own, whose attributes are set: numbers, arrays, estimators.
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",  # a named tuple: two arrays of numbers and an estimator
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    # Arrays of points and nodes in a tuple, taken over as they are, and the distance between points: a few numbers.
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "scipy.interpolate._bsplines.BSpline",  # knots and coefficients, set as attributes; SplineTransformer holds it
    "scipy._lib.array_api_compat.numpy._aliases.asarray",  # numpy.asarray, an attribute of BSpline
    # Boosters: their __setstate__ gives a text, or bytes, to the library's own reader of models, in C++.
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
    "catboost.core.CatBoostClassifier",
    "catboost.core.CatBoostRegressor",
]
