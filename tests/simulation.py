"""Variants whose true quality is known, with the errors that real classifiers make.

Whether a model answers a row rightly is told by a sum: how easy the row is for all models, for
this variant, and for this seed; and the quality of the variant, to which each seed adds its own,
overall and in favour of one class.
"""

from collections.abc import Sequence

import numpy as np

from common.statistics.resampling import Variant

SHARED, OWN, ALONE = 1.0, 0.5, 0.5  # standard deviations of how easy a row is


def labels_of(rows: int, share: float) -> np.ndarray:
    return (np.arange(rows) < round(rows * share)).astype(int)


def draw(
    generator: np.random.Generator,
    labels: np.ndarray,
    runs: int,
    seeds: Sequence[int],
    seed_effect: Sequence[float],
    quality: Sequence[float],
    shared: float = 0.0,
) -> list[list[Variant]]:
    """Variants of each run; `seeds`, `seed_effect` and `quality` have one value per variant.

    Of the variance of a seed's effect, the part `shared` is the same for all variants.

    Of equal quality they have the same expected accuracy, whatever their seed effects. One of 0.05
    is a standard deviation of accuracy of 0.6 points over seeds, 0.15 one of 1.9, 0.3 one of 3.9;
    where one class has 13 % of the rows, a quarter more, and of macro-F1 twice as much.
    """
    rows = len(labels)
    easy = SHARED * generator.normal(size=(runs, 1, rows))
    common = generator.normal(size=(2, runs, max(seeds), 1))
    answers = []
    for several, effect, level in zip(seeds, seed_effect, quality, strict=True):
        ease = easy + OWN * generator.normal(size=(runs, 1, rows))
        ease = ease + ALONE * generator.normal(size=(runs, several, rows))
        own = generator.normal(size=(2, runs, several, 1))
        overall, bias = effect * (
            np.sqrt(shared) * common[:, :, :several] + np.sqrt(1 - shared) * own
        )
        ease = ease / np.sqrt(SHARED**2 + OWN**2 + ALONE**2)
        # Spread over seeds would lower the mean accuracy: a normal integral of a wider margin.
        level = level * np.sqrt(1 + 2 * effect**2)
        right = ease + level + overall + bias * (2 * labels - 1) > 0
        answers.append(np.where(right, labels, 1 - labels))
    return [
        [
            Variant(
                f"{number}-{run}",
                np.eye(2, dtype=np.float32)[answer[run]],
                seeds=tuple(range(answer.shape[1])),
            )
            for number, answer in enumerate(answers)
        ]
        for run in range(runs)
    ]
