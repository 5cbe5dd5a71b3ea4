"""Whether the process lives."""

from fastapi import APIRouter
from pydantic import BaseModel

import geoetl


class Alive(BaseModel):
    """The answer of a process that lives."""

    status: str
    version: str


router = APIRouter(prefix="/api", tags=["health"])


@router.get("/livez")
async def livez() -> Alive:
    """Tell that the process answers; nothing else is looked at."""
    return Alive(status="ok", version=geoetl.__version__)
