-- Run once by PostgreSQL's image when its data folder is made: Airflow's own database beside Dynamo's.
CREATE DATABASE airflow;
