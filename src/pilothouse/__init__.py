"""Pilothouse: a service-mesh control plane for everything that is not Kubernetes.

The rooms, and which may import which, are described in ARCHITECTURE.md and enforced by import-linter.
"""

__version__ = "0.1.0"
