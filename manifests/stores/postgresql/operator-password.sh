# Sets the operator's password once, at the first start. psql quotes it; it stands in no argument list.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 <<'SQL'
\getenv password SYNTERA_OPERATOR_PASSWORD
SET log_statement = 'none';
ALTER ROLE syntera_operator PASSWORD :'password';
SQL
