#!/bin/sh
# Runs a command with spark-defaults.conf and the cluster's secret (SPARK_SECRET) in one file that only its user can read.
set -eu
umask 077
folder=$(mktemp -d)
cat "$(dirname "$0")/spark-defaults.conf" >"$folder/spark-defaults.conf"
printf 'spark.authenticate.secret %s\n' "${SPARK_SECRET:?}" >>"$folder/spark-defaults.conf"
unset SPARK_SECRET
SPARK_CONF_DIR=$folder exec "$@"
