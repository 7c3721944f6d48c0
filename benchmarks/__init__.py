"""Runnable comparisons with what one would otherwise do; none is a timed test."""
