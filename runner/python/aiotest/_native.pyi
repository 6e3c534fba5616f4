"""The Rust half of aiotest: the HTTP engine, the control protocol, the master, and `aiotest run`.

Times are in seconds unless a name says otherwise. Two kinds of object belong to a process's event loop and
are polled: when `fileno()` becomes readable, `poll()` returns what is to be done, oldest first; it never
blocks. Their network work happens in a thread of their own that never attaches to the interpreter.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Self, Unpack, final

from multidict import CIMultiDict
from yarl import URL

from aiotest._arguments import Connector, Http2, Options, Pairs, Timeout
from aiotest._awaitables import Future, Gathering, Step, Task, gather
from aiotest._connections import TCPConnector, TlsSettings
from aiotest._reply import Chunks, Content, Response
from aiotest._said import Said, Upload, WebSocketStream
from aiotest.websocket import Connecting

__all__ = [
    "Call",
    "Chunks",
    "ClientSession",
    "ClientTimeout",
    "Content",
    "CookieJar",
    "Future",
    "Gathering",
    "Master",
    "Response",
    "Runner",
    "Said",
    "Step",
    "TCPConnector",
    "Task",
    "TlsSettings",
    "Upload",
    "UserScope",
    "WebSocketStream",
    "gather",
    "intended_start",
    "loop_turn",
    "record",
    "refusal",
    "run_manifest",
    "run_plan",
    "run_pod",
    "show_progress",
    "sleep",
    "take_statistics_json",
]

# === control ===

@final
class Runner:
    """One process's seat in a run: joins the master, reports to it about once a second, obeys its plan."""

    def __new__(
        cls,
        plan: str,
        *,
        master: str,
        token: str,
        runner: str,
        process: int,
        incarnation: int,
        deposit: str | None,
        classes: list[tuple[str, int]],
    ) -> Self:
        """Dial the master and go on dialling until the run's deadline.

        Arguments: `plan`, the run as JSON (`plan.json`); `master`, its control address, `host:port`;
            `runner`, the identity that the report names; `process`, which of its processes, from 0;
            `incarnation`, higher at each restart; `deposit`, a file that a parent reads after this process's
            death, `None` without one; `classes`, name and weight of every user class, in order.
        Raises: `ValueError` for a plan, token or address that cannot be read; `OSError` for a deposit that
            cannot be made.
        """

    def fileno(self) -> int: ...
    def poll(self) -> list[tuple[Any, ...]]:
        """What is to be done now.

        `("test_start",)` · `("start", class_index, users)` · `("retire", class_index, users)` ·
        `("allow", class_index, users)`, at most so many from now on ·
        `("begin", [(class_index, at), …], shed)`, iterations that are due since `at`, in seconds of the
        monotonic clock, and how many more can only be shed ·
        `("start_complete", users)`, the whole run's count · `("release", rendezvous, late)`, who had come
        there `late` seconds ago goes on · `("drain", seconds)`, no new calls, open ones have that long ·
        `("stop_now",)`, no load from this instant · `("end", exit_code)`, the last one.
        Of data sets: `("rows", set_index, [(first, behind_last), …])`, rows for users ·
        `("recall", set_index)`, give back those that no user has · `("exhausted", set_index)`, who waits
        need wait no longer.
        """

    def users(self, class_index: int, live: int, dead: int) -> None:
        """Users of a class as they are now; `dead` since this process began."""

    def waiting(self, rendezvous: str, waiting: int, users: int | None) -> None:
        """Users that wait at a rendezvous now, and how many of the run they wait for, `None` for all."""

    def meeting(self, rendezvous: str) -> tuple[int, int] | None:
        """How many users of the run wait there, and how many it takes, as last heard of the master; `None`
        where nobody has been heard to wait.
        """

    @property
    def most_users(self) -> int | None:
        """The most users that the load comes to, as last heard of the master; `None` before that."""

    def rows(self, set_index: int, waiting: int, unused: int, taken: int, given_back: Sequence[int]) -> None:
        """How a data set stands among the users: how many wait for a row, how many rows no user has, how many
        users have taken since this process began; and the rows that no user has any more nor will.
        """

    def user_error(self, text: str) -> None:
        """Count an error that ended a user; cut at 500 characters."""

    def loop_lag(self, seconds: float) -> None:
        """The event loop has turned, this late."""

    def stack_pipe(self) -> int:
        """A descriptor, valid as long as this runner, where `faulthandler` is to write the stack of the
        loop's thread when the second signal of `watch` comes. Raises: `OSError` without a free descriptor.
        """

    def stack(self, text: str) -> None:
        """Where the loop's thread is, as `faulthandler` says it, when `watch`'s first signal has come."""

    def watch(
        self,
        *,
        thread: int,
        period: float,
        folders: Sequence[str],
        exit_code: int,
        signals: tuple[int, int] | None,
    ) -> None:
        """From now on the loop of `thread` (its native id) turns, with a `loop_lag` every `period` seconds.

        When it does not, its thread is sent the first of `signals`, and the second after ten seconds without
        an answer, as long as they are handled as they are now; what blocks it is named by the innermost line
        of a file beneath `folders`. A loop that has not turned for 30 s while there are users, or for 1 s
        once their time to end is over, never will: what was measured is reported, and the process ends with
        `exit_code`.
        """

    def unwatch(self) -> None:
        """From now on nobody looks at the loop."""

    def lateness(self, seconds: float) -> None:
        """A user was woken this late after its wait."""

    def began(self, started: int, shed: int) -> None:
        """Iterations of the open model that were given to users, and that found every user busy."""

    def begun_late(self, seconds: float) -> None:
        """One that was given to a user has begun, this late."""

    @property
    def user_count(self) -> int:
        """Live users of this process."""

    @property
    def state(self) -> str:
        """`ready`, `starting`, `running`, `stopping` or `stopped`."""

    def hand_over(self) -> None:
        """Leave: drain, send everything, and end with exit code 75, so that another takes this seat."""

