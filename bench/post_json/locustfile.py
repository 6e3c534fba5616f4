"""The same user for Locust, with its faster client."""

import json
from pathlib import Path

from locust import FastHttpUser, constant, task

ORDER = json.loads((Path(__file__).parent.parent / "order.json").read_text())


class Buyer(FastHttpUser):
    """Orders again as soon as the reply is checked."""

    wait_time = constant(0)
    count = 0

    @task
    def order(self) -> None:
        """One request."""
        with self.client.post("/visit", json=ORDER, catch_response=True) as reply:
            body = reply.json()
            before, self.count = self.count, body["request"]
            assert reply.status_code == 200
            assert self.count == before + 1
