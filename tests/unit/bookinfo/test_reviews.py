"""What reviews answers, version by version."""

import pytest

FAILED = {"error": "Ratings service is currently unavailable"}


async def read_reviews(client):
    async with client.get("/reviews/0") as response:
        assert response.status == 200
        return await response.json()


async def test_v1_asks_nobody_and_gives_no_stars(mesh):
    told = await read_reviews(await mesh.start("reviews", "--address", "127.44.0.3", "--port", "9081"))
    assert [set(review) for review in told["reviews"]] == [{"reviewer", "text"}] * 2
    assert {key: told[key] for key in ("id", "version", "podname", "instance")} == {
        "id": 0,
        "version": "v1",
        "podname": "reviews-v1",
        "instance": "127.44.0.3:9081",
    }
    assert mesh.seen == []


@pytest.mark.parametrize(("version", "color"), [("v2", "black"), ("v3", "red")])
async def test_v2_and_v3_give_stars_in_their_colour(mesh, version, color):
    await mesh.start("ratings")
    told = await read_reviews(await mesh.start("reviews", "--version", version))
    assert [review["rating"] for review in told["reviews"]] == [
        {"stars": 5, "color": color},
        {"stars": 4, "color": color},
    ]
    assert mesh.asked("ratings").url == "http://ratings.service.mesh:9080/ratings/0"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, "no healthy upstream"),
        (500, '{"id":0,"ratings":{"Reviewer1":5,"Reviewer2":4}}'),
        (200, "<html>"),
        (200, '{"id":0,"ratings":{"Reviewer1":6,"Reviewer2":4}}'),
        (200, '{"id":0,"ratings":{}}'),
    ],
)
async def test_failed_ratings_leave_the_texts(mesh, status, body):
    mesh.answer("ratings.service.mesh", body, status=status)
    told = await read_reviews(await mesh.start("reviews", "--version", "v2"))
    assert [review["rating"] for review in told["reviews"]] == [FAILED, FAILED]
    assert all(review["text"] for review in told["reviews"])


async def test_ratings_that_do_not_know_one_reviewer_cost_only_that_one(mesh):
    mesh.answer("ratings.service.mesh", '{"id":0,"ratings":{"Reviewer2":0}}')
    told = await read_reviews(await mesh.start("reviews", "--version", "v3"))
    assert [review["rating"] for review in told["reviews"]] == [FAILED, {"stars": 0, "color": "red"}]


async def test_the_domain_is_a_setting(mesh):
    await mesh.start("ratings", "--domain", "service.consul")
    await read_reviews(await mesh.start("reviews", "--version", "v2", "--domain", "service.consul"))
    assert mesh.asked("ratings").url == "http://ratings.service.consul:9080/ratings/0"
