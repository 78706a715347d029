"""A run's figures for monitoring: counted from its events, shown by Ray or Prometheus.

`figures` counts, `measured` listens to a run, `prometheus` writes and serves; what a run on Ray
shows goes through Ray (`farm/ray_metrics.py`). A film never waits for its figures, nor fails with
them.
"""
