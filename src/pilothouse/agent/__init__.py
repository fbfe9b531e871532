"""The agent: stands beside one workload or is one gateway, and owns its Envoy.

``run.run_agent`` composes the parts; ``settings.AgentSettings`` is all that it is told. ``bootstrap`` is pure.
Configuration never passes through here: Envoy asks the control plane for it by itself.
"""
