"""Each alert fires when it must and, as important, stays silent when it must: promtool decides."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dashboards.build import OUT, alerts

RULES = OUT / "rules" / "centre" / "pacs.yaml"
BRANCH_RULES = OUT / "rules" / "branch" / "pacs.yaml"
READS, TOOK = "pacs_gateway_requests_total", "pacs_gateway_request_duration_seconds"
EDGE = '{job="edge",site="a"}'


@dataclass(frozen=True)
class Case:
    """`series` in promtool's notation, one value a minute; `fires`: how many alerts stand at minute `at`."""

    alert: str
    why: str
    series: dict[str, str]
    at: int
    fires: int


def reads(good: str, bad: str) -> dict[str, str]:
    return {
        f'{READS}{{route="dicomweb",status="200"}}': good,
        f'{READS}{{route="dicomweb",status="502"}}': bad,
    }


def times(quick: str, everything: str) -> dict[str, str]:
    return {
        f'{TOOK}_bucket{{route="dicomweb",le="1"}}': quick,
        f'{TOOK}_bucket{{route="dicomweb",le="+Inf"}}': everything,
        f'{TOOK}_count{{route="dicomweb"}}': everything,
    }


def edge(metric: str, values: str, labels: str = EDGE) -> dict[str, str]:
    return {f"pacs_edge_{metric}{labels}": values}


def archive(metric: str, values: str, labels: str = "") -> dict[str, str]:
    return {f'pacs_archive_{metric}{{job="archive",site="a"{labels}}}': values}


def disk(free: float) -> dict[str, str]:
    labels = '{site="a",instance="h",mountpoint="/var/lib/pacs",fstype="xfs"}'
    return {
        f"node_filesystem_avail_bytes{labels}": f"{free}+0x60",
        f"node_filesystem_size_bytes{labels}": "100+0x60",
    }


def process(started: str) -> dict[str, str]:
    return {'process_start_time_seconds{job="edge",site="a",instance="h"}': started}


def unit(active: str) -> dict[str, str]:
    labels = '{site="a",instance="h",name="kubelet.service",state="active"}'
    return {f"node_systemd_unit_state{labels}": active}


def ceph(used: float) -> dict[str, str]:
    return {"ceph_cluster_total_used_bytes": f"{used}+0x60", "ceph_cluster_total_bytes": "100+0x60"}


def certificate(metric: str, days: int) -> dict[str, str]:
    labels = '{site="a",instance="h",certificate="apiserver"}'
    return {f"pacs_{metric}_certificate_end_timestamp_seconds{labels}": f"{days * 86400}+0x90"}


