-- Dagster's and MLflow's migrations use the same table name, so each has a database of its own.
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
