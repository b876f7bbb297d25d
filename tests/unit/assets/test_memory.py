"""What copies hold in memory is bounded."""

import threading

from orchestrator.assets.memory import CopyMemory


def test_bodies_share_half_of_it_and_a_job_gives_all_of_its_part_back() -> None:
    memory = CopyMemory(200)
    with memory.share() as one, memory.share() as other:
        assert one.take(60)
        assert other.take(40)
        assert not other.take(1)
    with memory.share() as again:
        assert again.take(100)


def test_what_decodes_waits_for_its_turn_and_the_largest_has_it_alone() -> None:
    memory = CopyMemory(200)
    is_inside = threading.Event()

    def decode() -> None:
        with memory.decoding(50):
            is_inside.set()

    with memory.decoding(10**9):
        waiting = threading.Thread(target=decode)
        waiting.start()
        assert not is_inside.wait(0.01)
    waiting.join(10)
    assert is_inside.is_set()
    with memory.decoding(50), memory.decoding(50):
        pass
