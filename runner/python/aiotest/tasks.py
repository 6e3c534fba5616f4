"""What asyncio offers to tasks that are not of its own class, in every version of CPython alike.

`gather` makes such tasks (`aiotest.gathering`).
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

__all__ = ["register", "swap", "unregister"]

if sys.version_info >= (3, 12):
    swap: Any = asyncio.tasks._swap_current_task
    # Those of eager tasks are sets; a task that has not ended is kept alive by whoever it waits for anyway.
    register: Any = asyncio.tasks._register_eager_task
    unregister: Any = asyncio.tasks._unregister_eager_task
else:
    register = asyncio.tasks._register_task
    unregister = asyncio.tasks._unregister_task

    def swap(loop: asyncio.AbstractEventLoop, task: Any) -> Any:
        """Make `task` the loop's current one, or nobody. Returns which was."""
        before = asyncio.current_task(loop)
        if before is not None:
            asyncio.tasks._leave_task(loop, before)
        if task is not None:
            asyncio.tasks._enter_task(loop, task)
        return before
