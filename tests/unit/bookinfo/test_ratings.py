"""What ratings answers."""


async def test_stars_are_given_by_reviewer(mesh):
    client = await mesh.start("ratings")
    async with client.get("/ratings/0") as response:
        assert await response.json() == {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}
