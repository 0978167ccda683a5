"""Start the app: Streamlit on this machine's loopback, for one run folder. Sends nothing anywhere.

Streamlit by default listens on every interface, reports usage and shows tracebacks; the options below turn that off.
"""

import os
import socket
from pathlib import Path

from saelab.app.catalogue import require_something
from saelab.errors import SaelabError

MAIN = Path(__file__).resolve().parent / "main.py"
ADDRESS = "127.0.0.1"
FOLDER = "SAELAB_RUN"  # the environment variable that tells the pages which folder to browse

OPTIONS: dict[str, str] = {
    "server.address": ADDRESS,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "1",  # MB: no page takes a file
    "server.runOnSave": "false",
    "browser.serverAddress": ADDRESS,
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "theme.baseRadius": "0.4rem",
    "theme.baseFontSize": "15",
    "theme.headingFontSizes": '["1.75rem", "1.3rem", "1.05rem", "1rem", "0.9rem", "0.85rem"]',
    "theme.headingFontWeights": "[650, 600, 600, 600, 600, 600]",
    "theme.metricValueFontSize": "1.45rem",
    "theme.paddingTop": "0.5rem",
    "theme.light.primaryColor": "#1f6fc5",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f4f6f9",
    "theme.light.textColor": "#101828",
    "theme.light.borderColor": "#dde2ea",
    "theme.dark.primaryColor": "#4a9be8",
    "theme.dark.backgroundColor": "#0f141b",
    "theme.dark.secondaryBackgroundColor": "#18202a",
    "theme.dark.textColor": "#e8ecf2",
    "theme.dark.borderColor": "#2c3744",
}


def launch(folder: Path, port: int = 8501, browser: bool = True) -> None:
    """Serve `folder` until interrupted.

    Raises SaelabError when it holds neither an index nor a training, and when the port is taken.
    """
    require_something(folder)
    check_port(port)
    import streamlit
    from streamlit.web import cli

    os.environ[FOLDER] = str(folder.resolve())
    try:
        cli.main(arguments(port, browser), standalone_mode=False)
    finally:
        streamlit.cache_resource.clear()  # DuckDB fills the terminal with complaints when the process ends before it


def arguments(port: int, browser: bool) -> list[str]:
    """What `streamlit` is called with."""
    options = {**OPTIONS, "server.port": str(port), "server.headless": "false" if browser else "true"}
    return ["run", str(MAIN), *[f"--{name}={value}" for name, value in options.items()]]


def check_port(port: int) -> None:
    """Raise SaelabError unless something could listen on `port`."""
    if not 1 <= port <= 65535:
        raise SaelabError(f"{port} is no port: give a number from 1 to 65535, as in --port 8600")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise SaelabError(
                f"port {port} of {ADDRESS} cannot be used: {error.strerror}.\n"
                f"  fix:   stop what listens there, or choose another: --port {port % 65535 + 1}"
            ) from None
