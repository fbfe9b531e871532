"""Does a person who opens the page see all of it? One request through the gateway, judged by the page's own marks."""

import http.client
from typing import Final

from pilothouse.agent.settings import Listen

SECONDS: Final = 5.0
MOST_BYTES: Final = 1024 * 1024


def page_is_whole(gateway: Listen) -> bool:
    """Whether ``/productpage`` comes with details and reviews. False for every other answer, and for none."""
    connection = http.client.HTTPConnection(gateway.address, gateway.port, timeout=SECONDS)
    try:
        connection.request("GET", "/productpage")
        answer = connection.getresponse()
        text = answer.read(MOST_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return answer.status == 200 and text.count('data-status="200"') == 2 and 'data-version="' in text
