"""Statistics of one's own, fed by events and written to a folder that an option of one's own names."""

import json
import os
import random
from collections import Counter, defaultdict
from pathlib import Path

from aiotest import AsyncHttpUser, events, runners

times = defaultdict(list)
failures = Counter()
deaths = Counter()
reports = Counter()


class TestVisitor(AsyncHttpUser):
    host = "http://127.0.0.1:18080"
    wait_time = 0.1
    weight = 4

    async def test_front(self):
        async with self.session.get("/json") as resp:
            await resp.json()

    async def test_sometimes_broken(self):
        code = random.choice([200, 500])
        async with self.session.get(f"/status/{code}", name="maybe") as resp:
            await resp.read()


class TestUnlucky(AsyncHttpUser):
    host = "http://127.0.0.1:18080"

    async def on_start(self):
        await (await self.session.get("/", name="unlucky")).read()

    async def test_bug(self):
        {}["token"]


async def on_parser(parser):
    parser.add_argument("--summary", default=".", metavar="FOLDER", help="where the summaries go")
    parser.add_argument("--label", default="none")


async def on_request(runner, request_name, request_method, response_time, response_length, error):
    times[f"{request_method} {request_name}"].append(response_time)
    if error:
        failures[str(error)] += 1


async def on_user_error(runner, error):
    deaths[str(error).splitlines()[0]] += 1


async def on_report(runner, worker_id, data):
    reports[worker_id] += 1


async def on_stop(runner):
    options = runners.global_runner.options
    summary = {
        "runner": type(runner).__name__,
        "label": options.label,
        "requests": {name: len(each) for name, each in times.items()},
        "slowest_ms": max((max(each) for each in times.values()), default=0),
        "failures": failures,
        "deaths": deaths,
        "reports": reports,
    }
    write(Path(options.summary, f"{os.getpid()}.json"), summary)


def write(path, summary):
    path.write_text(json.dumps(summary))


events.init_command_line_parser += on_parser
events.stats_request += on_request
events.user_error += on_user_error
events.worker_report += on_report
events.test_stop += on_stop
