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


def joined(route: HeaderPolicy, target: HeaderPolicy) -> HeaderPolicy:
    """The changes of a route followed by those of its only target, as one."""
    return HeaderPolicy(followed(route.request, target.request), followed(route.response, target.response))


def followed(first: HeaderChanges, then: HeaderChanges) -> HeaderChanges:
    """One way's changes after each other: what ``then`` overwrites need not be set or added before."""
    overwritten = {name for name, _ in then.set_}
    return HeaderChanges(
        set_=(*(pair for pair in first.set_ if pair[0] not in overwritten), *then.set_),
        add=(*(pair for pair in first.add if pair[0] not in overwritten), *then.add),
        remove=tuple(dict.fromkeys((*first.remove, *then.remove))),
    )


def allowed(name: str) -> bool:
    """Whether a header may be changed as a header."""
    return not name.startswith(":") and name.lower() != "host"


def authority_rewrite(http: HTTPRoute) -> str:
    """The authority that the upstream sees: ``rewrite.authority``, or a ``set`` of host."""
    if http.rewrite is not None and http.rewrite.authority:
        return http.rewrite.authority
    return authority_set(http.headers)


def authority_set(headers: Headers | None) -> str:
    """The authority that a ``set`` of the host header asks for."""
    if headers is None or headers.request is None:
        return ""
    settings = {name.lower(): value for name, value in headers.request.set_.items()}
    return next((settings[name] for name in _AUTHORITY if name in settings), "")
