"""What predicts: an unfitted scikit-learn estimator that takes the contract's features as they are."""

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def build() -> Pipeline:
    """Build the pipeline. Preprocessing belongs inside it, so that training and serving cannot differ.

    Columns arrive as the contract's features: text as str, everything else as float32, with NaN for a missing value.
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
