"""Which datasets are found by what, and what a name that means nothing is answered with."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.query.dataset import DATASETS, DatasetFilter
from dynamo_ops.query.paging.listing import Window, read_page
from tests.inventory.factory import SIZE
from tests.query.stock import FIRST, LOWER, SECOND, THIRD, Stock


def found(stock: Stock, **asked: Any) -> list[str]:
    return [record["name"] for record in read_page(stock.db, DATASETS, DatasetFilter(**asked), Window()).records()]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"names": [FIRST]}, [FIRST]),
        ({"names": ["/A/B_v1/*"]}, [SECOND]),
        ({"names": ["/Z[1]*"]}, []),
        ({"names": ["/Z[[]1]*%*"]}, [THIRD]),
        ({"names": [LOWER, "/A/*/RAW"]}, [SECOND, LOWER]),
        ({"statuses": ["valid"]}, [FIRST, LOWER]),
        ({"statuses": ["production", "invalid"]}, [SECOND, THIRD]),
        ({"is_open": True}, [SECOND]),
        ({"is_open": False}, [FIRST, THIRD, LOWER]),
        ({"releases": ["CMSSW_*"]}, [SECOND]),
        ({"min_size_bytes": 3 * SIZE}, [FIRST]),
        ({"min_size_bytes": 3 * SIZE - 1}, [FIRST, SECOND]),
        ({"sites": ["T2_B"]}, [FIRST, SECOND]),
        ({"sites": ["T1_*", "T2_C"]}, [FIRST, LOWER]),
        ({"groups": ["ops"]}, [FIRST]),
        ({"groups": ["*s"], "sites": ["T2_B"]}, [FIRST, SECOND]),
        ({"groups": ["users"], "sites": ["T2_A"]}, []),
        ({"updated_since": "1h"}, [FIRST, SECOND, THIRD, LOWER]),
        ({"statuses": ["valid"], "sites": ["T2_C"]}, [LOWER]),
    ],
    ids=str,
)
def test_what_is_asked_for_is_found(stock: Stock, asked: dict[str, Any], names: list[str]) -> None:
    if asked == {"names": ["/Z[1]*"]}:
        with pytest.raises(InventoryError, match="no dataset matches"):
            found(stock, **asked)
        return
    assert found(stock, **asked) == names


def test_what_was_updated_before_is_left_out(stock: Stock) -> None:
    stock.rows("UPDATE datasets SET last_update_at = now() - interval '4 days' WHERE name = :n", n=FIRST)
    assert FIRST not in found(stock, updated_since="3d")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"names": ["/A/B-v1/AODX"]}, "there is no dataset '/A/B-v1/AODX'. Did you mean /A/B-v1/AOD"),
        ({"names": [FIRST, "/B/*"], "statuses": ["deleted"]}, "no dataset matches '/B/*'"),
        ({"statuses": ["vaild"]}, "no status of a dataset.*Did you mean valid"),
        ({"sites": ["T2_Z"]}, "there is no site 'T2_Z'.*Did you mean"),
        ({"groups": ["user"]}, "there is no group 'user'.*Did you mean users"),
        ({"updated_since": "soon"}, "updated since: 'soon'"),
    ],
    ids=str,
)
def test_what_means_nothing_is_told_with_what_is_near(stock: Stock, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InventoryError, match=message.replace("*", ".*").replace("..*", ".*")):
        found(stock, **asked)


def copies(stock: Stock) -> dict[str, tuple[int, int]]:
    page = read_page(stock.db, DATASETS, DatasetFilter(), Window(fields=("name", "num_sites", "num_copies")))
    return {name: (num_sites, num_copies) for name, num_sites, num_copies in page.rows}


def test_full_copies_have_every_block_and_nothing_of_it_goes_or_is_in_doubt(stock: Stock) -> None:
    assert copies(stock) == {FIRST: (3, 2), SECOND: (1, 1), THIRD: (0, 0), LOWER: (1, 0)}
    stock.subscription("delete", stock.files_of["a2"][:1], "T2_A")
    assert copies(stock)[FIRST] == (3, 1)
    check = stock.scalar(
        "INSERT INTO consistency_checks (run_key, site_id, state) VALUES ('r', :s, 'compared') RETURNING id",
        s=stock.site_ids["T2_B"],
    )
    stock.rows(
        """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes, file_id)
           VALUES (:c, 'missing', 'found', :l, 1, :f)""",
        c=check, l=stock.files_of["b1"][0], f=stock.file_ids[stock.files_of["b1"][0]],
    )  # fmt: skip
    assert copies(stock)[SECOND] == (1, 0)


def test_a_site_of_unknown_status_has_no_copy_one_in_the_morgue_has(stock: Stock) -> None:
    stock.rows("UPDATE sites SET status = 'morgue' WHERE name = 'T2_A'")
    assert copies(stock)[FIRST] == (3, 2)
    stock.rows("UPDATE sites SET status = 'unknown' WHERE name = 'T2_A'")
    assert copies(stock)[FIRST] == (3, 1)
