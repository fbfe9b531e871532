"""Content digests: equal bytes, equal version, on every replica of one build.

Versions are digests of a resource's own deterministic bytes, so a control plane that restarts with an unchanged
World offers the versions that its proxies already hold (DESIGN: a version is a digest).
"""

from hashlib import blake2b

DIGEST_BYTES = 8
"""64 bits: a collision would have to happen between two successive contents of one name, so this is ample."""


def digest(body: bytes) -> str:
    """The version of ``body``: 16 hexadecimal characters."""
    return blake2b(body, digest_size=DIGEST_BYTES).hexdigest()
