"""Submits tasks and waits for their results: client.py WARM_UP JOBS LATENCIES; JSON on standard output."""

import json
import sys
import time

from tasks import true

RESULT_TIMEOUT = 120


def run(count):
    """Submits so many, then waits for all; seconds."""
    began = time.perf_counter()
    results = [true.delay() for _ in range(count)]
    for result in results:
        if result.get(timeout=RESULT_TIMEOUT) != 0:
            raise RuntimeError('a task failed')
    return time.perf_counter() - began


warm_up, jobs, latencies = map(int, sys.argv[1:])
run(warm_up)
seconds = run(jobs)
json.dump({'seconds': seconds, 'latencies': [run(1) * 1000 for _ in range(latencies)]}, sys.stdout)
