"""How the engine's script tells that it cannot."""

import os
import subprocess
from pathlib import Path

import pytest

ENGINE = Path(__file__).parent / "engine.sh"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes rights away, so it needs to have them")
@pytest.mark.parametrize(
    ("without", "reason"),
    [
        (["--reuid", "65534", "--clear-groups"], "no container engine: starting one needs root"),
        (["--bounding-set", "-sys_admin"], "no container engine: this machine's root may not mount or make networks"),
    ],
)
def test_a_machine_that_cannot_run_an_engine_is_told_from_one_that_fails(
    without: list[str], reason: str, tmp_path: Path
) -> None:
    bare = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(["setpriv", *without, "bash", ENGINE, "start"], env=bare, text=True, capture_output=True)
    assert (done.returncode, done.stderr.strip().splitlines()[-1:]) == (77, [reason])
    assert not (tmp_path / "groundwork").exists()
