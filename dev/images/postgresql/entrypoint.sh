#!/bin/sh
# Makes a database cluster in an empty data folder, runs the start scripts once, then becomes the server.
# It understands the variables of the official image that the manifests use:
#   POSTGRES_PASSWORD (required), POSTGRES_USER (postgres), POSTGRES_DB (the user's name), POSTGRES_INITDB_ARGS, PGDATA,
#   each of the first three also as *_FILE; and *.sql and *.sh in /docker-entrypoint-initdb.d.
set -eu

# value_of NAME DEFAULT: the variable, or the content of the file that NAME_FILE names, or the default.
value_of() {
    eval "value=\${$1:-} file=\${$1_FILE:-}"
    if [ -z "$value" ] && [ -n "$file" ]; then value=$(cat "$file"); fi
    printf '%s' "${value:-$2}"
}

# The root file system may be read-only, and then only volumes can hold the server's socket.
socket_folder() {
    for folder in /var/run/postgresql /tmp "$PGDATA"; do
        if [ -w "$folder" ]; then printf '%s' "$folder"; return; fi
    done
}

make_database_cluster() {
    password=$(value_of POSTGRES_PASSWORD '')
    if [ -z "$password" ]; then echo 'POSTGRES_PASSWORD is not set, and a superuser without a password would be open to all' >&2; exit 1; fi
    # shellcheck disable=SC2086 # a list of options by contract
    printf '%s\n' "$password" | initdb --pgdata="$new" --username="$user" --pwfile=/dev/stdin --auth-local=trust --auth-host=scram-sha-256 \
        --encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C.UTF-8 ${POSTGRES_INITDB_ARGS:-}
    echo 'host all all all scram-sha-256' >> "$new/pg_hba.conf"
}

run_start_scripts() {
    # Without TCP: nobody connects before the scripts are through.
    pg_ctl --pgdata="$new" --wait --options="-c listen_addresses='' -k $sockets" start
    export PGHOST="$sockets" PGUSER="$user"
    if [ "$database" != postgres ]; then
        echo 'CREATE DATABASE :"name"' | psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=name="$database" --dbname=postgres
    fi
    export PGDATABASE="$database"
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
        *.sql) echo "running $script"; psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file="$script" ;;
        *.sh) echo "running $script"; sh "$script" ;;
        esac
    done
    unset PGHOST PGUSER PGDATABASE
    pg_ctl --pgdata="$new" --wait --mode=fast stop
}

# PG_VERSION, by which a folder is known to hold a database cluster, is moved last.
move_into_place() {
    find "$new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION ! -name .complete -exec mv -t "$PGDATA" {} +
    mv "$new/PG_VERSION" "$PGDATA"
    rm -rf "$new"
}

case "${1:-postgres}" in
-*) set -- postgres "$@" ;;
postgres) ;;
*) exec "$@" ;;
esac

user=$(value_of POSTGRES_USER postgres)
database=$(value_of POSTGRES_DB "$user")
mkdir -p "$PGDATA"
chmod 700 "$PGDATA"
sockets=$(socket_folder)

# A container that is killed half way through leaves an unfinished folder, which the next one makes anew: never a half-made server.
new=$PGDATA/.new
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ ! -f "$new/.complete" ]; then
        rm -rf "$new"
        make_database_cluster
        run_start_scripts
        touch "$new/.complete"
    fi
    move_into_place
fi

unset POSTGRES_PASSWORD
shift
exec postgres -D "$PGDATA" -c listen_addresses='*' -k "$sockets" "$@"
