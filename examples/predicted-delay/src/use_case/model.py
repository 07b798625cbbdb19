"""The model: an unfitted scikit-learn estimator, whose inputs are the contract's features."""

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def build() -> Pipeline:
    """Returns the unfitted pipeline. Put preprocessing into it, so that training and serving cannot differ.

    Its input has one column per feature of the contract: text as str, all others as float32, NaN if missing.
    """
    encode = make_column_transformer(
        (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            make_column_selector(dtype_exclude="number"),
        ),
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    return make_pipeline(encode, HistGradientBoostingRegressor(max_iter=100, learning_rate=0.08, random_state=0))
