# Starts Redis with an ACL file that lives on the volume: the operator's user is written at each start from its Secret, with
# the rights that docs/stores.md names; the users that it made for tenants are kept. The default user is off, so nobody gets
# in without a password.
set -eu
acl=/data/users.acl
hash=$(printf %s "$SYNTERA_OPERATOR_PASSWORD" | sha256sum | cut -d ' ' -f 1)
unset SYNTERA_OPERATOR_PASSWORD
touch "$acl"
{
    echo 'user default off'
    echo "user syntera_operator on #$hash ~t:* resetchannels -@all +ping +info +scan +unlink +client|setname" \
        "+acl|getuser +acl|setuser +acl|deluser +acl|save"
    grep -v -e '^user default ' -e '^user syntera_operator ' "$acl" || true
} > "$acl.new"
mv "$acl.new" "$acl"
# Below the pod's limit, so that a full Redis refuses writes instead of being killed.
exec redis-server --aclfile "$acl" --dir /data --save '' --appendonly yes --protected-mode no \
    --maxmemory 384mb --maxmemory-policy noeviction
