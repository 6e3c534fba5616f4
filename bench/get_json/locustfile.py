"""The same user for Locust, with its faster client."""

from locust import FastHttpUser, constant, task


class Visitor(FastHttpUser):
    """Asks again as soon as the reply is checked."""

    wait_time = constant(0)
    count = 0

    @task
    def visit(self) -> None:
        """One request."""
        with self.client.get("/visit", catch_response=True) as reply:
            body = reply.json()
            before, self.count = self.count, body["request"]
            assert self.count == before + 1
