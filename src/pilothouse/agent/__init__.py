"""The agent: stands beside one workload or is one gateway, and owns its Envoy.

``run.run_agent`` composes the parts; ``settings.AgentSettings`` is all that it is told. ``bootstrap`` is pure.
Configuration passes through ``relay`` as bytes: nobody here opens a resource.
"""
