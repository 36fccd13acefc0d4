"""Writes the fixtures beside this file.

pip install scikit-learn==1.9.1 seqeval==1.2.2 scipy==1.17.1 numpy==2.4.6
python make.py
"""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import scipy.stats
import sklearn.metrics as sk
from seqeval.metrics import accuracy_score as tag_accuracy
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as tag_scores
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
from seqeval.scheme import IOB2

warnings.filterwarnings("ignore")
HERE = Path(__file__).parent
ZERO = {"0": 0, "1": 1, "nan": np.nan}


def plain(value):
    """JSON has no NaN: it is written as the string NaN."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (np.integer, int)):
        return int(value)
    if isinstance(value, (np.floating, float)):
        return "NaN" if math.isnan(value) else float(value)
    return value


def write(name, cases):
    lines = ",\n".join(json.dumps(plain(case), separators=(",", ":")) for case in cases)
    (HERE / name).write_text(f"[\n{lines}\n]\n")


def averages(gold, predicted, labels, names, **more):
    out = {}
    for key, zero in ZERO.items():
        rows = sk.precision_recall_fscore_support(gold, predicted, labels=labels, zero_division=zero, **more)
        out[key] = {"classes": [list(r) for r in zip(*rows)]}
        for name in names:
            out[key][name] = sk.precision_recall_fscore_support(gold, predicted, average=name, zero_division=zero)[:3]
    return out


def classification_case(gold, predicted, classes):
    labels = list(range(classes))
    case = {
        "gold": gold,
        "predicted": predicted,
        "classes": classes,
        "accuracy": sk.accuracy_score(gold, predicted),
        "confusion": sk.confusion_matrix(gold, predicted, labels=labels),
        "matthews": sk.matthews_corrcoef(gold, predicted),
        "averages": averages(gold, predicted, labels, ["micro", "macro", "weighted"]),
        "macroAllClasses": sk.precision_recall_fscore_support(
            gold, predicted, labels=labels, average="macro", zero_division=0)[:3],
        "microFirstTwo": sk.precision_recall_fscore_support(
            gold, predicted, labels=[0, 1], average="micro", zero_division=0)[:3],
    }
    if classes == 2:
        case["binary"] = {
            key: [sk.precision_recall_fscore_support(
                gold, predicted, labels=[p], average="macro", zero_division=zero)[:3] for p in (0, 1)]
            for key, zero in ZERO.items()
        }
    return case


def classification(rng):
    cases = []
    for classes in (2, 3, 5, 12):
        for n in (1, 2, 7, 60):
            for skill in (0.0, 0.6, 1.0):
                gold = rng.integers(0, classes, n)
                noise = rng.integers(0, classes, n)
                predicted = np.where(rng.random(n) < skill, gold, noise)
                cases.append((gold, predicted, classes))
    cases += [
        ([0, 0, 0], [0, 0, 0], 2), ([1, 1, 1], [1, 1, 1], 2), ([0, 0, 0], [1, 1, 1], 2),
        ([0, 1, 0, 1], [0, 0, 0, 0], 2), ([2, 2, 0], [2, 1, 0], 5), ([4], [4], 5), ([0, 1, 2], [1, 2, 0], 3),
        ([1, 1, 1, 1, 0], [1, 1, 1, 1, 1], 2), ([3, 3, 3], [0, 1, 2], 4),
    ]
    return [classification_case([int(x) for x in g], [int(x) for x in p], c) for g, p, c in cases]


def multi_label(rng):
    cases = []
    for labels in (2, 4, 9):
        for n in (1, 5, 40):
            for density in (0.0, 0.15, 0.6, 1.0):
                gold = (rng.random((n, labels)) < density).astype(int)
                predicted = np.where(rng.random((n, labels)) < 0.7, gold, (rng.random((n, labels)) < 0.3).astype(int))
                cases.append((gold, predicted))
    cases.append((np.zeros((3, 3), int), np.zeros((3, 3), int)))
    cases.append((np.array([[1, 0, 0], [0, 1, 0]]), np.zeros((2, 3), int)))
    out = []
    for gold, predicted in cases:
        out.append({
            "gold": gold,
            "predicted": predicted,
            "subsetAccuracy": sk.accuracy_score(gold, predicted),
            "hammingLoss": sk.hamming_loss(gold, predicted),
            "averages": averages(gold, predicted, None, ["micro", "macro", "weighted", "samples"]),
        })
    return out


def regression(rng):
    pairs = []
    for n in (2, 3, 10, 80):
        for noise in (0.0, 0.5, 5.0):
            gold = np.round(rng.normal(3, 2, n), 2)
            pairs.append((gold, gold + noise * rng.normal(size=n)))
    gold = rng.integers(0, 5, 50).astype(float)
    pairs.append((gold, rng.integers(0, 5, 50).astype(float)))
    pairs.append((gold + 1e6, gold * 1e-3))
    pairs.append((np.ones(4), np.ones(4)))
    pairs.append((np.ones(4), np.array([1.0, 2.0, 3.0, 4.0])))
    pairs.append((np.full(3, 0.1), np.full(3, 0.1)))
    return [{
        "gold": g, "predicted": p,
        "mse": sk.mean_squared_error(g, p), "mae": sk.mean_absolute_error(g, p), "r2": sk.r2_score(g, p),
        "pearson": scipy.stats.pearsonr(g, p).statistic, "spearman": scipy.stats.spearmanr(g, p).statistic,
    } for g, p in pairs]


def calibration_error(gold, probabilities, bins):
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == gold
    edges = np.linspace(0, 1, bins + 1)
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += abs(right[inside].mean() - confidence[inside].mean()) * inside.mean()
    return total


def probability(rng):
    out = []
    for classes in (2, 3, 7):
        for n in (12, 90):
            for sharp in (0.3, 2.0, 40.0):
                gold = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
                logits = rng.normal(size=(n, classes)) * sharp
                logits[np.arange(n), gold] += sharp
                p = np.exp(logits - logits.max(axis=1, keepdims=True))
                p /= p.sum(axis=1, keepdims=True)
                coarse = np.round(p[:, -1], 1)
                last = (gold == classes - 1).astype(int)
                out.append({
                    "gold": gold, "probabilities": p,
                    "logLoss": sk.log_loss(gold, p, labels=list(range(classes))),
                    "aucLast": sk.roc_auc_score(last, p[:, -1]),
                    "coarse": coarse, "aucCoarse": sk.roc_auc_score(last, coarse),
                    "aucOneVsRest": sk.roc_auc_score(gold, p if classes > 2 else p[:, 1], multi_class="ovr"),
                    "calibration15": calibration_error(gold, p, 15), "calibration10": calibration_error(gold, p, 10),
                })
    return out


def strict(gold, predicted, **more):
    return strict_scores(gold, predicted, scheme=IOB2, **more)


def rows_of(scores, gold, predicted, zero):
    out = {}
    for average in ("micro", "macro", "weighted"):
        out[average] = list(scores(gold, predicted, average=average, zero_division=zero))
    out["types"] = [list(row) for row in zip(*scores(gold, predicted, average=None, zero_division=zero))]
    return out


def entities(rng):
    iob = ["O"] * 4 + [f"{p}-{t}" for p in "BI" for t in ("PER", "LOC", "A-x")]
    odd = iob + ["B", "I", "E-PER", "S-PER", "L-PER", "U-LOC", "E", "S", "L", ".", "O-PER", "B-", "IPER", "EX-LOC",
                 "B-PER-", "I--LOC"]
    pairs = []
    for tags, count in ((iob, 60), (odd, 60)):
        for _ in range(count):
            lengths = rng.integers(1, 9, rng.integers(1, 5))
            gold = [[str(t) for t in rng.choice(tags, n)] for n in lengths]
            same = rng.random()
            predicted = [[t if rng.random() < same else str(rng.choice(tags)) for t in s] for s in gold]
            pairs.append((gold, predicted))
    pairs += [
        ([["O", "O"]], [["O", "O"]]),
        ([["O", "O"]], [["B-PER", "O"]]),
        ([["B-PER", "O"]], [["O", "O"]]),
        ([["B-NP", "I-NP", "O"]], [["I-NP", "I-NP", "O"]]),
        ([["B-A", "I-B"]], [["B-A", "I-A"]]),
        ([["B-A", "B-A"]], [["B-A", "I-A"]]),
        ([["I-A", "I-A"], ["I-A"]], [["I-A", "I-A"], ["B-A"]]),
    ]
    out = []
    for gold, predicted in pairs:
        case = {"gold": gold, "predicted": predicted, "tokenAccuracy": tag_accuracy(gold, predicted)}
        for zero in (0, 1):
            case[f"default{zero}"] = rows_of(tag_scores, gold, predicted, zero)
            try:
                case[f"strict{zero}"] = rows_of(strict, gold, predicted, zero)
            except (ValueError, KeyError):
                case[f"strict{zero}"] = None
        out.append(case)
    return out


def tests():
    """The formulas of statsmodels.stats.contingency_tables.mcnemar, written out."""
    out = []
    for b, c in ((0, 0), (0, 1), (1, 1), (3, 12), (12, 3), (25, 25), (0, 40), (100, 140), (400, 700), (5000, 5300),
                 (90000, 91000)):
        n = b + c
        chi = (abs(b - c) - 1) ** 2 / n if n else 0.0
        out.append({"b": b, "c": c, "exact": min(1.0, 2 * scipy.stats.binom.cdf(min(b, c), n, 0.5)),
                    "chiSquare": chi, "pChiSquare": scipy.stats.chi2.sf(chi, 1) if n else 1.0})
    return out


if __name__ == "__main__":
    rng = np.random.default_rng(20)
    write("classification.json", classification(rng))
    write("multiLabel.json", multi_label(rng))
    write("regression.json", regression(rng))
    write("probability.json", probability(rng))
    write("entities.json", entities(rng))
    write("mcnemar.json", tests())
