from pipelines.servers.keep import Patience


def starts(seconds: int, lives: int, every: int = 2) -> list[int]:
    """When a server that ends `lives` seconds after each start is started again, looked at every so often."""
    patience, found = Patience(), []
    for now in range(0, seconds, every):
        if (not found or now >= found[-1] + lives) and patience.may_start(now):
            found.append(now)
    return found


def test_a_server_that_ends_at_once_is_started_after_ever_longer_waits_of_a_minute_at_most() -> None:
    assert starts(300, lives=1) == [0, 4, 12, 28, 60, 120, 180, 240]


def test_a_server_that_has_lived_for_minutes_is_started_at_once() -> None:
    assert starts(1000, lives=200) == [0, 200, 400, 600, 800]
    patience = Patience()
    for now in starts(300, lives=1):
        assert patience.may_start(now)
    assert not patience.may_start(299)
    assert patience.may_start(500)
    assert patience.may_start(504)
