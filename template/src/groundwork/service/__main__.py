import sys

from groundwork.core.errors import GroundworkError
from groundwork.service.server import run
from groundwork.core.settings import Settings

if __name__ == "__main__":
    try:
        run(Settings())
    except GroundworkError as error:
        sys.exit(str(error))
