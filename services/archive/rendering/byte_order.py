"""Big-endian values in little endian, as everything that leaves the archive is."""

_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def swapped(value: bytes, vr: str) -> bytes:
    """A big-endian binary value in little endian (PS3.18 8.7.3.5: bulk data is little endian)."""
    size = _WORDS.get(vr, 1)
    if size == 1 or len(value) % size:
        return value
    result = bytearray(len(value))
    for place in range(size):
        result[place::size] = value[size - 1 - place :: size]
    return bytes(result)
