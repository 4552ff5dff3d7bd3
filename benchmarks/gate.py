"""How often the gate is wrong: simulated pairs of models of which is known how much worse one is.

    python -m benchmarks.gate [--pairs 1000]

Each pair answers the eval splits of several tasks. What a model gets right depends on the difficulty of the example,
which both models share, on its group, and on what each model makes of that group: so the answers of a group are
correlated, and one model may be better on it by chance. For each case it prints the share of examples on which the
models disagree, and the shares of pairs in which the gate says 'worse' of any task, 'not worse' of all tasks, and in
which it accepts the candidate by its default policy.

tests/test_gate_simulation.py holds the figures.
"""

import argparse
import dataclasses
import math
from statistics import NormalDist

import numpy as np

from model_code import bootstrap, non_inferiority, statistical_power
from model_code.outcome_metrics import Sums

ACCURACY = 0.85
# How much of the difficulty of an example both models share: so much that they disagree on 7%, or on 10%.
AGREEMENT, LESS_AGREEMENT = 0.93, 0.86


@dataclasses.dataclass(frozen=True)
class Split:
    """One task's eval split. groups: how many; as many as examples for none. by_group: the part, from 0 to 1, of what
    is a model's own that it has for a whole group. drop: by how much the candidate is less accurate in truth."""
    examples: int
    groups: int
    by_group: float = 0.0
    drop: float = 0.0
    agreement: float = AGREEMENT


@dataclasses.dataclass(frozen=True)
class Case:
    """Splits that are judged together. naive: resample examples as if they had no groups."""
    title: str
    splits: tuple[Split, ...]
    max_drop: float
    naive: bool = False


@dataclasses.dataclass(frozen=True)
class Rates:
    """Shares of the pairs; disagree: the share of examples."""
    disagree: float
    worse: float
    not_worse: float
    accepted: float


def three(drop: float = 0.0) -> tuple[Split, ...]:
    """Three tasks, of which the candidate is worse in one by this."""
    return (Split(48, 12, 0.5), Split(1_000, 1_000, drop=drop), Split(500, 25, 0.5))


SPEAKERS = Split(1_000, 20, 0.9)
CASES = (
    Case('three tasks, equal models, max_drop 0', three(), 0.0),
    Case('three tasks, equal models, max_drop 0.02', three(), 0.02),
    Case('1,200 examples, equal models, max_drop 0.02', (Split(1_200, 1_200),), 0.02),
    Case('three tasks, one worse by 0.04, max_drop 0.02', three(0.04), 0.02),
    *(Case(f'{n:,} examples, worse by 0.04, max_drop 0.02', (Split(n, n, drop=0.04),), 0.02) for n in (48, 200, 1_000)),
    Case('1,000 in 20 groups, worse by 0.04, max_drop 0.02', (dataclasses.replace(SPEAKERS, drop=0.04),), 0.02),
    Case('1,000 in 20 groups, equal models, max_drop 0', (SPEAKERS,), 0.0),
    Case('the same, resampled as if there were no groups', (SPEAKERS,), 0.0, naive=True),
    *(Case(f'{n:,} examples, worse by {drop:.3f}, max_drop 0', (Split(n, n, 0.0, drop, LESS_AGREEMENT),), 0.0)
      for n in (100, 1_000) for drop in (statistical_power.smallest_drop(n),)),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pairs', type=int, default=1_000, help='pairs of models in each case')
    arguments = parser.parse_args()
    print(f'{"case":<50} {"disagree":>8} {"worse":>6} {"not worse":>9} {"accepted":>8}')
    for case in CASES:
        rates = simulate(case, arguments.pairs)
        print(f'{case.title:<50} {rates.disagree:>8.1%} {rates.worse:>6.1%} {rates.not_worse:>9.1%} '
              f'{rates.accepted:>8.1%}', flush=True)


def simulate(case: Case, pairs: int, seed: int = 0) -> Rates:
    """The rates over so many pairs of models."""
    rng = np.random.default_rng(seed)
    disagree, comparisons = [], []
    for split in case.splits:
        groups, candidate, baseline = answers(split, pairs, rng)
        disagree.append(np.mean(candidate != baseline))
        comparisons.append(compare(np.arange(split.examples) if case.naive else groups, candidate, baseline,
                                   case.max_drop))
    worse = not_worse = accepted = 0
    for together in zip(*comparisons, strict=True):
        outcomes = non_inferiority.outcomes(together)
        worse += 'worse' in outcomes
        not_worse += set(outcomes) == {'not_worse'}
        accepted += all(outcome == 'not_worse' or outcome == 'cannot_tell' and found.change >= -case.max_drop
                        for outcome, found in zip(outcomes, together, strict=True))
    return Rates(float(np.mean(disagree)), worse / pairs, not_worse / pairs, accepted / pairs)


def answers(split: Split, pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[N] int group numbers, the same for all pairs, and [N, pairs] of 1 and 0: what candidate and baseline get right.

    An example is right if its difficulty, a normal variable, is below the limit that gives the model's accuracy.
    """
    groups = np.arange(split.examples)
    if split.groups < split.examples:
        groups = np.sort(rng.integers(0, split.groups, split.examples))  # of different sizes
    shared = rng.normal(size=(split.examples, pairs))
    right = []
    for accuracy in (ACCURACY - split.drop, ACCURACY):
        own = (math.sqrt(split.by_group) * rng.normal(size=(split.groups, pairs))[groups]
               + math.sqrt(1 - split.by_group) * rng.normal(size=shared.shape))
        difficulty = math.sqrt(split.agreement) * shared + math.sqrt(1 - split.agreement) * own
        right.append((difficulty < NormalDist().inv_cdf(accuracy)).astype(float))
    return groups, *right


def compare(groups: np.ndarray, candidate: np.ndarray, baseline: np.ndarray, max_drop: float
            ) -> list[non_inferiority.Comparison]:
    """For each pair the comparison of the accuracies, as the gate makes it. groups: [N]. The others: [N, pairs]."""
    names, numbers = np.unique(groups, return_inverse=True)
    clusters = bootstrap.Clusters(numbers, len(names))
    # All pairs at once: [resamples, pairs]. The last column counts the examples.
    resamples, baseline_resamples = (bootstrap.resampled(
        Sums(np.column_stack([right, np.ones(len(right))]), lambda sums: sums[:, :-1] / sums[:, -1:]), clusters)
        for right in (candidate, baseline))
    return [non_inferiority.compare(float(candidate[:, i].mean()), float(baseline[:, i].mean()), resamples[:, i],
                                    baseline_resamples[:, i], len(groups), len(names), max_drop)
            for i in range(candidate.shape[1])]


if __name__ == '__main__':
    main()
