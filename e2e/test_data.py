"""Unique accounts over runner pods, also when a pod is deleted; and rows that are missing or bad."""

from __future__ import annotations

from collections import defaultdict

from e2e import loadtests, target
from e2e.installation import Operator
from e2e.kubernetes import Json, Kubectl, condition

OWNERS = """\
import os
import uuid

from aiotest import AsyncHttpUser, data

accounts = data("accounts")


class TestOwner(AsyncHttpUser):
    wait_time = 0.25

    async def on_start(self):
        account = (await accounts.take())["user"]
        self.mine = {"account": account, "owner": uuid.uuid4().hex[:8]}

    async def test_use(self):
        async with self.session.get("/json", params=self.mine) as reply:
            await reply.read()
"""
USERS = 20
DATA = [{"name": "accounts", "policy": "Unique", "configMap": {"name": "rows", "key": "accounts.csv"}}]


def rows(text: str) -> Json:
    """The ConfigMap of the accounts."""
    return {**loadtests.source("rows"), "data": {"accounts.csv": text}}


def accounts() -> str:
    """One for each user."""
    return "user\n" + "".join(f"u{number}\n" for number in range(USERS))


def owners(namespace: Kubectl) -> dict[str, list[str]]:
    """The users of each account as they came; none may be there once another has come."""
    log = namespace(
        "exec", "target", "--", "/bin/grep", "-o", "-e", "account=u[0-9]*&owner=[0-9a-f]*", "/log/requests"
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in log.splitlines():
        account, owner = line.removeprefix("account=").split("&owner=")
        if owner not in found[account]:
            found[account].append(owner)
        assert found[account][-1] == owner, f"{account} is used by {owner} after {found[account][-1]} came"
    return found


def test_every_user_has_an_account_of_its_own_also_when_a_runner_is_deleted(
    namespace: Kubectl, operator: Operator
) -> None:
    counting = target.start(namespace)
    namespace.apply(loadtests.source(text=OWNERS), rows(accounts()))
    namespace.apply(loadtests.reads(counting.host, users=USERS, seconds=40, data=DATA))
    loadtests.running(namespace)
    copies = [name for name in names(namespace, "configmaps") if name.startswith("reads-1-data-")]
    assert len(copies) == 1
    assert namespace.get("configmap", copies[0])["immutable"] is True
    # What is edited now counts for the next run.
    namespace.apply(rows("user\nnobody\n"))
    victim = loadtests.pods(namespace, "runner")[0]["metadata"]["name"]
    namespace("delete", "pod", victim, "--wait=false")
    done = loadtests.ended(namespace, seconds=40 + 2 * loadtests.AROUND)
    assert loadtests.state(done) == "Passed", done["status"]["verdict"]
    assert loadtests.report(namespace, done)["user_errors"] == []
    found = owners(namespace)
    assert set(found) == {f"u{number}" for number in range(USERS)}
    assert max(map(len, found.values())) > 1, "accounts of the pod that was deleted went to other users"
    assert counting.count() == done["status"]["report"]["sent"]


def names(namespace: Kubectl, kind: str) -> list[str]:
    """The names of all objects of a kind."""
    return [str(thing["metadata"]["name"]) for thing in namespace.list(kind)]


def test_rows_that_are_missing_are_waited_for_and_bad_ones_are_refused_with_their_line(
    namespace: Kubectl, operator: Operator
) -> None:
    namespace.apply(loadtests.source(text=OWNERS))
    namespace.apply(loadtests.reads("http://nowhere.invalid", data=DATA))

    def says(words: str) -> None:
        namespace.until(
            "loadtest",
            lambda seen: words in condition(seen, "Reconciling").get("message", ""),
            name="reads",
            seconds=loadtests.AROUND,
        )

    says("data set `accounts`: there is no ConfigMap `rows`")
    namespace.apply({**rows(""), "data": {"other.csv": "user"}})
    says("data set `accounts`: ConfigMap `rows` has no key `accounts.csv`")
    namespace.apply(rows("user,password\nada,secret\nbob\n"))
    done = loadtests.ended(namespace, seconds=3 * loadtests.AROUND)
    assert loadtests.state(done) == "NotStarted"
    reasons = " ".join(done["status"]["verdict"]["reasons"])
    assert "accounts.csv:3: data set `accounts`: 1 field where the header has 2" in reasons
    assert condition(done, "Accepted")["reason"] == "ScriptRefused"
    assert [name for name in names(namespace, "jobs") if name.endswith("runner")] == []
