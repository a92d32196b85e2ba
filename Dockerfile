# Airflow with Dynamo in it: every Airflow service and the pocket grid of docker-compose.yaml run this image.
FROM python:3.12-slim-bookworm

RUN useradd --create-home --uid 50000 dynamo
WORKDIR /opt/dynamo
COPY requirements-image.txt ./
RUN pip install --no-cache-dir -r requirements-image.txt "apache-airflow-providers-celery>=3.10" "redis>=5" \
 && mkdir -p /var/lib/dynamo && chown dynamo /var/lib/dynamo
COPY pyproject.toml README.md LICENSE ./
COPY dynamo_ops ./dynamo_ops
COPY dags ./dags
COPY plugins ./plugins
COPY simgrid ./simgrid
COPY demo ./demo
COPY include ./include
RUN pip install --no-cache-dir --no-deps .

ENV PYTHONPATH=/opt/dynamo:/opt/dynamo/plugins \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/var/lib/dynamo/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/dynamo/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/dynamo/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX=regexp \
    DYNAMO_HOME=/var/lib/dynamo
USER dynamo