CASES = (
    Case("ReadsFailing", "3 % fail", reads("0+6000x90", "0+200x90"), 70, 1),
    Case("ReadsFailing", "0.1 % fail, as budgeted", reads("0+6000x90", "0+6x90"), 70, 0),
    Case(
        "ReadsFailing", "a burst that ended ten minutes ago",
        reads("0+6000x90", "0+200x60 12000x30"), 72, 0,
    ),
    Case("ReadsFailing", "nobody reads at night", reads("5x90", "5x90"), 70, 0),
    Case(
        "ReadsFailing", "uploads fail, reads do not",
        {
            **reads("0+6000x90", "0x90"),
            f'{READS}{{route="ingest",status="503"}}': "0+600x90",
        }, 70, 0,
    ),
    Case("ReadsFailingSlowly", "1 % fails all morning", reads("0+6000x90", "0+60x90"), 60, 1),
    Case("ReadsFailingSlowly", "0.5 % fails", reads("0+6000x90", "0+30x90"), 60, 0),
    Case("ReadsSlow", "a fifth is slow", times("0+80x90", "0+100x90"), 70, 1),
    Case("ReadsSlow", "1 in 200 is slow", times("0+199x90", "0+200x90"), 70, 0),
    Case("ReadsSlowly", "8 % is slow for hours", times("0+92x90", "0+100x90"), 60, 1),
    Case("ReadsSlowly", "4 % is slow for hours", times("0+96x90", "0+100x90"), 60, 0),
    Case(
        "BranchQueueOld", "a pack waits for 20 minutes",
        edge("queue_oldest_age_seconds", "1200+0x30"), 10, 1,
    ),
    Case(
        "BranchQueueOld", "a pack waits for 10 minutes",
        edge("queue_oldest_age_seconds", "600+0x30"), 10, 0,
    ),
    Case("BranchQueueOld", "the queue is empty", edge("queue_oldest_age_seconds", "0+0x30"), 10, 0),
    Case("BranchQueueStuck", "five hours", edge("queue_oldest_age_seconds", "18000+0x30"), 20, 1),
    Case("BranchQueueStuck", "an hour", edge("queue_oldest_age_seconds", "3600+0x30"), 20, 0),
    Case(
        "BranchQueueDrainsSlowly", "100 GB at 1 MB/s",
        {
            **edge("queue_bytes", "100000000000+0x90"),
            **edge("forwarded_bytes_total", "0+60000000x90"),
        }, 80, 1,
    ),
    Case(
        "BranchQueueDrainsSlowly", "1 GB at 1 MB/s",
        {
            **edge("queue_bytes", "1000000000+0x90"),
            **edge("forwarded_bytes_total", "0+60000000x90"),
        }, 80, 0,
    ),
    Case(
        "BranchQueueDrainsSlowly", "an empty queue and no traffic",
        {
            **edge("queue_bytes", "0+0x90"),
            **edge("forwarded_bytes_total", "5+0x90"),
        }, 80, 0,
    ),
    Case("BranchSilent", "reported once, gone since", edge("centre_reachable", "1x10 _x60"), 50, 1),
    Case("BranchSilent", "reports", edge("centre_reachable", "1x60"), 50, 0),
    Case("BranchSilent", "reports that the centre is away", edge("centre_reachable", "0x60"), 50, 0),
    Case("BranchSilent", "gone for five minutes", edge("centre_reachable", "1x10 _x60"), 17, 0),
    Case(
        "PacksRefused", "one",
        edge("refused_packs_total", "0x9 1x20", '{site="a",reason="bad-request"}'), 15, 1,
    ),
    Case(
        "PacksRefused", "none",
        edge("refused_packs_total", "4x90", '{site="a",reason="bad-request"}'), 80, 0,
    ),
    Case(
        "ReceiptsRejected", "one",
        edge("receipts_rejected_total", "0x9 1x20", '{site="a",reason="key"}'), 15, 1,
    ),
    Case(
        "ReceiptsRejected", "none",
        edge("receipts_rejected_total", "0x30", '{site="a",reason="key"}'), 15, 0,
    ),
    Case("CertificateExpiresSoon", "in 10 days", edge("certificate_expiry_seconds", "864000-60x90"), 70, 1),
    Case(
        "CertificateExpiresSoon", "in 60 days",
        edge("certificate_expiry_seconds", "5184000-60x90"), 70, 0,
    ),
    Case("CertificateExpiresNow", "in 2 days", edge("certificate_expiry_seconds", "172800-60x90"), 5, 1),
    Case("CertificateExpiresNow", "in 10 days", edge("certificate_expiry_seconds", "864000-60x90"), 5, 0),
    Case("UnsealedDataOld", "two minutes", archive("unsealed_oldest_age_seconds", "0+60x30"), 10, 1),
    Case(
        "UnsealedDataOld", "sealed every two seconds",
        archive("unsealed_oldest_age_seconds", "2x30"), 10, 0,
    ),
    Case("PacksNotCommitted", "a plateau", archive("uncommitted_packs", "7x30"), 20, 1),
    Case(
        "PacksNotCommitted", "always some, and never for long",
        archive("uncommitted_packs", "3 0 2 0 1 0 4 0 2 0 1 0 2 0 1 0 3 0"), 17, 0,
    ),
    Case("SecondCopyBehind", "two hours", archive("second_copy_oldest_age_seconds", "3000+60x60"), 40, 1),
    Case("SecondCopyBehind", "a minute", archive("second_copy_oldest_age_seconds", "60x60"), 40, 0),
    Case("SecondCopyBehind", "no second copy", archive("second_copy_oldest_age_seconds", "0x60"), 40, 0),
    Case(
        "StorageRefusing", "no room",
        archive("refused_requests_total", "0x5 3x20", ',reason="no-room"'), 10, 1,
    ),
    Case(
        "StorageRefusing", "strangers only",
        archive("refused_requests_total", "0+5x20", ',reason="forbidden"'), 10, 0,
    ),
    Case(
        "ConflictsFound", "one",
        archive("committed_instances_total", "0x5 1x20", ',result="conflict"'), 10, 1,
    ),
    Case(
        "ConflictsFound", "resends only",
        archive("committed_instances_total", "0+9x20", ',result="duplicate"'), 10, 0,
    ),
    Case("ArchiveDiffers", "one", archive("check_differences", "0x5 1x20"), 10, 1),
    Case("ArchiveDiffers", "mended", archive("check_differences", "1x20 0x20"), 30, 0),
    Case("DataQuarantined", "one", archive("quarantined_items_total", "0x5 1x20"), 10, 1),
    Case("DataQuarantined", "none since", archive("quarantined_items_total", "3x90"), 80, 0),
    Case("Watchdog", "always", {}, 1, 1),
    Case("TargetDown", "down", {'up{job="edge",site="a",instance="h"}': "1x3 0x20"}, 15, 1),
    Case("TargetDown", "a restart", {'up{job="edge",site="a",instance="h"}': "1x3 0x2 1x20"}, 15, 0),
    Case("DependencyDown", "down", archive("dependency_up", "0x20", ',dependency="index"'), 5, 1),
    Case("DependencyDown", "up", archive("dependency_up", "1x20", ',dependency="index"'), 5, 0),
    Case("DiskFillingUp", "12 % free", disk(12), 40, 1),
    Case("DiskFillingUp", "40 % free", disk(40), 40, 0),
    Case("DiskFull", "3 % free", disk(3), 5, 1),
    Case("DiskFull", "12 % free", disk(12), 5, 0),
    Case("PartRestarting", "starts anew every five minutes", process("0x4 300x4 600x4 900x4 1200x4 1500x9"), 25, 1),
    Case("PartRestarting", "an upgrade", process("0x10 600x20"), 25, 0),
    Case("NodeCertificateExpires", "in 20 days", certificate("node", 20), 70, 1),
    Case("NodeCertificateExpires", "in two years", certificate("node", 730), 70, 0),
    Case("ServerCertificateExpires", "in 20 days", certificate("centre", 20), 70, 1),
    Case("ServerCertificateExpires", "in four months", certificate("centre", 132), 70, 0),
    Case("HostServiceDown", "the kubelet is stopped", unit("1x5 0x20"), 15, 1),
    Case("HostServiceDown", "the kubelet is started anew", unit("1x5 0x2 1x20"), 15, 0),
    Case("ObjectStoreFillingUp", "80 % used", ceph(80), 40, 1),
    Case("ObjectStoreFillingUp", "60 % used", ceph(60), 40, 0),
    Case("ObjectStoreUnhealthy", "HEALTH_ERR", {"ceph_health_status": "2x20"}, 5, 1),
    Case("ObjectStoreUnhealthy", "HEALTH_WARN", {"ceph_health_status": "1x20"}, 5, 0),
    Case(
        "IndexDatabaseDown", "one of two",
        {
            'cnpg_collector_up{pod="index-1"}': "1x20",
            'cnpg_collector_up{pod="index-2"}': "0x20",
        }, 5, 1,
    ),
    Case(
        "IndexDatabaseDown", "both up",
        {
            'cnpg_collector_up{pod="index-1"}': "1x20",
            'cnpg_collector_up{pod="index-2"}': "1x20",
        }, 5, 0,
    ),
    Case(
        "StorageRefusing", "a modality and a web client, each refused once",
        {
            **archive("refused_requests_total", "_x5 1x20", ',reason="A700"'),
            **archive("refused_requests_total", "_x5 1x20", ',reason="OutOfRoom"'),
        }, 10, 1,
    ),
    Case(
        "PacksRefused", "the first one ever: the series is born at 1",
        edge("refused_packs_total", "_x9 1x20", '{site="a",reason="bad-request"}'), 15, 1,
    ),
    Case(
        "PacksRefused", "the one of yesterday",
        edge("refused_packs_total", "_x2 1x90", '{site="a",reason="bad-request"}'), 80, 0,
    ),
    Case(
        "ConflictsFound", "the first one ever",
        archive("committed_instances_total", "_x5 1x20", ',result="conflict"'), 10, 1,
    ),
)  # fmt: skip

