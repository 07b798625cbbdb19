"""The model: a ridge regression on past prices, the city and the month."""

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def build() -> Pipeline:
    """Returns the unfitted pipeline."""
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city", "month"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
    )
    return make_pipeline(encode, Ridge(1.0))
