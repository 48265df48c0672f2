import json

import httpx

from tests.unit.sdk_python.fake_gateway import DIGEST, problem
from tests.unit.sdk_python.test_modules import LISTED, REFUSED, SHOWN, USAGE
from tests.unit.stockade.cli.conftest import CommandLine


def test_modules_are_listed_to_the_last_page(cli: CommandLine) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        more = "after" not in request.url.params
        following = f"5-{DIGEST}" if more else None
        return httpx.Response(200, json={"modules": [LISTED], "next": following})

    cli.gateway.on("GET /v1/modules", page)
    lines = cli.run("modules", "list").stdout.splitlines()
    assert lines[0].split() == ["MODULE", "ABI", "BYTES", "UPLOADED"]
    assert [line.split()[:3] for line in lines[1:]] == [[DIGEST, "stockade:v1", "9"]] * 2
    assert json.loads(cli.run("modules", "list", "--json").stdout) == [LISTED, LISTED]


def test_a_module_shows_what_uses_it_and_why_it_would_not_run(cli: CommandLine) -> None:
    cli.gateway.on(f"GET /v1/modules/{DIGEST}", httpx.Response(200, json=SHOWN))
    none = httpx.Response(200, json={"attestations": []})
    cli.gateway.on(f"GET /v1/modules/{DIGEST}/attestations", none)
    shown = cli.run("modules", "show", DIGEST).stdout
    assert "f v3" in shown
    assert "1970-01-01 00:00:00 UTC" in shown
    cli.gateway.on(f"GET /v1/modules/{DIGEST}", httpx.Response(200, json=REFUSED))
    assert "module.signer_revoked" in cli.run("modules", "show", DIGEST).stdout
    shown = cli.run("modules", "show", DIGEST, "--json").stdout
    assert json.loads(shown)["versions"] == [{"function": "f", "version": 3}]


def test_a_module_in_use_is_not_deleted(cli: CommandLine) -> None:
    cli.gateway.on(f"DELETE /v1/modules/{DIGEST}", problem(409, "module.in_use"))
    done = cli.run("modules", "delete", DIGEST)
    assert (done.exit_code, "module.in_use" in done.stderr) == (2, True)
    cli.gateway.on(f"DELETE /v1/modules/{DIGEST}", httpx.Response(204))
    assert "deleted" in cli.run("modules", "delete", DIGEST).stderr


def test_usage_stands_beside_its_limit(cli: CommandLine) -> None:
    cli.gateway.on("GET /v1/usage/storage", httpx.Response(200, json=USAGE))
    rows = [line.split() for line in cli.run("modules", "usage").stdout.splitlines()]
    assert rows == [
        ["WHAT", "USED", "LIMIT"],
        ["bytes", "1", "3"],
        ["modules", "2", "4"],
        ["oci_bytes", "5", "6"],
    ]
    assert json.loads(cli.run("modules", "usage", "--json").stdout)["limit_modules"] == 4
