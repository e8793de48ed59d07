"""Answers: a result as JSON or as an image, and the settings that a request asks for."""

import base64
from collections.abc import Mapping

from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse, Response

from model.inference.merging import MergingSettings
from panoptic_segformer.changed_settings import MERGING, with_merging
from panoptic_segformer.result import Result
from panoptic_segformer.serve.limits import RefusalError

FORMATS = ("json", "png", "overlay", "coco")
_OTHERS = ("format", "keep", "map")
_SHOWN = ("id", "category", "category_id", "is_thing", "score", "area", "box")


def chosen_format(query: Mapping[str, str], accept: str) -> str:
    """Choose by the query, or else by the header `Accept`. Raises `RefusalError` for another one."""
    found = query.get("format") or ("png" if accept.strip().startswith("image/png") else "json")
    if found not in FORMATS:
        raise RefusalError(400, f"there is no format {found!r:.40}; choose from {', '.join(FORMATS)}")
    return found


def parameters(query: QueryParams) -> Mapping[str, str]:
    """Return the parameters of a query. Raises `RefusalError` if one is given twice."""
    values = dict(query)
    if len(values) < len(query.multi_items()):
        twice = next(name for name in values if len(query.getlist(name)) > 1)
        raise RefusalError(400, f"{twice!r:.40} is given more than once; which of them counts?")
    return values


def merging_settings(query: Mapping[str, str], settings: MergingSettings) -> MergingSettings:
    """Change the settings of merging that a query names.

    Raises:
        RefusalError: a name is unknown, or a value is wrong.
    """
    if unknown := sorted(query.keys() - MERGING - {*_OTHERS}):
        known = ", ".join([*_OTHERS, *sorted(MERGING)])
        raise RefusalError(400, f"there is no parameter {unknown[0]!r:.40}; choose from {known}")
    changed = {name: query[name] for name in query.keys() & MERGING}
    try:
        return with_merging(settings, {k: text if k == "method" else float(text) for k, text in changed.items()})
    except ValueError as error:
        raise RefusalError(400, str(error)) from None


def answer(result: Result, form: str, with_map: bool, more: Mapping[str, object]) -> Response:
    """Encode a result; `more` is added to JSON."""
    if form in ("png", "overlay"):
        content = result.to_png() if form == "png" else result.encode_overlay(compress_level=1)
        return Response(content, media_type="image/png")
    described = coco(result) if form == "coco" else {**describe(result), **more}
    if with_map and form == "json":
        described["map"] = base64.b64encode(result.to_png()).decode()
    return JSONResponse(described)


def describe(result: Result) -> dict[str, object]:
    """Describe a result for programs and for the page."""
    height, width = result.ids.shape
    return {
        "name": result.name,
        "height": height,
        "width": width,
        "segments": [{name: getattr(segment, name) for name in _SHOWN} for segment in result.segments],
    }


def coco(result: Result) -> dict[str, object]:
    """Describe a result as a document of COCO's panoptic format with one image; its map is that of `png`."""
    height, width = result.ids.shape
    return {
        "images": [{"id": 1, "file_name": result.name, "height": height, "width": width}],
        "annotations": [result.to_coco() | {"image_id": 1}],
        "categories": result.categories.to_json(),
    }
