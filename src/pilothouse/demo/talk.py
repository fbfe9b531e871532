"""Which rules does the talk show, as documents for a mesh of a given domain?

"Leveraging Istio's Pilot Adapters for Non-Kubernetes Platforms" (OSCON 2018), slides 13 to 15, and the canary that
goes with them. Pure text: ``check`` writes these into the configuration folder, and a person may do the same by
hand. The subsets that the rules name are defined by the mesh's own DestinationRules, not here.
"""

from dataclasses import dataclass
from typing import Final

JASON: Final = r"^(.*?;\s*)?(user=jason)(;.*)?$"
"""The slide has no ``\\s*`` and misses ``a=b; user=jason``, which is how browsers separate cookies."""


@dataclass(frozen=True, slots=True)
class TalkRule:
    """One file of the configuration folder.

    ``effects`` are what Envoy's own configuration holds while the rule is in force, and at no other time, in the words
    of ``check_envoy.decode_effects``.
    """

    file: str
    text: str
    effects: tuple[str, ...]


def ab_test(domain: str) -> TalkRule:
    """Slide 13: iPhone, iPad and iPod users see v2 of reviews, everyone else v1.

    The slide's expression has no ``.*`` around it and never matches, because Envoy compares the whole value.
    """
    host = f"reviews.{domain}"
    text = f"""\
# A/B test by device: iPhone, iPad and iPod users see v2 of reviews, everyone else v1.
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: reviews-v2-launch
spec:
  hosts:
  - {host}
  http:
  - match:
    - headers:
        user-agent:
          regex: ".*(iPod|iPhone|iPad).*"
    route:
    - destination:
        host: {host}
        subset: v2
  - route:
    - destination:
        host: {host}
        subset: v1
"""
    return TalkRule("talk-ab-test.yaml", text, ("virtual-service/reviews-v2-launch",))


def circuit_breaker(domain: str) -> TalkRule:
    """Slide 14, first half: one connection, one request that waits, one request per connection."""
    text = f"""\
# Circuit breaker: what exceeds one connection and one waiting request is refused at once.
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: productpage-circuit-breaker
spec:
  host: productpage.{domain}
  trafficPolicy:
    connectionPool:
      tcp:
        maxConnections: 1
      http:
        http1MaxPendingRequests: 1
        maxRequestsPerConnection: 1
"""
    return TalkRule("talk-circuit-breaker.yaml", text, (f"outbound|9080||productpage.{domain} max_connections 1",))


def ejection(domain: str) -> TalkRule:
    """Slide 14, second half: an instance is ejected for three minutes after its first error.

    Today's spelling of the slide's ``outlierDetection.http.consecutiveErrors``.
    """
    text = f"""\
# Outlier detection: one error, and the instance gets no request for three minutes.
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: productpage-ejection
spec:
  host: productpage.{domain}
  trafficPolicy:
    outlierDetection:
      consecutive5xxErrors: 1
      interval: 1s
      baseEjectionTime: 3m
      maxEjectionPercent: 100
"""
    return TalkRule("talk-ejection.yaml", text, (f"outbound|9080||productpage.{domain} outlier_detection",))


def fault(domain: str) -> TalkRule:
    """Slide 15: jason's ratings come two seconds late, and nobody waits for reviews longer than one."""
    text = f"""\
# Fault injection: jason's ratings come two seconds late.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: ratings
spec:
  hosts:
  - ratings.{domain}
  http:
  - match:
    - headers:
        cookie:
          regex: '{JASON}'
    fault:
      delay:
        percentage:
          value: 100
        fixedDelay: 2s
    route:
    - destination:
        host: ratings.{domain}
  - route:
    - destination:
        host: ratings.{domain}
---
# Whoever calls reviews gives up after one second.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts:
  - reviews.{domain}
  http:
  - route:
    - destination:
        host: reviews.{domain}
        subset: v2
    timeout: 1s
"""
    return TalkRule("talk-fault.yaml", text, ("virtual-service/ratings", "virtual-service/reviews"))


def canary(domain: str) -> TalkRule:
    """A tenth of the traffic to the new version."""
    text = f"""\
# Canary: nine requests in ten stay on v1 of reviews, one goes to v2.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews-canary
spec:
  hosts:
  - reviews.{domain}
  http:
  - route:
    - destination:
        host: reviews.{domain}
        subset: v1
      weight: 90
    - destination:
        host: reviews.{domain}
        subset: v2
      weight: 10
"""
    return TalkRule("talk-canary.yaml", text, ("virtual-service/reviews-canary",))
