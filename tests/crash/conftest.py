"""What the crash tests tell at the end of a run, from whichever process they ran in."""

import pytest

#: The user property that a crash test leaves its words in.
TOLD = "crash"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many boundaries were visited, and which of a sample."""
    told = [
        str(words)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, words in report.user_properties
        if name == TOLD
    ]
    if told:
        terminalreporter.section("killed at boundaries (make crash: at every one)")
        for words in sorted(told):
            terminalreporter.write_line(words)
