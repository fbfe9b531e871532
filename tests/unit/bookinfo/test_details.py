"""What details answers."""

import pytest


async def test_the_book_has_istios_fields(mesh):
    client = await mesh.start("details")
    async with client.get("/details/7") as response:
        assert response.content_type == "application/json"
        assert await response.json() == {
            "id": 7,
            "author": "William Shakespeare",
            "year": 1595,
            "type": "paperback",
            "pages": 200,
            "publisher": "PublisherA",
            "language": "English",
            "ISBN-10": "1234567890",
            "ISBN-13": "123-1234567890",
        }


@pytest.mark.parametrize("name", ["details", "ratings", "reviews"])
@pytest.mark.parametrize("number", ["x", "-1", "1" * 20, "²"])
async def test_a_product_that_is_no_number_is_refused(mesh, name, number):
    client = await mesh.start(name)
    async with client.get(f"/{name}/{number}") as response:
        assert response.status == 400
        assert await response.json() == {"error": "please provide numeric product ID"}