@final
class Master:
    """The master of a run: shares the load out, gathers reports, serves the control port and `/metrics`."""

    def __new__(
        cls,
        plan: str,
        *,
        token: str,
        control_address: str,
        metrics_address: str,
        classes: list[tuple[str, int]],
        shape: bool,
        buckets: list[float] | None = None,
        keep_result: bool = False,
        linger: float | None = None,
        state_dir: str | None = None,
        hooks: tuple[bool, bool] | None = None,
    ) -> Self:
        """Bind both ports and accept runners from now on.

        Arguments: `plan`, the run as JSON; `control_address` and `metrics_address`, `host:port`, port 0 for
            any, an empty host for every address; `classes`, name and weight of every user class, in order;
            `shape`, whether the file's shape gives the load; `buckets`, bounds of `aiotest_response_times`
            in ms, `None` for the usual ones; `keep_result`, whether somebody reads the result over the
            control port, so that `("ended", …)` waits until it is acknowledged, for `deadlines.results` at
            most; `linger`, seconds for which it then waits for two more scrapes of `/metrics`; `state_dir`,
            a directory for the checkpoint from which a restarted master of the same run goes on; `hooks`,
            whether the scenario has something to do once, before the start and after the load; `None`,
            nothing.
        Raises: `ValueError` for a plan, token or address that cannot be read; `OSError` for a port that
            cannot be bound.
        """

    def fileno(self) -> int: ...
    def poll(self) -> list[tuple[Any, ...]]:
        """What has happened.

        `("run_setup",)`, carry it out and answer with `set_up` · `("test_start",)` ·
        `("ask_shape", run_time)`, answer with one of the three below · `("start_complete", users)` ·
        `("worker_report", worker_id, data)` · `("test_stop",)` · `("run_teardown",)`, carry it out and answer
        with `torn_down` · `("ended", exit_code)`, the last one.
        """

    def shape(self, users: int, rate: float) -> None:
        """The shape's answer: users to reach, at this many a second."""

    def shape_end(self) -> None:
        """The shape's answer: the test is over."""

    def shape_failed(self, text: str) -> None:
        """The shape gave no answer; the last plan holds, and the report says so."""

    def set_up(self, error: str | None) -> None:
        """What is done before the start is done; or it failed with this text, and the run does not start."""

    def torn_down(self, error: str | None) -> None:
        """What is done after the load is done; or it failed with this text, which the report says."""

    def stop(self, reason: str) -> None:
        """End the run early: runners drain, the report names the reason.

        `reason`: `interrupted`, `terminated`, `stopped`, `superseded` or `parent gone`. Raises: `ValueError`
        for another.
        """

    def report(self) -> str:
        """The report as JSON, version 1. Raises: `RuntimeError` before `("ended", …)`."""

    def termination(self) -> str | None:
        """What the process is to leave as its termination message, as JSON of at most 4096 bytes; `None`
        until the run is over.
        """

    @property
    def addresses(self) -> tuple[str, str]:
        """The control address and the metrics address as bound."""

    @property
    def user_count(self) -> int:
        """Live users of the whole run."""

    @property
    def state(self) -> str:
        """`ready`, `starting`, `running`, `stopping` or `stopped`."""

    def close(self) -> None:
        """Stop serving and free both ports; the thread has ended when this returns."""

