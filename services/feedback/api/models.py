"""Bodies of the API."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

Short = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
Comment = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Step(_Body):
    at: AwareDatetime | None = Field(default=None, description="when it happened; now where left out")
    by: Short | None = Field(default=None, description="who did it; the key's name where left out")


class AcknowledgeIn(_Step):
    pass


class AssignIn(_Step):
    agent: Short | None = None
    team: Short | None = None


class RespondIn(_Step):
    text: Text | None = Field(default=None, description="sent to the customer; left out where they were told already")
    procedure: Short | None = None


class ResolveIn(_Step):
    outcome: str = Field(max_length=40, description="upheld, partly_upheld, not_upheld or explained")
    reason: Text | None = Field(default=None, description="told to the customer; required unless upheld")
    procedure: Short | None = None


class ReopenIn(_Step):
    reason: Text | None = None


class CloseIn(_Step):
    reason: Short | None = Field(default=None, description="a code or a few words; required without a resolution")


class ReferIn(_Step):
    to: Short = Field(description="who deals with it now")
    reason: Text | None = None


class StatusIn(_Body):
    status: str = Field(max_length=40, description="accepted, sent, delivered, failed or complained")
    at: AwareDatetime | None = None
    detail: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] | None = Field(
        default=None, description="the channel's own code or words; no personal data"
    )


class StatusOfIn(StatusIn):
    request_id: Short


class AnswerIn(_Body):
    """Which request it answers is said by its id or by its page's token."""

    request_id: Short | None = None
    token: Short | None = Field(default=None, description="of the answer page, instead of request_id")
    at: AwareDatetime | None = None
    score: int | None = Field(default=None, ge=1, le=5, description="satisfaction, 1 worst to 5 best")
    helped: Literal["better", "same", "worse"] | None = None
    comment: Comment | None = None
    new_need: bool = False
    need: Comment | None = Field(default=None, description="the new need in the customer's words")

    @model_validator(mode="after")
    def _of_some_request(self) -> "AnswerIn":
        if self.request_id is None and self.token is None:
            raise PydanticCustomError(
                "unnamed-request", "request_id or token is needed", {"es": "hace falta request_id o token"}
            )
        return self
