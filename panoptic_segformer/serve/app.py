"""The addresses of the server."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import monotonic

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from model.inference.merging import METHODS, MergingSettings
from panoptic_segformer.model import Model
from panoptic_segformer.serve.answers import answer, chosen_format, merging_settings, parameters
from panoptic_segformer.serve.guard import Guard
from panoptic_segformer.serve.kept import Kept
from panoptic_segformer.serve.limits import MEGA, Limits, RefusalError
from panoptic_segformer.serve.uploads import Receiving, read_upload
from panoptic_segformer.serve.work import GONE, Work
from panoptic_segformer.unmerged import Unmerged

_READING = ["GET", "HEAD"]
_ADDRESSES = "there is nothing here; POST an image to /predict, or GET /, /model, /health, or the Location of a result"
PAGE = Path(__file__).with_name("page.html")


def make_app(model: Model, limits: Limits, hosts: Iterable[str] = ()) -> FastAPI:
    """Make the server's application."""
    work, kept = Work(model, limits), Kept(limits.kept_megabytes * MEGA, limits.kept_seconds)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        work.close()

    # Without the pages of the API, which load scripts from elsewhere.
    app = FastAPI(title="panoptic", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, hosts=tuple(hosts))
    for error in (RefusalError, HTTPException, ClientDisconnect, ValueError, MemoryError):
        app.add_exception_handler(error, _refused)
    _add_predictions(app, work, kept)
    _add_descriptions(app, work, kept)
    return app


def _add_predictions(app: FastAPI, work: Work, kept: Kept) -> None:
    receiving = Receiving(work.limits)

    def merged(settings: MergingSettings, form: str, with_map: bool, unmerged: Unmerged) -> Response:
        return answer(unmerged.merge(settings), form, with_map, {"merging": asdict(settings)})

    def merging(request: Request) -> partial[Response]:
        query = parameters(request.query_params)
        settings = merging_settings(query, work.model.settings.merging)
        if settings.method not in _methods(work.model):
            raise RefusalError(400, f"this model cannot be merged by {settings.method!r}; see /model for its methods")
        if settings != work.model.settings.merging and not work.model.leaves_masks:
            raise RefusalError(400, "this model is an exported file, which merges with its own settings alone")
        form = chosen_format(query, request.headers.get("accept", ""))
        return partial(merged, settings, form, "map" in query)

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        work.require_slot()
        merge, keep = merging(request), "keep" in request.query_params
        upload = await read_upload(request, work.limits, receiving)
        with work.slot():
            started = monotonic()
            unmerged, response = await work.while_there(request, work.find(upload, merge))
        response.headers["Server-Timing"] = f"predict;dur={1000 * (monotonic() - started):.0f}"
        if keep and (name := kept.add(unmerged)):
            response.headers["Location"] = f"/results/{name}"
        return response

    @app.get("/results/{name}")
    async def results(name: str, request: Request) -> Response:
        merge, unmerged = merging(request), kept.get(name)
        if unmerged is None:
            raise RefusalError(404, "this result is no longer kept; send the image again")
        with work.slot():
            return await work.while_there(request, work.merge(merge, unmerged))


def _add_descriptions(app: FastAPI, work: Work, kept: Kept) -> None:
    page, settings, limits = PAGE.read_text(encoding="utf-8"), work.model.settings, work.limits
    policy = page_policy(page)

    @app.api_route("/", methods=_READING)
    async def home() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    @app.api_route("/health", methods=_READING)
    async def health() -> Response:
        kept.sweep()
        return JSONResponse({"status": "ok", "taken": work.taken, "kept": len(kept), "kept_bytes": kept.nbytes})

    @app.api_route("/model", methods=_READING)
    async def model() -> Response:
        return JSONResponse(
            {
                "name": Path(work.model.source).name,
                "sha256": work.model.digest,
                "input": {"shorter": settings.shorter, "longer": settings.longer},
                "merging": asdict(settings.merging),
                "merges_again": work.model.leaves_masks,
                "methods": _methods(work.model),
                "categories": work.model.categories.to_json(),
                "limits": {"megabytes": limits.megabytes, "megapixels": limits.megapixels, "queue": limits.queue},
            }
        )


def _methods(model: Model) -> list[str]:
    """Return our methods of merging, and the model's own if it has one."""
    return list(dict.fromkeys((*METHODS, model.settings.merging.method)))


async def _refused(_request: Request, error: Exception) -> Response:
    if isinstance(error, RefusalError):
        return JSONResponse({"error": error.message}, error.status, error.headers)
    if isinstance(error, HTTPException):
        said = _ADDRESSES if error.status_code in (404, 405) else error.detail
        return JSONResponse({"error": said}, error.status_code, error.headers)
    if isinstance(error, ClientDisconnect):
        return JSONResponse({"error": GONE.message}, GONE.status)
    if isinstance(error, MemoryError):
        return JSONResponse({"error": "the image needs more memory than there is; send a smaller one"}, 413)
    return JSONResponse({"error": str(error)}, 500)


def page_policy(page: str) -> str:
    """Return the policy that lets a browser run the styles and scripts in a page, and load nothing else."""
    sources = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        )
        for tag in ("style", "script")
    }
    return (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