def run_manifest(argv: list[str]) -> int:
    """`aiotest run`: carry out a LoadTest manifest with processes of its own.

    `argv` is what follows `run`. Returns the exit code: 0 passed, 1 failed, 2 invalid, 3 not run or
    cancelled, 64 for a command line or manifest that cannot be used.
    """

def run_plan(plan: str, metrics_address: str) -> int:
    """Carry out a run (the JSON of a plan) as `run_manifest` does once it has read its manifest.

    Blocks; SIGINT and SIGTERM are its own. Returns the same exit codes.
    """

def run_pod(argv: list[str]) -> int:
    """`aiotest pod`: keep the runner processes of one pod, of which this is the first process.

    `argv` is what follows `pod`. Blocks; SIGINT, SIGTERM and every child of this process are its own. Returns
    the exit code: 0 when the master has ended the run, 75 after a hand-over, 3 when no process can run, 64
    for a command line that cannot be used.
    """

def refusal(error: str) -> str:
    """The termination message of a master that cannot run its scenario, as JSON of at most 4096 bytes."""

def show_progress(control_address: str, token: str, *, acknowledge: bool = True) -> None:
    """Show a run's progress on stderr and its table at the end, from a thread that never attaches to the
    interpreter; it ends with the run. `acknowledge`: nobody else reads the report, so the master need not
    keep it any longer.
    """

# === engine ===

