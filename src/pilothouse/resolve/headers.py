"""Header operations of a route: what may be changed, in a defined order. Source: istio-behaviour §2.1."""

from pilothouse.config.virtualservice import HeaderOperations, Headers, HTTPRoute
from pilothouse.resolve.view import HeaderChanges, HeaderPolicy

_AUTHORITY = ("host", ":authority")


def header_policy(headers: Headers | None) -> HeaderPolicy:
    """Changes on both ways. The authority is rewritten elsewhere; other pseudo headers never."""
    if headers is None:
        return HeaderPolicy()
    return HeaderPolicy(changes(headers.request), changes(headers.response))


def changes(operations: HeaderOperations | None) -> HeaderChanges:
    """One way's changes, in order of name."""
    if operations is None:
        return HeaderChanges()
    return HeaderChanges(
        set_=tuple(pair for pair in sorted(operations.set_.items()) if allowed(pair[0])),
        add=tuple(pair for pair in sorted(operations.add.items()) if allowed(pair[0])),
        remove=tuple(name for name in operations.remove if allowed(name)),
    )


def allowed(name: str) -> bool:
    """Whether a header may be changed as a header."""
    return not name.startswith(":") and name.lower() != "host"


def authority_rewrite(http: HTTPRoute) -> str:
    """The authority that the upstream sees: ``rewrite.authority``, or a ``set`` of host."""
    if http.rewrite is not None and http.rewrite.authority:
        return http.rewrite.authority
    if http.headers is None or http.headers.request is None:
        return ""
    settings = {name.lower(): value for name, value in http.headers.request.set_.items()}
    return next((settings[name] for name in _AUTHORITY if name in settings), "")
