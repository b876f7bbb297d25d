"""Refusals of a whole call, as JSON the way the API writes them."""

from collections.abc import Mapping

from aiohttp import web


class Problem(Exception):
    """Ends a call with an HTTP status and `{"error": {"code", "message"}}`."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def response(self) -> web.Response:
        body = {"error": {"code": self.code, "message": self.message}}
        return web.json_response(body, status=self.status, headers=self.headers)
