"""Of each challenger the last comparison counts."""

from groundwork.store.database import Store


def test_the_last_comparison_of_each_challenger_counts(store_url: str) -> None:
    with Store(store_url) as store:
        store.shadow.record("2", 100, 0.9)
        store.shadow.record("3", 50, 0.5)
        store.shadow.record("2", 200, 0.8)
        assert store.shadow.latest() == {"2": (200, 0.8), "3": (50, 0.5)}
