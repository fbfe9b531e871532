"""Where services come from. Each registry decodes what it is told into deltas and hands them to a sink.

A registry keeps its last state when its source is silent, and knows nothing of proxies or of xDS.
"""
