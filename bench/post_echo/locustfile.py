"""The same user for Locust, with its faster client."""

import json
from pathlib import Path

from locust import FastHttpUser, constant, task

ORDER = json.loads((Path(__file__).parent.parent / "order.json").read_text())


class Buyer(FastHttpUser):
    """Orders again as soon as the reply is checked."""

    wait_time = constant(0)
    orders = 0

    @task
    def order(self) -> None:
        """One request."""
        self.orders += 1
        with self.client.post("/echo", json=ORDER | {"number": self.orders}, catch_response=True) as reply:
            body = reply.json()
            assert reply.status_code == 200
            assert body["number"] == self.orders
