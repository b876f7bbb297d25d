"""The destination of a simulation: a folder that can be taken away for a while."""

from pathlib import Path

from ..auditor import read_local


class Disk:
    """`folder` holds the destination, the home and what the sandbox keeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._out = folder / "out"
        self._away = folder / "out.away"

    @property
    def destination(self) -> str:
        return self._out.as_uri()

    @property
    def media(self) -> str:
        return str(self.folder / "media")

    def break_down(self) -> None:
        """A file is where the folder was."""
        self._out.mkdir(exist_ok=True)
        if not self._away.exists():
            self._out.rename(self._away)
            self._out.write_text("in the way")

    def repair(self) -> None:
        if self._away.exists():
            self._out.unlink()
            self._away.rename(self._out)

    def read(self, uri: str) -> bytes | None:
        """Also while the folder is away: the file is safe, it just cannot be reached."""
        return read_local(uri) or read_local(uri.replace(self._out.as_uri(), self._away.as_uri()))
