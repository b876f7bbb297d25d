"""Draws the product photos of jobs/nightly-catalog.yaml: `python scripts/make_photos.py`.

The lamp's is as a phone held upright makes it: lying on its side, with an EXIF orientation that says so.
"""

from pathlib import Path

from PIL import ExifTags, Image, ImageDraw

PHOTOS = Path(__file__).parents[1] / "jobs" / "photos"
_SIZE = (320, 240)
_WALL, _TABLE, _SHADOW = "#e8e4dc", "#b89a78", "#8f7658"
_TURN_RIGHT = 6
"""EXIF: turn by 90 degrees clockwise to see it upright."""
_SHAPES = {
    "mug": ("#3f6fa8", [(120, 90, 190, 180), (180, 110, 215, 155)]),
    "bowl": ("#4f8a5b", [(90, 130, 230, 180), (135, 172, 185, 188)]),
    "vase": ("#a8483f", [(130, 100, 190, 185), (148, 60, 172, 110)]),
    "plate": ("#d9c24a", [(80, 160, 240, 182), (110, 164, 210, 176)]),
}


def main() -> None:
    """Writes every photo anew; the same ones with the same release of Pillow."""
    PHOTOS.mkdir(exist_ok=True)
    for name, (colour, boxes) in _SHAPES.items():
        _drawn(_SIZE, colour, boxes).save(PHOTOS / f"{name}.jpg", quality=80)
    upright = _drawn((240, 320), "#6b5aa0", [(70, 60, 170, 130), (112, 130, 128, 240), (85, 235, 155, 250)])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _TURN_RIGHT
    upright.transpose(Image.Transpose.ROTATE_90).save(PHOTOS / "lamp.jpg", quality=80, exif=exif)


def _drawn(size: tuple[int, int], colour: str, boxes: list[tuple[int, int, int, int]]) -> Image.Image:
    image = Image.new("RGB", size, _WALL)
    draw = ImageDraw.Draw(image)
    bottom = max(box[3] for box in boxes)
    draw.rectangle((0, bottom - 25, *size), fill=_TABLE)
    draw.ellipse((boxes[0][0] - 5, bottom - 8, boxes[0][2] + 25, bottom + 8), fill=_SHADOW)
    for box in boxes:
        draw.rounded_rectangle(box, radius=10, fill=colour)
    return image


if __name__ == "__main__":
    main()
