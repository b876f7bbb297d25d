"""What can go wrong, as one tree. Each leaf fixes the exit code a command ends with.

OrchestratorError
├── UsageError        2   bad arguments, unknown batch
├── ManifestError     2   the manifest is not valid (3 when only the money is wrong)
├── SpendRefused      3   refused to spend: no yes, over a cap, no funds, a second run
├── Unusable          4   provider, credentials, destination or database cannot be used
└── Interrupted     130   stopped by the user; state is kept
"""


class OrchestratorError(Exception):
    """An expected failure: `message` says what happened, `hint` what to do next."""

    code = "error"
    exit_code = 70

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class UsageError(OrchestratorError):
    """The command cannot mean anything: bad arguments, an unknown batch."""

    code = "usage"
    exit_code = 2


class ManifestError(OrchestratorError):
    """The manifest is not valid; `document` is the `plan` JSON with its errors."""

    code = "manifest-invalid"
    exit_code = 2

    def __init__(self, message: str, *, document: dict[str, object], only_money: bool) -> None:
        super().__init__(message)
        self.document = document
        if only_money:
            self.exit_code = SpendRefused.exit_code


class SpendRefused(OrchestratorError):
    """Nothing was spent: no confirmation, a cap, missing funds or a run that is still open."""

    code = "refused"
    exit_code = 3


class Unusable(OrchestratorError):
    """Provider, credentials, destination or database cannot be used; nothing new was stored or sent."""

    code = "unusable"
    exit_code = 4


class Interrupted(OrchestratorError):
    """Stopped by the user; what was sent is kept and `resume` goes on."""

    code = "interrupted"
    exit_code = 130
