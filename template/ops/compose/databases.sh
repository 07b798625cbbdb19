#!/bin/sh
# At the first start of PostgreSQL: a role for each system, and a database that no other role may enter.
set -eu
for name in groundwork mlflow prefect; do
    case $name in
    groundwork) password=$GROUNDWORK_PASSWORD ;;
    mlflow) password=$MLFLOW_PASSWORD ;;
    prefect) password=$PREFECT_PASSWORD ;;
    esac
    psql --quiet --no-psqlrc --username=postgres --set=ON_ERROR_STOP=1 --set=name="$name" --set=password="$password" <<-'SQL'
		create role :"name" login password :'password';
		create database :"name" owner :"name";
		revoke connect on database :"name" from public;
	SQL
done
