"""The asset graph, one module a stage: each asset loads, makes one core call, stores and reports."""
