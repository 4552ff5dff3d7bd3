"""How many planted label errors are among the suspect labels (model_code/suspect_labels.py), on MNIST.

Run: python benchmarks/suspect_labels.py DIR, where DIR holds mnist/ (see pipeline/configs/real_small.py). A small
network of scikit-learn is trained on the train split and asked about the test split. The same share of both has wrong
labels.
"""

import argparse
import csv
import pathlib
import warnings

import numpy as np
from PIL import Image
from sklearn.neural_network import MLPClassifier

from model_code import suspect_labels


def read(folder: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> pixels [N, 784] in [0, 1] and labels [N]."""
    with open(folder / 'manifest.csv', encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    names = sorted({row['label'] for row in rows})
    return {split: (np.stack([np.asarray(Image.open(folder / row['path'])).ravel() / 255 for row in rows
                              if row['split'] == split]),
                    np.array([names.index(row['label']) for row in rows if row['split'] == split]))
            for split in ('train', 'test')}


def with_errors(labels: np.ndarray, share: float, rng) -> tuple[np.ndarray, set[int]]:
    """The labels with a share of them changed to another class, and which."""
    planted = rng.choice(len(labels), round(share * len(labels)), replace=False)
    changed = labels.copy()
    changed[planted] = (labels[planted] + rng.integers(1, 10, len(planted))) % 10
    return changed, set(planted.tolist())


def suspects(labels: np.ndarray, scores: np.ndarray) -> list[int]:
    """The examples with a suspect label, the most suspect first."""
    found, _ = suspect_labels.find(lambda *some: [suspect_labels.which_class(*some)], labels, scores)
    return sorted(found, key=lambda number: (found[number], number))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dir', metavar='DIR', type=pathlib.Path)
    splits = read(parser.parse_args().dir / 'mnist')
    warnings.simplefilter('ignore')  # of a network that could be trained further
    print('planted  accuracy  listed  of the first 20  precision  recall')
    for share in (0.0, 0.02, 0.05, 0.1):
        rng = np.random.default_rng(0)
        (pixels, labels), (test_pixels, test_labels) = splits['train'], splits['test']
        model = MLPClassifier((64,), alpha=1.0, max_iter=30, random_state=0)
        model.fit(pixels, with_errors(labels, share, rng)[0])
        given, planted = with_errors(test_labels, share, rng)
        scores = model.predict_proba(test_pixels)
        found = suspects(given, scores)
        right = [number in planted for number in found]
        accuracy, precision = np.mean(scores.argmax(axis=1) == given), np.mean(right) if right else 0.0
        print(f'{len(planted):7d}  {accuracy:8.3f}  {len(found):6d}  {sum(right[:20]):15d}  {precision:9.3f}  '
              f'{sum(right) / max(1, len(planted)):6.3f}')


if __name__ == '__main__':
    main()
