"""The direct transport: SendBulkEmail without the SDK's way from arguments to bytes and back.

Who is asked, how he is reached and how a request is signed all come from the live SDK client:
endpoint rules, credentials and their refresh, SigV4, proxies, TLS, the pool of connections. What is
left out is what costs most of a call's CPU and does nothing here: serialising, validating and
parsing by the service model, and a dozen hooks. A test holds the request equal to the SDK's, byte
by byte (docs/adr/0013).
"""

# ruff: noqa: SLF001  # the SDK has no public way to a request that is not sent

from __future__ import annotations

import logging
import uuid
from typing import Any, Self

import orjson
from botocore.awsrequest import AWSRequest

from mailsluice.model import Account, Answer
from mailsluice.ses.client import Client, answer_of, entry_result, refusal_of

logger = logging.getLogger(__name__)

OPERATION = "SendBulkEmail"

HTTP_ERROR_MIN = 300
"""From this status on an answer is an error, as the SDK has it."""


class Direct:
    """SendBulkEmail over a live `Client`, whose connections and credentials it uses.

    `await Direct.over(client)`; it lives as long as the client does. What it cannot do (the sigv4a
    signature of an `endpoint_id`) goes through the client.
    """

    def __init__(self, client: Client, request: dict[str, Any]) -> None:
        self._client = client
        self._signer = client.sdk._request_signer
        self._session = client.sdk._endpoint.http_session
        self._url: str = request["url"]
        self._headers: dict[str, str] = request["headers"]
        self._context: dict[str, Any] = request["context"]
        protocol = client.sdk._service_model.resolved_protocol
        self._parser = client.sdk._endpoint._response_parser_factory.create_parser(protocol)
        self._told = False

    @classmethod
    async def over(cls, client: Client) -> Self:
        """Have the SDK prepare one request, which all others are like but for their body."""
        sdk = client.sdk
        operation = sdk._service_model.operation_model(OPERATION)
        context = {
            "client_region": sdk.meta.region_name,
            "client_config": sdk.meta.config,
            "has_streaming_input": operation.has_streaming_input,
            "auth_type": operation.resolved_auth_type,
            "unsigned_payload": operation.unsigned_payload,
            "auth_options": sdk._service_model.metadata.get("auth"),
        }
        nothing: dict[str, Any] = {"DefaultContent": {}, "BulkEmailEntries": []}
        url, headers, properties = await sdk._resolve_endpoint_ruleset(operation, nothing, context)
        context["endpoint_properties"] = properties
        request = await sdk._convert_to_request_dict(
            api_params=nothing,
            operation_model=operation,
            endpoint_url=url,
            context=context,
            headers=headers,
        )
        return cls(client, request)

    async def send_bulk_email(self, body: bytes, endpoint_id: str | None) -> Answer:
        """POST one request; see `ses.Transport`."""
        if endpoint_id:
            if not self._told:
                logger.info("endpoint_id is signed by sigv4a: calls go through the SDK")
                self._told = True
            return await self._client.send_bulk_email(body, endpoint_id)
        try:
            response = await self._session.send(await self._signed(body))
            if response.status_code >= HTTP_ERROR_MIN:
                return await self._refusal(response)
            document = orjson.loads(await response.content)
            return Answer(results=tuple(map(entry_result, document["BulkEmailEntryResults"])))
        except Exception as error:  # noqa: BLE001  # the SDK's own, and what a peer may answer
            return answer_of(error)

    async def get_account(self) -> Account:
        """Ask GetAccount; it is asked too seldom to be worth another way."""
        return await self._client.get_account()

    async def _signed(self, body: bytes) -> Any:
        request = AWSRequest("POST", self._url, dict(self._headers), data=body)
        request.context.update(self._context)
        await self._signer.sign(OPERATION, request)
        # After the signature, which they are no part of.
        request.headers["amz-sdk-invocation-id"] = str(uuid.uuid4())
        request.headers["amz-sdk-request"] = "attempt=1"
        return request.prepare()

    async def _refusal(self, response: Any) -> Answer:
        """An error, as the SDK reads it."""
        found = await self._parser.parse(
            {
                "status_code": response.status_code,
                "headers": response.headers,
                "body": await response.content,
                "context": {},
            },
            None,
        )
        return refusal_of(found)
