"""Istio's kinds: YAML text in, typed and validated objects and Problems with line numbers out.

Second hop of the configuration's way (text → config → World). Pure: no I/O, no merging, no precedence; which of
two rules wins is decided in ``resolve``.
"""
