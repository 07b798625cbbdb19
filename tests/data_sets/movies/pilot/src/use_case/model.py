"""The model: a logistic regression on the title, the makers and the budget."""

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def build() -> Pipeline:
    """Returns the unfitted pipeline."""
    encode = make_column_transformer(
        (TfidfVectorizer(min_df=3), "title"),
        (OneHotEncoder(handle_unknown="ignore"), ["distributor", "origin", "genre", "creative_type"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
    )
    return make_pipeline(encode, LogisticRegression(max_iter=1000))
