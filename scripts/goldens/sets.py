"""Precision, recall and F1 of random sets of labels, by scikit-learn, and of random spans, by seqeval.

    python scripts/goldens/sets.py

writes Tests/MoruTrustTests/Goldens/sets.json. It needs scikit-learn and seqeval, which no test does.
"""

import json
import pathlib
import random
import warnings

import numpy
from seqeval.metrics import classification_report
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

warnings.filterwarnings("ignore")


def averages(report):
    return {name: [float(report[f"{name} avg"][key]) for key in ("precision", "recall", "f1-score")]
            for name in ("micro", "macro", "weighted")}


def label_case(rng, count, labels, agreement):
    draw = lambda: [int(rng.random() < 0.35) for _ in labels]
    truth = [draw() for _ in range(count)]
    found = [row if rng.random() < agreement else draw() for row in truth]
    names = lambda rows: [[name for name, flag in zip(labels, row) if flag] for row in rows]
    score = lambda average: precision_recall_fscore_support(
        numpy.array(truth), numpy.array(found), average=average, zero_division=0)
    each = score(None)
    return {
        "labels": labels, "truth": names(truth), "found": names(found),
        "subset_accuracy": float(accuracy_score(numpy.array(truth), numpy.array(found))),
        "averages": {name: [float(v) for v in score(name)[:3]] for name in ("micro", "macro", "weighted")},
        "by_label": {name: [float(v[i]) for v in each[:3]] + [int(each[3][i])] for i, name in enumerate(labels)},
    }


def tags(rng, length, labels):
    """Tags with inside tags that nothing begins, as models give them."""
    result = []
    while len(result) < length:
        kind = rng.random()
        if kind < 0.5:
            result.append("O")
        else:
            label = rng.choice(labels)
            result.append(("I-" if kind > 0.9 else "B-") + label)
            result += ["I-" + label] * rng.randrange(3)
    return result[:length]


def span_case(rng, count, labels, agreement):
    truth = [tags(rng, rng.randrange(1, 16), labels) for _ in range(count)]
    found = [row if rng.random() < agreement else
             [tag if rng.random() < 0.8 else rng.choice(["O"] + ["B-" + l for l in labels] + ["I-" + l for l in labels])
              for tag in row] for row in truth]
    report = classification_report(truth, found, output_dict=True, zero_division=0)
    return {
        "truth": truth, "found": found, "averages": averages(report),
        "by_label": {name: [float(report[name][key]) for key in ("precision", "recall", "f1-score")]
                     + [int(report[name]["support"])]
                     for name in report if not name.endswith(" avg")},
    }


rng = random.Random(7)
result = {
    "labels": [label_case(rng, 30, ["anger", "fear", "joy"], 0.5), label_case(rng, 12, list("abcdef"), 0.2),
               label_case(rng, 4, ["one", "never"], 0.9)],
    "spans": [span_case(rng, 20, ["LOC", "PER"], 0.4), span_case(rng, 9, ["A", "B", "C"], 0.0),
              span_case(rng, 3, ["X"], 1.0)],
}
target = pathlib.Path(__file__).parents[2] / "Tests/MoruTrustTests/Goldens/sets.json"
target.write_text(json.dumps(result, separators=(",", ":")) + "\n")
print(target, target.stat().st_size)
