"""Keys go to the partition that Kafka's own clients would choose."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from libs.events.log import murmur2, partition_of


@given(st.binary(max_size=80), st.integers(1, 50))
def test_keys_are_partitioned_as_kafkas_default_partitioner_does(key: bytes, partitions: int) -> None:
    everywhere = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everywhere, everywhere)


def test_the_hash_is_apache_kafkas() -> None:
    """Values of Apache Kafka's own `UtilsTest.testMurmur2`."""
    known = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert {key: murmur2(key) for key in known} == {key: value & 0xFFFFFFFF for key, value in known.items()}
