"""How a flow ends when run as a command."""

import signal
from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from pipelines.process.flow_command import run_as_program
from pipelines.process.session import CommandError


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend to run under the guard, with a server, and restore the handler of SIGTERM afterwards."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("PIPELINES_UNDER_GUARD", "1")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("error", [ValueError("no stage trian"), CommandError("it failed"), TimeoutError("too long")])
def test_the_last_output_is_the_reason(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def flow() -> None:
        raise error

    assert run_as_program("a.module", flow, lambda _: None) == 1
    assert capsys.readouterr().err == f"error: {error}\n"