SILENT_BY_NATURE = {"Watchdog"}
"""Alerts that never end: no must-not-fire case is possible."""


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    names = {alert.name for alert in alerts()}
    assert {case.alert for case in CASES if case.fires} == names
    assert {case.alert for case in CASES if not case.fires} == names - SILENT_BY_NATURE


def unit_tests() -> dict[str, object]:
    """promtool's document: what stands in ALERTS, because exact annotation texts are no behaviour."""
    return {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "name": f"{case.alert}: {case.why}",
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}) or vector(0)',
                        "eval_time": f"{case.at}m",
                        "exp_samples": [{"labels": "{}", "value": case.fires}],
                    }
                ],
            }
            for case in CASES
        ],
    }


def run_promtool(folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "cases.yaml"
    path.write_text(yaml.safe_dump(unit_tests(), sort_keys=False))
    return subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False
    )


needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not on PATH; apt-get install prometheus brings it"
)


@needs_promtool
def test_alerts_fire_and_stay_silent_as_the_cases_say(tmp_path):
    result = run_promtool(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_the_cases_can_fail(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "CASES", (Case("Watchdog", "claimed to be silent", {}, 1, 0),))
    assert run_promtool(tmp_path).returncode != 0


@needs_promtool
@pytest.mark.parametrize("rules", [RULES, BRANCH_RULES], ids=["centre", "branch"])
def test_the_rule_file_is_valid(rules):
    result = subprocess.run(
        ["promtool", "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.integration
def test_promtool_is_there_when_everything_is_tested():
    assert shutil.which("promtool"), "apt-get install --no-install-recommends prometheus"