class ClientSession:
    """A user's own cookies, headers and connections; the surface of aiohttp's class of that name.

    Made inside a user's task it belongs to that user: its calls are waited for, or aborted, at the stop, and
    it is closed. One that was made outside of users may be used by all of them: each call is then the
    user's in whose task it is made, and nobody's end closes it.
    """

    def __new__(
        cls,
        base_url: str | URL | None = None,
        *,
        connector: TCPConnector | Connector | None = None,
        headers: Pairs[str] | None = None,
        cookies: Pairs[Any] | None = None,
        auth: tuple[str, str] | None = None,
        json_serialize: Callable[[Any], str | bytes] | None = None,
        raise_for_status: bool = False,
        timeout: Timeout | None = None,
        read_bufsize: int | None = None,
        auto_decompress: bool = True,
        skip_auto_headers: Iterable[str] | None = None,
        proxy: str | URL | None = None,
        proxy_auth: tuple[str, str] | None = None,
        trust_env: bool = False,
        http2: Http2 | None = None,
        version: tuple[int, int] | None = None,
        cookie_jar: Any = None,
        connector_owner: bool | None = None,
    ) -> Self:
        """Open no connection yet.

        Arguments: `base_url`, what relative URLs of calls are joined to; `connector`, whose connections are
            used in place of its own (of one of aiohttp's, `limit` and `force_close` are read, and every
            session that is given it shares them); `headers` of every call, over
            `Accept: */*`, `Accept-Encoding: gzip, deflate, br, zstd` and `User-Agent: aiotest/VERSION`, those
            named in `skip_auto_headers` left out; `cookies`, of `base_url` or, without one, of
            every call; `auth`, user and password for basic authentication; `timeout`, for calls that name
            none, 300 s in total unless given; `read_bufsize`, bytes of a body that are read whether or not
            the scenario asks, 65,536 unless given; `auto_decompress`, whether a body is given to the scenario
            as it was before its `Content-Encoding`. It is decoded when it is read; `proxy` and `proxy_auth`,
            of calls that name none; `trust_env`, whether proxies are taken from `HTTP_PROXY`, `HTTPS_PROXY`
            and `NO_PROXY`, and users from `~/.netrc` or the file that `NETRC` names, as they are now;
            `http2`, true to offer HTTP/2 to https servers, which choose, and `"prior-knowledge"` to speak it
            to http servers without asking, too: calls to one server then share a connection, up to the number
            that the server allows at a time (256 at most), and a call that comes while that is being opened
            waits for it, in the phase `queue`; WebSockets and streamed bodies go over HTTP/1.1 all the same.
            `version`, aiohttp's `HttpVersion10` to name an older HTTP/1; `cookie_jar`, one of aiohttp's,
            whose cookies are taken over, or its `DummyCookieJar`, to keep none; `connector_owner` has no
            effect: a connector that is given is never closed.
            A user and password in `base_url` are those of every relative URL.
        Raises: `InvalidURL` for a base URL that is not absolute; `TypeError` naming an argument that is
            unknown or has a wrong type; `ValueError` for an `http2` that is none of its values, or given
            beside a connector, which has its own.
        """

    def get(self, url: str | URL, **options: Unpack[Options]) -> Call: ...
    def post(self, url: str | URL, **options: Unpack[Options]) -> Call: ...
    def put(self, url: str | URL, **options: Unpack[Options]) -> Call: ...
    def patch(self, url: str | URL, **options: Unpack[Options]) -> Call: ...
    def delete(self, url: str | URL, **options: Unpack[Options]) -> Call: ...
    def options(self, url: str | URL, **options: Unpack[Options]) -> Call: ...
    def head(self, url: str | URL, **options: Unpack[Options]) -> Call:
        """As `get`, but follows no redirects unless told."""

    def request(self, method: str, url: str | URL, **options: Unpack[Options]) -> Call:
        """Prepare a call, which starts when it is first awaited.

        Options: `name`, the name that statistics use, the URL's path unless given; `params`, added to the
            query; one of `data` (bytes, str, a mapping, pairs or a `FormData`, sent as a form, in parts where
            there is a file in it, a file, read at once, or an asynchronous generator of bytes or a stream,
            sent as it comes) and `json`; `compress`, `gzip`, `deflate` or true
            for deflate, which also sends the body chunked; `chunked`, without a `Content-Length`; `headers`,
            replacing the session's of the same name; `skip_auto_headers`, names of headers that are sent only
            if the scenario gives them; `auth`, user and password; `cookies`, beside the session's; `timeout`,
            a `ClientTimeout` or seconds in total; `allow_redirects` (true unless given), at most
            `max_redirects` (10); `raise_for_status`, so that a status of 400 or more raises; `expect100`, to
            send the body once the server says 100; `read_bufsize`, in place of the session's; `ssl`, false to
            accept every certificate, an `ssl.SSLContext` (authorities, client certificate, host names,
            versions and ciphers as it says) or an `aiohttp.Fingerprint`, true for the system's authorities or
            what the connector says; `verify_ssl`, false for the same as `ssl=False`; `proxy`, the URL of an
            `http` proxy, with or without user and password, `proxy_auth`, user and password for it, and
            `proxy_headers`, sent to it when it is to open a tunnel to an `https` target, which is no request
            and in no count. A user and password in `url` are sent as by `auth`.
        Raises: `InvalidURL` for a relative URL without a base URL, or a scheme that is not http or https;
            `TypeError` naming an argument that is unknown or has a wrong type; `ValueError` for two that
            cannot be together, an `ssl` context that asks for what is not built, or a proxy that is no `http`
            one; `RuntimeError` on a closed session.
        """

    def ws_connect(self, url: str | URL, **options: Any) -> Connecting:
        """`async with` or `await` it for a `WebSocket`. Options: those of `aiotest.websocket.Connecting`, and
        of any call. Raises: `WSServerHandshakeError` when awaited, if the server refuses.
        """

    def _upgrade(self, method: str, url: str | URL, **options: Unpack[Options]) -> Call:
        """A call that asks for the connection itself, by a reply of 101."""

    def close(self) -> Coroutine[Any, Any, None]:
        """Close the connections. Replies of the plain form are released; calls under way are cut."""

    @property
    def closed(self) -> bool: ...
    @property
    def headers(self) -> CIMultiDict[str]:
        """The headers of every call; a change counts from the next call on."""

    @property
    def cookie_jar(self) -> CookieJar: ...
    @property
    def timeout(self) -> ClientTimeout: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class Call(Coroutine[Any, Any, Response]):
    """One HTTP call: a coroutine to asyncio, and what `async with` enters.

    It starts at its first await, so one that is never awaited sends nothing (and warns). Cancelling,
    throwing into, closing or collecting it cuts the exchange; whichever happens, it is recorded once. A
    call that fails before there is a reply raises a `ClientError`, already recorded (`aiotest_recorded`).
    """

    @property
    def __qualname__(self) -> str: ...
    def __await__(self) -> Generator[Any, Any, Response]: ...
    def send(self, value: None) -> Any: ...
    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any: ...
    def close(self) -> None: ...
    async def __aenter__(self) -> Response: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool:
        """Record the call, waiting for the end of its body. True: the exception is its failure, and ends
        here.
        """

