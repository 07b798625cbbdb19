"""Turns texts into term weights for an ONNX model, as scikit-learn's CountVectorizer and TfidfVectorizer do.

ONNX Runtime's own text operators need an installed locale, split words at accents, and build other pairs of words and
characters than scikit-learn. So terms are found and weighted here, and the graph gets the weights as an input.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from pydantic import BaseModel, TypeAdapter

METADATA = "groundwork.texts"  # the key in the ONNX file's metadata
WEIGHTS_AT_ONCE = 8_000_000  # 32 MB: the graph gets a weight per row and term, although most are 0


class Vectorizer(BaseModel):
    """A fitted vectorizer; the fields without a comment are scikit-learn's parameters."""

    feature: str  # the feature whose text it reads
    input: str  # the graph's input that takes its weights
    terms: list[str]  # in the order of the columns
    analyzer: Literal["word", "char", "char_wb"]
    lowercase: bool
    strip_accents: Literal["ascii", "unicode"] | None
    stop_words: list[str]
    token_pattern: str
    ngram_range: tuple[int, int]
    binary: bool
    sublinear_tf: bool = False
    idf: list[float] | None = None  # the weight of each term; None for all equal
    norm: Literal["l1", "l2"] | None = None
    dtype: Literal["float32", "float64"]  # the type that scikit-learn computes in


class ModelInputs:
    """Makes the inputs of an ONNX model from columns: the features that it takes, and the weights of terms."""

    def __init__(self, session: InferenceSession) -> None:
        found = TypeAdapter(list[Vectorizer]).validate_json(
            session.get_modelmeta().custom_metadata_map.get(METADATA, "[]")
        )
        self._weighers = [_Weigher(vectorizer) for vectorizer in found]
        width = sum(len(vectorizer.terms) for vectorizer in found)
        self._rows_at_once = max(1, WEIGHTS_AT_ONCE // width) if width else None
        self._taken = [each.name for each in session.get_inputs()]

    def parts(self, columns: Mapping[str, NDArray]) -> Iterator[dict[str, NDArray]]:
        """Yield the inputs for one array per feature: columns of the shape (rows, 1), weights of (rows, terms).

        Many rows come in several parts, so that the weights fit into memory; without text, all rows are one part.
        """
        rows = len(next(iter(columns.values())))
        size = self._rows_at_once or max(1, rows)
        for begin in range(0, max(1, rows), size):
            part = {name: values[begin : begin + size] for name, values in columns.items()}
            inputs = {name: values.reshape(-1, 1) for name, values in part.items()}
            inputs |= {each.input: each.weights(part[each.feature]) for each in self._weighers}
            yield {name: inputs[name] for name in self._taken}


class _Weigher:
    def __init__(self, vectorizer: Vectorizer) -> None:
        self.feature, self.input = vectorizer.feature, vectorizer.input
        self._vectorizer = vectorizer
        self._place = {term: place for place, term in enumerate(vectorizer.terms)}
        self._stop_words = frozenset(vectorizer.stop_words)
        self._words = re.compile(vectorizer.token_pattern).findall
        self._dtype = np.dtype(vectorizer.dtype)
        self._idf = None if vectorizer.idf is None else np.array(vectorizer.idf, dtype=self._dtype)

    def weights(self, texts: NDArray) -> NDArray[np.float32]:
        answer = np.zeros((len(texts), len(self._place)), dtype=np.float32)
        for row, text in enumerate(texts):
            counts = Counter(map(self._place.get, self._terms(text)))
            counts.pop(None, None)
            if counts:
                places = np.array(sorted(counts))  # type: ignore[type-var]
                answer[row, places] = self._weighed(places, np.array([counts[place] for place in places.tolist()]))
        return answer

    def _weighed(self, places: NDArray, counts: NDArray) -> NDArray:
        """Return the weights of the terms of one text, in the steps and the type of scikit-learn."""
        vectorizer = self._vectorizer
        weights = (np.ones_like(counts) if vectorizer.binary else counts).astype(self._dtype)
        if vectorizer.sublinear_tf:
            weights = np.log(weights) + 1
        if self._idf is not None:
            weights = weights * self._idf[places]
        if vectorizer.norm is not None:
            # Sums in float64, one by one, as scikit-learn: trees may split at a difference in the last digit.
            sizes = weights * weights if vectorizer.norm == "l2" else np.abs(weights)
            total = np.cumsum(sizes, dtype=np.float64)[-1]
            length = np.sqrt(total) if vectorizer.norm == "l2" else total
            weights = (weights / length).astype(self._dtype) if length else weights
        return weights

    def _terms(self, text: str) -> Iterator[str] | list[str]:
        vectorizer = self._vectorizer
        if vectorizer.lowercase:
            text = text.lower()
        if vectorizer.strip_accents:
            text = _without_accents(text, vectorizer.strip_accents)
        if vectorizer.analyzer == "word":
            words = [word for word in self._words(text) if word not in self._stop_words]
            if vectorizer.ngram_range == (1, 1):
                return words
            return (" ".join(words[begin:end]) for begin, end in _spans(len(words), vectorizer.ngram_range))
        text = re.sub(r"\s\s+", " ", text)
        if vectorizer.analyzer == "char":
            return (text[begin:end] for begin, end in _spans(len(text), vectorizer.ngram_range))
        return self._of_padded_words(text)

    def _of_padded_words(self, text: str) -> Iterator[str]:
        """Yield sequences of characters within each word and the spaces around it; a short word once, as a whole."""
        shortest, longest = self._vectorizer.ngram_range
        for word in text.split():
            padded = f" {word} "
            yield from (padded[begin:end] for begin, end in _spans(len(padded), (shortest, min(longest, len(padded)))))
            if shortest > len(padded):
                yield padded


def _spans(length: int, sizes: tuple[int, int]) -> Iterator[tuple[int, int]]:
    return ((begin, begin + size) for size in range(sizes[0], sizes[1] + 1) for begin in range(length - size + 1))


def _without_accents(text: str, way: str) -> str:
    if text.isascii():
        return text
    separated = unicodedata.normalize("NFKD", text)
    if way == "ascii":
        return separated.encode("ascii", "ignore").decode()
    return "".join(character for character in separated if not unicodedata.combining(character))
