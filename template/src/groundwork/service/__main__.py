import sys

from groundwork.core.errors import GroundworkError
from groundwork.documents.pilot import Pilot
from groundwork.service.server import run

if __name__ == "__main__":
    try:
        run(Pilot.here())
    except GroundworkError as error:
        sys.exit(str(error))