@final
class CookieJar:
    """A session's cookies, of IP hosts too."""

    def update_cookies(self, cookies: Pairs[Any], response_url: str | URL | None = None) -> None:
        """Keep cookies as if `response_url`, or else the session's base URL, had set them for all of its
        paths.
        """

    def filter_cookies(self, request_url: str | URL | None = None) -> SimpleCookie:
        """What a call to `request_url`, or else to the base URL, would send."""

@final
class ClientTimeout:
    """Limits of a call in seconds; `None` and 0 are for ever."""

    def __new__(
        cls,
        total: float | None = None,
        connect: float | None = None,
        sock_read: float | None = None,
        sock_connect: float | None = None,
    ) -> Self:
        """`total`, to the last byte of the body; `connect`, until there is a connection; `sock_read`,
        between two reads; `sock_connect`, for one TCP handshake. Raises: `ValueError` for a number that is
        no time.
        """

    @property
    def total(self) -> float | None: ...
    @property
    def connect(self) -> float | None: ...
    @property
    def sock_read(self) -> float | None: ...
    @property
    def sock_connect(self) -> float | None: ...

@final
class UserScope:
    """The calls of one user."""

    def __new__(cls, *, unmeasured: bool = False) -> Self:
        """`unmeasured`: no user's, but those of what is done once in a run. They are none of the load, and
        in no figure; no exception ends with its call.
        """

    @property
    def unmeasured(self) -> bool: ...
    @property
    def open_calls(self) -> int:
        """Calls that are started and not recorded yet."""

    def owns(self, session: ClientSession) -> bool:
        """Whether a session was made by this user, and so ends with it."""

    def retire(self, callback: Callable[[], object]) -> bool:
        """Refuse new calls with `CancelledError`. True: no call is open; else `callback` follows the last
        one.
        """

    def reopen(self) -> None:
        """Accept calls again, for `on_stop`."""

    def abort(self) -> None:
        """Cut the open calls; they count as aborted, not as failures, and tasks waiting for them are
        cancelled.
        """

def intended_start(at: float) -> None:
    """Say that what follows in this task was to begin at `at`, in the loop's time (`loop.time()`).

    Calls that follow, here and in tasks made from here, are recorded with their service time as always and,
    beside it, with their time since the intended start (`docs/load-engine.md` shows a schedule). Raises:
    `ValueError` if `at` is no time.
    """

def sleep(seconds: float, late: Callable[[float], object] | None) -> Awaitable[None]:
    """Wait, then call `late` with the seconds by which the task was woken late. Raises: `ValueError`."""

def record(
    method: str,
    name: str,
    response_time: float,
    length: int,
    error: str | None = None,
    aborted: bool = False,
) -> None:
    """Count a call of a custom client: `response_time` in ms, `length` in bytes, `error` `None` for a
    success; `aborted`, cut by the end of the load, and so neither.
    """

def loop_turn() -> int:
    """The name of the event loop's last turn that drove the calls. Whoever sees another one than before has
    let the other tasks run in between.
    """

def take_statistics_json() -> str:
    """What was recorded since it was last taken, as JSON. In a run the control thread takes it: for tests."""
