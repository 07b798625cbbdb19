#!/bin/sh
# Brings the databases of Groundwork, MLflow and Prefect to the schema of the code in this image, each as its own role, and
# makes the bucket for the snapshots. What is up to date already stays as it is.
set -eu
as() { PGPASSWORD=$(cat "/run/secrets/$1_password") && export PGPASSWORD; }
as groundwork && groundwork migrate
as mlflow && mlflow db upgrade postgresql+psycopg://mlflow@postgres/mlflow
as prefect && prefect server database upgrade --yes
python - <<'PYTHON'
import os
from pyarrow.fs import S3FileSystem

host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
store = S3FileSystem(endpoint_override=host, scheme="http", region=os.environ["AWS_REGION"], allow_bucket_creation=True)
store.create_dir("lake")
PYTHON
