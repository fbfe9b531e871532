"""Retries: Istio's default, and what ``retries`` of a route makes of it. Source: istio-behaviour §2.1, §12."""

from dataclasses import replace
from typing import Final

from pilothouse.config.virtualservice import HTTPRetry
from pilothouse.resolve.traffic import ms
from pilothouse.resolve.view import RetryPolicy

DEFAULT_RETRIES: Final = RetryPolicy()
"""Two retries on failures that cannot have reached the app. A plain 503 is not retried."""


def retry_policy(retries: HTTPRetry | None, *, keeps_host: bool) -> RetryPolicy | None:
    """The policy of a route; None where retries are switched off.

    With ``keeps_host`` (consistent hashing) a retry may go to the same endpoint again: avoiding it would break
    affinity.
    """
    if retries is None:
        return replace(DEFAULT_RETRIES, avoid_previous_hosts=False) if keeps_host else DEFAULT_RETRIES
    if retries.attempts <= 0:
        return None
    words, codes = conditions(retries.retry_on)
    ignores = retries.retry_ignore_previous_hosts
    return RetryPolicy(
        attempts=retries.attempts,
        conditions=words or (() if codes else DEFAULT_RETRIES.conditions),
        status_codes=codes,
        states_codes=bool(codes) or not retries.retry_on,
        per_try_timeout_ms=ms(retries.per_try_timeout),
        backoff_ms=ms(retries.backoff),
        avoid_previous_hosts=(not keeps_host) if ignores is None else ignores,
        other_localities=bool(retries.retry_remote_localities),
    )


def conditions(retry_on: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Words and status codes of ``retryOn``."""
    parts = [part for part in retry_on.split(",") if part]
    return tuple(p for p in parts if not p.isdigit()), tuple(int(p) for p in parts if p.isdigit())
