"""Anomaly detectors; every score is oriented so that higher means more anomalous."""
