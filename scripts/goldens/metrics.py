"""Accuracy, precision, recall, F1 and confusion counts of random predictions, computed with numpy from the definitions
that scikit-learn uses (`zero_division=0`), without going through a confusion matrix.

    python scripts/goldens/metrics.py

writes Tests/MoruTrustTests/Goldens/metrics.json.
"""

import json
import pathlib

import numpy


def ratio(part, whole):
    return float(part) / float(whole) if whole else 0.0


def figures(truth, predicted, values):
    truth, predicted = numpy.array(truth), numpy.array(["" if p is None else p for p in predicted])
    by_value = []
    for value in values:
        hits = numpy.sum((truth == value) & (predicted == value))
        misses = numpy.sum((truth == value) & (predicted != value))
        alarms = numpy.sum((truth != value) & (predicted == value))
        by_value.append(
            {
                "precision": ratio(hits, hits + alarms),
                "recall": ratio(hits, hits + misses),
                "f1": ratio(2 * hits, 2 * hits + misses + alarms),
                "support": int(numpy.sum(truth == value)),
            }
        )
    columns = values + [""]
    return {
        "accuracy": float(numpy.mean(truth == predicted)),
        "macro_f1": float(numpy.mean([v["f1"] for v in by_value])),
        "by_value": by_value,
        "confusion": [[int(numpy.sum((truth == t) & (predicted == p))) for p in columns] for t in values],
    }


def case(random, value_count, size, skill, silence):
    values = [f"v{index}" for index in range(value_count)]
    truth = [values[int(i)] for i in random.integers(0, value_count, size)]
    predicted = []
    for value in truth:
        if random.random() < silence:
            predicted.append(None)
        elif random.random() < skill:
            predicted.append(value)
        else:
            # Only of the first values, so that some are never predicted wrongly, and some never at all
            predicted.append(values[int(random.integers(0, max(1, value_count - 1)))])
    present = sorted(set(truth))
    predicted = [p if p in present else None for p in predicted]
    return {"truth": truth, "predicted": predicted, "values": present} | figures(truth, predicted, present)


def main():
    random = numpy.random.default_rng(20240726)
    shapes = [(2, 30, 0.8, 0.0), (3, 60, 0.6, 0.1), (7, 80, 0.5, 0.05), (5, 12, 0.0, 0.3), (1, 5, 0.5, 0.5), (4, 40, 1.0, 0.0)]
    path = pathlib.Path(__file__).parents[2] / "Tests/MoruTrustTests/Goldens/metrics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cases": [case(random, *shape) for shape in shapes]}) + "\n")


if __name__ == "__main__":
    main()
