"""How the FTS REST service says no."""

from __future__ import annotations

from http import HTTPStatus

from simgrid.http import Response, json_response


class FtsError(Exception):
    """Becomes `{"status": "<code> <name>", "message": <text>}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def response(self) -> Response:
        name = "Authentication Timeout" if self.status == 419 else HTTPStatus(self.status).phrase
        reason = "UNKNOWN" if self.status == 419 else name.upper()
        document = {"status": f"{self.status} {name}", "message": self.message}
        return json_response(document, self.status, reason=reason)


def bad_request(message: str) -> FtsError:
    return FtsError(400, message)


def bad_value(error: object) -> FtsError:
    return FtsError(400, f"Invalid value within the request: {error}")


def no_such_job(job_id: str, where: str = "") -> FtsError:
    return FtsError(404, f'No job with the id "{job_id}" has been found{where}')
