"""The control plane as a process: the pipeline that owns the state, ADS, the agents' stream, the admin API.

It moves bytes between the network and the pure rooms below, and decides nothing about configuration.
"""
