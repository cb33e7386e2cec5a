"""Baselines: classifiers that are cheap and train no model, one entry each.

A new baseline is an entry of BASELINES; `make docs` puts its name into config/schema.yaml.
"""

import logging
import re
from collections.abc import Callable
from typing import Any, NamedTuple

log = logging.getLogger("eval_baseline")

INVERSE_REGULARISATION = (0.1, 1.0, 10.0, 100.0, 1000.0)
EMBEDDING_REGULARISATION = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
WORD = r"\w+"  # one letter is a word, too: a text of such words has features


class Baseline(NamedTuple):
    """One baseline.

    Attributes:
        about: what it is, for the methods section of a paper.
        candidates: takes the training texts, or their embeddings, and returns unfitted classifiers
            of scikit-learn; the one with the least log loss on the validation rows is evaluated.
        trivial: whether every variant should be better, so that nobody would choose it.
        of_model: whether it reads embeddings of a model: there is one for each model then.
    """

    about: str
    candidates: Callable[[Any], list[Any]]
    trivial: bool = False
    of_model: bool = False


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


def embedding(_: Any) -> list[Any]:
    """Return logistic regressions on standardised embeddings that differ in regularisation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        for strength in EMBEDDING_REGULARISATION
    ]


def best_candidate(
    candidates: list[Any], train: tuple[Any, list[int]], validation: tuple[Any, list[int]]
) -> tuple[float, Any]:
    """Return the least log loss on validation rows, in nats, and the fitted candidate that has it.

    Args:
        candidates: unfitted classifiers.
        train: what they read of the training rows, and the class numbers.
        validation: the same of the validation rows.
    """
    from sklearn.metrics import log_loss

    fitted = [candidate.fit(*train) for candidate in candidates]
    losses = [
        log_loss(validation[1], each.predict_proba(validation[0]), labels=each.classes_)
        for each in fitted
    ]
    best = min(range(len(fitted)), key=lambda place: losses[place])
    return losses[best], fitted[best]


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
    "embedding": Baseline(
        "embedding is logistic regression on embeddings of the frozen model, its last hidden "
        "states, pooled as the files of the model say, or else by their mean, the first or the "
        "last one, as the validation rows choose; they choose the regularisation too",
        embedding,
        of_model=True,
    ),
}
OF_TEXTS = tuple(name for name, baseline in BASELINES.items() if not baseline.of_model)
OF_MODELS = tuple(name for name, baseline in BASELINES.items() if baseline.of_model)
TRIVIAL = tuple(name for name, baseline in BASELINES.items() if baseline.trivial)
REFERENCE = "tfidf"  # that tables and sentences compare every variant with
