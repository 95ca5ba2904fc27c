"""Metrics, intervals, results and the report."""
