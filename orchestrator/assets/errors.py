"""What can go wrong with an asset, as one tree. No message ever holds a secret or a URL's query string.

AssetError
├── AddressRefused      the URL leads somewhere we never connect to; trying again cannot help
├── SourceGone          the source answered 401, 403, 404 or 410: expired, or never there
├── SourceUnavailable   network, 429, 5xx or a body cut short: try again until it expires
├── CorruptAsset        the bytes are not a whole picture or video
│   └── NotAnAsset      they are something else altogether: nothing, or an error page
├── SpoolFailed         the spool is full or cannot be written: free space, then try again
├── DestinationFailed   the destination refused or could not be reached: try again
│   └── ObjectExists    the key is taken by other content, which is never overwritten
└── MediaMissing        an input file is not in the media store, or not what it was
"""

from orchestrator.base.errors import OrchestratorError, Unusable


class AssetError(OrchestratorError):
    """A step on one asset failed; `message` is fit for the job's error."""

    code = "asset-failed"


class AddressRefused(AssetError):
    """The URL is not https, or leads to a private address."""

    code = "asset-address-refused"


class SourceGone(AssetError):
    """The source answered that the asset is not there (any more) for us."""

    code = "asset-expired"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class SourceUnavailable(AssetError):
    """No whole body this time; `retry_after_seconds` is the source's own wish, where it has one."""

    code = "asset-unavailable"

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class CorruptAsset(AssetError):
    """The bytes are not a whole picture or video of the kind they should be."""

    code = "asset-corrupt"


class NotAnAsset(CorruptAsset):
    """What came is no picture or video at all: a mishap on the way is likelier than a bad file."""


class SpoolFailed(AssetError):
    """The local spool is full or cannot be written."""

    code = "spool-failed"
    exit_code = Unusable.exit_code


class DestinationFailed(AssetError):
    """The destination did not take, or did not give back, an object."""

    code = "destination-failed"
    exit_code = Unusable.exit_code


class ObjectExists(DestinationFailed):
    """The key is taken by other content; trying again cannot help."""


class MediaMissing(AssetError):
    """An input file is not in the media store, or its bytes have changed there."""

    code = "media-file-missing"
    exit_code = Unusable.exit_code
