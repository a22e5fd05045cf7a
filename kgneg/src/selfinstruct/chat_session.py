"""One round of questions to an endpoint."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kgneg.core.errors import MissingExtraError
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, ChatRequest, EndpointError, Outcome
from kgneg.selfinstruct.chat_policy import Pace
from kgneg.selfinstruct.chat_reply import ChatReply, MalformedReplyError, read_completion, read_usage, strict_json
from kgneg.selfinstruct.chat_secret import hidden_in_logs

if TYPE_CHECKING:
    from kgneg.selfinstruct.chat_budget import Reservation

__all__ = ["Session"]

logger = logging.getLogger(__name__)

ValueT = TypeVar("ValueT")

_PASSING = {408, 409, 425, 429}
_HOPELESS = 401
#: hopeless as well, unless some requests succeed: then it is about the text, such as one that was flagged
_REFUSED = {403, 404}
#: tokens that a chat template may add to the messages
_TEMPLATE_TOKENS = 256
_TOP_LOGPROBS = 5
_SEED_STEP = 1_000_003


class _Fault(Exception):  # noqa: N818 - it never leaves this module
    """A try that failed."""

    def __init__(
        self, reason: str, *, passing: bool, paid: bool, wait: float | None = None, refused: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.passing, self.paid, self.wait, self.refused = reason, passing, paid, wait, refused


class Session(Generic[ValueT]):
    """The state of one round of questions: the pace, what is under way, and whether the endpoint still answers.

    :param endpoint: who is asked
    :param parse: reads a reply
    :param malformed: gets what was not as asked for
    """

    def __init__(
        self,
        endpoint: ChatEndpoint,
        parse: Callable[[ChatReply], ValueT],
        malformed: Callable[[ChatRequest, str, str], None] | None,
    ) -> None:
        self.endpoint, self.policy, self.counts = endpoint, endpoint.policy, endpoint.counts
        self.parse, self.malformed = parse, malformed
        self.pace = Pace(self.policy.requests_per_minute)
        self.failed_in_a_row = 0
        self.stopped = ""
        self.under_way = self.refused = 0
        self._client: Any = None

    async def run(self, requests: Iterable[ChatRequest], done: Callable[[ChatRequest, Outcome[ValueT]], None]) -> None:
        """Ask all questions.

        :param requests: the questions
        :param done: gets each question and its outcome
        :raises MissingExtraError: if the client is not installed
        """
        try:
            from openai import AsyncOpenAI
        except ImportError as error:
            raise MissingExtraError("openai is not installed: pip install 'kgneg[chat]'") from error
        self.settled = asyncio.Condition()
        secret = self.endpoint.secret()
        client = AsyncOpenAI(
            api_key=secret.value or "unused",
            base_url=self.endpoint.address,
            timeout=self.policy.timeout,
            max_retries=0,  # tries are ours, each with its own reservation
        )
        with hidden_in_logs(secret):
            async with client as self._client:
                await self._work(iter(requests), done)

    async def _work(self, waiting: Iterator[ChatRequest], done: Callable[[ChatRequest, Outcome[ValueT]], None]) -> None:
        """Let workers take one question after another until none is left."""

        async def work() -> None:
            for request in waiting:
                done(request, await self._ask(request))

        workers = [asyncio.create_task(work()) for _ in range(self.policy.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _ask(self, request: ChatRequest) -> Outcome[ValueT]:
        """Try until there is a reply that can be read, or no try is left."""
        faults = misread = 0
        while True:
            if self.stopped:
                return Outcome(None, self.stopped)
            try:
                value = await self._try(request, faults + misread)
            except _Fault as fault:
                reason, final, wait = fault.reason, not fault.passing, fault.wait
                faults += 1
                final = final or faults > self.policy.retries
                if final and (fault.passing or fault.refused):
                    self._count_failure(reason)
            except MalformedReplyError as error:
                fault_text = self.endpoint.clean(str(error))
                reason, final, wait = f"malformed: {fault_text}", error.final, None
                misread += 1
                self.counts["malformed"] += 1
                if self.malformed is not None:
                    self.malformed(request, self.endpoint.clean(error.text, None), fault_text)
                final = final or misread > self.policy.format_retries
            else:
                self.failed_in_a_row = 0
                return Outcome(value)
            if final:
                return Outcome(None, reason)
            self.counts["retries"] += 1
            await asyncio.sleep(self.policy.wait(request.key, faults + misread, wait))

    def _count_failure(self, reason: str) -> None:
        self.failed_in_a_row += 1
        limit = self.policy.give_up_after
        if limit is not None and self.failed_in_a_row >= limit and not self.stopped:
            self.stopped = f"gave up after {limit} failures in a row: {reason}"
            logger.warning("%s: %s. The rest is not asked; run again to go on.", self.endpoint.base_url, self.stopped)

    async def _try(self, request: ChatRequest, tries: int) -> ValueT:
        """Send a question once and read the reply; what it may have cost is charged in every case."""
        reserved = await self._reserve(request)
        used: tuple[int, int] | None = None  # unknown: all that was reserved
        try:
            await self.pace.turn()
            self.counts["requests"] += 1
            body = await self._send(request, tries)
            used = read_usage(body)
            reply = self._clean(read_completion(body))
            try:
                return self.parse(reply)
            except MalformedReplyError as error:
                error.text = error.text or reply.text
                raise
        except EndpointError:
            used = (0, 0)
            raise
        except _Fault as fault:
            used = None if fault.paid else (0, 0)
            raise
        finally:
            if used is not None:
                self.endpoint.budget.settle(reserved, *used)
                self._check_bound(reserved, used)
            self.counts["input_tokens"] += reserved.input_tokens if used is None else used[0]
            self.counts["output_tokens"] += reserved.output_tokens if used is None else used[1]
            self.under_way -= 1
            async with self.settled:
                self.settled.notify_all()

    def _clean(self, reply: ChatReply) -> ChatReply:
        """Return a reply without the key, in case the endpoint repeats it."""
        text = self.endpoint.clean(reply.text, None)
        return reply if text == reply.text else ChatReply(text=text)

    def _check_bound(self, reserved: Reservation, used: tuple[int, int]) -> None:
        """Warn once when the endpoint charges more than a question can cost by what was sent."""
        if used[0] > reserved.input_tokens or used[1] > reserved.output_tokens:
            if not self.counts["charged above the bound"]:
                logger.warning(
                    "%s charges %d + %d tokens for a request of at most %d + %d; the budget cannot be kept exactly.",
                    *(self.endpoint.base_url, *used, reserved.input_tokens, reserved.output_tokens),
                )
            self.counts["charged above the bound"] += 1

    async def _reserve(self, request: ChatRequest) -> Reservation:
        """Reserve the most that a question can cost, as soon as what is under way leaves room for it."""
        text = sum(len(one["content"].encode("utf-8", "replace")) for one in request.messages)
        more = (
            len(json.dumps(self.endpoint.extra, indent=2, default=str)) if self.endpoint.extra else 0
        )  # such as tools
        most = text + more + _TEMPLATE_TOKENS  # a token has at least one byte
        reply = self.endpoint.most_tokens(request)
        async with self.settled:
            while not self.stopped:
                reserved = self.endpoint.budget.reserve(most, reply)
                if reserved is not None:
                    self.under_way += 1
                    return reserved
                if not self.under_way:
                    self.stopped = f"budget: {self.endpoint.budget.limits()} would be exceeded"
                    logger.warning("%s. The rest is not asked.", self.stopped)
                    self.settled.notify_all()
                    break
                await self.settled.wait()
        raise _Fault(self.stopped, passing=False, paid=False)

    async def _send(self, request: ChatRequest, tries: int) -> Any:
        """Send a question and return the body of the response, within the time limit."""
        import openai

        limit = self.policy.timeout
        try:
            response = await asyncio.wait_for(self._create(request, tries), limit)
        except (TimeoutError, openai.APITimeoutError):
            raise _Fault(f"endpoint: no reply within {limit:g} seconds", passing=True, paid=True) from None
        except openai.APIStatusError as error:
            raise await self._status_fault(error) from None
        except openai.APIConnectionError as error:
            cause = type(error.__cause__).__name__ if error.__cause__ else "no cause given"
            reached = cause not in ("ConnectError", "ConnectTimeout")
            raise _Fault(f"endpoint: connection failed ({cause})", passing=True, paid=reached) from None
        except UnicodeError:  # half a character cannot be sent
            raise _Fault("the question is no valid text", passing=False, paid=False) from None
        except openai.OpenAIError as error:
            raise _Fault(f"endpoint: {type(error).__name__}", passing=False, paid=True) from None
        self.endpoint.answered = True
        try:
            return strict_json(response.content)
        except MalformedReplyError as error:
            error.text = response.content.decode("utf-8", "replace")
            raise

    async def _create(self, request: ChatRequest, tries: int) -> Any:
        fields: dict[str, Any] = (
            {} if "max_completion_tokens" in self.endpoint.extra else {"max_tokens": request.max_tokens}
        )
        if request.temperature is not None:
            fields["temperature"] = request.temperature
        if request.seed is not None:
            fields["seed"] = request.seed + _SEED_STEP * tries  # the same seed would give the same fault
        if request.logprobs:
            fields |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
        if self.endpoint.json_mode:
            fields["response_format"] = {"type": "json_object"}
        return await self._client.chat.completions.with_raw_response.create(
            model=self.endpoint.model,
            messages=[dict(one) for one in request.messages],
            extra_body=self.endpoint.extra or None,
            **fields,
        )

    async def _never_answered(self) -> bool:
        """Return whether no request has succeeded, when those under way have an outcome or are turned away too."""
        async with self.settled:
            self.refused += 1
            self.settled.notify_all()
            try:
                while not self.endpoint.answered and self.under_way > self.refused:
                    await self.settled.wait()
            finally:
                self.refused -= 1
        return not self.endpoint.answered

    async def _status_fault(self, error: Any) -> _Fault:
        """Return what a status other than success means."""
        status = error.status_code
        said = self.endpoint.clean(_message(error))
        reason = f"endpoint: status {status}" + (f" ({said})" if said else "")
        if status == _HOPELESS or (status in _REFUSED and await self._never_answered()):
            raise EndpointError(
                f"{self.endpoint.base_url} turns requests away, status {status}: {said or 'no message'}. Check the key "
                f"in {self.endpoint.api_key_env}, the model {self.endpoint.model!r} and the address."
            ) from None
        wait = _retry_after(error.response.headers.get("retry-after"))
        passing = (status in _PASSING or status >= 500) and error.code != "insufficient_quota"
        if status == 429 and passing:
            self.pace.hold(min(wait or 0.0, self.policy.longest_wait))
        return _Fault(
            reason, passing=passing, paid=status >= 500 or status == 408, wait=wait, refused=status in _REFUSED
        )


def _message(error: Any) -> str:
    """Return what the endpoint says about a fault."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else body
    return message if isinstance(message, str) else "" if message is None else json.dumps(message)


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that an endpoint asks to wait, if it says so in seconds."""
    try:
        seconds = float(value or "nan")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
