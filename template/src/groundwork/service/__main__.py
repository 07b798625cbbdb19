import sys

from groundwork.errors import GroundworkError
from groundwork.service.server import run
from groundwork.settings import Settings

if __name__ == "__main__":
    try:
        run(Settings())
    except GroundworkError as error:
        sys.exit(str(error))
