"""The talk's rules are what they claim to be, in the words that our own decoder understands."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pilothouse.config.decode import decode_documents
from pilothouse.config.virtualservice import VirtualService
from pilothouse.demo import talk
from pilothouse.demo.talk import TalkRule

RULES = (talk.ab_test, talk.circuit_breaker, talk.ejection, talk.fault, talk.canary)

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorial-talk.md"

Rule = Callable[[str], TalkRule]


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_valid_without_a_notice(rule: Rule) -> None:
    decoded = decode_documents(rule("service.mesh").text, "talk.yaml")
    assert decoded.problems == ()


@pytest.mark.parametrize("rule", RULES)
def test_each_virtual_service_is_named_among_the_effects(rule: Rule) -> None:
    made = rule("service.mesh")
    objects = decode_documents(made.text, made.file).objects
    services = {f"virtual-service/{one.key.name}" for one in objects if isinstance(one.spec, VirtualService)}
    assert services == {effect for effect in made.effects if effect.startswith("virtual-service/")}


def test_a_policy_is_looked_for_at_the_cluster_that_the_gateway_uses() -> None:
    assert talk.ejection("service.consul").effects == ("outbound|9080||productpage.service.consul outlier_detection",)


@pytest.mark.parametrize("rule", RULES)
def test_the_tutorial_shows_each_rule_as_it_is_played(rule: Rule) -> None:
    made = rule("service.mesh")
    text = TUTORIAL.read_text(encoding="utf-8")
    assert f"$CONFIG/{made.file}`" in text
    assert f"```yaml\n{made.text}```" in text


def test_rules_have_files_of_their_own() -> None:
    files = [rule("service.mesh").file for rule in RULES]
    assert len(set(files)) == len(files)
    assert all(file.endswith(".yaml") and not file.startswith(".") for file in files)


@pytest.mark.parametrize("rule", RULES)
def test_hosts_are_of_the_domain_that_was_asked_for(rule: Rule) -> None:
    text = rule("service.consul").text
    assert "service.mesh" not in text
    assert ".service.consul" in text


def test_the_ab_test_is_spelt_as_on_the_slide() -> None:
    assert "apiVersion: networking.istio.io/v1alpha3" in talk.ab_test("service.mesh").text


def test_jason_alone_waits_and_reviews_give_up_before_he_has_his_ratings() -> None:
    ratings, reviews = (one.spec for one in decode_documents(talk.fault("service.mesh").text, "fault.yaml").objects)
    assert isinstance(ratings, VirtualService)
    assert isinstance(reviews, VirtualService)
    first, second = ratings.http
    assert first.fault is not None
    assert second.fault is None
    assert first.match[0].headers["cookie"].regex == talk.JASON
    assert "timeout: 1s" in talk.fault("service.mesh").text
    assert "fixedDelay: 2s" in talk.fault("service.mesh").text


@pytest.mark.parametrize("cookie", ["user=jason", "a=b; user=jason", "a=b;user=jason; c=d", "user=jason; a=b"])
def test_jason_is_known_wherever_his_cookie_stands(cookie: str) -> None:
    assert re.fullmatch(talk.JASON, cookie)


@pytest.mark.parametrize("cookie", ["", "user=bob", "user=jasonette", "superuser=jason", "a=b; user=bob"])
def test_nobody_else_is_taken_for_jason(cookie: str) -> None:
    assert not re.fullmatch(talk.JASON, cookie)
