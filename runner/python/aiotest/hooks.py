"""What a scenario does once in a run, over any number of processes: its `run_setup` and its `run_teardown`.

Carried out in the master's process, or by `aiotest check`, outside of all users: its calls are none of the
load, and in no figure. When it is time, and what becomes of a failure, is for others to say. Start at
[`carry_out`][].
"""

from __future__ import annotations

from aiotest import _native, events, runners
from aiotest.client import current_scope
from aiotest.life import described
from aiotest.log import logger

__all__ = ["carry_out"]


async def carry_out(event: events.EventHook) -> str | None:
    """Call the handlers of one of the two, in a task of its own. Returns what one raised, with the scenario's
    line, or `None`.
    """
    current_scope.set(_native.UserScope(unmeasured=True))
    try:
        # Whatever has been made is to be taken away, even if something else cannot be.
        to_the_end = event is events.run_teardown
        await event.carry_out(to_the_end=to_the_end, runner=runners.global_runner)
    except (Exception, SystemExit) as error:
        logger.opt(exception=error).error(f"a handler of `{event.name}` raised")
        return described(error)
    return None
