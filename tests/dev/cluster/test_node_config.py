import json
import tomllib
from pathlib import Path

import pytest

from syntera_dev.cluster.node_config import (
    NodeFiles,
    find_upstreams,
    render_cni,
    render_containerd,
    render_corefile,
    render_kube_proxy,
    render_kubelet,
)
from syntera_dev.cluster.plan import Network

FILES = NodeFiles(Path("/state/one"))
NETWORK = Network(1)


def test_containerd_finds_the_pause_image_and_the_plugins() -> None:
    text = render_containerd(FILES, pause_image="localhost/syntera/pause:1", cni_folder=Path("/usr/lib/cni"))
    cri = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "localhost/syntera/pause:1"
    assert cri["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": "/state/one/config/cni"}
    assert cri["restrict_oom_score_adj"] is True
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": False}


def test_pods_get_addresses_of_the_slot() -> None:
    bridge = json.loads(render_cni(NETWORK))["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]


def test_kubelet_keeps_images_and_runs_on_old_control_groups() -> None:
    kubelet = json.loads(render_kubelet(FILES, NETWORK, control_group="/group"))
    assert kubelet["imageGCHighThresholdPercent"] == 100
    assert (kubelet["failCgroupV1"], kubelet["cgroupRoot"]) == (False, "/group")
    assert kubelet["clusterDNS"] == ["10.97.0.10"]
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}


def test_kube_proxy_leaves_the_machines_limits_alone() -> None:
    conntrack = json.loads(render_kube_proxy(FILES, NETWORK, node_name="one"))["conntrack"]
    assert set(conntrack.values()) == {0, "0s"}


def test_dns_forwards_to_upstreams_only_where_there_are_any() -> None:
    assert "forward . 10.0.0.2 10.0.0.3" in render_corefile(FILES, NETWORK, upstreams=["10.0.0.2", "10.0.0.3"])
    assert "forward" not in render_corefile(FILES, NETWORK, upstreams=[])


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["nameserver 10.0.0.2\nsearch example\nnameserver 10.0.0.3\n"], ["10.0.0.2", "10.0.0.3"]),
        (["# a stub\nnameserver 127.0.0.53\n", "nameserver 192.168.1.1\n"], ["192.168.1.1"]),
        (["nameserver fe80::1%eth0\nnameserver\nnameserver ::1\n"], []),
        (
            ["nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\n"],
            ["1.1.1.1", "1.1.1.2", "1.1.1.3"],
        ),
        ([], []),
    ],
)
def test_upstreams_are_those_that_the_node_can_reach(files: list[str], expected: list[str]) -> None:
    assert find_upstreams(*files) == expected
