"""`python -m services.edge`: the edge service of one branch."""

import sys

import uvicorn
from pydantic import ValidationError

from services.common.errors import PacsError
from services.common.listening import listen
from services.common.logs import configure
from services.edge.app import build
from services.edge.settings import EdgeSettings


def main() -> int:
    """Run until a signal. 2: this host is not enrolled or wrongly configured, or the port is taken."""
    try:
        settings = EdgeSettings.from_environment()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            name = "_".join(str(part) for part in problem["loc"])
            print(f"PACS_{name.upper()}: {problem['msg']}", file=sys.stderr)
        return 2
    configure("edge", settings.log_level)
    try:
        listener = listen(settings.edge_host, settings.edge_port)
        application = build(settings)
    except PacsError as error:
        print(f"{error.detail}. {error.action}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"the edge service cannot start: {error}", file=sys.stderr)
        return 2
    server = uvicorn.Config(application, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    uvicorn.Server(server).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
