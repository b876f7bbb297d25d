"""Rules about the input images of an image job: all fields and aliases count together."""

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.models import ImageModel
from orchestrator.planner.draft import Draft


def check_input_images(draft: Draft, model: ImageModel) -> None:
    """At most the documented number; where that is 0, one passes with a warning (interface, "Manifest")."""
    given = draft.inputs.of("image")
    limit = model.max_reference_images
    if model.requires_image and not given:
        message = f"{model.name} needs an input image, such as `image_urls`"
        draft.findings.error(Code.IMAGE_INPUT_REQUIRED, draft.node, message, "image_urls")
    if limit == 0 and len(given) == 1:
        message = f"{model.name} documents no reference images; one may be accepted"
        draft.findings.warn(Code.REFERENCE_IMAGES_UNSUPPORTED, given[0].whole, message, given[0].field)
    elif limit == 0 and len(given) > 1:
        message = f"{model.name} documents no reference images; {len(given)} are given"
        draft.findings.error(Code.REFERENCE_IMAGES_UNSUPPORTED, given[1].whole, message, given[1].field)
    elif len(given) > limit:
        message = f"{model.name} takes at most {limit} input images; {len(given)} are given"
        excess = given[limit]
        draft.findings.error(Code.TOO_MANY_REFERENCE_IMAGES, excess.whole, message, excess.field)
