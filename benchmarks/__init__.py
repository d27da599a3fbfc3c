"""What a request costs, beside others who do the same: `python -m benchmarks` (`make bench`).

Never a timed test: absolute figures move by a factor of two with the machine's mood.
What counts is a ratio between bursts that took turns within one run.
"""
