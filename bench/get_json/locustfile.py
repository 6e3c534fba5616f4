"""The same user for Locust, with its faster client."""

from locust import FastHttpUser, constant, task


class Reader(FastHttpUser):
    """Asks again as soon as the reply is checked."""

    wait_time = constant(0)

    @task
    def read(self) -> None:
        """One request."""
        with self.client.get("/json", catch_response=True) as reply:
            body = reply.json()
            assert body["message"] == "hello"
