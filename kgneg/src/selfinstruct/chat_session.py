"""One round of questions to an endpoint."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kgneg.selfinstruct.chat_client import open_client
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, ChatRequest, EndpointError, Outcome
from kgneg.selfinstruct.chat_fault import Fault, status_fault
from kgneg.selfinstruct.chat_policy import Pace
from kgneg.selfinstruct.chat_reply import ChatReply, MalformedReplyError, read_completion, read_usage, strict_json
from kgneg.selfinstruct.chat_secret import hidden_in_logs

if TYPE_CHECKING:
    from kgneg.selfinstruct.chat_budget import Reservation

__all__ = ["Session"]

logger = logging.getLogger(__name__)

ValueT = TypeVar("ValueT")

_NO_KEY = 401
#: about the model, the rights of the key, or one text only, such as one that was flagged
_REFUSED = {_NO_KEY, 403, 404}
#: refusals before any success until they are an error; a wrong key is one at once
_MOST_REFUSED = 3
#: characters of a malformed reply that are kept for inspection
_KEPT = 100_000
#: tokens that a chat template may add to the messages
_TEMPLATE_TOKENS = 256
#: how often to look, and seconds between, whether others who share a budget have left something of what they reserved;
#: a process that was killed leaves nothing, so there is an end
_LOOKS, _PAUSE = 20, 0.25
_TOP_LOGPROBS = 5
_SEED_STEP = 1_000_003


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
        self.under_way = self.waiting_for_others = 0
        self.refused: list[EndpointError] = []
        self._client: Any = None
        self._cancelled = False
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None] | None = None

    async def run(self, requests: Iterable[ChatRequest], done: Callable[[ChatRequest, Outcome[ValueT]], None]) -> None:
        """Ask all questions.

        :param requests: the questions
        :param done: gets each question and its outcome
        :raises EndpointError: if the endpoint turns every request away
        """
        self._running = asyncio.get_running_loop(), asyncio.current_task()
        if self._cancelled:
            return
        self.settled = asyncio.Condition()
        with hidden_in_logs(self.endpoint.secret()):
            async with open_client(self.endpoint, self.policy.timeout) as self._client:
                await self._work(iter(requests), done)
        if self.refused and not self.endpoint.answered:
            raise self.refused[0] from None

    def cancel(self) -> None:
        """End the round, from any thread; what is under way is cut off and nothing else is sent."""
        self._cancelled = True
        if self._running is not None:
            loop, task = self._running
            if task is not None:
                with suppress(RuntimeError):  # the loop is closed, so the round is over
                    loop.call_soon_threadsafe(task.cancel)

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
            except Fault as fault:
                reason, wait = fault.reason, fault.wait
                faults += 1
                final = not fault.passing or faults > self.policy.retries
                if final and not fault.of_the_text:
                    self._count_failure(reason, fault.ends)
            except MalformedReplyError as error:
                fault_text = self.endpoint.clean(str(error))
                reason, final, wait = f"malformed: {fault_text}", error.final, None
                misread += 1
                self.counts["malformed"] += 1
                if self.malformed is not None:
                    self.malformed(request, self.endpoint.clean(error.text[:_KEPT], None), fault_text)
                final = final or misread > self.policy.format_retries
            else:
                self.failed_in_a_row = 0
                return Outcome(value)
            if final:
                return Outcome(None, reason)
            self.counts["retries"] += 1
            await asyncio.sleep(self.policy.wait(request.key, faults + misread, wait))

    def _count_failure(self, reason: str, ends: bool) -> None:
        """Count a question without a reply, and stop if no other will have one."""
        self.failed_in_a_row += 1
        limit = self.policy.give_up_after
        many = limit is not None and self.failed_in_a_row >= limit
        if (ends or many) and not self.stopped:
            self.stopped = f"gave up: {reason}" if ends else f"gave up after {limit} failures in a row: {reason}"
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
            reply = read_completion(body)
            if self.endpoint.secret().stands_in(reply.text):  # such a text is no data, nor is what is left without it
                raise MalformedReplyError("the reply repeats the key", text=reply.text)
            try:
                return self.parse(reply)
            except MalformedReplyError as error:
                error.text = error.text or reply.text
                raise
        except EndpointError:
            used = (0, 0)
            raise
        except Fault as fault:
            used = None if fault.paid else (0, 0)
            raise
        finally:
            used = (reserved.input_tokens, reserved.output_tokens) if used is None else used
            self.endpoint.budget.settle(reserved, *used)
            self._check_bound(reserved, used)
            self.counts["input_tokens"] += used[0]
            self.counts["output_tokens"] += used[1]
            self.under_way -= 1
            async with self.settled:
                self.settled.notify_all()

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
        more = len(json.dumps(self.endpoint.extra, indent=2)) if self.endpoint.extra else 0  # such as tools
        most = text + more + _TEMPLATE_TOKENS  # a token has at least one byte
        reply = self.endpoint.most_tokens(request)
        looks = _LOOKS
        async with self.settled:
            while not self.stopped:
                reserved = self.endpoint.budget.reserve(most, reply)
                if reserved is not None:
                    self.under_way += 1
                    return reserved
                if self.under_way:
                    await self.settled.wait()
                elif looks and self.endpoint.budget.reserved():  # others mostly use less than they have reserved
                    looks -= 1
                    await asyncio.sleep(_PAUSE)
                else:
                    self.stopped = f"budget: {self.endpoint.budget.limits()} would be exceeded"
                    logger.warning("%s. The rest is not asked.", self.stopped)
                    self.settled.notify_all()
        raise Fault(self.stopped)

    async def _send(self, request: ChatRequest, tries: int) -> Any:
        """Send a question and return the body of the response, within the time limit."""
        import openai

        limit = self.policy.timeout
        try:
            response = await asyncio.wait_for(self._create(request, tries), limit)
        except (TimeoutError, openai.APITimeoutError):
            raise Fault(f"endpoint: no reply within {limit:g} seconds", passing=True, paid=True) from None
        except openai.APIStatusError as error:
            raise await self._turned_down(error) from None
        except openai.APIConnectionError as error:
            cause = type(error.__cause__).__name__ if error.__cause__ else "no cause given"
            reached = cause not in ("ConnectError", "ConnectTimeout")
            raise Fault(f"endpoint: connection failed ({cause})", passing=True, paid=reached) from None
        except UnicodeError:  # half a character cannot be sent
            raise Fault("the question is no valid text", of_the_text=True) from None
        except openai.OpenAIError as error:
            raise Fault(f"endpoint: {type(error).__name__}", paid=True) from None
        self.endpoint.answered = self.endpoint.admitted = True
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

    async def _none_succeeds(self) -> None:
        """Wait until a request has succeeded, or those under way have an outcome or are turned away too."""
        async with self.settled:
            self.waiting_for_others += 1
            self.settled.notify_all()
            try:
                while not self.endpoint.answered and self.under_way > self.waiting_for_others:
                    await self.settled.wait()
            finally:
                self.waiting_for_others -= 1

    async def _turned_down(self, error: Any) -> Fault:
        """Return what a status other than success means, or raise when it means that none will succeed."""
        status = error.status_code
        fault = status_fault(error, self.endpoint.clean)
        if status == 429 and fault.passing:
            self.pace.hold(min(fault.wait or 0.0, self.policy.longest_wait))
        if status not in _REFUSED:
            return fault
        await self._none_succeeds()
        if not (self.endpoint.admitted if status == _NO_KEY else self.endpoint.answered):
            said = self.endpoint.clean(fault.reason.removeprefix("endpoint: "))
            refusal = EndpointError(
                f"{self.endpoint.base_url} turns requests away, {said}. Check the key in {self.endpoint.api_key_env}, "
                f"the model {self.endpoint.model!r} and the address."
            )
            self.refused.append(refusal)
            if status == _NO_KEY or len(self.refused) > _MOST_REFUSED:
                raise refusal from None
        return fault
