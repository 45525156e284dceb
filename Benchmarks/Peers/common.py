"""What the Python peers share: steps timed one by one, results as one line of JSON."""
import json
import resource
import time


def timed(step, count):
    """Seconds of each of `count` calls."""
    seconds = []
    for _ in range(count):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return seconds


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def report(**values):
    """Prints the results and the most memory that the process ever had resident."""
    values["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps(values), flush=True)
