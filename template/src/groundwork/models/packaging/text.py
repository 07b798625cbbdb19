"""Text in ONNX models: the conversion of scikit-learn's vectorizers, and texts that a conversion must not get wrong."""

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper
from pydantic import TypeAdapter
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from groundwork.models.serving.term_weights import METADATA, Vectorizer

_DOMAIN, _NODE = "groundwork", "TermWeights"


def register() -> None:
    """Register the converters of CountVectorizer and TfidfVectorizer, in place of those of skl2onnx."""
    for kind in (CountVectorizer, TfidfVectorizer):
        update_registered_converter(kind, f"Groundwork{kind.__name__}", _shape, _convert)


def _shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, len(operator.raw_operator.vocabulary_)])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add a node that holds the vectorizer, and that `take_texts_out` replaces by an input of the graph."""
    fitted = operator.raw_operator
    own = [
        each for each in ("analyzer", "tokenizer", "preprocessor", "strip_accents") if callable(getattr(fitted, each))
    ]
    if own or fitted.input != "content":
        raise NotImplementedError(f"{type(fitted).__name__}: its {', '.join(own) or 'input'} cannot be converted")
    [text], [weights] = operator.inputs, operator.outputs
    if not isinstance(text.type, StringTensorType) or text.type.shape[1:] != [1]:
        raise NotImplementedError(f"{type(fitted).__name__} of {text.type}: one column of text is required")
    weighing = getattr(fitted, "_tfidf", None)  # of TfidfVectorizer
    idf = getattr(weighing, "idf_", None)
    vectorizer = Vectorizer(
        feature=text.full_name,
        input=weights.full_name,
        terms=sorted(fitted.vocabulary_, key=fitted.vocabulary_.__getitem__),
        analyzer=fitted.analyzer,
        lowercase=fitted.lowercase,
        strip_accents=fitted.strip_accents,
        stop_words=sorted(fitted.get_stop_words() or ()),
        token_pattern=fitted.token_pattern or "",
        ngram_range=fitted.ngram_range,
        binary=fitted.binary,
        sublinear_tf=weighing is not None and weighing.sublinear_tf,
        idf=None if idf is None else idf.tolist(),
        norm=None if weighing is None else weighing.norm,
        dtype="float32" if fitted.dtype == np.float32 else "float64",
    )
    container.add_node(
        _NODE,
        [text.full_name],
        [weights.full_name],
        op_domain=_DOMAIN,
        op_version=1,
        name=f"terms_of_{weights.full_name}",
        vectorizer=vectorizer.model_dump_json(),
    )


def take_texts_out(model: ModelProto) -> None:
    """Replace the nodes that hold vectorizers by inputs of the graph, and describe the vectorizers in the metadata.

    Raises NotImplementedError if a vectorizer reads anything but a feature as it is.
    """
    graph = model.graph
    found = []
    for node in [node for node in graph.node if node.domain == _DOMAIN]:
        vectorizer = Vectorizer.model_validate_json(node.attribute[0].s)
        # The optimiser may have renamed both.
        vectorizer = vectorizer.model_copy(update={"feature": node.input[0], "input": node.output[0]})
        if vectorizer.feature not in {each.name for each in graph.input}:
            raise NotImplementedError(f"the terms of {vectorizer.feature}, which is computed within the model")
        width = len(vectorizer.terms)
        graph.input.append(helper.make_tensor_value_info(vectorizer.input, TensorProto.FLOAT, [None, width]))
        graph.node.remove(node)
        found.append(vectorizer)
    if not found:
        return
    read = {name for node in graph.node for name in node.input}
    for unread in [each for each in graph.input if each.name not in read]:
        graph.input.remove(unread)
    for opset in [each for each in model.opset_import if each.domain == _DOMAIN]:
        model.opset_import.remove(opset)
    for output in graph.output:  # skl2onnx says one row behind a TfidfTransformer, and ONNX Runtime warns at every call
        output.type.tensor_type.shape.dim[0].Clear()
    helper.set_model_props(model, {METADATA: TypeAdapter(list[Vectorizer]).dump_json(found).decode()})


_HOSTILE = (
    "",
    " ",
    "\n\t\r\n",
    "a",
    "É",
    "7",
    "0123456789 3.14 1e9 ٣٤٥ ⅷ ²",
    "café naïve über façade Ærøskøbing ﬁne ﬂow Straße STRASSE ẞ",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",  # accents as characters of their own
    "İSTANBUL \u0131l\u0131k ΟΔΥΣΣΕΥΣ ǅ \u212aelvin \u212bngström",  # other lengths or forms in lower case
    "שלום עולם مرحبا بالعالم \u202eright to left\u202c",
    "中文没有空格 日本語 한국어 ไทย हिन्दी",
    "zero\u200bwidth\u200djoined\ufeff soft\u00adhyphen no\u00a0break line\u2028separator next\u0085line",
    "\U0001f600 \U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2603\ufe0f \U0001d518\U0001d52b\U0001d526",
    "under_score hy-phen it's e-mail@example.com http://example.com/?q=a&b=c",
    "nul\u0000in the middle",
    "1 < 2 &amp; 3 > 2 \"quoted\" 'single' back\\slash %s {} $1",
)
_WORDS = 40


def hostile_texts(values: Iterable[str]) -> list[str]:
    """Return texts that conversions of text models get wrong: general ones, and ones made of the words in `values`.

    From known words: upper case, joined words, repeated words, other spaces and marks between words, words of one
    letter between them, accents added, and a very long text.
    """
    words = list(islice(dict.fromkeys(word for text in values for word in re.findall(r"\w+", text)), _WORDS))
    line = " ".join(words)
    made = [
        line,
        line.upper(),
        line.title(),
        line.replace("i", "İ"),
        "".join(words),
        " a ".join(words),
        "x " + " y\u00e9 ".join(words),
        "_".join(words),
        "-".join(words),
        "\u200b".join(words),
        "  \n\u00a0 ".join(words),
        " ".join(reversed(words)),
        " ".join(f"{word}é" for word in words),
        " ".join(f"{word}\u0301" for word in words),
        " ".join(word[:-1] for word in words),
        f"{line} " * (1 + 10_000 // (1 + len(line))),
        *words[:5],
        *(word.upper() for word in words[:5]),
        *(f" {word * 3} {word}" for word in words[:5]),
    ]
    return list(dict.fromkeys([*_HOSTILE, *made, "very long " * 1000, "x" * 10_000]))
