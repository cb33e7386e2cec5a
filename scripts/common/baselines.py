"""Baselines: classifiers without the model, one entry each.

A new baseline is an entry of BASELINES; `make docs` puts its name into config/schema.yaml.
"""

import logging
import re
from collections.abc import Callable
from typing import Any, NamedTuple

log = logging.getLogger("eval_baseline")

INVERSE_REGULARISATION = (0.1, 1.0, 10.0, 100.0, 1000.0)
WORD = r"\w+"  # one letter is a word, too: a text of such words has features


class Baseline(NamedTuple):
    """One baseline.

    Attributes:
        about: what it is, for the methods section of a paper.
        candidates: takes the training texts, returns unfitted scikit-learn classifiers of texts;
            the one with the least log loss on the validation rows is evaluated.
        trivial: whether every variant should be better, so that nobody would choose it.
    """

    about: str
    candidates: Callable[[list[str]], list[Any]]
    trivial: bool = False


def majority(_: list[str]) -> list[Any]:
    """Return the one candidate that always predicts the most frequent class."""
    from sklearn.dummy import DummyClassifier

    return [DummyClassifier(strategy="prior")]


def unit(texts: list[str]) -> str:
    """Return what TF-IDF counts.

    "word", or "char" where no text has a word, and words would be none.
    """
    if any(re.search(WORD, text) for text in texts):
        return "word"
    log.warning("no training text has a word: TF-IDF counts characters")
    return "char"


def tfidf(texts: list[str]) -> list[Any]:
    """Return logistic regressions on TF-IDF that differ in their regularisation."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    analyzer = unit(texts)
    return [
        make_pipeline(
            TfidfVectorizer(
                analyzer=analyzer,
                ngram_range=(1, 2),
                sublinear_tf=True,
                token_pattern=WORD if analyzer == "word" else None,
            ),
            LogisticRegression(C=strength, max_iter=1000),
        )
        for strength in INVERSE_REGULARISATION
    ]


BASELINES = {
    "majority": Baseline(
        "majority gives every row the most frequent class of the training rows",
        majority,
        trivial=True,
    ),
    "tfidf": Baseline(
        "tfidf is logistic regression on TF-IDF weights of words and pairs of words, its "
        "regularisation chosen on the validation rows",
        tfidf,
    ),
}
TRIVIAL = tuple(name for name, baseline in BASELINES.items() if baseline.trivial)
REFERENCE = "tfidf"  # that tables and sentences compare every variant with
