"""What does the mesh of ``pilothouse up`` start with? Three small files of Istio's YAML that explain themselves.

They are written into a folder that is empty, and never over anything that a person wrote. Where the configuration
comes from afterwards is the control plane's business: it watches the folder.
"""

from pathlib import Path

from pilothouse.demo.plan import DOMAIN, LOOPBACK, SERVICE_PORT, MeshPlan

_GATEWAY = """\
# The door of the mesh: which port the ingress gateway opens, and for which hosts.
# `selector` chooses the proxies by their labels; here it is the one with `--label istio=ingressgateway`.
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: bookinfo
spec:
  selector:
    istio: ingressgateway
  servers:
  - port:
      number: {port}
      name: http
      protocol: HTTP
    bind: {bind}        # this machine only; nothing here is encrypted
    hosts:
    - "*"
"""

_BOOKINFO = """\
# What happens to a request that came in by the gateway `bookinfo`: all of it goes to productpage.
# productpage, details, reviews and ratings come from the registry: each agent registers the app beside it.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: bookinfo
spec:
  hosts:
  - "*"
  gateways:
  - bookinfo
  http:
  - match:
    - uri:
        prefix: /
    route:
    - destination:
        host: productpage.{domain}
        port:
          number: {port}
"""

_REVIEWS_HEAD = """\
# Subsets give names to the versions of a service, so that rules can speak of them. Without a rule, the traffic of
# reviews goes to all three versions in turn: no stars (v1), black stars (v2), red stars (v3).
#
# Try it: take the marks off the lines of the VirtualService at the end, save, and reload the page.
"""

_DESTINATION_RULE = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {service}
spec:
  host: {service}.{domain}
  subsets:
"""

_SUBSET = """\
  - name: {version}
    labels:
      version: {version}
"""

_REVIEWS_TAIL = """\
---
# Everybody sees black stars:
#
# apiVersion: networking.istio.io/v1
# kind: VirtualService
# metadata:
#   name: reviews
# spec:
#   hosts:
#   - reviews.{domain}
#   http:
#   - route:
#     - destination:
#         host: reviews.{domain}
#         subset: v2
"""


def starting_files(plan: MeshPlan) -> dict[str, str]:
    """File names and texts of the starting configuration."""
    versions: dict[str, list[str]] = {}
    for workload in plan.workloads:
        versions.setdefault(workload.service, []).append(workload.version)
    reviews = versions.pop("reviews")
    others = [_destination_rule(service, versions[service]) for service in sorted(versions)]
    rules = "---\n".join((_destination_rule("reviews", reviews), *others))
    return {
        "gateway.yaml": _GATEWAY.format(port=plan.port, bind=LOOPBACK),
        "bookinfo.yaml": _BOOKINFO.format(domain=DOMAIN, port=SERVICE_PORT),
        "reviews.yaml": _REVIEWS_HEAD + rules + _REVIEWS_TAIL.format(domain=DOMAIN),
    }


def write_configuration(plan: MeshPlan) -> bool:
    """Fill the plan's configuration folder if it is empty. False if something is in it, which then stays as it is.

    Raises OSError.
    """
    folder = Path(plan.config_folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        return False
    for name, text in starting_files(plan).items():
        (folder / name).write_text(text, encoding="utf-8")
    return True


def is_untouched(plan: MeshPlan) -> bool:
    """Whether the folder holds the starting configuration and nothing else, so that nobody would miss it."""
    folder = Path(plan.config_folder)
    try:
        found = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    except (OSError, UnicodeDecodeError):
        return not folder.exists()
    return found == starting_files(plan)


def _destination_rule(service: str, versions: list[str]) -> str:
    subsets = "".join(_SUBSET.format(version=version) for version in versions)
    return _DESTINATION_RULE.format(service=service, domain=DOMAIN) + subsets
