from pathlib import Path

from syntera_dev.cluster.control_plane_commands import (
    Files,
    build_api_server_command,
    build_controller_manager_command,
    build_etcd_command,
    build_scheduler_command,
)
from syntera_dev.cluster.plan import plan_control_plane, plan_node

FILES = Files(Path("/state/one"))
PROGRAM = Path("/bin/program")
NODE = plan_node("one", 1)
ALONE = plan_control_plane("two", controllers=True, ports=(1234, 1235))
BARE = plan_control_plane("three", controllers=False, ports=(1234, 1235))


def test_etcd_listens_where_the_api_server_looks() -> None:
    assert "--listen-client-urls=unix:///state/one/etcd.sock" in build_etcd_command(PROGRAM, FILES)
    assert "--etcd-servers=unix:///state/one/etcd.sock" in build_api_server_command(PROGRAM, ALONE, FILES)


def test_api_server_reaches_kubelets_by_address_when_there_is_a_node() -> None:
    with_node, alone = (build_api_server_command(PROGRAM, plan, FILES) for plan in (NODE, ALONE))
    assert "--kubelet-preferred-address-types=InternalIP" in with_node
    assert not any(flag.startswith("--kubelet") for flag in alone)
    assert "--endpoint-reconciler-type=none" in alone


def test_api_server_admits_pods_without_service_accounts_only_where_nothing_makes_them() -> None:
    flag = "--disable-admission-plugins=ServiceAccount"
    assert flag in build_api_server_command(PROGRAM, BARE, FILES)
    assert flag not in build_api_server_command(PROGRAM, ALONE, FILES)
    assert flag not in build_api_server_command(PROGRAM, NODE, FILES)


def test_flags_of_the_caller_come_last() -> None:
    assert build_api_server_command(PROGRAM, ALONE, FILES, flags=["--v=4"])[-1] == "--v=4"


def test_programs_serve_on_the_planned_ports() -> None:
    assert {"--bind-address=127.0.0.1", "--secure-port=1234"} <= set(build_api_server_command(PROGRAM, ALONE, FILES))
    assert "--secure-port=1235" in build_controller_manager_command(PROGRAM, ALONE, FILES)
    assert {"--bind-address=172.30.1.1", "--secure-port=10259"} <= set(build_scheduler_command(PROGRAM, NODE, FILES))


def test_volumes_and_pod_addresses_are_made_only_for_a_node() -> None:
    flags = {"--enable-hostpath-provisioner=true", "--cluster-cidr=10.244.1.0/24"}
    assert flags <= set(build_controller_manager_command(PROGRAM, NODE, FILES))
    assert flags.isdisjoint(build_controller_manager_command(PROGRAM, ALONE, FILES))
